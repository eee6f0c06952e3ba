"""What has to be closed, on its way from whoever receives it to the task that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["take"]

_T = TypeVar("_T")


async def take(future: asyncio.Future[_T], give_up: Callable[[_T], object]) -> _T:
    """Wait for something that has to be given up if nobody takes it.

    A task may be cancelled when what it waits for has come, but before it runs again: then the
    result is there, and nobody else will look at it.
    """
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled() and future.exception() is None:
            _ = give_up(future.result())
        raise
