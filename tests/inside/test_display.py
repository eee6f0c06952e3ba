"""What a real kernel shows, as data: charts of matplotlib, tables of pandas, figures of plotly."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from sandlot import Chart, Execution, Result, Table
from sandlot.charts import Series
from tests.inside.kernels import Kernel

PLOT = "import matplotlib.pyplot as plt\nimport numpy as np\nimport pandas as pd\n"


def shown(kernel: Kernel, code: str) -> Result:
    done = kernel.run(code)
    assert done.error is None, done.error.traceback
    assert done.stderr == ""
    (result,) = done.results
    return result


def charts(kernel: Kernel, code: str) -> tuple[Chart, ...]:
    result = shown(kernel, f"{PLOT}{code}\nplt.show()")
    assert result.png is not None
    assert result.png.startswith(b"\x89PNG")
    return result.charts


def chart(kernel: Kernel, code: str) -> Chart:
    (found,) = charts(kernel, code)
    return found


def series(kernel: Kernel, code: str) -> Series:
    found = chart(kernel, code)
    (only,) = found.series
    assert found.kind == only.kind
    return only


def table(kernel: Kernel, code: str) -> Table:
    result = shown(kernel, f"import numpy as np\nimport pandas as pd\n{code}")
    assert result.is_main
    assert result.text
    assert result.table is not None
    return result.table


# Charts


def test_lines(kernel: Kernel) -> None:
    found = chart(
        kernel,
        "plt.plot([1, 2, 3], [4, None, 6.5], label='a')\n"
        "plt.plot(np.arange(3), [1, 2, np.inf], 'o', label='b')\n"
        "plt.title('T'); plt.xlabel('x'); plt.ylabel('y'); plt.yscale('log'); plt.legend()",
    )
    assert (found.kind, found.title) == ("other", "T")
    assert (found.x.label, found.x.scale, found.y.label, found.y.scale) == (
        "x",
        "linear",
        "y",
        "log",
    )
    assert found.x.ticks
    assert found.legend == ("a", "b")
    line, dots = found.series
    assert (line.kind, line.label, line.fields) == ("line", "a", ("x", "y"))
    assert line.points[0] == (1, 4)
    assert line.points[2] == (3, 6.5)
    assert (dots.kind, dots.points[2]) == ("scatter", (2, float("inf")))
    assert not found.truncated


def test_lines_over_dates(kernel: Kernel) -> None:
    for given in (
        "np.array(['2024-01-01', '2024-02-01'], dtype='datetime64[ns]')",
        "pd.to_datetime(['2024-01-01', '2024-02-01'])",
        "pd.Series(pd.to_datetime(['2024-01-01', '2024-02-01']))",
        "pd.to_datetime(['2024-01-01', '2024-02-01']).to_pydatetime()",
    ):
        found = chart(kernel, f"plt.plot({given}, [1, 2])")
        assert found.x.scale == "datetime"
        assert found.series[0].points[1] == (datetime.datetime(2024, 2, 1), 2)


def test_lines_over_categories(kernel: Kernel) -> None:
    found = chart(kernel, "plt.plot(['a', 'b'], [1, 2])")
    assert found.x.scale == "category"
    assert found.x.ticks == ("a", "b")
    assert found.series[0].points == (("a", 1), ("b", 2))


def test_scatter(kernel: Kernel) -> None:
    found = series(kernel, "plt.scatter([1, 2], [3, 4.5], label='s', s=[10, 20])")
    assert (found.kind, found.label, found.points) == ("scatter", "s", ((1, 3), (2, 4.5)))


def test_bars(kernel: Kernel) -> None:
    found = series(kernel, "plt.bar(['a', 'b'], [1, 2])")
    assert (found.kind, found.fields) == ("bar", ("label", "value"))
    assert found.points == (("a", 1), ("b", 2))
    lying = series(kernel, "plt.barh(['a', 'b'], [1, 2])")
    assert (lying.kind, lying.points) == ("barh", (("a", 1), ("b", 2)))
    assert series(kernel, "plt.bar([1, 5], [1, 2])").points == ((1, 1), (5, 2))
    one = series(kernel, "plt.bar([3], [-1], width=1)")
    assert (one.kind, one.points) == ("bar", ((3, -1),))


def test_bars_in_groups(kernel: Kernel) -> None:
    found = chart(
        kernel,
        "x = np.arange(2)\nplt.bar(x - 0.2, [1, 2], 0.4, label='A')\n"
        "plt.bar(x + 0.2, [3, 4], 0.4, label='B')\nplt.xticks(x, ['p', 'q']); plt.legend()",
    )
    assert [item.points for item in found.series] == [(("p", 1), ("q", 2)), (("p", 3), ("q", 4))]
    assert found.legend == ("A", "B")


def test_bars_of_pandas(kernel: Kernel) -> None:
    found = series(kernel, "pd.Series({'a': 1, 'b': 2}).plot.bar()")
    assert (found.kind, found.points) == ("bar", (("a", 1), ("b", 2)))


def test_histograms(kernel: Kernel) -> None:
    found = series(kernel, "plt.hist([1, 2, 2, 4], bins=3)")
    assert (found.kind, found.fields) == ("hist", ("start", "end", "count"))
    assert found.points == ((1, 2, 1), (2, 3, 2), (3, 4, 1))


def test_pies(kernel: Kernel) -> None:
    found = series(kernel, "plt.pie([1, 3], labels=['p', 'q'], autopct='%d%%')")
    assert (found.kind, found.points) == ("pie", (("p", 0.25), ("q", 0.75)))
    assert [label for label, _ in series(kernel, "plt.pie([1, 1])").points] == ["", ""]


@pytest.mark.parametrize("more", ["", ", patch_artist=True", ", orientation='horizontal'"])
def test_box_plots(kernel: Kernel, more: str) -> None:
    found = series(
        kernel, f"plt.boxplot([[1, 2, 3, 4, 20], [5, 6, 7]], tick_labels=['u', 'v']{more})"
    )
    assert found.kind == "box"
    assert found.fields == ("label", "low", "q1", "median", "q3", "high", "outliers")
    assert found.points == (("u", 1, 2, 3, 4, 4, [20]), ("v", 5, 5.5, 6, 6.5, 7, []))


def test_images_and_subplots(kernel: Kernel) -> None:
    found = charts(
        kernel,
        "f, (a, b, c) = plt.subplots(1, 3)\na.plot([1]); a.set_title('left')\n"
        "f.colorbar(b.imshow(np.zeros((2, 3))))\nf.suptitle('all')",
    )
    assert [(one.kind, one.title) for one in found] == [
        ("line", "left"),
        ("image", None),
        ("other", None),
    ]
    assert found[1].series[0].points == ((2, 3),)
    assert chart(kernel, "plt.suptitle('above'); plt.plot([1])").title == "above"


def test_what_cannot_be_told_is_left_out(kernel: Kernel) -> None:
    three = chart(kernel, "plt.figure().add_subplot(projection='3d').plot([1, 2], [3, 4], [5, 6])")
    assert (three.kind, three.series) == ("other", ())
    filled = chart(kernel, "plt.fill_between([1, 2], [3, 4])")
    assert filled.series == ()
    polar = chart(kernel, "plt.polar([1, 2], [3, 4])")
    assert polar.series[0].points == ((1, 3), (2, 4))


def test_a_figure_as_the_value(kernel: Kernel) -> None:
    done = kernel.run(f"{PLOT}f = plt.Figure(); f.add_subplot().plot([1, 2]); f")
    assert done.result is not None
    assert done.result.png
    assert done.result.chart is not None


def test_many_points_are_told_to_be_more(kernel: Kernel) -> None:
    found = series(kernel, "plt.plot(np.arange(20_000))")
    assert (len(found.points), found.total_points, found.truncated) == (10_000, 20_000, True)
    many = chart(kernel, "for _ in range(8): plt.plot(np.arange(8_000))")
    assert sum(len(item.points) for item in many.series) == 50_000
    assert many.truncated


def test_hostile_figures_still_show_their_picture(kernel: Kernel) -> None:
    result = shown(
        kernel,
        f"{PLOT}class Evil(plt.Axes):\n    def get_lines(self): raise RuntimeError('no')\n"
        "f = plt.figure(); f.add_axes(Evil(f, [0, 0, 1, 1])); plt.show()",
    )
    assert result.png is not None
    assert result.chart is None


# Tables


def test_a_data_frame(kernel: Kernel) -> None:
    found = table(
        kernel,
        "pd.DataFrame({'i': [1, 2], 'f': [1.5, np.nan], 'b': [True, False], 's': ['a', None],"
        "'t': pd.to_datetime(['2024-01-01 10:00', None]), 'd': pd.to_timedelta(['1h', None]),"
        "'c': pd.Categorical(['x', None])}, index=['r', 's'])",
    )
    assert found.rows == (
        (
            1,
            1.5,
            True,
            "a",
            datetime.datetime(2024, 1, 1, 10),
            datetime.timedelta(hours=1),
            "x",
        ),
        (2, None, False, None, None, None, None),
    )
    assert found.index == ("r", "s")
    assert found.index_names == (None,)
    assert [column.name for column in found.columns] == ["i", "f", "b", "s", "t", "d", "c"]
    assert [column.dtype for column in found.columns][:3] == ["int64", "float64", "bool"]
    assert not found.truncated


def test_odd_types(kernel: Kernel) -> None:
    found = table(
        kernel,
        "pd.DataFrame({'p': pd.period_range('2024', periods=2, freq='M'),"
        "'n': pd.array([1, None], dtype='Int64'), 'l': [[1, 2], {'a': 1}],"
        "'x': [1j, 10**400], 'i': pd.cut([1, 5], [0, 3, 6]), 'f': [np.inf, -np.inf],"
        "'y': [b'a', 'x'], 'N': pd.to_datetime(['2024-01-01T00:00:00.000000001'] * 2)})",
    )
    assert found.rows[0] == (
        "2024-01",
        1,
        "[1, 2]",
        "1j",
        "(0, 3]",
        float("inf"),
        b"a",
        "2024-01-01 00:00:00.000000001",
    )
    assert found.rows[1][1:4] == (None, "{'a': 1}", 10**400)


def test_levels(kernel: Kernel) -> None:
    found = table(
        kernel,
        "pd.DataFrame([[1, 2]], index=pd.MultiIndex.from_tuples([('a', 1)], names=['l', None]),"
        "columns=pd.MultiIndex.from_tuples([('x', 'y'), ('x', pd.Timestamp('2024-01-01'))]))",
    )
    assert found.index == (("a", 1),)
    assert found.index_names == ("l", None)
    assert [column.name for column in found.columns] == [
        ("x", "y"),
        ("x", datetime.datetime(2024, 1, 1)),
    ]
    assert found.column(("x", "y")) == (1,)


def test_same_names_no_rows_and_series(kernel: Kernel) -> None:
    assert table(kernel, "pd.DataFrame([[1, 2]], columns=['a', 'a'])").rows == ((1, 2),)
    empty = table(kernel, "pd.DataFrame({'a': []})")
    assert (empty.rows, empty.total_rows, len(empty.columns)) == ((), 0, 1)
    nothing = table(kernel, "pd.DataFrame(index=[1, 2])")
    assert (nothing.rows, nothing.index) == (((), ()), (1, 2))
    one = table(kernel, "pd.Series([1, 2], name='s', index=[None, 'x'])")
    assert (one.columns[0].name, one.rows, one.index) == ("s", ((1,), (2,)), (None, "x"))


def test_large_tables_are_told_to_be_larger(kernel: Kernel) -> None:
    long = table(kernel, "pd.DataFrame({'a': np.arange(5000)})")
    assert (len(long.rows), long.total_rows, long.truncated) == (1000, 5000, True)
    wide = table(kernel, "pd.DataFrame(np.zeros((1000, 500)))")
    assert (len(wide.columns), wide.total_columns, len(wide.rows)) == (200, 500, 250)
    heavy = table(kernel, "pd.DataFrame({'a': ['x' * 9_000] * 1000})")
    assert 0 < len(heavy.rows) < 500
    assert heavy.truncated
    assert len(table(kernel, "pd.DataFrame({'a': ['x' * 10**6]})").rows[0][0]) == 10_003


HOSTILE = """
class Evil:
    def __repr__(self): raise RuntimeError("no repr")
    __str__ = __repr__
    def __getattr__(self, name): raise ValueError(name)
