"""DataFrames and Series as JSON: their values as Arrow data, everything else beside it.

What pandas would have to guess, or to parse from the metadata of Arrow data, is said in JSON: the
names, which columns are the index, the types that Arrow has no name for. Both sides use this
module; what it decodes may come out of a sandbox.
"""

from __future__ import annotations

import base64
import sys
from importlib import import_module
from typing import Any

from . import arrow, plain

_KINDS = (
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("polars", "DataFrame"),
    ("polars", "Series"),
    ("pyarrow", "Table"),
)
_NULLABLE = {
    "Int8": "int8",
    "Int16": "int16",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
    "Float32": "float32",
    "Float64": "float64",
    "boolean": "bool_",
}
"""Types of pandas whose values can be missing, and what they are in Arrow."""


def is_frame(value: object) -> bool:
    """Say if it is a DataFrame or Series of pandas or polars, or a table of pyarrow."""
    return any(
        issubclass(type(value), getattr(sys.modules.get(module), name, ()))
        for module, name in _KINDS
    )


def encode(value: Any) -> dict[str, Any]:
    """Return the JSON form of a DataFrame, Series or table.

    Raises:
        plain.PlainError: It contains what has no form in Arrow.
        ImportError: There is no pyarrow.
    """
    library = arrow.pyarrow()
    name, is_series = type(value).__name__, getattr(value, "ndim", 2) == 1
    if isinstance(value, library.Table) or hasattr(value, "to_arrow"):
        is_series = name == "Series"
        frame = value.to_frame() if is_series else value
        table = frame if isinstance(frame, library.Table) else frame.to_arrow()
        names = list(table.column_names)
        form = _form(names, [""] * len(names), is_series=is_series)
        arrays = [table.column(place) for place in range(len(names))]
    else:
        form, arrays = _take_apart(value, library, is_series=is_series)
    numbered = library.table(arrays, names=[str(place) for place in range(len(arrays))])
    form["arrow"] = base64.b64encode(arrow.write(numbered)).decode("ascii")
    return form


def decode(form: Any) -> Any:
    """Return what a JSON form stands for: of pandas if it is here, else a table of pyarrow.

    Raises:
        plain.PlainError: It is none of `encode`'s.
        ImportError: There is no pyarrow, or one that is too old.
    """
    library = arrow.pyarrow()
    try:
        table = arrow.read(base64.b64decode(form["arrow"], validate=True))
        if not len(form["names"]) == len(form["dtypes"]) == table.num_columns:
            raise plain.PlainError("a table has a name for each column")
        names = [plain.decode(name) for name in form["names"]]
        _ = set(names)  # a TypeError, if not all of them can be names
        try:
            _ = import_module("pandas")
        except ImportError:
            return table.rename_columns([str(name) for name in names])
        return _put_together(form, names, table, library)
    except plain.PlainError:
        raise
    except (library.ArrowException, LookupError, TypeError, ValueError, ArithmeticError) as exc:
        raise plain.PlainError(f"it is no proper table: {str(exc)[:200]}") from exc


def _form(names: list[Any], dtypes: list[str], *, is_series: bool) -> dict[str, Any]:
    return {
        "names": [_name(name) for name in names],
        "dtypes": dtypes,
        "is_series": is_series,
        "levels": 0,
        "range": None,
        "index_name": None,
        "column_levels": [None],
    }


def _take_apart(value: Any, library: Any, *, is_series: bool) -> tuple[dict[str, Any], list[Any]]:
    """Return what is said beside the data of pandas, and the data: columns, then the index."""
    pandas = import_module("pandas")
    frame = value.to_frame() if is_series else value
    names: list[Any] = [value.name] if is_series else list(frame.columns)
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    index, levels = frame.index, 0
    if not isinstance(index, pandas.RangeIndex):
        levels = index.nlevels
        names += list(index.names)
        columns += [
            pandas.Series(index.get_level_values(level).array, name=index.names[level])
            for level in range(levels)
        ]
    form = _form(names, [str(column.dtype) for column in columns], is_series=is_series)
    form["levels"] = levels
    if levels == 0:
        form["range"] = [index.start, index.stop, index.step]
        form["index_name"] = _name(index.name)
    if not is_series:
        form["column_levels"] = [_name(name) for name in frame.columns.names]
    return form, [_array(column, library) for column in columns]


def _array(column: Any, library: Any) -> Any:
    try:
        array = library.Array.from_pandas(column)
    except (library.ArrowException, TypeError, ValueError, OverflowError) as exc:
        raise plain.PlainError(f"column {column.name!r:.100}: {str(exc)[:300]}") from exc
    if column.dtype == object:
        _check_unchanged(column, array, library)
    return array


def _check_unchanged(column: Any, array: Any, library: Any) -> None:
    """Refuse what Arrow makes something similar of: two floats of 1 and 1.5, for example."""
    if library.types.is_nested(array.type):
        raise plain.PlainError(
            f"column {column.name!r:.100} contains {array.type}, no plain values"
        )
    kinds = {plain.kind(item).__name__ for item in column[column.notna()]}
    if len(kinds) > 1:
        shown = ", ".join(sorted(kinds))
        raise plain.PlainError(f"column {column.name!r:.100} mixes types: {shown[:200]}")


def _name(name: Any) -> Any:
    """Return the JSON form of a column's name or a level's."""
    if plain.kind(name) is tuple:
        return {plain.MARK: "tuple", "v": list(map(_name, name))}
    return plain.encode(name.to_pydatetime() if hasattr(name, "to_pydatetime") else name)


def _put_together(form: Any, names: list[Any], table: Any, library: Any) -> Any:
    pandas = import_module("pandas")
    columns = [
        _column(table.column(place), dtype, library) for place, dtype in enumerate(form["dtypes"])
    ]
    width = len(columns) - form["levels"]
    if width not in range(len(columns) + 1):
        raise plain.PlainError("a table has not more levels than columns")
    index = _index(form, names[width:], columns[width:], table.num_rows)
    frame = pandas.DataFrame(dict(enumerate(columns[:width])))
    frame.index = index
    if form["is_series"]:
        return frame.iloc[:, 0].rename(names[0])
    levels = [plain.decode(name) for name in form["column_levels"]]
    if len(levels) > 1:
        frame.columns = pandas.MultiIndex.from_tuples(names[:width], names=levels)
    else:
        frame.columns = pandas.Index(names[:width], name=levels[0], tupleize_cols=False)
    return frame


def _column(column: Any, dtype: Any, library: Any) -> Any:
    pandas = import_module("pandas")
    if dtype in _NULLABLE:
        kind = getattr(library, _NULLABLE[dtype])()
        mapper = {kind: pandas.api.types.pandas_dtype(dtype)}.get
        return column.to_pandas(types_mapper=mapper)
    if dtype == "object":
        return pandas.Series(column.to_pylist(), dtype=object)
    series = column.to_pandas()
    return series.astype("string") if dtype == "string" else series


def _index(form: Any, names: list[Any], columns: list[Any], rows: int) -> Any:
    pandas = import_module("pandas")
    if not columns:
        start, stop, step = form["range"] or (0, rows, 1)
        if len(range(start, stop, step)) != rows:
            raise plain.PlainError("a table has as many labels as rows")
        return pandas.RangeIndex(start, stop, step, name=plain.decode(form["index_name"]))
    if len(columns) == 1:
        return pandas.Index(columns[0], tupleize_cols=False).rename(names[0])
    return pandas.MultiIndex.from_arrays(columns, names=names)
