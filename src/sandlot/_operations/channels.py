"""Operations on channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import models
from .._flow import Flow, Request, Server, decode, execute, fetch, path, send
from ..errors import InvalidArgumentError
from . import arguments, meta

_ROOT = "/v1/channels"
_TEST_TIMEOUT = 120.0
"""Seconds to wait for a test; the server gives up much earlier."""


def create(
    server: Server,
    name: str,
    provider: str,
    config: Mapping[str, str],
    events: Sequence[str],
) -> Flow[models.Channel]:
    """Make a channel."""
    body = {
        "name": arguments.filled_text(name, "name"),
        "provider": arguments.filled_text(provider, "provider"),
        "config": _config(config),
        "events": _events(events),
    }
    headers = yield from meta.creation_key(server)
    return (yield from fetch(models.Channel, Request("POST", _ROOT, body, headers=headers)))


def list_all() -> Flow[list[models.Channel]]:
    """List channels."""
    return fetch(list[models.Channel], Request("GET", _ROOT))


def get(channel_id: str) -> Flow[models.Channel]:
    """Look up a channel."""
    return fetch(models.Channel, Request("GET", _at(channel_id)))


def update(channel_id: str, name: str | None, events: Sequence[str] | None) -> Flow[models.Channel]:
    """Change a channel; the server wants all that can be changed, so what is left out is asked."""
    address = _at(channel_id)
    new_name = None if name is None else arguments.filled_text(name, "name")
    new_events = None if events is None else _events(events)
    if new_name is None and new_events is None:
        raise InvalidArgumentError("give a name, events, or both")
    if new_name is None or new_events is None:
        now = yield from get(channel_id)
        new_name = now.name if new_name is None else new_name
        new_events = now.events if new_events is None else new_events
    body = {"name": new_name, "events": new_events}
    return (yield from fetch(models.Channel, Request("PATCH", address, body, harmless=True)))


def delete(channel_id: str) -> Flow[None]:
    """Delete a channel."""
    return execute(Request("DELETE", _at(channel_id)))


def rotate_config(channel_id: str, config: Mapping[str, str]) -> Flow[models.Channel]:
    """Replace the configuration of a channel."""
    return fetch(
        models.Channel, Request("PUT", _at(channel_id, "config"), {"config": _config(config)})
    )


def test(provider: str, config: Mapping[str, str]) -> Flow[None]:
    """Send a message without making a channel."""
    body = {"provider": arguments.filled_text(provider, "provider"), "config": _config(config)}
    return execute(Request("POST", f"{_ROOT}/test", body, timeout=_TEST_TIMEOUT))


def deliveries(
    server: Server, channel_id: str, *, status: str | None, limit: int | None, cursor: str | None
) -> Flow[tuple[list[models.Delivery], str | None]]:
    """List deliveries; return them and the cursor of the next page."""
    address = _at(channel_id, "deliveries")
    params = arguments.without_none(status=arguments.optional_text(status, "status"))
    if limit is not None:
        params["limit"] = str(arguments.whole(limit, "limit"))
    if cursor is not None:
        params["cursor"] = arguments.filled_text(cursor, "cursor")
    yield from meta.require(server, "lists of deliveries", "channels.deliveries")
    request = Request("GET", address, params=params)
    response = yield from send(request)
    found = decode(list[models.Delivery], request, response)
    return found, response.headers.get("x-next-cursor")


def _at(channel_id: Any, *tail: str) -> str:
    return "/".join((path(_ROOT + "/{}", arguments.identifier(channel_id, "channel")), *tail))


def _config(value: Any) -> dict[str, str]:
    """Check a configuration; what is wrong is said without quoting it."""
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"config must be a mapping, not {type(value).__name__}")
    config = arguments.texts(value, "config")
    if not config:
        raise InvalidArgumentError("config is empty")
    return config


def _events(value: Any) -> list[str]:
    names = arguments.optional_words(value, "events")
    if not names or not all(names):
        raise InvalidArgumentError("events must be a list of at least one name")
    return names
