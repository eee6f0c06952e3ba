"""Operations of administrators of the platform."""

from __future__ import annotations

import re
from typing import Any

from .. import models
from .._flow import Flow, Request, execute, fetch, path
from ..errors import InvalidArgumentError
from . import arguments

_ROOT = "/v1/admin"


def set_team_byoc(team_id: str, enabled: Any) -> Flow[None]:
    """Have a team run its sandboxes on hosts of its own."""
    if not isinstance(enabled, bool):
        raise InvalidArgumentError(f"enabled must be a bool, not {type(enabled).__name__}")
    address = path(_ROOT + "/teams/{}/byoc", arguments.identifier(team_id, "team"))
    return execute(Request("PUT", address, {"enabled": enabled}))


def teams(cursor: str | None) -> Flow[tuple[list[models.TeamSummary], str | None]]:
    """List all teams; return a page of them and the cursor of the next one."""
    found = yield from fetch(models.TeamSummaryPage, _page("teams", cursor))
    return found.teams, _following(found)


def users(cursor: str | None) -> Flow[tuple[list[models.UserSummary], str | None]]:
    """List all users; return a page of them and the cursor of the next one."""
    found = yield from fetch(models.UserSummaryPage, _page("users", cursor))
    return found.users, _following(found)


def delete_team(team_id: str) -> Flow[None]:
    """Delete a team with all that it has."""
    return execute(
        Request("DELETE", path(_ROOT + "/teams/{}", arguments.identifier(team_id, "team")))
    )


def set_user_active(user_id: str, active: Any) -> Flow[None]:
    """Let a user in again, or keep them out."""
    if not isinstance(active, bool):
        raise InvalidArgumentError(f"active must be a bool, not {type(active).__name__}")
    address = path(_ROOT + "/users/{}/active", arguments.identifier(user_id, "user"))
    return execute(Request("PUT", address, {"active": active}))


def list_templates() -> Flow[list[models.AdminTemplate]]:
    """List the templates of all teams."""
    return fetch(list[models.AdminTemplate], Request("GET", f"{_ROOT}/templates"))


def delete_template(name: str) -> Flow[None]:
    """Delete a template of the platform."""
    address = path(_ROOT + "/templates/{}", arguments.filled_text(name, "name"))
    return execute(Request("DELETE", address))


def _page(of: str, cursor: str | None) -> Request:
    """Return the request for a page; cursors are the numbers of pages."""
    number = "1" if cursor is None else arguments.text(cursor, "cursor")
    if not re.fullmatch("[1-9][0-9]{0,8}", number):
        raise InvalidArgumentError(f"cursor is not one that this list gave: {number!r:.100}")
    return Request("GET", f"{_ROOT}/{of}", params={"page": number})


def _following(page: models.TeamSummaryPage | models.UserSummaryPage) -> str | None:
    return str(page.page + 1) if page.page < page.total_pages else None
