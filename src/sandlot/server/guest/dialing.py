"""Connections to programs of the sandbox that listen, made for the server."""

from __future__ import annotations

import errno
import os
import socket

__all__ = ["dial"]


def dial(port: int, *, v6: bool) -> int:
    """Begin to connect to a port of the loopback interface; return the socket.

    Whoever gets it waits for the connection to be made: that may take as long as the listening
    program likes, and the agent waits for nobody.

    Raises:
        OSError: It has failed already.
    """
    family, address = (socket.AF_INET6, "::1") if v6 else (socket.AF_INET, "127.0.0.1")
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        number = sock.connect_ex((address, port))
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
        return sock.detach()
