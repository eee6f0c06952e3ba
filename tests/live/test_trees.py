"""Files and directories, in both colours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandlot import (
    ConflictError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    SandboxDestroyedError,
    UnexpectedResponseError,
)
from tests.live.world import Live, peak_memory, reset_peak_memory

MIB = 1 << 20


async def test_names_of_files(live: Live) -> None:
    async with live.box() as box:
        files = box.files
        await files.write_many({"a/one": "1", "a/b/two": b"22", "note": "n\xf6te\n"})
        assert await files.read_text("note") == "n\xf6te\n"
        assert await files.read_text("note", encoding="latin-1") == "n\xc3\xb6te\n"
        paths = [item.path for item in await files.list("a", depth=9)]
        assert paths == [f"/home/user/a/{name}" for name in ("b", "b/two", "one")]
        assert [item.name for item in await files.list()] == ["a", "note"]
        entry = await files.stat("a/b/two")
        assert (entry.name, entry.type, entry.size, entry.mode) == ("two", "file", 2, 0o644)
        assert await files.mkdir("c/d") == await files.stat("c/d")
        assert (await files.move("a", "c/d/e")).path == "/home/user/c/d/e"
        assert (await files.copy("c/d/e", "a")).type == "directory"
        with pytest.raises(ConflictError):
            await files.copy("note", "a/one")
        assert (await files.copy("note", "a/one", overwrite=True)).size == 6
        assert (await files.chmod("a/one", 0o751)).permissions == "-rwxr-x--x"
        await files.remove("c")
        assert [await files.exists(path) for path in ("a", "a/one", "c", "a/b/c/d")] == [
            True,
            True,
            False,
            False,
        ]
        # Names of any bytes are texts as `os.fsdecode` makes them.
        odd = os.fsdecode(b"odd \xff")
        await files.write(f"{odd}/{odd}", "x")
        [found] = await files.list(odd)
        assert (found.name, found.path) == (odd, f"/home/user/{odd}/{odd}")
        assert await files.read(found.path) == b"x"
        assert (await files.move(found.path, f"{odd}/plain")).name == "plain"
        assert await files.exists(odd)
        await files.remove(odd)
        assert not await files.exists(odd)


async def test_what_fails(live: Live) -> None:
    async with live.box() as box:
        files = box.files
        await files.write("file", b"\xff")
        for call in (files.read, files.list, files.stat, files.remove):
            with pytest.raises(FileNotFoundInSandboxError) as caught:
                await call("missing/too")
            assert "missing/too" in str(caught.value)
        for path, error in (
            ("file", InvalidRequestError),
            (".", ConflictError),
            ("/usr/x", PermissionDeniedError),
        ):
            with pytest.raises(error):
                await files.mkdir(path)
        with pytest.raises(InvalidArgumentError):
            await files.read_text("file")
        with pytest.raises(InvalidArgumentError):
            await files.write_many({"good": b"", "bad": 3})
        assert not await files.exists("good")
        for wrong in (-1, 0o10000, "755", True, None):
            with pytest.raises(InvalidArgumentError):
                await files.chmod("file", wrong)
        for depth in (0, -1, 1.5, None):
            with pytest.raises(InvalidArgumentError):
                await files.list(".", depth=depth)
        with pytest.raises(InvalidArgumentError):
            await files.move("file", "a\0b")
        await box.destroy()
        with pytest.raises((SandboxDestroyedError, NotFoundError)):
            await files.list()


async def test_directories_in_and_out(live: Live, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "empty").mkdir(parents=True)
    _ = (source / "big").write_bytes(os.urandom(3 * MIB + 5))
    _ = (source / "tool").write_bytes(b"#!/bin/sh\necho ran\n")
    (source / "tool").chmod(0o755)
    (source / "link").symlink_to("empty/../tool")
    for number in range(200):
        _ = (source / "empty" / f"{number}").write_bytes(b"x" * number)
    steps: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        steps.append((done, total))

    async with live.box() as box:
        await box.upload_dir("work/here", source, progress=note)
        assert (await box.exec("work/here/link")).stdout == "ran\n"
        assert steps == sorted(steps)
        assert steps[-1][0] > 3 * MIB
        steps.clear()
        await box.download_dir("work/here", target, progress=note)
        assert steps == sorted(steps)
        assert steps[-1][0] > 3 * MIB
        assert (target / "big").read_bytes() == (source / "big").read_bytes()
        assert sorted(os.listdir(target / "empty")) == sorted(os.listdir(source / "empty"))
        assert (target / "link").readlink() == Path("empty/../tool")
        assert (target / "tool").stat().st_mode & 0o777 == 0o755
        with pytest.raises(FileNotFoundInSandboxError):
            await box.download_dir("missing", tmp_path / "nothing")
        with pytest.raises(InvalidArgumentError):
            await box.upload_dir("x", source / "tool")
        _ = await box.exec("ln -s /etc/passwd work/here/out")
        with pytest.raises(UnexpectedResponseError, match="leads out"):
            await box.download_dir("work/here", target)
        assert not (target / "out").exists()
        assert (await box.exec("rm work/here/out; mkdir -m 0 work/s")).ok
        with pytest.raises(PermissionDeniedError):
            await box.download_dir("work/s", tmp_path / "nothing")
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_memory_stays_flat(live: Live, tmp_path: Path) -> None:
    size = 48
    (tmp_path / "source").mkdir()
    with (tmp_path / "source/large").open("wb") as file:
        _ = file.truncate(size * MIB)
    async with live.box() as box:
        await box.upload_dir("warm-up", tmp_path / "source")
        for pid in (os.getpid(), live.server.pid):
            reset_peak_memory(pid)
        before = [peak_memory(pid) for pid in (os.getpid(), live.server.pid)]
        await box.upload_dir("large", tmp_path / "source")
        await box.download_dir("large", tmp_path / "target")
        grown = [
            peak_memory(pid) - was
            for pid, was in zip((os.getpid(), live.server.pid), before, strict=True)
        ]
        assert max(grown) < size * MIB / 2
    assert (tmp_path / "target/large").stat().st_size == size * MIB
