"""Watches all sandboxes of an engine, and what the host has left for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from sandlot.server.engine.base import EngineError
from sandlot.server.guest.wire import WireError

from .sentry import Sentry

__all__ = ["Reserve", "Watchdog"]

_log = logging.getLogger("sandlot.server.engine")

_TICK = 0.1
_FEW_FILES = 1000


@dataclass(frozen=True, slots=True)
class Reserve:
    """What sandboxes must leave to the host, in bytes.

    Attributes:
        disk: Of the file system that they store their files on.
        memory: Of the memory that is available; only of interest without control groups.
    """

    disk: int = 512 << 20
    memory: int = 128 << 20


class Watchdog:
    """Has every sandbox looked at.

    Args:
        directory: Where sandboxes store their files.
        reserve: What they must leave to the host.
    """

    def __init__(self, directory: Path, reserve: Reserve) -> None:
        self._directory = directory
        self._reserve = reserve
        self._sentries: dict[Sentry, float] = {}
        self._looking: dict[Sentry, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._free = 0

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Watch no more; may be repeated."""
        tasks = [*self._looking.values(), *([] if self._task is None else [self._task])]
        self._task = None
        for task in tasks:
            _ = task.cancel()
        if tasks:
            _ = await asyncio.wait(tasks)

    def watch(self, sentry: Sentry) -> None:
        """Watch one more sandbox, until it is gone."""
        self._sentries[sentry] = 0.0

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._look_around()
            except OSError as error:
                _log.warning("the host could not be looked at: %s", error.strerror)

    async def _look_around(self) -> None:
        for sentry in [sentry for sentry in self._sentries if sentry.gone]:
            del self._sentries[sentry]
        if not self._sentries:
            return
        before, self._free = self._free, _free(self._directory)
        low = self._free < self._reserve.disk
        for sentry in self._sentries:
            sentry.low = low
        if low:
            await self._defend_disk(falling=self._free < before)
        if any(sentry.bounds_memory for sentry in self._sentries):
            await self._defend_memory()
        for sentry in self._sentries:
            if sentry not in self._looking:
                self._looking[sentry] = asyncio.create_task(self._look(sentry))

    async def _look(self, sentry: Sentry) -> None:
        try:
            await sentry.look(self._free)
        except (EngineError, WireError, OSError) as error:
            if not sentry.gone:
                _log.warning("a sandbox could not be looked at: %s", error)
        finally:
            del self._looking[sentry]

    async def _defend_disk(self, *, falling: bool) -> None:
        """Stop whoever stores more and more."""
        grown = False
        for sentry in list(self._sentries):
            with contextlib.suppress(EngineError, OSError):
                grown |= await sentry.stem(self._free)
        if falling and not grown and self._most_active() is not None:
            _log.warning("the disk of the host is nearly full, and no sandbox is seen to fill it")

    async def _defend_memory(self) -> None:
        """End the sandbox that did most, as it is likely to be what uses the memory up."""
        if _available_memory() >= self._reserve.memory:
            return
        sentry = self._most_active()
        if sentry is not None:
            with contextlib.suppress(EngineError):
                await sentry.end_all(oom=True)

    def _most_active(self) -> Sentry | None:
        """Return who has used most CPU time since this was asked last, if anybody has."""
        used = {sentry: sentry.cpu - before for sentry, before in self._sentries.items()}
        for sentry in used:
            self._sentries[sentry] = sentry.cpu
        most = max(used, key=lambda sentry: used[sentry], default=None)
        return most if most is not None and used[most] > 0 else None


def _free(directory: Path) -> int:
    """Return the bytes that are free where a directory is; none if there are no files left."""
    status = os.statvfs(directory)
    if status.f_files > 0 and status.f_favail < _FEW_FILES:
        return 0
    return status.f_bavail * status.f_frsize


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62  # a kernel that does not tell
