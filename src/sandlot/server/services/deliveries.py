"""Deliveries: events on their way to channels.

An event is published by whoever makes it happen, who is not kept waiting: it is put in a queue,
and a task writes a row for each channel that wants it. From then on it is not lost: rows that are
pending are sent, again and again with growing pauses, by this server or by the next one, until
they arrive or have failed too often. An attempt that the server's end interrupts does not count,
so a receiver may get a delivery twice; its id is the same each time.

A channel has few deliveries under way at a time, so that one that hangs holds up itself only; they
may overtake each other, except where people read them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sandlot.server.outgoing.failures import BadConfigError, NotDeliveredError
from sandlot.server.outgoing.providers import WEBHOOK
from sandlot.server.outgoing.senders import Senders
from sandlot.server.store.channels import ChannelRecord, ChannelRows, DeliveryRecord, DeliveryRows

from .events import Event, Events
from .messages import message_of, payload_of
from .tasks import TaskGroup

__all__ = ["Deliveries", "Persistence"]

_MOST_QUEUED = 10_000
"""Events that wait for their rows."""
_BATCH = 100
_MOST_PENDING = 10_000
"""Deliveries that may be pending for a channel."""
_AT_ONCE = 32
_AT_ONCE_A_WEBHOOK = 4
_KEPT = timedelta(days=7)
_FAREWELL = 5.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Persistence:
    """How often a delivery is tried, and when.

    Attributes:
        attempts: How often at most.
        first_wait: Seconds between the first attempt and the second; each wait is thrice the one
            before, and a fifth longer or shorter by chance, so that what failed together does not
            come back together.
        longest_wait: Seconds that no wait exceeds.
    """

    attempts: int = 6
    first_wait: float = 10.0
    longest_wait: float = 3600.0

    def wait_after(self, attempts: int) -> float | None:
        """Return the seconds to wait after so many attempts; None if that was the last."""
        if attempts >= self.attempts:
            return None
        wait = min(self.first_wait * 3.0 ** min(attempts - 1, 20), self.longest_wait)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311


class Deliveries:
    """Sends what happens to the channels that want to know."""

    def __init__(
        self,
        channels: ChannelRows,
        rows: DeliveryRows,
        senders: Senders,
        persistence: Persistence,
    ) -> None:
        self._channels = channels
        self._rows = rows
        self._senders = senders
        self._persistence = persistence
        self._queue = asyncio.Queue[Event](_MOST_QUEUED)
        self._news = asyncio.Event()
        self._sending = dict[str, str]()
        self._lanes = dict[str, int]()
        self._attempts = TaskGroup()
        self._loops = TaskGroup()
        self._unsubscribe: Callable[[], None] | None = None

    def start(self, events: Events) -> None:
        """Begin, with what is still pending from before."""
        self._unsubscribe = events.subscribe(self._accept)
        _ = self._loops.start(self._write_rows())
        _ = self._loops.start(self._send_rows())

    async def close(self) -> None:
        """Write down what has happened, and stop sending."""
        if self._unsubscribe is None:
            return
        self._unsubscribe()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._queue.join()
        except TimeoutError:
            _log.warning("Events were lost at the end", extra={"count": self._queue.qsize()})
        await self._loops.cancel()
        await self._attempts.cancel()
        await self._senders.close()

    async def forget_old(self) -> None:
        """Forget what was done with more than a week ago."""
        await self._rows.remove_before(datetime.now(UTC) - _KEPT)

    def _accept(self, event: Event) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning(
                "Too much happens: channels are not told", extra={"event_name": event.name}
            )

    async def _write_rows(self) -> None:
        while True:
            events = [await self._queue.get()]
            while not self._queue.empty() and len(events) < _BATCH:
                events.append(self._queue.get_nowait())
            by_team = defaultdict[str, list[Event]](list)
            for event in events:
                by_team[event.team_id].append(event)
            for team_id, happened in by_team.items():
                try:
                    await self._write(team_id, happened)
                except Exception:
                    _log.exception("Channels are not told", extra={"count": len(happened)})
            for _ in events:
                self._queue.task_done()

    async def _write(self, team_id: str, happened: Sequence[Event]) -> None:
        for channel in await self._channels.list(team_id):
            wanted = [event for event in happened if event.name in channel.events]
            if not wanted:
                continue
            room = _MOST_PENDING - await self._rows.pending(channel.id, _MOST_PENDING)
            if len(wanted) > room:
                _log.warning("A channel has too much pending", extra={"channel_id": channel.id})
            for event in wanted[:room]:
                now = datetime.now(UTC)
                _ = await self._rows.add(
                    DeliveryRecord(
                        id=str(uuid4()),
                        channel_id=channel.id,
                        event=event.name,
                        payload=payload_of(event),
                        status="pending",
                        created_at=now,
                        next_attempt_at=now,
                    )
                )
            self._news.set()

    async def _send_rows(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._news.clear()
            try:
                wait = await self._begin_due()
                pause = _FIRST_PAUSE
            except Exception:
                _log.exception("Deliveries have to wait")
                wait = pause
                pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                async with asyncio.timeout(wait):
                    _ = await self._news.wait()
            except TimeoutError:
                continue

    async def _begin_due(self) -> float | None:
        """Begin what is due; return the seconds until more is, None if that is not known."""
        busy = Counter(self._sending.values())
        while (free := _AT_ONCE - len(self._sending)) > 0:
            full = [each for each, count in busy.items() if count >= self._lanes.get(each, 1)]
            held_up = False
            for record in await self._rows.next(free, self._sending.keys(), full):
                now = datetime.now(UTC)
                due = record.next_attempt_at or now
                if due > now:
                    return (due - now).total_seconds()
                if busy[record.channel_id] >= self._lanes.get(record.channel_id, 1):
                    held_up = True  # others may be behind it: they are asked for next
                    continue
                busy[record.channel_id] += 1
                self._sending[record.id] = record.channel_id
                _ = self._attempts.start(self._attempt(record))
            if not held_up:
                break
        return None  # whatever ends an attempt, or adds a row, says so

    async def _attempt(self, record: DeliveryRecord) -> None:
        try:
            channel = await self._channels.get(record.channel_id)
            if channel is None:
                _ = self._lanes.pop(record.channel_id, None)
                return
            self._lanes[channel.id] = _AT_ONCE_A_WEBHOOK if channel.provider == WEBHOOK else 1
            await self._save(await self._send(channel, record))
        finally:
            del self._sending[record.id]
            self._news.set()

    async def _send(self, channel: ChannelRecord, record: DeliveryRecord) -> DeliveryRecord:
        """Try to send; return what is to be written down of it."""
        attempts = record.attempts + 1
        tried = replace(record, attempts=attempts, response_status=None, error=None)
        wait: float | None = None
        try:
            message = message_of(record.payload, record.id)
            status = await self._senders.send(channel.provider, channel.config, message)
            tried = replace(tried, status="delivered", response_status=status)
        except NotDeliveredError as error:
            tried = replace(tried, response_status=error.status, error=str(error))
            wait = None if error.final else self._persistence.wait_after(attempts)
            if wait is not None and error.retry_after is not None:
                wait = max(wait, error.retry_after)
        except BadConfigError as error:
            tried = replace(tried, error=str(error))
        except Exception:
            _log.exception("A delivery failed", extra={"delivery_id": record.id})
            tried = replace(tried, error="The server failed.")
            wait = self._persistence.wait_after(attempts)
        now = datetime.now(UTC)
        if tried.error is not None and wait is None:
            tried = replace(tried, status="failed")
        again = None if wait is None else now + timedelta(seconds=wait)
        return replace(tried, last_attempt_at=now, next_attempt_at=again)

    async def _save(self, record: DeliveryRecord) -> None:
        """Write down what became of a delivery; until that is done it is not sent again."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._rows.save(record)
            except Exception:
                _log.exception("A row is written later", extra={"delivery_id": record.id})
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
