"""The zygote: a warm interpreter whose forks become sandboxes.

The server starts it once, with an empty environment, and asks it for sandboxes. Each begins as a
fork (the builder), which turns into an unprivileged user, enters new namespaces and starts PID 1 in
them; PID 1 builds its own root, renounces all rights and serves as the agent. The zygote knows
every PID 1, since it is the parent of each, and when the server is gone, however that came about,
it removes them and all that they had.

It has one thread, so that forking is safe, and imports nothing after the start, so that forks need
no files.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable

from . import kernel, mounts, namespaces, privileges, removal, seccomp, unisolated, wire
from .agent import Agent, listen_for_signals

__all__ = ["main"]


class _Child:
    """A sandbox: without a pid while it is built, doomed once it shall go."""

    def __init__(self, isolated: bool) -> None:
        self.isolated = isolated
        self.pid = 0
        self.doomed = False


class Zygote:
    """Makes and removes sandboxes, as told by the server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = wire.Decoder()
        self._children: dict[str, _Child] = {}
        self._names: dict[int, str] = {}
        self._births: dict[int, str] = {}
        self._builders: set[int] = set()
        # Ended before their pid was announced. A builder announces before it ends, so what is
        # neither a builder nor known is one of these.
        self._early: set[int] = set()
        self._poll = select.poll()
        self._cgroups: list[str] = []
        self._directory: str | None = None
        self._whole: str | None = None

    def serve(self) -> None:
        """Serve until the server hangs up, then leave nothing behind."""
        wakeup = listen_for_signals()
        self._poll.register(wakeup, select.POLLIN)
        self._poll.register(self._sock, select.POLLIN)
        _ = gc.collect()
        gc.freeze()
        try:
            while self._serve_once(wakeup):
                continue
        finally:
            self._clear()

    def _serve_once(self, wakeup: int) -> bool:
        """Wait for something and see to it; return whether the server is still there."""
        for fd, _event in self._poll.poll():
            if fd in self._births:
                self._learn_pid(fd)
            elif fd == wakeup:
                _ = os.read(wakeup, 4096)
                self._reap()
            elif not self._listen():
                return False
        return True

    def _listen(self) -> bool:
        try:
            data, fds = wire.receive(self._sock)
        except ConnectionError:
            return False
        if not data:
            return False
        self._decoder.feed(data, fds)
        while (packet := self._decoder.next()) is not None:
            message, fds = packet
            operation = wire.text(message, "op")
            if operation == "configure":
                self._configure(message)
            elif operation == "create":
                self._create(message, fds)
            elif operation == "destroy":
                self._destroy(wire.text(message, "id"))
        return True

    def _configure(self, message: wire.Message) -> None:
        self._cgroups = wire.strings(message, "cgroups")
        self._directory = wire.optional_text(message, "directory")
        self._whole = wire.optional_text(message, "ephemeral")

    def _create(self, message: wire.Message, fds: list[int]) -> None:
        if not fds:  # lost on the way, for want of descriptors; the server sees that nobody answers
            return
        (channel,) = fds
        birth, announcement = os.pipe()
        pid = os.fork()
        if pid == 0:
            _run_builder(message, channel, announcement)
        os.close(channel)
        os.close(announcement)
        name = wire.text(message, "id")
        child = self._children[name] = _Child(wire.boolean(message, "isolated"))
        if child.isolated:
            self._builders.add(pid)
            self._births[birth] = name
            self._poll.register(birth, select.POLLIN)
        else:
            os.close(birth)
            child.pid = pid
            self._names[pid] = name

    def _learn_pid(self, birth: int) -> None:
        data = os.read(birth, 4)
        self._poll.unregister(birth)
        os.close(birth)
        name = self._births.pop(birth)
        child = self._children[name]
        pid = int.from_bytes(data, "big")
        # No bytes: the builder failed, and has told the server why.
        if pid == 0 or pid in self._early:
            self._early.discard(pid)
            self._forget(name)
            return
        child.pid = pid
        self._names[pid] = name
        if child.doomed:
            _end(child)

    def _destroy(self, name: str) -> None:
        child = self._children.get(name)
        if child is None:
            self._tell_gone(name)
            return
        child.doomed = True
        if child.pid:
            _end(child)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._builders:
                self._builders.remove(pid)
            elif pid in self._names:
                self._forget(self._names.pop(pid))
            elif self._births:
                self._early.add(pid)

    def _forget(self, name: str) -> None:
        if self._children.pop(name).doomed:
            self._tell_gone(name)

    def _tell_gone(self, name: str) -> None:
        with contextlib.suppress(ConnectionError):  # the next receive sees the end
            wire.send(self._sock, {"gone": name})

    def _clear(self) -> None:
        """Remove everything that this zygote ever made."""
        for birth in list(self._births):
            self._learn_pid(birth)
        for child in self._children.values():
            _end(child)
        for cgroup in self._cgroups:
            # Before waiting: what is frozen dies only when this has thawed it.
            _attempt(removal.remove_cgroup, cgroup)
        while True:
            try:
                _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
        for directory in (self._directory, self._whole):
            if directory is not None:
                _attempt(removal.remove_tree, directory)


