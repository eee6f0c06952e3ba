"""Moving files in pieces, so that memory stays flat whatever their size."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import IO, TypeAlias
from uuid import uuid4

from .._archives.packing import pack
from .._archives.unpacking import Limits, Unpacking
from .._operations import files, trees
from .._transport import AsyncTransport, Transport

__all__ = ["Progress"]

_PIECE = 1 << 20

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes moved so far, and how many there are, if that is known."""
LocalPath: TypeAlias = str | os.PathLike[str]


def stream_download(transport: Transport, sandbox_id: str, path: str) -> Iterator[bytes]:
    """Read a file piece by piece."""
    began = False
    with transport.stream(files.open_read(sandbox_id, path)) as incoming:
        for piece in incoming:
            began = True
            yield piece
    if not began and incoming.length is None:
        transport.run(files.confirm_empty(sandbox_id, path))


async def async_stream_download(
    transport: AsyncTransport, sandbox_id: str, path: str
) -> AsyncIterator[bytes]:
    """Read a file piece by piece."""
    began = False
    async with transport.stream(files.open_read(sandbox_id, path)) as incoming:
        async for piece in incoming:
            began = True
            yield piece
    if not began and incoming.length is None:
        await transport.run(files.confirm_empty(sandbox_id, path))


def upload_file(
    transport: Transport, sandbox_id: str, path: str, source: LocalPath, progress: Progress | None
) -> None:
    """Write a file of this machine into the sandbox."""
    with Path(source).open("rb") as file:
        size = _size(file)
        pieces = _pieces(file, size, progress)
        transport.run(files.stream_write(sandbox_id, path, pieces, size))


async def async_upload_file(
    transport: AsyncTransport,
    sandbox_id: str,
    path: str,
    source: LocalPath,
    progress: Progress | None,
) -> None:
    """Write a file of this machine into the sandbox."""
    from asyncio import to_thread

    with await to_thread(Path(source).open, "rb") as file:
        size = _size(file)
        pieces = _async_pieces(file, size, progress)
        await transport.run(files.stream_write(sandbox_id, path, pieces, size))


def download_file(
    transport: Transport, sandbox_id: str, path: str, target: LocalPath, progress: Progress | None
) -> None:
    """Write a file of the sandbox to this machine: all of it or nothing."""
    with (
        _whole(Path(target)) as file,
        transport.stream(files.open_read(sandbox_id, path)) as incoming,
    ):
        done = 0
        for piece in incoming:
            _ = file.write(piece)
            done += len(piece)
            if progress is not None:
                _ = progress(done, incoming.length)
        if done == 0 and incoming.length is None:
            transport.run(files.confirm_empty(sandbox_id, path))


async def async_download_file(
    transport: AsyncTransport,
    sandbox_id: str,
    path: str,
    target: LocalPath,
    progress: Progress | None,
) -> None:
    """Write a file of the sandbox to this machine: all of it or nothing."""
    from asyncio import to_thread

    with _whole(Path(target)) as file:
        async with transport.stream(files.open_read(sandbox_id, path)) as incoming:
            done = 0
            async for piece in incoming:
                _ = await to_thread(file.write, piece)
                done += len(piece)
                if progress is not None:
                    _ = progress(done, incoming.length)
            if done == 0 and incoming.length is None:
                await transport.run(files.confirm_empty(sandbox_id, path))


def upload_dir(
    transport: Transport, sandbox_id: str, path: str, source: LocalPath, progress: Progress | None
) -> None:
    """Write what is in a directory of this machine into the sandbox."""
    pieces = _packed(pack(Path(source)), progress)
    transport.run(trees.extract(transport.server, sandbox_id, path, pieces))


async def async_upload_dir(
    transport: AsyncTransport,
    sandbox_id: str,
    path: str,
    source: LocalPath,
    progress: Progress | None,
) -> None:
    """Write what is in a directory of this machine into the sandbox."""
    pieces = _async_packed(pack(Path(source)), progress)
    await transport.run(trees.extract(transport.server, sandbox_id, path, pieces))


def download_dir(
    transport: Transport,
    sandbox_id: str,
    path: str,
    target: LocalPath,
    limits: Limits,
    progress: Progress | None,
) -> None:
    """Write what is in a directory of the sandbox to this machine."""
    opening = trees.open_archive(transport.server, sandbox_id, path)
    with (
        Unpacking(Path(target), limits) as unpacking,
        transport.stream(opening) as incoming,
    ):
        done = 0
        for piece in incoming:
            unpacking.feed(piece)
            done += len(piece)
            if progress is not None:
                _ = progress(done, None)
        unpacking.finish()


async def async_download_dir(
    transport: AsyncTransport,
    sandbox_id: str,
    path: str,
    target: LocalPath,
    limits: Limits,
    progress: Progress | None,
) -> None:
    """Write what is in a directory of the sandbox to this machine."""
    from asyncio import to_thread

    opening = trees.open_archive(transport.server, sandbox_id, path)
    with Unpacking(Path(target), limits) as unpacking:
        async with transport.stream(opening) as incoming:
            done = 0
            async for piece in incoming:
                await to_thread(unpacking.feed, piece)
                done += len(piece)
                if progress is not None:
                    _ = progress(done, None)
            unpacking.finish()


def _packed(archive: Iterator[bytes], progress: Progress | None) -> Iterator[bytes]:
    done = 0
    while piece := next(archive, b""):
        yield piece
        done += len(piece)
        if progress is not None:
            _ = progress(done, None)


async def _async_packed(
    archive: Iterator[bytes], progress: Progress | None
) -> AsyncIterator[bytes]:
    from asyncio import to_thread

    done = 0
    while piece := await to_thread(next, archive, b""):
        yield piece
        done += len(piece)
        if progress is not None:
            _ = progress(done, None)


def _pieces(file: IO[bytes], size: int | None, progress: Progress | None) -> Iterator[bytes]:
    done = 0
    while piece := file.read(_PIECE):
        yield piece
        done += len(piece)
        if progress is not None:
            _ = progress(done, size)


async def _async_pieces(
    file: IO[bytes], size: int | None, progress: Progress | None
) -> AsyncIterator[bytes]:
    from asyncio import to_thread

    done = 0
    while piece := await to_thread(file.read, _PIECE):
        yield piece
        done += len(piece)
        if progress is not None:
            _ = progress(done, size)


def _size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextlib.contextmanager
def _whole(target: Path) -> Generator[IO[bytes]]:
    """Open a file that takes the target's place when it is complete, and vanishes otherwise."""
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            yield file
        _ = part.replace(target)
    finally:
        part.unlink(missing_ok=True)
