import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.exchange.fake_clock import FakeClock, settle
from tests.exchange.servers import FakeRestServer, json_answer, soon

from leadline.core.errors import ExchangeError, Malformed, RateLimited, Rejected, Unreachable
from leadline.exchange.binance.limits import Priority, WeightBudget
from leadline.exchange.binance.rest import NOT_SERVED_HERE, BinanceRest, depth_weight

DEPTH = '{"lastUpdateId":7,"bids":[["1.00000000","2.00000000"]],"asks":[]}'
HTML = "<html><head><title>403 Forbidden</title></head><body>firewall</body></html>"

Reply = Callable[[web.Request], web.Response | Awaitable[web.Response]]


@asynccontextmanager
async def asking(reply: Reply, timeout_s: float = 10.0) -> AsyncIterator[tuple[BinanceRest, FakeRestServer, FakeClock]]:
    clock = FakeClock()
    async with (
        FakeRestServer.running(reply) as server,
        BinanceRest(server.url, WeightBudget(6000, clock), clock, timeout_s=timeout_s) as rest,
    ):
        yield rest, server, clock


def error_of(reply: Reply, timeout_s: float = 10.0) -> tuple[ExchangeError, BinanceRest]:
    """What a depth request ends in when the server answers so."""

    async def check() -> tuple[ExchangeError, BinanceRest]:
        async with asking(reply, timeout_s) as (rest, _, _):
            with pytest.raises(ExchangeError) as caught:
                await soon(rest.depth("BTCUSDT", 100, Priority.START))
            assert "symbol=" not in str(caught.value), "no query in a message"
            return caught.value, rest

    return asyncio.run(check())


def test_requests_name_what_they_ask_for_and_answers_become_records() -> None:
    replies: dict[str, Any] = {
        "/api/v3/depth": json.loads(DEPTH),
        "/api/v3/aggTrades": [{"a": 5, "p": "1.0", "q": "2", "f": 1, "l": 2, "T": 1723161255208, "m": False, "M": True}],
        "/api/v3/exchangeInfo": {
            "serverTime": 1723161255208,
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
            "symbols": [],
        },
        "/api/v3/time": {"serverTime": 1723161255208},
    }

    async def check() -> None:
        async with asking(lambda request: json_answer(json.dumps(replies[request.path]))) as (rest, server, _):
            snapshot = await rest.depth("币安人生USDT", 9999, Priority.START)
            assert (snapshot.symbol, snapshot.update_id, snapshot.limit) == ("币安人生USDT", 7, 5000)
            (trade,) = await rest.agg_trades("BTCUSDT", 5)
            assert (trade.agg_id, trade.fills, trade.quantity_e8) == (5, 2, 200_000_000)
            assert (await rest.exchange_info(("BTCUSDT", "币安人生USDT"))).weight_limit_per_minute == 6000
            await rest.exchange_info()
            assert await rest.server_time_ms() == 1723161255208
            assert server.requests == [
                ("/api/v3/depth", {"symbol": "币安人生USDT", "limit": "5000"}),
                ("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": "5", "limit": "1000"}),
                ("/api/v3/exchangeInfo", {"symbols": '["BTCUSDT","币安人生USDT"]'}),
                ("/api/v3/exchangeInfo", {}),
                ("/api/v3/time", {}),
            ]
            assert rest.budget.used == 250 + 4 + 20 + 20 + 1

    asyncio.run(check())


