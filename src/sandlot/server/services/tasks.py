"""Tasks that outlive the request that started them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["TaskGroup"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class TaskGroup:
    """Keeps tasks from being forgotten: their failures are logged, and their end can be awaited."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[object]]()

    def start(self, work: Coroutine[object, object, _T]) -> asyncio.Task[_T]:
        """Start a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def finished(self, work: Coroutine[object, object, _T]) -> _T:
        """Start a task and wait for its end; it goes on if the caller is cancelled."""
        return await asyncio.shield(self.start(work))

    async def finish(self) -> None:
        """Wait for the end of all tasks."""
        while self._tasks:
            _ = await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their end."""
        for task in self._tasks:
            _ = task.cancel()
        await self.finish()

    def _forget(self, task: asyncio.Task[_T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("A task failed", exc_info=error)
