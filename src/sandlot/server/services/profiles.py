"""What users do with their own account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sandlot.server.store.base import Store
from sandlot.server.store.identity_records import DEFAULT_TEAM, UserRecord

from . import naming
from .errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    OwnsTeamWithMembersError,
    WrongPasswordError,
)
from .passwords import Passwords
from .principals import Principal
from .teams import Teams
from .throttle import Throttle

__all__ = ["Profiles"]

_PERIOD = 600.0
_ATTEMPTS = 10


class Profiles:
    """Looking at one's account, changing it, deleting it."""

    def __init__(
        self, store: Store, teams: Teams, passwords: Passwords, when_changed: Callable[[], None]
    ) -> None:
        self._users = store.users
        self._memberships = store.teams
        self._teams = teams
        self._passwords = passwords
        self._when_changed = when_changed
        self._guesses = Throttle(_ATTEMPTS, _PERIOD)

    async def get(self, caller: Principal) -> UserRecord:
        """Return the account of a user.

        Raises:
            NotFoundError: It is gone.
        """
        assert caller.user_id is not None
        user = await self._users.get(caller.user_id)
        if user is None:
            raise NotFoundError("There is no such user any more.")
        return user

    async def rename(self, caller: Principal, name: str) -> UserRecord:
        """Change what a user is called."""
        user = replace(await self.get(caller), name=naming.user_name(name))
        await self._users.save(user)
        return user

    async def set_password(self, caller: Principal, current: str, new: str) -> None:
        """Change the password of a user; their tokens are not valid any more.

        Raises:
            WrongPasswordError: The current one is another.
            RateLimitedError: There were too many attempts.
        """
        user = await self.get(caller)
        chosen = naming.password(new)
        self._guesses.take(user.id)
        if not await self._passwords.verify(user.password_hash, current[:1024]):
            raise WrongPasswordError("The current password is wrong.")
        self._guesses.give_back(user.id)
        password_hash = await self._passwords.hash(chosen)
        now = await self.get(caller)  # that took a while: they may have been kept out meanwhile
        if now.password_hash != user.password_hash:
            raise WrongPasswordError("The current password was changed meanwhile.")
        version = now.key_version + 1
        await self._users.save(replace(now, password_hash=password_hash, key_version=version))
        self._when_changed()

    async def delete(self, caller: Principal, confirmation: str) -> None:
        """Delete an account, with the teams that nobody else is in and the keys its user made.

        Raises:
            InvalidRequestError: It was not confirmed with the address of the user.
            OwnsTeamWithMembersError: A team would be left without an owner.
            ForbiddenError: So would the server's own team.
        """
        user = await self.get(caller)
        if confirmation.strip().lower() != user.email:
            raise InvalidRequestError("confirmation: must be the address of the account.")
        alone: list[str] = []
        for standing in await self._memberships.of_user(user.id):
            team = standing.team
            members = await self._memberships.members(team.id)
            owners = [member.user_id for member in members if member.role == "owner"]
            if owners != [user.id]:
                continue
            if len(members) > 1:
                raise OwnsTeamWithMembersError(
                    f"You are the only owner of {team.name!r}: make somebody else one first."
                )
            if team.id == DEFAULT_TEAM:
                raise ForbiddenError("The server's own team would be left without an owner.")
            alone.append(team.id)
        for team_id in alone:
            await self._teams.delete(team_id, force=True)
        await self._users.remove(user.id)
        self._when_changed()
