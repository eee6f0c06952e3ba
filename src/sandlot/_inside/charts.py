"""What a matplotlib figure shows, as data.

matplotlib remembers what is drawn, not what was asked for: bars are rectangles, boxes are lines.
What they were is told by their geometry; what cannot be told is left out, as there is the picture.
"""

from __future__ import annotations

import sys
from typing import Any

from . import plain, shapes

MAX_CHARTS = 50
MAX_SERIES = 100
MAX_POINTS = 10_000
"""Of one series."""
MAX_ALL_POINTS = 50_000
"""Of a figure."""
MAX_TICKS = 100
_MAX_TEXT = 1_000


def shown(figure: Any) -> dict[str, Any]:
    """Return the JSON form of a figure: a chart for each of its axes."""
    budget = _Budget(MAX_ALL_POINTS)
    parts = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    charts = [_chart(axes, budget) for axes in parts[:MAX_CHARTS]]
    above = getattr(figure, "_suptitle", None)
    if len(charts) == 1 and charts[0]["title"] is None and above is not None:
        charts[0]["title"] = _text(above.get_text())
    return {"charts": charts}


class _Budget:
    """How many points a figure may still have."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, points: list[Any]) -> list[Any]:
        taken = points[: min(MAX_POINTS, self._left)]
        self._left -= len(taken)
        return taken


def _chart(axes: Any, budget: _Budget) -> dict[str, Any]:
    x, y = _Scale(axes.xaxis), _Scale(axes.yaxis)
    series: list[dict[str, Any]] = []
    if not hasattr(axes, "get_zlim"):  # of three dimensions only the projection is known
        for kind, label, fields, points in shapes.found(axes, x.value, y.value):
            if len(series) == MAX_SERIES:
                break
            kept = [[_plain(value) for value in point] for point in budget.take(points)]
            series.append(
                {
                    "kind": kind,
                    "label": _label(label),
                    "fields": fields,
                    "points": kept,
                    "total_points": len(points),
                }
            )
    kinds = {item["kind"] for item in series}
    legend = axes.get_legend()
    return {
        "kind": kinds.pop() if len(kinds) == 1 else "other",
        "title": _title(axes),
        "x": x.form(axes.get_xlabel(), axes.get_xscale()),
        "y": y.form(axes.get_ylabel(), axes.get_yscale()),
        "legend": [] if legend is None else [_text(item.get_text()) for item in legend.get_texts()],
        "series": series,
    }


class _Scale:
    """What the numbers on an axis mean: dates, categories, or themselves."""

    def __init__(self, axis: Any) -> None:
        get = getattr(axis, "get_converter", None)
        converter = get() if get is not None else axis.converter
        self._kind = type(converter).__name__
        self._ticks = _ticks(axis)
        units = getattr(axis.units, "_mapping", None)
        self._names = {number: name for name, number in units.items()} if units else {}
        if not self._names and _has_chosen_ticks(axis):
            self._names = dict(self._ticks)

    def form(self, label: str, scale: str) -> dict[str, Any]:
        if "Date" in self._kind:
            scale = "datetime"
        elif self._kind == "StrCategoryConverter":
            scale = "category"
        ticks = [_text(name) for _, name in self._ticks[:MAX_TICKS] if name]
        return {"label": _text(label) or None, "scale": scale, "ticks": ticks}

    def value(self, number: Any) -> Any:
        """Return what a place on the axis stands for; what is no number stands for itself."""
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            return number
        if self._names:
            nearest = min(self._names, key=lambda place: abs(place - number))
            # Groups of bars stand beside the tick that names them.
            return self._names[nearest] if abs(nearest - number) < 0.5 else number
        if "Date" in self._kind:
            return sys.modules["matplotlib.dates"].num2date(number).replace(tzinfo=None)
        return number


def _has_chosen_ticks(axis: Any) -> bool:
    """Say if somebody has chosen both where ticks are and what stands at them."""
    place, text = axis.get_major_locator(), axis.get_major_formatter()
    chosen = ("FixedFormatter", "FuncFormatter")
    return type(place).__name__ == "FixedLocator" and type(text).__name__ in chosen


def _ticks(axis: Any) -> list[tuple[float, str]]:
    low, high = sorted(axis.get_view_interval())
    margin = (high - low) * 1e-6
    places, labels = axis.get_majorticklocs(), axis.get_majorticklabels()
    return [
        (float(place), label.get_text())
        for place, label in zip(places, labels)  # noqa: B905
        if low - margin <= place <= high + margin
    ]


def _title(axes: Any) -> str | None:
    for place in ("center", "left", "right"):
        title = axes.get_title(loc=place)
        if title:
            return _text(title)
    return None


def _label(label: Any) -> str | None:
    # matplotlib's own names, which no legend shows, begin with an underscore.
    text = "" if label is None else str(label)
    return _text(text) if text and not text.startswith("_") else None


def _text(text: Any) -> str:
    return str(text)[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if plain.kind(value) is list:
        return [_plain(item) for item in value]
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if value is None or type(value).__name__ == "MaskedConstant":
        return None
    try:
        return plain.encode(value)
    except plain.PlainError:
        return _text(value)
