"""One client's side of the conversation with one kernel: messages in, events and an execution out.

A kernel tells everybody everything; what belongs to a cell has its request as its parent. A cell
has ended when the kernel has both replied (channel `shell`) and said `idle` (channel `iopub`), in
whatever order, as the two are not in step (Jupyter's "Messaging in Jupyter", "Kernel status").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from .._json import is_object
from ..code_events import (
    CodeClearEvent,
    CodeEndEvent,
    CodeErrorEvent,
    CodeEvent,
    CodeResultEvent,
    CodeStderrEvent,
    CodeStdoutEvent,
    CodeUpdateEvent,
)
from ..executions import CodeError, CodeOutput, CodeText, Execution, Result
from .contents import count, error, flag, output, pages, result, text
from .kernel import Message
from .outputs import MAX_OUTPUT_BYTES, Outputs

LATE_BYTES = 1 << 20
"""Bytes of each stream that earlier cells may add to an execution."""
_REMEMBERED = 10_000
"""Earlier cells whose late output is still recognised."""


class _Cell:
    """What is known of one cell."""

    def __init__(self, id: str, *, is_silent: bool, max_output_bytes: int) -> None:
        self.id = id
        self.is_silent = is_silent
        self.outputs = Outputs(max_output_bytes)
        self.updates = Outputs(0)
        self.late = Outputs(LATE_BYTES)
        self.events: deque[CodeEvent] = deque()
        self.error: CodeError | None = None
        self.count: int | None = None
        self.reply: Message | None = None
        self.answers: Mapping[str, Any] = {}
        self.probe = ""
        self.meets_fresh_kernel = False
        self.has_started = False
        self.is_idle = False
        self.is_told = False
        self.kernel_died = False
        self.is_lost = False
        self.is_given_up = False

    @property
    def has_ended(self) -> bool:
        return self.reply is not None and self.is_idle

    def show(self, shown: CodeOutput, size: int) -> None:
        self.outputs.add(shown, size)
        match shown:
            case CodeText(stream="stdout"):
                self.events.append(CodeStdoutEvent(shown.text))
            case CodeText():
                self.events.append(CodeStderrEvent(shown.text))
            case Result():
                self.events.append(CodeResultEvent(shown))
            case CodeError():
                self.error = shown
                self.events.append(CodeErrorEvent(shown))

    def update(self, changed: Result, size: int) -> None:
        if not self.outputs.update(changed, size) and not self.updates.update(changed, size):
            self.updates.add(changed, size)
        self.events.append(CodeUpdateEvent(changed))

    def execution(self) -> Execution:
        return Execution(
            outputs=self.outputs.all(),
            error=self.error,
            execution_count=self.count,
            updates=tuple(item for item in self.updates.all() if isinstance(item, Result)),
            late_output=self.late.all(),
            interrupted=self.error is not None and self.error.name == "KeyboardInterrupt",
            truncated=self.outputs.truncated or self.updates.truncated or self.late.truncated,
            fresh_kernel=self.meets_fresh_kernel,
        )


class KernelTalk:
    """Knows what a kernel has said about the cells of one session; performs no I/O.

    One cell at a time: `begin`, then `receive` and `take` until `ended`. A silent cell, one of the
    library's own, leaves what was meant for the next `Execution` to the next that is not silent.

    Attributes:
        session: Name of the session, which every request carries.
    """

    def __init__(self, session: str) -> None:
        self.session = session
        self._cell: _Cell | None = None
        self._earlier: dict[str, None] = {}
        self._late = Outputs(LATE_BYTES)
        self._late_updates = Outputs(0)
        self._has_state = False
        self._is_fresh = False
        self._restart_expected = False

    @property
    def started(self) -> bool:
        """The kernel has begun with the cell."""
        return self._cell is not None and self._cell.has_started

    @property
    def ended(self) -> bool:
        """The kernel is done with the cell: it has replied and is idle again."""
        return self._cell is not None and self._cell.has_ended

    @property
    def kernel_died(self) -> bool:
        """The kernel ended, without being told to, while it had the cell."""
        return self._cell is not None and self._cell.kernel_died

    @property
    def lost_output(self) -> bool:
        """The kernel is done with the cell, and its last messages passed while nobody listened."""
        return self._cell is not None and self._cell.is_lost

    @property
    def answers(self) -> Mapping[str, Any]:
        """What the `user_expressions` of the cell gave, as the reply has it."""
        return {} if self._cell is None else self._cell.answers

    @property
    def is_fresh(self) -> bool:
        """The kernel has begun anew since the last cell, which the next one will be told."""
        return self._is_fresh

    def begin(self, request: Message, *, max_output_bytes: int = MAX_OUTPUT_BYTES) -> None:
        """Take note that a cell is about to be sent.

        Args:
            request: What is sent.
            max_output_bytes: Bytes of each stream that its `Execution` keeps.
        """
        if self._cell is not None:
            self._earlier[self._cell.id] = None
            if len(self._earlier) > _REMEMBERED:
                del self._earlier[next(iter(self._earlier))]
        cell = _Cell(
            request.id,
            is_silent=request.content.get("silent") is True,
            max_output_bytes=max_output_bytes,
        )
        if not cell.is_silent:
            cell.late, self._late = self._late, Outputs(LATE_BYTES)
            cell.updates, self._late_updates = self._late_updates, Outputs(0)
            cell.meets_fresh_kernel, self._is_fresh = self._is_fresh, False
        self._cell = cell

    def probe(self, message_id: str) -> None:
        """Take note that the kernel is asked something behind the cell, after a reconnection.

        Kernels answer in order, so the answer tells whether the end of the cell was missed.
        """
        if self._cell is not None:
            self._cell.probe = message_id

    def expect_restart(self) -> None:
        """Take note that the kernel is about to be restarted on purpose."""
        self._restart_expected = self._is_fresh = True
        self._has_state = False
        if self._cell is not None:
            self._cell.is_given_up = True

    def receive(self, message: Message) -> None:
        """Read a message; what it means is told by the properties and `take`.

        Raises:
            UnexpectedResponseError: It lacks what a message of its type has.
        """
        cell, parent = self._cell, message.parent_id
        if not parent:
            if message.type == "status":
                self._receive_kernel_status(text(message, "execution_state"))
        elif cell is not None and parent == cell.id and not cell.has_ended:
            self._receive_of_cell(cell, message)
            if cell.has_ended and cell.reply is not None:
                _read_reply(cell, cell.reply)
        elif cell is not None and parent == cell.probe:
            _receive_of_probe(cell, message)
        elif parent in self._earlier or (cell is not None and parent == cell.id):
            self._receive_late(cell, message)

    def take(self) -> CodeEvent | None:
        """Take the next event; None if there is none yet, or after the last one."""
        cell = self._cell
        if cell is None or cell.is_told:
            return None
        if cell.events:
            return cell.events.popleft()
        if not cell.has_ended:
            return None
        cell.is_told = True
        return CodeEndEvent(cell.execution())

    def execution(self) -> Execution:
        """Return what is known of the cell so far."""
        return Execution() if self._cell is None else self._cell.execution()

    def _receive_kernel_status(self, state: str) -> None:
        # `restarting` and `dead` come from the Jupyter server, `starting` from a new kernel: one
        # that comes while a cell runs means that the news of the old one's end was missed.
        if state == "dead":
            ended = True
        elif state == "restarting":
            ended = not self._restart_expected
        else:
            ended = state == "starting" and self._has_state
        if ended:
            self._is_fresh, self._has_state = True, False
            if self._cell is not None and not self._cell.has_ended:
                self._cell.kernel_died = True

    def _receive_of_cell(self, cell: _Cell, message: Message) -> None:
        if message.channel == "shell":
            if message.type == "execute_reply":
                _receive_reply(cell, message)
        elif message.channel != "iopub":
            return
        elif message.type == "status":
            cell.has_started = True
            cell.is_idle = text(message, "execution_state") == "idle"
            if not cell.is_given_up:  # else it is the old kernel that still speaks
                self._restart_expected = False
                self._has_state = True
        elif message.type == "execute_input":
            cell.count = count(message)
        elif message.type == "clear_output":
            wait = flag(message, "wait")
            cell.outputs.clear(wait=wait)
            cell.events.append(CodeClearEvent(wait))
        elif message.type == "update_display_data":
            cell.update(result(message), message.size)
        elif (shown := output(message)) is not None:
            cell.show(shown, message.size)
            if message.type == "execute_result":
                cell.count = count(message)

    def _receive_late(self, cell: _Cell | None, message: Message) -> None:
        """Read what an earlier cell says after its end, from a thread for example."""
        if message.channel != "iopub":
            return
        running = cell if cell is not None and not (cell.has_ended or cell.is_silent) else None
        if message.type == "update_display_data":
            changed = result(message)
            if running is not None:
                running.update(changed, message.size)
            elif not self._late_updates.update(changed, message.size):
                self._late_updates.add(changed, message.size)
        elif (shown := output(message)) is not None:
            (self._late if running is None else running.late).add(shown, message.size)


def _receive_reply(cell: _Cell, message: Message) -> None:
    _ = text(message, "status")
    cell.has_started = True
    cell.count = count(message) or cell.count
    answers = message.content.get("user_expressions")
    cell.answers = answers if is_object(answers) else {}
    cell.reply = message


def _read_reply(cell: _Cell, message: Message) -> None:
    """Show what a reply says, after the outputs, although it may have come before them."""
    for page in pages(message):
        cell.show(CodeText("stdout", page), message.size)
    state = text(message, "status")
    if state == "aborted":
        skipped = "the kernel skipped it, as code that waited before it had failed"
        cell.show(CodeError("ExecutionAborted", skipped), 0)
    elif state == "error" and cell.error is None:
        cell.show(error(message), message.size)


def _receive_of_probe(cell: _Cell, message: Message) -> None:
    # Each channel is in order: what belongs to the cell and has not come by now never will.
    if message.channel == "shell":
        cell.is_lost = cell.is_lost or cell.reply is None
    elif message.type == "status" and text(message, "execution_state") == "idle":
        cell.is_lost = cell.is_lost or not cell.is_idle
