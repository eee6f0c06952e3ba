"""What has been asked for lately, and how many of it are worth keeping prepared.

Each creation adds one to the weight of its kind, and weights halve every minute. A kind is worth
preparing once it has been asked for twice within about a minute, and until it has not been asked
for for some minutes: whoever makes one sandbox now and then pays for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sandlot.server.engine.base import SandboxSpec

__all__ = ["Demand", "Kind"]

_HALF_LIFE: Final = 60.0
_ENOUGH: Final = 1.5
"""Weight from which on a kind is worth preparing: two requests, a minute or less apart."""
_ENOUGH_TO_SERVE: Final = 1.25
"""The same for kinds with a service: two requests, two minutes or less apart."""
_TOO_LITTLE: Final = 0.1
"""Weight below which it no longer is: four minutes after two requests, six after eight."""
_MOST: Final = 4
_MOST_SERVING: Final = 1
_MOST_IN_ALL: Final = 8
_HEAVIEST: Final = 2.0 * _MOST
_KINDS: Final = 32
"""How many kinds are remembered."""


@dataclass(slots=True, eq=False)
class Kind:
    """Sandboxes that are alike, so that one may be had for another.

    Attributes:
        spec: What they are like.
        serves: Whether something runs in them from the beginning, which costs memory and time.
        floor: How many to keep whatever is asked for.
        size: Bytes of memory that one has been seen to use.
    """

    spec: SandboxSpec
    serves: bool
    floor: int = 0
    size: int = 0
    weight: float = 0.0
    weighed_at: float = 0.0
    is_wanted: bool = False

    def weigh(self, now: float) -> float:
        """Return the weight."""
        self.weight *= 0.5 ** ((now - self.weighed_at) / _HALF_LIFE)
        self.weighed_at = now
        return self.weight

    def wanted(self, now: float) -> int:
        """Return how many to keep prepared."""
        weight = self.weigh(now)
        enough = _ENOUGH_TO_SERVE if self.serves else _ENOUGH
        self.is_wanted = weight >= (_TOO_LITTLE if self.is_wanted else enough)
        if not self.is_wanted:
            return self.floor
        most = _MOST_SERVING if self.serves else _MOST
        return max(self.floor, min(math.ceil(weight / 2), most))


class Demand:
    """All kinds that have been asked for lately, or are kept prepared anyway.

    Args:
        adapt: Whether what is asked for makes a difference.
    """

    def __init__(self, *, adapt: bool) -> None:
        self._adapt = adapt
        self._kinds: list[Kind] = []

    @property
    def may_change(self) -> bool:
        """Whether the mere passing of time changes what is wanted."""
        return any(kind.is_wanted for kind in self._kinds)

    def targets(self, now: float) -> Mapping[Kind, int]:
        """Return how many of which kinds to keep prepared; what is asked for most comes first."""
        left = _MOST_IN_ALL
        targets = dict[Kind, int]()
        for kind in sorted(self._kinds, key=lambda kind: kind.weigh(now), reverse=True):
            extra = min(kind.wanted(now) - kind.floor, left)
            left -= extra
            if kind.floor + extra:
                targets[kind] = kind.floor + extra
        return targets

    def find(self, spec: SandboxSpec, *, serves: bool) -> Kind | None:
        """Return the kind of a sandbox, if it is known."""
        wanted = _essence(spec, serves=serves)
        return next((kind for kind in self._kinds if kind.spec == wanted), None)

    def keep(self, spec: SandboxSpec, *, serves: bool) -> None:
        """Have one more of a kind kept whatever is asked for."""
        self._known(spec, serves=serves).floor += 1

    def note(self, spec: SandboxSpec, now: float, *, serves: bool) -> None:
        """Take note that a sandbox has been asked for."""
        if self._adapt:
            kind = self._known(spec, serves=serves)
            kind.weight = min(kind.weigh(now) + 1, _HEAVIEST)
            self._forget_some(now)

    def _known(self, spec: SandboxSpec, *, serves: bool) -> Kind:
        kind = self.find(spec, serves=serves)
        if kind is None:
            kind = Kind(_essence(spec, serves=serves), serves)
            self._kinds.append(kind)
        return kind

    def _forget_some(self, now: float) -> None:
        """Forget the kind that was asked for least, if there are many."""
        spare = [kind for kind in self._kinds if not kind.floor]
        if len(spare) > _KINDS:
            self._kinds.remove(min(spare, key=lambda kind: kind.weigh(now)))


def _essence(spec: SandboxSpec, *, serves: bool) -> SandboxSpec:
    """Return a specification without what can be changed once a sandbox is there.

    Variables and the directory are for what the template itself starts.
    """
    return replace(spec, id="") if serves else replace(spec, id="", env={}, cwd=None)
