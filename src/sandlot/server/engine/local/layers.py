"""What is captured on disk: layers, which never change again, and snapshots, which name some.

A layer is a directory `layers/N` with what changed against the layers below it. A snapshot is a
small file `snapshots/ID.json` that lists layers, newest first; it is written completely or not at
all, and last, so that whatever a crash leaves behind is either a snapshot or something that nothing
names, which the next start removes. Until its files are on the disk, a snapshot also names the
present life of the machine, and does not count in another. Layers are kept for as long as a
snapshot or a living sandbox needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandlot.server.engine.base import EngineError, UnknownSnapshotError
from sandlot.server.guest import kernel, overlay, removal, wire

from .records import is_id

__all__ = ["Layers", "Snapshot", "as_layers"]

_log = logging.getLogger("sandlot.server.engine")

_FORMAT = 1
_SUFFIX = ".json"
_DRAFT = ".new"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is of a snapshot.

    Attributes:
        layers: Names of its layers, newest first.
        owner: User that the files belong to on the disk, if that is not the server's own.
    """

    layers: tuple[str, ...]
    owner: int | None


class Layers:
    """The layers and snapshots of one engine.

    Args:
        path: The directory of the engine.
        durable: Whether snapshots are to outlive the machine's present life.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._durable = durable
        self._private = path / "layers"
        self.directory = self._private / "all"
        self._manifests = path / "snapshots"
        self._snapshots: dict[str, Snapshot] = {}
        self._uses: Counter[str] = Counter()
        self._last = 0
        self._jobs: set[asyncio.Task[None]] = set()
        self._unsynced: set[str] = set()
        self._boot = ""

    @property
    def nothing(self) -> Path:
        """An empty directory."""
        return self.directory / overlay.PLACE

    @property
    def ids(self) -> Sequence[str]:
        """Ids of all snapshots."""
        return sorted(self._snapshots)

    def open(self) -> None:
        """Learn what is there.

        Raises:
            OSError: It cannot be read.
        """
        for directory in (self._private, self.directory, self._manifests):
            directory.mkdir(mode=0o700, exist_ok=True)
        # Sandboxes are let in by a mount of this directory, never along the path to it, which is
        # closed to everybody else on this machine.
        self.directory.chmod(0o711)
        self.nothing.mkdir(mode=0o700, exist_ok=True)
        self._boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        for path in self._manifests.iterdir():
            snapshot = self._read(path)
            if snapshot is None:
                path.unlink()
            else:
                self._snapshots[path.name.removesuffix(_SUFFIX)] = snapshot
                self.hold(snapshot.layers)
        self._last = max((int(name) for name in self._present()), default=0)

    def check_sharing(self) -> None:
        """Check that the file system has attributes, in which overlays note what they hide.

        Raises:
            OSError: It has not.
        """
        os.setxattr(self.nothing, "user.sandlot", b"")
        os.removexattr(self.nothing, "user.sandlot")

    def sweep(self) -> None:
        """Remove, in the background, the layers that nobody holds."""
        self._discard([name for name in self._present() if not self._uses[name]])

    async def close(self) -> None:
        """Wait until what is being removed is gone, and what is to last is on the disk."""
        while self._jobs:
            _ = await asyncio.wait(self._jobs)

    def tidy(self) -> None:
        """Remove the directories, if nothing is in them."""
        for directory in (self.nothing, self.directory, self._private, self._manifests):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def get(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot.

        Raises:
            UnknownSnapshotError: There is none of this id.
        """
        try:
            return self._snapshots[snapshot_id]
        except KeyError:
            raise UnknownSnapshotError(f"there is no snapshot {snapshot_id!r}") from None

    def check_new(self, snapshot_id: str) -> None:
        """Check that there can be a new snapshot of this id.

        Raises:
            EngineError: There cannot.
        """
        if not is_id(snapshot_id) or snapshot_id in self._snapshots:
            raise EngineError(f"{snapshot_id!r} cannot be the id of a new snapshot")

    def new_name(self) -> str:
        """Return the name of a new layer, which is still to be made."""
        self._last += 1
        return str(self._last)

    def path(self, name: str) -> Path:
        """Return the directory of a layer."""
        return self.directory / name

    async def make(
        self, name: str, owner: int | None, fill: Callable[[str], Awaitable[object]]
    ) -> None:
        """Make a new layer; on failure nothing of it is left.

        Args:
            name: What to call it.
            owner: User that its files belong to, if that is not the server's own.
            fill: Puts the files in; called with the path.
        """
        path = self.path(name)
        path.mkdir(mode=0o700)
        try:
            if owner is not None:
                os.chown(path, owner, owner)
            _ = await fill(str(path))
        except BaseException:
            self._discard([name])
            raise

    def keep(self, snapshot_id: str, snapshot: Snapshot) -> None:
        """Make a snapshot of layers that are there.

        Raises:
            OSError: It cannot be written.
        """
        self._write(snapshot_id, snapshot, synced=False)
        self._snapshots[snapshot_id] = snapshot
        self.hold(snapshot.layers)
        if self._durable:
            idle = not self._unsynced
            self._unsynced.add(snapshot_id)
            if idle:
                self._start(self._sync())

    def forget(self, snapshot_id: str) -> None:
        """Remove a snapshot; an unknown one is no error."""
        snapshot = self._snapshots.pop(snapshot_id, None)
        if snapshot is None:
            return
        self._manifest(snapshot_id).unlink(missing_ok=True)
        self.release(snapshot.layers)

    def hold(self, layers: Iterable[str]) -> None:
        """Keep layers from being removed, until they are released as often."""
        self._uses.update(layers)

    def release(self, layers: Iterable[str]) -> None:
        """Need layers no longer."""
        names = list(layers)
        self._uses.subtract(names)
        self._discard([name for name in names if self._uses[name] <= 0])

    def _present(self) -> list[str]:
        return [path.name for path in self.directory.iterdir() if path.name.isdigit()]

    def _discard(self, names: Sequence[str]) -> None:
        if names:
            self._start(asyncio.to_thread(self._remove, names))

    def _start(self, job: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                removal.remove_tree(str(self.path(name)))
            except OSError as error:
                _log.warning("a layer stays until the next start: %s", error.strerror)

    def _manifest(self, snapshot_id: str) -> Path:
        return self._manifests / f"{snapshot_id}{_SUFFIX}"

    def _write(self, snapshot_id: str, snapshot: Snapshot, *, synced: bool) -> None:
        content = {
            "format": _FORMAT,
            "layers": snapshot.layers,
            "owner": snapshot.owner,
            "boot": None if synced else self._boot,
        }
        path = self._manifest(snapshot_id)
        draft = path.with_name(f"{snapshot_id}{_DRAFT}")
        _ = draft.write_text(json.dumps(content))
        _ = draft.replace(path)

    async def _sync(self) -> None:
        """See to it that snapshots survive the machine, and note those that do."""
        while self._unsynced:
            written = set(self._unsynced)
            try:
                await asyncio.to_thread(self._write_out)
                for snapshot_id in written & self._snapshots.keys():
                    self._write(snapshot_id, self._snapshots[snapshot_id], synced=True)
            except OSError as error:
                _log.warning("snapshots may not outlive a power failure: %s", error.strerror)
            self._unsynced -= written

    def _write_out(self) -> None:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.sync_file_system(directory)
        finally:
            os.close(directory)

    def _read(self, path: Path) -> Snapshot | None:
        """Return what a manifest says; None if it is not to be trusted."""
        name = path.name.removesuffix(_SUFFIX)
        if name == path.name or not is_id(name):
            return None  # a draft
        try:
            content: Mapping[str, object] = json.loads(path.read_bytes())
            boot = wire.optional_text(content, "boot")
            snapshot = Snapshot(
                as_layers(content, "layers"), wire.optional_integer(content, "owner")
            )
        except (ValueError, wire.WireError) as error:
            _log.warning("a snapshot cannot be read and is dropped: %s", error)
            return None
        if boot is not None and boot != self._boot:
            _log.warning("a snapshot was not on the disk yet when the machine stopped: dropped")
            return None
        if not all(self.path(layer).is_dir() for layer in snapshot.layers):
            _log.warning("a snapshot lacks a layer and is dropped")
            return None
        return snapshot


def as_layers(message: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Return a field that must be names of layers.

    Raises:
        WireError: It is not.
    """
    layers = tuple(wire.strings(message, name))
    if not all(layer.isdecimal() and layer.isascii() for layer in layers):
        raise wire.WireError(f"{name} has an item that is no layer")
    return layers
