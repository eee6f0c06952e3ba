"""Prepared sandboxes: there when they are wanted, and as new."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

import sandlot
from sandlot.server.engine import make_engine
from sandlot.server.engine.base import (
    EngineError,
    EngineUnavailableError,
    SandboxGoneError,
    SandboxSpec,
    UnknownTemplateError,
)
from sandlot.server.engine.local import warm as warm_module
from sandlot.server.engine.local.engine import LocalEngine
from sandlot.server.engine.local.warm import WarmSandboxes

from .conftest import Box, eventually
from .notebook import notebook

SPEC = SandboxSpec("any", "python-jupyter", 1, 512, 256)
MINIMAL = SandboxSpec("any", "minimal", 1, 64, 64)

OpenEngine = Callable[..., AbstractAsyncContextManager[LocalEngine]]


@pytest.fixture
def open_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenEngine:
    """Opens an engine that keeps sandboxes prepared."""
    monkeypatch.setattr(warm_module, "_INTERVAL", 0.05)
    monkeypatch.setattr(warm_module, "_BUSY", 0.01)
    monkeypatch.setattr(warm_module, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(warm_module, "_GLANCE", 0.0)
    monkeypatch.setattr(warm_module, "_SPARE", 0.0)  # the machine may have other things to do

    @contextlib.asynccontextmanager
    async def open_engine(
        *wanted: SandboxSpec, memory_mb: int = 1024, adapt: bool = False
    ) -> AsyncIterator[LocalEngine]:
        engine = LocalEngine(
            tmp_path / "data", warm=wanted, warm_memory_mb=memory_mb, warm_adapt=adapt
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()
        assert not (tmp_path / "data" / "sandboxes").exists()

    return open_engine


def pool(engine: LocalEngine) -> WarmSandboxes:
    assert engine._warm is not None
    return engine._warm


async def prepared(engine: LocalEngine, count: int = 1) -> None:
    await eventually(lambda: pool(engine).ready == count)


def named(name: str, spec: SandboxSpec = SPEC) -> SandboxSpec:
    return SandboxSpec(name, spec.template, spec.vcpus, spec.memory_mb, spec.disk_mb)


async def test_a_prepared_sandbox_is_handed_out_under_the_name_that_was_asked_for(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    async with open_engine(SPEC) as engine:
        await prepared(engine)
        (before,) = os.listdir(tmp_path / "data" / "sandboxes")
        sandbox = await engine.create(named("mine"))
        assert pool(engine).ready == 0
        assert sandbox.id == "mine"
        assert os.listdir(tmp_path / "data" / "sandboxes") == [before]
        with pytest.raises(EngineError, match="'mine' cannot be the id"):
            _ = await engine.create(named("mine"))
        async with notebook(sandbox) as client:
            assert await client.kernels() == []
            assert await client.run(await client.start(), "40 + 2") == "42"
        await engine.destroy("mine")
        assert before not in os.listdir(tmp_path / "data" / "sandboxes")
        with pytest.raises(SandboxGoneError):
            _ = await sandbox.usage()
        _ = await engine.create(named("mine"))


@pytest.mark.parametrize(
    "other",
    [
        SandboxSpec("x", "minimal", 1, 64, 65),
        SandboxSpec("x", "minimal", 1, 65, 64),
        SandboxSpec("x", "minimal", 2, 64, 64),
        SandboxSpec("x", "base-python", 1, 64, 64),
    ],
    ids=["disk", "memory", "processors", "template"],
)
async def test_what_prepared_sandboxes_are_not_for(
    open_engine: OpenEngine, other: SandboxSpec
) -> None:
    async with open_engine(MINIMAL) as engine:
        await prepared(engine)
        _ = await engine.create(other)
        assert pool(engine).ready == 1
        _ = await engine.create(named("y", MINIMAL))
        assert pool(engine).ready == 0


@pytest.mark.parametrize("fields", [{"env": {"A": "1"}}, {"cwd": "/tmp"}], ids=["env", "cwd"])
async def test_what_only_services_see_matters_only_to_them(
    open_engine: OpenEngine, fields: dict[str, Any]
) -> None:
    async with open_engine(MINIMAL) as engine:
        await prepared(engine)
        _ = await engine.create(replace(MINIMAL, id="x", **fields))
        assert pool(engine).ready == 0
    async with open_engine(SPEC) as engine:
        await prepared(engine)
        _ = await engine.create(replace(SPEC, id="x", **fields))
        assert pool(engine).ready == 1


async def test_names_of_one_template(open_engine: OpenEngine) -> None:
    alias = SandboxSpec("any", "code-runner-beta", 1, 512, 256)
    async with open_engine(alias) as engine:
        await prepared(engine)
        _ = await engine.create(named("x", SPEC))
        assert pool(engine).ready == 0
        await prepared(engine)
        _ = await engine.create(named("y", alias))
        assert pool(engine).ready == 0


async def test_another_one_is_prepared(open_engine: OpenEngine) -> None:
    async with open_engine(MINIMAL, MINIMAL) as engine:
        for name in "abcde":
            await prepared(engine, 2)
            _ = await engine.create(named(name, MINIMAL))


async def test_users_come_first(open_engine: OpenEngine, tmp_path: Path) -> None:
    """While a sandbox that was handed out is busy, no other one with a service is prepared."""
    async with open_engine(SPEC) as engine:
        await prepared(engine)
        sandbox = await engine.create(named("busy"))
        box = Box(engine, sandbox, tmp_path)
        process = await box.start_shell("while :; do :; done")
        others = [await engine.create(named(name, MINIMAL)) for name in "ab"]
        for other in others:
            done = await Box(engine, other, tmp_path).shell("sleep 0.1")
            assert done.exit.code == 0
        assert pool(engine).ready == 0
        await process.kill()
        await process.close()
        await prepared(engine)


async def test_one_that_dies_is_replaced(open_engine: OpenEngine) -> None:
    async with open_engine(MINIMAL) as engine:
        await prepared(engine)
        first = pool(engine)._places[0].sandbox
        await engine.destroy(first.id)
        await eventually(
            lambda: [each.sandbox for each in pool(engine)._places] not in ([], [first])
        )


async def test_what_cannot_be_prepared_is_tried_less_and_less_often(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []

    async def fail(*_: object) -> None:
        times.append(time.monotonic())
        raise EngineError("no luck")

    monkeypatch.setattr(LocalEngine, "_make", fail)
    monkeypatch.setattr(LocalEngine, "_probe", lambda _: asyncio.sleep(0))
    with caplog.at_level(logging.WARNING):
        async with open_engine(MINIMAL):
            await eventually(lambda: len(times) == 6)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert all(gap >= 0.01 * 2**number for number, gap in enumerate(gaps))
    assert "no luck" in {record.__dict__.get("reason") for record in caplog.records}


async def test_memory_is_bounded(open_engine: OpenEngine, caplog: pytest.LogCaptureFixture) -> None:
    async with open_engine(SPEC, SPEC, SPEC, memory_mb=160) as engine:
        await prepared(engine)
        await eventually(lambda: "would use more memory" in caplog.text)
        assert 20 << 20 < await pool(engine)._used() < 160 << 20
        assert pool(engine).ready == 1
        _ = await engine.create(named("x"))
        await prepared(engine)


async def test_memory_that_is_not_enough_for_one(
    open_engine: OpenEngine, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with open_engine(SPEC, memory_mb=1) as engine:
        await eventually(lambda: "would use more memory" in caplog.text)
        await eventually(lambda: os.listdir(tmp_path / "data" / "sandboxes") == [])
        sandbox = await engine.create(named("x"))
        async with notebook(sandbox) as client:
            assert await client.run(await client.start(), "40 + 2") == "42"
    assert caplog.text.count("would use more memory") == 1


async def test_what_is_asked_for_repeatedly_is_prepared(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(warm_module, "_LOOK", 0.05)
    async with open_engine(adapt=True) as engine:
        loop = asyncio.get_running_loop()
        for name in "abcd":
            _ = await engine.create(named(name, MINIMAL))
        await prepared(engine, 2)
        _ = await engine.create(named("another", replace(MINIMAL, memory_mb=65)))
        await prepared(engine, 2)
        (before, _) = (place.sandbox for place in pool(engine)._places)
        mine = await engine.create(replace(MINIMAL, id="mine", env={"A": "1"}))
        assert mine is before
        await prepared(engine, 3)
        # Hours later nobody wants them any more.
        now = loop.time()
        monkeypatch.setattr(pool(engine), "_loop", Later(loop, now + 3600))
        await prepared(engine, 0)
        await eventually(lambda: len(os.listdir(tmp_path / "data" / "sandboxes")) == 6)
        assert not mine.gone


async def test_what_has_a_service_is_prepared_with_caution(open_engine: OpenEngine) -> None:
    async with open_engine(adapt=True) as engine:
        for name in "abcde":
            _ = await engine.create(named(name))
            await engine.destroy(name)
        await prepared(engine, 1)


async def test_a_machine_that_is_busy_is_left_alone(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [0, 0]

    def busy() -> tuple[int, int]:
        ticks[1] += 100
        return ticks[0], ticks[1]

    monkeypatch.setattr(warm_module, "_ticks", busy)
    async with open_engine(adapt=True) as engine:
        monkeypatch.setattr(warm_module, "_SPARE", 0.1)
        monkeypatch.setattr(warm_module, "_RESPECT", 10**6)
        for name in "abcd":
            _ = await engine.create(named(name, MINIMAL))
        await eventually(lambda: ticks[1] > 1000)
        assert pool(engine).ready == 0
        monkeypatch.setattr(warm_module, "_SPARE", 0.0)
        await prepared(engine, 2)


async def test_what_is_asked_for_once_is_not(open_engine: OpenEngine) -> None:
    async with open_engine(adapt=True) as engine:
        _ = await engine.create(named("a", MINIMAL))
        _ = await engine.create(named("b", replace(MINIMAL, memory_mb=65)))
        await asyncio.sleep(0.3)  # time enough to prepare several
        assert pool(engine).ready == 0


class Later:
    """An event loop whose clock is ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._loop = loop
        self._ahead = now - loop.time()

    def time(self) -> float:
        return self._loop.time() + self._ahead


