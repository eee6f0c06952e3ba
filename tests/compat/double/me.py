"""The account of who asks; only later servers have it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double.accounts import caller
from tests.compat.double.answers import ProblemError, fields, invalid, nothing, reply
from tests.compat.double.world import User, World


def routes(world: World) -> list[Route]:
    if not world.is_later:
        return []

    def me(request: Request) -> User:
        user = caller(request).user
        assert user is not None
        return user

    async def get(request: Request) -> Response:
        user = me(request)
        return reply(
            {"name": user.name, "email": user.email, "has_password": True, "providers": []}
        )

    async def rename(request: Request) -> Response:
        user, name = me(request), (await fields(request)).text("name").strip()
        if not 1 <= len(name.encode()) <= 100:
            raise invalid("invalid name")
        user.name = name
        team = next(world.teams_of(user))  # original server: 2.15, whatever the token was for
        return reply(
            {
                "token": world.token(user, team),
                "user_id": user.id,
                "team_id": team.id,
                "email": user.email,
                "name": name,
            }
        )

    async def delete(request: Request) -> Response:
        user, body = me(request), await fields(request)
        if body.text("confirmation").lower() != user.email:
            raise invalid("invalid confirmation")
        for team in world.teams_of(user):
            if team.role_of(user) == "owner" and len(team.members) > 1:
                raise ProblemError(409, "owns_team_with_members", "transfer or delete your teams")
        world.users.remove(user)
        return nothing()

    async def set_password(request: Request) -> Response:
        user, body = me(request), await fields(request)
        if body.text("current_password") != user.password:
            raise ProblemError(401, "wrong_password", "current password is wrong")
        if len(body.text("new_password")) < 8:
            raise invalid("invalid password")
        user.password = body.text("new_password")
        return nothing()

    return [
        Route("/v1/me", get, methods=["GET"]),
        Route("/v1/me", rename, methods=["PATCH"]),
        Route("/v1/me", delete, methods=["DELETE"]),
        Route("/v1/me/password", set_password, methods=["POST"]),
    ]
