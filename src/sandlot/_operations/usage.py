"""Operations on what teams use."""

from __future__ import annotations

from datetime import date

from .. import models
from .._flow import Flow, Request, Server, fetch
from . import arguments, meta


def get(server: Server, first: date | None, last: date | None) -> Flow[models.UsageReport]:
    """Ask what the team used of each day."""
    days = arguments.without_none(
        **{"from": arguments.day(first, "start"), "to": arguments.day(last, "end")}
    )
    yield from meta.require(server, "usage by days", "usage")
    request = Request("GET", "/v1/sandboxes/usage", params=days)
    return (yield from fetch(models.UsageReport, request))


def stats(range: str | None) -> Flow[models.SandboxStats]:
    """Ask how much the team runs."""
    params = arguments.without_none(range=arguments.optional_text(range, "range"))
    return fetch(models.SandboxStats, Request("GET", "/v1/sandboxes/stats", params=params))
