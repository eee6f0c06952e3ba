"""A program in a sandbox: its pipes, which the server holds the other ends of, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import termios
from collections import deque
from collections.abc import Mapping

from sandlot.server.engine.base import (
    Command,
    EngineError,
    Exit,
    Output,
    SandboxGoneError,
    Stream,
    TerminalSize,
)
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError
from .fates import Fate, Fates
from .pipes import PIECE, Pipes, window_size

__all__ = ["LocalProcess"]

_TERMINAL_ENV = {"TERM": "xterm-256color"}
_MOST = 65535  # columns or rows: struct winsize has 16 bits for each
_MOST_REST = 2 << 20  # fs.pipe-max-size of both streams, as most kernels have it; see pipe(7)
_TURNS = 16  # reads in a row before others on the event loop get their turn


class LocalProcess:
    """A program that an agent started."""

    def __init__(
        self,
        agent: AgentClient,
        key: int,
        pid: int,
        exit_status: asyncio.Future[int],
        pipes: Pipes | None = None,
        lasting: str | None = None,
        fate: Fate | None = None,
    ) -> None:
        self._agent = agent
        self._fate = fate or Fate()
        self._key = key
        self._pid = pid
        self._status = exit_status
        self._stdin = None if pipes is None else pipes.stdin
        self._outputs: dict[int, Stream] = {} if pipes is None else pipes.outputs
        self._has_terminal = False
        self._lasting = lasting
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._rest = deque[Output]()
        self._turns = 0
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def start(
        cls,
        agent: AgentClient,
        command: Command,
        env: Mapping[str, str],
        owner: int | None,
        lasting: str | None = None,
        *,
        fates: Fates | None = None,
    ) -> LocalProcess:
        """Start a program.

        Args:
            agent: The agent of the sandbox.
            command: What to start.
            env: Environment variables beneath those of the command.
            owner: User on the host that the pipes shall belong to, so that programs can open
                `/dev/stdout`.
            lasting: Name by which another server finds the program, which outlasts this one as
                soon as its output is discarded.
            fates: Those of the programs of the sandbox.

        Raises:
            EngineError: The command cannot be passed to a program, or no more processes can be
                made.
        """
        _check(command)
        terminal = command.terminal
        fields: dict[str, object] = {
            "argv": list(command.argv),
            "env": {**({} if terminal is None else _TERMINAL_ENV), **env, **command.env},
            "cwd": command.cwd or ".",
        }
        if terminal is not None:
            fields |= {"cols": terminal.cols, "rows": terminal.rows}
        stdin = None if terminal is not None else command.stdin
        return await cls._begin(agent, "spawn", fields, stdin, owner, lasting, fates)

    @classmethod
    async def start_chore(
        cls,
        agent: AgentClient,
        fields: wire.Message,
        owner: int | None,
        *,
        stdin: bool = False,
        fates: Fates | None = None,
    ) -> LocalProcess:
        """Start something that the agent itself does, in a process that is like a program's.

        Raises:
            EngineError: No more processes can be made.
        """
        return await cls._begin(agent, "chore", fields, stdin, owner, None, fates)

    @classmethod
    async def _begin(
        cls,
        agent: AgentClient,
        op: str,
        fields: wire.Message,
        stdin: bool | None,
        owner: int | None,
        lasting: str | None,
        fates: Fates | None,
    ) -> LocalProcess:
        with contextlib.ExitStack() as stack:
            pipes = Pipes(stdin, owner)
            _ = stack.callback(pipes.close)
            key, answer = agent.request(op, fields, pipes.take_guest_ends())
            status = agent.expect_exit(key)
            _ = stack.callback(agent.forget_exit, key)
            fate = Fate() if fates is None else fates.follow(key, status)
            if fates is not None:
                _ = stack.callback(fates.forget, key)
            try:
                message, fds = await agent.take(answer)
                if stdin is None:
                    pipes.take_terminal(fds)
                else:
                    wire.close_all(fds)  # there should be none
                process = cls(agent, key, _read_pid(message), status, pipes, lasting, fate)
                process._has_terminal = stdin is None
            except RefusedError as error:
                raise EngineError(f"the program could not be started: {error}") from error
            except OSError as error:  # there are too many open files for another terminal
                agent.tell("kill", {"process": key, "grace": 0})
                raise EngineError(f"the program could not be started: {error.strerror}") from error
            except wire.WireError as error:
                agent.close()
                raise SandboxGoneError("the sandbox has gone mad") from error
            except asyncio.CancelledError:
                agent.tell("kill", {"process": key, "grace": 0})
                raise
            _ = stack.pop_all()
        return process

    @classmethod
    def outlasted(cls, agent: AgentClient, name: str) -> LocalProcess | None:
        """Return the program of this name that outlasted another server, if it was running."""
        found = agent.lasting(name)
        return None if found is None else cls(agent, found.key, found.pid, found.exit_status)

    @property
    def pid(self) -> int:
        """Its id, as the sandbox sees it."""
        return self._pid

    async def read(self) -> Output | None:
        """Return the next output, or None at the end."""
        self._turns += 1
        if self._turns % _TURNS == 0:
            await asyncio.sleep(0)
        if self._rest:
            return self._rest.popleft()
        while self._outputs:
            output = self._read_now()
            if output is not None:
                return output
            if self._outputs:
                await self._wait_readable()
        if self._rest:
            return self._rest.popleft()
        if self._agent.gone and not self._ended:
            raise SandboxGoneError("the sandbox has died")
        return None

    async def wait(self) -> Exit:
        """Wait until the program itself has ended."""
        status = await asyncio.shield(self._status)
        self._fate.seal()
        oom, no_space = self._fate.oom, self._fate.no_space
        # What the kernel does to who writes beyond the largest size of a file (setrlimit(2)), and
        # how shells tell of it.
        no_space |= status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)
        if status >= 0:
            return Exit(status, oom=oom, no_space=no_space)
        return Exit(-1, -status, oom=oom, no_space=no_space)

    async def write_stdin(self, data: bytes) -> None:
        """Write to its standard input, waiting until all of it is in the pipe."""
        rest = memoryview(data)
        while rest:
            if self._stdin is None:
                raise BrokenPipeError("there is no standard input")
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await self._wait_writable(self._stdin)
            except OSError as error:  # of a terminal that is gone
                raise BrokenPipeError("the terminal was hung up") from error

    async def close_stdin(self) -> None:
        """Let the program see the end of its standard input."""
        if self._stdin is not None:
            _ = self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None
        if self._writing is not None:
            _finish(self._writing)

    async def resize(self, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        if self._has_terminal and self._stdin is not None:
            with contextlib.suppress(OSError):  # it was hung up
                _ = fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, window_size(size))

    async def signal(self, signal: int) -> None:
        """Send a signal to its process group."""
        _ = await self._agent.ask("signal", {"process": self._key, "signal": signal})

    async def kill(self, *, grace: float = 0.0) -> None:
        """End everything that the program started."""
        _ = await self._agent.ask("kill", {"process": self._key, "grace": grace})

    async def discard(self) -> None:
        """Have all further output thrown away, inside of the sandbox."""
        self._read_rest()
        outputs, self._outputs = self._outputs, {}
        self._stop_reading(outputs)
        if self._has_terminal:
            wire.close_all(outputs)
            await self.close_stdin()
        elif outputs or self._lasting is not None:
            fields = {"process": self._key, "lasting": self._lasting}
            self._agent.tell("drain", fields, list(outputs))

    async def close(self) -> None:
        """Give up all that is held; the program is killed if it still runs."""
        self._rest.clear()
        outputs, self._outputs = self._outputs, {}
        self._stop_reading(outputs)
        wire.close_all(outputs)
        await self.close_stdin()
        if not self._status.done():
            self._agent.tell("kill", {"process": self._key, "grace": 0})

    @property
    def _ended(self) -> bool:
        return (
            self._status.done()
            and not self._status.cancelled()
            and self._status.exception() is None
        )

    def _read_now(self) -> Output | None:
        """Return what can be read without waiting, taking the streams in turn."""
        for fd, stream in list(self._outputs.items()):
            try:
                data = os.read(fd, PIECE)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # nobody has the terminal open any more: tty_io.c of Linux
            del self._outputs[fd]
            if data:
                self._outputs[fd] = stream
                return Output(stream, data)
            os.close(fd)
        return None

    def _read_rest(self) -> None:
        """Read what is in the pipes: as much as they hold, as who is left behind may write on."""
        size = 0
        while size < _MOST_REST and (output := self._read_now()) is not None:
            self._rest.append(output)
            size += len(output.data)

    async def _wait_readable(self) -> None:
        self._reading = self._loop.create_future()
        watched = list(self._outputs)
        try:
            for fd in watched:
                self._loop.add_reader(fd, _finish, self._reading)
            await self._reading
        finally:
            self._reading = None
            for fd in watched:
                if fd in self._outputs:
                    _ = self._loop.remove_reader(fd)

    def _stop_reading(self, outputs: Mapping[int, Stream]) -> None:
        for fd in outputs:
            _ = self._loop.remove_reader(fd)
        if self._reading is not None:
            _finish(self._reading)

    async def _wait_writable(self, fd: int) -> None:
        self._writing = self._loop.create_future()
        self._loop.add_writer(fd, _finish, self._writing)
        try:
            await self._writing
        finally:
            self._writing = None
            if self._stdin == fd:
                _ = self._loop.remove_writer(fd)


def _read_pid(message: wire.Message) -> int:
    pid = wire.integer(message, "pid")
    if not 0 < pid < 2**31:
        raise wire.WireError("there is no such process id")
    return pid


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check(command: Command) -> None:
    if not command.argv:
        raise EngineError("the command is empty")
    if command.user not in (None, "user"):
        raise EngineError(f"there is no user {command.user!r} in this sandbox")
    size = command.terminal
    if size is not None and not (0 < size.cols <= _MOST and 0 < size.rows <= _MOST):
        raise EngineError("a terminal has 1 to 65535 columns and rows")
    for name in command.env:
        if not name or "=" in name:
            raise EngineError(f"{name!r} cannot be the name of an environment variable")
    texts = (*command.argv, *command.env, *command.env.values(), command.cwd or "")
    for text in texts:
        if "\0" in text:
            raise EngineError("commands, directories and variables cannot contain NUL")
        try:
            _ = os.fsencode(text)
        except UnicodeEncodeError as error:
            raise EngineError("commands, directories and variables must be text") from error
