"""Users and API keys."""

from __future__ import annotations

from datetime import UTC, datetime

from sandlot import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from tests.compat.double import ids
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def signed_up(tenant: Tenant) -> None:
    email = f"{ids.new('x')}@example.com"
    session = await tenant.user.auth.signup(email.upper(), "password", "New User")
    assert (session.email, session.name, session.role) == (email, "New User", None)
    again = await tenant.user.auth.login(email, "password")
    assert (again.user_id, again.team_id) == (session.user_id, session.team_id)
    async with tenant.client(token=again.token) as client:
        (team,) = await client.teams.list()
        assert (team.name, team.role) == ("New User's Team", "owner")


async def switched(tenant: Tenant) -> None:
    team = await tenant.user.teams.create("Second")
    session = await tenant.user.auth.switch_team(team.id)
    assert session.team_id == team.id
    async with tenant.client(token=session.token) as client:
        assert (await client.teams.get(team.id)).team.name == "Second"


async def found_users(tenant: Tenant) -> None:
    other = tenant.other()
    (found,) = await tenant.user.users.search(other.email)
    assert (found.user_id, found.email) == (other.id, other.email)
    assert await tenant.user.users.search("nobody@") == []


async def made_a_key(tenant: Tenant) -> None:
    made = await tenant.user.api_keys.create()
    assert (made.name, made.key[:10]) == ("Unnamed API Key", made.key_prefix)
    assert made.key not in repr(made)
    async with tenant.client(made.key) as client:
        assert list((await client.sandboxes.list()).items) == []
    (newest,) = await tenant.user.api_keys.list()
    assert (newest.id, newest.key, newest.creator_email) == (made.id, None, tenant.me.email)
    assert newest.last_used is not None
    await tenant.user.api_keys.delete(made.id)
    assert await tenant.user.api_keys.list() == []
    await tenant.user.api_keys.delete(made.id)  # original server: 2.4, nobody notices


ROWS: list[Row] = [
    Works("auth.signup auth.login", signed_up),
    Works("auth.switch_team", switched),
    Works("users.search", found_users),
    Works("api_keys.create api_keys.list api_keys.delete", made_a_key),
    *(
        Fails(f"auth.{name}", "there are no accounts", play, NotFoundError, "unknown")
        for name, play in {
            "me": lambda t: t.user.auth.me(),
            "rename": lambda t: t.user.auth.rename("New"),
            "change_password": lambda t: t.user.auth.change_password("password", "another one"),
            "delete_account": lambda t: t.user.auth.delete_account(t.me.email),
        }.items()
    ),
    Fails(
        "auth.signup",
        "the address is taken",
        lambda t: t.user.auth.signup(t.me.email, "password", "Me"),
        ConflictError,
        "email_taken",
    ),
    Fails(
        "auth.signup",
        "the password is short",
        lambda t: t.user.auth.signup("a@b", "short", "Me"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "auth.login",
        "the password is wrong",
        lambda t: t.user.auth.login(t.me.email, "wrong"),
        AuthenticationError,
        "unauthorized",
    ),
    Fails(
        "auth.switch_team",
        "of others",
        lambda t: t.user.auth.switch_team(next(t.world.teams_of(t.other())).id),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "auth.switch_team",
        "there is none",
        lambda t: t.user.auth.switch_team(ids.new("team")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "users.search",
        "too short",
        lambda t: t.user.users.search("a@"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "api_keys.create",
        "scopes",
        lambda t: t.user.api_keys.create("x", scopes=["sandboxes"]),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "api_keys.create",
        "an expiry",
        lambda t: t.user.api_keys.create("x", expires_at=datetime(2030, 1, 1, tzinfo=UTC)),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "api_keys.list",
        "with an API key",
        lambda t: t.key.api_keys.list(),
        AuthenticationError,
        "unauthorized",
    ),
]
