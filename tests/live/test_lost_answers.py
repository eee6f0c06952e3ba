"""Creations whose answers get lost: never is anything made twice, and never is anything lost.

All kinds of creations are made at once, in both colours, so that the server has to be killed only
once for each moment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandlot import Client, Retry
from tests.colours import Colour
from tests.live import test_restart
from tests.live.cutting import Breakage, cutter
from tests.live.test_restart import Site, site
from tests.live.world import eventually
from tests.nursery import PRELUDE, Popen

PATIENT = Retry(attempts=1000, backoff=0.05, max_backoff=0.2, total=60)
HOOK = {"url": "https://example.com/hook"}
FORKS = 2
PASSWORD = "correct horse battery"
COLOURS = [Colour("blocking"), Colour("asyncio")]


class DyingSite(Site):
    """A server that dies when it is told to."""

    async def start(self, patience: float = 60.0) -> None:
        options = {
            "port": self.port,
            "data-dir": self.data_dir,
            "orphan-timeout-sec": patience,
            "signup": "open",
        }
        self.process = await asyncio.to_thread(
            Popen,
            [
                *(sys.executable, "-m", "sandlot.server"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            env={
                **os.environ,
                "SANDLOT_SERVER_API_KEY": test_restart.KEY,
                PRELUDE: "tests.live.moments",
            },
            stderr=subprocess.DEVNULL,
        )
        await eventually(self._answers)

    @property
    def moment(self) -> Path:
        return self.data_dir / "moment"

    def dies_at(self, name: str, count: int) -> None:
        whole = self.data_dir / "moment.part"
        _ = whole.write_text(f"{name} {count}")
        _ = whole.rename(self.moment)

    async def has_died(self) -> None:
        assert self.process is not None
        assert await asyncio.to_thread(self.process.wait, 45) == -signal.SIGKILL
        self.moment.unlink()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data_dir / "sandlot.db")) as connection:
            return connection.execute(query).fetchall()

    def snapshots(self) -> int:
        """Return how many snapshots and checkpoints the engine has."""
        return len(list((self.data_dir / "snapshots").iterdir()))


@dataclass
class Person:
    """Somebody who makes one of each."""

    colour: Colour
    client: Any
    team: str
    friend: str
    origins: dict[str, Any] = field(default_factory=dict[str, Any])

    def makings(self, name: str) -> dict[str, Callable[[], Any]]:
        client, origins = self.client, self.origins
        return {
            "sandbox": lambda: client.sandboxes.create(metadata={"for": name}),
            "fork": lambda: origins["fork"].fork(FORKS),
            "snapshot": lambda: origins["snapshot"].snapshot(name),
            "checkpoint": lambda: origins["checkpoint"].checkpoint(name),
            "team": lambda: client.teams.create(name),
            "key": lambda: client.api_keys.create(name),
            "member": lambda: client.teams.add_member(self.team, self.friend),
            "channel": lambda: client.channels.create(name, "webhook", HOOK, ["host.up"]),
        }

    async def check(self, name: str, made: dict[str, Any]) -> None:
        """There is one of each, it is what was returned, and it is good for something."""
        client = self.client
        there = [box.id async for box in await client.sandboxes.list()]
        made_boxes = [made["sandbox"], *made["fork"]]
        assert len(made["fork"]) == FORKS
        assert Counter(there) == Counter(box.id for box in (*made_boxes, *self.origins.values())), (
            name
        )
        for box in (*made_boxes, *self.origins.values()):
            assert (await box.exec("echo there")).stdout == "there\n", name
        assert (await made["fork"][1].exec("cat file")).stdout == "kept"
        found = [each.name for each in await client.snapshots.list() if each.type == "snapshot"]
        assert found == [made["snapshot"].name] == [name]
        async with client.sandboxes.create(name) as box:
            assert (await box.exec("cat file")).stdout == "kept", name
        found = [each.id for each in await self.origins["checkpoint"].checkpoints()]
        assert found == [made["checkpoint"].id], name
        assert [each.id for each in await client.teams.list() if each.name == name] == [
            made["team"].id
        ]
        keys = [each for each in await client.api_keys.list() if each.name == name]
        assert [each.id for each in keys] == [made["key"].id]
        async with self.colour.client(made["key"].key, base_url=client.base_url) as other:
            assert len([box async for box in await other.sandboxes.list()]) == len(there)
        members = [each.email for each in await client.teams.list_members(self.team)]
        assert members.count(self.friend) == 1
        assert [each.id for each in await client.channels.list()] == [made["channel"].id]
        assert made["channel"].secret

    async def clear(self, made: dict[str, Any]) -> None:
        """Remove what was made, but for the origins."""
        client = self.client
        boxes = [made["sandbox"], *made["fork"]]
        _ = await client.sandboxes.stop_many([box.id for box in boxes])
        await client.snapshots.delete(made["snapshot"].name)
        await self.origins["checkpoint"].delete_checkpoint(made["checkpoint"])
        await client.api_keys.delete(made["key"].id)
        await client.channels.delete(made["channel"].id)
        await client.teams.remove_member(self.team, made["member"].user_id)


@asynccontextmanager
async def people(place: Site, url: str | None = None) -> AsyncIterator[list[Person]]:
    """Sign up somebody for each colour, with sandboxes to make things of."""
    async with AsyncExitStack() as stack:
        found: list[Person] = []
        for colour in COLOURS:
            with Client("none", base_url=place.url) as nobody:
                mine, friend = f"me@{colour.name}.org", f"friend@{colour.name}.org"
                session = nobody.auth.signup(mine, PASSWORD, "Me")
                _ = nobody.auth.signup(friend, PASSWORD, "Friend")
            client = await stack.enter_async_context(
                colour.client(token=session.token, base_url=url or place.url, retry=PATIENT)
            )
            found.append(Person(colour, client, session.team_id, friend))
            for kind in ("fork", "snapshot", "checkpoint"):
                box = found[-1].origins[kind] = await client.sandboxes.create()
                await box.upload("file", b"kept")
        yield found


async def awaited(call: Any) -> Any:
    return await call


async def make_all(people: list[Person], name: str) -> list[dict[str, Any]]:
    """Make one of each for everybody, all at once."""
    kinds = list(people[0].makings(name))
    calls = [awaited(making()) for person in people for making in person.makings(name).values()]
    results = await asyncio.gather(*calls)
    return [
        dict(zip(kinds, results[start : start + len(kinds)], strict=True))
        for start in range(0, len(results), len(kinds))
    ]


# How many get to each moment, of each colour: a sandbox and two forks; snapshot and checkpoint;
# and four rows.
MOMENTS = {
    "asked": 8,
    "claimed": 8,
    "noted": 1 + FORKS,
    "made": 1 + FORKS + 2,
    "done": 1 + FORKS + 2 + 4,
    "answered": 8,
}


@asynccontextmanager
async def dying_site(directory: Path) -> AsyncIterator[DyingSite]:
    async with site(directory, DyingSite) as place:
        assert isinstance(place, DyingSite)
        yield place


@pytest.mark.timeout(300)  # it starts seven servers, one after the other
async def test_the_server_is_killed_at_any_moment(tmp_path: Path) -> None:
    async with dying_site(tmp_path) as place, people(place) as somebody:
        for moment, count in MOMENTS.items():
            place.dies_at(moment, count * len(COLOURS))
            making = asyncio.ensure_future(make_all(somebody, moment))
            try:
                await place.has_died()
            except BaseException:
                _ = making.cancel()
                raise
            await place.start()
            made = await making
            for person, things in zip(somebody, made, strict=True):
                await person.check(moment, things)
            agree(place, made)
            for person, things in zip(somebody, made, strict=True):
                await person.clear(things)
            assert place.snapshots() == 0, moment


def agree(place: DyingSite, made: list[dict[str, Any]]) -> None:
    """The engine has what the rows tell of, and no secret is in the database."""
    living = "SELECT id FROM sandboxes WHERE status IN ('running', 'paused', 'pending')"
    homes = os.listdir(place.data_dir / "sandboxes")
    assert sorted(homes) == sorted(row[0] for row in place.rows(living))
    assert place.snapshots() == len(place.rows("SELECT id FROM snapshots")) == 2 * len(made)
    files = b"".join(file.read_bytes() for file in place.data_dir.glob("sandlot.db*"))
    for things in made:
        assert things["key"].key.encode() not in files
        assert things["key"].id.encode() in files


ANSWERS: dict[str, Callable[[str], Breakage]] = {
    "half of the request": lambda start: Breakage(start, sent=60),
    "no answer": lambda start: Breakage(start),
    "half of the answer": lambda start: Breakage(start, answered=100),
}
"""What gets through."""


async def test_the_connection_breaks_off(tmp_path: Path) -> None:
    async with dying_site(tmp_path) as place:
        with cutter(place.port) as way:
            async with people(place, way.url) as somebody:
                for how, breakage in ANSWERS.items():
                    name = how.replace(" ", "-")
                    for person in somebody:
                        boxes = [f"/v1/sandboxes/{box.id}" for box in person.origins.values()]
                        for path in (
                            "/v1/sandboxes",
                            f"{boxes[0]}/fork",
                            "/v1/snapshots",
                            f"{boxes[2]}/checkpoints",
                            "/v1/teams",
                            "/v1/api-keys",
                            f"/v1/teams/{person.team}/members",
                            "/v1/channels",
                        ):
                            way.breaks(breakage(f"POST {path}"))
                    before = way.broken
                    made = await make_all(somebody, name)
                    assert way.broken - before == 8 * len(COLOURS)
                    for person, things in zip(somebody, made, strict=True):
                        await person.check(name, things)
                    agree(place, made)
                    for person, things in zip(somebody, made, strict=True):
                        await person.clear(things)


async def test_the_server_is_killed_and_its_sandboxes_with_it(tmp_path: Path) -> None:
    """What was made and never heard of is no answer: another one is made, by the next server."""
    async with dying_site(tmp_path) as place, AsyncExitStack() as stack:
        place.kill()
        await place.start(patience=0)
        clients = [
            await stack.enter_async_context(
                colour.client(test_restart.KEY, base_url=place.url, retry=PATIENT)
            )
            for colour in COLOURS
        ]
        place.dies_at("done", len(COLOURS))
        making = asyncio.ensure_future(
            asyncio.gather(*(awaited(client.sandboxes.create()) for client in clients))
        )
        try:
            await place.has_died()
        except BaseException:
            _ = making.cancel()
            raise
        await place.start(patience=0)
        for box in await making:
            assert (await box.exec("echo there")).stdout == "there\n"
        lost = place.rows("SELECT status_reason FROM sandboxes WHERE status = 'stopped'")
        assert len(lost) == len(COLOURS)
        assert all("ended without warning" in row[0] for row in lost)
