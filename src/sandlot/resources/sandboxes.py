"""Sandboxes of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, TypeAlias

from .. import models
from .._flow import Flow
from .._operations import reaping, sandboxes, usage
from .._operations.sandboxes import Creation
from .._resource import AsyncResource, Resource
from ..sandbox.sandbox import AsyncSandbox, Sandbox
from .creation import AsyncCreation, created
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["AsyncSandboxes", "Sandboxes"]

Infos: TypeAlias = "list[models.SandboxInfo]"  # in the classes below, `list` is a method


class Sandboxes(Resource):
    """Make, find and remove sandboxes."""

    def create(
        self,
        template: str | None = None,
        *,
        vcpus: int | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        timeout_sec: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        network: str | None = None,
        snapshot: str | None = None,
        require_isolation: Sequence[str] | None = None,
        on_timeout: Literal["pause", "destroy"] | None = None,
        max_lifetime_sec: int | None = None,
        lease_sec: int | None = None,
        if_exists: Literal["error", "get"] | None = None,
        host_tags: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> Sandbox:
        """Create a sandbox; as a context manager, destroy it at the end.

        Interrupted, cancelled or left without an answer, it leaves no sandbox behind.

        Args:
            template: What it starts from; `minimal` if None.
            vcpus: Processors.
            memory_mb: Memory in MiB.
            disk_mb: MiB that its home directory may take on the disk.
            timeout_sec: Seconds without activity after which `on_timeout` happens.
            name: A name of your own, unique among the team's live sandboxes.
            metadata: Labels to find it by.
            env: Environment variables of every command.
            cwd: Directory in which commands start.
            network: Network mode; `none` if None.
            snapshot: Snapshot that the files come from, as `template` does with its name.
            require_isolation: What must be enforced, in the words of `sandbox.isolation.enforced`.
            on_timeout: What becomes of it when it is idle; `pause` if None.
            max_lifetime_sec: Seconds from now after which it is destroyed, paused or not.
            lease_sec: Seconds after which it is destroyed unless its lease is renewed, which
                happens by itself inside of `with`, for as long as this process lives.
            if_exists: `get` returns the live sandbox of this `name`, if there is one. It is resumed
                if it is paused, and not destroyed at the end of `with`.
            host_tags: Tags that its host must have, all of them.
            idempotency_key: Names this creation: the same key gives the same sandbox for a day, or
                raises `SandboxDestroyedError` once that has ended. One is made up if None; a key of
                your own means that you clean up yourself.
            wait: Return when it runs, not as soon as it has an id.
        """
        return self._created(
            sandboxes.create(
                self._server,
                template,
                vcpus=vcpus,
                memory_mb=memory_mb,
                disk_mb=disk_mb,
                timeout_sec=timeout_sec,
                name=name,
                metadata=metadata,
                env=env,
                cwd=cwd,
                network=network,
                snapshot=snapshot,
                require_isolation=require_isolation,
                on_timeout=on_timeout,
                max_lifetime_sec=max_lifetime_sec,
                lease_sec=lease_sec,
                if_exists=if_exists,
                host_tags=host_tags,
                idempotency_key=idempotency_key,
                wait=wait,
            )
        )

    def list(
        self,
        *,
        status: str | None = None,
        template: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Sandbox]:
        """List sandboxes, newest first, without stopped and failed ones unless `status` asks.

        Args:
            status: Only those in this state.
            template: Only those of this template.
            name: Only the one of this name.
            metadata: Only those with these labels.
            limit: Sandboxes per page; all on one page if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(cursor: str | None) -> Page[Sandbox]:
            infos, following = self._run(
                sandboxes.list_page(self._server, status, template, name, metadata, limit, cursor)
            )
            found = [Sandbox(self._transport, info) for info in infos]
            return Page((found, following), fetch)

        return fetch(cursor)

    def get(self, sandbox_id: str) -> Sandbox:
        """Look up a sandbox, whatever its state; nothing is changed.

        Raises:
            NotFoundError: There is none of this id.
        """
        return Sandbox(self._transport, self._run(sandboxes.get(sandbox_id)))

    def connect(self, id_or_name: str) -> Sandbox:
        """Find a sandbox and make it run: a paused one is resumed.

        Raises:
            NotFoundError: There is none of this id or name.
            SandboxStateError: It failed or is gone.
        """
        info = self._run(sandboxes.connect(self._server, id_or_name))
        return Sandbox(self._transport, info)

    def destroy(self, sandbox_id: str) -> None:
        """Destroy a sandbox for good; one that is gone already is fine."""
        self._run(sandboxes.destroy(sandbox_id))

    def stop_many(
        self, sandbox_ids: Iterable[str], *, save_state: bool = False
    ) -> models.StopReport:
        """Destroy many sandboxes, or pause them with `save_state`; say which could not be."""
        return self._run(reaping.stop_many(self._server, sandbox_ids, save_state=save_state))

    def reap(
        self,
        *,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
        older_than: float | None = None,
        inactive_for: float | None = None,
        status: str | None = None,
        dry_run: bool = False,
    ) -> Infos:
        """Destroy the sandboxes that fit all filters, at least one; return them as they were.

        Args:
            metadata: Only those with these labels.
            name: Only the one of this name.
            older_than: Only those made at least so many seconds ago.
            inactive_for: Only those without activity for so many seconds.
            status: Only those in this state.
            dry_run: Destroy nothing.

        Raises:
            SandlotError: Some could not be destroyed.
        """
        return self._run(
            reaping.reap(
                self._server, metadata, name, older_than, inactive_for, status, dry_run=dry_run
            )
        )

    def get_stats(self, range: str | None = None) -> models.SandboxStats:
        """Return how much the team runs, now and over time.

        Args:
            range: How far back: 5m, 1h, 6h, 24h or 30d; 1h if None.
        """
        return self._run(usage.stats(range))

    def usage(self, start: date | None = None, end: date | None = None) -> models.UsageReport:
        """Return what the team used of each day, in UTC, while its sandboxes ran.

        Args:
            start: The first day; the 29th before the last one if None.
            end: The last day; today if None.
        """
        return self._run(usage.get(self._server, start, end))

    def _created(self, creation: Flow[Creation]) -> Sandbox:
        return created(self._transport, self._run(creation))


