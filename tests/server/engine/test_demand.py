"""How many sandboxes of which kinds are worth keeping prepared."""

from __future__ import annotations

from dataclasses import replace

from sandlot.server.engine.base import SandboxSpec
from sandlot.server.engine.local.demand import Demand

PLAIN = SandboxSpec("any", "minimal", 1, 64, 64)
SERVING = SandboxSpec("any", "python-jupyter", 1, 512, 256)


def targets(demand: Demand, now: float) -> dict[str, int]:
    return {kind.spec.template: count for kind, count in demand.targets(now).items()}


def test_twice_within_a_minute_is_enough() -> None:
    demand = Demand(adapt=True)
    demand.note(PLAIN, 0, serves=False)
    assert targets(demand, 0) == {}
    demand.note(PLAIN, 59, serves=False)
    assert targets(demand, 59) == {"minimal": 1}

    demand = Demand(adapt=True)
    for time in (0, 70, 140, 210):
        demand.note(PLAIN, time, serves=False)
    assert targets(demand, 210) == {"minimal": 1}, "it adds up"

    demand = Demand(adapt=True)
    for time in range(0, 3600, 120):
        demand.note(PLAIN, time, serves=False)
        assert targets(demand, time) == {}, "now and then is not"


def test_after_some_minutes_of_silence_nothing_is_kept() -> None:
    demand = Demand(adapt=True)
    for _ in range(2):
        demand.note(PLAIN, 0, serves=False)
    assert targets(demand, 0) == {"minimal": 1}
    assert targets(demand, 240) == {"minimal": 1}
    assert demand.may_change
    assert targets(demand, 300) == {}
    assert not demand.may_change
    for _ in range(1000):
        demand.note(PLAIN, 300, serves=False)
    assert targets(demand, 300 + 420) == {}, "however much it was"


def test_the_faster_the_more_but_not_endlessly() -> None:
    demand = Demand(adapt=True)
    found = list[int]()
    for _ in range(1000):
        demand.note(PLAIN, 0, serves=False)
        found.append(targets(demand, 0).get("minimal", 0))
    assert found == sorted(found)
    assert (found[3], found[7], found[-1]) == (2, 4, 4)


def test_services_are_costly() -> None:
    demand = Demand(adapt=True)
    demand.note(SERVING, 0, serves=True)
    assert targets(demand, 0) == {}
    demand.note(SERVING, 119, serves=True)
    assert targets(demand, 119) == {"python-jupyter": 1}
    for _ in range(100):
        demand.note(SERVING, 120, serves=True)
    assert targets(demand, 120) == {"python-jupyter": 1}


def test_what_is_kept_anyway_is_kept_anyway() -> None:
    demand = Demand(adapt=True)
    for _ in range(3):
        demand.keep(SERVING, serves=True)
    assert targets(demand, 0) == {"python-jupyter": 3}
    for _ in range(10):
        demand.note(SERVING, 0, serves=True)
        demand.note(PLAIN, 0, serves=False)
    assert targets(demand, 0) == {"python-jupyter": 3, "minimal": 4}
    assert targets(demand, 3600) == {"python-jupyter": 3}


def test_who_does_not_want_it_to_adapt() -> None:
    demand = Demand(adapt=False)
    demand.keep(PLAIN, serves=False)
    for _ in range(10):
        demand.note(PLAIN, 0, serves=False)
        demand.note(SERVING, 0, serves=True)
    assert targets(demand, 0) == {"minimal": 1}


def test_there_are_bounds_whatever_is_asked_for() -> None:
    demand = Demand(adapt=True)
    for number in range(1000):
        for _ in range(8):
            spec = replace(PLAIN, env={"N": str(number)}, memory_mb=64 + number)
            demand.note(spec, number / 1000, serves=False)
    assert sum(demand.targets(1).values()) == 8
    assert len(demand._kinds) <= 33


def test_kinds_are_what_a_sandbox_cannot_change() -> None:
    demand = Demand(adapt=True)
    demand.note(PLAIN, 0, serves=False)
    demand.note(replace(PLAIN, id="x", env={"A": "1"}, cwd="/tmp"), 0, serves=False)
    assert targets(demand, 0) == {"minimal": 1}
    demand.note(SERVING, 0, serves=True)
    demand.note(replace(SERVING, env={"A": "1"}), 0, serves=True)
    demand.note(replace(SERVING, cwd="/tmp"), 0, serves=True)
    assert targets(demand, 0) == {"minimal": 1}
