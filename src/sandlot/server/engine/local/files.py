"""Files of a sandbox, read and written by the server through descriptors that the agent opened.

A descriptor from a sandbox may be anything; only regular files are accepted, since reading and
writing those cannot wait for anybody.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Mapping

from sandlot.server.engine.base import FileAccessError, FileProblem
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError

__all__ = ["LocalReader", "LocalWriter"]

_MIB = 1024 * 1024

_PROBLEMS: Mapping[int, FileProblem] = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EROFS: "forbidden",
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EFBIG: "no_space",
    errno.ENOMEM: "no_space",
}


def _problem(number: int, text: str, path: str) -> FileAccessError:
    return FileAccessError(_PROBLEMS.get(number, "invalid"), f"{path}: {text}")


def _failure(error: OSError, path: str) -> FileAccessError:
    return _problem(error.errno or 0, error.strerror or str(error), path)


async def _ask_for_file(agent: AgentClient, op: str, path: str) -> tuple[int, int]:
    """Have a file opened; return the number of the request and the descriptor."""
    if "\0" in path or not path:
        raise FileAccessError("invalid", "a path cannot be empty or contain NUL")
    try:
        _ = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise FileAccessError("invalid", "a path must be text") from error
    number, answer = agent.request(op, {"path": path})
    try:
        _, fds = await answer
    except RefusedError as error:
        raise _problem(error.number, str(error), path) from error
    if len(fds) != 1 or not stat.S_ISREG(os.fstat(fds[0]).st_mode):
        wire.close_all(fds)
        raise FileAccessError("invalid", f"{path}: not a regular file")
    return number, fds[0]


class LocalReader:
    """A regular file of a sandbox, open for reading."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd: int | None = fd
        self._path = path
        self._size = os.fstat(fd).st_size

    @classmethod
    async def open(cls, agent: AgentClient, path: str) -> LocalReader:
        """Open a file.

        Raises:
            FileAccessError: It cannot be opened or is no regular file.
        """
        _, fd = await _ask_for_file(agent, "open", path)
        return cls(fd, path)

    @property
    def size(self) -> int:
        """Bytes at the time of opening."""
        return self._size

    async def read(self, size: int) -> bytes:
        """Return up to `size` bytes; nothing at the end."""
        await asyncio.sleep(0)
        if self._fd is None:
            raise FileAccessError("invalid", f"{self._path}: the file is closed")
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise _failure(error, self._path) from error

    async def close(self) -> None:
        """Close the file; may be repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class LocalWriter:
    """A file of a sandbox that is about to be replaced.

    Args:
        limit: Largest size in bytes. The kernel's own limit (RLIMIT_FSIZE) binds the sandbox, not
            the server.
    """

    def __init__(self, agent: AgentClient, key: int, fd: int, path: str, limit: int | None) -> None:
        self._agent = agent
        self._key = key
        self._fd: int | None = fd
        self._path = path
        self._room = limit
        self._dirty = 0

    @classmethod
    async def open(cls, agent: AgentClient, path: str, limit: int | None) -> LocalWriter:
        """Prepare to make or replace a file.

        Raises:
            FileAccessError: The path is a directory or may not be written.
        """
        key, fd = await _ask_for_file(agent, "create", path)
        return cls(agent, key, fd, path, limit)

    async def write(self, data: bytes) -> None:
        """Append to the new content."""
        if self._fd is None:
            raise FileAccessError("invalid", f"{self._path}: the file is closed")
        if self._room is not None:
            if len(data) > self._room:
                raise _problem(errno.EFBIG, os.strerror(errno.EFBIG), self._path)
            self._room -= len(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest[:_MIB]) :]
                await asyncio.sleep(0)
        except OSError as error:
            raise _failure(error, self._path) from error

    async def commit(self) -> None:
        """Put the new content in place, durably and at once."""
        fd, self._fd = self._fd, None
        if fd is None:
            raise FileAccessError("invalid", f"{self._path}: the file is closed")
        try:
            await _sync(fd)
            _ = await self._agent.ask("commit", {"file": self._key})
        except OSError as error:
            self._agent.tell("abort", {"file": self._key})
            raise _failure(error, self._path) from error
        except RefusedError as error:
            raise _problem(error.number, str(error), self._path) from error

    async def abort(self) -> None:
        """Throw the new content away; may be repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._agent.tell("abort", {"file": self._key})


async def _sync(fd: int) -> None:
    """Have the kernel store a file and close it, whether or not somebody still waits for that."""

    def work() -> None:
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))
