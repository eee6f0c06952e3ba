"""Directories of a sandbox as tar archives, in and out, inside of it.

Only the tree below one directory is read and written: every level is entered through a descriptor
of the one above, and links are never followed. Memory does not grow with the size of a tree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from . import tar
from .files import absolute
from .opening import opened
from .tar import Member, TarError

__all__ = ["extract", "pack"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 256 * 1024
_DEEPEST = 1000
"""Levels; each takes a descriptor."""


def pack(home: str, path: str, out: BinaryIO) -> None:
    """Write what is in a directory as an archive; sockets, pipes and devices are left out.

    Raises:
        OSError: It is no directory, or something in it cannot be read.
    """
    top = os.open(absolute(home, path), _DIRECTORY & ~os.O_NOFOLLOW)
    packer = _Packer(out)
    try:
        packer.directory(top, b"", 0)
    except OSError as error:
        error.filename = packer.trouble
        raise
    _ = out.write(tar.END)


class _Packer:
    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._links: dict[tuple[int, int], bytes] = {}
        self.trouble: bytes | None = None

    def directory(self, fd: int, prefix: bytes, level: int) -> None:
        """Write what is in a directory, by name."""
        if level > _DEEPEST:
            raise OSError(errno.ENAMETOOLONG, "directories are too deep")
        for text in sorted(os.listdir(fd)):
            name = prefix + os.fsencode(text)
            try:
                self._entry(fd, text, name, level)
            except FileNotFoundError:
                continue  # it has gone meanwhile
            except OSError:
                self.trouble = self.trouble or name
                raise

    def _entry(self, directory: int, text: str, name: bytes, level: int) -> None:
        status = os.stat(text, dir_fd=directory, follow_symlinks=False)
        mode = status.st_mode
        member = Member(name, tar.FILE, mode=mode & 0o7777, modified_at=int(status.st_mtime))
        if stat.S_ISDIR(mode):
            with opened(text, _DIRECTORY, directory) as fd:
                member.name, member.kind = name + b"/", tar.DIRECTORY
                _ = self._out.write(tar.write_header(member))
                self.directory(fd, member.name, level + 1)
        elif stat.S_ISLNK(mode):
            member.kind = tar.SYMBOLIC_LINK
            member.link = os.fsencode(os.readlink(text, dir_fd=directory))
            _ = self._out.write(tar.write_header(member))
        elif stat.S_ISREG(mode):
            if status.st_nlink > 1:
                member.link = self._links.setdefault((status.st_dev, status.st_ino), name)
                if member.link != name:
                    member.kind = tar.HARD_LINK
                    _ = self._out.write(tar.write_header(member))
                    return
                member.link = b""
            with opened(text, _FILE, directory) as fd:
                self._file(fd, member)

    def _file(self, fd: int, member: Member) -> None:
        """Write a file as large as it is at the beginning, whatever becomes of it meanwhile."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        member.size = left = status.st_size
        _ = self._out.write(tar.write_header(member))
        while left:
            piece = os.read(fd, min(left, _PIECE))
            if not piece:
                raise OSError(errno.EIO, "became shorter while it was read")
            _ = self._out.write(piece)
            left -= len(piece)
        _ = self._out.write(bytes(tar.padding(member.size)))


def extract(home: str, path: str, source: BinaryIO) -> None:
    """Write what an archive has below a directory, which is made if it is not there.

    Each file appears whole or not at all; what is there of the same name is replaced, unless it is
    a directory. What the archive has been read of before an error stays.

    Raises:
        TarError: The archive is damaged, or has something that would end up elsewhere.
        OSError: Something cannot be written.
    """
    place = absolute(home, path)
    try:
        os.makedirs(place, exist_ok=True)
    except FileExistsError:
        raise OSError(errno.EINVAL, "there is a file of this name") from None
    top = os.open(place, _DIRECTORY & ~os.O_NOFOLLOW)
    while (member := tar.read_member(source.read)) is not None:
        try:
            _extract(top, member, source.read)
        except OSError as error:
            error.filename = member.name
            raise
    while source.read(_PIECE):
        continue  # whoever sends this is not to be cut off


def _extract(top: int, member: Member, read: Callable[[int], bytes]) -> None:
    parts = _parts(member.name)
    if not parts:
        return  # the directory itself
    if member.kind == tar.DIRECTORY:
        os.close(_enter(top, parts))
        return
    directory = _enter(top, parts[:-1])
    try:
        part = f".{os.urandom(12).hex()}.part"
        try:
            if member.kind == tar.FILE:
                with opened(part, _NEW, directory, 0o600) as fd:
                    _write(fd, member, read)
            elif member.kind == tar.SYMBOLIC_LINK:
                _check_link(parts, member)
                os.symlink(member.link, part, dir_fd=directory)
            else:
                _link(top, member, directory, part)
            os.rename(part, parts[-1], src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            # After the renaming it is gone, unless both were the same file (rename(2)).
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=directory)
    finally:
        os.close(directory)


def _write(fd: int, member: Member, read: Callable[[int], bytes]) -> None:
    left = member.size
    while left:
        piece = read(min(left, _PIECE))
        if not piece:
            raise TarError("the archive breaks off")
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]
        left -= len(piece)
    _ = read(tar.padding(member.size))
    os.fchmod(fd, member.mode & 0o777)
    os.utime(fd, (member.modified_at, member.modified_at))


def _link(top: int, member: Member, directory: int, part: str) -> None:
    parts = _parts(member.link)
    if not parts:
        raise TarError(f"{_show(member.name)}: a link to nothing")
    source = _enter(top, parts[:-1], make=False)
    try:
        os.link(parts[-1], part, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(source)


def _parts(name: bytes) -> list[bytes]:
    """Return the names that a path consists of.

    Raises:
        TarError: It does not stay below where it begins.
    """
    if name.startswith(b"/") or b"\0" in name:
        raise TarError(f"{_show(name)}: is no relative path")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise TarError(f"{_show(name)}: leads out of the directory")
    if len(parts) > _DEEPEST:
        raise TarError(f"{_show(name[:100])}...: is too deep")
    return parts


def _check_link(parts: list[bytes], member: Member) -> None:
    """Refuse links that lead out, as far as they can be read: nothing here follows them."""
    level = len(parts) - 1
    if member.link.startswith(b"/") or not member.link or b"\0" in member.link:
        raise TarError(f"{_show(member.name)}: a link that leads out of the directory")
    for part in member.link.split(b"/"):
        if part == b"..":
            level -= 1
        elif part not in (b"", b"."):
            level += 1
        if level < 0:
            raise TarError(f"{_show(member.name)}: a link that leads out of the directory")


def _enter(top: int, parts: list[bytes], *, make: bool = True) -> int:
    """Return a descriptor of a directory below another, made if it is not there."""
    fd = os.dup(top)
    try:
        for part in parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)
            try:
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            except NotADirectoryError:
                raise TarError(f"{_show(part)}: is a link or a file, not a directory") from None
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def _show(name: bytes) -> str:
    return name.decode(errors="replace")
