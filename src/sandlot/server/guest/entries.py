"""What there is to say of files of a sandbox, found out inside of it.

Links are not followed, except for what they lead to: the contract tells of a link the type and the
mode of its target.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from .files import absolute

__all__ = ["Describer", "list_entries", "location"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES = 1 << 20
"""Bytes of /etc/passwd and /etc/group that are read."""
_LETTERS = {
    stat.S_IFREG: "-",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "L",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "S",
    stat.S_IFBLK: "D",
    stat.S_IFCHR: "D",
}
"""As the original server writes them: Go's `fs.FileMode`, not `ls`."""


def location(home: str, path: str) -> str:
    """Return where something is, without following it should it be a link itself."""
    parent, name = os.path.split(absolute(home, path).rstrip("/") or "/")
    if name in ("", ".", ".."):
        return os.path.realpath(os.path.join(parent, name))
    return os.path.join(os.path.realpath(parent), name)


class Describer:
    """Says what files are; names of users are looked up once."""

    def __init__(self) -> None:
        self._users = _names("/etc/passwd")
        self._groups = _names("/etc/group")

    def describe(self, path: str) -> dict[str, object]:
        """Return an entry of the contract (`FileEntry`).

        Raises:
            OSError: There is nothing at the path.
        """
        status = os.lstat(path)
        shown: os.stat_result | None = status
        entry: dict[str, object] = {}
        if stat.S_ISLNK(status.st_mode):
            entry["symlink_target"] = os.path.realpath(path)
            try:
                shown = os.stat(path)
            except OSError:
                shown = None
        mode = status.st_mode
        entry["path"] = path
        entry["name"] = os.path.basename(path) or "/"
        entry["type"] = _type(shown)
        entry["mode"] = 0 if shown is None else stat.S_IMODE(shown.st_mode)
        entry["size"] = status.st_size
        entry["permissions"] = _LETTERS.get(stat.S_IFMT(mode), "?") + _bits(mode)
        entry["owner"] = self._users.get(status.st_uid, str(status.st_uid))
        entry["group"] = self._groups.get(status.st_gid, str(status.st_gid))
        entry["modified_at"] = int(status.st_mtime)
        return entry


def list_entries(top: str, depth: int, most: int) -> Iterator[dict[str, object]]:
    """Return what is in a directory, down to some depth: parents first, by name.

    What vanishes meanwhile is left out; directories that may not be read are told without what is
    in them.

    Args:
        top: The directory; it may be a link to one.
        depth: Levels, at least 1.
        most: How many entries there may be.

    Raises:
        OSError: It cannot be read, or there are more (E2BIG).
    """
    describer = Describer()
    real = os.path.realpath(top)
    if not stat.S_ISDIR(os.stat(real).st_mode):
        raise OSError(errno.EINVAL, "not a directory")
    pending = [(path, 1) for path in _below(real, most)]
    done = 0
    while pending:
        path, level = pending.pop()
        try:
            entry = describer.describe(path)
            is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            continue
        yield entry
        done += 1
        if is_directory and level < depth:
            try:
                below = _below(path, most - done - len(pending))
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
            pending += [(path, level + 1) for path in below]


def _below(directory: str, most: int) -> list[str]:
    """Return the paths of what is in a directory, last first."""
    names: list[str] = []
    fd = os.open(directory, _DIRECTORY)
    try:
        with os.scandir(fd) as found:
            for item in found:
                if len(names) >= most:
                    raise OSError(errno.E2BIG, "there are too many files to list at once")
                names.append(item.name)
    finally:
        os.close(fd)
    names.sort(reverse=True)
    return [os.path.join(directory, name) for name in names]


def _type(status: os.stat_result | None) -> str:
    if status is not None and stat.S_ISREG(status.st_mode):
        return "file"
    if status is not None and stat.S_ISDIR(status.st_mode):
        return "directory"
    return "unknown"


def _bits(mode: int) -> str:
    return "".join(
        letter if mode & (0o400 >> index) else "-" for index, letter in enumerate("rwxrwxrwx")
    )


def _names(path: str) -> dict[int, str]:
    """Read names of users or groups; the C library would load modules for it."""
    names: dict[int, str] = {}
    try:
        with open(path, "rb") as file:
            lines = file.read(_NAMES).decode(errors="replace").splitlines()
    except OSError:
        return names
    for line in lines:
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            _ = names.setdefault(int(fields[2]), fields[0])
    return names
