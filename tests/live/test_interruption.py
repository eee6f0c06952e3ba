"""Ctrl-C and cancellation, whatever is going on: nothing is left behind, and work goes on.

A server that is held receives a request without answering it: that is when the interruption comes.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from sandlot import AsyncClient
from tests.colours import Colour
from tests.live.world import Live, Server, eventually, line_of, marker, program, running

BLOCKING = """
    import sys
    from sandlot import Client

    key, url, box_id, mark = sys.argv[1:]
    client = Client(key, base_url=url)
    sandboxes = client.sandboxes

    def pieces():
        while True:
            yield b"x" * (1 << 20)

    def main(call):
        box = sandboxes.get(box_id)
        client.capabilities()  # so that a creation is one request
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            call(box)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.stdin.readline()
            print(client.health().status, box.exec("echo usable").stdout.strip(), flush=True)

    main(lambda box: {call})
"""

ASYNCIO = """
    import asyncio, sys
    from sandlot import AsyncClient

    key, url, box_id, mark = sys.argv[1:]
    client = AsyncClient(key, base_url=url)
    sandboxes = client.sandboxes

    def pieces():
        while True:
            yield b"x" * (1 << 20)

    async def collect(stream):
        return [event async for event in stream]

    async def main(call):
        box = await sandboxes.get(box_id)
        await client.capabilities()  # so that a creation is one request
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await call(box)

    async def after():
        box = await sandboxes.get(box_id)
        print((await client.health()).status, (await box.exec("echo usable")).stdout.strip())

    try:
        asyncio.run(main(lambda box: {call}))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
        asyncio.run(after())
