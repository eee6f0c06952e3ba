"""API keys."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import fields, local_time, nothing, present, reply
from tests.compat.double.world import Key, World


def shape(of: Key, **more: Any) -> dict[str, Any]:
    return present(
        id=of.id,
        team_id=of.team.id,
        name=of.name,
        key_prefix=of.secret[:10],
        created_by=of.creator.id,
        created_at=local_time(of.created_at),
        last_used=None if of.last_used is None else local_time(of.last_used),
        **more,
    )


def routes(world: World) -> list[Route]:
    async def create(request: Request) -> Response:
        who = caller(request)
        assert who.user is not None
        name = (await fields(request)).text("name") or "Unnamed API Key"
        key = Key(who.team, name, who.user)
        world.keys.append(key)
        world.write(
            who, "api_key", "create", "success", resource_id=key.id, metadata={"name": name}
        )
        return reply(shape(key, key=key.secret), 201)

    async def list_all(request: Request) -> Response:
        team = caller(request).team
        keys = [key for key in reversed(world.keys) if key.team is team]
        return reply([shape(key, creator_email=key.creator.email) for key in keys])

    async def delete(request: Request) -> Response:
        who = caller(request)
        key_id = ids.parse(request.path_params["id"], "key")
        # original server: 2.4, 204 and a row in the audit log even if there is no such key.
        world.keys = [k for k in world.keys if not (k.id == key_id and k.team is who.team)]
        world.write(who, "api_key", "revoke", "warning", resource_id=key_id)
        return nothing()

    return [
        Route("/v1/api-keys", create, methods=["POST"]),
        Route("/v1/api-keys", list_all, methods=["GET"]),
        Route("/v1/api-keys/{id}", delete, methods=["DELETE"]),
    ]
