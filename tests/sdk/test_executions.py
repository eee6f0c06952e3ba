"""What code did, as users read it."""

from __future__ import annotations

import base64
import json
import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    CodeError,
    CodeFailedError,
    CodeText,
    CodeTimeoutError,
    Execution,
    InvalidArgumentError,
    KernelDiedError,
    Result,
)
from sandlot._terminal import MAX_CHARACTERS, strip, to_html
from sandlot.charts import CHART
from sandlot.tables import TABLE

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
RED = "\x1b[0;31mKeyError\x1b[0m: 'x'"
FAILED = Execution(error=CodeError("KeyError", "'x'", RED))


def packed(data: bytes) -> str:
    return base64.encodebytes(data).decode()


def main(**data: Any) -> Execution:
    return Execution(outputs=(Result(data, is_main=True),))


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def only(self, tag: str) -> dict[str, str | None]:
        (found,) = (attributes for name, attributes in self.elements if name == tag)
        return found


# Executions


def test_an_execution_without_anything() -> None:
    done = Execution()
    assert (done.stdout, done.stderr, done.text, done.result, done.data) == ("", "", None, None, {})
    assert done.results == ()
    assert done.ok
    assert done.check() is done
    assert repr(done) == "Execution()"


def test_an_execution_with_everything() -> None:
    shown, value = Result({"image/png": packed(PNG)}), Result({"text/plain": "5"}, is_main=True)
    done = Execution(
        outputs=(
            CodeText("stdout", "a"),
            CodeText("stderr", "b"),
            shown,
            CodeText("stdout", "c"),
            value,
        ),
        execution_count=3,
        truncated=True,
    )
    assert (done.stdout, done.stderr, done.text) == ("ac", "b", "5")
    assert done.results == (shown, value)
    assert done.result is value
    assert done.data == {"text/plain": "5"}
    assert repr(done) == (
        "Execution(3, truncated, text='5', stdout='ac', stderr='b', results=[Result(image/png)])"
    )


def test_the_last_of_several_values_counts() -> None:
    values = tuple(Result({"text/plain": str(number)}, is_main=True) for number in range(3))
    assert Execution(outputs=values).text == "2"


def test_long_texts_are_shortened_in_reprs() -> None:
    done = Execution(outputs=(CodeText("stdout", "x" * 1000),), error=CodeError("E", "y" * 1000))
    assert len(repr(done)) < 300
    assert "(1000 characters)" in repr(done)
    assert len(repr(done.outputs[0])) < 120


# Failures


def test_code_that_raised() -> None:
    assert not FAILED.ok
    with pytest.raises(CodeFailedError, match="The code raised KeyError: 'x'") as caught:
        _ = FAILED.check()
    assert caught.value.execution is FAILED
    assert caught.value.outcome == "finished"
    assert not caught.value.is_retryable
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.execution == FAILED
    assert FAILED.error is not None
    assert FAILED.error.traceback == "KeyError: 'x'"
    assert str(CodeError("StopIteration", "")) == "StopIteration"


@pytest.mark.parametrize(("lost", "said"), [(False, "is kept"), (True, "is lost")])
def test_code_that_took_too_long(lost: bool, said: str) -> None:
    done = Execution(
        outputs=(CodeText("stdout", "so far"),),
        error=CodeError("KeyboardInterrupt", ""),
        timed_out=True,
        interrupted=True,
        state_lost=lost,
        duration_ms=2500,
    )
    with pytest.raises(CodeTimeoutError, match=rf"2\.5 s after.*{said}") as caught:
        _ = done.check()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.stdout == "so far"
    assert not done.ok


def test_code_that_was_interrupted() -> None:
    with pytest.raises(CodeFailedError, match="was interrupted"):
        _ = Execution(interrupted=True).check()


def test_a_dead_kernel_may_have_done_anything() -> None:
    error = KernelDiedError("gone", execution=FAILED)
    assert (error.outcome, error.is_retryable, error.execution) == ("finished", False, FAILED)


# Results

