"""Templates: which of the host's programs a sandbox has, and what runs in it from the beginning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .environments import find_environment, hold
from .interpreter import Interpreter, find_interpreter, local_is_hidden
from .recipes import ENVIRONMENT, RECIPES, Service

__all__ = ["Template", "Templates", "find_templates"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT_PATH = f"{ENVIRONMENT}/bin:/home/user/.local/bin"
_LINKS_DIRECTORY = "/opt/bin"


@dataclass(frozen=True, slots=True)
class Template:
    """What sandboxes made from it see of the host.

    Attributes:
        hide_local: Whether /usr/local is empty inside.
        python: Directory of an interpreter to show as /opt/python.
        links: Programs of /opt/bin, which comes last on the search path, and what they are.
        environment: Directory to show as /opt/jupyter, which comes first on the search path.
        service: What runs in each sandbox from the beginning.
    """

    hide_local: bool
    python: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Path | None = None
    service: Service | None = None

    @property
    def search_path(self) -> str:
        """`PATH` inside."""
        path = f"{_PATH}:{_LINKS_DIRECTORY}" if self.links else _PATH
        return path if self.environment is None else f"{_ENVIRONMENT_PATH}:{path}"


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of an engine, by all their names.

    Attributes:
        present: Those that sandboxes can be made from.
        missing: The others, and what is to be done to have them.
        held: Descriptors that keep what they consist of from being removed.
    """

    present: Mapping[str, Template]
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    held: list[int] = field(default_factory=list[int])

    def canonical(self, name: str) -> str:
        """Return the first name of a template that is present."""
        template = self.present[name]
        return next(first for first, each in self.present.items() if each is template)

    def release(self) -> None:
        """Let go of what they consist of; may be repeated."""
        while self.held:
            os.close(self.held.pop())


def find_templates(place: Path | None = None) -> Templates:
    """Return the templates that can be provided on this machine.

    Args:
        place: Directory of installed templates to search before the usual ones.
    """
    present = {"minimal": Template(local_is_hidden())}
    missing: dict[str, str] = {}
    held: list[int] = []
    interpreter = find_interpreter()
    if interpreter is None:
        return Templates(present)
    base = present["base-python"] = _base(interpreter)
    for recipe in RECIPES:
        path = find_environment(recipe, interpreter, place)
        lock = None if path is None else hold(path)
        if lock is None:
            advice = f"Install it with: sandlot templates install {recipe.name}"
            missing.update(dict.fromkeys(recipe.names, advice))
        else:
            held.append(lock)
            template = replace(base, environment=path, service=recipe.service)
            present.update(dict.fromkeys(recipe.names, template))
    return Templates(present, missing, held)


def _base(interpreter: Interpreter) -> Template:
    links = {"python": interpreter.inside, "python3": interpreter.inside}
    return Template(interpreter.hide_local, interpreter.prefix, links)
