"""Files and directories of a sandbox, as forks of its agent see and change them.

The server never walks these trees. What it is told of them is hostile: lines are bounded in length
and number, and what does not have the form of an entry ends the matter.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from sandlot.server.engine.base import (
    EngineError,
    Exit,
    FileAccessError,
    FileEntry,
    FileReader,
    FileWriter,
    Output,
    SandboxGoneError,
)
from sandlot.server.guest import wire

from .agent import AgentClient
from .fates import Fates
from .files import check_path, problem
from .process import LocalProcess

__all__ = ["LocalTree"]

_LINE = 64 * 1024
"""Bytes that an entry, or a reason, may take: two paths of 4096, and each byte escaped."""
_GRACE = 2.0
"""Seconds to clean up in for what is ended before it is done."""
_TYPES = frozenset({"file", "directory", "symlink", "unknown"})
_MODES = 0o7777


class LocalTree:
    """The files and directories of a sandbox.

    Args:
        agent: The agent of the sandbox.
        owner: User on the host that its processes are, where that is not the server's own.
        fates: Those of the programs of the sandbox.
    """

    def __init__(self, agent: AgentClient, owner: int | None, fates: Fates | None) -> None:
        self._agent = agent
        self._owner = owner
        self._fates = fates

    async def stat(self, path: str) -> FileEntry:
        """Tell what is at a path."""
        return await self._entry({"chore": "stat", "path": path})

    async def list(self, path: str, depth: int, most: int) -> Sequence[FileEntry]:
        """Tell what is in a directory."""
        message = {"chore": "list", "path": path, "depth": depth, "most": most}
        lines = await self._lines(message, most * 1024 + _LINE)
        if len(lines) > most:
            raise _mad()
        return await asyncio.to_thread(_read_entries, lines)

    async def make_directory(self, path: str) -> FileEntry:
        """Make a directory and its parents."""
        return await self._entry({"chore": "mkdir", "path": path})

    async def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        _ = await self._lines({"chore": "remove", "path": path}, 0)

    async def move(self, source: str, destination: str, *, overwrite: bool) -> FileEntry:
        """Give something another path."""
        return await self._transfer("move", source, destination, overwrite)

    async def copy(self, source: str, destination: str, *, overwrite: bool) -> FileEntry:
        """Copy something."""
        return await self._transfer("copy", source, destination, overwrite)

    async def change_mode(self, path: str, mode: int) -> FileEntry:
        """Change the permission bits of a file or directory."""
        return await self._entry({"chore": "chmod", "path": path, "mode": mode})

    async def pack(self, path: str) -> FileReader:
        """Return what is in a directory as a tar archive."""
        return _Packing(await self._start({"chore": "pack", "path": path}))

    async def extract(self, path: str) -> FileWriter:
        """Take a tar archive."""
        return _Extraction(await self._start({"chore": "extract", "path": path}, stdin=True))

    async def _transfer(
        self, chore: str, source: str, destination: str, overwrite: bool
    ) -> FileEntry:
        fields = {"destination": check_path(destination), "overwrite": overwrite}
        return await self._entry({"chore": chore, "path": source, **fields})

    async def _entry(self, message: wire.Message) -> FileEntry:
        entries = _read_entries(await self._lines(message, _LINE))
        if len(entries) != 1:
            raise _mad()
        return entries[0]

    async def _lines(self, message: wire.Message, most: int) -> Sequence[bytes]:
        """Have something done; return the lines that it has written, of so many bytes at most."""
        chore = await self._start(message)
        output = bytearray()
        try:
            while piece := await chore.read():
                output += piece
                if len(output) > most:
                    raise FileAccessError("too_large", f"{chore.path}: there is too much to list")
        finally:
            await chore.end()
        return bytes(output).splitlines()

    async def _start(self, message: wire.Message, *, stdin: bool = False) -> _Chore:
        path = check_path(wire.text(message, "path"))
        process = await LocalProcess.start_chore(
            self._agent, message, self._owner, stdin=stdin, fates=self._fates
        )
        return _Chore(process, path)


class _Chore:
    """Something that is being done, about a path."""

    def __init__(self, process: LocalProcess, path: str) -> None:
        self.path = path
        self._process = process
        self._complaint = bytearray()
        self._ended = False

    async def read(self) -> bytes:
        """Return some of the result; nothing once it is complete.

        Raises:
            FileAccessError: It could not be done.
            EngineError: It failed for other reasons.
        """
        while (output := await self._process.read()) is not None:
            if data := self._take(output):
                return data
        exit = await self._process.wait()
        self._ended = True
        self._check(exit)
        return b""

    async def write(self, data: bytes) -> None:
        """Let it read something.

        Raises:
            FileAccessError: It has given up.
        """
        try:
            await self._process.write_stdin(data)
        except BrokenPipeError as error:
            while await self.read():  # which says why it has ended
                continue
            raise _mad() from error

    async def finish(self) -> None:
        """Let it read no more, and wait until it is done."""
        await self._process.close_stdin()
        while await self.read():
            continue

    async def end(self) -> None:
        """Have nothing done any more, and all cleaned up; may be repeated."""
        try:
            if not self._ended:
                self._ended = True
                await self._process.kill(grace=_GRACE)
        except SandboxGoneError:
            return  # and all that was done in it
        finally:
            await self._process.close()

    def _take(self, output: Output) -> bytes:
        if output.stream == "stdout":
            return output.data
        self._complaint += output.data
        if len(self._complaint) > _LINE:
            raise _mad()
        return b""

    def _check(self, exit: Exit) -> None:
        if exit.code == 0 and not self._complaint:
            return
        if exit.no_space:
            raise FileAccessError("no_space", f"{self.path}: the sandbox's disk is full")
        if not self._complaint:
            reason = "memory ran out" if exit.oom else "something stopped or killed it"
            raise EngineError(f"{self.path}: this could not be done in the sandbox: {reason}")
        try:
            message = wire.decode(bytes(self._complaint))
            number, text = wire.integer(message, "error"), wire.text(message, "text")
            where = wire.text(message, "path")
        except wire.WireError as error:
            raise _mad() from error
        raise problem(number, text, f"{self.path}: {where}" if where else self.path)


class _Packing:
    """An archive that is being made."""

    def __init__(self, chore: _Chore) -> None:
        self._chore = chore

    @property
    def size(self) -> int:
        """Nobody knows it beforehand."""
        return 0

    async def read(self, size: int) -> bytes:
        """Return some of the archive; nothing at the end."""
        return await self._chore.read()

    async def close(self) -> None:
        """End what is being done; may be repeated."""
        await self._chore.end()


class _Extraction:
    """An archive whose content is being written."""

    def __init__(self, chore: _Chore) -> None:
        self._chore = chore

    async def write(self, data: bytes) -> None:
        """Take some of the archive."""
        await self._chore.write(data)

    async def commit(self) -> None:
        """Wait until all is in place."""
        try:
            await self._chore.finish()
        finally:
            await self._chore.end()

    async def abort(self) -> None:
        """Leave it at what has come; may be repeated."""
        await self._chore.end()


def _read_entries(lines: Sequence[bytes]) -> list[FileEntry]:
    try:
        return [_read_entry(wire.decode(line)) for line in lines]
    except wire.WireError as error:
        raise _mad() from error


def _read_entry(message: wire.Message) -> FileEntry:
    entry = FileEntry(
        path=wire.text(message, "path"),
        name=wire.text(message, "name"),
        type=wire.text(message, "type"),
        size=wire.integer(message, "size"),
        mode=wire.integer(message, "mode"),
        permissions=wire.text(message, "permissions"),
        owner=wire.text(message, "owner"),
        group=wire.text(message, "group"),
        modified_at=wire.integer(message, "modified_at"),
        symlink_target=wire.optional_text(message, "symlink_target"),
    )
    if entry.type not in _TYPES or not 0 <= entry.mode <= _MODES or entry.size < 0:
        raise wire.WireError("no file is like that")
    for text in (entry.path, entry.name, entry.owner, entry.group, entry.symlink_target or ""):
        try:
            _ = os.fsencode(text)
        except UnicodeEncodeError as error:
            raise wire.WireError("there is no such name") from error
    return entry


def _mad() -> EngineError:
    return EngineError("the sandbox answered nonsense")
