"""What is enforced for one sandbox, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandlot.server.engine.base import EngineCapabilities

from .errors import UnsupportedError

__all__ = ["enforced", "for_network", "require"]

_NOT_AS_A_WHOLE = frozenset({"none", "rlimit", "file-size"})
"""What limits a process or a file, but not the sandbox."""


def for_network(engine: EngineCapabilities, network: str) -> EngineCapabilities:
    """Return what an engine enforces for a sandbox with this network mode."""
    namespaces = [name for name in engine.namespaces if network != "full" or name != "net"]
    return replace(engine, network=(network,), namespaces=namespaces)


def enforced(engine: EngineCapabilities) -> list[str]:
    """Return all that holds, in words that users can require."""
    limits = engine.limits
    flags = {
        engine.level: engine.level != "none",
        "seccomp": engine.seccomp,
        "no_new_privileges": engine.no_new_privileges,
        "capabilities_dropped": engine.capabilities_dropped,
        "private_uid": engine.private_uid,
        "memory": limits.memory not in _NOT_AS_A_WHOLE,
        # RLIMIT_NPROC counts for each user namespace, and so for a sandbox (user_namespaces(7)).
        "pids": limits.pids != "none",
        "cpu": limits.cpu not in _NOT_AS_A_WHOLE,
        "disk": limits.disk not in _NOT_AS_A_WHOLE,
    }
    return sorted({*engine.namespaces, *(name for name, holds in flags.items() if holds)})


def require(engine: EngineCapabilities, network: str, wanted: Sequence[str]) -> None:
    """Check that a sandbox with this network mode would have all that is wanted.

    Raises:
        UnsupportedError: Something cannot be had.
    """
    missing = sorted(set(wanted).difference(enforced(for_network(engine, network))))
    if missing:
        why = f" Reason: {engine.reason}." if engine.reason else ""
        raise UnsupportedError(
            f"Not enforced here: {', '.join(missing)}.{why} Nothing was created."
        )
