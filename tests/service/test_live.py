"""Live traffic over a clock that the test owns: ticks, crashes, retries, back-pressure. Feeds, recorder and store are real."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs
from tests.core import build
from tests.fakes import FailingEngine, FakeClock, HeldWriter, InlineWriter, RestlessClock, run, settle

from leadline.core.errors import ExchangeError, RateLimited, StoreFull, Unreachable
from leadline.core.records import (
    BookState,
    DepthSnapshot,
    DepthUpdate,
    Disconnected,
    Flag,
    MarketEvent,
    SecondRecord,
    Subscribed,
    Trade,
    TradeState,
)
from leadline.service.feed import Feed
from leadline.service.live import CRASH_FORGET_S, CRASHES_MAX, INLINE_ROWS, Live
from leadline.service.queries import coverage
from leadline.service.recorder import Recorder
from leadline.store.history import History

BTC, ETH = "BTCUSDT", "ETHUSDT"
BIDS, ASKS = [(100, 1), (99, 2)], [(101, 1), (102, 2)]
NO_ANSWER = Unreachable("the exchange", "refused")


class NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


class Market:
    """The exchange's answers, as the test says; `asked` notes each question with its moment."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[float, str, int, bool]] = []
        self.asked_trades: list[tuple[float, str, int, int]] = []
        self.depth_answer: Callable[[str], Awaitable[DepthSnapshot]] = answers(10)
        self.trades_answer: Callable[[], Sequence[Trade]] = list

    async def depth(self, symbol: str, limit: int, *, anchor: bool) -> DepthSnapshot:
        self.asked.append((self.clock.now, symbol, limit, anchor))
        return await self.depth_answer(symbol)

    async def agg_trades(self, symbol: str, from_id: int, limit: int) -> Sequence[Trade]:
        self.asked_trades.append((self.clock.now, symbol, from_id, limit))
        return self.trades_answer()


def answers(update_id: int, error: ExchangeError | None = None) -> Callable[[str], Awaitable[DepthSnapshot]]:
    async def answer(symbol: str) -> DepthSnapshot:
        if error is not None:
            raise error
        return structs.replace(build.snapshot(update_id, BIDS, ASKS), symbol=symbol)

    return answer


