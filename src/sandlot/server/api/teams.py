"""Teams and their members."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import (
    AddMemberRequest,
    Team,
    TeamDetail,
    TeamNameRequest,
    UpdateMemberRequest,
)
from sandlot.server.services.audit import note
from sandlot.server.services.idempotency import Claim
from sandlot.server.store.identity_records import MemberRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, OwnTeam, Plane, check_id
from .idempotency import fingerprint, once
from .identity_views import member_view, team_view
from .parameters import flag

__all__ = ["router"]

router = APIRouter()


@router.post("")
async def create_team(request: Request, plane: Plane, caller: Caller) -> Response:
    """Make a team that the caller owns."""
    body = await read_json(request, TeamNameRequest, plane.options.max_json_bytes)

    async def make(claim: Claim) -> Team:
        return team_view(await plane.teams.create(caller, body.name, claim.id), "owner")

    async def find(claim: Claim) -> Team | None:
        standing = await plane.teams.standing(caller, claim.id)
        return None if standing is None else team_view(standing.team, standing.role)

    same = fingerprint(body, "team")
    team = await once(request, plane, caller, "team", same, make, find)
    note(team.id, name=team.name)
    return reply(team, 201)


@router.get("")
async def list_teams(plane: Plane, caller: Caller) -> Response:
    """List the teams of the user."""
    found = await plane.teams.list(caller)
    return reply_list([team_view(each.team, each.role) for each in found], {})


@router.get("/{id}")
async def get_team(plane: Plane, caller: Caller, team_id: OwnTeam) -> Response:
    """Look up the team and its members."""
    team = team_view(await plane.teams.get(team_id), caller.role)
    members = await plane.teams.members(team_id)
    return reply(TeamDetail(team=team, members=[member_view(member) for member in members]))


@router.patch("/{id}")
async def rename_team(request: Request, plane: Plane, team_id: OwnTeam) -> Response:
    """Rename the team."""
    body = await read_json(request, TeamNameRequest, plane.options.max_json_bytes)
    renaming = await plane.teams.rename(team_id, body.name)
    note(old_name=renaming.old, new_name=renaming.new)
    return Response(status_code=204)


@router.delete("/{id}")
async def delete_team(request: Request, plane: Plane, team_id: OwnTeam) -> Response:
    """Delete the team."""
    force = flag(request.query_params, "force", default=False)
    await plane.teams.delete(team_id, force=force)
    return Response(status_code=204)


@router.get("/{id}/members")
async def list_members(plane: Plane, team_id: OwnTeam) -> Response:
    """List the members, in the order in which they joined."""
    return reply_list([member_view(member) for member in await plane.teams.members(team_id)], {})


@router.post("/{id}/members")
async def add_member(request: Request, plane: Plane, caller: Caller, team_id: OwnTeam) -> Response:
    """Add a user, as a member."""
    body = await read_json(request, AddMemberRequest, plane.options.max_json_bytes)

    async def make(_claim: Claim) -> MemberRecord:
        return await plane.teams.add_member(team_id, body.email)

    async def find(_claim: Claim) -> MemberRecord | None:
        return await plane.teams.find_member(team_id, body.email)

    same = fingerprint(body, "member", team_id)
    member = await once(request, plane, caller, "member", same, make, find)
    note(member.user_id, email=member.email, role=member.role)
    return reply(member_view(member), 201)


@router.patch("/{id}/members/{user_id}")
async def update_role(
    request: Request, plane: Plane, caller: Caller, _team_id: OwnTeam, user_id: str
) -> Response:
    """Change the role of a member."""
    _ = check_id("usr", user_id, "user_id")
    body = await read_json(request, UpdateMemberRequest, plane.options.max_json_bytes)
    await plane.teams.set_role(caller, user_id, body.role)
    note(new_role=body.role)
    return Response(status_code=204)


@router.delete("/{id}/members/{user_id}")
async def remove_member(plane: Plane, caller: Caller, _team_id: OwnTeam, user_id: str) -> Response:
    """Take a member out of the team."""
    await plane.teams.remove_member(caller, check_id("usr", user_id, "user_id"))
    return Response(status_code=204)


@router.post("/{id}/leave")
async def leave_team(plane: Plane, caller: Caller, _team_id: OwnTeam) -> Response:
    """Take the caller out of the team."""
    note(caller.user_id)
    await plane.teams.leave(caller)
    return Response(status_code=204)
