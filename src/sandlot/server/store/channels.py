"""Channels and deliveries: their rows, and what a store must do with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

__all__ = ["ChannelRecord", "ChannelRows", "DeliveryFilter", "DeliveryRecord", "DeliveryRows"]


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """Where events of a team are sent.

    Attributes:
        config: What the provider needs. It holds secrets, so it shows in no `repr`.
    """

    id: str
    team_id: str
    name: str
    provider: str
    events: Sequence[str]
    created_at: datetime
    updated_at: datetime
    config: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """An event on its way to a channel, or what became of it.

    Attributes:
        id: The same at every attempt, so that receivers can tell what they have seen.
        payload: The body of webhooks, byte for byte.
        status: `pending`, `delivered` or `failed`.
        next_attempt_at: When it is to be sent; None once it is no longer pending.
        response_status: HTTP status of the last answer.
        error: Why the last attempt failed.
    """

    id: str
    channel_id: str
    event: str
    payload: str
    status: str
    created_at: datetime
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    response_status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list.

    Attributes:
        before: Only those older than the one with this time of creation and id.
    """

    status: str | None = None
    before: tuple[datetime, str] | None = None
    limit: int | None = None


class ChannelRows(Protocol):
    """The rows of channels."""

    async def add(self, record: ChannelRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: The team has a channel of this name.
        """
        ...

    async def save(self, record: ChannelRecord) -> bool:
        """Write what can change of a channel; return whether it is there.

        Raises:
            NameTakenError: Another channel of the team has this name.
        """
        ...

    async def get(self, channel_id: str) -> ChannelRecord | None:
        """Return the channel of this id, whosever it is."""
        ...

    async def list(self, team_id: str) -> Sequence[ChannelRecord]:
        """Return the channels of a team, newest first."""
        ...

    async def remove(self, team_id: str, channel_id: str) -> bool:
        """Remove a channel of a team and its deliveries; return whether it was there."""
        ...


class DeliveryRows(Protocol):
    """The rows of deliveries."""

    async def add(self, record: DeliveryRecord) -> bool:
        """Add a row; return whether its channel is still there to have it."""
        ...

    async def save(self, record: DeliveryRecord) -> None:
        """Write what became of a delivery, if its channel is still there."""
        ...

    async def list(self, channel_id: str, wanted: DeliveryFilter) -> Sequence[DeliveryRecord]:
        """Return deliveries of a channel, newest first."""
        ...

    async def pending(self, channel_id: str, limit: int) -> int:
        """Return how many deliveries of a channel are pending, counting up to a limit."""
        ...

    async def next(
        self, limit: int, without: Collection[str], without_channels: Collection[str]
    ) -> Sequence[DeliveryRecord]:
        """Return the pending deliveries that are due first.

        Args:
            limit: How many at most.
            without: Ids of deliveries to leave out.
            without_channels: Ids of channels to leave out.
        """
        ...

    async def remove_before(self, time: datetime) -> None:
        """Forget deliveries older than that, except for pending ones."""
        ...
