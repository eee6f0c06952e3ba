"""Who acts: the principal behind a request, and the actor that events and the audit log name.

The actor travels with the work that a request starts, in a context variable, so that what happens
deep inside, or in a task that outlives the request, still knows on whose behalf it does. Work that
nobody asked for is the system's.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from sandlot.server.store.identity_records import DEFAULT_TEAM, LOCAL_USER

from .tokens import Claims

__all__ = [
    "ALL_SCOPES",
    "DEFAULT_SCOPES",
    "DEFAULT_TEAM",
    "LOCAL_USER",
    "NOBODY",
    "SYSTEM",
    "Actor",
    "Credential",
    "Principal",
    "act_as",
    "current_actor",
]

DEFAULT_SCOPES: Final = frozenset({"sandboxes"})
"""What an API key may be used for unless it was made for more; that of the original protocol."""

ALL_SCOPES: Final = frozenset(
    {"sandboxes", "api_keys", "teams", "users", "audit", "hosts", "channels", "admin"}
)
"""All that an API key can be made for."""


Credential: TypeAlias = str | Claims
"""What can be looked up again: the digest of an API key, or what a user's token says."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as events and the audit log name them."""

    type: Literal["user", "api_key", "host", "system"]
    id: str | None = None
    name: str | None = None


SYSTEM: Final = Actor("system")

_current: ContextVar[Actor] = ContextVar("current_actor", default=SYSTEM)


def current_actor() -> Actor:
    """Return on whose behalf the running code acts."""
    return _current.get()


def act_as(actor: Actor) -> None:
    """Say on whose behalf the running task acts from here on, and those that it starts."""
    _ = _current.set(actor)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and what they may do.

    Attributes:
        kind: What they have shown: nothing (`nobody`, where nothing is needed), nothing to a server
            that asks for nothing (`open`), an API key, a user's token, or a host's.
        team_id: The team that they act in; empty for `nobody` and hosts.
        user_id: The user; of an API key, the one who made it, if it may do more than the default.
        role: The role of that user in the team now; None without a user, or if they left it.
        scopes: What an API key may be used for; everything else may be used for all.
        is_admin: Whether the user is an administrator of the platform.
        name: What people call them.
        credential: What they have shown, if their rights can end.
    """

    kind: Literal["nobody", "open", "api_key", "user", "host"]
    team_id: str = ""
    user_id: str | None = None
    key_id: str | None = None
    host_id: str | None = None
    role: str | None = None
    scopes: frozenset[str] = ALL_SCOPES
    is_admin: bool = False
    name: str | None = None
    credential: Credential | None = field(default=None, repr=False, compare=False)

    @property
    def actor(self) -> Actor:
        """How events and the audit log name them."""
        match self.kind:
            case "api_key":
                return Actor("api_key", self.key_id, self.name)
            case "user" | "open":
                return Actor("user", self.user_id, self.name)
            case "host":
                return Actor("host", self.host_id, self.name)
            case "nobody":
                return SYSTEM


NOBODY: Final = Principal("nobody")
