"""The zygote: a warm interpreter whose forks become sandboxes.

The server starts it once, with an empty environment, and asks it for sandboxes. Each begins as a
fork, the builder, which starts PID 1 of the sandbox in new namespaces and ends. The zygote knows
every PID 1, since it is the parent of each, and when the server is gone, however that came about,
it removes them and all that they had. If it was told to, it first waits a while for the next
server, which gets all that the last one had: each agent is given a new channel over its line, a
socket pair that was made with it.

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
import time
from collections.abc import Callable

from . import errands, removal, seccomp, wire
from .builder import hear_birth, read_layout, run_builder
from .children import Child, Succession, end
from .rendezvous import Rendezvous
from .roots import Roots
from .signals import default_signals, listen_for_signals

__all__ = ["main"]


class Zygote:
    """Makes and removes sandboxes, as told by the server."""

    def __init__(self, sock: socket.socket, lock: int) -> None:
        self._sock: socket.socket | None = sock
        self._lock = lock
        self._decoder = wire.Decoder()
        self._children: dict[str, Child] = {}
        self._names: dict[int, str] = {}
        self._births: dict[int, str] = {}
        self._builders: set[int] = set()
        self._errands: dict[int, Child | None] = {}
        self._seals: set[int] = set()
        # Ended before their pid was announced. A builder announces before it ends, so what is
        # neither a builder nor known is one of these.
        self._early: set[int] = set()
        self._poll = select.poll()
        self._cgroups: list[str] = []
        self._directory: str | None = None
        self._whole: str | None = None
        self._succession: Succession | None = None
        self._rendezvous: Rendezvous | None = None
        self._deadline: float | None = None
        self._roots = Roots()

    def serve(self) -> None:
        """Serve until the server hangs up and no other comes, then leave nothing behind."""
        wakeup = listen_for_signals()
        self._poll.register(wakeup, select.POLLIN)
        if self._sock is not None:
            self._poll.register(self._sock, select.POLLIN)
        _ = gc.collect()
        gc.freeze()
        try:
            while self._serve_once(wakeup):
                continue
        finally:
            self._clear()

    def _serve_once(self, wakeup: int) -> bool:
        """Wait for something and see to it; return whether there is anything left to serve."""
        for fd, _event in self._poll.poll(self._patience()):
            if fd in self._births:
                self._learn_pid(fd)
            elif fd == wakeup:
                _ = os.read(wakeup, 4096)
                self._reap()
            elif self._rendezvous is not None and fd == self._rendezvous.fileno():
                self._meet(self._rendezvous)
            elif (
                self._sock is not None
                and fd == self._sock.fileno()
                and not self._listen(self._sock)
                and not self._wait_for_another()
            ):
                return False
        if self._sock is None and self._rendezvous is None:
            return self._is_in_time() if self._is_changing() else self._open_door()
        return self._rendezvous is None or self._is_worth_waiting()

    def _listen(self, sock: socket.socket) -> bool:
        """Do what has been asked; return whether the server is still there."""
        try:
            data, fds = wire.receive(sock)
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
            elif operation == "renew":
                self._renew(message, fds)
            elif operation == "destroy":
                self._destroy(wire.text(message, "id"))
            elif operation == "reattach":
                self._reattach(wire.text(message, "id"), fds)
            elif operation == "end":
                self._succession = None
                return False
            elif operation == "errand":
                self._send_out(message, fds)
        return True

    def _wait_for_another(self) -> bool:
        """Let go of the server; return whether another one shall have what it had.

        What would change a sandbox under the eyes of the next one is first brought to its end.
        """
        if self._sock is not None:
            self._poll.unregister(self._sock)
            self._sock.close()
            self._sock = None
        self._decoder.close()
        self._decoder = wire.Decoder()
        if self._succession is None or self._directory is None:
            return False
        if self._deadline is None:
            self._deadline = time.monotonic() + self._succession.patience
        for errand in self._errands.keys() - self._seals:
            os.kill(errand, signal.SIGKILL)  # nobody waits for what it would find out
        for child in self._children.values():
            if child.successor is not None:  # what is frozen does not die
                for cgroup in wire.strings(child.successor[0], "cgroups"):
                    _attempt(removal.thaw_cgroup, cgroup)
        return self._is_changing() or self._open_door()

    def _is_changing(self) -> bool:
        """Whether the last server began something with a sandbox that is not over."""
        return bool(self._errands) or any(child.successor for child in self._children.values())

    def _open_door(self) -> bool:
        """Let another server find this; return whether it is worth waiting for one."""
        if self._directory is None or not self._is_worth_waiting():
            return False
        try:
            self._rendezvous = Rendezvous(os.path.dirname(self._directory))
        except OSError:
            return False
        self._poll.register(self._rendezvous, select.POLLIN)
        return True

    def _patience(self) -> float | None:
        if self._sock is not None or self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), 0) * 1000

    def _is_worth_waiting(self) -> bool:
        return bool(self._children) and self._is_in_time()

    def _is_in_time(self) -> bool:
        return self._deadline is None or time.monotonic() < self._deadline

    def _meet(self, rendezvous: Rendezvous) -> None:
        """Serve whoever has come, and nobody else; it shares the lock from now on."""
        connection = rendezvous.accept()
        if connection is None or self._succession is None:
            return
        hello = {
            "hello": self._succession.version,
            "state": dict(self._succession.state),
            "sandboxes": [name for name, child in self._children.items() if not child.doomed],
            "doomed": [name for name, child in self._children.items() if child.doomed],
            "generations": {
                name: child.generation
                for name, child in self._children.items()
                if child.generation is not None
            },
        }
        try:
            wire.send(connection, hello, [self._lock])
        except OSError:  # gone again
            connection.close()
            return
        self._poll.unregister(rendezvous)
        rendezvous.close()
        self._rendezvous = None
        self._sock = connection
        self._poll.register(connection, select.POLLIN)

    def _reattach(self, name: str, fds: list[int]) -> None:
        """Give an agent a new channel. If that cannot be, the server sees that it is closed."""
        child = self._children.get(name)
        if child is not None and child.line is not None and fds:
            # An agent that is frozen does not read, and is not waited for.
            with contextlib.suppress(OSError):
                wire.send(child.line, {"op": "serve"}, fds)
        wire.close_all(fds)

    def _configure(self, message: wire.Message) -> None:
        self._cgroups = wire.strings(message, "cgroups")
        self._directory = wire.optional_text(message, "directory")
        self._whole = wire.optional_text(message, "ephemeral")
        patience = wire.number(message, "orphan_seconds")
        self._succession = Succession(message, patience) if patience > 0 else None
        self._deadline = None

    def _create(self, message: wire.Message, fds: list[int]) -> None:
        if not fds:  # lost on the way, for want of descriptors; the server sees that nobody answers
            return
        (channel,) = fds
        isolated = wire.boolean(message, "isolated")
        mine = theirs = None
        if isolated and self._succession is not None:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            mine.setblocking(False)
        root = self._roots.find(read_layout(message)) if isolated else None
        birth, announcement = (end.detach() for end in socket.socketpair())
        pid = os.fork()
        if pid == 0:
            run_builder(message, channel, theirs, announcement, root)
        os.close(channel)
        os.close(announcement)
        if theirs is not None:
            theirs.close()
        name = wire.text(message, "id")
        child = self._children[name] = Child(message, mine)
        if child.isolated:
            self._builders.add(pid)
            self._births[birth] = name
            self._poll.register(birth, select.POLLIN)
        else:
            os.close(birth)
            child.pid = pid
            self._names[pid] = name

    def _learn_pid(self, birth: int) -> None:
        data, namespace = hear_birth(birth)
        self._poll.unregister(birth)
        name = self._births.pop(birth)
        child = self._children[name]
        pid = int.from_bytes(data, "big")
        # No bytes: the builder failed, and has told the server why.
        child.namespace = namespace
        if pid == 0 or pid in self._early:
            self._early.discard(pid)
            self._forget(name)
            return
        child.pid = pid
        self._names[pid] = name
        if child.doomed:
            end(child)

    def _renew(self, message: wire.Message, fds: list[int]) -> None:
        """Kill a sandbox and begin it anew, whatever becomes of the server meanwhile."""
        child = self._children.get(wire.text(message, "id"))
        if child is None or child.doomed or child.successor is not None or not child.pid:
            wire.close_all(fds)
            return
        child.successor = (message, fds)
        end(child)

    def _destroy(self, name: str) -> None:
        child = self._children.get(name)
        if child is None:
            self._tell_gone(name)
            return
        child.doomed = True
        if child.successor is not None:
            wire.close_all(child.successor[1])
            child.successor = None
        if child.pid:
            end(child)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._errands:
                child = self._errands.pop(pid)
                if pid in self._seals:
                    self._seals.remove(pid)
                    self._welcome(child, status)
            elif pid in self._builders:
                self._builders.remove(pid)
            elif pid in self._names:
                self._forget(self._names.pop(pid))
            elif self._births:
                self._early.add(pid)

    def _send_out(self, message: wire.Message, fds: list[int]) -> None:
        """Have a fork do something, which tells the server itself how that went."""
        if not fds:
            return
        (channel,) = fds
        name = wire.optional_text(message, "id")
        child = None if name is None else self._children.get(name)
        pid = os.fork()
        if pid == 0:
            errands.run(
                message,
                channel,
                0 if child is None else child.pid,
                None if child is None else child.namespace,
            )
        os.close(channel)
        self._errands[pid] = child
        if wire.text(message, "errand") == "seal":
            self._seals.add(pid)

    def _welcome(self, child: Child | None, status: int) -> None:
        """See how a seal went; what it may have left in pieces must not live on."""
        harmless = os.WIFEXITED(status) and os.WEXITSTATUS(status) != errands.HARM
        if not harmless and child is not None and child in self._children.values():
            end(child)

    def _forget(self, name: str) -> None:
        child = self._children.pop(name)
        if child.line is not None:
            child.line.close()
        if child.namespace is not None:
            os.close(child.namespace)
        if child.doomed:
            self._tell_gone(name)
        elif child.successor is not None:
            self._create(*child.successor)

    def _tell_gone(self, name: str) -> None:
        if self._sock is not None:
            with contextlib.suppress(ConnectionError):  # the next receive sees the end
                wire.send(self._sock, {"gone": name})

    def _clear(self) -> None:
        """Remove everything that this zygote ever made."""
        if self._rendezvous is not None:
            self._rendezvous.close()
        for birth in list(self._births):
            self._learn_pid(birth)
        for child in self._children.values():
            end(child)
        for errand in self._errands:
            os.kill(errand, signal.SIGKILL)
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


def _attempt(remove: Callable[[str], None], path: str) -> None:
    """Go on whatever happens: there is nobody left to tell, and more to remove."""
    try:
        remove(path)
    except OSError:
        return


def main(fd: int, lock: int) -> None:
    """Run the zygote on a socket that the server has the other end of.

    Args:
        fd: The socket.
        lock: What keeps others out of the data directory for as long as it is open.
    """
    if sys.platform == "linux" and len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("a program of several threads cannot be forked safely")
    default_signals()
    _ = os.umask(0o022)
    _ = seccomp.compile_filter()  # it is remembered, and so are forks spared the work
    sys.path.clear()  # everything is imported; forks shall find nothing more
    Zygote(socket.socket(fileno=fd), lock).serve()
