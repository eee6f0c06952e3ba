"""What an engine must do.

An engine keeps sandboxes: it makes them, runs programs in them and opens their files. It knows
nothing of HTTP, teams, keys or rows. The services above it never assume that a sandbox shares a
kernel, a disk or a clock with the server: all they have is what stands here.

Everything that comes out of a sandbox is hostile: an engine checks sizes, names and numbers before
it passes them on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .errors import (
    DirectoryUnavailableError,
    EngineError,
    EngineUnavailableError,
    FileAccessError,
    FileProblem,
    PortClosedError,
    SandboxGoneError,
    UnknownTemplateError,
    UnsuitableError,
)

__all__ = [
    "Command",
    "Engine",
    "EngineCapabilities",
    "DirectoryUnavailableError",
    "EngineError",
    "EngineUnavailableError",
    "EnforcedLimits",
    "Exit",
    "FileAccessError",
    "FileProblem",
    "FileReader",
    "FileWriter",
    "Output",
    "PortClosedError",
    "Process",
    "SandboxGoneError",
    "SandboxHandle",
    "SandboxSpec",
    "UnknownTemplateError",
    "UnsuitableError",
    "Usage",
]

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class EnforcedLimits:
    """What enforces each limit: `cgroup`, `rlimit`, `file-size` or `none`."""

    memory: str
    pids: str
    cpu: str
    disk: str


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine enforces here and now.

    Attributes:
        engine: Name of the engine.
        level: `full` or `none`.
        templates: Names of the templates it has, sorted.
        namespaces: Kernel namespaces that each sandbox has of its own, sorted.
        network: Network modes that can be asked for.
        pause: How a pause is done: `freeze`, `stop` or `none`.
        reason: Why something is not enforced.
        missing: Templates that it could have, and what is to be done to have them.
    """

    engine: str
    level: str
    templates: Sequence[str]
    limits: EnforcedLimits
    namespaces: Sequence[str] = ()
    seccomp: bool = False
    no_new_privileges: bool = False
    capabilities_dropped: bool = False
    private_uid: bool = False
    network: Sequence[str] = ("none",)
    pause: str = "none"
    reason: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a new sandbox shall be like.

    Attributes:
        id: Its id, made by the caller.
        disk_mb: Largest size of a file in MiB.
        env: Environment variables of what the template itself starts.
        cwd: Directory that it starts in, and the home directory otherwise.
    """

    id: str
    template: str
    vcpus: int
    memory_mb: int
    disk_mb: int
    network: str = "none"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes:
        argv: Program and arguments; a program without a slash is searched on `PATH`.
        env: Environment variables on top of the engine's own (`PATH`, `HOME`, `USER`, ...).
        cwd: Directory to start in; relative ones start at the home directory, the default.
        user: User to run as; the sandbox's own if None.
        stdin: Whether there is a standard input to write to; it is empty otherwise.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    stdin: bool = False


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
    """

    code: int
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of resources by a sandbox at one time.

    Attributes:
        cpu_seconds: CPU time used since the sandbox was made.
        memory_bytes: Memory in use.
        disk_bytes: Disk in use.
    """

    cpu_seconds: float
    memory_bytes: int
    disk_bytes: int


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

    async def signal(self, signal: int) -> None:
        """Send a signal to the program and those that it started in its process group."""
        ...

    async def kill(self, *, grace: float = 0.0) -> None:
        """End everything that the program started, detached processes included.

        With a `grace`, everything is asked to end (SIGTERM) and killed that many seconds later.
        """
        ...

    async def discard(self) -> None:
        """Throw away all further output: processes left behind never block or fail on it."""
        ...

    async def close(self) -> None:
        """Give up all that is held for this program, killing it if it runs; may be repeated."""
        ...


class FileReader(Protocol):
    """A regular file of a sandbox, open for reading."""

    @property
    def size(self) -> int:
        """Bytes at the time of opening; 0 also for those of `/proc`, which do not know."""
        ...

    async def read(self, size: int) -> bytes:
        """Return up to `size` bytes; nothing at the end.

        Raises:
            FileAccessError: The file cannot be read.
        """
        ...

    async def close(self) -> None:
        """Close the file; may be repeated."""
        ...


class FileWriter(Protocol):
    """A file of a sandbox that is about to be replaced: nothing is seen of it until `commit`."""

    async def write(self, data: bytes) -> None:
        """Append to the new content.

        Raises:
            FileAccessError: The bytes cannot be stored.
        """
        ...

    async def commit(self) -> None:
        """Put the new content in place, durably and at once.

        Raises:
            FileAccessError: That cannot be done; the old content is untouched.
        """
        ...

    async def abort(self) -> None:
        """Throw the new content away; may be repeated, and does nothing after `commit`."""
        ...


class SandboxHandle(Protocol):
    """A living sandbox.

    Every method raises `SandboxGoneError` when the sandbox has died.
    """

    @property
    def id(self) -> str:
        """Its id."""
        ...

    async def wait_gone(self) -> None:
        """Wait until the sandbox has died, for whatever reason."""
        ...

    async def spawn(self, command: Command) -> Process:
        """Start a program.

        A program that does not exist or cannot be executed is started all the same: it writes a
        line to its stderr and ends with code 127 or 126; so does one whose directory cannot be
        entered (126).

        Raises:
            EngineError: The user is unknown.
        """
        ...

    async def open_reader(self, path: str) -> FileReader:
        """Open a regular file for reading; relative paths start at the home directory.

        Raises:
            FileAccessError: There is no such file, it is no regular file, or it may not be read.
        """
        ...

    async def open_writer(self, path: str) -> FileWriter:
        """Prepare to make or replace a regular file, making missing parents.

        Symbolic links are followed.

        Raises:
            FileAccessError: The path is a directory or may not be written.
        """
        ...

    async def connect(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], timeout: float | None = None
    ) -> asyncio.Transport:
        """Connect to a program that listens on a TCP port of the loopback interface.

        The connection is lost when the sandbox dies; while it is paused, nothing moves. What the
        template itself starts is waited for until it listens.

        Args:
            port: Which.
            factory: Makes what is told of the connection.
            timeout: Seconds that a program that listens may take to accept.

        Raises:
            PortClosedError: Nothing listens there.
            TimeoutError: The connection is not accepted in time.
            EngineError: The connection cannot be made.
        """
        ...

    async def pause(self) -> None:
        """Freeze all processes."""
        ...

    async def resume(self) -> None:
        """Thaw all processes."""
        ...

    async def usage(self) -> Usage:
        """Measure the use of resources; works on a paused sandbox too."""
        ...


class Engine(Protocol):
    """Keeps sandboxes."""

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it enforces; known after `start`."""
        ...

    async def start(self) -> None:
        """Get ready, removing whatever an earlier life of this engine left behind.

        Raises:
            EngineUnavailableError: It cannot work on this machine.
        """
        ...

    async def close(self) -> None:
        """Destroy all sandboxes and leave nothing behind; may be repeated."""
        ...

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        """Make a sandbox that runs; on failure or cancellation nothing of it is left.

        Raises:
            UnknownTemplateError: There is no such template.
            UnsuitableError: This engine makes none like it.
            EngineError: It could not be made.
        """
        ...

    async def destroy(self, sandbox_id: str) -> None:
        """Kill a sandbox and remove its files; an unknown one is no error."""
        ...
