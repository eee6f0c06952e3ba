r"""The words of an instruction: quotes, escapes and variables, with the columns they stand in.

A word ends at a space. `'…'` keeps everything as it is, `"…"` all but variables and what a
backslash escapes (`\"`, `\\`, `\$`); outside of quotes a backslash escapes any character. `$NAME`
and `${NAME}` stand for a variable, `$$` for a dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import InvalidRequestError

__all__ = ["Word", "mistake", "split"]

_PLAIN = re.compile(r"[^\s'\"\\$\x00-\x1f\x7f]+")
_QUOTED = re.compile(r'[^"\\$]+')
_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word, with its variables still in it.

    Attributes:
        column: Where it begins, counted from 1.
        text: What it was written as.
    """

    column: int
    text: str
    _parts: Sequence[str | _Variable]

    def expand(self, env: Mapping[str, str]) -> str:
        """Return it with the values of its variables; one that is not set is empty."""
        return "".join(
            part if isinstance(part, str) else env.get(part.name, "") for part in self._parts
        )

    def split_at(self, separator: str) -> tuple[str, Word] | None:
        """Return what stands before the first separator, and the rest; None if there is none.

        What stands before must be plain: no quotes, no variables.
        """
        head, found, tail = self.text.partition(separator)
        if not found or not self._parts or not isinstance(self._parts[0], str):
            return None
        if not self._parts[0].startswith(head + separator):
            return None
        first = self._parts[0][len(head) + len(separator) :]
        rest = Word(self.column + len(head) + len(separator), tail, [first, *self._parts[1:]])
        return head, rest


def mistake(line: int, column: int, problem: str) -> InvalidRequestError:
    """Return the error that names a place of the recipe."""
    return InvalidRequestError(f"recipe: line {line}, column {column}: {problem}.")


def split(text: str, start: int, line: int) -> list[Word]:
    """Return the words of an instruction.

    Args:
        text: All of it.
        start: Where its words begin.
        line: Its line, for errors.

    Raises:
        InvalidRequestError: A quote or a brace is not closed, or something else makes no sense.
    """
    return _Splitter(text, start, line).words()


class _Splitter:
    def __init__(self, text: str, start: int, line: int) -> None:
        self._text = text
        self._at = start
        self._line = line

    def words(self) -> list[Word]:
        found: list[Word] = []
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t":
                self._at += 1
            if self._at == len(self._text):
                return found
            begin = self._at
            parts = self._word()
            found.append(Word(begin + 1, self._text[begin : self._at], parts))

    def _word(self) -> list[str | _Variable]:
        parts: list[str | _Variable] = []
        while self._at < len(self._text) and (character := self._text[self._at]) not in " \t":
            match character:
                case "'":
                    _add(parts, self._single())
                case '"':
                    self._double(parts)
                case "\\":
                    _add(parts, self._escaped(None))
                case "$":
                    self._dollar(parts)
                case _:
                    _add(parts, self._plain())
        return parts

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise mistake(self._line, self._at + 1, "this quote is not closed")
        inside = self._text[self._at + 1 : end]
        self._at = end + 1
        return inside

    def _double(self, parts: list[str | _Variable]) -> None:
        begin = self._at
        self._at += 1
        while self._at < len(self._text):
            match self._text[self._at]:
                case '"':
                    self._at += 1
                    return
                case "\\":
                    _add(parts, self._escaped('"\\$'))
                case "$":
                    self._dollar(parts)
                case _:
                    _add(parts, self._run_of(_QUOTED))
        raise mistake(self._line, begin + 1, "this quote is not closed")

    def _escaped(self, special: str | None) -> str:
        """Return what a backslash escapes; with the backslash if it escapes nothing special."""
        if self._at + 1 == len(self._text):
            raise mistake(self._line, self._at + 1, "there is nothing after this backslash")
        character = self._text[self._at + 1]
        self._at += 2
        return character if special is None or character in special else f"\\{character}"

    def _dollar(self, parts: list[str | _Variable]) -> None:
        found = _VARIABLE.match(self._text, self._at)
        if found is not None:
            name = found[1] or found[2]
            if name:
                parts.append(_Variable(name))
            else:
                _add(parts, "$")
            self._at = found.end()
        elif self._text.startswith("${", self._at):
            raise mistake(self._line, self._at + 1, "write ${NAME}; nothing else is known there")
        else:
            _add(parts, self._plain())

    def _plain(self) -> str:
        """Return characters that mean nothing but themselves."""
        if self._text[self._at] == "$":
            self._at += 1
            return "$"
        run = self._run_of(_PLAIN)
        if not run:
            raise mistake(self._line, self._at + 1, "there is a control character")
        return run

    def _run_of(self, characters: re.Pattern[str]) -> str:
        found = characters.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]


def _add(parts: list[str | _Variable], text: str) -> None:
    """Add a text, as one part with the text before it."""
    if parts and isinstance(last := parts[-1], str):
        parts[-1] = last + text
    else:
        parts.append(text)
