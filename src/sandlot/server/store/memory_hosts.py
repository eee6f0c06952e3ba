"""Hosts in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from .hosts import HostRecord, HostToken, TokenKind

__all__ = ["MemoryHosts"]


class MemoryHosts:
    """The rows of hosts, their tags and their tokens."""

    def __init__(self) -> None:
        self._rows = dict[str, HostRecord]()
        self._tags = defaultdict[str, set[str]](set)
        self._tokens = dict[str, HostToken]()

    async def add(self, record: HostRecord) -> bool:
        """Add a host, unless there is one of its id; return whether there was none."""
        return self._rows.setdefault(record.id, record) is record

    async def put(self, record: HostRecord) -> None:
        """Write a host, whether or not there is one of its id; its tags and tokens stay."""
        self._rows[record.id] = record

    async def get(self, host_id: str) -> HostRecord | None:
        """Return the host of this id, whosever it is."""
        return self._rows.get(host_id)

    async def list(self, team_id: str | None) -> Sequence[HostRecord]:
        """Return the hosts of a team, or all hosts, newest first."""
        rows = [row for row in self._rows.values() if team_id in (None, row.team_id)]
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)

    async def register(self, record: HostRecord) -> bool:
        """Write a host that is `pending` until then; return whether it was."""
        row = self._rows.get(record.id)
        if row is None or row.status != "pending":
            return False
        self._rows[record.id] = record
        return True

    async def beat(self, host_ids: Collection[str], time: datetime) -> Mapping[str, str]:
        """Note that hosts are there now, `online`, but for those that are `pending`."""
        found = [row for host_id in host_ids if (row := self._rows.get(host_id)) is not None]
        for row in found:
            if row.status != "pending":
                self._rows[row.id] = replace(row, status="online", last_heartbeat_at=time)
        return {row.id: row.status for row in found}

    async def mark_unreachable(self, before: datetime, time: datetime) -> Sequence[HostRecord]:
        """Mark those that are `online` by their row, but were not heard of since; return them."""
        marked = [
            replace(row, status="unreachable", updated_at=time)
            for row in self._rows.values()
            if row.status == "online"
            and row.last_heartbeat_at is not None
            and row.last_heartbeat_at < before
        ]
        self._rows.update({row.id: row for row in marked})
        return marked

    async def remove(self, host_id: str) -> bool:
        """Remove a host with its tags and tokens; return whether there was one."""
        _ = self._tags.pop(host_id, None)
        tokens = self._tokens.values()
        self._tokens = {token.hash: token for token in tokens if token.host_id != host_id}
        return self._rows.pop(host_id, None) is not None

    async def tags(self, host_id: str) -> Sequence[str]:
        """Return the tags of a host, in order."""
        return sorted(self._tags.get(host_id, ()))

    async def with_tags(self, host_ids: Collection[str], tags: Collection[str]) -> Collection[str]:
        """Return those of these hosts that have all of these tags."""
        wanted = set(tags)
        return [host_id for host_id in host_ids if wanted <= self._tags.get(host_id, set())]

    async def add_tag(self, host_id: str, tag: str) -> None:
        """Give a host a tag; that it has it already is fine."""
        if host_id in self._rows:
            self._tags[host_id].add(tag)

    async def remove_tag(self, host_id: str, tag: str) -> None:
        """Take a tag from a host; that it has none is fine."""
        if host_id in self._tags:
            self._tags[host_id].discard(tag)

    async def add_token(self, token: HostToken) -> None:
        """Add a token, in the place of those of its kind that the host had."""
        same = (token.host_id, token.kind)
        self._tokens = {
            hash: other
            for hash, other in self._tokens.items()
            if (other.host_id, other.kind) != same
        }
        if token.host_id in self._rows:
            self._tokens[token.hash] = token

    async def use_token(self, hash: str, kind: TokenKind, time: datetime) -> str | None:
        """Use a token up; return the id of its host, or None if it is not valid any more."""
        token = self._tokens.get(hash)
        if token is None or token.kind != kind:
            return None
        del self._tokens[hash]
        return token.host_id if token.expires_at > time else None
