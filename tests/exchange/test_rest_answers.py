"""What people ask of the exchange: each request as it is documented, each answer exact or refused with its field, and all of it
behind what recording needs. Expected numbers are written by hand or read by Decimal."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from aiohttp import web
from tests.exchange import captures
from tests.exchange.fake_clock import FakeClock, settle
from tests.exchange.servers import FakeRestServer, json_answer, soon

from leadline.core.capture import Answer
from leadline.core.errors import ExchangeError, Malformed, RateLimited, Rejected, UnknownSymbol, Unreachable
from leadline.exchange.binance import answers
from leadline.exchange.binance.answers import AveragePrice, Candle, DayFigures, Fill
from leadline.exchange.binance.limits import Priority, WeightBudget
from leadline.exchange.binance.rest import BinanceRest

Question = Callable[[BinanceRest], Coroutine[Any, Any, Any]]

DAY = {
    "symbol": "BNBBTC", "priceChange": "-94.99999800", "priceChangePercent": "-95.960", "weightedAvgPrice": "0.29628482",
    "prevClosePrice": "0.10002000", "lastPrice": "4.00000200", "lastQty": "200.00000000", "bidPrice": "4.00000000",
    "bidQty": "100.00000000", "askPrice": "4.00000200", "askQty": "100.00000000", "openPrice": "99.00000000",
    "highPrice": "100.00000000", "lowPrice": "0.10000000", "volume": "8913.30000000", "quoteVolume": "15.30000000",
    "openTime": 1499783499040, "closeTime": 1499869899040, "firstId": 28385, "lastId": 28460, "count": 76,
}  # fmt: skip
TRADE = {
    "id": 28457, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012", "time": 1499865549590,
    "isBuyerMaker": True, "isBestMatch": True,
}  # fmt: skip
KLINE = [
    1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815",
    1499644799999, "2434.19055334", 308, "1756.87402397", "28.46694368", "0",
]  # fmt: skip
BOOK = {"lastUpdateId": 7, "bids": [["10.0", "1.5"], ["9.0", "2"]], "asks": [["11.0", "3"], ["12.5", "0.25"]]}
AVERAGE = {"mins": 5, "price": "9.35751834", "closeTime": 1694061154503}

QUESTIONS: dict[str, Question] = {
    "ticker": lambda rest: rest.ticker("BNBBTC"),
    "orderbook": lambda rest: rest.orderbook("BNBBTC", 5),
    "recent_trades": lambda rest: rest.recent_trades("BNBBTC", 2),
    "klines": lambda rest: rest.klines("BNBBTC", "1w", 2, None, None),
    "average_price": lambda rest: rest.average_price("BNBBTC"),
}
every_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)


@asynccontextmanager
async def asking(
    reply: Callable[[web.Request], web.Response], limit: int = 6000
) -> AsyncIterator[tuple[BinanceRest, FakeRestServer, FakeClock]]:
    clock = FakeClock()
    async with (
        FakeRestServer.running(reply) as server,
        BinanceRest(server.url, WeightBudget(limit, clock), clock, timeout_s=5) as rest,
    ):
        yield rest, server, clock


def answered(question: Question, body: Any, status: int = 200, **headers: str) -> Any:
    """What the question is answered when the server says so."""

    async def check() -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        async with asking(lambda _: json_answer(text, status, **headers)) as (rest, _, _):
            return await soon(question(rest))

    return asyncio.run(check())


def refused(question: Question, body: Any, status: int = 200, **headers: str) -> ExchangeError | UnknownSymbol:
    with pytest.raises((ExchangeError, UnknownSymbol)) as caught:
        answered(question, body, status, **headers)
    return caught.value


# What is asked, and what it costs ------------------------------------------------------------


def test_each_question_goes_to_its_path_with_what_was_asked_and_costs_its_weight() -> None:
    bodies = {"ticker/24hr": DAY, "depth": BOOK, "trades": [], "klines": [], "avgPrice": AVERAGE}
    symbol = "BNBBTC"
    asked: list[tuple[Question, str, dict[str, str], int]] = [
        (lambda rest: rest.ticker(symbol), "ticker/24hr", {}, 2),
        (lambda rest: rest.orderbook(symbol, 100), "depth", {"limit": "100"}, 5),
        (lambda rest: rest.orderbook(symbol, 500), "depth", {"limit": "500"}, 25),
        (lambda rest: rest.orderbook(symbol, 1000), "depth", {"limit": "1000"}, 50),
        (lambda rest: rest.orderbook(symbol, 5000), "depth", {"limit": "5000"}, 250),
        (lambda rest: rest.recent_trades(symbol, 7), "trades", {"limit": "7"}, 25),
        (lambda rest: rest.klines(symbol, "1M", 3, None, None), "klines", {"interval": "1M", "limit": "3"}, 2),
        (
            lambda rest: rest.klines(symbol, "1m", 3, 0, 86_400_000),
            "klines",
            {"interval": "1m", "limit": "3", "startTime": "0", "endTime": "86400000"},
            2,
        ),
        (lambda rest: rest.average_price(symbol), "avgPrice", {}, 2),
    ]

    async def check() -> None:
        reply = lambda request: json_answer(json.dumps(bodies[request.path.removeprefix("/api/v3/")]))  # noqa: E731 (a table)
        async with asking(reply) as (rest, server, _):
            used = 0
            for question, path, query, weight in asked:
                await soon(question(rest))
                used += weight
                assert server.requests[-1] == (f"/api/v3/{path}", {"symbol": symbol, **query})
                assert rest.budget.used == used, path

    asyncio.run(check())


def test_the_documented_answers_become_exact_records() -> None:
    """The bodies are the examples of the exchange's own document."""
    assert answered(QUESTIONS["ticker"], DAY) == DayFigures(
        symbol="BNBBTC", change_e8=-9_499_999_800, change_percent_e8=-9_596_000_000, average_e8=29_628_482,
        previous_close_e8=10_002_000, last_e8=400_000_200, last_quantity_e8=20_000_000_000,
        bid=(400_000_000, 10_000_000_000), ask=(400_000_200, 10_000_000_000),
        open_e8=9_900_000_000, high_e8=10_000_000_000, low_e8=10_000_000, volume_e8=891_330_000_000, quote_e8=1_530_000_000,
        open_ms=1499783499040, close_ms=1499869899040, first_id=28385, last_id=28460, trades=76,
    )  # fmt: skip
    assert answered(QUESTIONS["recent_trades"], [TRADE]) == [
        Fill(28457, 400_000_100, 1_200_000_000, 4_800_001_200, 1499865549590, True, True)
    ]
    assert answered(QUESTIONS["klines"], [KLINE]) == [
        Candle(
            1499040000000, 1_634_790, 80_000_000, 1_575_800, 1_577_100, 14_897_611_427_815, 1499644799999,
            243_419_055_334, 308, 175_687_402_397, 2_846_694_368,
        )
    ]  # fmt: skip
    assert answered(QUESTIONS["average_price"], AVERAGE) == AveragePrice(5, 935_751_834, 1694061154503)
    book = answered(QUESTIONS["orderbook"], BOOK)
    assert (book.update_id, book.limit) == (7, 5)
    assert book.bids == ((1_000_000_000, 150_000_000), (900_000_000, 200_000_000))
    assert book.asks == ((1_100_000_000, 300_000_000), (1_250_000_000, 25_000_000))