"""

CALLS = {
    "create": ("sandboxes.create(name=mark)",) * 2,
    "exec": ("box.exec(['sleep', mark])",) * 2,
    "callbacks": ("box.exec(['sleep', mark], on_stdout=print)",) * 2,
    "stream": (
        "list(box.exec_stream(['sleep', mark]))",
        "collect(box.exec_stream(['sleep', mark]))",
    ),
    "upload": ("box.stream_upload('file', pieces())",) * 2,
    "destroy": ("sandboxes.destroy(mark)",) * 2,
    "wait_ready": ("box.wait_ready()",) * 2,
}


def start(live: Live, name: str, box_id: str, mark: str) -> subprocess.Popen[str]:
    blocking, awaiting = CALLS[name]
    source = BLOCKING if live.colour.is_blocking else ASYNCIO
    call = blocking if live.colour.is_blocking else awaiting
    arguments = (live.server.api_key, live.server.base_url, box_id, mark)
    return program(source.replace("{call}", call), *arguments)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    _ = process.stdin.write("\n")
    process.stdin.flush()


async def ends_well(process: subprocess.Popen[str]) -> None:
    assert await line_of(process) == "interrupted"
    tell(process)
    assert await line_of(process) == "ok usable"
    assert await asyncio.to_thread(process.wait, 20) == 0


async def names(client: Any) -> list[str | None]:
    return [box.name async for box in await client.sandboxes.list()]


@pytest.mark.parametrize("name", ["create", "exec", "callbacks", "stream", "wait_ready", "destroy"])
async def test_ctrl_c_while_the_answer_is_awaited(live: Live, name: str) -> None:
    mark = marker()
    async with live.client() as client, client.sandboxes.create() as box:
        victim = await client.sandboxes.create()
        argument = victim.id if name == "destroy" else mark
        with start(live, name, box.id, argument) as process:
            assert await line_of(process) == "ready"
            with live.server.held():
                tell(process)
                await eventually(live.server.has_unread)
                process.send_signal(signal.SIGINT)
            await ends_well(process)
        if name == "destroy":  # what was begun is done
            assert (await client.sandboxes.get(victim.id)).status == "stopped"
        await victim.destroy()
        await eventually(lambda: not running(mark))
        assert await names(client) == [None]


@pytest.mark.parametrize("name", ["exec", "callbacks", "stream"])
async def test_ctrl_c_while_a_command_runs(live: Live, name: str) -> None:
    mark = marker()
    async with live.box() as box:
        with start(live, name, box.id, mark) as process:
            assert await line_of(process) == "ready"
            tell(process)
            await eventually(lambda: len(running(mark)) >= 2)  # the client's is one
            process.send_signal(signal.SIGINT)
            await ends_well(process)
        await eventually(lambda: not running(mark))


async def test_ctrl_c_while_a_file_is_uploaded(live: Live) -> None:
    async with live.box() as box:
        await box.upload("file", b"old")
        with start(live, "upload", box.id, "-") as process:
            assert await line_of(process) == "ready"
            tell(process)
            await eventually(lambda: is_arriving(live.server))
            process.send_signal(signal.SIGINT)
            await ends_well(process)
        await eventually(lambda: has_only(box, "file"))
        assert await box.download("file") == b"old"


def is_arriving(server: Server) -> bool:
    """Tell whether a file is being written in the only sandbox."""
    (home,) = server.homes
    return any(path.stat().st_size > 1 << 20 for path in files(home)) or server.has_unread()


def files(home: Any) -> Iterator[Any]:
    return (path for path in home.rglob("*") if path.is_file())


async def has_only(box: Any, name: str) -> bool:
    return bool((await box.exec("ls -A")).stdout == f"{name}\n")


@pytest.fixture
def awaiting(server: Server) -> Live:
    return Live(Colour("asyncio"), server)


async def cancel(task: asyncio.Future[Any]) -> None:
    _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        _ = await task


@pytest.mark.parametrize("name", ["create", "exec", "callbacks", "stream", "destroy", "wait_ready"])
async def test_cancelled_while_the_answer_is_awaited(awaiting: Live, name: str) -> None:
    mark = marker()
    async with awaiting.client() as client, client.sandboxes.create() as box:
        victim = await client.sandboxes.create()
        _ = await client.capabilities()  # so that a creation is one request
        calls = {
            "create": lambda: client.sandboxes.create(name=mark),
            "exec": lambda: box.exec(["sleep", mark]),
            "callbacks": lambda: box.exec(["sleep", mark], on_stdout=print),
            "stream": lambda: collect(box.exec_stream(["sleep", mark])),
            "destroy": lambda: victim.destroy(),
            "wait_ready": lambda: box.wait_ready(),
        }
        with awaiting.server.held():
            task = asyncio.ensure_future(awaited(calls[name]()))
            await eventually(awaiting.server.has_unread)
            _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await task
        if name == "destroy":
            assert (await client.sandboxes.get(victim.id)).status == "stopped"
        await victim.destroy()
        await eventually(lambda: not running(mark))
        assert await names(client) == [None]
        assert (await box.exec("echo usable")).stdout == "usable\n"


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def awaited(call: Any) -> Any:
    return await call


@pytest.mark.parametrize("name", ["exec", "callbacks", "stream", "wait"])
async def test_cancelled_while_a_command_runs(awaiting: Live, name: str) -> None:
    mark = marker()
    async with awaiting.box() as box:
        command = ["sleep", mark]

        async def in_block() -> None:
            async with box.exec_stream(command) as stream:
                _ = await stream.wait()

        calls = {
            "exec": lambda: box.exec(command),
            "callbacks": lambda: box.exec(command, on_stdout=print),
            "stream": lambda: collect(box.exec_stream(command)),
            "wait": in_block,
        }
        task = asyncio.ensure_future(awaited(calls[name]()))
        await eventually(lambda: running(mark))
        await cancel(task)
        del task
        await eventually(lambda: not running(mark))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                _ = await calls[name]()
        await eventually(lambda: not running(mark))
        assert (await box.exec("echo usable")).stdout == "usable\n"


async def test_cancelled_while_a_file_is_uploaded(awaiting: Live) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * (1 << 20)

    async with awaiting.box() as box:
        await box.upload("file", b"old")
        task = asyncio.ensure_future(awaited(box.stream_upload("file", pieces())))
        await eventually(lambda: is_arriving(awaiting.server))
        await cancel(task)
        await eventually(lambda: has_only(box, "file"))
        assert await box.download("file") == b"old"


async def test_creations_cancelled_at_any_moment_leave_nothing(awaiting: Live) -> None:
    async with awaiting.client() as client:
        for number in range(20):
            made: list[str] = []
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(number / 200):
                    await create_for_ever(client, made)
            listed = [box.id async for box in await client.sandboxes.list()]
            assert sorted(listed) == sorted(made)
            for sandbox_id in made:
                await client.sandboxes.destroy(sandbox_id)


async def create_for_ever(client: Any, made: list[str]) -> None:
    while True:
        made.append((await client.sandboxes.create()).id)


async def test_a_block_that_is_cancelled_destroys_its_sandbox(awaiting: Live) -> None:
    async with awaiting.client() as client:
        entered = asyncio.Event()

        async def work() -> None:
            async with client.sandboxes.create(name="cancelled"):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(work())
        _ = await entered.wait()
        await cancel(task)
        assert await names(client) == []


async def test_one_that_is_cancelled_twice_still_cleans_up(awaiting: Live) -> None:
    async with awaiting.client() as client:
        with awaiting.server.held():
            task = asyncio.ensure_future(awaited(client.sandboxes.create()))
            await eventually(awaiting.server.has_unread)
            _ = task.cancel()
            await asyncio.sleep(0)
            _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await task
        assert await names(client) == []


def test_a_coroutine_that_is_thrown_away(server: Server) -> None:
    async def leave() -> None:
        client = AsyncClient(server.api_key, base_url=server.base_url)
        _ = await client.health()
        with server.held():
            task = asyncio.ensure_future(awaited(client.sandboxes.create(name="thrown-away")))
            await eventually(server.has_unread)
        del task  # asyncio.run cancels what is left

    async def look() -> list[str | None]:
        async with AsyncClient(server.api_key, base_url=server.base_url) as client:
            return await names(client)

    asyncio.run(leave())
    assert asyncio.run(look()) == []
