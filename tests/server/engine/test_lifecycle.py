"""Making, pausing and removing sandboxes: what every engine must do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import (
    Engine,
    EngineError,
    EngineUnavailableError,
    Exit,
    SandboxGoneError,
    UnknownTemplateError,
)
from sandlot.server.engine.local import territory

from .conftest import LOCAL, Box, OpenBox, collect, eventually, read_line, spec

pytestmark = pytest.mark.parametrize("engine_kind", [*LOCAL, "process"])


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


@pytest.fixture
def make(engine_kind: str, tmp_path: Path) -> Callable[..., Engine]:
    """Return engines of the same data directory."""

    def make(data_dir: Path = tmp_path / "data", *, ephemeral: bool = False) -> Engine:
        return make_engine(engine_kind.partition("-")[0], data_dir, ephemeral=ephemeral)

    return make


def children() -> set[str]:
    """Return the processes that this one has started."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def cgroups(data_dir: Path) -> list[str]:
    """Return the control groups of the engine that uses this directory."""
    notes = data_dir / "cgroups"
    return notes.read_text().splitlines() if notes.exists() else []


def descriptors() -> list[str]:
    return sorted(
        f"{name} {os.readlink(f'/proc/self/fd/{name}').split(':')[0]}"
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
    )


COUNTER = """
import itertools, os
for number in itertools.count():
    with open("new", "w") as file:
        file.write(str(number))
    os.replace("new", "count")
    print(number, flush=True)
"""


async def test_pause_stops_everything_and_resume_goes_on(open_box: OpenBox) -> None:
    async with open_box() as box:
        file = box.data_dir / "sandboxes/box/home/count"
        process = await box.start_python(COUNTER)
        _ = await read_line(process)
        draining = asyncio.create_task(collect(process))
        for _ in range(3):
            await box.sandbox.pause()
            usage = await box.sandbox.usage()
            frozen = int(file.read_bytes())
            await asyncio.sleep(0.05)
            later = await box.sandbox.usage()
            assert later.cpu_seconds == pytest.approx(usage.cpu_seconds, abs=0.01)
            assert int(file.read_bytes()) == frozen
            await box.sandbox.resume()
            await eventually(lambda: int(file.read_bytes()) > frozen)  # noqa: B023
        await process.kill()
        _ = await draining
        await process.close()
        assert (await box.run("echo", "alive")).stdout == b"alive\n"


