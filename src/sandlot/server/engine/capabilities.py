"""What an engine enforces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["EnforcedLimits", "EngineCapabilities"]


@dataclass(frozen=True, slots=True)
class EnforcedLimits:
    """What enforces each limit: `cgroup`, `rlimit`, `watchdog`, `file-size` or `none`."""

    memory: str
    pids: str
    cpu: str
    disk: str


@dataclass(frozen=True, slots=True, eq=False)
class EngineCapabilities:
    """What an engine enforces here and now; two are the same only if they are one.

    Attributes:
        engine: Name of the engine.
        level: `full` or `none`.
        templates: Names of the templates it has, sorted.
        namespaces: Kernel namespaces that each sandbox has of its own, sorted.
        network: Network modes that can be asked for.
        pause: How a pause is done: `freeze`, `stop` or `none`.
        snapshot: How files are captured: `overlay` (shared copy-on-write), `copy` or `none`.
        reattach: Whether sandboxes outlive the server.
        reason: Why something is not enforced.
        missing: Templates that it could have, and what is to be done to have them.
    """

    engine: str
    level: str
    templates: Sequence[str]
    limits: EnforcedLimits
    namespaces: Sequence[str] = ()
    seccomp: bool = False
    no_new_privileges: bool = False
    capabilities_dropped: bool = False
    private_uid: bool = False
    network: Sequence[str] = ("none",)
    pause: str = "none"
    snapshot: str = "none"
    reattach: bool = False
    reason: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
