"""Hosts, for those who look after them.

Administrators of the platform see all hosts and manage all; others those that their team has
brought (`byoc`), which its admins and owners manage.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sandlot.server.ids import is_id
from sandlot.server.store.base import Store
from sandlot.server.store.hosts import HostRecord
from sandlot.server.texts import is_printable, is_word

from .builds_elsewhere import ended
from .enrollment import Enrollment
from .errors import (
    ConflictError,
    ForbiddenError,
    HasActiveSandboxesError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
)
from .idempotency import Claim
from .lives import Lives
from .machines import is_stale
from .principals import LOCAL_USER, Principal

__all__ = ["Hosts", "Invitation", "NewHost", "SeenHost", "check_tag"]

_MANAGERS = ("admin", "owner")
_LONGEST_TAG = 64
_MOST_TAGS = 100
_LONGEST_PLACE = 128
_DELETED = "Its host was deleted."


@dataclass(frozen=True, slots=True)
class NewHost:
    """What a new host shall be like."""

    type: str
    team_id: str | None = None
    provider: str | None = None
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A host that waits to be registered, and the token to do it with."""

    host: HostRecord
    registration_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenHost:
    """A host as somebody sees it.

    Attributes:
        team_name: What its team is called; for administrators only.
    """

    record: HostRecord
    team_name: str | None = None


