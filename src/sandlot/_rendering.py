"""What notebooks show of an execution.

Whatever comes out of a sandbox is shown, never run: text is escaped, pictures are images, and HTML
is put in a frame of an origin of its own, without scripts. Only a figure of plotly, which is drawn
by scripts, may run some there; they cannot reach the notebook.
"""

from __future__ import annotations

import base64
import html

from . import _terminal
from .executions import CodeError, CodeOutput, CodeText, Execution, Result

PLOTLY = "application/vnd.plotly.v1+json"

_QUIET = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'"
_LOUD = f"{_QUIET}; script-src 'unsafe-inline' https://cdn.plot.ly; worker-src blob:"
_ROW = 26  # pixels of a row of a table
_PRE = "margin:0;padding:2px 0;white-space:pre-wrap;overflow-wrap:anywhere"
_MISSED = (
    '<div style="opacity:0.7">(the connection was lost meanwhile; output may be missing)</div>'
)
_LOST = '<div style="opacity:0.7">(output beyond the limit was discarded)</div>'


def execution_html(execution: Execution) -> str:
    """Return what a notebook shows of an execution."""
    parts = list(map(_output_html, execution.outputs))
    if execution.truncated:
        parts.append(_LOST)
    if execution.incomplete:
        parts.append(_MISSED)
    return f"<div>{''.join(parts)}</div>"


def execution_text(execution: Execution) -> str:
    """Return what a terminal shows of an execution."""
    parts = list(map(_output_text, execution.outputs))
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts)[:-1]


def result_html(result: Result) -> str:
    """Return what a notebook shows of a result: the richest form that is safe to show."""
    if result.png is not None:
        return _image("image/png", result.png)
    if result.jpeg is not None:
        return _image("image/jpeg", result.jpeg)
    if result.svg is not None:  # in an image its scripts do not run
        return _image("image/svg+xml", result.svg.encode(errors="replace"))
    if result.html is not None:
        return _frame(result.html, runs_scripts=PLOTLY in result.data)
    for text in (result.markdown, result.latex, result.text):
        if text is not None:
            return _pre(text)
    return _pre(repr(result))


def _output_html(output: CodeOutput) -> str:
    match output:
        case CodeText(stream="stderr"):
            return _pre(output.text, "background:rgba(255,80,80,0.12)")
        case CodeText():
            return _pre(output.text)
        case CodeError():
            return _pre(output.traceback_ansi or str(output))
        case Result():
            return result_html(output)


def _output_text(output: CodeOutput) -> str:
    match output:
        case CodeText():
            return output.text
        case CodeError():
            return output.traceback_ansi or str(output)
        case Result():
            return output.text if output.text is not None else repr(output)


def _pre(text: str, style: str = "") -> str:
    return f'<pre style="{_PRE};{style}">{_terminal.to_html(text)}</pre>'


def _image(mime: str, data: bytes) -> str:
    return (
        f'<img style="max-width:100%" src="data:{mime};base64,{base64.b64encode(data).decode()}">'
    )


def _frame(page: str, *, runs_scripts: bool) -> str:
    policy = _LOUD if runs_scripts else _QUIET
    guarded = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<style>body{{font:13px sans-serif;margin:4px}}</style>{page}"
    )
    rows = max(page.count("<tr"), page.count("<li"), page.count("<p"), 1)
    height = 480 if runs_scripts else min(_ROW * rows + 60, 480)
    return (
        f'<iframe sandbox="{"allow-scripts" if runs_scripts else ""}"'
        f' srcdoc="{html.escape(guarded)}" referrerpolicy="no-referrer"'
        f' style="width:100%;height:{height}px;border:0;background:white;resize:vertical"></iframe>'
    )
