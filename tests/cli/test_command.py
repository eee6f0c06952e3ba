"""The command `sandlot`, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sandlot

COMMAND = str(Path(sys.executable).with_name("sandlot"))
MODULE = (sys.executable, "-m", "sandlot.server")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_it_knows_its_version() -> None:
    done = run(COMMAND, "--version")
    assert (done.stdout, done.returncode) == (f"sandlot {sandlot.__version__}\n", 0)


@pytest.mark.parametrize(
    ("words", "name"),
    [((COMMAND, "serve"), "sandlot serve"), (MODULE, "python -m sandlot.server")],
    ids=["command", "module"],
)
def test_usage_shows_what_was_typed(words: tuple[str, ...], name: str) -> None:
    done = run(*words, "--help")
    assert done.stdout.startswith(f"usage: {name} [")
    assert "--data-dir" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--port", "x"), "port: "),
        (("--nonsense",), "--nonsense"),
        (("--host", "0.0.0.0", "--auth", "none"), "without authentication"),
    ],
    ids=["value", "option", "open door"],
)
def test_wrong_options_are_said_in_a_line(options: tuple[str, ...], reason: str) -> None:
    done = run(COMMAND, "serve", *options)
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("lacking", "words", "remedy"),
    [
        ("typer", ("--version",), "pip install 'sandlot[all]'"),
        ("uvicorn", ("serve",), "pip install 'sandlot[server]'"),
    ],
)
def test_what_is_not_installed(lacking: str, words: tuple[str, ...], remedy: str) -> None:
    code = (
        "import sys\n"
        "finders = sys.meta_path[:]\n"
        "class Hiding:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {lacking!r}:\n"
        "            return None\n"
        "        found = (finder.find_spec(name, path, target) for finder in finders)\n"
        "        return next(filter(None, found), None)\n"
        "sys.meta_path[:] = [Hiding]\n"
        "from sandlot.cli import main\n"
        "main()\n"
    )
    done = run(sys.executable, "-c", code, *words)
    assert done.returncode == 1
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_templates_are_listed() -> None:
    done = run(COMMAND, "templates", "list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"base-python", "code-runner-beta", "minimal", "python-jupyter"} == set(names)


def test_templates_that_are_installed_already() -> None:
    done = run(COMMAND, "templates", "install", "python-jupyter", "--quiet")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nonsense",), "There is no template 'nonsense' to install; there are: python-jupyter."),
        (("python-jupyter", "--dir", "/dev/null"), "/dev/null cannot be used: Not a directory"),
    ],
    ids=["name", "directory"],
)
def test_templates_that_cannot_be_installed(words: tuple[str, ...], reason: str) -> None:
    done = run(COMMAND, "templates", "install", *words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sandlot: {reason}")
    assert "Traceback" not in done.stderr
