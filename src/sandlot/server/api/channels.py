"""Channels: where teams want to be told of what happens."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from sandlot.models import (
    Channel,
    ChannelTestResult,
    CreateChannelRequest,
    Delivery,
    RotateChannelConfigRequest,
    TestChannelRequest,
    UpdateChannelRequest,
)
from sandlot.server.services.audit import note
from sandlot.server.services.channels import NewChannel
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim
from sandlot.server.store.channels import ChannelRecord, DeliveryFilter, DeliveryRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, check_id
from .cursors import cursor, page_limit, parse_cursor
from .idempotency import fingerprint, once

__all__ = ["router"]

router = APIRouter()

_LARGEST = 64 << 10
_USUAL_LIMIT = 100
_DELIVERY_ID = re.compile("[0-9a-f-]{36}")
_STATUSES = ("pending", "delivered", "failed")


async def _channel_id(connection: HTTPConnection, _caller: Caller) -> str:
    return check_id("ch", connection.path_params["id"], "id")


ChannelId = Annotated[str, Depends(_channel_id)]


@router.post("")
async def create_channel(request: Request, plane: Plane, caller: Caller) -> Response:
    """Make a channel; the secret of a webhook is shown here and nowhere else."""
    body = await read_json(request, CreateChannelRequest, _LARGEST)
    wanted = NewChannel(body.name, body.provider, body.events, body.config)

    async def make(claim: Claim) -> Channel:
        record = await plane.channels.create(caller.team_id, wanted, claim.id, claim.secret)
        return _view(record, with_secret=True)

    async def find(claim: Claim) -> Channel | None:
        record = await plane.channels.find(caller.team_id, claim.id)
        if record is None:
            return None
        # One that took its place is not for whoever made the channel to see.
        first = body.config.get("secret") or claim.secret
        return _view(record, with_secret=record.config.get("secret") == first)

    same = fingerprint(body, "channel")
    channel = await once(request, plane, caller, "ch", same, make, find)
    note(channel.id, name=channel.name, provider=channel.provider)
    return reply(channel, 201)


@router.get("")
async def list_channels(plane: Plane, caller: Caller) -> Response:
    """List channels, newest first."""
    return reply_list([_view(each) for each in await plane.channels.list(caller.team_id)], {})


@router.post("/test")
async def test_channel(request: Request, plane: Plane, caller: Caller) -> Response:
    """Send a message, once, without making a channel."""
    body = await read_json(request, TestChannelRequest, _LARGEST)
    await plane.channels.test(caller.team_id, body.provider, body.config)
    return reply(ChannelTestResult(status="ok"))


@router.get("/{id}")
async def get_channel(plane: Plane, caller: Caller, channel_id: ChannelId) -> Response:
    """Look up a channel."""
    return reply(_view(await plane.channels.get(caller.team_id, channel_id)))


@router.patch("/{id}")
async def update_channel(
    request: Request, plane: Plane, caller: Caller, channel_id: ChannelId
) -> Response:
    """Change what a channel is called and told of."""
    body = await read_json(request, UpdateChannelRequest, _LARGEST)
    record = await plane.channels.update(caller.team_id, channel_id, body.name, body.events)
    return reply(_view(record))


@router.delete("/{id}")
async def delete_channel(plane: Plane, caller: Caller, channel_id: ChannelId) -> Response:
    """Delete a channel and its deliveries."""
    await plane.channels.delete(caller.team_id, channel_id)
    return Response(status_code=204)


@router.put("/{id}/config")
async def rotate_channel_config(
    request: Request, plane: Plane, caller: Caller, channel_id: ChannelId
) -> Response:
    """Replace all of the configuration; a secret that is made on the way is shown."""
    body = await read_json(request, RotateChannelConfigRequest, _LARGEST)
    record = await plane.channels.rotate_config(caller.team_id, channel_id, body.config)
    return reply(_view(record, with_secret=True))


@router.get("/{id}/deliveries")
async def list_deliveries(
    request: Request, plane: Plane, caller: Caller, channel_id: ChannelId
) -> Response:
    """Tell what was sent to a channel, newest first."""
    query = request.query_params
    status = query.get("status") or None
    if status not in (None, *_STATUSES):
        raise InvalidRequestError(f"status: must be one of {', '.join(_STATUSES)}.")
    limit = page_limit(query) or _USUAL_LIMIT
    wanted = DeliveryFilter(status, parse_cursor(query, _DELIVERY_ID.fullmatch), limit + 1)
    records = await plane.channels.deliveries(caller.team_id, channel_id, wanted)
    headers = dict[str, str]()
    if len(records) > limit:
        records = records[:limit]
        headers["X-Next-Cursor"] = cursor(records[-1].created_at, records[-1].id)
    return reply_list([_delivery_view(record) for record in records], headers)


def _view(record: ChannelRecord, *, with_secret: bool = False) -> Channel:
    return Channel(
        id=record.id,
        team_id=record.team_id,
        name=record.name,
        provider=record.provider,
        events=list(record.events),
        created_at=record.created_at,
        updated_at=record.updated_at,
        secret=record.config.get("secret") if with_secret else None,
    )


def _delivery_view(record: DeliveryRecord) -> Delivery:
    return Delivery(
        id=record.id,
        channel_id=record.channel_id,
        event=record.event,
        status=record.status,
        attempts=record.attempts,
        created_at=record.created_at,
        last_attempt_at=record.last_attempt_at,
        next_attempt_at=record.next_attempt_at,
        response_status=record.response_status,
        error=record.error,
    )
