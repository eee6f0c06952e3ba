"""Which users sandboxes are given, by what the kernel says there is."""

from __future__ import annotations

import pytest

from sandlot.server.engine.base import EngineUnavailableError
from sandlot.server.engine.local.identities import Identities

ALL = "         0          0 4294967295\n"
CONTAINER = "         0     100000      65536\n"
ROOTLESS = "         0       1000          1\n         1     100000      65536\n"
ITSELF = "         0       1000          1\n"


def test_root_gives_users_that_nobody_has() -> None:
    identities = Identities(0, ALL, ALL)
    first = identities.choose(())
    assert identities.are_private
    assert first is not None
    assert 0x70000000 <= first <= 0x7FFFFFFE


@pytest.mark.parametrize("id_map", [CONTAINER, ROOTLESS])
def test_root_of_a_container_gives_users_that_there_are(id_map: str) -> None:
    chosen = {Identities(0, id_map, id_map).choose(()) for _ in range(100)}
    assert all(uid is not None and 32768 <= uid <= 65536 for uid in chosen)
    assert len(chosen) > 50


def test_users_are_not_given_twice() -> None:
    identities = Identities(0, CONTAINER, CONTAINER)
    used = set(range(32768, 65535))
    assert {identities.choose(used) for _ in range(3)} == {65535}


def test_groups_count_as_well() -> None:
    identities = Identities(0, ALL, CONTAINER)
    chosen = identities.choose(())
    assert chosen is not None
    assert 32768 <= chosen < 65536


def test_an_ordinary_user_is_all_there_is() -> None:
    identities = Identities(1000, ALL, ALL)
    assert not identities.are_private
    assert identities.choose(()) is None


def test_root_that_is_an_ordinary_user_outside_is_one() -> None:
    assert Identities(0, ITSELF, ITSELF).choose(()) is None


def test_root_alone_is_refused() -> None:
    with pytest.raises(EngineUnavailableError, match="no other user ids"):
        _ = Identities(0, "0 0 1\n", "0 0 1\n")
