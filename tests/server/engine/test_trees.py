"""Trees of sandboxes, and what becomes of the forks that walk them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sandlot.server.engine.base import EngineError, FileAccessError, FileWriter, SandboxGoneError
from sandlot.server.engine.local.agent import AgentClient
from sandlot.server.engine.local.channel import socket_pair
from sandlot.server.engine.local.trees import LocalTree
from sandlot.server.guest import wire

from .conftest import Box, OpenBox


async def problem_of(work: Awaitable[object]) -> str:
    with pytest.raises(FileAccessError) as caught:
        _ = await work
    return caught.value.problem


def tar_of(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def extract(box: Box, path: str, data: bytes) -> None:
    writer = await box.sandbox.tree.extract(path)
    try:
        for start in range(0, len(data), 100_000):
            await writer.write(data[start : start + 100_000])
        await writer.commit()
    finally:
        await writer.abort()


async def written(writer: FileWriter) -> None:
    await writer.write(bytes(1 << 20))
    await writer.commit()


@pytest.mark.parametrize("engine_kind", ["local", "process"])
async def test_a_tree(open_box: OpenBox) -> None:
    async with open_box() as box:
        tree = box.sandbox.tree
        made = await tree.make_directory("a/b")
        assert (made.type, made.name) == ("directory", "b")
        await box.write("a/b/f", b"content")
        assert (await tree.copy("a", "c", overwrite=False)).name == "c"
        assert (await tree.move("c", "a/moved", overwrite=False)).name == "moved"
        assert (await tree.change_mode("a/moved/b/f", 0o600)).mode == 0o600
        names = [item.path.partition("/a/")[2] for item in await tree.list("a", 9, 99)]
        assert names == ["b", "b/f", "moved", "moved/b", "moved/b/f"]
        assert await problem_of(tree.list("a", 9, 4)) == "too_large"
        await tree.remove("a/b")
        assert await problem_of(tree.stat("a/b")) == "not_found"
        assert await problem_of(tree.remove(".")) == "forbidden"
        reader = await tree.pack("a")
        archive = b""
        while piece := await reader.read(1 << 18):
            archive += piece
        await reader.close()
        await extract(box, "again", archive)
        assert await box.read("again/moved/b/f") == b"content"


@pytest.mark.parametrize("engine_kind", ["process"])
async def test_without_walls_only_the_home_directory_can_be_harmed(
    open_box: OpenBox, tmp_path: Path
) -> None:
    """Every path here is the test's own: if the guard failed, nothing else would be lost."""
    mine = tmp_path / "mine"
    (mine / "directory").mkdir(parents=True)
    (mine / "file").touch()
    async with open_box() as box:
        tree = box.sandbox.tree
        await box.write("source", b"x")
        _ = await box.shell(f"ln -s {mine} link")
        for path in (str(mine), f"{mine}/file", "link/file", "link/directory", f"{mine}/../mine"):
            assert await problem_of(tree.remove(path)) == "forbidden"
            assert await problem_of(tree.move(path, "taken", overwrite=True)) == "forbidden"
            assert await problem_of(tree.copy("source", path, overwrite=True)) == "forbidden"
        await tree.remove("link")
    assert sorted(os.listdir(mine)) == ["directory", "file"]


async def test_what_is_stored_counts(open_box: OpenBox) -> None:
    async with open_box(disk_mb=16) as box:
        assert await problem_of(extract(box, "x", tar_of("big", bytes(64 << 20)))) == "no_space"
        await box.sandbox.tree.remove("x")
        await extract(box, "x", tar_of("small", b"fits"))
        assert await box.read("x/small") == b"fits"


async def test_code_inside_cannot_touch_what_walks_its_files(open_box: OpenBox) -> None:
    """A fork of the agent hides its memory and descriptors as the agent does."""
    look = (
        "import glob, os\n"
        "found = [p for p in glob.glob('/proc/[0-9]*') if not p.endswith(f'/{os.getpid()}')]\n"
        "own = [p for p in found if b'python3\\0-c' not in open(p + '/cmdline', 'rb').read()]\n"
        "for path in own:\n"
        "    for name in ('mem', 'environ', 'fd'):\n"
        "        try:\n"
        "            os.listdir(f'{path}/fd') if name == 'fd' else open(f'{path}/{name}').read(1)\n"
        "        except OSError: continue\n"
        "        print('open', path, name)\n"
        "print(len(own))\n"
    )
    async with open_box() as box:
        writer = await box.sandbox.tree.extract("x")  # it waits for the archive
        result = await box.python(look)
        assert result.stdout == b"2\n", result
        killed = await box.shell("kill -9 $(ls /proc | grep '^[0-9]*$' | grep -v '^1$') 2>&1")
        assert killed.exit.code != 0
        with pytest.raises(EngineError):
            await written(writer)
        await writer.abort()
        assert (await box.sandbox.tree.stat(".")).type == "directory"


