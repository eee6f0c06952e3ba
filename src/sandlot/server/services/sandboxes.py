"""Sandboxes: which there are, and how they come, rest, wake and go.

    pending → running ⇄ paused
                 ↓         ↓
    error     stopped ← stopped

The store has a row for every sandbox there ever was; this module has the living ones and writes
each change through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sandlot.server.engine.base import Engine, EngineError, SandboxSpec
from sandlot.server.store.base import NameTakenError, SandboxRows
from sandlot.server.store.records import SandboxFilter, SandboxRecord

from .errors import (
    AlreadyExistsError,
    HostUnavailableError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
    UnsupportedError,
)
from .live import LiveSandbox, wrong_state
from .problems import engine_errors
from .tasks import TaskGroup

__all__ = ["NewSandbox", "Sandboxes"]

_NETWORKS = ("none", "outbound", "full")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a new sandbox shall be like; zeros and None are for the defaults."""

    template: str = "minimal"
    vcpus: int = 1
    memory_mb: int = 512
    disk_mb: int = 5120
    timeout_sec: int = 0
    network: str = "none"
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


class Sandboxes:
    """All sandboxes of all teams."""

    def __init__(self, rows: SandboxRows, engine: Engine) -> None:
        self._rows = rows
        self._engine = engine
        self._live = dict[str, LiveSandbox]()
        self._creating = dict[str, asyncio.Task[SandboxRecord]]()
        self._ending = dict[str, asyncio.Task[None]]()
        self._tasks = TaskGroup()
        self._watchers = TaskGroup()
        self._saved = dict[str, datetime]()
        self._closing = False

    @property
    def live(self) -> Sequence[LiveSandbox]:
        """The running and the paused ones."""
        return list(self._live.values())

    async def recover(self) -> None:
        """Say of all that were alive when the last server died that they are not any more."""
        count = await self._rows.mark_gone(
            "The server ended without warning, and the sandbox with it.", datetime.now(UTC)
        )
        if count:
            _log.warning("Sandboxes were lost with the last server", extra={"count": count})

    async def close(self) -> None:
        """Destroy all sandboxes."""
        self._closing = True
        await self._watchers.cancel()
        for live in self.live:
            live.ending = "The server was shut down."
            live.forget_timer()
        await self._engine.close()
        await self._tasks.finish()
        self._live.clear()
        _ = await self._rows.mark_gone("The server was shut down.", datetime.now(UTC))

    def refuse_new(self) -> None:
        """Make no more sandboxes: the server is about to stop."""
        self._closing = True

    async def create(self, team_id: str, wanted: NewSandbox, sandbox_id: str) -> SandboxRecord:
        """Make a sandbox and return it running.

        What was begun is undone if the caller is cancelled.
        """
        if self._closing:
            raise HostUnavailableError("The server is shutting down.")
        self._check(wanted)
        task = self._tasks.start(self._create(team_id, wanted, sandbox_id))
        self._creating[sandbox_id] = task
        task.add_done_callback(lambda _: self._creating.pop(sandbox_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            _ = self._tasks.start(self.destroy(team_id, sandbox_id))
            raise

    async def get(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Return a sandbox, whatever its status."""
        live = self._live.get(sandbox_id)
        if live is not None and live.record.team_id == team_id:
            return _current(live)
        record = await self._rows.get(team_id, sandbox_id)
        if record is None:
            raise NotFoundError("There is no such sandbox.")
        return record

    def find_live(self, sandbox_id: str) -> LiveSandbox | None:
        """Return a sandbox that is running or paused."""
        return self._live.get(sandbox_id)

    async def find(self, team_id: str, sandbox_id: str) -> SandboxRecord | None:
        """Return a sandbox, whatever its status, or None."""
        try:
            return await self.get(team_id, sandbox_id)
        except NotFoundError:
            return None

    async def list(self, team_id: str, wanted: SandboxFilter) -> Sequence[SandboxRecord]:
        """Return sandboxes, newest first; without the gone ones unless a status is wanted."""
        records = await self._rows.list(team_id, wanted)
        return [
            record if (live := self._live.get(record.id)) is None else _current(live)
            for record in records
        ]

    async def running(self, team_id: str, sandbox_id: str) -> LiveSandbox:
        """Return a sandbox that must be running.

        Raises:
            NotFoundError: There is none.
            InvalidStateError: It is not running.
        """
        return await self.in_status(team_id, sandbox_id, "running")

    async def in_status(self, team_id: str, sandbox_id: str, *statuses: str) -> LiveSandbox:
        """Return a sandbox that must be in one of these statuses.

        Raises:
            NotFoundError: There is none.
            InvalidStateError: It is in another one.
        """
        live = self._live.get(sandbox_id)
        if live is None or live.record.team_id != team_id:
            record = await self.get(team_id, sandbox_id)
            live = self._live.get(sandbox_id)
            if live is None:
                raise InvalidStateError(wrong_state(record.status, " or ".join(statuses)))
        live.require(*statuses)
        return live

    async def ping(self, team_id: str, sandbox_id: str) -> None:
        """Start the idle timer anew."""
        (await self.running(team_id, sandbox_id)).touch()

    async def pause(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Freeze a running sandbox."""
        live = await self.in_status(team_id, sandbox_id, "running")
        if self._engine.capabilities.pause == "none":
            raise UnsupportedError("This engine cannot pause sandboxes.")
        return await self._tasks.finished(self._pause(live, None))

    async def resume(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Thaw a paused sandbox."""
        live = await self.in_status(team_id, sandbox_id, "paused")
        return await self._tasks.finished(self._resume(live))

    async def destroy(self, team_id: str, sandbox_id: str) -> None:
        """Remove a sandbox; one that is gone already is fine."""
        creating = self._creating.get(sandbox_id)
        if creating is not None:
            _ = await asyncio.wait([creating])
        record = await self.get(team_id, sandbox_id)
        live = self._live.get(record.id)
        if live is not None:
            await self._end(live, None)

    async def save_activity(self) -> None:
        """Write down when sandboxes were last active: not at once, that is a commit a command."""
        times = {
            live.record.id: live.last_active
            for live in self.live
            if self._saved.get(live.record.id) != live.last_active
        }
        if times:
            await self._rows.save_activity(times)
            self._saved.update(times)

    def _check(self, wanted: NewSandbox) -> None:
        capabilities = self._engine.capabilities
        if wanted.template not in capabilities.templates:
            known = ", ".join(capabilities.templates)
            advice = capabilities.missing.get(wanted.template)
            if advice is not None:
                raise NotFoundError(f"The template is not installed on the server. {advice}")
            raise NotFoundError(f"There is no template of that name; there are: {known}.")
        if wanted.network not in _NETWORKS:
            known = ", ".join(capabilities.network)
            raise InvalidRequestError(f"There is no such network mode; there are: {known}.")
        if wanted.network not in capabilities.network:
            raise UnsupportedError(f"This engine has no network mode {wanted.network!r}.")

    async def _create(self, team_id: str, wanted: NewSandbox, sandbox_id: str) -> SandboxRecord:
        now = datetime.now(UTC)
        record = SandboxRecord(
            id=sandbox_id,
            team_id=team_id,
            status="pending",
            template=wanted.template,
            vcpus=wanted.vcpus,
            memory_mb=wanted.memory_mb,
            disk_mb=wanted.disk_mb,
            timeout_sec=wanted.timeout_sec,
            network=wanted.network,
            name=wanted.name,
            metadata=wanted.metadata,
            env=wanted.env,
            cwd=wanted.cwd,
            created_at=now,
            last_updated=now,
        )
        try:
            await self._rows.add(record)
        except NameTakenError as error:
            raise AlreadyExistsError(
                f"There is a sandbox named {wanted.name!r}: destroy it or choose another name."
            ) from error
        spec = SandboxSpec(
            id=sandbox_id,
            template=wanted.template,
            vcpus=wanted.vcpus,
            memory_mb=wanted.memory_mb,
            disk_mb=wanted.disk_mb,
            network=wanted.network,
            env=wanted.env,
            cwd=wanted.cwd,
        )
        try:
            with engine_errors():
                handle = await self._engine.create(spec)
        except BaseException as error:
            reason = str(error) or "It could not be made."
            await self._rows.save(_changed(record, "error", reason))
            raise
        now = datetime.now(UTC)
        record = replace(_changed(record, "running", None), started_at=now, last_active_at=now)
        await self._rows.save(record)
        live = self._live[sandbox_id] = LiveSandbox(record, handle, self._on_idle)
        _ = self._watchers.start(self._watch(live))
        return record

    async def _pause(self, live: LiveSandbox, reason: str | None) -> SandboxRecord:
        async with live.lock:
            live.require("running")
            if reason is not None and live.busy:
                return live.record  # somebody came back just in time
            with engine_errors():
                await live.handle.pause()
            live.clock.pause()
            live.forget_timer()
            live.record = _changed(_current(live), "paused", reason)
            await self._rows.save(live.record)
            return live.record

    async def _resume(self, live: LiveSandbox) -> SandboxRecord:
        async with live.lock:
            live.require("paused")
            with engine_errors():
                await live.handle.resume()
            live.clock.resume()
            now = datetime.now(UTC)
            live.record = replace(_changed(live.record, "running", None), started_at=now)
            live.touch()
            await self._rows.save(_current(live))
            return _current(live)

    def _on_idle(self, live: LiveSandbox) -> None:
        if self._engine.capabilities.pause == "none":
            return
        seconds = live.record.timeout_sec
        reason = f"Nothing happened for {seconds} seconds."
        _ = self._tasks.start(self._pause(live, reason))

    async def _end(self, live: LiveSandbox, reason: str | None) -> None:
        task = self._ending.get(live.record.id)
        if task is None:
            live.ending = reason or "It was destroyed."
            task = self._tasks.start(self._destroy(live, reason))
            self._ending[live.record.id] = task
            task.add_done_callback(lambda _: self._ending.pop(live.record.id))
        await asyncio.shield(task)

    async def _destroy(self, live: LiveSandbox, reason: str | None) -> None:
        async with live.lock:
            live.forget_timer()
            try:
                with engine_errors():
                    await self._engine.destroy(live.record.id)
            except BaseException:
                live.ending = None
                raise
            live.record = _changed(_current(live), "stopped", reason)
            await self._rows.save(live.record)
            _ = self._live.pop(live.record.id, None)
            _ = self._saved.pop(live.record.id, None)

    async def _watch(self, live: LiveSandbox) -> None:
        try:
            await live.handle.wait_gone()
        except EngineError:
            _log.exception("Lost sight of a sandbox", extra={"sandbox_id": live.record.id})
        if live.ending is None and not self._closing:
            _log.warning("A sandbox died", extra={"sandbox_id": live.record.id})
            await self._end(live, "The sandbox died by itself.")


def _current(live: LiveSandbox) -> SandboxRecord:
    return replace(live.record, last_active_at=live.last_active)


def _changed(record: SandboxRecord, status: str, reason: str | None) -> SandboxRecord:
    return replace(record, status=status, status_reason=reason, last_updated=datetime.now(UTC))