def test_the_weight_of_a_snapshot_goes_by_its_limit() -> None:
    limits = (1, 100, 101, 500, 501, 1000, 1001, 5000)
    assert [depth_weight(limit) for limit in limits] == [5, 5, 25, 25, 50, 50, 250, 250]


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_weight_header_that_jumps_is_believed_also_on_an_error(status: int) -> None:
    async def check() -> None:
        reply = json_answer(DEPTH if status == 200 else '{"code":-1000,"msg":"x"}', status, X_MBX_USED_WEIGHT_1M="5999")
        async with asking(lambda _: reply) as (rest, server, clock):
            await asyncio.gather(rest.depth("X", 100, Priority.START), return_exceptions=True)
            assert rest.budget.used == 5999
            second = asyncio.ensure_future(rest.depth("X", 100, Priority.START))
            await clock.advance(59)
            assert len(server.requests) == 1, "the budget of this minute is used up by somebody else"
            second.cancel()
            await settle()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait_s", "banned"),
    [
        (429, {"Retry_After": "17"}, '{"code":-1003,"msg":"Too many requests"}', 17, False),
        (429, {}, "", 60, False),
        (418, {"Retry_After": "300"}, '{"code":-1003,"msg":"x"}', 300, True),
        # the fake clock stands at 1723161240000 ms
        (418, {}, '{"code":-1003,"msg":"Way too many requests; IP banned until 1723161440000. Please"}', 200, True),
        (418, {"Retry_After": "5"}, '{"code":-1003,"msg":"IP banned until 1723161440000."}', 200, True),
        (418, {}, HTML, 120, True),
        (403, {}, HTML, 300, False),
        (400, {}, '{"code":-1003,"msg":"Too many requests"}', 60, False),
    ],
)
def test_a_limit_stops_all_requests_until_the_time_it_names(
    status: int, headers: dict[str, str], body: str, wait_s: float, banned: bool
) -> None:
    async def check() -> None:
        replies = [json_answer(body, status, **headers), json_answer(DEPTH)]
        async with asking(lambda _: replies.pop(0)) as (rest, server, clock):
            with pytest.raises(RateLimited) as caught:
                await soon(rest.depth("X", 100, Priority.START))
            assert (caught.value.retry_after_s, caught.value.banned) == (wait_s, banned)
            assert rest.budget.banned_until_ns == (clock.wall_ns() + wait_s * 1e9 if banned else 0)
            other = asyncio.ensure_future(rest.depth("Y", 100, Priority.START))
            await clock.advance(wait_s - 0.001)
            assert len(server.requests) == 1
            await clock.advance(0.001)
            assert (await soon(other)).symbol == "Y"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable", "says"),
    [
        (400, '{"code":-1121,"msg":"Invalid symbol."}', -1121, False, "Invalid symbol."),
        (400, '{"code":-1100,"msg":"Illegal characters"}', -1100, False, "Illegal"),
        (400, '{"code":-1007,"msg":"Timeout"}', -1007, True, "Timeout"),
        (451, '{"code":0,"msg":"Service unavailable from a restricted location"}', 0, False, NOT_SERVED_HERE),
        (451, HTML, None, False, NOT_SERVED_HERE),
        (404, HTML, None, False, "configuration"),
        (410, "", None, False, "configuration"),
        (302, "", None, False, "elsewhere"),
        (503, HTML, None, True, "403 Forbidden"),
        (500, '{"code":-1000,"msg":"unknown"}', -1000, True, "unknown"),
        (504, "", None, True, "504"),
    ],
)
def test_an_answer_that_refuses_says_who_must_act(status: int, body: str, code: int | None, retryable: bool, says: str) -> None:
    error, _ = error_of(lambda _: web.Response(status=status, text=body, content_type="text/html"))
    assert isinstance(error, Rejected)
    assert (error.status, error.code, error.retryable) == (status, code, retryable)
    assert says in str(error)


def test_nobody_follows_a_redirect() -> None:
    async def check() -> None:
        async with asking(lambda _: web.Response(status=302, headers={"Location": "/elsewhere"})) as (rest, server, _):
            with pytest.raises(Rejected):
                await soon(rest.server_time_ms())
            assert [path for path, _ in server.requests] == ["/api/v3/time"]

    asyncio.run(check())


@pytest.mark.parametrize(("status", "body"), [(200, HTML), (200, ""), (400, HTML), (407, "")])
def test_a_page_where_json_was_to_come_is_somebody_in_between(status: int, body: str) -> None:
    error, _ = error_of(lambda _: web.Response(status=status, text=body, content_type="text/html"))
    assert isinstance(error, Unreachable)
    assert error.retryable


def test_json_that_is_not_the_answer_is_malformed() -> None:
    error, _ = error_of(lambda _: json_answer('{"lastUpdateId":7,"bids":[]}'))
    assert isinstance(error, Malformed)
    assert error.field == "asks"


def test_no_answer_in_time_is_unreachable() -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    error, _ = error_of(never, timeout_s=0.05)
    assert isinstance(error, Unreachable)
    assert error.cause == "no answer within 0.05 s"


def test_a_connection_cut_in_the_middle_is_unreachable() -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    error, _ = error_of(cut)
    assert isinstance(error, Unreachable)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://", "nonsense"])
def test_a_wrong_address_is_unreachable_with_its_cause(base_url: str) -> None:
    async def check() -> None:
        clock = FakeClock()
        async with BinanceRest(base_url, WeightBudget(6000, clock), clock) as rest:
            with pytest.raises(Unreachable) as caught:
                await soon(rest.server_time_ms())
            assert caught.value.cause

    asyncio.run(check())


