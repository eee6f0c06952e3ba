"""Connections to programs that listen in a sandbox."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable

import pytest

from sandlot.server.engine.base import EngineError, Exit, PortClosedError, Process, SandboxGoneError
from sandlot.server.engine.local.connections import Connections
from sandlot.server.guest import wire

from .conftest import Box, OpenBox, eventually, read_line
from .test_hostile_agent import agent

everywhere = pytest.mark.parametrize("engine_kind", ["local", "local-bare", "process"])


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


LISTEN = """
import socket, sys
family, address = (socket.AF_INET6, "::1") if sys.argv[1] == "6" else (socket.AF_INET, "127.0.0.1")
listener = socket.socket(family)
listener.bind((address, 0))
listener.listen()
print(listener.getsockname()[1])
while True:
    peer, _ = listener.accept()
    while data := peer.recv(65536):
        peer.sendall(data.upper())
    peer.sendall(b".")
    peer.close()
"""


class Reader(asyncio.Protocol):
    """Remembers what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = asyncio.Event()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def listen(box: Box, version: int = 4) -> tuple[Process, int]:
    process = await box.start("python3", "-u", "-c", LISTEN, str(version))
    return process, int(await read_line(process))


async def connect(box: Box, port: int) -> tuple[asyncio.Transport, Reader]:
    readers: list[Reader] = []

    def make() -> Reader:
        readers.append(Reader())
        return readers[-1]

    transport = await box.sandbox.connect(port, make)
    return transport, readers[0]


@everywhere
@pytest.mark.parametrize("version", [4, 6])
async def test_both_directions_and_half_an_end(open_box: OpenBox, version: int) -> None:
    async with open_box() as box:
        process, port = await listen(box, version)
        for _ in range(3):
            transport, reader = await connect(box, port)
            transport.write(b"hello")
            await eventually(lambda found=reader: found.data == b"HELLO")
            transport.write_eof()
            _ = await reader.ended.wait()
            assert reader.data == b"HELLO."
            transport.close()
            assert await reader.lost is None
        await process.close()


@everywhere
async def test_nothing_listens(open_box: OpenBox) -> None:
    async with open_box() as box:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port: int = closed.getsockname()[1]
        for _ in range(3):
            with pytest.raises(PortClosedError, match=str(port)):
                _ = await connect(box, port)
        # a listener that has ended
        process, port = await listen(box)
        await process.kill()
        _ = await process.wait()
        with pytest.raises(PortClosedError):
            _ = await connect(box, port)
        await process.close()


async def test_listeners_of_the_host_and_of_others_are_out_of_reach(open_box: OpenBox) -> None:
    async with open_box() as box:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(PortClosedError),
        ):
            _ = await connect(box, listener.getsockname()[1])


@everywhere
async def test_no_descriptor_is_left(open_box: OpenBox) -> None:
    async with open_box() as box:
        process, port = await listen(box)
        before = os.listdir("/proc/self/fd")
        for _ in range(50):
            transport, reader = await connect(box, port)
            transport.abort()
            _ = await reader.lost
            with pytest.raises(PortClosedError):
                _ = await connect(box, 1)
        assert len(os.listdir("/proc/self/fd")) == len(before)
        await process.close()


SLEEPY = """
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
peers = [socket.create_connection(listener.getsockname())]
print(listener.getsockname()[1])
time.sleep(1000)
"""


async def test_who_does_not_accept_keeps_nobody_else_waiting(open_box: OpenBox) -> None:
    """The connection is not made, and the agent goes on working."""
    async with open_box() as box:
        process = await box.start_python(SLEEPY)
        port = int(await read_line(process))
        before = len(os.listdir("/proc/self/fd"))
        connecting = [asyncio.create_task(connect(box, port)) for _ in range(5)]
        assert (await box.run("true")).exit == Exit(0)
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before + 5)
        assert not any(task.done() for task in connecting)
        with pytest.raises(TimeoutError):
            _ = await box.sandbox.connect(port, Reader, timeout=0.1)
        for task in connecting:
            _ = task.cancel()
        _ = await asyncio.wait(connecting)
        assert all(task.cancelled() for task in connecting)
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
        await process.close()


