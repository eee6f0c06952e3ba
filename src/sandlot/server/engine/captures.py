"""What is told of captured files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Change", "Changes", "SnapshotSize"]


@dataclass(frozen=True, slots=True)
class SnapshotSize:
    """How large a snapshot is.

    Attributes:
        own_bytes: Disk that it alone takes.
        total_bytes: Size of all its files, whether shared with others or not.
    """

    own_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """How one file differs.

    Attributes:
        path: Path below the home directory; bytes that are no UTF-8 are surrogates (PEP 383).
        type: What it is, or was if it was deleted.
        size: Its bytes, or those it had if it was deleted.
    """

    path: str
    kind: Literal["added", "modified", "deleted"]
    type: Literal["file", "directory", "symlink", "other"]
    size: int


@dataclass(frozen=True, slots=True)
class Changes:
    """How files differ, in order of paths.

    Attributes:
        truncated: There are more than could be told.
    """

    changes: Sequence[Change]
    truncated: bool = False
