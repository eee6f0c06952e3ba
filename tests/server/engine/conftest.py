"""Engines to test, and what to do in their sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, Engine, Exit, Process, SandboxHandle, SandboxSpec
from sandlot.server.engine.local import engine as local_engine
from sandlot.server.engine.local.cgroups import Place, find_places

OpenBox = Callable[..., AbstractAsyncContextManager["Box"]]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@dataclass
class Result:
    exit: Exit
    stdout: bytes
    stderr: bytes


@dataclass
class Box:
    """A sandbox, and the engine that keeps it."""

    engine: Engine
    sandbox: SandboxHandle
    data_dir: Path

    async def start(self, *argv: str, **options: Any) -> Process:
        return await self.sandbox.spawn(Command(argv, **options))

    async def run(self, *argv: str, **options: Any) -> Result:
        """Run a program to its end."""
        process = await self.start(*argv, **options)
        try:
            output = await collect(process)
            return Result(await process.wait(), output["stdout"], output["stderr"])
        finally:
            await process.close()

    async def shell(self, script: str, **options: Any) -> Result:
        return await self.run("/bin/sh", "-c", script, **options)

    async def python(self, program: str, **options: Any) -> Result:
        return await self.run("python3", "-c", program, **options)

    async def start_shell(self, script: str, **options: Any) -> Process:
        return await self.start("/bin/sh", "-c", script, **options)

    async def start_python(self, program: str, **options: Any) -> Process:
        return await self.start("python3", "-u", "-c", program, **options)

    async def write(self, path: str, data: bytes) -> None:
        writer = await self.sandbox.open_writer(path)
        await writer.write(data)
        await writer.commit()

    async def read(self, path: str) -> bytes:
        reader = await self.sandbox.open_reader(path)
        try:
            data = b""
            while piece := await reader.read(1 << 20):
                data += piece
            return data
        finally:
            await reader.close()

    async def until(self, script: str) -> None:
        """Wait until a shell condition holds in the sandbox."""
        loop = f"i=0; until {script}; do sleep 0.01; i=$((i+1)); [ $i -lt 1000 ] || exit 9; done"
        result = await self.shell(loop)
        assert result.exit == Exit(0), f"never happened: {script}"


async def collect(process: Process) -> dict[str, bytes]:
    """Read all output of a program."""
    output = {"stdout": b"", "stderr": b""}
    while (piece := await process.read()) is not None:
        assert piece.data, "an empty piece of output"
        output[piece.stream] += piece.data
    return output


async def read_line(process: Process) -> bytes:
    """Read until a line is complete."""
    data = b""
    while not data.endswith(b"\n"):
        piece = await process.read()
        assert piece is not None, f"the end came after {data!r}"
        data += piece.data
    return data


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(45):
        while not holds():  # noqa: ASYNC110 - there is nothing that tells
            await asyncio.sleep(0.001)


def spec(name: str = "box", **changes: Any) -> SandboxSpec:
    """Return what a sandbox shall be like, with changes."""
    fields = {"template": "base-python", "vcpus": 1, "memory_mb": 256, "disk_mb": 64, **changes}
    return SandboxSpec(id=name, **fields)


def _places(versions: set[int]) -> Callable[[str, str], list[Place]]:
    def find(mountinfo: str, memberships: str) -> list[Place]:
        places = find_places(mountinfo, memberships)
        return [place for place in places if place.version in versions]

    return find


LOCAL = ["local", "local-v1", "local-v2", "local-bare"]


@pytest.fixture
def engine_kind() -> str:
    """Which engine; tests parametrise it."""
    return "local"


@pytest.fixture
def open_box(
    engine_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[Box]]:
    """Open a sandbox in an engine of its own."""
    name, _, cgroups = engine_kind.partition("-")
    if name == "local" and sys.platform != "linux":
        pytest.skip("the local engine needs Linux")
    versions = {"": {1, 2}, "v1": {1}, "v2": {2}, "bare": set[int]()}[cgroups]
    monkeypatch.setattr(local_engine, "find_places", _places(versions))

    @contextlib.asynccontextmanager
    async def open_box(**changes: Any) -> AsyncIterator[Box]:
        engine = make_engine(name, tmp_path / "data")
        await engine.start()
        try:
            yield Box(engine, await engine.create(spec(**changes)), tmp_path / "data")
        finally:
            await engine.close()

    return open_box
