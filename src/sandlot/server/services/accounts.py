"""Accounts: how users come to be, log in and change teams."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from sandlot.server.ids import new_id
from sandlot.server.store import identity
from sandlot.server.store.base import Store
from sandlot.server.store.identity_records import Standing, TeamRecord, UserRecord

from . import naming
from .errors import (
    AccountDisabledError,
    EmailTakenError,
    ForbiddenError,
    NoTeamError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
)
from .passwords import Passwords
from .principals import DEFAULT_TEAM, Principal
from .throttle import Throttle
from .tokens import Token, Tokens

__all__ = ["Accounts", "Session", "SignupPolicy", "new_team"]

SignupPolicy = Literal["first", "open", "closed"]
"""Who may sign up: only the very first user, anybody, or nobody."""

_PERIOD = 600.0
_PER_ACCOUNT = 10
_PER_ADDRESS = 100
_FOUND = 10
_WRONG = "The address or the password is wrong."


@dataclass(frozen=True, slots=True)
class Session:
    """A user who has logged in, in a team."""

    standing: Standing
    token: Token


class Accounts:
    """Signing up, logging in, changing teams."""

    def __init__(
        self, store: Store, tokens: Tokens, passwords: Passwords, signup: SignupPolicy
    ) -> None:
        self._users = store.users
        self._teams = store.teams
        self._tokens = tokens
        self._signup = signup
        self._passwords = passwords
        self._accounts = Throttle(_PER_ACCOUNT, _PERIOD)
        self._addresses = Throttle(_PER_ADDRESS, _PERIOD)

    async def sign_up(
        self, email: str, password: str, name: str, address: str, *, by_admin: bool = False
    ) -> Session:
        """Make a user with a team of their own.

        The very first user administers the platform, and owns the team that was there before,
        unless it is an administrator who makes them.

        Args:
            email: Address of the user.
            password: A new password.
            name: What to call them.
            address: Where the request comes from.
            by_admin: Whether an administrator asks, who always may.

        Raises:
            ForbiddenError: Nobody else may.
            EmailTakenError: There is a user with this address.
            RateLimitedError: There were too many attempts from this address.
        """
        user = UserRecord(
            new_id("usr"), naming.user_email(email), naming.user_name(name), datetime.now(UTC)
        )
        chosen = naming.password(password)
        if not by_admin:
            self._addresses.take(address)
            if self._signup == "closed" or (self._signup == "first" and await self._users.exist()):
                raise ForbiddenError("This server takes no new users by itself: ask who runs it.")
        user = replace(user, password_hash=await self._passwords.hash(chosen))
        own = new_team(naming.own_team_name(user.name))
        if not by_admin:
            first = replace(user, is_admin=True)
            if await self._users.add_first(first, own, DEFAULT_TEAM):
                return self._session(Standing(first, own, "owner"))
            if self._signup != "open":
                raise ForbiddenError("Somebody else was first: ask them, or who runs the server.")
        await self._insert(user, own)
        return self._session(Standing(user, own, "owner"))

    async def create(
        self, email: str, password: str | None, name: str, *, is_admin: bool
    ) -> UserRecord:
        """Make a user, whoever else there is; without a password they cannot log in.

        Raises:
            EmailTakenError: There is a user with this address.
        """
        user = UserRecord(
            new_id("usr"),
            naming.user_email(email),
            naming.user_name(name),
            datetime.now(UTC),
            None if password is None else await self._passwords.hash(naming.password(password)),
            is_admin=is_admin,
        )
        own = new_team(naming.own_team_name(user.name))
        if not (is_admin and await self._users.add_first(user, own, DEFAULT_TEAM)):
            await self._insert(user, own)
        return user

    async def log_in(self, email: str, password: str, address: str) -> Session:
        """Return a session in the team that the user joined first.

        Raises:
            UnauthorizedError: There is no such user, or it is not their password.
            RateLimitedError: There were too many attempts from this address, or for this user.
        """
        account = email.strip().lower()[:512]
        self._addresses.take(address)
        try:
            self._accounts.take(account)
        except ServiceError:
            self._addresses.give_back(address)
            raise
        user = await self._users.find(account) if "\0" not in account else None
        known = None if user is None else user.password_hash
        if not await self._passwords.verify(known, password[:1024]) or user is None:
            raise UnauthorizedError(_WRONG)
        self._accounts.give_back(account)
        self._addresses.give_back(address)
        if user.status != "active":
            raise AccountDisabledError("This account is disabled: ask who runs the server.")
        standings = await self._teams.of_user(user.id)
        # One who owns the team of the server too begins in their own, as everybody does.
        for standing in sorted(standings, key=lambda each: each.team.id == DEFAULT_TEAM):
            return self._session(standing)
        raise NoTeamError("This user is in no team: have an admin of one add them.")

    async def switch_team(self, caller: Principal, team_id: str) -> Session:
        """Return a session of the same user in another team.

        Raises:
            NotFoundError: There is no such team.
            ForbiddenError: They are not in it.
        """
        assert caller.user_id is not None
        standing = await self._users.standing(caller.user_id, team_id)
        if standing is None:
            if await self._teams.get(team_id) is None:
                raise NotFoundError("There is no such team.")
            raise ForbiddenError("You are not a member of this team.")
        return self._session(standing)

    async def search(self, prefix: str) -> Sequence[UserRecord]:
        """Return users whose address begins like this, ten at most."""
        return await self._users.search(naming.email_prefix(prefix), _FOUND)

    async def _insert(self, user: UserRecord, own: TeamRecord) -> None:
        try:
            await self._users.add(user, own)
        except identity.EmailTakenError as error:
            raise EmailTakenError("There is a user with this address.") from error

    def _session(self, standing: Standing) -> Session:
        return Session(standing, self._tokens.for_user(standing))


def new_team(name: str) -> TeamRecord:
    """Return a new team."""
    slug = f"{secrets.token_hex(3)}-{secrets.token_hex(3)}"
    return TeamRecord(new_id("team"), name, slug, datetime.now(UTC))
