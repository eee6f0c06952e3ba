"""Shows tables and charts as data, beside what they are shown as anyway.

IPython asks a formatter for each MIME type. Types are registered by name, so that no library is
imported before user code imports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

TABLE = "application/vnd.sandlot.table+json"
CHART = "application/vnd.sandlot.chart+json"

_TABLES = (
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
    ("pandas", "DataFrame"),  # since pandas 3 it says that it lives there
    ("pandas", "Series"),
    ("polars.dataframe.frame", "DataFrame"),
    ("polars.series.series", "Series"),
)
# Of `Figure` itself all formatters are taken away when its pictures are set up.
_CHARTS = (("matplotlib.figure", "FigureBase"),)


def register() -> None:
    """Take part in what this kernel shows."""
    # Figures of plotly become JSON and a page that loads plotly itself, and open no browser.
    _ = os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype+colab")
    shell = current_shell()
    if shell is None:
        return
    try:
        _add(shell, TABLE, _TABLES, _table)
        _add(shell, CHART, _CHARTS, _charts)
    except Exception:  # an IPython unlike all that are known: it shows what it always did
        shell.log.debug("tables and charts are not shown as data", exc_info=True)


def current_shell() -> Any:
    """Return IPython's shell; None if this is no such kernel."""
    core = sys.modules.get("IPython.core.getipython")
    return None if core is None else core.get_ipython()


def _add(
    shell: Any, mime: str, types: tuple[tuple[str, str], ...], form: Callable[[object], Any]
) -> None:
    formatters = shell.display_formatter.formatters
    formatter = type(formatters["application/json"])(parent=shell.display_formatter)
    formatter.format_type = mime
    formatter.print_method = "_sandlot_form_"  # that no class has
    for module, name in types:
        formatter.for_type_by_name(module, name, _harmless(form))
    formatters[mime] = formatter


def _harmless(form: Callable[[object], Any]) -> Callable[[object], Any]:
    """Return a function that gives nothing where the other raises: the normal form is enough."""

    def harmless(shown: object) -> Any:
        try:
            return form(shown)
        except Exception:
            return None

    return harmless


def _table(shown: object) -> Any:
    from . import tables

    return tables.shown(shown)


def _charts(shown: object) -> Any:
    from . import charts

    return charts.shown(shown)
