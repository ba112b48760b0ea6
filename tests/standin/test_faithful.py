"""The shape of what the market says against what was recorded from the exchange: keys, their order, types, decimals."""

import gzip
import json
import re
from typing import Any

import pytest
from tests.standin import shapes
from tests.standin.support import BTC, captured, connect, get, hft_lines, post, rest_of, run

from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000
CF = "multi/binance_20210404_btc_eth_dot.raw.gz"
INFO = "exchange_info/binance_20211012_exchangeInfo.raw.gz"
COMBINED = re.compile(rb'\{"stream":"[^"@]+@([^"]+)","data":(\{.*\})\}')


def recorded(kind: str) -> list[bytes]:
    """Payloads of a kind of stream, by nothing but a pattern."""
    name = CF if kind in ("aggTrade", "kline_1m") else BTC
    with gzip.open(captured(name)[0]) as file:
        found = [match for line in file if (match := COMBINED.search(line))]
    return [match[2] for match in found if match[1].decode() == kind]


def ours(*kinds: str) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {kind: [] for kind in kinds}

    async def test() -> None:
        source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
        async with StandIn(source, speed=0, paused=True, limits=Limits(unsent_bytes=0)) as standin:
            async with connect(standin, "/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in kinds)) as socket:
                await standin.advance(61_000)
                await post(standin, "fault", fault="socket.close")
                for message in await rest_of(socket):
                    match = COMBINED.fullmatch(message)
                    assert match is not None
                    found[match[1].decode()].append(match[2])

    run(test())
    return found


def full(payload: bytes) -> bool:
    """A depth frame with both sides; anything else."""
    body = json.loads(payload)
    return body.get("e") != "depthUpdate" or bool(body["b"] and body["a"])


@pytest.mark.parametrize("kind", ["depth@100ms", "bookTicker", "trade", "aggTrade", "kline_1m"])
def test_a_stream_is_spelt_as_the_recorded_one(kind: str) -> None:
    templates = [payload for payload in recorded(kind) if full(payload)]
    assert len(templates) > 20
    theirs = shapes.parsed(templates[0])
    for other in templates:  # the shape is one
        assert shapes.faults(theirs, shapes.parsed(other)) == []
    said = ours(kind)[kind]
    assert len(said) > 20
    for payload in said:
        shapes.check(templates[0], payload)


def test_depth_of_rest_is_spelt_as_the_recorded_one() -> None:
    body = next(body for _, body in hft_lines(captured(BTC)[0]) if body.startswith(b'{"lastUpdateId"'))

    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0, paused=True) as standin:
            said = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1000)).body
        shapes.check(body, said)
        theirs, own = json.loads(body), json.loads(said)
        for side in ("bids", "asks"):
            prices = [[float(price) for price, _ in book[side]] for book in (theirs, own)]
            assert [prices[n] == sorted(prices[n], reverse=side == "bids") for n in (0, 1)] == [True, True]

    run(test())


def _listed() -> dict[str, Any]:
    with gzip.open(captured(INFO)[0]) as file:
        for line in file:
            start = line.find(b'{"timezone"')
            if start >= 0:
                return json.loads(line[start:])
    raise AssertionError("no exchangeInfo in the capture")


def test_exchange_info_has_every_key_that_was_recorded_in_its_order() -> None:
    theirs = _listed()

    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0, paused=True) as standin:
            own = (await get(standin, "/api/v3/exchangeInfo")).json
        assert list(own) == list(theirs)
        assert [list(row) for row in own["rateLimits"][:1]] == [list(row) for row in theirs["rateLimits"][:1]]
        old = next(entry for entry in theirs["symbols"] if entry["symbol"] == "BTCUSDT")
        new = own["symbols"][0]
        assert [key for key in new if key in old] == list(old)
        assert {key: type(value) for key, value in old.items()} == {key: type(new[key]) for key in old}
        filters = {one["filterType"]: one for one in old["filters"]}
        assert new["filters"][0]["filterType"] == old["filters"][0]["filterType"] == "PRICE_FILTER"
        common = [one for one in new["filters"] if one["filterType"] in filters]
        assert len(common) >= 5
        for one in common:
            shape = json.dumps(filters[one["filterType"]], separators=(",", ":"))
            shapes.check(shape, json.dumps(one, separators=(",", ":")))

    run(test())
