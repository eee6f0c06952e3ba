"""What a kernel is told before it runs anything, in its own language."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib import resources

from .._inside.boot import NAME
from ..errors import InvalidArgumentError

_MODULES = (
    "arrow",
    "charts",
    "display",
    "exchange",
    "frames",
    "plain",
    "shapes",
    "tables",
    "variables",
)
_SHELLS = {"bash", "sh", "zsh"}
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def prepare(language: str, cwd: str | None, env: Mapping[str, str]) -> str:
    """Return code that gives a kernel its environment; for Python also what shows tables as data.

    It leaves no names behind, and may be run again. Empty if there is nothing to tell.

    Raises:
        InvalidArgumentError: The language has no way to say it.
    """
    if language == "python":
        return _python(cwd, env)
    if not env and cwd is None:
        return ""
    if language in _SHELLS:
        return _shell(cwd, env)
    raise InvalidArgumentError(
        f"env and cwd of a context are for Python and shells; say them in the {language} code"
    )


def _python(cwd: str | None, env: Mapping[str, str]) -> str:
    lines = [_installation()]
    if env:
        lines.append(f"__import__('os').environ.update({dict(env)!a})")
    if cwd is not None:
        lines.append(f"__import__('os').chdir({cwd!a})")
    return "\n".join(lines)


def _shell(cwd: str | None, env: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name, value in env.items():
        if not _SHELL_NAME.fullmatch(name):
            raise InvalidArgumentError(f"env: a shell knows no variable of the name {name!r}")
        lines.append(f"export {name}={shlex.quote(value)}")
    if cwd is not None:
        lines.append(f"cd -- {shlex.quote(cwd)}")
    return "\n".join(lines)


@cache
def _installation() -> str:
    inside = resources.files("sandlot._inside")
    sources = {name: inside.joinpath(f"{name}.py").read_text("utf-8") for name in _MODULES}
    boot = inside.joinpath("boot.py").read_text("utf-8")
    version = hashlib.sha256(repr((boot, sources)).encode()).hexdigest()[:16]
    start = f"{boot}\n\ninstall(sources, version)\n"
    given = {"__name__": NAME, "sources": sources, "version": version}
    return f"exec({start!a}, {given!a})"
