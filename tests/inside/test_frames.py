"""DataFrames on their way, in an interpreter that has pandas and pyarrow: hostile ones too."""

from __future__ import annotations

from pathlib import Path

from tests.inside.kernels import beside


def test_frames_come_back_as_they_were_or_are_refused(python: Path) -> None:
    told = beside(python, "there_and_back.py").splitlines()
    assert told[0] == "17 frames"
    reasons = dict(line.split(" | ", 1) for line in told[1:])
    assert len(reasons) == 11
    assert "column 'a'" in reasons["mixed"]
    assert "mixes types: float, int" in reasons["numbers"]


def test_hostile_frames(python: Path) -> None:
    told = beside(python, "hostile_frames.py").splitlines()
    assert told == ["survived True", "pyarrow 14.0.0 is too old to read tables safely"]


def test_without_pandas_they_are_tables_of_pyarrow(python: Path) -> None:
    assert beside(python, "without_pandas.py") == "{'a': [1, 2]}\n"
