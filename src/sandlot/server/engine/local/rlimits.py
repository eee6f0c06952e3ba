"""The resource limits (setrlimit(2)) of what runs in a sandbox."""

from __future__ import annotations

import resource

from sandlot.server.engine.base import SandboxSpec

__all__ = ["PROCESSES", "descriptors", "resource_limits"]

PROCESSES = 512
"""Processes and threads of a sandbox."""

_MIB = 1 << 20
_DESCRIPTORS = 16384


def resource_limits(spec: SandboxSpec, *, bound_memory: bool) -> dict[str, int]:
    """Return the limits, by the names that the agent knows them by.

    Args:
        spec: What the sandbox is like.
        bound_memory: Whether nothing else bounds its memory.
    """
    limits = {
        "core": 0,  # the host may feed cores to a program of its own
        "fsize": spec.disk_mb * _MIB,
        "nofile": descriptors(),
        "nproc": PROCESSES,
        # Memory of the kernel, and precedence: a host may have raised its own limits.
        "memlock": 8 * _MIB,
        "msgqueue": 819_200,  # the usual: MQ_BYTES_MAX of linux/mqueue.h
        "nice": 0,
        "rtprio": 0,
        "sigpending": 4096,
    }
    if bound_memory:
        limits["data"] = spec.memory_mb * _MIB
    return limits


def descriptors() -> int:
    """Return how many descriptors a process of a sandbox may have: far fewer than the server.

    That is also how many may be on the way between processes of one user before the kernel refuses
    to send more (unix(7), ETOOMANYREFS), and the server may be that user.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _DESCRIPTORS if soft == resource.RLIM_INFINITY else min(_DESCRIPTORS, soft // 2)
