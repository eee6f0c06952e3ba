"""What a terminal would show of a text, as HTML: colours, and lines that were written over."""

from __future__ import annotations

import html
import re
from itertools import groupby

MAX_CHARACTERS = 200_000
"""Of one text; the middle of a longer one is left out."""

_COLOURS = (
    *("black", "firebrick", "green", "darkgoldenrod"),
    *("royalblue", "darkorchid", "darkcyan", "silver"),
    *("dimgray", "red", "limegreen", "goldenrod"),
    *("dodgerblue", "orchid", "mediumturquoise", "white"),
)
# ECMA-48: control sequences, operating system commands with their end, two-byte escapes.
_ESCAPE = re.compile(
    r"\x1b(?:\[(?P<numbers>[0-?]*)[ -/]*(?P<letter>[@-~])"
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[ -/]*[0-~])"
)
_SPECIAL = re.compile(r"[\r\b\n\x1b]")
_MAX_WIDTH = 10_000
"""Columns and rows by which the cursor can be moved at most."""


def strip(text: str) -> str:
    """Return a text without escape sequences."""
    return _ESCAPE.sub("", text)


def to_html(text: str) -> str:
    """Return the HTML of a text; nothing in it can be more than text."""
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        left_out = f"\n... {len(text) - 2 * half} characters ...\n"
        text = text[:half] + left_out + text[-half:]
    if not _SPECIAL.search(text.replace("\n", "")):
        return html.escape(text)
    return _Screen().show(text)


class _Screen:
    """Lines of characters with their styles, and a cursor."""

    def __init__(self) -> None:
        self._lines: list[list[tuple[str, str]]] = [[]]
        self._row = 0
        self._column = 0
        self._pen = _Pen()

    def show(self, text: str) -> str:
        place = 0
        while place < len(text):
            special = _SPECIAL.search(text, place)
            end = len(text) if special is None else special.start()
            self._write(text[place:end])
            if special is None:
                break
            place = self._obey(text, end)
        return "\n".join(_line(line) for line in self._lines)

    def _write(self, text: str) -> None:
        line = self._lines[self._row]
        line.extend([(" ", "")] * (self._column - len(line)))
        style = self._pen.style()
        line[self._column : self._column + len(text)] = [(character, style) for character in text]
        self._column += len(text)

    def _obey(self, text: str, place: int) -> int:
        """Do what the control character there says; return where the text goes on."""
        match text[place]:
            case "\n":
                self._move(self._row + 1, 0)
            case "\r":
                self._column = 0
            case "\b":
                self._column = max(0, self._column - 1)
            case _:
                escape = _ESCAPE.match(text, place)
                if escape is None:
                    return place + 1
                self._control(escape["letter"], escape["numbers"] or "")
                return escape.end()
        return place + 1

    def _control(self, letter: str | None, numbers: str) -> None:
        # Of longer numbers the end does not matter, and converting them takes long.
        values = [int(f"0{number[:6]}") for number in re.sub("[^0-9;]", "", numbers).split(";")]
        steps = min(max(values[0], 1), _MAX_WIDTH)
        match letter:
            case "m":
                self._pen.change(values)
            case "A":
                self._move(max(0, self._row - steps), self._column)
            case "B":
                self._move(min(self._row + steps, len(self._lines) - 1), self._column)
            case "C":
                self._column = min(self._column + steps, _MAX_WIDTH)
            case "D":
                self._column = max(0, self._column - steps)
            case "K":
                line = self._lines[self._row]
                if values[0] == 0:
                    del line[self._column :]
                elif values[0] == 2:
                    line.clear()
            case _:
                pass

    def _move(self, row: int, column: int) -> None:
        self._row, self._column = row, column
        if row == len(self._lines):
            self._lines.append([])


class _Pen:
    """How characters look (ECMA-48, 8.3.117, with xterm's colours)."""

    def __init__(self) -> None:
        self._looks: dict[str, str] = {}

    def style(self) -> str:
        return ";".join(f"{name}:{value}" for name, value in sorted(self._looks.items()))

    def change(self, values: list[int]) -> None:
        rest = iter(values)
        for value in rest:
            if value == 0:
                self._looks.clear()
            elif value in _LOOKS:
                name, look = _LOOKS[value]
                self._looks[name] = look
            elif value in _ENDS:
                _ = self._looks.pop(_ENDS[value], None)
            elif value in (38, 48):
                colour = _colour([next(rest, 0) for _ in range(4 if next(rest, 0) == 2 else 1)])
                self._looks["color" if value == 38 else "background"] = colour


def _colour(values: list[int]) -> str:
    if len(values) > 1:
        return f"rgb({','.join(str(min(value, 255)) for value in values[:3])})"
    number = min(values[0], 255)
    if number < 16:
        return _COLOURS[number]
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return f"rgb({grey},{grey},{grey})"
    steps = [(number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6]
    return f"rgb({','.join(str(55 + 40 * step if step else 0) for step in steps)})"


_LOOKS = {
    1: ("font-weight", "bold"),
    2: ("opacity", "0.7"),
    3: ("font-style", "italic"),
    4: ("text-decoration", "underline"),
    **{30 + number: ("color", _COLOURS[number]) for number in range(8)},
    **{40 + number: ("background", _COLOURS[number]) for number in range(8)},
    **{90 + number: ("color", _COLOURS[8 + number]) for number in range(8)},
    **{100 + number: ("background", _COLOURS[8 + number]) for number in range(8)},
}
_ENDS = {
    22: "font-weight",
    23: "font-style",
    24: "text-decoration",
    39: "color",
    49: "background",
}


def _line(line: list[tuple[str, str]]) -> str:
    parts: list[str] = []
    for style, cells in groupby(line, key=lambda cell: cell[1]):
        text = html.escape("".join(character for character, _ in cells))
        parts.append(f'<span style="{style}">{text}</span>' if style else text)
    return "".join(parts)
