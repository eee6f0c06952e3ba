"""Control groups: where this server may make them, and those of one sandbox.

Both versions are used, also side by side: each controller is taken from the hierarchy it is
attached to. Groups are made below the server's own, so that a sandbox never gets more than its
server has. Where the server's group has no controllers to hand out (version 2 allows that only to
groups without processes), the nearest ancestor that has is used, if it can be written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandlot.server.guest import removal, wire

from .group import FREEZE, Group, GroupPart
from .territory import Territory

__all__ = ["Cgroups", "Place", "find_cgroups", "find_places"]

_VERSION_1 = ("memory", "pids", "cpu", "cpuacct", "freezer")
_VERSION_2 = frozenset({"memory", "pids", "cpu"})


@dataclass(frozen=True, slots=True)
class Place:
    """A group in which groups can perhaps be made.

    Attributes:
        controllers: What those groups would control; of version 2, what is wanted of them.
    """

    parent: Path
    version: int
    controllers: frozenset[str]


def find_places(mountinfo: str, memberships: str) -> list[Place]:
    """Return the places to try.

    Args:
        mountinfo: Content of `/proc/self/mountinfo`; see proc_pid_mountinfo(5).
        memberships: Content of `/proc/self/cgroup`; see cgroups(7).
    """
    own = {
        names: path for _, names, path in (line.split(":", 2) for line in memberships.splitlines())
    }
    places: dict[Path, Place] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        present = frozenset(options.split(","))
        for names, path in own.items():
            wanted = present.intersection(names.split(","), _VERSION_1)
            if kind == "cgroup2" and not names:
                for parent in _ancestors(Path(fields[4]), _below(fields[3], path)):
                    place = Place(parent, 2, _VERSION_2)
                    _ = places.setdefault(parent, place)
            elif kind == "cgroup" and wanted:
                parent = Path(fields[4]) / _below(fields[3], path)
                _ = places.setdefault(parent, Place(parent, 1, wanted))
    return list(places.values())


def _below(root: str, path: str) -> str:
    """Return the path of a group relative to what is mounted."""
    try:
        return str(Path(path).relative_to(root))
    except ValueError:  # mounted from elsewhere, so it is not in sight
        return "."


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    place = mount / path
    yield place
    while place != mount:
        place = place.parent
        yield place


class Cgroups:
    """The groups of one engine.

    Args:
        name: Name of a group that is made in each place and that holds those of the sandboxes.
        places: Where to try.
    """

    def __init__(self, name: str, places: Sequence[Place]) -> None:
        self._parts: list[GroupPart] = []
        for place in places:
            if place.version == 1:
                self._enter_version_1(place, name)
        self._enter_version_2([place for place in places if place.version == 2], name)
        self._made = [part.path for part in self._parts]

    @property
    def directories(self) -> list[str]:
        """What has been made and has to be removed."""
        return [str(path) for path in self._made]

    @property
    def controllers(self) -> frozenset[str]:
        """All that can be controlled, `freeze` included."""
        return frozenset[str]().union(*(part.controllers for part in self._parts))

    def describe(self) -> list[dict[str, object]]:
        """Return what `restored` makes the same of, as JSON."""
        return [
            {
                "path": str(part.path),
                "version": part.version,
                "controllers": sorted(part.controllers),
            }
            for part in self._parts
        ]

    @classmethod
    def restored(cls, description: Sequence[wire.Message]) -> Cgroups:
        """Return what an earlier life of the engine made.

        Raises:
            WireError: That is no description.
        """
        cgroups = cls("", ())
        for item in description:
            controllers = frozenset(wire.strings(item, "controllers"))
            part = GroupPart(
                Path(wire.text(item, "path")), wire.integer(item, "version"), controllers
            )
            cgroups._parts.append(part)
        cgroups._made = [part.path for part in cgroups._parts]
        return cgroups

    def drop(self, directory: str) -> bool:
        """Do without the hierarchy of this directory; return whether it was in use."""
        parts = [part for part in self._parts if not Path(directory).is_relative_to(part.path)]
        dropped = len(parts) < len(self._parts)
        self._parts = parts
        return dropped

    def make(self, name: str) -> Group | None:
        """Make the groups of a sandbox; None where there are none.

        Raises:
            OSError: They cannot be made.
        """
        if not self._parts:
            return None
        group = Group([part.below(name) for part in self._parts])
        group.make()
        return group

    def find(self, name: str, directories: Collection[str] | None = None) -> Group | None:
        """Return the groups that a sandbox has or had; only those of these directories if given."""
        parts = [part.below(name) for part in self._parts]
        wanted = [part for part in parts if directories is None or str(part.path) in directories]
        return Group(wanted) if wanted else None

    def clear(self, keep: Collection[str]) -> None:
        """Remove the groups of all sandboxes but these.

        Raises:
            OSError: They stay in use.
        """
        for base in self._made:
            for path in [path for path in base.iterdir() if path.is_dir()]:
                if path.name not in keep:
                    removal.remove_cgroup(str(path))

    def _enter_version_1(self, place: Place, name: str) -> None:
        base = place.parent / name
        if _make(base):
            controllers = {FREEZE if item == "freezer" else item for item in place.controllers}
            self._parts.append(GroupPart(base, 1, frozenset(controllers)))

    def _enter_version_2(self, places: Sequence[Place], name: str) -> None:
        """Take the nearest place that has all the controllers that version 1 has not, or most."""
        best: GroupPart | None = None
        missing = _VERSION_2 - self.controllers
        for place in places:
            base = place.parent / name
            if not _make(base):
                continue
            part = GroupPart(base, 2, _hand_down(base, missing) | {FREEZE})
            if best is None or len(part.controllers) > len(best.controllers):
                best, part = part, best
            if part is not None:
                part.path.rmdir()
            if missing < best.controllers:
                break
        if best is None:
            return
        # Version 2 freezes so that what is frozen can die, and measures CPU time unasked: what
        # does nothing else in version 1 would only take time.
        for part in [part for part in self._parts if part.controllers <= {FREEZE, "cpuacct"}]:
            part.path.rmdir()
            self._parts.remove(part)
        self._parts.append(best)  # the last one that freezes is used


def _make(path: Path) -> bool:
    try:
        path.mkdir()
    except OSError:
        return False
    if os.access(path / "cgroup.procs", os.W_OK):
        return True
    path.rmdir()
    return False


def _hand_down(base: Path, wanted: frozenset[str]) -> frozenset[str]:
    """Give the groups in a group what controllers it has; return those."""
    with contextlib.suppress(OSError):
        for name in wanted.intersection((base / "cgroup.controllers").read_text().split()):
            with contextlib.suppress(OSError):
                _ = (base / "cgroup.subtree_control").write_text(f"+{name}")
        return wanted.intersection((base / "cgroup.subtree_control").read_text().split())
    return frozenset()


def find_cgroups(territory: Territory) -> Cgroups:
    """Return what can be tried for the sandboxes of a territory."""
    mountinfo, memberships = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
    try:
        places = find_places(mountinfo.read_text(), memberships.read_text())
    except FileNotFoundError:  # a kernel without them
        places = []
    return Cgroups(territory.remember([place.parent for place in places]), places)
