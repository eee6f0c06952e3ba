"""People and what they may do, as the contract shows them."""

from __future__ import annotations

from sandlot.models import (
    Account,
    ApiKey,
    AuditEntry,
    AuthSession,
    Member,
    Team,
    TeamSummary,
    UserMatch,
    UserSummary,
)
from sandlot.server.services.accounts import Session
from sandlot.server.services.principals import DEFAULT_SCOPES
from sandlot.server.store.census import TeamOverview, UserOverview
from sandlot.server.store.identity_records import (
    ApiKeyRecord,
    AuditRecord,
    MemberRecord,
    TeamRecord,
    UserRecord,
)

__all__ = [
    "account_view",
    "audit_view",
    "key_view",
    "member_view",
    "session_view",
    "team_overview",
    "team_view",
    "user_overview",
    "user_view",
]


def session_view(session: Session) -> AuthSession:
    """Show a session, with its token."""
    user, team = session.standing.user, session.standing.team
    return AuthSession(
        token=session.token.text,
        user_id=user.id,
        team_id=team.id,
        email=user.email,
        name=user.name,
        role=session.standing.role,
        expires_at=session.token.expires_at,
    )


def key_view(record: ApiKeyRecord, key: str | None = None) -> ApiKey:
    """Show an API key; the key itself only when it was just made."""
    return ApiKey(
        id=record.id,
        team_id=record.team_id,
        name=record.name,
        key_prefix=record.prefix,
        key=key,
        created_by=record.created_by,
        creator_email=record.creator_email,
        scopes=sorted(DEFAULT_SCOPES) if record.scopes is None else list(record.scopes),
        created_at=record.created_at,
        last_used=record.last_used,
        expires_at=record.expires_at,
    )


def user_view(record: UserRecord) -> UserMatch:
    """Show a user to others."""
    return UserMatch(user_id=record.id, email=record.email)


def account_view(record: UserRecord) -> Account:
    """Show a user to themselves."""
    return Account(
        user_id=record.id,
        name=record.name,
        email=record.email,
        has_password=record.password_hash is not None,
        providers=[],
        is_admin=record.is_admin,
        created_at=record.created_at,
    )


def user_overview(overview: UserOverview) -> UserSummary:
    """Show a user to those who administer the platform."""
    record = overview.user
    return UserSummary(
        id=record.id,
        email=record.email,
        name=record.name,
        is_admin=record.is_admin,
        status=record.status,
        created_at=record.created_at,
        teams_joined=overview.joined,
        teams_owned=overview.owned,
    )


def team_overview(overview: TeamOverview) -> TeamSummary:
    """Show a team to those who administer the platform."""
    record, owner = overview.team, overview.owner
    return TeamSummary(
        id=record.id,
        name=record.name,
        slug=record.slug,
        is_byoc=record.is_byoc,
        created_at=record.created_at,
        deleted_at=record.deleted_at,
        member_count=overview.members,
        owner_name=None if owner is None else owner.name,
        owner_email=None if owner is None else owner.email,
        active_sandbox_count=overview.sandboxes,
        channel_count=overview.channels,
    )


def team_view(record: TeamRecord, role: str | None) -> Team:
    """Show a team to a member."""
    return Team(
        id=record.id,
        name=record.name,
        slug=record.slug,
        is_byoc=record.is_byoc,
        created_at=record.created_at,
        role=role,
    )


def member_view(record: MemberRecord) -> Member:
    """Show a member of a team."""
    return Member(
        user_id=record.user_id,
        name=record.name,
        email=record.email,
        role=record.role,
        joined_at=record.joined_at,
    )


def audit_view(record: AuditRecord) -> AuditEntry:
    """Show a row of the audit log."""
    return AuditEntry(
        id=record.id,
        actor_type=record.actor_type,
        actor_id=record.actor_id,
        actor_name=record.actor_name,
        resource_type=record.resource_type,
        resource_id=record.resource_id,
        action=record.action,
        scope=record.scope,
        status=record.status,
        metadata=dict(record.metadata) or None,
        created_at=record.created_at,
    )
