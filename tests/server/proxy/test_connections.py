"""Connections to programs, without a sandbox: what is hard to time in one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11
import pytest

from sandlot.server.proxy.connections import BrokenError, PortConnection
from sandlot.server.proxy.tunnel import Tunnel

Program = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SWITCH = b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\n\r\n"


@asynccontextmanager
async def connected(program: Program) -> AsyncIterator[PortConnection]:
    """Give a connection to a program, which has been asked for a tunnel."""
    ended = asyncio.Event()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await program(reader, writer)
        writer.close()
        ended.set()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(PortConnection, *address[:2])
        upgrade = [("host", "x"), ("connection", "upgrade"), ("upgrade", "websocket")]
        connection.send_head(h11.Request(method="GET", target="/", headers=upgrade))
        connection.end_body()
        yield connection
        connection.close()
        _ = await ended.wait()


async def switching(writer: asyncio.StreamWriter, extra: bytes) -> None:
    writer.write(SWITCH + extra)
    await writer.drain()
    writer.close()


class Heir(asyncio.Protocol):
    """Takes a connection over."""

    def __init__(self) -> None:
        self.data = b""
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.heard.put_nowait("data")

    def eof_received(self) -> bool:
        self.heard.put_nowait("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.put_nowait("lost")


def test_an_end_that_came_before_the_change() -> None:
    """Whoever takes the connection over hears of it all the same."""

    async def program(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        await switching(writer, b"rest")

    async def scenario() -> None:
        async with connected(program) as connection:
            head = await connection.head(lambda: None)
            assert head.status_code == 101
            async with asyncio.timeout(5):
                while not connection._http.trailing_data[1]:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.001)
            heir = Heir()
            transport, rest = connection.change_protocol(heir)
            assert rest == b"rest"
            assert await asyncio.wait_for(heir.heard.get(), 5) == "eof"
            transport.close()
            assert await asyncio.wait_for(heir.heard.get(), 5) == "lost"

    asyncio.run(scenario())


def test_a_loss_that_came_before_the_change() -> None:
    async def program(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        _ = await reader.read()

    async def scenario() -> None:
        async with connected(program) as connection:
            _ = await connection.head(lambda: None)
            connection.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not connection.open
            heir = Heir()
            _ = connection.change_protocol(heir)
            assert await asyncio.wait_for(heir.heard.get(), 5) == "lost"

    asyncio.run(scenario())


def test_nothing_is_read_between_the_protocols() -> None:
    """Nothing is lost, however late the one who takes over is ready."""
    go, gone = asyncio.Event(), asyncio.Event()

    async def program(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + b"one,")
        await writer.drain()
        _ = await go.wait()
        writer.write(b"two")
        await writer.drain()
        gone.set()
        _ = await reader.read()

    async def scenario() -> None:
        async with connected(program) as connection:
            _ = await connection.head(lambda: None)
            heir = Heir()
            transport, rest = connection.change_protocol(heir)
            go.set()
            _ = await gone.wait()
            assert (rest, heir.data) == (b"one,", b"")
            transport.resume_reading()
            assert await asyncio.wait_for(heir.heard.get(), 5) == "data"
            assert heir.data == b"two"
            transport.close()

    asyncio.run(scenario())


def test_no_protocol_of_the_programs_own_choosing() -> None:
    async def program(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Go\r\n\r\n" * 1000)
        _ = await reader.read()

    async def scenario() -> None:
        asked: list[bool] = []
        async with connected(program) as connection:
            with pytest.raises(BrokenError):
                _ = await connection.head(lambda: asked.append(True))
        assert 0 < len(asked) < 100

    asyncio.run(scenario())


def test_a_tunnel_with_one_end_closed_and_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed at the other end too, but not as long as something moves."""
    monkeypatch.setattr("sandlot.server.proxy.tunnel._LINGER", 0.2)

    async def scenario() -> None:
        sides: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await sides.put((reader, writer))

        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()[:2]
            moved: list[None] = []
            tunnel = Tunnel(lambda: moved.append(None))
            client, _ = await loop.create_connection(lambda: tunnel.client, *address)
            client_reader, client_writer = await sides.get()
            port, _ = await loop.create_connection(lambda: tunnel.port, *address)
            port_reader, port_writer = await sides.get()
            tunnel.join(client, port)
            waiting = asyncio.create_task(tunnel.wait_ended())
            client_writer.write_eof()
            assert await port_reader.read() == b""
            began = loop.time()
            for _ in range(10):
                port_writer.write(b"x")
                assert await client_reader.readexactly(1) == b"x"
                await asyncio.sleep(0.1)
            assert loop.time() - began > 0.8
            assert not waiting.done()
            await asyncio.wait_for(waiting, 5)
            assert len(moved) == 10
            for writer in (client_writer, port_writer):
                writer.close()

    asyncio.run(scenario())
