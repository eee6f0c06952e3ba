"""Doing something again and again beside the user's own work: in a thread, and in a task."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_PATIENCE = 5.0
"""Seconds to wait for the end of what is being done."""


class Pulse:
    """Calls something every `interval` seconds, until that returns False or `stop` is called.

    In a forked child there is no thread to stop: only the parent goes on.
    """

    def __init__(self, beat: Callable[[], bool], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._stopping = threading.Event()
        self._owner = os.getpid()
        self._thread = threading.Thread(target=self._run, name="sandlot-pulse", daemon=True)

    def start(self) -> None:
        """Begin, with the first call after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being done is waited for, but not for long."""
        if os.getpid() == self._owner:
            self._stopping.set()
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            if not self._beat():
                return


class AsyncPulse:
    """Calls something every `interval` seconds, until that returns False or `stop` is called.

    In a forked child there is no task to stop: only the parent goes on.
    """

    def __init__(self, beat: Callable[[], Awaitable[bool]], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._owner = os.getpid()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with the first call after one interval."""
        import asyncio

        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is being done is abandoned."""
        import asyncio

        if self._task is not None and os.getpid() == self._owner:
            _ = self._task.cancel()
            _ = await asyncio.wait([self._task])

    async def _run(self) -> None:
        import asyncio

        while True:
            await asyncio.sleep(self._interval)
            if not await self._beat():
                return
