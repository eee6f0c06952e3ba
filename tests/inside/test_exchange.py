"""Variables of a real kernel: listed, read and set."""

from __future__ import annotations

import datetime
import importlib.util
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandlot import CodeFailedError, CodeText, InvalidArgumentError, Table, UnsupportedError
from sandlot._inside import exchange
from sandlot._protocols import values
from sandlot._protocols.kernel import execute_request
from sandlot._protocols.preparation import prepare
from tests.inside.kernels import Kernel

HERE = importlib.util.find_spec("pyarrow") is not None


def assigned(kernel: Kernel, code: str) -> None:
    done = kernel.run(code)
    assert done.error is None, done.error.traceback


def form(kernel: Kernel, name: str) -> dict[str, Any]:
    """Return how the value of a variable travels."""
    answer = kernel.ask(values.ask_value(name))
    return exchange.parse(answer["sandlot"]["data"][exchange.ANSWER])


def test_values_come_out(kernel: Kernel) -> None:
    assigned(
        kernel,
        "import datetime, math\n"
        "value = {'n': [1, 2.5, None, True], 't': (1, {2}), 'b': b'\\xff', 'big': 2**70,\n"
        "         'inf': [math.inf, -math.inf], 'd': datetime.date(2024, 1, 1), 5: '\\ud800'}\n"
        "nan = math.nan",
    )
    assert kernel.get("value") == {
        "n": [1, 2.5, None, True],
        "t": (1, {2}),
        "b": b"\xff",
        "big": 2**70,
        "inf": [math.inf, -math.inf],
        "d": datetime.date(2024, 1, 1),
        5: "\ud800",
    }
    assert math.isnan(kernel.get("nan"))


def test_values_of_numpy_come_as_plain_ones(kernel: Kernel) -> None:
    numbers = "np.int64(5), np.float32(0.5), np.bool_(True), np.str_('a')"
    assigned(kernel, f"import numpy as np\nn = [{numbers}]")
    found = kernel.get("n")
    assert found == [5, 0.5, True, "a"]
    assert [type(item) for item in found] == [int, float, bool, str]


def test_values_go_in(kernel: Kernel) -> None:
    for value in ([1, (2,), {"a": None}], {1: b"\0", None: 2**80}, "'\"\\\n\ud800", math.inf):
        kernel.set("given", value)
        assert kernel.get("given") == value
    kernel.set("naïve", {1, 2})
    assert kernel.run("naïve").text == "{1, 2}"


def test_refusals_say_why(kernel: Kernel) -> None:
    assigned(kernel, "class Thing: pass\nthing = [Thing()]\nlong = 'x' * (65 << 20)")
    for name, said in {
        "nothing_here": "no variable 'nothing_here'",
        "thing": "Thing is not a plain value",
        "long": "takes 65 MB as JSON, of at most 64; use a file",
    }.items():
        with pytest.raises(CodeFailedError, match=said):
            _ = kernel.get(name)
    with pytest.raises(InvalidArgumentError, match="no name of a variable"):
        _ = kernel.get("a.b")
    assert kernel.run("1").text == "1"


def test_questions_leave_no_traces(kernel: Kernel) -> None:
    before = kernel.run("sorted(globals())")
    kernel.set("given_once", 1)
    _ = kernel.get("given_once")
    _ = kernel.variables()
    after = kernel.run("del given_once\nsorted(n for n in globals() if n[:2] != '_i' and n != '_')")
    assert before.execution_count is not None
    assert after.execution_count == before.execution_count + 1
    assert after.text is not None
    assert "sandlot" not in after.text


def test_frames_come_out(kernel: Kernel) -> None:
    assigned(
        kernel,
        "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': ['x', None]}, index=[5, 6])",
    )
    found = form(kernel, "frame")
    assert set(found) == {"frame"}
    kernel.send(
        request := execute_request(
            "",
            kernel.talk.session,
            silent=True,
            user_expressions={
                "sandlot": f"__import__('sys').modules['_sandlot_inside'].exchange.set('again',"
                f" {__import__('json').dumps(found)!a})"
            },
        )
    )
    kernel.talk.begin(request)
    _ = kernel.finish()
    assert kernel.run("pd.testing.assert_frame_equal(again, frame)").error is None
    if not HERE:
        with pytest.raises(UnsupportedError, match="pyarrow on this side too"):
            _ = kernel.get("frame")


def test_frames_that_arrow_cannot_hold(kernel: Kernel) -> None:
    assigned(kernel, "import pandas as pd\nframe = pd.DataFrame({'a': [1, 'x']})")
    with pytest.raises(CodeFailedError, match="column 'a'"):
        _ = kernel.get("frame")


def test_without_pyarrow_small_frames_are_tables(kernel: Kernel) -> None:
    assigned(
        kernel,
        "import sys\nimport pandas as pd\nhidden = sys.modules.get('pyarrow')\n"
        "sys.modules['pyarrow'] = None\n"
        "small = pd.DataFrame({'a': [1, 2]})\nlarge = pd.DataFrame({'a': range(1001)})",
    )
    try:
        found = kernel.get("small")
        assert isinstance(found, Table)
        assert found.rows == ((1,), (2,))
        with pytest.raises(CodeFailedError, match="of this size needs pyarrow"):
            _ = kernel.get("large")
    finally:
        assigned(kernel, "del sys.modules['pyarrow']\nif hidden: sys.modules['pyarrow'] = hidden")


