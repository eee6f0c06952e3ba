"""All that the double keeps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.compat.double import ids
from tests.compat.double.answers import ProblemError, missing

CODE_TEMPLATE = "python-interpreter-v0-beta"
"""The template in which a Jupyter server listens (original server: 7.1)."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class User:
    email: str
    password: str
    name: str
    is_admin: bool = False
    id: str = field(default_factory=lambda: ids.new("usr"))
    created_at: datetime = field(default_factory=now)


@dataclass
class Member:
    user: User
    role: str
    joined_at: datetime = field(default_factory=now)


@dataclass
class Team:
    name: str
    id: str = field(default_factory=lambda: ids.new("team"))
    slug: str = field(default_factory=lambda: f"{secrets.token_hex(3)}-{secrets.token_hex(3)}")
    is_byoc: bool = False
    deleted: bool = False
    members: list[Member] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)

    def role_of(self, user: User | None) -> str | None:
        return next((each.role for each in self.members if each.user is user), None)


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    team: Team
    user: User | None = None
    key_id: str | None = None
    role: str | None = None
    """What the token says, which is not looked up again."""


@dataclass
class Key:
    team: Team
    name: str
    creator: User
    secret: str = field(default_factory=lambda: f"wrn_{secrets.token_hex(16)}")
    id: str = field(default_factory=lambda: ids.new("key"))
    created_at: datetime = field(default_factory=now)
    last_used: datetime | None = None


@dataclass
class Template:
    team: Team
    name: str
    type: str
    vcpus: int
    memory_mb: int
    size_bytes: int
    created_at: datetime = field(default_factory=now)


@dataclass
class Capsule:
    team: Team
    template: str
    vcpus: int
    memory_mb: int
    timeout_sec: int
    home: Path
    id: str = field(default_factory=lambda: ids.new("cl"))
    status: str = "running"
    is_frozen_by_agent: bool = False
    """Paused for idleness, which the database has not heard of yet."""
    has_host: bool = True
    created_at: datetime = field(default_factory=now)
    started_at: datetime = field(default_factory=now)
    last_active_at: datetime | None = None
    kernels: dict[str, dict[str, Any]] = field(default_factory=dict)
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set for as long as nothing runs in it."""

    def halt(self, status: str) -> None:
        self.status = status
        self.halted.set()

    def go_on(self) -> None:
        self.status = "running"
        self.started_at = self.last_active_at = now()
        self.halted.clear()


@dataclass
class Entry:
    """A row of the audit log."""

    team: Team
    resource_type: str
    action: str
    status: str
    scope: str = "team"
    caller: Caller | None = None
    resource_id: str | None = None
    metadata: dict[str, str] | None = None
    id: str = field(default_factory=lambda: ids.new("log"))
    created_at: datetime = field(default_factory=now)


class World:
    """The state of the original server.

    Attributes:
        is_later: It is a later one (original server: 9), not the first.
    """

    def __init__(self, directory: str, *, is_later: bool = False) -> None:
        self.directory = Path(directory)
        self.is_later = is_later
        self.users: list[User] = []
        self.disabled: list[User] = []
        self.teams: list[Team] = []
        self.keys: list[Key] = []
        self.tokens: dict[str, Caller] = {}
        self.capsules: list[Capsule] = []
        self.audit: list[Entry] = []
        self.hosts: list[Any] = []
        self.channels: list[Any] = []
        self.builds: list[Any] = []
        self.processes: list[asyncio.subprocess.Process] = []
        self.platform = Team("platform", id=f"team-{ids.NOBODY}")
        self.templates = [
            Template(self.platform, "minimal", "base", 1, 512, 0),
            Template(self.platform, CODE_TEMPLATE, "snapshot", 1, 1024, 4096),
        ]
        self.failures: list[Exception] = []
        """Mistakes of the double itself."""
        self.lost: set[str] = set()
        """Requests whose answers get lost on the way."""
        self.requests: list[str] = []
        """What was asked, for tests to look at."""

    async def end(self) -> None:
        """End what commands left behind."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            _ = await process.wait()
            process._transport.close()

    def home(self) -> Path:
        """Make the directory of a sandbox's files."""
        home = Path(tempfile.mkdtemp(dir=self.directory))
        (home / "root").mkdir()
        return home

    def sign_up(self, email: str, name: str = "A User", *, is_admin: bool = False) -> User:
        user = User(email, "password", name, is_admin)
        team = Team(f"{name}'s Team", members=[Member(user, "owner")])
        self.users.append(user)
        self.teams.append(team)
        return user

    def user(self, email: str) -> User | None:
        return next((each for each in self.users if each.email == email), None)

    def teams_of(self, user: User) -> Iterator[Team]:
        return (each for each in self.teams if not each.deleted and each.role_of(user))

    def token(self, user: User, team: Team) -> str:
        token = f"eyJhbGciOiJIUzI1NiJ9.{secrets.token_hex(24)}.{secrets.token_hex(8)}"
        self.tokens[token] = Caller(team, user, role=team.role_of(user))
        return token

    def capsule(self, caller: Caller, sandbox_id: str, *, running: bool = False) -> Capsule:
        """Find a sandbox of the caller's team; the order of checks is the original's (2.7)."""
        _ = ids.parse(sandbox_id, "cl")
        for capsule in self.capsules:
            if capsule.id == sandbox_id and capsule.team is caller.team:
                break
        else:
            raise missing("sandbox")
        if running and capsule.status != "running":
            raise ProblemError(
                409, "invalid_state", f"sandbox is not running (status: {capsule.status})"
            )
        return capsule

    def write(
        self, caller: Caller | None, what: str, action: str, status: str, **more: Any
    ) -> None:
        """Add a row to the audit log."""
        team = more.pop("team", None) or (caller.team if caller else self.platform)
        self.audit.append(Entry(team, what, action, status, caller=caller, **more))
