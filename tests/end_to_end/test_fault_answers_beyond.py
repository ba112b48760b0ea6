"""What the stand-in cannot do alone: our own clock is set, a ban outlives us, every connection grows old."""

from pathlib import Path

import pytest
from tests.end_to_end.hurried import START_WALL_NS, hurried
from tests.end_to_end.judging import disturbed, stored_of, untrue_trades
from tests.end_to_end.running import running, settings_for, stored

from leadline.core.records import Flag
from leadline.standin.limits import Limits

SYMBOLS = ("PEPEUSDT", "1INCHUSDT")
NANO = 10**9


@pytest.mark.parametrize(("by_s", "kind"), [(2, "missed_seconds"), (-2, "clock_step")])
def test_our_own_clock_is_set_and_no_book_is_lost_and_every_second_is_stored_or_said(by_s: int, kind: str, tmp_path: Path):
    async def main():
        async with disturbed(tmp_path / "store", SYMBOLS) as world:
            await world.passed(3)
            world.clock.set_wall(by_s)
            await world.passed(4)
            assert {feed.sync.epoch for feed in world.feeds.values()} == {1}
            return world

    world = hurried(main())
    assert world.judge.wrong == []
    with stored(tmp_path / "store") as history:
        (incident,) = (found for found in history.incidents("*").rows if found.kind == kind)
    for symbol in SYMBOLS:
        held = stored_of(tmp_path / "store", symbol)
        assert untrue_trades(world.source, symbol, held) == []
        assert held.kinds == {"start"}
        assert any(Flag(record.flags) & Flag.CLOCK for record in held.seconds)
        seconds = {record.t for record in held.seconds}
        gone = set(range(min(seconds), max(seconds) + 1)) - seconds
        assert all(incident.start_ms <= second * 1000 <= incident.end_ms for second in gone)
        assert len(gone) == max(by_s, 0)


def test_a_ban_outlives_the_service_and_nothing_is_asked_for_before_its_end(tmp_path: Path):
    async def once_more(world):
        before = await world.requests()
        settings = settings_for(world.standin, tmp_path / "store", list(SYMBOLS), **{"log.snapshot_lines": "none"})
        async with running(settings, world.clock) as again:
            assert world.clock.wall_ns() >= world.service.budget.banned_until_ns > START_WALL_NS + 120 * NANO
            assert await world.requests() <= before + 3  # this one, and the ping and exchangeInfo of a start
            await world.until(lambda: all(feed.sync.book is not None for feed in again.live.feeds.values()))

    async def main():
        async with disturbed(tmp_path / "store", SYMBOLS, after=once_more) as world:
            world.strike("rest.status", status=418, retry_after_s=120, path="depth")
            world.strike("diff.drop", symbol=SYMBOLS[0])
            await world.until(lambda: world.service.budget.banned_until_ns)
            await world.passed(0.2)

    hurried(main())


def test_connections_that_grow_old_are_left_before_they_are_cut_and_nothing_is_lost(tmp_path: Path):
    """The exchange cuts at 30 s here, and we hand over at 20 s; a quiet stream takes 5 s to change over."""

    async def main():
        old = {"limits": Limits(life_s=30), "stream": {"life_s": 20.0}}
        async with disturbed(tmp_path / "store", SYMBOLS, **old) as world:
            (status,) = world.service.stream.status
            await world.until(lambda: status.handovers + status.reconnects == 2)
            assert status.reconnects == 0
            await world.passed(1.5)
            return world

    world = hurried(main())
    assert world.judge.wrong == []
    for symbol in SYMBOLS:
        held = stored_of(tmp_path / "store", symbol)
        assert held.kinds == {"start"}
        assert untrue_trades(world.source, symbol, held) == []
        assert {str(state) for state in held.states.values()} == {"COMPLETE"}
