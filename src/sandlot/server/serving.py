"""Serving the application: sockets, signals and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Generator

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .app import create_app
from .options import Options
from .plane import ControlPlane
from .protocol import HttpProtocol
from .proxy import PortProxy

__all__ = ["Server", "listen"]

_DESCRIPTORS = 1 << 16
_GRACE = 2  # seconds for answers that are on their way when the server stops
_PING_INTERVAL = 15.0
_KEEP_ALIVE = 60
"""Seconds that an unused connection is kept: far longer than clients keep theirs, so that a request
never crosses with the end of its connection."""


class Server(uvicorn.Server):
    """A server with one control plane."""

    def __init__(self, options: Options) -> None:
        self.plane = ControlPlane(options)
        self._proxy = PortProxy(self.plane)
        self.app = create_app(self.plane, self._proxy)
        config = uvicorn.Config(
            self.app,
            http=HttpProtocol,
            ws=WebSocketsSansIOProtocol,
            ws_max_size=options.max_json_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=_PING_INTERVAL,
            # A reader that is slow does not answer pings, and is not to be cut off for it.
            ws_ping_timeout=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
            timeout_keep_alive=_KEEP_ALIVE,
            loop="asyncio",
        )
        super().__init__(config)
        self._ready = asyncio.Event()

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `stop`.

        Raises:
            StartError: It cannot start; the message says why.
        """
        _allow_descriptors()
        async with self.app.router.lifespan_context(self.app):
            await self.serve([listener])

    async def ready(self) -> None:
        """Wait until requests are answered."""
        _ = await self._ready.wait()

    def stop(self) -> None:
        """Begin to stop; may be repeated."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        # `__main__` switched it off for the start; what that made stays for good.
        gc.freeze()
        gc.enable()
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what requests wait for, then the connections."""
        self.plane.stopping.set()
        self._proxy.interrupt()
        await self.plane.interrupt()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop at SIGTERM and SIGINT; unlike the base class, end with exit code 0 then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        yield

    def _on_signal(self, number: signal.Signals) -> None:
        # Only now and not at the end, so that a second signal cannot break the orderly end.
        for each in (signal.SIGTERM, signal.SIGINT):
            _ = asyncio.get_running_loop().remove_signal_handler(each)
            _ = signal.signal(each, signal.SIG_IGN)
        self.stop()


def _allow_descriptors() -> None:
    """Take more descriptors if they may be had: clients, commands and files need some each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Finds clients that are gone without a word; pings cannot tell them from slow ones.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener
