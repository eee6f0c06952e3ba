"""Administration of the platform."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import admin
from .._resource import AsyncResource, Resource

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

    async def list_templates(self) -> Sequence[models.AdminTemplate]:
        """List the templates of all teams."""
        return await self._run(admin.list_templates())

    async def delete_template(self, name: str) -> None:
        """Delete a template of the platform; those that come with the engine stay.

        Raises:
            NotFoundError: There is none of this name.
        """
        await self._run(admin.delete_template(name))
