"""API keys: `wrn_` and 32 hexadecimal digits.

Only their SHA-256 is stored; that is enough because keys are random, and since the hash is what is
looked up, the time that takes tells nothing about the key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sandlot.server.ids import new_id
from sandlot.server.store.base import Store
from sandlot.server.store.identity_records import ApiKeyRecord

from . import naming
from .errors import ForbiddenError, IdempotencyKeyUsedError, InvalidRequestError
from .idempotency import Claim
from .principals import ALL_SCOPES, Principal

__all__ = ["ApiKeys", "NewKey", "key_digest", "key_record", "new_key"]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that it is known."""

    record: ApiKeyRecord
    key: str = field(repr=False)


class ApiKeys:
    """Making, listing and revoking API keys of a team."""

    def __init__(self, store: Store, when_changed: Callable[[], None]) -> None:
        self._keys = store.keys
        self._when_changed = when_changed

    async def create(
        self,
        caller: Principal,
        claim: Claim,
        name: str | None,
        scopes: Sequence[str] | None,
        expires_at: datetime | None,
    ) -> NewKey:
        """Make a key for the caller's team.

        Args:
            caller: Who makes it. For what goes beyond the default the key acts on their behalf, and
                never may more than they may.
            claim: Its id, and what it is made of.
            name: What to call it.
            scopes: What it may be used for; the default if None.
            expires_at: When it ceases to be valid.

        Raises:
            InvalidRequestError: There is no such scope, or that time is past.
            ForbiddenError: A key cannot make one that may more than it may itself.
        """
        wanted = None if scopes is None else _checked(scopes)
        if caller.kind == "api_key" and not caller.scopes.issuperset(wanted or ()):
            raise ForbiddenError("scopes: this API key cannot give what it does not have itself.")
        if expires_at is not None and not _is_future(expires_at):
            raise InvalidRequestError("expires_at: must be a time to come, with its time zone.")
        key = _key_of(claim)
        record = key_record(key, caller.team_id, naming.key_name(name), caller.user_id, wanted)
        record = replace(record, id=claim.id)
        if expires_at is not None:
            record = replace(record, expires_at=expires_at.astimezone(UTC))
        await self._keys.add(record)
        return NewKey(record, key)

    async def find_new(self, team_id: str, claim: Claim) -> NewKey | None:
        """Return a key that was made with this claim, as long as it is valid.

        Raises:
            IdempotencyKeyUsedError: The secret of the server has changed meanwhile.
        """
        records = await self._keys.list(team_id)
        record = next((record for record in records if record.id == claim.id), None)
        if record is None:
            return None
        key = _key_of(claim)
        if key_digest(key) != record.hash:
            raise IdempotencyKeyUsedError(
                f"The API key {record.id} was made, and cannot be shown again, as the server has"
                " another secret by now: revoke it, and make one with a new idempotency key."
            )
        return NewKey(record, key)

    async def list(self, team_id: str) -> Sequence[ApiKeyRecord]:
        """Return the keys of a team, newest first."""
        return await self._keys.list(team_id)

    async def revoke(self, team_id: str, key_id: str) -> ApiKeyRecord | None:
        """Make a key invalid at once; return what it was, None if there is none of this id."""
        record = await self._keys.remove(team_id, key_id)
        self._when_changed()
        return record


def new_key() -> str:
    """Return a new API key."""
    return f"wrn_{secrets.token_hex(16)}"


def _key_of(claim: Claim) -> str:
    return f"wrn_{claim.secret[:32]}"


def key_digest(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_record(
    key: str, team_id: str, name: str, created_by: str | None, scopes: Sequence[str] | None
) -> ApiKeyRecord:
    """Return the row of a new key."""
    return ApiKeyRecord(
        id=new_id("key"),
        team_id=team_id,
        name=name,
        hash=key_digest(key),
        prefix=key[:10],
        created_at=datetime.now(UTC),
        created_by=created_by,
        scopes=None if scopes is None else tuple(scopes),
    )


def _checked(scopes: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(scopes) - ALL_SCOPES)
    if unknown or not scopes:
        raise InvalidRequestError(f"scopes: must be some of {', '.join(sorted(ALL_SCOPES))}.")
    return tuple(sorted(set(scopes)))


def _is_future(time: datetime) -> bool:
    try:
        return time.tzinfo is not None and time.astimezone(UTC) > datetime.now(UTC)
    except OverflowError:
        return False
