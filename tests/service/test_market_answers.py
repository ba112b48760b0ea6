"""The six questions that the exchange answers, over loopback against the stand-in: every number is worked out again from its tape
and its true books, by Decimal, with neither our decoder nor its figures."""

import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs
from tests.core import build
from tests.exchange.servers import FakeRestServer, json_answer
from tests.fakes import FakeClock, run
from tests.service.test_live import House
from tests.standin.support import get

from leadline.clock import SystemClock
from leadline.core.errors import InvalidRequest, LeadlineError, RateLimited, UnknownSymbol, Unreachable
from leadline.core.records import DepthSnapshot, Disconnected, SymbolRules
from leadline.exchange.binance.limits import WeightBudget
from leadline.exchange.binance.rest import BinanceRest
from leadline.service.live_books import LiveBooks
from leadline.service.ports import MarketData
from leadline.service.queries import Desk
from leadline.service.queries.exchange_info import get_exchange_info
from leadline.service.queries.market import INTERVALS, get_avg_price, get_klines, get_recent_trades, get_ticker
from leadline.service.queries.orderbook import DEPTHS, get_orderbook
from leadline.standin.faults import FaultRequest
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn
from leadline.standin.source import AggTrade
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

START_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
INCH, PEPE, ASIA, HALTED = "1INCHUSDT", "PEPEUSDT", "币安人生USDT", "LUNABUSD"
traded = pytest.mark.parametrize("symbol", [INCH, PEPE, ASIA])

Ask = Callable[[Desk, MarketData | None], Awaitable[Any]]


def desk(*rules: SymbolRules) -> Desk:
    """A desk over an empty store that knows these rules; nothing is followed."""
    history = History(MemoryEngine(), "the test's store")
    history.set_meta({"origin": "synthetic:7"})
    for rule in rules:
        history.set_rules(rule)
    return Desk(history, now_ns=SystemClock().wall_ns)


@asynccontextmanager
async def exchange(*symbols: str, after_ms: int = 400_000) -> AsyncIterator[tuple[SyntheticMarket, BinanceRest, StandIn]]:
    """The stand-in some minutes after its start, standing still, and our way to it."""
    market, clock = SyntheticMarket(7, symbols, start_ms=START_MS), SystemClock()
    async with (
        StandIn(market, speed=0, paused=True) as standin,
        BinanceRest(standin.http_url, WeightBudget(6000, clock), clock) as rest,
    ):
        await standin.advance(after_ms)
        yield market, rest, standin


# The truth, again ---------------------------------------------------------------------------

EIGHT = Decimal("0.00000001")


class Sums:
    """What some aggregate trades add up to."""

    def __init__(self, rows: Iterable[AggTrade]) -> None:
        self.rows = list(rows)
        prices = [Decimal(row.p) for row in self.rows]
        self.open, self.high, self.low, self.close = prices[0], max(prices), min(prices), prices[-1]
        self.volume = sum(Decimal(row.q) for row in self.rows)
        self.quote = sum(self._value(row) for row in self.rows)
        self.count = sum(row.l - row.f + 1 for row in self.rows)
        self.bought = sum(Decimal(row.q) for row in self.rows if not row.m)
        self.bought_quote = sum(self._value(row) for row in self.rows if not row.m)

    @staticmethod
    def _value(row: AggTrade) -> Decimal:
        return (Decimal(row.p) * Decimal(row.q)).quantize(EIGHT, ROUND_DOWN)


def tape(market: SyntheticMarket, symbol: str) -> list[AggTrade]:
    """Every aggregate trade that the market has had, oldest first."""
    return market.tape(symbol).aggregates(from_id=1, limit=10**7)


def decimals(answer: Any, *names: str) -> list[Decimal]:
    return [Decimal(getattr(answer, name)) for name in names]


# 24 hours -----------------------------------------------------------------------------------


