"""Directories of this machine as tar archives, made while they are sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import InvalidArgumentError

__all__ = ["pack"]

_PIECE = 256 << 10
"""Bytes of a piece, so that many small files do not become many small pieces."""
_BLOCK = 512


def pack(source: Path) -> Iterator[bytes]:
    """Return what is in a directory as an archive, in pieces.

    Links are kept as links; sockets, pipes and devices are left out.

    Raises:
        InvalidArgumentError: It is no directory, something in it cannot be read, or a link leads
            out of it, which is not the same in a sandbox.
    """
    if not source.is_dir():
        raise InvalidArgumentError(f"{source} is not a directory")
    return _gathered(_members(source))


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        if len(buffer) >= _PIECE:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + bytes(2 * _BLOCK)


def _members(top: Path) -> Iterator[bytes]:
    pending = [top]
    while pending:
        path = pending.pop()
        name = path.relative_to(top).as_posix()
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) or path == top:
                if path != top:
                    yield _header(name, b"5", status)
                pending += sorted(path.iterdir(), reverse=True)
            elif stat.S_ISLNK(status.st_mode):
                yield _header(name, b"2", status, link=_inner(top, path))
            elif stat.S_ISREG(status.st_mode):
                yield from _file(path, name)
        except FileNotFoundError:
            continue  # it has gone meanwhile
        except OSError as exc:
            raise InvalidArgumentError(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _file(path: Path, name: str) -> Iterator[bytes]:
    """Return a file as large as it is at the beginning, whatever becomes of it meanwhile."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        yield _header(name, b"0", status, size=status.st_size)
        left = status.st_size
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise InvalidArgumentError(f"{path} became shorter while it was read")
            yield piece
            left -= len(piece)
        yield bytes(-status.st_size % _BLOCK)


def _inner(top: Path, path: Path) -> str:
    """Return where a link leads, if that is below the directory, as far as can be read."""
    link = os.readlink(path)
    level = len(path.relative_to(top).parts) - 1
    for part in link.split("/"):
        level += {"..": -1, "": 0, ".": 0}.get(part, 1)
        if level < 0 or link.startswith("/"):
            raise InvalidArgumentError(f"{path} is a link that leads out of {top}, to {link}")
    return link


def _header(
    name: str, kind: bytes, status: os.stat_result, *, size: int = 0, link: str = ""
) -> bytes:
    from tarfile import PAX_FORMAT, TarInfo  # slow to import

    member = TarInfo(name)
    member.type = kind
    member.size = size
    member.linkname = link
    member.mode = status.st_mode & 0o777
    member.mtime = int(status.st_mtime)
    return member.tobuf(PAX_FORMAT, "utf-8", "surrogateescape")
