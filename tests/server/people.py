"""Users, teams and credentials for tests of a live server."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import httpx
from contract import Contract
from harness import ServerProcess, client_of

PASSWORD = "correct horse battery"
_numbers = itertools.count()


@dataclass
class Person:
    """A user, in one of their teams."""

    people: People
    client: httpx.Client
    id: str
    email: str
    team: str

    def url(self, tail: str = "") -> str:
        return f"/v1/teams/{self.team}{tail}"

    @property
    def token(self) -> str:
        token: str = self.client.headers["Authorization"].removeprefix("Bearer ")
        return token

    def make_key(self, **fields: Any) -> dict[str, Any]:
        response = self.client.post("/v1/api-keys", json=fields)
        assert response.status_code == 201, response.text
        key: dict[str, Any] = response.json()
        return key

    def enter(self, team: str) -> Person:
        """Return the same user in another team."""
        answer = self.client.post("/v1/auth/switch-team", json={"team_id": team})
        assert answer.status_code == 200, answer.text
        client = self.people.with_token(answer.json()["token"])
        return Person(self.people, client, self.id, self.email, team)


class People:
    """Makes users of a server that is open to all."""

    def __init__(self, server: ServerProcess, contract: Contract) -> None:
        self._server = server
        self._contract = contract
        self._clients: list[httpx.Client] = []
        self.anybody = self.with_headers()

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def sign_up(self, name: str = "Ada") -> Person:
        """Return a new user, in their own team."""
        email = f"user{next(_numbers)}@example.org"
        body = {"email": email, "password": PASSWORD, "name": name}
        answer = self.anybody.post("/v1/auth/signup", json=body)
        assert answer.status_code == 201, answer.text
        session = answer.json()
        client = self.with_token(session["token"])
        return Person(self, client, session["user_id"], email, session["team_id"])

    def join(self, owner: Person, role: str = "member") -> Person:
        """Return a new user, in the team of another."""
        person = self.sign_up()
        answer = owner.client.post(owner.url("/members"), json={"email": person.email})
        assert answer.status_code == 201, answer.text
        if role != "member":
            path = owner.url(f"/members/{person.id}")
            assert owner.client.patch(path, json={"role": role}).status_code == 204
        return person.enter(owner.team)

    def with_headers(self, **headers: str) -> httpx.Client:
        """Return a client with these credentials."""
        client = client_of(self._server, self._contract, None)
        client.headers.update(headers)
        self._clients.append(client)
        return client

    def with_token(self, token: str) -> httpx.Client:
        """Return a client with this token."""
        return self.with_headers(Authorization=f"Bearer {token}")
