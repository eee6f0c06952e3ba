"""Who asks; signing up, logging in, changing teams, finding users."""

from __future__ import annotations

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.answers import ProblemError, fields, invalid, missing, reply
from tests.compat.double.world import Caller, Team, User, World, now

# original server: 1.7, most of it takes tokens of users and nothing else.
_EITHER = ("/v1/sandboxes", "/v1/snapshots")
_USERS = (
    "/v1/auth/switch-team",
    "/v1/api-keys",
    "/v1/teams",
    "/v1/users",
    "/v1/hosts",
    "/v1/channels",
    "/v1/audit-logs",
)
_LATER = "/v1/me"
_NOBODY = ("/v1/hosts/register", "/v1/hosts/auth/refresh")


def identify(world: World, connection: HTTPConnection) -> None:
    """Find out who asks, before the path is looked at; remember it as `caller`."""
    # original server: 1.1, within a group credentials come before routes, so unknown paths are 401.
    path = connection.url.path
    if path.startswith(_NOBODY) or path.endswith("/heartbeat"):
        return
    if path.startswith(_EITHER):
        connection.state.caller = _either(world, connection)
    elif path.startswith(_USERS) or (world.is_later and path.startswith(_LATER)):
        connection.state.caller = _user(world, connection)
    elif path.startswith("/v1/admin"):
        caller = _user(world, connection)
        if caller.user is None or not caller.user.is_admin:
            raise ProblemError(403, "forbidden", "admin access required")
        connection.state.caller = caller


def caller(connection: HTTPConnection) -> Caller:
    found: Caller = connection.state.caller
    return found


def key_caller(world: World, connection: HTTPConnection) -> Caller:
    """Find out who asks by an API key."""
    secret = connection.headers.get("x-api-key")
    for key in world.keys:
        if key.secret == secret:
            key.last_used = now()
            return Caller(key.team, key_id=key.id)
    raise ProblemError(401, "unauthorized", "invalid API key")


def _either(world: World, connection: HTTPConnection) -> Caller:
    # original server: 1.6, a key is used alone, even if there is a token beside it.
    if "x-api-key" in connection.headers:
        return key_caller(world, connection)
    return _user(world, connection)


def _user(world: World, connection: HTTPConnection) -> Caller:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or token not in world.tokens:
        raise ProblemError(401, "unauthorized", "missing or invalid token")
    return world.tokens[token]


def routes(world: World) -> list[Route]:
    def session(user: User, team: Team, status: int = 200) -> Response:
        return reply(
            {
                "token": world.token(user, team),
                "user_id": user.id,
                "team_id": team.id,
                "email": user.email,
                "name": user.name,
            },
            status,
        )

    async def sign_up(request: Request) -> Response:
        body = await fields(request)
        email = body.text("email").strip().lower()
        name = body.text("name").strip()
        if len(email) < 3 or "@" not in email:
            raise invalid("invalid email address")
        if len(body.text("password")) < 8:
            raise invalid("password must be at least 8 characters")
        if not 1 <= len(name.encode()) <= 100:
            raise invalid("name must be between 1 and 100 characters")
        if world.user(email):
            raise ProblemError(409, "email_taken", "an account with this email already exists")
        user = world.sign_up(email, name)
        user.password = body.text("password")
        if world.is_later:  # original server: 2.15, a link is mailed
            return reply({"message": "check your email to activate your account"}, 201)
        return session(user, next(world.teams_of(user)), 201)

    async def log_in(request: Request) -> Response:
        body = await fields(request)
        email, password = body.needed("email").lower(), body.needed("password")
        user = world.user(email)
        if user is None or user.password != password:
            raise ProblemError(401, "unauthorized", "invalid email or password")
        team = next(world.teams_of(user), None)
        if team is None:
            raise ProblemError(403, "no_team", "user has no team")
        return session(user, team)

    async def switch_team(request: Request) -> Response:
        body = await fields(request)
        wanted = ids.parse(body.needed("team_id"), "team")
        user = caller(request).user
        for team in world.teams:
            if team.id == wanted and not team.deleted:
                if user is None or not team.role_of(user):
                    raise ProblemError(403, "forbidden", "not a member of this team")
                return session(user, team)
        raise missing("team")

    async def search(request: Request) -> Response:
        beginning = request.query_params.get("email", "")
        if len(beginning) < 3 or "@" not in beginning:
            raise invalid("email must be at least 3 characters and contain @")
        found = sorted(u.email for u in world.users if u.email.startswith(beginning))[:10]
        users = [world.user(email) for email in found]
        return reply([{"user_id": user.id, "email": user.email} for user in users if user])

    return [
        Route("/v1/auth/signup", sign_up, methods=["POST"]),
        Route("/v1/auth/login", log_in, methods=["POST"]),
        Route("/v1/auth/switch-team", switch_team, methods=["POST"]),
        Route("/v1/users/search", search, methods=["GET"]),
    ]
