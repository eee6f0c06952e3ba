"""Scenarios that are written once, as coroutines, and run in both colours.

The blocking client looks like its asynchronous twin here: what is awaited runs in a thread, so that
concurrency, time limits and signals are those of real blocking code.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from sandlot import AsyncClient, Client

_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="colour")
_PLAIN = frozenset(
    {
        "connect_pty",
        "context",
        "exec_stream",
        "get_url",
        "pages",
        "proxy",
        "pty",
        "run_code_stream",
        "stream",
        "stream_download",
    }
)
"""Methods that are plain calls in the asynchronous twin too."""
_OBJECTS = ("sandlot.client", "sandlot.resources", "sandlot.sandbox")
_END = object()


class Colour:
    """One of the two clients."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_blocking = name == "blocking"

    def client(self, *args: Any, **options: Any) -> Any:
        """Make a client; `await` and `async with` work in either colour."""
        return Twin(Client(*args, **options)) if self.is_blocking else AsyncClient(*args, **options)

    async def local(self, **options: Any) -> Any:
        """Make a client with a server of its own."""
        if self.is_blocking:
            return Twin(await in_thread(functools.partial(Client.local, **options)))
        client = AsyncClient.local(**options)
        _ = await client.health()
        return client

    def from_env(self, *args: Any, **options: Any) -> Any:
        """Make a client of what the environment says."""
        if self.is_blocking:
            return Twin(Client.from_env(*args, **options))
        return AsyncClient.from_env(*args, **options)

    def __repr__(self) -> str:
        return self.name


class Twin:
    """A blocking object in the shape of its asynchronous twin."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        if name == "aclose":
            name = "close"
        value = getattr(self.target, name)
        if not inspect.isroutine(value):
            return wrapped(value)
        if name in _PLAIN:
            return lambda *args, **options: wrapped(value(*args, **options))
        return lambda *args, **options: Call(functools.partial(value, *args, **options))

    async def __aenter__(self) -> Twin:
        _ = await in_thread(self.target.__enter__)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        _ = await in_thread(functools.partial(self.target.__exit__, *exc_info))

    def __aiter__(self) -> Twin:
        return Twin(iter(self.target))

    async def __anext__(self) -> Any:
        item = await in_thread(lambda: next(self.target, _END))
        if item is _END:
            raise StopAsyncIteration
        return wrapped(item)

    def __repr__(self) -> str:
        return repr(self.target)


class Call:
    """A blocking call that is made when it is awaited or entered."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._make().__await__()

    async def __aenter__(self) -> Any:
        self._result = await self._make()
        return await self._result.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._result.__aexit__(*exc_info)

    async def _make(self) -> Any:
        return wrapped(await in_thread(self._call))


def wrapped(value: Any) -> Any:
    """Return something of the library's in the shape of its twin, and anything else as it is."""
    if isinstance(value, list):
        return [wrapped(item) for item in cast("list[Any]", value)]
    if type(value).__module__.startswith(_OBJECTS) or inspect.isgenerator(value):
        return Twin(value)
    return value


async def in_thread(call: Callable[[], Any]) -> Any:
    """Make a blocking call without blocking others."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)
