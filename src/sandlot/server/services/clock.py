"""Time as a sandbox lives it: it stands still while the sandbox is paused."""

from __future__ import annotations

import asyncio

__all__ = ["RunClock"]


class RunClock:
    """Counts the seconds that a sandbox has spent running."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._counted = 0.0
        self._since = self._loop.time()
        self._running = asyncio.Event()
        self._running.set()

    def time(self) -> float:
        """Return the seconds counted so far."""
        if not self._running.is_set():
            return self._counted
        return self._counted + self._loop.time() - self._since

    def pause(self) -> None:
        """Stop counting."""
        self._counted = self.time()
        self._running.clear()

    def resume(self) -> None:
        """Go on counting."""
        if not self._running.is_set():
            self._since = self._loop.time()
            self._running.set()

    async def sleep(self, seconds: float) -> None:
        """Wait until that many more seconds have been counted."""
        end = self.time() + seconds
        while (left := end - self.time()) > 0:
            _ = await self._running.wait()
            await asyncio.sleep(left)
