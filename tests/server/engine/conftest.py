"""Engines to test, and what to do in their sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, Engine, Exit, Process, SandboxHandle, SandboxSpec
from sandlot.server.engine.local import cgroups as local_cgroups
from sandlot.server.engine.local.cgroups import Place, find_places
from tests.orphans import assert_no_orphans

OpenBox = Callable[..., AbstractAsyncContextManager["Box"]]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions, in the loop of what they share if they do."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    shared: Shared | None = pyfuncitem.funcargs.get("shared")
    run = asyncio.run if shared is None else shared.runner.run
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
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


def _without(kind: str) -> Callable[[str, str], list[Place]]:
    """Return what finds the control groups that a kind of engine may have."""
    name, _, cgroups = kind.partition("-")
    if name == "local" and sys.platform != "linux":
        pytest.skip("the local engine needs Linux")
    return _places({"": {1, 2}, "v1": {1}, "v2": {2}, "bare": set[int]()}[cgroups])


@pytest.fixture
def open_own(engine_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenBox:
    """Open a sandbox in an engine of its own."""
    monkeypatch.setattr(local_cgroups, "find_places", _without(engine_kind))

    @contextlib.asynccontextmanager
    async def open_box(**changes: Any) -> AsyncIterator[Box]:
        engine = make_engine(engine_kind.partition("-")[0], tmp_path / "data")
        await engine.start()
        try:
            yield Box(engine, await engine.create(spec(**changes)), tmp_path / "data")
        finally:
            await engine.close()

    return open_box


@pytest.fixture
def open_box(open_own: OpenBox) -> OpenBox:
    """Open a sandbox; modules whose tests need no engine of their own say so by another one."""
    return open_own


class Shared:
    """Engines that the tests of a module share, one of each kind, and the loop they live in."""

    def __init__(self, runner: asyncio.Runner, place: Path) -> None:
        self.runner = runner
        self.place = place
        self._engines: dict[str, Engine] = {}
        self._boxes: dict[str, Box] = {}

    async def engine(self, kind: str) -> Engine:
        if kind not in self._engines:
            engine = make_engine(kind.partition("-")[0], self.place / kind)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(local_cgroups, "find_places", _without(kind))
                await engine.start()
            self._engines[kind] = engine
            assert self.left(kind) == []
        return self._engines[kind]

    async def box(self, template: str, **changes: Any) -> Box:
        """Return the sandbox of a template that they share too."""
        if template not in self._boxes:
            engine = await self.engine("local")
            sandbox = await engine.create(spec(template, template=template, **changes))
            self._boxes[template] = Box(engine, sandbox, self.place / "local")
        return self._boxes[template]

    def left(self, kind: str) -> list[str]:
        """Return what there is of sandboxes."""
        zygote = self._engines[kind]._keeper._zygote.pid
        found = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        found += os.listdir(self.place / kind / "sandboxes")
        if (notes := self.place / kind / "cgroups").exists():
            for group in map(Path, notes.read_text().splitlines()):
                found += map(str, group.glob("*/"))
        return found

    async def close(self) -> None:
        for kind, engine in self._engines.items():
            await engine.close()
            assert os.listdir(self.place / kind) == ["lock"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    place = tmp_path_factory.mktemp("shared")
    with asyncio.Runner() as runner:
        shared = Shared(runner, place)
        yield shared
        runner.run(shared.close())
    assert_no_orphans(place)


@pytest.fixture
def open_shared(engine_kind: str, shared: Shared, open_own: OpenBox) -> OpenBox:
    """Open a sandbox in an engine that a module's tests share; nothing of it stays there."""
    if engine_kind == "process":  # it starts in no time
        return open_own

    @contextlib.asynccontextmanager
    async def open_box(**changes: Any) -> AsyncIterator[Box]:
        engine = await shared.engine(engine_kind)
        place = shared.place / engine_kind
        try:
            yield Box(engine, await engine.create(spec(**changes)), place)
        finally:
            for name in os.listdir(place / "sandboxes"):
                await engine.destroy(name)
            await eventually(lambda: shared.left(engine_kind) == [])

    return open_box