FORMS = {
    "text": "text/plain",
    "html": "text/html",
    "markdown": "text/markdown",
    "svg": "image/svg+xml",
    "latex": "text/latex",
    "javascript": "application/javascript",
}
BINARY = {"png": "image/png", "jpeg": "image/jpeg", "pdf": "application/pdf"}


@pytest.mark.parametrize(("name", "mime"), FORMS.items())
def test_texts(name: str, mime: str) -> None:
    assert getattr(Result({mime: "x"}), name) == "x"
    assert getattr(Result({}), name) is None


@pytest.mark.parametrize(("name", "mime"), BINARY.items())
def test_binaries(name: str, mime: str) -> None:
    for text in (packed(PNG), packed(PNG).replace("\n", ""), f"\n{packed(PNG)}"):
        assert getattr(Result({mime: text}), name) == PNG
    for wrong in ("é", "abc", "a===", "$$$$", ""):
        assert not getattr(Result({mime: wrong}), name)


WRONG: list[Any] = [None, 5, 1.5, True, [], ["a"], {}, {"a": 1}, {"columns": 5}, {"charts": [1]}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_wrong_types_become_none(wrong: Any) -> None:
    data = dict.fromkeys([*FORMS.values(), *BINARY.values(), TABLE, CHART], wrong)
    result = Result(data)
    for name in (*FORMS, *BINARY, "table", "chart"):
        assert getattr(result, name) is None
    assert result.charts == ()
    assert isinstance(repr(result), str)
    assert "text/plain" in result._repr_mimebundle_()
    assert isinstance(Execution(outputs=(result,))._repr_html_(), str)


def test_json_comes_parsed() -> None:
    assert Result({"application/json": {"a": [1]}}).json == {"a": [1]}
    assert Result({}).json is None


def test_saving(tmp_path: Path) -> None:
    result = Result(
        {
            "text/plain": "é\ud800",
            "image/png": packed(PNG),
            "application/json": {"a": 1},
            "image/jpeg": "???",
        }
    )
    assert result.save(tmp_path / "a.PNG").read_bytes() == PNG
    assert json.loads(result.save(str(tmp_path / "a.json")).read_text()) == {"a": 1}
    assert result.save(tmp_path / "a.txt").read_bytes() == "é\ud800".encode(errors="surrogatepass")
    for name, said in {
        "a.svg": "no image/svg\\+xml; it has text/plain, image/png",
        "a.jpg": "no image/jpeg",
        "a": "no file without a suffix",
        "a.exe": "knows no .exe; it knows .png",
    }.items():
        with pytest.raises(InvalidArgumentError, match=said):
            _ = result.save(tmp_path / name)
        assert not (tmp_path / name).exists()


# Tables and charts

TABLE_FORM = {
    "columns": [
        {"name": "a", "dtype": "int64"},
        {"name": {"$": "tuple", "v": ["b", 1]}, "dtype": "object"},
    ],
    "rows": [[1, "x"], [2, None]],
    "index": [{"$": "date", "v": "2024-01-01"}, 5],
    "index_names": [None],
    "total_rows": 2,
    "total_columns": 3,
}


def without(form: dict[str, Any], *path: Any, value: Any = None) -> Any:
    """Return a form with something else in one place."""
    changed = json.loads(json.dumps(form))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


def test_a_table() -> None:
    table = Result({TABLE: TABLE_FORM}).table
    assert table is not None
    assert table.rows == ((1, "x"), (2, None))
    assert [column.name for column in table.columns] == ["a", ("b", 1)]
    assert str(table.index[0]) == "2024-01-01"
    assert table.column(("b", 1)) == ("x", None)
    assert table.truncated
    assert repr(table) == "Table(2 rows, 3 columns: a, ('b', 1))"
    with pytest.raises(KeyError):
        _ = table.column("c")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["columns"], 5),
        (["columns", 0], []),
        (["columns", 0, "dtype"], 5),
        (["columns", 0, "name"], {"$": "evil", "v": 1}),
        (["rows"], None),
        (["rows", 0], [1]),
        (["rows", 0, 0], {"$": "int", "v": []}),
        (["index"], [1]),
        (["index_names"], 1),
        (["total_rows"], -1),
        (["total_rows"], True),
        (["total_columns"], "3"),
    ],
)
def test_hostile_tables(path: list[Any], value: Any) -> None:
    assert Result({TABLE: without(TABLE_FORM, *path, value=value)}).table is None


