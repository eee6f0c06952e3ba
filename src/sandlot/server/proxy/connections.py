"""Connections to programs in sandboxes that speak HTTP.

The programs are hostile. h11 reads what they say, strictly and within bounds; what it takes to read
it in time is bounded here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h11

__all__ = ["BrokenError", "PortConnection"]

_MOST_HEAD = 32 << 10  # bytes of a head, or of anything else that has to be read as a whole
_MOST_INFORMATION = 32  # answers before the answer (1xx)
_MOST_PIECES = 64  # pieces of a body that are put together before others get their turn
_MOST_UNREAD = 256 << 10
_BUFFER = memoryview(bytearray(256 << 10))  # of all connections: nothing stays in it


class BrokenError(Exception):
    """A program hung up or broke the protocol; the message is fit for users."""


class PortConnection(asyncio.BufferedProtocol):
    """A connection to a program, for one request after the other.

    Attributes:
        rested: Whether it has served a request before the one at hand.
        answered: Whether anything has come back since the request was sent.
        on_lost: Called when the connection is lost while it rests.
    """

    def __init__(self) -> None:
        self.rested = False
        self.answered = False
        self.on_lost: Callable[[], None] | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._unread = 0
        self._paused = False
        self._lost = False
        self._cut = False

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what the program says: not much, as long as that may be a head."""
        return _BUFFER if self._http.their_state is h11.SEND_BODY else _BUFFER[: _MOST_HEAD // 2]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what the program says."""
        if self.on_lost is not None:  # nobody asked
            self.close()
            return
        self.answered = True
        self._http.receive_data(bytes(_BUFFER[:nbytes]))
        self._unread += nbytes
        if self._unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._connected.pause_reading()
        _finish(self._arrival)

    def eof_received(self) -> bool:
        """Hear that the program says no more; it may go on listening."""
        if self.on_lost is not None:
            return False
        self._http.receive_data(b"")
        _finish(self._arrival)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that there is no connection any more."""
        self._lost = True
        self._cut = exc is not None or not self._http.trailing_data[1]
        _finish(self._arrival)
        _finish(self._writable)
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        """Have whoever writes wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let whoever writes go on."""
        _finish(self._writable)
        self._writable = None

    # what exchanges call

    @property
    def open(self) -> bool:
        """Whether the program is still there, as far as that is known."""
        return not self._lost and not self._connected.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether another request can follow the one that was answered."""
        done = self._http.our_state is self._http.their_state is h11.DONE
        return done and self.open and self._http.trailing_data == (b"", False)

    def rest(self) -> None:
        """Get ready for another request."""
        self._http.start_next_cycle()
        self.rested = True
        self.answered = False

    def close(self) -> None:
        """Hang up; may be repeated."""
        self._connected.abort()

    def send_head(self, request: h11.Request) -> None:
        """Begin a request."""
        self._write(self._http.send(request))

    async def send_body(self, data: bytes) -> None:
        """Send a piece of the body; to nobody, if the program has hung up."""
        self._write(self._http.send(h11.Data(data=data)))
        if self._writable is not None and not self._lost:
            await self._writable

    def end_body(self) -> None:
        """End the request."""
        self._write(self._http.send(h11.EndOfMessage()))

    async def head(
        self, on_continue: Callable[[], None]
    ) -> h11.Response | h11.InformationalResponse:
        """Return the head of the answer; an informational one if the program changes protocols.

        Args:
            on_continue: Called when the program asks for the body of the request.

        Raises:
            BrokenError: There is none.
        """
        for _ in range(_MOST_INFORMATION):
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
            if event.status_code == 101:
                return event
            if event.status_code == 100:
                on_continue()
        raise BrokenError("what it says is not an HTTP answer")

    async def body(self) -> tuple[bytes, bool]:
        """Return what there is of the body, at least one byte of it, and whether that is all.

        Raises:
            BrokenError: The rest is missing.
        """
        event = await self._next()
        pieces: list[bytes] = []
        while isinstance(event, h11.Data):
            pieces.append(event.data)
            if len(pieces) == _MOST_PIECES:
                await asyncio.sleep(0)
                return b"".join(pieces), False
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                return b"".join(pieces), False  # what is right may arrive; the next call says it
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data, isinstance(event, h11.EndOfMessage)

    def change_protocol(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Leave the connection to another protocol; return it with what has come in of it.

        It does not read, so that nothing is lost before the other is ready.
        """
        data, ended = self._http.trailing_data
        self._connected.pause_reading()
        self._connected.set_protocol(protocol)
        if self._lost:
            _ = self._loop.call_soon(protocol.connection_lost, None)
        elif ended:
            _ = self._loop.call_soon(protocol.eof_received)
        return self._connected, data

    @property
    def _connected(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def _write(self, data: bytes) -> None:
        if not self._lost:
            self._connected.write(data)  # not `writelines`: CVE-2024-12254

    async def _next(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                closed = self._http.trailing_data[1]
                problem = "it closed the connection" if closed else "what it says is not HTTP"
                raise BrokenError(problem) from error
            if event is not h11.NEED_DATA:
                return event
            if self._cut:
                raise BrokenError("it broke the connection")
            self._unread = 0
            if self._paused:
                self._paused = False
                self._connected.resume_reading()
            self._arrival = self._loop.create_future()
            await self._arrival


def _finish(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
