"""Two servers on one database, each with a data directory of its own.

On a file of SQLite and on PostgreSQL.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from contract import Contract
from harness import ServerProcess, client_of, eventually
from people import People, Person

from tests.nursery import PRELUDE

PATIENT = "60 5 100"
"""Lease, margin and patience of servers that a busy machine makes no difference to."""
HASTY = "0.6 0.2 40"
Request = tuple[str, dict[str, Any]]
_OF_USERS = ("/v1/teams", "/v1/api-keys", "/v1/channels")


class Pair:
    """Two servers on one database, and somebody who asks either."""

    def __init__(
        self, place: Path, url: str, terms: str, contract: Contract, options: dict[str, str]
    ) -> None:
        self._place = place
        self._contract = contract
        self._options = {
            "database_url": url,
            "signup": "open",
            "api_key_scopes": "all",
            "jwt_secret": "s" * 32,
        } | options
        self._terms = terms
        self.servers = [self.begin("one"), self.begin("two")]
        people = People(self.servers[0], contract)
        self.person = people.sign_up()
        people.close()
        self.users = [self._user(server, self.person) for server in self.servers]
        self.clients = [client_of(server, contract) for server in self.servers]

    def begin(self, name: str, **more: str) -> ServerProcess:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PRELUDE, "suspending")
            patch.setenv("SANDLOT_TESTS_TERMS", self._terms)
            return ServerProcess(self._place / name, **self._options, **more)

    def again(self, which: int) -> None:
        """Begin the next life of a server, at the same address."""
        server = self.servers[which]
        self.servers[which] = self.begin(server.data_dir.name, port=str(server.port))

    def close(self) -> None:
        for client in (*self.clients, *self.users):
            client.close()
        for server in self.servers:
            if server.process.poll() is None:
                _ = server.stop()  # a zygote would wait for the next one of a server that is killed
            else:
                server.kill()

    @contextmanager
    def suspended(
        self, which: int, moment: str, request: Request, key: str
    ) -> Iterator[Future[Any]]:
        """Have a server stand still at a moment of a request; it goes on after the block."""
        (self.servers[which].data_dir / "moment").write_text(moment)
        with ThreadPoolExecutor(1) as pool, self.asleep(which):
            answer = pool.submit(self.ask, which, request, key)
            self.falls_asleep(which, answer.done)
            assert not answer.done(), answer.result().text
            yield answer

    @contextmanager
    def asleep(self, which: int) -> Iterator[None]:
        """Have a server go on after the block, should it stand still."""
        server = self.servers[which]
        try:
            yield
        finally:
            server.process.send_signal(signal.SIGCONT)

    def falls_asleep(self, which: int, or_else: Callable[[], bool] = lambda: False) -> None:
        """Wait until a server stands still."""
        process = psutil.Process(self.servers[which].process.pid)
        eventually(lambda: process.status() == psutil.STATUS_STOPPED or or_else())

    def ask(self, which: int, request: Request, key: str) -> httpx.Response:
        path, body = request
        asker = (
            self.users if path in ("/v1/teams", "/v1/api-keys", "/v1/channels") else self.clients
        )
        return asker[which].post(path, json=body, headers={"Idempotency-Key": key})

    def ask_both(self, request: Request, key: str) -> list[httpx.Response]:
        """Ask both, at the same moment."""
        barrier = threading.Barrier(2)

        def ask(which: int) -> httpx.Response:
            _ = barrier.wait()
            return self.ask(which, request, key)

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(ask, range(2)))

    def there(self, path: str) -> set[str]:
        """Return the ids of all of a kind."""
        asker = (
            self.users if path in ("/v1/teams", "/v1/api-keys", "/v1/channels") else self.clients
        )
        return {each.get("id") or each["name"] for each in asker[1].get(path).json()}

    def has_lost_claims(self) -> bool:
        """Tell whether work was done in vain."""
        lines = [line for server in self.servers for line in server.lines]
        return any("lost to another" in str(line) for line in lines)

    def homes(self, which: int) -> list[str]:
        """Return the sandboxes that the engine of a server has."""
        return os.listdir(self.servers[which].data_dir / "sandboxes")

    def _asker(self, path: str) -> list[httpx.Client]:
        return self.users if path in _OF_USERS else self.clients

    def _user(self, server: ServerProcess, person: Person) -> httpx.Client:
        client = client_of(server, self._contract, None)
        client.headers["Authorization"] = person.client.headers["Authorization"]
        return client


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes databases for several servers."""
    if request.param == "sqlite":
        return lambda: f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('shared') / 'test.db'}"
    made: Callable[[], str] = request.getfixturevalue("new_database")
    return made


Begin = Callable[..., Pair]


@pytest.fixture(scope="module")
def begin(
    new_url: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, contract: Contract
) -> Iterator[Begin]:
    """Begins two servers on one database."""
    begun: list[Pair] = []

    def begin(terms: str, **options: str) -> Pair:
        place = tmp_path_factory.mktemp("pair")
        begun.append(Pair(place, new_url(), terms, contract, options))
        return begun[-1]

    yield begin
    for pair in begun:
        pair.close()
        lines = [line for server in pair.servers for line in server.lines]
        assert not [line for line in lines if "Traceback" in str(line)]
