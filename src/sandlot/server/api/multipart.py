"""Forms with a file in them, taken apart as they arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from sandlot.server.services.errors import InvalidRequestError

__all__ = ["FormParser", "FormPiece"]

_MAX_HEADER = 16 << 10


@dataclass(slots=True)
class FormPiece:
    """Something that happened in a form: a part began, went on or ended.

    Attributes:
        name: Name of the part.
    """

    kind: Literal["begin", "data", "end"]
    name: str
    data: bytes = b""


@dataclass(slots=True)
class _Headers:
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    size: int = 0


class FormParser:
    """Takes the bytes of a `multipart/form-data` body and returns the pieces of its parts."""

    def __init__(self, content_type: str | None) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequestError("The body must be multipart/form-data with a boundary.")
        self._pieces: list[FormPiece] = []
        self._headers = _Headers()
        self._part = ""
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequestError("The boundary of the form is not valid.") from error

    def feed(self, data: bytes) -> list[FormPiece]:
        """Take some bytes and return what they bring.

        Raises:
            InvalidRequestError: The form is malformed.
        """
        self._pieces = []
        try:
            _ = self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequestError("The form is malformed.") from error
        return self._pieces

    def finish(self) -> None:
        """Check that the form came to its end.

        Raises:
            InvalidRequestError: It broke off.
        """
        if not self._complete:
            raise InvalidRequestError("The form breaks off before its end.")

    def _on_part_begin(self) -> None:
        self._headers = _Headers()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._headers.name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._headers.value += data[start:end]

    def _on_header_end(self) -> None:
        if bytes(self._headers.name).lower() == b"content-disposition":
            self._headers.disposition = bytes(self._headers.value)
        self._headers.name.clear()
        self._headers.value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        self._pieces.append(FormPiece("begin", self._part))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(FormPiece("data", self._part, data[start:end]))

    def _on_part_end(self) -> None:
        self._pieces.append(FormPiece("end", self._part))

    def _on_end(self) -> None:
        self._complete = True

    def _count(self, size: int) -> None:
        self._headers.size += size
        if self._headers.size > _MAX_HEADER:
            raise InvalidRequestError("The headers of a part are too long.")