import pandas as pd
"""


def test_hostile_values_in_tables(kernel: Kernel) -> None:
    done = kernel.run(f"{HOSTILE}frame = pd.DataFrame({{'a': [Evil(), 1]}})\nlen(frame)")
    assert done.text == "2"
    done = kernel.run("frame")  # pandas itself cannot show it; the table can
    assert all(result.table is None or result.table.rows for result in done.results)
    assert kernel.run("1 + 1").text == "2"


def test_a_table_that_cannot_be_told(kernel: Kernel) -> None:
    done = kernel.run(
        "class Frame(pd.DataFrame):\n    @property\n    def shape(self): raise RuntimeError('no')\n"
        "    def _repr_html_(self): return '<b>x</b>'\n    def __repr__(self): return 'x'\n"
        "Frame({'a': [1]})"
    )
    assert done.error is None
    assert done.stderr == ""
    assert done.text == "x"
    assert done.results[0].html == "<b>x</b>"
    assert done.results[0].table is None


# Figures of plotly


def test_plotly_needs_no_browser(kernel: Kernel) -> None:
    for code in ("figure", "figure.show()"):
        result = shown(
            kernel,
            "import plotly.graph_objects as go\nfigure = go.Figure(go.Bar(x=['a'], y=[1]))\n"
            + code,
        )
        figure = result.data["application/vnd.plotly.v1+json"]
        assert figure["data"][0]["type"] == "bar"
        assert result.html is not None
        assert "cdn.plot.ly" in result.html
        assert len(result.html) < 100_000


# What user code sees of it


def test_user_code_sees_nothing_of_it(python: Any) -> None:
    kernel = Kernel(python)
    try:
        assert kernel.talk.execution() == Execution()
        done = kernel.run("[n for n in dir() if not n.startswith('_')]")
        assert done.text == "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']"
        assert done.execution_count == 1
        done = kernel.run(
            "import sys\n"
            "print([m for m in sys.modules if m.startswith('_sandlot')])\n"
            "print([m for m in ('pandas', 'matplotlib', 'numpy', 'plotly') if m in sys.modules])"
        )
        assert done.stdout == "['_sandlot_inside']\n[]\n"
        assert kernel.run("%history").stdout.count("sandlot") == 1
        first = kernel.run("id(sys.modules['_sandlot_inside'])").text
        assert kernel.prepare().ok
        assert kernel.run("id(sys.modules['_sandlot_inside'])").text == first
        assert kernel.prepare(env={"A'": "b\nc"}, cwd="/").ok
        assert kernel.run('import os; print(os.environ["A\'"], os.getcwd())').stdout == "b\nc /\n"
        gone = kernel.prepare(cwd="/no such place")
        assert gone.error is not None
        assert gone.error.name == "FileNotFoundError"
    finally:
        kernel.close()


@pytest.mark.alone
def test_it_is_there_in_no_time(kernel: Kernel) -> None:
    taken: list[float] = []
    for _ in range(3):
        done = kernel.run(
            "import sys, time\nold = sys.modules.pop('_sandlot_inside')\n"
            f"start = time.perf_counter()\nexec({_preparation()!a})\n"
            "taken = time.perf_counter() - start\nsys.modules['_sandlot_inside'] = old\ntaken"
        )
        assert done.text is not None, done.error
        taken.append(float(done.text))
    assert min(taken) < 0.1  # it takes 3 ms, on a quiet machine


def _preparation() -> str:
    from sandlot._protocols.preparation import prepare

    return prepare("python", None, {})
