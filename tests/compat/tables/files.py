"""Files."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from sandlot import (
    AgentError,
    ConflictError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant

BINARY = bytes(range(256)) * 300


async def small(tenant: Tenant) -> None:
    box = await tenant.box()
    for path in ("a/b", "~/a/b", "/root/a/b"):
        await box.upload(path, BINARY)
        assert await box.download("a/b") == BINARY
    await box.upload("empty", b"")
    assert await box.download("empty") == b""


async def large(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.stream_upload("a", [BINARY, b"", BINARY])
    pieces = [piece async for piece in box.stream_download("a")]
    assert b"".join(pieces) == BINARY * 2
    await box.stream_upload("empty", [])
    assert [piece async for piece in box.stream_download("empty")] == []


async def local(tenant: Tenant) -> None:
    box = await tenant.box()
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        for content in (BINARY, b""):
            await asyncio.to_thread(source.write_bytes, content)
            await box.upload_file("a", source)
            await box.download_file("a", target)
            assert await asyncio.to_thread(target.read_bytes) == content


async def download_missing(tenant: Tenant, how: str) -> None:
    box = await tenant.box()
    if how == "download":
        _ = await box.download("nope")
    elif how == "stream_download":
        async for _ in box.stream_download("nope"):
            raise AssertionError
    else:
        with tempfile.TemporaryDirectory() as directory:
            try:
                await box.download_file("nope", Path(directory, "target"))
            finally:
                assert await asyncio.to_thread(os.listdir, directory) == []


async def of_a_directory(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.upload("a/b", b"")
    _ = await box.download("a")


async def onto_a_directory(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.upload("a/b", b"")
    await box.stream_upload("a", [b"x"])


async def paused(tenant: Tenant) -> None:
    box = await tenant.box()
    _ = await box.pause()
    await box.upload("a", b"")


async def without(tenant: Tenant, what: str, call: Any) -> None:
    box = await tenant.box()
    setattr(tenant.capsule(box), what, what != "has_host")
    await call(box)


async def streamed(box: Any) -> None:
    async for _ in box.stream_download("a"):
        raise AssertionError


async def too_large(tenant: Tenant) -> None:
    # original server: 1.10, more than this in one body is refused by its length.
    await (await tenant.box()).upload("a", bytes(104_857_600))


async def by_name(tenant: Tenant) -> None:
    files = (await tenant.box()).files
    await files.write("a", "t\xebxt")
    assert await files.read("a") == b"t\xc3\xabxt"
    assert await files.read_text("a") == "t\xebxt"
    await files.write_many({"b": b"1", "c/d": "2"})
    assert [await files.read(path) for path in ("b", "c/d")] == [b"1", b"2"]


ROWS: list[Row] = [
    Works("sandbox.files files.read files.read_text files.write files.write_many", by_name),
    Works("sandbox.upload sandbox.download", small),
    Works("sandbox.stream_upload sandbox.stream_download", large),
    Works("sandbox.upload_file sandbox.download_file", local),
    *(
        Fails(
            f"sandbox.{how}",
            "there is none",
            lambda t, how=how: download_missing(t, how),
            FileNotFoundInSandboxError,
            "not_found",
        )
        for how in ("download", "stream_download", "download_file")
    ),
    Fails("sandbox.download", "a directory", of_a_directory, AgentError, "agent_error"),
    Fails("sandbox.stream_upload", "a directory", onto_a_directory, AgentError, "agent_error"),
    Fails("sandbox.upload", "paused", paused, ConflictError, "invalid_state"),
    Fails("sandbox.upload", "too large", too_large, TooLargeError, "too_large"),
    Fails(
        "sandbox.upload",
        "no host",
        lambda t: without(t, "has_host", lambda box: box.upload("a", b"")),
        UnavailableError,
        "host_unavailable",
    ),
    Fails(
        "sandbox.stream_download",
        "no host",
        lambda t: without(t, "has_host", streamed),
        UnavailableError,
        "host_unavailable",
    ),
    Fails(
        "sandbox.upload",
        "frozen",
        lambda t: without(t, "is_frozen_by_agent", lambda box: box.upload("a", b"")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "sandbox.upload",
        "no path",
        lambda t: without(t, "has_host", lambda box: box.upload("", b"")),
        InvalidArgumentError,
        sends=False,
    ),
]