@traded
def test_the_ticker_is_what_the_tape_of_its_24_hours_adds_up_to(symbol: str) -> None:
    async def test() -> None:
        async with exchange(symbol) as (market, rest, _):
            answer = await get_ticker(desk(), f" {symbol.lower()} ", market=rest)
            now = market.server_time_ms()
            rows = tape(market, symbol)
            true = Sums(row for row in rows if now - DAY_MS <= row.T <= now)
            before = [row for row in rows if now - DAY_MS > row.T]
            assert before and len(true.rows) > 1000
            assert answer.symbol == symbol
            names = ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume", "prevClosePrice", "priceChange")
            assert decimals(answer, *names) == [
                *(true.open, true.high, true.low, true.close, true.volume, true.quote),
                *(Decimal(before[-1].p), true.close - true.open),
            ]
            percent = ((true.close - true.open) * 100 / true.open).quantize(Decimal("0.001"), ROUND_HALF_UP)
            assert Decimal(answer.priceChangePercent) == percent
            assert Decimal(answer.weightedAvgPrice) == (true.quote / true.volume).quantize(EIGHT, ROUND_DOWN)
            assert (answer.count, answer.firstId, answer.lastId) == (true.count, true.rows[0].f, true.rows[-1].l)
            assert (answer.openTime, answer.closeTime) == (now - DAY_MS, now)
            book = market.book(symbol, json.loads(market.depth(symbol, 5).body)["lastUpdateId"])
            bid, ask = max(map(Decimal, book.bids)), min(map(Decimal, book.asks))
            assert decimals(answer, "bidPrice", "askPrice") == [bid, ask]
            sizes = {Decimal(price): Decimal(size) for price, size in (*book.bids.items(), *book.asks.items())}
            assert decimals(answer, "bidQty", "askQty") == [sizes[bid], sizes[ask]]
            assert answer.reasons == {}

    run(test())


def test_a_day_without_a_trade_has_no_prices_and_says_why() -> None:
    """LUNABUSD does not trade, and has not for a day."""

    async def test() -> None:
        async with FakeRestServer.running(lambda _: json_answer(json.dumps(no_trades()))) as server:
            clock = SystemClock()
            async with BinanceRest(server.url, WeightBudget(6000, clock), clock) as rest:
                answer = await get_ticker(desk(), HALTED, market=rest)
        nulls = {name for name in answer.__struct_fields__ if getattr(answer, name) is None}
        assert nulls == set(answer.reasons)
        assert {answer.reasons[name] for name in ("lastPrice", "highPrice", "priceChange", "lastQty", "lastId")} == {"no_trades"}
        assert (answer.reasons["bidPrice"], answer.reasons["bidQty"]) == ("undefined", "undefined")
        assert (answer.askPrice, answer.askQty, answer.count, answer.volume) == ("0.1", "20", 0, "0")
        assert answer.reading == "LUNABUSD: no trade in 24 h."

    run(test())


def no_trades() -> dict[str, Any]:
    prices = ("priceChange", "weightedAvgPrice", "prevClosePrice", "lastPrice", "lastQty", "bidPrice", "bidQty", "openPrice")
    zeros = dict.fromkeys((*prices, "highPrice", "lowPrice", "volume", "quoteVolume"), "0.00000000")
    times = {"openTime": START_MS - DAY_MS, "closeTime": START_MS, "firstId": -1, "lastId": -1, "count": 0}
    ask = {"askPrice": "0.10000000", "askQty": "20.00000000"}
    return {"symbol": HALTED, "priceChangePercent": "0.000", **zeros, **ask, **times}


def test_numbers_of_a_symbol_with_known_rules_are_written_as_its_grid_is() -> None:
    """Tick 0.0001 and step 0.1: four decimals, one decimal; without rules as many as are needed."""
    rules = SymbolRules(INCH, "TRADING", "1INCH", "USDT", 10_000, 10_000_000, 1)

    async def test() -> None:
        async with exchange(INCH) as (_, rest, _):
            known, unknown = await get_ticker(desk(rules), INCH, market=rest), await get_ticker(desk(), INCH, market=rest)
        assert [len(text.partition(".")[2]) for text in (known.highPrice, known.bidPrice, known.lastQty)] == [4, 4, 1]
        assert not unknown.highPrice.endswith("0")
        assert decimals(known, "highPrice", "lastQty") == decimals(unknown, "highPrice", "lastQty")

    run(test())


# Trades -------------------------------------------------------------------------------------


