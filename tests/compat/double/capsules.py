"""Sandboxes: how they live and die, and what they use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import (
    ProblemError,
    fields,
    invalid,
    local_time,
    missing,
    nothing,
    present,
    reply,
    utc_time,
)
from tests.compat.double.world import Caller, Capsule, Team, Template, World, now

_VERSIONS = {"kernel_version": "6.1", "agent_version": "0.1.5"}
_RANGES = ("5m", "10m", "1h", "2h", "6h", "12h", "24h")
_STATS_RANGES = ("5m", "1h", "6h", "24h", "30d")


def shape(world: World, capsule: Capsule) -> dict[str, Any]:
    active = capsule.last_active_at
    return present(
        id=capsule.id,
        status=capsule.status,
        template=capsule.template,
        vcpus=capsule.vcpus,
        memory_mb=capsule.memory_mb,
        timeout_sec=capsule.timeout_sec,
        host_ip="10.0.0.7",
        created_at=local_time(capsule.created_at),
        started_at=local_time(capsule.started_at),
        last_active_at=None if active is None else local_time(active),
        last_updated=local_time(now()),
        metadata=_VERSIONS if world.is_later else None,
    )


def template_of(world: World, team: Team, name: str) -> Template | None:
    """Find a template that a team can use."""
    mine = [each for each in world.templates if each.team in (team, world.platform)]
    return next((each for each in mine if each.name == name), None)


def routes(world: World) -> list[Route]:
    def of(request: Request) -> tuple[Caller, Capsule]:
        who = caller(request)
        return who, world.capsule(who, request.path_params["id"])

    def wrong_state(capsule: Capsule) -> ProblemError:
        return ProblemError(
            409, "invalid_state", f"sandbox is not running (status: {capsule.status})"
        )

    async def create(request: Request) -> Response:
        # original server: 1.1, a key that would name the request is not looked at; and 2.7, it
        # answers when the sandbox runs. Fields that it does not know are ignored.
        who, body = caller(request), await fields(request)
        name = ids.template_name(body.text("template") or "minimal")
        template = template_of(world, who.team, name)
        if template is None:
            raise missing("template")
        vcpus, memory = max(body.whole("vcpus"), 0) or 1, max(body.whole("memory_mb"), 0) or 512
        if template.type == "snapshot":  # original server: 1.10, the snapshot's own count
            vcpus, memory = template.vcpus, template.memory_mb
        timeout = body.whole("timeout_sec")
        capsule = Capsule(who.team, name, vcpus, memory, timeout, world.home())
        world.capsules.append(capsule)
        about = {"template": name}
        world.write(who, "sandbox", "create", "success", resource_id=capsule.id, metadata=about)
        return reply(shape(world, capsule), 201)

    async def list_all(request: Request) -> Response:
        # original server: 2.7, all of them: no filters and no pages.
        team = caller(request).team
        found = [c for c in reversed(world.capsules) if c.team is team]
        return reply([shape(world, c) for c in found if c.status not in ("stopped", "error")])

    async def get(request: Request) -> Response:
        return reply(shape(world, of(request)[1]))

    async def destroy(request: Request) -> Response:
        who, capsule = of(request)
        if not capsule.has_host:
            raise missing("host")  # original server: 2.7, 404 when its host is gone
        # original server: 2.7, may be repeated, and is written into the audit log each time.
        capsule.halt("stopped")
        world.write(who, "sandbox", "destroy", "warning", resource_id=capsule.id)
        return nothing()

    async def ping(request: Request) -> Response:
        _, capsule = of(request)
        if capsule.status != "running":
            raise wrong_state(capsule)
        if capsule.is_frozen_by_agent:
            raise missing("sandbox")  # original server: 5, what the agent has paused by itself
        capsule.last_active_at = now()
        return nothing()

    async def pause(request: Request) -> Response:
        who, capsule = of(request)
        if capsule.status != "running":
            raise wrong_state(capsule)
        if capsule.is_frozen_by_agent:
            raise ProblemError(502, "agent_error", "internal: pause: not running")
        capsule.halt("paused")
        world.write(who, "sandbox", "pause", "success", resource_id=capsule.id)
        return reply(shape(world, capsule))

    async def resume(request: Request) -> Response:
        who, capsule = of(request)
        if not capsule.has_host:
            raise missing("host")
        if capsule.status != "paused":
            raise ProblemError(409, "invalid_state", f"sandbox is not paused ({capsule.status})")
        capsule.go_on()
        world.write(who, "sandbox", "resume", "success", resource_id=capsule.id)
        return reply(shape(world, capsule))

    async def metrics(request: Request) -> Response:
        wanted = request.query_params.get("range", "10m")
        if wanted not in _RANGES:  # original server: 2.9, before the sandbox is looked up
            raise invalid("invalid range")
        _, capsule = of(request)
        if capsule.status not in ("running", "paused"):
            raise missing("metrics")
        second = int(now().timestamp())
        # original server: 2.9, two samples in each second.
        points = [
            {"timestamp_unix": second, "cpu_pct": 1.5, "mem_bytes": 1 << 26, "disk_bytes": 4096},
            {"timestamp_unix": second, "cpu_pct": 0, "mem_bytes": 1 << 26, "disk_bytes": 4096},
        ]
        return reply({"sandbox_id": capsule.id, "range": wanted, "points": points})

    async def stats(request: Request) -> Response:
        wanted = request.query_params.get("range", "1h")
        if wanted not in _STATS_RANGES:
            raise invalid("invalid range")
        team = caller(request).team
        running = [c for c in world.capsules if c.team is team and c.status == "running"]
        count, vcpus = len(running), sum(c.vcpus for c in running)
        memory = sum(c.memory_mb for c in running)
        moment = now() - timedelta(minutes=1)
        # original server: 2.9 and 2.16, `sampled_at` is never sent.
        return reply(
            {
                "range": wanted,
                "current": {
                    "running_count": count,
                    "vcpus_reserved": vcpus,
                    "memory_mb_reserved": memory,
                },
                "peaks": {"running_count": count, "vcpus": vcpus, "memory_mb": memory},
                "series": {
                    "labels": [utc_time(moment)],
                    "running": [count],
                    "vcpus": [vcpus],
                    "memory_mb": [memory],
                },
            }
        )

    one = "/v1/sandboxes/{id}"
    return [
        Route("/v1/sandboxes", create, methods=["POST"]),
        Route("/v1/sandboxes", list_all, methods=["GET"]),
        Route("/v1/sandboxes/stats", stats, methods=["GET"]),
        Route(one, get, methods=["GET"]),
        Route(one, destroy, methods=["DELETE"]),
        Route(one + "/ping", ping, methods=["POST"]),
        Route(one + "/pause", pause, methods=["POST"]),
        Route(one + "/resume", resume, methods=["POST"]),
        Route(one + "/metrics", metrics, methods=["GET"]),
    ]
