"""What only administrators of the platform may do: templates, builds, teams' own hosts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.answers import (
    Fields,
    ProblemError,
    fields,
    invalid,
    local_time,
    missing,
    nothing,
    present,
    reply,
)
from tests.compat.double.files import parts
from tests.compat.double.world import Template, World, now

_FIXED_STEPS = 4
_ENDS = ("success", "failed", "cancelled")


@dataclass
class Build:
    name: str
    base_template: str
    recipe: list[str]
    healthcheck: str
    vcpus: int
    memory_mb: int
    fixed_steps: int
    status: str = "pending"
    logs: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    looked_at: int = 0
    is_slow: bool = False
    id: str = field(default_factory=lambda: ids.new("bld"))
    created_at: datetime = field(default_factory=now)


def _shape(build: Build) -> dict[str, Any]:
    begun = build.status != "pending"
    return present(
        id=build.id,
        name=build.name,
        base_template=build.base_template,
        recipe=build.recipe,
        healthcheck=build.healthcheck or None,
        vcpus=build.vcpus,
        memory_mb=build.memory_mb,
        status=build.status,
        current_step=len(build.logs),
        total_steps=len(build.recipe) + build.fixed_steps,
        logs=build.logs,
        error=build.error,
        sandbox_id=ids.new("cl") if begun else None,
        host_id=ids.new("host") if begun else None,
        created_at=local_time(build.created_at),
        started_at=local_time(build.created_at) if begun else None,
        completed_at=local_time(now()) if build.status in _ENDS else None,
    )


def _log(build: Build, command: str) -> None:
    ok = command != "RUN false"
    build.logs.append(
        {
            "step": len(build.logs) + 1,
            "phase": "recipe",
            "cmd": command,
            "stdout": "",
            "stderr": "",
            "exit": 0 if ok else 1,
            "ok": ok,
            "elapsed_ms": 12,
        }
    )


def _go_on(world: World, build: Build) -> None:
    """Do a little of a build whenever somebody looks at it."""
    if build.status in _ENDS:
        return
    build.looked_at += 1
    if build.is_slow or build.looked_at == 1:
        build.status = "running"
        return
    for command in build.recipe:
        _log(build, command)
        if not build.logs[-1]["ok"]:
            build.status, build.error = "failed", f"step {len(build.logs)} failed: exit code 1"
            return
    build.status = "success"
    kind = "snapshot" if build.healthcheck else "base"
    made = Template(world.platform, build.name, kind, build.vcpus, build.memory_mb, 4096)
    world.templates.append(made)


def routes(world: World) -> list[Route]:
    def build_of(request: Request) -> Build | None:
        wanted = ids.parse(request.path_params["id"], "bld")
        return next((each for each in world.builds if each.id == wanted), None)

    async def set_byoc(request: Request) -> Response:
        wanted = ids.parse(request.path_params["id"], "team")
        enabled = (await fields(request)).flag("enabled")
        team = next((each for each in world.teams if each.id == wanted), None)
        if team is None:
            raise missing("team")
        if not enabled:  # original server: 2.12, it cannot be taken back
            raise invalid("invalid: BYOC cannot be disabled")
        team.is_byoc = True
        return nothing()

    async def list_templates(request: Request) -> Response:
        del request
        # original server: 2.12, here numbers are there even if they are 0.
        return reply(
            [
                {
                    "name": each.name,
                    "type": each.type,
                    "vcpus": each.vcpus,
                    "memory_mb": each.memory_mb,
                    "size_bytes": each.size_bytes,
                    "team_id": each.team.id,
                    "created_at": local_time(each.created_at),
                }
                for each in world.templates
            ]
        )

    async def delete_template(request: Request) -> Response:
        name = ids.template_name(request.path_params["name"])
        if name == "minimal":
            raise ProblemError(403, "forbidden", "minimal cannot be deleted")
        for template in world.templates:
            if template.name == name and template.team is world.platform:
                world.templates.remove(template)
                return nothing()
        raise missing("template")

    async def create(request: Request) -> Response:
        # original server: 9, later ones take the fields out of a form, with files beside them.
        form = request.headers.get("content-type", "").startswith("multipart/")
        if form and world.is_later:
            body = Fields(json.loads(dict(await parts(request))["config"]))
        else:
            body = await fields(request)
        name, recipe = ids.template_name(body.needed("name")), body.texts("recipe")
        if not recipe:
            raise invalid("recipe is required")
        build = Build(
            name,
            body.text("base_template") or "minimal",
            recipe,
            body.text("healthcheck"),
            body.whole("vcpus") or 1,
            body.whole("memory_mb") or 512,
            0 if body.flag("skip_pre_post") else _FIXED_STEPS,
        )
        world.builds.append(build)
        return reply(_shape(build), 201)

    async def list_builds(request: Request) -> Response:
        del request
        return reply([_shape(each) for each in reversed(world.builds)])

    async def get(request: Request) -> Response:
        build = build_of(request)
        if build is None:
            raise missing("build")
        _go_on(world, build)
        return reply(_shape(build))

    async def cancel(request: Request) -> Response:
        build = build_of(request)
        # original server: 2.12, 400 for one that has ended, and for one that there is not.
        if build is None or build.status in _ENDS:
            raise invalid("invalid build status")
        build.status = "cancelled"
        return nothing()

    return [
        Route("/v1/admin/teams/{id}/byoc", set_byoc, methods=["PUT"]),
        Route("/v1/admin/templates", list_templates, methods=["GET"]),
        Route("/v1/admin/templates/{name}", delete_template, methods=["DELETE"]),
        Route("/v1/admin/builds", create, methods=["POST"]),
        Route("/v1/admin/builds", list_builds, methods=["GET"]),
        Route("/v1/admin/builds/{id}", get, methods=["GET"]),
        Route("/v1/admin/builds/{id}/cancel", cancel, methods=["POST"]),
    ]
