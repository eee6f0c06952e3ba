"""Builds in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from .builds import BuildRecord

__all__ = ["MemoryBuilds"]

_UNFINISHED = ("pending", "running")


class MemoryBuilds:
    """The rows of builds and their logs."""

    def __init__(self) -> None:
        self._rows = dict[str, BuildRecord]()
        self._logs = dict[str, str]()

    async def add(self, record: BuildRecord) -> None:
        """Add a row."""
        self._rows[record.id] = record

    async def save(self, record: BuildRecord) -> bool:
        """Write what has become of a build, unless it has ended."""
        known = self._rows.get(record.id)
        if known is None or known.status not in _UNFINISHED:
            return False
        self._rows[record.id] = record
        return True

    async def adopt(self, build_id: str, host_id: str) -> bool:
        """Give a build that nobody has to a host; return whether nobody had it."""
        known = self._rows.get(build_id)
        if known is None or known.host_id is not None or known.status not in _UNFINISHED:
            return False
        self._rows[build_id] = replace(known, host_id=host_id)
        return True

    async def get(self, build_id: str) -> BuildRecord | None:
        """Return the build of this id."""
        return self._rows.get(build_id)

    async def list(
        self, before: tuple[datetime, str] | None, limit: int | None
    ) -> Sequence[BuildRecord]:
        """Return builds, newest first."""
        rows = [row for row in self._rows.values() if before is None or _age(row) < before]
        return sorted(rows, key=_age, reverse=True)[:limit]

    async def unfinished(self, hosts: Collection[str | None]) -> Sequence[BuildRecord]:
        """Return those of these hosts that are pending or running, oldest first."""
        rows = [row for row in self._rows.values() if row.status in _UNFINISHED]
        return sorted((row for row in rows if row.host_id in hosts), key=_age)

    async def save_log(self, build_id: str, content: str) -> None:
        """Write the log of a build."""
        if build_id in self._rows:
            self._logs[build_id] = content

    async def log(self, build_id: str) -> str | None:
        """Return the log of a build."""
        return self._logs.get(build_id)

    async def remove_before(self, time: datetime) -> None:
        """Forget finished builds older than that."""
        for row in list(self._rows.values()):
            if row.status not in _UNFINISHED and row.created_at < time:
                del self._rows[row.id]
                _ = self._logs.pop(row.id, None)


def _age(row: BuildRecord) -> tuple[datetime, str]:
    return row.created_at, row.id
