"""How many descriptors the processes of sandboxes may have."""

from __future__ import annotations

import resource

__all__ = ["descriptors"]

_DESCRIPTORS = 16384


def descriptors() -> int:
    """Return how many descriptors a process of a sandbox may have: far fewer than the server.

    That is also how many may be on the way between processes of one user before the kernel refuses
    to send more (unix(7), ETOOMANYREFS), and the server may be that user.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _DESCRIPTORS if soft == resource.RLIM_INFINITY else min(_DESCRIPTORS, soft // 2)
