"""Teams and their members."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double import ids
from tests.compat.double.accounts import caller
from tests.compat.double.answers import (
    ProblemError,
    fields,
    invalid,
    local_time,
    missing,
    nothing,
    present,
    reply,
)
from tests.compat.double.world import Caller, Member, Team, World

_NAME = re.compile(r"[A-Za-z0-9 _\-@']{1,128}")
_ZERO = "0001-01-01T00:00:00Z"


def shape(team: Team, **more: Any) -> dict[str, Any]:
    return present(
        id=team.id,
        name=team.name,
        slug=team.slug,
        is_byoc=team.is_byoc,
        created_at=local_time(team.created_at),
        **more,
    )


def _member(member: Member, joined_at: str | None = None) -> dict[str, Any]:
    return {
        "user_id": member.user.id,
        "name": member.user.name,
        "email": member.user.email,
        "role": member.role,
        "joined_at": joined_at or local_time(member.joined_at),
    }


def _name(value: str) -> str:
    name = value.strip()
    if not _NAME.fullmatch(name):
        raise invalid("invalid team name")
    return name


def routes(world: World) -> list[Route]:
    def team_of(request: Request, *roles: str) -> tuple[Caller, Team]:
        who = caller(request)
        # original server: 2.6, another team than the token's is forbidden before it is looked up.
        if ids.parse(request.path_params["id"], "team") != who.team.id:
            raise ProblemError(403, "forbidden", "team does not match your token")
        if roles and who.team.role_of(who.user) not in roles:
            raise ProblemError(403, "forbidden", "insufficient role")
        if who.team.deleted:
            raise missing("team")
        return who, who.team

    def member_of(team: Team, request: Request) -> Member:
        user_id = ids.parse(request.path_params["uid"], "usr")
        for member in team.members:
            if member.user.id == user_id:
                if member.role == "owner":
                    raise ProblemError(403, "forbidden", "the owner cannot be changed")
                return member
        raise missing("member")

    async def list_all(request: Request) -> Response:
        user = caller(request).user
        assert user is not None
        return reply([shape(team, role=team.role_of(user)) for team in world.teams_of(user)])

    async def create(request: Request) -> Response:
        user = caller(request).user
        assert user is not None
        name = _name((await fields(request)).needed("name"))
        team = Team(name, members=[Member(user, "owner")])
        world.teams.append(team)
        return reply(shape(team, role="owner"), 201)

    async def get(request: Request) -> Response:
        _, team = team_of(request)
        return reply({"team": shape(team), "members": [_member(each) for each in team.members]})

    async def rename(request: Request) -> Response:
        who, team = team_of(request, "owner", "admin")
        old, team.name = team.name, _name((await fields(request)).needed("name"))
        names = {"old_name": old, "new_name": team.name}
        world.write(who, "team", "rename", "info", resource_id=team.id, metadata=names)
        return nothing()

    async def delete(request: Request) -> Response:
        _, team = team_of(request, "owner")
        # original server: 2.6, its sandboxes are destroyed; nobody is asked.
        for capsule in world.capsules:
            if capsule.team is team:
                capsule.halt("stopped")
        team.deleted = True
        return nothing()

    async def list_members(request: Request) -> Response:
        _, team = team_of(request)
        return reply([_member(each) for each in team.members])

    async def add_member(request: Request) -> Response:
        who, team = team_of(request, "owner", "admin")
        user = world.user((await fields(request)).needed("email").lower())
        if user is None:
            raise missing("user")
        if team.role_of(user):
            raise invalid("user is already a member of this team")
        member = Member(user, "member")
        team.members.append(member)
        about = {"email": user.email, "role": "member"}
        world.write(who, "member", "add", "success", scope="admin", metadata=about)
        return reply(_member(member, _ZERO), 201)  # original server: 1.5, the zero time

    async def update_role(request: Request) -> Response:
        who, team = team_of(request, "owner", "admin")
        role = (await fields(request)).needed("role")
        if role not in ("admin", "member"):
            raise invalid("role must be admin or member")
        member_of(team, request).role = role
        world.write(
            who, "member", "role_update", "info", scope="admin", metadata={"new_role": role}
        )
        return nothing()

    async def remove_member(request: Request) -> Response:
        who, team = team_of(request, "owner", "admin")
        team.members.remove(member_of(team, request))
        world.write(who, "member", "remove", "warning", scope="admin")
        return nothing()

    async def leave(request: Request) -> Response:
        who, team = team_of(request)
        role = team.role_of(who.user)
        if role in (None, "owner"):
            raise ProblemError(403, "forbidden", "the owner cannot leave")
        team.members = [each for each in team.members if each.user is not who.user]
        world.write(who, "member", "leave", "info", scope="admin")
        return nothing()

    members = "/v1/teams/{id}/members"
    return [
        Route("/v1/teams", list_all, methods=["GET"]),
        Route("/v1/teams", create, methods=["POST"]),
        Route("/v1/teams/{id}", get, methods=["GET"]),
        Route("/v1/teams/{id}", rename, methods=["PATCH"]),
        Route("/v1/teams/{id}", delete, methods=["DELETE"]),
        Route(members, list_members, methods=["GET"]),
        Route(members, add_member, methods=["POST"]),
        Route(members + "/{uid}", update_role, methods=["PATCH"]),
        Route(members + "/{uid}", remove_member, methods=["DELETE"]),
        Route("/v1/teams/{id}/leave", leave, methods=["POST"]),
    ]
