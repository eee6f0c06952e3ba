"""Queries about idempotency keys."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Delete, Update, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..records import IdempotencyRecord
from .database import Database
from .tables import idempotency_keys

__all__ = ["SqlIdempotency"]

_OWNERS = ("",)
"""Whose rows count for everybody in a team: those of servers that did not tell owners apart."""


class SqlIdempotency:
    """The rows of requests that carried an idempotency key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, record: IdempotencyRecord, since: datetime) -> IdempotencyRecord:
        """Add a row unless one with this key is there that is not older than that; return which."""
        try:
            return await self._claim(record, since)
        except IntegrityError:  # somebody was faster; or it is impossible, and fails again
            return await self._claim(record, since)

    async def take(self, record: IdempotencyRecord, taken: IdempotencyRecord) -> bool:
        """Write a claim in the place of another, if that is still as it was seen."""
        same = idempotency_keys.c.held_until.is_not_distinct_from(record.held_until)
        query = update(idempotency_keys).where(_is(record), _is_held(record), same)
        return await self._changes(query.values(asdict(taken)))

    async def hold(self, record: IdempotencyRecord, until: datetime) -> bool:
        """Write until when a claim is held; return whether its holder still has it."""
        query = update(idempotency_keys).where(_is(record), _is_held(record))
        return await self._changes(query.values(held_until=until))

    async def finish(self, record: IdempotencyRecord) -> None:
        """Note that what the request made is there, or was."""
        query = update(idempotency_keys).where(_is(record)).values(is_done=True)
        _ = await self._changes(query)

    async def remove(self, record: IdempotencyRecord) -> bool:
        """Forget a request, unless somebody else has the claim; return whether it was there."""
        return await self._changes(delete(idempotency_keys).where(_is(record), _is_held(record)))

    async def remove_before(self, time: datetime) -> None:
        """Forget all requests older than that."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                delete(idempotency_keys).where(idempotency_keys.c.created_at < time)
            )

    async def _changes(self, query: Update | Delete) -> bool:
        async with self._database.begin() as connection:
            return (await connection.execute(query)).rowcount > 0

    async def _claim(self, record: IdempotencyRecord, since: datetime) -> IdempotencyRecord:
        columns = idempotency_keys.c
        same = and_(
            columns.team_id == record.team_id,
            columns.owner.in_((record.owner, *_OWNERS)),
            columns.key == record.key,
        )
        query = select(idempotency_keys).where(same, columns.created_at >= since)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().first()
            if row is not None:
                return IdempotencyRecord(**row)
            # Only the old one: another server may have claimed the key since it was looked for.
            old = delete(idempotency_keys).where(same, columns.created_at < since)
            _ = await connection.execute(old)
            _ = await connection.execute(insert(idempotency_keys).values(asdict(record)))
        return record


def _is(record: IdempotencyRecord) -> ColumnElement[bool]:
    columns = idempotency_keys.c
    return and_(
        columns.team_id == record.team_id,
        columns.owner == record.owner,
        columns.key == record.key,
        columns.resource_id == record.resource_id,
    )


def _is_held(record: IdempotencyRecord) -> ColumnElement[bool]:
    return idempotency_keys.c.holder.is_not_distinct_from(record.holder)
