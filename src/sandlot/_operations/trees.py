"""Operations on files and directories, besides their contents."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from .. import models
from .._flow import Flow, Request, Server, Upload, decode, send
from ..errors import (
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    UnexpectedResponseError,
)
from . import arguments, files, meta, sandboxes

_FEATURE = "files.tree"
_WHAT = "listing and changing directories"
_TIMEOUT = 615.0
"""Seconds to wait for an answer: the server gives up after 600, and its answer is the truer one."""
_TRANSFER_TIMEOUT = 60.0
"""Seconds without progress after which a transfer is given up."""
_MODES = 0o7777
_DEEPEST = 2**31 - 1


def stat(server: Server, sandbox_id: str, path: str) -> Flow[models.FileEntry]:
    """Ask what is at a path."""
    return _entry(server, sandbox_id, "stat", path, arguments.path_fields(path), harmless=True)


def exists(server: Server, sandbox_id: str, path: str) -> Flow[bool]:
    """Ask whether there is anything at a path."""
    try:
        _ = yield from stat(server, sandbox_id, path)
    except FileNotFoundInSandboxError:
        return False
    return True


def list_entries(
    server: Server, sandbox_id: str, path: str, depth: int
) -> Flow[list[models.FileEntry]]:
    """Ask what is in a directory."""
    number = arguments.whole(depth, "depth")
    if number is None or not 1 <= number <= _DEEPEST:
        raise InvalidArgumentError(f"depth must be 1 or more: {depth!r:.100}")
    body = {**arguments.path_fields(path), "depth": number}
    request = Request("POST", _at(sandbox_id, "list"), body, harmless=True, timeout=_TIMEOUT)
    yield from meta.require(server, _WHAT, _FEATURE)
    response = yield from files.find(sandbox_id, path, request)
    return [_exact(entry) for entry in decode(models.ListFilesResponse, request, response).entries]


def make_directory(server: Server, sandbox_id: str, path: str) -> Flow[models.FileEntry]:
    """Make a directory."""
    return _entry(server, sandbox_id, "mkdir", path, arguments.path_fields(path))


def remove(server: Server, sandbox_id: str, path: str) -> Flow[None]:
    """Remove a file, or a directory with all that is in it."""
    body = arguments.path_fields(path)
    request = Request("POST", _at(sandbox_id, "remove"), body, timeout=_TIMEOUT)
    yield from meta.require(server, _WHAT, _FEATURE)
    _ = yield from files.find(sandbox_id, path, request)


def move(
    server: Server, sandbox_id: str, source: str, destination: str, *, overwrite: bool
) -> Flow[models.FileEntry]:
    """Give something another path."""
    body = _transfer(source, destination, overwrite)
    return _entry(server, sandbox_id, "move", source, body)


def copy(
    server: Server, sandbox_id: str, source: str, destination: str, *, overwrite: bool
) -> Flow[models.FileEntry]:
    """Copy something."""
    body = _transfer(source, destination, overwrite)
    return _entry(server, sandbox_id, "copy", source, body)


def change_mode(server: Server, sandbox_id: str, path: str, mode: int) -> Flow[models.FileEntry]:
    """Change the permission bits of a file or directory."""
    bits = arguments.whole(mode, "mode")
    if bits is None or bits > _MODES:
        raise InvalidArgumentError(f"mode must be 0 to 0o7777: {mode!r:.100}")
    body = {**arguments.path_fields(path), "mode": bits}
    return _entry(server, sandbox_id, "chmod", path, body, harmless=True)


def read_text(sandbox_id: str, path: str, encoding: str) -> Flow[str]:
    """Read a small file that is text."""
    data = yield from files.read(sandbox_id, path)
    try:
        return data.decode(encoding)
    except LookupError as exc:
        raise InvalidArgumentError(f"there is no encoding {encoding!r}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidArgumentError(f"{path!r} is not {encoding}: read() returns its bytes") from exc


def write(sandbox_id: str, path: str, data: str | bytes) -> Flow[None]:
    """Write a small file; text is written as UTF-8."""
    return files.write(sandbox_id, path, _content(data))


def write_many(sandbox_id: str, contents: Mapping[str, str | bytes]) -> Flow[None]:
    """Write small files, one after the other."""
    writing = [write(sandbox_id, path, data) for path, data in contents.items()]
    for flow in writing:  # all have been checked before the first is sent
        yield from flow


def open_archive(server: Server, sandbox_id: str, path: str) -> Flow[None]:
    """Open a directory as an archive; its bytes are left to who performs this."""
    request = Request(
        "POST",
        _at(sandbox_id, "archive"),
        arguments.path_fields(path),
        harmless=True,
        stream=True,
        timeout=_TRANSFER_TIMEOUT,
    )
    yield from meta.require(server, "the transfer of directories", "files.archive")
    _ = yield from files.find(sandbox_id, path, request)


def extract(
    server: Server, sandbox_id: str, path: str, archive: Iterable[bytes] | AsyncIterable[bytes]
) -> Flow[None]:
    """Write what an archive has below a directory."""
    upload = Upload(arguments.file_path(path), archive)
    where = _at(sandbox_id, "extract")
    yield from meta.require(server, "the transfer of directories", "files.archive")
    _ = yield from send(Request("POST", where, upload=upload, timeout=_TRANSFER_TIMEOUT))


def _entry(
    server: Server,
    sandbox_id: str,
    how: str,
    path: str,
    body: dict[str, Any],
    *,
    harmless: bool = False,
) -> Flow[models.FileEntry]:
    where = _at(sandbox_id, how)
    request = Request("POST", where, body, harmless=harmless, timeout=_TIMEOUT)
    yield from meta.require(server, _WHAT, _FEATURE)
    response = yield from files.find(sandbox_id, path, request)
    return _exact(decode(models.FileEntryResponse, request, response).entry)


def _at(sandbox_id: str, how: str) -> str:
    return sandboxes.at(sandbox_id, f"files/{how}")


def _transfer(source: str, destination: str, overwrite: bool) -> dict[str, Any]:
    ends = arguments.path_fields(source, "source")
    ends |= arguments.path_fields(destination, "destination")
    return {**ends, "overwrite": overwrite}


def _exact(entry: models.FileEntry) -> models.FileEntry:
    """Return an entry whose path and name are what they are, whatever bytes that be."""
    if entry.path_base64 is None:
        return entry
    try:
        path = b64decode(entry.path_base64, validate=True).decode(errors="surrogateescape")
    except ValueError as exc:
        raise UnexpectedResponseError(
            "the answer does not match the contract: path_base64 is not base64", outcome="finished"
        ) from exc
    return entry.model_copy(update={"path": path, "name": path.rpartition("/")[2]})


def _content(data: Any) -> bytes:
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgumentError(f"data is not valid Unicode: {exc.reason}") from exc
    if arguments.is_bytes(data):
        return bytes(data)
    raise InvalidArgumentError(f"data must be str or bytes, not {type(data).__name__}")
