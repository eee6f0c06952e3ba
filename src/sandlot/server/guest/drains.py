"""Pipes whose content nobody wants, and whose writers must not wait all the same."""

from __future__ import annotations

import os
import select

__all__ = ["Drains"]

_PIECE = 256 * 1024


class Drains:
    """Throws away what comes out of pipes.

    Args:
        poll: Tells when there is something in one.
    """

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._fds = set[int]()

    def __contains__(self, fd: int) -> bool:
        """Tell whether this is one of them."""
        return fd in self._fds

    def add(self, fd: int) -> None:
        """Take another one."""
        os.set_blocking(fd, False)
        self._fds.add(fd)
        self._poll.register(fd, select.POLLIN)

    def swallow(self, fd: int) -> None:
        """Throw away what is in one, and close it at the end."""
        try:
            if os.read(fd, _PIECE):
                return
        except BlockingIOError:
            return
        self._poll.unregister(fd)
        self._fds.remove(fd)
        os.close(fd)
