"""Checkpoints: files of a sandbox that it can go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandlot.server.engine.base import Engine
from sandlot.server.store.base import SnapshotRows
from sandlot.server.store.records import SandboxRecord, SnapshotRecord

from .captures import capture, drop
from .errors import NotFoundError
from .live import LiveSandbox
from .sandboxes import Sandboxes
from .tasks import TaskGroup

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of all sandboxes; they go with their sandbox."""

    def __init__(self, rows: SnapshotRows, sandboxes: Sandboxes, engine: Engine) -> None:
        self._rows = rows
        self._sandboxes = sandboxes
        self._engine = engine
        self._tasks = TaskGroup()
        sandboxes.lives.when_gone(self._forget)

    async def close(self) -> None:
        """Wait for what is being done."""
        await self._tasks.finish()

    async def create(
        self, team_id: str, sandbox_id: str, name: str | None, checkpoint_id: str
    ) -> SnapshotRecord:
        """Remember the files of a running or paused sandbox."""
        live = await self._sandboxes.in_status(team_id, sandbox_id, "running", "paused")
        return await self._tasks.finished(self._create(live, name, checkpoint_id))

    async def list(self, team_id: str, sandbox_id: str) -> Sequence[SnapshotRecord]:
        """Return the checkpoints of a sandbox, newest first."""
        _ = await self._sandboxes.get(team_id, sandbox_id)
        return await self._rows.checkpoints(sandbox_id)

    async def get(self, team_id: str, sandbox_id: str, checkpoint_id: str) -> SnapshotRecord:
        """Return a checkpoint of a sandbox."""
        for record in await self.list(team_id, sandbox_id):
            if record.id == checkpoint_id:
                return record
        raise NotFoundError("The sandbox has no such checkpoint.")

    async def delete(self, team_id: str, sandbox_id: str, checkpoint_id: str) -> None:
        """Forget a checkpoint."""
        record = await self.get(team_id, sandbox_id, checkpoint_id)
        await self._tasks.finished(self._remove(record))

    async def roll_back(self, team_id: str, sandbox_id: str, checkpoint_id: str) -> SandboxRecord:
        """Put the files of a running or paused sandbox back; it runs afterwards."""
        live = await self._sandboxes.in_status(team_id, sandbox_id, "running", "paused")
        record = await self.get(team_id, sandbox_id, checkpoint_id)
        restarted = await self._sandboxes.lives.restart(
            live, lambda: live.handle.rollback(record.id)
        )
        await self._sandboxes.begin(live)
        return restarted

    async def _create(
        self, live: LiveSandbox, name: str | None, checkpoint_id: str
    ) -> SnapshotRecord:
        captured = await capture(live, checkpoint_id, name)
        record = replace(captured, sandbox_id=live.record.id)
        try:
            # The sandbox may have gone meanwhile, and its checkpoints with it.
            live.require("running", "paused")
            await self._rows.add(record)
        except BaseException:
            await drop(self._engine, record.id)
            raise
        return record

    async def _forget(self, sandbox_id: str) -> None:
        for record in await self._rows.checkpoints(sandbox_id):
            await self._remove(record)

    async def _remove(self, record: SnapshotRecord) -> None:
        if await self._rows.remove(record.id):
            await drop(self._engine, record.id)
