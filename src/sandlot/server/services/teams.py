"""Teams and their members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sandlot.server.store import identity
from sandlot.server.store.base import Store
from sandlot.server.store.identity_records import LOCAL_USER, MemberRecord, Standing, TeamRecord
from sandlot.server.store.records import SandboxFilter

from . import naming
from .accounts import new_team
from .errors import (
    ForbiddenError,
    HasActiveSandboxesError,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
)
from .principals import DEFAULT_TEAM, Principal
from .sandboxes import Sandboxes
from .snapshots import Snapshots

__all__ = ["Renaming", "Teams"]

_ROLES = ("owner", "admin", "member")


@dataclass(frozen=True, slots=True)
class Renaming:
    """What a team was called, and what it is called now."""

    old: str
    new: str


class Teams:
    """Making, changing and leaving teams.

    Roles: an `admin` may rename the team and add, change and remove members and other admins; an
    `owner` may also make and unmake owners, and delete the team. A team always has an owner.
    """

    def __init__(
        self,
        store: Store,
        sandboxes: Sandboxes,
        snapshots: Snapshots,
        when_changed: Callable[[], None],
    ) -> None:
        self._teams = store.teams
        self._users = store.users
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._when_changed = when_changed

    async def list(self, caller: Principal) -> Sequence[Standing]:
        """Return the teams of a user, in the order in which they joined them."""
        assert caller.user_id is not None
        return await self._teams.of_user(caller.user_id)

    async def create(self, caller: Principal, name: str, team_id: str) -> TeamRecord:
        """Make a team that the caller owns."""
        assert caller.user_id is not None
        team = replace(new_team(naming.team_name(name)), id=team_id)
        await self._teams.add(team, caller.user_id)
        return team

    async def standing(self, caller: Principal, team_id: str) -> Standing | None:
        """Return what the caller is in a team."""
        assert caller.user_id is not None
        return await self._users.standing(caller.user_id, team_id)

    async def get(self, team_id: str) -> TeamRecord:
        """Return a team.

        Raises:
            NotFoundError: It is gone.
        """
        team = await self._teams.get(team_id)
        if team is None:
            raise NotFoundError("There is no such team.")
        return team

    async def rename(self, team_id: str, name: str) -> Renaming:
        """Give a team another name."""
        new = naming.team_name(name)
        old = (await self.get(team_id)).name
        await self._teams.rename(team_id, new)
        return Renaming(old, new)

    async def set_byoc(self, team_id: str, *, enabled: bool) -> None:
        """Have a team run its sandboxes on hosts of its own, and nowhere else, from now on.

        Raises:
            InvalidRequestError: That cannot be taken back.
            NotFoundError: There is no such team.
        """
        if not enabled:
            raise InvalidRequestError("enabled: a team that brings its hosts goes on to do so.")
        team = await self.get(team_id)
        await self._teams.set_byoc(team.id, enabled=True)
        self._when_changed()

    async def delete(self, team_id: str, *, force: bool) -> None:
        """Delete a team with its API keys and snapshots.

        Args:
            team_id: Which.
            force: Destroy its sandboxes; otherwise it must have none.

        Raises:
            HasActiveSandboxesError: It has some.
            ForbiddenError: It is the server's own.
        """
        if team_id == DEFAULT_TEAM:
            raise ForbiddenError("This team belongs to the server and cannot be deleted.")
        if (ids := await self._living(team_id)) and not force:
            raise HasActiveSandboxesError(
                f"The team has sandboxes ({len(ids)}): destroy them first, or ask with force=true.",
                ids,
            )
        await self._teams.mark_deleted(team_id, datetime.now(UTC))
        self._when_changed()
        # Once more: some may have been made until nobody could any more.
        _ = await self._sandboxes.stop_many(team_id, await self._living(team_id), save_state=False)
        for snapshot in await self._snapshots.list(team_id):
            if snapshot.name is not None:
                await self._snapshots.delete(team_id, snapshot.name)

    async def members(self, team_id: str) -> Sequence[MemberRecord]:
        """Return the members of a team, in the order in which they joined."""
        return await self._teams.members(team_id)

    async def add_member(self, team_id: str, email: str) -> MemberRecord:
        """Add a user to a team.

        Raises:
            NotFoundError: There is no user with this address.
            InvalidRequestError: They are in it already.
        """
        user = await self._users.find(naming.user_email(email))
        if user is None or user.id == LOCAL_USER:
            raise NotFoundError("There is no user with this address.")
        now = datetime.now(UTC)
        try:
            await self._teams.add_member(team_id, user.id, "member", now)
        except identity.AlreadyMemberError as error:
            raise InvalidRequestError("email: this user is already a member.") from error
        return MemberRecord(team_id, user.id, "member", now, user.email, user.name)

    async def find_member(self, team_id: str, email: str) -> MemberRecord | None:
        """Return the member of a team who has this address."""
        address = naming.user_email(email)
        found = (member for member in await self.members(team_id) if member.email == address)
        return next(found, None)

    async def set_role(self, caller: Principal, user_id: str, role: str) -> None:
        """Change what a member of the caller's team may do.

        Raises:
            InvalidRequestError: There is no such role.
            NotFoundError: There is no such member.
            ForbiddenError: Only owners make and unmake owners, and one must remain.
        """
        if role not in _ROLES:
            raise InvalidRequestError(f"role: must be one of {', '.join(_ROLES)}.")
        await self._check(caller, user_id, role)
        try:
            await self._teams.set_role(caller.team_id, user_id, role)
        except identity.LastOwnerError as error:
            raise _last_owner() from error
        self._when_changed()

    async def remove_member(self, caller: Principal, user_id: str) -> None:
        """Take a member out of the caller's team.

        Raises:
            NotFoundError: There is no such member.
            ForbiddenError: Only owners remove owners, and one must remain.
        """
        await self._check(caller, user_id, None)
        await self._remove(caller.team_id, user_id)

    async def leave(self, caller: Principal) -> None:
        """Take the caller out of their team.

        Raises:
            ForbiddenError: They are its only owner.
        """
        assert caller.user_id is not None
        await self._remove(caller.team_id, caller.user_id)

    async def _remove(self, team_id: str, user_id: str) -> None:
        try:
            await self._teams.remove_member(team_id, user_id)
        except identity.LastOwnerError as error:
            raise _last_owner() from error
        self._when_changed()

    async def _check(self, caller: Principal, user_id: str, role: str | None) -> None:
        target = await self._users.standing(user_id, caller.team_id)
        if target is None:
            raise NotFoundError("There is no such member.")
        if "owner" in (target.role, role) and caller.role != "owner":
            raise ForbiddenError("Only an owner can do that to an owner, or make one.")

    async def _living(self, team_id: str) -> Sequence[str]:
        return [row.id for row in await self._sandboxes.list(team_id, SandboxFilter())]


def _last_owner() -> ServiceError:
    return ForbiddenError("The team would be left without an owner: make somebody else one first.")
