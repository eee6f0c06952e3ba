"""What those do who administer the platform: all teams, all users."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sandlot.server.store.base import Store
from sandlot.server.store.census import TeamOverview, UserOverview
from sandlot.server.store.identity_records import LOCAL_USER
from sandlot.server.store.records import SandboxFilter

from .errors import InvalidRequestError, NotFoundError
from .principals import Principal
from .sandboxes import Sandboxes
from .teams import Teams

__all__ = ["NumberedPage", "Platform"]

_PER_PAGE = 50
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[T]):
    """A page of a list whose pages are counted from 1."""

    items: Sequence[T]
    number: int
    total: int
    size: int = _PER_PAGE

    @property
    def count(self) -> int:
        """How many pages there are, at least one."""
        return max(1, math.ceil(self.total / self.size))


class Platform:
    """All teams and users."""

    def __init__(
        self, store: Store, teams: Teams, sandboxes: Sandboxes, when_changed: Callable[[], None]
    ) -> None:
        self._census = store.census
        self._users = store.users
        self._keys = store.keys
        self._memberships = store.teams
        self._teams = teams
        self._sandboxes = sandboxes
        self._when_changed = when_changed

    async def teams(self, number: int) -> NumberedPage[TeamOverview]:
        """Return a page of all teams, with those that were deleted, oldest first."""
        found = await self._census.teams(_PER_PAGE, (number - 1) * _PER_PAGE)
        return NumberedPage(found, number, await self._census.count_teams())

    async def users(self, number: int) -> NumberedPage[UserOverview]:
        """Return a page of all users, oldest first."""
        found = await self._census.users(_PER_PAGE, (number - 1) * _PER_PAGE)
        return NumberedPage(found, number, await self._census.count_users())

    async def delete_team(self, team_id: str) -> None:
        """Delete a team with all that it has, running sandboxes included.

        Raises:
            NotFoundError: There is no such team.
        """
        _ = await self._teams.get(team_id)
        await self._teams.delete(team_id, force=True)

    async def set_active(self, caller: Principal, user_id: str, *, active: bool) -> None:
        """Let a user in again, or keep them out.

        Who is kept out loses their API keys, and the teams that they own lose their sandboxes.

        Raises:
            InvalidRequestError: It is the caller.
            NotFoundError: There is no such user.
        """
        if user_id == caller.user_id:
            raise InvalidRequestError("id: you cannot keep yourself out.")
        user = await self._users.get(user_id)
        if user is None or user.id == LOCAL_USER:
            raise NotFoundError("There is no such user.")
        if active:
            await self._users.save(replace(user, status="active"))
            return
        await self._users.save(replace(user, status="disabled", key_version=user.key_version + 1))
        await self._keys.remove_made_by(user_id)
        self._when_changed()
        for standing in await self._memberships.of_user(user_id):
            if standing.role == "owner":
                team_id = standing.team.id
                living = await self._sandboxes.list(team_id, SandboxFilter())
                ids = [record.id for record in living]
                _ = await self._sandboxes.stop_many(team_id, ids, save_state=False)
