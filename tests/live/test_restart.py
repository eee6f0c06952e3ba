"""A server that is killed and started again, as its clients see it: they go on."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandlot import SandboxInfo, SandlotError, StreamClosedError
from tests.colours import Colour
from tests.live.world import eventually, marker, running
from tests.nursery import Popen
from tests.orphans import assert_no_orphans

KEY = f"wrn_{secrets.token_hex(16)}"

WAITING = """
import pathlib, time
begun = pathlib.Path('begun')
begun.write_text((begun.read_text() if begun.exists() else '') + 'x')
print('on', flush=True)
while not pathlib.Path('go').exists(): time.sleep(0.01)
print('off')
x += 1
x
"""


@dataclass
class Site:
    """An address, a directory, and a server that is there most of the time."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, patience: float = 60.0) -> None:
        options = {"port": self.port, "data-dir": self.data_dir, "orphan-timeout-sec": patience}
        self.process = await asyncio.to_thread(
            Popen,
            [
                *(sys.executable, "-m", "sandlot.server"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            env={**os.environ, "SANDLOT_SERVER_API_KEY": KEY},
            stderr=subprocess.DEVNULL,
        )
        await eventually(self._answers)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(20) == -signal.SIGKILL

    async def end(self) -> None:
        """Have everything end, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        await self.start(patience=0)
        assert self.process is not None
        self.process.terminate()
        assert await asyncio.to_thread(self.process.wait, 20) == 0

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").status_code == 200
        except httpx.TransportError:
            return False


@asynccontextmanager
async def site(directory: Path, kind: type[Site] = Site) -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    site = kind(directory / "data", port)
    try:
        await site.start()
        yield site
    finally:
        await site.end()
        assert_no_orphans(directory)


async def awaited(call: Any) -> Any:
    return await call


async def failure(task: asyncio.Future[Any]) -> SandlotError:
    with pytest.raises(SandlotError) as caught:
        _ = await task
    return caught.value


async def test_the_same_object_works_again(colour: Colour, tmp_path: Path) -> None:
    marks = [marker(), marker(), marker()]
    async with site(tmp_path) as place, colour.client(KEY, base_url=place.url) as client:
        box = await client.sandboxes.create("base-python")
        await box.upload("file", b"kept")
        _ = await box.exec(f"sleep {marks[0]} >/dev/null 2>&1 &")
        command = asyncio.ensure_future(awaited(box.exec(["sleep", marks[1]])))
        stream = box.exec_stream(f"echo seen; exec sleep {marks[2]}")
        async for event in stream:
            if getattr(event, "data_bytes", b"") == b"seen\n":
                break
        rest = asyncio.ensure_future(awaited(stream.wait()))
        await eventually(lambda: all(running(mark) for mark in marks))
        place.kill()
        error = await failure(command)
        assert error.outcome == "unknown"
        error = await failure(rest)
        assert isinstance(error, StreamClosedError)
        assert (error.outcome, error.stdout) == ("unknown", "seen\n")
        await place.start()
        assert (await box.exec("cat file")).stdout == "kept"
        assert [bool(running(mark)) for mark in marks] == [True, False, False]
        async for event in box.exec_stream("echo again"):
            if getattr(event, "data_bytes", b""):
                assert event.data_bytes == b"again\n"
        await box.refresh()
        assert box.status == "running"
        _ = await box.pause()
        place.kill()
        await place.start()
        await box.refresh()
        assert box.status == "paused"
        _ = await box.resume()
        assert (await box.exec(["cat", "file"])).stdout == "kept"
        assert running(marks[0])
        await box.destroy()
        assert not running(marks[0])


async def test_a_call_may_outlast_the_server(colour: Colour, tmp_path: Path) -> None:
    """What may be sent again is, and finds the next server."""
    async with site(tmp_path) as place, colour.client(KEY, base_url=place.url) as client:
        box = await client.sandboxes.create()
        place.kill()
        refreshing = asyncio.ensure_future(awaited(box.refresh()))
        await place.start()
        outcome = await asyncio.gather(refreshing, return_exceptions=True)
        assert isinstance(outcome[0], (SandboxInfo, SandlotError))
        assert (await box.exec("echo x")).stdout == "x\n"


async def test_kernels_go_on(colour: Colour, tmp_path: Path) -> None:
    """Code that ran when the server was killed runs on, once, and its caller is told the truth."""
    async with site(tmp_path) as place, colour.client(KEY, base_url=place.url) as client:
        box = await client.sandboxes.create("python-jupyter")
        assert (await box.run_code("x = 41; x")).text == "41"
        home = place.data_dir / "sandboxes" / box.id / "home"
        waiting = asyncio.ensure_future(awaited(box.run_code(WAITING)))
        await eventually((home / "begun").exists)
        place.kill()
        (home / "go").touch()
        await place.start()
        (done,) = await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(done, SandlotError):  # it was not patient enough
            assert done.outcome == "unknown"
        else:
            assert (done.stdout, done.text) == ("on\noff\n", "42")
        assert (await box.run_code("x")).text == "42"
        assert (home / "begun").read_text() == "x"
        async with await box.code.create_context() as context:
            assert (await context.run_code("1 + 1")).text == "2"
