"""A server of its own, configured by options and environment."""

from __future__ import annotations

import asyncio
import logging
import os

from .logs import configure_logs
from .options import Options
from .plane import StartError
from .serving import Server, listen

__all__ = ["run_standalone"]

_log = logging.getLogger("sandlot.server")


async def run_standalone(options: Options) -> int:
    """Serve until a signal comes; return an exit code."""
    _ = os.umask(0o077)  # the data directory may be one that others can read
    configure_logs(options.log_level)
    _log.info("starting", extra={"settings": options.model_dump(mode="json")})
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        _log.error("cannot listen on %s port %d: %s", options.host, options.port, error)
        return 1
    server = Server(options)
    port: int = listener.getsockname()[1]
    announcing = asyncio.create_task(_announce(server, options.host, port))
    try:
        await server.run_on(listener)
    except StartError as error:
        _log.error("cannot start: %s", error)
        return 1
    finally:
        _ = announcing.cancel()
        listener.close()
    _log.info("stopped")
    return 0


async def _announce(server: Server, host: str, port: int) -> None:
    await server.ready()
    _log.info("listening", extra={"host": host, "port": port})