@pytest.mark.parametrize(("headers", "origin"), [({}, "127.0.0.1"), ({"X_Standin": "synthetic:7"}, "synthetic:7")])
def test_the_origin_is_what_the_answers_say_it_is(headers: dict[str, str], origin: str) -> None:
    async def check() -> None:
        async with asking(lambda _: json_answer("{}", **headers)) as (rest, server, _):
            assert await rest.origin() == origin
            assert await rest.origin() == origin
            assert server.requests == [("/api/v3/ping", {})]

    asyncio.run(check())


# What is listed ---------------------------------------------------------------------------------

LISTED = ("BTCUSDT", "币安人生USDT")


def info(*symbols: str, limit: int = 6000) -> str:
    rows = [{"symbol": symbol, "status": "TRADING", "baseAsset": "B", "quoteAsset": "Q", "filters": []} for symbol in symbols]
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}
    return json.dumps({"serverTime": 1723161255208, "rateLimits": [weight], "symbols": rows})


def test_the_names_of_what_is_followed_go_percent_encoded_into_the_address() -> None:
    raw = []

    def reply(request: web.Request) -> web.Response:
        raw.append(request.raw_path)
        return json_answer(info(*LISTED, "ETHUSDT"))

    async def check() -> None:
        async with asking(reply) as (rest, server, _):
            assert list(await rest.rules(LISTED, Priority.LISTING)) == list(LISTED)
            assert server.requests == [("/api/v3/exchangeInfo", {"symbols": '["BTCUSDT","币安人生USDT"]'})]
            assert raw[0].isascii() and not set(raw[0]) & set('"[] {}')
            assert rest.budget.used == 20

    asyncio.run(check())


@pytest.mark.parametrize(("count", "asked_by_name"), [(400, True), (600, False)])
def test_a_list_that_is_too_long_for_an_address_is_asked_for_as_a_whole(count: int, asked_by_name: bool) -> None:
    names = [f"S{number}USDT" for number in range(count)]
    raw = []

    def reply(request: web.Request) -> web.Response:
        raw.append(str(request.url))
        return json_answer(info(*names, "ETHUSDT"))

    async def check() -> None:
        async with asking(reply) as (rest, server, _):
            assert list(await rest.rules(names, Priority.LISTING)) == names
            assert [bool(query) for _, query in server.requests] == [asked_by_name]
            assert len(raw[0]) < 8000

    asyncio.run(check())


@pytest.mark.parametrize("code", [-1121, -1100])
def test_one_symbol_that_is_gone_is_missing_among_what_is_listed_and_no_error(code: int) -> None:
    def reply(request: web.Request) -> web.Response:
        if "symbols" in request.query:
            return json_answer(f'{{"code":{code},"msg":"Invalid symbol."}}', 400)
        return json_answer(info("BTCUSDT", "ETHUSDT"))

    async def check() -> None:
        async with asking(reply) as (rest, _, _):
            assert list(await rest.rules(("BTCUSDT", "LUNAUSDT"), Priority.LISTING)) == ["BTCUSDT"]
            assert rest.budget.used == 40

    asyncio.run(check())


def test_another_refusal_of_the_list_is_not_asked_around() -> None:
    async def check() -> None:
        reply = json_answer('{"code":-1000,"msg":"unknown"}', 500)
        async with asking(lambda _: reply) as (rest, server, _):
            with pytest.raises(Rejected):
                await rest.rules(LISTED, Priority.LISTING)
            assert len(server.requests) == 1

    asyncio.run(check())


def test_the_listing_waits_behind_everything_else_and_a_lowered_limit_holds_from_then_on() -> None:
    assert max(Priority) is Priority.LISTING

    async def check() -> None:
        async with asking(lambda _: json_answer(info("BTCUSDT", limit=100))) as (rest, server, clock):
            await rest.rules(("BTCUSDT",), Priority.LISTING)
            assert rest.budget.limit_per_minute == 100
            waiting = [asyncio.ensure_future(rest.rules(("BTCUSDT",), Priority.LISTING)) for _ in range(4)]
            await clock.advance(0)
            await soon(asyncio.wait(waiting[:3]))
            assert (rest.budget.used, len(server.requests), rest.budget.waiting) == (80, 4, 1), "80 of 100 for what can wait"
            waiting[3].cancel()
            await settle()

    asyncio.run(check())
