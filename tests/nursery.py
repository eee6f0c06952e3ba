"""Servers that begin as forks of a process that has imported what they need already.

To import it takes a second of a processor, and hundreds of tests begin a server of their own. What
begins here is the same program, with the arguments, environment and descriptors of its own, as a
child of the process that asked for it. `tests/cli`, `tests/local` and `tests/server/test_owned.py`
start theirs as users do.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import fcntl
import gc
import importlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

__all__ = ["PRELUDE", "Popen", "nursery", "subprocess_of_servers"]

PRELUDE = "SANDLOT_TESTS_PRELUDE"
"""Environment variable with the name of a module that a server imports before anything else."""

_MODULES = (
    "aiosqlite",
    "sandlot.server.app",
    "sandlot.server.embedded",
    "sandlot.server.settings",
    "sandlot.server.standalone",
    "sandlot.server.store.sql.store",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.off",
)
_PROGRAM = f"import {__name__} as nursery; nursery._serve({{}})"
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37  # linux/prctl.h


class Nursery:
    """The process that has imported everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # The last is what servers are known by among other processes.
                [sys.executable, "-c", _PROGRAM.format(theirs.fileno()), "sandlot.server"],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for whoever runs the tests
            )
        self.pid = self._process.pid
        _ = atexit.register(self.close)

    def fork(self, order: Mapping[str, object], descriptors: Sequence[int]) -> int:
        """Have a server begin, as a child of this process; return its id."""
        message = json.dumps(order).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        libc = ctypes.CDLL(None)
        before = ctypes.c_int()
        with self._lock:
            # The process in between has ended when the answer comes, and this one has inherited.
            assert libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0) == 0
            assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
            try:
                _ = self._socket.sendmsg([message], rights)
                return int(self._socket.recv(100))
            finally:
                assert libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0) == 0

    def close(self) -> None:
        """End it; what has begun goes on."""
        if os.getpid() == self._owner:
            self._socket.shutdown(socket.SHUT_RDWR)  # forks of this process may have it too
            self._socket.close()
            _ = self._process.wait()


_nursery: Nursery | None = None


def nursery() -> Nursery:
    """Return that of this process."""
    global _nursery
    if _nursery is None or _nursery._owner != os.getpid():
        _nursery = Nursery()
    return _nursery


class Popen(subprocess.Popen[Any]):
    """As `subprocess.Popen`, but servers are born in the nursery."""

    def _execute_child(self, *values: Any) -> None:
        parameters = inspect.signature(subprocess.Popen._execute_child)
        given = SimpleNamespace(**parameters.bind(self, *values).arguments)
        _python, *options, module = given.args[: given.args.index("sandlot.server") + 1]
        assert (options[-1:], module) == (["-m"], "sandlot.server")
        order = {
            "arguments": given.args[given.args.index(module) + 1 :],
            "environment": dict(os.environ if given.env is None else given.env),
            "directory": given.cwd or os.getcwd(),
            "session": given.start_new_session,
            "targets": [0, 1, 2, *given.pass_fds],
        }
        ends = [given.p2cread, given.c2pwrite, given.errwrite]
        streams = [number if end == -1 else end for number, end in enumerate(ends)]
        self.pid = nursery().fork(order, [*streams, *given.pass_fds])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(getattr(given, name) for name in pipes))


subprocess_of_servers = SimpleNamespace(
    Popen=Popen, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
)
"""What `sandlot.local` needs of the module `subprocess`."""


def _serve(descriptor: int) -> NoReturn:
    """Be the nursery, until the owner hangs up; or be one of the servers."""
    gc.disable()  # nothing of what is imported is garbage
    for name in _MODULES:
        _ = importlib.import_module(name)
    with socket.socket(fileno=descriptor) as owner:
        while True:
            message, rights, _, _ = owner.recvmsg(1 << 20, socket.CMSG_SPACE(64 * 4))
            if not message:
                sys.exit(0)
            descriptors = array.array("i")
            for _, _, data in rights:
                descriptors.frombytes(data)
            news, tell = os.pipe()
            between = os.fork()
            if between == 0:
                if (pid := os.fork()) != 0:
                    _ = os.write(tell, str(pid).encode())
                    os._exit(0)
                _ = owner.detach()
                _become(json.loads(message), descriptors)
            _ = os.waitpid(between, 0)
            _ = owner.send(os.read(news, 100))
            for each in (news, tell, *descriptors):
                os.close(each)


def _become(order: Mapping[str, Any], descriptors: Iterable[int]) -> NoReturn:
    """Be a server."""
    targets: list[int] = order["targets"]
    high = max(*targets, 100) + 1
    aside = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, high) for each in descriptors]
    os.closerange(3, high)
    for source, target in zip(aside, targets, strict=True):
        _ = os.dup2(source, target)
        os.close(source)
    if order["session"]:
        os.setsid()
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    _ = signal.signal(signal.SIGINT, signal.default_int_handler)
    program = importlib.import_module("sandlot.server.__main__")
    sys.argv = [str(program.__file__), *order["arguments"]]
    if (prelude := os.environ.get(PRELUDE)) is not None:
        _ = importlib.import_module(prelude)
    sys.exit(program.main())
