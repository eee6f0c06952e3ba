"""What the content of a kernel's message says, checked: it comes out of a sandbox."""

from __future__ import annotations

from collections.abc import Iterator

from .._json import is_list, is_object
from ..errors import UnexpectedResponseError
from ..executions import CodeError, CodeOutput, CodeText, Result
from .kernel import Message

MAX_ERROR_CHARACTERS = 1 << 20
"""Of each part of an error; the middle of a longer one is left out."""


def output(message: Message) -> CodeOutput | None:
    """Return what the message shows; None if it is of a type that shows nothing."""
    match message.type:
        case "stream":
            return CodeText(
                "stderr" if text(message, "name") == "stderr" else "stdout", text(message, "text")
            )
        case "display_data" | "execute_result":
            return result(message)
        case "error":
            return error(message)
        case _:
            return None


def result(message: Message) -> Result:
    """Return the result in a `display_data`, `update_display_data` or `execute_result`."""
    data, metadata = message.content.get("data"), message.content.get("metadata", {})
    if not is_object(data) or not is_object(metadata):
        raise _lacks(message, "data")
    transient = message.content.get("transient")
    name = transient.get("display_id") if is_object(transient) else None
    return Result(
        data,
        metadata,
        is_main=message.type == "execute_result",
        display_id=name if isinstance(name, str) else None,
    )


def error(message: Message) -> CodeError:
    """Return the exception in an `error` or a failed `execute_reply`."""
    lines = message.content.get("traceback", [])
    if not is_list(lines) or not all(isinstance(line, str) for line in lines):
        raise _lacks(message, "traceback")
    return CodeError(
        _shortened(text(message, "ename")),
        _shortened(text(message, "evalue")),
        _shortened("\n".join(lines)),
    )


def pages(message: Message) -> Iterator[str]:
    """Return the texts that a reply wants shown in a pager: help after `?`, sources after `??`."""
    payloads = message.content.get("payload", [])
    for payload in payloads if is_list(payloads) else ():
        data = payload.get("data") if is_object(payload) else None
        page = data.get("text/plain") if is_object(data) else None
        if isinstance(page, str):
            yield page if page.endswith("\n") else f"{page}\n"


def count(message: Message) -> int | None:
    """Return the number of the cell; None if the message has none, as those of silent cells."""
    number = message.content.get("execution_count")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def text(message: Message, name: str) -> str:
    """Return a text that messages of its type have.

    Raises:
        UnexpectedResponseError: This one has not.
    """
    value = message.content.get(name)
    if not isinstance(value, str):
        raise _lacks(message, name)
    return value


def flag(message: Message, name: str) -> bool:
    """Return a yes or no that messages of its type may have."""
    return message.content.get(name) is True


def _shortened(text: str) -> str:
    if len(text) <= MAX_ERROR_CHARACTERS:
        return text
    half = MAX_ERROR_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters ...\n{text[-half:]}"


def _lacks(message: Message, name: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"The kernel sent a {message.type!r:.60} without a proper {name!r}", outcome="unknown"
    )
