"""Forks: new sandboxes that begin with the files of another one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sandlot.server.engine.base import Engine
from sandlot.server.ids import new_id, related_id
from sandlot.server.store.records import SandboxRecord

from .captures import drop, hold
from .new_sandboxes import NewSandbox
from .sandboxes import Sandboxes
from .tasks import TaskGroup

__all__ = ["Forks"]

_NEVER_RAN = ("pending", "error")


class Forks:
    """Makes forks."""

    def __init__(self, sandboxes: Sandboxes, engine: Engine) -> None:
        self._sandboxes = sandboxes
        self._engine = engine
        self._tasks = TaskGroup()

    async def close(self) -> None:
        """Wait for what is being done."""
        await self._tasks.finish()

    async def create(
        self, team_id: str, sandbox_id: str, count: int, first_id: str
    ) -> Sequence[SandboxRecord]:
        """Make forks of a running or paused sandbox, all or none.

        Args:
            team_id: Whose.
            sandbox_id: What to fork.
            count: How many to make.
            first_id: Id of the first; those of the others follow from it.
        """
        return await self._tasks.finished(self._create(team_id, sandbox_id, count, first_id))

    async def find(self, team_id: str, count: int, first_id: str) -> Sequence[SandboxRecord] | None:
        """Return forks that were made before; None if there are not all of them."""
        found = [await self._sandboxes.find(team_id, name) for name in _ids(first_id, count)]
        records = [record for record in found if record is not None]
        if len(records) == count and not any(each.status in _NEVER_RAN for each in records):
            return records
        return None

    async def clear(self, team_id: str, count: int, first_id: str) -> bool:
        """Remove what is left of half a set; return whether nothing has its ids."""
        ids = _ids(first_id, count)
        free = [await self._sandboxes.lives.abandon(team_id, each) for each in ids]
        if await self.find(team_id, count, first_id) is None:
            for sandbox_id, is_free in zip(ids, free, strict=True):
                if not is_free:
                    await self._sandboxes.destroy(team_id, sandbox_id)
        return all(free)

    async def _create(
        self, team_id: str, sandbox_id: str, count: int, first_id: str
    ) -> Sequence[SandboxRecord]:
        live = await self._sandboxes.in_status(team_id, sandbox_id, "running", "paused")
        files = new_id("sn")
        _ = await hold(live, files)
        origin = live.record
        wanted = NewSandbox(
            template=origin.template,
            vcpus=origin.vcpus,
            memory_mb=origin.memory_mb,
            disk_mb=origin.disk_mb,
            timeout_sec=origin.timeout_sec,
            on_timeout=origin.on_timeout,
            max_lifetime_sec=origin.max_lifetime_sec,
            lease_sec=origin.lease_sec,
            network=origin.network,
            metadata=origin.metadata,
            env=origin.env,
            cwd=origin.cwd,
            snapshot=origin.snapshot,
            setup=origin.setup,
            snapshot_id=files,
            snapshot_host_id=origin.host_id,
        )
        ids = _ids(first_id, count)
        try:
            outcomes = await asyncio.gather(
                *(self._sandboxes.create(team_id, wanted, name) for name in ids),
                return_exceptions=True,
            )
        finally:
            await drop(self._engine, files)
        made = [outcome for outcome in outcomes if isinstance(outcome, SandboxRecord)]
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            for record in made:
                await self._sandboxes.destroy(team_id, record.id)
            raise failures[0]
        return made


def _ids(first: str, count: int) -> list[str]:
    return [first, *(related_id(first, index) for index in range(1, count))]