@pytest.mark.parametrize("engine_kind", ["local", "process"])
async def test_code_inside_cannot_stop_what_walks_its_files(open_box: OpenBox) -> None:
    """It can end it, and whoever asked is told so at once; nobody is left waiting."""
    stop = (
        "import glob, os, signal\n"
        "for path in glob.glob('/proc/[0-9]*/stat'):\n"
        "    pid, *_, parent = open(path).read().split()[:4]\n"
        "    if int(parent) == os.getppid() and int(pid) != os.getpid():\n"
        "        os.kill(int(pid), signal.SIGSTOP)\n"
        "        print('stopped')\n"
    )
    async with open_box() as box:
        writer = await box.sandbox.tree.extract("x")  # it waits for the archive
        result = await box.python(stop)
        assert result.stdout == b"stopped\n", result
        with pytest.raises(EngineError, match="something stopped or killed it"):
            await written(writer)
        await writer.abort()
        assert (await box.sandbox.tree.stat(".")).type == "directory"


@pytest.mark.parametrize("engine_kind", ["process"])
async def test_what_walks_files_lasts_through_a_pause(open_box: OpenBox) -> None:
    """Where there is no freezer the agent stops everything itself."""
    async with open_box() as box:
        writer = await box.sandbox.tree.extract("x")
        await box.sandbox.pause()
        await box.sandbox.resume()
        await writer.write(tar_of("f", b"content"))
        await writer.commit()
        await writer.abort()
        assert await box.read("x/f") == b"content"


async def test_who_gives_up_leaves_nothing_running(open_box: OpenBox) -> None:
    async with open_box() as box:
        fill = (
            "for i in $(seq 300); do mkdir -p many/$i; head -c 100000 /dev/zero > many/$i/f; done"
        )
        assert (await box.shell(fill)).exit.code == 0
        task = asyncio.create_task(box.sandbox.tree.copy("many", "copy", overwrite=False))
        await box.until("ls -A | grep -q part || test -e copy")
        _ = task.cancel()
        _ = await asyncio.wait([task])
        await box.until("! ls -A | grep -q part")
        reader = await box.sandbox.tree.pack("many")
        _ = await reader.read(1)
        await reader.close()
        await box.until("test $(ls -d /proc/[0-9]* | wc -l) -le 5")


async def test_a_sandbox_that_dies(open_box: OpenBox) -> None:
    async with open_box() as box:
        writer = await box.sandbox.tree.extract("x")
        await box.engine.destroy("box")
        with pytest.raises(EngineError):
            await written(writer)
        await writer.abort()
        with pytest.raises(SandboxGoneError):
            _ = await box.sandbox.tree.stat(".")


ENTRY = {
    "path": "/x",
    "name": "x",
    "type": "file",
    "size": 1,
    "mode": 0o644,
    "permissions": "-rw-r--r--",
    "owner": "user",
    "group": "user",
    "modified_at": 1,
}
NONSENSE: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "no JSON": (b"x\n", b""),
    "two": ((json.dumps(ENTRY) + "\n").encode() * 2, b""),
    "no size": (json.dumps({**ENTRY, "size": None}).encode(), b""),
    "size below nothing": (json.dumps({**ENTRY, "size": -1}).encode(), b""),
    "huge size": (json.dumps({**ENTRY, "size": 1 << 70}).encode(), b""),
    "no such mode": (json.dumps({**ENTRY, "mode": 1 << 20}).encode(), b""),
    "no such type": (json.dumps({**ENTRY, "type": "door"}).encode(), b""),
    "no such name": (json.dumps({**ENTRY, "name": "\ud800"}).encode(), b""),
    "endless": (b"x" * 200_000, b""),
    "senseless complaint": (b"", b"x"),
    "complaint without a number": (b"", b'{"text": "x", "path": ""}'),
    "endless complaint": (b"", b"x" * 200_000),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_answers_that_make_no_sense(name: str) -> None:
    out, err = NONSENSE[name]
    await _told(lambda tree: tree.stat("x"), out, err)


async def test_more_entries_than_were_asked_for() -> None:
    line = json.dumps(ENTRY).encode() + b"\n"
    await _told(lambda tree: tree.list("x", 1, 3), line * 4, b"")


async def _told(call: Callable[[LocalTree], Awaitable[object]], out: bytes, err: bytes) -> None:
    """Have an agent that was taken over answer; the call must fail, and keep no descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    mine, theirs = socket_pair()
    client = AgentClient(mine)
    decoder = wire.Decoder()

    def play() -> None:
        theirs.setblocking(True)
        while (packet := decoder.next()) is None:
            decoder.feed(*wire.receive(theirs))
        message, fds = packet
        wire.send(theirs, {"request": message["request"], "pid": 7})
        for fd, data in zip(fds, (out, err), strict=True):
            try:
                with open(fd, "wb") as file:
                    _ = file.write(data)
            except BrokenPipeError:
                continue
        try:
            wire.send(theirs, {"event": "exit", "process": message["request"], "status": 0})
            while data := theirs.recv(1 << 16):  # a request to kill it, perhaps
                _ = data
        except OSError:
            return

    playing = asyncio.create_task(asyncio.to_thread(play))
    try:
        async with asyncio.timeout(30):
            work = asyncio.ensure_future(call(LocalTree(client, None, None)))
            _ = await asyncio.wait([work], timeout=1)
            client.close()  # an agent that does not answer to a kill is let go by the sandbox
            with pytest.raises(EngineError):
                _ = await work
    finally:
        client.close()
        await playing
        theirs.close()
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before
