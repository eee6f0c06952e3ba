"""Files of a sandbox, and its directories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["FileEntry", "FileReader", "FileTree", "FileWriter"]


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


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What there is to say of a file, a directory or a link.

    Texts that come from names have bytes that are no UTF-8 as surrogates (PEP 383).

    Attributes:
        path: Where it is, from the root.
        name: The last part of that.
        type: `file`, `directory`, or `unknown` for anything else; of a link that of its target.
        size: Bytes of its content.
        mode: Permission bits, of a link those of its target; 0 if that is not there.
        permissions: The same for people to read, with the letter of its own type.
        owner: Name or number of its user.
        group: Name or number of its group.
        modified_at: When its content was last changed, in seconds since 1970.
        symlink_target: Where a link leads, from the root.
    """

    path: str
    name: str
    type: str
    size: int
    mode: int
    permissions: str
    owner: str
    group: str
    modified_at: int
    symlink_target: str | None = None


class FileTree(Protocol):
    """The files and directories of a sandbox, as its own user finds them.

    Relative paths start at the home directory, as does `~`. Everything here raises
    `FileAccessError` if something is missing, in the way, forbidden or full, and
    `SandboxGoneError` when the sandbox has died. Whoever gives up waiting ends what was being done.
    """

    async def stat(self, path: str) -> FileEntry:
        """Tell what is at a path; a link is not followed."""
        ...

    async def list(self, path: str, depth: int, most: int) -> Sequence[FileEntry]:
        """Tell what is in a directory, parents before what is in them, by name.

        Args:
            path: The directory.
            depth: Levels to go down, at least 1.
            most: How many entries there may be; more are an error (`too_large`).
        """
        ...

    async def make_directory(self, path: str) -> FileEntry:
        """Make a directory and its parents; one that is there is an error (`exists`)."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        ...

    async def move(self, source: str, destination: str, *, overwrite: bool) -> FileEntry:
        """Give something another path, making missing parents."""
        ...

    async def copy(self, source: str, destination: str, *, overwrite: bool) -> FileEntry:
        """Copy something, directories with all that is in them, making missing parents."""
        ...

    async def change_mode(self, path: str, mode: int) -> FileEntry:
        """Change the permission bits of a file or directory."""
        ...

    async def pack(self, path: str) -> FileReader:
        """Return what is in a directory as a tar archive, made while it is read."""
        ...

    async def extract(self, path: str) -> FileWriter:
        """Take a tar archive, whose content goes below a directory as it comes.

        What came before an error or `abort` stays; `commit` says whether all is in place.
        """
        ...
