"""Operations of administrators of the platform."""

from __future__ import annotations

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


def list_templates() -> Flow[list[models.AdminTemplate]]:
    """List the templates of all teams."""
    return fetch(list[models.AdminTemplate], Request("GET", f"{_ROOT}/templates"))


def delete_template(name: str) -> Flow[None]:
    """Delete a template of the platform."""
    address = path(_ROOT + "/templates/{}", arguments.filled_text(name, "name"))
    return execute(Request("DELETE", address))