def test_a_day_of_a_cheap_coin_has_a_volume_beyond_any_single_quantity() -> None:
    """12,345,678,901,234,567 units traded: as units of 1e-8 that is 24 digits, far beyond 64 bits."""
    day = answered(QUESTIONS["ticker"], {**DAY, "volume": "12345678901234567.00000001"})
    assert day.volume_e8 == 1234567890123456700000001
    row = [*KLINE[:5], "12345678901234567.00000001", *KLINE[6:]]
    assert answered(QUESTIONS["klines"], [row])[0].volume_e8 == 1234567890123456700000001


def test_what_the_exchange_writes_as_zero_where_it_has_no_price_is_no_price() -> None:
    """A symbol in which nothing was traded for a day, with a book that has no bids."""
    nothing = dict.fromkeys(DAY, "0.00000000")
    quiet = {**nothing, "symbol": "BNBBTC", "priceChangePercent": "0.000", "askPrice": "4.1", "askQty": "1", "openTime": 5}
    day = answered(QUESTIONS["ticker"], {**quiet, "closeTime": 9, "firstId": -1, "lastId": -1, "count": 0})
    assert day == DayFigures(
        "BNBBTC", *[None] * 7, ask=(410_000_000, 100_000_000), open_e8=None, high_e8=None, low_e8=None, volume_e8=0, quote_e8=0,
        open_ms=5, close_ms=9, first_id=None, last_id=None, trades=0,
    )  # fmt: skip
    assert answered(QUESTIONS["average_price"], {"mins": 5, "price": "0.00000000"}) == AveragePrice(5, None, None)


