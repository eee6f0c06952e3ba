"""The files of one sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .. import models
from .._operations import files, trees
from .._resource import AsyncResource, Resource
from .._transport import AsyncTransport, Transport

__all__ = ["AsyncFiles", "Files"]


class Files(Resource):
    """Files and directories in one sandbox.

    Relative paths, `~` and `~/...` start at the home directory. Names whose bytes are no UTF-8 are
    texts with surrogates, as `os.fsdecode` makes them. Missing paths raise
    `FileNotFoundInSandboxError`, forbidden ones `PermissionDeniedError`.
    """

    def __init__(self, transport: Transport, use: Callable[[], str]) -> None:
        super().__init__(transport)
        self._use = use

    def read(self, path: str) -> bytes:
        """Read a small file into memory; see `Sandbox.stream_download` for large ones."""
        return self._run(files.read(self._use(), path))

    def read_text(self, path: str, *, encoding: str = "utf-8") -> str:
        """Read a small file that is text.

        Raises:
            InvalidArgumentError: It is not text in this encoding.
        """
        return self._run(trees.read_text(self._use(), path, encoding))

    def write(self, path: str, data: str | bytes) -> None:
        """Write a small file, text as UTF-8; missing directories are made.

        The file appears with its whole content or not at all.
        """
        self._run(trees.write(self._use(), path, data))

    def write_many(self, contents: Mapping[str, str | bytes]) -> None:
        """Write small files, by path, one after the other; each as `write` does."""
        self._run(trees.write_many(self._use(), contents))

    def list(self, path: str = ".", *, depth: int = 1) -> Sequence[models.FileEntry]:
        """Tell what is in a directory: parents before what is in them, by name.

        Links are told of, not followed. Directories below that may not be read are told without
        their content.

        Args:
            path: The directory.
            depth: How many levels to tell of.

        Raises:
            TooLargeError: There are more than 10,000 entries.
        """
        return self._run(trees.list_entries(self._server, self._use(), path, depth))

    def stat(self, path: str) -> models.FileEntry:
        """Tell what is at a path; of a link, its target's type and mode too."""
        return self._run(trees.stat(self._server, self._use(), path))

    def exists(self, path: str) -> bool:
        """Tell whether there is anything at a path, be it a link to nothing."""
        return self._run(trees.exists(self._server, self._use(), path))

    def mkdir(self, path: str) -> models.FileEntry:
        """Make a directory and its parents.

        Raises:
            ConflictError: There is such a directory.
            InvalidRequestError: There is a file of this name.
        """
        return self._run(trees.make_directory(self._server, self._use(), path))

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        self._run(trees.remove(self._server, self._use(), path))

    def move(self, source: str, destination: str, *, overwrite: bool = False) -> models.FileEntry:
        """Give a file or directory another path, making missing parents.

        Args:
            source: What to move.
            destination: Its new path, not the directory that it goes into.
            overwrite: Replace what is there, a directory with all that is in it.

        Raises:
            ConflictError: There is something at the destination.
        """
        return self._run(
            trees.move(self._server, self._use(), source, destination, overwrite=overwrite)
        )

    def copy(self, source: str, destination: str, *, overwrite: bool = False) -> models.FileEntry:
        """Copy a file, or a directory with all that is in it; links are copied as links.

        Args:
            source: What to copy.
            destination: Path of the copy, not the directory that it goes into.
            overwrite: Replace what is there, a directory with all that is in it.

        Raises:
            ConflictError: There is something at the destination.
        """
        return self._run(
            trees.copy(self._server, self._use(), source, destination, overwrite=overwrite)
        )

    def chmod(self, path: str, mode: int) -> models.FileEntry:
        """Change the permission bits of a file or directory, such as `0o755`."""
        return self._run(trees.change_mode(self._server, self._use(), path, mode))


class AsyncFiles(AsyncResource):
    """Files and directories in one sandbox.

    Relative paths, `~` and `~/...` start at the home directory. Names whose bytes are no UTF-8 are
    texts with surrogates, as `os.fsdecode` makes them. Missing paths raise
    `FileNotFoundInSandboxError`, forbidden ones `PermissionDeniedError`.
    """

    def __init__(self, transport: AsyncTransport, use: Callable[[], str]) -> None:
        super().__init__(transport)
        self._use = use

    async def read(self, path: str) -> bytes:
        """Read a small file into memory; see `Sandbox.stream_download` for large ones."""
        return await self._run(files.read(self._use(), path))

    async def read_text(self, path: str, *, encoding: str = "utf-8") -> str:
        """Read a small file that is text.

        Raises:
            InvalidArgumentError: It is not text in this encoding.
        """
        return await self._run(trees.read_text(self._use(), path, encoding))

    async def write(self, path: str, data: str | bytes) -> None:
        """Write a small file, text as UTF-8; missing directories are made.

        The file appears with its whole content or not at all.
        """
        await self._run(trees.write(self._use(), path, data))

    async def write_many(self, contents: Mapping[str, str | bytes]) -> None:
        """Write small files, by path, one after the other; each as `write` does."""
        await self._run(trees.write_many(self._use(), contents))

    async def list(self, path: str = ".", *, depth: int = 1) -> Sequence[models.FileEntry]:
        """Tell what is in a directory: parents before what is in them, by name.

        Links are told of, not followed. Directories below that may not be read are told without
        their content.

        Args:
            path: The directory.
            depth: How many levels to tell of.

        Raises:
            TooLargeError: There are more than 10,000 entries.
        """
        return await self._run(trees.list_entries(self._server, self._use(), path, depth))

    async def stat(self, path: str) -> models.FileEntry:
        """Tell what is at a path; of a link, its target's type and mode too."""
        return await self._run(trees.stat(self._server, self._use(), path))

    async def exists(self, path: str) -> bool:
        """Tell whether there is anything at a path, be it a link to nothing."""
        return await self._run(trees.exists(self._server, self._use(), path))

    async def mkdir(self, path: str) -> models.FileEntry:
        """Make a directory and its parents.

        Raises:
            ConflictError: There is such a directory.
            InvalidRequestError: There is a file of this name.
        """
        return await self._run(trees.make_directory(self._server, self._use(), path))

    async def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        await self._run(trees.remove(self._server, self._use(), path))

    async def move(
        self, source: str, destination: str, *, overwrite: bool = False
    ) -> models.FileEntry:
        """Give a file or directory another path, making missing parents.

        Args:
            source: What to move.
            destination: Its new path, not the directory that it goes into.
            overwrite: Replace what is there, a directory with all that is in it.

        Raises:
            ConflictError: There is something at the destination.
        """
        return await self._run(
            trees.move(self._server, self._use(), source, destination, overwrite=overwrite)
        )

    async def copy(
        self, source: str, destination: str, *, overwrite: bool = False
    ) -> models.FileEntry:
        """Copy a file, or a directory with all that is in it; links are copied as links.

        Args:
            source: What to copy.
            destination: Path of the copy, not the directory that it goes into.
            overwrite: Replace what is there, a directory with all that is in it.

        Raises:
            ConflictError: There is something at the destination.
        """
        return await self._run(
            trees.copy(self._server, self._use(), source, destination, overwrite=overwrite)
        )

    async def chmod(self, path: str, mode: int) -> models.FileEntry:
        """Change the permission bits of a file or directory, such as `0o755`."""
        return await self._run(trees.change_mode(self._server, self._use(), path, mode))
