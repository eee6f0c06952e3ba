"""Snapshots, which are templates."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import (
    ProblemError,
    fields,
    local_time,
    missing,
    nothing,
    present,
    reply,
)
from tests.compat.double.capsules import template_of
from tests.compat.double.world import Template, World


def shape(world: World, template: Template) -> dict[str, Any]:
    # original server: 2.1, numbers that are 0 are left out.
    return present(
        name=template.name,
        type=template.type,
        vcpus=template.vcpus or None,
        memory_mb=template.memory_mb or None,
        size_bytes=template.size_bytes,
        created_at=local_time(template.created_at),
        platform=template.team is world.platform,
    )


def routes(world: World) -> list[Route]:
    async def create(request: Request) -> Response:
        who, body = caller(request), await fields(request)
        sandbox_id = body.needed("sandbox_id")
        name = ids.template_name(body.text("name") or f"template-{secrets.token_hex(4)}")
        there = template_of(world, who.team, name)
        if there is not None and there.team is world.platform:
            raise ProblemError(409, "name_reserved", "template name is reserved")
        if there is not None:
            if world.is_later:  # original server: 2.10, they do not know of overwriting
                raise ProblemError(409, "template_name_taken", "template name is taken")
            if request.query_params.get("overwrite") != "true":
                raise ProblemError(409, "already_exists", "snapshot name already exists")
            # original server: 2.10, the old one is deleted before the sandbox is looked up.
            world.templates.remove(there)
        capsule = world.capsule(who, sandbox_id)
        if capsule.status not in ("running", "paused"):
            raise ProblemError(409, "invalid_state", "sandbox must be running or paused")
        # original server: 2.10, the sandbox stays paused.
        capsule.halt("paused")
        made = Template(who.team, name, "snapshot", capsule.vcpus, capsule.memory_mb, 4096)
        world.templates.append(made)
        world.write(who, "snapshot", "create", "success", resource_id=name)
        return reply(shape(world, made), 201)

    async def list_all(request: Request) -> Response:
        team, kind = caller(request).team, request.query_params.get("type")
        mine = [each for each in reversed(world.templates) if each.team in (team, world.platform)]
        # original server: 2.10, an unknown type is an empty list.
        return reply([shape(world, each) for each in mine if kind in (None, each.type)])

    async def delete(request: Request) -> Response:
        who = caller(request)
        name = ids.template_name(request.path_params["name"])
        template = template_of(world, who.team, name)
        if template is None:
            raise missing("template")
        if template.team is world.platform:
            raise ProblemError(403, "forbidden", "platform templates cannot be deleted")
        world.templates.remove(template)
        world.write(who, "snapshot", "delete", "warning", resource_id=name)
        return nothing()

    return [
        Route("/v1/snapshots", create, methods=["POST"]),
        Route("/v1/snapshots", list_all, methods=["GET"]),
        # original server: 4.5, nothing to look one of them up.
        Route("/v1/snapshots/{name}", delete, methods=["DELETE"]),
    ]
