"""How much disk a directory takes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["DiskMeter"]

_FRESH = 5.0
_BUDGET = 0.25
_DEPTH = 200
_BLOCK = 512  # of st_blocks, whatever the file system's own


class DiskMeter:
    """Adds up what a directory tree takes, in bounded time: a huge one is told too small.

    Args:
        find: Returns the directory, which may be another one each time.
    """

    def __init__(self, find: Callable[[], Path]) -> None:
        self._find = find
        self._value = 0
        self._expires = 0.0
        self._running: asyncio.Future[int] | None = None

    @property
    def last(self) -> int:
        """What was measured last."""
        return self._value

    async def measure(self) -> int:
        """Return the bytes allocated, as they were a few seconds ago at the earliest."""
        if time.monotonic() >= self._expires:
            if self._running is None:
                loop = asyncio.get_running_loop()
                self._running = loop.run_in_executor(None, _measure, self._find())
                self._running.add_done_callback(self._store)
            return await asyncio.shield(self._running)
        return self._value

    def _store(self, result: asyncio.Future[int]) -> None:
        self._running = None
        if not result.cancelled() and result.exception() is None:
            self._value = result.result()
            self._expires = time.monotonic() + _FRESH


def _measure(directory: Path) -> int:
    deadline = time.monotonic() + _BUDGET
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return _add_up(fd, deadline, _DEPTH)
    finally:
        os.close(fd)


def _add_up(fd: int, deadline: float, depth: int) -> int:
    """Add up a directory, without following links and without asking for rights."""
    total = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            if time.monotonic() > deadline:
                break
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                if depth and entry.is_dir(follow_symlinks=False):
                    total += _enter(fd, entry.name, deadline, depth - 1)
            except OSError:
                continue  # gone meanwhile, or not ours to read
    return total


def _enter(parent: int, name: str, deadline: float, depth: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=parent)
    try:
        return _add_up(fd, deadline, depth)
    finally:
        os.close(fd)
