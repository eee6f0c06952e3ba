"""Queries about how much teams ran over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, insert, select

from ..records import StatsSample
from .database import Database
from .tables import stats_samples

__all__ = ["SqlStats"]


class SqlStats:
    """The samples of all teams."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, samples: Mapping[str, StatsSample]) -> None:
        """Add a sample for each team."""
        values = [
            {
                "team_id": team_id,
                "sampled_at": sample.sampled_at,
                "running": sample.running,
                "vcpus": sample.vcpus,
                "memory_mb": sample.memory_mb,
            }
            for team_id, sample in samples.items()
        ]
        async with self._database.begin() as connection:
            _ = await connection.execute(insert(stats_samples), values)

    async def remove_before(self, time: int) -> None:
        """Forget samples older than that."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                delete(stats_samples).where(stats_samples.c.sampled_at < time)
            )

    async def peaks(self, team_id: str, since: int) -> StatsSample:
        """Return the highest values since then."""
        columns = stats_samples.c
        query = select(
            func.coalesce(func.max(columns.running), 0),
            func.coalesce(func.max(columns.vcpus), 0),
            func.coalesce(func.max(columns.memory_mb), 0),
        ).where(columns.team_id == team_id, columns.sampled_at >= since)
        async with self._database.begin() as connection:
            running, vcpus, memory_mb = (await connection.execute(query)).one()
        return StatsSample(since, running, vcpus, memory_mb)

    async def series(self, team_id: str, since: int, width: int) -> Sequence[StatsSample]:
        """Return the highest values of each bucket of `width` seconds, in order of time."""
        columns = stats_samples.c
        bucket = columns.sampled_at - columns.sampled_at % width
        query = (
            select(
                bucket.label("bucket"),
                func.max(columns.running),
                func.max(columns.vcpus),
                func.max(columns.memory_mb),
            )
            .where(columns.team_id == team_id, columns.sampled_at >= since)
            .group_by(bucket)
            .order_by(bucket)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
        return [StatsSample(*row) for row in rows]
