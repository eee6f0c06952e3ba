"""API keys of the API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .. import models
from .._operations import identity
from .._resource import AsyncResource, Resource

__all__ = ["ApiKeys", "AsyncApiKeys"]


class ApiKeys(Resource):
    """Make, list and revoke API keys of the team."""

    def create(
        self,
        name: str | None = None,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> models.ApiKey:
        """Make a key; its `key` is told only this once, and not shown by `repr`.

        Args:
            name: What to call it.
            scopes: What it may be used for: `sandboxes` (which includes snapshots), `api_keys`,
                `teams`, `users`, `audit`, `hosts`, `channels`, `admin`; only `sandboxes` if None.
                The key never may more than its maker at the time. Original Wrenn servers have none.
            expires_at: When it ceases to be valid; never if None.

        Raises:
            InvalidRequestError: There is no such scope, or the time is past.
            PermissionDeniedError: This client's own key has not all of these scopes.
        """
        return self._run(identity.create_key(self._server, name, scopes, expires_at))

    def list(self) -> Sequence[models.ApiKey]:
        """List the keys of the team, newest first, without the keys themselves."""
        return self._run(identity.list_keys())

    def delete(self, key_id: str) -> None:
        """Make a key invalid, at once; one that is gone already is fine."""
        self._run(identity.delete_key(key_id))


class AsyncApiKeys(AsyncResource):
    """Make, list and revoke API keys of the team."""

    async def create(
        self,
        name: str | None = None,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> models.ApiKey:
        """Make a key; its `key` is told only this once, and not shown by `repr`.

        Args:
            name: What to call it.
            scopes: What it may be used for: `sandboxes` (which includes snapshots), `api_keys`,
                `teams`, `users`, `audit`, `hosts`, `channels`, `admin`; only `sandboxes` if None.
                The key never may more than its maker at the time. Original Wrenn servers have none.
            expires_at: When it ceases to be valid; never if None.

        Raises:
            InvalidRequestError: There is no such scope, or the time is past.
            PermissionDeniedError: This client's own key has not all of these scopes.
        """
        return await self._run(identity.create_key(self._server, name, scopes, expires_at))

    async def list(self) -> Sequence[models.ApiKey]:
        """List the keys of the team, newest first, without the keys themselves."""
        return await self._run(identity.list_keys())

    async def delete(self, key_id: str) -> None:
        """Make a key invalid, at once; one that is gone already is fine."""
        await self._run(identity.delete_key(key_id))
