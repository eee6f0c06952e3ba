"""The agent: serves one sandbox from the inside, as its PID 1.

It starts programs, opens files and connections, kills, stops and measures, and tells the server
which programs ended. It has one thread, no rights and no data of anybody; when the server is gone
it ends, and all that it served with it. If it has a line to the zygote, it ends the commands that
the server was waiting for instead, and serves the next server that it gets a channel to.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from . import holdings, processes, wire
from .chores import Chores
from .dialing import dial
from .drains import Drains
from .files import Files
from .outlets import Outlets
from .signals import listen_for_signals
from .terminals import Terminal

__all__ = ["Agent"]

_WORSE = 500
_MEMORY = ("/tmp", "/dev/shm")  # noqa: S108 - file systems in memory, see mounts.py

Answer = tuple[dict[str, object], list[int]]


class _Ending:
    """A command that was asked to end and will be killed at the deadline."""

    def __init__(self, request: int, deadline: float) -> None:
        self.request = request
        self.deadline = deadline


class Agent:
    """Does what the server asks, until it hangs up.

    Args:
        sock: Where the requests come from.
        home: Where relative paths start.
        badness: Descriptor of this process's `oom_score_adj`, if commands shall be killed before
            the agent when memory runs out.
        line: Where new channels come from.
        outlets: What there is for the internet, if the sandbox may reach it.
    """

    def __init__(
        self,
        sock: socket.socket,
        home: str,
        badness: int | None = None,
        line: socket.socket | None = None,
        outlets: Outlets | None = None,
    ) -> None:
        self._sock: socket.socket | None = sock
        self._line = line
        self._home = home
        self._badness = badness
        self._usual = 0 if badness is None else int(os.pread(badness, 16, 0))
        self._files = Files(home)
        self._chores = Chores(home)
        self._paused = False
        self._outlets = [] if outlets is None else outlets.for_server
        self._listeners = {} if outlets is None else {s.fileno(): s for s in outlets.listeners}
        self._decoder = wire.Decoder()
        self._channels = wire.Decoder()
        self._lasting: dict[int, str] = {}
        self._roots: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._endings: dict[int, _Ending] = {}
        self._poll = select.poll()
        self._drains = Drains(self._poll)
        self._operations: dict[str, Callable[[int, wire.Message, list[int]], Answer | None]] = {
            "spawn": self._spawn,
            "chore": self._chore,
            "signal": self._signal,
            "kill": self._kill,
            "drain": self._drain,
            "open": self._open,
            "create": self._create,
            "commit": self._commit,
            "abort": self._abort,
            "dial": self._dial,
            "outlets": self._hand_out,
            "stop": self._stop,
            "continue": self._continue,
            "usage": self._usage,
            "inspect": self._inspect,
            "clear": self._clear,
        }

    def serve(self) -> None:
        """Serve until the server hangs up for good or breaks the rules."""
        wakeup = listen_for_signals()
        _ = os.umask(0o022)
        os.chdir("/")
        for fd in (wakeup, self._sock, self._line, *self._listeners):
            if fd is not None:
                self._poll.register(fd, select.POLLIN)
        gc.freeze()
        self._tell({"event": "ready"})
        while True:
            for fd, _event in self._poll.poll(self._patience()):
                if fd == wakeup:
                    _ = os.read(wakeup, 4096)
                    self._reap()
                    if not self._paused:
                        self._chores.end_stopped()
                elif fd in self._drains:
                    self._drains.swallow(fd)
                elif fd in self._listeners:
                    self._let_out(self._listeners[fd])
                elif self._line is not None and fd == self._line.fileno():
                    if not self._change_servers(self._line):
                        return
                elif (
                    self._sock is not None
                    and fd == self._sock.fileno()
                    and not self._listen(self._sock)
                ):
                    self._let_go(self._sock)
            if self._sock is None and self._line is None:
                return
            self._finish_endings()

    def end(self) -> None:
        """Kill all that is left of the sandbox, where the end of this process does not do so."""
        processes.kill_everything(self._reap)
        self._reap()

    def _patience(self) -> float | None:
        if not self._endings:
            return None
        soonest = min(ending.deadline for ending in self._endings.values())
        return max(soonest - time.monotonic(), 0) * 1000

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
            self._perform(*packet)
        return True

    def _let_go(self, sock: socket.socket) -> None:
        """End what nobody waits for any more, if there will be another server."""
        self._poll.unregister(sock)
        sock.close()
        self._sock = None
        if self._line is None:
            return
        self._decoder.close()
        self._decoder = wire.Decoder()
        for key in (self._roots.keys() | self._endings.keys()) - self._lasting.keys():
            _ = processes.kill_tree(key, self._roots.get(key), self._reap)
        self._endings.clear()
        self._files.abort_all()

    def _change_servers(self, line: socket.socket) -> bool:
        """Serve the server that has come now; return whether the zygote is still there."""
        try:
            data, fds = wire.receive(line)
        except ConnectionError:
            return False
        if not data:
            return False
        self._channels.feed(data, fds)
        while (packet := self._channels.next()) is not None:
            for channel in packet[1]:
                if self._sock is not None:  # its end has not been looked at yet
                    self._let_go(self._sock)
                self._sock = socket.socket(fileno=channel)
                self._poll.register(self._sock, select.POLLIN)
                lasting = [
                    {"process": key, "pid": self._roots[key], "name": name}
                    for key, name in self._lasting.items()
                ]
                self._tell({"event": "adopted", "lasting": lasting})
        return True

    def _perform(self, message: wire.Message, fds: list[int]) -> None:
        request = wire.integer(message, "request")
        operation = self._operations[wire.text(message, "op")]
        try:
            if "lost" in message:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            answer = operation(request, message, fds)
            if answer is not None:
                self._hand_over(request, *answer)
        except OSError as error:
            number = error.errno or 0
            self._tell({"request": request, "error": number, "text": error.strerror or str(error)})

    def _hand_over(self, request: int, answer: dict[str, object], fds: list[int]) -> None:
        """Answer; descriptors may be refused where others of the same user have many on the way."""
        try:
            self._tell({"request": request, **answer}, fds)
        except OSError:
            self._files.abort(request)  # nobody else knows of a file that was to be written
            raise
        finally:
            wire.close_all(fds)

    def _tell(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        if self._sock is None:
            return
        try:
            wire.send(self._sock, message, fds or ())
        except ConnectionError:
            return  # the next receive sees the end

    def _spawn(self, request: int, message: wire.Message, fds: list[int]) -> Answer:
        cwd = os.path.join(self._home, wire.text(message, "cwd"))
        argv = wire.strings(message, "argv")
        env = wire.text_mapping(message, "env")
        cols = wire.optional_integer(message, "cols")
        if cols is None:
            return self._begin(request, lambda: processes.spawn(request, argv, env, cwd, fds), fds)
        with Terminal(cols, wire.integer(message, "rows")) as terminal:
            answer, _ = self._begin(
                request, lambda: processes.spawn(request, argv, env, cwd, fds, terminal), fds
            )
        return answer, [terminal.master]

    def _chore(self, request: int, message: wire.Message, fds: list[int]) -> Answer:
        return self._begin(request, lambda: self._chores.start(message, fds), fds)

    def _begin(self, request: int, start: Callable[[], int], fds: list[int]) -> Answer:
        try:
            self._worsen(_WORSE)
            pid = start()
        finally:
            self._worsen(0)
            wire.close_all(fds)
        self._roots[request] = pid
        self._keys[pid] = request
        return {"pid": pid}, []

    def _worsen(self, amount: int) -> None:
        """Make what is started from now on a better choice for the kernel's memory killer."""
        if self._badness is not None:
            _ = os.pwrite(self._badness, b"%d" % min(self._usual + amount, 1000), 0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._chores.forget(pid)
            key = self._keys.pop(pid, None)
            if key is not None:
                del self._roots[key]
                _ = self._lasting.pop(key, None)
                code = os.waitstatus_to_exitcode(status)
                self._tell({"event": "exit", "process": key, "status": code})

    def _signal(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        root = self._roots.get(wire.integer(message, "process"))
        if root is not None:  # afterwards its number may be somebody else's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(root, wire.integer(message, "signal"))
        return {}, []

    def _kill(self, request: int, message: wire.Message, __: list[int]) -> Answer | None:
        key = wire.integer(message, "process")
        grace = wire.number(message, "grace")
        root = self._roots.get(key)
        if grace > 0 and processes.signal_tree(key, root, signal.SIGTERM):
            _ = processes.signal_tree(key, root, signal.SIGCONT)
            previous = self._endings.pop(key, None)
            if previous is not None:
                self._tell({"request": previous.request})
            self._endings[key] = _Ending(request, time.monotonic() + grace)
            return None
        _ = processes.kill_tree(key, root, self._reap)
        return {}, []

    def _finish_endings(self) -> None:
        for key, ending in list(self._endings.items()):
            root = self._roots.get(key)
            if time.monotonic() >= ending.deadline:
                _ = processes.kill_tree(key, root, self._reap)
            elif processes.tree(key, root):
                continue
            del self._endings[key]
            self._tell({"request": ending.request})

    def _drain(self, _: int, message: wire.Message, fds: list[int]) -> Answer:
        """Throw away what comes out of pipes, at the sandbox's expense.

        A program with a name for it needs its server no more, and outlasts it.
        """
        name = wire.optional_text(message, "lasting")
        key = wire.optional_integer(message, "process")
        if name is not None and key in self._roots:
            self._lasting[key] = name
        for fd in fds:
            self._drains.add(fd)
        return {}, []

    def _open(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        return {}, [self._files.open(wire.text(message, "path"))]

    def _create(self, request: int, message: wire.Message, _: list[int]) -> Answer:
        return {}, [self._files.create(request, wire.text(message, "path"))]

    def _commit(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        self._files.commit(wire.integer(message, "file"))
        return {}, []

    def _abort(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        self._files.abort(wire.integer(message, "file"))
        return {}, []

    def _dial(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        return {}, [dial(wire.integer(message, "port"), v6=wire.boolean(message, "v6"))]

    def _hand_out(self, _: int, __: wire.Message, ___: list[int]) -> Answer:
        return {}, [os.dup(outlet.fileno()) for outlet in self._outlets]

    def _let_out(self, listener: socket.socket) -> None:
        """Pass a connection on that the server has asked for; if that fails, it is closed."""
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                self._tell({"event": "connection"}, [connection.fileno()])

    def _stop(self, _: int, __: wire.Message, ___: list[int]) -> Answer:
        self._paused = True
        return {"done": processes.stop_everything()}, []

    def _continue(self, _: int, __: wire.Message, ___: list[int]) -> Answer:
        processes.continue_everything()
        self._paused = False
        return {}, []

    def _usage(self, _: int, __: wire.Message, ___: list[int]) -> Answer:
        usage = processes.measure()
        return {"cpu_seconds": usage.cpu_seconds, "memory_bytes": usage.memory_bytes}, []

    def _inspect(self, _: int, message: wire.Message, __: list[int]) -> Answer:
        """Tell what only this process sees; with a limit, kill what has most if all have more."""
        limit = wire.optional_integer(message, "memory")
        rows = processes.everything()
        devices = frozenset(os.stat(directory).st_dev for directory in _MEMORY)
        held = holdings.find(rows, os.stat(self._home).st_dev, devices)
        answer: dict[str, object] = {
            "cpu_seconds": processes.measure(rows).cpu_seconds,
            "disk_bytes": held.disk,
            "processes": len(rows),
            "killed": False,
        }
        if limit is not None:
            files = held.memory + holdings.memory_files(_MEMORY)
            victim = holdings.choose({pid: row.memory for pid, row in rows.items()}, files, limit)
            if victim is not None:
                answer["killed"] = True
                answer["process"] = self._command_of(victim)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        return answer, []

    def _command_of(self, pid: int) -> int | None:
        """Return the command that a process belongs to, if it is known."""
        for key, root in self._roots.items():
            if pid in processes.tree(key, root):
                return key
        return None

    def _clear(self, _: int, __: wire.Message, ___: list[int]) -> Answer:
        """Kill everything but this process, which no signal of its own reaches."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return {}, []
