"""Files of a sandbox, read and written by the server through descriptors that the agent opened.

A descriptor from a sandbox may be anything; only regular files are accepted, since reading and
writing those cannot wait for anybody.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from sandlot.server.engine.base import FileAccessError, FileProblem
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError

__all__ = ["LocalReader", "LocalWriter", "Purse", "check_path", "problem"]

_PROBLEMS: Mapping[int, FileProblem] = {
    errno.EEXIST: "exists",
    errno.E2BIG: "too_large",
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

_SMALL = 64 * 1024
"""Up to so many bytes, going to another thread costs more than it saves."""

_MOST = 1024 * 1024
"""Bytes that are read at once at most."""

Result = TypeVar("Result")


def problem(number: int, text: str, path: str) -> FileAccessError:
    """Return what an error of the operating system is called here."""
    return FileAccessError(_PROBLEMS.get(number, "invalid"), f"{path}: {text}")


def check_path(path: str) -> str:
    """Return a path that can be one.

    Raises:
        FileAccessError: It cannot.
    """
    if "\0" in path or not path:
        raise FileAccessError("invalid", "a path cannot be empty or contain NUL")
    try:
        _ = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise FileAccessError("invalid", "a path must be text") from error
    return path


async def _ask_for_file(agent: AgentClient, op: str, path: str) -> tuple[int, int]:
    """Have a file opened; return the number of the request and the descriptor."""
    number, answer = agent.request(op, {"path": check_path(path)})
    try:
        _, fds = await agent.take(answer)
        if len(fds) != 1 or not stat.S_ISREG(os.fstat(fds[0]).st_mode):
            wire.close_all(fds)
            raise FileAccessError("invalid", f"{path}: not a regular file")
    except BaseException as error:
        if op == "create":  # the agent may have made it, and would keep it for as long as it lives
            agent.tell("abort", {"file": number})
        if isinstance(error, RefusedError):
            raise problem(error.number, str(error), path) from error
        raise
    return number, fds[0]


class _OpenFile:
    """A descriptor that threads work on, one at a time, and that is closed when none does.

    Disks may keep their users waiting: a slow one must not stop the event loop.
    """

    def __init__(self, fd: int, path: str) -> None:
        self._fd: int | None = fd
        self._path = path
        self._working = False
        self._doomed: int | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing can be done with it any more."""
        return self._fd is None

    async def do(self, work: Callable[[int], Result], *, quick: bool = False) -> Result:
        """Have something done with the descriptor.

        Raises:
            FileAccessError: The work raised `OSError`, or the file is closed.
        """
        if self._fd is None:
            raise FileAccessError("invalid", f"{self._path}: the file is closed")
        try:
            if quick:
                await asyncio.sleep(0)
                return work(self._fd)
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(None, work, self._fd)
            self._working = True
            future.add_done_callback(self._rest)
            return await asyncio.shield(future)
        except OSError as error:
            raise problem(error.errno or 0, error.strerror or str(error), self._path) from error

    def close(self) -> None:
        """Close the descriptor, as soon as nobody works on it; may be repeated."""
        fd, self._fd = self._fd, None
        if self._working:
            self._doomed = fd
        elif fd is not None:
            os.close(fd)

    def _rest(self, _: object) -> None:
        self._working = False
        if self._doomed is not None:
            os.close(self._doomed)


class LocalReader:
    """A regular file of a sandbox, open for reading."""

    def __init__(self, fd: int, path: str) -> None:
        self._file = _OpenFile(fd, path)
        self._size = os.fstat(fd).st_size
        self._position = 0
        self._buffer = bytearray()  # kept: fresh memory is dearer than copying

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
        size, position = min(size, _MOST), self._position
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)[:size]
        try:
            data = await self._file.do(lambda fd: _read_cached(fd, view, position), quick=True)
        except FileAccessError:
            data = await self._file.do(lambda fd: os.pread(fd, size, position))
        self._position += len(data)
        return data

    async def close(self) -> None:
        """Close the file; may be repeated."""
        self._file.close()


class Purse(Protocol):
    """The space that a sandbox has left."""

    async def spend(self, size: int) -> bool:
        """Use so many bytes up; return whether there were as many."""
        ...

    def give_back(self, size: int) -> None:
        """Take back bytes that were not needed after all."""
        ...


class LocalWriter:
    """A file of a sandbox that is about to be replaced.

    Args:
        agent: The agent of the sandbox.
        key: What the agent knows the file by.
        fd: The file that is being written.
        path: What to call it in errors.
        purse: What the bytes are taken from, as the limits of the sandbox do not bind the server.
    """

    def __init__(
        self, agent: AgentClient, key: int, fd: int, path: str, purse: Purse | None
    ) -> None:
        self._agent = agent
        self._key = key
        self._file = _OpenFile(fd, path)
        self._path = path
        self._purse = purse
        self._spent = 0

    @classmethod
    async def open(cls, agent: AgentClient, path: str, purse: Purse | None) -> LocalWriter:
        """Prepare to make or replace a file.

        Raises:
            FileAccessError: The path is a directory or may not be written.
        """
        key, fd = await _ask_for_file(agent, "create", path)
        return cls(agent, key, fd, path, purse)

    async def write(self, data: bytes) -> None:
        """Append to the new content."""
        if self._purse is not None:
            if not await self._purse.spend(len(data)):
                raise problem(errno.EDQUOT, os.strerror(errno.EDQUOT), self._path)
            self._spent += len(data)
        await self._file.do(lambda fd: _write_all(fd, data), quick=len(data) <= _SMALL)

    async def commit(self) -> None:
        """Put the new content in place, durably and at once."""
        if self._file.closed:
            raise FileAccessError("invalid", f"{self._path}: the file is closed")
        try:
            await self._file.do(os.fsync)
        except BaseException:
            await self.abort()
            raise
        self._file.close()
        try:
            _ = await self._agent.ask("commit", {"file": self._key})
        except RefusedError as error:
            raise problem(error.number, str(error), self._path) from error

    async def abort(self) -> None:
        """Throw the new content away; may be repeated."""
        if not self._file.closed:
            self._file.close()
            self._agent.tell("abort", {"file": self._key})
            if self._purse is not None:
                self._purse.give_back(self._spent)


def _read_cached(fd: int, buffer: memoryview, position: int) -> bytes:
    """Read what is in memory already.

    Raises:
        OSError: That is nothing, or the system cannot tell.
    """
    if sys.platform != "linux":
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return bytes(buffer[: os.preadv(fd, [buffer], position, os.RWF_NOWAIT)])


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
