from __future__ import annotations

import re

import pytest

from sandlot.server.ids import is_id, new_id


def test_new_ids() -> None:
    ids = {new_id("cl") for _ in range(1000)}
    assert len(ids) == 1000
    for each in ids:
        assert re.fullmatch("cl-[0-9a-z]{25}", each)
        assert is_id("cl", each)
        assert not is_id("key", each)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("cl-" + "0" * 25, True),
        ("cl-f5lxx1zz5pnorynqglhzmsp33", True),  # 2**128 - 1
        ("cl-f5lxx1zz5pnorynqglhzmsp34", False),
        ("cl-" + "z" * 25, False),
        ("cl-" + "0" * 24, False),
        ("cl-" + "0" * 24 + "\n", False),
        ("CL-" + "0" * 25, False),
        ("cl" + "0" * 26, False),
        ("", False),
    ],
)
def test_what_is_an_id(text: str, valid: bool) -> None:
    assert is_id("cl", text) is valid
