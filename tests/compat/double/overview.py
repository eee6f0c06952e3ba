"""All teams and users, for administrators of the platform; only later servers have it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import fields, invalid, local_time, missing, nothing, reply
from tests.compat.double.world import Team, User, World

_PER_PAGE = 100


def _page(request: Request, name: str, shapes: list[dict[str, Any]]) -> Response:
    asked = request.query_params.get("page", "")
    # original server: 2.15, pages begin with 1, which a bad number is taken for.
    page = max(int(asked), 1) if asked.isdecimal() else 1
    total = len(shapes)
    return reply(
        {
            name: shapes[(page - 1) * _PER_PAGE : page * _PER_PAGE],
            "total": total,
            "page": page,
            "per_page": _PER_PAGE,
            "total_pages": -(-total // _PER_PAGE),
        }
    )


def routes(world: World) -> list[Route]:
    if not world.is_later:
        return []

    def team_shape(team: Team) -> dict[str, Any]:
        owner = next((each.user for each in team.members if each.role == "owner"), None)
        active = [c for c in world.capsules if c.team is team and c.status == "running"]
        return {
            "id": team.id,
            "name": team.name,
            "slug": team.slug,
            "is_byoc": team.is_byoc,
            "created_at": local_time(team.created_at),
            # original server: 1.3, null here, where others leave it out.
            "deleted_at": local_time(team.created_at) if team.deleted else None,
            "member_count": len(team.members),
            "owner_name": "" if owner is None else owner.name,
            "owner_email": "" if owner is None else owner.email,
            "active_sandbox_count": len(active),
            "channel_count": 0,
        }

    def user_shape(user: User) -> dict[str, Any]:
        roles = [team.role_of(user) for team in world.teams_of(user)]
        return {
            "id": user.id,
            "email": user.email,
            "name": user.name,
            "is_admin": user.is_admin,
            "status": "disabled" if user in world.disabled else "active",
            "created_at": local_time(user.created_at),
            "teams_joined": len(roles),
            "teams_owned": roles.count("owner"),
        }

    async def list_teams(request: Request) -> Response:
        return _page(request, "teams", [team_shape(each) for each in world.teams])

    async def list_users(request: Request) -> Response:
        return _page(request, "users", [user_shape(each) for each in world.users])

    async def delete_team(request: Request) -> Response:
        wanted = ids.parse(request.path_params["id"], "team")
        for team in world.teams:
            if team.id == wanted and not team.deleted:
                team.deleted = True
                return nothing()
        raise missing("team")

    async def set_active(request: Request) -> Response:
        wanted = ids.parse(request.path_params["id"], "usr")
        active = (await fields(request)).flag("active")
        user = next((each for each in world.users if each.id == wanted), None)
        if user is None:
            raise missing("user")
        if user is caller(request).user:
            raise invalid("invalid: cannot deactivate yourself")
        world.disabled = [each for each in world.disabled if each is not user]
        if not active:
            world.disabled.append(user)
        return nothing()

    return [
        Route("/v1/admin/teams", list_teams, methods=["GET"]),
        Route("/v1/admin/teams/{id}", delete_team, methods=["DELETE"]),
        Route("/v1/admin/users", list_users, methods=["GET"]),
        Route("/v1/admin/users/{id}/active", set_active, methods=["PUT"]),
    ]
