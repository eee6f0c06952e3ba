"""One client's dealings with one kernel: starting, connecting, preparing and restarting it."""

from __future__ import annotations

from .._operations import kernels, sandboxes
from .._operations.kernels import Kernel
from .._protocols.cell import KernelTalk
from .._transport import AsyncTransport, Transport
from ..errors import ContextNotFoundError, UnsupportedError
from . import _turns as turns
from ._cell import Preparation
from ._links import AsyncKernelLink, KernelLink
from ._seen import Seen

__all__ = ["AsyncKernelSession", "KernelSession"]

_MOST_LATE = 10_000
"""Messages of earlier code to look at before new code is sent."""


class KernelSession:
    """One client's dealings with one kernel.

    Attributes:
        turn: Held by whoever has code running.
        link: The connection.
        kernel: The kernel, once there is one.
    """

    def __init__(
        self,
        transport: Transport,
        sandbox: Seen,
        language: str,
        kernel: Kernel | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        self.turn: turns.Lock = turns.lock()
        self.link: KernelLink = KernelLink(transport, sandbox.id)
        self.kernel: Kernel | None = kernel
        self._run = transport.run
        self._server = transport.server
        self._sandbox = sandbox
        self._language = language
        self._preparation = preparation or Preparation()
        self._is_prepared = False
        self._talk = KernelTalk(self.link.session)

    @property
    def where(self) -> str:
        """The sandbox, for people."""
        return self._sandbox.id

    @property
    def language(self) -> str:
        """What the kernel speaks, or shall."""
        return self._language if self.kernel is None else self.kernel.language

    def require(self, language: str) -> None:
        """Refuse what can be done in one language only."""
        if self.language != language:
            raise UnsupportedError(
                f"This is for {language} contexts, and this one runs {self.language}"
            )

    def start(self) -> Kernel:
        """Start a kernel."""
        place = self._sandbox.id, self._sandbox.template
        self.kernel = self._run(kernels.start(self._server, *place, self._language))
        return self.kernel

    def prepare(self) -> KernelTalk:
        """Make sure that there is a kernel and a connection; return the conversation."""
        kernel = self._running()
        try:
            if kernel is not None:
                self.link.refresh(kernel.id)
                if self.link.is_rested():
                    self.touch()  # a paused sandbox would not answer, but run the code later
        except ContextNotFoundError:
            self.renew()
            kernel = None
        if kernel is None:
            kernel = self.start()
            self.link.connect(kernel.id)
        for _ in range(_MOST_LATE):
            message = self.link.poll()
            if message is None:
                break
            self._talk.receive(message)
        if not self._is_prepared or self._talk.is_fresh:
            source = self._preparation.source(kernel.language)
            self.link.insist(source.request(self.link.session))
            self._is_prepared = True
        return self._talk

    def reconnect(self) -> None:
        """Replace a connection that was lost."""
        if self.kernel is not None:
            self.link.connect(self.kernel.id)

    def interrupt(self) -> None:
        """Interrupt what runs."""
        if self.kernel is not None:
            self._run(kernels.interrupt(self._sandbox.id, self.kernel.id))

    def restart(self) -> None:
        """Let the kernel begin anew, without its state."""
        self.renew()
        if self.kernel is not None:
            self._run(kernels.restart(self._sandbox.id, self.kernel.id))

    def close(self) -> None:
        """End the kernel, and the conversation with it."""
        if self.kernel is not None:
            self._run(kernels.shut_down(self._sandbox.id, self.kernel.id))
        self.link.close()

    def is_paused(self) -> bool:
        """Tell whether the sandbox is paused."""
        found = self._run(sandboxes.get(self._sandbox.id))
        return found.status == "paused"

    def touch(self) -> None:
        """Count as activity of the sandbox."""
        self._run(sandboxes.ping(self._sandbox.id))

    def renew(self) -> None:
        """Take note that the state is lost."""
        self._talk.expect_restart()

    def _running(self) -> Kernel | None:
        """Return the kernel, if there is one that can run code."""
        if self.kernel is None or not self._talk.is_fresh:
            return self.kernel
        self.link.drop()
        place = self._sandbox.id, self._sandbox.template
        try:
            found = self._run(kernels.look_up(self._server, *place, self.kernel.id))
        except ContextNotFoundError:
            return None
        return None if found.state == "dead" else found


class AsyncKernelSession:
    """One client's dealings with one kernel.

    Attributes:
        turn: Held by whoever has code running.
        link: The connection.
        kernel: The kernel, once there is one.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        sandbox: Seen,
        language: str,
        kernel: Kernel | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        self.turn: turns.AsyncLock = turns.async_lock()
        self.link: AsyncKernelLink = AsyncKernelLink(transport, sandbox.id)
        self.kernel: Kernel | None = kernel
        self._run = transport.run
        self._server = transport.server
        self._sandbox = sandbox
        self._language = language
        self._preparation = preparation or Preparation()
        self._is_prepared = False
        self._talk = KernelTalk(self.link.session)

    @property
    def where(self) -> str:
        """The sandbox, for people."""
        return self._sandbox.id

    @property
    def language(self) -> str:
        """What the kernel speaks, or shall."""
        return self._language if self.kernel is None else self.kernel.language

    def require(self, language: str) -> None:
        """Refuse what can be done in one language only."""
        if self.language != language:
            raise UnsupportedError(
                f"This is for {language} contexts, and this one runs {self.language}"
            )

    async def start(self) -> Kernel:
        """Start a kernel."""
        place = self._sandbox.id, self._sandbox.template
        self.kernel = await self._run(kernels.start(self._server, *place, self._language))
        return self.kernel

    async def prepare(self) -> KernelTalk:
        """Make sure that there is a kernel and a connection; return the conversation."""
        kernel = await self._running()
        try:
            if kernel is not None:
                await self.link.refresh(kernel.id)
                if self.link.is_rested():
                    await self.touch()  # a paused sandbox would not answer, but run the code later
        except ContextNotFoundError:
            self.renew()
            kernel = None
        if kernel is None:
            kernel = await self.start()
            await self.link.connect(kernel.id)
        for _ in range(_MOST_LATE):
            message = await self.link.poll()
            if message is None:
                break
            self._talk.receive(message)
        if not self._is_prepared or self._talk.is_fresh:
            source = self._preparation.source(kernel.language)
            await self.link.insist(source.request(self.link.session))
            self._is_prepared = True
        return self._talk

    async def reconnect(self) -> None:
        """Replace a connection that was lost."""
        if self.kernel is not None:
            await self.link.connect(self.kernel.id)

    async def interrupt(self) -> None:
        """Interrupt what runs."""
        if self.kernel is not None:
            await self._run(kernels.interrupt(self._sandbox.id, self.kernel.id))

    async def restart(self) -> None:
        """Let the kernel begin anew, without its state."""
        self.renew()
        if self.kernel is not None:
            await self._run(kernels.restart(self._sandbox.id, self.kernel.id))

    async def close(self) -> None:
        """End the kernel, and the conversation with it."""
        if self.kernel is not None:
            await self._run(kernels.shut_down(self._sandbox.id, self.kernel.id))
        await self.link.close()

    async def is_paused(self) -> bool:
        """Tell whether the sandbox is paused."""
        found = await self._run(sandboxes.get(self._sandbox.id))
        return found.status == "paused"

    async def touch(self) -> None:
        """Count as activity of the sandbox."""
        await self._run(sandboxes.ping(self._sandbox.id))

    def renew(self) -> None:
        """Take note that the state is lost."""
        self._talk.expect_restart()

    async def _running(self) -> Kernel | None:
        """Return the kernel, if there is one that can run code."""
        if self.kernel is None or not self._talk.is_fresh:
            return self.kernel
        self.link.drop()
        place = self._sandbox.id, self._sandbox.template
        try:
            found = await self._run(kernels.look_up(self._server, *place, self.kernel.id))
        except ContextNotFoundError:
            return None
        return None if found.state == "dead" else found
