"""Capturing homes, beginning with what was captured, going back: shared and copied."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import (
    EngineError,
    Exit,
    SandboxGoneError,
    UnknownSnapshotError,
    UnsuitableError,
)
from sandlot.server.engine.local import LocalEngine, archive, compaction, records
from sandlot.server.engine.local.errands import Errands
from sandlot.server.engine.local.home import Home
from sandlot.server.engine.local.layers import Layers

from .conftest import Box, OpenBox, eventually, read_line, spec

KINDS = ["local", "local-bare", "local-copy"]
SHARED = ["local", "local-bare"]


@pytest.fixture
def engine_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Engines with and without control groups, and one on a file system without attributes."""
    kind: str = getattr(request, "param", "local")
    if kind == "local-copy":

        def refuse(_: Layers) -> None:
            raise OSError(95, "no attributes")

        monkeypatch.setattr(Layers, "check_sharing", refuse)
        return "local"
    return kind


kinds = pytest.mark.parametrize("engine_kind", KINDS, indirect=True)
shared = pytest.mark.parametrize("engine_kind", SHARED, indirect=True)


async def another(box: Box, name: str, snapshot: str, **changes: Any) -> Box:
    sandbox = await box.engine.create(spec(name, snapshot=snapshot, **changes))
    return Box(box.engine, sandbox, box.data_dir)


async def output(box: Box, script: str) -> str:
    result = await box.shell(script)
    assert result.exit == Exit(0), result.stderr
    return result.stdout.decode()


def layers(box: Box) -> set[str]:
    return {name for name in os.listdir(box.data_dir / "layers/all") if name.isdigit()}


TREE = """
umask 022; mkdir -p d/e; echo one > d/one; echo two > two; ln -s two link; ln two hard; mkfifo fifo
echo x > d/closed; chmod 0 d/closed; mkdir d/dark; echo y > d/dark/y; chmod 0 d/dark
echo s > setuid; chmod 4755 setuid; touch 'new
line'; touch "$(printf 'bad\\377')"; chmod 750 .
"""
LOOK = (
    "ls -lR . | grep -v ^total | sed 's/ [A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]* / /';"
    "cat two link hard d/one; stat -c '%a %h' two setuid d/dark ."
)


@kinds
async def test_begin_with_a_snapshot(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, TREE)
        # Directories have one link in overlays, whatever is in them.
        look = LOOK.replace("%a %h' two setuid d/dark .", "%a' two setuid d/dark .")
        before = await output(box, look)
        size = await (await box.sandbox.snapshot("s1"))
        assert size.total_bytes >= size.own_bytes >= 0
        assert await output(box, look) == before
        other = await another(box, "other", "s1")
        assert await output(other, look) == before
        _ = await output(other, "echo more >> two; rm d/one; chmod 700 d/dark; rm -r d/dark")
        assert await output(box, look) == before
        _ = await output(box, "echo less > two; mv d/one d/three")
        third = await another(box, "third", "s1")
        assert await output(third, look) == before
        assert await box.engine.snapshots() == ["s1"]


@kinds
async def test_what_is_deleted_stays_deleted(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "mkdir d e; echo 1 > d/1; echo 1 > e/1; echo 1 > f")
        _ = await box.sandbox.snapshot("s1")
        _ = await output(box, "rm -r d; mkdir d; rm -r e; rm f; mkdir f; echo 2 > f/2")
        _ = await box.sandbox.snapshot("s2")
        _ = await output(box, "rm f/2; echo 3 > e")
        _ = await box.sandbox.snapshot("s3")
        other = await another(box, "other", "s3")
        assert await output(other, "find . | sort; cat e") == ".\n./d\n./e\n./f\n3\n"


@kinds
async def test_processes_do_not_notice(open_box: OpenBox) -> None:
    """They go on in the same directory, and what they write then is not in the snapshot."""
    async with open_box() as box:
        script = "echo ready; while read word; do echo $word > $word; echo $(pwd) $(ls); done"
        process = await box.start("/bin/sh", "-c", script, stdin=True)
        assert await read_line(process) == b"ready\n"
        await process.write_stdin(b"before\n")
        assert await read_line(process) == b"/home/user before\n"
        _ = await box.sandbox.snapshot("s1")
        await process.write_stdin(b"later\n")
        assert await read_line(process) == b"/home/user before later\n"
        assert await output(box, "cat before later") == "before\nlater\n"
        other = await another(box, "other", "s1")
        assert await output(other, "ls") == "before\n"
        await process.close()


