"""An agent without walls: an ordinary process that serves an ordinary directory.

It does what PID 1 does for a sandbox, as far as an ordinary process can: it adopts what its
programs leave behind (on Linux), and when the server is gone it kills them all.
"""

from __future__ import annotations

import os
import socket
import sys

from . import kernel, privileges
from .agent import Agent

__all__ = ["serve"]


def serve(sock: socket.socket, home: str) -> None:
    """Serve until the server hangs up, and end everything that was started."""
    privileges.forget_descriptors(sock.fileno())
    os.setsid()
    if sys.platform == "linux":
        kernel.become_subreaper()
    agent = Agent(sock, home)
    try:
        agent.serve()
    finally:
        agent.end()
