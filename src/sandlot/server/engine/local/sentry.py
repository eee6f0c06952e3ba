"""Holds those limits of a sandbox that no kernel holds: the sum of its files, and of its memory.

The kernel bounds a file and, by a control group, memory. Without privileges nothing bounds what all
files take together; without a control group nothing bounds what all processes have together. So
somebody looks, often when much changes and seldom when little does, and kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError
from .extent import Extent, measure
from .fates import Fates
from .group import Group
from .quota import DiskBounds, DiskQuota

__all__ = ["Sentry"]

_log = logging.getLogger("sandlot.server.engine")

_DISK_PERIOD = 1.0
_MEMORY_PERIOD = 0.2
_LONGEST_PERIOD = 4.0
_SHARE = 20  # looking takes at most this part of the time
_URGENT_SHARE = 8
_LOOKS = 50
_PAUSE = 0.01
_PATIENCE = 3.0  # seconds that an agent may take to answer
_GRAIN = 1 << 20
_walkers = asyncio.Semaphore(2)  # threads that may be busy with this, of the few that there are


class Sentry:
    """Looks after one sandbox.

    Args:
        agent: Its agent.
        directory: Where on the host it stores its files.
        count_sealed: Counts what it has written that was captured meanwhile, and is elsewhere.
        bounds: How much it may store.
        memory: Bytes of memory that it may use; None where a control group holds that.
        group: Its control groups, if it has any.

    Attributes:
        directory: May be set to another one.
        paused: Whether all of it stands still; then nobody looks.
        low: Whether the host has nothing left for it.
        lock: Held by whoever makes it stand still, or looks at it while it does.
        fates: What befell its programs.
    """

    def __init__(
        self,
        agent: AgentClient,
        directory: Path,
        count_sealed: Callable[[], Awaitable[Extent]],
        bounds: DiskBounds,
        memory: int | None,
        group: Group | None,
    ) -> None:
        self.directory = directory
        self._count_sealed = count_sealed
        self.paused = False
        self.low = False
        self.lock = asyncio.Lock()
        self.fates = Fates(None if group is None or memory is not None else group.count_ooms)
        self.quota = DiskQuota(bounds)
        self._agent = agent
        self._memory = memory
        self._group = group
        self._cpu = 0.0
        self._cpu_then = -1.0
        self._own_cpu = 0.0
        self._written_then = 0
        self._free_then: int | None = None
        self._measured = 0.0
        self._cost = 0.0
        self._inspected = 0.0
        self._period = _MEMORY_PERIOD

    @property
    def gone(self) -> bool:
        """Whether there is nothing to look after any more."""
        return self._agent.gone

    @property
    def bounds_memory(self) -> bool:
        """Whether its memory is held by looking."""
        return self._memory is not None

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that it had used when somebody looked last."""
        return self._cpu

    def wake(self) -> None:
        """Look soon: something was started."""
        self._period = _MEMORY_PERIOD

    async def look(self, free: int) -> None:
        """Look at what is due.

        Args:
            free: Bytes that are free where it stores its files.
        """
        if self.paused or self.gone:
            return
        try:
            await self._look_at_memory()
            if self._is_due(free):
                await self._look_at_disk(free)
        except TimeoutError:
            # Its memory is used up, or its processors: the agent itself waits for them.
            _log.warning("the agent of a sandbox does not get to answer")
            await self.end_all()
        except RefusedError as error:
            raise EngineError(f"the sandbox could not be looked at: {error}") from error

    async def stem(self, free: int) -> bool:
        """Stop it from growing, if it does, as the disk of the host is nearly full.

        Returns:
            Whether it was growing.
        """
        if self.paused or self.gone or not self._has_moved():
            return False
        known, before, cpu = self._measured > 0, self.quota.used, self._cpu
        found = await self._measure()
        self._cpu_then = cpu
        if not known or found.size <= before + _GRAIN:
            self._note(found, free)
            return False
        await self.end_all(no_space=True)
        await self._wait_ended()
        self._note(await self._measure(), free, after_kill=True)
        return True

    async def end_all(self, *, oom: bool = False, no_space: bool = False) -> None:
        """Kill everything that runs in it."""
        limit = "memory" if oom else "disk" if no_space else None
        _log.warning("all that ran in a sandbox is killed", extra={"limit": limit})
        self.fates.decide(oom=oom, no_space=no_space)
        if self._group is not None and self._group.can_end:
            await asyncio.to_thread(self._group.end)
        else:
            self._agent.tell("clear", {})

    async def spend(self, size: int) -> bool:
        """Use up space for what the server itself stores; return whether there was any."""
        if self.low:
            return False
        if self.quota.take(size):
            return True
        if self.paused or time.monotonic() < self._measured + self._cost * _URGENT_SHARE:
            return False
        try:
            self._note(await self._measure(), None)  # something may have been removed
        except (RefusedError, TimeoutError):
            return False
        return self.quota.take(size)

    def give_back(self, size: int) -> None:
        """Take back what `spend` has used up."""
        self.quota.give_back(size)

    async def _look_at_memory(self) -> None:
        now = time.monotonic()
        if self._memory is None or now < self._inspected + self._period:
            return
        message = await self._inspect(self._memory)
        cpu = wire.number(message, "cpu_seconds")
        if wire.boolean(message, "killed"):
            self.fates.decide(wire.optional_integer(message, "process"), oom=True)
        self._inspected = time.monotonic()
        moved = cpu > self._cpu
        longer = max(self._period * 2, (self._inspected - now) * _SHARE)
        self._period = _MEMORY_PERIOD if moved else min(longer, _LONGEST_PERIOD)
        self._cpu = cpu

    def _is_due(self, free: int) -> bool:
        waited = time.monotonic() - self._measured
        before = free if self._free_then is None else self._free_then
        if before - free >= max(self.quota.room, _GRAIN):  # it may be over its limit by now
            if waited < self._cost * _URGENT_SHARE:
                return False
        elif waited < max(_DISK_PERIOD, self._cost * _SHARE):
            return False
        return self._has_moved()

    def _has_moved(self) -> bool:
        """Tell whether anything has run since its files were counted last."""
        if self._group is not None:
            self._cpu = self._group.measure_cpu() - self._own_cpu
        return self._cpu > self._cpu_then

    async def _look_at_disk(self, free: int) -> None:
        cpu = self._cpu
        found = await self._measure()
        if found.exact and not self.quota.is_exceeded_by(DiskBounds(found.size, found.files)):
            self._note(found, free)
        else:
            await self._judge(free)
        self._cpu_then = cpu

    async def _judge(self, free: int) -> None:
        """Measure while nothing moves, and kill if it is too much."""
        async with self.lock:
            if self.paused:
                return
            async with self._still():
                found = await self._count(by_force=True)
            hidden = await self._count_hidden()
            whole = DiskBounds(found.size + hidden, found.files)
            exceeded = self.quota.is_exceeded_by(whole)
            self._note(Extent(whole.size, whole.files), free, after_kill=exceeded)
            if not exceeded:
                return
            await self.end_all(no_space=True)
            await self._wait_ended()
            self._note(await self._measure(), free, after_kill=True)

    async def _wait_ended(self) -> None:
        """Wait until what was killed is gone, or something new runs."""
        for _ in range(_LOOKS):
            if wire.integer(await self._inspect(None), "processes") == 0:
                return
            await asyncio.sleep(_PAUSE)

    @contextlib.asynccontextmanager
    async def _still(self) -> AsyncGenerator[None]:
        """Have nothing in it move."""
        if self._group is not None and self._group.can_freeze:
            await self._group.freeze()
            try:
                yield
            finally:
                await self._group.thaw()
            return
        _ = await self._agent.ask("stop", {})
        try:
            yield
        finally:
            _ = await self._agent.ask("continue", {})

    async def _measure(self) -> Extent:
        found = await self._count()
        return Extent(found.size + await self._count_hidden(), found.files, found.exact)

    async def _count(self, *, by_force: bool = False) -> Extent:
        sealed = await self._count_sealed()
        async with _walkers:
            began = time.monotonic()
            directory, most = self.directory, self.quota.most_files
            self._written_then = self.quota.written
            found = await asyncio.to_thread(measure, directory, most_files=most, by_force=by_force)
            self._measured = time.monotonic()
            self._cost = self._measured - began
        return Extent(found.size + sealed.size, found.files + sealed.files, found.exact)

    async def _count_hidden(self) -> int:
        """Return the bytes of files that have no name any more but are open."""
        if self._group is None:
            return max(wire.integer(await self._inspect(None), "disk_bytes"), 0)
        before = self._group.measure_cpu()
        message = await self._inspect(None)
        self._own_cpu += self._group.measure_cpu() - before  # looking is no reason to look again
        return max(wire.integer(message, "disk_bytes"), 0)

    async def _inspect(self, memory: int | None) -> wire.Message:
        async with asyncio.timeout(_PATIENCE):
            return await self._agent.ask("inspect", {"memory": memory})

    def _note(self, found: Extent, free: int | None, *, after_kill: bool = False) -> None:
        bounds = DiskBounds(found.size, found.files)
        self.quota.note(bounds, written=self._written_then, after_kill=after_kill)
        if free is not None:
            self._free_then = free
