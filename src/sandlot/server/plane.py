"""The control plane: store, engine and services, put together."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from .auth import Authenticator
from .engine import make_engine
from .engine.base import (
    DirectoryUnavailableError,
    Engine,
    EngineCapabilities,
    EngineError,
    SandboxSpec,
)
from .grants import Grants
from .ids import is_id, new_id
from .options import Options
from .outgoing.senders import Senders
from .secret_files import find_or_make
from .services.accounts import Accounts
from .services.announcements import announce_sandboxes
from .services.api_keys import ApiKeys
from .services.audit import AuditLog
from .services.builds import Builds
from .services.channels import Channels
from .services.checkpoints import Checkpoints
from .services.commands import Commands
from .services.deliveries import Deliveries, Persistence
from .services.enrollment import Enrollment
from .services.events import Events
from .services.forks import Forks
from .services.hosts import Hosts
from .services.idempotency import Idempotency
from .services.jobs import Jobs
from .services.machines import Machines
from .services.metrics import Metrics
from .services.new_sandboxes import NewSandbox
from .services.passwords import Passwords
from .services.platform import Platform
from .services.profiles import Profiles
from .services.sandboxes import Sandboxes
from .services.snapshots import Snapshots
from .services.starting import Starter
from .services.stats import Stats
from .services.tasks import TaskGroup
from .services.teams import Teams
from .services.tokens import MIN_SECRET, Tokens
from .services.usage import Usage
from .store.base import Store, StoreUnavailableError
from .store.opening import open_store

__all__ = ["ControlPlane", "StartError"]

_MEASURE_INTERVAL = 1.0
_SAMPLE_INTERVAL = 10.0
_SAVE_INTERVAL = 5.0
_CLEAN_INTERVAL = 3600.0
_BEATS = 3
"""Heartbeats in the time after which a host is unreachable."""
_FAREWELL = 1.0
_SECRET_BYTES = 48
_log = logging.getLogger("sandlot.server")


class StartError(Exception):
    """The control plane cannot start; the message is fit for users.

    Attributes:
        code: Reason for programs.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlPlane:
    """Everything behind the API, from `start` to `stop`.

    Attributes:
        options: How it is to run.
        commands: Running commands.
        jobs: Those of them that nobody needs to wait for.
        events: Passes on what happens.
        stopping: Set when the server is about to stop.
        started_at: When this server started.
    """

    auth: Authenticator
    grants: Grants
    accounts: Accounts
    api_keys: ApiKeys
    teams: Teams
    profiles: Profiles
    platform: Platform
    audit: AuditLog
    sandboxes: Sandboxes
    snapshots: Snapshots
    checkpoints: Checkpoints
    forks: Forks
    idempotency: Idempotency
    builds: Builds
    channels: Channels
    deliveries: Deliveries
    metrics: Metrics
    stats: Stats
    usage: Usage
    hosts: Hosts
    enrollment: Enrollment
    machines: Machines

    def __init__(self, options: Options) -> None:
        self.options = options
        self.commands = Commands()
        self.jobs = Jobs(self.commands)
        self.events = Events()
        self.stopping = asyncio.Event()
        self.started_at = datetime.now(UTC)
        self._engine: Engine | None = None
        self._store: Store | None = None
        self._background = TaskGroup()

    @property
    def capabilities(self) -> EngineCapabilities:
        """What the engine enforces."""
        assert self._engine is not None
        return self._engine.capabilities

    async def start(self) -> None:
        """Get ready.

        Raises:
            StartError: That is not possible.
        """
        try:
            await self._start()
        except BaseException as error:
            await self.stop()
            match error:
                case DirectoryUnavailableError():
                    raise StartError("data_dir_unavailable", str(error)) from error
                case EngineError():
                    raise StartError("engine_unavailable", str(error)) from error
                case StoreUnavailableError():
                    raise StartError("store_unavailable", str(error)) from error
                case OSError():
                    raise StartError("data_dir_unavailable", str(error)) from error
                case _:
                    raise

    async def stop(self) -> None:
        """Destroy all sandboxes and close everything."""
        self.stopping.set()
        await self._background.cancel()
        store, self._store = self._store, None
        if store is None:
            if self._engine is not None:  # it has not begun; another start may succeed
                await self._engine.release()
            return
        try:
            await self.idempotency.close()
            await self.builds.close()
            await self.forks.close()
            await self.sandboxes.close(keep=self.options.keep_sandboxes)
            await self.checkpoints.close()
            await self.snapshots.close()
            await self.deliveries.close()
            await self.audit.close()
            await self.machines.stop(forget=self.options.ephemeral)
        finally:
            await store.close()

    async def interrupt(self) -> None:
        """End what requests wait for: the server is about to stop."""
        self.stopping.set()
        self.idempotency.stop_soon()
        self.builds.stop_soon()
        self.sandboxes.refuse_new()
        await self.commands.stop_all(_FAREWELL)

    def _forget(self) -> None:
        """Look everything up again that is remembered of teams."""
        self.auth.forget()
        self.machines.forget()

    async def _start(self) -> None:
        options = self.options
        engine = make_engine(
            options.engine,
            options.data_dir,
            ephemeral=options.ephemeral,
            templates_dir=options.templates_dir,
            warm=_warm_specs(options.warm),
            warm_memory_mb=options.warm_memory_mb,
            warm_adapt=options.warm_adapt,
            orphan_timeout=options.orphan_timeout,
            disk_reserve_mb=options.disk_reserve_mb,
            networks=options.networks,
            outbound_allow=options.outbound_allow,
        )
        self._engine = engine
        await engine.start()
        secret = _token_secret(options)
        tokens = Tokens(secret)
        server_id = _server_id(options)
        store = await open_store(options.database)
        self.auth = Authenticator(store, tokens, required=options.auth == "api-key")
        self.grants = Grants(self.auth)
        passwords = Passwords()
        self.accounts = Accounts(store, tokens, passwords, options.signup)
        self.api_keys = ApiKeys(store, self.auth.forget)
        self.audit = AuditLog(store.audit, options.audit_days)
        _ = self.events.subscribe(self.audit.on_event)
        timeout = options.host_timeout_sec
        self.machines = Machines(store, engine, self.events, server_id, timeout)
        self.enrollment = Enrollment(store.hosts, tokens, self.events)
        begin = Starter(self.commands).begin
        self.sandboxes = Sandboxes(store.sandboxes, engine, self.machines, begin)
        self.hosts = Hosts(store, self.sandboxes.lives, self.enrollment, timeout)
        self.snapshots = Snapshots(store.snapshots, self.sandboxes, engine, self.events)
        self.teams = Teams(store, self.sandboxes, self.snapshots, self._forget)
        self.profiles = Profiles(store, self.teams, passwords, self.auth.forget)
        self.platform = Platform(store, self.teams, self.sandboxes, self.auth.forget)
        self.checkpoints = Checkpoints(store.snapshots, self.sandboxes, engine)
        self.forks = Forks(self.sandboxes, engine)
        self.idempotency = Idempotency(store.idempotency, secret, server_id)
        self.builds = Builds(
            store.builds,
            self.machines,
            self.sandboxes,
            self.snapshots,
            self.commands,
            options.data_dir / "builds",
            options.builds_timeout_sec,
        )
        senders = Senders(options.channels_allow, options.channels_timeout_sec)
        self.channels = Channels(store.channels, store.deliveries, senders)
        persistence = Persistence(options.channels_attempts, options.channels_first_wait_sec)
        self.deliveries = Deliveries(store.channels, store.deliveries, senders, persistence)
        self.metrics = Metrics(self.sandboxes)
        self.stats = Stats(store.stats, self.sandboxes)
        self.usage = Usage(store)
        self._store = store
        key = None if options.api_key is None else options.api_key.get_secret_value()
        if (
            path := await self.auth.prepare(key, options.key_file, options.api_key_scopes)
        ) is not None:
            _log.warning("an API key was made", extra={"path": str(path)})
        self.sandboxes.lives.when_gone(self.jobs.forget_sandbox)
        announce_sandboxes(self.sandboxes.lives, self.events)
        self.deliveries.start(self.events)
        await self.machines.start()
        await self.sandboxes.recover()
        await self.snapshots.recover(self.machines.hosts)
        await self.builds.recover()
        for work, interval in (
            (self.metrics.measure, _MEASURE_INTERVAL),
            (self.stats.sample, _SAMPLE_INTERVAL),
            (self.machines.beat, timeout / _BEATS),
            (self.sandboxes.save_activity, _SAVE_INTERVAL),
            (self.builds.save_logs, _SAVE_INTERVAL),
            (self.builds.forget_old, _CLEAN_INTERVAL),
            (self.idempotency.forget_old, _CLEAN_INTERVAL),
            (self.stats.forget_old, _CLEAN_INTERVAL),
            (self.audit.forget_old, _CLEAN_INTERVAL),
            (self.deliveries.forget_old, _CLEAN_INTERVAL),
        ):
            _ = self._background.start(_forever(work, interval))
        _ = self._background.start(self.audit.write())
        _ = self._background.start(self.grants.watch())


