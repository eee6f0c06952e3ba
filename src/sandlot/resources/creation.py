"""Sandboxes that were asked for."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Coroutine, Generator
from types import TracebackType

from .._flow import Flow
from .._operations.sandboxes import Creation
from .._transport import AsyncTransport, Transport
from ..sandbox.sandbox import AsyncSandbox, Sandbox

__all__ = ["AsyncCreation", "async_created", "created"]


def created(transport: Transport, creation: Creation) -> Sandbox:
    """Return what came of a creation; only what is new is to be destroyed in the end."""
    return Sandbox(transport, creation.info, owned=creation.is_new)


def async_created(transport: AsyncTransport, creation: Creation) -> AsyncSandbox:
    """Return what came of a creation; only what is new is to be destroyed in the end."""
    return AsyncSandbox(transport, creation.info, owned=creation.is_new)


class AsyncCreation(Coroutine[object, None, AsyncSandbox]):
    """A sandbox that was asked for.

    Await it for the sandbox, or use it as a context manager to have the sandbox destroyed at the
    end: `async with client.sandboxes.create() as sandbox`. It is a coroutine, as tasks are made of
    nothing else: `group.create_task(client.sandboxes.create())`.
    """

    def __init__(self, transport: AsyncTransport, creation: Flow[Creation]) -> None:
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
            self._sandbox = async_created(
                self._transport, await self._transport.run(self._creation)
            )
        return self._sandbox
