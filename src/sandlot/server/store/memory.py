"""A store in memory, for servers whose data directory goes when they go.

Nobody could ever read what such a server writes, and a database takes longer to import than the
rest of the server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from .base import NameTakenError
from .memory_builds import MemoryBuilds
from .memory_census import MemoryCensus
from .memory_channels import MemoryChannels, MemoryDeliveries
from .memory_hosts import MemoryHosts
from .memory_identity import MemoryAudit, MemoryKeys, MemoryPeople, MemoryTeams, MemoryUsers
from .memory_usage import MemoryUsage
from .records import (
    LIVE_STATUSES,
    IdempotencyRecord,
    SandboxFilter,
    SandboxRecord,
    SnapshotRecord,
    StatsSample,
)
from .usage import has_run, usage_of

__all__ = ["MemoryStore"]


class MemoryStore:
    """All rows, for as long as the process lives."""

    def __init__(self) -> None:
        self.usage = MemoryUsage()
        self.sandboxes = _Sandboxes(self.usage)
        self.snapshots = _Snapshots()
        people = MemoryPeople()
        self.users = MemoryUsers(people)
        self.teams = MemoryTeams(people)
        self.keys = MemoryKeys(people)
        self.audit = MemoryAudit()
        self.idempotency = _Idempotency()
        self.stats = _Stats()
        self.builds = MemoryBuilds()
        self.channels = MemoryChannels()
        self.deliveries = MemoryDeliveries(self.channels)
        self.hosts = MemoryHosts()
        self.census = MemoryCensus(people, self.sandboxes.alive, self.channels.count)

    async def close(self) -> None:
        """Do nothing."""


class _Sandboxes:
    def __init__(self, usage: MemoryUsage) -> None:
        self._rows = dict[str, SandboxRecord]()
        self._usage = usage

    async def add(self, record: SandboxRecord) -> None:
        if record.name is not None and any(
            (row.team_id, row.name) == (record.team_id, record.name)
            for row in self._rows.values()
            if row.status in LIVE_STATUSES
        ):
            raise NameTakenError(record.name)
        self._rows[record.id] = record

    async def save(
        self,
        record: SandboxRecord,
        *,
        until: datetime | None = None,
        only: Collection[str] = LIVE_STATUSES,
    ) -> bool:
        before = self._rows[record.id]
        if before.status not in only:
            return False
        if has_run(before, record):
            self._usage.add(before.team_id, usage_of(before, until or record.last_updated))
        self._rows[record.id] = record
        return True

    def alive(self, team_id: str) -> int:
        rows = self._rows.values()
        return sum(row.team_id == team_id and row.status in LIVE_STATUSES for row in rows)

    async def save_activity(self, times: Mapping[str, datetime]) -> None:
        for sandbox_id, time in times.items():
            self._rows[sandbox_id] = replace(self._rows[sandbox_id], last_active_at=time)

    async def get(self, team_id: str, sandbox_id: str) -> SandboxRecord | None:
        row = self._rows.get(sandbox_id)
        return row if row is not None and row.team_id == team_id else None

    async def list(self, team_id: str, wanted: SandboxFilter) -> Sequence[SandboxRecord]:
        rows = [
            row for row in self._rows.values() if row.team_id == team_id and _matches(row, wanted)
        ]
        rows.sort(key=_age, reverse=True)
        return rows[: wanted.limit]

    async def living(self, hosts: Collection[str] | None = None) -> Sequence[SandboxRecord]:
        living = [row for row in self._rows.values() if row.status in LIVE_STATUSES]
        return [row for row in living if hosts is None or row.host_id in (None, *hosts)]

    async def on_host(self, host_id: str) -> Sequence[SandboxRecord]:
        found = [row for row in await self.living() if row.host_id == host_id]
        return sorted(found, key=lambda row: row.id)

    async def mark_gone(
        self, reason: str, time: datetime, hosts: Collection[str] | None = None
    ) -> int:
        gone = await self.living(hosts)
        for row in gone:
            stopped = replace(row, status="stopped", status_reason=reason, last_updated=time)
            _ = await self.save(stopped)
        return len(gone)


class _Snapshots:
    def __init__(self) -> None:
        self._rows = dict[str, SnapshotRecord]()

    async def add(self, record: SnapshotRecord) -> None:
        if record.sandbox_id is None and self._named(record.team_id, record.name) is not None:
            raise NameTakenError(record.name)
        self._rows[record.id] = record

    async def replace(self, record: SnapshotRecord) -> SnapshotRecord | None:
        old = self._named(record.team_id, record.name)
        if old is not None:
            del self._rows[old.id]
        self._rows[record.id] = record
        return old

    async def find(self, team_id: str, name: str) -> SnapshotRecord | None:
        return self._named(team_id, name)

    async def get(self, snapshot_id: str) -> SnapshotRecord | None:
        return self._rows.get(snapshot_id)

    async def list(self, team_id: str) -> Sequence[SnapshotRecord]:
        return self._newest(
            lambda row: row.team_id == team_id and row.sandbox_id is None and not row.platform
        )

    async def find_platform(self, name: str) -> SnapshotRecord | None:
        return next((row for row in await self.platform() if row.name == name), None)

    async def platform(self) -> Sequence[SnapshotRecord]:
        return self._newest(lambda row: row.platform)

    async def checkpoints(self, sandbox_id: str) -> Sequence[SnapshotRecord]:
        return self._newest(lambda row: row.sandbox_id == sandbox_id)

    async def remove(self, snapshot_id: str) -> bool:
        return self._rows.pop(snapshot_id, None) is not None

    async def all(self) -> Sequence[SnapshotRecord]:
        return list(self._rows.values())

    def _named(self, team_id: str, name: str | None) -> SnapshotRecord | None:
        found = (row for row in self._rows.values() if (row.team_id, row.name) == (team_id, name))
        return next((row for row in found if row.sandbox_id is None), None)

    def _newest(self, wanted: Callable[[SnapshotRecord], bool]) -> Sequence[SnapshotRecord]:
        rows = [row for row in self._rows.values() if wanted(row)]
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)


class _Idempotency:
    def __init__(self) -> None:
        self._rows = dict[tuple[str, str, str], IdempotencyRecord]()

    async def claim(self, record: IdempotencyRecord, since: datetime) -> IdempotencyRecord:
        known = self._rows.get(_place(record))
        if known is not None and known.created_at >= since:
            return known
        self._rows[_place(record)] = record
        return record

    async def take(self, record: IdempotencyRecord, taken: IdempotencyRecord) -> bool:
        known = self._held(record)
        if known is None or known.held_until != record.held_until:
            return False
        self._rows[_place(record)] = taken
        return True

    async def hold(self, record: IdempotencyRecord, until: datetime) -> bool:
        known = self._held(record)
        if known is not None:
            self._rows[_place(record)] = replace(known, held_until=until)
        return known is not None

    async def finish(self, record: IdempotencyRecord) -> None:
        known = self._rows.get(_place(record))
        if known is not None and known.resource_id == record.resource_id:
            self._rows[_place(record)] = replace(known, is_done=True)

    async def remove(self, record: IdempotencyRecord) -> bool:
        known = self._held(record)
        if known is not None:
            del self._rows[_place(record)]
        return known is not None

    async def remove_before(self, time: datetime) -> None:
        self._rows = {key: row for key, row in self._rows.items() if row.created_at >= time}

    def _held(self, record: IdempotencyRecord) -> IdempotencyRecord | None:
        known = self._rows.get(_place(record))
        if known is None:
            return None
        same = (known.resource_id, known.holder) == (record.resource_id, record.holder)
        return known if same else None


class _Stats:
    def __init__(self) -> None:
        self._rows = defaultdict[str, list[StatsSample]](list)

    async def add(self, samples: Mapping[str, StatsSample]) -> None:
        for team_id, sample in samples.items():
            self._rows[team_id].append(sample)

    async def remove_before(self, time: int) -> None:
        for rows in self._rows.values():
            rows[:] = [row for row in rows if row.sampled_at >= time]

    async def peaks(self, team_id: str, since: int) -> StatsSample:
        return _peak(since, [row for row in self._rows[team_id] if row.sampled_at >= since])

    async def series(self, team_id: str, since: int, width: int) -> Sequence[StatsSample]:
        buckets = defaultdict[int, list[StatsSample]](list)
        for row in self._rows[team_id]:
            if row.sampled_at >= since:
                buckets[row.sampled_at - row.sampled_at % width].append(row)
        return [_peak(start, rows) for start, rows in sorted(buckets.items())]


def _matches(row: SandboxRecord, wanted: SandboxFilter) -> bool:
    return (
        (row.status in LIVE_STATUSES if wanted.status is None else row.status == wanted.status)
        and wanted.template in (None, row.template)
        and wanted.name in (None, row.name)
        and wanted.metadata.items() <= row.metadata.items()
        and (wanted.before is None or _age(row) < wanted.before)
    )


def _place(row: IdempotencyRecord) -> tuple[str, str, str]:
    return row.team_id, row.owner, row.key


def _age(row: SandboxRecord) -> tuple[datetime, str]:
    return row.created_at, row.id


def _peak(time: int, rows: Sequence[StatsSample]) -> StatsSample:
    return StatsSample(
        sampled_at=time,
        running=max((row.running for row in rows), default=0),
        vcpus=max((row.vcpus for row in rows), default=0),
        memory_mb=max((row.memory_mb for row in rows), default=0),
    )
