"""Streams of the client over real sockets: each item is judged by the market's own books the moment it is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.client.wire import Wire, wire_to
from tests.fakes import FakeClock, run
from tests.serve.market import BTC, House, Market, until

from leadline.client import AsyncClient, Book, News, TradeNews
from leadline.client.aio import PAUSES_S, SILENCE_S
from leadline.core.errors import BookNotLive, InvalidRequest, SlowReader, UnknownSymbol, Unreachable
from leadline.service.fanout import HEARTBEAT_S
from leadline.service.lines import LAG_MAX, RING

ETH = "ETHUSDT"


class Reads:
    """Reads a stream of books as fast as it comes. A book with levels is LIVE and the market's; one without says why."""

    def __init__(self, house: House, stream: AsyncIterator[Book], depth: int) -> None:
        self.items: list[Book] = []
        self.house, self.stream, self.depth = house, stream, depth
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for item in self.stream:
            judge(self.house, item, self.depth)
            self.items.append(item)

    @property
    def last(self) -> Book:
        return self.items[-1]

    async def until(self, reached: Any) -> None:
        await until(lambda: self.task.done() or reached())
        if self.task.done():
            self.task.result()

    async def first(self) -> None:
        await self.until(lambda: self.items)

    async def told(self, news: News) -> None:
        await self.until(lambda: self.last.news is news)

    async def catches_up(self, symbol: str = BTC) -> None:
        await self.until(lambda: self.newest(symbol) is not None and self.newest(symbol).seq == newest(self.house, self.depth))

    def newest(self, symbol: str = BTC) -> Any:
        return next((item for item in reversed(self.items) if item.symbol == symbol), None)

    async def leave(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


def judge(house: House, item: Book, depth: int) -> None:
    if item.bids or item.asks:
        assert (item.state, item.epoch > 0, item.origin) == ("LIVE", True, "synthetic:7")
        assert (item.bids, item.asks) == house.markets[item.symbol].best(depth, item.update_id)
    else:
        assert item.state != "LIVE" and item.reason


def newest(house: House, depth: int, symbol: str = BTC) -> int:
    return house.hub._views[symbol][depth].ring.seq


class Line:
    """A house with a door, a wire to it, and a client whose clock stands still until the test moves it."""

    def __init__(self, house: House, wire: Wire, client: AsyncClient, clock: FakeClock) -> None:
        self.house, self.wire, self.client, self.clock = house, wire, client, clock

    def reads(self, *symbols: str, depth: int = 5, **how: Any) -> Reads:
        return Reads(self.house, self.client.stream_book(symbols or BTC, depth, **how), depth)


async def comes_back(line: Line, reads: Any) -> None:
    """Attempts, one after the other, until one is answered. Each of them gives an item."""
    while reads.items[-1].news is News.CONNECTION:
        told = len(reads.items)
        await line.clock.advance(PAUSES_S[-1])
        await reads.until(lambda told=told: len(reads.items) > told)


@asynccontextmanager
async def line_to(house: House, **door_has: Any) -> AsyncIterator[Line]:
    clock = FakeClock()
    async with house.open(**door_has) as door, wire_to(door.port) as wire:
        async with AsyncClient(f"127.0.0.1:{wire.port}", clock=clock) as client:
            yield Line(house, wire, client, clock)


def live(*markets: Market) -> House:
    house = House(*markets)
    for symbol in house.markets:
        house.go_live(symbol)
    return house


# Books -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [5, 1000])
def test_over_gaps_and_resyncs_each_item_is_the_markets_book_or_none(depth: int):
    """200 moves of two symbols; one of them is lost at the 21st of each 40 and found five later."""

    async def check() -> None:
        house = live(Market(levels=60), Market(ETH, seed=3))
        async with line_to(house) as line:
            reads = line.reads(BTC, ETH, depth=depth)
            await reads.until(lambda: reads.newest(BTC) and reads.newest(ETH))
            for n in range(200):
                if n % 40 == 20:
                    house.gap(BTC)
                elif n % 40 == 25:
                    house.answer(BTC)
                else:
                    house.move(BTC)
                house.move(ETH)
                if n % 10 == 0:
                    await reads.catches_up()
            house.stir(BTC, depth=depth)
            await reads.catches_up()
            news = [item.news for item in reads.items if item.symbol == BTC]
            lost = [item for item in reads.items if item.news is News.STATUS]
            assert (news.count(News.BOOK), news.count(News.STATUS)) == (6, 5)
            assert [(item.state, item.reason, item.epoch) for item in lost] == [("STALE", "gap", n) for n in range(1, 6)]
            assert (reads.newest(BTC).epoch, reads.newest(ETH).epoch) == (6, 1)
            assert {item.skipped for item in reads.items} == {0}
            await reads.leave()
            await until(lambda: house.hub.readers == 0)

    run(check())


def test_a_connection_cut_behind_any_item_is_told_and_the_book_goes_on_where_it_was():
    """Cut behind the 1st, 2nd, ... 25th item while the market moves; nothing was skipped, so the numbers close up."""

    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            for cut_at in range(1, 26):
                reads = line.reads()
                await reads.first()
                while len(reads.items) < cut_at:
                    house.stir()
                    await reads.catches_up()
                before = reads.last
                line.wire.cut()
                await reads.told(News.CONNECTION)
                lost = len(reads.items)
                assert (reads.last.state, reads.last.bids, reads.last.reason != "") == ("UNKNOWN", (), True)
                for _ in range(cut_at):
                    house.stir()
                await until(lambda: house.hub.readers == 0)
                await comes_back(line, reads)
                await reads.catches_up()
                after = [item for item in reads.items[lost:] if item.news is not News.CONNECTION]
                assert [item.seq for item in after] == list(range(before.seq + 1, before.seq + 1 + cut_at))
                assert {(item.news, item.skipped, item.epoch) for item in after} == {(News.CHANGE, 0, before.epoch)}
                await reads.leave()
                await until(lambda: house.hub.readers == 0)

    run(check())


def test_what_cannot_be_gone_on_with_begins_anew_and_says_that_something_is_missing():
    """More changes than are held go by; the next time the book is lost and found; the next time it is another run."""

    async def check() -> None:
        house, later = live(), live(Market(seed=11))
        later.hub.instance = "second-run"
        async with line_to(house) as line, later.open() as other:
            reads = line.reads()
            await reads.first()

            async def cut(reads: Reads) -> None:
                line.wire.is_shut = True
                line.wire.cut()
                await reads.told(News.CONNECTION)
                await until(lambda: house.hub.readers == 0)

            async def back(reads: Reads) -> None:
                line.wire.is_shut = False
                await comes_back(line, reads)

            await cut(reads)
            for _ in range(RING + 1):
                house.stir()
            await back(reads)
            assert (reads.last.news, reads.last.skipped, reads.last.epoch) == (News.BOOK, None, 1)
            await cut(reads)
            house.gap()
            house.answer()
            await back(reads)
            assert (reads.last.news, reads.last.skipped, reads.last.epoch) == (News.BOOK, None, 2)
            await cut(reads)
            reads.house, line.wire.to_port = later, other.port
            await back(reads)
            assert (reads.last.news, reads.last.skipped, reads.last.instance) == (News.BOOK, None, "second-run")
            house.gap()
            later.stir()
            await reads.until(lambda: reads.last.news is News.CHANGE)
            assert reads.last.skipped == 0
            await reads.leave()

    run(check())


def test_as_long_as_nobody_answers_each_attempt_is_told_and_pauses_grow_to_their_bound():
    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            reads = line.reads()
            await reads.first()
            line.wire.is_shut = True
            line.wire.cut()
            await reads.told(News.CONNECTION)
            at = len(reads.items)
            for pause_s in (*PAUSES_S, PAUSES_S[-1], PAUSES_S[-1]):
                await line.clock.advance(pause_s * 0.5)
                assert len(reads.items) == at
                await line.clock.advance(pause_s * 0.6)
                await reads.until(lambda at=at: len(reads.items) > at)
                at += 1
                assert (len(reads.items), reads.last.state, reads.last.bids) == (at, "UNKNOWN", ())
            assert all(item.seq == reads.items[0].seq for item in reads.items)
            line.wire.is_shut = False
            house.stir()
            await comes_back(line, reads)
            assert (reads.last.news, reads.last.skipped) == (News.CHANGE, 0)
            line.wire.cut()
            await reads.told(News.CONNECTION)
            at = len(reads.items)
            await line.clock.advance(PAUSES_S[0])  # the first pause again: there is an attempt, whatever comes of it
            house.stir()
            await reads.until(lambda: len(reads.items) > at)
            await reads.leave()

    run(check())


def test_silence_is_a_lost_connection_and_a_heartbeat_is_none():
    """Heartbeats come each second by the house's clock; the wire holds them back, and the client's clock goes on."""

    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            reads = line.reads()
            await reads.first()
            for n in range(1, 4):
                await line.clock.advance(SILENCE_S - 0.1)
                await house.clock.advance(HEARTBEAT_S)
                await reads.until(lambda n=n: len(reads.items) > n)
                beat = reads.last
                assert (beat.news, beat.heard_ms, beat.seq) == (News.QUIET, 120, reads.items[0].seq)
                assert beat.bids == reads.items[0].bids
            line.wire.hold()
            await line.clock.advance(SILENCE_S)
            await reads.told(News.CONNECTION)
            assert reads.last.reason == "nothing heard for 5 s"
            line.wire.let_go()
            house.stir()
            await comes_back(line, reads)
            assert (reads.last.is_live, reads.last.skipped) == (True, 0)
            await reads.leave()

    run(check())


def test_updates_outside_the_view_move_the_books_id_with_the_next_heartbeat():
    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            reads = line.reads()
            await reads.first()
            seq = newest(house, 5)
            while house.markets[BTC].id < 200 or newest(house, 5) != seq:
                seq = newest(house, 5)
                house.move()
            await reads.catches_up()
            before = reads.last.update_id
            await house.clock.advance(HEARTBEAT_S)
            await reads.until(lambda: reads.last.news is News.QUIET)
            assert before < reads.last.update_id == house.markets[BTC].id
            await reads.leave()

    run(check())


def test_a_service_that_stops_is_told_and_what_it_said_last_is_no_book():
    async def check() -> None:
        house = live()
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}", clock=FakeClock()) as client:
            reads = Reads(house, client.stream_book(BTC, 5), 5)
            await reads.first()
            house.hub.stop()
            await reads.told(News.CONNECTION)
            off, gone = reads.items[-2:]
            assert (off.news, off.state, off.reason, off.bids) == (News.STATUS, "OFF", "stopping", ())
            assert "the service stops" in gone.reason
            await reads.leave()

    run(check())


