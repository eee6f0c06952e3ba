"""Channels."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
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
from tests.compat.double.world import Team, World, now

_NEEDED = {
    **dict.fromkeys(("discord", "slack", "teams", "googlechat"), ("webhook_url",)),
    "telegram": ("bot_token", "chat_id"),
    "matrix": ("homeserver_url", "access_token", "room_id"),
    "webhook": ("url",),
}
_EVENTS = {
    *(f"capsule.{what}" for what in ("created", "running", "paused", "destroyed")),
    "template.snapshot.created",
    "template.snapshot.deleted",
    "host.up",
    "host.down",
}


@dataclass
class Channel:
    team: Team
    name: str
    provider: str
    config: Mapping[str, str]
    events: list[str]
    id: str = field(default_factory=lambda: ids.new("ch"))
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


def _shape(channel: Channel, **more: Any) -> dict[str, Any]:
    # original server: 2.1, the configuration is never told.
    return present(
        id=channel.id,
        team_id=channel.team.id,
        name=channel.name,
        provider=channel.provider,
        events=channel.events,
        created_at=local_time(channel.created_at),
        updated_at=local_time(channel.updated_at),
        **more,
    )


def _config(provider: str, body: Fields) -> Mapping[str, str]:
    config = body.mapping("config")
    if provider not in _NEEDED:
        raise invalid("invalid provider")
    for name in _NEEDED[provider]:
        if not config.get(name):
            raise invalid(f"invalid config: {name} is required")
    return config


def _events(body: Fields) -> list[str]:
    events = body.texts("events")
    if not events or not set(events) <= _EVENTS:
        raise invalid("invalid events")
    return events


def routes(world: World) -> list[Route]:
    def channel_of(request: Request) -> Channel:
        team = caller(request).team
        wanted = ids.parse(request.path_params["id"], "ch")
        for channel in world.channels:
            if channel.id == wanted and channel.team is team:
                return channel
        raise missing("channel")

    def name_for(team: Team, body: Fields, but: Channel | None = None) -> str:
        # original server: 2.14, names are made lower case, with hyphens for spaces.
        name = ids.template_name(body.needed("name").strip().lower().replace(" ", "-"))
        if any(c.team is team and c.name == name and c is not but for c in world.channels):
            raise ProblemError(409, "conflict", "conflict: channel name already exists")
        return name

    async def create(request: Request) -> Response:
        who, body = caller(request), await fields(request)
        provider = body.needed("provider")
        config, events = dict(_config(provider, body)), _events(body)
        channel = Channel(who.team, name_for(who.team, body), provider, config, events)
        world.channels.append(channel)
        about = {"name": channel.name, "provider": provider}
        world.write(who, "channel", "create", "success", resource_id=channel.id, metadata=about)
        secret = None
        if provider == "webhook":
            secret = config.setdefault("secret", secrets.token_hex(32))
        return reply(_shape(channel, secret=secret), 201)

    async def list_all(request: Request) -> Response:
        team = caller(request).team
        return reply([_shape(each) for each in reversed(world.channels) if each.team is team])

    async def test(request: Request) -> Response:
        body = await fields(request)
        config = _config(body.needed("provider"), body)
        if "unreachable" in "".join(config.values()):
            # original server: 2.14, what cannot be delivered is an error of the server.
            raise ProblemError(500, "internal_error", "deliver: connection refused")
        return reply({"status": "ok"})

    async def get(request: Request) -> Response:
        return reply(_shape(channel_of(request)))

    async def update(request: Request) -> Response:
        channel, body = channel_of(request), await fields(request)
        # original server: 2.14, both are needed.
        events = _events(body)
        channel.name, channel.events = name_for(channel.team, body, channel), events
        world.write(caller(request), "channel", "update", "info", resource_id=channel.id)
        return reply(_shape(channel))

    async def delete(request: Request) -> Response:
        who, wanted = caller(request), ids.parse(request.path_params["id"], "ch")
        # original server: 2.14, 204 even if there is none.
        world.channels = [c for c in world.channels if not (c.id == wanted and c.team is who.team)]
        world.write(who, "channel", "delete", "warning", resource_id=wanted)
        return nothing()

    async def rotate(request: Request) -> Response:
        channel = channel_of(request)
        channel.config = _config(channel.provider, await fields(request))
        world.write(caller(request), "channel", "rotate_config", "info", resource_id=channel.id)
        return reply(_shape(channel))  # original server: 2.14, without the secret that it made

    one = "/v1/channels/{id}"
    return [
        Route("/v1/channels", create, methods=["POST"]),
        Route("/v1/channels", list_all, methods=["GET"]),
        Route("/v1/channels/test", test, methods=["POST"]),
        Route(one, get, methods=["GET"]),
        Route(one, update, methods=["PATCH"]),
        Route(one, delete, methods=["DELETE"]),
        Route(one + "/config", rotate, methods=["PUT"]),
    ]
