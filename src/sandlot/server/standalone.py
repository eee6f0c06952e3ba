"""A server of its own, configured by options and environment."""

from __future__ import annotations

import logging

from .engine.base import EngineUnavailableError
from .logs import configure_logs
from .options import Options
from .serving import Server, listen

__all__ = ["run_standalone"]

_log = logging.getLogger("sandlot.server")


async def run_standalone(options: Options) -> int:
    """Serve until a signal comes; return an exit code."""
    configure_logs(options.log_level)
    _log.info("starting", extra={"settings": options.model_dump(mode="json")})
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        _log.error("cannot listen on %s port %d: %s", options.host, options.port, error)
        return 1
    server = Server(options)
    try:
        await server.run_on(listener)
    except EngineUnavailableError as error:
        _log.error("the engine cannot work here: %s", error)
        return 1
    finally:
        listener.close()
    _log.info("stopped")
    return 0