def test_each_symbol_of_a_lost_connection_is_told_and_goes_on():
    async def check() -> None:
        house = live(Market(), Market(ETH, seed=3))
        async with line_to(house) as line:
            reads = line.reads(BTC, ETH)
            await reads.until(lambda: len(reads.items) == 2)
            line.wire.cut()
            await reads.until(lambda: len(reads.items) == 4)
            assert [(item.symbol, item.news) for item in reads.items[2:]] == [(BTC, News.CONNECTION), (ETH, News.CONNECTION)]
            house.stir(BTC)
            house.stir(ETH)
            await comes_back(line, reads)
            for symbol in (BTC, ETH):
                await reads.until(lambda symbol=symbol: reads.newest(symbol).news is News.CHANGE)
            assert {item.skipped for item in reads.items} == {0}
            await reads.leave()

    run(check())


def test_no_depth_is_twenty_levels():
    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            first = await anext(line.client.stream_book(BTC, 0))
            judge(house, first, 20)
            assert (first.depth, len(first.bids)) == (20, 20)

    run(check())


def test_a_book_that_is_not_there_yet_is_a_status_and_then_a_book():
    async def check() -> None:
        house = House()
        async with line_to(house) as line:
            reads = line.reads()
            await reads.first()
            assert (reads.last.news, reads.last.state, reads.last.reason) == (News.STATUS, "WAITING", "starting")
            house.go_live()
            await reads.until(lambda: reads.last.is_live)
            assert (reads.items[1].news, reads.last.epoch) == (News.BOOK, 1)
            await reads.leave()

    run(check())