def test_a_price_that_did_not_move_has_moved_by_nothing_and_that_is_a_number() -> None:
    flat = {
        **DAY,
        "priceChange": "0.00000000",
        "priceChangePercent": "0.000",
        "openPrice": "4",
        "lastPrice": "4",
        "lowPrice": "4",
    }
    day = answered(QUESTIONS["ticker"], flat)
    assert (day.change_e8, day.change_percent_e8) == (0, 0)


# Answers that are none ---------------------------------------------------------------------


WRONG: dict[str, tuple[Any, ...]] = {
    "symbol": ("ETHBTC", None),
    "lastPrice": (4.0, None, "1e3", "-4", "NaN", "", "٤", "4.000000001"),
    "priceChange": ("+1",),
    "priceChangePercent": ("--1",),
    "highPrice": ("98", "0.00000000"),
    "lowPrice": ("4.1",),
    "bidQty": ("one",),
    "volume": ("9" * 5000, "-1"),
    "openTime": (10**18, "1"),
    "closeTime": (1499783499040,),
    "firstId": (-1, -2),
    "lastId": (28384,),
    "count": (-1, "76"),
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_ticker_that_cannot_be_is_refused_with_its_field(field: str, value: Any) -> None:
    error = refused(QUESTIONS["ticker"], {**DAY, field: value})
    assert isinstance(error, Malformed)
    assert error.field == field


@pytest.mark.parametrize("field", list(DAY))
def test_a_ticker_without_one_of_its_fields_names_it(field: str) -> None:
    error = refused(QUESTIONS["ticker"], {name: value for name, value in DAY.items() if name != field})
    assert isinstance(error, Malformed)
    assert error.field == field


COLUMNS = (
    *(
        "openTime",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "closeTime",
        "quoteVolume",
        "trades",
        "takerBuyBase",
        "takerBuyQuote",
    ),
)


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("openTime", "1", "openTime"),
        ("openTime", -1, "openTime"),
        ("open", 0.5, "open"),
        ("open", "0.90000000", "high"),
        ("high", "x", "high"),
        ("low", "0.00000000", "low"),
        ("low", "0.01600000", "low"),
        ("close", None, "close"),
        ("volume", "-1", "volume"),
        ("closeTime", 1499040000000, "closeTime"),
        ("quoteVolume", True, "quoteVolume"),
        ("trades", -1, "trades"),
        ("takerBuyBase", "148976.11427816", "takerBuyBase"),
        ("takerBuyQuote", "2434.19055335", "takerBuyQuote"),
    ],
)
def test_a_candle_that_cannot_be_is_refused_with_the_name_of_its_column(column: str, value: Any, field: str) -> None:
    row = list(KLINE)
    row[COLUMNS.index(column)] = value
    error = refused(QUESTIONS["klines"], [row])
    assert isinstance(error, Malformed)
    assert error.field == field


@pytest.mark.parametrize("length", range(1, 11))
def test_a_candle_that_is_cut_off_names_the_first_column_that_is_missing(length: int) -> None:
    error = refused(QUESTIONS["klines"], [KLINE[:length]])
    assert isinstance(error, Malformed)
    assert error.field == COLUMNS[length]


WEEK = 7 * 86_400_000


