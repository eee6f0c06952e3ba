"""The living sandboxes: the one place where they pause, wake and end.

`lifecycle` says what becomes of a transition that fails or is abandoned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sandlot.server.engine.base import Engine, EngineError, SandboxHandle
from sandlot.server.store.base import SandboxRows
from sandlot.server.store.records import SandboxRecord

from .errors import HostUnavailableError, ServiceError
from .lifecycle import FIRST_STATUS, Way, move
from .live import LiveSandbox
from .problems import engine_errors
from .tasks import TaskGroup

__all__ = ["Lives"]

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_ABANDONED = "The server that was making it was not heard of, and another one made a new one."
_GIVEN_UP = "Another server said that it is gone, as this one was not heard of."
_log = logging.getLogger(__name__)


class Lives:
    """The running and the paused sandboxes of all teams."""

    def __init__(self, rows: SandboxRows, engine: Engine) -> None:
        self._rows = rows
        self._engine = engine
        self._living = dict[str, LiveSandbox]()
        self._ending = dict[str, asyncio.Task[None]]()
        self._tasks = TaskGroup()
        self._watchers = TaskGroup()
        self._saved = dict[str, datetime]()
        self._unsaved = dict[str, SandboxRecord]()
        self._farewells: list[Callable[[str], Awaitable[None]]] = []
        self._witnesses: list[Callable[[Way, SandboxRecord], None]] = []
        self._closing = False

    @property
    def all(self) -> Sequence[LiveSandbox]:
        """The running and the paused ones."""
        return list(self._living.values())

    def find(self, sandbox_id: str) -> LiveSandbox | None:
        """Return a sandbox that is running or paused."""
        return self._living.get(sandbox_id)

    def overlay(self, record: SandboxRecord) -> SandboxRecord:
        """Return a row as it would be were everything written down at once."""
        live = self._living.get(record.id)
        return self._unsaved.get(record.id, record) if live is None else live.current

    def when_gone(self, farewell: Callable[[str], Awaitable[None]]) -> None:
        """Have something done after the end of each sandbox; it is given the id."""
        self._farewells.append(farewell)

    def when_moved(self, witness: Callable[[Way, SandboxRecord], None]) -> None:
        """Have a function called with each transition and what the sandbox is after it."""
        self._witnesses.append(witness)

    def tell(self, way: Way, record: SandboxRecord) -> None:
        """Tell of a transition."""
        for witness in self._witnesses:
            witness(way, record)

    async def enter(self, record: SandboxRecord, handle: SandboxHandle) -> LiveSandbox:
        """Take in a sandbox that lives.

        One that has just been made is `pending` and starts hereby. One that outlived its server is
        what it was: its idle timer and its lease begin anew, and its lifetime goes on.

        Raises:
            HostUnavailableError: It has just been made, and was given up meanwhile.
        """
        is_new = record.status == "pending"
        if is_new:
            record = move(record, "start")
        live = LiveSandbox(record, handle, self._on_idle, self._on_due)
        self._living[record.id] = live
        _ = self._watchers.start(self._watch(live))
        kept = await self.save(live.current)
        if is_new and not kept:
            await self.end(live, _GIVEN_UP)
            raise HostUnavailableError(_GIVEN_UP)
        if is_new:
            self.tell("start", live.current)
        return live

    async def pause(self, live: LiveSandbox) -> SandboxRecord:
        """Freeze a running sandbox."""
        return await self._tasks.finished(self._pause(live, None))

    async def resume(self, live: LiveSandbox) -> SandboxRecord:
        """Thaw a paused sandbox."""
        return await self._tasks.finished(self._resume(live))

    async def restart(self, live: LiveSandbox, how: Callable[[], Awaitable[None]]) -> SandboxRecord:
        """Have the engine do something after which a running or paused sandbox runs anew."""
        return await self._tasks.finished(self._restart(live, how))

    async def end(self, live: LiveSandbox, reason: str | None) -> None:
        """Destroy a sandbox; everything else is refused from now on.

        Raises:
            ServiceError: The engine failed; the sandbox is as before, or will be found dead.
        """
        task = self._ending.get(live.record.id)
        if task is None:
            live.ending = reason or "It was destroyed."
            task = self._tasks.start(self._end(live, reason))
            self._ending[live.record.id] = task
            task.add_done_callback(lambda _: self._ending.pop(live.record.id))
        await asyncio.shield(task)

    async def abandon(self, team_id: str, sandbox_id: str) -> bool:
        """Make sure that nothing comes of an attempt to make a sandbox, unless it is made by now.

        Whoever was at it, perhaps another server, finds that its row says so, and undoes it.

        Returns:
            Whether there is nothing of that id.
        """
        record = await self._rows.get(team_id, sandbox_id)
        if record is not None and record.status == FIRST_STATUS:
            _ = await self._rows.save(move(record, "fail", _ABANDONED), only=(FIRST_STATUS,))
        return record is None

    async def give_up(self, host_id: str, reason: str) -> None:
        """Say of what lives on a host that is no more, and not here, that it is gone with it."""
        for record in await self._rows.on_host(host_id):
            gone = move(record, "lose", reason)
            if await self.save(gone):
                self.tell("lose", gone)

    async def save(self, record: SandboxRecord) -> bool:
        """Write a row, now or later; return False if it says that the sandbox is gone.

        If it lives here it ends then: who said so may have made another one in its place.
        """
        self._unsaved[record.id] = record
        try:
            kept = await self._rows.save(record)
        except Exception:
            _log.exception("A row is written later", extra={"sandbox_id": record.id})
            return True
        if self._unsaved.get(record.id) is record:
            del self._unsaved[record.id]
        live = self._living.get(record.id)
        if not kept and live is not None and live.ending is None:
            _log.warning("A sandbox was given up elsewhere", extra={"sandbox_id": record.id})
            _ = self._watchers.start(self._insist_on_end(live, _GIVEN_UP))
        return kept

    async def catch_up(self) -> None:
        """Write down when sandboxes were last active, and what could not be written before.

        Not at every command: that would be a commit each.
        """
        for record in list(self._unsaved.values()):
            _ = await self.save(self.overlay(record))
        times = {
            live.record.id: live.last_active
            for live in self.all
            if self._saved.get(live.record.id) != live.last_active
        }
        if times:
            await self._rows.save_activity(times)
            self._saved.update(times)

    async def close(self, *, keep: bool = False) -> None:
        """End all of them with the engine, or leave them to the next life of it."""
        self._closing = True
        await self._watchers.cancel()
        for live in self.all:
            live.ending = "The server was shut down."
            live.forget_idleness()
            live.deadlines.stop()
        if keep:
            await self._tasks.finish()
            await self.catch_up()
            await self._engine.release()
        else:
            await self._engine.close()
            await self._tasks.finish()
            for live in self.all:
                self.tell("end", move(live.current, "end", live.ending))
        self._living.clear()

    async def _pause(self, live: LiveSandbox, reason: str | None) -> SandboxRecord:
        async with live.lock:
            live.require("running")
            if reason is not None and not live.is_idle:
                live.watch_idleness()
                return live.current  # somebody came back just in time
            try:
                with engine_errors():
                    await live.handle.pause()
            except ServiceError:
                await self._undo_pause(live)
                raise
            live.clock.pause()
            live.forget_idleness()
            return await self._move(live, "pause", move(live.current, "pause", reason))

    async def _undo_pause(self, live: LiveSandbox) -> None:
        """Let everything run on after a pause that failed half-way."""
        try:
            await live.handle.resume()
        except EngineError:
            _log.warning("A sandbox may be paused in part", extra={"sandbox_id": live.record.id})

    async def _resume(self, live: LiveSandbox) -> SandboxRecord:
        async with live.lock:
            live.require("paused")
            with engine_errors():
                await live.handle.resume()
            return await self._run_on(live, "resume")

    async def _restart(
        self, live: LiveSandbox, how: Callable[[], Awaitable[None]]
    ) -> SandboxRecord:
        async with live.lock:
            live.require("running", "paused")
            with engine_errors():
                await how()
            return await self._run_on(live, "restart")

    async def _run_on(self, live: LiveSandbox, way: Way) -> SandboxRecord:
        live.clock.resume()
        live.record = move(live.record, way)
        live.touch()
        return await self._move(live, way, live.current)

    async def _end(self, live: LiveSandbox, reason: str | None) -> None:
        async with live.lock:
            try:
                with engine_errors():
                    await self._engine.destroy(live.record.id)
            except BaseException:
                live.ending = None
                raise
            live.forget_idleness()
            live.deadlines.stop()
            _ = await self._move(live, "end", move(live.current, "end", reason))
            _ = self._living.pop(live.record.id, None)
            _ = self._saved.pop(live.record.id, None)
        for farewell in self._farewells:
            await farewell(live.record.id)

    async def _move(self, live: LiveSandbox, way: Way, record: SandboxRecord) -> SandboxRecord:
        live.record = record
        _ = await self.save(record)
        self.tell(way, record)
        return record

    def _on_idle(self, live: LiveSandbox) -> None:
        if live.ending is not None:
            live.watch_idleness()  # in case it does not end
            return
        reason = f"Nothing happened for {live.record.timeout_sec} seconds."
        if live.record.on_timeout == "destroy":
            _ = self._watchers.start(self._insist_on_end(live, reason))
        elif self._engine.capabilities.pause != "none":
            _ = self._tasks.start(self._pause_idle(live, reason))

    async def _pause_idle(self, live: LiveSandbox, reason: str) -> None:
        try:
            _ = await self._pause(live, reason)
        except ServiceError as error:
            _log.warning(
                "An idle sandbox was not paused: %s", error, extra={"sandbox_id": live.record.id}
            )
            if live.ending is None:
                live.watch_idleness()

    def _on_due(self, live: LiveSandbox, reason: str) -> None:
        _ = self._watchers.start(self._insist_on_end(live, reason))

    async def _watch(self, live: LiveSandbox) -> None:
        try:
            await live.handle.wait_gone()
        except EngineError:
            _log.exception("Lost sight of a sandbox", extra={"sandbox_id": live.record.id})
        if live.ending is None and not self._closing:
            _log.warning("A sandbox died", extra={"sandbox_id": live.record.id})
        await self._insist_on_end(live, "The sandbox died by itself.")

    async def _insist_on_end(self, live: LiveSandbox, reason: str) -> None:
        """End a sandbox that nobody asks to end, so that nobody would ask again."""
        delay = _FIRST_RETRY
        while self._living.get(live.record.id) is live and not self._closing:
            try:
                await self.end(live, reason)
            except ServiceError as error:
                _log.warning(
                    "A sandbox could not be ended, trying again: %s",
                    error,
                    extra={"sandbox_id": live.record.id},
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_RETRY)
