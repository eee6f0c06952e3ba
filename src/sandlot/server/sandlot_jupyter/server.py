"""The Jupyter server: how it is configured, and its start.

It listens within the sandbox only. Whoever comes that far, through the port proxy or from inside,
may run programs in the sandbox anyway, so there is nothing that it should protect.
"""

from __future__ import annotations

import asyncio
import os

from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

__all__ = ["serve"]

_PORT = 8888
_RUNTIME = "/tmp/.jupyter"  # noqa: S108 - the sandbox's own
_DEAD_AFTER = 0.25
"""Seconds between two looks at whether a kernel lives."""


def serve() -> None:
    """Serve until the end."""
    os.environ["JUPYTER_RUNTIME_DIR"] = _RUNTIME
    asyncio.run(_serve())


async def _serve() -> None:
    app = ServerApp(config=_configuration())
    app.initialize(argv=[], find_extensions=False)
    app.start_app()
    await asyncio.sleep(0)  # the callback that begins to listen is waiting
    _, writer = await asyncio.open_connection("127.0.0.1", _PORT)
    writer.close()
    _ = os.write(1, b"ready\n")
    _ = await asyncio.Event().wait()


def _configuration() -> Config:
    return Config(
        {
            "IdentityProvider": {"token": ""},
            "KernelManager": {"transport": "ipc"},
            "KernelRestarter": {"time_to_dead": _DEAD_AFTER},
            "MappingKernelManager": {"buffer_offline_messages": True},
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": _PORT,
                "port_retries": 0,
                "root_dir": "/",
                "allow_origin": "*",
                "allow_remote_access": True,
                "disable_check_xsrf": True,
                "terminals_enabled": False,
                "open_browser": False,
                "no_browser_open_file": True,
                "log_level": "WARN",
                "tornado_settings": {"ws_ping_interval": 0},
            },
            "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        }
    )
