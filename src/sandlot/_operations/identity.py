"""Operations on accounts, teams, API keys and users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .. import models
from .._flow import Flow, Request, Server, decode, execute, fetch, path, send
from ..errors import HostHasSandboxesError, InvalidArgumentError, UnsupportedError
from . import arguments, meta

_ME = "/v1/me"
_KEYS = "/v1/api-keys"
_TEAMS = "/v1/teams"
_ROLES = ("owner", "admin", "member")


def sign_up(email: str, password: str, name: str) -> Flow[models.AuthSession]:
    """Make a user."""
    body = {
        "email": arguments.filled_text(email, "email"),
        "password": _password(password),
        "name": arguments.filled_text(name, "name"),
    }
    request = Request("POST", "/v1/auth/signup", body)
    response = yield from send(request)
    made = decode(dict[str, object], request, response)
    if "token" not in made and "message" in made:  # later Wrenn servers mail a link (wrenn: 2.15)
        raise UnsupportedError(
            f"The user was made, but this server gives no token yet; it says: {made['message']}",
            outcome="finished",
        )
    return decode(models.AuthSession, request, response)


def log_in(email: str, password: str) -> Flow[models.AuthSession]:
    """Get a token."""
    body = {"email": arguments.filled_text(email, "email"), "password": _password(password)}
    return fetch(models.AuthSession, Request("POST", "/v1/auth/login", body))


def switch_team(team_id: str) -> Flow[models.AuthSession]:
    """Get a token for another team."""
    body = {"team_id": arguments.identifier(team_id, "team")}
    return fetch(models.AuthSession, Request("POST", "/v1/auth/switch-team", body, harmless=True))


def get_account() -> Flow[models.Account]:
    """Look up one's own account."""
    return fetch(models.Account, Request("GET", _ME))


def rename_account(name: str) -> Flow[models.AuthSession]:
    """Change one's own name."""
    body = {"name": arguments.filled_text(name, "name")}
    return fetch(models.AuthSession, Request("PATCH", _ME, body, harmless=True))


def set_password(current: str, new: str) -> Flow[None]:
    """Change one's own password."""
    body = {"current_password": _password(current), "new_password": _password(new)}
    return execute(Request("POST", f"{_ME}/password", body))


def delete_account(confirmation: str) -> Flow[None]:
    """Delete one's own account."""
    body = {"confirmation": arguments.filled_text(confirmation, "confirmation")}
    return execute(Request("DELETE", _ME, body))


def search_users(email: str) -> Flow[list[models.UserMatch]]:
    """Find users by the beginning of their address."""
    params = {"email": arguments.filled_text(email, "email")}
    return fetch(list[models.UserMatch], Request("GET", "/v1/users/search", params=params))


def create_key(
    server: Server,
    name: str | None,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
) -> Flow[models.ApiKey]:
    """Make an API key."""
    body = arguments.without_none(
        name=arguments.optional_text(name, "name"),
        scopes=arguments.optional_words(scopes, "scopes"),
        expires_at=None if expires_at is None else _moment(expires_at, "expires_at"),
    )
    if scopes is not None or expires_at is not None:
        yield from meta.require(server, "scopes and expiry of API keys", "api_keys.scopes")
    headers = yield from meta.creation_key(server)
    return (yield from fetch(models.ApiKey, Request("POST", _KEYS, body, headers=headers)))


def list_keys() -> Flow[list[models.ApiKey]]:
    """List API keys."""
    return fetch(list[models.ApiKey], Request("GET", _KEYS))


def delete_key(key_id: str) -> Flow[None]:
    """Revoke an API key."""
    return execute(Request("DELETE", path(_KEYS + "/{}", arguments.identifier(key_id, "API key"))))


def list_teams() -> Flow[list[models.Team]]:
    """List teams."""
    return fetch(list[models.Team], Request("GET", _TEAMS))


def create_team(server: Server, name: str) -> Flow[models.Team]:
    """Make a team."""
    body = {"name": arguments.filled_text(name, "name")}
    headers = yield from meta.creation_key(server)
    return (yield from fetch(models.Team, Request("POST", _TEAMS, body, headers=headers)))


def get_team(team_id: str) -> Flow[models.TeamDetail]:
    """Look up a team."""
    return fetch(models.TeamDetail, Request("GET", _team(team_id)))


def rename_team(team_id: str, name: str) -> Flow[None]:
    """Rename a team."""
    body = {"name": arguments.filled_text(name, "name")}
    return execute(Request("PATCH", _team(team_id), body, harmless=True))


def delete_team(server: Server, team_id: str, *, force: bool) -> Flow[None]:
    """Delete a team."""
    address = _team(team_id)
    if not force and (yield from meta.known(server)) is None:
        yield from _refuse_sandboxes()
    params = {"force": "true"} if force else {}
    yield from execute(Request("DELETE", address, params=params))


def list_members(team_id: str) -> Flow[list[models.Member]]:
    """List the members of a team."""
    return fetch(list[models.Member], Request("GET", _team(team_id, "members")))


def add_member(server: Server, team_id: str, email: str) -> Flow[models.Member]:
    """Add a user to a team."""
    body = {"email": arguments.filled_text(email, "email")}
    address = _team(team_id, "members")
    headers = yield from meta.creation_key(server)
    return (yield from fetch(models.Member, Request("POST", address, body, headers=headers)))


def update_role(team_id: str, user_id: str, role: str) -> Flow[None]:
    """Change the role of a member."""
    if role not in _ROLES:
        raise InvalidArgumentError(f"role must be one of {', '.join(_ROLES)}: {role!r:.100}")
    address = _team(team_id, "members", arguments.identifier(user_id, "user"))
    return execute(Request("PATCH", address, {"role": role}, harmless=True))


def remove_member(team_id: str, user_id: str) -> Flow[None]:
    """Take a user out of a team."""
    return execute(
        Request("DELETE", _team(team_id, "members", arguments.identifier(user_id, "user")))
    )


def leave_team(team_id: str) -> Flow[None]:
    """Leave a team."""
    return execute(Request("POST", _team(team_id, "leave")))


def _refuse_sandboxes() -> Flow[None]:
    """Raise if there are sandboxes; original servers would destroy them unasked (wrenn: 2.6)."""
    found = yield from fetch(list[models.SandboxInfo], Request("GET", "/v1/sandboxes"))
    if found:
        error = HostHasSandboxesError(
            f"The team has sandboxes ({len(found)}): destroy them, or use force; nothing was done",
            code="has_active_sandboxes",
            status_code=409,
        )
        error.sandbox_ids = tuple(info.id for info in found)
        raise error


def _team(team_id: str, *more: str) -> str:
    return path(
        "/".join([_TEAMS, *["{}"] * (len(more) + 1)]), arguments.identifier(team_id, "team"), *more
    )


def _password(value: Any) -> str:
    """Check a password without ever quoting it."""
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError("password must be a str that is not empty")
    try:
        _ = value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("password is not valid Unicode") from None
    return value


def _moment(value: Any, name: str) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidArgumentError(f"{name} must be a datetime with a time zone")
    return value.isoformat()
