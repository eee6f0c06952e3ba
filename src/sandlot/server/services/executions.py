"""A command that runs in a sandbox, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sandlot.server.engine.base import (
    EngineError,
    Exit,
    Output,
    Process,
    SandboxGoneError,
    TerminalSize,
)

from .errors import AgentError
from .live import LiveSandbox
from .tasks import TaskGroup

__all__ = ["CommandEnd", "Execution"]

_GRACE = 1.0
"""Seconds between asking a command to end and killing it."""

_LINGER = 0.1
"""Seconds to wait for more output after the end of a program that left something behind."""

_LINGER_POLL = 0.005
_LINGER_BYTES = 4 << 20  # more than pipes hold: what comes after that was written later
_GONE = "The sandbox ended while the command ran, and the command with it."


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


class Execution:
    """A command that runs.

    Attributes:
        sandbox_id: Where.
        argv: What, as it was asked for.
        started_at: Since when.
    """

    def __init__(
        self,
        live: LiveSandbox,
        process: Process,
        argv: Sequence[str],
        timeout_sec: float | None,
    ) -> None:
        self.sandbox_id = live.record.id
        self.argv = tuple(argv)
        self.started_at = datetime.now(UTC)
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
        self._ended_at = 0.0
        self._left = _LINGER_BYTES
        self._linger: asyncio.TimerHandle | None = None
        self._tasks = TaskGroup()
        self._endings = TaskGroup()

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
            self._waited += self._loop.time() - max(start, self._ended_at)
            self._left -= len(piece.data)
            if self._left <= 0:
                await self._discard()
                return None
        return piece

    async def wait(self) -> CommandEnd:
        """Wait for the end of the program, and of what is being ended of all that it started."""
        try:
            exit = await asyncio.shield(self._exit)
            await self._endings.finish()
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

    async def resize(self, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        await self._process.resize(size)

    async def kill(self) -> None:
        """Kill everything that it started, and wait until that is gone."""
        await self._endings.finished(self._kill(0.0))

    async def stop(self) -> None:
        """Ask everything that it started to end, and kill what does not."""
        await self._endings.finished(self._kill(_GRACE))

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
            await self._endings.finish()
            await self._process.close()
            if not self._exit.done():
                _ = self._exit.cancel()
            _ = await asyncio.wait([self._exit])
            if not self._exit.cancelled():
                _ = self._exit.exception()

    async def _kill(self, grace: float) -> None:
        try:
            await self._process.kill(grace=grace)
        except SandboxGoneError:
            return

    async def _expire(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if not self._exit.done():
            self._timed_out = True
            await self.stop()

    def _rearm(self) -> None:
        """Bound the waiting for output from the end of the program on."""
        if self._exit.done() and not self._ended_at:
            self._ended_at = self._loop.time()
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
