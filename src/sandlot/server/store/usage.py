"""Usage: what teams used of each day, and what a store must do with it.

A row is written when a sandbox ceases to run, in the transaction that says so of the sandbox. What
still runs stands in the rows of sandboxes; so nothing is counted twice, or lost with a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from .records import SandboxRecord

__all__ = ["DayUsage", "UsageRows", "has_run", "usage_of"]


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What was used of a day, in UTC.

    Attributes:
        cpu_seconds: Processors, times seconds.
        memory_mb_seconds: MiB of memory, times seconds.
    """

    day: date
    cpu_seconds: float
    memory_mb_seconds: float


class UsageRows(Protocol):
    """What sandboxes that no longer run have used."""

    async def list(self, team_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return what a team used of each day, in order; days without use are left out."""
        ...


def has_run(before: SandboxRecord, after: SandboxRecord) -> bool:
    """Tell whether a sandbox ceased to run between two states of its row, or began to run anew."""
    ended = after.status != "running" or after.started_at != before.started_at
    return before.status == "running" and ended


def usage_of(record: SandboxRecord, until: datetime) -> Sequence[DayUsage]:
    """Return what a running sandbox has used since it began to run."""
    begin = (record.started_at or until).astimezone(UTC)
    found: list[DayUsage] = []
    while begin < until:
        midnight = datetime.combine(begin.date() + timedelta(days=1), time(), UTC)
        end = min(until, midnight)
        seconds = (end - begin).total_seconds()
        found.append(DayUsage(begin.date(), record.vcpus * seconds, record.memory_mb * seconds))
        begin = end
    return found
