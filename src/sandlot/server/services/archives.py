"""Archives that come with recipes: read as what they are, hostile, and written anew.

What is kept is a plain tar archive of files, directories and links that stay in it, under clean
names: nobody who reads that one later has anything to fear. Reading is bounded in memory, in what
comes out and in how many entries there are. Devices, pipes and sparse files are refused, and so
are encrypted entries and methods of compression other than deflate.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from .archive_tree import Allowance, Entry, Tree, refuse
from .errors import InvalidRequestError, NoSpaceError

__all__ = ["rewrite"]

_PIECE = 256 << 10
_BLOCK = 512
_MOST_OF_A_HEADER = 1 << 20
_DIRECTORY_END = b"PK\x05\x06"
_DIRECTORY_END_SIZE = 22
_ZIP64 = b"PK\x06\x07"
_ZIP64_SIZE = 20
_LONGEST_COMMENT = 0xFFFF
_LONGEST_LINK = 1024
_MOST_OF_A_DIRECTORY = 8 << 20
"""Bytes of the directory of a zip archive; entries take 46 and their names, at least."""
_HEADERS = 64 << 20
"""Bytes that headers of a tar archive may take, beside the files."""
_MOST_ATTRIBUTES = 1000
"""Of one entry of a tar archive; the library copies those that all have for each of them."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    gzip.BadGzipFile,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    ValueError,
)
"""What the standard library raises when archives make no sense."""


def rewrite(source: Path, target: Path, reserve: int) -> str:
    """Write the files of a tar, tar.gz or zip archive into a clean tar archive; takes a while.

    Args:
        source: The archive.
        target: Where to write.
        reserve: Bytes that must stay free on the disk.

    Returns:
        A digest of names, modes and contents, hexadecimal.

    Raises:
        InvalidRequestError: It is none of these, damaged, or not to be trusted.
        NoSpaceError: The disk is too full.
    """
    try:
        with source.open("rb") as packed, target.open("xb") as clean:
            os.fchmod(clean.fileno(), 0o600)
            writer = _Writer(clean, reserve)
            _read(packed, source.stat().st_size, writer, target.parent)
            return writer.finish()
    except _DAMAGED as error:
        raise InvalidRequestError(
            "archive: is damaged, or no tar, tar.gz or zip archive."
        ) from error


def _read(packed: IO[bytes], size: int, writer: _Writer, place: Path) -> None:
    start = packed.read(4)
    _ = packed.seek(0)
    if start.startswith(b"PK"):
        _read_zip(packed, Tree(size), writer)
    elif start.startswith(b"\x1f\x8b"):
        _read_gzip(packed, size, writer, place)
    else:
        _read_tar(packed, Tree(size), writer)


class _Writer:
    """Writes the clean archive, and its digest."""

    def __init__(self, file: IO[bytes], reserve: int) -> None:
        self._file = file
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
        )
        self._digest = hashlib.sha256()
        self._reserve = reserve

    def add(self, entry: Entry, content: IO[bytes] | None = None) -> None:
        """Write an entry, and exactly as much content as it says."""
        info = tarfile.TarInfo(entry.name)
        info.mode, info.mtime = entry.mode, entry.time
        self._note(entry.kind, entry.name, oct(entry.mode), entry.link, str(entry.size))
        if entry.kind == "file":
            self.check_space(entry.size)
            info.size = entry.size
            self._tar.addfile(
                info, None if content is None else _Exactly(content, self._digest.update)
            )
        else:
            info.type = tarfile.DIRTYPE if entry.kind == "directory" else tarfile.SYMTYPE
            info.linkname = entry.link
            self._tar.addfile(info)

    def check_space(self, size: int) -> None:
        """Check that the disk has room for so many bytes."""
        if shutil.disk_usage(self._file.fileno()).free - size < self._reserve:
            raise NoSpaceError("The disk of the server is too full for this archive.")

    def finish(self) -> str:
        """Write the end, and return the digest."""
        self._tar.close()
        return self._digest.hexdigest()

    def _note(self, *texts: str) -> None:
        for text in texts:
            data = text.encode()
            self._digest.update(len(data).to_bytes(4, "big") + data)


class _Exactly(io.BufferedIOBase):
    """Content on its way: what is asked for is what the header promises."""

    def __init__(self, content: IO[bytes], witness: Callable[[bytes], None]) -> None:
        self._content = content
        self._witness = witness

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._content.read(-1 if size is None else size)
        if len(data) != size:
            raise EOFError("the content is shorter than it should be")
        self._witness(data)
        return data