@everywhere
async def test_connections_end_with_the_sandbox(open_box: OpenBox) -> None:
    async with open_box() as box:
        _, port = await listen(box)
        transport, reader = await connect(box, port)
        transport.write(b"x")
        await eventually(lambda: reader.data == b"X")
        await box.engine.destroy(box.sandbox.id)
        _ = await asyncio.wait_for(reader.lost, 5)
        assert transport.is_closing()
        with pytest.raises(SandboxGoneError):
            _ = await connect(box, port)


@everywhere
async def test_connections_outlast_a_pause(open_box: OpenBox) -> None:
    async with open_box() as box:
        process, port = await listen(box)
        transport, reader = await connect(box, port)
        await box.sandbox.pause()
        transport.write(b"x")
        await box.sandbox.resume()
        await eventually(lambda: reader.data == b"X")
        transport.close()
        await process.close()


def a_pair() -> list[int]:
    one, other = socket.socketpair()
    other.close()
    return [one.detach()]


def a_datagram_socket() -> list[int]:
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()]


def a_file() -> list[int]:
    return [os.open("/proc/self/stat", os.O_RDONLY)]


def two_sockets() -> list[int]:
    return [socket.socket().detach(), socket.socket().detach()]


@pytest.mark.parametrize("make", [list[int], a_pair, a_datagram_socket, a_file, two_sockets])
async def test_descriptors_that_are_no_connection(make: Callable[[], list[int]]) -> None:
    async with agent() as (client, theirs):
        opening = asyncio.create_task(Connections(client).open(80, Reader))
        await asyncio.sleep(0)
        fds = make()
        wire.send(theirs, {"request": 1}, fds)
        wire.close_all(fds)
        with pytest.raises(EngineError, match="no connection"):
            _ = await opening


async def test_an_agent_that_keeps_the_socket_and_makes_it_block() -> None:
    """No call of the event loop waits for what it does with the socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        with kept, peer:
            async with agent() as (client, theirs):
                readers: list[Reader] = []

                def make() -> Reader:
                    readers.append(Reader())
                    return readers[-1]

                opening = asyncio.create_task(Connections(client).open(80, make))
                await asyncio.sleep(0)
                wire.send(theirs, {"request": 1}, [kept.fileno()])
                transport = await opening
                kept.setblocking(True)
                peer.sendall(b"one")
                await eventually(lambda: readers[0].data == b"one")
                transport.write(bytes(64 << 20))  # far more than anybody buffers
                peer.sendall(b"two")
                await eventually(lambda: readers[0].data == b"onetwo")
                transport.abort()
                _ = await readers[0].lost


async def test_an_agent_that_wants_a_close_to_wait() -> None:
    async with agent() as (client, theirs):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            passed = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
        with peer:
            passed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
            opening = asyncio.create_task(Connections(client).open(80, Reader))
            await asyncio.sleep(0)
            wire.send(theirs, {"request": 1}, [passed.fileno()])
            passed.close()
            transport = await opening
            transport.write(bytes(64 << 20))
            began = time.monotonic()
            transport.abort()
            await asyncio.sleep(0)
            assert time.monotonic() - began < 10


HASTY = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1])
peer, _ = listener.accept()
peer.recv(1)
peer.sendall(b"no more!")
peer.close()
print("closed")
input()
"""


async def test_what_was_said_before_the_end_is_heard(open_box: OpenBox) -> None:
    """A program that closes what it has not read breaks the connection, but it has said why."""
    async with open_box() as box:
        process = await box.start_python(HASTY, stdin=True)
        port = int(await read_line(process))
        transport, reader = await connect(box, port)
        transport.pause_reading()
        transport.write(b"much")
        assert await read_line(process) == b"closed\n"
        for _ in range(3):
            transport.write(b"more")
        transport.resume_reading()
        error = await reader.lost
        assert reader.data == b"no more!"
        assert isinstance(error, ConnectionError)  # it is no orderly end
        await process.close()


async def test_errors_that_are_not_for_lack_of_a_listener() -> None:
    async with agent() as (client, theirs):
        opening = asyncio.create_task(Connections(client).open(80, Reader))
        await asyncio.sleep(0)
        wire.send(theirs, {"request": 1, "error": 24, "text": "Too many open files"})
        with pytest.raises(EngineError, match="Too many open files") as caught:
            _ = await opening
        assert not isinstance(caught.value, PortClosedError)
