"""Users of the double, each with a team of their own, seen by clients of either colour."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from sandlot import Retry
from tests.colours import Colour
from tests.compat.double.app import Double
from tests.compat.double.world import CODE_TEMPLATE, Capsule, Key, Team, User, World

_QUICK = Retry(backoff=0, jitter=0)
_numbers = itertools.count(1)


class Tenant:
    """Somebody who uses the double.

    Attributes:
        me: The user.
        team: The team.
        world: All that the double keeps.
    """

    def __init__(self, colour: Colour, double: Double) -> None:
        self.colour = colour
        self.world: World = double.world
        self.base_url = double.base_url
        number = next(_numbers)
        self.me: User = self.world.sign_up(f"user{number}@example.com", f"User {number}")
        self.team: Team = next(self.world.teams_of(self.me))
        self._clients: list[Any] = []

    @cached_property
    def user(self) -> Any:
        """A client with the user's token."""
        return self.client(token=self.world.token(self.me, self.team))

    @cached_property
    def key(self) -> Any:
        """A client with an API key of the team, which is of use for sandboxes only."""
        key = Key(self.team, "A key", self.me)
        self.world.keys.append(key)
        return self.client(key.secret)

    @cached_property
    def admin(self) -> Any:
        """A client with the token of an administrator of the platform, in this team."""
        return self.client(token=self.world.token(self.other(is_admin=True), self.team))

    @asynccontextmanager
    async def here(self) -> AsyncIterator[Tenant]:
        """Close the clients at the end."""
        try:
            yield self
        finally:
            for client in self._clients:
                await client.aclose()

    def client(self, *args: Any, **options: Any) -> Any:
        """Make another client."""
        client = self.colour.client(*args, base_url=self.base_url, retry=_QUICK, **options)
        self._clients.append(client)
        return client

    def other(self, *, is_admin: bool = False) -> User:
        """Make somebody else."""
        number = next(_numbers)
        return self.world.sign_up(f"user{number}@example.com", "Another", is_admin=is_admin)

    async def box(self, template: str = "minimal", **options: Any) -> Any:
        """Make a sandbox."""
        return await self.key.sandboxes.create(template, **options)

    async def notebook(self) -> Any:
        """Make a sandbox in which Jupyter listens."""
        return await self.box(CODE_TEMPLATE)

    def capsule(self, box: Any) -> Capsule:
        """Return what the double keeps of a sandbox."""
        return next(each for each in self.world.capsules if each.id == box.id)