def candle(open_ms: int) -> list[Any]:
    return [open_ms, *KLINE[1:6], open_ms + WEEK - 1, *KLINE[7:]]


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        ([candle(2 * WEEK), candle(WEEK)], (2, None, None)),
        ([candle(WEEK), candle(WEEK)], (2, None, None)),
        ([candle(WEEK), candle(2 * WEEK), candle(3 * WEEK)], (2, None, None)),
        ([candle(WEEK)], (2, WEEK + 1, None)),
        ([candle(WEEK), candle(2 * WEEK)], (2, None, 2 * WEEK - 1)),
    ],
    ids=["falling", "twice", "too_many", "before_the_start", "after_the_end"],
)
def test_candles_that_were_not_asked_for_are_refused(rows: list[list[Any]], asked: tuple[int, int | None, int | None]) -> None:
    limit, start, end = asked
    error = refused(lambda rest: rest.klines("BNBBTC", "1w", limit, start, end), rows)
    assert isinstance(error, Malformed)
    assert error.field == "openTime"


def test_the_bounds_of_candles_belong_to_what_was_asked_for() -> None:
    rows = [candle(WEEK), candle(2 * WEEK)]
    found = answered(lambda rest: rest.klines("BNBBTC", "1w", 2, WEEK, 2 * WEEK), rows)
    assert [one.open_ms for one in found] == [WEEK, 2 * WEEK]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        *(("price", ["0.00"]), ("qty", ["0"]), ("qty", [12]), ("quoteQty", ["-1"]), ("time", [-1]), ("isBuyerMaker", ["true"])),
        *(("id", [2, 1]), ("id", [2, 2]), ("id", [1, 2, 3])),
    ],
)
def test_trades_that_cannot_be_are_refused_with_their_field(field: str, values: list[Any]) -> None:
    error = refused(QUESTIONS["recent_trades"], [{**TRADE, field: value} for value in values])
    assert isinstance(error, Malformed)
    assert error.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bids": [["9.0", "1"], ["10.0", "1"]]}, "bids"),
        ({"bids": [["9.0", "1"], ["9.00", "1"]]}, "bids"),
        ({"bids": [["10.0", "0.000"]]}, "bids"),
        ({"bids": [["0", "1"]]}, "bids"),
        ({"bids": [["-1", "1"]]}, "bids"),
        ({"bids": [["11.0", "1"]]}, "asks"),
        ({"asks": [["12.0", "1"], ["11.0", "1"]]}, "asks"),
        ({"asks": [[f"{price}", "1"] for price in range(11, 17)]}, "asks"),
        ({"asks": {}}, "asks"),
        ({"lastUpdateId": -1}, "lastUpdateId"),
    ],
)
def test_a_book_that_cannot_be_is_refused_with_its_side(change: dict[str, Any], field: str) -> None:
    error = refused(QUESTIONS["orderbook"], {**BOOK, **change})
    assert isinstance(error, Malformed)
    assert error.field == field


@pytest.mark.parametrize("body", [{"mins": 0, "price": "1"}, {"price": "1"}, {"mins": "5", "price": "1"}])
def test_an_average_without_its_minutes_is_refused(body: dict[str, Any]) -> None:
    error = refused(QUESTIONS["average_price"], body)
    assert isinstance(error, Malformed)
    assert error.field == "mins"


@every_question
@pytest.mark.parametrize(
    "body", ['{"a"', "[[[", "[" * 100_000, '{"a":"\xff\udc80"}'.encode("utf-8", "surrogateescape").decode("latin1")]
)
def test_what_is_no_json_is_malformed_whatever_was_asked(question: Question, body: str) -> None:
    assert isinstance(refused(question, body), Malformed)


# Refusals -----------------------------------------------------------------------------------


@every_question
@pytest.mark.parametrize(
    ("status", "body", "headers", "wait_s", "banned"),
    [
        (429, '{"code":-1003,"msg":"Too many requests"}', {"Retry_After": "17"}, 17, False),
        (418, '{"code":-1003,"msg":"IP banned until 1723161440000."}', {}, 200, True),  # the clock stands at ...240000
    ],
)
def test_a_limit_of_the_exchange_is_told_with_the_time_it_names(
    question: Question, status: int, body: str, headers: dict[str, str], wait_s: float, banned: bool
) -> None:
    error = refused(question, body, status, **headers)
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.banned) == (wait_s, banned)


