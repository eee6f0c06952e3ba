"""The homes of sandboxes: begun with what was captured, captured, put back and compared.

A home is captured by sealing: what took its changes becomes a layer, and an empty directory takes
those from now on. That takes as long for a large home as for a small one, but the kernel allows it
only while nothing in the sandbox holds files of the home open. Else, and where the kernel has no
overlays to offer, the changes are copied.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable
from pathlib import Path

from sandlot.server.engine.base import EngineError, SnapshotSize
from sandlot.server.guest import errands as guest_errands
from sandlot.server.guest import wire

from . import records
from .compaction import Compactor
from .errands import Errands
from .extent import Extent
from .home import Home
from .layers import Layers, Snapshot
from .records import Record

__all__ = ["Captures"]

_log = logging.getLogger("sandlot.server.engine")

_HOME, _SEALING, _NEXT = "home", "sealing", "next"


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
        self._extents: dict[str, asyncio.Task[Extent]] = {}

    def home(self, record: Record) -> Home:
        """Return the home of a sandbox."""
        return self._homes[record]

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
            self._compactor.consider(record, home)
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

    def announce(self, record: Record, home: Home) -> None:
        """Write down that a sandbox is about to be begun anew with another home.

        Raises:
            EngineError: It cannot be written.
        """
        record.notes[_NEXT] = home.notes()
        try:
            records.save(record)
        except OSError as error:
            raise EngineError(f"the files cannot be put back: {error.strerror}") from error

    async def replace(self, record: Record, home: Home) -> None:
        """Have what was announced: the sandbox was begun anew with another home."""
        old = self._homes[record]
        del record.notes[_NEXT]
        self._settle(record, home)
        self.release(old)
        self._compactor.forget(record)
        try:
            records.save(record)
            await asyncio.to_thread(old.remove)
        except OSError as error:  # a next life finds what is needed all the same
            _log.warning("an old home stays as long as the sandbox: %s", error.strerror)

    def forget(self, snapshot_id: str) -> None:
        """Remove a snapshot; an unknown one is no error.

        Raises:
            OSError: It cannot be removed.
        """
        self._layers.forget(snapshot_id)

    async def abandon(self, record: Record, home: Home) -> None:
        """Need a home no longer that was made but never given to a sandbox."""
        _ = record.notes.pop(_NEXT, None)
        self.release(home)
        await asyncio.to_thread(home.remove)

    def release(self, home: Home) -> None:
        """Need the layers of a home no longer."""
        self._layers.release((*home.lower, *home.base))

    def adopt(self, record: Record) -> None:
        """Know the home of a sandbox that outlived the last life of the engine.

        Raises:
            WireError: Its notes make no sense.
            OSError: What that life was about to do can neither be finished nor undone.
        """
        home = self._noted(record, _HOME)
        if _SEALING in record.notes:
            sealed = self._noted(record, _SEALING)
            if (sealed.work / guest_errands.SEALED).exists():
                home = sealed
            else:
                _undo(home, sealed, self._layers.path(sealed.lower[0]))
        if _NEXT in record.notes:
            successor = self._noted(record, _NEXT)
            if successor.generation == record.generation:
                home = successor
        for name in (_SEALING, _NEXT):
            _ = record.notes.pop(name, None)
        home.tidy()
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
            self.release(home)

    async def sealed(self, record: Record) -> Extent:
        """Count what a sandbox has written that was captured: its layers since it began."""
        home = self._homes[record]
        return await self._count(home.own, home.owner)

    async def capture(
        self, record: Record, snapshot_id: str, *, stop: bool
    ) -> Awaitable[SnapshotSize]:
        """Make a snapshot of a sandbox whose processes are frozen.

        Args:
            record: The sandbox.
            snapshot_id: Id of the new snapshot.
            stop: Whether the agent still has to be stopped.

        Returns:
            Its size, which is still to be counted; if it cannot be, there is no snapshot.

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
        counting = asyncio.create_task(self._size(snapshot_id, layers, own, home.owner))
        counting.add_done_callback(_look_away)
        return counting

    def _noted(self, record: Record, name: str) -> Home:
        notes = wire.mapping(record.notes, name)
        return Home.noted(record.directory, self._layers.directory, notes)

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
            self.release(home)
            raise
        return home

    async def _seal(self, record: Record, stop: bool) -> bool:
        """Make a layer of what takes the changes; return whether nothing was in the way."""
        home = self._homes[record]
        lower, base = await self._compactor.shorten(record, home)
        name = self._layers.new_name()
        sealed = home.next((name, *lower), base)
        layer = self._layers.path(name)
        try:
            record.notes[_SEALING] = sealed.notes()
            records.save(record)
            sealed.make(stat.S_IMODE(home.upper.stat().st_mode))
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
        self.release(home)
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
        self, snapshot_id: str, layers: tuple[str, ...], own: tuple[str, ...], owner: int | None
    ) -> SnapshotSize:
        self._layers.hold(layers)
        try:
            total = await self._count(layers, owner)
            return SnapshotSize((await self._count(own, owner)).size, total.size)
        except EngineError:
            self._layers.forget(snapshot_id)
            raise
        finally:
            self._layers.release(layers)

    async def _count(self, layers: tuple[str, ...], owner: int | None) -> Extent:
        """Count what layers take, each of them once in its life."""
        for name in layers:
            task = self._extents.get(name)
            if task is None or (task.done() and (task.cancelled() or task.exception())):
                self._extents[name] = asyncio.create_task(self._measure(name, owner))
        found = await asyncio.gather(*(asyncio.shield(self._extents[name]) for name in layers))
        return Extent(sum(each.size for each in found), sum(each.files for each in found))

    async def _measure(self, name: str, owner: int | None) -> Extent:
        order = {"source": str(self._layers.path(name)), "owner": owner}
        answers, _ = await self._errands.run("measure", order)
        return Extent(wire.integer(answers[-1], "bytes"), wire.integer(answers[-1], "files"))

    def _settle(self, record: Record, home: Home) -> None:
        self._homes[record] = home
        record.notes[_HOME] = home.notes()

    def _hold(self, home: Home) -> None:
        self._layers.hold((*home.lower, *home.base))


def _look_away(task: asyncio.Task[SnapshotSize]) -> None:
    """Take note of a failure, for nobody may want to know."""
    if not task.cancelled():
        _ = task.exception()


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
