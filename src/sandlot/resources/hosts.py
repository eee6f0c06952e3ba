"""Hosts of the API."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import hosts
from .._resource import AsyncResource, Resource

__all__ = ["AsyncHosts", "Hosts"]


class Hosts(Resource):
    """The machines that sandboxes are on."""

    def create(
        self,
        type: str = "regular",
        *,
        team_id: str | None = None,
        provider: str | None = None,
        availability_zone: str | None = None,
    ) -> models.HostInvitation:
        """Make a host that an agent can be registered for, with the token to do that.

        The token is told only here; it is not shown by `repr`. A server's own machine is a host by
        itself, and needs none of this.

        Args:
            type: `regular`, for all teams, or `byoc`, for the team that brings it.
            team_id: With `byoc`: the team.
            provider: Who runs the machine.
            availability_zone: Where it is.

        Raises:
            PermissionDeniedError: That is for administrators of the platform, or of a team that may
                bring hosts.
        """
        return self._run(hosts.create(self._server, type, team_id, provider, availability_zone))

    def list(self) -> Sequence[models.Host]:
        """List hosts, newest first: all for administrators of the platform, else the team's own."""
        return self._run(hosts.list_all())

    def get(self, host_id: str) -> models.Host:
        """Look up a host.

        Raises:
            NotFoundError: There is none of this id, or it is not for this team to see.
        """
        return self._run(hosts.get(host_id))

    def delete(self, host_id: str, *, force: bool = False) -> None:
        """Delete a host with its tokens.

        Args:
            host_id: Which.
            force: Give its sandboxes up; otherwise it must have none.

        Raises:
            HostHasSandboxesError: It has some: `sandbox_ids`.
            ConflictError: A server is running there.
            NotFoundError: There is none of this id.
        """
        self._run(hosts.delete(host_id, force=force))

    def delete_preview(self, host_id: str) -> models.HostDeletePreview:
        """Return a host and the sandboxes that would go with it.

        Raises:
            NotFoundError: There is none of this id.
        """
        return self._run(hosts.delete_preview(host_id))

    def regenerate_token(self, host_id: str) -> models.HostInvitation:
        """Make another token to register a host with; the one before is of no use any more.

        Raises:
            ConflictError: It is registered already. (Original Wrenn servers say that the request is
                invalid.)
            NotFoundError: There is none of this id.
        """
        return self._run(hosts.regenerate_token(host_id))

    def list_tags(self, host_id: str) -> Sequence[str]:
        """List the tags of a host, in order.

        Raises:
            NotFoundError: There is none of this id.
        """
        return self._run(hosts.list_tags(host_id))

    def add_tag(self, host_id: str, tag: str) -> None:
        """Give a host a tag, for `sandboxes.create(host_tags=[...])`; it may have it already.

        Raises:
            InvalidRequestError: That can be no tag.
            NotFoundError: There is none of this id.
        """
        self._run(hosts.add_tag(host_id, tag))

    def remove_tag(self, host_id: str, tag: str) -> None:
        """Take a tag from a host, if it has it.

        Raises:
            NotFoundError: There is no host of this id.
        """
        self._run(hosts.remove_tag(host_id, tag))


class AsyncHosts(AsyncResource):
    """The machines that sandboxes are on."""

    async def create(
        self,
        type: str = "regular",
        *,
        team_id: str | None = None,
        provider: str | None = None,
        availability_zone: str | None = None,
    ) -> models.HostInvitation:
        """Make a host that an agent can be registered for, with the token to do that.

        The token is told only here; it is not shown by `repr`. A server's own machine is a host by
        itself, and needs none of this.

        Args:
            type: `regular`, for all teams, or `byoc`, for the team that brings it.
            team_id: With `byoc`: the team.
            provider: Who runs the machine.
            availability_zone: Where it is.

        Raises:
            PermissionDeniedError: That is for administrators of the platform, or of a team that may
                bring hosts.
        """
        return await self._run(
            hosts.create(self._server, type, team_id, provider, availability_zone)
        )

    async def list(self) -> Sequence[models.Host]:
        """List hosts, newest first: all for administrators of the platform, else the team's own."""
        return await self._run(hosts.list_all())

    async def get(self, host_id: str) -> models.Host:
        """Look up a host.

        Raises:
            NotFoundError: There is none of this id, or it is not for this team to see.
        """
        return await self._run(hosts.get(host_id))

    async def delete(self, host_id: str, *, force: bool = False) -> None:
        """Delete a host with its tokens.

        Args:
            host_id: Which.
            force: Give its sandboxes up; otherwise it must have none.

        Raises:
            HostHasSandboxesError: It has some: `sandbox_ids`.
            ConflictError: A server is running there.
            NotFoundError: There is none of this id.
        """
        await self._run(hosts.delete(host_id, force=force))

    async def delete_preview(self, host_id: str) -> models.HostDeletePreview:
        """Return a host and the sandboxes that would go with it.

        Raises:
            NotFoundError: There is none of this id.
        """
        return await self._run(hosts.delete_preview(host_id))

    async def regenerate_token(self, host_id: str) -> models.HostInvitation:
        """Make another token to register a host with; the one before is of no use any more.

        Raises:
            ConflictError: It is registered already. (Original Wrenn servers say that the request is
                invalid.)
            NotFoundError: There is none of this id.
        """
        return await self._run(hosts.regenerate_token(host_id))

    async def list_tags(self, host_id: str) -> Sequence[str]:
        """List the tags of a host, in order.

        Raises:
            NotFoundError: There is none of this id.
        """
        return await self._run(hosts.list_tags(host_id))

    async def add_tag(self, host_id: str, tag: str) -> None:
        """Give a host a tag, for `sandboxes.create(host_tags=[...])`; it may have it already.

        Raises:
            InvalidRequestError: That can be no tag.
            NotFoundError: There is none of this id.
        """
        await self._run(hosts.add_tag(host_id, tag))

    async def remove_tag(self, host_id: str, tag: str) -> None:
        """Take a tag from a host, if it has it.

        Raises:
            NotFoundError: There is no host of this id.
        """
        await self._run(hosts.remove_tag(host_id, tag))