@traded
def test_recent_trades_are_the_fills_of_the_last_aggregates_of_the_tape(symbol: str) -> None:
    """A fill has the price, the side and the time of its aggregate; the fills of a whole aggregate add up to it."""

    async def test() -> None:
        async with exchange(symbol, after_ms=600_000) as (market, rest, _):
            answer = await get_recent_trades(desk(), symbol, limit=100, market=rest)
            rows = tape(market, symbol)
        owner = {fill: row for row in rows[-101:] for fill in range(row.f, row.l + 1)}
        assert [trade.id for trade in answer.trades] == list(range(rows[-1].l - 99, rows[-1].l + 1))
        sizes: dict[int, Decimal] = {}
        for trade in answer.trades:
            row = owner[trade.id]
            assert (Decimal(trade.price), trade.isBuyerMaker, trade.time) == (Decimal(row.p), row.m, row.T)
            value = (Decimal(trade.price) * Decimal(trade.qty)).quantize(EIGHT, ROUND_DOWN)
            assert (Decimal(trade.quoteQty), trade.isBestMatch) == (value, True)
            sizes[row.a] = sizes.get(row.a, Decimal(0)) + Decimal(trade.qty)
        whole = [row for row in rows[-101:] if row.f >= answer.trades[0].id]
        assert len(whole) > 10
        assert [sizes[row.a] for row in whole] == [Decimal(row.q) for row in whole]
        sold = sum(owner[trade.id].m for trade in answer.trades)
        assert answer.reading.startswith(f"{symbol}: 100 trades, the taker sold in {sold} of them, the last at ")
        assert answer.envelope.exchange_time_ms == rows[-1].T

    run(test())


# Candles ------------------------------------------------------------------------------------


def opening(interval: str, at_ms: int) -> int:
    """When the candle opens that holds at_ms: minutes to days from the epoch, weeks on Monday, months on the first."""
    day = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "1M":
        return round(day.replace(day=1).timestamp() * 1000)
    if interval == "1w":
        return round((day - datetime.timedelta(days=day.weekday())).timestamp() * 1000)
    width = int(interval[:-1]) * {"m": 60_000, "h": HOUR_MS, "d": DAY_MS}[interval[-1]]
    return at_ms // width * width


@pytest.mark.parametrize("interval", INTERVALS)
def test_candles_of_every_length_are_what_the_tape_adds_up_to(interval: str) -> None:
    async def test() -> None:
        async with exchange(INCH) as (market, rest, _):
            answer = await get_klines(desk(), INCH, interval, limit=1000, market=rest)
            rows = tape(market, INCH)
        by_open: dict[int, list[AggTrade]] = {}
        for row in rows:
            by_open.setdefault(opening(interval, row.T), []).append(row)
        opens = [kline.openTime for kline in answer.klines]
        assert set(opens) == set(sorted(by_open)[-1000:])
        assert answer.interval == interval
        for kline in answer.klines:
            true = Sums(by_open[kline.openTime])
            assert decimals(kline, "open", "high", "low", "close") == [true.open, true.high, true.low, true.close]
            assert decimals(kline, "volume", "quoteVolume") == [true.volume, true.quote]
            assert decimals(kline, "takerBuyBase", "takerBuyQuote") == [true.bought, true.bought_quote]
            assert kline.trades == true.count
            assert opening(interval, kline.closeTime) == kline.openTime < opening(interval, kline.closeTime + 1)

    run(test())


@pytest.mark.parametrize(
    ("asked", "hours"),
    [
        ({}, range(-24, 1)),
        ({"limit": 3}, range(-2, 1)),
        ({"start_time": START_MS - 5 * HOUR_MS}, range(-5, 1)),
        ({"start_time": START_MS - 5 * HOUR_MS, "limit": 2}, range(-5, -3)),
        ({"start_time": START_MS - 5 * HOUR_MS + 1, "limit": 2}, range(-4, -2)),
        ({"end_time": START_MS - HOUR_MS, "limit": 2}, range(-2, 0)),
        ({"end_time": START_MS - HOUR_MS - 1, "limit": 2}, range(-3, -1)),
        ({"start_time": START_MS - 9 * HOUR_MS, "end_time": START_MS - 7 * HOUR_MS}, range(-9, -6)),
        ({"start_time": START_MS + HOUR_MS}, range(0)),
    ],
)
def test_the_times_of_candles_are_honoured(asked: dict[str, int], hours: range) -> None:
    """The market began at a whole hour and has a day before it; a candle belongs to where it opens, both bounds included."""

    async def test() -> None:
        async with exchange(INCH) as (_, rest, _):
            answer = await get_klines(desk(), INCH, "1h", market=rest, **asked)
        assert [kline.openTime for kline in answer.klines] == [START_MS + hour * HOUR_MS for hour in hours]
        assert answer.reading.startswith(
            f"1INCHUSDT: {len(hours)} candles of 1h" if hours else "1INCHUSDT: no candle opens there"
        )

    run(test())


