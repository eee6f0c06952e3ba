"""The contexts of one sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._operations import arguments, kernels
from .._operations.kernels import Kernel
from .._resource import AsyncResource, Resource
from .._transport import AsyncTransport, Transport
from ._cell import Preparation
from ._seen import Seen
from ._sessions import AsyncKernelSession, KernelSession
from .cells import AsyncCodeStream, CodeStream
from .contexts import AsyncCodeContext, CodeContext

__all__ = ["AsyncCode", "Code"]


class Code(Resource):
    """Running code in one sandbox, in as many contexts as one likes.

    Each language has a context of its own here, which `run_code` uses where none is named.
    """

    def __init__(self, transport: Transport, sandbox: Seen) -> None:
        super().__init__(transport)
        self._sandbox = sandbox
        self._usual: dict[str, CodeContext] = {}
        self._found: dict[str, CodeContext] = {}

    def context(self, language: str = "python") -> CodeContext:
        """Return the context that is used for a language where none is named."""
        wanted = arguments.language(language)
        usual = self._usual.get(wanted)
        if usual is None:
            session = KernelSession(self._transport, self._sandbox, wanted)
            usual = self._usual.setdefault(wanted, CodeContext(session))
        return usual

    def create_context(
        self,
        language: str = "python",
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CodeContext:
        """Make a context, with a kernel of its own.

        Args:
            language: What it runs: a language, or the name of a Jupyter kernel.
            cwd: Directory to work in; the home directory if None.
            env: Environment variables; for Python and bash only, as is `cwd`.

        Raises:
            InvalidArgumentError: Nothing runs that language, or there is no such directory.
        """
        preparation = Preparation.checked(cwd, env)
        wanted = arguments.language(language)
        session = KernelSession(self._transport, self._sandbox, wanted, None, preparation)
        try:
            kernel = session.start()
            stream = CodeStream(session, preparation.source(kernel.language))
            preparation.check(stream.wait())
        except BaseException:
            session.close()
            raise
        return self._found.setdefault(kernel.id, CodeContext(session))

    def get_context(self, id: str) -> CodeContext:
        """Find a context that any client has made, by its id.

        Raises:
            ContextNotFoundError: There is none, or none any more.
        """
        place = self._sandbox.id, self._sandbox.template
        kernel = self._run(kernels.look_up(self._server, *place, arguments.kernel_id(id)))
        return self._join(kernel)

    def list(self) -> Sequence[CodeContext]:
        """List the contexts that there are, whoever made them."""
        place = self._sandbox.id, self._sandbox.template
        found = self._run(kernels.listing(self._server, *place))
        return [self._join(kernel) for kernel in found]

    def languages(self) -> Sequence[str]:
        """List what can be run."""
        place = self._sandbox.id, self._sandbox.template
        return self._run(kernels.languages(self._server, *place))

    def interrupt(self, language: str = "python") -> None:
        """Interrupt what runs in the usual context of a language."""
        self.context(language).interrupt()

    def restart(self, language: str = "python") -> None:
        """Let the usual context of a language begin anew, without any state."""
        self.context(language).restart()

    def choose(self, language: str, context: CodeContext | str | None) -> CodeContext:
        """Return the context that is meant: the one named, else the usual one of the language."""
        if context is None:
            return self.context(language)
        if isinstance(context, CodeContext):
            return context
        return self._found.get(context) or self.get_context(context)

    def close(self) -> None:
        """Hang up; the kernels live on as long as the sandbox."""
        for context in [*self._usual.values(), *self._found.values()]:
            context.detach()

    def _join(self, kernel: Kernel) -> CodeContext:
        for context in [*self._usual.values(), *self._found.values()]:
            if context.id == kernel.id:
                return context.seen(kernel)
        session = KernelSession(self._transport, self._sandbox, kernel.language, kernel)
        return self._found.setdefault(kernel.id, CodeContext(session))


class AsyncCode(AsyncResource):
    """Running code in one sandbox, in as many contexts as one likes.

    Each language has a context of its own here, which `run_code` uses where none is named.
    """

    def __init__(self, transport: AsyncTransport, sandbox: Seen) -> None:
        super().__init__(transport)
        self._sandbox = sandbox
        self._usual: dict[str, AsyncCodeContext] = {}
        self._found: dict[str, AsyncCodeContext] = {}

    def context(self, language: str = "python") -> AsyncCodeContext:
        """Return the context that is used for a language where none is named."""
        wanted = arguments.language(language)
        usual = self._usual.get(wanted)
        if usual is None:
            session = AsyncKernelSession(self._transport, self._sandbox, wanted)
            usual = self._usual.setdefault(wanted, AsyncCodeContext(session))
        return usual

    async def create_context(
        self,
        language: str = "python",
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> AsyncCodeContext:
        """Make a context, with a kernel of its own.

        Args:
            language: What it runs: a language, or the name of a Jupyter kernel.
            cwd: Directory to work in; the home directory if None.
            env: Environment variables; for Python and bash only, as is `cwd`.

        Raises:
            InvalidArgumentError: Nothing runs that language, or there is no such directory.
        """
        preparation = Preparation.checked(cwd, env)
        wanted = arguments.language(language)
        session = AsyncKernelSession(self._transport, self._sandbox, wanted, None, preparation)
        try:
            kernel = await session.start()
            stream = AsyncCodeStream(session, preparation.source(kernel.language))
            preparation.check(await stream.wait())
        except BaseException:
            await session.close()
            raise
        return self._found.setdefault(kernel.id, AsyncCodeContext(session))

    async def get_context(self, id: str) -> AsyncCodeContext:
        """Find a context that any client has made, by its id.

        Raises:
            ContextNotFoundError: There is none, or none any more.
        """
        place = self._sandbox.id, self._sandbox.template
        kernel = await self._run(kernels.look_up(self._server, *place, arguments.kernel_id(id)))
        return self._join(kernel)

    async def list(self) -> Sequence[AsyncCodeContext]:
        """List the contexts that there are, whoever made them."""
        place = self._sandbox.id, self._sandbox.template
        found = await self._run(kernels.listing(self._server, *place))
        return [self._join(kernel) for kernel in found]

    async def languages(self) -> Sequence[str]:
        """List what can be run."""
        place = self._sandbox.id, self._sandbox.template
        return await self._run(kernels.languages(self._server, *place))

    async def interrupt(self, language: str = "python") -> None:
        """Interrupt what runs in the usual context of a language."""
        await self.context(language).interrupt()

    async def restart(self, language: str = "python") -> None:
        """Let the usual context of a language begin anew, without any state."""
        await self.context(language).restart()

    async def choose(
        self, language: str, context: AsyncCodeContext | str | None
    ) -> AsyncCodeContext:
        """Return the context that is meant: the one named, else the usual one of the language."""
        if context is None:
            return self.context(language)
        if isinstance(context, AsyncCodeContext):
            return context
        return self._found.get(context) or await self.get_context(context)

    async def close(self) -> None:
        """Hang up; the kernels live on as long as the sandbox."""
        for context in [*self._usual.values(), *self._found.values()]:
            await context.detach()

    def _join(self, kernel: Kernel) -> AsyncCodeContext:
        for context in [*self._usual.values(), *self._found.values()]:
            if context.id == kernel.id:
                return context.seen(kernel)
        session = AsyncKernelSession(self._transport, self._sandbox, kernel.language, kernel)
        return self._found.setdefault(kernel.id, AsyncCodeContext(session))