AXIS = {"label": "t", "scale": "linear", "ticks": ["0"]}
CHART_FORM = {
    "charts": [
        {
            "kind": "line",
            "title": "T",
            "x": AXIS,
            "y": {"label": None, "scale": "log", "ticks": []},
            "legend": ["a"],
            "series": [
                {
                    "kind": "line",
                    "label": "a",
                    "fields": ["x", "y"],
                    "points": [[1, 2.5], [2, {"$": "float", "v": "inf"}]],
                    "total_points": 3,
                }
            ],
        }
    ]
}


def test_a_chart() -> None:
    result = Result({CHART: CHART_FORM})
    chart = result.chart
    assert chart is not None
    assert result.charts == (chart,)
    assert (chart.kind, chart.title, chart.legend) == ("line", "T", ("a",))
    assert (chart.x.label, chart.x.ticks, chart.y.scale) == ("t", ("0",), "log")
    (series,) = chart.series
    assert series.points[0] == (1, 2.5)
    assert series.truncated
    assert chart.truncated
    assert repr(chart) == "Chart('line', 'T', 1 series)"
    assert repr(series) == "Series('line', 'a', 3 points)"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["charts"], {}),
        (["charts", 0, "kind"], None),
        (["charts", 0, "title"], 5),
        (["charts", 0, "x"], []),
        (["charts", 0, "x", "ticks"], [1]),
        (["charts", 0, "series", 0, "fields"], ["x"]),
        (["charts", 0, "series", 0, "points"], [1]),
        (["charts", 0, "series", 0, "points", 0], [1, {"$": 1}]),
        (["charts", 0, "series", 0, "total_points"], None),
        (["charts", 0, "legend"], "a"),
    ],
)
def test_hostile_charts(path: list[Any], value: Any) -> None:
    assert Result({CHART: without(CHART_FORM, *path, value=value)}).charts == ()


# In notebooks


