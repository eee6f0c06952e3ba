"""Sandboxes of the API."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Coroutine, Generator, Mapping, Sequence
from types import TracebackType

from .._flow import Flow
from .._operations import sandboxes
from .._resource import AsyncResource, Resource
from .._transport import AsyncTransport
from ..models import SandboxInfo, SandboxStats
from ..sandbox.sandbox import AsyncSandbox, Sandbox
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["AsyncCreation", "AsyncSandboxes", "Sandboxes"]


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
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> Sandbox:
        """Create a sandbox; as a context manager, destroy it at the end.

        Interrupted, cancelled or left without an answer, it leaves no sandbox behind.

        Args:
            template: What it starts from; `minimal` if None.
            vcpus: Processors.
            memory_mb: Memory in MiB.
            disk_mb: Largest size of a file in MiB.
            timeout_sec: Seconds without activity after which it is paused; never if 0 or None.
            name: A name of your own, unique among the team's live sandboxes.
            metadata: Labels to find it by.
            env: Environment variables of every command.
            cwd: Directory in which commands start.
            network: Network mode; `none` if None.
            snapshot: Snapshot that the files come from, as `template` does with its name.
            require_isolation: What must be enforced, in the words of `sandbox.isolation.enforced`.
            idempotency_key: Names this creation: the same key gives the same sandbox for a day. One
                is made up if None; a key of your own means that you clean up yourself.
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
                sandboxes.list_page(
                    self._server,
                    status=status,
                    template=template,
                    name=name,
                    metadata=metadata,
                    limit=limit,
                    cursor=cursor,
                )
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

    def get_stats(self, range: str | None = None) -> SandboxStats:
        """Return how much the team runs, now and over time.

        Args:
            range: How far back: 5m, 1h, 6h, 24h or 30d; 1h if None.
        """
        return self._run(sandboxes.get_stats(range))

    def _created(self, creation: Flow[SandboxInfo]) -> Sandbox:
        return Sandbox(self._transport, self._run(creation), owned=True)


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
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> AsyncCreation:
        """Create a sandbox; as a context manager, destroy it at the end.

        Interrupted, cancelled or left without an answer, it leaves no sandbox behind.

        Args:
            template: What it starts from; `minimal` if None.
            vcpus: Processors.
            memory_mb: Memory in MiB.
            disk_mb: Largest size of a file in MiB.
            timeout_sec: Seconds without activity after which it is paused; never if 0 or None.
            name: A name of your own, unique among the team's live sandboxes.
            metadata: Labels to find it by.
            env: Environment variables of every command.
            cwd: Directory in which commands start.
            network: Network mode; `none` if None.
            snapshot: Snapshot that the files come from, as `template` does with its name.
            require_isolation: What must be enforced, in the words of `sandbox.isolation.enforced`.
            idempotency_key: Names this creation: the same key gives the same sandbox for a day. One
                is made up if None; a key of your own means that you clean up yourself.
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
                sandboxes.list_page(
                    self._server,
                    status=status,
                    template=template,
                    name=name,
                    metadata=metadata,
                    limit=limit,
                    cursor=cursor,
                )
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

    async def get_stats(self, range: str | None = None) -> SandboxStats:
        """Return how much the team runs, now and over time.

        Args:
            range: How far back: 5m, 1h, 6h, 24h or 30d; 1h if None.
        """
        return await self._run(sandboxes.get_stats(range))

    def _created(self, creation: Flow[SandboxInfo]) -> AsyncCreation:
        return AsyncCreation(self._transport, creation)


class AsyncCreation(Coroutine[object, None, AsyncSandbox]):
    """A sandbox that was asked for.

    Await it for the sandbox, or use it as a context manager to have the sandbox destroyed at the
    end: `async with client.sandboxes.create() as sandbox`. It is a coroutine, as tasks are made of
    nothing else: `group.create_task(client.sandboxes.create())`.
    """

    def __init__(self, transport: AsyncTransport, creation: Flow[SandboxInfo]) -> None:
        self._transport = transport
        self._creation = creation
        self._sandbox: AsyncSandbox | None = None
        self._steps: Coroutine[object, None, AsyncSandbox] | None = None

    def send(self, value: None, /) -> object:
        """Go on, for a task."""
        return self._coroutine().send(value)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        exc: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> object:
        """Go on with an exception, for a task."""
        error = next((given for given in (kind, exc) if isinstance(given, BaseException)), None)
        if error is None:
            assert isinstance(kind, type)
            error = kind()
        return self._coroutine().throw(error.with_traceback(traceback) if traceback else error)

    def close(self) -> None:
        """Give it up, for a task."""
        self._coroutine().close()
        self._creation.close()

    def __await__(self) -> Generator[object, None, AsyncSandbox]:
        return self._create().__await__()

    async def __aenter__(self) -> AsyncSandbox:
        return await (await self._create()).__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sandbox is not None:
            await self._sandbox.__aexit__(kind, exc, traceback)

    def __del__(self) -> None:
        if inspect.getgeneratorstate(self._creation) == inspect.GEN_CREATED:
            warnings.warn("sandboxes.create() was never awaited", RuntimeWarning, stacklevel=2)

    def _coroutine(self) -> Coroutine[object, None, AsyncSandbox]:
        if self._steps is None:
            self._steps = self._create()
        return self._steps

    async def _create(self) -> AsyncSandbox:
        if self._sandbox is None:
            info = await self._transport.run(self._creation)
            self._sandbox = AsyncSandbox(self._transport, info, owned=True)
        return self._sandbox
