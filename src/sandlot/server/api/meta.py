"""The server itself: its health and what it can do."""

from __future__ import annotations

import functools
from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

from sandlot.models import Health
from sandlot.server.version import VERSION

from .bodies import reply
from .context import Caller, Plane
from .views import capabilities_view

__all__ = ["router"]

router = APIRouter()


@functools.cache
def _contract() -> bytes:
    return (resources.files("sandlot.server") / "openapi.yaml").read_bytes()


@router.get("/health")
@router.get("/healthz")
async def get_health() -> Response:
    """Tell whether the server is up."""
    return reply(Health(status="ok", version=VERSION, message="OK"))


@router.get("/openapi.yaml")
async def get_contract() -> Response:
    """Return the contract."""
    return Response(_contract(), media_type="application/yaml")


@router.get("/v1/capabilities")
async def get_capabilities(plane: Plane, _caller: Caller) -> Response:
    """Tell what this server can do and what it enforces."""
    return reply(capabilities_view(VERSION, plane.capabilities, plane.options))
