"""What a DataFrame or Series shows, as data: its first rows, as plain values."""

from __future__ import annotations

from typing import Any

from . import plain

MAX_ROWS = 1_000
MAX_COLUMNS = 200
MAX_CELLS = 50_000
MAX_TEXT = 10_000
"""Characters of one value."""
MAX_TEXTS = 4 << 20
"""Characters of all values."""

_SCALARS = frozenset(
    ["bool", "bytes", "date", "datetime", "Decimal", "float", "int", "time", "UUID"]
)


def shown(frame: Any) -> dict[str, Any]:
    """Return the JSON form of what is shown of a DataFrame or Series, of pandas or polars."""
    if type(frame).__module__.partition(".")[0] == "polars":
        return _of_polars(frame)
    return _of_pandas(frame)


def _of_pandas(frame: Any) -> dict[str, Any]:
    if frame.ndim == 1:
        frame = frame.to_frame(name=frame.name)
    rows, columns = frame.shape
    width = min(columns, MAX_COLUMNS)
    head = frame.iloc[: _height(rows, width), :width]
    labels = head.index.tolist()
    values = [_of_series(head.iloc[:, place]) for place in range(width)]
    return _form(
        [_label(name) for name in head.columns.tolist()],
        [str(dtype) for dtype in head.dtypes.tolist()],
        [list(row) for row in zip(*values)] if values else [[] for _ in labels],  # noqa: B905
        [_label(label) for label in labels],
        [_label(name) for name in head.index.names],
        (rows, columns),
    )


def _of_series(series: Any) -> list[Any]:
    missing = series.isna().tolist()
    return [
        None if absent else _value(value)
        for value, absent in zip(series.tolist(), missing)  # noqa: B905
    ]


def _of_polars(frame: Any) -> dict[str, Any]:
    if type(frame).__name__ == "Series":
        frame = frame.to_frame()
    rows, columns = frame.shape
    width = min(columns, MAX_COLUMNS)
    head = frame[:, :width].head(_height(rows, width))
    values = [[_value(value) for value in row] for row in head.rows()]
    dtypes = [str(dtype) for dtype in head.dtypes]
    return _form(
        list(head.columns), dtypes, values, list(range(len(values))), [None], (rows, columns)
    )


def _height(rows: int, width: int) -> int:
    return min(rows, MAX_ROWS, MAX_CELLS // max(width, 1))


def _form(
    names: list[Any],
    dtypes: list[str],
    rows: list[list[Any]],
    index: list[Any],
    index_names: list[Any],
    shape: tuple[int, int],
) -> dict[str, Any]:
    room, height = MAX_TEXTS, 0
    for row, label in zip(rows, index):  # noqa: B905
        room -= sum(len(value) for value in (*row, label) if isinstance(value, str))
        if room < 0:
            break
        height += 1
    return {
        "columns": [{"name": name, "dtype": dtype} for name, dtype in zip(names, dtypes)],  # noqa: B905
        "rows": rows[:height],
        "index": index[:height],
        "index_names": index_names,
        "total_rows": shape[0],
        "total_columns": shape[1],
    }


def _label(label: Any) -> Any:
    if plain.kind(label) is tuple:
        return {plain.MARK: "tuple", "v": list(map(_label, label))}
    return None if label is None or label != label else _value(label)


def _value(value: Any) -> Any:
    """Return the JSON form of a value: its text, if it is no plain scalar."""
    if value is None:
        return None
    if type(value) is str:
        return plain.encode(_cut(value))
    if hasattr(value, "to_pydatetime") and not getattr(value, "nanosecond", 0):
        value = value.to_pydatetime()
    elif hasattr(value, "to_pytimedelta") and not getattr(value, "nanoseconds", 0):
        return plain.encode(value.to_pytimedelta())
    try:
        if type(value).__name__ in _SCALARS or type(value).__module__ == "numpy":
            return plain.encode(value)
    except plain.PlainError:
        pass
    try:
        return plain.encode(_cut(str(value)))
    except Exception:
        return f"<{type(value).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
