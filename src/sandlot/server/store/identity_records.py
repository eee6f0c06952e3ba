"""Rows about people and what they may do, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

__all__ = [
    "DEFAULT_TEAM",
    "LOCAL_USER",
    "ApiKeyRecord",
    "AuditFilter",
    "AuditRecord",
    "MemberRecord",
    "Standing",
    "TeamRecord",
    "UserRecord",
]

DEFAULT_TEAM: Final = "team-0000000000000000000000000"
"""The team that everything belongs to as long as there are no others."""

LOCAL_USER: Final = "usr-0000000000000000000000000"
"""The user on whose behalf the owner of a server acts who has no account. It has no password."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A user.

    Attributes:
        email: In lower case.
        password_hash: None for one who cannot log in.
        status: `active` or `disabled`.
        key_version: Tokens of another version are no longer valid.
        is_admin: Whether they administer the platform.
    """

    id: str
    email: str
    name: str
    created_at: datetime
    password_hash: str | None = field(default=None, repr=False)
    status: str = "active"
    key_version: int = 1
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """A team; one that was deleted keeps its row."""

    id: str
    name: str
    slug: str
    created_at: datetime
    is_byoc: bool = False
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A user in a team."""

    team_id: str
    user_id: str
    role: str
    joined_at: datetime
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user is in a team at this moment."""

    user: UserRecord
    team: TeamRecord
    role: str


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key, without the key.

    Attributes:
        created_by: Id of the user who made it.
        creator_email: Filled in lists only.
        scopes: What it may be used for; None for the default.
    """

    id: str
    team_id: str
    name: str
    hash: str = field(repr=False)
    prefix: str
    created_at: datetime
    last_used: datetime | None = None
    created_by: str | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    creator_email: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Something that somebody did."""

    id: str
    team_id: str
    actor_type: str
    resource_type: str
    action: str
    scope: str
    status: str
    created_at: datetime
    actor_id: str | None = None
    actor_name: str | None = None
    resource_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows of the audit log to list.

    Attributes:
        resource_types: Any of these; all if empty.
        actions: Any of these; all if empty.
        with_admin: Whether rows of the scope `admin` are among them.
        before: Only those older than this, and of the same time those with a smaller id.
    """

    resource_types: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    with_admin: bool = True
    before: tuple[datetime, str] | None = None
    limit: int = 50
