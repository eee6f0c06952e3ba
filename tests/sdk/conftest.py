"""Both clients of a toy server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandlot import Retry
from tests.colours import Colour
from tests.sdk.toy import Toy, toy

QUICK = Retry(backoff=0, jitter=0)


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest, unconfigured: Path) -> Colour:
    return Colour(request.param)


@pytest.fixture
def server() -> Iterator[Toy]:
    with toy() as running:
        yield running


class Api:
    """A client of the toy server, in one colour."""

    def __init__(self, colour: Colour, server: Toy) -> None:
        self.colour = colour
        self.server = server

    def client(self, **options: Any) -> Any:
        options.setdefault("retry", QUICK)
        return self.colour.client("wrn_secret", base_url=self.server.base_url, **options)


@pytest.fixture
def api(colour: Colour, server: Toy) -> Api:
    return Api(colour, server)