class House:
    """Live with everything it needs. Events go through a stream: a coroutine that hands on what it is sent."""

    def __init__(
        self, *symbols: str, event_ticks: bool = False, clock: FakeClock | None = None, anchor_s: float | None = None
    ) -> None:
        self.symbols = symbols or (BTC,)
        self.clock = clock or FakeClock()
        self.engine = FailingEngine()
        self.history = History(self.engine, "the test's store")
        self.recorder = Recorder(self.history)
        self.market = Market(self.clock)
        self.live = Live(
            {symbol: Feed(symbol, event_ticks=event_ticks, anchor_s=anchor_s) for symbol in self.symbols},
            market=self.market,
            recorder=self.recorder,
            clock=self.clock,
            rng=NoJitter(),
            first_limit=1000,
            full_limit=5000,
            event_ticks=event_ticks,
        )
        self.error: BaseException | None = None
        self.renewed: list[str] = []
        self._sent: asyncio.Queue[MarketEvent] = asyncio.Queue()

    async def run(self) -> None:  # the port Stream
        while True:
            self.live.on_event(await self._sent.get())

    def renew(self, symbol: str, why: str) -> None:
        self.renewed.append(why)

    @asynccontextmanager
    async def running(self, writer: ThreadPoolExecutor | None = None) -> AsyncIterator[None]:
        recorder = asyncio.ensure_future(self.recorder.run(self.clock, writer or InlineWriter()))
        live = asyncio.ensure_future(self.live.run(self))
        await settle()
        try:
            yield
        finally:
            await settle()
            for task in (live, recorder):
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                except BaseExceptionGroup as group:
                    self.error = group

    async def send(self, *events: Any) -> None:
        for event in events:
            self._sent.put_nowait(event)
        await settle()

    async def go_live(self) -> None:
        """Books of all symbols LIVE at update id 12."""
        await self.send(Subscribed(self.symbols, self.clock.wall_ns()))
        await self.send(*(self.update(11, 12, symbol=symbol) for symbol in self.symbols))
        assert {feed.sync.state for feed in self.live.feeds.values()} == {BookState.LIVE}

    def update(self, first: int, last: int, *, symbol: str = BTC, at_ns: int | None = None) -> DepthUpdate:
        now_ns = self.clock.wall_ns() if at_ns is None else at_ns
        return structs.replace(build.update(first, last, [(100, last)]), symbol=symbol, ts_event_ns=now_ns, ts_recv_ns=now_ns)

    def trade(self, agg_id: int, *, symbol: str = BTC) -> Trade:
        now_ns = self.clock.wall_ns()
        return structs.replace(build.trade(agg_id), symbol=symbol, ts_trade_ns=now_ns, ts_event_ns=now_ns, ts_recv_ns=now_ns)

    def poison(self, symbol: str = BTC) -> Trade:
        """A record that wire.py can never make: no price."""
        return structs.replace(self.trade(10**9, symbol=symbol), price_e8=None)  # type: ignore[arg-type]

    @property
    def start_s(self) -> int:
        return FakeClock().wall_ns() // 10**9

    def records(self, symbol: str = BTC) -> dict[int, SecondRecord]:
        return {record.t: record for record in self.history.seconds(symbol, self.start_s - 10_000, self.start_s + 10_000).rows}

    def causes(self, first: int, last: int, symbol: str = BTC) -> dict[int, str]:
        """Seconds first..last (from the start) that have no LIVE book, and why; "unknown" would be a hole nobody noted."""
        found = coverage(self.history, symbol, self.start_s + first, self.start_s + last + 1)
        return {second - self.start_s: gap.cause for gap in found.gaps for second in range(gap.from_s, gap.to_s)}


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, logger="leadline")
    yield


def stored_lines(caplog: pytest.LogCaptureFixture, start_s: int, symbol: str = BTC) -> list[int]:
    """Seconds from the start, in the order of their lines."""
    prefix = f"Stored snapshot for {symbol} at "
    return [int(r.getMessage().removeprefix(prefix)) - start_s for r in caplog.records if r.getMessage().startswith(prefix)]


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == name]


# Ticks -----------------------------------------------------------------------------


