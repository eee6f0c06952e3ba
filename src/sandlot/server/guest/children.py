"""What a zygote has: sandboxes, and orders for the time when the server is gone."""

from __future__ import annotations

import os
import signal
import socket

from . import wire

__all__ = ["Child", "Succession", "end"]


class Child:
    """A sandbox: without a pid while it is built, doomed once it shall go.

    One with a successor makes room for it: the same sandbox, with another home.
    """

    def __init__(self, message: wire.Message, line: socket.socket | None) -> None:
        self.isolated = wire.boolean(message, "isolated")
        self.generation = wire.optional_integer(message, "generation")  # of its home
        self.line = line
        self.successor: tuple[wire.Message, list[int]] | None = None
        self.pid = 0
        self.doomed = False
        self.namespace: int | None = None  # of its mounts; errands enter it


class Succession:
    """What becomes of the sandboxes when the server is gone: for so many seconds they wait."""

    def __init__(self, message: wire.Message, patience: float) -> None:
        self.patience = patience
        self.version = wire.text(message, "version")
        self.state = wire.mapping(message, "state")


def end(child: Child) -> None:
    """Kill a PID 1, and thereby all its processes.

    An agent without walls must end its programs itself: it has heard the server hang up, and only
    must not be stopped.
    """
    os.kill(child.pid, signal.SIGKILL if child.isolated else signal.SIGCONT)
