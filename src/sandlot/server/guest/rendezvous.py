"""Where a zygote that has lost its server meets the next one.

It is a socket in the data directory, there only while there is no server. Whoever can connect to it
may read and write that directory, and is the user that the zygote runs as: no sandbox can do the
former, and most not even the latter.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

__all__ = ["NAME", "Rendezvous", "address", "peer"]

NAME = "zygote.sock"

_BACKLOG = 8
_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group; see unix(7)


class Rendezvous:
    """A socket to be found at.

    Args:
        directory: Where it is made.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, directory: str) -> None:
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._remove()  # of a zygote that was killed
            self._socket.setblocking(False)
            self._socket.bind(address(self._directory))
            self._socket.listen(_BACKLOG)
        except OSError:
            self.close()
            raise
        finally:
            _ = os.umask(before)

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody has come."""
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """Return a connection to a server of the same user, if one has come."""
        try:
            connection, _ = self._socket.accept()
        except OSError:  # whoever came has gone again
            return None
        connection.setblocking(True)
        _, uid = peer(connection)
        if uid != os.getuid():
            connection.close()
            return None
        return connection

    def close(self) -> None:
        """Be found no more."""
        self._remove()
        self._socket.close()
        os.close(self._directory)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(NAME, dir_fd=self._directory)


def address(directory: int) -> str:
    """Return the address in a directory that is open here; a path could be too long for one."""
    return f"/proc/self/fd/{directory}/{NAME}"


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, when it connected or began to listen."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return int(pid), int(uid)