def _token_secret(options: Options) -> str:
    """Return what tokens are signed with, made at the first start."""
    if options.jwt_secret is not None:
        return options.jwt_secret.get_secret_value()
    if options.ephemeral:
        return secrets.token_urlsafe(_SECRET_BYTES)
    secret = find_or_make(options.token_secret_file, lambda: secrets.token_urlsafe(_SECRET_BYTES))
    if len(secret) < MIN_SECRET:
        raise StartError(
            "configuration_invalid",
            f"the secret in {options.token_secret_file} is too short: remove the file, so that a"
            " new one is made; all tokens become invalid",
        )
    return secret


def _server_id(options: Options) -> str:
    """Return what this server is recognised by, made at the first start."""
    if options.ephemeral:
        return new_id("host")
    server_id = find_or_make(options.server_id_file, lambda: new_id("host"))
    if not is_id("host", server_id):
        raise StartError(
            "configuration_invalid",
            f"what is in {options.server_id_file} is no id of a server: remove the file, so that"
            " a new one is made; sandboxes of the last server are not found again then",
        )
    return server_id


def _warm_specs(wanted: Mapping[str, int]) -> list[SandboxSpec]:
    """Return what to keep prepared: what those get who ask for nothing but a template."""
    usual = NewSandbox()
    return [
        SandboxSpec(
            id=template,
            template=template,
            vcpus=usual.vcpus,
            memory_mb=usual.memory_mb,
            disk_mb=usual.disk_mb,
            network=usual.network,
        )
        for template, count in wanted.items()
        for _ in range(count)
    ]


async def _forever(work: Callable[[], Awaitable[None]], interval: float) -> None:
    """Do something again and again; a failure is logged and does not end it."""
    while True:
        await asyncio.sleep(interval)
        try:
            await work()
        except Exception:
            _log.exception("background work failed", extra={"work": work.__qualname__})
