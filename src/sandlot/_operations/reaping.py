"""Operations that end many sandboxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from .. import models
from .._flow import Flow, Request, Response, Server, decode, fetch, send
from ..errors import APIError, InvalidArgumentError, SandlotError
from . import arguments, meta, sandboxes

_MANY = "/v1/sandboxes/stop"
_BATCH = 500
_STOP_TIMEOUT = 90.0


def stop_many(
    server: Server, sandbox_ids: Iterable[str], *, save_state: bool = False
) -> Flow[models.StopReport]:
    """Destroy sandboxes, or pause them; say which could not be."""
    if isinstance(sandbox_ids, str):
        raise InvalidArgumentError("sandbox_ids must be several ids, not a str")
    wanted = [arguments.sandbox_id(each) for each in sandbox_ids]
    if not wanted:
        return models.StopReport(stopped=[], failed=[])
    capabilities = yield from meta.known(server)
    if capabilities is None or "sandboxes.stop" not in capabilities.features:
        return (yield from _stop_one_by_one(wanted, save_state))
    whole = models.StopReport(stopped=[], failed=[])
    for start in range(0, len(wanted), _BATCH):
        body = {"sandbox_ids": wanted[start : start + _BATCH], "save_state": save_state}
        request = Request("POST", _MANY, body, harmless=True, timeout=_STOP_TIMEOUT)
        report = yield from fetch(models.StopReport, request)
        whole.stopped.extend(report.stopped)
        whole.failed.extend(report.failed)
    return whole


def reap(
    server: Server,
    metadata: Mapping[str, str] | None,
    name: str | None,
    older_than: float | None,
    inactive_for: float | None,
    status: str | None,
    *,
    dry_run: bool,
) -> Flow[list[models.SandboxInfo]]:
    """Destroy the sandboxes that all filters fit; return them."""
    age = arguments.seconds(older_than, "older_than")
    rest = arguments.seconds(inactive_for, "inactive_for")
    labels = arguments.texts(metadata, "metadata")
    if not labels and name is None and age is None and rest is None and status is None:
        raise InvalidArgumentError(
            "reap needs a filter: metadata, name, older_than, inactive_for or status"
        )
    response, infos = yield from _list(server, labels, name, status)
    now = _time(response)
    found = [
        info
        for info in infos
        if (status is None or info.status == status)
        and _has_passed(age, info.created_at, now)
        and _has_passed(rest, info.last_active_at or info.created_at, now)
    ]
    if dry_run:
        return found
    report = yield from stop_many(server, [info.id for info in found])
    failed = [each for each in report.failed if each.code != "not_found"]
    if failed:
        first = failed[0]
        raise SandlotError(
            f"{len(failed)} of {len(found)} sandboxes could not be destroyed; {first.id}:"
            f" {first.message}",
            outcome="unknown",
        )
    return [info for info in found if info.id in set(report.stopped)]


def _list(
    server: Server, labels: Mapping[str, str] | None, name: str | None, status: str | None
) -> Flow[tuple[Response, list[models.SandboxInfo]]]:
    params = arguments.without_none(name=arguments.optional_text(name, "name"))
    for key, value in (labels or {}).items():
        params[f"metadata.{key}"] = value
    if params:
        yield from meta.require(server, "filters of lists")
    if status is not None:
        params["status"] = arguments.filled_text(status, "status")
    request = Request("GET", "/v1/sandboxes", params=params)
    response = yield from send(request)
    return response, decode(list[models.SandboxInfo], request, response)


def _stop_one_by_one(wanted: list[str], save_state: bool) -> Flow[models.StopReport]:
    report = models.StopReport(stopped=[], failed=[])
    for sandbox_id in wanted:
        try:
            if save_state:
                _ = yield from sandboxes.suspend(sandbox_id)
            else:
                yield from sandboxes.destroy(sandbox_id)
        except APIError as exc:
            failure = models.StopFailure(id=sandbox_id, code=exc.code, message=str(exc))
            report.failed.append(failure)
        else:
            report.stopped.append(sandbox_id)
    return report


def _time(response: Response) -> datetime:
    """Return the time as the server has it, which the times of sandboxes come from."""
    text = response.headers.get("date")
    try:
        return parsedate_to_datetime(text) if text else datetime.now(UTC)
    except ValueError:
        return datetime.now(UTC)


def _has_passed(seconds: float | None, since: datetime, now: datetime) -> bool:
    return seconds is None or now - since >= timedelta(seconds=seconds)