def _end(child: _Child) -> None:
    """Kill a PID 1, and thereby all its processes.

    An agent without walls must end its programs itself: it has heard the server hang up, and only
    must not be stopped.
    """
    os.kill(child.pid, signal.SIGKILL if child.isolated else signal.SIGCONT)


def _attempt(remove: Callable[[str], None], path: str) -> None:
    """Go on whatever happens: there is nobody left to tell, and more to remove."""
    try:
        remove(path)
    except OSError:
        return


def _run_builder(message: wire.Message, channel: int, announcement: int) -> None:
    """Become a sandbox; does not return."""
    sock = socket.socket(fileno=channel)
    try:
        privileges.default_signals()
        if not wire.boolean(message, "isolated"):
            unisolated.serve(sock, wire.text(message, "home"))
            os._exit(0)
        kernel.die_with_parent(signal.SIGKILL)
        _enter(message)
        pid = kernel.clone_sibling()
        if pid:
            _ = os.write(announcement, pid.to_bytes(4, "big"))
            os._exit(0)
        _serve(message, sock)
    except OSError as error:
        call = error.filename or "agent"
        failure = {"event": "failed", "call": str(call), "error": error.errno or 0}
        wire.send(sock, {**failure, "text": error.strerror or str(error)})
    finally:
        os._exit(1)


def _enter(message: wire.Message) -> None:
    for cgroup in wire.strings(message, "cgroups"):
        try:
            with open(f"{cgroup}/cgroup.procs", "w") as file:
                _ = file.write("0")
        except OSError as error:
            error.filename = cgroup  # a failed write does not tell
            raise
    os.chdir(wire.text(message, "home"))
    uid = wire.optional_integer(message, "uid")
    if uid is not None:
        privileges.become(uid)
    namespaces.enter()
    kernel.die_with_parent(signal.SIGKILL)  # the change of user had undone it


def _serve(message: wire.Message, sock: socket.socket) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    privileges.forget_descriptors(sock.fileno())
    os.setsid()
    kernel.set_hostname("sandbox")
    namespaces.loopback_up()
    badness = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    mounts.build_root(
        mounts.Layout(
            memory_mb=wire.integer(message, "memory_mb"),
            hide_local=wire.boolean(message, "hide_local"),
            python=wire.optional_text(message, "python"),
            environment=wire.optional_text(message, "environment"),
            links=wire.text_mapping(message, "links"),
        )
    )
    privileges.set_limits(wire.integers(message, "limits"))
    privileges.renounce()
    kernel.die_with_parent(signal.SIGKILL)  # a change of rights may undo it
    Agent(sock, mounts.HOME, badness).serve()
    os._exit(0)


def main(fd: int) -> None:
    """Run the zygote on a socket that the server has the other end of."""
    if sys.platform == "linux" and len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("a program of several threads cannot be forked safely")
    privileges.default_signals()
    _ = os.umask(0o022)
    _ = seccomp.compile_filter()  # it is remembered, and so are forks spared the work
    sys.path.clear()  # everything is imported; forks shall find nothing more
    Zygote(socket.socket(fileno=fd)).serve()
