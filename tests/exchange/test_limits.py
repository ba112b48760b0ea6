import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.exchange.fake_clock import START_WALL_NS, FakeClock, settle

from leadline.exchange.binance.limits import MINUTE_NS, Backoff, Gate, Priority, WeightBudget, WeightWindow

NOW = START_WALL_NS + 10_000_000_000  # ten seconds into a minute
REST_OF_MINUTE = 50_000_000_000


# Weights: the decision -----------------------------------------------------------------


def test_a_minute_holds_its_limit_and_the_next_starts_empty() -> None:
    window = WeightWindow(6000)
    for _ in range(24):
        assert window.wait_ns(250, Priority.START, NOW) == 0
        window.spend(250, NOW)
    assert window.wait_ns(1, Priority.START, NOW) == REST_OF_MINUTE
    assert window.wait_ns(250, Priority.START, NOW + REST_OF_MINUTE) == 0


def test_a_fifth_of_the_minute_is_kept_for_what_is_more_urgent_than_an_anchor() -> None:
    window = WeightWindow(1000)
    window.spend(751, NOW)
    assert window.wait_ns(50, Priority.ANCHOR, NOW) > 0
    assert window.wait_ns(50, Priority.AUDIT, NOW) > 0
    assert window.wait_ns(249, Priority.BACKFILL, NOW) == 0
    assert window.wait_ns(49, Priority.ANCHOR, NOW) == 0


def test_a_request_heavier_than_the_whole_limit_goes_alone_instead_of_never() -> None:
    window = WeightWindow(100)
    assert window.wait_ns(250, Priority.ANCHOR, NOW) == 0
    window.spend(1, NOW)
    assert window.wait_ns(250, Priority.START, NOW) == REST_OF_MINUTE


def test_the_exchange_is_believed_when_it_counts_more_and_only_about_the_same_minute() -> None:
    window = WeightWindow(6000)
    minute = window.spend(250, NOW)
    window.observe(100, minute, NOW)
    assert window.used == 250
    window.observe(5900, minute, NOW)  # another program on this address
    assert window.wait_ns(250, Priority.START, NOW) == REST_OF_MINUTE
    later = NOW + MINUTE_NS
    window.observe(5999, minute, later)  # a late answer that speaks of the minute before
    assert window.wait_ns(250, Priority.START, later) == 0


