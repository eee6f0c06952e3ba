"""Builds in memory."""

from __future__ import annotations

from collections.abc import Sequence
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

    async def save(self, record: BuildRecord) -> None:
        """Write what has become of a build."""
        if record.id in self._rows:
            self._rows[record.id] = record

    async def get(self, build_id: str) -> BuildRecord | None:
        """Return the build of this id."""
        return self._rows.get(build_id)

    async def list(
        self, before: tuple[datetime, str] | None, limit: int | None
    ) -> Sequence[BuildRecord]:
        """Return builds, newest first."""
        rows = [row for row in self._rows.values() if before is None or _age(row) < before]
        return sorted(rows, key=_age, reverse=True)[:limit]

    async def unfinished(self) -> Sequence[BuildRecord]:
        """Return those that are pending or running, oldest first."""
        return sorted((r for r in self._rows.values() if r.status in _UNFINISHED), key=_age)

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