# Average price ------------------------------------------------------------------------------


@traded
def test_the_average_price_is_that_of_the_last_five_minutes_of_the_tape(symbol: str) -> None:
    async def test() -> None:
        async with exchange(symbol) as (market, rest, _):
            answer = await get_avg_price(desk(), symbol, market=rest)
            now, rows = market.server_time_ms(), tape(market, symbol)
        true = Sums(row for row in rows if now - 300_000 < row.T <= now)
        assert len(true.rows) > 3
        assert (answer.mins, answer.closeTime) == (5, rows[-1].T)
        assert Decimal(answer.price) == (true.quote / true.volume).quantize(EIGHT, ROUND_DOWN)
        assert symbol == PEPE or Decimal(answer.price) != true.close
        assert answer.reading == f"{symbol}: average price of 5 min is {answer.price}."

    run(test())


# What is listed -----------------------------------------------------------------------------


def test_tick_step_and_status_are_those_of_the_market() -> None:
    """By the market's own table: ticks of 1e-4 and 1e-8, lots of 0.1 and 1."""

    async def test() -> None:
        async with exchange(INCH, PEPE, HALTED) as (_, rest, _):
            answers = [await get_exchange_info(desk(), symbol, market=rest) for symbol in (INCH, PEPE, HALTED)]
        rows = [answer.symbols[0] for answer in answers]
        assert [(row.tickSize, row.stepSize) for row in rows[:2]] == [("0.0001", "0.1"), ("0.00000001", "1")]
        assert [row.status for row in rows] == ["TRADING", "TRADING", "HALT"]
        assert [(row.baseAsset, row.quoteAsset) for row in rows[:2]] == [("1INCH", "USDT"), ("PEPE", "USDT")]
        assert answers[0].reading == "1INCHUSDT: TRADING, tick 0.0001, step 0.1."
        assert {answer.envelope.source for answer in answers} == {"rest"}

    run(test())


def test_a_change_of_the_grid_is_told_once_the_last_word_is_too_old() -> None:
    """INJUSDT has a tick of 0.001 and after a minute one ten times as large. 120 s is as old as the exchange's word may be."""

    async def test() -> None:
        market, clock = SyntheticMarket(7, ("INJUSDT",), start_ms=START_MS), FakeClock()
        async with StandIn(market, speed=0, paused=True) as standin:
            async with BinanceRest(standin.http_url, WeightBudget(6000, clock), clock) as rest:
                told = []
                for seconds in (0, 120, 0.001):
                    await clock.advance(seconds)
                    answer = await get_exchange_info(desk(), "INJUSDT", market=rest)
                    told.append((answer.symbols[0].tickSize, answer.symbols[0].told_ms))
                    if not seconds:
                        await standin.advance(70_000)
        start_ms = FakeClock().wall_ns() // 1_000_000
        assert told == [("0.001", start_ms), ("0.001", start_ms), ("0.01", start_ms + 120_001)]

    run(test())


def test_a_rule_that_is_off_is_no_step_of_zero() -> None:
    row = {"symbol": INCH, "status": "BREAK", "baseAsset": "1INCH", "quoteAsset": "USDT", "filters": []}
    body = json.dumps({"serverTime": START_MS, "symbols": [row]})

    async def test() -> None:
        async with FakeRestServer.running(lambda _: json_answer(body)) as server:
            clock = SystemClock()
            async with BinanceRest(server.url, WeightBudget(6000, clock), clock) as rest:
                answer = await get_exchange_info(desk(), INCH, market=rest)
        assert (answer.symbols[0].tickSize, answer.symbols[0].stepSize) == (None, None)
        assert answer.reading == "1INCHUSDT: BREAK, tick none, step none."

    run(test())


