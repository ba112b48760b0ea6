"""The REST surface: shapes, parameters, weights, refusals."""

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from tests.standin import shapes
from tests.standin.support import connect, get, post, rest_of, run

from leadline.clock import SystemClock
from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000
OTHER_STATUS = "The symbol's status does not match the requested symbolStatus."
UNREAD = "Not all sent parameters were read; read '1' parameter(s) but was sent '2'."


class NoonClock(SystemClock):
    """A wall clock that stands at a whole minute."""

    def wall_ns(self) -> int:
        return 1_767_268_800 * 10**9


def market(**options: Any) -> StandIn:
    return StandIn(SyntheticMarket(7, start_ms=START_MS), **{"speed": 0, "paused": True, "clock": NoonClock(), **options})


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("depth", 400, (-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")),
        ("depth?symbol=", 400, (-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")),
        ("depth?symbol=NOSUCH", 400, (-1121, "Invalid symbol.")),
        ("aggTrades?symbol=NOSUCH", 400, (-1121, "Invalid symbol.")),
        ("exchangeInfo?symbol=NOSUCH", 400, (-1121, "Invalid symbol.")),
        (
            "depth?symbol=btcusdt",
            400,
            (-1100, r"Illegal characters found in parameter 'symbol'; legal range is '^[\w\-._&&[^a-z]]{1,50}$'."),
        ),
        (
            "depth?symbol=BTCUSDT&limit=ten",
            400,
            (-1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'."),
        ),
        ("depth?symbol=BTCUSDT&limit=0", 400, (-1130, "Data sent for parameter 'limit' is not valid.")),
        (
            "time?symbol=BTCUSDT",
            400,
            (-1104, "Not all sent parameters were read; read '0' parameter(s) but was sent '1'."),
        ),
        ("klines?symbol=BTCUSDT", 400, (-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")),
        ("klines?symbol=BTCUSDT&interval=7m", 400, (-1120, "Invalid interval.")),
        ("klines?symbol=BTCUSDT&interval=1m&timeZone=15", 400, (-1130, "Data sent for parameter 'timeZone' is not valid.")),
        ("uiKlines?symbol=NOSUCH&interval=1m", 400, (-1121, "Invalid symbol.")),
        ("historicalTrades?symbol=BTCUSDT&fromId=-1", 400, None),
        ("avgPrice", 400, (-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")),
        (
            "avgPrice?symbol=BTCUSDT&limit=5",
            400,
            (-1104, UNREAD),
        ),
        ("ticker/24hr?symbol=BTCUSDT&type=HUGE", 400, (-1139, "Invalid ticker type.")),
        ("ticker/price?symbols=BTCUSDT", 400, None),
        ('ticker/price?symbols=["BTCUSDT","NOSUCH"]', 400, (-1121, "Invalid symbol.")),
        ('ticker/price?symbols=["BTCUSDT","BTCUSDT"]', 400, (-1151, "Symbol is present multiple times in the list.")),
        ('ticker/price?symbol=BTCUSDT&symbols=["BTCUSDT"]', 400, (-1128, "Combination of optional parameters invalid.")),
        ("depth?symbol=BTCUSDT&limit=", 400, (-1105, "Parameter 'limit' was empty.")),
        ("depth?symbol=BTCUSDT&symbol=BTCUSDT", 400, (-1101, "Duplicate values for a parameter detected.")),
        (
            "depth?symbol=BTCUSDT&symbolStatus=HALT",
            400,
            (-1220, OTHER_STATUS),
        ),
        ("depth?symbol=BTCUSDT&symbolStatus=SLEEPY", 400, (-1122, "Invalid symbolStatus.")),
        (
            "ticker/bookTicker?symbol=BTCUSDT&symbolStatus=BREAK",
            400,
            (-1220, OTHER_STATUS),
        ),
        ("exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", 400, (-1128, "Combination of optional parameters invalid.")),
        ("exchangeInfo?symbol=BTCUSDT&permissions=SPOT", 400, (-1128, "Combination of optional parameters invalid.")),
        ("exchangeInfo?showPermissionSets=perhaps", 400, (-1130, "Data sent for parameter 'showPermissionSets' is not valid.")),
    ],
)
def test_a_bad_request_gets_the_official_body(path: str, status: int, body: tuple[int, str] | None) -> None:
    """No body given: illegal characters, where the exchange names a long pattern."""

    async def test() -> None:
        async with market() as standin:
            answer = await get(standin, f"/api/v3/{quote(path, safe='/?=&')}")
            if body is None:
                assert answer.json["code"] == -1100
                assert answer.json["msg"].startswith("Illegal characters found in parameter '")
            else:
                assert (answer.status, answer.json) == (status, {"code": body[0], "msg": body[1]})
            assert answer.headers["X-Standin"] == "synthetic:7"

    run(test())


def test_each_answer_counts_its_weight_in_both_headers() -> None:
    async def test() -> None:
        calls = [
            ("ping", 1),
            ("time", 1),
            ("exchangeInfo", 20),
            ("depth?symbol=BTCUSDT", 5),
            ("depth?symbol=BTCUSDT&limit=100", 5),
            ("depth?symbol=BTCUSDT&limit=500", 25),
            ("depth?symbol=BTCUSDT&limit=1000", 50),
            ("depth?symbol=BTCUSDT&limit=5000", 250),
            ("depth?symbol=BTCUSDT&limit=9999", 250),
            ("trades?symbol=BTCUSDT", 25),
            ("aggTrades?symbol=BTCUSDT", 4),
            ("historicalTrades?symbol=BTCUSDT", 25),
            ("klines?symbol=BTCUSDT&interval=1m", 2),
            ("uiKlines?symbol=BTCUSDT&interval=1m", 2),
            ("avgPrice?symbol=BTCUSDT", 2),
            ("ticker/24hr?symbol=BTCUSDT", 2),
            ("ticker/24hr?symbols=" + quote(json.dumps(["BTCUSDT", "ETHUSDT"], separators=(",", ":"))), 2),
            ("ticker/24hr", 80),
            ("ticker/price?symbol=BTCUSDT", 2),
            ("ticker/price", 4),
            ("ticker/bookTicker?symbol=BTCUSDT", 2),
            ("ticker/bookTicker?symbols=" + quote('["BTCUSDT"]'), 4),
        ]
        async with market() as standin:
            used = 0
            for path, weight in calls:
                answer = await get(standin, f"/api/v3/{path}")
                used += weight
                assert answer.status == 200
                assert answer.headers["X-MBX-USED-WEIGHT"] == answer.headers["X-MBX-USED-WEIGHT-1M"] == str(used), path
                assert answer.headers["x-mbx-uuid"]
                assert answer.headers["Date"]

    run(test())


def test_a_spent_budget_is_429_and_going_on_is_a_ban() -> None:
    async def test() -> None:
        async with market() as standin:
            for _ in range(24):
                assert (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=5000)).status == 200
            refused = [await get(standin, "/api/v3/ping") for _ in range(13)]
            assert [answer.status for answer in refused] == [429] * 11 + [418] * 2
            assert refused[0].headers["Retry-After"] == "60"
            assert refused[0].json["code"] == refused[-1].json["code"] == -1003
            assert refused[-1].headers["Retry-After"] == "120"
            assert "IP banned until 1767268920000" in refused[-1].json["msg"]
            state = (await get(standin, "/_standin/state")).json
            assert state["weights"] == {
                "127.0.0.1": {"used": 6012, "requests": 36, "refused": 0, "banned_until_ms": 1767268920000}
            }

    run(test())


def test_the_exchange_info_has_every_key_and_the_enforced_limit() -> None:
    async def test() -> None:
        async with market(limits=Limits(weight_per_minute=1234)) as standin:
            info = (await get(standin, "/api/v3/exchangeInfo")).json
            assert list(info) == ["timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"]
            assert info["rateLimits"][0] == {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 1234,
            }
            assert [entry["symbol"] for entry in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
            btc = info["symbols"][0]
            assert btc["filters"][0]["filterType"] == "PRICE_FILTER"
            assert btc["filters"][0]["tickSize"] == "0.01000000"
            assert btc["filters"][1]["stepSize"] == "0.00001000"
            assert {"permissionSets", "defaultSelfTradePreventionMode", "isSpotTradingAllowed", "orderTypes"} <= set(btc)
            two = await get(standin, f"/api/v3/exchangeInfo?symbols={quote(json.dumps(['ETHUSDT']))}")
            assert [entry["symbol"] for entry in two.json["symbols"]] == ["ETHUSDT"]

    run(test())


def test_trades_of_rest_are_those_of_the_streams() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, "/stream?streams=btcusdt@aggTrade/btcusdt@trade") as socket:
            await standin.advance(10_000)
            assert (await get(standin, "/api/v3/time")).json["serverTime"] == START_MS + 9_999
            aggregates = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", startTime=START_MS, limit=1000)).json
            trades = (await get(standin, "/api/v3/trades", symbol="BTCUSDT", limit=1000)).json
            third = aggregates[2]
            since = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", fromId=third["a"], limit=2)).json
            between = await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", startTime=third["T"], endTime=aggregates[-3]["T"])
            latest = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", limit=3)).json
            await post(standin, "fault", fault="socket.close")
            sent = [json.loads(message)["data"] for message in await rest_of(socket)]
        streamed = [t for t in sent if t["e"] == "aggTrade"]
        assert aggregates == [{key: t[key] for key in "apqflTmM"} for t in streamed]
        assert list(aggregates[0]) == list("apqflTmM")
        assert since == aggregates[2:4]
        assert latest == aggregates[-3:]
        assert [t for t in aggregates if third["T"] <= t["T"] <= aggregates[-3]["T"]] == between.json
        own = [t for t in trades if t["time"] >= START_MS]  # before them stands what was traded before the market began
        assert [(t["id"], t["price"], t["qty"], t["time"], t["isBuyerMaker"]) for t in own] == [
            (t["t"], t["p"], t["q"], t["T"], t["m"]) for t in sent if t["e"] == "trade"
        ]

    run(test())


TRADE = (
    '[{"id":1,"price":"1.00000000","qty":"1.00000000","quoteQty":"1.00000000","time":1,"isBuyerMaker":true,"isBestMatch":true}]'
)
KLINE = '[[1,"1.00000000","1.00000000","1.00000000","1.00000000","1.00000000",1,"1.00000000",1,"1.00000000","1.00000000","0"]]'
MINI = (
    '{"symbol":"A","openPrice":"1.00000000","highPrice":"1.00000000","lowPrice":"1.00000000","lastPrice":"1.00000000",'
    '"volume":"1.00000000","quoteVolume":"1.00000000","openTime":1,"closeTime":1,"firstId":1,"lastId":1,"count":1}'
)
FULL = (
    '{"symbol":"A","priceChange":"1.00000000","priceChangePercent":"1.000","weightedAvgPrice":"1.00000000",'
    '"prevClosePrice":"1.00000000","lastPrice":"1.00000000","lastQty":"1.00000000","bidPrice":"1.00000000",'
    '"bidQty":"1.00000000","askPrice":"1.00000000","askQty":"1.00000000","openPrice":"1.00000000","highPrice":"1.00000000",'
    '"lowPrice":"1.00000000","volume":"1.00000000","quoteVolume":"1.00000000","openTime":1,"closeTime":1,"firstId":1,'
    '"lastId":1,"count":1}'
)
BOTH = "symbols=" + quote('["BTCUSDT","ETHUSDT"]')


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("ping", "{}"),
        ("time", '{"serverTime":1}'),
        ("depth?symbol=BTCUSDT", '{"lastUpdateId":1,"bids":[["1.00000000"]],"asks":[["1.00000000"]]}'),
        ("trades?symbol=BTCUSDT", TRADE),
        ("historicalTrades?symbol=BTCUSDT", TRADE),
        (
            "aggTrades?symbol=BTCUSDT",
            '[{"a":1,"p":"1.00000000","q":"1.00000000","f":1,"l":1,"T":1,"m":true,"M":true}]',
        ),
        ("klines?symbol=BTCUSDT&interval=1s", None),
        ("uiKlines?symbol=BTCUSDT&interval=1M", None),
        ("avgPrice?symbol=BTCUSDT", '{"mins":5,"price":"1.00000000","closeTime":1}'),
        ("ticker/24hr?symbol=BTCUSDT", FULL),
        (f"ticker/24hr?{BOTH}", f"[{FULL}]"),
        ("ticker/24hr?symbol=BTCUSDT&type=MINI", MINI),
        ("ticker/24hr?type=MINI", f"[{MINI}]"),
        ("ticker/price?symbol=BTCUSDT", '{"symbol":"A","price":"1.00000000"}'),
        ("ticker/price", '[{"symbol":"A","price":"1.00000000"}]'),
        (
            f"ticker/bookTicker?{BOTH}",
            '[{"symbol":"A","bidPrice":"1.00000000","bidQty":"1.00000000","askPrice":"1.00000000","askQty":"1.00000000"}]',
        ),
    ],
)
@pytest.mark.parametrize("version", ["v3", "v1"])
def test_every_answer_has_the_keys_types_and_decimals_of_the_exchange(version: str, path: str, template: str | None) -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(4_000)
            answer = await get(standin, f"/api/{version}/{path}")
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("application/json")
            assert answer.body not in (b"[]", b"")
            if template is None:
                assert isinstance(answer.json[0], list)
                for row in answer.json:
                    kinds = [type(value).__name__ for value in row]
                    assert kinds == ["int", *["str"] * 5, "int", "str", "int", "str", "str", "str"]
                    assert [len(row[n].partition(".")[2]) for n in (1, 2, 3, 4, 5, 7, 9, 10)] == [8] * 8
                    assert row[11] == "0"
            else:
                shapes.check(template, answer.body)

    run(test())


def test_candles_of_rest_are_the_closed_ones_of_the_stream_between_the_bounds_that_were_sent() -> None:
    async def candles(standin: StandIn, **query: object) -> list[list[Any]]:
        return (await get(standin, "/api/v3/klines", symbol="BTCUSDT", **query)).json

    async def test() -> None:
        async with market() as standin, connect(standin, "/ws/btcusdt@kline_1s") as socket:
            await standin.advance(10_500)
            told = [json.loads(await socket.recv())["k"] for _ in range(10)]
            rows = await candles(standin, interval="1s", startTime=START_MS)
            assert len(rows) == 11  # the last one is open
            assert rows[:10] == [[*(k[key] for key in "tohlcvTqnVQ"), "0"] for k in told]
            assert await candles(standin, interval="1s", startTime=START_MS + 1, endTime=START_MS + 4000) == rows[1:5]
            fine = {"startTime": (START_MS + 1000) * 1000 + 1, "endTime": (START_MS + 4000) * 1000 - 1}
            assert await candles(standin, interval="1s", **fine) == rows[2:4]
            assert await candles(standin, interval="1s", startTime=START_MS, limit=3) == rows[:3]
            assert await candles(standin, interval="1s", endTime=START_MS + 4999, limit=3) == rows[2:5]
            assert await candles(standin, interval="1s", limit=2) == rows[-2:]
            assert await candles(standin, interval="1s", startTime=START_MS + 60_000) == []
            both = (await get(standin, "/api/v3/uiKlines", symbol="BTCUSDT", interval="1s", startTime=START_MS)).json
            assert both == rows
            # START_MS is midnight UTC: an hour west the day before still lasts, 5:45 east this one began 5:45 earlier.
            hour_ms = 3_600_000
            for zone, opens in (("0", 0), ("-1:00", -23 * hour_ms), ("05:45", -5.75 * hour_ms), ("14", -14 * hour_ms)):
                day = (await candles(standin, interval="1d", timeZone=zone))[-1]
                assert (day[0], day[6] - day[0]) == (START_MS + opens, 24 * hour_ms - 1), zone

    run(test())


def test_several_and_all_are_lists_in_the_order_asked_for() -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(2_000)
            swapped = "symbols=" + quote('["ETHUSDT","BTCUSDT"]')
            for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker"):
                assert [row["symbol"] for row in (await get(standin, f"/api/v3/{path}")).json] == ["BTCUSDT", "ETHUSDT"]
                assert [row["symbol"] for row in (await get(standin, f"/api/v3/{path}?{swapped}")).json] == ["ETHUSDT", "BTCUSDT"]
                assert (await get(standin, f"/api/v3/{path}?symbolStatus=HALT")).json == []
            depth = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1, symbolStatus="TRADING")).json
            ticker = (await get(standin, "/api/v3/ticker/bookTicker", symbol="BTCUSDT")).json
            assert list(ticker.values()) == ["BTCUSDT", *depth["bids"][0], *depth["asks"][0]]
            last = (await get(standin, "/api/v3/trades", symbol="BTCUSDT", limit=1)).json[0]
            assert (await get(standin, "/api/v3/ticker/price", symbol="BTCUSDT")).json["price"] == last["price"]

    run(test())


def test_the_exchange_info_is_filtered_by_permission_and_status() -> None:
    async def test() -> None:
        async with market() as standin:
            for query, count in (
                ({"permissions": "SPOT"}, 2),
                ({"permissions": '["MARGIN","LEVERAGED"]'}, 2),
                ({"permissions": "TRD_GRP_002"}, 0),
                ({"symbolStatus": "TRADING"}, 2),
                ({"symbolStatus": "BREAK"}, 0),
            ):
                assert len((await get(standin, "/api/v3/exchangeInfo", **query)).json["symbols"]) == count, query
            shown = (await get(standin, "/api/v3/exchangeInfo", symbol="BTCUSDT")).json["symbols"][0]
            hidden = (await get(standin, "/api/v3/exchangeInfo", showPermissionSets="false")).json["symbols"][0]
            assert shown["permissionSets"] == [["SPOT", "MARGIN"]]
            assert hidden == {**shown, "permissionSets": []}

    run(test())


def _raw_get(url: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    said = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return said


async def ask_with(standin: StandIn, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, said, body = await asyncio.to_thread(_raw_get, standin.http_url, path, named)
    return status, said, json.loads(body)


def test_times_are_microseconds_where_the_header_asks_for_them() -> None:
    unit = {"X_MBX_TIME_UNIT": "MICROSECOND"}

    async def test() -> None:
        async with market() as standin:
            await standin.advance(5_000)
            for path, times in (
                ("time", lambda body: [body["serverTime"]]),
                ("exchangeInfo", lambda body: [body["serverTime"]]),
                ("trades?symbol=BTCUSDT", lambda body: [row["time"] for row in body]),
                ("historicalTrades?symbol=BTCUSDT", lambda body: [row["time"] for row in body]),
                ("aggTrades?symbol=BTCUSDT", lambda body: [row["T"] for row in body]),
                ("klines?symbol=BTCUSDT&interval=1s", lambda body: [row[n] for row in body for n in (0, 6)]),
                ("avgPrice?symbol=BTCUSDT", lambda body: [body["closeTime"]]),
                ("ticker/24hr?symbol=BTCUSDT", lambda body: [body["openTime"], body["closeTime"]]),
            ):
                plain = (await ask_with(standin, f"/api/v3/{path}"))[2]
                status, _, fine = await ask_with(standin, f"/api/v3/{path}", **unit)
                assert status == 200
                assert times(plain), path
                assert [time // 1000 for time in times(fine)] == times(plain), path
            last = (await ask_with(standin, "/api/v3/klines?symbol=BTCUSDT&interval=1s", **unit))[2][-1]
            assert last[6] - last[0] == 999_999
            rows = (await ask_with(standin, "/api/v3/aggTrades?symbol=BTCUSDT", **unit))[2]
            bounds = f"startTime={rows[2]['T']}&endTime={rows[-2]['T']}"
            assert (await ask_with(standin, f"/api/v3/aggTrades?symbol=BTCUSDT&{bounds}", **unit))[2] == [
                row for row in rows if rows[2]["T"] <= row["T"] <= rows[-2]["T"]
            ]
            status, _, body = await ask_with(standin, "/api/v3/time", X_MBX_TIME_UNIT="NANOSECOND")
            assert (status, body["code"]) == (400, -1194)

    run(test())


def test_a_client_that_takes_brotli_gets_what_it_can_read_and_every_header() -> None:
    async def test() -> None:
        async with market() as standin:
            status, headers, _ = await ask_with(standin, "/api/v3/time", Accept_Encoding="br, gzip, deflate")
            assert status == 200
            assert "content-encoding" not in headers
            assert {"date", "x-mbx-used-weight", "x-mbx-used-weight-1m", "x-mbx-uuid", "x-standin"} <= headers.keys()

    run(test())


def test_the_trade_fee_is_a_constant_whatever_is_sent_with_it() -> None:
    async def test() -> None:
        async with market() as standin:
            answer = await get(standin, "/sapi/v1/asset/tradeFee", timestamp=1, signature="x", recvWindow=5000)
            assert [list(row.values()) for row in answer.json] == [
                [symbol, "0.00100000", "0.00100000"] for symbol in ("BTCUSDT", "ETHUSDT")
            ]
            assert list(answer.json[0]) == ["symbol", "makerCommission", "takerCommission"]
            assert len((await get(standin, "/sapi/v1/asset/tradeFee", symbol="ETHUSDT")).json) == 1
            assert (await get(standin, "/sapi/v1/asset/other")).status == 404

    run(test())


def test_an_unknown_path_is_404_and_no_json() -> None:
    async def test() -> None:
        async with market() as standin:
            for path in ("/api/v3/order", "/api/v3/ticker", "/api/v2/ping", "/nothing"):
                answer = await get(standin, path)
                assert answer.status == 404
                assert answer.headers["Content-Type"].startswith("text/html")
                assert b"404 Not Found" in answer.body

    run(test())


def test_the_old_version_can_be_gone() -> None:
    async def test() -> None:
        async with market(v1_gone=True) as standin:
            answer = await get(standin, "/api/v1/ping")
            assert (answer.status, b"410 Gone" in answer.body) == (410, True)
            assert (await get(standin, "/api/v3/ping")).status == 200

    run(test())


def test_control_can_be_switched_off_and_a_page_in_a_browser_cannot_reach_it() -> None:
    async def test() -> None:
        async with market(control=False) as standin:
            assert (await post(standin, "resume")).status == 403
            assert (await get(standin, "/_standin/state")).status == 200
        async with (
            market() as standin,
            aiohttp.ClientSession(headers={"Origin": "https://example.org"}) as page,
            page.post(standin.http_url + "/_standin/resume") as answer,
        ):
            assert answer.status == 403

    run(test())
