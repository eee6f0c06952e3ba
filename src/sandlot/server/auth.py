"""Who is asking: API keys and tokens, and who they stand for at this moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from .secret_files import write_secret
from .services.api_keys import key_digest, key_record, new_key
from .services.errors import AccountDeactivatedError, UnauthorizedError
from .services.principals import (
    ALL_SCOPES,
    DEFAULT_SCOPES,
    DEFAULT_TEAM,
    LOCAL_USER,
    Credential,
    Principal,
)
from .services.tokens import Claims, Tokens
from .store.base import Store
from .store.identity_records import ApiKeyRecord, Standing, UserRecord

__all__ = ["Authenticator"]

_REMEMBERED = 5.0  # seconds for which a key is not looked up again
_REMEMBERED_COUNT = 10_000
_TOUCH_INTERVAL = 60.0
_LOCAL: Final = Principal(
    "open", DEFAULT_TEAM, user_id=LOCAL_USER, role="owner", is_admin=True, name="Local"
)
"""Who asks a server that needs no credential."""

KeyScopes = Literal["sandboxes", "all"]


@dataclass(slots=True)
class _Known:
    principal: Principal
    until: float


class Authenticator:
    """Tells who is asking.

    Attributes:
        changes: How often what is known of users, teams and keys has changed on this server.
        changed: Set whenever it does.
    """

    def __init__(self, store: Store, tokens: Tokens, *, required: bool) -> None:
        self._teams = store.teams
        self._users = store.users
        self._keys = store.keys
        self._tokens = tokens
        self._required = required
        self._known = dict[str, _Known]()
        self._touched = dict[str, float]()
        self.changes = 0
        self.changed = asyncio.Event()

    @property
    def required(self) -> bool:
        """Whether a credential is needed."""
        return self._required

    async def prepare(self, key: str | None, key_file: Path, scopes: KeyScopes) -> Path | None:
        """See to it that there is a team and a key.

        Args:
            key: The key to accept.
            key_file: Where to put a new key if there is none at all.
            scopes: What that key may be used for. With `all` it is the key of the server's owner,
                who has no other: keys of earlier owners are revoked.

        Returns:
            Where a new key was put.
        """
        now = datetime.now(UTC)
        await self._teams.ensure(DEFAULT_TEAM, "Default", now)
        if scopes == "all" or not self._required:
            local = UserRecord(LOCAL_USER, "local@localhost", "Local", now, is_admin=True)
            await self._users.ensure(local, DEFAULT_TEAM)
        if key is not None:
            if scopes == "all":
                await self._adopt(key)
            else:
                await self._keys.add(key_record(key, DEFAULT_TEAM, "From the settings", None, None))
        elif self._required and not await self._keys.exist():
            key = new_key()
            write_secret(key_file, key)
            await self._keys.add(
                key_record(key, DEFAULT_TEAM, "Made at the first start", None, None)
            )
            return key_file
        return None

    def forget(self) -> None:
        """Look everybody up again: keys, members or teams have changed."""
        self.changes += 1
        self._known.clear()
        self.changed.set()

    async def identify(self, key: str | None, authorization: str | None = None) -> Principal:
        """Return who has this key, or this token.

        Args:
            key: An API key; if there is one, nothing else counts.
            authorization: Value of the header `Authorization`.

        Raises:
            UnauthorizedError: Nobody.
            AccountDeactivatedError: A user who was disabled since.
        """
        if not self._required:
            return _LOCAL
        if key is not None:
            return await self._by_key(key)
        scheme, _, token = (authorization or "").partition(" ")
        if scheme == "Bearer" and token:
            return await self._by_claims(self._tokens.read_user(token))
        raise UnauthorizedError(
            "A credential is needed: an API key as X-API-Key, or a token as Authorization: Bearer."
        )

    async def confirm(self, credential: Credential) -> Principal:
        """Return who a credential stands for now that it was shown some time ago.

        Raises:
            UnauthorizedError: Nobody any more.
            AccountDeactivatedError: A user who was disabled since.
        """
        if isinstance(credential, str):
            return (await self._look_up(credential, time.monotonic())).principal
        if credential.expires_at <= time.time():
            raise UnauthorizedError("The token has expired: log in again.")
        return await self._by_claims(credential)

    def identify_host(self, token: str | None) -> Principal:
        """Return the host that has this token.

        Raises:
            UnauthorizedError: None has.
        """
        if token is None:
            raise UnauthorizedError("A host's token is needed: send it as X-Host-Token.")
        return Principal("host", host_id=self._tokens.read_host(token))

    async def _by_key(self, key: str) -> Principal:
        digest = key_digest(key)
        now = time.monotonic()
        known = self._known.get(digest)
        if known is None or known.until < now:
            known = await self._look_up(digest, now)
        await self._touch(known.principal, now)
        return known.principal

    async def _by_claims(self, claims: Claims) -> Principal:
        standing = await self._users.standing(claims.user_id, claims.team_id)
        if standing is None:
            raise UnauthorizedError(
                "The user is not in the team of this token any more: log in again."
            )
        _check_active(standing)
        user = standing.user
        if user.key_version != claims.key_version:
            raise UnauthorizedError("The token was revoked: log in again.")
        return Principal(
            "user",
            standing.team.id,
            user_id=user.id,
            role=standing.role,
            is_admin=user.is_admin,
            name=user.name,
            credential=claims,
        )

    async def _look_up(self, digest: str, now: float) -> _Known:
        changes = self.changes
        record = await self._keys.find(digest)
        if record is None:
            _ = self._known.pop(digest, None)
            raise UnauthorizedError(
                "This API key is not known: it was revoked, or is for another server."
            )
        until = now + _REMEMBERED
        if record.expires_at is not None:
            left = (record.expires_at - datetime.now(UTC)).total_seconds()
            if left <= 0:
                raise UnauthorizedError("This API key has expired: make another.")
            until = min(until, now + left)
        known = _Known(await self._principal(record), until)
        if len(self._known) >= _REMEMBERED_COUNT:
            self._known.clear()
        if changes == self.changes:  # otherwise what was found may be out of date already
            self._known[digest] = known
        return known

    async def _principal(self, record: ApiKeyRecord) -> Principal:
        """Return whom a key stands for: beyond the default, its maker as they are now."""
        scopes = DEFAULT_SCOPES if record.scopes is None else frozenset(record.scopes)
        standing = None
        if record.created_by is not None:
            standing = await self._users.standing(record.created_by, record.team_id)
        if standing is None:
            return Principal(
                "api_key",
                record.team_id,
                key_id=record.id,
                scopes=scopes & DEFAULT_SCOPES,
                name=record.name,
                credential=record.hash,
            )
        _check_active(standing)
        return Principal(
            "api_key",
            record.team_id,
            user_id=standing.user.id,
            key_id=record.id,
            role=standing.role,
            scopes=scopes,
            is_admin=standing.user.is_admin,
            name=record.name,
            credential=record.hash,
        )

    async def _touch(self, principal: Principal, now: float) -> None:
        key_id = principal.key_id
        if (
            key_id is not None
            and now - self._touched.get(key_id, -_TOUCH_INTERVAL) >= _TOUCH_INTERVAL
        ):
            self._touched[key_id] = now
            await self._keys.touch(key_id, datetime.now(UTC))

    async def _adopt(self, key: str) -> None:
        name = "Of the owner of the server"
        record = key_record(key, DEFAULT_TEAM, name, LOCAL_USER, sorted(ALL_SCOPES))
        for old in await self._keys.list(DEFAULT_TEAM):
            # The same one stays as it is: idempotency keys belong to its id.
            same = (old.hash, old.scopes) == (record.hash, record.scopes)
            if (old.name, old.created_by) == (name, LOCAL_USER) and not same:
                _ = await self._keys.remove(DEFAULT_TEAM, old.id)
        await self._keys.add(record)


def _check_active(standing: Standing) -> None:
    if standing.user.status != "active":
        raise AccountDeactivatedError("This account is disabled: ask who runs the server.")
