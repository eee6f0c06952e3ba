"""Accounts, teams, keys and the audit log in both colours, with an embedded server's own key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    AsyncClient,
    AuthenticationError,
    Client,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client.local(engine="process") as client:
        yield client


def test_one_key_serves_the_whole_library(local: Client) -> None:
    (team,) = local.teams.list()
    assert (team.name, team.role) == ("Default", "owner")
    session = local.auth.signup("Ada@Example.org", PASSWORD, "Ada")
    assert session.email == "ada@example.org"
    assert session.token not in repr(session)
    with pytest.raises(ConflictError):
        _ = local.auth.signup("ada@example.org", PASSWORD, "Ada")
    member = local.teams.add_member(team.id, "ada@example.org")
    assert member.role == "member"
    local.teams.update_member_role(team.id, member.user_id, "admin")
    assert [each.role for each in local.teams.list_members(team.id)] == ["owner", "admin"]
    assert [each.user_id for each in local.users.search("ada@")] == [member.user_id]
    with Client(token=session.token, base_url=local.base_url) as ada:
        assert [each.name for each in ada.teams.list()] == ["Ada's Team", "Default"]
        here = ada.auth.switch_team(team.id)
        with Client(token=here.token, base_url=local.base_url) as inside:
            inside.teams.rename(team.id, "Ours")
            assert inside.teams.get(team.id).team.name == "Ours"
            inside.teams.leave(team.id)
            with pytest.raises(AuthenticationError):
                _ = inside.sandboxes.list()
        made = ada.teams.create("Second")
        assert made.role == "owner"
        with pytest.raises(PermissionDeniedError):
            ada.teams.delete(made.id)  # its token is for another
        login = ada.auth.login("ada@example.org", PASSWORD)
        assert login.user_id == session.user_id
        with pytest.raises(AuthenticationError) as caught:
            _ = ada.auth.login("ada@example.org", "wrong horse battery")
        assert "wrong horse" not in str(caught.value)
    with pytest.raises(NotFoundError):
        local.teams.remove_member(team.id, member.user_id)


def test_keys(local: Client) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    made = local.api_keys.create("ci", scopes=["audit"], expires_at=later)
    assert made.key is not None
    assert made.key not in repr(made)
    assert made.expires_at is not None
    with Client(made.key, base_url=local.base_url) as client:
        assert client.audit.list(limit=1).items[0].resource_id == made.id
        with pytest.raises(AuthenticationError, match="sandboxes"):
            _ = client.sandboxes.list()
    assert made.id in [key.id for key in local.api_keys.list()]
    local.api_keys.delete(made.id)
    assert made.id not in [key.id for key in local.api_keys.list()]
    with pytest.raises(InvalidRequestError):
        _ = local.api_keys.create(scopes=["nonsense"])


def test_the_audit_log_is_walked_page_by_page(local: Client) -> None:
    names = [f"key {number}" for number in range(12)]
    for name in names:
        local.api_keys.delete(local.api_keys.create(name).id)
    page = local.audit.list(resource_type="api_key", action=["create"], limit=5)
    assert len(page.items) == 5
    assert page.next_cursor is not None
    rows = list(page)
    assert [row.metadata["name"] for row in rows[:12] if row.metadata] == names[::-1]
    assert len({row.id for row in rows}) == len(rows)
    assert [row.id for each in page.pages() for row in each.items] == [row.id for row in rows]
    rest = local.audit.list(
        resource_type="api_key", action="create", limit=5, cursor=page.next_cursor
    )
    assert [row.id for row in rest] == [row.id for row in rows[5:]]
    assert list(local.audit.list(before=rows[-1].created_at, resource_type="api_key")) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.teams.get("../x"),
        lambda client: client.teams.get(""),
        lambda client: client.teams.create(""),
        lambda client: client.teams.update_member_role("team-1", "usr-1", "boss"),
        lambda client: client.api_keys.delete("a/b"),
        lambda client: client.api_keys.create(scopes="audit"),
        lambda client: client.api_keys.create(expires_at=datetime(2030, 1, 1)),
        lambda client: client.auth.login("", PASSWORD),
        lambda client: client.auth.login("a@b", "\ud800secret"),
        lambda client: client.users.search(""),
        lambda client: client.audit.list(limit=0),
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(call: Any) -> None:
    with (
        Client("wrn_x", base_url="http://127.0.0.1:1") as client,
        pytest.raises(InvalidArgumentError) as caught,
    ):
        _ = call(client)
    assert "secret" not in str(caught.value)


async def everything(client: AsyncClient) -> AsyncIterator[str]:
    (team,) = await client.teams.list()
    yield team.name
    session = await client.auth.signup("bob@example.org", PASSWORD, "Bob")
    _ = await client.teams.add_member(team.id, session.email)
    yield (await client.teams.get(team.id)).members[-1].name or ""
    await client.teams.remove_member(team.id, session.user_id)
    made = await client.api_keys.create("bob's")
    await client.api_keys.delete(made.id)
    yield (await client.users.search("bob@"))[0].email
    async for row in client.audit.list(limit=2):
        yield f"{row.resource_type} {row.action}"
    first = await client.audit.list(limit=2)
    assert len(first.items) == 2
    async with AsyncClient(token=session.token, base_url=client.base_url) as bob:
        yield (await bob.teams.list())[0].name


def test_the_same_in_the_other_colour(tmp_path: Path) -> None:
    import asyncio

    async def main() -> list[str]:
        async with AsyncClient.local(engine="process") as client:
            return [each async for each in everything(client)]

    assert asyncio.run(main()) == [
        "Default",
        "Bob",
        "bob@example.org",
        "api_key revoke",
        "api_key create",
        "member remove",
        "member add",
        "Bob's Team",
    ]


def test_administrators_see_everybody() -> None:
    with Client.local(engine="process") as client:
        bob = client.auth.signup("bob@example.org", PASSWORD, "Bob")
        with Client(token=bob.token, base_url=client.base_url) as his:
            assert his.auth.me().email == "bob@example.org"
            assert his.auth.rename("Robert").name == "Robert"
            with pytest.raises(PermissionDeniedError):
                _ = his.admin.list_teams()
        names = [team.name for team in client.admin.list_teams()]
        assert names == ["Default", "Bob's Team"]
        (user,) = client.admin.list_users()
        assert (user.name, user.teams_owned) == ("Robert", 1)
        client.admin.set_user_active(user.id, False)
        assert [user.status for user in client.admin.list_users()] == ["disabled"]
        client.admin.delete_team(bob.team_id)
        with pytest.raises(InvalidArgumentError, match="cursor"):
            _ = client.admin.list_users(cursor="nonsense")


def test_administrators_see_everybody_in_the_other_colour() -> None:
    import asyncio

    async def main() -> None:
        async with AsyncClient.local(engine="process") as client:
            bob = await client.auth.signup("bob@example.org", PASSWORD, "Bob")
            teams = [team async for team in client.admin.list_teams()]
            assert [team.owner_email for team in teams][-1] == bob.email
            page = await client.admin.list_users()
            assert [user.id for user in page.items] == [bob.user_id]
            await client.admin.set_user_active(bob.user_id, False)
            async with AsyncClient(token=bob.token, base_url=client.base_url) as his:
                with pytest.raises(PermissionDeniedError, match="disabled"):
                    _ = await his.auth.me()
            await client.admin.set_user_active(bob.user_id, True)
            again = await client.auth.login(bob.email, PASSWORD)
            async with AsyncClient(token=again.token, base_url=client.base_url) as his:
                await his.auth.change_password(PASSWORD, "another password")
                with pytest.raises(AuthenticationError):
                    await his.auth.delete_account(bob.email)
            again = await client.auth.login(bob.email, "another password")
            async with AsyncClient(token=again.token, base_url=client.base_url) as his:
                await his.auth.delete_account(bob.email)
            assert not [user async for user in client.admin.list_users()]

    asyncio.run(main())
