"""What a process gives up before it runs code that nobody trusts."""

from __future__ import annotations

import contextlib
import os
import resource

from . import kernel, seccomp

__all__ = [
    "become",
    "forget_descriptors",
    "keep_precedence",
    "renounce",
    "set_limits",
    "take_precedence",
]

_LIMITS = {
    "core": resource.RLIMIT_CORE,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rtprio": resource.RLIMIT_RTPRIO,
    "sigpending": resource.RLIMIT_SIGPENDING,
}


_PRECEDENCE = -15  # of a fork bomb of 512 processes it still has a twentieth of the time


def become(uid: int) -> None:
    """Turn from root into a user (and the group of the same number) that has no rights at all.

    Kernel files such as /proc/sys/kernel/core_pattern belong to the host's user 0 and ask for
    nothing more than that: sandboxed code must never run as that user, whatever its capabilities.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.set_dumpable(
        True
    )  # lost with the change of user, and needed to write /proc/self/uid_map


def take_precedence() -> None:
    """Go before ordinary processes, if root may; for those whose control group bounds them."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRECEDENCE)


def keep_precedence() -> None:
    """Keep what precedence there is from all that is started from now on, for good.

    To undo it takes CAP_SYS_NICE in the namespace of the host (sched(7)).
    """
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def set_limits(limits: dict[str, int]) -> None:
    """Lower resource limits by name; one that is lower already is kept."""
    for name, value in limits.items():
        kind = _LIMITS[name]
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def renounce() -> None:
    """Give up every privilege for good, and hide from processes of the same user; in this order.

    Dropping from the bounding set needs CAP_SETPCAP; the filter needs no_new_privs once that is
    gone; and the process becomes untraceable last, when nothing needs its own /proc entries any
    more.
    """
    kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    kernel.install_filter(seccomp.compile_filter())
    kernel.set_dumpable(False)


def forget_descriptors(*keep: int) -> None:
    """Close all descriptors but these, and point the standard ones at nothing."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        if standard != null:
            _ = os.dup2(null, standard)
    start = 3
    for kept in sorted(keep):
        os.closerange(start, kept)
        start = kept + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))
