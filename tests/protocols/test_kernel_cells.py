"""What a client makes of what a kernel says: recorded cells, and what is rare or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandlot._protocols import cell as cells
from sandlot._protocols import contents, outputs
from sandlot._protocols.cell import KernelTalk
from sandlot._protocols.kernel import Message, execute_request, kernel_info_request
from sandlot.code_events import (
    CodeClearEvent,
    CodeEndEvent,
    CodeErrorEvent,
    CodeEvent,
    CodeResultEvent,
    CodeStderrEvent,
    CodeStdoutEvent,
    CodeUpdateEvent,
)
from sandlot.errors import UnexpectedResponseError
from sandlot.executions import CodeError, CodeText, Execution, Result

RECORDED: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("recorded_cells.json").read_text()
)


def events(talk: KernelTalk) -> list[CodeEvent]:
    taken: list[CodeEvent] = []
    while (event := talk.take()) is not None:
        taken.append(event)
    return taken


def replay(*names: str, **options: Any) -> tuple[KernelTalk, list[CodeEvent]]:
    """Let a client hear recorded cells; return its side and the events of the last one."""
    talk = KernelTalk("s")
    for name in names:
        request, *messages = (Message(**message) for message in RECORDED[name])
        _ = events(talk)
        talk.begin(request, **options)
        for message in messages:
            assert not talk.ended
            talk.receive(message)
        assert talk.ended
    return talk, events(talk)


def executed(*names: str, **options: Any) -> Execution:
    talk, told = replay(*names, **options)
    assert told[-1] == CodeEndEvent(talk.execution())
    return talk.execution()


class Cell:
    """A cell that a test makes up."""

    def __init__(self, talk: KernelTalk | None = None, **options: Any) -> None:
        self.talk = talk or KernelTalk("s")
        silent = options.pop("silent", False)
        self.request = execute_request("x", "s", silent=silent)
        self.talk.begin(self.request, **options)

    def hear(self, type: str, channel: str = "iopub", *, size: int = 10, **content: Any) -> Message:
        message = Message(channel, type, uuid4().hex, self.request.id, "kernel", content, size=size)
        self.talk.receive(message)
        return message

    def prints(self, text: str, stream: str = "stdout") -> None:
        _ = self.hear("stream", name=stream, text=text)

    def shows(self, value: str, name: str | None = None, **more: Any) -> None:
        transient = {} if name is None else {"display_id": name}
        _ = self.hear("display_data", data={"text/plain": value}, transient=transient, **more)

    def busy(self) -> None:
        _ = self.hear("status", execution_state="busy")

    def idle(self) -> None:
        _ = self.hear("status", execution_state="idle")

    def reply(self, **content: Any) -> None:
        _ = self.hear("execute_reply", "shell", **{"status": "ok", "execution_count": 1, **content})

    def end(self) -> Execution:
        self.reply()
        self.idle()
        return self.talk.execution()


def kernel_says(state: str) -> Message:
    return Message("iopub", "status", uuid4().hex, "", "kernel", {"execution_state": state})


# Recorded


def test_a_value() -> None:
    talk, told = replay("value")
    shown = Result({"text/plain": "42"}, {}, is_main=True)
    assert talk.execution() == Execution(outputs=(shown,), execution_count=1)
    assert told == [CodeResultEvent(shown), CodeEndEvent(talk.execution())]
    assert talk.take() is None


def test_prints_in_order() -> None:
    talk, told = replay("prints")
    assert talk.execution().outputs == (
        CodeText("stdout", "a\n"),
        CodeText("stderr", "b\n"),
        CodeText("stdout", "c\n"),
    )
    assert talk.execution().stdout == "a\nc\n"
    assert told[:-1] == [
        CodeStdoutEvent("a\n"),
        CodeStderrEvent("b\n"),
        CodeStdoutEvent("c\n"),
    ]


def test_an_error_with_its_cause() -> None:
    talk, told = replay("error")
    done = talk.execution()
    assert done.error is not None
    assert (done.error.name, done.error.value) == ("ValueError", "y")
    assert "KeyError: 'x'" in done.error.traceback
    assert "direct cause" in done.error.traceback
    assert "\x1b" in done.error.traceback_ansi
    assert "\x1b" not in done.error.traceback
    assert done.outputs == (done.error,)
    assert told == [CodeErrorEvent(done.error), CodeEndEvent(done)]


def test_a_reply_may_come_before_the_outputs() -> None:
    # They do in the real world, now and then: channels are not in step.
    request, *messages = (Message(**message) for message in RECORDED["syntax"])
    talk = KernelTalk("s")
    talk.begin(request)
    for message in sorted(messages, key=lambda message: message.channel != "shell"):
        talk.receive(message)
    done = talk.execution()
    assert done.error is not None
    assert done.error.name == "SyntaxError"
    assert done.outputs == (done.error,)
    assert events(talk) == [CodeErrorEvent(done.error), CodeEndEvent(done)]


def test_updates_of_earlier_displays() -> None:
    talk, told = replay("display", "update")
    done = talk.execution()
    assert done.outputs == ()
    (changed,) = done.updates
    assert changed.html == "<b>2</b>"
    assert changed.display_id == "d"
    assert told[0] == CodeUpdateEvent(changed)


def test_updates_of_own_displays() -> None:
    done = executed("update own")
    assert done.outputs == (
        Result({"text/plain": "'z'"}, {}, display_id="g"),
        CodeText("stdout", "y\n"),
    )
    assert done.updates == ()


def test_clearing() -> None:
    assert executed("clear").stdout == "b\n"
    assert executed("clear later").stdout == "b\n"
    assert executed("clear at last").stdout == "a\n"
    assert CodeClearEvent(True) in replay("clear later")[1]
    assert CodeClearEvent(False) in replay("clear")[1]


def test_help_becomes_text() -> None:
    talk, told = replay("help")
    assert "number of items" in talk.execution().stdout
    assert isinstance(told[0], CodeStdoutEvent)


def test_input_raises_in_the_cell() -> None:
    done = executed("input")
    assert done.error is not None
    assert done.error.name == "StdinNotImplementedError"


def test_late_output_is_not_taken_for_the_cells_own() -> None:
    talk, _ = replay("thread")
    talk.receive(Message(**RECORDED["late"][0]))
    assert talk.execution().outputs == ()
    assert Cell(talk).end().late_output == (CodeText("stdout", "late\n"),)


def test_an_empty_cell_and_a_progress_bar() -> None:
    assert executed("nothing").outputs == ()
    assert executed("progress").stdout == "\r0\r1\r2"


def test_answers_to_expressions() -> None:
    talk, told = replay("questions")
    assert talk.answers["a"]["data"] == {"text/plain": "42"}
    assert talk.answers["b"]["ename"] == "ZeroDivisionError"
    assert talk.execution().error is None
    assert len(told) == 1


def test_cells_that_are_skipped_say_so() -> None:
    request, *messages = (Message(**message) for message in RECORDED["aborted"])
    talk = KernelTalk("s")
    talk.begin(request)
    for message in messages:
        talk.receive(message)
    done = talk.execution()
    assert done.error is not None
    assert done.error.name == "ExecutionAborted"
    assert talk.ended


# Whose message it is


def test_messages_of_others_are_ignored() -> None:
    cell = Cell()
    other = Cell()
    for message in (
        other.hear("status", execution_state="idle"),
        other.hear("stream", name="stdout", text="x"),
        other.hear("execute_reply", "shell", status="ok"),
        other.hear("update_display_data", data={}, transient={"display_id": "d"}),
    ):
        cell.talk.receive(message)
    assert not cell.talk.started
    assert not cell.talk.ended
    assert cell.end() == Execution(execution_count=1)


def test_states_of_a_cell() -> None:
    talk = KernelTalk("s")
    states = (talk.started, talk.ended, talk.kernel_died, talk.lost_output, talk.is_fresh)
    assert states == (False,) * 5
    assert talk.take() is None
    assert talk.execution() == Execution()
    assert talk.answers == {}
    cell = Cell(talk)
    assert not talk.started
    cell.busy()
    assert talk.started
    cell.prints("a")
    assert talk.execution().stdout == "a"
    cell.idle()
    assert not talk.ended
    cell.prints("b")  # of a thread, before the reply
    cell.reply()
    assert talk.ended
    assert talk.execution().stdout == "ab"


def test_silent_cells_leave_news_to_the_next() -> None:
    first = Cell()
    first.busy()
    _ = first.end()
    first.prints("late")
    first.talk.receive(kernel_says("restarting"))
    silent = Cell(first.talk, silent=True)
    first.prints(" and later")
    assert silent.end() == Execution(execution_count=1)
    _ = first.hear("update_display_data", data={"a": "1"}, transient={"display_id": "d"})
    last = Cell(first.talk)
    first.prints(" and last")
    done = last.end()
    assert done.fresh_kernel
    assert done.late_output == (CodeText("stdout", "late and later and last"),)
    assert [changed.data for changed in done.updates] == [{"a": "1"}]
    again = Cell(first.talk).end()
    assert (again.fresh_kernel, again.late_output, again.updates) == (False, (), ())


def test_only_so_many_earlier_cells_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_REMEMBERED", 2)
    first = Cell()
    for _ in range(3):
        _ = Cell(first.talk)
    first.prints("x")
    assert Cell(first.talk).end().late_output == ()


# Kernels that end


@pytest.mark.parametrize("state", ["restarting", "dead", "starting"])
def test_a_kernel_that_dies(state: str) -> None:
    cell = Cell()
    cell.busy()
    cell.prints("a")
    cell.talk.receive(kernel_says(state))
    assert cell.talk.kernel_died
    assert not cell.talk.ended
    assert cell.talk.execution().stdout == "a"
    assert cell.talk.is_fresh
    after = Cell(cell.talk)
    assert not cell.talk.kernel_died
    assert not cell.talk.is_fresh
    assert after.end().fresh_kernel
    assert not Cell(cell.talk).end().fresh_kernel


def test_a_kernel_that_starts_has_not_died() -> None:
    cell = Cell()
    for state in ("starting", "busy", "idle"):
        cell.talk.receive(kernel_says(state))
    assert not cell.talk.kernel_died
    assert not cell.end().fresh_kernel


def test_a_kernel_that_dies_between_cells() -> None:
    cell = Cell()
    cell.busy()
    _ = cell.end()
    cell.talk.receive(kernel_says("restarting"))
    assert not cell.talk.kernel_died
    assert Cell(cell.talk).end().fresh_kernel


def test_restarts_on_purpose() -> None:
    cell = Cell()
    cell.busy()
    cell.talk.expect_restart()
    cell.busy()  # the old kernel's last words
    for state in ("restarting", "starting"):
        cell.talk.receive(kernel_says(state))
    assert not cell.talk.kernel_died
    after = Cell(cell.talk)
    for state in ("restarting", "starting"):  # late news
        after.talk.receive(kernel_says(state))
    assert not after.talk.kernel_died
    after.busy()
    assert after.talk.execution().fresh_kernel
    after.talk.receive(kernel_says("restarting"))
    assert after.talk.kernel_died


def test_a_kernel_that_does_not_come_back() -> None:
    cell = Cell()
    cell.talk.expect_restart()
    cell.talk.receive(kernel_says("dead"))
    assert cell.talk.kernel_died


# Connections that were lost


def probed(cell: Cell) -> Cell:
    """Ask the kernel something behind a cell; what is heard of it is heard from the result."""
    behind = Cell()
    question = kernel_info_request("s")
    behind.request = question
    cell.talk.probe(question.id)
    behind.talk = cell.talk
    return behind


def test_an_end_that_was_missed() -> None:
    cell = Cell()
    cell.busy()
    behind = probed(cell)
    behind.busy()
    assert not cell.talk.lost_output
    _ = behind.hear("kernel_info_reply", "shell", status="ok")
    assert cell.talk.lost_output
    assert not cell.talk.ended


def test_an_end_of_which_a_half_was_missed() -> None:
    cell = Cell()
    cell.reply()
    behind = probed(cell)
    _ = behind.hear("kernel_info_reply", "shell", status="ok")
    assert not cell.talk.lost_output  # `idle` may be on its way
    behind.idle()
    assert cell.talk.lost_output


def test_an_end_that_came_in_time() -> None:
    cell = Cell()
    behind = probed(cell)
    cell.reply()
    _ = behind.hear("kernel_info_reply", "shell", status="ok")
    cell.idle()
    behind.idle()
    assert not cell.talk.lost_output
    assert cell.talk.ended


# Limits


def test_streams_are_cut_where_the_limit_is() -> None:
    cell = Cell(max_output_bytes=5)
    for text in ("ab", "cé", "x", "z"):
        cell.prints(text)
    cell.prints("err", "stderr")
    done = cell.end()
    assert (done.stdout, done.stderr, done.truncated) == ("abcé", "err", True)
    assert [event for event in events(cell.talk) if event == CodeStdoutEvent("z")]
    exact = Cell(max_output_bytes=3)
    exact.prints("abc")
    assert not exact.end().truncated
    none = Cell(max_output_bytes=0)
    none.prints("a")
    assert none.end() == Execution(execution_count=1, truncated=True)


def test_clearing_makes_room() -> None:
    cell = Cell(max_output_bytes=3)
    cell.prints("abcd")
    _ = cell.hear("clear_output", wait=True)
    assert cell.talk.execution().truncated
    cell.prints("xyz")
    done = cell.end()
    assert (done.stdout, done.truncated) == ("xyz", False)


def test_many_small_prints_are_one_text() -> None:
    cell = Cell()
    for _ in range(20_000):
        cell.prints("x\n")
        _ = cell.talk.take()
    assert cell.end().outputs == (CodeText("stdout", "x\n" * 20_000),)


def test_results_are_limited_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_RESULTS", 3)
    monkeypatch.setattr(outputs, "MAX_RESULT_BYTES", 100)
    many = Cell()
    for number in range(5):
        many.shows(str(number))
    done = many.end()
    assert [shown.text for shown in done.results] == ["0", "1", "2"]
    assert done.truncated
    large = Cell()
    large.shows("a", "d", size=60)
    large.shows("b", size=60)
    large.shows("c", size=40)
    _ = large.hear("update_display_data", size=61, data={}, transient={"display_id": "d"})
    done = large.end()
    assert [shown.text for shown in done.results] == ["a", "c"]
    assert done.truncated
    small = Cell()
    small.shows("a", "d", size=60)
    _ = small.hear("update_display_data", size=100, data={"a": 1}, transient={"display_id": "d"})
    assert not small.end().truncated


def test_an_update_keeps_the_main_result_main() -> None:
    cell = Cell()
    _ = cell.hear(
        "execute_result", data={"text/plain": "1"}, transient={"display_id": "d"}, execution_count=4
    )
    _ = cell.hear("update_display_data", data={"text/plain": "2"}, transient={"display_id": "d"})
    assert cell.talk.execution().text == "2"
    assert cell.talk.execution().execution_count == 4


def test_errors_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MAX_ERROR_CHARACTERS", 10)
    cell = Cell()
    _ = cell.hear("error", ename="E", evalue="0123456789abcdef", traceback=["x"] * 20)
    error = cell.end().error
    assert error is not None
    assert error.value == "01234\n... 6 characters ...\nbcdef"


def test_interruption_is_told() -> None:
    cell = Cell()
    _ = cell.hear("error", ename="KeyboardInterrupt", evalue="", traceback=[])
    done = cell.end()
    assert done.interrupted
    assert not done.ok
    assert done.error == CodeError("KeyboardInterrupt", "")


def test_a_failure_that_only_the_reply_tells() -> None:
    cell = Cell()
    cell.prints("a")
    cell.reply(status="error", ename="E", evalue="v")
    assert cell.talk.execution().error is None
    cell.idle()
    assert cell.talk.execution().outputs == (CodeText("stdout", "a"), CodeError("E", "v"))


# Nonsense

NONSENSE: list[tuple[str, str, dict[str, Any]]] = [
    ("status", "iopub", {}),
    ("status", "iopub", {"execution_state": 1}),
    ("stream", "iopub", {"name": "stdout"}),
    ("stream", "iopub", {"name": 1, "text": "x"}),
    ("display_data", "iopub", {}),
    ("display_data", "iopub", {"data": []}),
    ("display_data", "iopub", {"data": {}, "metadata": 1}),
    ("execute_result", "iopub", {"data": None}),
    ("update_display_data", "iopub", {"data": "x"}),
    ("error", "iopub", {}),
    ("error", "iopub", {"ename": "a", "evalue": "b", "traceback": "c"}),
    ("error", "iopub", {"ename": "a", "evalue": "b", "traceback": [1]}),
    ("error", "iopub", {"ename": "a", "evalue": None, "traceback": []}),
    ("execute_reply", "shell", {}),
    ("execute_reply", "shell", {"status": None}),
]


@pytest.mark.parametrize(("type", "channel", "content"), NONSENSE)
def test_nonsense_is_said_to_be_nonsense(type: str, channel: str, content: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError):
        _ = Cell().hear(type, channel, **content)


HARMLESS: list[tuple[str, str, dict[str, Any]]] = [
    ("comm_open", "iopub", {"data": 1}),
    ("unheard_of", "iopub", {}),
    ("input_request", "stdin", {"prompt": "?"}),
    ("kernel_info_reply", "shell", {}),
    ("debug_event", "control", {}),
    ("execute_input", "iopub", {"execution_count": "x"}),
    ("clear_output", "iopub", {}),
    ("display_data", "iopub", {"data": {"text/plain": 5}, "transient": [1]}),
    ("display_data", "iopub", {"data": {}, "transient": {"display_id": 5}}),
    ("execute_reply", "shell", {"status": "ok", "payload": 1, "user_expressions": []}),
    ("execute_reply", "shell", {"status": "ok", "payload": [1, {"data": 1}, {"data": {}}]}),
    ("execute_reply", "shell", {"status": "ok", "execution_count": True}),
]


@pytest.mark.parametrize(("type", "channel", "content"), HARMLESS)
def test_what_does_not_matter_is_passed_over(
    type: str, channel: str, content: dict[str, Any]
) -> None:
    cell = Cell()
    _ = cell.hear(type, channel, **content)
    done = cell.end()
    assert done.ok
    assert done.text is None
    assert done.stdout == ""
