"""Files of a sandbox, opened inside of it.

Paths are resolved here, by the sandbox's own user in the sandbox's own root, so symbolic links lead
nowhere else. The server gets descriptors and does the reading and writing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

__all__ = ["Files", "absolute"]

_PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY)  # needs no right to list the directory


def absolute(home: str, path: str) -> str:
    """Return a path from the root; relative ones, and those with `~`, start at the home directory.

    The original server takes `~` so; a file of that name is `./~`.
    """
    if path == "~" or path.startswith("~/"):
        path = path[2:].lstrip("/")
    return os.path.join(home, path)


class _Draft:
    """A file that is being written beside the one it will replace."""

    def __init__(self, directory: int, name: str, target: str) -> None:
        self.directory = directory
        self.name = name
        self.target = target


class Files:
    """Opens files for the server; relative paths start at the home directory."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._drafts: dict[int, _Draft] = {}

    def open(self, path: str) -> int:
        """Open a regular file for reading."""
        # O_NONBLOCK: opening a FIFO must not wait for its other end
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(self._absolute(path), flags)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            os.close(fd)
            raise _error(errno.EISDIR if is_directory else errno.EINVAL, path)
        return fd

    def create(self, key: int, path: str) -> int:
        """Open a new file that `commit` will put at the path, making missing parents."""
        target = os.path.realpath(self._absolute(path))
        if path.endswith(("/", "/.")) or path in ("", "."):
            raise _error(errno.EISDIR, path)
        parent, name = os.path.split(target)
        mode = self._mode_of(target, path)
        try:
            os.makedirs(parent, exist_ok=True)
        except FileExistsError:
            raise _error(errno.ENOTDIR, path) from None
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        directory = os.open(parent, _PATH_ONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            draft = _Draft(directory, f".{os.urandom(12).hex()}.part", name)
            fd = os.open(draft.name, flags, 0o600, dir_fd=directory)
        except OSError:
            os.close(directory)
            raise
        os.fchmod(fd, mode)
        self._drafts[key] = draft
        return fd

    def commit(self, key: int) -> None:
        """Put a finished file in the place of the old one."""
        draft = self._drafts.pop(key)
        try:
            os.rename(
                draft.name, draft.target, src_dir_fd=draft.directory, dst_dir_fd=draft.directory
            )
        except OSError:
            _unlink(draft)
            raise
        finally:
            os.close(draft.directory)

    def abort(self, key: int) -> None:
        """Throw an unfinished file away."""
        draft = self._drafts.pop(key, None)
        if draft is not None:
            _unlink(draft)
            os.close(draft.directory)

    def abort_all(self) -> None:
        """Throw all unfinished files away."""
        for key in list(self._drafts):
            with contextlib.suppress(OSError):
                self.abort(key)

    def _absolute(self, path: str) -> str:
        return absolute(self._home, path)

    def _mode_of(self, target: str, path: str) -> int:
        """Return the mode of what will be replaced, or that of a new file."""
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            return 0o644
        if stat.S_ISDIR(status.st_mode):
            raise _error(errno.EISDIR, path)
        if stat.S_ISLNK(status.st_mode):
            raise _error(errno.ELOOP, path)  # realpath leaves links only where they form a loop
        if not stat.S_ISREG(status.st_mode):
            raise _error(errno.EINVAL, path)
        if not os.access(target, os.W_OK):
            raise _error(errno.EACCES, path)
        return stat.S_IMODE(status.st_mode)


def _unlink(draft: _Draft) -> None:
    try:
        os.unlink(draft.name, dir_fd=draft.directory)
    except FileNotFoundError:
        return


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
