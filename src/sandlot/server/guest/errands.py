"""What forks of the zygote do for the server about files of sandboxes, and end.

They hold no secrets, have the rights of one sandbox at most when they look at what it wrote, and
answer the server over a channel of their own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from . import comparing, copying, kernel, overlay, privileges, rights, wire
from .sealing import SEALED, HarmError, seal
from .signals import stop_listening

__all__ = ["HARM", "SEALED", "run"]

HARM = 3
"""Exit code that means that the sandbox must not go on."""

_DEPTH = 20_000  # frames; each level of a tree takes a few of those


class _Errand:
    """What there is to do, and for whom."""

    def __init__(
        self, message: wire.Message, sock: socket.socket, pid: int, namespace: int | None
    ) -> None:
        self.message = message
        self.sock = sock
        self.pid = pid
        self._namespace = namespace

    @property
    def namespace(self) -> int:
        """The mount namespace of the sandbox."""
        if self._namespace is None:
            raise OSError(3, "there is no such sandbox")
        return self._namespace

    def text(self, name: str) -> str:
        """Return a field of the order."""
        return wire.text(self.message, name)

    @property
    def owner(self) -> int | None:
        """User that the files belong to on the disk, if not the server's own."""
        return wire.optional_integer(self.message, "owner")

    def tell(self, message: dict[str, object], fds: tuple[int, ...] = ()) -> None:
        """Answer the server."""
        wire.send(self.sock, message, fds)


def _seal(errand: _Errand) -> None:
    done = seal(errand.message, errand.pid, errand.namespace)
    with contextlib.suppress(ConnectionError):  # then the next server sees what was done
        errand.tell({"sealed": done})


def _copy(errand: _Errand) -> None:
    """Copy a directory, for another user if need be."""
    source = _open(errand.text("source"))
    target = _open(errand.text("target"))
    recipient = wire.optional_integer(errand.message, "recipient")
    if recipient is None:
        rights.take(errand.owner)
    copying.copy_tree(source, target, recipient)
    errand.tell({})


def _merge(errand: _Errand) -> None:
    """Make one layer of several, newest first."""
    sources = [_open(path) for path in wire.strings(errand.message, "sources")]
    target = _open(errand.text("target"))
    rights.take(errand.owner)
    copying.merge_layers(sources, target, bottom=wire.boolean(errand.message, "bottom"))
    errand.tell({})


def _measure(errand: _Errand) -> None:
    """Add up what a directory takes."""
    directory = _open(errand.text("source"))
    rights.take(errand.owner)
    size, files = copying.measure(directory)
    errand.tell({"bytes": size, "files": files})


def _view(errand: _Errand) -> None:
    """Hand out a directory that shows a stack of layers."""
    stack = overlay.Stack(wire.mapping(errand.message, "stack"))
    trees = overlay.open_trees(stack, errand.owner)
    rights.take(errand.owner)
    overlay.mount_stack(stack, trees)
    # A mount of its own, so that it lasts when this process and its mounts are gone.
    errand.tell({}, (_open("."),))


def _compare(errand: _Errand) -> None:
    """Tell how the home of a sandbox differs from a stack of layers."""
    stack = overlay.Stack(wire.mapping(errand.message, "stack"))
    uid = wire.optional_integer(errand.message, "uid")
    trees = overlay.open_trees(stack, uid)
    rights.enter(uid, errand.namespace)
    overlay.mount_stack(stack, trees)
    base = _open(".")
    changed = wire.strings(errand.message, "changed")
    layers = [_open(f"../{name}") for name in changed]
    kernel.enter_namespace(errand.namespace, kernel.CLONE_NEWNS)
    _report(errand, base, _open(wire.text(errand.message, "home")), layers)


def _compare_copies(errand: _Errand) -> None:
    """Tell how two directories differ."""
    base, current = (_open(path) for path in wire.strings(errand.message, "sources"))
    if os.getuid():
        rights.take(None)
    _report(errand, base, current, None)


def _report(errand: _Errand, base: int, current: int, layers: list[int] | None) -> None:
    most = wire.integer(errand.message, "most")
    seconds = wire.number(errand.message, "seconds")
    comparison = comparing.Comparison(most, seconds)
    for batch in comparison.batches(base, current, layers):
        errand.tell({"changes": batch})
    errand.tell({"truncated": comparison.truncated})


_ERRANDS: dict[str, Callable[[_Errand], None]] = {
    "seal": _seal,
    "copy": _copy,
    "merge": _merge,
    "measure": _measure,
    "view": _view,
    "compare": _compare,
    "compare-copies": _compare_copies,
}


def run(message: wire.Message, channel: int, pid: int, namespace: int | None) -> NoReturn:
    """Do what a message says, answer and end.

    Args:
        message: What to do.
        channel: Descriptor of the socket to answer on.
        pid: Agent of the sandbox that it is about, 0 if there is none.
        namespace: Descriptor of the mount namespace of that sandbox.
    """
    code = 1
    try:
        stop_listening()
        _ = signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # whoever asked may be gone
        kernel.die_with_parent(signal.SIGKILL)
        privileges.forget_descriptors(channel, *([] if namespace is None else [namespace]))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # several for each level of a tree
        sys.setrecursionlimit(_DEPTH)
        sock = socket.socket(fileno=channel)
        try:
            _ERRANDS[wire.text(message, "errand")](_Errand(message, sock, pid, namespace))
            code = 0
        except HarmError as error:
            code = HARM
            wire.send(sock, {"error": 0, "call": "pivot_root", "text": str(error)})
        except OSError as error:
            text = error.strerror or str(error)
            call = str(error.filename or "")
            wire.send(sock, {"error": error.errno or 0, "call": call, "text": text})
    finally:
        os._exit(code)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
