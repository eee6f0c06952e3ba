"""Hosts: their rows, and what a store must do with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

__all__ = ["HostRecord", "HostRows", "HostToken"]

TokenKind = Literal["registration", "refresh"]


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A machine that sandboxes can be on.

    Attributes:
        type: `regular`, for all teams, or `byoc`, for the team that brought it.
        status: `pending` until it is registered, then `online`; `unreachable` if its heartbeat
            stopped without a word, `offline` if its server was stopped.
        created_by: Id of the user who made it.
        team_id: Whose it is; None for regular ones.
        engine: What keeps the sandboxes there, if it is a machine of a server's own; None for one
            that an agent was registered for.
    """

    id: str
    type: str
    status: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    team_id: str | None = None
    provider: str | None = None
    availability_zone: str | None = None
    arch: str | None = None
    cpu_cores: int | None = None
    memory_mb: int | None = None
    disk_gb: int | None = None
    address: str | None = None
    engine: str | None = None
    last_heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HostToken:
    """A token that can be used once, without the token.

    Attributes:
        hash: SHA-256 of it.
    """

    hash: str = field(repr=False)
    host_id: str
    kind: TokenKind
    expires_at: datetime


class HostRows(Protocol):
    """The rows of hosts, their tags and their tokens."""

    async def add(self, record: HostRecord) -> bool:
        """Add a host, unless there is one of its id; return whether there was none."""
        ...

    async def put(self, record: HostRecord) -> None:
        """Write a host, whether or not there is one of its id; its tags and tokens stay."""
        ...

    async def get(self, host_id: str) -> HostRecord | None:
        """Return the host of this id, whosever it is."""
        ...

    async def list(self, team_id: str | None) -> Sequence[HostRecord]:
        """Return the hosts of a team, or all hosts, newest first."""
        ...

    async def register(self, record: HostRecord) -> bool:
        """Write a host that is `pending` until then; return whether it was."""
        ...

    async def beat(self, host_ids: Collection[str], time: datetime) -> Mapping[str, str]:
        """Note that hosts are there now, `online`, but for those that are `pending`.

        Returns:
            What their status was, by their ids, of those that there are.
        """
        ...

    async def mark_unreachable(self, before: datetime, time: datetime) -> Sequence[HostRecord]:
        """Mark those that are `online` by their row, but were not heard of since; return them."""
        ...

    async def remove(self, host_id: str) -> bool:
        """Remove a host with its tags and tokens; return whether there was one."""
        ...

    async def tags(self, host_id: str) -> Sequence[str]:
        """Return the tags of a host, in order."""
        ...

    async def with_tags(self, host_ids: Collection[str], tags: Collection[str]) -> Collection[str]:
        """Return those of these hosts that have all of these tags."""
        ...

    async def add_tag(self, host_id: str, tag: str) -> None:
        """Give a host a tag; that it has it already is fine."""
        ...

    async def remove_tag(self, host_id: str, tag: str) -> None:
        """Take a tag from a host; that it has none is fine."""
        ...

    async def add_token(self, token: HostToken) -> None:
        """Add a token, in the place of those of its kind that the host had."""
        ...

    async def use_token(self, hash: str, kind: TokenKind, time: datetime) -> str | None:
        """Use a token up; return the id of its host, or None if it is not valid any more."""
        ...
