"""Administration of the platform."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import admin
from .._resource import AsyncResource, Resource
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["Admin", "AsyncAdmin"]


class Admin(Resource):
    """What administrators of the platform do; others get a `PermissionDeniedError`."""

    def set_team_byoc(self, team_id: str, enabled: bool = True) -> None:
        """Have a team run its sandboxes on hosts of its own, and nowhere else, from now on.

        Raises:
            InvalidRequestError: That cannot be taken back.
            NotFoundError: There is no such team.
        """
        self._run(admin.set_team_byoc(team_id, enabled))

    def list_teams(self, *, cursor: str | None = None) -> Page[models.TeamSummary]:
        """List all teams, with those that were deleted, oldest first.

        Args:
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(place: str | None) -> Page[models.TeamSummary]:
            return Page(self._run(admin.teams(place)), fetch)

        return fetch(cursor)

    def delete_team(self, team_id: str) -> None:
        """Delete a team with all that it has, running sandboxes included.

        Raises:
            NotFoundError: There is no such team.
        """
        self._run(admin.delete_team(team_id))

    def list_users(self, *, cursor: str | None = None) -> Page[models.UserSummary]:
        """List all users, oldest first.

        Args:
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(place: str | None) -> Page[models.UserSummary]:
            return Page(self._run(admin.users(place)), fetch)

        return fetch(cursor)

    def set_user_active(self, user_id: str, active: bool) -> None:
        """Let a user in again, or keep them out.

        Who is kept out loses their API keys; the teams that they own lose their sandboxes.

        Args:
            user_id: Which; not oneself.
            active: Whether they may come in.

        Raises:
            InvalidRequestError: It is oneself.
            NotFoundError: There is no such user.
        """
        self._run(admin.set_user_active(user_id, active))

    def list_templates(self) -> Sequence[models.AdminTemplate]:
        """List the templates of all teams."""
        return self._run(admin.list_templates())

    def delete_template(self, name: str) -> None:
        """Delete a template of the platform; those that come with the engine stay.

        Raises:
            NotFoundError: There is none of this name.
        """
        self._run(admin.delete_template(name))


class AsyncAdmin(AsyncResource):
    """What administrators of the platform do; others get a `PermissionDeniedError`."""

    async def set_team_byoc(self, team_id: str, enabled: bool = True) -> None:
        """Have a team run its sandboxes on hosts of its own, and nowhere else, from now on.

        Raises:
            InvalidRequestError: That cannot be taken back.
            NotFoundError: There is no such team.
        """
        await self._run(admin.set_team_byoc(team_id, enabled))

    def list_teams(self, *, cursor: str | None = None) -> AsyncPageRequest[models.TeamSummary]:
        """List all teams, with those that were deleted, oldest first.

        Args:
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(place: str | None) -> AsyncPage[models.TeamSummary]:
            return AsyncPage(await self._run(admin.teams(place)), fetch)

        return AsyncPageRequest(lambda: fetch(cursor))

    async def delete_team(self, team_id: str) -> None:
        """Delete a team with all that it has, running sandboxes included.

        Raises:
            NotFoundError: There is no such team.
        """
        await self._run(admin.delete_team(team_id))

    def list_users(self, *, cursor: str | None = None) -> AsyncPageRequest[models.UserSummary]:
        """List all users, oldest first.

        Args:
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(place: str | None) -> AsyncPage[models.UserSummary]:
            return AsyncPage(await self._run(admin.users(place)), fetch)

        return AsyncPageRequest(lambda: fetch(cursor))

    async def set_user_active(self, user_id: str, active: bool) -> None:
        """Let a user in again, or keep them out.

        Who is kept out loses their API keys; the teams that they own lose their sandboxes.

        Args:
            user_id: Which; not oneself.
            active: Whether they may come in.

        Raises:
            InvalidRequestError: It is oneself.
            NotFoundError: There is no such user.
        """
        await self._run(admin.set_user_active(user_id, active))

    async def list_templates(self) -> Sequence[models.AdminTemplate]:
        """List the templates of all teams."""
        return await self._run(admin.list_templates())

    async def delete_template(self, name: str) -> None:
        """Delete a template of the platform; those that come with the engine stay.

        Raises:
            NotFoundError: There is none of this name.
        """
        await self._run(admin.delete_template(name))
