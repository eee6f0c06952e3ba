"""A live control plane for tests: a process of its own, talked to over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers below

import postgres
from contract import Contract
from harness import KEY, Box, ServerProcess, client_of, traces_of

from sandlot.server.store.opening import open_store
from tests.orphans import assert_no_orphans


@pytest.fixture(autouse=True)
def no_orphans(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing stays behind of engines and servers that a test has in its temporary directory."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    place: Path = request.getfixturevalue("tmp_path")
    yield
    assert_no_orphans(place)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that most tests share; at the end it must leave nothing behind."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    yield server
    traces = traces_of(server)
    assert server.stop() == 0
    traces.assert_gone()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server, by the URL of a database in it; made if a test asks for it."""
    with postgres.serve() as url:
        yield url


@pytest.fixture(scope="session")
def new_database(postgresql: str) -> Callable[[], str]:
    """Makes databases in it."""
    return lambda: postgres.new_database(postgresql)


@pytest.fixture(scope="module")
def database(postgresql: str) -> str:
    """The URL of a database of PostgreSQL that nobody else has."""
    return postgres.new_database(postgresql)


@pytest.fixture
def empty_database(database: str) -> str:
    """The same, with our tables, and nothing in them."""

    async def empty() -> None:
        await (await open_store(database)).close()
        await postgres.empty(database)

    asyncio.run(empty())
    return database


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of a test's own."""
    started: list[ServerProcess] = []

    def start(*, with_key: bool = True, **options: str) -> ServerProcess:
        started.append(ServerProcess(tmp_path / "data", with_key=with_key, **options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def client(server: ServerProcess, contract: Contract) -> Iterator[httpx.Client]:
    """A client whose every answer is held against the contract."""
    with client_of(server, contract) as client:
        yield client


@pytest.fixture
def make(client: httpx.Client) -> Iterator[Callable[..., Box]]:
    """Makes sandboxes that are gone after the test."""
    made: list[Box] = []

    def make(**fields: object) -> Box:
        response = client.post("/v1/sandboxes", json=fields)
        assert response.status_code == 201, response.text
        made.append(Box(client, response.json()["id"]))
        return made[-1]

    yield make
    for box in made:
        _ = client.delete(box.url())


@pytest.fixture
def box(make: Callable[..., Box]) -> Box:
    """A running sandbox."""
    return make()


@pytest.fixture(scope="session")
def shared(server: ServerProcess) -> Iterator[str]:
    """Id of a sandbox for tests that change nothing in it that others see."""
    with httpx.Client(base_url=server.url, headers={"X-API-Key": KEY}) as client:
        sandbox_id: str = client.post("/v1/sandboxes", json={}).json()["id"]
        yield sandbox_id
        _ = client.delete(f"/v1/sandboxes/{sandbox_id}")


@pytest.fixture
def common(client: httpx.Client, shared: str) -> Box:
    """The shared sandbox, through this test's client."""
    return Box(client, shared)
