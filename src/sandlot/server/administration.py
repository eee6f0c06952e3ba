"""Administration of users from outside a server: straight in its database, running or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from .services.accounts import Accounts
from .services.errors import NotFoundError
from .services.naming import user_email
from .services.passwords import Passwords
from .services.principals import DEFAULT_TEAM
from .services.tokens import Tokens
from .store.identity_records import UserRecord
from .store.opening import open_store

__all__ = ["create_user", "list_users", "revoke_tokens", "set_status"]


async def create_user(
    database: str, email: str, password: str | None, name: str, *, is_admin: bool
) -> UserRecord:
    """Make a user with a team of their own; the first administrator owns the default team too."""
    store = await open_store(database)
    try:
        await store.teams.ensure(DEFAULT_TEAM, "Default", datetime.now(UTC))
        accounts = Accounts(store, Tokens(""), Passwords(), "closed")  # gives nobody a token
        return await accounts.create(email, password, name, is_admin=is_admin)
    finally:
        await store.close()


async def list_users(database: str) -> Sequence[UserRecord]:
    """Return all users, in order of their addresses."""
    store = await open_store(database)
    try:
        return await store.users.list()
    finally:
        await store.close()


async def set_status(
    database: str, email: str, status: Literal["active", "disabled"]
) -> UserRecord:
    """Disable a user, whose tokens and keys are of no use from then on, or enable them again."""
    return await _change(database, email, status=status)


async def revoke_tokens(database: str, email: str) -> UserRecord:
    """Make all tokens of a user invalid: they have to log in again."""
    return await _change(database, email, status=None)


async def _change(database: str, email: str, *, status: str | None) -> UserRecord:
    store = await open_store(database)
    try:
        user = await store.users.find(user_email(email))
        if user is None:
            raise NotFoundError("There is no user with this address.")
        if status is None:
            changed = replace(user, key_version=user.key_version + 1)
        else:
            changed = replace(user, status=status)
        await store.users.save(changed)
        return changed
    finally:
        await store.close()
