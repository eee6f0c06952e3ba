"""Deleting what hostile code left behind.

Directories are only entered through descriptors and symbolic links are never followed, so nothing
outside of the given directory can be touched whatever is in it, and whatever changes meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time

__all__ = ["remove_cgroup", "remove_tree", "thaw_cgroup"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove a directory and all that is in it, of any depth and mode, if it is there.

    Raises:
        OSError: Something cannot be removed.
    """
    parent, name = os.path.split(os.path.abspath(path))
    try:
        top = os.open(parent, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        while _remove_to_depth(top, name):
            continue
    finally:
        os.close(top)


def _remove_to_depth(parent: int, name: str, limit: int = 100) -> bool:
    """Remove a directory; return whether something deeper than `limit` levels is left of it.

    What is too deep is moved up, so neither the stack nor the number of descriptors bounds the
    depth.
    """
    try:
        fd = _open_directory(parent, name)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return False
    try:
        _empty(fd, fd, limit)
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return True
    return False


def _empty(top: int, fd: int, limit: int) -> None:
    with os.scandir(fd) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it as well
            if not is_directory:
                os.unlink(name, dir_fd=fd)
                continue
            child = _open_directory(fd, name)
            try:
                if limit:
                    _empty(top, child, limit - 1)
                else:
                    _lift(top, child)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=fd)


def _lift(top: int, fd: int) -> None:
    """Move what is in a deep directory to the top, under names that are free there."""
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        os.rename(name, f".{os.urandom(16).hex()}", src_dir_fd=fd, dst_dir_fd=top)


def _open_directory(parent: int, name: str) -> int:
    """Open a directory, taking the rights that are needed to empty it."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        if os.access(name, os.W_OK | os.X_OK, dir_fd=parent, follow_symlinks=False):
            return fd
        os.fchmod(fd, 0o700)
    except PermissionError:
        if sys.platform != "linux":
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return os.open(name, _DIRECTORY, dir_fd=parent)
        # Only a directory can be here: O_DIRECTORY is checked first, and a link is not followed.
        # It is changed through its inode, which needs no rights on it but to own it.
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
        return os.open(name, _DIRECTORY, dir_fd=parent)
    return fd


def remove_cgroup(path: str, patience: float = 2.0) -> None:
    """Kill all that is in a cgroup and its children and remove them, if they are there.

    Raises:
        OSError: It is still in use after so many seconds.
    """
    deadline = time.monotonic() + patience
    delay = 0.0005
    while True:
        try:
            _kill_and_remove(path)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(delay)  # the kernel does not tell when a v1 cgroup becomes unused
        delay = min(delay * 2, 0.05)


def thaw_cgroup(path: str) -> None:
    """Let everything in a cgroup run on, so that it can die.

    Raises:
        OSError: That is not possible.
    """
    for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if os.path.exists(f"{path}/{name}"):
            with open(f"{path}/{name}", "w") as file:
                _ = file.write(value)


def _kill_and_remove(path: str) -> None:
    with os.scandir(path) as entries:
        children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for child in children:
        _kill_and_remove(child)
    # Frozen tasks of a v1 freezer do not even die; v2 has one switch that kills all.
    for name, value in (("freezer.state", "THAWED"), ("cgroup.kill", "1")):
        if os.path.exists(f"{path}/{name}"):
            with open(f"{path}/{name}", "w") as file:
                _ = file.write(value)
    with open(f"{path}/cgroup.procs") as file:
        pids = [int(line) for line in file]
    for pid in pids:
        if pid > 0:  # 0 stands for a process that this namespace does not see
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
    os.rmdir(path)
