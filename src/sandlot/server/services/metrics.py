"""What sandboxes use, over time.

Each sandbox has three series: a point a second for ten minutes, averages of 30 seconds for two
hours, averages of five minutes for a day. They live as long as the sandbox.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sandlot.server.engine.base import EngineError, Usage

from .errors import InvalidRequestError, NotFoundError
from .live import LiveSandbox
from .sandboxes import Sandboxes

__all__ = ["Metrics", "Point"]

_SHARE = 8
"""Sandboxes that are measured at a stretch."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Point:
    """Use of resources at one time.

    Attributes:
        time: Seconds since 1970.
        cpu_pct: 0 to 100, of all processors of the sandbox.
    """

    time: int
    cpu_pct: float
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class _Tier:
    seconds: int
    length: int


_TIERS: Final = (_Tier(1, 600), _Tier(30, 240), _Tier(300, 288))
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "5m": (0, 300),
    "10m": (0, 600),
    "1h": (1, 3600),
    "2h": (1, 7200),
    "6h": (2, 21600),
    "12h": (2, 43200),
    "24h": (2, 86400),
}
"""Tier and seconds of each range."""


class History:
    """The series of one sandbox."""

    def __init__(self, vcpus: int) -> None:
        self._vcpus = vcpus
        self._series = tuple(deque[Point](maxlen=tier.length) for tier in _TIERS)
        self._windows = tuple(list[Point]() for _ in _TIERS)
        self._last: tuple[float, float] | None = None

    def add(self, usage: Usage, now: float, wall: float) -> None:
        """Add a measurement.

        Args:
            usage: What was measured.
            now: When, on a clock that never jumps.
            wall: When, in seconds since 1970.
        """
        percent = 0.0
        if self._last is not None and now > self._last[0]:
            share = (usage.cpu_seconds - self._last[1]) / (now - self._last[0])
            percent = min(max(share / self._vcpus * 100, 0.0), 100.0)
        self._last = (now, usage.cpu_seconds)
        point = Point(int(wall), round(percent, 2), usage.memory_bytes, usage.disk_bytes)
        self._series[0].append(point)
        for tier, series, window in zip(
            _TIERS[1:], self._series[1:], self._windows[1:], strict=True
        ):
            if window and point.time // tier.seconds != window[0].time // tier.seconds:
                series.append(_average(window))
                window.clear()
            window.append(point)

    def points(self, range: str, wall: float) -> Sequence[Point]:
        """Return the points of a range, in order of time."""
        index, seconds = _RANGES[range]
        points = list(self._series[index])
        if self._windows[index]:
            points.append(_average(self._windows[index]))
        return [point for point in points if point.time > wall - seconds]


class Metrics:
    """Measures all running sandboxes every second."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._histories = dict[str, History]()

    async def measure(self) -> None:
        """Add a point for each running sandbox."""
        live = self._sandboxes.live
        for sandbox_id in self._histories.keys() - {sandbox.record.id for sandbox in live}:
            del self._histories[sandbox_id]
        for number, sandbox in enumerate(live):
            if sandbox.record.status == "running" and sandbox.ending is None:
                await self._measure(sandbox)
            if number % _SHARE == 0:
                await asyncio.sleep(0)  # requests go first

    async def points(self, team_id: str, sandbox_id: str, range: str) -> Sequence[Point]:
        """Return what a sandbox used.

        Raises:
            NotFoundError: There is no such sandbox, or it is gone.
            InvalidRequestError: There is no such range.
        """
        record = await self._sandboxes.get(team_id, sandbox_id)
        live = self._sandboxes.find_live(record.id)
        if live is None:
            raise NotFoundError(f"The sandbox is {record.status}: its metrics went with it.")
        if range not in _RANGES:
            raise InvalidRequestError(f"range: must be one of {', '.join(_RANGES)}.")
        if sandbox_id not in self._histories and record.status == "running":
            await self._measure(live)
        history = self._histories.get(sandbox_id)
        return [] if history is None else history.points(range, time.time())

    async def _measure(self, live: LiveSandbox) -> None:
        try:
            usage = await live.handle.usage()
        except EngineError as error:
            _log.debug("No metrics of a sandbox: %s", error)
            return
        history = self._histories.get(live.record.id)
        if history is None:
            history = self._histories[live.record.id] = History(live.record.vcpus)
        history.add(usage, time.monotonic(), time.time())


def _average(points: Sequence[Point]) -> Point:
    count = len(points)
    return Point(
        time=points[-1].time,
        cpu_pct=round(sum(point.cpu_pct for point in points) / count, 2),
        memory_bytes=sum(point.memory_bytes for point in points) // count,
        disk_bytes=sum(point.disk_bytes for point in points) // count,
    )