# The book -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", DEPTHS)
def test_a_book_that_is_not_followed_is_the_true_one_at_its_id(limit: int) -> None:
    async def test() -> None:
        async with exchange(INCH) as (market, rest, _):
            answer = await get_orderbook(desk(), INCH, limit=limit, market=rest)
            book = market.book(INCH, answer.lastUpdateId)
        for side, true, best_first in ((answer.bids, book.bids, True), (answer.asks, book.asks, False)):
            levels = sorted(((Decimal(p), Decimal(q)) for p, q in true.items()), reverse=best_first)
            assert [(Decimal(p), Decimal(q)) for p, q in side] == levels[:limit]
        known = answer.envelope.known_range
        assert known.bid_low == (answer.bids[-1][0] if len(book.bids) >= limit else None)
        assert known.ask_high == (answer.asks[-1][0] if len(book.asks) >= limit else None)
        assert (answer.envelope.source, answer.envelope.state, answer.envelope.reason) == ("rest", "OFF", "not followed")
        assert answer.envelope.update_id == answer.lastUpdateId

    run(test())


class Connection:
    """What LiveBooks is told of the connection that carries a house's symbols."""

    def __init__(self, house: House) -> None:
        self.symbols, self.state, self.last_read = house.symbols, "open", house.clock.monotonic()


Pairs = list[tuple[int, int]]
BIDS: Pairs = [(100 - n, 1 + n) for n in range(12)]
ASKS: Pairs = [(101 + n, 2 + n) for n in range(12)]
ELSEWHERE = {"lastUpdateId": 99, "bids": [["50", "1"]], "asks": [["60", "1"]]}


@asynccontextmanager
async def followed(bids: Pairs, asks: Pairs, limit: int) -> AsyncIterator[tuple[House, Connection, Callable[[int], Any]]]:
    """A book of BTCUSDT that goes LIVE on a snapshot of `limit` levels at most, and a way to ask for it.

    Whatever the exchange is asked for, it answers with one bid at 50.
    """
    house = House()

    async def depth(symbol: str) -> DepthSnapshot:
        return build.snapshot(11, bids, asks, limit=limit)

    house.market.depth_answer = depth
    async with house.running(), FakeRestServer.running(lambda _: json_answer(json.dumps(ELSEWHERE))) as server:
        connection = Connection(house)
        books = LiveBooks(house.live, lambda: [connection], house.clock)
        where = Desk(house.history, now_ns=house.clock.wall_ns, books=books)
        async with BinanceRest(server.url, WeightBudget(6000, house.clock), house.clock) as rest:
            await house.go_live()
            yield house, connection, lambda levels: get_orderbook(where, "BTCUSDT", limit=levels, market=rest)


def sources(bids: Pairs, asks: Pairs, limit: int, *asked: int) -> list[str]:
    async def test() -> list[str]:
        async with followed(bids, asks, limit) as (_, _, ask):
            return [(await ask(levels)).envelope.source for levels in asked]

    return run(test())


def test_our_book_answers_exactly_as_deep_as_it_is_known() -> None:
    """A snapshot of 10 levels knows 10; an eleventh may rest behind them, so 20 are asked for elsewhere."""
    assert sources(BIDS[:10], ASKS[:10], 10, 5, 10, 20, 5000) == ["live", "live", "rest", "rest"]


def test_a_side_that_ends_is_known_to_its_end_however_much_is_asked_for() -> None:
    """Of 100 levels that were to be had there are 12: that is all."""
    assert sources(BIDS, ASKS, 100, 5, 10, 20, 5000) == ["live"] * 4


@pytest.mark.parametrize(("bids", "asks"), [(BIDS[:10], ASKS[:3]), (BIDS[:3], ASKS[:10])])
def test_the_shallower_side_decides(bids: Pairs, asks: Pairs) -> None:
    """One side ends after three levels and is complete, the other is known for ten."""
    assert sources(bids, asks, 10, 10, 20) == ["live", "rest"]


def test_a_level_that_is_gone_makes_our_book_one_level_shallower() -> None:
    """go_live sets 100; then 99 goes, and of ten known bids nine are left."""

    async def test() -> None:
        async with followed(BIDS[:10], ASKS[:10], 10) as (house, _, ask):
            assert (await ask(10)).envelope.source == "live"
            gone = structs.replace(house.update(13, 13), bids=build.levels([(99, 0)]))
            await house.send(gone)
            assert [(await ask(levels)).envelope.source for levels in (5, 10)] == ["live", "rest"]

    run(test())


