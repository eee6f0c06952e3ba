"""What a template brings besides files, as rows keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

__all__ = ["Setup", "Start", "read_setup", "write_setup"]


@dataclass(frozen=True, slots=True)
class Start:
    """A program that runs for as long as the sandbox, with what it is given."""

    command: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What commands of a sandbox begin with, and what runs in it from the beginning.

    Attributes:
        env: Environment variables; those of the sandbox come before them.
        cwd: Directory of commands; that of the sandbox comes before it.
        start: Programs to start, in this order.
        healthcheck: What says that they are ready, as the recipe gave it.
    """

    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    start: Sequence[Start] = ()
    healthcheck: str | None = None


_setup = TypeAdapter(Setup)


def write_setup(setup: Setup | None) -> Mapping[str, object] | None:
    """Return a setup as JSON has it."""
    return None if setup is None else asdict(setup)


def read_setup(value: object) -> Setup | None:
    """Return the setup that JSON stands for."""
    return None if value is None else _setup.validate_python(value)
