"""Attempts that may be made only so often."""

from __future__ import annotations

import time
from collections.abc import Callable

from .errors import RateLimitedError

__all__ = ["Throttle"]

_REMEMBERED = 10_000


class Throttle:
    """Allows so many attempts at once, and as many again in each period, evenly spread."""

    def __init__(
        self, attempts: int, period: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._interval = period / attempts
        self._clock = clock
        self._clear = dict[str, float]()
        """When all attempts will be allowed again, by what makes them; oldest entry first."""

    def take(self, key: str) -> None:
        """Count an attempt.

        Raises:
            RateLimitedError: There were too many.
        """
        now = self._clock()
        clear = max(self._clear.pop(key, now), now)
        wait = clear - now - self._interval * (self._attempts - 1)
        if wait > 0:
            self._clear[key] = clear
            raise RateLimitedError("Too many attempts: try again later.", wait)
        self._clear[key] = clear + self._interval
        if len(self._clear) > _REMEMBERED:
            self._forget(now)

    def give_back(self, key: str) -> None:
        """Do not count an attempt after all."""
        if key in self._clear:
            self._clear[key] -= self._interval

    def _forget(self, now: float) -> None:
        for key in [key for key, clear in self._clear.items() if clear <= now]:
            del self._clear[key]
        while len(self._clear) > _REMEMBERED:
            del self._clear[next(iter(self._clear))]
