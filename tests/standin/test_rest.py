"""The REST surface: shapes, parameters, weights, refusals."""

import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from tests.standin.support import connect, get, post, rest_of, run

from leadline.clock import SystemClock
from leadline.standin.limits import Limits
from leadline.standin.market import RandomMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000


class NoonClock(SystemClock):
    """A wall clock that stands at a whole minute."""

    def wall_ns(self) -> int:
        return 1_767_268_800 * 10**9


def market(**options: Any) -> StandIn:
    return StandIn(RandomMarket(7, start_ms=START_MS), **{"speed": 0, "paused": True, "clock": NoonClock(), **options})


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
    ],
)
def test_a_bad_request_gets_the_official_body(path: str, status: int, body: tuple[int, str]) -> None:
    async def test() -> None:
        async with market() as standin:
            answer = await get(standin, f"/api/v3/{path}")
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
            assert state["weights"] == {"127.0.0.1": {"used": 6012, "banned_until_ms": 1767268920000}}

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
            await standin.advance(20_000)
            assert (await get(standin, "/api/v3/time")).json["serverTime"] == START_MS + 19_999
            aggregates = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1000)).json
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
        assert [(t["id"], t["price"], t["qty"], t["time"], t["isBuyerMaker"]) for t in trades] == [
            (t["t"], t["p"], t["q"], t["T"], t["m"]) for t in sent if t["e"] == "trade"
        ]

    run(test())


def test_an_unknown_path_is_404_and_no_json() -> None:
    async def test() -> None:
        async with market() as standin:
            answer = await get(standin, "/api/v3/order")
            assert answer.status == 404
            assert answer.headers["Content-Type"].startswith("text/html")
            assert (await get(standin, "/api/v1/ping")).status == 404

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
