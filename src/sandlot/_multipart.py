"""Multipart bodies (RFC 7578), made while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any
from uuid import uuid4

from ._flow import Upload
from ._operations.arguments import is_bytes
from .errors import InvalidArgumentError

_PIECE = 256 << 10
"""Bytes handed to the network at a time: larger ones make it copy what is left again and again."""


class Multipart:
    """The body of an upload."""

    def __init__(self, upload: Upload) -> None:
        boundary = uuid4().hex
        label, name = upload.fields
        # The path comes first: an original server skips a file that precedes it (wrenn: 4.3).
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{label}"\r\n\r\n'
            f"{upload.path}\r\n"
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode(errors="surrogateescape")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._content = upload.content
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if upload.size is not None:
            length = len(self._head) + upload.size + len(self._tail)
            self.headers["Content-Length"] = str(length)

    def whole(self) -> bytes | None:
        """Return the body in one piece, if it is small and at hand."""
        if isinstance(self._content, bytes) and len(self._content) <= _PIECE:
            return b"".join([self._head, self._content, self._tail])
        return None

    def pieces(self) -> Iterator[bytes]:
        """Make the body."""
        yield self._head
        if not isinstance(self._content, Iterable):
            raise InvalidArgumentError("an asynchronous stream needs an AsyncClient")
        for data in [self._content] if isinstance(self._content, bytes) else self._content:
            yield from _cut(data)
        yield self._tail

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """Make the body."""
        yield self._head
        if isinstance(self._content, bytes):
            for piece in _cut(self._content):
                yield piece
        elif isinstance(self._content, AsyncIterable):
            async for data in self._content:
                for piece in _cut(data):
                    yield piece
        else:
            for data in self._content:
                for piece in _cut(data):
                    yield piece
        yield self._tail


def _cut(data: Any) -> Iterator[bytes]:
    if not is_bytes(data):
        raise InvalidArgumentError(
            f"stream must give pieces of bytes, not {type(data).__name__}; the upload was broken"
            " off, and the file in the sandbox is as it was"
        )
    if len(data) <= _PIECE:
        if data:
            yield bytes(data)
        return
    view = memoryview(data).cast("B")
    for start in range(0, len(view), _PIECE):
        yield bytes(view[start : start + _PIECE])
