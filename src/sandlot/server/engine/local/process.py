"""A program in a sandbox: its pipes, which the server holds the other ends of, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping

from sandlot.server.engine.base import Command, EngineError, Exit, Output, SandboxGoneError, Stream
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError
from .fates import Fate, Fates

__all__ = ["LocalProcess"]

_PIECE = 256 * 1024
_TURNS = 16  # reads in a row before others on the event loop get their turn


class LocalProcess:
    """A program that an agent started."""

    def __init__(
        self,
        agent: AgentClient,
        key: int,
        pid: int,
        exit_status: asyncio.Future[int],
        pipes: _Pipes | None = None,
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
        self._lasting = lasting
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
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
        fields = {
            "argv": list(command.argv),
            "env": {**env, **command.env},
            "cwd": command.cwd or ".",
        }
        return await cls._begin(agent, "spawn", fields, command.stdin, owner, lasting, fates)

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
        stdin: bool,
        owner: int | None,
        lasting: str | None,
        fates: Fates | None,
    ) -> LocalProcess:
        with contextlib.ExitStack() as stack:
            pipes = _Pipes(stdin, owner)
            _ = stack.callback(pipes.close)
            key, answer = agent.request(op, fields, pipes.take_guest_ends())
            status = agent.expect_exit(key)
            _ = stack.callback(agent.forget_exit, key)
            fate = Fate() if fates is None else fates.follow(key, status)
            if fates is not None:
                _ = stack.callback(fates.forget, key)
            try:
                message, _ = await answer
                process = cls(agent, key, _read_pid(message), status, pipes, lasting, fate)
            except RefusedError as error:
                raise EngineError(f"the program could not be started: {error}") from error
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
        while self._outputs:
            output = self._read_now()
            if output is not None:
                return output
            if self._outputs:
                await self._wait_readable()
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

    async def close_stdin(self) -> None:
        """Let the program see the end of its standard input."""
        if self._stdin is not None:
            _ = self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None
        if self._writing is not None:
            _finish(self._writing)

    async def signal(self, signal: int) -> None:
        """Send a signal to its process group."""
        _ = await self._agent.ask("signal", {"process": self._key, "signal": signal})

    async def kill(self, *, grace: float = 0.0) -> None:
        """End everything that the program started."""
        _ = await self._agent.ask("kill", {"process": self._key, "grace": grace})

    async def discard(self) -> None:
        """Have all further output thrown away, inside of the sandbox."""
        outputs, self._outputs = self._outputs, {}
        self._stop_reading(outputs)
        if outputs or self._lasting is not None:
            fields = {"process": self._key, "lasting": self._lasting}
            self._agent.tell("drain", fields, list(outputs))

    async def close(self) -> None:
        """Give up all that is held; the program is killed if it still runs."""
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
                data = os.read(fd, _PIECE)
            except BlockingIOError:
                continue
            del self._outputs[fd]
            if data:
                self._outputs[fd] = stream
                return Output(stream, data)
            os.close(fd)
        return None

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


class _Pipes:
    """The pipes of a program. The server makes them, so that it alone rules over its own ends."""

    def __init__(self, with_stdin: bool, owner: int | None) -> None:
        self.stdin: int | None = None
        self.outputs: dict[int, Stream] = {}
        self._guest: list[int] = []
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        try:
            for stream in streams:
                mine, theirs = os.pipe()
                self.outputs[mine] = stream
                if owner is not None:
                    _widen(mine)
                self._give(mine, theirs, owner)
            if with_stdin:
                theirs, self.stdin = os.pipe()
                self._give(self.stdin, theirs, owner)
        except OSError as error:
            wire.close_all(self._guest)
            self.close()
            raise EngineError(f"the program could not be started: {error.strerror}") from error

    def _give(self, mine: int, theirs: int, owner: int | None) -> None:
        self._guest.append(theirs)
        os.set_blocking(mine, False)
        if owner is not None:
            os.fchown(theirs, owner, owner)

    def take_guest_ends(self) -> list[int]:
        """Return the ends for the program, which are the caller's now: stdout, stderr, stdin."""
        guest, self._guest = self._guest, []
        return guest

    def close(self) -> None:
        """Close the server's ends."""
        wire.close_all(self.outputs)
        if self.stdin is not None:
            os.close(self.stdin)


def _widen(pipe: int) -> None:
    """Let a pipe hold a piece, instead of the quarter of it that is usual (pipe(7)).

    Only for root: what the pipes of an ordinary user hold together is limited, and once that is
    reached all that this user opens hold next to nothing.
    """
    with contextlib.suppress(OSError):  # root of a container may be an ordinary user in this
        _ = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE)


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
