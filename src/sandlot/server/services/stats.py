"""How much each team runs, now and over time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sandlot.server.store.base import StatsRows
from sandlot.server.store.records import StatsSample

from .errors import InvalidRequestError
from .sandboxes import Sandboxes

__all__ = ["Stats", "StatsReport"]

_DAY = 86400
_KEPT = 60 * _DAY
_PEAKS = 30 * _DAY
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "5m": (300, 3),
    "1h": (3600, 30),
    "6h": (21600, 180),
    "24h": (86400, 720),
    "30d": (2592000, 21600),
}
"""Seconds, and seconds of a bucket, of each range."""


@dataclass(frozen=True, slots=True)
class StatsReport:
    """How much a team runs."""

    range: str
    current: StatsSample
    peaks: StatsSample
    series: Sequence[StatsSample]


class Stats:
    """Samples what each team runs."""

    def __init__(self, rows: StatsRows, sandboxes: Sandboxes) -> None:
        self._rows = rows
        self._sandboxes = sandboxes
        self._counted = set[str]()

    async def sample(self) -> None:
        """Write down what each team runs; a team without sandboxes is noted once."""
        samples = self._count()
        for team_id in self._counted - samples.keys():
            samples[team_id] = _nothing()
        self._counted = {team_id for team_id, sample in samples.items() if sample.memory_mb}
        if samples:
            await self._rows.add(samples)

    async def forget_old(self) -> None:
        """Forget samples that no range reaches."""
        await self._rows.remove_before(int(time.time()) - _KEPT)

    async def report(self, team_id: str, range: str) -> StatsReport:
        """Return how much a team runs.

        Raises:
            InvalidRequestError: There is no such range.
        """
        if range not in _RANGES:
            raise InvalidRequestError(f"range: must be one of {', '.join(_RANGES)}.")
        seconds, width = _RANGES[range]
        now = int(time.time())
        current = self._count().get(team_id, _nothing())
        peaks = await self._rows.peaks(team_id, now - _PEAKS)
        return StatsReport(
            range=range,
            current=current,
            peaks=StatsSample(
                sampled_at=now,
                running=max(peaks.running, current.running),
                vcpus=max(peaks.vcpus, current.vcpus),
                memory_mb=max(peaks.memory_mb, current.memory_mb),
            ),
            series=await self._rows.series(team_id, now - seconds, width),
        )

    def _count(self) -> dict[str, StatsSample]:
        teams = defaultdict[str, list[tuple[int, int, int]]](list)
        for live in self._sandboxes.live:
            record = live.record
            if record.status == "running":
                teams[record.team_id].append((1, record.vcpus, record.memory_mb))
            else:
                # A paused sandbox keeps its memory but not its processors.
                teams[record.team_id].append((0, 0, (record.memory_mb + 1) // 2))
        now = int(time.time())
        return {
            team_id: StatsSample(now, *(sum(column) for column in zip(*rows, strict=True)))
            for team_id, rows in teams.items()
        }


def _nothing() -> StatsSample:
    return StatsSample(int(time.time()), 0, 0, 0)
