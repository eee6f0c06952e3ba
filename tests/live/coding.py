"""A sandbox with kernels, seen by a client of either colour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.colours import Colour
from tests.live.world import Server


@dataclass
class Coding:
    """A sandbox that tests share, and a context in it that most of them share too."""

    colour: Colour
    server: Server
    sandbox_id: str
    context_id: str

    @asynccontextmanager
    async def box(self, **options: Any) -> AsyncIterator[Any]:
        """Open the sandbox with a client of its own."""
        options = {"base_url": self.server.base_url, **options}
        async with (
            self.colour.client(self.server.api_key, **options) as client,
            await client.sandboxes.get(self.sandbox_id) as box,
        ):
            yield box

    @asynccontextmanager
    async def context(self, **options: Any) -> AsyncIterator[Any]:
        """Open the shared context with a client of its own."""
        async with self.box(**options) as box:
            yield await box.code.get_context(self.context_id)

    @asynccontextmanager
    async def own_context(self, language: str = "python", **options: Any) -> AsyncIterator[Any]:
        """Make a context that nobody else has."""
        async with self.box() as box, await box.code.create_context(language, **options) as context:
            yield context


class Relay:
    """Passes connections on to a server, and cuts them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._broken = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Relay]:
        try:
            yield self
        finally:
            self._listener.close()
            self.cut()

    def cut(self) -> None:
        """End all connections at once, without a farewell."""
        connections, self._open = self._open, []
        for each in connections:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """Let nobody through for a while."""
        self._broken.set()
        self.cut()
        try:
            yield
        finally:
            self._broken.clear()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._broken.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError), source, target:
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(1 << 16):
            target.sendall(data)


async def until_event(stream: Any, kind: type) -> Any:
    async for event in stream:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


async def started(context: Any, code: str, **options: Any) -> asyncio.Task[Any]:
    """Begin to run code, and return once it has printed something."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: str) -> None:
        _ = loop.call_soon_threadsafe(begun.set)

    async def run() -> Any:
        return await context.run_code(code, on_stdout=tell, **options)

    task = asyncio.create_task(run())
    waiting = asyncio.create_task(begun.wait())
    _ = await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    _ = waiting.cancel()
    return task
