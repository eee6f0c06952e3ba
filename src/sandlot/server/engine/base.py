"""What an engine must do.

An engine keeps sandboxes: it makes them, runs programs in them and opens their files. It knows
nothing of HTTP, teams, keys or rows. The services above it never assume that a sandbox shares a
kernel, a disk or a clock with the server: all they have is what stands here.

Everything that comes out of a sandbox is hostile: an engine checks sizes, names and numbers before
it passes them on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .capabilities import EnforcedLimits, EngineCapabilities
from .captures import Change, Changes, SnapshotSize
from .errors import (
    DirectoryUnavailableError,
    EngineError,
    EngineUnavailableError,
    FileAccessError,
    FileProblem,
    PortClosedError,
    SandboxGoneError,
    UnknownSnapshotError,
    UnknownTemplateError,
    UnsuitableError,
)
from .figures import Node, Usage
from .files import FileEntry, FileReader, FileTree, FileWriter
from .programs import Command, Exit, Output, Process, Stream, TerminalSize

__all__ = [
    "Change",
    "Changes",
    "Command",
    "DirectoryUnavailableError",
    "EnforcedLimits",
    "Engine",
    "EngineCapabilities",
    "EngineError",
    "EngineUnavailableError",
    "Exit",
    "FileAccessError",
    "FileEntry",
    "FileProblem",
    "FileReader",
    "FileTree",
    "FileWriter",
    "Node",
    "Output",
    "PortClosedError",
    "Process",
    "SandboxGoneError",
    "SandboxHandle",
    "SandboxSpec",
    "SnapshotSize",
    "Stream",
    "TerminalSize",
    "UnknownSnapshotError",
    "UnknownTemplateError",
    "UnsuitableError",
    "Usage",
]


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a new sandbox shall be like.

    Attributes:
        id: Its id, made by the caller.
        disk_mb: MiB that its home directory may take on the disk.
        env: Environment variables of what the template itself starts.
        cwd: Directory that it starts in, and the home directory otherwise.
        snapshot: Id of the snapshot that its files come from; they are those of the template if
            None.
        nodes: Names of the nodes that it may be on; any, if there are none.
    """

    id: str
    template: str
    vcpus: int
    memory_mb: int
    disk_mb: int
    network: str = "none"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    snapshot: str | None = None
    nodes: Sequence[str] = ()


class SandboxHandle(Protocol):
    """A living sandbox.

    Every method raises `SandboxGoneError` when the sandbox has died.
    """

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def node(self) -> str:
        """Name of the node that it is on."""
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

    @property
    def tree(self) -> FileTree:
        """Its files and directories."""
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

    async def snapshot(self, snapshot_id: str) -> Awaitable[SnapshotSize]:
        """Capture the home directory as it is at one moment; the sandbox, paused or not, goes on.

        Args:
            snapshot_id: What to know the snapshot by.

        Returns:
            Its size, once that is counted, which takes the longer the more files are new. If it
            cannot be counted, awaiting it raises an `EngineError` and the snapshot is gone.

        Raises:
            UnsuitableError: This engine captures no files.
            EngineError: They could not be captured; nothing is left of the attempt.
        """
        ...

    async def rollback(self, snapshot_id: str) -> None:
        """Kill all processes and begin anew, with the files of a snapshot; it runs afterwards.

        Raises:
            UnknownSnapshotError: There is no such snapshot; nothing was done.
            EngineError: It could not be done, and the sandbox has died.
        """
        ...

    async def changes(self, snapshot_id: str | None) -> Changes:
        """Compare the home directory with a snapshot, or with what the sandbox began with.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
        """
        ...

    async def open_base(self, snapshot_id: str | None, path: str) -> FileReader:
        """Open a regular file as it was in a snapshot, or in what the sandbox began with.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
            FileAccessError: It has no such file.
        """
        ...


class Engine(Protocol):
    """Keeps sandboxes."""

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it enforces; known after `start`."""
        ...

    async def start(self) -> None:
        """Get ready, removing what an earlier life of this engine left that cannot go on.

        Raises:
            EngineUnavailableError: It cannot work on this machine.
        """
        ...

    async def nodes(self) -> Sequence[Node]:
        """Return the machines that its sandboxes can be on, as they are now; after `start`."""
        ...

    async def adopt(self) -> Sequence[SandboxHandle]:
        """Return the sandboxes that outlived the last life of this engine, once after `start`.

        They may be running or paused. What the last life was waiting for in them has been killed,
        or is when they run on.
        """
        ...

    async def close(self) -> None:
        """Destroy all sandboxes and leave nothing behind; may be repeated."""
        ...

    async def release(self) -> None:
        """Leave all sandboxes to the next life, where they can outlive this one, else `close`."""
        ...

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        """Make a sandbox that runs; on failure or cancellation nothing of it is left.

        Raises:
            UnknownTemplateError: There is no such template.
            UnknownSnapshotError: There is no such snapshot.
            UnsuitableError: This engine makes none like it.
            EngineError: It could not be made.
        """
        ...

    async def destroy(self, sandbox_id: str) -> None:
        """Kill a sandbox and remove its files; an unknown one is no error."""
        ...

    async def snapshots(self) -> Sequence[str]:
        """Return the ids of all snapshots."""
        ...

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot; an unknown one is no error.

        What living sandboxes and other snapshots need of its files stays until they are gone.
        """
        ...
