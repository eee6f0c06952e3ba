"""What a new sandbox shall be like, and whether there can be such a one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandlot.server.engine.base import EngineCapabilities
from sandlot.server.store.setups import Setup

from . import isolation
from .errors import InvalidRequestError, NotFoundError, UnsupportedError

__all__ = ["NewSandbox", "check"]

_LEAST_MEMORY_MB = 8
_NETWORKS = ("none", "outbound", "full")


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a new sandbox shall be like; zeros and None are for the defaults.

    Attributes:
        snapshot: Name of the snapshot that its files come from.
        snapshot_id: What the engine knows those files by.
        snapshot_host_id: Where they are.
        setup: What it gets besides them.
        host_tags: What the host must have.
    """

    template: str = "minimal"
    vcpus: int = 1
    memory_mb: int = 512
    disk_mb: int = 5120
    timeout_sec: int = 0
    network: str = "none"
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    on_timeout: str = "pause"
    max_lifetime_sec: int = 0
    lease_sec: int = 0
    snapshot: str | None = None
    snapshot_id: str | None = None
    snapshot_host_id: str | None = None
    setup: Setup | None = None
    host_tags: Sequence[str] = ()
    require_isolation: Sequence[str] = ()


def check(wanted: NewSandbox, capabilities: EngineCapabilities) -> None:
    """Check that a sandbox can be made.

    Raises:
        ServiceError: It cannot.
    """
    if wanted.template not in capabilities.templates:
        known = ", ".join(capabilities.templates)
        advice = capabilities.missing.get(wanted.template)
        if advice is not None:
            raise NotFoundError(f"The template is not installed on the server. {advice}")
        raise NotFoundError(f"There is no template of that name; there are: {known}.")
    if wanted.memory_mb < _LEAST_MEMORY_MB:
        raise InvalidRequestError(
            f"memory_mb: a sandbox needs at least {_LEAST_MEMORY_MB} MiB of memory."
        )
    if wanted.network not in _NETWORKS:
        known = ", ".join(capabilities.network)
        raise InvalidRequestError(f"There is no such network mode; there are: {known}.")
    if wanted.network not in capabilities.network:
        raise UnsupportedError(f"This engine has no network mode {wanted.network!r}.")
    isolation.require(capabilities, wanted.network, wanted.require_isolation)
