"""Queries about what teams used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..usage import DayUsage
from .database import Database
from .tables import usage_days

__all__ = ["SqlUsage", "add_usage"]


class SqlUsage:
    """What sandboxes that no longer run have used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, team_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return what a team used of each day, in order; days without use are left out."""
        columns = usage_days.c
        query = (
            select(columns.day, columns.cpu_seconds, columns.memory_mb_seconds)
            .where(columns.team_id == team_id, columns.day.between(first, last))
            .order_by(columns.day)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [DayUsage(*row) for row in rows]


async def add_usage(connection: AsyncConnection, team_id: str, days: Sequence[DayUsage]) -> None:
    """Add what a team used, in a transaction that is open."""
    for used in days:
        if await _add(connection, team_id, used):
            continue
        values = {
            "team_id": team_id,
            "day": used.day,
            "cpu_seconds": used.cpu_seconds,
            "memory_mb_seconds": used.memory_mb_seconds,
        }
        try:
            async with connection.begin_nested():
                _ = await connection.execute(insert(usage_days).values(values))
        except IntegrityError:  # somebody else was faster to write the first row of the day
            _ = await _add(connection, team_id, used)


async def _add(connection: AsyncConnection, team_id: str, used: DayUsage) -> bool:
    """Add to the row of a day; return whether there is one."""
    columns = usage_days.c
    result = await connection.execute(
        update(usage_days)
        .where(columns.team_id == team_id, columns.day == used.day)
        .values(
            cpu_seconds=columns.cpu_seconds + used.cpu_seconds,
            memory_mb_seconds=columns.memory_mb_seconds + used.memory_mb_seconds,
        )
    )
    return result.rowcount > 0
