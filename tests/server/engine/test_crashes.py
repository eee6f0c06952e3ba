"""Engines that are killed in the middle of something: there is the old state or the new one.

An engine is killed before and after each step of an operation, one after the other, until nothing
is left to be killed at; the next one takes over what it left.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sandlot.server.engine.local import LocalEngine, records
from sandlot.server.engine.local import cgroups as local_cgroups
from sandlot.server.engine.local.home import Home
from sandlot.server.engine.local.keeper import Keeper
from sandlot.server.engine.local.layers import Layers
from sandlot.server.engine.local.sandbox import LocalSandbox
from sandlot.server.engine.local.zygote import Zygote
from tests.orphans import assert_no_orphans

from .conftest import Box, eventually, spec
from .conftest import _places as places
from .test_death import children_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux"),
    pytest.mark.timeout(400),
]

kinds = pytest.mark.parametrize("versions", [{1, 2}, set[int]()], ids=["cgroups", "bare"])

STEPS: list[tuple[Any, str]] = [
    (records, "save"),
    (Home, "make"),
    (Home, "remove"),
    (Path, "rename"),
    (Keeper, "send_out"),
    (Layers, "keep"),
    (Layers, "_write"),
    (Layers, "forget"),
    (Layers, "release"),
    (LocalSandbox, "_freeze"),
    (LocalSandbox, "_thaw"),
    (Zygote, "create"),
    (Zygote, "renew"),
    (Zygote, "destroy"),
]

Operation = Callable[[Box], Awaitable[object]]


async def snapshot(box: Box) -> None:
    _ = await box.sandbox.snapshot("new")


async def rollback(box: Box) -> None:
    await box.sandbox.rollback("old")


async def delete(box: Box) -> None:
    await box.engine.delete_snapshot("old")


async def fork(box: Box) -> None:
    """Capture, begin another sandbox with that, and forget what was captured."""
    await snapshot(box)
    _ = await box.engine.create(spec("fork", snapshot="new"))
    await box.engine.delete_snapshot("new")


OPERATIONS: dict[str, Operation] = {
    each.__name__: each for each in (snapshot, rollback, delete, fork)
}


class Murder:
    """Kills this process at one of the steps."""

    def __init__(self, number: int) -> None:
        self.left = number

    def consider(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def watch(self, owner: Any, name: str) -> None:
        step = getattr(owner, name)

        async def later(*args: Any, **options: Any) -> Any:
            self.consider()
            result = await step(*args, **options)
            self.consider()
            return result

        def now(*args: Any, **options: Any) -> Any:
            self.consider()
            result = step(*args, **options)
            self.consider()
            return result

        setattr(owner, name, later if inspect.iscoroutinefunction(step) else now)


def in_a_fork(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Begin something in a process of its own; return its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(work())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def end_of(pid: int) -> int:
    """Wait for a process; return the signal that killed it, 0 if none did."""
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


async def begin(data_dir: Path) -> dict[str, Box]:
    """Begin a life, with what there is from the last one.

    What this machine allows is tried in the first life only; the others remember it.
    """
    tried = data_dir.parent / "tried"
    engine = LocalEngine(data_dir, orphan_timeout=60.0)
    if tried.exists():
        engine._archive.captures.share = tried.read_text() == "share"
        with mock.patch.object(LocalEngine, "_probe"):
            await engine.start()
    else:
        await engine.start()
        _ = tried.write_text("share" if engine._archive.captures.share else "copy")
    boxes = {each.id: Box(engine, each, data_dir) for each in await engine.adopt()}
    for box in boxes.values():
        await box.sandbox.resume()  # as servers do: it was running by what they wrote down
    if not boxes:
        boxes["box"] = Box(engine, await engine.create(spec()), data_dir)
        _ = await output(boxes["box"], "echo 0 > base")
    return boxes


TICK = """
[ -e /tmp/tick ] || { touch /tmp/tick
setsid sh -c 'while :; do date +%N > /tmp/tick; sleep 0.01; done' >/dev/null 2>&1 & }
"""


async def output(box: Box, script: str) -> str:
    result = await box.shell(script)
    assert result.exit.code == 0, (result.exit, result.stderr)
    return result.stdout.decode()


async def prepare(box: Box) -> None:
    """Have `old` with one state of the files, and another state now."""
    for name in await box.engine.snapshots():
        await box.engine.delete_snapshot(name)
    _ = await output(box, TICK)
    _ = await output(box, "echo old > file; rm -rf d; mkdir d; echo 1 > d/1; rm -f more")
    _ = await box.sandbox.snapshot("old")
    _ = await output(box, "echo now > file; rm -r d; mkdir d; echo 2 > d/2; echo m > more")


LOOK = "cat file base; ls; ls d"
OLD, NOW = "old\n0\nbase\nd\nfile\n1\n", "now\n0\nbase\nd\nfile\nmore\n2\n"


async def check(boxes: dict[str, Box], operation: str) -> None:
    """Check that all is as it was, or as it was to be."""
    box = boxes["box"]
    engine = box.engine
    assert isinstance(engine, LocalEngine)
    states = {NOW, OLD} if operation == "rollback" else {NOW}
    found = await output(box, LOOK)
    assert found in states
    if found == NOW:  # then nothing was killed
        await box.until('[ "$(cat /tmp/tick)" != "$(sleep 0.02; cat /tmp/tick)" ]')
    snapshots = dict.fromkeys(await engine.snapshots(), NOW)
    if "old" in snapshots:
        snapshots["old"] = OLD
    assert operation == "delete" or "old" in snapshots
    assert snapshots.keys() <= {"old", "new"}
    for name, content in snapshots.items():
        other = Box(engine, await engine.create(spec(f"of-{name}", snapshot=name)), box.data_dir)
        assert await output(other, LOOK) == content
        await engine.destroy(other.sandbox.id)
    for name in boxes.keys() - {"box"}:
        assert await output(boxes[name], LOOK) == NOW
        await engine.destroy(name)
    await check_disk(engine, box.data_dir)


async def check_disk(engine: LocalEngine, data_dir: Path) -> None:
    """Check that nothing is there that nobody needs."""
    zygote = engine._keeper._zygote
    assert zygote is not None
    await eventually(lambda: len(children_of(zygote.pid)) == 1)
    home = engine._archive.captures.home(engine._keeper.records[0])
    mine = {home.upper.name} if home.plain else {home.upper.name, home.work.name, "mnt"}
    assert set(os.listdir(data_dir / "sandboxes")) == {"box"}
    assert set(os.listdir(data_dir / "sandboxes/box")) == {*mine, "record.json"}
    layers = engine._archive.layers
    needed = {*home.lower, *home.base}
    needed |= {name for each in layers.ids for name in layers.get(each).layers}
    await eventually(lambda: set(os.listdir(data_dir / "layers/all")) - {"mnt"} == needed)
    assert set(os.listdir(data_dir / "snapshots")) == {f"{each}.json" for each in layers.ids}


@pytest.fixture
def data_dir(versions: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory of engines with or without control groups, with nothing left in the end."""
    monkeypatch.setattr(local_cgroups, "find_places", places(versions))
    yield tmp_path / "data"

    async def end() -> None:
        engine = LocalEngine(tmp_path / "data", orphan_timeout=60.0)
        await engine.start()
        _ = await engine.adopt()
        await engine.close()

    assert end_of(in_a_fork(end)) == 0
    assert_no_orphans(tmp_path)


