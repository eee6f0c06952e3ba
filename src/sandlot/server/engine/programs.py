"""Programs in sandboxes: what to run, and what one that runs can be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = ["Command", "Exit", "Output", "Process", "Stream", "TerminalSize"]

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """How much a terminal shows; both are 1 to 65535."""

    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes:
        argv: Program and arguments; a program without a slash is searched on `PATH`.
        env: Environment variables on top of the engine's own (`PATH`, `HOME`, `USER`, ...).
        cwd: Directory to start in; relative ones start at the home directory, the default.
        user: User to run as; the sandbox's own if None.
        stdin: Whether there is a standard input to write to; it is empty otherwise.
        terminal: Size of the terminal that it runs in, if it runs in one: that is its standard
            input and all its output then, which is read as `stdout`.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    stdin: bool = False
    terminal: TerminalSize | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a program wrote; never empty."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended.

    Attributes:
        code: Exit code, or -1 if a signal ended it.
        signal: Number of that signal.
        oom: Something of it, or of what runs beside it, was killed for want of memory.
        no_space: It was killed since the sandbox stored more than it may.
    """

    code: int
    signal: int | None = None
    oom: bool = False
    no_space: bool = False


class Process(Protocol):
    """A running program.

    Its output must be read until `read` says None, or be given up by `close`: the program sleeps
    while nobody reads.
    """

    @property
    def pid(self) -> int:
        """Its id, as the sandbox sees it."""
        ...

    async def read(self) -> Output | None:
        """Return the next output; None after the end of both streams or after `discard`.

        Raises:
            SandboxGoneError: The sandbox died.
        """
        ...

    async def wait(self) -> Exit:
        """Wait until the program itself has ended; its output may be unread or go on.

        Raises:
            SandboxGoneError: The sandbox died.
        """
        ...

    async def write_stdin(self, data: bytes) -> None:
        """Write to its standard input, waiting until all of it is in the pipe.

        Raises:
            BrokenPipeError: The program no longer reads, or has no standard input.
        """
        ...

    async def close_stdin(self) -> None:
        """Let the program see the end of its standard input; may be repeated."""
        ...

    async def resize(self, size: TerminalSize) -> None:
        """Change the size of its terminal and tell it so; without one, nothing happens."""
        ...

    async def signal(self, signal: int) -> None:
        """Send a signal to the program and those that it started in its process group."""
        ...

    async def kill(self, *, grace: float = 0.0) -> None:
        """End everything that the program started, detached processes included.

        With a `grace`, everything is asked to end (SIGTERM) and killed that many seconds later.
        """
        ...

    async def discard(self) -> None:
        """Throw away all further output: processes left behind never block or fail on it.

        What was written before can still be read. A terminal is hung up.
        """
        ...

    async def close(self) -> None:
        """Give up all that is held for this program, killing it if it runs; may be repeated."""
        ...
