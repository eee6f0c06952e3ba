"""Operations that move files."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from .._flow import Flow, Request, Response, Upload, execute, send
from ..errors import (
    AgentError,
    APIError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    NotFoundError,
    TransportError,
)
from . import arguments, sandboxes

_TRANSFER_TIMEOUT = 60.0
"""Seconds without progress after which a transfer is given up."""


def write(sandbox_id: str, path: str, data: bytes) -> Flow[None]:
    """Write a small file."""
    where = sandboxes.at(sandbox_id, "files/write")
    if not arguments.is_bytes(data):
        raise InvalidArgumentError(f"data must be bytes, not {type(data).__name__}")
    upload = Upload(arguments.file_path(path), bytes(data), len(data))
    return execute(Request("POST", where, upload=upload, timeout=_TRANSFER_TIMEOUT))


def stream_write(
    sandbox_id: str,
    path: str,
    stream: bytes | Iterable[bytes] | AsyncIterable[bytes],
    size: int | None = None,
) -> Flow[None]:
    """Write a file of any size."""
    where = sandboxes.at(sandbox_id, "files/stream/write")
    if arguments.is_bytes(stream):
        upload = Upload(arguments.file_path(path), bytes(stream), len(stream))
    elif arguments.is_stream(stream):
        upload = Upload(arguments.file_path(path), stream, size)
    else:
        raise InvalidArgumentError(
            f"stream must give pieces of bytes; it is {type(stream).__name__}"
        )
    return execute(Request("POST", where, upload=upload, timeout=_TRANSFER_TIMEOUT))


def read(sandbox_id: str, path: str) -> Flow[bytes]:
    """Read a small file."""
    response = yield from find(sandbox_id, path, _reading(sandbox_id, path, "files/read"))
    return response.content


def open_read(sandbox_id: str, path: str) -> Flow[None]:
    """Open a file of any size; its bytes are left to who performs this."""
    request = _reading(sandbox_id, path, "files/stream/read", stream=True)
    _ = yield from find(sandbox_id, path, request)


def confirm_empty(sandbox_id: str, path: str) -> Flow[None]:
    """Make sure that a file which arrived without a byte is empty.

    An original server answers 200 with an empty body for a file that is missing (wrenn: its errors
    come after the status is sent); the other way of reading tells.
    """
    if (yield from read(sandbox_id, path)):
        raise TransportError(
            f"{path}: the transfer broke off before its first byte", is_retryable=True
        )


def _reading(sandbox_id: str, path: str, how: str, *, stream: bool = False) -> Request:
    return Request(
        "POST",
        sandboxes.at(sandbox_id, how),
        arguments.path_fields(path),
        harmless=True,
        stream=stream,
        timeout=_TRANSFER_TIMEOUT,
    )


def find(sandbox_id: str, path: str, request: Request) -> Flow[Response]:
    """Send a request about a file; that there is none is an error of its own."""
    try:
        return (yield from send(request))
    except NotFoundError as exc:
        # The same code for a missing file and a missing sandbox: look which of them it is.
        yield from sandboxes.get(sandbox_id)
        raise _missing(path, exc) from exc
    except AgentError as exc:
        # An original server answers 502 for a missing file; only its text tells.
        text = exc.message.lower()
        if "status 404" in text or "no such file" in text or "not found" in text:
            raise _missing(path, exc) from exc
        raise


def _missing(path: str, cause: APIError) -> FileNotFoundInSandboxError:
    return FileNotFoundInSandboxError(
        f"There is no {path!r} in the sandbox",
        code="not_found",
        status_code=404,
        request_id=cause.request_id,
    )