# Refused at the first attempt ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"symbols": "BTCUSD"}, UnknownSymbol),
        ({"symbols": []}, InvalidRequest),
        ({"symbols": BTC, "depth": 7}, InvalidRequest),
        ({"symbols": BTC, "depth": -1}, InvalidRequest),
        ({"symbols": BTC, "policy": "HURRY"}, InvalidRequest),
    ],
)
def test_a_wrong_request_is_raised_and_not_tried_again(how: dict[str, Any], kind: type[Exception]):
    async def check() -> None:
        async with line_to(live()) as line:
            with pytest.raises(kind):
                await anext(line.client.stream_book(**how))

    run(check())


def test_nobody_there_at_the_first_attempt_is_raised():
    async def check() -> None:
        async with line_to(live()) as line:
            line.wire.is_shut = True
            with pytest.raises(Unreachable) as refused:
                await anext(line.client.stream_book(BTC))
            assert (refused.value.what, refused.value.exit_code) == (f"127.0.0.1:{line.wire.port}", 5)

    run(check())


def test_a_starting_service_is_raised_at_first_and_waited_for_later():
    async def check() -> None:
        house, starting = live(), live()
        starting.hub.instance = "second-run"
        desk, starting.dispatcher.desk = starting.dispatcher.desk, None
        async with line_to(house) as line, starting.open() as other:
            reads = line.reads()
            await reads.first()
            line.wire.to_port = other.port
            line.wire.cut()
            await reads.told(News.CONNECTION)
            while "starting" not in reads.last.reason:
                told = len(reads.items)
                await line.clock.advance(PAUSES_S[-1])
                await reads.until(lambda told=told: len(reads.items) > told)
            with pytest.raises(BookNotLive):
                await anext(line.client.stream_book(BTC))
            starting.dispatcher.desk = desk
            reads.house = starting
            await comes_back(line, reads)
            assert reads.last.is_live
            await reads.leave()

    run(check())


