"""Files on their way in and out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandlot import (
    ConflictError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    SandlotError,
)
from tests.live.world import (
    Live,
    eventually,
    line_of,
    peak_memory,
    program,
    reset_peak_memory,
)

PASSWD = Path("/etc/passwd").read_bytes()


async def read(box: Any, path: str) -> bytes:
    return b"".join([piece async for piece in box.stream_download(path)])


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 8192], ids=["0", "1", "2 MiB"])
async def test_in_and_out(live: Live, data: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    _ = source.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    async with live.box() as box:
        await box.upload("a", data)
        await box.stream_upload("b", iter([data[:10], b"", data[10:]]))
        await box.upload_file("c", source)
        for path in ("a", "b", "c"):
            assert (await box.exec(["sha256sum", path])).stdout.split()[0] == digest
            assert await box.download(path) == data
            assert await read(box, path) == data
            await box.download_file(path, target)
            assert target.read_bytes() == data
        assert sorted((await box.exec("ls -A")).stdout.split()) == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_progress(live: Live, tmp_path: Path) -> None:
    data = b"x" * (3 << 20)
    _ = (tmp_path / "source").write_bytes(data)
    steps: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        steps.append((done, total))

    async with live.box() as box:
        for call, local in ((box.upload_file, "source"), (box.download_file, "target")):
            steps.clear()
            await call("file", tmp_path / local, progress=note)
            assert steps[-1] == (len(data), len(data))
            assert steps == sorted(steps)


async def test_asynchronous_pieces(live: Live) -> None:
    if live.colour.is_blocking:
        return  # there are none

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"%d\n" % number

    async with live.box() as box:
        await box.stream_upload("file", pieces())
        assert await box.download("file") == b"0\n1\n2\n"


async def test_paths(live: Live) -> None:
    async with live.box() as box:
        await box.upload("deep/er/file", b"1")
        assert await box.download("/home/user/deep/er/file") == b"1"
        assert await box.download("/workspace/deep/er/file") == b"1"
        await box.upload("deep/../other", b"2")
        assert await box.download("other") == b"2"
        # Upwards is where the sandbox has something to show, not the host.
        own = await box.download("../../../../../../etc/passwd")
        assert own == (await box.exec("cat /etc/passwd")).stdout_bytes
        assert own != PASSWD
        name = "é 漢?&#%2e\n'\"\\"
        await box.upload(name, b"3")
        assert await box.download(name) == b"3"
        assert f"{name}\n" in (await box.exec("ls -A")).stdout
        assert int((await box.exec("cat /proc/self/status | wc -c")).stdout) > 0
        assert b"Name:" in await box.download("/proc/self/status")


async def test_links_lead_nowhere_outside(live: Live) -> None:
    async with live.box() as box:
        _ = await box.exec("ln -s /root r; ln -s /etc/shadow s; ln -s target t; ln -s loop loop")
        for path in ("r/.bashrc", "s", "loop", "/proc/1/root/etc/shadow", "/proc/1/cwd/x"):
            with pytest.raises(SandlotError) as caught:
                _ = await box.download(path)
            assert caught.value.outcome == "not_started"
        await box.upload("t", b"through")
        assert await box.download("target") == b"through"


async def test_what_cannot_be_read(live: Live) -> None:
    async with live.box() as box:
        _ = await box.exec("mkdir dir; echo x > secret; chmod 0 secret; mkfifo fifo; mkdir -m 0 no")
        expected: list[tuple[str, type[SandlotError] | tuple[type[SandlotError], ...]]] = [
            ("missing", FileNotFoundInSandboxError),
            ("missing/file", FileNotFoundInSandboxError),
            ("secret", PermissionDeniedError),
            ("no/file", PermissionDeniedError),
            ("/proc/1/environ", PermissionDeniedError),
            ("dir", SandlotError),
            ("fifo", SandlotError),
            ("/dev/zero", SandlotError),
            ("secret/under", SandlotError),
            ("x" * 300, SandlotError),
            ("x/" * 3000, SandlotError),
        ]
        for path, kind in expected:
            for reading in (box.download(path), read(box, path)):
                with pytest.raises(kind) as caught:
                    _ = await reading
                assert caught.value.outcome == "not_started", path
                assert not isinstance(caught.value, ConflictError)
        with pytest.raises(FileNotFoundError):
            _ = await box.download("missing")
        with pytest.raises(PermissionError):
            _ = await box.download("secret")
        assert (await box.exec("true")).ok


async def test_what_cannot_be_written(live: Live, tmp_path: Path) -> None:
    async with live.box() as box:
        _ = await box.exec("mkdir dir; echo x > file; mkfifo fifo; mkdir -m 500 locked")
        paths = [
            "dir",
            ".",
            "/",
            "file/under",
            "locked/x",
            "/usr/x",
            "/x",
            "/proc/x",
            "dir/",
            "fifo",
        ]
        for path in [*paths, "/proc/1/mem", "x" * 300, "/dev/null/x", "/sys/x"]:
            for writing in (box.upload(path, b"1"), box.stream_upload(path, [b"1"])):
                with pytest.raises(SandlotError) as caught:
                    await writing
                assert caught.value.outcome == "not_started", path
        assert (await box.exec("ls -A . dir locked | sort | tr '\\n' ' '")).stdout.split() == [
            *(".:", "dir", "dir:", "fifo", "file", "locked", "locked:")
        ]
        with pytest.raises(FileNotFoundError):
            await box.upload_file("x", tmp_path / "missing")
        with pytest.raises(FileNotFoundInSandboxError):
            await box.download_file("missing", tmp_path / "target")
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", None, b"bytes"])
async def test_what_is_no_path_is_not_sent(live: Live, path: Any) -> None:
    async with live.box() as box:
        for call in (box.upload(path, b""), box.download(path), box.stream_upload(path, [b""])):
            with pytest.raises(InvalidArgumentError):
                _ = await call
        with pytest.raises(InvalidArgumentError):
            _ = await read(box, path)
        for data in ("text", None, 5):
            with pytest.raises(InvalidArgumentError):
                await box.upload("file", data)


async def test_a_file_keeps_its_mode_and_is_the_users(live: Live) -> None:
    async with live.box() as box:
        await box.upload("new", b"")
        assert (await box.exec("stat -c %U new; test -w new")).stdout == "user\n"
        _ = await box.exec("echo 'echo old' > tool; chmod 750 tool")
        await box.upload("tool", b"#!/bin/sh\necho new\n")
        assert (await box.exec("./tool; stat -c %a tool")).stdout == "new\n750\n"


async def test_pieces_that_end_with_an_exception(live: Live) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x" * (1 << 20)
        raise ZeroDivisionError("the source is broken")

    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("file", b"old")
        with pytest.raises(ZeroDivisionError, match="the source is broken"):
            await box.stream_upload("file", pieces())
        await eventually(lambda: only(box, "file"))
        assert await box.download("file") == b"old"
        with pytest.raises(InvalidArgumentError):
            await box.stream_upload("file", ["text"])
        await eventually(lambda: only(box, "file"))
        assert await box.download("file") == b"old"
        assert (await client.health()).status == "ok"


async def only(box: Any, name: str) -> bool:
    return bool((await box.exec("ls -A")).stdout == f"{name}\n")


UPLOADER = """
    import sys, time
    from sandlot import Client

    def pieces():
        while True:
            for _ in range(32):
                yield b"x" * (1 << 20)
            print("under way", flush=True)
            sys.stdin.readline()

    client = Client(sys.argv[1], base_url=sys.argv[2])
    client.sandboxes.get(sys.argv[3]).stream_upload("file", pieces())
