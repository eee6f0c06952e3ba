"""An agent that was taken over: whatever it says, only its own sandbox suffers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from sandlot.server.engine.base import (
    Command,
    EngineError,
    FileAccessError,
    SandboxGoneError,
    TerminalSize,
)
from sandlot.server.engine.local.agent import AgentClient, AgentStartError
from sandlot.server.engine.local.channel import socket_pair
from sandlot.server.engine.local.destinations import Destinations
from sandlot.server.engine.local.files import LocalReader, LocalWriter
from sandlot.server.engine.local.outbound import Exchange, Outbound
from sandlot.server.engine.local.process import LocalProcess
from sandlot.server.engine.local.zygote import Zygote
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


async def cancel_on_arrival(task: asyncio.Task[None]) -> None:
    """Cancel a task when what it waits for has arrived, but before it runs again.

    This runs before what was sent is read in the same turn of the event loop, and its order before
    the task in the next one.
    """
    await asyncio.sleep(0)
    _ = asyncio.get_running_loop().call_soon(task.cancel)


async def start_at_terminal(client: AgentClient) -> None:
    command = Command(["x"], terminal=TerminalSize(80, 24))
    process = await LocalProcess.start(client, command, {}, None)
    await process.close()


async def start_fetching(client: AgentClient) -> None:
    wire.close_all(await client.fetch("outlets", {}))


async def start_asking(client: AgentClient) -> None:
    _ = await client.ask("usage", {})


async def start_reading(client: AgentClient) -> None:
    await (await LocalReader.open(client, "file")).close()


async def start_writing(client: AgentClient) -> None:
    await (await LocalWriter.open(client, "file", None)).abort()


STARTS = [start_at_terminal, start_fetching, start_asking, start_reading, start_writing]


@pytest.mark.parametrize("start", STARTS)
async def test_descriptors_for_who_is_cancelled_when_they_have_come(
    start: Callable[[AgentClient], Coroutine[object, object, None]],
) -> None:
    async with agent() as (client, theirs):
        starting = asyncio.create_task(start(client))
        await asyncio.sleep(0)
        master, slave = os.openpty()
        wire.send(theirs, {"request": 1, "pid": 2}, [master])
        wire.close_all([master, slave])
        await cancel_on_arrival(starting)
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_descriptors_in_answers_that_need_none() -> None:
    async with agent() as (client, theirs):
        asking = asyncio.create_task(client.ask("usage", {}))
        client.tell("continue", {})
        await asyncio.sleep(0)
        for request in (1, 2):
            fds = two_files()
            wire.send(theirs, {"request": request}, fds)
            wire.close_all(fds)
        wire.send(theirs, {"event": "ready"})
        _ = await asking
        await client.wait_ready()


async def test_what_was_to_be_written_is_forgotten_by_the_agent() -> None:
    """It would keep the draft, and a descriptor, for as long as it lives."""
    async with agent() as (client, theirs):
        opening = asyncio.create_task(LocalWriter.open(client, "file", None))
        await asyncio.sleep(0)
        _ = opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await opening
        decoder = wire.Decoder()
        decoder.feed(*wire.receive(theirs))
        packets = [decoder.next(), decoder.next()]
        messages = [packet[0] for packet in packets if packet is not None]
        assert [message["op"] for message in messages] == ["create", "abort"]
        assert messages[1]["file"] == messages[0]["request"]


async def test_terminal_for_a_server_with_too_many_open_files() -> None:
    """It takes two descriptors: if there is but one left, the program is killed, no other."""
    async with agent() as (client, theirs):
        starting = asyncio.create_task(start_at_terminal(client))
        await asyncio.sleep(0)
        master, slave = os.openpty()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wire.send(theirs, {"request": 1, "pid": 2}, [master])
        wire.close_all([master, slave])
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
        try:
            with pytest.raises(EngineError, match="Too many open files"):
                await starting
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not client.gone
        decoder = wire.Decoder()
        decoder.feed(*wire.receive(theirs))
        packets = [decoder.next(), decoder.next()]
        assert [packet[0]["op"] for packet in packets if packet is not None] == ["spawn", "kill"]


HELLO: wire.Message = {
    "hello": "version",
    "state": {},
    "sandboxes": [],
    "doomed": [],
    "generations": {},
}


@pytest.mark.parametrize("moment", ["waiting", "arrived", "refused"])
async def test_lock_of_a_zygote_that_nobody_takes_over(moment: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    mine, theirs = socket_pair()
    with theirs:
        meeting = asyncio.create_task(meet(mine))
        await asyncio.sleep(0)
        if moment == "arrived":
            with open("/dev/null") as lock:  # noqa: ASYNC230 - it is not waited for
                wire.send(theirs, HELLO, [lock.fileno()])
            await cancel_on_arrival(meeting)
        elif moment == "waiting":
            _ = meeting.cancel()
        else:
            _ = theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(EngineError if moment == "refused" else asyncio.CancelledError):
            await meeting
    assert len(os.listdir("/proc/self/fd")) == before


async def meet(connection: socket.socket) -> None:
    zygote, legacy = await Zygote.meet(connection)
    os.close(legacy.lock)
    zygote.hang_up()


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