def test_after_a_stop_the_budget_comes_back_slowly() -> None:
    window = WeightWindow(6000)
    end = NOW + 2 * MINUTE_NS + REST_OF_MINUTE  # on a border of minutes
    window.stop_until(end)
    window.stop_until(end - 1)  # the shorter stop changes nothing
    assert window.wait_ns(1, Priority.START, end - 1) == 1
    assert window.wait_ns(600, Priority.START, end) == 0
    assert window.wait_ns(601, Priority.START, end) > 0
    assert window.wait_ns(3300, Priority.START, end + MINUTE_NS // 2) == 0
    assert window.wait_ns(3301, Priority.START, end + MINUTE_NS // 2) > 0
    assert window.wait_ns(6000, Priority.START, end + MINUTE_NS) == 0


# Weights: the waiting ------------------------------------------------------------------


async def ask(budget: WeightBudget, name: str, weight: int, priority: Priority, went: list[str]) -> None:
    await budget.acquire(weight, priority)
    went.append(name)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_waiters_go_by_priority_and_first_come_first_served_inside_one() -> None:
    async def check() -> None:
        clock, went = FakeClock(), list[str]()
        budget = WeightBudget(100, clock)
        await budget.acquire(100, Priority.START)
        async with asyncio.TaskGroup() as tasks:
            for name, priority in (
                ("anchor", Priority.ANCHOR),
                ("backfill 1", Priority.BACKFILL),
                ("backfill 2", Priority.BACKFILL),
                ("audit", Priority.AUDIT),
                ("start", Priority.START),
            ):
                tasks.create_task(ask(budget, name, 10, priority, went))
                await settle()
            await clock.advance(59.9)
            assert went == []
            assert budget.waiting == 5
            await clock.advance(0.1)
        assert went == ["start", "backfill 1", "backfill 2", "anchor", "audit"]
        assert budget.used == 50

    run(check())


def test_an_urgent_request_passes_an_anchor_that_waits_for_the_spare_share() -> None:
    async def check() -> None:
        clock, went = FakeClock(), list[str]()
        budget = WeightBudget(100, clock)
        await budget.acquire(80, Priority.START)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(budget, "anchor", 10, Priority.ANCHOR, went))
            await settle()
            tasks.create_task(ask(budget, "start", 20, Priority.START, went))
            await settle()
            assert went == ["start"]
            await clock.advance(60)
        assert went == ["start", "anchor"]

    run(check())


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_caller_that_gives_up_takes_nothing_and_lets_the_others_go(leaver: int) -> None:
    async def check() -> None:
        clock, went = FakeClock(), list[str]()
        budget = WeightBudget(100, clock)
        await budget.acquire(100, Priority.START)
        async with asyncio.TaskGroup() as tasks:
            waiters = [tasks.create_task(ask(budget, str(number), 50, Priority.START, went)) for number in range(3)]
            await settle()
            waiters[leaver].cancel()
            await clock.advance(60)
        assert went == [str(number) for number in range(3) if number != leaver]
        assert budget.waiting == 0

    run(check())


def test_a_stop_holds_all_callers_back_and_a_ban_given_at_the_start_is_obeyed() -> None:
    async def check() -> None:
        clock, went = FakeClock(), list[str]()
        until = clock.wall_ns() + 90_000_000_000
        first_run = WeightBudget(6000, clock)
        first_run.stop_until(until - 1, banned=False)
        assert first_run.banned_until_ns == 0, "429 is no ban"
        first_run.stop_until(until, banned=True)
        assert first_run.banned_until_ns == until

        after_restart = WeightBudget(6000, clock, banned_until_ns=first_run.banned_until_ns)
        async with asyncio.TaskGroup() as tasks:
            for priority in Priority:
                tasks.create_task(ask(after_restart, priority.name, 5, priority, went))
            await clock.advance(89.9)
            assert went == []
            await clock.advance(0.1)
        assert went == ["START", "BACKFILL", "ANCHOR", "AUDIT", "LISTING"]

    run(check())


@pytest.mark.parametrize("header", [None, "", "x", "-5", "1e9", "٣٣٣٣"])
def test_a_missing_or_senseless_header_changes_nothing(header: str | None) -> None:
    async def check() -> None:
        budget = WeightBudget(6000, FakeClock())
        budget.observe(header, await budget.acquire(25, Priority.START))
        assert budget.used == 25

    run(check())


def test_a_raised_limit_lets_a_waiter_go_within_a_second() -> None:
    async def check() -> None:
        clock, went = FakeClock(), list[str]()
        budget = WeightBudget(1200, clock)
        await budget.acquire(1200, Priority.START)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(budget, "start", 250, Priority.START, went))
            await settle()
            budget.limit_per_minute = 6000
            await clock.advance(1)
            assert went == ["start"]

    run(check())


# Messages and attempts --------------------------------------------------------------------


def test_a_gate_spaces_messages_a_quarter_of_a_second_and_never_saves_up() -> None:
    gate = Gate(FakeClock(), per_second=4)
    assert [gate.take(0.0) for _ in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert [gate.take(100.0) for _ in range(2)] == [100.0, 100.25]


def test_backoff_doubles_to_its_maximum_with_full_jitter_and_forgets_after_a_minute_of_success() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0.0
            return b

    backoff = Backoff(1.0, 30.0, Highest())
    assert [backoff.delay_s() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert backoff.delay_s(lived_s=59.9) == 30.0
    assert [backoff.delay_s(lived_s=60.0), backoff.delay_s(lived_s=1.0)] == [1.0, 2.0]
    for _ in range(5000):
        backoff.delay_s()  # and no overflow


def test_the_same_random_source_gives_the_same_delays() -> None:
    one, other = (Backoff(1.0, 30.0, random.Random(5)) for _ in range(2))
    assert [one.delay_s() for _ in range(9)] == [other.delay_s() for _ in range(9)]
