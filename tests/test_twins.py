"""Each asynchronous class is its blocking twin with `await` added.

The asynchrony is taken out of the source of one, and what is left is compared with the other:
order, names, signatures, docstrings and code. The type checkers find the `await` that is missing.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandlot

ROOT = Path(sandlot.__file__).parent
FILES = [
    ROOT / "client.py",
    *ROOT.glob("resources/*.py"),
    # These are where threads and tasks really differ.
    *(path for path in ROOT.glob("sandbox/*.py") if path.name not in ("_turns.py", "_pulse.py")),
]
WORDS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "StopAsyncIteration": "StopIteration",
}
SPEECH = {
    "Tasks may share it, and event loops too.": "Threads may share it.",
    "The server starts when the client is entered or first used.\n": "",
    "only one task at a time": "only one thread at a time",
}
"""What the docstrings may say differently."""
COLOURLESS = {
    "Callbacks",
    "Cell",
    "Collector",
    "Preparation",
    "Seen",
    "Source",
    "Talk",
    "Talker",
}
"""Classes that both colours use."""
PAGED = {"deliveries", "list", "list_teams", "list_users"}
ONLY_AWAITED = {"AsyncCreation", "AsyncPageRequest"}
"""What a plain call returns where the blocking one returns the result."""


class Plain(ast.NodeTransformer):
    """Takes the asynchrony out of a piece of source."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.generic_visit(ast.FunctionDef(**vars(node)))

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        return self.generic_visit(ast.For(**vars(node)))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        return self.generic_visit(ast.With(**vars(node)))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        value: ast.AST = self.visit(node.value)
        return value

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """`to_thread(f, x)` is `f(x)`."""
        _ = self.generic_visit(node)
        if ast.unparse(node.func) == "to_thread":
            return ast.Call(node.args[0], node.args[1:], node.keywords)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "asyncio" else node

    def visit_For(self, node: ast.For) -> ast.AST:
        """A loop that only yields is `yield from`, which coroutines do not have."""
        _ = self.generic_visit(node)
        if len(node.body) == 1 and isinstance(node.body[0], ast.Expr):
            inner = node.body[0].value
            if ast.unparse(inner) == f"(yield {ast.unparse(node.target)})":
                return ast.Expr(ast.YieldFrom(node.iter))
        return node

    def visit_With(self, node: ast.With) -> ast.AST:
        """Nested blocks are one, as blocks of two colours cannot be."""
        _ = self.generic_visit(node)
        if len(node.body) == 1 and isinstance(node.body[0], ast.With):
            return ast.With([*node.items, *node.body[0].items], node.body[0].body, lineno=0)
        return node


def plain(node: ast.AST) -> list[str]:
    """Return source without asynchrony."""
    source = ast.unparse(ast.fix_missing_locations(Plain().visit(node)))
    source = re.sub(r"\b(_?)Async(?=[A-Z])|\b(_?)async_", lambda m: m[1] or m[2] or "", source)
    source = re.sub(rf"\b({'|'.join(WORDS)})\b", lambda match: WORDS[match[0]], source)
    for awaited, blocking in SPEECH.items():
        source = source.replace(awaited, blocking)
    source = source.replace("AsyncIterable[bytes] | Iterable[bytes]", "Iterable[bytes]")
    source = source.replace("Iterable[bytes] | Iterable[bytes]", "Iterable[bytes]")
    source = re.sub(r"Awaitable\[(Page\[\w+\]|None)\]", r"\1", source)
    source = re.sub(r"\n\s*\n", "\n", source)
    return [line.rstrip() for line in source.splitlines()]


def differing(blocking: ast.AST, awaited: ast.AST) -> list[str]:
    """Return the difference of two twins."""
    pair = plain(blocking), plain(awaited)
    return list(difflib.unified_diff(*pair, "blocking", "awaited", lineterm="", n=1))


def definitions(path: Path) -> dict[str, ast.AST]:
    return {
        node.name: node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }


def awaited_name(name: str) -> str | None:
    """Return the name of the twin that something blocking has."""
    if name.startswith(("Async", "async_", "_async_")) or name in COLOURLESS:
        return None
    if name[0].isupper():
        return f"Async{name}"
    return f"_async_{name[1:]}" if name.startswith("_") else f"async_{name}"


def pairs() -> Iterator[object]:
    for path in sorted(FILES):
        found = definitions(path)
        for name in found:
            twin = awaited_name(name)
            if twin is not None and (twin in found or name[0].isupper()):
                place = f"{path.relative_to(ROOT)}:{name}"
                yield pytest.param(found[name], found.get(twin), id=place)


@pytest.mark.parametrize(("blocking", "awaited"), list(pairs()))
def test_twins(blocking: ast.AST, awaited: ast.AST | None) -> None:
    assert awaited is not None, "it has no twin"
    difference = differing(*(known(node) for node in (blocking, awaited)))
    assert not difference, "\n" + "\n".join(difference)


def test_nothing_is_awaited_only() -> None:
    for path in FILES:
        found = definitions(path)
        for name in found:
            if name.startswith("Async") and name not in ONLY_AWAITED:
                assert name.removeprefix("Async") in found, f"{path}: {name}"


def known(node: ast.AST) -> ast.AST:
    """Return a copy without what is known to differ, having checked that it differs as it should.

    Where a call needs no waiting itself, the asynchronous client returns something to wait for.
    """
    copy = ast.parse(ast.unparse(node)).body[0]
    if isinstance(copy, ast.ClassDef):
        for method in copy.body:
            if isinstance(method, ast.FunctionDef):
                _soften(copy.name, method)
    return copy


def _soften(owner: str, method: ast.FunctionDef) -> None:
    returns = ast.unparse(method.returns) if method.returns else ""
    last = method.body[-1]
    match owner, method.name:
        case "AsyncSandboxes", "create" | "_created":
            assert returns == "AsyncCreation"
            method.returns = ast.Name("AsyncSandbox")
            if method.name == "_created":
                assert ast.unparse(last) == "return AsyncCreation(self._transport, creation)"
                call = "created(self._transport, self._run(creation))"
                method.body[-1] = ast.Return(ast.parse(call, mode="eval").body)
        case _, name if name in PAGED and returns.startswith("AsyncPageRequest["):
            method.returns = ast.Name(returns.replace("AsyncPageRequest", "AsyncPage", 1))
            found = re.fullmatch(
                r"return AsyncPageRequest\(lambda: (fetch\(\w+\))\)", ast.unparse(last)
            )
            assert found
            method.body[-1] = ast.parse(found[1]).body[0]
        case _, name if name in PAGED and returns.startswith("Page["):
            found = re.fullmatch(r"return (fetch\(\w+\))", ast.unparse(last))
            assert found
            method.body[-1] = ast.parse(found[1]).body[0]
        case "Client", "local":
            assert "transport.begin()" in ast.unparse(method)
            method.body = method.body[:1]
        case "AsyncClient", "local":
            assert "begin()" not in ast.unparse(method)
            method.body = method.body[:1]
        case _:
            pass