@every_question
@pytest.mark.parametrize("code", [-1121, -1100])
def test_a_symbol_that_the_exchange_does_not_know_is_an_unknown_symbol(question: Question, code: int) -> None:
    error = refused(question, {"code": code, "msg": "Invalid symbol."}, 400)
    assert isinstance(error, UnknownSymbol)
    assert (error.symbol, error.near) == ("BNBBTC", ())


@every_question
@pytest.mark.parametrize(("status", "code"), [(400, -1120), (400, -1130), (500, -1000)])
def test_another_refusal_stays_one(question: Question, status: int, code: int) -> None:
    error = refused(question, {"code": code, "msg": "no"}, status)
    assert isinstance(error, Rejected)
    assert error.code == code


@every_question
def test_a_page_in_place_of_an_answer_is_somebody_in_between(question: Question) -> None:
    assert isinstance(refused(question, "<html>Sign in</html>"), Unreachable)


# Behind recording ---------------------------------------------------------------------------


def used_up(weight: int) -> Callable[[web.Request], web.Response]:
    """The exchange counts so much, whatever is asked."""
    return lambda _: json_answer(json.dumps(AVERAGE), X_MBX_USED_WEIGHT_1M=str(weight))


@pytest.mark.parametrize(("used", "goes"), [(2998, True), (2999, False), (4800, False), (6000, False)])
def test_a_question_goes_only_while_half_of_the_minute_is_left_and_else_says_when_to_ask_again(used: int, goes: bool) -> None:
    """Half of 6,000 is 3,000 and the question weighs 2. The clock stands at a whole minute; after 12.5 s 47.5 are left."""

    async def check() -> None:
        async with asking(used_up(used)) as (rest, server, clock):
            await soon(rest.average_price("BNBBTC"))
            await clock.advance(12.5)
            if goes:
                await soon(rest.average_price("BNBBTC"))
                return
            with pytest.raises(RateLimited) as caught:
                await soon(rest.average_price("BNBBTC"))
            assert (caught.value.retry_after_s, caught.value.banned) == (47.5, False)
            assert len(server.requests) == 1, "refused here, not there"
            await clock.advance(47.5)
            await soon(rest.average_price("BNBBTC"))

    asyncio.run(check())


def test_recording_goes_on_where_questions_are_refused() -> None:
    reply = lambda _: json_answer(json.dumps(BOOK), X_MBX_USED_WEIGHT_1M="3000")  # noqa: E731 (one line)

    async def check() -> None:
        async with asking(reply) as (rest, server, _):
            await soon(rest.depth("BNBBTC", 5, Priority.ANCHOR))
            with pytest.raises(RateLimited):
                await soon(rest.orderbook("BNBBTC", 5))
            for priority in (Priority.START, Priority.BACKFILL, Priority.ANCHOR, Priority.AUDIT, Priority.LISTING):
                await soon(rest.depth("BNBBTC", 5, priority))
            assert len(server.requests) == 6

    asyncio.run(check())


def test_a_question_does_not_overtake_what_waits() -> None:
    """200 of 480 are used and 384 are for what can wait, so an anchor of 250 waits; a question of 2 would fit into its 240."""

    async def check() -> None:
        async with asking(lambda _: json_answer(json.dumps(BOOK), X_MBX_USED_WEIGHT_1M="200"), 480) as (rest, server, clock):
            await soon(rest.depth("BNBBTC", 5, Priority.ANCHOR))
            waiting = asyncio.ensure_future(rest.depth("BNBBTC", 5000, Priority.ANCHOR))
            await clock.advance(1)
            assert (rest.budget.waiting, len(server.requests)) == (1, 1)
            with pytest.raises(RateLimited) as caught:
                await soon(rest.ticker("BNBBTC"))
            assert caught.value.retry_after_s == 59
            waiting.cancel()
            await settle()

    asyncio.run(check())


def test_during_a_stop_a_question_is_told_how_long_it_lasts() -> None:
    async def check() -> None:
        async with asking(lambda _: json_answer("{}")) as (rest, server, clock):
            rest.budget.stop_until(clock.wall_ns() + 7200 * 10**9, banned=True)
            await clock.advance(200)
            with pytest.raises(RateLimited) as caught:
                await soon(rest.ticker("BNBBTC"))
            assert (caught.value.retry_after_s, caught.value.banned) == (7000, True)
            assert server.requests == []

    asyncio.run(check())


