"""Channels and deliveries in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from .base import NameTakenError
from .channels import ChannelRecord, DeliveryFilter, DeliveryRecord

__all__ = ["MemoryChannels", "MemoryDeliveries"]


class MemoryDeliveries:
    """The rows of deliveries."""

    def __init__(self, channels: MemoryChannels) -> None:
        self._channels = channels
        self._rows = dict[str, DeliveryRecord]()
        channels.when_removed(self._remove_channel)

    async def add(self, record: DeliveryRecord) -> bool:
        """Add a row, if its channel is there."""
        if await self._channels.get(record.channel_id) is None:
            return False
        self._rows[record.id] = record
        return True

    async def save(self, record: DeliveryRecord) -> None:
        """Write what became of a delivery, if it is there."""
        if record.id in self._rows:
            self._rows[record.id] = record

    async def list(self, channel_id: str, wanted: DeliveryFilter) -> Sequence[DeliveryRecord]:
        """Return deliveries of a channel, newest first."""
        rows = [
            row
            for row in self._rows.values()
            if row.channel_id == channel_id
            and wanted.status in (None, row.status)
            and (wanted.before is None or _age(row) < wanted.before)
        ]
        return sorted(rows, key=_age, reverse=True)[: wanted.limit]

    async def pending(self, channel_id: str, limit: int) -> int:
        """Return how many deliveries of a channel are pending, counting up to a limit."""
        waiting = (row for row in self._rows.values() if row.status == "pending")
        return min(limit, sum(row.channel_id == channel_id for row in waiting))

    async def next(
        self, limit: int, without: Collection[str], without_channels: Collection[str]
    ) -> Sequence[DeliveryRecord]:
        """Return the pending deliveries that are due first."""
        rows = [
            (row.next_attempt_at, row.id)
            for row in self._rows.values()
            if row.next_attempt_at is not None
            and row.id not in without
            and row.channel_id not in without_channels
        ]
        return [self._rows[delivery_id] for _, delivery_id in sorted(rows)[:limit]]

    async def remove_before(self, time: datetime) -> None:
        """Forget deliveries older than that, except for pending ones."""
        self._rows = {
            delivery_id: row
            for delivery_id, row in self._rows.items()
            if row.status == "pending" or row.created_at >= time
        }

    def _remove_channel(self, channel_id: str) -> None:
        self._rows = {
            delivery_id: row
            for delivery_id, row in self._rows.items()
            if row.channel_id != channel_id
        }


class MemoryChannels:
    """The rows of channels."""

    def __init__(self) -> None:
        self._rows = dict[str, ChannelRecord]()
        self._farewells: list[Callable[[str], None]] = []

    def when_removed(self, farewell: Callable[[str], None]) -> None:
        """Have something done after a channel is removed; it is given the id."""
        self._farewells.append(farewell)

    async def add(self, record: ChannelRecord) -> None:
        """Add a row."""
        self._refuse_taken(record)
        self._rows[record.id] = record

    async def save(self, record: ChannelRecord) -> bool:
        """Write what can change of a channel; return whether it is there."""
        if record.id not in self._rows:
            return False
        self._refuse_taken(record)
        self._rows[record.id] = record
        return True

    async def get(self, channel_id: str) -> ChannelRecord | None:
        """Return the channel of this id, whosever it is."""
        return self._rows.get(channel_id)

    def count(self, team_id: str) -> int:
        """Return how many channels a team has."""
        return sum(row.team_id == team_id for row in self._rows.values())

    async def list(self, team_id: str) -> Sequence[ChannelRecord]:
        """Return the channels of a team, newest first."""
        rows = [row for row in self._rows.values() if row.team_id == team_id]
        return sorted(rows, key=_age, reverse=True)

    async def remove(self, team_id: str, channel_id: str) -> bool:
        """Remove a channel of a team and its deliveries; return whether it was there."""
        row = self._rows.get(channel_id)
        if row is None or row.team_id != team_id:
            return False
        del self._rows[channel_id]
        for farewell in self._farewells:
            farewell(channel_id)
        return True

    def _refuse_taken(self, record: ChannelRecord) -> None:
        for row in self._rows.values():
            if (row.team_id, row.name) == (record.team_id, record.name) and row.id != record.id:
                raise NameTakenError(record.name)


def _age(row: ChannelRecord | DeliveryRecord) -> tuple[datetime, str]:
    return row.created_at, row.id