def test_a_closed_client_ends_its_streams():
    async def check() -> None:
        async with line_to(live()) as line:
            reads = line.reads()
            await reads.first()
            await line.client.close()
            await reads.task
            with pytest.raises(RuntimeError, match="not open"):
                line.client.stream_book(BTC)

    run(check())


# Slow readers ------------------------------------------------------------------------------------


async def stalled(house: House, stream: AsyncIterator[Book], lag: int) -> None:
    """The first item is read, and no more until so many events lie before the reader."""
    judge(house, await anext(stream), 1000)
    [reader] = house.hub._readers
    [cursor] = reader.cursors
    while cursor.line.ring.seq - cursor.seq < lag:
        house.move(changes=60)
        for _ in range(3):
            await asyncio.sleep(0)


def test_a_slow_reader_is_told_how_much_it_missed_and_has_the_present():
    async def check() -> None:
        house = live(Market(levels=300))
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}", clock=FakeClock()) as client:
            stream = client.stream_book(BTC, 1000)
            await stalled(house, stream, LAG_MAX + 200)
            seq, skipped = None, 0
            async for item in stream:
                judge(house, item, 1000)
                assert seq is None or item.seq == seq + (item.skipped or 0) + (item.news is News.CHANGE)
                seq, skipped = item.seq, skipped + (item.skipped or 0)
                if item.seq == newest(house, 1000):
                    break
            assert skipped == house.hub.skipped["CONFLATE"] > LAG_MAX

    run(check())


def test_a_slow_reader_that_wants_to_be_warned_is_and_loses_nothing():
    async def check() -> None:
        house = live(Market(levels=300))
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}", clock=FakeClock()) as client:
            stream = client.stream_book(BTC, 1000, "WARN")
            await stalled(house, stream, LAG_MAX + 1)
            news = []
            async for item in stream:
                judge(house, item, 1000)
                news.append((item.news, item.waiting > LAG_MAX, item.skipped))
                if item.seq == newest(house, 1000):
                    break
            assert set(news) == {(News.CHANGE, False, 0), (News.SLOW, True, 0)}

    run(check())


