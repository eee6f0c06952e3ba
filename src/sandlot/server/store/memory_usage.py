"""Usage in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from .usage import DayUsage

__all__ = ["MemoryUsage"]


class MemoryUsage:
    """What sandboxes that no longer run have used."""

    def __init__(self) -> None:
        self._rows = defaultdict[str, dict[date, DayUsage]](dict)

    async def list(self, team_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return what a team used of each day, in order; days without use are left out."""
        rows = self._rows[team_id]
        return [rows[day] for day in sorted(rows) if first <= day <= last]

    def add(self, team_id: str, days: Sequence[DayUsage]) -> None:
        """Add what a team used."""
        rows = self._rows[team_id]
        for new in days:
            old = rows.get(new.day, DayUsage(new.day, 0.0, 0.0))
            rows[new.day] = DayUsage(
                new.day,
                old.cpu_seconds + new.cpu_seconds,
                old.memory_mb_seconds + new.memory_mb_seconds,
            )
