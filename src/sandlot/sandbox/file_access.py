"""Files on their way into a sandbox and out of it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from .._archives.unpacking import Limits
from .._operations import files
from . import transfers
from .files import AsyncFiles, Files
from .history import AsyncHistory, History
from .transfers import LocalPath, Progress

__all__ = ["AsyncFileAccess", "FileAccess"]


class FileAccess(History):
    """A sandbox whose files can be read and written."""

    @property
    def files(self) -> Files:
        """Its files and directories, by path."""
        return Files(self._transport, self._use)

    def upload(self, path: str, data: bytes) -> None:
        """Write a small file, held in memory; missing directories are made.

        The file appears with its whole content or not at all. Relative paths start at the home
        directory.
        """
        self._run(files.write(self._use(), path, data))

    def download(self, path: str) -> bytes:
        """Read a small file into memory; `FileNotFoundInSandboxError` if there is none."""
        return self._run(files.read(self._use(), path))

    def stream_upload(self, path: str, stream: Iterable[bytes]) -> None:
        """Write a file of any size, given in pieces; an open binary file will do.

        If the pieces end with an exception, the file in the sandbox stays as it was.
        """
        self._run(files.stream_write(self._use(), path, stream))

    def stream_download(self, path: str) -> Iterator[bytes]:
        """Read a file of any size, piece by piece.

        Raises:
            FileNotFoundInSandboxError: There is no such file.
            TransportError: The transfer broke off; what came so far is not the whole file.
        """
        return transfers.stream_download(self._transport, self._use(), path)

    def upload_file(
        self, path: str, source: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write the file `source` of this machine to `path` in the sandbox."""
        transfers.upload_file(self._transport, self._use(), path, source, progress)

    def download_file(
        self, path: str, target: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write `path` in the sandbox to the file `target` of this machine, whole or not at all."""
        transfers.download_file(self._transport, self._use(), path, target, progress)

    def upload_dir(self, path: str, source: LocalPath, *, progress: Progress | None = None) -> None:
        """Write what is in the directory `source` of this machine below `path` in the sandbox.

        Each file appears whole or not at all and replaces what has its name, unless that is a
        directory. Links are kept as links. `progress` is told the bytes sent, and no total.

        Raises:
            InvalidArgumentError: Something cannot be read, or a link leads out of the directory;
                what came before that has been sent.
        """
        transfers.upload_dir(self._transport, self._use(), path, source, progress)

    def download_dir(
        self,
        path: str,
        target: LocalPath,
        *,
        progress: Progress | None = None,
        max_bytes: int = 10 << 30,
        max_files: int = 1_000_000,
    ) -> None:
        """Write what is in the directory `path` of the sandbox below `target` on this machine.

        Nothing is written elsewhere, whatever the sandbox sends: links are not followed, those that
        lead out of the directory are refused, and so is what is neither file, directory nor link.
        Each file appears whole or not at all and replaces what has its name, unless that is a
        directory. What came before a failure stays.

        Args:
            path: The directory in the sandbox.
            target: The directory here, made if it is not there.
            progress: Told the bytes received, and no total.
            max_bytes: Bytes that all files may have together.
            max_files: How many files, directories and links there may be.

        Raises:
            FileNotFoundInSandboxError: There is no such directory.
            UnexpectedResponseError: Something was refused.
            TooLargeError: There is more than that.
            TransportError: The transfer broke off.
        """
        limits = Limits(max_bytes, max_files)
        transfers.download_dir(self._transport, self._use(), path, target, limits, progress)


class AsyncFileAccess(AsyncHistory):
    """A sandbox whose files can be read and written."""

    @property
    def files(self) -> AsyncFiles:
        """Its files and directories, by path."""
        return AsyncFiles(self._transport, self._use)

    async def upload(self, path: str, data: bytes) -> None:
        """Write a small file, held in memory; missing directories are made.

        The file appears with its whole content or not at all. Relative paths start at the home
        directory.
        """
        await self._run(files.write(self._use(), path, data))

    async def download(self, path: str) -> bytes:
        """Read a small file into memory; `FileNotFoundInSandboxError` if there is none."""
        return await self._run(files.read(self._use(), path))

    async def stream_upload(
        self, path: str, stream: AsyncIterable[bytes] | Iterable[bytes]
    ) -> None:
        """Write a file of any size, given in pieces; an open binary file will do.

        If the pieces end with an exception, the file in the sandbox stays as it was.
        """
        await self._run(files.stream_write(self._use(), path, stream))

    def stream_download(self, path: str) -> AsyncIterator[bytes]:
        """Read a file of any size, piece by piece.

        Raises:
            FileNotFoundInSandboxError: There is no such file.
            TransportError: The transfer broke off; what came so far is not the whole file.
        """
        return transfers.async_stream_download(self._transport, self._use(), path)

    async def upload_file(
        self, path: str, source: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write the file `source` of this machine to `path` in the sandbox."""
        await transfers.async_upload_file(self._transport, self._use(), path, source, progress)

    async def download_file(
        self, path: str, target: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write `path` in the sandbox to the file `target` of this machine, whole or not at all."""
        await transfers.async_download_file(self._transport, self._use(), path, target, progress)

    async def upload_dir(
        self, path: str, source: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write what is in the directory `source` of this machine below `path` in the sandbox.

        Each file appears whole or not at all and replaces what has its name, unless that is a
        directory. Links are kept as links. `progress` is told the bytes sent, and no total.

        Raises:
            InvalidArgumentError: Something cannot be read, or a link leads out of the directory;
                what came before that has been sent.
        """
        await transfers.async_upload_dir(self._transport, self._use(), path, source, progress)

    async def download_dir(
        self,
        path: str,
        target: LocalPath,
        *,
        progress: Progress | None = None,
        max_bytes: int = 10 << 30,
        max_files: int = 1_000_000,
    ) -> None:
        """Write what is in the directory `path` of the sandbox below `target` on this machine.

        Nothing is written elsewhere, whatever the sandbox sends: links are not followed, those that
        lead out of the directory are refused, and so is what is neither file, directory nor link.
        Each file appears whole or not at all and replaces what has its name, unless that is a
        directory. What came before a failure stays.

        Args:
            path: The directory in the sandbox.
            target: The directory here, made if it is not there.
            progress: Told the bytes received, and no total.
            max_bytes: Bytes that all files may have together.
            max_files: How many files, directories and links there may be.

        Raises:
            FileNotFoundInSandboxError: There is no such directory.
            UnexpectedResponseError: Something was refused.
            TooLargeError: There is more than that.
            TransportError: The transfer broke off.
        """
        limits = Limits(max_bytes, max_files)
        await transfers.async_download_dir(
            self._transport, self._use(), path, target, limits, progress
        )
