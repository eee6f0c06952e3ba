"""Homes made of layers: what a sandbox writes, over directories that never change again.

The kernel's overlay file system is mounted with the rights of the sandbox's own user namespace and
keeps its marks in `user.overlay` attributes (`userxattr`, Linux 5.11). Where each sandbox has a
user of its own, layers show the files as the user's that is at work, whoever they belong to on the
disk (mounts with mapped ids, Linux 5.19 for overlays).
"""

from __future__ import annotations

import os
import signal

from . import kernel, wire

__all__ = ["PLACE", "Stack", "Trees", "mount_stack", "open_trees", "read_stack"]

PLACE = "mnt"
"""Directory of a sandbox where its home is put together, seen by nobody else."""

_SAFE = kernel.MS_NOSUID | kernel.MS_NODEV
# volatile: what was written need not be on the disk before the mount can go (Linux 5.10); else each
# end of a sandbox would wait until all that this machine has written is. What is to last longer
# than the machine's present life is written out when it is captured.
_EMPTY = ("e", "f")
_OPTIONS = "userxattr,index=off,xino=off"


class Stack:
    """What a home consists of.

    Attributes:
        layers: Directory on the host that holds the layers.
        place: Directory on the host of the sandbox's own.
        lower: Layers, newest first: `l/NAME` in `layers`, `s/NAME` in `place`.
        upper: Name in `place` of what takes the changes; nothing can be changed if None.
        work: Name in `place` of an empty directory for the kernel.
        owner: User that the files belong to on the disk, if that is not the server's own.
    """

    def __init__(self, message: wire.Message) -> None:
        self.layers = wire.text(message, "layers")
        self.place = wire.text(message, "place")
        self.lower = wire.strings(message, "lower")
        self.upper = wire.optional_text(message, "upper")
        self.work = wire.optional_text(message, "work")
        self.owner = wire.optional_integer(message, "owner")


def read_stack(message: wire.Message) -> Stack | None:
    """Return what a message says of a stack, if it does."""
    return None if message.get("stack") is None else Stack(wire.mapping(message, "stack"))


class Trees:
    """Detached mounts of the directories of a stack, as its user shall see them."""

    def __init__(self, layers: int, place: int) -> None:
        self.layers = layers
        self.place = place


def open_trees(stack: Stack, uid: int | None) -> Trees | None:
    """Take hold of the directories while they can be reached: before root turns into a user.

    Args:
        stack: What will be mounted.
        uid: The user; None if this process stays the one it is, and needs nothing.
    """
    os.chdir(stack.place)
    if uid is None:
        return None
    trees = Trees(kernel.clone_tree(stack.layers), kernel.clone_tree("."))
    if stack.owner is not None and stack.owner != uid:
        users = _map_users(stack.owner, uid)
        kernel.map_owner(trees.layers, users)
        kernel.map_owner(trees.place, users)
        os.close(users)
    return trees


def mount_stack(stack: Stack, trees: Trees | None) -> None:
    """Mount a home in a mount namespace of one's own, and make it the current directory.

    The current directory must be the sandbox's own on the host. The paths that the kernel notes
    for the mount, which can be read inside, are relative and tell nothing about the host.
    """
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", PLACE, "tmpfs", _SAFE, "mode=755,size=64k,nr_inodes=16")
    os.chdir(PLACE)
    for name in ("l", "s", "h", *_EMPTY):
        os.mkdir(name)
    if trees is None:
        kernel.mount(stack.layers, "l", None, kernel.MS_BIND)
        kernel.mount(stack.place, "s", None, kernel.MS_BIND)
    else:
        kernel.attach_tree(trees.layers, "l")
        kernel.attach_tree(trees.place, "s")
        os.close(trees.layers)
        os.close(trees.place)
    lower = list(stack.lower)
    flags, changes = _SAFE, ""
    if stack.upper is None:  # then there must be two lower ones
        flags |= kernel.MS_RDONLY
        lower += _EMPTY[: max(2 - len(lower), 0)]
    else:
        changes = f",upperdir=s/{stack.upper},workdir=s/{stack.work},volatile"
        lower = lower or [_EMPTY[0]]
    options = f"lowerdir={':'.join(lower)}{changes},{_OPTIONS}"
    kernel.mount("home", "h", "overlay", flags, options)
    os.chdir("h")


def _map_users(owner: int, user: int) -> int:
    """Return a user namespace in which one user is another; root only.

    It takes a process to make one, and privileges in the parent namespace to map ids in it that are
    not one's own (user_namespaces(7)).
    """
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.die_with_parent(signal.SIGKILL)
            kernel.unshare(kernel.CLONE_NEWUSER)
            _ = os.write(done, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(done)
    try:
        if not os.read(ready, 1):
            raise OSError(1, "no user namespace could be made", "unshare")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                _ = file.write(f"{owner} {user} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        _ = os.waitpid(pid, 0)
