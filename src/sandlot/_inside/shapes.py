"""What is drawn on matplotlib's axes, told by its geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

Found: TypeAlias = "tuple[str, Any, list[str], list[Any]]"
"""Kind of a series, its label, its fields and its points."""


def found(axes: Any, x: Callable[[Any], Any], y: Callable[[Any], Any]) -> Iterator[Found]:
    """Return what is drawn; `x` and `y` say what a place on their axis stands for."""
    boxes = _boxes(axes, x, y)
    if boxes:
        yield "box", None, ["label", "low", "q1", "median", "q3", "high", "outliers"], boxes
    else:
        yield from _lines(axes)
    yield from _dots(axes, x, y)
    yield from _bars(axes, x, y)
    yield from _pies(axes)
    for image in axes.get_images():
        rows, columns = image.get_array().shape[:2]
        yield "image", image.get_label(), ["rows", "columns"], [[int(rows), int(columns)]]


def _lines(axes: Any) -> Iterator[Found]:
    for line in axes.get_lines():
        kind = "scatter" if line.get_linestyle() in ("None", " ", "") else "line"
        xs, ys = _values(line.get_xdata(orig=True)), _values(line.get_ydata(orig=True))
        yield kind, line.get_label(), ["x", "y"], _paired(xs, ys)


def _dots(axes: Any, x: Callable[[Any], Any], y: Callable[[Any], Any]) -> Iterator[Found]:
    for dots in axes.collections:
        if type(dots).__name__ == "PathCollection":
            points = [[x(one), y(other)] for one, other in dots.get_offsets().tolist()]
            yield "scatter", dots.get_label(), ["x", "y"], points


def _bars(axes: Any, x: Callable[[Any], Any], y: Callable[[Any], Any]) -> Iterator[Found]:
    for bars in axes.containers:
        if type(bars).__name__ != "BarContainer":
            continue
        upright = bars.orientation != "horizontal"
        spans = [_span(bar, upright=upright) for bar in bars.patches]
        name = x if upright else y
        middles = [name((start + end) / 2) for start, end, _ in spans]
        if len(spans) > 1 and _touch(spans) and not isinstance(middles[0], str):
            points = [[name(start), name(end), value] for start, end, value in spans]
            yield "hist", bars.get_label(), ["start", "end", "count"], points
        else:
            values = [value for _, _, value in spans]
            fields = ["label", "value"]
            yield "bar" if upright else "barh", bars.get_label(), fields, _paired(middles, values)


def _span(bar: Any, *, upright: bool) -> tuple[float, float, float]:
    """Return where a bar begins, where it ends, and how long it is."""
    if upright:
        return float(bar.get_x()), float(bar.get_x() + bar.get_width()), float(bar.get_height())
    return float(bar.get_y()), float(bar.get_y() + bar.get_height()), float(bar.get_width())


def _touch(spans: list[tuple[float, float, float]]) -> bool:
    """Say if each bar begins where the last one ends, as those of histograms do."""
    return all(
        abs(one[1] - other[0]) <= 1e-6 * abs(one[1] - one[0])
        for one, other in zip(spans, spans[1:])  # noqa: B905, RUF007
    )


def _pies(axes: Any) -> Iterator[Found]:
    wedges = [patch for patch in axes.patches if type(patch).__name__ == "Wedge"]
    if wedges:
        points = [
            [
                "" if str(wedge.get_label()).startswith("_") else str(wedge.get_label()),
                round(abs(float(wedge.theta2) - float(wedge.theta1)) / 360, 9),
            ]
            for wedge in wedges
        ]
        yield "pie", None, ["label", "share"], points


def _boxes(axes: Any, x: Callable[[Any], Any], y: Callable[[Any], Any]) -> list[Any]:
    """Return the boxes of a box plot: rectangles of lines, with lines that leave them."""
    lines = [
        (_numbers(line.get_xdata()), _numbers(line.get_ydata()), line.get_linestyle())
        for line in axes.get_lines()
    ]
    outlines = [(xs, ys) for xs, ys, _ in lines if len(xs) == 5 and _is_closed(xs, ys)]
    for patch in axes.patches:
        if type(patch).__name__ == "PathPatch":
            corners = patch.get_path().vertices[:5]
            xs, ys = _numbers(corners[:, 0]), _numbers(corners[:, 1])
            if len(xs) == 5 and _is_closed(xs, ys):
                outlines.append((xs, ys))
    segments = [(xs, ys) for xs, ys, _ in lines if len(xs) == 2]
    dots = [(xs, ys) for xs, ys, style in lines if style in ("None", " ", "")]
    found: list[Any] = []
    for xs, ys in outlines:
        # Upright ones have whiskers in the middle of their width, others of their height.
        for across, along, name, swap in ((xs, ys, x, False), (ys, xs, y, True)):
            box = _box(across, along, _swapped(segments, swap), _swapped(dots, swap), name)
            if box is not None:
                found.append(box)
                break
    return found


def _box(
    across: list[float],
    along: list[float],
    segments: list[Any],
    dots: list[Any],
    name: Callable[[Any], Any],
) -> list[Any] | None:
    middle, q1, q3 = (min(across) + max(across)) / 2, min(along), max(along)
    slack = 1e-6 * (max(across) - min(across) or 1)
    whiskers = [s[1] for s in segments if all(abs(place - middle) <= slack for place in s[0])]
    medians = [
        s[1][0]
        for s in segments
        if s[1][0] == s[1][1]
        and q1 <= s[1][0] <= q3
        and abs(sum(s[0]) / 2 - middle) <= slack
        and abs(s[0][0] - s[0][1]) >= (max(across) - min(across)) * 0.99
    ]
    if len(whiskers) < 2 or not medians:
        return None
    ends = [end for whisker in whiskers for end in whisker]
    outliers = [
        value
        for places, values in dots
        for place, value in zip(places, values)  # noqa: B905
        if abs(place - middle) <= slack and not q1 <= value <= q3
    ]
    return [name(middle), min(ends), q1, medians[0], q3, max(ends), outliers]


def _is_closed(xs: list[float], ys: list[float]) -> bool:
    corners = set(zip(xs, ys))  # noqa: B905
    return xs[0] == xs[-1] and ys[0] == ys[-1] and len(corners) == 4 and len(set(xs)) == 2


def _swapped(lines: list[Any], swap: bool) -> list[Any]:
    return [(ys, xs) for xs, ys in lines] if swap else lines


def _values(data: Any) -> list[Any]:
    """Return data as it was given: dates as dates, texts as texts."""
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    dtype = getattr(data, "dtype", None)
    if dtype is not None and dtype.kind == "M":
        data = data.astype("datetime64[us]")
    return list(data.tolist() if hasattr(data, "tolist") else data)


def _numbers(data: Any) -> list[float]:
    try:
        return [float(value) for value in data]
    except (TypeError, ValueError):
        return []


def _paired(xs: list[Any], ys: list[Any]) -> list[Any]:
    return [[one, other] for one, other in zip(xs, ys)]  # noqa: B905
