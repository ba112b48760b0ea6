"""What the store holds of an earlier run: read hour by hour, the newest first, and no hour stops the others; and what Live does
with what it is told of a symbol.
"""

import asyncio
from typing import Any

from tests.fakes import FakeClock, run, settle
from tests.service.test_live import BTC, ETH, House
from tests.store.samples import row

from leadline.core.errors import StoreCorrupt
from leadline.core.records import MinuteBlock, Subscribed, SymbolRules
from leadline.core.sizes import DAY_S
from leadline.service.seeding import PAUSE_S, SLICE_S, seed, stored_sizes
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

NOW = 1_723_161_600
SIZES = [1.0, 2.0, 3.0, None, None, None]


def store(*seconds: int, symbol: str = "BTCUSDT") -> History:
    history = History(MemoryEngine(), "the test's store")
    block = MinuteBlock(60, [None] * 100, [None] * 100, [None] * 6, SIZES)
    history.write([row(t, symbol, minute=block if t % 60 == 0 else None) for t in seconds])
    return history


def test_minute_blocks_are_found_where_they_stand():
    history = store(NOW - 120, NOW - 119, NOW - 60, NOW - 1, NOW)
    assert stored_sizes(history, "BTCUSDT", NOW - 120, NOW) == [(NOW - 120, SIZES), (NOW - 60, SIZES)]
    assert stored_sizes(history, "BTCUSDT", NOW - 119, NOW + 1) == [(NOW - 60, SIZES), (NOW, SIZES)]
    assert stored_sizes(history, "BTCUSDT", 0, NOW + 10**6) == [(NOW - n, SIZES) for n in (120, 60, 0)]


def test_a_symbol_or_a_time_without_records_has_none():
    history = store(NOW)
    assert stored_sizes(history, "ETHUSDT", 0, NOW + 1) == []
    assert stored_sizes(history, "BTCUSDT", NOW - DAY_S, NOW) == []
    assert stored_sizes(history, "BTCUSDT", NOW + 1, NOW + DAY_S) == []


class Seeding:
    """A seeding under way. asked: symbol, and how far back from its end its hour began."""

    def __init__(self, **ends: int) -> None:
        self.clock = FakeClock()
        self.ends = ends
        self.asked: list[tuple[str, int]] = []
        self.told: list[str] = []
        self.broken: set[int] = set()

    async def read(self, symbol: str, lo: int, hi: int) -> Any:
        assert hi - lo == SLICE_S
        self.asked.append((symbol, (self.ends[symbol] - lo) // SLICE_S))
        if len(self.asked) in self.broken:
            raise StoreCorrupt("the test's store", "seconds", "a key", "rotten")
        return [(lo, SIZES)]

    async def under_way(self, seconds: float) -> bool:
        """Whether it is over after that time."""
        task = asyncio.ensure_future(
            seed(self.ends, read=self.read, remember=lambda symbol, _: self.told.append(symbol), clock=self.clock)
        )
        await settle()
        for _ in range(round(seconds / PAUSE_S)):
            await self.clock.advance(PAUSE_S)
        over = task.done()
        task.cancel()
        return over


def test_the_newest_hour_of_every_symbol_is_read_before_any_older_one_and_each_is_followed_by_a_pause():
    seeding = Seeding(A=NOW, B=NOW - 5)
    assert not run(seeding.under_way(4 * PAUSE_S))
    assert seeding.asked == [("A", 1), ("B", 1), ("A", 2), ("B", 2), ("A", 3)]


def test_it_ends_with_the_day():
    seeding = Seeding(A=NOW)
    assert run(seeding.under_way(30 * PAUSE_S))
    assert seeding.asked == [("A", hours) for hours in range(1, 25)]


def test_an_hour_that_cannot_be_read_stays_unknown_and_the_others_are_told():
    seeding = Seeding(A=NOW, B=NOW)
    seeding.broken = {2, 3}
    run(seeding.under_way(4 * PAUSE_S))
    assert seeding.told == ["A", "B", "A"]


# What Live does with it ----------------------------------------------------------------------


def day(end: int) -> list[tuple[int, list[float | None]]]:
    return [(end // 60 * 60 - 60 * n, SIZES) for n in range(40)]


def test_what_is_told_of_a_symbol_reaches_its_feed_and_no_other():
    house = House(BTC, ETH)
    house.live.remember_sizes(BTC, day(house.start_s))
    assert [feed.size_thresholds is not None for feed in house.live.feeds.values()] == [True, False]
    house.live.ruled(SymbolRules(ETH, "TRADING", "", "", 7, 1, 0))
    house.live.ruled(SymbolRules("NOBODY", "TRADING", "", "", 8, 1, 0))
    assert [feed.tick_e8 for feed in house.live.feeds.values()] == [None, 7]


def test_by_our_clock_only_the_sizes_of_the_last_24_hours_count():
    house = House(BTC)
    house.live.remember_sizes(BTC, day(house.start_s - DAY_S))
    assert house.live.feeds[BTC].size_thresholds is None


def test_where_event_time_drives_what_is_told_waits_for_a_tick_that_says_what_time_it_is():
    house = House(BTC, event_ticks=True)
    house.live.remember_sizes(BTC, day(house.start_s))
    assert house.live.feeds[BTC].size_thresholds is None


def test_a_grid_that_changes_during_the_pause_after_a_crash_is_not_missed():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.send(house.poison())
            house.live.ruled(SymbolRules(BTC, "TRADING", "", "", 7, 1, 0))
            await house.clock.advance(2)
            await house.send(Subscribed((BTC,), house.clock.wall_ns()))
            assert house.live.feeds[BTC].tick_e8 == 7

    run(test())
