"""Namespaces: a sandbox's own users, processes, mounts, network, IPC, host name and cgroup root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct

from . import kernel

__all__ = ["NAMES", "USER", "bound", "enter", "loopback_up"]

NAMES = ("cgroup", "ipc", "mount", "net", "pid", "user", "uts")

USER = 1000
"""User and group inside a sandbox."""

_ALWAYS = (
    kernel.CLONE_NEWCGROUP
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWUTS
)

_COUNTS = "/proc/sys/user"  # of the namespace of whoever opens it; see namespaces(7)
_MOST = {
    "max_fanotify_groups": 0,
    "max_fanotify_marks": 0,
    "max_inotify_instances": 64,  # half of the usual
    "max_inotify_watches": 16384,
    "max_mnt_namespaces": 16,  # the server makes some for mounts on their way, see `sealing`
}

# linux/sockios.h, linux/if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFF_RUNNING = 0x40


def enter(*, own_network: bool) -> None:
    """Enter new namespaces; that of processes takes in those started from now on.

    They are of every kind, or of every kind but the network's, if that shall be the host's. The one
    user that is mapped is the caller's own; nobody else exists inside.
    """
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(_ALWAYS | (kernel.CLONE_NEWNET if own_network else 0))
    # user_namespaces(7): setgroups must be forbidden before an ordinary user may map a group
    for name, value in (
        ("setgroups", "deny"),
        ("uid_map", f"{USER} {uid} 1"),
        ("gid_map", f"{USER} {gid} 1"),
    ):
        kernel.write_setting(f"/proc/self/{name}", value)


def bound() -> None:
    """Bound what the kernel counts for each user and namespace of users; needs CAP_SYS_RESOURCE.

    What is used counts for the outer user as well (inc_ucount() of kernel/ucount.c): if that is the
    server's own, nothing but these bounds leaves it any. No namespaces of users are left, without
    which there are no others: a second wall behind the system call filter.
    """
    for name in os.listdir(_COUNTS):
        value = _MOST.get(name, 0 if name.endswith("_namespaces") else None)
        if value is None:
            continue
        # In a container /proc/sys may be read-only; the first wall has to do there.
        with contextlib.suppress(OSError):
            kernel.write_setting(f"{_COUNTS}/{name}", str(value))


def loopback_up() -> None:
    """Bring up the loopback interface, all that a new network namespace has."""
    request = struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_RUNNING)  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        _ = fcntl.ioctl(sock, _SIOCSIFFLAGS, request)
