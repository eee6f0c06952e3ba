"""All teams and all users, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .census import TeamOverview, UserOverview
from .identity_records import LOCAL_USER, TeamRecord, UserRecord
from .memory_identity import MemoryPeople

__all__ = ["MemoryCensus"]


class MemoryCensus:
    """Teams and users, whoever they belong to.

    Args:
        people: They, and what they are to each other.
        sandboxes: Tells how many sandboxes of a team live.
        channels: Tells how many channels it has.
    """

    def __init__(
        self,
        people: MemoryPeople,
        sandboxes: Callable[[str], int],
        channels: Callable[[str], int],
    ) -> None:
        self._people = people
        self._sandboxes = sandboxes
        self._channels = channels

    async def count_teams(self) -> int:
        """Return how many teams there are, with those that were deleted."""
        return len(self._people.teams)

    async def teams(self, limit: int, offset: int) -> Sequence[TeamOverview]:
        """Return some of them, oldest first."""
        teams = sorted(self._people.teams.values(), key=lambda team: (team.created_at, team.id))
        return [self._team(team) for team in teams[offset : offset + limit]]

    async def count_users(self) -> int:
        """Return how many users there are, without the local one."""
        return len(self._people.users.keys() - {LOCAL_USER})

    async def users(self, limit: int, offset: int) -> Sequence[UserOverview]:
        """Return some of them, oldest first."""
        users = sorted(
            (user for user in self._people.users.values() if user.id != LOCAL_USER),
            key=lambda user: (user.created_at, user.id),
        )
        return [self._user(user) for user in users[offset : offset + limit]]

    def _team(self, team: TeamRecord) -> TeamOverview:
        members = {
            user: role for (of, user), (role, _) in self._people.roles.items() if of == team.id
        }
        owners = (self._people.users.get(user) for user, role in members.items() if role == "owner")
        return TeamOverview(
            team,
            len(members),
            next(owners, None),
            self._sandboxes(team.id),
            self._channels(team.id),
        )

    def _user(self, user: UserRecord) -> UserOverview:
        roles = [
            role
            for (team, who), (role, _) in self._people.roles.items()
            if who == user.id and self._people.alive(team) is not None
        ]
        return UserOverview(user, len(roles), roles.count("owner"))
