"""The application: what is served where."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from .api import (
    accounts,
    admin,
    api_keys,
    audit,
    builds,
    channels,
    checkpoints,
    commands,
    files,
    hosts,
    meta,
    platform,
    processes,
    profile,
    sandboxes,
    snapshots,
    streams,
    teams,
    terminals,
    trees,
)
from .api.context import authorize
from .errors import install_handlers
from .middleware import RequestMiddleware
from .plane import ControlPlane
from .proxy import PortMiddleware, PortProxy

__all__ = ["ROUTERS", "create_app"]

ROUTERS: Final[Sequence[tuple[str, APIRouter]]] = [
    ("", meta.router),
    *(
        (root, module.router)
        for root in ("/v1/sandboxes", "/v1/capsules")
        for module in (
            sandboxes,
            checkpoints,
            commands,
            streams,
            processes,
            terminals,
            files,
            trees,
        )
    ),
    ("/v1/snapshots", snapshots.router),
    ("/v1/channels", channels.router),
    ("/v1/admin/builds", builds.router),
    ("/v1", accounts.router),
    ("/v1/me", profile.router),
    ("/v1/api-keys", api_keys.router),
    ("/v1/teams", teams.router),
    ("/v1/audit-logs", audit.router),
    ("/v1/admin", platform.router),
    ("/v1/hosts", hosts.router),
    ("/v1/admin", admin.router),
]
"""All routes, with the beginnings of their paths; `api/permissions.py` says who may use them."""


def create_app(plane: ControlPlane, proxy: PortProxy) -> FastAPI:
    """Return the application; its lifespan starts and stops the control plane."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        await plane.start()
        try:
            yield
        finally:
            await plane.stop()

    # The contract is written by hand, so there is nothing to generate from the code.
    app = FastAPI(
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(authorize)],
    )
    app.state.plane = plane
    app.add_middleware(PortMiddleware, proxy=proxy)
    app.add_middleware(RequestMiddleware)
    for prefix, router in ROUTERS:
        app.include_router(router, prefix=prefix)
    app.router.default = _not_found
    install_handlers(app)
    return app


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Raise what the handlers answer; left alone, WebSockets would be refused without a body."""
    raise HTTPException(404)