async def test_pause_and_resume_may_be_repeated(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.sandbox.pause()
        await box.sandbox.pause()
        await box.sandbox.resume()
        await box.sandbox.resume()
        assert (await box.run("true")).exit == Exit(0)


async def test_destroy_while_paused(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600")
        await box.sandbox.pause()
        async with asyncio.timeout(45):
            await box.engine.destroy(box.sandbox.id)
            await box.sandbox.wait_gone()
        with pytest.raises(SandboxGoneError):
            _ = await process.wait()
        await process.close()


async def test_destroy_removes_everything(open_box: OpenBox) -> None:
    async with open_box() as box:
        script = """
            mkdir -p deep closed/inner; cd deep
            i=0; while [ $i -lt 150 ]; do mkdir d; cd d; i=$((i+1)); done; echo x > bottom; cd /
            cd; echo x > closed/inner/file; ln -s /usr link; mkfifo fifo
            chmod 0 closed/inner; chmod 0 closed
            i=0; while [ $i -lt 500 ]; do : > file$i; i=$((i+1)); done
        """
        assert (await box.shell(script)).exit == Exit(0)
        assert (box.data_dir / "sandboxes/box").exists()
        await box.engine.destroy(box.sandbox.id)
        assert list((box.data_dir / "sandboxes").iterdir()) == []
        await box.engine.destroy(box.sandbox.id)
        await box.engine.destroy("unknown")
        again = await box.engine.create(spec())
        assert again.id == "box"


async def test_destroy_by_many_at_once(open_box: OpenBox) -> None:
    async with open_box() as box:
        tasks = [asyncio.create_task(box.engine.destroy("box")) for _ in range(5)]
        await asyncio.sleep(0)
        _ = tasks[0].cancel()
        _ = await asyncio.gather(*tasks[1:])
        assert not (box.data_dir / "sandboxes/box").exists()


async def test_directories_are_private(open_box: OpenBox) -> None:
    async with open_box() as box:
        for directory in (box.data_dir, box.data_dir / "sandboxes", box.data_dir / "sandboxes/box"):
            assert directory.stat().st_mode & 0o077 == 0


async def test_requests_that_cannot_be_met(open_box: OpenBox) -> None:
    async with open_box() as box:
        with pytest.raises(UnknownTemplateError):
            _ = await box.engine.create(spec("other", template="nonsense"))
        for name in ("box", "", "..", "a/b", "x\0", "-x", "x" * 200):
            with pytest.raises(EngineError):
                _ = await box.engine.create(spec(name))
        with pytest.raises(EngineError):
            _ = await box.engine.create(spec("other", network="carrier pigeon"))
        assert os.listdir(box.data_dir / "sandboxes") == ["box"]
        assert (await box.run("true")).exit == Exit(0)


async def test_usage_grows(open_box: OpenBox) -> None:
    async with open_box() as box:
        before = await box.sandbox.usage()
        process = await box.start_python(
            'x = b"x" * (50 << 20)\nprint(len(x))\ninput()', stdin=True
        )
        _ = await read_line(process)
        during = await box.sandbox.usage()
        assert during.memory_bytes > before.memory_bytes + (45 << 20)
        await process.close()
        _ = await box.python(
            "x = 0\nfor i in range(10**6): x += i\nopen('file', 'wb').write(bytes(10**6))"
        )
        after = await box.sandbox.usage()
        assert after.cpu_seconds > before.cpu_seconds
        assert before.disk_bytes < 1_000_000


async def test_many_at_once(make: Callable[..., Engine]) -> None:
    engine = make()
    before = descriptors()
    await engine.start()
    try:
        names = [f"box-{number}" for number in range(20)]
        handles = await asyncio.gather(*(engine.create(spec(name)) for name in names))
        boxes = [Box(engine, handle, Path()) for handle in handles]
        results = await asyncio.gather(*(box.run("echo", box.sandbox.id) for box in boxes))
        assert [result.stdout.decode().strip() for result in results] == names
        _ = await asyncio.gather(*(engine.destroy(name) for name in names[:10]))
        assert (await boxes[15].run("true")).exit == Exit(0)
    finally:
        await engine.close()
    assert descriptors() == before


async def test_close_leaves_nothing(make: Callable[..., Engine], tmp_path: Path) -> None:
    start = (children(), descriptors())
    engine = make()
    await engine.start()
    box = Box(engine, await engine.create(spec()), tmp_path / "data")
    process = await box.start("sleep", "600")
    groups = cgroups(tmp_path / "data")
    await engine.close()
    with pytest.raises(SandboxGoneError):
        _ = await process.wait()
    await process.close()
    await engine.close()
    assert (children(), descriptors()) == start
    assert not any(map(os.path.exists, groups))
    assert sorted(os.listdir(tmp_path / "data")) == ["lock"]
    with pytest.raises(EngineError):
        _ = await engine.create(spec())


async def test_ephemeral_removes_its_directory(make: Callable[..., Engine], tmp_path: Path) -> None:
    engine = make(tmp_path / "short", ephemeral=True)
    await engine.start()
    _ = await engine.create(spec())
    await engine.close()
    assert os.listdir(tmp_path) == []


async def test_creating_can_be_cancelled_at_any_time(
    make: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = make()
    await engine.start()
    before = (children(), descriptors())
    try:
        for delay in (None, 0, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01):
            task = asyncio.create_task(engine.create(spec()))
            if delay is not None:
                await asyncio.sleep(delay)
            if not task.cancel():
                await engine.destroy("box")
                continue
            with pytest.raises(asyncio.CancelledError):
                _ = await task
            assert os.listdir(tmp_path / "data/sandboxes") == []
        handle = await engine.create(spec())
        assert (await Box(engine, handle, tmp_path).run("echo", "x")).stdout == b"x\n"
        await engine.destroy("box")
        assert (children(), descriptors()) == before
    finally:
        await engine.close()


async def test_a_directory_has_one_engine(
    make: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(territory, "_PATIENCE", 0.05)
    first, second = make(), make()
    await first.start()
    with pytest.raises(EngineUnavailableError, match="in use"):
        await second.start()
    handle = await first.create(spec())
    assert (await Box(first, handle, Path()).run("true")).exit == Exit(0)
    await first.close()
    await second.start()
    await second.close()


async def test_a_directory_that_cannot_be(make: Callable[..., Engine], tmp_path: Path) -> None:
    _ = (tmp_path / "file").write_text("")
    with pytest.raises(EngineUnavailableError, match="file"):
        await make(tmp_path / "file/below").start()


async def test_the_zygote_is_replaced(make: Callable[..., Engine], tmp_path: Path) -> None:
    engine = make()
    await engine.start()
    try:
        handle = await engine.create(spec())
        os.kill(engine._keeper._zygote.pid, 9)
        if engine.capabilities.level == "full":
            async with asyncio.timeout(45):
                await handle.wait_gone()
        await eventually(lambda: engine._keeper._zygote.gone)
        other = await engine.create(spec("other"))
        assert (await Box(engine, other, tmp_path).run("true")).exit == Exit(0)
        await engine.destroy("box")
        assert os.listdir(tmp_path / "data/sandboxes") == ["other"]
    finally:
        await engine.close()
