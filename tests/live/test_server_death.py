"""Servers that die or stop in the middle of everything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    LocalServerError,
    SandboxDestroyedError,
    SandlotError,
    StreamClosedError,
    StreamStdoutEvent,
)
from sandlot.local import EmbeddedServer
from tests.colours import Colour
from tests.live.world import Live, Server, Traces, eventually, marker, running, servers


class Own:
    """A client with a server of its own."""

    def __init__(self, client: Any, pid: int, data_dir: Path) -> None:
        self.client = client
        self.pid = pid
        self.traces = Traces.of(pid, data_dir)
        self.data_dir = data_dir

    def kill(self) -> None:
        self.traces = Traces.of(self.pid, self.data_dir)
        os.kill(self.pid, signal.SIGKILL)

    async def is_gone(self) -> None:
        await eventually(lambda: not self.traces.left())


@asynccontextmanager
async def own(colour: Colour, data_dir: Path) -> AsyncIterator[Own]:
    before = servers()
    client = await colour.local(data_dir=data_dir)
    (pid,) = servers() - before
    try:
        yield Own(client, pid, data_dir)
    finally:
        await client.aclose()
    assert not servers() - before


async def awaited(call: Any) -> Any:
    return await call


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def failure(task: asyncio.Future[Any]) -> SandlotError:
    with pytest.raises(SandlotError) as caught:
        _ = await task
    return caught.value


def tells_the_truth(error: SandlotError) -> None:
    assert error.outcome == "unknown"
    assert "embedded server was killed by SIGKILL" in str(error)


async def store_tells_the_truth(colour: Colour, data_dir: Path, sandbox_id: str) -> None:
    """Start a next life on the same directory and ask it about the one before."""
    async with own(colour, data_dir) as next_life:
        box = await next_life.client.sandboxes.get(sandbox_id)
        assert box.status == "stopped"
        assert box.info.status_reason
        assert [each.id async for each in await next_life.client.sandboxes.list()] == []
        with pytest.raises(SandlotError) as caught:
            _ = await box.exec("true")
        assert caught.value.outcome == "not_started"
        with pytest.raises(SandboxDestroyedError):
            _ = await box.wait_ready()
        async with next_life.client.sandboxes.create() as another:
            assert (await another.exec("echo new")).stdout == "new\n"


async def test_killed_while_a_command_runs(colour: Colour, tmp_path: Path) -> None:
    mark = marker()
    async with own(colour, tmp_path) as life:
        box = await life.client.sandboxes.create("base-python")
        task = asyncio.ensure_future(awaited(box.exec(f"setsid sleep {mark} & sleep {mark}")))
        await eventually(lambda: len(running(mark)) >= 3)
        life.kill()
        tells_the_truth(await failure(task))
        await life.is_gone()
        assert not running(mark)
        for call in (box.exec("true"), box.refresh(), life.client.health()):
            error = await failure(asyncio.ensure_future(awaited(call)))
            assert error.outcome == "not_started"
            assert "embedded server was killed by SIGKILL" in str(error)
    await store_tells_the_truth(colour, tmp_path, box.id)


async def test_killed_while_a_stream_is_read(colour: Colour, tmp_path: Path) -> None:
    mark = marker()
    async with own(colour, tmp_path) as life:
        box = await life.client.sandboxes.create()
        stream = box.exec_stream(f"echo kept; echo too >&2; exec sleep {mark}")
        seen = 0
        async for event in stream:
            seen += len(getattr(event, "data_bytes", b""))
            if seen == len("kept\ntoo\n"):
                break
        life.kill()
        error = await failure(asyncio.ensure_future(collect(stream)))
        assert isinstance(error, StreamClosedError)
        assert (error.stdout, error.stderr) == ("kept\n", "too\n")
        tells_the_truth(error)
        await life.is_gone()
        assert not running(mark)
        error = await failure(asyncio.ensure_future(collect(box.exec_stream("true"))))
        assert error.outcome == "not_started"
    await store_tells_the_truth(colour, tmp_path, box.id)


async def test_killed_while_a_process_and_a_terminal_are_followed(
    colour: Colour, tmp_path: Path
) -> None:
    marks = [marker(), marker()]
    async with own(colour, tmp_path) as life:
        box = await life.client.sandboxes.create()
        process = await box.spawn(f"echo kept; exec sleep {marks[0]}")
        stream = process.stream()
        async for event in stream:
            if isinstance(event, StreamStdoutEvent):
                break
        terminal = box.pty(f"echo seen; exec sleep {marks[1]}")
        seen = b""
        async for data in terminal:
            seen += data
            if b"seen" in seen:
                break
        life.kill()
        async with asyncio.timeout(10):  # there is nothing to come back to
            for task in (collect(stream), collect(terminal), awaited(terminal.wait())):
                error = await failure(asyncio.ensure_future(task))
                assert isinstance(error, StreamClosedError)
                assert "may run on" in str(error)
                tells_the_truth(error)
        await life.is_gone()
        assert not any(running(mark) for mark in marks)
        for task in (collect(process.stream()), collect(box.pty("true"))):
            error = await failure(asyncio.ensure_future(task))
            assert error.outcome == "not_started"
    await store_tells_the_truth(colour, tmp_path, box.id)


async def test_killed_while_callbacks_are_called(colour: Colour, tmp_path: Path) -> None:
    mark = marker()
    async with own(colour, tmp_path) as life:
        async with contextlib.AsyncExitStack() as stack:
            box = await life.client.sandboxes.create()
            heard = asyncio.Event()
            loop = asyncio.get_running_loop()
            task = asyncio.ensure_future(
                awaited(
                    box.exec(
                        f"echo kept; exec sleep {mark}",
                        on_stdout=lambda text: loop.call_soon_threadsafe(heard.set),
                    )
                )
            )
            _ = stack.callback(task.cancel)
            _ = await heard.wait()
            life.kill()
            error = await failure(task)
            assert isinstance(error, StreamClosedError)
            assert error.stdout == "kept\n"
            tells_the_truth(error)
        await life.is_gone()


async def test_killed_while_a_file_is_uploaded(colour: Colour, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * (1 << 20)

    async with own(colour, tmp_path) as life:
        box = await life.client.sandboxes.create()
        await box.upload("file", b"old")
        task = asyncio.ensure_future(awaited(box.stream_upload("file", pieces())))
        (home,) = (tmp_path / "sandboxes").iterdir()
        await eventually(lambda: any(path.stat().st_size > 1 << 20 for path in home.rglob("*")))
        life.kill()
        tells_the_truth(await failure(task))
        await life.is_gone()
    await store_tells_the_truth(colour, tmp_path, box.id)


async def test_killed_while_a_file_is_downloaded(colour: Colour, tmp_path: Path) -> None:
    target = tmp_path / "target"
    async with own(colour, tmp_path / "data") as life:
        box = await life.client.sandboxes.create()
        _ = await box.exec("head -c 200000000 /dev/zero > big")
        pieces = box.stream_download("big")
        _ = await anext(aiter(pieces))
        killed = False

        def kill(done: int, total: int | None) -> None:
            nonlocal killed
            if not killed:
                killed = True
                life.kill()

        error = await failure(
            asyncio.ensure_future(awaited(box.download_file("big", target, progress=kill)))
        )
        assert "embedded server was killed by SIGKILL" in str(error)
        with pytest.raises(SandlotError):
            _ = [piece async for piece in pieces]
        await life.is_gone()
    assert os.listdir(tmp_path) == ["data"]


async def test_killed_while_a_sandbox_is_created(colour: Colour, tmp_path: Path) -> None:
    async with own(colour, tmp_path) as life:
        client = life.client
        where = repr(client).split()[-1].rstrip(">")
        server = Server(where, "", life.pid, tmp_path)
        with server.held():
            task = asyncio.ensure_future(awaited(client.sandboxes.create()))
            await eventually(server.has_unread)
            life.kill()
        tells_the_truth(await failure(task))
        await life.is_gone()
    async with own(colour, tmp_path) as next_life:
        assert [each.id async for each in await next_life.client.sandboxes.list()] == []


async def test_killed_with_paused_and_idle_sandboxes(colour: Colour, tmp_path: Path) -> None:
    mark = marker()
    async with own(colour, tmp_path) as life:
        sandboxes = life.client.sandboxes
        paused = await sandboxes.create(name="paused")
        _ = await paused.exec(f"sleep {mark} >/dev/null 2>&1 &")
        _ = await paused.pause()
        gone = await sandboxes.create(name="gone")
        await gone.destroy()
        life.kill()
        await life.is_gone()
        assert not running(mark)
    async with own(colour, tmp_path) as next_life:
        sandboxes = next_life.client.sandboxes
        for box in (paused, gone):
            assert (await sandboxes.get(box.id)).status == "stopped"
        reasons = [(await sandboxes.get(box.id)).info.status_reason for box in (paused, gone)]
        assert reasons[0] != reasons[1]
        async with sandboxes.create(name="paused"):  # its name is free again
            pass


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer.start(tmp_path / "data")
    yield server
    server.close()


async def test_stopped_with_work_in_flight(colour: Colour, short_lived: EmbeddedServer) -> None:
    process, data_dir = short_lived._process, short_lived._log.parent
    server = Server(short_lived.base_url, short_lived.api_key, process.pid, data_dir)
    live = Live(colour, server)
    traces = Traces.of(process.pid, data_dir)
    marks = [marker(), marker()]
    async with live.client() as client:
        box = await client.sandboxes.create()
        exec_task = asyncio.ensure_future(awaited(box.exec(["sleep", marks[0]])))
        stream = box.exec_stream(f"echo kept; exec sleep {marks[1]}")
        async for event in stream:
            if isinstance(event, StreamStdoutEvent):
                break
        rest = asyncio.ensure_future(awaited(stream.wait()))
        await eventually(lambda: running(marks[0]))
        await asyncio.to_thread(short_lived.close)
        for task in (exec_task, rest):
            error = await failure(task)
            assert error.outcome == "unknown"
        assert process.returncode == 0
        assert not any(running(mark) for mark in marks)
        await eventually(lambda: not traces.left())
        error = await failure(asyncio.ensure_future(awaited(box.exec("true"))))
        assert error.outcome == "not_started"
    async with own(colour, data_dir) as next_life:
        found = await next_life.client.sandboxes.get(box.id)
        assert (found.status, bool(found.info.status_reason)) == ("stopped", True)


async def test_closed_with_work_in_flight(colour: Colour, tmp_path: Path) -> None:
    mark = marker()
    async with own(colour, tmp_path) as life:
        box = await life.client.sandboxes.create()
        task = asyncio.ensure_future(awaited(box.exec(["sleep", mark])))
        await eventually(lambda: running(mark))
        await life.client.aclose()
        _ = await failure(task)
        await life.is_gone()
        assert not running(mark)
        await life.client.aclose()
        error = await failure(asyncio.ensure_future(awaited(box.exec("true"))))
        assert error.outcome == "not_started"


async def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    colour = Colour("asyncio")  # one is enough: it takes as long as the second has patience
    async with own(colour, tmp_path) as life:
        with pytest.raises(LocalServerError, match="in use"):
            _ = await colour.local(data_dir=tmp_path)
        assert (await life.client.health()).status == "ok"


def test_several_side_by_side(tmp_path: Path) -> None:
    async def both() -> None:
        async with own(Colour("asyncio"), tmp_path / "a") as a:
            box = await a.client.sandboxes.create(name="same")
            async with own(Colour("blocking"), tmp_path / "b") as b:
                other = await b.client.sandboxes.create(name="same")
                await box.upload("file", b"a")
                await other.upload("file", b"b")
                assert (await box.download("file"), await other.download("file")) == (b"a", b"b")
            assert (await box.exec("cat file")).stdout == "a"

    asyncio.run(both())
