"""Operations on hosts."""

from __future__ import annotations

from typing import Any

from .. import models
from .._flow import Flow, Request, Server, decode, execute, fetch, path, send
from . import arguments, meta

_ROOT = "/v1/hosts"


def create(
    server: Server,
    type: str,
    team_id: str | None,
    provider: str | None,
    availability_zone: str | None,
) -> Flow[models.HostInvitation]:
    """Make a host."""
    body = arguments.without_none(
        type=arguments.filled_text(type, "type"),
        team_id=arguments.optional_text(team_id, "team_id"),
        provider=arguments.optional_text(provider, "provider"),
        availability_zone=arguments.optional_text(availability_zone, "availability_zone"),
    )
    headers = yield from meta.creation_key(server)
    request = Request("POST", _ROOT, body, headers=headers)
    return (yield from fetch(models.HostInvitation, request))


def list_all() -> Flow[list[models.Host]]:
    """List hosts."""
    return fetch(list[models.Host], Request("GET", _ROOT))


def get(host_id: str) -> Flow[models.Host]:
    """Look up a host."""
    return fetch(models.Host, Request("GET", _at(host_id)))


def delete_preview(host_id: str) -> Flow[models.HostDeletePreview]:
    """Ask what would go with a host."""
    return fetch(models.HostDeletePreview, Request("GET", _at(host_id, "delete-preview")))


def delete(host_id: str, *, force: bool) -> Flow[None]:
    """Delete a host."""
    return execute(Request("DELETE", _at(host_id), params={"force": "true"} if force else {}))


def regenerate_token(host_id: str) -> Flow[models.HostInvitation]:
    """Make another token to register a host with."""
    return fetch(models.HostInvitation, Request("POST", _at(host_id, "token")))


def list_tags(host_id: str) -> Flow[list[str]]:
    """List the tags of a host."""
    request = Request("GET", _at(host_id, "tags"))
    response = yield from send(request)
    # Original servers answer null where there are none.
    return [] if response.content.strip() == b"null" else decode(list[str], request, response)


def add_tag(host_id: str, tag: str) -> Flow[None]:
    """Give a host a tag."""
    body = {"tag": arguments.filled_text(tag, "tag")}
    return execute(Request("POST", _at(host_id, "tags"), body, harmless=True))


def remove_tag(host_id: str, tag: str) -> Flow[None]:
    """Take a tag from a host."""
    text = arguments.filled_text(tag, "tag")
    return execute(Request("DELETE", f"{_at(host_id, 'tags')}{path('/{}', text)}"))


def _at(host_id: Any, *tail: str) -> str:
    return "/".join((path(_ROOT + "/{}", arguments.identifier(host_id, "host")), *tail))
