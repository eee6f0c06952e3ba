"""From a form to a file in a sandbox, a piece at a time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import IO

from starlette.requests import Request

from sandlot.server.services.errors import InvalidRequestError, NoSpaceError, TooLargeError
from sandlot.server.services.files import PIECE, Upload, open_upload
from sandlot.server.services.live import LiveSandbox

from .context import held
from .multipart import FormParser

__all__ = ["receive_file"]

_MAX_PATH = 4096 * 4

Opening = Callable[[LiveSandbox, str], AbstractAsyncContextManager[Upload]]


async def receive_file(
    request: Request, live: LiveSandbox, limit: int | None, opening: Opening = open_upload
) -> None:
    """Write the file of a request.

    Args:
        request: A form with `file`, and `path` there or in the query.
        live: Where the file goes.
        limit: Largest size of the body.
        opening: Opens what takes it there.
    """
    with held(request):
        await _receive(request, live, limit, opening)


async def _receive(
    request: Request, live: LiveSandbox, limit: int | None, opening: Opening
) -> None:
    parser = FormParser(request.headers.get("content-type"))
    async with AsyncExitStack() as stack:
        receiver = _Receiver(live, stack, request.query_params.get("path"), opening)
        async for data in _body(request, limit):
            for piece in parser.feed(data):
                if piece.name == "file":
                    await receiver.take_file(piece.kind, piece.data)
                elif piece.name == "path":
                    receiver.take_path(piece.kind, piece.data)
        parser.finish()
        await receiver.finish()


class _Receiver:
    """Puts the parts of a form together, whatever their order."""

    def __init__(
        self, live: LiveSandbox, stack: AsyncExitStack, path: str | None, opening: Opening
    ) -> None:
        self._live = live
        self._opening = opening
        self._stack = stack
        self._path = path or None
        self._path_part = bytearray()
        self._upload: Upload | None = None
        self._spool: IO[bytes] | None = None
        self._begun = False

    def take_path(self, kind: str, data: bytes) -> None:
        """Take something of the part `path`."""
        self._path_part += data
        if len(self._path_part) > _MAX_PATH:
            raise InvalidRequestError("path: is too long.")
        if kind == "end" and self._path is None:
            self._path = self._path_part.decode(errors="surrogateescape")

    async def take_file(self, kind: str, data: bytes) -> None:
        """Take something of the part `file`."""
        if kind == "begin":
            if self._begun:
                raise InvalidRequestError("file: came twice.")
            self._begun = True
            if self._path is None:
                # Where it goes is only told later: it waits in a file that nobody else can see.
                self._spool = self._stack.enter_context(_spool())
            else:
                _ = await self._open(self._path)
        elif kind == "data":
            await self._write(data)

    async def finish(self) -> None:
        """Put the file in place."""
        if not self._begun:
            raise InvalidRequestError("file: is missing.")
        if self._path is None:
            raise InvalidRequestError("path: is missing.")
        upload = self._upload or await self._open(self._path)
        if self._spool is not None:
            _ = self._spool.seek(0)
            while piece := await asyncio.to_thread(self._spool.read, PIECE):
                await upload.write(piece)
        await upload.commit()

    async def _open(self, path: str) -> Upload:
        self._upload = await self._stack.enter_async_context(self._opening(self._live, path))
        return self._upload

    async def _write(self, data: bytes) -> None:
        if self._upload is not None:
            await self._upload.write(data)
        elif self._spool is not None:
            # No file in the sandbox can be larger, so neither need this one.
            if self._spool.tell() + len(data) > self._live.record.disk_mb << 20:
                raise NoSpaceError("The file is larger than the sandbox's disk_mb allows.")
            _ = await asyncio.to_thread(self._spool.write, data)


async def _body(request: Request, limit: int | None) -> AsyncGenerator[bytes]:
    """Return the pieces of the body.

    Raises:
        TooLargeError: It is larger than `limit`.
    """
    length = request.headers.get("content-length", "")
    received = 0
    if limit is not None and length.isdecimal() and int(length) > limit:
        raise TooLargeError(_too_large(limit))
    async for data in request.stream():
        received += len(data)
        if limit is not None and received > limit:
            raise TooLargeError(_too_large(limit))
        yield data


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit} bytes: use files/stream/write."


@contextmanager
def _spool() -> Generator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file
