"""The double, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.compat.rows", "tests.compat.tables")

from sandlot._operations import builds, kernels  # noqa: E402
from tests.colours import Colour  # noqa: E402
from tests.compat.double.app import Double, running  # noqa: E402
from tests.compat.tenants import Tenant  # noqa: E402


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits that original servers are known to need."""
    monkeypatch.setattr(kernels, "_WARMING", 0.3)
    monkeypatch.setattr(builds, "_OLD_PAUSE", 0.1)


@pytest.fixture(scope="session")
def double() -> Iterator[Double]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def later() -> Iterator[Double]:
    with running(is_later=True) as server:
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def later_tenant(
    request: pytest.FixtureRequest, unconfigured: Path, later: Double
) -> Iterator[Tenant]:
    yield Tenant(Colour(request.param), later)
    assert later.world.failures == []


@pytest.fixture(params=["blocking", "asyncio"])
def tenant(request: pytest.FixtureRequest, unconfigured: Path, double: Double) -> Iterator[Tenant]:
    yield Tenant(Colour(request.param), double)
    assert double.world.failures == []