EVIL = """
class Evil:
    def anything(self, *a): raise SystemExit("user code ran")
    __repr__ = __str__ = __len__ = __iter__ = __hash__ = __eq__ = __getattr__ = anything
    __class__ = property(anything)
    @property
    def shape(self): raise SystemExit("user code ran")
class EvilMeta(type):
    def __getattribute__(self, name): raise SystemExit("user code ran")
class Worse(metaclass=EvilMeta): pass
class EvilDict(dict):
    def items(self): raise SystemExit("user code ran")
evil, worse, of_evil, evil_dict = Evil(), Worse(), [Evil(), {1: Evil()}], EvilDict(a=1)
"""


@pytest.mark.alone
def test_variables_are_listed(python: Path) -> None:
    kernel = Kernel(python)
    try:
        assert kernel.variables() == {}
        assigned(
            kernel,
            "import sys, numpy as np, pandas as pd\nfrom math import sin\n"
            "def f(): pass\nclass C: pass\n_hidden = 1\n"
            "n = 5; x = 1.5; s = 'a' * 1000; b = b'x'; nothing = None; big = 1 << 100_000\n"
            "items = list(range(100)); nested = {'a': [1, {2: [3]}], 'b': (1,)}; chars = {'z'}\n"
            "array = np.zeros((2, 3)); frame = pd.DataFrame({'a': [1]}); c = C(); loop = []\n"
            "loop.append(loop); In2 = In; zero = np.float64(0)",
        )
        found = kernel.variables()
        assert set(found) == {
            *("n", "x", "s", "b", "nothing", "big", "items", "nested", "chars"),
            *("array", "frame", "c", "loop", "In2", "zero"),
        }
        assert {name: (item.type, item.shape, item.text) for name, item in found.items()} == {
            "n": ("int", None, "5"),
            "x": ("float", None, "1.5"),
            "s": ("str", (1000,), f"'{'a' * 196}..."),
            "b": ("bytes", (1,), "b'x'"),
            "nothing": ("NoneType", None, "None"),
            "big": ("int", None, "<int of 100001 bits>"),
            "items": ("list", (100,), "[0, 1, 2, 3, 4, 5, ...]"),
            "nested": ("dict", (2,), "{'a': [1, {...}], 'b': (1,)}"),
            "chars": ("set", (1,), "{'z'}"),
            "array": ("numpy.ndarray", (2, 3), "<numpy.ndarray 2 x 3>"),
            "frame": ("pandas.DataFrame", (1, 1), "<pandas.DataFrame 1 x 1>"),
            "c": ("__main__.C", None, "<__main__.C>"),
            "loop": ("list", (1,), "[[[...]]]"),
            "In2": ("list", found["In2"].shape, found["In2"].text),
            "zero": ("numpy.float64", (), "<numpy.float64 >"),
        }
        assigned(kernel, EVIL)
        found = kernel.variables()
        assert found["evil"].text == "<__main__.Evil>"
        assert found["worse"].text == "<__main__.Worse>"
        assert found["of_evil"].text == "[<__main__.Evil>, {1: <__main__.Evil>}]"
        assert found["evil_dict"].text == "<__main__.EvilDict>"
        assigned(kernel, "huge = {i: [i] * 10 for i in range(10**6)}; text = 'x' * 10**8")
        taken: list[float] = []
        for _ in range(3):
            start = time.monotonic()
            assert kernel.variables()["huge"].shape == (1_000_000,)
            taken.append(time.monotonic() - start)
        assert min(taken) < 1  # nobody looks at all of it
        assigned(kernel, "for i in range(12_000): globals()[f'v{i}'] = i")
        assert len(kernel.variables()) == 10_000
    finally:
        kernel.close()


# The wire


@pytest.fixture(params=["framed", "older"], scope="module")
def either(request: pytest.FixtureRequest, python: Path) -> Iterator[Kernel]:
    kernel = Kernel(python, framed=request.param == "framed")
    yield kernel
    kernel.close()


def test_both_forms_of_the_wire(either: Kernel) -> None:
    assert either.run("print('é'); 6 * 7").text == "42"
    assert either.talk.execution().stdout == "é\n"
    done = either.run("1 / 0")
    assert done.error is not None
    assert done.error.name == "ZeroDivisionError"
    assert either.get("__name__") == "__main__"


def test_buffers_in_both_forms(either: Kernel) -> None:
    done = either.run(
        "k = get_ipython().kernel\n"
        "k.session.send(k.iopub_socket, 'sandlot_test', {}, parent=k.get_parent('shell'),"
        " buffers=[b'\\x00\\xff', b''])"
    )
    assert done.ok, done.error
    (message,) = (message for message in either.messages if message.type == "sandlot_test")
    assert message.buffers == (b"\0\xff", b"")


def test_output_that_is_no_text(either: Kernel) -> None:
    assert either.run("print('a\\udcffb')").stdout == "a\ufffdb\n"
    done = either.run("import os; _ = os.write(1, b'c\\xff\\n')")
    said = done.stdout
    while "\n" not in said:  # it is read from a pipe, sooner or later
        done = either.run("")
        said += "".join(text.text for text in done.late_output if isinstance(text, CodeText))
        said += done.stdout
    assert said == "c\ufffd\n"


def test_interruption(either: Kernel) -> None:
    code = "import time; print('now', flush=True); time.sleep(60)"
    either.begin(execute_request(code, either.talk.session))
    while not either.talk.execution().stdout:
        _ = either.receive()
    either.interrupt()
    done = either.finish()
    assert done.interrupted
    assert done.stdout == "now\n"
    assert either.run("time").text is not None


def test_shells(python: Path) -> None:
    kernel = Kernel(python, name="bash")
    try:
        code = prepare("bash", "/", {"A": "it's\n$x"})
        _ = kernel.perform(execute_request(code, kernel.talk.session, silent=True))
        assert kernel.run('echo "$A"; pwd').stdout == "it's\n$x\n/\n"
    finally:
        kernel.close()
