"""Archives that are sent along with recipes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import InvalidArgumentError

__all__ = ["Archive", "packed"]

Archive: TypeAlias = bytes | str | os.PathLike[str]
"""An archive, its path, or that of a directory."""

_LARGEST = 100 << 20
"""Bytes that servers take (wrenn: 2.12)."""


def packed(archive: Archive | None) -> bytes | None:
    """Return an archive; a directory is packed, with all that is in it."""
    if archive is None:
        return None
    if isinstance(archive, bytes):
        return _checked(archive)
    path = _path(archive)
    if path.is_dir():
        return _checked(_pack(path))
    if path.stat().st_size > _LARGEST:
        raise InvalidArgumentError(_too_large())
    return _checked(path.read_bytes())


def _path(value: Any) -> Path:
    try:
        return Path(value)
    except TypeError:
        kind = type(value).__name__
        raise InvalidArgumentError(f"archive must be bytes or a path, not {kind}") from None


def _pack(directory: Path) -> bytes:
    """Pack what is in a directory: always alike, whoever owns the files and whenever it is done."""
    import gzip  # needed only here, as are the others
    import tarfile
    from io import BytesIO

    packed = BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(directory.rglob("*")):
            status = path.lstat()
            info = tarfile.TarInfo(path.relative_to(directory).as_posix())
            info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
            if path.is_symlink():
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(info)
            elif path.is_dir():
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif path.is_file():
                with path.open("rb") as file:
                    info.size = os.fstat(file.fileno()).st_size
                    tar.addfile(info, file)
            else:
                raise InvalidArgumentError(f"archive: {path} is no file, directory or link")
            if packed.tell() > _LARGEST:
                break
    return packed.getvalue()


def _checked(data: bytes) -> bytes:
    if not data:
        raise InvalidArgumentError("archive is empty")
    if len(data) > _LARGEST:
        raise InvalidArgumentError(_too_large())
    return data


def _too_large() -> str:
    return f"archive is larger than {_LARGEST >> 20} MiB, packed"