def test_a_notebook_shows_what_the_cell_would_have_shown() -> None:
    done = Execution(
        outputs=(
            CodeText("stdout", "a<b>\n"),
            CodeText("stderr", "warn\n"),
            Result({"text/plain": "<Figure>", "image/png": packed(PNG)}),
            Result({"text/plain": "'&'"}, is_main=True),
            CodeError("KeyError", "'x'", RED),
        ),
        truncated=True,
    )
    bundle = done._repr_mimebundle_()
    assert bundle["text/plain"] == f"a<b>\nwarn\n<Figure>\n'&'\n{RED}"
    assert bundle["text/html"] == done._repr_html_()
    page = Page(bundle["text/html"])
    assert page.only("img")["src"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    for text in ("a<b>\n", "warn", "'&'", "KeyError", "discarded"):
        assert text in page.text
    assert {"style": "color:firebrick"} in [attributes for _, attributes in page.elements]


ATTACKS = [
    "<script>alert(1)</script>",
    "</pre><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31m<script>\x1b[0m",
    '\x1b[38;5;1;"><script>alert(1)</script>m',
    "a\r<script>",
    "</iframe><script>alert(1)</script>",
    "&lt;script&gt;",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_from_the_sandbox_runs_in_the_notebook(attack: str) -> None:
    mimes = [*FORMS.values(), *BINARY.values(), "application/x-unknown", attack]
    outputs = [
        CodeText("stdout", attack),
        CodeText("stderr", attack),
        CodeError(attack, attack, attack),
        CodeError(attack, attack),
        *(Result({mime: attack}, {attack: attack}) for mime in mimes),
        Result({"text/html": attack, "application/vnd.plotly.v1+json": attack}),
    ]
    for output in outputs:
        page = Page(Execution(outputs=(output,))._repr_html_())
        for tag, attributes in page.elements:
            assert tag in {"div", "pre", "span", "img", "iframe"}
            assert not {name for name in attributes if name.startswith("on")}
            source = attributes.get("src") or "data:image/"
            assert source.startswith("data:image/")
            assert "allow-same-origin" not in (attributes.get("sandbox") or "")
        assert all("sandbox" in page.only("iframe") for tag, _ in page.elements if tag == "iframe")


def test_html_gets_a_frame_without_scripts() -> None:
    frame = Page(main(**{"text/html": "<table><tr><td>1</table>"})._repr_html_()).only("iframe")
    assert frame["sandbox"] == ""
    inside = Page(frame["srcdoc"] or "")
    policy = inside.only("meta")["content"] or ""
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "1" in inside.text


def test_plotly_may_run_scripts_in_a_frame_of_its_own() -> None:
    data = {"text/html": "<script>draw()</script>", "application/vnd.plotly.v1+json": {}}
    frame = Page(main(**data)._repr_html_()).only("iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert "https://cdn.plot.ly" in (Page(frame["srcdoc"] or "").only("meta")["content"] or "")


def test_a_result_alone() -> None:
    assert Result({"image/png": "aGk=", "text/html": "x"})._repr_mimebundle_() == {
        "text/plain": "Result(image/png, text/html)",
        "image/png": "aGk=",
    }
    bundle = Result({"text/plain": "1", "text/html": "<b>1</b>"})._repr_mimebundle_(include=None)
    assert bundle["text/plain"] == "1"
    assert "<iframe" in bundle["text/html"]
    svg = Page(Result({"image/svg+xml": "<svg/>"})._repr_mimebundle_()["text/html"]).only("img")
    assert svg["src"] == f"data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}"
    for mime in ("text/markdown", "text/latex"):
        assert "$x$" in Result({mime: "$x$"})._repr_mimebundle_()["text/html"]


# Terminals


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("10%\r20%\r100%\n", "100%\n"),
        ("100%\r5", "500%"),
        ("100%\r\x1b[K5", "5"),
        ("100%\r\x1b[2K5", "5"),
        ("ab\b\bc", "cb"),
        ("\b\bx", "x"),
        ("a\x1b[3Cb", "a   b"),
        ("abc\x1b[2Dx", "axc"),
        ("one\ntwo\x1b[A\rX", "Xne\ntwo"),
        ("one\ntwo\x1b[9A\x1b[9B\rX", "one\nXwo"),
        ("\x1b]0;title\x07a\x1b]8;;x\x1b\\b", "ab"),
        ("a\x1b(Bb\x1b", "ab"),
        ("\x1b[?25la\x1b[2J", "a"),
        ("\x1b[31mr\x1b[0mn", '<span style="color:firebrick">r</span>n'),
        ("\x1b[1;34mb\x1b[22;39mn", '<span style="color:royalblue;font-weight:bold">b</span>n'),
        ("\x1b[38;5;196mx", '<span style="color:rgb(255,0,0)">x</span>'),
        ("\x1b[38;5;240mx", '<span style="color:rgb(88,88,88)">x</span>'),
        ("\x1b[38;5;9mx", '<span style="color:red">x</span>'),
        ("\x1b[48;2;1;2;999mx", '<span style="background:rgb(1,2,255)">x</span>'),
        ("\x1b[38mx\x1b[38;2;1mx", None),
        (f"\x1b[{'9' * 10_000}Ca", None),
        (f"\x1b[{';' * 10_000}m\x1b[²ma", None),
        ("<\r>", "&gt;"),
    ],
)
def test_what_a_terminal_shows(text: str, shown: str | None) -> None:
    assert to_html(text) == shown or shown is None


def test_long_texts_are_cut_in_the_middle() -> None:
    shown = to_html("a" * MAX_CHARACTERS + "\r" + "b" * MAX_CHARACTERS)
    assert f"... {MAX_CHARACTERS + 1} characters ..." in shown
    assert len(shown) < MAX_CHARACTERS + 100


def test_stripping() -> None:
    assert strip("\x1b[1;31ma\x1b[0m\x1b]8;;u\x07b") == "ab"