@kinds
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_each_step(data_dir: Path, operation: str) -> None:
    async def live(number: int) -> None:
        boxes = await begin(data_dir)
        if number:
            await check(boxes, operation)
        await prepare(boxes["box"])
        murder = Murder(number)
        for owner, name in STEPS:
            murder.watch(owner, name)
        _ = await OPERATIONS[operation](boxes["box"])
        murder.left = -1
        await boxes["box"].engine.release()

    number = 0
    while end_of(in_a_fork(partial(live, number))) == signal.SIGKILL:
        number += 1
    assert number >= 4

    async def look() -> None:
        boxes = await begin(data_dir)
        await check(boxes, operation)
        await boxes["box"].engine.release()

    assert end_of(in_a_fork(look)) == 0


@kinds
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_any_time(data_dir: Path, operation: str, tmp_path: Path) -> None:
    async def live(first: bool, go: int) -> None:
        boxes = await begin(data_dir)
        if not first:
            await check(boxes, operation)
        await prepare(boxes["box"])
        _ = os.write(go, b"!")
        _ = await OPERATIONS[operation](boxes["box"])
        _ = await asyncio.Event().wait()

    for number in range(10):
        ready, go = os.pipe()
        pid = in_a_fork(partial(live, number == 0, go))
        os.close(go)
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        time.sleep(number * 0.0015)  # the moment is what is tried, nothing is waited for
        os.kill(pid, signal.SIGKILL)
        assert end_of(pid) == signal.SIGKILL
