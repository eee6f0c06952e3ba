"""The tree of an archive while it is read: which names it may have, and where links may lead.

Archives come from elsewhere: names may climb out of the tree, links may point out of it, and what
is small when packed may be large. What is refused here is refused for the whole archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import InvalidRequestError

__all__ = ["Allowance", "Entry", "Tree", "refuse"]

_MOST_BYTES = 1 << 30
"""Bytes that all files of an archive may have."""
_MOST_ENTRIES = 50_000
_MOST_RATIO = 200
_NEVER_A_BOMB = 32 << 20
"""Bytes that may come out of any archive, however small it is."""
_LONGEST_PATH = 1024
_LONGEST_NAME = 255
_DEEPEST = 32
_LAST_TIME = (1 << 33) - 1  # what the header of a tar archive has room for

Kind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in an archive, cleaned of all that does not matter.

    Attributes:
        name: Where it is: names and slashes only, without `.` and `..`.
        mode: What it may be used for by whom; its owner may read it in any case.
        link: Where a link leads.
    """

    name: str
    kind: Kind
    mode: int = 0o644
    size: int = 0
    time: int = 0
    link: str = ""


class Allowance:
    """What may still come out of an archive.

    Args:
        packed: Size of the archive.
    """

    def __init__(self, packed: int) -> None:
        self._left = min(_MOST_BYTES, max(_NEVER_A_BOMB, packed * _MOST_RATIO))

    def spend(self, size: int) -> None:
        """Count bytes that come out.

        Raises:
            InvalidRequestError: They are too many.
        """
        self._left -= size
        if size < 0 or self._left < 0:
            raise InvalidRequestError(
                f"archive: unpacks to more than {_MOST_BYTES >> 20} MiB, or to more than"
                f" {_MOST_RATIO} times its size."
            )


class Tree:
    """Takes entries one by one, and refuses what has no place there.

    Args:
        packed: Size of the archive.
    """

    def __init__(self, packed: int) -> None:
        self._kinds = dict[str, Kind]()
        self._taken = 0
        self._allowance = Allowance(packed)

    def take(
        self, name: str, kind: Kind, *, mode: int, size: int = 0, time: float = 0, link: str = ""
    ) -> Entry | None:
        """Return the entry of a name; None for the root, and for directories that are known.

        Raises:
            InvalidRequestError: It may not be there.
        """
        if size < 0:  # newer versions of Python's library find that out themselves
            raise refuse(name, "is damaged: it is smaller than nothing")
        self._taken += 1
        if self._taken > _MOST_ENTRIES:  # also of what is there already: it is kept by who reads
            raise _too_many()
        parts = _parts(name)
        clean = "/".join(parts)
        for end in range(1, len(parts)):
            self._add_parent("/".join(parts[:end]), name)
        if kind == "directory":
            if not parts or self._kinds.get(clean) == "directory":
                return None
        elif not parts:
            raise refuse(name, "is no name of a file")
        if clean in self._kinds:
            raise refuse(name, "comes twice")
        if kind == "link":
            _check_link(name, parts, link)
        self._add(clean, kind)
        self._allowance.spend(size)
        bits = mode & 0o777 | (0o700 if kind == "directory" else 0o600)
        return Entry(clean, kind, bits, size, _clipped(time), link)

    def _add_parent(self, parent: str, name: str) -> None:
        kind = self._kinds.get(parent)
        if kind is None:
            self._add(parent, "directory")
        elif kind != "directory":
            raise refuse(name, "is below something that is no directory")

    def _add(self, name: str, kind: Kind) -> None:
        if len(self._kinds) >= _MOST_ENTRIES:
            raise _too_many()
        self._kinds[name] = kind


def _too_many() -> InvalidRequestError:
    return InvalidRequestError(f"archive: has more than {_MOST_ENTRIES} entries.")


def refuse(name: str, problem: str) -> InvalidRequestError:
    """Return the error that names an entry."""
    return InvalidRequestError(f"archive: {name[:200]!a} {problem}.")


def _parts(name: str) -> Sequence[str]:
    """Return the components of a name, once it is known to stay in the tree."""
    if name.startswith("/"):
        raise refuse(name, "is an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refuse(name, "leads out of the archive")
    _check_text(name, name)
    if len(parts) > _DEEPEST:
        raise refuse(name, f"is more than {_DEEPEST} directories deep")
    encoded = [len(part.encode()) for part in parts]
    if max(encoded, default=0) > _LONGEST_NAME or sum(encoded) + len(parts) > _LONGEST_PATH:
        raise refuse(name, "is too long a name")
    return parts


def _check_text(name: str, text: str) -> None:
    try:
        _ = text.encode()
    except UnicodeEncodeError as error:
        raise refuse(name, "is not UTF-8") from error
    if "\\" in text or not text.isprintable():
        raise refuse(name, "has a backslash or a character that cannot be printed")


def _check_link(name: str, parts: Sequence[str], target: str) -> None:
    """Check that a link stays in the tree.

    What is above a link are directories, never links. So a target that first climbs, and then
    only descends, stays in the tree if it does not climb above the root, whatever links it meets
    on its way down: each of them stays in the tree as well.
    """
    if not target or target.startswith("/"):
        raise refuse(name, "is a link to an absolute path, or to nothing")
    _check_text(name, target)
    if len(target.encode()) > _LONGEST_PATH:
        raise refuse(name, "is a link to too long a name")
    steps = [step for step in target.split("/") if step not in ("", ".")]
    climbs = 0
    while climbs < len(steps) and steps[climbs] == "..":
        climbs += 1
    if climbs > len(parts) - 1 or ".." in steps[climbs:]:
        raise refuse(name, "is a link that leads out of the archive")


def _clipped(time: float) -> int:
    """Return a time that any tar archive can have; also for those that make no sense."""
    return int(time) if 0 <= time <= _LAST_TIME else 0
