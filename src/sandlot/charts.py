"""Charts that code drew, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._inside import plain
from ._json import a_count, a_list, a_text

__all__ = ["Axis", "Chart", "Series"]

CHART = "application/vnd.sandlot.chart+json"
"""MIME type of what `Chart.parse` reads."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart."""

    label: str | None = None
    """What stands beside it."""
    scale: str | None = None
    """`linear`, `log` or another of matplotlib's scales; `datetime` or `category` by what is on
    it."""
    ticks: tuple[str, ...] = ()
    """Labels of its ticks."""


@dataclass(frozen=True, slots=True, repr=False)
class Series:
    """Points that belong together: a line, the bars of one colour, a pie."""

    kind: str
    """`line`, `scatter`, `bar`, `barh`, `pie`, `hist`, `box`, `image` or `other`."""
    label: str | None
    """What the legend calls it."""
    fields: tuple[str, ...]
    """What the values of each point are, such as `("x", "y")`."""
    points: tuple[tuple[Any, ...], ...]
    """The points: plain values, as many each as there are fields."""
    total_points: int
    """How many points the whole has."""

    @property
    def truncated(self) -> bool:
        """The whole has more points than this."""
        return len(self.points) < self.total_points

    def __repr__(self) -> str:
        name = "" if self.label is None else f"{self.label!r}, "
        return f"Series({self.kind!r}, {name}{self.total_points} points)"


@dataclass(frozen=True, slots=True, repr=False)
class Chart:
    """One chart of a matplotlib figure; a figure of several subplots has as many."""

    kind: str
    """Kind of its series; `other` if there are none, or of several kinds."""
    title: str | None
    """What stands above it."""
    x: Axis
    """Its horizontal axis."""
    y: Axis
    """Its vertical axis."""
    legend: tuple[str, ...]
    """What the legend says."""
    series: tuple[Series, ...]
    """What is drawn."""

    @property
    def truncated(self) -> bool:
        """The whole has more points than this."""
        return any(series.truncated for series in self.series)

    def __repr__(self) -> str:
        name = "" if self.title is None else f"{self.title!r}, "
        return f"Chart({self.kind!r}, {name}{len(self.series)} series)"

    @classmethod
    def parse(cls, data: object) -> tuple[Chart, ...]:
        """Read the JSON form of a figure's charts; nothing if it is none."""
        try:
            return _charts(data)
        except (KeyError, TypeError, ValueError):
            return ()


def _charts(data: Any) -> tuple[Chart, ...]:
    return tuple(map(_chart, a_list(data["charts"])))


def _chart(data: Any) -> Chart:
    return Chart(
        a_text(data["kind"]),
        _optional_text(data["title"]),
        _axis(data["x"]),
        _axis(data["y"]),
        tuple(map(a_text, a_list(data["legend"]))),
        tuple(map(_series, a_list(data["series"]))),
    )


def _axis(data: Any) -> Axis:
    return Axis(
        _optional_text(data["label"]),
        _optional_text(data["scale"]),
        tuple(map(a_text, a_list(data["ticks"]))),
    )


def _series(data: Any) -> Series:
    fields = tuple(map(a_text, a_list(data["fields"])))
    points = tuple(tuple(map(plain.decode, a_list(point))) for point in a_list(data["points"]))
    if any(len(point) != len(fields) for point in points):
        raise ValueError("the points of a series have its fields")
    kind, label = a_text(data["kind"]), _optional_text(data["label"])
    return Series(kind, label, fields, points, max(a_count(data["total_points"]), len(points)))


def _optional_text(value: object) -> str | None:
    return None if value is None else a_text(value)