def test_a_question_heavier_than_its_share_goes_in_a_minute_without_another() -> None:
    """5,000 levels weigh 250; half of 100 is 50."""

    async def check() -> None:
        async with asking(lambda _: json_answer(json.dumps(BOOK)), limit=100) as (rest, _, _):
            await soon(rest.orderbook("BNBBTC", 5000))
            with pytest.raises(RateLimited):
                await soon(rest.ticker("BNBBTC"))

    asyncio.run(check())


# What is listed -----------------------------------------------------------------------------


def info(*symbols: str, status: str = "TRADING") -> str:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"}]
    row = {"status": status, "baseAsset": "B", "quoteAsset": "Q", "filters": filters}
    return json.dumps({"serverTime": 1723161255208, "symbols": [{"symbol": symbol, **row} for symbol in symbols]})


def test_what_the_exchange_said_within_the_last_minutes_is_not_asked_for_again() -> None:
    said = [info("BTCUSDT", "ETHUSDT")]

    async def check() -> None:
        async with asking(lambda _: json_answer(said[-1])) as (rest, server, clock):
            await soon(rest.exchange_info())
            first_ns = clock.wall_ns()
            await clock.advance(120)
            found = await soon(rest.listed(("BTCUSDT",), 120))
            assert [(rules.status, at) for rules, at in found.values()] == [("TRADING", first_ns)]
            assert len(server.requests) == 1
            said.append(info("BTCUSDT", status="HALT"))
            await clock.advance(0.001)
            found = await soon(rest.listed(("BTCUSDT",), 120))
            assert [(rules.status, at) for rules, at in found.values()] == [("HALT", clock.wall_ns())]
            assert server.requests[-1] == ("/api/v3/exchangeInfo", {"symbols": '["BTCUSDT"]'})

    asyncio.run(check())


def test_the_oldest_of_several_decides_whether_they_are_asked_for_again() -> None:
    async def check() -> None:
        async with asking(lambda request: json_answer(info(*json.loads(request.query["symbols"])))) as (rest, server, clock):
            await soon(rest.listed(("BTCUSDT", "ETHUSDT"), 120))
            await clock.advance(100)
            await soon(rest.listed(("BTCUSDT",), 10))
            await clock.advance(50)
            assert len(server.requests) == 2
            found = await soon(rest.listed(("BTCUSDT", "ETHUSDT"), 120))
            assert len(server.requests) == 3
            assert {at for _, at in found.values()} == {clock.wall_ns()}

    asyncio.run(check())


def listing_of(listed: list[str], **headers: str) -> Callable[[web.Request], web.Response]:
    """exchangeInfo of these symbols; one name too many refuses all, with these headers."""

    def reply(request: web.Request) -> web.Response:
        asked = json.loads(request.query.get("symbols", json.dumps(listed)))
        gone = not set(asked) <= set(listed)
        return json_answer('{"code":-1121,"msg":"no"}', 400, **headers) if gone else json_answer(info(*asked))

    return reply


def test_a_symbol_that_is_gone_is_forgotten_and_only_it() -> None:
    listed = ["BTCUSDT", "BTCUSDC", "BTCUSDP"]

    async def check() -> None:
        async with asking(listing_of(listed)) as (rest, server, clock):
            await soon(rest.exchange_info())
            del listed[1:]
            await clock.advance(500)
            assert list(await soon(rest.listed(("BTCUSDC",), 120))) == []
            assert len(server.requests) == 2, "one name, one answer: the whole list is not fetched for it"
            assert sorted(rest.near("BTCUSDC")) == ["BTCUSDP", "BTCUSDT"]
            assert list(await soon(rest.listed(("BTCUSDT", "BTCUSDP"), 120))) == ["BTCUSDT"]
            assert len(server.requests) == 4, "of several nobody says which is gone"
            assert rest.near("BTCUSDP") == ["BTCUSDT"]

    asyncio.run(check())


