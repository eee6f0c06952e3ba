"""Users of the API."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import identity
from .._resource import AsyncResource, Resource

__all__ = ["AsyncUsers", "Users"]


class Users(Resource):
    """Find users."""

    def search(self, email: str) -> Sequence[models.UserMatch]:
        """Find users by the beginning of their address, ten at most.

        Args:
            email: At least 3 characters, an `@` among them.
        """
        return self._run(identity.search_users(email))


class AsyncUsers(AsyncResource):
    """Find users."""

    async def search(self, email: str) -> Sequence[models.UserMatch]:
        """Find users by the beginning of their address, ten at most.

        Args:
            email: At least 3 characters, an `@` among them.
        """
        return await self._run(identity.search_users(email))