async def test_nothing_is_carried_over(open_engine: OpenEngine, tmp_path: Path) -> None:
    traces = (
        "import os, random, uuid, numpy\n"
        "[sorted(os.listdir(place)) for place in ('/tmp', '/dev/shm', '/home/user', '/dev/pts')],"
        " sorted(os.environ), sorted(k for k in globals() if not k.startswith('_')),"
        " os.uname().nodename,"
        " sorted(p for p in os.listdir('/proc') if p.isdigit())"
    )
    drawn = (
        "import random, uuid, numpy\n"
        "random.random(), uuid.uuid4(), numpy.random.random(), hash('x')"
    )
    async with open_engine(SPEC, SPEC) as engine:
        found: list[str] = []
        drawings: list[list[str]] = []
        owners: set[int] = set()
        kernels: set[str] = set()
        for name in ("one", "two"):
            await prepared(engine, 2)
            sandbox = await engine.create(named(name))
            box = Box(engine, sandbox, tmp_path)
            async with notebook(sandbox) as client:
                kernel_id = await client.start()
                kernels.add(kernel_id)
                found.append((await client.run(kernel_id, traces)).replace(kernel_id, "KERNEL"))
                text = await client.run(kernel_id, drawn)
                drawings.append([word.strip() for word in text.strip("()").split(",")])
                _ = await client.run(kernel_id, "secret = 1\nimport os; os.environ['SECRET'] = '1'")
            script = "for d in ~ /tmp /dev/shm; do echo secret > $d/secret; done"
            script += "; setsid sleep 600 > /dev/null 2>&1 &"
            assert (await box.shell(script)).exit.code == 0
            (place,) = (path for path in (tmp_path / "data/sandboxes").glob("*/home/secret"))
            owners.add(place.stat().st_uid)
            place.unlink()
            found[-1] += (
                await box.shell("ls -A ~/.local ~/.ipython /tmp/.jupyter | wc -l")
            ).stdout.decode()
        assert found[0] == found[1]
        assert "secret" not in found[1].lower()
        assert len(kernels) == 2
        assert not set(drawings[0]) & set(drawings[1])
        assert len(owners) == 2 or os.getuid() != 0


async def test_templates_that_are_not_there(tmp_path: Path) -> None:
    spec = SandboxSpec("any", "nonsense", 1, 64, 64)
    engine = make_engine("local", tmp_path / "data", warm=[spec])
    with pytest.raises(UnknownTemplateError, match="no template 'nonsense'"):
        await engine.start()
    assert not isinstance(UnknownTemplateError(), EngineUnavailableError)
    with pytest.raises(EngineError, match="process engine"):
        _ = make_engine("process", tmp_path / "data", warm=[MINIMAL])


def test_a_killed_server_leaves_nothing(tmp_path: Path) -> None:
    source = Path(sandlot.__file__).parent.parent
    owner = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm_owner.py")), str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": str(source), "HOME": str(Path.home())},
    )
    assert owner.stdout is not None
    with owner.stdout as lines:
        assert [lines.readline() for _ in range(2)] == [b"prepared\n"] * 2
        family = psutil.Process(owner.pid).children(recursive=True)
        assert len(family) >= 1 + 2 * 4, "zygote; agent, server, fork server and kernel"
        owner.kill()
        _ = owner.wait()
    _, alive = psutil.wait_procs(family, 20)
    assert alive == []
    asyncio.run(eventually(lambda: not (tmp_path / "data").exists()))
