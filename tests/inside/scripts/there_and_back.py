"""DataFrames come back as they were, or are refused: run by a template's own Python."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa

from sandlot._inside import exchange, plain


def back(value):
    return exchange.read(exchange.parse(exchange.write(value)))


dates = pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin")
frames = {
    "numbers": pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, np.nan, np.inf],
            "b": [True, False, True],
            "u": np.array([0, 1, 2**64 - 1], dtype="uint64"),
            "h": np.array([1, 2, 3], dtype="float32"),
        }
    ),
    "texts": pd.DataFrame(
        {
            "s": ["a", None, "é"],
            "o": pd.Series(["a", None, "b"], dtype=object),
            "t": pd.Series(["x", None, "y"], dtype="string"),
        }
    ),
    "nullable": pd.DataFrame(
        {
            "i": pd.array([2**60 + 1, None, 3], dtype="Int64"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "f": pd.array([1.5, None, 2], dtype="Float32"),
        }
    ),
    "times": pd.DataFrame(
        {
            "n": pd.to_datetime(
                ["2024-01-01 00:00:00.000000001", None, "1999-01-01"], format="ISO8601"
            ),
            "z": dates,
            "d": pd.to_timedelta(["1D", None, "1ns"]),
        }
    ),
    "objects": pd.DataFrame(
        {
            "d": [datetime.date(2024, 1, 1), None, datetime.date(1, 1, 1)],
            "m": [decimal.Decimal("1.10"), None, decimal.Decimal("2.00")],
            "y": [b"a", None, b"\xff"],
            "i": pd.Series([1, None, 3], dtype=object),
            "x": pd.Series([None, None, None], dtype=object),
        }
    ),
    "categories": pd.DataFrame(
        {
            "c": pd.Categorical(["a", None, "b"], ["b", "a"], ordered=True),
            "n": pd.Categorical([1, 2, 1]),
        }
    ),
    "index": pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index(["x", "y", None], name="i")),
    "range": pd.DataFrame({"a": [1, 2, 3]}, index=pd.RangeIndex(10, 4, -2, name="r")),
    "dates": pd.DataFrame({"a": [1, 2, 3]}, index=dates.rename("when")).asfreq(None),
    "levels": pd.DataFrame(
        {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["l", None])
    ),
    "column levels": pd.DataFrame(
        [[1, 2]], columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["l", "m"])
    ),
    "odd names": pd.DataFrame([[1, 2, 3, 4]], columns=[0, "a", "a", ("t", 1)]),
    "named columns": pd.DataFrame([[1]], columns=pd.Index([1.5], name="c")),
    "month columns": pd.DataFrame([[1, 2]], columns=pd.to_datetime(["2024-01-01", "2024-02-01"])),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=[1, 2]),
}
for name, frame in frames.items():
    again = back(frame)
    pd.testing.assert_frame_equal(again, frame, check_column_type=False, check_freq=False, obj=name)
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        pd.testing.assert_series_equal(back(series), series, check_freq=False, obj=name)
print(len(frames), "frames")

table = pa.table({"a": [1, None], "b": [[1], [2, 3]]})
assert back(table)["a"].isna().tolist() == [False, True]

refused = {
    "mixed": pd.DataFrame({"a": [1, "x"]}),
    "numbers": pd.DataFrame({"a": pd.Series([1, 1.5], dtype=object)}),
    "objects": pd.DataFrame({"a": [object()]}),
    "dicts": pd.DataFrame({"a": [{"x": 1}, {"y": 2}]}),
    "lists": pd.DataFrame({"a": [[1], [2]]}),
    "complex": pd.DataFrame({"a": [1j]}),
    "periods": pd.DataFrame({"a": pd.period_range("2024", periods=2)}),
    "intervals": pd.DataFrame({"a": pd.cut([1, 5], [0, 3, 6])}),
    "index of objects": pd.DataFrame({"a": [1]}, index=[object()]),
    "structs": pa.table({"a": [{"x": 1}]}),
    "names": pd.DataFrame([[1]], columns=[frozenset({object})]),
}
for name, frame in refused.items():
    try:
        exchange.write(frame)
    except plain.PlainError as exc:
        print(name, "|", exc)
    else:
        raise AssertionError(name)
