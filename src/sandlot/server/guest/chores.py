"""What forks of the agent do with the files of its sandbox, and end.

Trees may be of any size, and the agent has others to serve, so each of these is done by a process
of its own, in all else like a command: it has the rights of the sandbox and counts against its
limits. Its result goes to standard output, lines of JSON or an archive; why it failed goes to
standard error, as one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import BinaryIO, NoReturn

from . import entries, privileges, tarballs, trees, wire
from .signals import stop_listening
from .tar import TarError

__all__ = ["Chores"]

_DEPTH = 20_000  # frames; each level of a tree takes a few of those
_INVALID = 22  # EINVAL
_NO_MEMORY = 12  # ENOMEM


class _Ended(BaseException):
    """Whoever asked does not wait any more."""


class _Chore:
    """What there is to do."""

    def __init__(self, message: wire.Message, home: str, *, walls: bool) -> None:
        self.message = message
        self.home = home
        self.trees = trees.Trees(home, walls=walls)
        self.out: BinaryIO = open(1, "wb", closefd=False)  # noqa: SIM115 - for as long as this runs
        self.source: BinaryIO = open(0, "rb", closefd=False)  # noqa: SIM115

    @property
    def path(self) -> str:
        """What it is about."""
        return wire.text(self.message, "path")

    def tell(self, result: dict[str, object]) -> None:
        """Add a line to the result."""
        _ = self.out.write(json.dumps(result, separators=(",", ":")).encode() + b"\n")

    def describe(self, path: str) -> None:
        """Add what there is to say of a file."""
        self.tell(entries.Describer().describe(path))


def _stat(chore: _Chore) -> None:
    chore.describe(entries.location(chore.home, chore.path))


def _list(chore: _Chore) -> None:
    depth, most = wire.integer(chore.message, "depth"), wire.integer(chore.message, "most")
    for entry in entries.list_entries(entries.location(chore.home, chore.path), depth, most):
        chore.tell(entry)


def _make_directory(chore: _Chore) -> None:
    chore.describe(chore.trees.make_directory(chore.path))


def _remove(chore: _Chore) -> None:
    chore.trees.remove(chore.path)


def _move(chore: _Chore) -> None:
    overwrite = wire.boolean(chore.message, "overwrite")
    destination = wire.text(chore.message, "destination")
    chore.describe(chore.trees.move(chore.path, destination, overwrite=overwrite))


def _copy(chore: _Chore) -> None:
    overwrite = wire.boolean(chore.message, "overwrite")
    destination = wire.text(chore.message, "destination")
    chore.describe(chore.trees.copy(chore.path, destination, overwrite=overwrite))


def _change_mode(chore: _Chore) -> None:
    mode = wire.integer(chore.message, "mode")
    chore.describe(chore.trees.change_mode(chore.path, mode))


def _pack(chore: _Chore) -> None:
    tarballs.pack(chore.home, chore.path, chore.out)


def _extract(chore: _Chore) -> None:
    tarballs.extract(chore.home, chore.path, chore.source)


_CHORES: dict[str, Callable[[_Chore], None]] = {
    "stat": _stat,
    "list": _list,
    "mkdir": _make_directory,
    "remove": _remove,
    "move": _move,
    "copy": _copy,
    "chmod": _change_mode,
    "pack": _pack,
    "extract": _extract,
}


class Chores:
    """Those that are being done.

    Args:
        home: Where relative paths start.
    """

    def __init__(self, home: str) -> None:
        self._home = home
        self._pids = set[int]()

    def start(self, message: wire.Message, fds: list[int]) -> int:
        """Begin what a message says and return the id of the process that does it.

        Args:
            message: What to do.
            fds: Its standard output, standard error and, if it has one, standard input.
        """
        work = _CHORES[wire.text(message, "chore")]
        walls = os.getpid() == 1  # of a process namespace: see unisolated.py for what is not
        pid = os.fork()
        if pid == 0:
            _perform(work, message, self._home, walls, fds)
        self._pids.add(pid)
        return pid

    def forget(self, pid: int) -> None:
        """Take note that a process has ended: its number may be somebody else's from now on."""
        self._pids.discard(pid)

    def end_stopped(self) -> None:
        """Kill those that were stopped.

        Whatever runs in the sandbox is of the same user, and may stop them as well as kill them;
        but then whoever asked for them would wait, and not know why.
        """
        for pid in self._pids:
            if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None:
                os.kill(pid, signal.SIGKILL)


def _perform(
    work: Callable[[_Chore], None],
    message: wire.Message,
    home: str,
    walls: bool,
    fds: list[int],
) -> NoReturn:
    code = 1
    try:
        # No session of its own, unlike commands: it starts nothing, and making one may take 10 ms.
        stop_listening()
        _ = signal.signal(signal.SIGTERM, _end)
        privileges.forget_descriptors(*fds)
        for fd, standard in zip(fds, (1, 2, 0), strict=False):
            _ = os.dup2(fd, standard)
            os.close(fd)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one for each level of a tree
        sys.setrecursionlimit(_DEPTH)
        chore = _Chore(message, home, walls=walls)
        work(chore)
        chore.out.flush()
        code = 0
    except OSError as error:
        in_archive = work in (_pack, _extract)  # else it is known what this is about
        text = error.strerror or str(error)
        _complain(error.errno or 0, text, error.filename if in_archive else None)
    except (TarError, wire.WireError) as error:
        _complain(_INVALID, str(error))
    except (MemoryError, RecursionError):
        _complain(_NO_MEMORY, "there is too much of it")
    finally:
        os._exit(code)


def _end(_: int, __: FrameType | None) -> NoReturn:
    raise _Ended


def _complain(number: int, text: str, path: object = None) -> None:
    where = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
    line = json.dumps({"error": number, "text": text, "path": where})
    _ = os.write(2, line.encode())
