"""The homes of sandboxes: begun with what was captured, captured, put back and compared.

A home is captured by sealing: what took its changes becomes a layer, and an empty directory takes
those from now on. That takes as long for a large home as for a small one, but the kernel allows it
only while nothing in the sandbox holds files of the home open. Else, and where the kernel has no
overlays to offer, the changes are copied.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from sandlot.server.engine.base import EngineError, SnapshotSize
from sandlot.server.guest import errands as guest_errands
from sandlot.server.guest import wire

from . import records
from .compaction import Compactor
from .errands import Errands
from .home import Home
from .layers import Layers, Snapshot
from .records import Record

__all__ = ["Captures"]

_HOME, _SEALING = "home", "sealing"
_MOMENT = 0.05
"""Seconds that the size of what was captured may take to be known exactly."""


class Captures:
    """The homes of all sandboxes of an engine.

    Args:
        layers: What is on the disk.
        errands: What does the work.

    Attributes:
        share: Whether files are shared by means of overlays; they are copied otherwise.
    """

    def __init__(self, layers: Layers, errands: Errands) -> None:
        self.share = True
        self._layers = layers
        self._errands = errands
        self._compactor = Compactor(layers, errands)
        self._homes: dict[Record, Home] = {}
        self._sizes: dict[str, asyncio.Task[int]] = {}

    def home(self, record: Record) -> Home:
        """Return the home of a sandbox."""
        return self._homes[record]

    def home_of(self, record: Record) -> Home | None:
        """Return the home of a sandbox that may be gone."""
        return self._homes.get(record)

    async def begin(self, record: Record, snapshot_id: str | None) -> None:
        """Make the home of a new sandbox, with the files of a snapshot if one is given.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
            EngineError: It cannot be made.
            OSError: It cannot be made.
        """
        home = Home(record.directory, self._layers.directory, record.uid)
        if snapshot_id is None:
            home.make(0o755)
        else:
            base = self._layers.get(snapshot_id).layers
            home = await self._derive(record, snapshot_id, base, 0)
        self._settle(record, home)

    async def prepare_rollback(self, record: Record, snapshot_id: str) -> Home:
        """Make a home that can take the place of a sandbox's own, which is not touched.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
            EngineError: It cannot be made.
        """
        home = self._homes[record]
        try:
            return await self._derive(record, snapshot_id, home.base, home.generation + 1)
        except OSError as error:
            raise EngineError(f"the files cannot be put back: {error.strerror}") from error

    async def replace(self, record: Record, home: Home) -> None:
        """Give a sandbox, in which nothing runs any more, another home for its own.

        Raises:
            OSError: The old one cannot be removed.
        """
        old = self._homes[record]
        self._settle(record, home)
        self._release(old)
        self._compactor.forget(record)
        records.save(record)
        await asyncio.to_thread(old.remove)

    def forget(self, snapshot_id: str) -> None:
        """Remove a snapshot; an unknown one is no error.

        Raises:
            OSError: It cannot be removed.
        """
        self._layers.forget(snapshot_id)

    def abandon(self, home: Home) -> None:
        """Need a home no longer that was made but never given to a sandbox."""
        self._release(home)

    def adopt(self, record: Record) -> None:
        """Know the home of a sandbox that outlived the last life of the engine.

        Raises:
            WireError: Its notes make no sense.
            OSError: What that life was about to do can neither be finished nor undone.
        """
        directory = self._layers.directory
        home = Home.noted(record.directory, directory, wire.mapping(record.notes, _HOME))
        if _SEALING in record.notes:
            sealed = Home.noted(record.directory, directory, wire.mapping(record.notes, _SEALING))
            if (sealed.work / guest_errands.SEALED).exists():
                home = sealed
            else:
                _undo(home, sealed, self._layers.path(sealed.lower[0]))
            del record.notes[_SEALING]
        self._hold(home)
        self._settle(record, home)
        records.save(record)

    def end_all(self) -> None:
        """Forget all homes: nothing is left of any sandbox."""
        for record in list(self._homes):
            self.end(record)

    def end(self, record: Record) -> None:
        """Forget the home of a sandbox of which nothing is left."""
        home = self._homes.pop(record, None)
        self._compactor.forget(record)
        if home is not None:
            self._release(home)

    async def capture(
        self, record: Record, snapshot_id: str, *, stop: bool, estimate: int
    ) -> SnapshotSize:
        """Make a snapshot of a sandbox whose processes are frozen.

        Args:
            record: The sandbox.
            snapshot_id: Id of the new snapshot.
            stop: Whether the agent still has to be stopped.
            estimate: About how much the changes take on the disk, should it not be known soon.

        Raises:
            EngineError: It could not be made; nothing has changed.
        """
        self._layers.check_new(snapshot_id)
        home = self._homes[record]
        own: tuple[str, ...] = ()
        try:
            if _has_changed(home, self._layers):
                if not (self.share and await self._seal(record, stop)):
                    own = (await self._copy(home),)
                    layers = (*own, *home.lower)
                else:
                    layers = self._homes[record].lower
                    own = layers[:1]
            else:
                layers = home.lower
            self._layers.keep(snapshot_id, Snapshot(layers, home.owner))
        except OSError as error:
            raise EngineError(f"the files could not be captured: {error.strerror}") from error
        self._compactor.consider(record, self._homes[record])
        return await self._size(layers, own, home.owner, estimate)

    async def _derive(
        self, record: Record, snapshot_id: str, base: tuple[str, ...], generation: int
    ) -> Home:
        """Make a home with the files of a snapshot; its layers are held."""
        snapshot = self._layers.get(snapshot_id)
        place, directory = record.directory, self._layers.directory
        top = self._layers.path(snapshot.layers[0])
        if self.share:
            owner, lower = snapshot.owner, snapshot.layers
            home = Home(place, directory, owner, lower, base, generation, plain=False)
            home.make(stat.S_IMODE(top.stat().st_mode))
            self._hold(home)
            return home
        if len(snapshot.layers) != 1:
            raise EngineError("this snapshot was made with overlays, which do not work here now")
        home = Home(place, directory, record.uid, (), base, generation)
        home.make(0o700)
        self._hold(home)
        try:
            order = {"source": str(top), "target": str(home.upper), "owner": None}
            _ = await self._errands.run("copy", {**order, "recipient": record.uid})
        except BaseException:
            self._release(home)
            raise
        return home

    async def _seal(self, record: Record, stop: bool) -> bool:
        """Make a layer of what takes the changes; return whether nothing was in the way."""
        home = self._homes[record]
        lower = await self._compactor.shorten(record, home)
        name = self._layers.new_name()
        sealed = home.next((name, *lower))
        layer = self._layers.path(name)
        sealed.make(stat.S_IMODE(home.upper.stat().st_mode))
        try:
            record.notes[_SEALING] = sealed.notes()
            records.save(record)
            _ = home.upper.rename(layer)
            order = {"id": record.name, "uid": record.uid, "stop": stop, "stack": sealed.stack()}
            answers, _ = await self._errands.run("seal", order)
            done = wire.boolean(answers[-1], "sealed")
        except BaseException:
            self._undo(record, home, sealed, layer)
            raise
        if not done:
            self._undo(record, home, sealed, layer)
            return False
        del record.notes[_SEALING]
        self._hold(sealed)
        self._settle(record, sealed)
        self._release(home)
        if lower != home.lower:
            self._compactor.forget(record)
        records.save(record)
        await asyncio.to_thread(home.remove)  # what the kernel needed for it
        return True

    def _undo(self, record: Record, home: Home, sealed: Home, layer: Path) -> None:
        _undo(home, sealed, layer)
        _ = record.notes.pop(_SEALING, None)
        records.save(record)

    async def _copy(self, home: Home) -> str:
        """Copy what has changed into a new layer; return its name."""
        name = self._layers.new_name()
        await self._layers.make(
            name,
            home.owner,
            lambda target: self._errands.run(
                "copy",
                {
                    "source": str(home.upper),
                    "target": target,
                    "owner": home.owner,
                    "recipient": None,
                },
            ),
        )
        return name

    async def _size(
        self, layers: tuple[str, ...], own: tuple[str, ...], owner: int | None, estimate: int
    ) -> SnapshotSize:
        for name in layers:
            if name not in self._sizes:
                self._sizes[name] = asyncio.create_task(self._measure(name, owner))
        tasks = {name: self._sizes[name] for name in layers}
        _ = await asyncio.wait(tasks.values(), timeout=_MOMENT)
        sizes = {name: task.result() if task.done() else estimate for name, task in tasks.items()}
        return SnapshotSize(sum(sizes[name] for name in own), sum(sizes.values()))

    async def _measure(self, name: str, owner: int | None) -> int:
        order = {"source": str(self._layers.path(name)), "owner": owner}
        try:
            answers, _ = await self._errands.run("measure", order)
        except EngineError:  # it has been removed, or the engine ends
            return 0
        return wire.integer(answers[-1], "bytes")

    def _settle(self, record: Record, home: Home) -> None:
        self._homes[record] = home
        record.notes[_HOME] = home.notes()

    def _hold(self, home: Home) -> None:
        self._layers.hold((*home.lower, *home.base))

    def _release(self, home: Home) -> None:
        self._layers.release((*home.lower, *home.base))


def _has_changed(home: Home, layers: Layers) -> bool:
    """Whether anything was written to a home since it was sealed."""
    if home.plain:
        return True
    try:
        with os.scandir(home.upper) as entries:
            if any(entries):
                return True
    except PermissionError:  # closed to its owner, and this server is no more than that
        return True
    modes = [path.stat().st_mode for path in (home.upper, layers.path(home.lower[0]))]
    return modes[0] != modes[1]


def _undo(home: Home, sealed: Home, layer: Path) -> None:
    """Put things back as they were before the attempt to seal a home."""
    if not home.upper.exists() and layer.exists():
        _ = layer.rename(home.upper)
    sealed.remove()
