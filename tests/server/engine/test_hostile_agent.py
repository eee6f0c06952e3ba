"""An agent that was taken over: whatever it says, only its own sandbox suffers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sandlot.server.engine.base import (
    Command,
    EngineError,
    FileAccessError,
    SandboxGoneError,
)
from sandlot.server.engine.local.agent import AgentClient, AgentStartError
from sandlot.server.engine.local.channel import socket_pair
from sandlot.server.engine.local.destinations import Destinations
from sandlot.server.engine.local.files import LocalReader
from sandlot.server.engine.local.outbound import Exchange, Outbound
from sandlot.server.engine.local.process import LocalProcess
from sandlot.server.guest import wire


@asynccontextmanager
async def agent() -> AsyncIterator[tuple[AgentClient, socket.socket]]:
    """The server's side, and the socket of an agent that a test plays."""
    before = len(os.listdir("/proc/self/fd"))
    mine, theirs = socket_pair()
    client = AgentClient(mine)
    try:
        yield client, theirs
    finally:
        client.close()
        theirs.close()
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"event": 1},
        {"event": "unheard-of"},
        {"event": "exit"},
        {"event": "exit", "process": 1, "status": "0"},
        {"event": "failed"},
        {"request": "1"},
        {"request": 99},
        {"request": 1, "error": "x"},
        {"request": 1, "error": 2},
        {"fds": 3},
    ],
)
async def test_messages_that_make_no_sense(message: wire.Message) -> None:
    async with agent() as (client, theirs):
        _, answer = client.request("open", {"path": "x"})
        wire.send(theirs, message)
        with pytest.raises(SandboxGoneError):
            _ = await answer
        assert client.gone
        await client.wait_gone()


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\2{x", b"\0\0\0\1{"])
async def test_bytes_that_make_no_sense(data: bytes) -> None:
    async with agent() as (client, theirs):
        theirs.sendall(data)
        await client.wait_gone()
        with pytest.raises(SandboxGoneError):
            await client.wait_ready()


async def test_two_answers_to_one_question() -> None:
    async with agent() as (client, theirs):
        _, answer = client.request("usage", {})
        wire.send(theirs, {"request": 1})
        _ = await answer
        wire.send(theirs, {"request": 1})
        await client.wait_gone()


async def test_ready_twice() -> None:
    async with agent() as (client, theirs):
        wire.send(theirs, {"event": "ready"})
        await client.wait_ready()
        wire.send(theirs, {"event": "ready"})
        await client.wait_gone()


async def test_exits_of_programs_that_are_not() -> None:
    async with agent() as (client, theirs):
        wire.send(theirs, {"event": "exit", "process": 5, "status": 0})
        wire.send(theirs, {"event": "ready"})
        await client.wait_ready()
        assert not client.gone


async def test_failure_is_told() -> None:
    async with agent() as (client, theirs):
        failure = {"event": "failed", "call": "unshare", "error": 1, "text": "no"}
        wire.send(theirs, failure)
        with pytest.raises(AgentStartError, match="unshare: no") as caught:
            await client.wait_ready()
        assert (caught.value.call, caught.value.number) == ("unshare", 1)


def a_pipe() -> list[int]:
    read, write = os.pipe()
    os.close(write)
    return [read]


def a_directory() -> list[int]:
    return [os.open("/", os.O_RDONLY)]


def a_device() -> list[int]:
    return [os.open("/dev/zero", os.O_RDONLY)]


def two_files() -> list[int]:
    return [os.open("/proc/self/stat", os.O_RDONLY), os.open("/proc/self/stat", os.O_RDONLY)]


@pytest.mark.parametrize("make", [list[int], a_pipe, a_directory, a_device, two_files])
async def test_descriptors_that_are_no_file(make: Callable[[], list[int]]) -> None:
    async with agent() as (client, theirs):
        opening = asyncio.create_task(LocalReader.open(client, "file"))
        await asyncio.sleep(0)
        fds = make()
        wire.send(theirs, {"request": 1}, fds)
        wire.close_all(fds)
        with pytest.raises(FileAccessError):
            _ = await opening


async def test_descriptors_that_nobody_wanted() -> None:
    async with agent() as (client, theirs):
        for message in ({"event": "ready"}, {"event": "exit", "process": 1, "status": 0}):
            fds = two_files()
            wire.send(theirs, message, fds)
            wire.close_all(fds)
        _, answer = client.request("usage", {})
        _ = answer.cancel()
        fds = two_files()
        wire.send(theirs, {"request": 1}, fds)
        wire.close_all(fds)
        await client.wait_ready()


async def test_descriptors_with_what_was_started() -> None:
    async with agent() as (client, theirs):
        starting = asyncio.create_task(LocalProcess.start(client, Command(["x"]), {}, None))
        await asyncio.sleep(0)
        fds = two_files()
        wire.send(theirs, {"request": 1, "pid": 2}, fds)
        wire.close_all(fds)
        process = await starting
        await process.close()


@pytest.mark.parametrize("pid", ["many", 0, -1, 2**31, None])
async def test_program_without_a_pid(pid: object) -> None:
    async with agent() as (client, theirs):
        starting = asyncio.create_task(LocalProcess.start(client, Command(["x"]), {}, None))
        await asyncio.sleep(0)
        wire.send(theirs, {"request": 1, "pid": pid})
        with pytest.raises(SandboxGoneError):
            _ = await starting
        assert client.gone


async def test_agent_that_does_not_listen() -> None:
    """Requests wait in the server's memory, no call blocks, and a hang-up ends it all."""
    async with agent() as (client, _):
        answers = [client.request("open", {"path": "x" * 10_000})[1] for _ in range(1000)]
        client.tell("drain", {}, a_pipe())
        client.close()
        for answer in answers:
            with pytest.raises(SandboxGoneError):
                _ = await answer


@pytest.mark.parametrize("status", [256, -65, 2**62])
async def test_exit_statuses_that_are_none(status: int) -> None:
    async with agent() as (client, theirs):
        starting = asyncio.create_task(LocalProcess.start(client, Command(["x"]), {}, None))
        await asyncio.sleep(0)
        wire.send(theirs, {"request": 1, "pid": 2})
        process = await starting
        wire.send(theirs, {"event": "exit", "process": 1, "status": status})
        with pytest.raises(SandboxGoneError):
            _ = await process.wait()
        await process.close()


async def test_more_descriptors_than_the_server_may_have() -> None:
    """When the server has no descriptors left, a request fails and not the sandbox."""
    async with agent() as (client, theirs):
        opening = asyncio.create_task(LocalReader.open(client, "file"))
        await asyncio.sleep(0)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        fds = two_files()
        wire.send(theirs, {"request": 1}, fds[:1])
        wire.close_all(fds[1:])
        used = len(os.listdir("/proc/self/fd"))
        plugs = [os.dup(0) for _ in range(20)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            with pytest.raises(FileAccessError, match="too many open files"):
                _ = await opening
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            wire.close_all([*plugs, fds[0]])
        assert not client.gone


async def test_connections_that_nobody_asked_for() -> None:
    """From an agent that has no way out they are the end."""
    with socket.socket() as sock:
        async with agent() as (client, theirs):
            wire.send(theirs, {"event": "connection"}, [sock.fileno()])
            await client.wait_gone()


@pytest.mark.parametrize("kinds", ["", "t", "nutu", "nu6t", "nu", "unu", "nn"])
async def test_a_way_out_that_is_none(kinds: str) -> None:
    made = {
        "n": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "u": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "t": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    }
    async with agent() as (client, theirs):
        with contextlib.ExitStack() as stack:
            passed = [stack.enter_context(made[kind]()) for kind in kinds]
            opening = asyncio.create_task(Outbound.open(client, Exchange(Destinations(), list)))
            await asyncio.sleep(0)
            wire.send(theirs, {"request": 1}, [sock.fileno() for sock in passed])
            with pytest.raises(EngineError, match="no way out"):
                _ = await opening


async def test_a_way_out_that_is_refused() -> None:
    async with agent() as (client, theirs):
        opening = asyncio.create_task(Outbound.open(client, Exchange(Destinations(), list)))
        await asyncio.sleep(0)
        wire.send(theirs, {"request": 1, "error": 24, "text": "Too many open files"})
        with pytest.raises(EngineError, match="Too many open files"):
            _ = await opening
