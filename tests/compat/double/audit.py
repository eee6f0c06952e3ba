"""The audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import invalid, present, reply, utc_time
from tests.compat.double.world import Entry, World

_USUAL, _MOST = 50, 200


def _shape(entry: Entry) -> dict[str, Any]:
    who = entry.caller
    user = None if who is None else who.user
    kind = "system" if who is None else "api_key" if user is None else "user"
    return present(
        id=entry.id,
        actor_type=kind,
        actor_id=user.id if user else who.key_id if who else None,
        actor_name=user.name if user else None,
        resource_type=entry.resource_type,
        resource_id=entry.resource_id,
        action=entry.action,
        scope=entry.scope,
        status=entry.status,
        metadata=entry.metadata or None,
        created_at=utc_time(entry.created_at),
    )


def _words(request: Request, name: str) -> set[str]:
    return {word for given in request.query_params.getlist(name) for word in given.split(",")}


def _limit(value: str | None) -> int:
    if value is None:
        return _USUAL
    if not value.isdecimal() or int(value) < 1:
        raise invalid("invalid limit")
    return min(int(value), _MOST)


def routes(world: World) -> list[Route]:
    async def list_all(request: Request) -> Response:
        who, limit = caller(request), _limit(request.query_params.get("limit"))
        before, before_id = (request.query_params.get(n) for n in ("before", "before_id"))
        moment = None
        if before is not None:
            try:
                moment = datetime.fromisoformat(before)
            except ValueError:
                raise invalid("invalid before") from None
        if before_id is not None:
            _ = ids.parse(before_id, "log")
        types, actions = _words(request, "resource_type"), _words(request, "action")
        # original server: 2.11, what is for admins is shown by the role that the token says.
        scopes = {"team", "admin"} if who.role in ("owner", "admin") else {"team"}

        def fits(entry: Entry) -> bool:
            return (
                entry.team is who.team
                and entry.scope in scopes
                and (not types or entry.resource_type in types)
                and (not actions or entry.action in actions)
                and (
                    moment is None
                    or entry.created_at < moment
                    # original server: 2.11, an id without a time has no effect.
                    or (entry.created_at == moment and entry.id < (before_id or ""))
                )
            )

        found = [entry for entry in world.audit if fits(entry)]
        found.sort(key=lambda entry: (entry.created_at, entry.id), reverse=True)
        items = found[:limit]
        page: dict[str, Any] = {"items": [_shape(entry) for entry in items]}
        if items:
            # original server: 2.11, on the last page too, and cut to whole seconds.
            last = items[-1]
            page |= {"next_before": utc_time(last.created_at), "next_before_id": last.id}
        return reply(page)

    return [Route("/v1/audit-logs", list_all, methods=["GET"])]
