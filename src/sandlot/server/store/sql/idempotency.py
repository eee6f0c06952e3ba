"""Queries about idempotency keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from ..records import IdempotencyRecord
from .database import Database
from .tables import idempotency_keys

__all__ = ["SqlIdempotency"]


class SqlIdempotency:
    """The rows of requests that carried an idempotency key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, team_id: str, key: str) -> IdempotencyRecord | None:
        """Return what came of the request with this key."""
        columns = idempotency_keys.c
        query = select(idempotency_keys).where(columns.team_id == team_id, columns.key == key)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else IdempotencyRecord(**row)

    async def put(self, record: IdempotencyRecord) -> None:
        """Note what comes of a request; a note with the same key is replaced."""
        columns = idempotency_keys.c
        values = {column.name: getattr(record, column.name) for column in columns}
        async with self._database.begin() as connection:
            _ = await connection.execute(
                delete(idempotency_keys).where(
                    columns.team_id == record.team_id, columns.key == record.key
                )
            )
            _ = await connection.execute(insert(idempotency_keys).values(values))

    async def remove(self, team_id: str, key: str) -> None:
        """Forget a request."""
        columns = idempotency_keys.c
        async with self._database.begin() as connection:
            _ = await connection.execute(
                delete(idempotency_keys).where(columns.team_id == team_id, columns.key == key)
            )

    async def remove_before(self, time: datetime) -> None:
        """Forget all requests older than that."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                delete(idempotency_keys).where(idempotency_keys.c.created_at < time)
            )
