"""Files of a sandbox, open."""

from __future__ import annotations

from typing import Protocol

__all__ = ["FileReader", "FileWriter"]


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