def test_every_whole_second_is_closed_once_at_its_moment_however_long_it_runs(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House()
        house.clock.now = 0.3
        async with house.running():
            await house.go_live()
            for _ in range(100):
                await house.clock.advance(0.37)
        assert stored_lines(caplog, house.start_s) == list(range(1, 38))
        for second, record in house.records().items():
            assert (record.sample_ms, record.flags & Flag.CLOCK) == (second * 1000, 0)

    run(test())


def test_the_first_tick_is_the_first_whole_second_after_the_start(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.clock.advance(0.999)
            assert stored_lines(caplog, house.start_s) == []
            await house.clock.advance(0.001)
            assert stored_lines(caplog, house.start_s) == [1]

    run(test())


async def disturbed(house: House, disturb: Callable[[], Awaitable[None] | None]) -> None:
    """Ten quiet seconds and a half, the disturbance, five more seconds."""
    async with house.running():
        await house.go_live()
        await house.clock.advance(10.5)
        result = disturb()
        if result is not None:
            await result
        await house.clock.advance(5)


@pytest.mark.parametrize("by_s", [1, 2, 3600])
def test_a_clock_set_forward_leaves_an_incident_over_exactly_the_seconds_that_never_were(by_s: int):
    """At 10.5 it becomes 10.5 + by; the sleep ends half a second later, at second 11 + by. 11 .. 10 + by are missing."""
    house = House()
    run(disturbed(house, lambda: house.clock.set_wall(by_s)))
    (noted,) = house.history.incidents("*").rows
    assert (noted.kind, noted.cause, noted.detail) == ("missed_seconds", "the clock was set forward", f"{by_s} s")
    assert (noted.start_ms, noted.end_ms) == ((house.start_s + 11) * 1000, (house.start_s + 10 + by_s) * 1000)
    cause = "missed_seconds (the clock was set forward)"
    assert house.causes(1, by_s + 15) == dict.fromkeys(range(11, 11 + by_s), cause)
    flagged = [second - house.start_s for second, record in house.records().items() if record.flags & Flag.CLOCK]
    assert flagged == [11 + by_s]


@pytest.mark.parametrize("by_s", [2, 3600])
def test_a_clock_set_back_writes_the_seconds_once_more_and_says_so(by_s: int, caplog: pytest.LogCaptureFixture):
    """At 10.5 it becomes 10.5 - by; the sleep ends at 11 - by, below second 10: the next tick is 12 - by."""
    house = House()
    run(disturbed(house, lambda: house.clock.set_wall(-by_s)))
    again = list(range(12 - by_s, 16 - by_s))
    assert stored_lines(caplog, house.start_s) == [*range(1, 11), *again]
    (noted,) = house.history.incidents("*").rows
    assert (noted.kind, noted.cause) == ("clock_step", "the clock was set back")
    assert (noted.start_ms, noted.end_ms) == ((house.start_s + 11 - by_s) * 1000, (house.start_s + 10) * 1000)
    assert "unknown" not in house.causes(min(11 - by_s, 1), max(10, 15 - by_s)).values()
    flagged = [second - house.start_s for second, record in house.records().items() if record.flags & Flag.CLOCK]
    assert flagged == [12 - by_s]
    assert len(told(caplog, "clock_step")) == 1


def test_a_clock_set_back_inside_the_second_only_makes_the_second_longer(caplog: pytest.LogCaptureFixture):
    house = House()
    run(disturbed(house, lambda: house.clock.set_wall(-0.4)))
    assert stored_lines(caplog, house.start_s) == list(range(1, 16))
    assert house.history.incidents("*").rows == []


def test_a_stall_of_half_a_second_writes_the_second_it_belongs_to(caplog: pytest.LogCaptureFixture):
    """From 10.5 to 11.2 nobody runs: second 11 is sampled at 11.2, and 12 at 12 again."""
    house = House()
    run(disturbed(house, lambda: house.clock.stall(0.7)))
    assert stored_lines(caplog, house.start_s) == list(range(1, 17))
    late = house.records()[house.start_s + 11]
    assert (late.sample_ms, late.flags & Flag.CLOCK) == ((house.start_s + 11) * 1000 + 200, 0)
    assert house.records()[house.start_s + 12].sample_ms == (house.start_s + 12) * 1000
    assert house.history.incidents("*").rows == []


def test_a_stall_of_three_seconds_is_an_incident_with_its_cause(caplog: pytest.LogCaptureFixture):
    """From 10.5 to 13.5: second 13 is sampled late, 11 and 12 never were."""
    house = House()
    run(disturbed(house, lambda: house.clock.stall(3)))
    assert stored_lines(caplog, house.start_s) == [*range(1, 11), *range(13, 19)]
    assert house.causes(1, 18) == dict.fromkeys([11, 12], "missed_seconds (the service stalled)")
    assert house.records()[house.start_s + 13].flags & Flag.CLOCK
    assert house.live.loop_lag_s == 0  # of the newest tick


def test_two_stalls_in_a_row_are_not_taken_for_a_clock_that_was_set():
    """Second 11 is closed at 11.9; from there to 14.0 are 2.1 s, in which 12, 13 and 14 began."""
    house = House()

    async def stalls() -> None:
        await house.clock.stall(1.4)
        await house.clock.stall(2.1)

    run(disturbed(house, stalls))
    (noted,) = house.history.incidents("*").rows
    assert (noted.cause, noted.detail) == ("the service stalled", "2 s")


def test_a_tick_over_fifty_symbols_lets_the_sockets_be_read():
    async def test() -> None:
        symbols = [f"S{n}USDT" for n in range(50)]
        house = House(*symbols, clock=RestlessClock(0.0005))
        closed = set()

        async def reader() -> None:
            while True:
                closed.add(sum(feed.seconds_closed for feed in house.live.feeds.values()))
                await asyncio.sleep(0)

        async with house.running():
            await house.go_live()
            reading = asyncio.ensure_future(reader())
            await house.clock.advance(1)
            reading.cancel()
        assert {symbol: list(house.records(symbol)) for symbol in symbols} == {key: [house.start_s + 1] for key in symbols}
        between = sorted(count for count in closed if 0 < count < 50)
        assert len(between) >= 3
        assert max(after - before for before, after in zip([0, *between], [*between, 50], strict=True)) < 25

    run(test())


# Events ------------------------------------------------------------------------------


def test_the_first_acknowledgement_of_each_symbol_is_told_in_the_operators_words(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House(BTC, ETH)
        async with house.running():
            await house.send(Subscribed((BTC, ETH), house.clock.wall_ns()))
            await house.send(Disconnected((BTC,), "closed", house.clock.wall_ns()))
            await house.send(Subscribed((BTC,), house.clock.wall_ns()))

    run(test())
    said = [(r.levelno, r.getMessage()) for r in caplog.records if r.getMessage().startswith("Pre-subscribed")]
    assert said == [(logging.INFO, f"Pre-subscribed to {symbol} for snapshot persistence") for symbol in (BTC, ETH)]


def test_an_event_of_a_symbol_that_nobody_follows_changes_nothing():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.send(house.update(1, 2, symbol="XRPUSDT"), Subscribed(("XRPUSDT",), 0))
            await house.clock.advance(1)
        assert house.history.symbols() == [BTC] and house.error is None

    run(test())


def test_a_lost_book_is_reported_second_by_second_until_the_next_one():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.clock.advance(1.5)
            house.market.depth_answer = answers(20)
            await house.send(house.update(20, 21))  # 13..19 never came
            assert house.live.feeds[BTC].sync.epoch == 2  # the first loss is answered at once
            house.market.depth_answer = answers(0, NO_ANSWER)
            await house.send(house.update(30, 31))
            await house.clock.advance(2)
        assert house.causes(1, 3) == {2: "gap", 3: "gap"}

    run(test())


# Snapshots and trades that are asked for ---------------------------------------------


def test_a_snapshot_that_fails_is_asked_for_again_with_growing_pauses():
    async def test() -> None:
        house = House()
        house.market.depth_answer = answers(0, NO_ANSWER)
        async with house.running():
            await house.send(house.update(11, 12))
            await house.clock.advance(40)
            assert [round(at, 6) for at, *_ in house.market.asked] == [0, 1, 3, 7, 15, 31]
            assert {question[1:] for question in house.market.asked} == {(BTC, 1000, False)}
            house.market.depth_answer = answers(10)
            await house.clock.advance(40)
            assert house.live.feeds[BTC].sync.state is BookState.LIVE

    run(test())


@pytest.mark.parametrize("error", [NO_ANSWER, RateLimited(3)])
def test_a_failed_snapshot_is_told_with_its_cause(error: ExchangeError, caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House()
        house.market.depth_answer = answers(0, error)
        async with house.running():
            await house.send(house.update(11, 12))

    run(test())
    ((fields),) = told(caplog, "snapshot_failed")
    assert (fields["levelno"], fields["symbol"], fields["attempt"], fields["cause"]) == (logging.WARNING, BTC, 1, str(error))


def test_a_question_that_nobody_asks_any_more_is_not_sent():
    """The retry is due at 1.0; the connection is lost at 0.5 and comes back at 0.6 with a question of its own."""

    async def test() -> None:
        house = House()
        house.market.depth_answer = answers(0, NO_ANSWER)
        async with house.running():
            await house.send(house.update(11, 12))
            await house.clock.advance(0.5)
            await house.send(Disconnected((BTC,), "closed", house.clock.wall_ns()))
            await house.clock.advance(0.1)
            house.market.depth_answer = answers(20)
            await house.send(house.update(21, 22))
            await house.clock.advance(10)
        assert [round(at, 6) for at, *_ in house.market.asked] == [0, 0.6]

    run(test())


def test_a_second_look_beside_the_live_book_asks_for_all_levels():
    async def test() -> None:
        house = House(anchor_s=60)
        async with house.running():
            await house.go_live()
            await house.clock.advance(61)
        assert [question[1:] for question in house.market.asked] == [(BTC, 1000, False), (BTC, 5000, True)]

    run(test())


def test_a_hole_in_the_trades_is_asked_for_until_it_is_filled():
    async def test() -> None:
        house = House()
        house.market.trades_answer = list
        async with house.running():
            await house.go_live()
            await house.send(house.trade(1), house.trade(4))
            assert house.market.asked_trades == [(0.0, BTC, 2, 2)]
            lost = [house.trade(2), house.trade(3)]
            house.market.trades_answer = lambda: lost
            await house.clock.advance(2)
        (block,) = house.history.trades(BTC, house.start_s, house.start_s + 2).rows
        assert [trade.agg_id for trade in block.trades] == [1, 2, 3, 4]
        assert block.state is TradeState.BACKFILLED
        assert [at for at, *_ in house.market.asked_trades] == [0, 1]

    run(test())


# Crashes -------------------------------------------------------------------------------


def test_a_feed_that_crashes_touches_no_other_symbol_and_keeps_what_it_had_accepted(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House(BTC, ETH)
        async with house.running():
            await house.go_live()
            await house.clock.advance(2.5)
            await house.send(house.trade(1), house.trade(1, symbol=ETH), house.poison(), house.update(13, 14, symbol=ETH))
            await house.clock.advance(1)
            assert house.live.feeds[ETH].sync.book is not None
            assert house.live.feeds[BTC].sync.book is None
            assert [block.trades[0].agg_id for block in house.history.trades(BTC, house.start_s, house.start_s + 9).rows] == [1]
            await house.clock.advance(0.5)
            house.market.depth_answer = answers(20)
            await house.send(house.update(21, 22))
            await house.clock.advance(2)
            assert house.live.feeds[BTC].sync.state is BookState.LIVE
        assert house.causes(1, 5, ETH) == {}
        assert house.causes(1, 5) == {3: "feed_crash", 4: "feed_crash"}
        (noted,) = [i for i in house.history.incidents(BTC).rows if i.cause == "feed_crash"]
        assert noted.start_ms == house.start_s * 1000 + 2500 and noted.end_ms is not None
        assert house.error is None

    run(test())
    (fields,) = told(caplog, "feed_crashed")
    assert (fields["levelno"], fields["symbol"], fields["count"]) == (logging.ERROR, BTC, 1)
    assert fields["exc_info"] and "price_e8=None" in fields["recent"][-1]


def test_the_epoch_counts_on_after_a_crash():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.send(house.poison())
            await house.clock.advance(1.5)
            house.market.depth_answer = answers(20)
            await house.send(house.update(21, 22))
            assert (house.live.feeds[BTC].sync.state, house.live.feeds[BTC].sync.epoch) == (BookState.LIVE, 2)

    run(test())


def test_a_crashed_feed_hears_nothing_before_its_pause_is_over():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.clock.advance(0.5)
            await house.send(house.poison())
            house.market.asked.clear()
            await house.clock.advance(0.9)
            await house.send(house.update(13, 14))
            assert (house.market.asked, house.live.feeds[BTC].sync.state) == ([], BookState.WAITING)
            await house.clock.advance(0.6)  # the first tick after 1.5 ends the pause
            await house.send(house.update(15, 16))
            assert [question[1] for question in house.market.asked] == [BTC]

    run(test())


def test_a_late_answer_to_a_feed_that_crashed_is_not_given_to_its_successor():
    async def test() -> None:
        house = House()
        late: asyncio.Future[DepthSnapshot] = asyncio.get_running_loop().create_future()

        async def whenever(_: str) -> DepthSnapshot:
            return await late

        async def never(_: str) -> DepthSnapshot:
            return await asyncio.get_running_loop().create_future()

        house.market.depth_answer = whenever
        async with house.running():
            await house.send(Subscribed((BTC,), house.clock.wall_ns()), house.update(11, 12), house.poison())
            await house.clock.advance(1)
            house.market.depth_answer = never
            await house.send(house.update(11, 12))  # the successor's first question has the same number
            assert len(house.market.asked) == 2
            late.set_result(build.snapshot(10, BIDS, ASKS))
            await settle()
            assert house.live.feeds[BTC].sync.state is BookState.SYNCING

    run(test())


async def crash_again_and_again(house: House, times: int) -> None:
    for n in range(times):
        await house.send(house.poison())
        await house.clock.advance(2**n + 1)


def test_ten_crashes_in_a_row_are_survived_with_pauses_that_double(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House(BTC, ETH)
        async with house.running():
            await crash_again_and_again(house, CRASHES_MAX)
            await house.go_live()
            await house.clock.advance(1)
        assert house.error is None
        assert [fields["count"] for fields in told(caplog, "feed_crashed")] == list(range(1, CRASHES_MAX + 1))

    run(test())


def test_the_pause_after_each_crash_in_a_row_is_twice_as_long(caplog: pytest.LogCaptureFixture):
    """A record that crashes the feed comes every second; it is heard only when the pause of 1, 2, 4, 8 s is over."""

    async def test() -> list[int]:
        house = House()
        moments = []
        async with house.running():
            for second in range(33):
                before = len(told(caplog, "feed_crashed"))
                await house.send(house.poison())
                moments += [second] * (len(told(caplog, "feed_crashed")) - before)
                await house.clock.advance(1)
        return moments

    assert run(test()) == [0, 1, 3, 7, 15, 31]


def test_the_eleventh_crash_in_a_row_ends_the_run_loudly():
    async def test() -> None:
        house = House()
        async with house.running():
            await crash_again_and_again(house, CRASHES_MAX + 1)
        assert isinstance(house.error, BaseExceptionGroup)
        assert [str(error) for error in house.error.exceptions] == [f"the feed of {BTC} keeps crashing"]

    run(test())


def test_crashes_far_apart_are_not_in_a_row(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House()
        async with house.running():
            for _ in range(3):
                await house.send(house.poison())
                await house.clock.advance(CRASH_FORGET_S)

    run(test())
    assert [fields["count"] for fields in told(caplog, "feed_crashed")] == [1, 1, 1]


def test_a_crash_at_the_tick_is_that_symbols_alone():
    """What the feed holds of the last update is broken from outside, so closing the second fails."""

    async def test() -> None:
        house = House(BTC, ETH)
        async with house.running():
            await house.go_live()
            await house.clock.advance(1)
            house.live.feeds[BTC]._last_update = ("no", "stamps")  # type: ignore[assignment]
            await house.clock.advance(1)
            assert list(house.records(ETH)) == [house.start_s + 1, house.start_s + 2]
            assert house.live.feeds[ETH].sync.book is not None and house.live.feeds[BTC].sync.book is None
            await house.clock.advance(2)
        assert house.causes(1, 4)[2] == "start (feed_crash)"
        assert "unknown" not in house.causes(1, 4).values() and house.error is None

    run(test())


# Where event time drives ---------------------------------------------------------------


def seconds_of_updates(house: House, count: int, first: int = 0) -> list[DepthUpdate]:
    """One update a second of event time from `first` on; ids go on."""
    start_ns = house.start_s * 10**9 + 500_000_000
    return [house.update(11 + i, 11 + i, at_ns=start_ns + i * 10**9) for i in range(first, first + count)]


def test_rows_are_written_on_the_spot_so_that_a_fast_source_waits_for_the_store():
    async def test() -> None:
        house = House(event_ticks=True)
        async with house.running():
            await house.send(seconds_of_updates(house, 1)[0])
            for update in seconds_of_updates(house, INLINE_ROWS, 1):
                house.live.on_event(update)  # without a turn of the loop
            assert len(house.records()) == INLINE_ROWS
            assert house.recorder.queue_length == 0
            for update in seconds_of_updates(house, 5, INLINE_ROWS + 1):
                house.live.on_event(update)
            assert len(house.records()) == INLINE_ROWS
            await house.clock.advance(1)
            assert len(house.records()) == INLINE_ROWS + 5

    run(test())


def test_a_store_that_refuses_while_event_time_drives_stops_no_feed_and_loses_nothing(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        house = House(event_ticks=True)
        async with house.running():
            house.engine.error = StoreFull("the test's store", "no space left on device")
            await house.send(*seconds_of_updates(house, INLINE_ROWS // 2))
            await house.clock.advance(2)
            await house.send(*seconds_of_updates(house, 20, INLINE_ROWS // 2))
            await house.clock.advance(2)
            assert house.live.feeds[BTC].sync.state is BookState.LIVE
            house.engine.error = None
            for _ in range(5):
                await house.clock.advance(1)
            assert list(house.records()) == [house.start_s + 1 + i for i in range(INLINE_ROWS // 2 + 19)]
        assert house.error is None

    run(test())
    assert told(caplog, "feed_crashed") == []
    assert any(r.getMessage().startswith(f"Failed to persist {BTC} snapshot: ") for r in caplog.records)


def test_while_refused_rows_wait_for_the_writers_thread_nothing_is_written_beside_it():
    """Two threads that put trades of one second together would lose some."""

    async def test() -> None:
        house, writer = House(event_ticks=True), HeldWriter()
        async with house.running(writer):
            house.engine.error = StoreFull("the test's store", "no space left on device")
            await house.send(*seconds_of_updates(house, 10))
            await house.clock.advance(1)
            house.engine.error = None
            await house.send(*seconds_of_updates(house, 10, 10))
            await house.clock.advance(1)
            assert (house.engine.writes, house.recorder.queue_length) == (0, 19)
            while writer.in_hand:
                await writer.let_through()
            assert len(house.records()) == 19

    run(test())


# The end ---------------------------------------------------------------------------------


def test_trades_of_the_second_that_is_not_over_are_handed_over_at_the_end():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.clock.advance(1.5)
            await house.send(house.trade(1))
        (rest,) = house.live.finish()
        assert (rest.record, [trade.agg_id for block in rest.trades for trade in block.trades]) == (None, [1])
        assert house.live.finish() == []

    run(test())


def test_a_feed_that_begins_anew_waits_for_a_connection_that_broke_during_its_pause():
    async def test() -> None:
        house = House()
        async with house.running():
            await house.go_live()
            await house.clock.advance(0.5)
            await house.send(house.poison(), Disconnected((BTC,), "cut", house.clock.wall_ns()))
            house.market.asked.clear()
            await house.clock.advance(10)
            assert (house.market.asked, house.live.feeds[BTC].sync.state) == ([], BookState.WAITING)
            await house.send(Subscribed((BTC,), house.clock.wall_ns()))
            await house.clock.advance(3)
            assert [question[1] for question in house.market.asked] == [BTC]

    run(test())
