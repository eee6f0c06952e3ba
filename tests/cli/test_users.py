"""`sandlot users`, as who runs a server calls it, and what it means to the server that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandlot import AuthenticationError, Client, PermissionDeniedError, SandlotError
from sandlot.local import EmbeddedServer

COMMAND = str(Path(sys.executable).with_name("sandlot"))
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that is running while its users are managed."""
    place = tmp_path_factory.mktemp("users")
    embedded = EmbeddedServer.start(data_dir=place, engine="process")
    yield embedded.base_url, place
    embedded.close()


def users(place: Path, *words: str, password: str | None = None) -> tuple[int, str, str]:
    """Call the command; return its exit code, and what it says."""
    done = subprocess.run(
        [COMMAND, "users", *words],
        env={**os.environ, "SANDLOT_SERVER_DATA_DIR": str(place)},
        input=None if password is None else f"{password}\n",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert password is None or password not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def log_in(url: str, email: str) -> Client:
    with Client("none", base_url=url) as nobody:
        session = nobody.auth.login(email, PASSWORD)
    return Client(token=session.token, base_url=url)


def test_the_life_of_a_user(server: tuple[str, Path]) -> None:
    url, place = server
    email = "ada@example.org"
    create = ("create", email, "--name", "Ada", "--admin", "--password-stdin")
    code, said, _ = users(place, *create, password=PASSWORD)
    assert code == 0
    user_id = said.split()[0]
    assert said == f"{user_id} {email}\n"
    code, said, _ = users(place, "list")
    assert (code, said.split()) == (0, [user_id, "active", "admin", email])
    code, _, problem = users(place, *create, password=PASSWORD)
    assert (code, problem) == (1, "sandlot: There is a user with this address.\n")
    # Tokens of before are worth nothing after they were revoked; logging in gives new ones.
    with log_in(url, email) as first, log_in(url, email) as second:
        assert len(first.teams.list()) == 2
        assert users(place, "revoke", email.upper())[0] == 0
        for client in (first, second):
            with pytest.raises(AuthenticationError, match="revoked"):
                _ = client.teams.list()
    with log_in(url, email) as third:
        key = third.api_keys.create("mine", scopes=["teams"]).key
        assert key is not None
        assert users(place, "disable", email)[0] == 0
        assert "disabled admin" in users(place, "list")[1]
        with pytest.raises(PermissionDeniedError, match="disabled") as caught:
            _ = third.teams.list()
        assert caught.value.code == "account_deactivated"
        with pytest.raises(PermissionDeniedError) as caught:
            _ = log_in(url, email)
        assert caught.value.code == "account_disabled"
        with Client(key, base_url=url) as client, pytest.raises(PermissionDeniedError):
            _ = client.teams.list()
        assert users(place, "enable", email)[0] == 0
        assert len(third.teams.list()) == 2  # the token was not revoked


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("create", "nonsense", "--name", "A"), "email: must be an address"),
        (("revoke", "nobody@example.org"), "There is no user with this address."),
        (("list", "--database-url", "sqlite+aiosqlite:////nowhere/x.db"), "cannot be used"),
    ],
)
def test_what_cannot_be_done(server: tuple[str, Path], words: tuple[str, ...], reason: str) -> None:
    stdin = ("--password-stdin",) if words[0] == "create" else ()
    code, said, problem = users(server[1], *words, *stdin, password=PASSWORD if stdin else None)
    assert (code, said) == (1, "")
    assert reason in problem


def test_passwords_that_are_no_good(server: tuple[str, Path]) -> None:
    words = ("create", "b@example.org", "--name", "B", "--password-stdin")
    code, _, problem = users(server[1], *words, password="short")
    assert (code, "password: must be 8 to 1024" in problem) == (1, True)
    with pytest.raises(SandlotError):
        _ = log_in(server[0], "b@example.org")