HOLDERS = {
    "file": "exec 3>>held; echo ready; read word; echo late >&3; echo done; read word",
    "directory": "mkdir sub; cd sub; echo ready; read word; echo late > ../held; echo done; read w",
    "program": "cp /bin/sleep s; ./s 600 & echo ready; read w; echo late > held; echo done; read w",
}


@kinds
@pytest.mark.parametrize("holder", HOLDERS)
async def test_busy(open_box: OpenBox, holder: str) -> None:
    """What holds files of the home goes on with them, and never writes into the snapshot."""
    async with open_box() as box:
        _ = await output(box, "echo base > base; setfattr -n user.x -v y base 2>/dev/null || true")
        process = await box.start("/bin/sh", "-c", HOLDERS[holder], stdin=True)
        assert await read_line(process) == b"ready\n"
        _ = await box.sandbox.snapshot("s1")
        await process.write_stdin(b"go\n")
        assert await read_line(process) == b"done\n"
        assert await output(box, "cat held") == "late\n"
        other = await another(box, "other", "s1")
        assert await output(other, "cat base; cat held 2>/dev/null || true") == "base\n"
        _ = await box.sandbox.snapshot("s2")
        again = await another(box, "again", "s2")
        assert await output(again, "cat base held") == "base\nlate\n"
        await process.close()


