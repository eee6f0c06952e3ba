"""Recipes of templates, read strictly: a mistake is named by line and column.

    RUN [--timeout=30s] command     run a shell line
    START command                   run a program for as long as the sandbox, here and later
    ENV NAME=value                  set a variable, from here on and later
    WORKDIR path                    make a directory and go there, from here on and later
    USER name                       be this user, from here on and later
    COPY [--chmod=755] from… to     copy files of the archive

Each entry of a recipe is one instruction, in its own line; a command may have more lines. Entries
that are empty or begin with `#` are passed over. Keywords may be written in small letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import InvalidRequestError
from .words import Word, mistake, split

__all__ = [
    "Copy",
    "Env",
    "Healthcheck",
    "Instruction",
    "Run",
    "StartProgram",
    "User",
    "Workdir",
    "parse_healthcheck",
    "parse_recipe",
]

_MOST_LINES = 1000
_LONGEST_LINE = 64 << 10
_MOST_CHARACTERS = 256 << 10
_KEYWORD = re.compile(r"\s*([^\s]+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODE = re.compile(r"[0-7]{3,4}")
_OPTION = re.compile(r"--([a-z-]+)=(\S*)")
_DURATION = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 24 * 3600.0
_HINTS = {
    "FROM": "; give base_template beside the recipe",
    "HEALTHCHECK": "; give healthcheck beside the recipe",
    "CMD": "; write START",
    "ENTRYPOINT": "; write START",
    "ADD": "; write COPY",
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """What all have in common.

    Attributes:
        line: Its line, counted from 1.
        text: How it was written.
    """

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """Run a shell line."""

    command: str
    timeout: float | None


@dataclass(frozen=True, slots=True)
class StartProgram(Instruction):
    """Run a program for as long as the sandbox."""

    command: str


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """Set a variable."""

    name: str
    value: Word


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    """Make a directory and go there."""

    path: Word


@dataclass(frozen=True, slots=True)
class User(Instruction):
    """Be a user."""

    name: Word


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """Copy files of the archive.

    Attributes:
        mode: What they may be used for by whom; as in the archive if None.
    """

    sources: Sequence[Word]
    target: Word
    mode: int | None


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """A shell line that says by its exit code whether the programs are ready; times in seconds.

    Attributes:
        start_period: How long failures do not count.
        retries: How many failures there may be after that; any number if 0.
    """

    command: str
    interval: float = 3.0
    timeout: float = 10.0
    start_period: float = 0.0
    retries: int = 0


def parse_recipe(lines: Sequence[str]) -> Sequence[Instruction]:
    """Return the instructions of a recipe.

    Raises:
        InvalidRequestError: There is a mistake in it, whose place is named.
    """
    if len(lines) > _MOST_LINES:
        raise InvalidRequestError(f"recipe: has more than {_MOST_LINES} lines.")
    if sum(map(len, lines)) > _MOST_CHARACTERS:
        raise InvalidRequestError(f"recipe: has more than {_MOST_CHARACTERS} characters.")
    found: list[Instruction] = []
    for line, text in enumerate(lines, 1):
        if len(text) > _LONGEST_LINE:
            raise mistake(line, _LONGEST_LINE, "the line is too long")
        if (column := text.find("\0")) >= 0:
            raise mistake(line, column + 1, "there is a NUL character")
        if text.strip() and not text.lstrip().startswith("#"):
            found.append(_instruction(line, text.rstrip()))
    if not found:
        raise InvalidRequestError("recipe: has no instruction.")
    return found


def parse_healthcheck(text: str) -> Healthcheck:
    """Return a healthcheck: a shell line, with options before it (`--retries=3`) if need be.

    Raises:
        InvalidRequestError: There is a mistake in it.
    """
    if len(text) > _LONGEST_LINE or "\0" in text:
        raise InvalidRequestError("healthcheck: is too long, or has a NUL character.")

    def wrong(column: int, problem: str) -> InvalidRequestError:
        return InvalidRequestError(f"healthcheck: column {column}: {problem}.")

    options, command, column = _options(text, 0, wrong)
    if not command:
        raise wrong(column, "the command is missing")
    usual = Healthcheck(command)
    times = {"interval": usual.interval, "timeout": usual.timeout, "start-period": 0.0}
    retries = 0
    for name, value, at in options:
        if name == "retries":
            if not (value.isascii() and value.isdecimal() and len(value) < 7):
                raise wrong(at, "retries must be a whole number")
            retries = int(value)
        elif name not in times:
            raise wrong(at, f"there is no option --{name}")
        else:
            seconds = _duration(value)
            if seconds is None or (seconds == 0 and name != "start-period"):
                raise wrong(at, f"{name} must be a time such as 3s")
            times[name] = seconds
    return Healthcheck(command, times["interval"], times["timeout"], times["start-period"], retries)


def _instruction(line: int, text: str) -> Instruction:
    found = _KEYWORD.match(text)
    assert found is not None
    keyword, column = found[1].upper(), found.start(1) + 1
    parser = _PARSERS.get(keyword)
    if parser is None:
        known = ", ".join(_PARSERS)
        hint = _HINTS.get(keyword, "")
        raise mistake(line, column, f"there is no {found[1][:40]!r} among {known}{hint}")
    return parser(line, text, found.end())


def _run(line: int, text: str, start: int) -> Run:
    def wrong(column: int, problem: str) -> InvalidRequestError:
        return mistake(line, column, problem)

    options, command, column = _options(text, start, wrong)
    timeout = None
    for name, value, at in options:
        if name != "timeout":
            raise wrong(at, f"RUN has no option --{name}")
        timeout = _duration(value)
        if not timeout:
            raise wrong(at, "timeout must be a time such as 1m30s")
    if not command:
        raise wrong(column, "RUN needs a command")
    return Run(line, text, command, timeout)


def _start(line: int, text: str, start: int) -> StartProgram:
    command = text[start:].strip()
    if not command:
        raise mistake(line, start + 1, "START needs a command")
    return StartProgram(line, text, command)


def _env(line: int, text: str, start: int) -> Env:
    words = _words(line, text, start, "ENV needs NAME=value")
    pair = words[0].split_at("=")
    if pair is None:
        raise mistake(line, words[0].column, "ENV needs NAME=value")
    name, value = pair
    if not _NAME.fullmatch(name):
        raise mistake(line, words[0].column, f"{name[:40]!r} is no name of a variable")
    if len(words) > 1:
        advice = "quote values that have spaces, and give each variable an ENV of its own"
        raise mistake(line, words[1].column, advice)
    return Env(line, text, name, value)


def _workdir(line: int, text: str, start: int) -> Workdir:
    return Workdir(line, text, _only(line, text, start, "WORKDIR needs a path"))


def _user(line: int, text: str, start: int) -> User:
    return User(line, text, _only(line, text, start, "USER needs a name"))


def _copy(line: int, text: str, start: int) -> Copy:
    words = _words(line, text, start, "COPY needs sources and a target")
    mode = None
    while words and words[0].text.startswith("--"):
        option = _OPTION.fullmatch(words[0].text)
        if option is None or option[1] != "chmod" or not _MODE.fullmatch(option[2]):
            raise mistake(line, words[0].column, "COPY has one option, --chmod=755 or the like")
        mode = int(option[2], 8) & 0o777
        words = words[1:]
    if len(words) < 2:
        column = words[-1].column if words else start + 1
        raise mistake(line, column, "COPY needs sources and a target")
    return Copy(line, text, words[:-1], words[-1], mode)


_PARSERS: dict[str, Callable[[int, str, int], Instruction]] = {
    "RUN": _run,
    "START": _start,
    "ENV": _env,
    "WORKDIR": _workdir,
    "USER": _user,
    "COPY": _copy,
}


def _words(line: int, text: str, start: int, needed: str) -> list[Word]:
    words = split(text, start, line)
    if not words:
        raise mistake(line, start + 1, needed)
    return words


def _only(line: int, text: str, start: int, needed: str) -> Word:
    words = _words(line, text, start, needed)
    if len(words) > 1:
        raise mistake(line, words[1].column, f"{needed}, and nothing else; quote what has spaces")
    return words[0]


def _options(
    text: str, start: int, wrong: Callable[[int, str], InvalidRequestError]
) -> tuple[list[tuple[str, str, int]], str, int]:
    """Return the options before a command, with their columns, the command, and its column."""
    options: list[tuple[str, str, int]] = []
    while True:
        start += len(text) - start - len(text[start:].lstrip())
        if not text.startswith("--", start):
            return options, text[start:].strip(), start + 1
        found = _OPTION.match(text, start)
        if found is None:
            raise wrong(start + 1, "write options as --name=value")
        options.append((found[1], found[2], start + 1))
        start = found.end()


def _duration(text: str) -> float | None:
    """Return the seconds of a time such as `1m30s` (Go's notation), a day at most; None if none."""
    if text == "0":
        return 0.0
    if len(text) > 40 or not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        return None
    seconds = 0.0
    for part in _DURATION.findall(text):
        unit = part.lstrip("0123456789.")
        seconds += float(part.removesuffix(unit)) * _UNITS[unit]
    return seconds if seconds <= _LONGEST else None
