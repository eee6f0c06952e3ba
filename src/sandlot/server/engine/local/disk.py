"""How much disk a directory takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from .extent import measure

__all__ = ["DiskMeter"]

_FRESH = 5.0
_MOST_FILES = 250_000


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
    return measure(directory, most_files=_MOST_FILES).size
