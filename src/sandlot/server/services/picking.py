"""What a COPY takes out of the clean archive of a build, under which names."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Picker", "SourceError"]


class SourceError(Exception):
    """A source is not in the archive; the message says so."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A source as it was given, and where it is; the root is the empty name."""

    text: str
    name: str


class Picker:
    """Finds sources in an archive, and writes them into another one, for the sandbox to unpack.

    Reading the archive takes a while, so whoever calls does so in a thread.

    Args:
        archive: The clean archive; None if nothing was sent along.
        sources: What to take.
    """

    def __init__(self, archive: Path | None, sources: Sequence[str]) -> None:
        if archive is None:
            raise SourceError("there is nothing to copy from: no archive came with the recipe")
        self._archive = archive
        self._sources = [_Source(text, _inside(text)) for text in sources]
        with tarfile.open(archive, "r:", encoding="utf-8") as tar:
            self._members = {member.name: member for member in tar}
        self._parents = {
            parent for name in self._members for parent in _parents(name)
        } - self._members.keys()

    def is_directory(self) -> bool:
        """Tell whether there is but one source, and that is a directory."""
        return len(self._sources) == 1 and self._kind(self._sources[0]) == "directory"

    def check(self) -> None:
        """Check that all sources are there.

        Raises:
            SourceError: One is not.
        """
        for source in self._sources:
            if self._kind(source) is None:
                raise SourceError(f"the archive has no {source.text!r}")

    def write(self, target: IO[bytes], name: str | None, mode: int | None) -> None:
        """Write the sources: of directories what is in them, of files the files.

        Args:
            target: Where the new archive is written.
            name: What to call the one source, if it is a file; its own name if None.
            mode: What files may be used for by whom; as in the archive if None.
        """
        with (
            tarfile.open(self._archive, "r:", encoding="utf-8") as tar,
            tarfile.open(
                fileobj=target, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
            ) as picked,
        ):
            for member, new_name in self._renamed(name):
                content = tar.extractfile(member) if member.isreg() else None
                renamed = copy(member)
                renamed.name = new_name
                if mode is not None and member.isreg():
                    renamed.mode = mode
                picked.addfile(renamed, content)

    def _renamed(self, name: str | None) -> Sequence[tuple[tarfile.TarInfo, str]]:
        found: list[tuple[tarfile.TarInfo, str]] = []
        for source in self._sources:
            member = self._members.get(source.name)
            if member is not None and not member.isdir():
                found.append((member, name or posixpath.basename(source.name)))
                continue
            prefix = f"{source.name}/" if source.name else ""
            found += [
                (each, inner.removeprefix(prefix))
                for inner, each in self._members.items()
                if inner.startswith(prefix)
            ]
        return found

    def _kind(self, source: _Source) -> str | None:
        if not source.name or source.name in self._parents:
            return "directory"
        member = self._members.get(source.name)
        if member is None:
            return None
        return "directory" if member.isdir() else "file"


def _inside(text: str) -> str:
    """Return where a source is in the archive."""
    clean = posixpath.normpath(text.lstrip("/") or ".")
    if clean == ".." or clean.startswith("../"):
        raise SourceError(f"{text!r} leads out of the archive")
    return "" if clean == "." else clean


def _parents(name: str) -> Sequence[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
