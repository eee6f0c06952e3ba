"""Rights over the files of one user, and over nothing else.

A process in a user namespace has all capabilities there, but they count only for files of the users
that are mapped in it: directories that are closed to their own owner can be entered that way,
without any right of root.
"""

from __future__ import annotations

import os
import signal

from . import kernel, privileges

__all__ = ["enter", "take"]


def enter(uid: int | None, namespace: int) -> None:
    """Enter the user namespace of a sandbox, with a copy of the present mounts.

    Args:
        uid: The user that the sandbox is on the host; None if that is this process's own.
        namespace: Descriptor of the mount namespace of the sandbox, which is not entered.
    """
    if uid is not None:
        privileges.become(uid)
    users = kernel.owner_of_namespace(namespace)
    kernel.enter_namespace(users, kernel.CLONE_NEWUSER)
    os.close(users)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.die_with_parent(signal.SIGKILL)  # the change of rights had undone it


def take(owner: int | None) -> None:
    """Become a user, in namespaces of users and mounts that are new."""
    if owner is not None:
        privileges.become(owner)
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    for name, value in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            _ = file.write(value)
    kernel.die_with_parent(signal.SIGKILL)  # the change of rights had undone it
