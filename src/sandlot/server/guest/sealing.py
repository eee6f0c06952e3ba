"""Putting a home on a new layer while its processes are frozen.

What took the changes so far becomes a layer that nobody can write to any more, whatever its size,
and an empty directory on top of it takes the changes from now on. The processes notice nothing:
those that merely have the home as their current directory are moved along. If one of them holds
more of the old mount (an open file, a mapping, a directory in it), the kernel says so, at the one
moment that counts, and all is put back as it was.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from . import kernel, overlay, rights, wire
from .mounts import HOME

__all__ = ["SEALED", "HarmError", "seal"]

SEALED = "sealed"
"""Made beside the kernel's own in the work directory when all is done, should nobody hear of it."""

_PATIENCE = 5.0


class HarmError(Exception):
    """The sandbox is in a state that it must not go on in."""


def seal(message: wire.Message, pid: int, namespace: int) -> bool:
    """Put a new stack in the place of the mounted home; return whether nothing was in the way.

    Args:
        message: The stack, the outer user, and whether the agent has to be stopped (`stop`), which
            it need not be where it is frozen with the rest.
        pid: The agent.
        namespace: Descriptor of the sandbox's mount namespace.

    Raises:
        OSError: It could not be done; nothing has changed.
        HarmError: It was done in part.
    """
    stack = overlay.Stack(wire.mapping(message, "stack"))
    uid = wire.optional_integer(message, "uid")
    trees = overlay.open_trees(stack, uid)
    rights.enter(uid, namespace)
    overlay.mount_stack(stack, trees)
    tree = kernel.clone_tree(".")
    work = os.open(f"../s/{stack.work}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not wire.boolean(message, "stop"):
        return _exchange(tree, work, namespace)
    try:
        _stop(pid)
        return _exchange(tree, work, namespace)
    finally:
        os.kill(pid, signal.SIGCONT)


def _exchange(tree: int, work: int, namespace: int) -> bool:
    """Mount the new home in the place of the old one."""
    kernel.enter_namespace(namespace, kernel.CLONE_NEWNS)
    os.chroot(HOME)
    os.chdir("/")
    kernel.attach_tree(tree, "/")
    try:
        os.fchdir(tree)
        os.close(tree)
        # Moves everybody along whose current directory is the old home: chroot_fs_refs() of
        # fs/fs_struct.c. The old home then lies on top of the new one.
        kernel.pivot_root()
        try:
            kernel.unmount(".")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            os.chdir("/..")  # the old home, which now is on top of this root
            kernel.pivot_root()
            kernel.detach_mount(".")
            return False
        os.mkdir(SEALED, dir_fd=work)
    except OSError as error:
        raise HarmError(str(error)) from error
    return True


def _stop(pid: int) -> None:
    """Stop the agent, so that it opens nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _PATIENCE
    while True:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
        if data[data.rindex(b")") + 2 :].split()[0] in (b"T", b"t"):
            return
        if time.monotonic() > deadline:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), "stop")
        time.sleep(0.0002)  # its parent, which the kernel would tell, has other things to do
