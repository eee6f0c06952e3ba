"""Builds of the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import models
from .._operations import builds
from .._resource import AsyncResource, Resource
from ._archives import Archive, packed
from ._following import async_follow, follow
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["AsyncBuilds", "Builds"]


class Builds(Resource):
    """Make templates for all teams from recipes; for administrators of the platform."""

    def create(
        self,
        name: str,
        recipe: str | Sequence[str],
        *,
        base_template: str | None = None,
        archive: Archive | None = None,
        healthcheck: str | None = None,
        vcpus: int | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        network: str | None = None,
    ) -> models.Build:
        """Ask for a build, and return it waiting for its turn; `wait` tells when it is done.

        Args:
            name: What to call the template; when the build succeeds it takes the place of an older
                one of this name.
            recipe: Instructions (`RUN`, `START`, `ENV`, `WORKDIR`, `USER`, `COPY`): a list, or the
                text of a file, whose lines may go on after a backslash.
            base_template: Template or snapshot to begin with; `minimal` if None.
            archive: Files for `COPY`: a tar, tar.gz or zip archive, its path, or the path of a
                directory, of which everything is sent. At most 100 MiB, packed.
            healthcheck: Shell line that succeeds when the started programs are ready, with options
                such as `--interval=3s` before it.
            vcpus: Processors, also of sandboxes of the template; as the base template if None.
            memory_mb: Memory in MiB, likewise.
            disk_mb: MiB that the home directory may take, likewise.
            network: Network mode while it is built; `none` if None.

        Raises:
            InvalidRequestError: The recipe makes no sense, in the line and column that are named,
                or the archive is not to be trusted.
            ConflictError: The name is that of something that was not built.
        """
        return self._run(
            builds.create(
                self._server,
                name,
                recipe,
                base_template=base_template,
                archive=packed(archive),
                healthcheck=healthcheck,
                vcpus=vcpus,
                memory_mb=memory_mb,
                disk_mb=disk_mb,
                network=network,
            )
        )

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[models.Build]:
        """List builds of all teams, newest first, without what they wrote.

        Args:
            limit: Builds per page; all of them if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(cursor: str | None) -> Page[models.Build]:
            return Page(self._run(builds.list_page(limit=limit, cursor=cursor)), fetch)

        return fetch(cursor)

    def get(self, build_id: str) -> models.Build:
        """Look up a build, with the steps that have ended and what they wrote.

        Raises:
            NotFoundError: There is none of this id.
        """
        return self._run(builds.get(build_id))

    def cancel(self, build_id: str) -> None:
        """End a build; when this returns nothing of it is left but its log.

        Raises:
            NotFoundError: There is none of this id.
            InvalidRequestError: It has ended already.
        """
        self._run(builds.cancel(build_id))

    def wait(
        self,
        build_id: str,
        *,
        timeout: float | None = None,
        progress: Callable[[models.BuildLogPiece], object] | None = None,
    ) -> models.Build:
        """Wait for the end of a build, and return it when the template is there.

        Args:
            build_id: Id of the build.
            timeout: Seconds to wait; until its end if None.
            progress: Called with each step as it begins, and with what it writes.

        Raises:
            BuildFailedError: It failed or was cancelled; the message names step and line.
            BuildTimeoutError: It takes longer than `timeout`, and goes on.
        """
        return follow(self._transport, build_id, timeout, progress)


class AsyncBuilds(AsyncResource):
    """Make templates for all teams from recipes; for administrators of the platform."""

    async def create(
        self,
        name: str,
        recipe: str | Sequence[str],
        *,
        base_template: str | None = None,
        archive: Archive | None = None,
        healthcheck: str | None = None,
        vcpus: int | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        network: str | None = None,
    ) -> models.Build:
        """Ask for a build, and return it waiting for its turn; `wait` tells when it is done.

        Args:
            name: What to call the template; when the build succeeds it takes the place of an older
                one of this name.
            recipe: Instructions (`RUN`, `START`, `ENV`, `WORKDIR`, `USER`, `COPY`): a list, or the
                text of a file, whose lines may go on after a backslash.
            base_template: Template or snapshot to begin with; `minimal` if None.
            archive: Files for `COPY`: a tar, tar.gz or zip archive, its path, or the path of a
                directory, of which everything is sent. At most 100 MiB, packed.
            healthcheck: Shell line that succeeds when the started programs are ready, with options
                such as `--interval=3s` before it.
            vcpus: Processors, also of sandboxes of the template; as the base template if None.
            memory_mb: Memory in MiB, likewise.
            disk_mb: MiB that the home directory may take, likewise.
            network: Network mode while it is built; `none` if None.

        Raises:
            InvalidRequestError: The recipe makes no sense, in the line and column that are named,
                or the archive is not to be trusted.
            ConflictError: The name is that of something that was not built.
        """
        from asyncio import to_thread

        return await self._run(
            builds.create(
                self._server,
                name,
                recipe,
                base_template=base_template,
                archive=await to_thread(packed, archive),
                healthcheck=healthcheck,
                vcpus=vcpus,
                memory_mb=memory_mb,
                disk_mb=disk_mb,
                network=network,
            )
        )

    def list(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> AsyncPageRequest[models.Build]:
        """List builds of all teams, newest first, without what they wrote.

        Args:
            limit: Builds per page; all of them if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(cursor: str | None) -> AsyncPage[models.Build]:
            return AsyncPage(await self._run(builds.list_page(limit=limit, cursor=cursor)), fetch)

        return AsyncPageRequest(lambda: fetch(cursor))

    async def get(self, build_id: str) -> models.Build:
        """Look up a build, with the steps that have ended and what they wrote.

        Raises:
            NotFoundError: There is none of this id.
        """
        return await self._run(builds.get(build_id))

    async def cancel(self, build_id: str) -> None:
        """End a build; when this returns nothing of it is left but its log.

        Raises:
            NotFoundError: There is none of this id.
            InvalidRequestError: It has ended already.
        """
        await self._run(builds.cancel(build_id))

    async def wait(
        self,
        build_id: str,
        *,
        timeout: float | None = None,
        progress: Callable[[models.BuildLogPiece], object] | None = None,
    ) -> models.Build:
        """Wait for the end of a build, and return it when the template is there.

        Args:
            build_id: Id of the build.
            timeout: Seconds to wait; until its end if None.
            progress: Called with each step as it begins, and with what it writes.

        Raises:
            BuildFailedError: It failed or was cancelled; the message names step and line.
            BuildTimeoutError: It takes longer than `timeout`, and goes on.
        """
        return await async_follow(self._transport, build_id, timeout, progress)
