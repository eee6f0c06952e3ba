"""All teams and all users, as those see them who administer the platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .identity_records import TeamRecord, UserRecord

__all__ = ["CensusRows", "TeamOverview", "UserOverview"]


@dataclass(frozen=True, slots=True)
class TeamOverview:
    """A team and how much there is of it.

    Attributes:
        owner: Who has owned it longest; None if nobody does.
        sandboxes: How many sandboxes of it live.
    """

    team: TeamRecord
    members: int
    owner: UserRecord | None
    sandboxes: int
    channels: int


@dataclass(frozen=True, slots=True)
class UserOverview:
    """A user and in how many teams they are."""

    user: UserRecord
    joined: int
    owned: int


class CensusRows(Protocol):
    """Teams and users, whoever they belong to."""

    async def count_teams(self) -> int:
        """Return how many teams there are, with those that were deleted."""
        ...

    async def teams(self, limit: int, offset: int) -> Sequence[TeamOverview]:
        """Return some of them, oldest first."""
        ...

    async def count_users(self) -> int:
        """Return how many users there are, without the local one."""
        ...

    async def users(self, limit: int, offset: int) -> Sequence[UserOverview]:
        """Return some of them, oldest first."""
        ...
