"""Requests for builds: JSON, or a form with the JSON and an archive."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.requests import Request

from sandlot.models import CreateBuildRequest
from sandlot.server.options import Options
from sandlot.server.services.archives import rewrite
from sandlot.server.services.errors import InvalidRequestError, TooLargeError

from .bodies import parse_json, read_json
from .context import held
from .multipart import FormParser

__all__ = ["Archive", "receive_build"]

_ROOM = 1 << 20
"""Bytes that a form may have beside the archive."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The clean form of an archive that was sent, and a digest of what is in it."""

    path: Path
    digest: str


@asynccontextmanager
async def receive_build(
    request: Request, options: Options, place: Path
) -> AsyncGenerator[tuple[CreateBuildRequest, Archive | None]]:
    """Receive what is to be built; files that nobody moves away are gone after the block."""
    kind = request.headers.get("content-type", "")
    if not kind.strip().lower().startswith("multipart/"):
        yield await read_json(request, CreateBuildRequest, options.max_json_bytes), None
        return
    with tempfile.TemporaryDirectory(prefix="incoming-", dir=place) as directory:
        sent, clean = Path(directory, "sent"), Path(directory, "clean")
        with await asyncio.to_thread(sent.open, "xb") as file:
            form = _Form(request, file, options.max_build_archive_bytes)
            await form.receive()
        body = parse_json(bytes(form.config), CreateBuildRequest)
        archive = None
        if form.has_archive:
            reserve = options.disk_reserve_mb << 20
            archive = Archive(clean, await asyncio.to_thread(rewrite, sent, clean, reserve))
        await asyncio.to_thread(sent.unlink)
        yield body, archive


class _Form:
    """A form on its way in."""

    def __init__(self, request: Request, file: IO[bytes], limit: int) -> None:
        self._request = request
        self._parser = FormParser(request.headers.get("content-type"))
        self._file = file
        self._limit = limit
        self._received = 0
        self.config = bytearray()
        self.has_archive = False

    async def receive(self) -> None:
        """Receive all of it."""
        length = self._request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit + _ROOM:
            raise self._too_large()
        begun = set[str]()
        with held(self._request, begun=False):
            async for data in self._request.stream():
                for piece in self._parser.feed(data):
                    if piece.kind == "begin":
                        if piece.name in begun:
                            raise InvalidRequestError(f"{piece.name[:100]}: came twice.")
                        begun.add(piece.name)
                    elif piece.kind == "data":
                        await self._take(piece.name, piece.data)
        self._parser.finish()
        if "config" not in begun:
            raise InvalidRequestError("config: is missing.")
        self.has_archive = "archive" in begun and self._received > 0

    async def _take(self, name: str, data: bytes) -> None:
        if name == "config":
            self.config += data
            if len(self.config) > _ROOM:
                raise TooLargeError(f"config: is larger than {_ROOM} bytes.")
        elif name == "archive":
            self._received += len(data)
            if self._received > self._limit:
                raise self._too_large()
            _ = await asyncio.to_thread(self._file.write, data)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"archive: is larger than {self._limit} bytes.")
