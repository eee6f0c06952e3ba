"""A process that kernels are forked from, as most of what they need is imported already.

It is forked itself, from the launcher, before that has threads, sockets or an event loop. The
Jupyter server asks it over a socket pair for a process that runs a module in an environment and a
directory; the answer is a process id. So a kernel takes a fraction of the time and the memory that
it takes where a new interpreter begins from nothing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["ForkServer", "ForkedProcess"]

_PRELOADED = (
    "comm",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "psutil",
)
_MOST = 100_000
"""Bytes of a request; more may not fit into a socket."""

_WORSE = 300
"""How much likelier than the server a kernel is to be killed when memory runs out."""


class ForkServer:
    """The process that kernels are forked from, as the Jupyter server sees it.

    It must be made while there is one thread only.
    """

    def __init__(self) -> None:
        for name in _PRELOADED:
            with contextlib.suppress(ImportError):  # not every version has them all
                _ = importlib.import_module(name)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if os.fork() == 0:
                self._socket.close()
                _serve(theirs)

    def start(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: str
    ) -> ForkedProcess:
        """Run a module that is an application of `ipykernel`, in a session of its own.

        Raises:
            OSError: That is not possible this way.
        """
        request = {"module": module, "arguments": arguments, "env": dict(env), "cwd": cwd}
        data = json.dumps(request).encode()
        if len(data) > _MOST:
            raise OSError("the environment is too large")
        _ = self._socket.send(data)
        pid = int(self._socket.recv(64) or 0)
        if not pid:
            raise OSError("there are no more processes")
        return ForkedProcess(pid)


class ForkedProcess:
    """A process that is nobody's child here; it can be used like a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    def __del__(self) -> None:
        self._close()

    def poll(self) -> int | None:
        """Return None while it runs, and 1 afterwards: how it ended only its parent knows."""
        return None if self._descriptor is not None and not self._ended(0) else self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        if self._descriptor is not None:
            if not self._ended(timeout):
                raise TimeoutError("the process has not ended")
            self._close()
        return 1

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _ended(self, timeout: float | None) -> bool:
        assert self._descriptor is not None
        return bool(select.select([self._descriptor], [], [], timeout)[0])

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _serve(sock: socket.socket) -> None:
    """Fork as often as asked to; does not return."""
    _ = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody wants to know how they ended
    _ = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ = os.dup2(2, 1)  # standard output is for the launcher alone
    _ = gc.collect()
    gc.freeze()  # what is collected never is shared no longer
    while data := sock.recv(2 * _MOST):
        try:
            pid = os.fork()
        except OSError:
            _ = sock.send(b"0")
            continue
        if pid == 0:
            sock.close()
            _run(json.loads(data))
        _ = sock.send(b"%d" % pid)
    os._exit(0)


def _run(request: dict[str, Any]) -> None:
    """Become a program; does not return."""
    os.setsid()
    _ = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _ = signal.signal(signal.SIGINT, signal.default_int_handler)
    _worsen()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    # A kernel ends when its parent does; the variable for that was read when it was imported.
    parent = f"--IPKernelApp.parent_handle={os.getppid()}"
    sys.argv = [request["module"], *request["arguments"], parent]
    _ = runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    sys.exit()


def _worsen() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        badness = min(int(file.read()) + _WORSE, 1000)
        _ = file.seek(0)
        _ = file.write(str(badness))
