"""Who is asking: API keys.

A key is `wrn_` and 32 hexadecimal digits. Only its SHA-256 is stored; that is enough because keys
are random, and since the hash is what is looked up, the time that takes tells nothing about the
key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .ids import new_id
from .services.errors import UnauthorizedError
from .services.principals import DEFAULT_SCOPES, DEFAULT_TEAM, Principal
from .store.base import Store
from .store.identity_records import ApiKeyRecord

__all__ = ["Authenticator", "new_key"]

_REMEMBERED = 5.0  # seconds for which a key is not looked up again
_REMEMBERED_COUNT = 10_000
_TOUCH_INTERVAL = 60.0


@dataclass(slots=True)
class _Known:
    principal: Principal
    until: float


class Authenticator:
    """Tells who is asking."""

    def __init__(self, store: Store, *, required: bool) -> None:
        self._teams = store.teams
        self._keys = store.keys
        self._required = required
        self._known = dict[str, _Known]()
        self._touched = dict[str, float]()

    async def prepare(self, key: str | None, key_file: Path) -> Path | None:
        """See to it that there is a team and a key.

        Args:
            key: The key to accept.
            key_file: Where to put a new key if there is none at all.

        Returns:
            Where a new key was put.
        """
        await self._teams.ensure(DEFAULT_TEAM, "Default", datetime.now(UTC))
        if key is not None:
            await self._add(key, "From the settings")
        elif self._required and not await self._keys.exist():
            key = new_key()
            _write_secret(key_file, key)
            await self._add(key, "Made at the first start")
            return key_file
        return None

    async def identify(self, key: str | None) -> Principal:
        """Return who has this key.

        Raises:
            UnauthorizedError: Nobody.
        """
        if not self._required:
            return Principal("open", DEFAULT_TEAM)
        if key is None:
            raise UnauthorizedError("An API key is needed: send it as X-API-Key.")
        digest = _digest(key)
        now = time.monotonic()
        known = self._known.get(digest)
        if known is None or known.until < now:
            known = await self._look_up(digest, now)
        await self._touch(known.principal, now)
        return known.principal

    async def _look_up(self, digest: str, now: float) -> _Known:
        record = await self._keys.find(digest)
        if record is None:
            _ = self._known.pop(digest, None)
            raise UnauthorizedError("This API key is not known.")
        if len(self._known) >= _REMEMBERED_COUNT:
            self._known.clear()
        principal = Principal(
            "api_key",
            record.team_id,
            key_id=record.id,
            scopes=DEFAULT_SCOPES,
            name=record.name,
        )
        known = _Known(principal, now + _REMEMBERED)
        self._known[digest] = known
        return known

    async def _touch(self, principal: Principal, now: float) -> None:
        key_id = principal.key_id
        if (
            key_id is not None
            and now - self._touched.get(key_id, -_TOUCH_INTERVAL) >= _TOUCH_INTERVAL
        ):
            self._touched[key_id] = now
            await self._keys.touch(key_id, datetime.now(UTC))

    async def _add(self, key: str, name: str) -> None:
        await self._keys.add(
            ApiKeyRecord(
                id=new_id("key"),
                team_id=DEFAULT_TEAM,
                name=name,
                hash=_digest(key),
                prefix=key[:10],
                created_at=datetime.now(UTC),
            )
        )


def new_key() -> str:
    """Return a new API key."""
    return f"wrn_{secrets.token_hex(16)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _write_secret(path: Path, secret: str) -> None:
    """Write a file that nobody else can read, not even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        _ = file.write(f"{secret}\n")
