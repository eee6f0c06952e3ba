"""Rows of the tables: what is done by means of a method, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandlot import APIError, SandlotError
from tests.compat.tenants import Tenant

Play = Callable[[Tenant], Awaitable[Any]]


@dataclass(frozen=True)
class Works:
    """Methods that do what they promise."""

    methods: str
    """Names, such as `sandboxes.get`, with spaces between."""
    play: Play
    """Uses them and looks at what comes of it."""

    async def perform(self, tenant: Tenant) -> None:
        await self.play(tenant)

    @property
    def name(self) -> str:
        return f"{self.methods.split()[0]}-{self.play.__name__.strip('_')}"


@dataclass(frozen=True)
class Fails:
    """A call that fails as documented."""

    methods: str
    when: str
    play: Play
    error: type[SandlotError]
    code: str | None = None
    """Code of the error, if the server says it."""
    sends: bool = True
    """Something is sent of which the server may take note."""

    async def perform(self, tenant: Tenant) -> None:
        before = len(tenant.world.requests)
        with pytest.raises(self.error) as caught:
            await self.play(tenant)
        assert type(caught.value) is self.error
        if self.code is not None:
            assert isinstance(caught.value, APIError)
            assert caught.value.code == self.code
            assert "wrn_" not in str(caught.value)
        if not self.sends:
            assert caught.value.outcome == "not_started"
            about_it = [each for each in tenant.world.requests[before:] if "capabilit" not in each]
            assert [each for each in about_it if each != "POST /v1/sandboxes"] == []

    @property
    def name(self) -> str:
        return f"{self.methods.split()[0]}-{self.when}"


Row = Works | Fails
