"""Keeps track of sandboxes from the moment they are asked for until nothing is left of them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from sandlot.server.engine.base import EngineError, SandboxGoneError, SandboxSpec
from sandlot.server.guest import removal, wire

from . import records
from .adoption import adopt
from .agent import AgentClient
from .cgroups import Cgroups
from .channel import socket_pair
from .records import Record
from .territory import Territory
from .zygote import Zygote, version

__all__ = ["Keeper"]

logger = logging.getLogger("sandlot.server.engine")

_PATIENCE = 30.0


class Keeper:
    """Makes and removes sandboxes by means of a zygote.

    Args:
        territory: Where they live.
        find_cgroups: Called at the start of each zygote; returns what sandboxes are put into.
        kind: What sandboxes are like: of another kind none are taken over.
        orphan_timeout: Seconds that sandboxes wait for another engine if this one is killed.
    """

    def __init__(
        self,
        territory: Territory,
        find_cgroups: Callable[[Territory], Cgroups],
        *,
        kind: str = "",
        orphan_timeout: float = 0.0,
    ) -> None:
        self._territory = territory
        self._version = f"{kind}-{version()}"
        self._orphan_timeout = orphan_timeout
        self._find_cgroups = find_cgroups
        self._cgroups = Cgroups("", ())
        self._records: dict[str, Record] = {}
        self._state: wire.Message = {"cgroups": []}
        self._zygote: Zygote | None = None
        self._inherited = False
        self._reviving = asyncio.Lock()

    @property
    def cgroups(self) -> Cgroups:
        """Control groups that sandboxes can be put into."""
        return self._cgroups

    @property
    def uids(self) -> set[int | None]:
        """Users on the host that sandboxes have."""
        return {record.uid for record in self._records.values()}

    @property
    def records(self) -> Sequence[Record]:
        """All sandboxes that there are at least in part."""
        return list(self._records.values())

    @property
    def has_inherited(self) -> bool:
        """Whether it has sandboxes of an earlier life, or is about to."""
        return self._inherited

    async def start(self) -> None:
        """Take the territory over, with a zygote that keeps it or else with a new one.

        Raises:
            EngineError: That is not possible.
        """
        while (connection := await self._territory.enter()) is not None:
            if await self._inherit(connection):
                return
        self._zygote = self._start_zygote()

    async def _inherit(self, connection: socket.socket) -> bool:
        """Take over what a zygote kept; return whether it goes on."""
        try:
            zygote, legacy = await Zygote.meet(connection)
        except EngineError as error:
            logger.warning("the sandboxes of the last server are not taken over: %s", error)
            return False
        if legacy.version != self._version:
            logger.warning("the sandboxes of the last server were of another version, and end")
            zygote.dismiss()
            os.close(legacy.lock)
            return False
        self._territory.share(legacy.lock)
        self._zygote = zygote
        self._inherited = True
        try:
            self._cgroups = Cgroups.restored(wire.mappings(legacy.state, "cgroups"))
        except wire.WireError as error:
            raise EngineError(f"the last server left nonsense: {error}") from error
        self._state = legacy.state
        for record in await adopt(zygote, legacy, self._territory, self._cgroups):
            self._records[record.spec.id] = record
        zygote.configure(self._settings())
        return True

    async def close(self) -> None:
        """Remove all sandboxes and leave nothing behind; may be repeated."""
        zygote, self._zygote = self._zygote, None
        for record in self._records.values():
            record.agent.close()
        if zygote is not None:
            await zygote.close()
        self._records.clear()
        await self._territory.leave()

    def let_go(self) -> None:
        """Leave all sandboxes to the next life; may be repeated."""
        for record in self._records.values():
            record.agent.close()
        if self._zygote is not None:
            self._zygote.hang_up()
            self._zygote = None
        self._records.clear()
        self._territory.let_go()

    def check_new(self, name: str) -> None:
        """Check that there can be a new sandbox of this id.

        Raises:
            EngineError: There cannot.
        """
        if not records.is_id(name) or name in self._records:
            raise EngineError(f"{name!r} cannot be the id of a new sandbox")

    def rename(self, name: str, new: str) -> None:
        """Give a sandbox another id.

        Raises:
            EngineError: That cannot be written down; it keeps the old one.
        """
        self.check_new(new)
        record = self._records[name]
        record.rename(new)
        try:
            self.save(record)
        except EngineError:
            record.rename(name)
            raise
        self._records[new] = self._records.pop(name)

    def save(self, record: Record) -> None:
        """Write down what a next life has to know of a sandbox.

        Raises:
            EngineError: It cannot be written.
        """
        try:
            records.save(record)
        except OSError as error:
            text = f"the record of the sandbox could not be written: {error.strerror}"
            raise EngineError(text) from error

    async def create(
        self, spec: SandboxSpec, prepare: Callable[[Record], Awaitable[wire.Message]]
    ) -> Record:
        """Make a sandbox; on failure or cancellation nothing of it is left.

        Args:
            spec: What it shall be like.
            prepare: Completes the record, makes the home directory and returns what the zygote
                has to know.

        Raises:
            EngineError: It could not be made.
        """
        name = spec.id
        self.check_new(name)
        try:
            mine, theirs = socket_pair()
        except OSError as error:
            raise _failure(error) from error
        with theirs:
            record = Record(name, spec, self._territory.sandboxes / name, AgentClient(mine))
            self._records[name] = record
            try:
                zygote = await self._living_zygote()
                record.directory.mkdir(mode=0o700)
                plan = await prepare(record)
                records.save(record)
                zygote.create(name, plan, theirs)
                await _wait_ready(record.agent)
            except OSError as error:
                await self.destroy(name)
                raise _failure(error) from error
            except BaseException:
                await self.destroy(name)
                raise
        return record

    async def renew(self, record: Record, plan: wire.Message) -> None:
        """Kill all that runs in a sandbox and start it anew, which cannot be broken off.

        Args:
            record: The sandbox, which gets a new agent.
            plan: What the zygote has to know.

        Raises:
            EngineError: It could not be done, and the sandbox is gone.
        """
        old = record.agent
        try:
            zygote = await self._living_zygote()
            mine, theirs = socket_pair()
            with theirs:
                record.agent = AgentClient(mine)
                zygote.renew(record.name, plan, theirs)
                if record.group is not None:
                    record.group.release()  # after the kill was sent: nothing in it shall run on
                await _wait_ready(record.agent)
        except OSError as error:
            await self.destroy(record.spec.id)
            raise _failure(error) from error
        except BaseException:
            await self.destroy(record.spec.id)
            raise
        finally:
            old.close()  # earlier, it would end by itself, and the zygote believe it dead

    async def send_out(self, order: wire.Message, channel: socket.socket) -> None:
        """Have a fork of the zygote do something; it will answer on the channel.

        Raises:
            EngineError: The engine has been closed.
        """
        (await self._living_zygote()).errand(order, channel)

    async def destroy(self, name: str) -> None:
        """Kill a sandbox and remove what is left of it; an unknown one is no error."""
        record = self._records.get(name)
        if record is None:
            return
        if record.removal is None or record.removal.done():
            record.removal = asyncio.create_task(self._remove(name, record))
        await asyncio.shield(record.removal)

    async def _remove(self, name: str, record: Record) -> None:
        record.agent.close()
        ending = None if self._zygote is None else self._zygote.destroy(record.name)
        if record.group is not None:
            record.group.release()  # after the kill was sent: nothing in it shall run on
        if ending is not None:
            await ending
        try:
            await asyncio.to_thread(_remove_remains, record)
        except OSError as error:
            text = f"what is left of the sandbox could not be removed: {error.strerror}"
            raise EngineError(text) from error
        _ = self._records.pop(name, None)
        if record.farewell is not None:
            record.farewell()

    def _start_zygote(self) -> Zygote:
        self._cgroups = self._find_cgroups(self._territory)
        self._state = {"cgroups": self._cgroups.describe()}
        return Zygote.start(self._territory.lock, self._settings())

    def _settings(self) -> wire.Message:
        territory = self._territory
        return {
            "cgroups": self._cgroups.directories,
            "directory": str(territory.sandboxes),
            "ephemeral": str(territory.path) if territory.ephemeral else None,
            "orphan_seconds": self._orphan_timeout,
            "version": self._version,
            "state": self._state,
        }

    async def _living_zygote(self) -> Zygote:
        """Return the zygote, or another one should it have died (and all sandboxes with it)."""
        async with self._reviving:
            if self._zygote is None:
                raise EngineError("the engine has been closed")
            if self._zygote.gone:
                logger.error("the zygote has died, and all sandboxes with it; starting another")
                await self._zygote.close()
                for directory in self._cgroups.directories:
                    await asyncio.to_thread(removal.remove_cgroup, directory)
                self._zygote = self._start_zygote()
            return self._zygote


def _failure(error: OSError) -> EngineError:
    return EngineError(f"the sandbox could not be made: {error.strerror}")


async def _wait_ready(agent: AgentClient) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await agent.wait_ready()
    except TimeoutError as error:
        raise EngineError("the sandbox could not be made: it does not answer") from error
    except SandboxGoneError as error:
        raise EngineError("the sandbox could not be made: it died at once") from error


def _remove_remains(record: Record) -> None:
    if record.group is not None:
        record.group.remove()
    removal.remove_tree(str(record.directory))
