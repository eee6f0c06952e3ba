"""Each module imports only from the floors below it, and each library is used in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandlot

ROOT = Path(sandlot.__file__).parent
FLOORS = [
    ["models", "_partial", "_wording"],
    ["errors", "_inside", "_json", "_terminal"],
    ["charts", "tables", "webhooks"],
    ["executions", "_rendering"],
    ["code_events"],
    ["events", "results", "_failures"],
    ["_flow"],
    ["_operations"],
    ["_archives", "_protocols", "_multipart"],
    ["_retry", "config"],
    ["_revisions"],
    ["_sockets", "_transport"],
    ["_resource"],
    ["sandbox"],
    ["resources"],
    ["client", "local", "_endpoints"],
    ["__init__"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
HOMES = {"httpx": {"_transport"}, "websockets": {"_sockets"}, "typer": {"cli"}}
"""Libraries, and the only floors that may know of them."""
PURE = {"asyncio", "threading", "time", "socket", "ssl", "select", "subprocess", "httpx"}
"""What those who perform no I/O have no use for."""


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if "server" not in path.parts]


def floor_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Return absolute names of what a module imports, and whether only type checkers do."""
    package = ["sandlot", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text())
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            guarded.update(child for part in node.body for child in ast.walk(part))
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in guarded
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node in guarded


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_floors(path: Path) -> None:
    mine = floor_of(path)
    assert mine in LEVEL, f"{mine} has no floor"
    for name, only_types in imports(path):
        top, _, rest = name.partition(".")
        if top == "sandlot":
            theirs = rest.partition(".")[0]
            # The command line joins the two; it installs what sandboxes are made from.
            assert theirs != "server" or mine == "cli", f"{name}: the library never imports it"
            if theirs in LEVEL and mine != "__init__" and not only_types:
                assert LEVEL[theirs] <= LEVEL[mine], f"{name} is above {mine}"
        elif top in HOMES and not only_types:
            assert mine in HOMES[top], f"{name} has no business in {mine}"
        if mine in {"_flow", "_operations", "_protocols", "_multipart"} and not only_types:
            assert top not in PURE, f"{name}: {mine} performs no I/O"


def test_the_server_imports_nothing_but_the_models() -> None:
    for path in ROOT.glob("server/**/*.py"):
        if "guest" in path.parts:
            continue
        for name, _ in imports(path):
            if name.startswith("sandlot.") and not name.startswith("sandlot.server"):
                assert name.startswith("sandlot.models"), f"{path}: {name}"


def test_modules_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len(path.read_text().splitlines())) > 400 and path.name != "_generated.py"
    }
    assert long == {}
