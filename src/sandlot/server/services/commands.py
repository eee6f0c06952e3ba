"""Running commands in sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from sandlot.server.engine.base import Command, EngineError, Exit, Output, Process, SandboxGoneError
from sandlot.server.store.setups import Setup

from .errors import AgentError, InvalidRequestError
from .live import LiveSandbox
from .tasks import TaskGroup

__all__ = ["CommandEnd", "CommandResult", "CommandSpec", "Commands", "Execution"]

_GRACE = 1.0
"""Seconds between asking a command to end and killing it."""

_LINGER = 0.1
"""Seconds to wait for more output after the end of a program that left something behind."""

_LINGER_POLL = 0.005
_LINGER_BYTES = 4 << 20  # more than pipes hold: what comes after that was written later


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command as it was asked for."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    timeout_sec: float | None = None
    stdin: bool = False


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended.

    Attributes:
        exit_code: Exit code, or -1 if a signal ended it.
        signal: Name of that signal.
        oom: Something of it was killed because the sandbox ran out of memory.
        no_space: Something of it was killed because the sandbox went over its disk limit.
    """

    exit_code: int
    signal: str | None
    timed_out: bool
    oom: bool = False
    no_space: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that has ended, with what it wrote.

    Attributes:
        truncated: Streams of which something was discarded.
    """

    end: CommandEnd
    stdout: bytes
    stderr: bytes
    truncated: Set[str]
    duration: float


class Execution:
    """A command that runs."""

    def __init__(self, live: LiveSandbox, process: Process, timeout_sec: float | None) -> None:
        self._process = process
        self._clock = live.clock
        self._loop = asyncio.get_running_loop()
        self._interrupted = False
        self._timed_out = False
        self._exit = asyncio.create_task(process.wait())
        self._exit.add_done_callback(lambda _: self._rearm())
        self._timer = None if not timeout_sec else asyncio.create_task(self._expire(timeout_sec))
        self._reading = False
        self._waited = 0.0
        self._left = _LINGER_BYTES
        self._linger: asyncio.TimerHandle | None = None
        self._tasks = TaskGroup()

    @property
    def pid(self) -> int:
        """Process id, as the sandbox sees it."""
        return self._process.pid

    async def read(self) -> Output | None:
        """Return the next piece of output, None at the end.

        The end is that of the program itself: what it left behind may hold the pipes, but is not
        waited for.
        """
        self._reading = True
        start = self._loop.time()
        self._rearm()
        try:
            piece = await self._process.read()
        except SandboxGoneError as error:
            raise AgentError(_GONE) from error
        finally:
            self._reading = False
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
        if piece is not None and self._exit.done():
            self._waited += self._loop.time() - start
            self._left -= len(piece.data)
            if self._left <= 0:
                await self._discard()
                return None
        return piece

    async def wait(self) -> CommandEnd:
        """Wait for the end of the program."""
        try:
            exit = await asyncio.shield(self._exit)
        except SandboxGoneError as error:
            raise AgentError(_GONE) from error
        if self._interrupted:
            raise AgentError("The server is shutting down; the command was killed.")
        return _end(exit, timed_out=self._timed_out)

    async def write_stdin(self, data: bytes) -> bool:
        """Write to its standard input; tell whether it still reads."""
        try:
            await self._process.write_stdin(data)
        except (BrokenPipeError, SandboxGoneError):
            return False
        return True

    async def close_stdin(self) -> None:
        """Let it see the end of its standard input."""
        try:
            await self._process.close_stdin()
        except (BrokenPipeError, SandboxGoneError):
            return

    async def signal(self, number: int) -> None:
        """Send a signal to it and to those that it started in its process group."""
        try:
            await self._process.signal(number)
        except SandboxGoneError:
            return

    async def stop(self) -> None:
        """Ask everything that it started to end, and kill what does not."""
        try:
            await self._process.kill(grace=_GRACE)
        except SandboxGoneError:
            return

    async def interrupt(self) -> None:
        """Kill it because the server is about to stop; `wait` says so."""
        self._interrupted = True
        try:
            await self._process.kill()
        except EngineError:
            return

    async def close(self, *, finished: bool) -> None:
        """Give it up: everything that it started is killed, unless it has `finished` by itself."""
        if self._timer is not None:
            _ = self._timer.cancel()
        try:
            if not finished:
                await self._process.kill()
        except EngineError:
            pass  # the sandbox is gone, and the command with it
        finally:
            await self._tasks.finish()
            await self._process.close()
            if not self._exit.done():
                _ = self._exit.cancel()
            _ = await asyncio.wait([self._exit])
            if not self._exit.cancelled():
                _ = self._exit.exception()

    async def _expire(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if not self._exit.done():
            self._timed_out = True
            await self.stop()

    def _rearm(self) -> None:
        """Bound the waiting for output from the end of the program on."""
        if self._reading and self._exit.done() and self._linger is None:
            delay = max(_LINGER - self._waited, _LINGER_POLL)
            self._linger = self._loop.call_later(delay, self._give_up)

    def _give_up(self) -> None:
        _ = self._tasks.start(self._discard())

    async def _discard(self) -> None:
        try:
            await self._process.discard()
        except SandboxGoneError:
            return


class Commands:
    """Starts commands, and can end them all."""

    def __init__(self) -> None:
        self._running = set[Execution]()
        self._idle = asyncio.Event()

    @contextlib.asynccontextmanager
    async def start(self, live: LiveSandbox, spec: CommandSpec) -> AsyncGenerator[Execution]:
        """Run a command for as long as the block lasts.

        At the end of the block everything that it started is killed, unless the program has ended
        by itself.
        """
        with live.active():
            async with live.lock:
                live.require("running")
                process = await _spawn(live, spec)
            execution = Execution(live, process, spec.timeout_sec)
            self._running.add(execution)
            self._idle.clear()
            finished = False
            try:
                yield execution
                finished = True
            finally:
                self._running.discard(execution)
                if not self._running:
                    self._idle.set()
                closing = asyncio.create_task(execution.close(finished=finished))
                await _shielded(closing)

    async def run(
        self, live: LiveSandbox, spec: CommandSpec, *, stdin: bytes | None, max_output: int
    ) -> CommandResult:
        """Run a command to its end.

        Args:
            live: Where.
            spec: What.
            stdin: What it reads.
            max_output: Bytes to keep of each stream.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        kept = {"stdout": bytearray(), "stderr": bytearray()}
        truncated = set[str]()
        async with self.start(live, spec) as execution:
            feeder = None if stdin is None else asyncio.create_task(_feed(execution, stdin))
            try:
                while (piece := await execution.read()) is not None:
                    buffer = kept[piece.stream]
                    room = max_output - len(buffer)
                    if len(piece.data) > room:
                        truncated.add(piece.stream)
                        buffer += memoryview(piece.data)[:room]
                    else:
                        buffer += piece.data
                end = await execution.wait()
            finally:
                if feeder is not None:
                    _ = feeder.cancel()
                    _ = await asyncio.wait([feeder])
        return CommandResult(
            end=end,
            stdout=bytes(kept["stdout"]),
            stderr=bytes(kept["stderr"]),
            truncated=truncated,
            duration=loop.time() - began,
        )

    async def stop_all(self, patience: float) -> None:
        """Kill all commands because the server is about to stop.

        Args:
            patience: Seconds that those who watch them have to take note.
        """
        if not self._running:
            return
        # Those in paused sandboxes take no note at all, and go with the engine.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                _ = await asyncio.gather(*(execution.interrupt() for execution in self._running))
                _ = await self._idle.wait()


