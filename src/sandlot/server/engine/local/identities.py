"""Which users of the host sandboxes run as.

A server that is root gives each sandbox a user that nothing else has. In a container, root may have
few users to give: those that `/proc/self/uid_map` lists, each line a range of ids
(user_namespaces(7)).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path

from sandlot.server.engine.base import EngineUnavailableError

__all__ = ["Identities"]

_PREFERRED = range(0x70000000, 0x7FFFFFFF)
"""Above all that distributions and user databases hand out, below the sign bit that some programs
stumble over."""

_FEWEST = 1024
"""Fewer users than these would soon be used twice."""


class Identities:
    """The users that sandboxes can be given; none if the server has none but itself.

    Raises:
        EngineUnavailableError: The server is the host's own root and has no other user to give.
    """

    def __init__(self, uid: int, uid_map: str, gid_map: str) -> None:
        self._range = _choose(uid, _ranges(uid_map), _ranges(gid_map))
        if uid == 0 and self._range is None and _is_root_outside(uid_map):
            raise EngineUnavailableError(
                "The server is root but has no other user ids to give to sandboxes, which would"
                " have the rights of root then. Run it as an ordinary user, or with more user ids."
            )

    @classmethod
    def of_this_process(cls) -> Identities:
        """Ask the kernel which users there are."""
        return cls(os.getuid(), _read("uid_map"), _read("gid_map"))

    @property
    def are_private(self) -> bool:
        """Whether each sandbox has a user of its own."""
        return self._range is not None

    def choose(self, used: Collection[int | None]) -> int | None:
        """Return a user that is not used, or None if all sandboxes are the server's user."""
        if self._range is None:
            return None
        while (uid := secrets.choice(self._range)) in used:
            continue
        return uid


def _read(name: str) -> str:
    try:
        return Path("/proc/self", name).read_text()
    except FileNotFoundError:  # a kernel without user namespaces
        return ""


def _choose(uid: int, uids: list[range], gids: list[range]) -> range | None:
    if uid != 0:
        return None
    if any(_contains(ids, _PREFERRED) for ids in uids) and any(
        _contains(ids, _PREFERRED) for ids in gids
    ):
        return _PREFERRED
    common = (
        range(max(users.start, groups.start), min(users.stop, groups.stop))
        for users in uids
        for groups in gids
    )
    largest = max(common, key=len, default=range(0))
    # The upper half: the lower one is where a distribution's own users are.
    upper = largest[len(largest) // 2 :]
    return upper if len(upper) >= _FEWEST else None


def _contains(outer: range, inner: range) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop


def _ranges(id_map: str) -> list[range]:
    found: list[range] = []
    for line in id_map.splitlines():
        start, _, count = (int(word) for word in line.split())
        found.append(range(start, start + count))
    return found


def _is_root_outside(id_map: str) -> bool:
    return any(line.split()[:2] == ["0", "0"] for line in id_map.splitlines())
