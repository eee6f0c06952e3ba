"""The control plane: store, engine and services, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from .auth import Authenticator
from .engine import make_engine
from .engine.base import EngineCapabilities
from .ids import new_id
from .options import Options
from .services.commands import Commands
from .services.idempotency import Idempotency
from .services.metrics import Metrics
from .services.sandboxes import Sandboxes
from .services.stats import Stats
from .services.tasks import TaskGroup
from .store.database import Database
from .store.idempotency import IdempotencyRows
from .store.records import SandboxRecord
from .store.sandboxes import SandboxRows
from .store.stats import StatsRows
from .store.teams import TeamRows

__all__ = ["ControlPlane"]

_MEASURE_INTERVAL = 1.0
_SAMPLE_INTERVAL = 10.0
_SAVE_INTERVAL = 5.0
_CLEAN_INTERVAL = 3600.0
_log = structlog.get_logger("sandlot.server")


class ControlPlane:
    """Everything behind the API, from `start` to `stop`.

    Attributes:
        options: How it is to run.
        commands: Running commands.
        stopping: Set when the server is about to stop.
    """

    auth: Authenticator
    sandboxes: Sandboxes
    idempotency: Idempotency[SandboxRecord]
    metrics: Metrics
    stats: Stats

    def __init__(self, options: Options) -> None:
        self.options = options
        self.commands = Commands()
        self.stopping = asyncio.Event()
        self._engine = make_engine(options.engine, options.data_dir, ephemeral=options.ephemeral)
        self._database: Database | None = None
        self._background = TaskGroup()

    @property
    def capabilities(self) -> EngineCapabilities:
        """What the engine enforces."""
        return self._engine.capabilities

    async def start(self) -> None:
        """Get ready.

        Raises:
            EngineUnavailableError: The engine cannot work on this machine.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Destroy all sandboxes and close everything."""
        self.stopping.set()
        await self._background.cancel()
        database, self._database = self._database, None
        if database is None:
            await self._engine.close()
            return
        try:
            await self.idempotency.close()
            await self.sandboxes.close()
        finally:
            await database.close()

    async def interrupt(self) -> None:
        """End what requests wait for: the server is about to stop."""
        self.stopping.set()
        self.sandboxes.refuse_new()
        await self.commands.stop_all()

    async def _start(self) -> None:
        options = self.options
        options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._engine.start()
        database = await Database.open(options.database)
        self.auth = Authenticator(TeamRows(database), required=options.auth == "api-key")
        self.sandboxes = Sandboxes(SandboxRows(database), self._engine)
        self.idempotency = Idempotency(IdempotencyRows(database), lambda: new_id("cl"))
        self.metrics = Metrics(self.sandboxes)
        self.stats = Stats(StatsRows(database), self.sandboxes)
        self._database = database
        secret = options.api_key
        key = None if secret is None else secret.get_secret_value()
        if (path := await self.auth.prepare(key, options.key_file)) is not None:
            _log.info("an API key was made", path=str(path))
        await self.sandboxes.recover()
        for work, interval in (
            (self.metrics.measure, _MEASURE_INTERVAL),
            (self.stats.sample, _SAMPLE_INTERVAL),
            (self.sandboxes.save_activity, _SAVE_INTERVAL),
            (self.idempotency.forget_old, _CLEAN_INTERVAL),
            (self.stats.forget_old, _CLEAN_INTERVAL),
        ):
            _ = self._background.start(_forever(work, interval))


async def _forever(work: Callable[[], Awaitable[None]], interval: float) -> None:
    """Do something again and again; a failure is logged and does not end it."""
    while True:
        await asyncio.sleep(interval)
        try:
            await work()
        except Exception:
            _log.exception("background work failed", work=work.__qualname__)