@shared
async def test_idle_homes_are_not_copied(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        home = box.data_dir / "sandboxes/box/home"
        inode = (home / "file").stat().st_ino
        waiting = await box.start("sleep", "600")  # its current directory is no obstacle
        _ = await box.sandbox.snapshot("s1")
        assert not home.exists()
        (layer,) = layers(box)
        assert (box.data_dir / "layers/all" / layer / "file").stat().st_ino == inode
        other = await another(box, "other", "s1")
        _ = await other.sandbox.snapshot("s2")
        assert layers(box) == {layer}, "nothing had changed"
        await waiting.close()


@kinds
async def test_paused(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        process = await box.start_python("while True: pass")
        await box.sandbox.pause()
        _ = await box.sandbox.snapshot("s1")
        used = (await box.sandbox.usage()).cpu_seconds
        assert (await box.sandbox.usage()).cpu_seconds == used
        state = Path(f"/proc/{process.pid}/stat")
        await box.sandbox.resume()
        assert await output(box, f"cut -d' ' -f3 {state}") == "R\n"
        await process.close()
        other = await another(box, "other", "s1")
        assert await output(other, "cat file") == "x\n"


@kinds
async def test_rollback(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "echo good > file; chmod 700 .; echo t > /tmp/t")
        _ = await box.sandbox.snapshot("s1")
        process = await box.start("sleep", "600")
        _ = await output(box, "echo bad > file; rm -rf * ; mkdir file; chmod 0 .; mkdir -p /tmp/x")
        gone = asyncio.create_task(box.sandbox.wait_gone())
        for _ in range(2):
            await box.sandbox.rollback("s1")
            assert await output(box, "cat file; stat -c %a .; ls /tmp") == "good\n700\n"
            _ = await output(box, "echo worse > file; touch more")
        with pytest.raises(SandboxGoneError):
            _ = await process.wait()
        assert not gone.done()
        assert box.sandbox.id == "box"
        _ = await box.sandbox.snapshot("s2")
        await box.sandbox.rollback("s2")
        assert await output(box, "cat file; ls") == "worse\nfile\nmore\n"
        await box.engine.destroy("box")
        await gone


async def test_rollback_while_paused(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await box.sandbox.snapshot("s1")
        _ = await output(box, "touch file")
        await box.sandbox.pause()
        await box.sandbox.rollback("s1")
        assert await output(box, "ls") == ""


PLACE = {"home-1", "work-1", "mnt", "record.json"}


async def test_failed_rollback_leaves_nothing(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_box() as box:
        _ = await box.sandbox.snapshot("s1")
        engine = box.engine
        assert isinstance(engine, LocalEngine)
        _ = await output(box, "echo x > file")

        def fail(*_: object) -> None:
            raise OSError(28, "no space")

        with monkeypatch.context() as patch:
            patch.setattr(records, "save", fail)
            with pytest.raises(EngineError, match="no space"):
                await box.sandbox.rollback("s1")
        assert await output(box, "cat file") == "x\n", "it is not begun before it can be"
        assert set(os.listdir(box.data_dir / "sandboxes/box")) == PLACE
        monkeypatch.setattr(Home, "plan", lambda _: {"home": "/nowhere", "stack": None})
        with pytest.raises(EngineError):
            await box.sandbox.rollback("s1")
        await box.sandbox.wait_gone()
        with pytest.raises(SandboxGoneError):
            _ = await box.run("true")
        await eventually(lambda: not os.listdir(box.data_dir / "sandboxes"))


@kinds
async def test_sizes(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "head -c 1000000 /dev/zero > big")
        _ = await box.sandbox.snapshot("s0")
        _ = await output(box, "head -c 100000 /dev/zero > small")

        async def size(name: str) -> tuple[int, int]:
            size = await (await box.sandbox.snapshot(name))
            await box.engine.delete_snapshot(name)
            return size.own_bytes, size.total_bytes

        own, total = await size("s1")
        assert 1_100_000 <= total < 1_300_000
        shares = box.engine.capabilities.snapshot == "overlay"
        assert (100_000 <= own < 200_000) if shares else own == total
        own, again = await size("s2")
        assert own == (0 if shares else total), "nothing has changed since"
        assert again == total


async def test_what_cannot_be_counted_is_no_snapshot(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        run = Errands.run

        async def fail(self: Errands, errand: str, order: Any) -> Any:
            if errand == "measure":
                raise EngineError("no memory")
            return await run(self, errand, order)

        with monkeypatch.context() as patch:
            patch.setattr(Errands, "run", fail)
            counting = await box.sandbox.snapshot("s1")
            with pytest.raises(EngineError, match="no memory"):
                _ = await counting
        assert await box.engine.snapshots() == []
        assert (await (await box.sandbox.snapshot("s1"))).total_bytes > 0, "it is tried again"


@shared
async def test_what_was_captured_is_counted(open_box: OpenBox) -> None:
    """Capturing makes no room, and what others began with takes none."""
    async with open_box(disk_mb=16) as box:
        for name in ("s1", "s2"):
            _ = await output(box, f"head -c 7000000 /dev/zero > {name}")
            _ = await box.sandbox.snapshot(name)
        # Without control groups, less than a tick of CPU time is not seen until there is more.
        script = "head -c 7000000 /dev/zero > s3; for i in $(seq 100000); do :; done; sleep 60"
        assert (await box.shell(script)).exit.no_space
        await box.sandbox.rollback("s1")
        _ = await output(box, "head -c 7000000 /dev/zero > s4; sleep 2.5; rm s4")
        other = await another(box, "other", "s2", disk_mb=16)
        _ = await output(other, "head -c 14000000 /dev/zero > s3; sleep 2.5")


async def test_overlays_that_do_not_work_are_not_used(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_CHANGE", "false")
    async with open_box() as box:
        assert box.engine.capabilities.snapshot == "copy"


async def test_bound_of_layers(open_box: OpenBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where layers cannot be merged, there is an end, and nothing is lost."""
    monkeypatch.setattr(compaction, "_MANY", 1000)
    monkeypatch.setattr(compaction, "_MOST", 3)
    async with open_box() as box:
        for number in range(3):
            _ = await output(box, f"echo {number} > file")
            _ = await box.sandbox.snapshot(f"s{number}")
        monkeypatch.setattr(compaction, "_MANY", 1)
        run = Errands.run

        async def fail(self: Errands, errand: str, order: Any) -> Any:
            if errand == "merge":
                raise EngineError("no space")
            return await run(self, errand, order)

        with monkeypatch.context() as patch:
            patch.setattr(Errands, "run", fail)
            _ = await output(box, "echo last > file")
            with pytest.raises(EngineError, match="too many snapshots"):
                _ = await box.sandbox.snapshot("s3")
        assert await output(box, "cat file") == "last\n"
        _ = await box.sandbox.snapshot("s3")
        engine = box.engine
        assert isinstance(engine, LocalEngine)
        assert len(engine._archive.layers.get("s3").layers) <= 3
        other = await another(box, "other", "s3")
        assert await output(other, "cat file") == "last\n"


@kinds
async def test_unknown_snapshots(open_box: OpenBox) -> None:
    async with open_box() as box:
        with pytest.raises(UnknownSnapshotError):
            await box.sandbox.rollback("nothing")
        assert await output(box, "echo alive") == "alive\n"
        with pytest.raises(UnknownSnapshotError):
            _ = await box.engine.create(spec("other", snapshot="nothing"))
        with pytest.raises(UnknownSnapshotError):
            _ = await box.sandbox.changes("nothing")
        with pytest.raises(UnknownSnapshotError):
            _ = await box.sandbox.open_base("nothing", "file")
        await box.engine.delete_snapshot("nothing")
        _ = await box.sandbox.snapshot("s1")
        for name in ("s1", "../s2", ""):
            with pytest.raises(EngineError, match="id of a new snapshot"):
                _ = await box.sandbox.snapshot(name)


@kinds
async def test_deleted_snapshots_last_as_long_as_they_are_needed(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        _ = await box.sandbox.snapshot("s1")
        other = await another(box, "other", "s1")
        await box.engine.destroy("box")
        await box.engine.delete_snapshot("s1")
        assert await box.engine.snapshots() == []
        assert await output(other, "cat file") == "x\n"
        assert (await other.sandbox.changes(None)).changes == []
        await box.engine.destroy("other")
        await eventually(lambda: not layers(box))


async def test_snapshots_outlive_the_engine(tmp_path: Path) -> None:
    for life in range(3):
        engine = make_engine("local", tmp_path / "data")
        await engine.start()
        try:
            if life == 0:
                box = Box(engine, await engine.create(spec()), tmp_path / "data")
                _ = await output(box, "echo x > file")
                _ = await (await box.sandbox.snapshot("s1"))
                _ = await output(box, "echo y > file")
                continue
            assert await engine.snapshots() == ["s1"]
            assert len(layers(Box(engine, None, tmp_path / "data"))) == 1
            box = Box(engine, await engine.create(spec(snapshot="s1")), tmp_path / "data")
            assert await output(box, "cat file") == "x\n"
        finally:
            await engine.close()


async def test_each_sandbox_has_a_user_of_its_own(open_box: OpenBox) -> None:
    if os.getuid():
        pytest.skip("an ordinary user has no others to give")
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        _ = await box.sandbox.snapshot("s1")
        other = await another(box, "other", "s1")
        users = set[int]()
        for one in (box, other):
            process = await one.start("sleep", "600")
            users |= users_of(one)
            await process.close()
        assert len(users) == 2
        assert 0 not in users
        _ = await output(other, "echo y > new")
        uppers = (box.data_dir / "sandboxes/other/home/new", box.data_dir / "layers/all")
        owner = uppers[0].stat().st_uid
        assert owner in users
        assert stat.S_IMODE((box.data_dir).stat().st_mode) == 0o700


def users_of(box: Box) -> set[int]:
    """Return the users of the host that run something in the home of a sandbox."""
    users = set[int]()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            cgroup = (path / "cgroup").read_text()
            if f"/{box.sandbox.id}\n" in cgroup and os.readlink(path / "cwd") == "/home/user":
                users.add(path.stat().st_uid)
    return users


async def test_the_process_engine_has_none(open_box: OpenBox, tmp_path: Path) -> None:
    engine = make_engine("process", tmp_path / "process")
    await engine.start()
    try:
        sandbox = await engine.create(spec())
        with pytest.raises(UnsuitableError):
            _ = await sandbox.snapshot("s1")
        with pytest.raises(UnsuitableError):
            await sandbox.rollback("s1")
        assert engine.capabilities.snapshot == "none"
    finally:
        await engine.close()


@kinds
async def test_cancelled_snapshots_are_undone(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await output(box, "echo x > file")
        for delay in (0.0, 0.001, 0.003, 0.01):
            task = asyncio.create_task(box.sandbox.snapshot("s1"))
            _ = await asyncio.wait([task], timeout=delay)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    _ = await task
                assert await output(box, "cat file") == "x\n"  # not before it is resumed
                await box.sandbox.pause()  # nor before the snapshot has ended
                await box.sandbox.resume()
            else:
                await box.engine.delete_snapshot("s1")
            assert await box.engine.snapshots() == []


async def test_many_snapshots(open_box: OpenBox) -> None:
    """Layers are merged when there are many, and all that they hid stays hidden."""
    async with open_box() as box:
        _ = await output(box, "mkdir keep gone; echo 0 > keep/0; echo 0 > gone/0; echo base > base")
        for number in range(1, 60):
            _ = await output(
                box,
                f"echo {number} > keep/{number}; echo {number} > last; rm -f keep/{number - 5};"
                f"rm -rf gone; mkdir gone; echo {number} > gone/{number}",
            )
            _ = await box.sandbox.snapshot("s")
            if number < 59:
                await box.engine.delete_snapshot("s")
        engine = box.engine
        assert isinstance(engine, LocalEngine)
        assert len(engine._archive.layers.get("s").layers) < 45
        expected = await output(box, "find . | sort; cat last base")
        assert "./keep/55\n" in expected
        assert "./keep/54\n" not in expected
        assert expected.count("./gone/") == 1
        other = await another(box, "other", "s")
        assert await output(other, "find . | sort; cat last base") == expected
        await eventually(lambda: len(layers(box)) < 45)
