"""Teams of the API."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import identity
from .._resource import AsyncResource, Resource

__all__ = ["AsyncTeams", "Teams"]


class Teams(Resource):
    """Make, change and leave teams.

    A client acts in one team. What is asked about another raises `PermissionDeniedError`:
    `client.auth.switch_team` gives a token for it.
    """

    def list(self) -> Sequence[models.Team]:
        """List the teams of the user, in the order in which they joined them."""
        return self._run(identity.list_teams())

    def create(self, name: str) -> models.Team:
        """Make a team that the user owns. The client goes on in its own team.

        Raises:
            InvalidRequestError: The name has other characters than `A-Z a-z 0-9`, space and
                `_ - @ '`, or more than 128.
        """
        return self._run(identity.create_team(self._server, name))

    def get(self, team_id: str) -> models.TeamDetail:
        """Look up the team and its members."""
        return self._run(identity.get_team(team_id))

    def rename(self, team_id: str, name: str) -> None:
        """Rename the team; for its admins and owners."""
        self._run(identity.rename_team(team_id, name))

    def delete(self, team_id: str, *, force: bool = False) -> None:
        """Delete the team with its API keys and snapshots; for its owners.

        Args:
            team_id: Which.
            force: Destroy its sandboxes.

        Raises:
            HostHasSandboxesError: It has sandboxes; `sandbox_ids` says which.
        """
        self._run(identity.delete_team(self._server, team_id, force=force))

    def list_members(self, team_id: str) -> Sequence[models.Member]:
        """List the members of the team, in the order in which they joined."""
        return self._run(identity.list_members(team_id))

    def add_member(self, team_id: str, email: str) -> models.Member:
        """Add a user to the team, as a `member`; for its admins and owners.

        Raises:
            NotFoundError: There is no user with this address.
            InvalidRequestError: They are in the team already.
        """
        return self._run(identity.add_member(self._server, team_id, email))

    def update_member_role(self, team_id: str, user_id: str, role: str) -> None:
        """Change what a member may do; for admins and owners of the team.

        Args:
            team_id: The team.
            user_id: The member.
            role: `admin` or `member`; owners can make a member `owner` too.

        Raises:
            PermissionDeniedError: Only owners change owners, and the last one stays one.
            NotFoundError: There is no such member.
        """
        self._run(identity.update_role(team_id, user_id, role))

    def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a member out of the team, at once; for its admins and owners.

        API keys that they made go on for sandboxes and snapshots: see `client.api_keys.list()`.

        Raises:
            PermissionDeniedError: Only owners remove owners, and the last one stays.
            NotFoundError: There is no such member.
        """
        self._run(identity.remove_member(team_id, user_id))

    def leave(self, team_id: str) -> None:
        """Leave the team.

        Raises:
            PermissionDeniedError: The user is its last owner.
        """
        self._run(identity.leave_team(team_id))


class AsyncTeams(AsyncResource):
    """Make, change and leave teams.

    A client acts in one team. What is asked about another raises `PermissionDeniedError`:
    `client.auth.switch_team` gives a token for it.
    """

    async def list(self) -> Sequence[models.Team]:
        """List the teams of the user, in the order in which they joined them."""
        return await self._run(identity.list_teams())

    async def create(self, name: str) -> models.Team:
        """Make a team that the user owns. The client goes on in its own team.

        Raises:
            InvalidRequestError: The name has other characters than `A-Z a-z 0-9`, space and
                `_ - @ '`, or more than 128.
        """
        return await self._run(identity.create_team(self._server, name))

    async def get(self, team_id: str) -> models.TeamDetail:
        """Look up the team and its members."""
        return await self._run(identity.get_team(team_id))

    async def rename(self, team_id: str, name: str) -> None:
        """Rename the team; for its admins and owners."""
        await self._run(identity.rename_team(team_id, name))

    async def delete(self, team_id: str, *, force: bool = False) -> None:
        """Delete the team with its API keys and snapshots; for its owners.

        Args:
            team_id: Which.
            force: Destroy its sandboxes.

        Raises:
            HostHasSandboxesError: It has sandboxes; `sandbox_ids` says which.
        """
        await self._run(identity.delete_team(self._server, team_id, force=force))

    async def list_members(self, team_id: str) -> Sequence[models.Member]:
        """List the members of the team, in the order in which they joined."""
        return await self._run(identity.list_members(team_id))

    async def add_member(self, team_id: str, email: str) -> models.Member:
        """Add a user to the team, as a `member`; for its admins and owners.

        Raises:
            NotFoundError: There is no user with this address.
            InvalidRequestError: They are in the team already.
        """
        return await self._run(identity.add_member(self._server, team_id, email))

    async def update_member_role(self, team_id: str, user_id: str, role: str) -> None:
        """Change what a member may do; for admins and owners of the team.

        Args:
            team_id: The team.
            user_id: The member.
            role: `admin` or `member`; owners can make a member `owner` too.

        Raises:
            PermissionDeniedError: Only owners change owners, and the last one stays one.
            NotFoundError: There is no such member.
        """
        await self._run(identity.update_role(team_id, user_id, role))

    async def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a member out of the team, at once; for its admins and owners.

        API keys that they made go on for sandboxes and snapshots: see `client.api_keys.list()`.

        Raises:
            PermissionDeniedError: Only owners remove owners, and the last one stays.
            NotFoundError: There is no such member.
        """
        await self._run(identity.remove_member(team_id, user_id))

    async def leave(self, team_id: str) -> None:
        """Leave the team.

        Raises:
            PermissionDeniedError: The user is its last owner.
        """
        await self._run(identity.leave_team(team_id))
