"""Programs that take all they can get: they end with a reason, and nobody else notices."""

from __future__ import annotations

import os
import sys

import pytest

from .conftest import OpenBox
from .exhaustion import ATTACKS, faults, perform

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


@pytest.mark.parametrize("name", ATTACKS)
async def test_exhaustion(open_box: OpenBox, name: str) -> None:
    async with open_box(name="first") as box:
        seen = await perform(box.engine, name)
        assert faults(name, seen) == [], seen


@pytest.mark.skipif(os.getuid() != 0, reason="there are no control groups to do without")
@pytest.mark.parametrize("engine_kind", ["local-bare"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if "mem" in name or "file" in name])
async def test_exhaustion_without_control_groups(
    open_box: OpenBox, engine_kind: str, name: str
) -> None:
    async with open_box(name="first") as box:
        seen = await perform(box.engine, name)
        assert faults(name, seen) == [], seen
