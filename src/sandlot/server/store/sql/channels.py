"""Queries about channels and deliveries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import RowMapping, Select, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from ..base import NameTakenError
from ..channels import ChannelRecord, DeliveryFilter, DeliveryRecord
from .database import Database
from .tables import channels, deliveries

__all__ = ["SqlChannels", "SqlDeliveries"]


class SqlChannels:
    """The rows of channels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: ChannelRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: The team has a channel of this name.
        """
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(channels).values(_channel_values(record)))
        except IntegrityError as error:
            raise NameTakenError(record.name) from error

    async def save(self, record: ChannelRecord) -> bool:
        """Write what can change of a channel; return whether it is there.

        Raises:
            NameTakenError: Another channel of the team has this name.
        """
        query = update(channels).where(channels.c.id == record.id)
        try:
            async with self._database.begin() as connection:
                result = await connection.execute(query.values(_channel_values(record)))
        except IntegrityError as error:
            raise NameTakenError(record.name) from error
        return result.rowcount > 0

    async def get(self, channel_id: str) -> ChannelRecord | None:
        """Return the channel of this id, whosever it is."""
        rows = await _select(self._database, select(channels).where(channels.c.id == channel_id))
        return ChannelRecord(**rows[0]) if rows else None

    async def list(self, team_id: str) -> Sequence[ChannelRecord]:
        """Return the channels of a team, newest first."""
        columns = channels.c
        query = select(channels).where(columns.team_id == team_id)
        query = query.order_by(columns.created_at.desc(), columns.id.desc())
        return [ChannelRecord(**row) for row in await _select(self._database, query)]

    async def remove(self, team_id: str, channel_id: str) -> bool:
        """Remove a channel of a team and its deliveries; return whether it was there."""
        columns = channels.c
        query = delete(channels).where(columns.id == channel_id, columns.team_id == team_id)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).rowcount > 0


class SqlDeliveries:
    """The rows of deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: DeliveryRecord) -> bool:
        """Add a row; return whether its channel is still there to have it."""
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(deliveries).values(_delivery_values(record)))
        except IntegrityError:
            return False
        return True

    async def save(self, record: DeliveryRecord) -> None:
        """Write what became of a delivery, if its channel is still there."""
        query = update(deliveries).where(deliveries.c.id == record.id)
        async with self._database.begin() as connection:
            _ = await connection.execute(query.values(_delivery_values(record)))

    async def list(self, channel_id: str, wanted: DeliveryFilter) -> Sequence[DeliveryRecord]:
        """Return deliveries of a channel, newest first."""
        columns = deliveries.c
        query = select(deliveries).where(columns.channel_id == channel_id)
        if wanted.status is not None:
            query = query.where(columns.status == wanted.status)
        if wanted.before is not None:
            query = query.where(tuple_(columns.created_at, columns.id) < wanted.before)
        query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(wanted.limit)
        return [DeliveryRecord(**row) for row in await _select(self._database, query)]

    async def pending(self, channel_id: str, limit: int) -> int:
        """Return how many deliveries of a channel are pending, counting up to a limit."""
        columns = deliveries.c
        waiting = select(columns.id).where(
            columns.channel_id == channel_id, columns.next_attempt_at.is_not(None)
        )
        query = select(func.count()).select_from(waiting.limit(limit).subquery())
        async with self._database.begin() as connection:
            return await connection.scalar(query) or 0

    async def next(
        self, limit: int, without: Collection[str], without_channels: Collection[str]
    ) -> Sequence[DeliveryRecord]:
        """Return the pending deliveries that are due first."""
        columns = deliveries.c
        query = select(deliveries).where(columns.next_attempt_at.is_not(None))
        if without:
            query = query.where(columns.id.not_in(without))
        if without_channels:
            query = query.where(columns.channel_id.not_in(without_channels))
        query = query.order_by(columns.next_attempt_at, columns.id).limit(limit)
        return [DeliveryRecord(**row) for row in await _select(self._database, query)]

    async def remove_before(self, time: datetime) -> None:
        """Forget deliveries older than that, except for pending ones."""
        columns = deliveries.c
        query = delete(deliveries).where(
            columns.created_at < time, columns.next_attempt_at.is_(None)
        )
        async with self._database.begin() as connection:
            _ = await connection.execute(query)


async def _select(database: Database, query: Select[tuple[object, ...]]) -> Sequence[RowMapping]:
    async with database.begin() as connection:
        return (await connection.execute(query)).mappings().all()


def _channel_values(record: ChannelRecord) -> Mapping[str, object]:
    values = {column.name: getattr(record, column.name) for column in channels.columns}
    return values | {"events": list(record.events), "config": dict(record.config)}


def _delivery_values(record: DeliveryRecord) -> Mapping[str, object]:
    return {column.name: getattr(record, column.name) for column in deliveries.columns}
