"""Making, removing, moving and copying files and whole directories, inside of a sandbox.

This has the rights of the sandbox's user in the sandbox's root, and no more: what is done wrong
here by chance or by a race with what runs beside it harms nobody else. Where there are no walls
that root is the host's, so nothing is removed or replaced there but what is in the home directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator

from . import copying, removal
from .entries import location
from .files import absolute
from .opening import opened

__all__ = ["Trees"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Trees:
    """The files of a sandbox, to be changed.

    Args:
        home: Where relative paths start.
        walls: Whether the root is the sandbox's own.
    """

    def __init__(self, home: str, *, walls: bool) -> None:
        self._home = home
        self._walls = walls

    def make_directory(self, path: str) -> str:
        """Make a directory and its parents; return where it is."""
        place = absolute(self._home, path)
        try:
            os.makedirs(place)
        except FileExistsError:
            if os.path.isdir(place):
                raise OSError(errno.EEXIST, "there is such a directory already") from None
            raise OSError(errno.EINVAL, "there is a file of this name") from None
        return location(self._home, path)

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        place = location(self._home, path)
        _ = os.lstat(place)
        self._check_removable(place)
        removal.remove_tree(place)

    def move(self, source: str, destination: str, *, overwrite: bool) -> str:
        """Give something another path, making missing parents; return where it is."""
        old, new = location(self._home, source), location(self._home, destination)
        _ = os.lstat(old)
        self._check_removable(old)
        self._make_room(old, new, overwrite=overwrite)
        try:
            _put(old, new)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Another file system, or a directory from a layer (overlayfs.rst, "redirect_dir").
            with _staged(old, new) as copied:
                _put(copied, new)
            removal.remove_tree(old)
        return new

    def copy(self, source: str, destination: str, *, overwrite: bool) -> str:
        """Copy something, a directory with all that is in it; links are copied as links."""
        old, new = location(self._home, source), location(self._home, destination)
        _ = os.lstat(old)
        self._make_room(old, new, overwrite=overwrite)
        with _staged(old, new) as copied:
            _put(copied, new)
        return new

    def change_mode(self, path: str, mode: int) -> str:
        """Change the permission bits of a file or directory; links are followed."""
        os.chmod(absolute(self._home, path), mode)
        return location(self._home, path)

    def _check_removable(self, place: str) -> None:
        """Refuse what cannot go, as emptying it first would be the worst of both."""
        status = os.lstat(place)
        is_home = os.path.samestat(status, os.lstat(self._home))
        if is_home or (stat.S_ISDIR(status.st_mode) and os.path.ismount(place)):
            raise OSError(errno.EPERM, "it is where the sandbox keeps its files, and cannot go")
        if not self._walls and not place.startswith(f"{os.path.realpath(self._home)}/"):
            raise OSError(
                errno.EPERM,
                "this sandbox has no walls, so only what is in its home directory can be removed",
            )

    def _make_room(self, old: str, new: str, *, overwrite: bool) -> None:
        """Look whether something can go to a place, and make the parents of it."""
        if new == old or new.startswith(f"{old.rstrip('/')}/"):
            raise OSError(errno.EINVAL, "it cannot go into itself")
        if os.path.lexists(new):
            if not overwrite:
                raise OSError(errno.EEXIST, "there is something at the destination")
            self._check_removable(new)
            if old.startswith(f"{new}/"):
                raise OSError(errno.EINVAL, "it cannot replace what it is in")
        os.makedirs(os.path.dirname(new), exist_ok=True)


def _put(old: str, new: str) -> None:
    """Rename something; what is in the way, and was found to be allowed to go, goes."""
    try:
        os.rename(old, new)
    except OSError as error:
        # A directory in the way cannot be replaced at once, nor replace a file.
        if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
        removal.remove_tree(new)
        os.rename(old, new)


@contextlib.contextmanager
def _staged(old: str, new: str) -> Generator[str]:
    """Copy something to beside where it shall be; what is still there at the end is removed."""
    stage = os.path.join(os.path.dirname(new), f".{os.urandom(12).hex()}.part")
    try:
        os.mkdir(stage, 0o700)
        directory, name = os.path.split(old)
        with opened(directory, _DIRECTORY) as source, opened(stage, _DIRECTORY) as target:
            copying.copy_entry(source, target, name)
        yield os.path.join(stage, name)
    finally:
        removal.remove_tree(stage)
