"""Files of sandboxes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sandlot.server.engine.base import FileReader, FileWriter

from .errors import AgentError, InvalidRequestError
from .live import LiveSandbox
from .problems import engine_errors

__all__ = ["Download", "Upload", "check_path", "open_download", "open_upload"]

PIECE = 256 << 10
"""Bytes that are moved at a time."""


class Download:
    """A file that is being read."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self.size = reader.size

    async def read(self) -> bytes:
        """Return the next piece; nothing at the end."""
        with engine_errors():
            return await self._reader.read(PIECE)


class Upload:
    """A file that is being written; it appears with `commit`."""

    def __init__(self, writer: FileWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Append to the new content."""
        with engine_errors():
            await self._writer.write(data)

    async def commit(self) -> None:
        """Put the new content in place."""
        with engine_errors():
            await self._writer.commit()


@asynccontextmanager
async def open_download(live: LiveSandbox, path: str) -> AsyncGenerator[Download]:
    """Open a file for reading for as long as the block lasts."""
    check_path(path)
    with live.active():
        live.require("running")
        with engine_errors():
            reader = await live.handle.open_reader(path)
        try:
            yield Download(reader)
        finally:
            await reader.close()


@asynccontextmanager
async def open_upload(live: LiveSandbox, path: str) -> AsyncGenerator[Upload]:
    """Prepare to replace a file; without a `commit` in the block nothing comes of it."""
    check_path(path)
    with live.active():
        live.require("running")
        with engine_errors():
            writer = await live.handle.open_writer(path)
        try:
            yield Upload(writer)
        finally:
            with engine_errors(AgentError):
                await writer.abort()


def check_path(path: str) -> None:
    """Check that a text can be a path.

    Raises:
        InvalidRequestError: It cannot.
    """
    if not path:
        raise InvalidRequestError("path: must not be empty.")
    if "\0" in path:
        raise InvalidRequestError("path: must not contain NUL characters.")