class _Wary(io.RawIOBase):
    """A file whose headers are read with a limit: lengths in them may say anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left: int | None = None

    def expect(self, header: bool) -> None:
        """Say whether a header is read from now on, or content."""
        self._left = _MOST_OF_A_HEADER if header else None

    def read(self, size: int = -1, /) -> bytes:
        if self._left is not None:
            self._left -= size
            if size < 0 or self._left < 0:
                raise ValueError("a header is too long")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _read_gzip(packed: IO[bytes], size: int, writer: _Writer, place: Path) -> None:
    """Unpack first, into a file without a name: hard links lead back and forth."""
    allowance = Allowance(size + _HEADERS // 200)
    with tempfile.TemporaryFile(dir=place) as plain:
        with gzip.GzipFile(fileobj=packed) as stream:
            while data := stream.read(_PIECE):
                allowance.spend(len(data))
                writer.check_space(len(data))
                _ = plain.write(data)
        _ = plain.seek(0)
        _read_tar(plain, Tree(size), writer)


def _read_tar(plain: IO[bytes], tree: Tree, writer: _Writer) -> None:
    wary = _Wary(plain)
    wary.expect(header=True)
    known = dict[str, tarfile.TarInfo]()
    with tarfile.open(fileobj=wary, mode="r:", encoding="utf-8") as tar:
        read = 0
        while (info := tar.next()) is not None:
            read = tar.offset
            wary.expect(header=False)
            if len(info.pax_headers) > _MOST_ATTRIBUTES:
                raise refuse(info.name, "has too many attributes")
            _copy_member(tar, info, known, tree, writer)
            # The library keeps all entries, and any of these may be as long as a header.
            info.pax_headers, info.linkname, info.uname, info.gname = {}, "", "", ""
            wary.expect(header=True)
        if tar.offset != read:
            raise ValueError("the library has passed over an entry")
        _check_end(plain, tar.offset)


def _copy_member(
    tar: tarfile.TarFile,
    info: tarfile.TarInfo,
    known: dict[str, tarfile.TarInfo],
    tree: Tree,
    writer: _Writer,
) -> None:
    if info.isdir():
        entry = tree.take(info.name, "directory", mode=info.mode, time=info.mtime)
        content = None
    elif info.issym():
        entry = tree.take(info.name, "link", mode=info.mode, time=info.mtime, link=info.linkname)
        content = None
    else:
        origin = _origin(info, known)
        entry = tree.take(info.name, "file", mode=origin.mode, size=origin.size, time=origin.mtime)
        content = tar.extractfile(origin)
        known[info.name.removeprefix("./")] = origin
    if entry is not None:
        writer.add(entry, content)


def _origin(info: tarfile.TarInfo, known: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo:
    """Return the member that has the content of a file: of a hard link an earlier one."""
    if info.islnk():
        found = known.get(info.linkname.removeprefix("./"))
        if found is None:
            raise refuse(info.name, "is a link to a file that does not come before it")
        return found
    if not info.isreg() or info.issparse():
        raise refuse(info.name, "is a device, a pipe or a sparse file")
    return info


def _check_end(plain: IO[bytes], offset: int) -> None:
    """Check that an archive ends as it should: the library takes garbage for the end."""
    _ = plain.seek(offset)
    if any(plain.read(_BLOCK)):
        raise ValueError("something is behind the last entry")


def _read_zip(packed: IO[bytes], tree: Tree, writer: _Writer) -> None:
    _check_directory(packed)
    with zipfile.ZipFile(packed) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if "\0" in info.orig_filename:
                raise refuse(info.orig_filename, "has a NUL in its name")
            if info.flag_bits & 1 or info.compress_type not in _METHODS:
                raise refuse(
                    info.filename, "is encrypted, or packed by another method than deflate"
                )
            if info.header_offset < 0:
                raise zipfile.BadZipFile("an entry begins before the archive")
            time = _time_of(info)
            if info.is_dir():
                entry = tree.take(info.filename, "directory", mode=mode or 0o755, time=time)
                if entry is not None:
                    writer.add(entry)
            elif kind == stat.S_IFLNK:
                _copy_zipped_link(archive, info, tree, writer, time)
            elif kind in (0, stat.S_IFREG):
                entry = tree.take(
                    info.filename, "file", mode=mode or 0o644, size=info.file_size, time=time
                )
                assert entry is not None
                with archive.open(info) as content:
                    writer.add(entry, content)
            else:
                raise refuse(info.filename, "is a device or a pipe")


def _copy_zipped_link(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: Tree, writer: _Writer, time: float
) -> None:
    if info.file_size > _LONGEST_LINK:
        raise refuse(info.filename, "is a link to too long a name")
    target = archive.read(info).decode()
    entry = tree.take(info.filename, "link", mode=0o777, time=time, link=target)
    assert entry is not None
    writer.add(entry)


def _check_directory(packed: IO[bytes]) -> None:
    """Check that the directory of a zip archive is not too large to be read into memory."""
    end = packed.seek(0, os.SEEK_END)
    start = max(0, end - _ZIP64_SIZE - _DIRECTORY_END_SIZE - _LONGEST_COMMENT)
    _ = packed.seek(start)
    tail = packed.read()
    at = tail.rfind(_DIRECTORY_END)
    if at < 0 or len(tail) - at < _DIRECTORY_END_SIZE:
        raise zipfile.BadZipFile("there is no directory")
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size > _MOST_OF_A_DIRECTORY or tail[max(0, at - _ZIP64_SIZE) : at].startswith(_ZIP64):
        raise InvalidRequestError("archive: has more entries than a zip archive may have here.")
    _ = packed.seek(0)


def _time_of(info: zipfile.ZipInfo) -> float:
    """Return when an entry was changed, taken for UTC; 0 for times that there are not."""
    try:
        return datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