def test_the_live_answer_is_the_book_after_its_last_update() -> None:
    """go_live applies 11..12, which sets 12 units at 100."""

    async def test() -> None:
        async with followed(BIDS, ASKS, 100) as (house, _, ask):
            answer = await ask(5)
            assert answer.lastUpdateId == answer.envelope.update_id == 12
            assert answer.bids == [("100", "12"), ("99", "2"), ("98", "3"), ("97", "4"), ("96", "5")]
            assert answer.asks == [("101", "2"), ("102", "3"), ("103", "4"), ("104", "5"), ("105", "6")]
            assert (answer.envelope.state, answer.envelope.epoch, answer.envelope.definition) == ("LIVE", 1, "orderbook/1")
            assert answer.envelope.exchange_time_ms == house.clock.wall_ns() // 1_000_000
            assert answer.reading == "BTCUSDT: 100 bid, 101 asked; 5 bids and 5 asks, from our live book."

    run(test())


def test_a_book_that_is_lost_or_whose_connection_is_silent_is_not_shown_for_the_present_one() -> None:
    async def test() -> None:
        async with followed(BIDS, ASKS, 100) as (house, connection, ask):
            await house.clock.advance(10)
            connection.last_read = house.clock.monotonic() - 5
            assert (await ask(5)).envelope.source == "live"
            connection.last_read = house.clock.monotonic() - 5.001
            silent = await ask(5)
            assert (silent.bids, silent.lastUpdateId) == ([("50", "1")], 99)
            connection.last_read = house.clock.monotonic()
            await house.send(Disconnected(("BTCUSDT",), "cut", house.clock.wall_ns()))
            lost = await ask(5)
            assert (lost.envelope.source, lost.envelope.state, lost.bids) == ("rest", "STALE", [("50", "1")])
            assert lost.envelope.reason == "disconnected"
            assert lost.envelope.epoch is None, "numbers of the exchange's answer belong to no run of ours"

    run(test())


def test_what_is_followed_is_listed_without_a_name_and_what_is_gone_is_named() -> None:
    row = {"symbol": "BTCUSDT", "status": "HALT", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []}
    body = json.dumps({"serverTime": START_MS, "symbols": [row]})

    def reply(request: web.Request) -> web.Response:
        return json_answer(body) if "symbols" not in request.query else json_answer('{"code":-1121,"msg":"no"}', 400)

    async def test() -> None:
        house = House("BTCUSDT", "ETHUSDT")
        where = Desk(
            house.history, now_ns=house.clock.wall_ns, books=LiveBooks(house.live, lambda: [Connection(house)], house.clock)
        )
        async with FakeRestServer.running(reply) as server:
            async with BinanceRest(server.url, WeightBudget(6000, house.clock), house.clock) as rest:
                answer = await get_exchange_info(where, market=rest)
        assert ([row.symbol for row in answer.symbols], answer.not_listed) == (["BTCUSDT"], ["ETHUSDT"])
        assert answer.reading == "1 of 2 followed symbols are listed, 0 of them trading."
        assert (answer.envelope.symbol, answer.envelope.source) == ("*", "rest")

    run(test())


# What is no answer --------------------------------------------------------------------------

QUESTIONS: dict[str, Ask] = {
    "ticker": lambda where, market: get_ticker(where, INCH, market=market),
    "orderbook": lambda where, market: get_orderbook(where, INCH, market=market),
    "trades": lambda where, market: get_recent_trades(where, INCH, market=market),
    "klines": lambda where, market: get_klines(where, INCH, "1m", market=market),
    "average": lambda where, market: get_avg_price(where, INCH, market=market),
    "info": lambda where, market: get_exchange_info(where, INCH, market=market),
}
every_question = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


@every_question
def test_without_a_service_there_is_nobody_to_ask(ask: Ask) -> None:
    with pytest.raises(Unreachable) as caught:
        run(ask(desk(), None))
    assert str(caught.value) == "the exchange is unreachable: no service runs here"


