"""Tar archives that sandboxes made, on their way to a directory of this machine.

What a sandbox sends is hostile: it may name any path, link to anything and never end. Nothing is
written but below the directory. Every level of that is entered through a descriptor of the one
above, without following links, so it does not matter what is there already, what the archive put
there, or what others do meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from ..errors import TooLargeError, TransportError, UnexpectedResponseError, UnsupportedError

__all__ = ["Limits", "Unpacking"]

_BLOCK = 512
_LONGEST = 1 << 20
"""Bytes of a header; the longest path has 4096."""
_DEEPEST = 1000
_LAST_TIME = 1 << 40
_FILE, _HARD_LINK, _LINK, _DIRECTORY = b"0", b"1", b"2", b"5"
_PAX, _GLOBAL = b"x", b"g"
_IMPOSSIBLE = (errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""How systems refuse names, and what would replace a directory."""
_ENTER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may bring.

    Attributes:
        bytes: Of the contents of files.
        files: Files, directories and links.
    """

    bytes: int
    files: int


@dataclass(slots=True)
class _Member:
    name: str
    kind: bytes
    size: int
    mode: int
    modified_at: int
    link: str


class Unpacking:
    """Writes an archive that comes in pieces below a directory, which the first of them makes.

    Each file appears whole or not at all, and takes the place of what has its name, unless that is
    a directory. Those who may write are the owner only; the bits for other identities (set-user-id
    and the like) are taken away.
    """

    def __init__(self, target: Path, limits: Limits) -> None:
        if os.open not in os.supports_dir_fd:
            raise UnsupportedError("Directories can be downloaded on POSIX systems only")
        self._limits = limits
        self._bytes = 0
        self._files = 0
        self._target = target
        self._top = -1
        self._steps = self._work()
        self._wanted = next(self._steps)
        self._buffer = bytearray()
        self.complete = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._steps.close()  # removes the file that is being written
        if self._top >= 0:
            os.close(self._top)

    def feed(self, piece: bytes) -> None:
        """Take a piece of the archive.

        Raises:
            UnexpectedResponseError: It is damaged, or would write elsewhere.
            TooLargeError: There is more than may be.
        """
        if self._top < 0:
            self._target.mkdir(parents=True, exist_ok=True)
            self._top = os.open(self._target, _ENTER & ~getattr(os, "O_NOFOLLOW", 0))
        if self.complete:
            return  # what fills the last record
        self._buffer += piece
        start = 0
        view = memoryview(bytes(self._buffer))
        try:
            while len(view) - start >= self._wanted:
                data, start = view[start : start + self._wanted], start + self._wanted
                self._wanted = self._steps.send(data)
        except StopIteration:
            self.complete = True
        del self._buffer[:start]

    def finish(self) -> None:
        """Make sure that the archive was whole.

        Raises:
            TransportError: It was not.
        """
        if not self.complete:
            raise TransportError(
                "The transfer broke off: some of the directory is missing", outcome="finished"
            )

    def _work(self) -> Generator[int, memoryview, None]:
        """Say how many bytes come next, and do with them what the archive says."""
        records: dict[str, str] = {}
        while True:
            block = yield _BLOCK
            if not any(block):
                return
            member = _parse(bytes(block))
            if member.kind in (_PAX, _GLOBAL):
                if member.size > _LONGEST:
                    raise _damaged("a header is too long")
                data = yield member.size + -member.size % _BLOCK
                if member.kind == _PAX:
                    records = dict(_records(bytes(data[: member.size])))
                continue
            _amend(member, records)
            records = {}
            self._count(member)
            try:
                yield from self._put(member)
            except OSError as exc:
                if exc.errno not in _IMPOSSIBLE:
                    raise  # this machine's own trouble
                raise _hostile(member.name, f"cannot be written: {exc.strerror}") from exc

    def _count(self, member: _Member) -> None:
        self._files += 1
        self._bytes += member.size
        if self._files > self._limits.files or self._bytes > self._limits.bytes:
            raise TooLargeError(
                f"The directory has more than {self._limits.files} files or"
                f" {self._limits.bytes} bytes: see max_files and max_bytes",
                code="too_large",
                status_code=413,
            )

    def _put(self, member: _Member) -> Generator[int, memoryview, None]:
        parts = _parts(member.name)
        if not parts:
            return
        if member.kind == _DIRECTORY:
            os.close(self._enter(parts))
            return
        directory = self._enter(parts[:-1])
        part = f".{uuid4().hex}.part"
        try:
            if member.kind == _FILE:
                yield from _write(directory, part, member)
            elif member.kind == _LINK:
                _check_link(parts, member)
                os.symlink(member.link, part, dir_fd=directory)
            else:
                self._link(member, directory, part)
            os.replace(part, parts[-1], src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            # After the renaming it is gone, unless both were the same file (rename(2)).
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=directory)
            os.close(directory)

    def _link(self, member: _Member, directory: int, part: str) -> None:
        """Give a file that came before another name."""
        parts = _parts(member.link)
        if not parts:
            raise _hostile(member.name, "is a link to nothing")
        source = self._enter(parts[:-1], make=False)
        try:
            os.link(parts[-1], part, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as exc:
            raise _hostile(member.name, f"is a link to nothing: {exc.strerror}") from exc
        finally:
            os.close(source)

    def _enter(self, parts: list[str], *, make: bool = True) -> int:
        """Return a descriptor of a directory below the target."""
        fd = os.dup(self._top)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=fd)
                below = os.open(part, _ENTER, dir_fd=fd)
                os.close(fd)
                fd = below
        except NotADirectoryError as exc:
            os.close(fd)
            raise _hostile("/".join(parts), "leads through a link or a file") from exc
        except BaseException:
            os.close(fd)
            raise
        return fd


def _write(directory: int, part: str, member: _Member) -> Generator[int, memoryview, None]:
    fd = os.open(part, _NEW, 0o600, dir_fd=directory)
    try:
        left = member.size
        while left:
            size = min(left, 1 << 16)
            rest = yield size
            left -= size
            while rest:
                rest = rest[os.write(fd, rest) :]
        _ = yield -member.size % _BLOCK
        os.fchmod(fd, member.mode & 0o755 | 0o600)
        os.utime(fd, (member.modified_at, member.modified_at))
    finally:
        os.close(fd)


def _parts(name: str) -> list[str]:
    if name.startswith("/") or "\0" in name:
        raise _hostile(name, "is no relative path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or len(parts) > _DEEPEST:
        raise _hostile(name, "leads out of the directory, or too deep")
    return parts


def _check_link(parts: list[str], member: _Member) -> None:
    """Refuse links that lead out, for those who will follow them."""
    level = len(parts) - 1
    for part in member.link.split("/"):
        level += {"..": -1, "": 0, ".": 0}.get(part, 1)
        if level < 0 or member.link.startswith("/") or "\0" in member.link:
            raise _hostile(member.name, "is a link that leads out of the directory")
    if not member.link:
        raise _hostile(member.name, "is a link to nothing")


def _parse(block: bytes) -> _Member:
    from tarfile import HeaderError, TarInfo  # slow to import

    try:
        info = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except HeaderError as exc:
        raise _damaged(str(exc)) from exc
    kind = _FILE if info.type in (b"\0", b"7") else info.type
    if kind not in (_FILE, _HARD_LINK, _LINK, _DIRECTORY, _PAX, _GLOBAL):
        raise _hostile(info.name, "is neither a file nor a directory nor a link")
    if info.size < 0:
        raise _hostile(info.name, "has an impossible size")
    return _Member(info.name, kind, info.size, info.mode, int(info.mtime), info.linkname)


def _amend(member: _Member, records: dict[str, str]) -> None:
    """Use what the header before it says of a member (pax(1), "Extended Header Keywords")."""
    if any(name.startswith("GNU.sparse") for name in records):
        raise _hostile(member.name, "is neither a file nor a directory nor a link")
    member.name = records.get("path", member.name)
    member.link = records.get("linkpath", member.link)
    try:
        member.size = int(records.get("size", member.size))
        member.modified_at = int(float(records.get("mtime", member.modified_at)))
    except (ValueError, OverflowError) as exc:
        raise _damaged("a number is none") from exc
    if member.size < 0 or (member.size and member.kind != _FILE):
        raise _hostile(member.name, "has an impossible size")
    if abs(member.modified_at) >= _LAST_TIME:
        raise _hostile(member.name, "has an impossible time")


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    while data.rstrip(b"\0"):
        head, _, _ = data.partition(b" ")
        if not head.isdigit() or len(head) > len(str(_LONGEST)):
            raise _damaged("a header makes no sense")
        length = int(head)
        record, rest = data[len(head) + 1 : length], data[length:]
        name, equals, value = record.partition(b"=")
        if not len(head) + 1 < length <= len(data) or not equals or not value.endswith(b"\n"):
            raise _damaged("a header makes no sense")
        data = rest
        yield name.decode(errors="replace"), value[:-1].decode(errors="surrogateescape")


def _damaged(what: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(f"The archive is damaged: {what}", outcome="finished")


def _hostile(name: str, what: str) -> UnexpectedResponseError:
    shown = name.encode(errors="replace").decode()[:200]
    return UnexpectedResponseError(
        f"The archive was refused, {shown!r} {what}; what came before that has been written",
        outcome="finished",
    )
