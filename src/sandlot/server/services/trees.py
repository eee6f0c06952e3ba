"""Files and directories of sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from sandlot.server.engine.base import FileEntry, FileTree

from .errors import AgentError, GatewayTimeoutError, InvalidRequestError
from .files import Download, Upload, check_path
from .live import LiveSandbox
from .problems import engine_errors

__all__ = [
    "change_mode",
    "copy",
    "list_entries",
    "make_directory",
    "move",
    "open_archive",
    "open_extraction",
    "remove",
    "stat",
]

MOST_ENTRIES = 10_000
"""Entries of a list; what has more is listed a part at a time."""
_DEEPEST = 1 << 31
_PATIENCE = 600.0
"""Seconds in which a tree is listed, copied or removed; the original server allows as many."""
_MODES = 0o7777

_T = TypeVar("_T")


async def stat(live: LiveSandbox, path: str) -> FileEntry:
    """Tell what is at a path."""
    return await _ask(live, lambda tree: tree.stat(path), path)


async def list_entries(live: LiveSandbox, path: str, depth: int) -> Sequence[FileEntry]:
    """Tell what is in a directory, down to some depth; 0 is taken for 1 (wrenn: 4.5)."""
    if not 0 <= depth < _DEEPEST:
        raise InvalidRequestError("depth: must be 0 or more.")
    return await _ask(live, lambda tree: tree.list(path, depth or 1, MOST_ENTRIES), path)


async def make_directory(live: LiveSandbox, path: str) -> FileEntry:
    """Make a directory and its parents."""
    return await _ask(live, lambda tree: tree.make_directory(path), path)


async def remove(live: LiveSandbox, path: str) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    await _ask(live, lambda tree: tree.remove(path), path)


async def move(live: LiveSandbox, source: str, destination: str, *, overwrite: bool) -> FileEntry:
    """Give something another path."""
    return await _ask(
        live,
        lambda tree: tree.move(source, destination, overwrite=overwrite),
        source,
        destination,
    )


async def copy(live: LiveSandbox, source: str, destination: str, *, overwrite: bool) -> FileEntry:
    """Copy something."""
    return await _ask(
        live,
        lambda tree: tree.copy(source, destination, overwrite=overwrite),
        source,
        destination,
    )


async def change_mode(live: LiveSandbox, path: str, mode: int) -> FileEntry:
    """Change the permission bits of a file or directory."""
    if not 0 <= mode <= _MODES:
        raise InvalidRequestError("mode: must be 0 to 4095 (0o7777).")
    return await _ask(live, lambda tree: tree.change_mode(path, mode), path)


@asynccontextmanager
async def open_archive(live: LiveSandbox, path: str) -> AsyncGenerator[Download]:
    """Have what is in a directory as a tar archive for as long as the block lasts."""
    check_path(path)
    with live.active():
        live.require("running")
        with engine_errors():
            reader = await live.handle.tree.pack(path)
        try:
            yield Download(reader)
        finally:
            with engine_errors(AgentError):
                await reader.close()


@asynccontextmanager
async def open_extraction(live: LiveSandbox, path: str) -> AsyncGenerator[Upload]:
    """Have the content of a tar archive written below a directory."""
    check_path(path)
    with live.active():
        live.require("running")
        with engine_errors():
            writer = await live.handle.tree.extract(path)
        try:
            yield Upload(writer)
        finally:
            with engine_errors(AgentError):
                await writer.abort()


async def _ask(live: LiveSandbox, work: Callable[[FileTree], Awaitable[_T]], *paths: str) -> _T:
    for path in paths:
        check_path(path)
    with live.active():
        live.require("running")
        try:
            with engine_errors():
                async with asyncio.timeout(_PATIENCE):
                    return await work(live.handle.tree)
        except TimeoutError as error:
            raise GatewayTimeoutError(
                f"This took longer than {_PATIENCE:.0f} seconds and was ended; some of it is done."
            ) from error
