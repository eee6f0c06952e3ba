"""Users, teams, API keys and the audit log in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from .identity import AlreadyMemberError, EmailTakenError, LastOwnerError
from .identity_records import (
    LOCAL_USER,
    ApiKeyRecord,
    AuditFilter,
    AuditRecord,
    MemberRecord,
    Standing,
    TeamRecord,
    UserRecord,
)

__all__ = ["MemoryAudit", "MemoryKeys", "MemoryPeople", "MemoryTeams", "MemoryUsers"]

_OWNER = "owner"
_KEPT_AUDIT = 20_000
"""Rows of the audit log that are kept: nothing but the end of the server would remove them."""


class MemoryPeople:
    """What the rows of users, teams and keys have in common."""

    def __init__(self) -> None:
        self.users = dict[str, UserRecord]()
        self.teams = dict[str, TeamRecord]()
        self.roles = dict[tuple[str, str], tuple[str, datetime]]()
        """Role and time of joining, by team and user, in the order of joining."""
        self.keys = dict[str, ApiKeyRecord]()

    def alive(self, team_id: str) -> TeamRecord | None:
        """Return a team, unless it was deleted."""
        team = self.teams.get(team_id)
        return None if team is None or team.deleted_at is not None else team

    def remove(self, user_id: str) -> None:
        """Remove a user with their memberships and the keys that they made."""
        self.remove_keys(user_id)
        roles = self.roles.items()
        self.roles = {(team, user): role for (team, user), role in roles if user != user_id}
        _ = self.users.pop(user_id, None)

    def remove_keys(self, user_id: str) -> None:
        """Remove the keys that a user made."""
        self.keys = {hash: key for hash, key in self.keys.items() if key.created_by != user_id}


class MemoryUsers:
    """The rows of users."""

    def __init__(self, people: MemoryPeople) -> None:
        self._people = people

    async def add(self, user: UserRecord, team: TeamRecord) -> None:
        """Add a user and a team of which they are the owner."""
        if await self.find(user.email) is not None:
            raise EmailTakenError(user.email)
        self._people.users[user.id] = user
        self._people.teams[team.id] = team
        self._people.roles[team.id, user.id] = (_OWNER, team.created_at)

    async def add_first(self, user: UserRecord, team: TeamRecord, heritage: str) -> bool:
        """Do that if there is no user yet but the local one; return whether it was done."""
        if await self.exist():
            return False
        await self.add(user, team)
        self._people.roles[heritage, user.id] = (_OWNER, team.created_at)
        return True

    async def ensure(self, user: UserRecord, team_id: str) -> None:
        """See to it that a user is there, and an owner of a team that is there."""
        _ = self._people.users.setdefault(user.id, user)
        _ = self._people.roles.setdefault((team_id, user.id), (_OWNER, user.created_at))

    async def exist(self) -> bool:
        """Tell whether there is any user but the local one."""
        return bool(self._people.users.keys() - {LOCAL_USER})

    async def get(self, user_id: str) -> UserRecord | None:
        """Return the user of this id."""
        return self._people.users.get(user_id)

    async def find(self, email: str) -> UserRecord | None:
        """Return the user with this address, which is in lower case."""
        return next((user for user in self._people.users.values() if user.email == email), None)

    async def save(self, user: UserRecord) -> None:
        """Write what can change of a user: password, status, version, administration, name."""
        self._people.users[user.id] = user

    async def remove(self, user_id: str) -> None:
        """Remove a user, their memberships, and the API keys that they made."""
        self._people.remove(user_id)

    async def search(self, prefix: str, limit: int) -> Sequence[UserRecord]:
        """Return users whose address begins like this, in order of addresses."""
        found = [user for user in await self.list() if user.email.startswith(prefix)]
        return found[:limit]

    async def list(self) -> Sequence[UserRecord]:
        """Return all users but the local one, in order of addresses."""
        users = (user for user in self._people.users.values() if user.id != LOCAL_USER)
        return sorted(users, key=lambda user: user.email)

    async def standing(self, user_id: str, team_id: str) -> Standing | None:
        """Return what a user is in a team; None if they or the team are gone, or not together."""
        user, team = self._people.users.get(user_id), self._people.alive(team_id)
        role = self._people.roles.get((team_id, user_id))
        if user is None or team is None or role is None:
            return None
        return Standing(user, team, role[0])


class MemoryTeams:
    """The rows of teams and their members."""

    def __init__(self, people: MemoryPeople) -> None:
        self._people = people

    async def ensure(self, team_id: str, name: str, time: datetime) -> None:
        """Make a team, unless it is there."""
        slug = f"{team_id[-12:-6]}-{team_id[-6:]}"
        _ = self._people.teams.setdefault(team_id, TeamRecord(team_id, name, slug, time))

    async def add(self, team: TeamRecord, owner_id: str) -> None:
        """Add a team with its first member."""
        self._people.teams[team.id] = team
        self._people.roles[team.id, owner_id] = (_OWNER, team.created_at)

    async def get(self, team_id: str) -> TeamRecord | None:
        """Return the team of this id, unless it was deleted."""
        return self._people.alive(team_id)

    async def rename(self, team_id: str, name: str) -> None:
        """Give a team another name."""
        self._people.teams[team_id] = replace(self._people.teams[team_id], name=name)

    async def set_byoc(self, team_id: str, *, enabled: bool) -> None:
        """Say whether a team brings hosts of its own."""
        self._people.teams[team_id] = replace(self._people.teams[team_id], is_byoc=enabled)

    async def mark_deleted(self, team_id: str, time: datetime) -> None:
        """Delete a team, and its API keys."""
        self._people.teams[team_id] = replace(self._people.teams[team_id], deleted_at=time)
        keys = self._people.keys
        for key in [key for key in keys.values() if key.team_id == team_id]:
            del keys[key.hash]

    async def of_user(self, user_id: str) -> Sequence[Standing]:
        """Return what a user is in which teams, in the order in which they joined them."""
        user = self._people.users.get(user_id)
        joined = sorted(
            (time, team_id, role)
            for (team_id, member), (role, time) in self._people.roles.items()
            if member == user_id
        )
        return [
            Standing(user, team, role)
            for _, team_id, role in joined
            if user is not None and (team := self._people.alive(team_id)) is not None
        ]

    async def members(self, team_id: str) -> Sequence[MemberRecord]:
        """Return the members of a team, in the order in which they joined."""
        found = [
            MemberRecord(team_id, user.id, role, time, user.email, user.name)
            for (team, user_id), (role, time) in self._people.roles.items()
            if team == team_id
            for user in (self._people.users[user_id],)
        ]
        return sorted(found, key=lambda member: (member.joined_at, member.user_id))

    async def add_member(self, team_id: str, user_id: str, role: str, time: datetime) -> None:
        """Add a user to a team."""
        if (team_id, user_id) in self._people.roles:
            raise AlreadyMemberError(user_id)
        self._people.roles[team_id, user_id] = (role, time)

    async def set_role(self, team_id: str, user_id: str, role: str) -> None:
        """Change the role of a member."""
        if role != _OWNER:
            self._keep_an_owner(team_id, user_id)
        _, time = self._people.roles[team_id, user_id]
        self._people.roles[team_id, user_id] = (role, time)

    async def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a user out of a team."""
        self._keep_an_owner(team_id, user_id)
        _ = self._people.roles.pop((team_id, user_id), None)

    def _keep_an_owner(self, team_id: str, user_id: str) -> None:
        roles = self._people.roles.items()
        owners = [user for (team, user), (role, _) in roles if (team, role) == (team_id, _OWNER)]
        if owners == [user_id]:
            raise LastOwnerError(user_id)


