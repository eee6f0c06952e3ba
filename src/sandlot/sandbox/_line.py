"""A WebSocket that a conversation is had over, and what becomes of it when it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._flow import Flow
from .._protocols.hearing import SUBPROTOCOL, Message
from .._transport import AsyncTransport, Transport
from ..errors import SandboxStateError, SandlotError, TransportError
from . import _turns as turns
from ._talk import Talk

if TYPE_CHECKING:
    from .._sockets import AsyncSocket, Socket

_RETURN = 12.0
"""Seconds in which a lost connection must be replaced; servers wait a little longer."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


class Line:
    """A WebSocket that a conversation is had over; threads may share it.

    When the connection is lost, and the conversation can go on over another one, it does.
    """

    def __init__(self, transport: Transport) -> None:
        self.closed = False
        self._transport = transport
        self._talk: Talk | None = None
        self._socket: Socket | None = None
        self._back: Callable[[], Flow[None]] | None = None
        self._receiving = False
        self._returning = False
        self._lost_at: float | None = None
        self._opening = turns.lock()
        self._writing = turns.lock()
        self._turn = turns.condition()

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return self._socket is not None and not self.closed

    def open(
        self,
        opening: Callable[[], Flow[None]],
        begin: Callable[[bool], Talk],
        back: Callable[[], Flow[None]] | None = None,
    ) -> None:
        """Connect and begin to talk, unless that has been done.

        Args:
            opening: Returns the operation that connects.
            begin: Returns the conversation, told whether the server agreed to frames.
            back: Returns the operation that connects again; it is `opening` if None.
        """
        with self._opening:
            if self._socket is not None:
                return
            if self.closed:
                raise SandboxStateError("The stream was stopped before it was started")
            socket = self._transport.socket(opening(), SUBPROTOCOL)
            try:
                self._talk = begin(socket.subprotocol == SUBPROTOCOL)
                self._back = opening if back is None else back
                self._socket = socket
                self.flush()
            except BaseException:
                self._socket = None
                socket.abort()
                raise

    def flush(self) -> None:
        """Send what may be sent; only one thread at a time, so that messages keep their order."""
        talk = self._talk
        assert talk is not None
        with self._writing:
            socket = self._socket
            assert socket is not None
            while (message := talk.outgoing()) is not None:
                try:
                    socket.send(message)
                except ConnectionError:
                    talk.unsent(message)
                    return  # whoever receives will learn why

    def pump(
        self, ready: Callable[[], bool], *, timeout: float | None = None, discard: bool = False
    ) -> bool:
        """Receive until `ready`; one thread at a time does, the others wait for what it gets.

        Returns:
            Whether it is ready; False after `timeout` seconds.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._turn:
                while self._receiving and not ready():
                    if not turns.wait_turn(self._turn, give_up):
                        return False
                if ready():
                    return True
                self._receiving = True
            try:
                if not self._receive(give_up, discard=discard):
                    return False
            finally:
                with self._turn:
                    self._receiving = False
                    self._turn.notify_all()

    def hang_up(self) -> None:
        """End the conversation in good manners."""
        if self._socket is not None and not self.closed:
            self.closed = True
            self._socket.close()

    def abandon(self) -> None:
        """Leave without waiting for anything, but so that the server sees that it is on purpose."""
        self.closed = True
        if self._socket is not None:
            self._socket.abandon()

    def abort(self) -> None:
        """Drop the connection at once, from whatever thread."""
        self.closed = True
        if self._socket is not None:
            self._socket.abort()

    def _receive(self, give_up: float | None, *, discard: bool) -> bool:
        talk, socket = self._talk, self._socket
        assert talk is not None
        assert socket is not None
        try:
            message = self._hear(talk, socket, give_up)
        except TimeoutError:
            return False
        if message is not None:
            if self._returning:
                # It says what is to be sent again: nobody may be sending meanwhile.
                with self._writing:
                    self._returning = False
                    talk.receive(message)
            else:
                talk.receive(message)
            self.flush()
        if discard:
            talk.discard()
        return True

    def _hear(self, talk: Talk, socket: Socket, give_up: float | None) -> Message | None:
        """Return the next message; None if there is no more on this connection."""
        try:
            return socket.receive(turns.left(give_up))
        except ConnectionError as exc:
            if not self._come_back(talk, str(exc), give_up):
                talk.lose(self._transport.with_loss(str(exc)))
            return None

    def _come_back(self, talk: Talk, reason: str, give_up: float | None) -> bool:
        """Go on over another connection; return whether that was possible.

        Raises:
            TimeoutError: It was not so far; whoever receives next goes on trying.
        """
        lost_at = self._lost_at = self._lost_at or time.monotonic()
        pause = _FIRST_PAUSE
        while talk.can_return() and not self.closed:
            if self._transport.with_loss(reason) != reason:
                return False  # the server is gone for good
            try:
                if self._connect_again(talk, turns.left_or_raise(give_up)):
                    self._lost_at = None
                    return True
            except TransportError:
                pass
            except SandlotError as exc:
                if not exc.is_retryable:
                    return talk.deny(exc)
            if time.monotonic() > lost_at + _RETURN:
                break
            turns.sleep(min(pause, turns.left_or_raise(give_up) or pause))
            pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    def _connect_again(self, talk: Talk, patience: float | None) -> bool:
        assert self._back is not None
        socket = self._transport.socket(self._back(), SUBPROTOCOL, patience)
        try:
            with self._writing:
                first = talk.come_back()
                self._returning = True
                if first is not None:
                    socket.send(first)
                self._socket = socket
        except BaseException as exc:
            socket.abort()
            if isinstance(exc, ConnectionError):
                return False
            raise
        if self.closed:  # by another thread, meanwhile
            socket.abort()
        return True


class AsyncLine:
    """A WebSocket that a conversation is had over; threads may share it.

    When the connection is lost, and the conversation can go on over another one, it does.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self.closed = False
        self._transport = transport
        self._talk: Talk | None = None
        self._socket: AsyncSocket | None = None
        self._back: Callable[[], Flow[None]] | None = None
        self._receiving = False
        self._returning = False
        self._lost_at: float | None = None
        self._opening = turns.async_lock()
        self._writing = turns.async_lock()
        self._turn = turns.async_condition()

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return self._socket is not None and not self.closed

    async def open(
        self,
        opening: Callable[[], Flow[None]],
        begin: Callable[[bool], Talk],
        back: Callable[[], Flow[None]] | None = None,
    ) -> None:
        """Connect and begin to talk, unless that has been done.

        Args:
            opening: Returns the operation that connects.
            begin: Returns the conversation, told whether the server agreed to frames.
            back: Returns the operation that connects again; it is `opening` if None.
        """
        async with self._opening:
            if self._socket is not None:
                return
            if self.closed:
                raise SandboxStateError("The stream was stopped before it was started")
            socket = await self._transport.socket(opening(), SUBPROTOCOL)
            try:
                self._talk = begin(socket.subprotocol == SUBPROTOCOL)
                self._back = opening if back is None else back
                self._socket = socket
                await self.flush()
            except BaseException:
                self._socket = None
                socket.abort()
                raise

    async def flush(self) -> None:
        """Send what may be sent; only one thread at a time, so that messages keep their order."""
        talk = self._talk
        assert talk is not None
        async with self._writing:
            socket = self._socket
            assert socket is not None
            while (message := talk.outgoing()) is not None:
                try:
                    await socket.send(message)
                except ConnectionError:
                    talk.unsent(message)
                    return  # whoever receives will learn why

    async def pump(
        self, ready: Callable[[], bool], *, timeout: float | None = None, discard: bool = False
    ) -> bool:
        """Receive until `ready`; one thread at a time does, the others wait for what it gets.

        Returns:
            Whether it is ready; False after `timeout` seconds.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            async with self._turn:
                while self._receiving and not ready():
                    if not await turns.async_wait_turn(self._turn, give_up):
                        return False
                if ready():
                    return True
                self._receiving = True
            try:
                if not await self._receive(give_up, discard=discard):
                    return False
            finally:
                async with self._turn:
                    self._receiving = False
                    self._turn.notify_all()

    async def hang_up(self) -> None:
        """End the conversation in good manners."""
        if self._socket is not None and not self.closed:
            self.closed = True
            await self._socket.close()

    def abandon(self) -> None:
        """Leave without waiting for anything, but so that the server sees that it is on purpose."""
        self.closed = True
        if self._socket is not None:
            self._socket.abandon()

    def abort(self) -> None:
        """Drop the connection at once, from whatever thread."""
        self.closed = True
        if self._socket is not None:
            self._socket.abort()

    async def _receive(self, give_up: float | None, *, discard: bool) -> bool:
        talk, socket = self._talk, self._socket
        assert talk is not None
        assert socket is not None
        try:
            message = await self._hear(talk, socket, give_up)
        except TimeoutError:
            return False
        if message is not None:
            if self._returning:
                # It says what is to be sent again: nobody may be sending meanwhile.
                async with self._writing:
                    self._returning = False
                    talk.receive(message)
            else:
                talk.receive(message)
            await self.flush()
        if discard:
            talk.discard()
        return True

    async def _hear(self, talk: Talk, socket: AsyncSocket, give_up: float | None) -> Message | None:
        """Return the next message; None if there is no more on this connection."""
        try:
            return await socket.receive(turns.left(give_up))
        except ConnectionError as exc:
            if not await self._come_back(talk, str(exc), give_up):
                talk.lose(self._transport.with_loss(str(exc)))
            return None

    async def _come_back(self, talk: Talk, reason: str, give_up: float | None) -> bool:
        """Go on over another connection; return whether that was possible.

        Raises:
            TimeoutError: It was not so far; whoever receives next goes on trying.
        """
        lost_at = self._lost_at = self._lost_at or time.monotonic()
        pause = _FIRST_PAUSE
        while talk.can_return() and not self.closed:
            if self._transport.with_loss(reason) != reason:
                return False  # the server is gone for good
            try:
                if await self._connect_again(talk, turns.left_or_raise(give_up)):
                    self._lost_at = None
                    return True
            except TransportError:
                pass
            except SandlotError as exc:
                if not exc.is_retryable:
                    return talk.deny(exc)
            if time.monotonic() > lost_at + _RETURN:
                break
            await turns.async_sleep(min(pause, turns.left_or_raise(give_up) or pause))
            pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    async def _connect_again(self, talk: Talk, patience: float | None) -> bool:
        assert self._back is not None
        socket = await self._transport.socket(self._back(), SUBPROTOCOL, patience)
        try:
            async with self._writing:
                first = talk.come_back()
                self._returning = True
                if first is not None:
                    await socket.send(first)
                self._socket = socket
        except BaseException as exc:
            socket.abort()
            if isinstance(exc, ConnectionError):
                return False
            raise
        if self.closed:  # by another thread, meanwhile
            socket.abort()
        return True
