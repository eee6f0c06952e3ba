"""Running commands in sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from sandlot.server.engine.base import (
    Command,
    EngineError,
    Process,
    SandboxGoneError,
    TerminalSize,
)
from sandlot.server.store.setups import Setup

from .errors import AgentError, InvalidRequestError
from .executions import CommandEnd, Execution
from .live import LiveSandbox

__all__ = ["CommandResult", "CommandSpec", "Commands", "check_variables"]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command as it was asked for.

    Attributes:
        asked: Program and arguments as they are listed, if others than `argv`.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    timeout_sec: float | None = None
    stdin: bool = False
    terminal: TerminalSize | None = None
    asked: Sequence[str] | None = None


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


class Commands:
    """Starts commands, and can end them all."""

    def __init__(self) -> None:
        self._running = set[Execution]()
        self._idle = asyncio.Event()

    def running(self, sandbox_id: str) -> list[Execution]:
        """Return the commands that run in a sandbox, the oldest first."""
        found = [each for each in self._running if each.sandbox_id == sandbox_id]
        return sorted(found, key=lambda each: each.started_at)

    @contextlib.asynccontextmanager
    async def start(
        self, live: LiveSandbox, spec: CommandSpec, *, counts: bool = True
    ) -> AsyncGenerator[Execution]:
        """Run a command for as long as the block lasts.

        At the end of the block everything that it started is killed, unless the program has ended
        by itself.

        Args:
            live: Where.
            spec: What.
            counts: Whether the sandbox is not idle meanwhile.
        """
        live.touch()
        with live.active() if counts else contextlib.nullcontext():
            async with live.lock:
                live.require("running")
                process = await _spawn(live, spec)
            execution = Execution(live, process, spec.asked or spec.argv, spec.timeout_sec)
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
        terminal=spec.terminal,
    )
    try:
        return await live.handle.spawn(command)
    except SandboxGoneError as error:
        raise AgentError("The sandbox has ended.") from error
    except EngineError as error:
        raise InvalidRequestError(str(error)) from error


def _join(base: str | None, path: str | None) -> str | None:
    return posixpath.join(base, path) if base and path else path or base


def check_variables(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return variables that a command can have.

    Raises:
        InvalidRequestError: It cannot.
    """
    if any("\0" in text for text in (*env, *env.values())):
        raise InvalidRequestError("env: variables cannot contain NUL characters.")
    if any(not name or "=" in name for name in env):
        raise InvalidRequestError("env: names of variables cannot be empty or contain '='.")
    return env


def _check(spec: CommandSpec) -> None:
    if any("\0" in text for text in (*spec.argv, spec.cwd or "", spec.user or "")):
        raise InvalidRequestError("Arguments and paths cannot contain NUL characters.")
    if not spec.argv[0]:
        raise InvalidRequestError("cmd: must not be empty.")
    _ = check_variables(spec.env)


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
