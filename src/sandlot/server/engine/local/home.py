"""The home directory of one sandbox on the disk: what it is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandlot.server.guest import overlay, removal, wire

from .layers import as_layers

__all__ = ["Home"]


@dataclass(slots=True, eq=False)
class Home:
    """A home directory.

    A new one is a plain directory. One that was captured, or that began with a snapshot, is an
    overlay: layers, and a directory that takes the changes.

    Attributes:
        place: Directory of the sandbox.
        layers: Directory of the layers.
        owner: User that the files belong to on the disk, if that is not the server's own.
        lower: Names of the layers, newest first.
        base: Names of those that the sandbox began with.
        generation: Number of the directory that takes the changes.
        plain: Whether that directory is all there is to it.
    """

    place: Path
    layers: Path
    owner: int | None
    lower: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    generation: int = 0
    plain: bool = True

    @property
    def upper(self) -> Path:
        """The directory that takes the changes."""
        return self.place / self._name("home")

    @property
    def work(self) -> Path:
        """The directory that the kernel works in."""
        return self.place / self._name("work")

    @property
    def own(self) -> tuple[str, ...]:
        """Those of its layers that the sandbox has written itself."""
        common = 0
        for one, other in zip(reversed(self.lower), reversed(self.base), strict=False):
            if one != other:
                break
            common += 1
        return self.lower[: len(self.lower) - common]

    def next(self, lower: tuple[str, ...], base: tuple[str, ...]) -> Home:
        """Return an overlay that can take this one's place in the sandbox."""
        generation = self.generation + 1
        return Home(self.place, self.layers, self.owner, lower, base, generation, plain=False)

    def make(self, mode: int) -> None:
        """Make its directories; the home itself gets this mode.

        Raises:
            OSError: They cannot be made.
        """
        names = ["home"] if self.plain else ["home", "work"]
        for path in (self.place / self._name(name) for name in names):
            path.mkdir()
            if self.owner is not None:
                os.chown(path, self.owner, self.owner)
            path.chmod(mode)
        if not self.plain:
            self.admit()

    def admit(self) -> None:
        """Let its user mount what is in its place.

        Raises:
            OSError: That cannot be done.
        """
        (self.place / overlay.PLACE).mkdir(mode=0o700, exist_ok=True)
        if self.owner is not None:
            # Its user is let in by a mount of this very directory; the way to it stays closed.
            self.place.chmod(0o711)

    def tidy(self) -> None:
        """Remove the directories of other homes of the same sandbox, which nobody uses.

        Raises:
            OSError: Something cannot be removed.
        """
        for path in self.place.iterdir():
            if path.name.startswith(("home", "work")) and path not in (self.upper, self.work):
                removal.remove_tree(str(path))

    def remove(self) -> None:
        """Remove what it alone has on the disk.

        Raises:
            OSError: Something cannot be removed.
        """
        for name in ("home", "work"):
            removal.remove_tree(str(self.place / self._name(name)))

    def plan(self) -> wire.Message:
        """Return what the zygote has to know to mount it."""
        place = self.upper if self.plain else self.place
        stack = None if self.plain else self.stack()
        return {"home": str(place), "stack": stack, "generation": self.generation}

    def stack(self) -> wire.Message:
        """Return what `guest.overlay` makes it of."""
        return {
            "layers": str(self.layers),
            "place": str(self.place),
            "lower": [f"l/{name}" for name in self.lower],
            "upper": self._name("home"),
            "work": self._name("work"),
            "owner": self.owner,
        }

    def notes(self) -> dict[str, object]:
        """Return what a next life of the engine has to know of it."""
        return {
            "owner": self.owner,
            "lower": list(self.lower),
            "base": list(self.base),
            "generation": self.generation,
            "plain": self.plain,
        }

    @classmethod
    def noted(cls, place: Path, layers: Path, notes: Mapping[str, object]) -> Home:
        """Return the one that these are the notes of.

        Raises:
            WireError: They make no sense.
        """
        return cls(
            place,
            layers,
            wire.optional_integer(notes, "owner"),
            as_layers(notes, "lower"),
            as_layers(notes, "base"),
            wire.integer(notes, "generation"),
            wire.boolean(notes, "plain"),
        )

    def _name(self, kind: str) -> str:
        return f"{kind}-{self.generation}" if self.generation else kind
