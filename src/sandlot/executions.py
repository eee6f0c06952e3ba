"""What code did in a kernel."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from . import _terminal
from .charts import CHART, Chart
from .errors import CodeFailedError, CodeTimeoutError, InvalidArgumentError
from .tables import TABLE, Table

__all__ = ["CodeError", "CodeOutput", "CodeText", "Execution", "Result", "Variable"]


@dataclass(frozen=True, slots=True, repr=False)
class CodeText:
    """Text that code printed, up to where it printed or showed something else."""

    stream: Literal["stdout", "stderr"]
    """Where to."""
    text: str
    """What, with the control characters of terminals that are in it."""

    def __repr__(self) -> str:
        return f"CodeText({self.stream!r}, {_short(self.text)})"


@dataclass(frozen=True, slots=True, repr=False)
class CodeError:
    """What code raised."""

    name: str
    """Class of the exception, such as `ZeroDivisionError`."""
    value: str
    """What it says."""
    traceback_ansi: str = ""
    """Where it was raised, and after which others, in the colours of a terminal."""

    @property
    def traceback(self) -> str:
        """Where it was raised, without colours."""
        return _terminal.strip(self.traceback_ansi)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}" if self.value else self.name

    def __repr__(self) -> str:
        return f"CodeError({self.name!r}, {_short(self.value)})"


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """Something that code showed: the value of its last line, a picture, a table.

    It comes in several forms, a MIME bundle; the properties give those that are there and of the
    right type, else None. All of them were made by the sandbox: show its HTML, SVG or Markdown only
    where it can do no harm, as notebooks do with the result itself (in a frame without scripts).
    """

    data: Mapping[str, Any]
    """Its forms by MIME type, as the kernel sent them: binary ones in Base64."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the kernel said about them."""
    is_main: bool = False
    """It is the value of the code, not something shown on the way."""
    display_id: str | None = None
    """Under this name later code can change it."""

    @property
    def text(self) -> str | None:
        """Plain text: its `repr`, as a rule."""
        return self._text("text/plain")

    @property
    def html(self) -> str | None:
        """HTML."""
        return self._text("text/html")

    @property
    def markdown(self) -> str | None:
        """Markdown."""
        return self._text("text/markdown")

    @property
    def svg(self) -> str | None:
        """Picture as SVG."""
        return self._text("image/svg+xml")

    @property
    def latex(self) -> str | None:
        """LaTeX."""
        return self._text("text/latex")

    @property
    def javascript(self) -> str | None:
        """JavaScript."""
        return self._text("application/javascript")

    @property
    def png(self) -> bytes | None:
        """Picture as PNG."""
        return self._bytes("image/png")

    @property
    def jpeg(self) -> bytes | None:
        """Picture as JPEG."""
        return self._bytes("image/jpeg")

    @property
    def pdf(self) -> bytes | None:
        """Document as PDF."""
        return self._bytes("application/pdf")

    @property
    def json(self) -> Any:
        """JSON, parsed."""
        return self.data.get("application/json")

    @property
    def table(self) -> Table | None:
        """DataFrame or Series, as data."""
        return Table.parse(self.data.get(TABLE))

    @property
    def chart(self) -> Chart | None:
        """Matplotlib figure, as data; of several subplots the first."""
        charts = self.charts
        return charts[0] if charts else None

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Subplots of a matplotlib figure, as data."""
        return Chart.parse(self.data.get(CHART))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the form that the suffix of the path names into a file on this machine.

        Args:
            path: It ends with `.png`, `.jpg`, `.jpeg`, `.svg`, `.pdf`, `.html`, `.md`, `.tex`,
                `.js`, `.json` or `.txt`.

        Raises:
            InvalidArgumentError: It ends with something else, or there is no such form.
        """
        target = Path(path)
        mime = _SUFFIXES.get(target.suffix.lower())
        if mime is None:
            raise InvalidArgumentError(
                f"save knows no {target.suffix or 'file without a suffix'};"
                f" it knows {', '.join(_SUFFIXES)}"
            )
        content = self._content(mime)
        if content is None:
            there = ", ".join(map(str, self.data)) or "nothing"
            raise InvalidArgumentError(f"This result has no {mime}; it has {there}")
        _ = target.write_bytes(content)
        return target

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from . import _rendering

        own = {mime: self._text(mime) for mime in ("image/png", "image/jpeg")}
        shown = {mime: text for mime, text in own.items() if text is not None}
        return {
            "text/plain": self.text if self.text is not None else repr(self),
            **(shown or {"text/html": _rendering.result_html(self)}),
        }

    def _content(self, mime: str) -> bytes | None:
        if mime == "application/json":
            return json.dumps(self.json).encode() if mime in self.data else None
        if mime in _BINARY:
            return self._bytes(mime)
        text = self._text(mime)
        return None if text is None else text.encode(errors="surrogatepass")

    def _text(self, mime: str) -> str | None:
        value = self.data.get(mime)
        return value if isinstance(value, str) else None

    def _bytes(self, mime: str) -> bytes | None:
        text = self._text(mime)
        if text is None:
            return None
        try:
            # Kernels break the lines of it (RFC 2045), some also leave a line end at the end.
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            return None

    def __repr__(self) -> str:
        main = "main, " if self.is_main else ""
        shown = "" if self.text is None else f", text={_short(self.text)}"
        return f"Result({main}{', '.join(map(str, self.data))}{shown})"


