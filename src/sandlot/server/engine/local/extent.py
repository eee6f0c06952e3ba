"""How much a directory tree takes, counted exactly whatever hostile code put into it.

Names may be anything, directories may be nested deeper than paths can be long and be closed to
their owner, files may be sparse, linked many times, or moved while they are counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Extent", "measure"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # of st_blocks, whatever the file system's own (stat(3type))


@dataclass(frozen=True, slots=True)
class Extent:
    """What a tree takes.

    Attributes:
        size: Bytes allocated, directories included; a file of several names counts once.
        files: Files of any kind.
        exact: Whether nothing was closed to the reader or moved away from under it.
    """

    size: int
    files: int
    exact: bool = True


def measure(directory: Path, *, most_files: int, by_force: bool = False) -> Extent:
    """Count a tree.

    One descriptor is open at a time, so that the depth is of no account: the way back leads through
    `..`, which is checked to be where one came from.

    Args:
        directory: Its root; itself not counted.
        most_files: Give up after so many files.
        by_force: Whether to open, for the moment, directories that are closed to their owner. Only
            while nothing runs that could see it.
    """
    try:
        top = os.open(directory, _DIRECTORY)
    except OSError:
        return Extent(0, 0, exact=False)
    count = _Count(most_files, by_force)
    count.walk(top)
    return Extent(count.size, count.files, count.exact)


@dataclass(slots=True)
class _Level:
    """A directory on the way from the root: who it is, what is still to be entered, its mode."""

    identity: tuple[int, int]
    waiting: list[str]
    restore: Callable[[], None] | None


class _Count:
    def __init__(self, most_files: int, by_force: bool) -> None:
        self._most_files = most_files
        self._by_force = by_force
        self._linked: set[tuple[int, int]] = set()
        self.size = 0
        self.files = 0
        self.exact = True

    def walk(self, fd: int) -> None:
        """Count everything below a directory, whose descriptor is taken over."""
        levels = [_Level(_identity(fd), self._scan(fd), None)]
        try:
            while self.files <= self._most_files:
                level = levels[-1]
                if level.waiting:
                    entered = self._enter(fd, level.waiting.pop())
                    if entered is not None:
                        os.close(fd)
                        fd, restore = entered
                        levels.append(_Level(_identity(fd), self._scan(fd), restore))
                    continue
                if len(levels) == 1:
                    return
                up = os.open("..", _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = up
                _leave(levels.pop())
                if _identity(fd) != levels[-1].identity:  # it was moved meanwhile
                    self.exact = False
                    return
        except OSError:
            self.exact = False
        finally:
            os.close(fd)
            for level in reversed(levels):
                _leave(level)

    def _scan(self, fd: int) -> list[str]:
        """Count the entries of a directory; return those that are directories."""
        directories: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed meanwhile
                except OSError:
                    self.exact = False
                    continue
                if self._add(found):
                    directories.append(entry.name)
                if self.files > self._most_files:
                    break
        return directories

    def _add(self, found: os.stat_result) -> bool:
        """Count a file; return whether it is a directory."""
        if stat.S_ISDIR(found.st_mode):
            self.files += 1
            self.size += found.st_blocks * _BLOCK
            return True
        if found.st_nlink > 1:
            identity = (found.st_dev, found.st_ino)
            if identity in self._linked:
                return False
            self._linked.add(identity)
        self.files += 1
        self.size += found.st_blocks * _BLOCK
        return False

    def _enter(self, parent: int, name: str) -> tuple[int, Callable[[], None] | None] | None:
        """Open a directory; return its descriptor and how to undo what that took."""
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            if os.access(".", os.X_OK, dir_fd=fd):
                return fd, None
            os.close(fd)
        except FileNotFoundError:
            return None
        except OSError:
            pass
        if not self._by_force:
            self.exact = False
            return None
        return self._break_in(parent, name)

    def _break_in(self, parent: int, name: str) -> tuple[int, Callable[[], None]] | None:
        """Open a directory that its owner, the caller, has closed to itself."""
        try:
            handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except OSError:
            self.exact = False
            return None
        path = f"/proc/self/fd/{handle}"  # needs no rights on it but to own it
        mode = stat.S_IMODE(os.fstat(handle).st_mode)

        def restore() -> None:
            try:
                os.chmod(path, mode)
            finally:
                os.close(handle)

        try:
            os.chmod(path, mode | 0o700)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), restore
        except OSError:
            self.exact = False
            restore()
            return None


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _leave(level: _Level) -> None:
    if level.restore is not None:
        restore, level.restore = level.restore, None
        restore()
