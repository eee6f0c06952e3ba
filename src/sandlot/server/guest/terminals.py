"""Terminals, of the sandbox's own: what programs with somebody in front of them run in."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

__all__ = ["Terminal"]


class Terminal:
    """A new pair of a terminal and the end that is for whoever sits in front of it.

    Attributes:
        master: Descriptor of that end, which the server gets.
        slave: Descriptor of the terminal itself.
        name: Path to open it by.
    """

    def __init__(self, cols: int, rows: int) -> None:
        self.master, self.slave = os.openpty()
        try:
            # It has a name only where its file system is in sight.
            self.name = f"/proc/self/fd/{self.slave}"
            if not os.path.exists(self.name):
                self.name = os.ttyname(self.slave)
            size = struct.pack("HHHH", rows, cols, 0, 0)  # ioctl_tty(2)
            _ = fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        except BaseException:
            os.close(self.master)
            os.close(self.slave)
            raise

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: object, _error: object, _traceback: object) -> None:
        """Leave the terminal to the program that has opened it; to nobody, if none has."""
        os.close(self.slave)
        if kind is not None:
            os.close(self.master)
