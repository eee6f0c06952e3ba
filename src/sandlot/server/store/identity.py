"""What a store must do for identity: users, teams, API keys and the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .identity_records import (
    ApiKeyRecord,
    AuditFilter,
    AuditRecord,
    MemberRecord,
    Standing,
    TeamRecord,
    UserRecord,
)

__all__ = [
    "AlreadyMemberError",
    "AuditRows",
    "EmailTakenError",
    "KeyRows",
    "LastOwnerError",
    "TeamRows",
    "UserRows",
]


class EmailTakenError(Exception):
    """There is a user with this address."""


class AlreadyMemberError(Exception):
    """The user is in the team already."""


class LastOwnerError(Exception):
    """The team would be left without an owner."""


class UserRows(Protocol):
    """The rows of users."""

    async def add(self, user: UserRecord, team: TeamRecord) -> None:
        """Add a user and a team of which they are the owner.

        Raises:
            EmailTakenError: There is a user with this address.
        """
        ...

    async def add_first(self, user: UserRecord, team: TeamRecord, heritage: str) -> bool:
        """Do that if there is no user yet but the local one; return whether it was done.

        Args:
            user: The user.
            team: A team of their own.
            heritage: Id of a team that was there before; they become its owner too.
        """
        ...

    async def ensure(self, user: UserRecord, team_id: str) -> None:
        """See to it that a user is there, and an owner of a team that is there."""
        ...

    async def exist(self) -> bool:
        """Tell whether there is any user but the local one."""
        ...

    async def get(self, user_id: str) -> UserRecord | None:
        """Return the user of this id."""
        ...

    async def find(self, email: str) -> UserRecord | None:
        """Return the user with this address, which is in lower case."""
        ...

    async def save(self, user: UserRecord) -> None:
        """Write what can change of a user: password, status, version, administration, name."""
        ...

    async def remove(self, user_id: str) -> None:
        """Remove a user, their memberships, and the API keys that they made."""
        ...

    async def search(self, prefix: str, limit: int) -> Sequence[UserRecord]:
        """Return users whose address begins like this, in order of addresses."""
        ...

    async def list(self) -> Sequence[UserRecord]:
        """Return all users but the local one, in order of addresses."""
        ...

    async def standing(self, user_id: str, team_id: str) -> Standing | None:
        """Return what a user is in a team; None if they or the team are gone, or not together."""
        ...


class TeamRows(Protocol):
    """The rows of teams and their members."""

    async def ensure(self, team_id: str, name: str, time: datetime) -> None:
        """Make a team, unless it is there."""
        ...

    async def add(self, team: TeamRecord, owner_id: str) -> None:
        """Add a team with its first member."""
        ...

    async def get(self, team_id: str) -> TeamRecord | None:
        """Return the team of this id, unless it was deleted."""
        ...

    async def rename(self, team_id: str, name: str) -> None:
        """Give a team another name."""
        ...

    async def set_byoc(self, team_id: str, *, enabled: bool) -> None:
        """Say whether a team brings hosts of its own."""
        ...

    async def mark_deleted(self, team_id: str, time: datetime) -> None:
        """Delete a team, and its API keys."""
        ...

    async def of_user(self, user_id: str) -> Sequence[Standing]:
        """Return what a user is in which teams, in the order in which they joined them."""
        ...

    async def members(self, team_id: str) -> Sequence[MemberRecord]:
        """Return the members of a team, in the order in which they joined."""
        ...

    async def add_member(self, team_id: str, user_id: str, role: str, time: datetime) -> None:
        """Add a user to a team.

        Raises:
            AlreadyMemberError: They are in it.
        """
        ...

    async def set_role(self, team_id: str, user_id: str, role: str) -> None:
        """Change the role of a member.

        Raises:
            LastOwnerError: They are the only owner.
        """
        ...

    async def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a user out of a team.

        Raises:
            LastOwnerError: They are the only owner.
        """
        ...


class KeyRows(Protocol):
    """The rows of API keys."""

    async def exist(self) -> bool:
        """Tell whether there is any API key."""
        ...

    async def add(self, key: ApiKeyRecord) -> None:
        """Add an API key; one that is known already is left alone."""
        ...

    async def find(self, hash: str) -> ApiKeyRecord | None:
        """Return the API key with this hash, unless its team was deleted."""
        ...

    async def touch(self, key_id: str, time: datetime) -> None:
        """Note when an API key was used."""
        ...

    async def list(self, team_id: str) -> Sequence[ApiKeyRecord]:
        """Return the API keys of a team, newest first, with the addresses of their makers."""
        ...

    async def remove_made_by(self, user_id: str) -> None:
        """Remove the API keys that a user made, of whichever team."""
        ...

    async def remove(self, team_id: str, key_id: str) -> ApiKeyRecord | None:
        """Remove an API key of a team, and return it."""
        ...


class AuditRows(Protocol):
    """The rows of the audit log."""

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Add rows."""
        ...

    async def list(self, team_id: str, wanted: AuditFilter) -> Sequence[AuditRecord]:
        """Return rows of a team, newest first."""
        ...

    async def remove_before(self, time: datetime) -> None:
        """Forget rows older than that."""
        ...