class AsyncSandboxes(AsyncResource):
    """Make, find and remove sandboxes."""

    def create(
        self,
        template: str | None = None,
        *,
        vcpus: int | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        timeout_sec: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        network: str | None = None,
        snapshot: str | None = None,
        require_isolation: Sequence[str] | None = None,
        on_timeout: Literal["pause", "destroy"] | None = None,
        max_lifetime_sec: int | None = None,
        lease_sec: int | None = None,
        if_exists: Literal["error", "get"] | None = None,
        host_tags: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> AsyncCreation:
        """Create a sandbox; as a context manager, destroy it at the end.

        Interrupted, cancelled or left without an answer, it leaves no sandbox behind.

        Args:
            template: What it starts from; `minimal` if None.
            vcpus: Processors.
            memory_mb: Memory in MiB.
            disk_mb: MiB that its home directory may take on the disk.
            timeout_sec: Seconds without activity after which `on_timeout` happens.
            name: A name of your own, unique among the team's live sandboxes.
            metadata: Labels to find it by.
            env: Environment variables of every command.
            cwd: Directory in which commands start.
            network: Network mode; `none` if None.
            snapshot: Snapshot that the files come from, as `template` does with its name.
            require_isolation: What must be enforced, in the words of `sandbox.isolation.enforced`.
            on_timeout: What becomes of it when it is idle; `pause` if None.
            max_lifetime_sec: Seconds from now after which it is destroyed, paused or not.
            lease_sec: Seconds after which it is destroyed unless its lease is renewed, which
                happens by itself inside of `with`, for as long as this process lives.
            if_exists: `get` returns the live sandbox of this `name`, if there is one. It is resumed
                if it is paused, and not destroyed at the end of `with`.
            host_tags: Tags that its host must have, all of them.
            idempotency_key: Names this creation: the same key gives the same sandbox for a day, or
                raises `SandboxDestroyedError` once that has ended. One is made up if None; a key of
                your own means that you clean up yourself.
            wait: Return when it runs, not as soon as it has an id.
        """
        return self._created(
            sandboxes.create(
                self._server,
                template,
                vcpus=vcpus,
                memory_mb=memory_mb,
                disk_mb=disk_mb,
                timeout_sec=timeout_sec,
                name=name,
                metadata=metadata,
                env=env,
                cwd=cwd,
                network=network,
                snapshot=snapshot,
                require_isolation=require_isolation,
                on_timeout=on_timeout,
                max_lifetime_sec=max_lifetime_sec,
                lease_sec=lease_sec,
                if_exists=if_exists,
                host_tags=host_tags,
                idempotency_key=idempotency_key,
                wait=wait,
            )
        )

    def list(
        self,
        *,
        status: str | None = None,
        template: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AsyncPageRequest[AsyncSandbox]:
        """List sandboxes, newest first, without stopped and failed ones unless `status` asks.

        Args:
            status: Only those in this state.
            template: Only those of this template.
            name: Only the one of this name.
            metadata: Only those with these labels.
            limit: Sandboxes per page; all on one page if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(cursor: str | None) -> AsyncPage[AsyncSandbox]:
            infos, following = await self._run(
                sandboxes.list_page(self._server, status, template, name, metadata, limit, cursor)
            )
            found = [AsyncSandbox(self._transport, info) for info in infos]
            return AsyncPage((found, following), fetch)

        return AsyncPageRequest(lambda: fetch(cursor))

    async def get(self, sandbox_id: str) -> AsyncSandbox:
        """Look up a sandbox, whatever its state; nothing is changed.

        Raises:
            NotFoundError: There is none of this id.
        """
        return AsyncSandbox(self._transport, await self._run(sandboxes.get(sandbox_id)))

    async def connect(self, id_or_name: str) -> AsyncSandbox:
        """Find a sandbox and make it run: a paused one is resumed.

        Raises:
            NotFoundError: There is none of this id or name.
            SandboxStateError: It failed or is gone.
        """
        info = await self._run(sandboxes.connect(self._server, id_or_name))
        return AsyncSandbox(self._transport, info)

    async def destroy(self, sandbox_id: str) -> None:
        """Destroy a sandbox for good; one that is gone already is fine."""
        await self._run(sandboxes.destroy(sandbox_id))

    async def stop_many(
        self, sandbox_ids: Iterable[str], *, save_state: bool = False
    ) -> models.StopReport:
        """Destroy many sandboxes, or pause them with `save_state`; say which could not be."""
        return await self._run(reaping.stop_many(self._server, sandbox_ids, save_state=save_state))

    async def reap(
        self,
        *,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
        older_than: float | None = None,
        inactive_for: float | None = None,
        status: str | None = None,
        dry_run: bool = False,
    ) -> Infos:
        """Destroy the sandboxes that fit all filters, at least one; return them as they were.

        Args:
            metadata: Only those with these labels.
            name: Only the one of this name.
            older_than: Only those made at least so many seconds ago.
            inactive_for: Only those without activity for so many seconds.
            status: Only those in this state.
            dry_run: Destroy nothing.

        Raises:
            SandlotError: Some could not be destroyed.
        """
        return await self._run(
            reaping.reap(
                self._server, metadata, name, older_than, inactive_for, status, dry_run=dry_run
            )
        )

    async def get_stats(self, range: str | None = None) -> models.SandboxStats:
        """Return how much the team runs, now and over time.

        Args:
            range: How far back: 5m, 1h, 6h, 24h or 30d; 1h if None.
        """
        return await self._run(usage.stats(range))

    async def usage(self, start: date | None = None, end: date | None = None) -> models.UsageReport:
        """Return what the team used of each day, in UTC, while its sandboxes ran.

        Args:
            start: The first day; the 29th before the last one if None.
            end: The last day; today if None.
        """
        return await self._run(usage.get(self._server, start, end))

    def _created(self, creation: Flow[Creation]) -> AsyncCreation:
        return AsyncCreation(self._transport, creation)
