"""Keeping chains of layers short.

Each capture adds a layer to the home that was captured. When there are many, those above the lowest
one are merged into one, in the background and by links, so that no content is copied; the home uses
that one from its next capture on. The lowest layer, mostly the largest by far, stays as it is.
"""

from __future__ import annotations

import asyncio
import logging

from sandlot.server.engine.base import EngineError

from .errands import Errands
from .home import Home
from .layers import Layers
from .records import Record

__all__ = ["Compactor"]

_log = logging.getLogger("sandlot.server.engine")

_MANY = 20
_MOST = 100
"""Layers that a home never has more of; the kernel takes some hundred."""


class _Merger:
    """A run of layers, and what becomes of it."""

    def __init__(self, run: tuple[str, ...], task: asyncio.Task[str]) -> None:
        self.run = run
        self.task = task


class Compactor:
    """Merges layers of the homes that have many.

    Args:
        layers: Where they are.
        errands: What does the work.
    """

    def __init__(self, layers: Layers, errands: Errands) -> None:
        self._layers = layers
        self._errands = errands
        self._mergers: dict[Record, _Merger] = {}

    def consider(self, record: Record, home: Home) -> None:
        """Begin to merge the layers of a home, if it has too many."""
        run = _too_many(home)
        if run and record not in self._mergers:
            self._layers.hold(run)
            task = asyncio.create_task(self._merge(run, home.owner))
            self._mergers[record] = _Merger(run, task)

    async def shorten(self, record: Record, home: Home) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return layers, and those to begin with, that show the same as a home's and may be fewer.

        Raises:
            EngineError: There are too many, and they cannot be merged.
        """
        full = len(home.lower) >= _MOST
        if full:
            self.consider(record, home)
        merger = self._mergers.get(record)
        if merger is None or not (merger.task.done() or full):
            return home.lower, home.base
        try:
            merged = await asyncio.shield(merger.task)
        except (EngineError, OSError) as error:
            self.forget(record)
            if full:
                raise EngineError(
                    f"there are too many snapshots of one sandbox: {error}"
                ) from error
            _log.warning("layers could not be merged: %s", error)
            return home.lower, home.base
        run = merger.run
        return _replaced(home.lower, run, merged), _replaced(home.base, run, merged)

    def forget(self, record: Record) -> None:
        """Have no more use for what was merged for a sandbox; who uses it holds it."""
        merger = self._mergers.pop(record, None)
        if merger is not None:
            merger.task.add_done_callback(lambda task: self._let_go(merger.run, task))

    async def _merge(self, run: tuple[str, ...], owner: int | None) -> str:
        name = self._layers.new_name()
        sources = [str(self._layers.path(layer)) for layer in run]
        await self._layers.make(
            name,
            owner,
            lambda target: self._errands.run(
                "merge", {"sources": sources, "target": target, "owner": owner, "bottom": False}
            ),
        )
        self._layers.hold([name])
        return name

    def _let_go(self, run: tuple[str, ...], task: asyncio.Task[str]) -> None:
        self._layers.release(run)
        if not task.cancelled() and task.exception() is None:
            self._layers.release([task.result()])


def _too_many(home: Home) -> tuple[str, ...]:
    """Return what to merge of the layers of a home, if it has many.

    What it began with is never mixed with what it has written, so that this can be counted. The
    lowest layer, mostly the largest one, is left alone.
    """
    own = home.own
    rest = home.lower[len(own) :]
    if len(own) > _MANY:
        return own if rest else own[:-1]
    return rest[:-1] if len(rest) > _MANY else ()


def _replaced(chain: tuple[str, ...], run: tuple[str, ...], merged: str) -> tuple[str, ...]:
    """Return a chain with one layer in the place of several, if it has those."""
    for start in range(len(chain) - len(run) + 1):
        end = start + len(run)
        if chain[start:end] == run:
            return (*chain[:start], merged, *chain[end:])
    return chain
