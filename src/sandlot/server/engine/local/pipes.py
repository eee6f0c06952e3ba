"""What data moves through between the server and a program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

from sandlot.server.engine.base import EngineError, Stream, TerminalSize
from sandlot.server.guest import wire

__all__ = ["PIECE", "Pipes", "window_size"]

PIECE = 256 * 1024
"""Bytes that are read at once."""


class Pipes:
    """The pipes of a program. The server makes them, so that it alone rules over its own ends.

    For a terminal there are none: that is made inside, and comes with the answer.
    """

    def __init__(self, with_stdin: bool | None, owner: int | None) -> None:
        self.stdin: int | None = None
        self.outputs: dict[int, Stream] = {}
        self._guest: list[int] = []
        if with_stdin is None:
            return
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        try:
            for stream in streams:
                mine, theirs = os.pipe()
                self.outputs[mine] = stream
                if owner is not None:
                    _widen(mine)
                self._give(mine, theirs, owner)
            if with_stdin:
                theirs, self.stdin = os.pipe()
                self._give(self.stdin, theirs, owner)
        except OSError as error:
            wire.close_all(self._guest)
            self.close()
            raise EngineError(f"the program could not be started: {error.strerror}") from error

    def _give(self, mine: int, theirs: int, owner: int | None) -> None:
        self._guest.append(theirs)
        os.set_blocking(mine, False)
        if owner is not None:
            os.fchown(theirs, owner, owner)

    def take_guest_ends(self) -> list[int]:
        """Return the ends for the program, which are the caller's now: stdout, stderr, stdin."""
        guest, self._guest = self._guest, []
        return guest

    def take_terminal(self, fds: list[int]) -> None:
        """Take the server's end of a terminal, for reading and for writing."""
        try:
            if len(fds) != 1 or not os.isatty(fds[0]):
                raise wire.WireError("that is no terminal")
            os.set_blocking(fds[0], False)
            self.stdin = os.dup(fds[0])
        except BaseException:
            wire.close_all(fds)
            raise
        self.outputs[fds[0]] = "stdout"

    def close(self) -> None:
        """Close the server's ends."""
        wire.close_all(self.outputs)
        if self.stdin is not None:
            os.close(self.stdin)


def _widen(pipe: int) -> None:
    """Let a pipe hold a piece, instead of the quarter of it that is usual (pipe(7)).

    Only for root: what the pipes of an ordinary user hold together is limited, and once that is
    reached all that this user opens hold next to nothing.
    """
    with contextlib.suppress(OSError):  # root of a container may be an ordinary user in this
        _ = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)


def window_size(size: TerminalSize) -> bytes:
    """Return a size as ioctls take it."""
    return struct.pack("HHHH", size.rows, size.cols, 0, 0)  # ioctl_tty(2)
