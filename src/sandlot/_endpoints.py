"""Where the requests of a client go."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._transport import Endpoint
from .config import Config

if TYPE_CHECKING:
    from .local import EmbeddedServer

__all__ = ["LocalServer", "agent", "configured", "endpoint"]


class LocalServer:
    """A server of one's own, started once, when it is first needed."""

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None,
        engine: str,
        start_timeout: float,
        warm: Mapping[str, int] | None,
    ) -> None:
        self._data_dir = data_dir
        self._engine = engine
        self._start_timeout = start_timeout
        self._warm = warm
        self._server: EmbeddedServer | None = None
        self._lock = threading.Lock()

    def start(self) -> Endpoint:
        """Return where it listens, starting it the first time."""
        from .local import EmbeddedServer  # needs what only this needs

        with self._lock:
            if self._server is None:
                self._server = EmbeddedServer.start(
                    self._data_dir, self._engine, self._start_timeout, self._warm
                )
            return Endpoint(
                self._server.base_url,
                {**agent(), "X-API-Key": self._server.api_key},
                trust_environment=False,
            )

    def explain_loss(self) -> str | None:
        """Say why it is gone; None while it runs."""
        return None if self._server is None else self._server.explain_loss()

    def close(self) -> None:
        """Stop it."""
        with self._lock:
            if self._server is not None:
                self._server.close()


def configured(
    api_key: str | None,
    token: str | None,
    base_url: str | None,
    timeout: float | None,
    profile: str | None,
    ca_bundle: str | os.PathLike[str] | None,
    proxy: str | None,
) -> Endpoint:
    """Return the server that arguments, or else environment and configuration file, name."""
    return endpoint(
        Config.resolve(
            api_key=api_key,
            token=token,
            base_url=base_url,
            timeout=timeout,
            profile=profile,
            ca_bundle=ca_bundle,
            proxy=proxy,
        )
    )


def endpoint(config: Config) -> Endpoint:
    """Return the server that a configuration names."""
    return Endpoint(
        config.base_url,
        {**agent(), **config.headers},
        config.timeout,
        config.ca_bundle,
        config.proxy,
    )


def agent() -> dict[str, str]:
    """Return the header that says who asks."""
    from importlib.metadata import version  # slow to import

    return {"User-Agent": f"sandlot-python/{version('sandlot')}"}