class MemoryKeys:
    """The rows of API keys."""

    def __init__(self, people: MemoryPeople) -> None:
        self._people = people

    async def exist(self) -> bool:
        """Tell whether there is any API key."""
        return bool(self._people.keys)

    async def add(self, key: ApiKeyRecord) -> None:
        """Add an API key; one that is known already is left alone."""
        _ = self._people.keys.setdefault(key.hash, key)

    async def find(self, hash: str) -> ApiKeyRecord | None:
        """Return the API key with this hash, unless its team was deleted."""
        return self._people.keys.get(hash)

    async def touch(self, key_id: str, time: datetime) -> None:
        """Note when an API key was used."""
        for key in list(self._people.keys.values()):
            if key.id == key_id:
                self._people.keys[key.hash] = replace(key, last_used=time)

    async def list(self, team_id: str) -> Sequence[ApiKeyRecord]:
        """Return the API keys of a team, newest first, with the addresses of their makers."""
        found = [
            replace(key, creator_email=None if user is None else user.email)
            for key in self._people.keys.values()
            if key.team_id == team_id
            for user in (self._people.users.get(key.created_by or ""),)
        ]
        return sorted(found, key=lambda key: (key.created_at, key.id), reverse=True)

    async def remove_made_by(self, user_id: str) -> None:
        """Remove the API keys that a user made, of whichever team."""
        self._people.remove_keys(user_id)

    async def remove(self, team_id: str, key_id: str) -> ApiKeyRecord | None:
        """Remove an API key of a team, and return it."""
        for key in list(self._people.keys.values()):
            if (key.team_id, key.id) == (team_id, key_id):
                return self._people.keys.pop(key.hash)
        return None


class MemoryAudit:
    """The rows of the audit log."""

    def __init__(self) -> None:
        self._rows = list[AuditRecord]()

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Add rows."""
        self._rows.extend(records)
        if len(self._rows) > 2 * _KEPT_AUDIT:
            del self._rows[:-_KEPT_AUDIT]

    async def list(self, team_id: str, wanted: AuditFilter) -> Sequence[AuditRecord]:
        """Return rows of a team, newest first."""
        rows = sorted(self._rows, key=_age, reverse=True)
        found = (row for row in rows if row.team_id == team_id and _matches(row, wanted))
        return list(islice(found, wanted.limit))

    async def remove_before(self, time: datetime) -> None:
        """Forget rows older than that."""
        self._rows = [row for row in self._rows if row.created_at >= time]


def _matches(row: AuditRecord, wanted: AuditFilter) -> bool:
    return (
        (not wanted.resource_types or row.resource_type in wanted.resource_types)
        and (not wanted.actions or row.action in wanted.actions)
        and (wanted.with_admin or row.scope != "admin")
        and (wanted.before is None or _age(row) < wanted.before)
    )


def _age(row: AuditRecord) -> tuple[datetime, str]:
    return row.created_at, row.id
