"""The Jupyter server: how it is configured, and its start.

It listens within the sandbox only. Whoever comes that far, through the port proxy or from inside,
may run programs in the sandbox anyway, so there is nothing that it should protect.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from traitlets.config import Config

from . import fonts, provisioning
from .kernels import Kernels
from .replay import ReplayingConnection

__all__ = ["listen", "serve"]

_PORT = 8888
_RUNTIME = "/tmp/.jupyter"  # noqa: S108 - the sandbox's own
_DEAD_AFTER = 0.25
"""Seconds between two looks at whether a kernel lives."""

_LARGEST_BODY = 1 << 30


def listen() -> socket.socket:
    """Return a socket that listens where everybody expects the Jupyter server."""
    listener = socket.create_server(("127.0.0.1", _PORT), backlog=128)
    listener.setblocking(False)
    return listener


def serve(listener: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until the end.

    Args:
        listener: What to answer.
        say: Is told `ready` once requests are answered, and `prepared` once a kernel is in reserve.
    """
    os.environ["JUPYTER_RUNTIME_DIR"] = _RUNTIME
    asyncio.run(_serve(listener, say))


async def _serve(listener: socket.socket, say: Callable[[str], None]) -> None:
    app = ServerApp(config=_configuration())
    app.initialize(argv=[], find_extensions=False, new_httpserver=False)
    http = HTTPServer(app.web_app, max_body_size=_LARGEST_BODY, max_buffer_size=_LARGEST_BODY)
    http.add_socket(listener)
    say("ready")
    fonts.provide()
    assert isinstance(app.kernel_manager, Kernels)
    await app.kernel_manager.prepare()
    say("prepared")
    _ = await asyncio.Event().wait()


def _configuration() -> Config:
    return Config(
        {
            "IdentityProvider": {"token": ""},
            "KernelManager": {"transport": "ipc"},
            "KernelProvisionerFactory": {"default_provisioner_name": provisioning.NAME},
            # With new addresses those who are connected would not find a restarted kernel.
            "KernelRestarter": {"time_to_dead": _DEAD_AFTER, "random_ports_until_alive": False},
            "MappingKernelManager": {"buffer_offline_messages": False},
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": _PORT,
                "root_dir": "/",
                "allow_origin": "*",
                "allow_remote_access": True,
                "disable_check_xsrf": True,
                "terminals_enabled": False,
                "kernel_manager_class": Kernels,
                "kernel_websocket_connection_class": ReplayingConnection,
                "log_level": "WARN",
                "tornado_settings": {"ws_ping_interval": 0},
            },
            "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        }
    )
