"""Bytes between two connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandlot.server.engine.local.relay import PIECE, Relay


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname(), timeout=20)
        theirs, _ = listener.accept()
    theirs.settimeout(20)
    return mine, theirs


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[socket.socket, socket.socket, asyncio.Task[None]]]:
    """Two programs, and what joins them."""
    inside, left = pair()
    outside, right = pair()
    with left, right:
        task = asyncio.create_task(Relay(inside, outside, memoryview(bytearray(PIECE))).run())
        await asyncio.sleep(0)  # it has begun
        yield left, right, task
        _ = task.cancel()
        _ = await asyncio.wait([task])
        assert inside.fileno() == outside.fileno() == -1


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def test_both_ways() -> None:
    async with relayed() as (left, right, task):
        await asyncio.to_thread(left.sendall, b"question")
        assert await asyncio.to_thread(right.recv, 100) == b"question"
        await asyncio.to_thread(right.sendall, b"answer")
        assert await asyncio.to_thread(left.recv, 100) == b"answer"
        left.close()
        assert await asyncio.to_thread(right.recv, 100) == b""
        assert not task.done()
        right.close()
        await task


async def test_one_side_that_has_ended_still_hears() -> None:
    async with relayed() as (left, right, task):
        left.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(right.recv, 100) == b""
        for word in (b"one", b"two"):
            right.sendall(word)
            assert await asyncio.to_thread(left.recv, 100) == word
        right.close()
        assert await asyncio.to_thread(left.recv, 100) == b""
        await task


@pytest.mark.parametrize("swapped", [False, True])
async def test_reset(swapped: bool) -> None:
    async with relayed() as (left, right, task):
        breaking, hearing = (right, left) if swapped else (left, right)
        reset(breaking)
        await task
        with pytest.raises(ConnectionResetError):
            _ = await asyncio.to_thread(hearing.recv, 1)


async def test_a_slow_reader_slows_the_writer() -> None:
    async with relayed() as (left, right, task):
        left.setblocking(False)
        sent = 0

        async def fill() -> None:
            nonlocal sent
            idle = 0
            while idle < 50:
                try:
                    sent += left.send(bytes(1 << 16))
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    await asyncio.sleep(0.001)

        await fill()
        before = sent
        await fill()
        assert sent == before
        assert sent < 64 << 20
        left.setblocking(True)
        left.shutdown(socket.SHUT_WR)
        received = 0
        while data := await asyncio.to_thread(right.recv, 1 << 20):
            received += len(data)
        assert received == sent
        assert not task.done()


@pytest.mark.parametrize("_", range(10))
async def test_what_was_said_before_the_end_is_heard(_: int) -> None:
    """Who closes what it has not read breaks the connection, but it has said why."""
    async with relayed() as (left, right, task):
        left.sendall(b"much")
        assert await asyncio.to_thread(right.recv, 4, socket.MSG_PEEK) == b"much"
        right.sendall(b"no more!")
        right.close()
        left.sendall(b"more")  # the relay sees all of it at once
        assert await asyncio.to_thread(left.recv, 100) == b"no more!"
        with pytest.raises(ConnectionError):
            _ = await asyncio.to_thread(left.recv, 100)
        await task


async def test_cancelling_breaks_off() -> None:
    async with relayed() as (left, right, task):
        _ = task.cancel()
        _ = await asyncio.wait([task])
        for sock in (left, right):
            with pytest.raises(ConnectionResetError):
                _ = await asyncio.to_thread(sock.recv, 1)


async def test_sockets_that_somebody_makes_block() -> None:
    """The agent of a sandbox may share one; no call of the event loop waits for that."""
    inside, left = pair()
    outside, right = pair()
    with left, right, inside.dup() as shared:
        task = asyncio.create_task(Relay(inside, outside, memoryview(bytearray(PIECE))).run())
        await asyncio.sleep(0)
        shared.setblocking(True)
        left.sendall(b"one")
        assert await asyncio.to_thread(right.recv, 100) == b"one"
        right.setblocking(False)
        for _ in range(100_000):  # far more than anybody buffers
            try:
                _ = right.send(bytes(1 << 16))
            except BlockingIOError:
                break
            await asyncio.sleep(0)
        left.sendall(b"two")
        right.setblocking(True)
        assert await asyncio.to_thread(right.recv, 100) == b"two"
        _ = task.cancel()
        _ = await asyncio.wait([task])
