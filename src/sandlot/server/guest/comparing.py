"""How a home differs from what it was: two trees, and hints where to look.

Both are shown by the kernel, so that what hides what in layers is its business alone. Layers say
only which names to look at, and too many of those are no harm. The present tree may be hostile and
change meanwhile: everything is opened by single names, without following links, and what is not as
expected counts as different.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Generator, Iterator

from .copying import is_opaque

__all__ = ["Comparison"]

_BATCH = 200
_DEPTH = 512
_CONTENT = 1 << 30  # bytes that are read at most to tell whether they differ
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Row = dict[str, object]


class Comparison:
    """Compares two trees, within bounds.

    Args:
        most: How many differences are told.
        seconds: How long it may take.

    Attributes:
        truncated: Whether there may be more than was told.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._room = most
        self._deadline = time.monotonic() + seconds
        self._content = _CONTENT
        self.truncated = False

    def batches(self, base: int, current: int, layers: list[int] | None) -> Iterator[list[Row]]:
        """Yield differences: path, kind, type and size of each.

        Args:
            base: Descriptor of the tree as it was.
            current: Descriptor of the tree as it is.
            layers: Descriptors of directories that between them have all names that may differ;
                None if every name may.
        """
        batch: list[Row] = []
        for row in self._walk("", base, current, layers, _DEPTH):
            batch.append(row)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _walk(
        self,
        prefix: str,
        base: int | None,
        current: int | None,
        layers: list[int] | None,
        depth: int,
    ) -> Iterator[Row]:
        for name in sorted(_names(base, current, layers)):
            old, new = _look(base, name), _look(current, name)
            if old is None and new is None:
                continue
            if self._room <= 0 or time.monotonic() > self._deadline:
                self.truncated = True
                return
            path = f"{prefix}{name}"
            shown = new or old
            kind = self._kind(base, current, name, old, new)
            if kind is not None and shown is not None:
                self._room -= 1
                size = 0 if _is_dir(shown) else shown.st_size
                yield {"path": path, "kind": kind, "type": _type(shown), "size": size}
            if not (_is_dir(old) or _is_dir(new)):
                continue
            if not depth:
                self.truncated = True
                continue
            with contextlib.ExitStack() as stack:
                try:
                    old_fd = _enter(stack, base, name) if _is_dir(old) else None
                    new_fd = _enter(stack, current, name) if _is_dir(new) else None
                    both = old_fd is not None and new_fd is not None
                    below = _enter_layers(stack, layers, name) if both else None
                except OSError:
                    self.truncated = True
                    continue
                yield from self._walk(f"{path}/", old_fd, new_fd, below, depth - 1)

    def _kind(
        self,
        base: int | None,
        current: int | None,
        name: str,
        old: os.stat_result | None,
        new: os.stat_result | None,
    ) -> str | None:
        if old is None:
            return "added"
        if new is None:
            return "deleted"
        if old.st_mode != new.st_mode:
            return "modified"
        if stat.S_ISLNK(new.st_mode):
            return "modified" if _target(base, name) != _target(current, name) else None
        if not stat.S_ISREG(new.st_mode):
            return None
        if old.st_size != new.st_size:
            return "modified"
        # The same file, untouched: nobody inside can set the time of the last change of an inode.
        if (old.st_ino, old.st_mtime_ns, old.st_ctime_ns) == (
            new.st_ino,
            new.st_mtime_ns,
            new.st_ctime_ns,
        ):
            return None
        return None if self._is_same(base, current, name) else "modified"

    def _is_same(self, base: int | None, current: int | None, name: str) -> bool:
        """Whether two files have the same content; false if that would take too long to tell."""
        try:
            with _open_file(base, name) as old, _open_file(current, name) as new:
                while self._content > 0 and time.monotonic() < self._deadline:
                    left, right = os.read(old, _PIECE), os.read(new, _PIECE)
                    if left != right:
                        return False
                    if not left:
                        return True
                    self._content -= len(left)
        except OSError:
            return False
        return False


def _names(base: int | None, current: int | None, layers: list[int] | None) -> set[str]:
    if layers is not None:
        return {name for layer in layers for name in os.listdir(layer)}
    return {name for fd in (base, current) if fd is not None for name in os.listdir(fd)}


def _look(directory: int | None, name: str) -> os.stat_result | None:
    if directory is None:
        return None
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _target(directory: int | None, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _is_dir(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def _type(status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(status.st_mode) else "other"


def _enter(stack: contextlib.ExitStack, directory: int | None, name: str) -> int:
    fd = os.open(name, _DIRECTORY, dir_fd=directory)
    _ = stack.callback(os.close, fd)
    return fd


def _enter_layers(
    stack: contextlib.ExitStack, layers: list[int] | None, name: str
) -> list[int] | None:
    """Return a directory in all layers that have it; None if one of them hides what is below."""
    if layers is None:
        return None
    found: list[int] = []
    for layer in layers:
        status = _look(layer, name)
        if status is None:
            continue
        if not _is_dir(status):
            return None
        fd = _enter(stack, layer, name)
        if is_opaque(fd):
            return None
        found.append(fd)
    return found


@contextlib.contextmanager
def _open_file(directory: int | None, name: str) -> Generator[int]:
    fd = os.open(name, _FILE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, "no regular file")
        yield fd
    finally:
        os.close(fd)
