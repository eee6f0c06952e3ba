"""The examples do what they promise."""

from __future__ import annotations

import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_blocking_quickstart() -> None:
    said = run(str(EXAMPLES / "quickstart.py"))
    assert_said_by_both(said, "blocking")
    assert "| IndexError: list index out of range" in said
    assert "| interrupted: True, state lost: False" in said
    assert said.count("344 penguins") == 2


def test_the_asyncio_quickstart() -> None:
    said = run(str(EXAMPLES / "quickstart_async.py"))
    assert_said_by_both(said, "asyncio")
    assert "| 'slept'\n" in said
    assert "| 0\n  | 1\n  | 2\n" in said
    assert "| value 2\n" in said


def assert_said_by_both(said: str, stamp: str) -> None:
    assert said.startswith(f"{stamp}:\n")
    assert "| Adelie,146,32.7,24.0,42.0" in said
    assert "nothing; sees 2 processes" in said


def test_undo_and_fork() -> None:
    said = run(str(EXAMPLES / "undo.py"))
    assert "| added    notes.txt\n  | deleted  penguins.csv\n" in said
    assert "| there again: 345 lines" in said
    assert "| modified penguins.csv: 11 lines removed" in said
    assert "| mean: 4207 g\n" in said
    assert "| range: 3600 g\n" in said
    assert "| penguins.csv in clean-penguins" in said


def test_the_build() -> None:
    said = run(str(EXAMPLES / "build.py"))
    assert "  1. COPY . .\n" in said
    assert "  | 1 lines, 5 characters\n" in said
    assert "lines: success\n/home/user/work\n2 lines, 4 characters\n200\n" in said
    assert "Step 2 (line 2: RUN cat /etc/shadow) failed: exit code 1" in said


def test_the_analysis(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "analysis.py"), str(tmp_path))
    assert "Gentoo   slope +0.205   correlation +0.64" in said
    assert "scatter   151 points   Adelie" in said
    picture = (tmp_path / "penguins.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) > 20_000
    width, height = struct.unpack(">II", picture[16:24])  # first things of its header
    assert 1000 < width < 1500
    assert 600 < height < 1000


@pytest.fixture(scope="module")
def outputs() -> list[list[Any]]:
    """What each code cell of the notebook shows."""
    notebook: Any = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    with pytest.MonkeyPatch.context() as patch:
        # Kernel specifications of this environment, not of the user's.
        patch.setenv("JUPYTER_PATH", sysconfig.get_path("data") + "/share/jupyter")
        client = NotebookClient(
            notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": EXAMPLES}}
        )
        client.execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def shown(outputs: list[Any]) -> Any:
    return outputs[-1]["data"]


def test_the_notebook(outputs: list[list[Any]]) -> None:
    sandbox, table, picture, series, error, stopped, steps, context, ports, _ = outputs
    assert "penguins" in shown(sandbox)["text/html"]
    assert "Chinstrap" in shown(table)["text/html"]
    assert "<img" in shown(picture)["text/html"]
    assert "('scatter', 'Adelie', 152)" in shown(series)["text/plain"]
    assert "KeyError" in shown(error)["text/html"]
    assert shown(stopped)["text/plain"] == "(True, False, '344')"
    assert steps[0]["text"] == "step 0\nstep 1\nstep 2\n"
    assert context[0]["text"].startswith("('context', False)\n6 [Variable(name='numbers'")
    assert shown(ports)["text/plain"].startswith("(True, <Page of 1 items")
