"""Asking for the addresses of names, without ever waiting for threads at the end.

A lookup cannot be broken off, and one that hangs would hold up a thread pool, and with it the end
of the server. So each has a thread of its own that nobody waits for, and there are few of them.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

__all__ = ["Resolver"]

_AT_ONCE = 32
_Tell = Callable[[Sequence[str] | OSError], None]


class Resolver:
    """Looks up names."""

    def __init__(self) -> None:
        self._running = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, in the order in which they are to be tried.

        Raises:
            OSError: There are none, or too many lookups are under way.
        """
        if self._running >= _AT_ONCE:
            raise OSError("too many lookups at once")
        loop = asyncio.get_running_loop()
        result = loop.create_future()

        def tell(addresses: Sequence[str] | OSError) -> None:
            self._running -= 1
            if result.cancelled():
                return
            if isinstance(addresses, OSError):
                result.set_exception(addresses)
            else:
                result.set_result(addresses)

        self._running += 1
        threading.Thread(target=_look_up, args=(loop, host, port, tell), daemon=True).start()
        found: Sequence[str] = await result
        return found


def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int, tell: _Tell) -> None:
    answer: Sequence[str] | OSError
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    except UnicodeError as error:  # labels that no name can have
        answer = OSError(str(error))
    except OSError as error:
        answer = error
    try:
        _ = loop.call_soon_threadsafe(tell, answer)
    except RuntimeError:
        return  # the loop has ended, and with it whoever asked
