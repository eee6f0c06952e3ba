"""What a team has used of each day: processors and memory, for as long as its sandboxes ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sandlot.server.store.base import Store
from sandlot.server.store.records import SandboxFilter
from sandlot.server.store.usage import DayUsage, usage_of

from .errors import InvalidRequestError

__all__ = ["Usage", "UsageReport"]

_USUAL = 30
_LONGEST = 92


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was used from one day to another, in UTC; days without use are left out."""

    first: date
    last: date
    days: Sequence[DayUsage]


class Usage:
    """Adds up what teams used."""

    def __init__(self, store: Store) -> None:
        self._past = store.usage
        self._sandboxes = store.sandboxes

    async def report(self, team_id: str, first: date | None, last: date | None) -> UsageReport:
        """Return what a team used of each day.

        Args:
            team_id: Which.
            first: The first day; the 29th before the last one if None.
            last: The last day; today if None.

        Raises:
            InvalidRequestError: That is no span of 92 days or less.
        """
        now = datetime.now(UTC)
        last = last or now.date()
        try:
            first = first or last - timedelta(days=_USUAL - 1)
        except OverflowError as error:
            raise InvalidRequestError("to: is too early.") from error
        if not 0 <= (last - first).days <= _LONGEST:
            raise InvalidRequestError(f"from: must be 0 to {_LONGEST} days before to.")
        cpu, memory = defaultdict[date, float](float), defaultdict[date, float](float)
        for used in await self._used(team_id, first, last, now):
            if first <= used.day <= last:
                cpu[used.day] += used.cpu_seconds
                memory[used.day] += used.memory_mb_seconds
        days = [DayUsage(day, cpu[day], memory[day]) for day in sorted(cpu)]
        return UsageReport(first, last, days)

    async def _used(
        self, team_id: str, first: date, last: date, now: datetime
    ) -> Sequence[DayUsage]:
        used = list(await self._past.list(team_id, first, last))
        for record in await self._sandboxes.list(team_id, SandboxFilter(status="running")):
            used += usage_of(record, now)
        return used
