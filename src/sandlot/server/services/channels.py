"""Channels: where teams want to be told of what happens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sandlot.server.outgoing.failures import BadConfigError, NotDeliveredError
from sandlot.server.outgoing.providers import PROVIDERS, WEBHOOK
from sandlot.server.outgoing.senders import Senders
from sandlot.server.store.base import NameTakenError
from sandlot.server.store.channels import (
    ChannelRecord,
    ChannelRows,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryRows,
)

from .errors import (
    BadGatewayError,
    ConflictError,
    HostUnavailableError,
    InvalidRequestError,
    NotFoundError,
)
from .events import Event, Resource
from .messages import EVENT_NAMES, message_of, payload_of
from .naming import channel_name

__all__ = ["Channels", "NewChannel"]

_MOST = 100
"""Channels that a team may have: each costs a row for each event."""
_TESTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class NewChannel:
    """What a new channel shall be like."""

    name: str
    provider: str
    events: Sequence[str]
    config: Mapping[str, str] = field(repr=False)


class Channels:
    """All channels of all teams."""

    def __init__(self, rows: ChannelRows, deliveries: DeliveryRows, senders: Senders) -> None:
        self._rows = rows
        self._deliveries = deliveries
        self._senders = senders
        self._tests = 0

    async def create(
        self, team_id: str, wanted: NewChannel, channel_id: str, secret: str
    ) -> ChannelRecord:
        """Make a channel; a webhook that brings no secret is given this one."""
        name, events = channel_name(wanted.name), _events(wanted.events)
        config = await self._config(wanted.provider, wanted.config, secret)
        there = await self._rows.list(team_id)
        if len(there) >= _MOST:
            raise ConflictError(f"There are {_MOST} channels: delete one of them first.")
        now = datetime.now(UTC)
        record = ChannelRecord(
            id=channel_id,
            team_id=team_id,
            name=name,
            provider=wanted.provider,
            events=events,
            created_at=now,
            updated_at=now,
            config=config,
        )
        try:
            await self._rows.add(record)
        except NameTakenError as error:
            raise _taken(name) from error
        return record

    async def list(self, team_id: str) -> Sequence[ChannelRecord]:
        """Return the channels of a team, newest first."""
        return await self._rows.list(team_id)

    async def get(self, team_id: str, channel_id: str) -> ChannelRecord:
        """Return a channel."""
        record = await self.find(team_id, channel_id)
        if record is None:
            raise NotFoundError("There is no such channel.")
        return record

    async def find(self, team_id: str, channel_id: str) -> ChannelRecord | None:
        """Return a channel, or None."""
        record = await self._rows.get(channel_id)
        return record if record is not None and record.team_id == team_id else None

    async def update(
        self, team_id: str, channel_id: str, name: str, events: Sequence[str]
    ) -> ChannelRecord:
        """Change what a channel is called and told of."""
        record = await self.get(team_id, channel_id)
        return await self._save(replace(record, name=channel_name(name), events=_events(events)))

    async def rotate_config(
        self, team_id: str, channel_id: str, config: Mapping[str, str]
    ) -> ChannelRecord:
        """Replace all of the configuration; what is still on its way goes to the new address."""
        record = await self.get(team_id, channel_id)
        complete = await self._config(record.provider, config, secrets.token_hex(32))
        return await self._save(replace(record, config=complete))

    async def delete(self, team_id: str, channel_id: str) -> None:
        """Delete a channel and its deliveries; one that is gone already is fine."""
        _ = await self._rows.remove(team_id, channel_id)

    async def deliveries(
        self, team_id: str, channel_id: str, wanted: DeliveryFilter
    ) -> Sequence[DeliveryRecord]:
        """Return what was sent to a channel, newest first."""
        record = await self.get(team_id, channel_id)
        return await self._deliveries.list(record.id, wanted)

    async def test(self, team_id: str, provider: str, config: Mapping[str, str]) -> None:
        """Send a message, once.

        Raises:
            BadGatewayError: It did not arrive; the message says why.
        """
        complete = await self._config(provider, config, secrets.token_hex(32))
        if self._tests >= _TESTS_AT_ONCE:
            raise HostUnavailableError("Too many channels are being tested: try again.")
        event = Event("channel.test", team_id, Resource("channel", f"of {provider}"))
        self._tests += 1
        try:
            _ = await self._senders.send(provider, complete, message_of(payload_of(event)))
        except NotDeliveredError as error:
            raise BadGatewayError(str(error)) from error
        except BadConfigError as error:
            raise InvalidRequestError(str(error)) from error
        finally:
            self._tests -= 1

    async def _save(self, record: ChannelRecord) -> ChannelRecord:
        record = replace(record, updated_at=datetime.now(UTC))
        try:
            there = await self._rows.save(record)
        except NameTakenError as error:
            raise _taken(record.name) from error
        if not there:
            raise NotFoundError("There is no such channel.")
        return record

    async def _config(
        self, provider: str, config: Mapping[str, str], secret: str
    ) -> Mapping[str, str]:
        """Check a configuration, and return it with all that it needs."""
        if provider not in PROVIDERS:
            raise InvalidRequestError(f"provider: must be one of {', '.join(sorted(PROVIDERS))}.")
        given = {key: value for key, value in config.items() if value or key != "secret"}
        try:
            await self._senders.check(provider, given)
        except BadConfigError as error:
            raise InvalidRequestError(str(error)) from error
        except NotDeliveredError as error:
            raise HostUnavailableError("The configuration cannot be checked now.") from error
        return {"secret": secret, **given} if provider == WEBHOOK else given


def _events(names: Sequence[str]) -> Sequence[str]:
    wanted = list(dict.fromkeys(names))
    if not wanted or not set(wanted) <= set(EVENT_NAMES):
        raise InvalidRequestError(f"events: must be one or more of {', '.join(EVENT_NAMES)}.")
    return wanted


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a channel named {name!r}: choose another name.")
