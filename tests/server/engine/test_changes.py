"""What is told of changes: kinds, bounds, and trees made to mislead."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from sandlot.server.engine.base import Exit, FileAccessError
from sandlot.server.engine.local import history
from sandlot.server.engine.local.layers import Layers

from .conftest import Box, OpenBox, spec


@pytest.fixture
def engine_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With overlays and without."""
    kind: str = getattr(request, "param", "local")
    if kind == "local-copy":

        def refuse(_: Layers) -> None:
            raise OSError(95, "no attributes")

        monkeypatch.setattr(Layers, "check_sharing", refuse)
        return "local"
    return kind


kinds = pytest.mark.parametrize("engine_kind", ["local", "local-bare", "local-copy"], indirect=True)


async def shell(box: Box, script: str) -> str:
    result = await box.shell(script)
    assert result.exit == Exit(0), result.stderr
    return result.stdout.decode()


async def differences(box: Box, since: str | None) -> Mapping[str, tuple[str, str]]:
    changes = await box.sandbox.changes(since)
    assert not changes.truncated
    paths = [change.path for change in changes.changes]
    assert len(set(paths)) == len(paths)
    return {change.path: (change.kind, change.type) for change in changes.changes}


async def old(box: Box, since: str | None, path: str) -> bytes:
    reader = await box.sandbox.open_base(since, path)
    try:
        return await reader.read(1 << 20)
    finally:
        await reader.close()


BEFORE = """
mkdir -p d/sub same dir; echo 1 > d/sub/1; echo 2 > d/2; echo same > same/same; echo m > mode
echo f > file; ln -s a link; echo x > dir/x; echo t > touched; mkfifo fifo
"""
AFTER = """
rm -r d; mkdir -p d/sub; echo new > d/sub/new; touch same/same; chmod 700 mode; rm file; mkdir file
echo in > file/in; ln -sfn b link; rm -r dir; echo dir > dir; echo longer >> touched; rm fifo
echo n > n
"""
EXPECTED = {
    "d/2": ("deleted", "file"),
    "d/sub/1": ("deleted", "file"),
    "d/sub/new": ("added", "file"),
    "mode": ("modified", "file"),
    "file": ("modified", "directory"),
    "file/in": ("added", "file"),
    "link": ("modified", "symlink"),
    "dir": ("modified", "file"),
    "dir/x": ("deleted", "file"),
    "touched": ("modified", "file"),
    "fifo": ("deleted", "other"),
    "n": ("added", "file"),
}


@kinds
@pytest.mark.parametrize("busy", [False, True])
async def test_kinds(open_box: OpenBox, busy: bool) -> None:
    async with open_box() as box:
        _ = await shell(box, BEFORE)
        holder = await box.start_shell("exec 3>>same/same; echo; sleep 600") if busy else None
        if holder is not None:
            _ = await holder.read()
        _ = await box.sandbox.snapshot("s1")
        assert await differences(box, "s1") == {}
        _ = await shell(box, AFTER)
        assert await differences(box, "s1") == EXPECTED
        _ = await box.sandbox.snapshot("s2")
        assert await differences(box, "s1") == EXPECTED
        assert await differences(box, "s2") == {}
        assert (await differences(box, None))["n"] == ("added", "file")
        other = Box(box.engine, await box.engine.create(spec("o", snapshot="s1")), box.data_dir)
        assert await differences(other, None) == {}
        _ = await shell(other, AFTER)
        assert await differences(other, None) == EXPECTED
        assert await old(other, None, "file") == b"f\n"
        await box.sandbox.rollback("s1")
        assert await differences(box, "s1") == {}


@kinds
async def test_old_files(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await shell(
            box, "mkdir d; echo 1 > d/f; ln -s /etc/passwd link; ln -s d up; mkfifo fifo"
        )
        _ = await box.sandbox.snapshot("s1")
        _ = await shell(box, "echo 2 > d/f")
        assert await old(box, "s1", "d/f") == b"1\n"
        for path in ("link", "up/f", "fifo", "d", "../record.json", "/etc/passwd", "no", "", "a\0"):
            with pytest.raises(FileAccessError):
                _ = await old(box, "s1", path)
        with pytest.raises(FileAccessError):
            _ = await old(box, None, "d/f")


HOSTILE = r"""
import os, socket
for name in (b"\xff", b"new\nline", b"x" * 255, b"\x1b[31m", b" ", b"-rf"):
    open(name, "w").write("x")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkfifo("pipe")
os.symlink("/", "root")
os.symlink("loop", "loop")
open("setuid", "w").close(); os.chmod("setuid", 0o6777)
for name in ("opaque", "whiteout", "redirect", "metacopy", "origin"):
    os.mkdir(name); open(name + "/in", "w").write("x")
    for value in (b"y", b"/../../../etc"):
        try:
            os.setxattr(name, "user.overlay." + name, value)
            os.setxattr(name + "/in", "user.overlay." + name, value)
        except OSError:
            pass
try:
    os.mknod("hidden", 0o20000, 0)
except OSError:
    pass
for _ in range(300):
    os.mkdir("d"); os.chdir("d")
open("bottom", "w").write("deep")
"""


@kinds
@pytest.mark.parametrize("busy", [False, True])
async def test_hostile_trees(open_box: OpenBox, busy: bool) -> None:
    async with open_box() as box:
        result = await box.python(HOSTILE)
        assert result.exit == Exit(0), result.stderr
        holder = await box.start_shell("exec 3>>setuid; echo; sleep 600") if busy else None
        if holder is not None:
            _ = await holder.read()
        _ = await box.sandbox.snapshot("s1")
        other = Box(box.engine, await box.engine.create(spec("o", snapshot="s1")), box.data_dir)
        path = "d/" * 300 + "bottom"
        assert await box.read(path) == b"deep"
        assert await other.read(path) == b"deep"
        assert await differences(other, None) == {}
        found = await differences(box, None)
        assert found[path] == ("added", "file")
        assert found[os.fsdecode(b"\xff")] == ("added", "file")
        assert found["root"] == ("added", "symlink")
        assert not any(name.startswith(("root/", "loop/")) for name in found)
        _ = await shell(other, "rm -rf d")
        await box.sandbox.rollback("s1")
        assert await box.read(path) == b"deep"


@kinds
async def test_writers_that_never_rest(open_box: OpenBox) -> None:
    """What is captured is one moment: each generation of files is there completely or not."""
    flood = """
import os, itertools
os.mkdir("a"); os.mkdir("b")
for number in itertools.count():
    for name in "ab":
        with open(f"{name}/new", "w") as file:
            file.write(str(number))
        os.rename(f"{name}/new", f"{name}/file")
    if number == 0:
        print(flush=True)
"""
    async with open_box() as box:
        process = await box.start_python(flood)
        _ = await process.read()
        for number in range(4):
            _ = await box.sandbox.snapshot(f"s{number}")
            name = f"o{number}"
            sandbox = await box.engine.create(spec(name, snapshot=f"s{number}"))
            other = Box(box.engine, sandbox, box.data_dir)
            first, second = (await shell(other, "cat a/file; echo; cat b/file")).split()
            assert int(first) - int(second) in (0, 1)
        await process.close()


async def test_bounds(open_box: OpenBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MOST", 10)
    async with open_box() as box:
        _ = await shell(box, "for i in $(seq 100); do : > $i; done")
        changes = await box.sandbox.changes(None)
        assert changes.truncated
        assert len(changes.changes) == 10