class Hosts:
    """All hosts.

    Args:
        timeout: Seconds without a heartbeat after which a host is unreachable.
    """

    def __init__(self, store: Store, lives: Lives, enrollment: Enrollment, timeout: float) -> None:
        self._rows = store.hosts
        self._teams = store.teams
        self._builds = store.builds
        self._on_host = store.sandboxes.on_host
        self._lives = lives
        self._enrollment = enrollment
        self._timeout = timedelta(seconds=timeout)

    async def create(self, caller: Principal, claim: Claim, wanted: NewHost) -> Invitation:
        """Make a host that an agent can be registered for.

        Args:
            caller: Who asks.
            claim: Its id, and the token to register it with.
            wanted: What it shall be like.

        Raises:
            InvalidRequestError: It makes no sense.
            ForbiddenError: The caller may not, or the team brings no hosts.
            NotFoundError: There is no such team.
            ConflictError: It was made of this claim already.
        """
        if wanted.type not in ("regular", "byoc"):
            raise InvalidRequestError("type: must be regular or byoc.")
        for name, text in (
            ("provider", wanted.provider),
            ("availability_zone", wanted.availability_zone),
        ):
            if text is not None and not (is_printable(text) and 1 <= len(text) <= _LONGEST_PLACE):
                raise InvalidRequestError(f"{name}: must be 1-{_LONGEST_PLACE} characters.")
        team_id = None
        if wanted.type == "byoc":
            team_id = await self._bringing_team(caller, wanted.team_id)
        elif not caller.is_admin:
            raise ForbiddenError("Only administrators of the platform make regular hosts.")
        now = datetime.now(UTC)
        record = HostRecord(
            id=claim.id,
            type=wanted.type,
            status="pending",
            created_by=caller.user_id or LOCAL_USER,
            created_at=now,
            updated_at=now,
            team_id=team_id,
            provider=wanted.provider,
            availability_zone=wanted.availability_zone,
        )
        if not await self._rows.add(record):
            raise ConflictError("There is a host of this id.")
        await self._enrollment.invite(record.id, claim.secret)
        return Invitation(record, claim.secret)

    async def find_new(self, claim: Claim) -> Invitation | None:
        """Return what `create` made of a claim, whatever became of it; None if it is gone."""
        record = await self._rows.get(claim.id)
        return None if record is None else Invitation(self._now(record), claim.secret)

    async def list(self, caller: Principal) -> Sequence[SeenHost]:
        """Return the hosts that somebody can see, newest first."""
        records = await self._rows.list(None if caller.is_admin else caller.team_id)
        return [await self._seen(caller, record) for record in records]

    async def get(self, caller: Principal, host_id: str) -> SeenHost:
        """Return a host.

        Raises:
            NotFoundError: There is none that the caller can see.
        """
        return await self._seen(caller, await self._find(caller, host_id))

    async def sandbox_ids(self, caller: Principal, host_id: str) -> Sequence[str]:
        """Return the live sandboxes on a host that the caller manages, paused ones too."""
        _ = await self._managed(caller, host_id)
        return [row.id for row in await self._on_host(host_id)]

    async def delete(self, caller: Principal, host_id: str, *, force: bool) -> HostRecord:
        """Delete a host with its tokens.

        Args:
            caller: Who asks.
            host_id: Which.
            force: Give its sandboxes up; otherwise it must have none.

        Raises:
            HasActiveSandboxesError: It has some.
            ConflictError: A server is running there.
        """
        record = await self._managed(caller, host_id)
        if (ids := [row.id for row in await self._on_host(host_id)]) and not force:
            raise HasActiveSandboxesError(
                f"The host has sandboxes ({len(ids)}): destroy them first, or ask with force=true.",
                ids,
            )
        if record.engine is not None and self._now(record).status == "online":
            raise ConflictError("A server is running on this host: stop it first.")
        await self._lives.give_up(host_id, _DELETED)
        for build in await self._builds.unfinished([host_id]):
            _ = await self._builds.save(ended(build, "failed", _DELETED))
        _ = await self._rows.remove(host_id)
        return record

    async def invite_again(self, caller: Principal, host_id: str) -> Invitation:
        """Return a new token to register a host with; the one before is of no use any more.

        Raises:
            InvalidStateError: It is registered already.
        """
        record = await self._managed(caller, host_id)
        if record.status != "pending":
            raise InvalidStateError("The host is registered already: delete it and make another.")
        token = secrets.token_hex(32)
        await self._enrollment.invite(record.id, token)
        return Invitation(record, token)

    async def tags(self, caller: Principal, host_id: str) -> Sequence[str]:
        """Return the tags of a host, in order."""
        return await self._rows.tags((await self._find(caller, host_id)).id)

    async def add_tag(self, caller: Principal, host_id: str, tag: str) -> None:
        """Give a host a tag; that it has it already is fine."""
        _ = check_tag(tag, "tag")
        record = await self._managed(caller, host_id)
        tags = await self._rows.tags(record.id)
        if len(tags) >= _MOST_TAGS and tag not in tags:
            raise ConflictError(f"The host has {_MOST_TAGS} tags: remove one of them first.")
        await self._rows.add_tag(record.id, tag)

    async def remove_tag(self, caller: Principal, host_id: str, tag: str) -> None:
        """Take a tag from a host; that it has none is fine."""
        _ = check_tag(tag, "tag")
        record = await self._managed(caller, host_id)
        await self._rows.remove_tag(record.id, tag)

    async def _bringing_team(self, caller: Principal, team_id: str | None) -> str:
        if team_id is None or not is_id("team", team_id):
            raise InvalidRequestError("team_id: the id of a team is needed for a byoc host.")
        own = caller.team_id == team_id and caller.role in _MANAGERS
        if not (own or caller.is_admin):
            raise ForbiddenError("Only admins and owners of the team bring hosts for it.")
        team = await self._teams.get(team_id)
        if team is None:
            raise NotFoundError("There is no such team.")
        if not team.is_byoc:
            raise ForbiddenError("This team brings no hosts: an administrator has to allow it.")
        return team_id

    async def _find(self, caller: Principal, host_id: str) -> HostRecord:
        record = await self._rows.get(host_id)
        if record is None or not (caller.is_admin or record.team_id == caller.team_id):
            raise NotFoundError("There is no such host.")
        return record

    async def _managed(self, caller: Principal, host_id: str) -> HostRecord:
        record = await self._find(caller, host_id)
        if not (caller.is_admin or caller.role in _MANAGERS):
            raise ForbiddenError("Only admins and owners of the team manage its hosts.")
        return record

    async def _seen(self, caller: Principal, record: HostRecord) -> SeenHost:
        record = self._now(record)
        if not caller.is_admin or record.team_id is None:
            return SeenHost(record)
        team = await self._teams.get(record.team_id)
        return SeenHost(record, None if team is None else team.name)

    def _now(self, record: HostRecord) -> HostRecord:
        """Return a host as it is now, whether or not somebody has noticed yet."""
        stale = is_stale(record, datetime.now(UTC) - self._timeout)
        return replace(record, status="unreachable") if stale else record


def check_tag(tag: str, field: str) -> str:
    """Return a text that can be a tag.

    Raises:
        InvalidRequestError: It cannot.
    """
    ends = is_word(tag[:1]) and is_word(tag[-1:])
    fits = ends and len(tag) <= _LONGEST_TAG and is_printable(tag)
    if not fits or "/" in tag or tag in (".", ".."):
        raise InvalidRequestError(
            f"{field}: a tag is 1-{_LONGEST_TAG} characters that can be shown, without slashes."
        )
    return tag