@pytest.mark.parametrize(("policy", "lag"), [("WARN", RING + 1), ("DISCONNECT", LAG_MAX + 1)])
def test_a_slow_reader_is_ended_where_its_policy_says_so(policy: str, lag: int):
    async def check() -> None:
        house = live(Market(levels=300))
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}", clock=FakeClock()) as client:
            stream = client.stream_book(BTC, 1000, policy)
            await stalled(house, stream, lag)
            with pytest.raises(SlowReader) as ended:
                async for item in stream:
                    judge(house, item, 1000)
            assert (ended.value.waiting >= lag, ended.value.retryable, ended.value.exit_code) == (True, True, 4)

    run(check())


# Trades --------------------------------------------------------------------------------------------


class Trades:
    def __init__(self, stream: AsyncIterator[TradeNews]) -> None:
        self.items: list[TradeNews] = []
        self.stream = stream
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for item in self.stream:
            self.items.append(item)

    @property
    def ids(self) -> list[int]:
        return [trade.agg_id for item in self.items for trade in item.trades]

    async def until(self, reached: Any) -> None:
        await until(lambda: self.task.done() or reached())
        if self.task.done():
            self.task.result()

    async def first(self) -> None:
        await self.until(lambda: self.items)

    async def leave(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


def test_trades_come_once_and_in_order_over_cut_connections():
    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            reads = Trades(line.client.stream_trades("btcusdt"))
            await reads.first()
            assert (reads.items[0].news, reads.items[0].state) == (News.STATUS, "LIVE")
            for n in range(1, 11):
                house.trade()
                await reads.until(lambda n=n: len(reads.ids) == 2 * n - 1)
                line.wire.cut()
                await reads.until(lambda: reads.items[-1].news is News.CONNECTION)
                house.trade()
                await until(lambda: house.hub.readers == 0)
                await comes_back(line, reads)
                await reads.until(lambda n=n: len(reads.ids) == 2 * n)
            assert reads.ids == list(range(1, 21))
            assert [hole for item in reads.items for hole in item.holes] == []
            assert {item.skipped for item in reads.items} == {0}
            trade = reads.items[-1].trades[-1]
            assert (trade.quantity_e8, str(trade.quantity), trade.aggressor, trade.backfilled) == (5, "5E-8", "buy", False)
            await reads.leave()

    run(check())


def test_trades_that_went_by_while_the_service_was_another_one_are_told_by_their_ids():
    """Trades 1 and 2 come, 3 to 5 go by before the second run is heard, 6 comes."""

    async def check() -> None:
        house, later = live(), live()
        later.hub.instance = "second-run"
        async with line_to(house) as line, later.open() as other:
            reads = Trades(line.client.stream_trades(BTC))
            await reads.first()
            house.trade()
            house.trade()
            await reads.until(lambda: reads.ids == [1, 2])
            for _ in range(5):
                later.trade()
            line.wire.to_port = other.port
            line.wire.cut()
            await reads.until(lambda: reads.items[-1].news is News.CONNECTION)
            await comes_back(line, reads)
            assert (reads.items[-1].skipped, reads.items[-1].instance) == (None, "second-run")
            later.trade()
            await reads.until(lambda: reads.ids == [1, 2, 6])
            [hole] = [hole for item in reads.items for hole in item.holes]
            assert (hole.from_id, hole.to_id, hole.why) == (3, 5, "not received: the connection was lost")
            await reads.leave()

    run(check())


def test_trades_that_the_service_could_not_have_are_a_hole_and_told_once():
    async def check() -> None:
        house = live()
        async with line_to(house) as line:
            reads = Trades(line.client.stream_trades(BTC))
            await reads.first()
            house.trade()
            house.hub.trades_missing(BTC, 2, 3, "they stay away")
            house.markets[BTC].agg_id = 3
            house.hub.trade(house.markets[BTC].trade(house.clock.wall_ns()))
            await reads.until(lambda: reads.ids == [1, 4])
            holes = [(hole.from_id, hole.to_id, hole.why) for item in reads.items for hole in item.holes]
            assert holes == [(2, 3, "they stay away")]
            await reads.leave()

    run(check())