_NO_SETUP = Setup()
_GONE = "The sandbox ended while the command ran, and the command with it."


async def _spawn(live: LiveSandbox, spec: CommandSpec) -> Process:
    _check(spec)
    record = live.record
    setup = record.setup or _NO_SETUP
    command = Command(
        argv=spec.argv,
        env={**setup.env, **record.env, **spec.env},
        cwd=_join(_join(setup.cwd, record.cwd), spec.cwd),
        user=spec.user or setup.user,
        stdin=spec.stdin,
    )
    try:
        return await live.handle.spawn(command)
    except SandboxGoneError as error:
        raise AgentError("The sandbox has ended.") from error
    except EngineError as error:
        raise InvalidRequestError(str(error)) from error


def _join(base: str | None, path: str | None) -> str | None:
    return posixpath.join(base, path) if base and path else path or base


def _check(spec: CommandSpec) -> None:
    texts = [*spec.argv, *spec.env, *spec.env.values(), spec.cwd or "", spec.user or ""]
    if any("\0" in text for text in texts):
        raise InvalidRequestError("Arguments, variables and paths cannot contain NUL characters.")
    if any(not name or "=" in name for name in spec.env):
        raise InvalidRequestError("Names of variables cannot be empty or contain '='.")


async def _feed(execution: Execution, data: bytes) -> None:
    _ = await execution.write_stdin(data)
    await execution.close_stdin()


async def _shielded(task: asyncio.Task[None]) -> None:
    """Wait for a task that must be finished, and only then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _end(exit: Exit, *, timed_out: bool) -> CommandEnd:
    number = exit.signal
    if timed_out and number is None:
        number = signal.SIGTERM  # it was asked to end, and did so by itself
    return CommandEnd(
        exit_code=exit.code if number is None else -1,
        signal=None if number is None else _signal_name(number),
        timed_out=timed_out and number is not None,
        oom=exit.oom,
        no_space=exit.no_space,
    )


def _signal_name(number: int) -> str:
    """Return the name of a signal; some have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
