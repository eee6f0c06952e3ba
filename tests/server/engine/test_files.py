"""Files: what every engine must do."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from sandlot.server.engine.base import Exit, FileAccessError, SandboxGoneError

from .conftest import Box, OpenBox, eventually

pytestmark = pytest.mark.parametrize("engine_kind", ["local", "process"])


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


async def problem_of_reading(box: Box, path: str) -> str:
    with pytest.raises(FileAccessError) as caught:
        _ = await box.read(path)
    return caught.value.problem


async def problem_of_writing(box: Box, path: str, data: bytes = b"x") -> str:
    with pytest.raises(FileAccessError) as caught:
        await box.write(path, data)
    return caught.value.problem


async def names(box: Box) -> list[bytes]:
    return (await box.run("ls", "-A")).stdout.split()


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
async def test_write_and_read(open_box: OpenBox, size: int) -> None:
    data = os.urandom(size)
    async with open_box() as box:
        await box.write("new/directory/file", data)
        reader = await box.sandbox.open_reader("new/directory/file")
        assert reader.size == size
        await reader.close()
        await reader.close()
        assert await box.read("new/directory/file") == data
        assert (await box.run("cat", "new/directory/file")).stdout == data
        assert (await box.run("ls", "-A", "new/directory")).stdout == b"file\n"
        result = await box.run("stat", "-c", "%a %U", "new/directory/file", "new")
        owner = (await box.run("id", "-un")).stdout
        assert result.stdout == b"644 " + owner + b"755 " + owner


async def test_absolute_and_dotted_paths(open_box: OpenBox) -> None:
    async with open_box() as box:
        home = (await box.run("pwd")).stdout.decode().strip()
        await box.write(f"{home}/a/../b", b"1")
        assert await box.read("b") == b"1"
        assert await box.read(f"../{os.path.basename(home)}/./b") == b"1"
        await box.write("grüße 🙂\n", b"2")
        assert await box.read("grüße 🙂\n") == b"2"
        raw = os.fsdecode(b"\xff\xfe")
        await box.write(raw, b"3")
        assert await box.read(raw) == b"3"


async def test_files_without_a_size(open_box: OpenBox) -> None:
    async with open_box() as box:
        reader = await box.sandbox.open_reader("/proc/cpuinfo")
        assert reader.size == 0
        assert b"processor" in await reader.read(1 << 20)
        await reader.close()


async def test_what_cannot_be_read(open_box: OpenBox) -> None:
    async with open_box() as box:
        script = "mkdir dir; mkfifo fifo; ln -s loop loop; ln -s gone dangling; echo x > file"
        assert (await box.shell(script)).exit == Exit(0)
        async with asyncio.timeout(45):
            assert await problem_of_reading(box, "missing") == "not_found"
            assert await problem_of_reading(box, "missing/file") == "not_found"
            assert await problem_of_reading(box, "file/below") == "not_found"
            assert await problem_of_reading(box, "dangling") == "not_found"
            assert await problem_of_reading(box, "dir") == "invalid"
            assert await problem_of_reading(box, "fifo") == "invalid"
            assert await problem_of_reading(box, "loop") == "invalid"
            assert await problem_of_reading(box, "/dev/null") == "invalid"
            assert await problem_of_reading(box, "nul\0byte") == "invalid"
            assert await problem_of_reading(box, "") == "invalid"
            assert await problem_of_reading(box, "\udfff\ud800") == "invalid"
            assert await problem_of_reading(box, "x" * 300) == "invalid"
            assert await problem_of_reading(box, "x/" * 3000) == "invalid"
        assert await box.read("file") == b"x\n"


async def test_what_cannot_be_written(open_box: OpenBox) -> None:
    async with open_box() as box:
        script = "mkdir dir; mkfifo fifo; ln -s loop loop; echo x > file"
        assert (await box.shell(script)).exit == Exit(0)
        before = await names(box)
        async with asyncio.timeout(45):
            for path in (
                "dir",
                ".",
                "..",
                "/",
                "dir/",
                "file/",
                "new/.",
                "fifo",
                "loop",
                "",
                "a\0",
            ):
                assert await problem_of_writing(box, path) == "invalid", path
            assert await problem_of_writing(box, "file/below") == "not_found"
            assert await problem_of_writing(box, "x" * 300) == "invalid"
        assert await names(box) == before


async def test_symbolic_links_are_followed(open_box: OpenBox) -> None:
    async with open_box() as box:
        assert (await box.shell("mkdir dir; ln -s dir/target link")).exit == Exit(0)
        await box.write("link", b"through")
        assert (await box.run("readlink", "link")).stdout == b"dir/target\n"
        assert await box.read("dir/target") == b"through"
        assert await box.read("link") == b"through"


async def test_replacing_keeps_the_mode(open_box: OpenBox) -> None:
    async with open_box() as box:
        assert (await box.shell("echo old > file; chmod 750 file")).exit == Exit(0)
        await box.write("file", b"new")
        assert (await box.run("stat", "-c", "%a", "file")).stdout == b"750\n"
        assert await box.read("file") == b"new"


async def test_nothing_is_seen_before_the_commit(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", b"old")
        writer = await box.sandbox.open_writer("file")
        await writer.write(b"new")
        assert await box.read("file") == b"old"
        await writer.abort()
        await writer.abort()
        assert await box.read("file") == b"old"
        assert await names(box) == [b"file"]
        with pytest.raises(FileAccessError):
            await writer.write(b"more")
        with pytest.raises(FileAccessError):
            await writer.commit()


async def test_abort_after_commit_does_nothing(open_box: OpenBox) -> None:
    async with open_box() as box:
        writer = await box.sandbox.open_writer("file")
        await writer.write(b"new")
        await writer.commit()
        await writer.abort()
        assert await box.read("file") == b"new"


async def test_two_writers_do_not_mix(open_box: OpenBox) -> None:
    async with open_box() as box:
        one, two = await box.sandbox.open_writer("file"), await box.sandbox.open_writer("file")
        await one.write(b"1" * 10)
        await two.write(b"2" * 5)
        await one.commit()
        assert await box.read("file") == b"1" * 10
        await two.commit()
        assert await box.read("file") == b"2" * 5


async def test_commit_that_fails_leaves_nothing(open_box: OpenBox) -> None:
    async with open_box() as box:
        writer = await box.sandbox.open_writer("dir/file")
        await writer.write(b"new")
        assert (await box.shell("mkdir dir/file")).exit == Exit(0)
        with pytest.raises(FileAccessError):
            await writer.commit()
        await writer.abort()
        assert (await box.run("ls", "-A", "dir")).stdout == b"file\n"


async def test_reading_goes_on_after_the_file_is_gone(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", b"content")
        reader = await box.sandbox.open_reader("file")
        assert (await box.run("rm", "file")).exit == Exit(0)
        assert await reader.read(3) == b"con"
        assert await reader.read(100) == b"tent"
        assert await reader.read(100) == b""
        await reader.close()
        with pytest.raises(FileAccessError):
            _ = await reader.read(1)


async def test_cancelled_opening_leaks_no_descriptor(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", b"x")
        before = len(os.listdir("/proc/self/fd"))
        for open_file in (box.sandbox.open_reader, box.sandbox.open_writer):
            for _ in range(10):
                task = asyncio.create_task(open_file("file"))
                await asyncio.sleep(0)
                _ = task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    _ = await task
        assert await box.read("file") == b"x"
        assert len(os.listdir("/proc/self/fd")) == before


async def test_writer_after_death_of_the_sandbox(open_box: OpenBox) -> None:
    async with open_box() as box:
        writer = await box.sandbox.open_writer("file")
        await writer.write(b"x")
        await box.engine.destroy(box.sandbox.id)
        with pytest.raises(SandboxGoneError):
            await writer.commit()
        await writer.abort()


async def test_closing_while_a_thread_reads_or_writes(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", bytes(4 << 20))
        before = len(os.listdir("/proc/self/fd"))
        reader = await box.sandbox.open_reader("file")
        writer = await box.sandbox.open_writer("other")
        for work in (reader.read(1 << 20), writer.write(bytes(8 << 20))):
            task = asyncio.create_task(work)
            await asyncio.sleep(0)
            _ = task.cancel()
            with pytest.raises(asyncio.CancelledError):
                _ = await task
        await reader.close()
        await writer.abort()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
        assert await names(box) == [b"file"]


async def test_cancelled_commit_leaves_nothing_or_all(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", b"old")
        before = len(os.listdir("/proc/self/fd"))
        for turns in range(8):
            writer = await box.sandbox.open_writer("file")
            await writer.write(b"new")
            task = asyncio.create_task(writer.commit())
            for _ in range(turns):
                await asyncio.sleep(0)
            _ = task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await writer.abort()
            assert await box.read("file") in (b"old", b"new")
            assert await names(box) == [b"file"]
        await eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
