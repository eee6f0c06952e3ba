"""Snapshots of the API."""

from __future__ import annotations

from collections.abc import Sequence

from .. import models
from .._operations import snapshots
from .._resource import AsyncResource, Resource

__all__ = ["AsyncSnapshots", "Snapshots"]


class Snapshots(Resource):
    """Keep files of sandboxes as templates for others."""

    def create(
        self, sandbox_id: str, name: str | None = None, *, overwrite: bool = False
    ) -> models.SnapshotInfo:
        """Keep the home directory of a running or paused sandbox, which goes on.

        From then on the name can be given as `template` of new sandboxes. An original Wrenn server
        leaves the sandbox paused.

        Args:
            sandbox_id: Whose files.
            name: What to call the snapshot; the server chooses if None.
            overwrite: Replace a snapshot of this name, once the new one is complete.

        Raises:
            ConflictError: There is one of this name, or the sandbox is gone.
            UnsupportedByServerError: The engine captures no files.
        """
        return self._run(snapshots.create(self._server, sandbox_id, name, overwrite=overwrite))

    def list(self, type: str | None = None) -> Sequence[models.SnapshotInfo]:
        """List templates, newest first, those of the server included.

        Args:
            type: Only those that are a `snapshot`, or those that are `base`.
        """
        return self._run(snapshots.list_all(type))

    def get(self, name: str) -> models.SnapshotInfo:
        """Look up a template.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._run(snapshots.get(self._server, name))

    def delete(self, name: str) -> None:
        """Delete a snapshot; sandboxes made from it keep their files.

        Raises:
            NotFoundError: There is none of this name.
            PermissionDeniedError: It belongs to the server.
        """
        self._run(snapshots.delete(name))


class AsyncSnapshots(AsyncResource):
    """Keep files of sandboxes as templates for others."""

    async def create(
        self, sandbox_id: str, name: str | None = None, *, overwrite: bool = False
    ) -> models.SnapshotInfo:
        """Keep the home directory of a running or paused sandbox, which goes on.

        From then on the name can be given as `template` of new sandboxes. An original Wrenn server
        leaves the sandbox paused.

        Args:
            sandbox_id: Whose files.
            name: What to call the snapshot; the server chooses if None.
            overwrite: Replace a snapshot of this name, once the new one is complete.

        Raises:
            ConflictError: There is one of this name, or the sandbox is gone.
            UnsupportedByServerError: The engine captures no files.
        """
        return await self._run(
            snapshots.create(self._server, sandbox_id, name, overwrite=overwrite)
        )

    async def list(self, type: str | None = None) -> Sequence[models.SnapshotInfo]:
        """List templates, newest first, those of the server included.

        Args:
            type: Only those that are a `snapshot`, or those that are `base`.
        """
        return await self._run(snapshots.list_all(type))

    async def get(self, name: str) -> models.SnapshotInfo:
        """Look up a template.

        Raises:
            NotFoundError: There is none of this name.
        """
        return await self._run(snapshots.get(self._server, name))

    async def delete(self, name: str) -> None:
        """Delete a snapshot; sandboxes made from it keep their files.

        Raises:
            NotFoundError: There is none of this name.
            PermissionDeniedError: It belongs to the server.
        """
        await self._run(snapshots.delete(name))
