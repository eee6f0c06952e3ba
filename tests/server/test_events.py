"""The bus for what happens, and the actor that travels with the work."""

from __future__ import annotations

import asyncio

import pytest

from sandlot.server.services.events import Event, Events, Resource
from sandlot.server.services.principals import SYSTEM, Actor, Principal, act_as, current_actor

BOX = Resource("sandbox", "cl-" + "0" * 25)


def test_all_subscribers_hear_even_if_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[tuple[int, Event]] = []

    def fail(_event: Event) -> None:
        raise RuntimeError("broken")

    _ = events.subscribe(fail)
    _ = events.subscribe(lambda event: heard.append((1, event)))
    leave = events.subscribe(lambda event: heard.append((2, event)))
    first = Event("capsule.created", "team-x", BOX)
    events.publish(first)
    leave()
    second = Event("capsule.paused", "team-x", BOX)
    events.publish(second)
    assert heard == [(1, first), (2, first), (1, second)]
    assert "a subscriber failed" in caplog.text


def test_the_actor_goes_with_the_tasks_of_a_request_and_no_further() -> None:
    user = Actor("user", "usr-1", "Ada")

    async def request() -> Event:
        act_as(user)
        return await asyncio.create_task(later())

    async def later() -> Event:
        await asyncio.sleep(0)
        return Event("capsule.created", "team-x", BOX)

    async def main() -> None:
        event = await asyncio.create_task(request())
        assert event.actor == user
        assert event.time.utcoffset() is not None
        assert current_actor() == SYSTEM
        assert Event("capsule.paused", "team-x", BOX).actor == SYSTEM

    asyncio.run(main())


@pytest.mark.parametrize(
    ("principal", "actor"),
    [
        (Principal("api_key", "t", user_id="u", key_id="k", name="n"), Actor("api_key", "k", "n")),
        (Principal("user", "t", user_id="u", name="n"), Actor("user", "u", "n")),
        (Principal("open", "t", user_id="u"), Actor("user", "u")),
        (Principal("host", host_id="h"), Actor("host", "h")),
        (Principal("nobody"), SYSTEM),
    ],
)
def test_actors_of_principals(principal: Principal, actor: Actor) -> None:
    assert principal.actor == actor
