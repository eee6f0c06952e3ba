"""Taking turns: among threads, and among tasks. asyncio is imported only where tasks do."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
Lock: TypeAlias = threading.Lock
AsyncLock: TypeAlias = "asyncio.Lock"


def lock() -> threading.Lock:
    """Make a lock for threads."""
    return threading.Lock()


def async_lock() -> asyncio.Lock:
    """Make a lock for tasks."""
    import asyncio

    return asyncio.Lock()


def condition() -> threading.Condition:
    """Make a condition for threads."""
    return threading.Condition()


def async_condition() -> asyncio.Condition:
    """Make a condition for tasks."""
    import asyncio

    return asyncio.Condition()


def take(lock: threading.Lock, give_up: float | None) -> bool:
    """Wait for a lock; return False if that takes too long."""
    patience = left(give_up)
    return lock.acquire(timeout=-1 if patience is None else min(patience, threading.TIMEOUT_MAX))


async def async_take(lock: asyncio.Lock, give_up: float | None) -> bool:
    """Wait for a lock; return False if that takes too long."""
    import asyncio

    try:
        async with asyncio.timeout(left(give_up)):
            return await lock.acquire()
    except TimeoutError:
        return False


def sleep(seconds: float) -> None:
    """Let time pass."""
    time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Let time pass."""
    import asyncio

    await asyncio.sleep(seconds)


def call(callback: Callable[[T], object], news: T) -> None:
    """Hand something to the user."""
    _ = callback(news)


async def async_call(callback: Callable[[T], object], news: T) -> None:
    """Hand something to the user, who may have to be awaited."""
    result = callback(news)
    if inspect.isawaitable(result):
        _ = await result


def wait_turn(turn: threading.Condition, give_up: float | None) -> bool:
    """Wait until another thread has received something; return False if that takes too long."""
    return turn.wait(left(give_up))


async def async_wait_turn(turn: asyncio.Condition, give_up: float | None) -> bool:
    """Wait until another task has received something; return False if that takes too long."""
    import asyncio

    try:
        return await asyncio.wait_for(turn.wait(), left(give_up))
    except TimeoutError:
        return False


def left(give_up: float | None) -> float | None:
    """Return the seconds until a moment; None for never."""
    return None if give_up is None else max(give_up - time.monotonic(), 0.0)


def left_or_raise(give_up: float | None) -> float | None:
    """Return the seconds until a moment; None for never.

    Raises:
        TimeoutError: There are none.
    """
    seconds = left(give_up)
    if seconds == 0:
        raise TimeoutError
    return seconds
