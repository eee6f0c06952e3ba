"""The application: what is served where."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from .api import checkpoints, commands, files, meta, sandboxes, snapshots, streams
from .errors import install_handlers
from .middleware import RequestMiddleware
from .plane import ControlPlane
from .proxy import PortMiddleware, PortProxy

__all__ = ["create_app"]

_ROOTS = ("/v1/sandboxes", "/v1/capsules")


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
    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.state.plane = plane
    app.add_middleware(PortMiddleware, proxy=proxy)
    app.add_middleware(RequestMiddleware)
    app.include_router(meta.router)
    for root in _ROOTS:
        for module in (sandboxes, checkpoints, commands, streams, files):
            app.include_router(module.router, prefix=root)
    app.include_router(snapshots.router, prefix="/v1/snapshots")
    app.router.default = _not_found
    install_handlers(app)
    return app


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Raise what the handlers answer; left alone, WebSockets would be refused without a body."""
    raise HTTPException(404)