@every_question
def test_a_symbol_that_is_not_listed_is_unknown_with_what_is_near(ask: Ask) -> None:
    """The stand-in has 1INCHUSDC, not 1INCHUSDT; it is near once the exchange has told of it."""

    async def test() -> None:
        async with exchange("1INCHUSDC", "BTCJPY", after_ms=100) as (_, rest, _):
            await rest.exchange_info()
            with pytest.raises(UnknownSymbol) as caught:
                await ask(desk(), rest)
        assert (caught.value.symbol, caught.value.near) == (INCH, ("1INCHUSDC",))

    run(test())


@every_question
@pytest.mark.parametrize(("status", "banned"), [(429, False), (418, True)])
def test_a_limit_of_the_exchange_ends_the_question_and_the_next_one_does_not_reach_it(
    ask: Ask, status: int, banned: bool
) -> None:
    async def test() -> None:
        async with exchange(INCH, after_ms=100) as (_, rest, standin):
            standin.fault(FaultRequest(fault="rest.status", status=status, retry_after_s=90))
            for _ in range(2):
                with pytest.raises(RateLimited) as caught:
                    await ask(desk(), rest)
                assert (caught.value.banned, 80 < caught.value.retry_after_s <= 90) == (banned, True)
            (spent,) = (await get(standin, "/_standin/state")).json["weights"].values()
            assert spent["used"] == 0

    run(test())


@every_question
def test_an_answer_says_where_it_is_from_and_has_no_null_without_a_reason(ask: Ask) -> None:
    async def test() -> None:
        async with exchange(INCH) as (_, rest, _):
            before_ms = SystemClock().wall_ns() // 1_000_000
            answer = await ask(desk(), rest)
        evidence = answer.envelope
        assert (evidence.symbol, evidence.origin, evidence.source) == (INCH, "synthetic:7", "rest")
        assert (evidence.state, evidence.reason, evidence.heard_ms, evidence.age_ms) == ("OFF", "not followed", None, None)
        assert before_ms <= evidence.received_time_ms <= evidence.as_of_ms < before_ms + 60_000
        assert {name for name in answer.__struct_fields__ if getattr(answer, name) is None} == set()
        assert answer.reading.endswith(".") and INCH in answer.reading

    run(test())


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda where: get_orderbook(where, INCH, limit=7, market=None), "limit"),
        (lambda where: get_orderbook(where, INCH, limit=0, market=None), "limit"),
        (lambda where: get_orderbook(where, INCH, limit=10_000, market=None), "limit"),
        (lambda where: get_recent_trades(where, INCH, limit=0, market=None), "limit"),
        (lambda where: get_recent_trades(where, INCH, limit=1001, market=None), "limit"),
        (lambda where: get_klines(where, INCH, "1m", limit=1001, market=None), "limit"),
        (lambda where: get_klines(where, INCH, "1s", market=None), "interval"),
        (lambda where: get_klines(where, INCH, "1D", market=None), "interval"),
        (lambda where: get_klines(where, INCH, "", market=None), "interval"),
        (lambda where: get_klines(where, INCH, "1m", start_time=-1, market=None), "start_time"),
        (lambda where: get_klines(where, INCH, "1m", start_time=10**14, market=None), "start_time"),
        (lambda where: get_klines(where, INCH, "1m", end_time=10**14, market=None), "end_time"),
        (lambda where: get_klines(where, INCH, "1m", start_time=5, end_time=4, market=None), "end_time"),
        *(
            (lambda where, text=text: get_ticker(where, text, market=None), "symbol")
            for text in ("", "  ", "BTC USDT", "BTC:USDT", "BTC*", "A" * 33)
        ),
        (lambda where: get_exchange_info(where, " ", market=None), "symbol"),
    ],
)
def test_a_wrong_request_names_its_field_before_anybody_is_asked(ask: Callable[[Desk], Awaitable[Any]], field: str) -> None:
    with pytest.raises(LeadlineError) as caught:
        run(ask(desk()))
    assert isinstance(caught.value, InvalidRequest)
    assert caught.value.field == field


def test_one_millisecond_is_a_window() -> None:
    async def test() -> None:
        async with exchange(INCH) as (_, rest, _):
            answer = await get_klines(desk(), INCH, "1h", start_time=START_MS, end_time=START_MS, market=rest)
        assert [kline.openTime for kline in answer.klines] == [START_MS]

    run(test())
