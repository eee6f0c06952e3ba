"""Hosts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
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
)
from tests.compat.double.world import Caller, Capsule, Team, User, World, now


@dataclass
class Host:
    type: str
    team: Team | None
    creator: User
    provider: str | None = None
    availability_zone: str | None = None
    status: str = "pending"
    facts: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    capsules: list[Capsule] = field(default_factory=list)
    """Sandboxes that it has."""
    registration: str = field(default_factory=lambda: secrets.token_hex(32))
    refresh: str = ""
    token: str = ""
    id: str = field(default_factory=lambda: ids.new("host"))
    created_at: datetime = field(default_factory=now)
    seen_at: datetime | None = None


def shape(host: Host, *, for_admin: bool = False) -> dict[str, Any]:
    team = host.team
    return present(
        id=host.id,
        type=host.type,
        team_id=None if team is None else team.id,
        team_name=team.name if team is not None and for_admin else None,
        provider=host.provider,
        availability_zone=host.availability_zone,
        **host.facts,
        status=host.status,
        last_heartbeat_at=None if host.seen_at is None else local_time(host.seen_at),
        created_by=host.creator.id,
        created_at=local_time(host.created_at),
        updated_at=local_time(host.created_at),
    )


def routes(world: World) -> list[Route]:
    def is_admin(who: Caller) -> bool:
        return who.user is not None and who.user.is_admin

    def host_of(request: Request, *, to_change: bool = False) -> tuple[Caller, Host]:
        who = caller(request)
        host_id = ids.parse(request.path_params["id"], "host")
        for host in world.hosts:
            if host.id == host_id and (host.team is who.team or is_admin(who)):
                break
        else:
            raise missing("host")
        if to_change and not may_change(who, host.team):
            raise ProblemError(403, "forbidden", "insufficient role")
        return who, host

    def may_change(who: Caller, team: Team | None) -> bool:
        return is_admin(who) or (team is not None and team.role_of(who.user) in ("owner", "admin"))

    def in_the_way(host: Host) -> list[str]:
        # original server: 2.13, paused ones do not count.
        states = ("pending", "starting", "running", "missing")
        return [each.id for each in host.capsules if each.status in states]

    async def create(request: Request) -> Response:
        who, body = caller(request), await fields(request)
        kind = body.needed("type")
        if kind not in ("regular", "byoc"):
            raise invalid("type must be regular or byoc")
        team = None
        if kind == "byoc":
            wanted = ids.parse(body.needed("team_id"), "team")
            team = next((each for each in world.teams if each.id == wanted), None)
            if team is None:
                raise missing("team")
            if not team.is_byoc:
                raise ProblemError(403, "forbidden", "BYOC is not enabled for this team")
        if not may_change(who, team):
            raise ProblemError(403, "forbidden", "insufficient role")
        assert who.user is not None
        provider, zone = body.text("provider") or None, body.text("availability_zone") or None
        host = Host(kind, team, who.user, provider, zone)
        world.hosts.append(host)
        world.write(who, "host", "create", "success", scope="admin", resource_id=host.id)
        return reply({"host": shape(host), "registration_token": host.registration}, 201)

    async def list_all(request: Request) -> Response:
        who = caller(request)
        admin = is_admin(who)
        mine = [each for each in world.hosts if admin or each.team is who.team]
        return reply([shape(each, for_admin=admin) for each in mine])

    async def get(request: Request) -> Response:
        return reply(shape(host_of(request)[1]))

    async def preview(request: Request) -> Response:
        _, host = host_of(request, to_change=True)
        return reply({"host": shape(host), "sandbox_ids": in_the_way(host)})

    async def delete(request: Request) -> Response:
        who, host = host_of(request, to_change=True)
        found = in_the_way(host)
        # original server: 1.2, only this very word is true.
        if found and request.query_params.get("force") != "true":
            # original server: 1.8 and 1.9, not the code that its specification names.
            raise ProblemError(409, "has_active_sandboxes", "host has sandboxes", sandbox_ids=found)
        for capsule in host.capsules:
            capsule.status, capsule.has_host = "stopped", False
        world.hosts.remove(host)
        world.write(who, "host", "delete", "warning", scope="admin", resource_id=host.id)
        return nothing()

    async def regenerate(request: Request) -> Response:
        _, host = host_of(request, to_change=True)
        if host.status != "pending":  # original server: 2.16, and not a 409
            raise invalid("invalid host status: can only regenerate for pending hosts")
        host.registration = secrets.token_hex(32)
        return reply({"host": shape(host), "registration_token": host.registration}, 201)

    async def list_tags(request: Request) -> Response:
        _, host = host_of(request)
        return reply(sorted(host.tags) or None)  # original server: 1.3, null for none

    async def add_tag(request: Request) -> Response:
        _, host = host_of(request, to_change=True)
        host.tags = sorted({*host.tags, (await fields(request)).needed("tag")})
        return nothing()

    async def remove_tag(request: Request) -> Response:
        _, host = host_of(request, to_change=True)
        host.tags = [each for each in host.tags if each != request.path_params["tag"]]
        return nothing()

    def credentials(host: Host) -> dict[str, Any]:
        host.token, host.refresh = secrets.token_hex(24), secrets.token_hex(32)
        # original server: 2.13, fields that its specification lacks.
        pem = {"cert_pem": "-----BEGIN", "key_pem": "-----BEGIN", "ca_cert_pem": "-----BEGIN"}
        return {"host": shape(host), "token": host.token, "refresh_token": host.refresh, **pem}

    async def register(request: Request) -> Response:
        body = await fields(request)
        token, address = body.needed("token"), body.needed("address")
        host = next((each for each in world.hosts if each.registration == token), None)
        if host is None:
            raise ProblemError(401, "unauthorized", "invalid or expired registration token")
        host.registration, host.status, host.seen_at = "", "online", now()
        numbers = {name: body.whole(name) for name in ("cpu_cores", "memory_mb", "disk_gb")}
        host.facts = present(address=address, arch=body.text("arch") or None, **numbers)
        return reply(credentials(host), 201)

    async def refresh(request: Request) -> Response:
        token = (await fields(request)).needed("refresh_token")
        host = next((each for each in world.hosts if each.refresh == token), None)
        if host is None:
            raise ProblemError(401, "unauthorized", "invalid or expired refresh token")
        return reply(credentials(host))

    async def heartbeat(request: Request) -> Response:
        host_id = ids.parse(request.path_params["id"], "host")
        token = request.headers.get("x-host-token")
        host = next((each for each in world.hosts if token and each.token == token), None)
        if host is None:
            raise ProblemError(401, "unauthorized", "missing or invalid host token")
        if host.id != host_id:
            raise ProblemError(403, "forbidden", "host id mismatch")
        host.seen_at = now()
        return nothing()

    one = "/v1/hosts/{id}"
    return [
        Route("/v1/hosts/register", register, methods=["POST"]),
        Route("/v1/hosts/auth/refresh", refresh, methods=["POST"]),
        Route("/v1/hosts", create, methods=["POST"]),
        Route("/v1/hosts", list_all, methods=["GET"]),
        Route(one, get, methods=["GET"]),
        Route(one, delete, methods=["DELETE"]),
        Route(one + "/delete-preview", preview, methods=["GET"]),
        Route(one + "/token", regenerate, methods=["POST"]),
        Route(one + "/heartbeat", heartbeat, methods=["POST"]),
        Route(one + "/tags", list_tags, methods=["GET"]),
        Route(one + "/tags", add_tag, methods=["POST"]),
        Route(one + "/tags/{tag}", remove_tag, methods=["DELETE"]),
    ]