def test_the_whole_list_is_not_fetched_for_a_question_when_the_first_half_of_the_minute_is_spent() -> None:
    async def check() -> None:
        async with asking(listing_of(["BTCUSDT"], X_MBX_USED_WEIGHT_1M="3000")) as (rest, server, _):
            with pytest.raises(RateLimited):
                await soon(rest.listed(("BTCUSDT", "ETHUSDT"), 120))
            assert len(server.requests) == 1

    asyncio.run(check())


def test_the_question_of_what_is_listed_is_refused_like_any_other() -> None:
    async def check() -> None:
        async with asking(lambda _: json_answer(info("BTCUSDT"))) as (rest, server, clock):
            rest.budget.stop_until(clock.wall_ns() + 10**9, banned=False)
            with pytest.raises(RateLimited):
                await soon(rest.listed(("BTCUSDT",), 120))
            assert server.requests == []

    asyncio.run(check())


def test_a_name_that_is_listed_is_not_called_unknown_because_of_its_characters() -> None:
    name = "币安人生USDT"

    def reply(request: web.Request) -> web.Response:
        return json_answer(info(name)) if "exchangeInfo" in request.path else json_answer('{"code":-1100,"msg":"Illegal"}', 400)

    async def check() -> None:
        async with asking(reply) as (rest, _, _):
            with pytest.raises(UnknownSymbol):
                await soon(rest.ticker(name))
            await soon(rest.exchange_info())
            with pytest.raises(Rejected):
                await soon(rest.ticker(name))

    asyncio.run(check())


# Recorded -----------------------------------------------------------------------------------


def recorded(name: str) -> list[tuple[str, bytes]]:
    """(symbol, body) of each depth answer of a recording."""
    found = [x for x in captures.lines(name) if isinstance(x, Answer)]
    return [(x.url.partition("symbol=")[2].partition("&")[0], x.body) for x in found if "/depth?" in x.url]


@captures.needed
@pytest.mark.parametrize("name", ["multi/binance_20210404_btc_eth_dot.raw.gz", "multi/binance_20211012_4pairs.http.gz"])
def test_recorded_books_come_through_level_by_level(name: str) -> None:
    bodies = dict(recorded(name))
    assert len(bodies) in (3, 4)

    async def check() -> None:
        async with asking(lambda request: json_answer(bodies[request.query["symbol"]].decode())) as (rest, _, _):
            for symbol, body in bodies.items():
                book, answer = await soon(rest.orderbook(symbol, 1000)), json.loads(body)
                assert book.update_id == answer["lastUpdateId"]
                for side in ("bids", "asks"):
                    exact = [(Decimal(price), Decimal(quantity)) for price, quantity in answer[side]]
                    assert [(Decimal(p).scaleb(-8), Decimal(q).scaleb(-8)) for p, q in getattr(book, side)] == exact

    asyncio.run(check())


@captures.needed
def test_near_matches_come_from_all_that_the_exchange_ever_listed() -> None:
    (body,) = (x.body for x in captures.lines("exchange_info/binance_20211012_exchangeInfo.raw.gz") if isinstance(x, Answer))

    def reply(request: web.Request) -> web.Response:
        return json_answer(body.decode()) if "exchangeInfo" in request.path else json_answer('{"code":-1121,"msg":"no"}', 400)

    async def check() -> None:
        async with asking(reply) as (rest, _, _):
            await soon(rest.exchange_info())
            with pytest.raises(UnknownSymbol) as caught:
                await soon(rest.ticker("BTCUSD"))
            assert "BTCUSDT" in caught.value.near
            assert len(caught.value.near) <= 5
            assert rest.near("QQQQQQQQQQ") == []

    asyncio.run(check())


def test_a_number_is_a_plain_decimal_of_eight_places_whatever_its_size() -> None:
    """Read as fractions: each text of the first list is exactly that many units of 1e-8; none of the second is a number."""
    for text in ("0", "1.", "1.5", "0.00000001", "1.000000010", "9" * 40, "-3.25", "-0.00000001"):
        assert answers._number(text, "x") == Fraction(text) * 10**8
    for text in ("", "-", ".5", "1,5", " 1", "1 ", "1e5", "0x1", "1.123456789", "9" * 41, "1_000", "²", "\n1", "1\n"):
        with pytest.raises(Malformed):
            answers._number(text, "x")
