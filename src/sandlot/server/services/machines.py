"""The machines of this server: the nodes of its engine, as hosts that are alive.

Each server has hosts of its own, also where several share a database, and knows them again in its
next life. It tells of them at every heartbeat, and notices when others are no longer heard of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sandlot.server.engine.base import Engine, Node
from sandlot.server.ids import related_id
from sandlot.server.store.base import Store
from sandlot.server.store.hosts import HostRecord
from sandlot.server.store.records import LIVE_STATUSES, SandboxRecord

from .announcements import announce_host
from .errors import HostUnavailableError, NoHostsAvailableError
from .events import Events
from .principals import LOCAL_USER

__all__ = ["Machines", "Placement", "is_stale"]

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a sandbox may be.

    Attributes:
        host_id: The host, as far as it is known.
        nodes: What the engine is told: any node if there are none.
    """

    host_id: str
    nodes: Sequence[str]


class Machines:
    """The nodes of this server's engine, as hosts.

    Args:
        server_id: What ids of hosts are made from; the same in each life of this server.
        timeout: Seconds without a heartbeat after which a host is unreachable.

    Attributes:
        last_seen: When the last life of this server was last heard of; None if there was none.
    """

    def __init__(
        self, store: Store, engine: Engine, events: Events, server_id: str, timeout: float
    ) -> None:
        self._rows = store.hosts
        self._teams = store.teams
        self._engine = engine
        self._events = events
        self._server_id = server_id
        self._timeout = timedelta(seconds=timeout)
        self._nodes = dict[str, Node]()
        self._without = set[str]()
        """Teams that bring no hosts, as far as is known: each creation would ask."""
        self.last_seen: datetime | None = None

    @property
    def hosts(self) -> Collection[str]:
        """Ids of the hosts of this server."""
        return self._nodes.keys()

    def host_of(self, node: str) -> str:
        """Return the id of the host that a node is."""
        return related_id(self._server_id, node)

    async def start(self) -> None:
        """Register the nodes, or find them registered by the last life of this server."""
        now = datetime.now(UTC)
        self._nodes = await self._find()
        for host_id, node in self._nodes.items():
            known = await self._rows.get(host_id)
            await self._write(host_id, node, known, now)
            if known is not None and known.last_heartbeat_at is not None:
                self.last_seen = max(known.last_heartbeat_at, self.last_seen or _EVER)
                if known.status == "unreachable" or is_stale(known, now - self._timeout):
                    announce_host(self._events, "host.up", known)

    async def beat(self) -> None:
        """Say that this server is there, and notice what others are not any more."""
        now = datetime.now(UTC)
        self.forget()
        nodes = await self._find()
        before = await self._rows.beat(nodes.keys(), now)
        for host_id, node in nodes.items():
            if host_id not in before or node != self._nodes.get(host_id):
                await self._write(host_id, node, await self._rows.get(host_id), now)
            if before.get(host_id) == "unreachable":
                known = await self._rows.get(host_id)
                assert known is not None
                announce_host(self._events, "host.up", known)
        self._nodes = nodes
        for record in await self._rows.mark_unreachable(now - self._timeout, now):
            announce_host(self._events, "host.down", record)

    async def stop(self, *, forget: bool) -> None:
        """Say that this server is going.

        Args:
            forget: It does not come back: its hosts are no more.
        """
        now = datetime.now(UTC)
        for host_id in self._nodes:
            known = await self._rows.get(host_id)
            if forget:
                _ = await self._rows.remove(host_id)
            elif known is not None:
                await self._rows.put(replace(known, status="offline", updated_at=now))

    async def is_there(self, host_id: str | None) -> bool:
        """Tell whether a host of another server has been heard of, as far as one can know."""
        record = None if host_id is None else await self._rows.get(host_id)
        since = datetime.now(UTC) - self._timeout
        return record is not None and record.status == "online" and not is_stale(record, since)

    def refuse_elsewhere(self, record: SandboxRecord) -> None:
        """Check that a sandbox is not alive on a host of another server.

        Raises:
            HostUnavailableError: It is.
        """
        here = (None, *self.hosts)
        if record.status in LIVE_STATUSES and record.host_id not in here:
            raise HostUnavailableError(
                f"The sandbox is on the host {record.host_id}: ask the server there."
            )

    async def choose(
        self, team_id: str, tags: Collection[str], host_id: str | None = None
    ) -> Placement:
        """Say where a sandbox may be.

        Args:
            team_id: Whose it is.
            tags: What the host must have, all of them.
            host_id: The host that has what it begins with.

        Raises:
            NoHostsAvailableError: Nowhere.
        """
        if await self._brings_hosts(team_id):
            raise NoHostsAvailableError(
                "This team has its sandboxes on hosts of its own, and this server is none of them."
            )
        there: Collection[str] = [each for each in self._nodes if host_id in (None, each)]
        if not there:
            raise NoHostsAvailableError("What the sandbox is to begin with is on another host.")
        if tags:
            there = await self._rows.with_tags(there, tags)
        if not there:
            wanted = ", ".join(sorted(tags))
            raise NoHostsAvailableError(f"No host of this server has all of these tags: {wanted}.")
        everywhere = len(there) == len(self._nodes)
        first = next(iter(there))
        return Placement(first, () if everywhere else [self._nodes[each].name for each in there])

    def forget(self) -> None:
        """Ask again which teams bring hosts: that has changed, here or elsewhere."""
        self._without = set[str]()

    async def _brings_hosts(self, team_id: str) -> bool:
        if team_id in self._without:
            return False
        without = self._without
        team = await self._teams.get(team_id)
        if team is not None and team.is_byoc:
            return True
        without.add(team_id)  # in vain if it was forgotten meanwhile
        return False

    async def _find(self) -> dict[str, Node]:
        return {self.host_of(node.name): node for node in await self._engine.nodes()}

    async def _write(
        self, host_id: str, node: Node, known: HostRecord | None, now: datetime
    ) -> None:
        record = HostRecord(
            id=host_id,
            type="regular",
            status="online",
            created_by=LOCAL_USER,
            created_at=now if known is None else known.created_at,
            updated_at=now,
            arch=node.arch,
            cpu_cores=node.cpu_cores,
            memory_mb=node.memory_mb,
            disk_gb=node.disk_gb,
            address=node.address,
            engine=self._engine.capabilities.engine,
            last_heartbeat_at=now,
        )
        await self._rows.put(record)


def is_stale(record: HostRecord, since: datetime) -> bool:
    """Tell whether a host that is `online` by its row was not heard of since a time."""
    heard = record.last_heartbeat_at
    return record.status == "online" and heard is not None and heard < since