CodeOutput: TypeAlias = CodeText | Result | CodeError
"""What code leaves behind, in the order of its coming."""


@dataclass(frozen=True, slots=True, repr=False)
class Execution:
    """What code did.

    Shown in a notebook, it shows what a cell with that code would have shown, except that the
    sandbox's HTML cannot run scripts there.
    """

    outputs: tuple[CodeOutput, ...] = ()
    """Printed text, results and the error, in the order they came, as a notebook shows them at the
    end: what the code cleared is gone, what it updated is as it was last."""
    error: CodeError | None = None
    """What it raised."""
    execution_count: int | None = None
    """Number of the cell in its kernel."""
    updates: tuple[Result, ...] = ()
    """Results of earlier code that this code changed, as they are now."""
    late_output: tuple[CodeOutput, ...] = ()
    """What earlier code did after its end, in threads for example."""
    duration_ms: int = 0
    """How long it took, waiting included."""
    timed_out: bool = False
    """It was interrupted after its time limit."""
    interrupted: bool = False
    """It was interrupted."""
    truncated: bool = False
    """Output beyond the limit was discarded."""
    incomplete: bool = False
    """The connection was lost meanwhile, and what was said in that moment may be missing."""
    state_lost: bool = False
    """Its kernel had to be restarted to end it: what the context knew is lost."""
    fresh_kernel: bool = False
    """It met a kernel without the state that earlier code had left, as that had died or was
    restarted."""

    @property
    def stdout(self) -> str:
        """All that was printed to standard output."""
        return self._printed("stdout")

    @property
    def stderr(self) -> str:
        """All that was printed to standard error."""
        return self._printed("stderr")

    @property
    def results(self) -> tuple[Result, ...]:
        """What it showed, its value included."""
        return tuple(output for output in self.outputs if isinstance(output, Result))

    @property
    def result(self) -> Result | None:
        """Its value: what its last line showed."""
        mains = [result for result in self.results if result.is_main]
        return mains[-1] if mains else None

    @property
    def text(self) -> str | None:
        """Its value as text; None if it has none."""
        return None if self.result is None else self.result.text

    @property
    def data(self) -> Mapping[str, Any]:
        """Its value in all forms, by MIME type; empty if it has none."""
        return {} if self.result is None else self.result.data

    @property
    def ok(self) -> bool:
        """It ran to its end, in time, and raised nothing."""
        return self.error is None and not self.timed_out and not self.interrupted

    def check(self) -> Execution:
        """Return the execution itself if the code did well.

        Raises:
            CodeTimeoutError: It was interrupted after its time limit.
            CodeFailedError: It raised, or it was interrupted.
        """
        if self.timed_out:
            state = "is lost, as its kernel had to be restarted" if self.state_lost else "is kept"
            raise CodeTimeoutError(
                f"The code was interrupted after its time limit, {self.duration_ms / 1000:g} s"
                f" after its start; the state of its context {state}, its output so far is in"
                " .execution. Give it more with timeout",
                execution=self,
            )
        if self.error is not None:
            raise CodeFailedError(f"The code raised {_line(str(self.error))}", execution=self)
        if self.interrupted:
            raise CodeFailedError("The code was interrupted", execution=self)
        return self

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self._as_text(), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        from . import _rendering

        return _rendering.execution_html(self)

    def _as_text(self) -> str:
        from . import _rendering

        return _rendering.execution_text(self)

    def _printed(self, stream: str) -> str:
        texts = (output for output in self.outputs if isinstance(output, CodeText))
        return "".join(piece.text for piece in texts if piece.stream == stream)

    def __repr__(self) -> str:
        parts = [] if self.execution_count is None else [str(self.execution_count)]
        parts += [name for name in _FLAGS if getattr(self, name)]
        if self.error is not None:
            parts.append(f"error={_short(str(self.error))}")
        for name in ("text", "stdout", "stderr"):
            if shown := getattr(self, name):
                parts.append(f"{name}={_short(shown)}")
        if others := [result for result in self.results if not (self.text and result.is_main)]:
            parts.append(f"results={others!r:.120}")
        return f"Execution({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that code left in its context."""

    name: str
    """Its name."""
    type: str
    """Class of its value, such as `int` or `pandas.DataFrame`."""
    shape: tuple[int, ...] | None
    """How many things are in it, in each dimension; None if that is not known."""
    text: str
    """The beginning of it, or its type where more could have run code."""


_FLAGS = ("timed_out", "interrupted", "truncated", "incomplete", "state_lost", "fresh_kernel")
_BINARY = {"image/png", "image/jpeg", "application/pdf"}
_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".md": "text/markdown",
    ".tex": "text/latex",
    ".js": "application/javascript",
    ".json": "application/json",
    ".txt": "text/plain",
}


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}... ({len(text)} characters)"


def _line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else "something"