"""


async def test_an_uploader_that_is_killed(live: Live) -> None:
    if not live.colour.is_blocking:
        return  # to the server both are the same
    async with live.box() as box:
        await box.upload("file", b"old")
        with program(UPLOADER, live.server.api_key, live.server.base_url, box.id) as process:
            assert await line_of(process) == "under way"
            process.send_signal(signal.SIGKILL)
        await eventually(lambda: only(box, "file"))
        assert await box.download("file") == b"old"


async def test_a_full_disk(live: Live) -> None:
    async with live.box(disk_mb=1) as box:
        await box.upload("file", b"old")
        for writing in (
            box.upload("file", b"x" * (2 << 20)),
            box.stream_upload("file", (b"x" * (1 << 20) for _ in range(8))),
        ):
            with pytest.raises(SandlotError) as caught:
                await writing
            assert "507" in str(caught.value) or "413" in str(caught.value)
        await eventually(lambda: only(box, "file"))
        assert await box.download("file") == b"old"


async def test_leaving_a_download_early(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        _ = await box.exec("head -c 50000000 /dev/zero > big")
        pieces = box.stream_download("big")
        assert len(await anext(aiter(pieces))) > 0
        await pieces.aclose()
        assert (await client.health()).status == "ok"
        with pytest.raises(NotFoundError):
            _ = await box.download("missing")


CHECK = """
blank = bytes((1 << 20) - 8)
with open('big', 'rb') as file:
    for number in range(1024):
        assert file.read(1 << 20) == number.to_bytes(8, 'big') + blank, number
    assert not file.read()
"""


async def test_one_gibibyte_in_flat_memory(live: Live) -> None:
    size, limit = 1 << 30, 64 << 20
    blank = bytes((1 << 20) - 8)

    def pieces() -> Iterator[bytes]:
        for number in range(1024):
            yield number.to_bytes(8, "big") + blank

    async with live.box(template="base-python", disk_mb=2048) as box:
        _ = await box.exec("true")
        pids = {"client": os.getpid(), "server": live.server.pid}
        for child in psutil.Process(live.server.pid).children(recursive=True):
            pids[f"zygote or agent {child.pid}"] = child.pid
        idle = {name: reset_peak_memory(pid) for name, pid in pids.items()}
        await box.stream_upload("big", pieces())
        _ = await box.exec(["python3", "-c", CHECK], timeout_sec=60, check=True)
        expected, ahead, received = pieces(), b"", 0
        async for piece in box.stream_download("big"):
            received += len(piece)
            while len(ahead) < len(piece):
                ahead += next(expected, b"too much")
            assert ahead.startswith(piece)
            ahead = ahead[len(piece) :]
        assert (received, ahead) == (size, b"")
        received = 0
        async for event in box.exec_stream(["cat", "big"]):
            received += len(getattr(event, "data_bytes", b""))
        assert received == size
        for name, pid in pids.items():
            assert peak_memory(pid) - idle[name] < limit, name
