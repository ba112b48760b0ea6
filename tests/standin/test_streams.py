"""Streams that are worked out: their shape, and their figures against a naive recomputation from the raw frames."""

import json
from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.standin import shapes
from tests.standin.support import BTC, ReferenceBook, captured, connect, get, post, rest_of, run, small, trade, write

from leadline.standin.derived import SECOND_NS, Derived
from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.replay import Recording
from leadline.standin.server import StandIn
from leadline.standin.source import Frame

START_MS = 1_767_225_600_000  # 2026-01-01, a whole minute

DEPTH = '{"e":"depthUpdate","E":1,"s":"B","U":1,"u":1,"b":[["1.00000000"]],"a":[["1.00000000"]]}'
PARTIAL = '{"lastUpdateId":1,"bids":[["1.00000000"]],"asks":[["1.00000000"]]}'
TRADE = '{"e":"trade","E":1,"s":"B","t":1,"p":"1.00000000","q":"1.00000000","T":1,"m":true,"M":true}'
AGG_TRADE = '{"e":"aggTrade","E":1,"s":"B","a":1,"p":"1.00000000","q":"1.00000000","f":1,"l":1,"T":1,"m":true,"M":true}'
BOOK_TICKER = '{"u":1,"s":"B","b":"1.00000000","B":"1.00000000","a":"1.00000000","A":"1.00000000"}'
KLINE = (
    '{"e":"kline","E":1,"s":"B","k":{"t":1,"T":1,"s":"B","i":"i","f":1,"L":1,"o":"1.00000000","c":"1.00000000",'
    '"h":"1.00000000","l":"1.00000000","v":"1.00000000","n":1,"x":true,"q":"1.00000000","V":"1.00000000","Q":"1.00000000",'
    '"B":"0"}}'
)
AVERAGE = '{"e":"avgPrice","E":1,"s":"B","i":"i","w":"1.00000000","T":1}'
MINI = (
    '{"e":"24hrMiniTicker","E":1,"s":"B","c":"1.00000000","o":"1.00000000","h":"1.00000000","l":"1.00000000",'
    '"v":"1.00000000","q":"1.00000000"}'
)
TICKER = (
    '{"e":"24hrTicker","E":1,"s":"B","p":"1.00000000","P":"1.000","w":"1.00000000","x":"1.00000000","c":"1.00000000",'
    '"Q":"1.00000000","b":"1.00000000","B":"1.00000000","a":"1.00000000","A":"1.00000000","o":"1.00000000","h":"1.00000000",'
    '"l":"1.00000000","v":"1.00000000","q":"1.00000000","O":1,"C":1,"F":1,"L":1,"n":1}'
)
SHAPES = {
    "depth@100ms": DEPTH,
    "depth": DEPTH,
    "depth5": PARTIAL,
    "depth10@100ms": PARTIAL,
    "depth20": PARTIAL,
    "trade": TRADE,
    "aggTrade": AGG_TRADE,
    "bookTicker": BOOK_TICKER,
    "kline_1s": KLINE,
    "kline_1m": KLINE,
    "kline_1M": KLINE,
    "avgPrice": AVERAGE,
    "miniTicker": MINI,
    "ticker": TICKER,
}


def market(**options: Any) -> StandIn:
    limits = Limits(messages_per_s=0, unsent_bytes=0)
    return StandIn(
        SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS), **{"speed": 0, "paused": True, "limits": limits, **options}
    )


async def heard(standin: StandIn, kinds: Iterable[str], *advances_ms: int, symbol: str = "btcusdt") -> dict[str, list[bytes]]:
    """Payloads by kind of stream, of one wrapped connection, after these advances."""
    streams = [f"{symbol}@{kind}" for kind in kinds]
    async with connect(standin, f"/stream?streams={'/'.join(streams)}") as socket:
        for by_ms in advances_ms:
            await standin.advance(by_ms)
        await post(standin, "fault", fault="socket.close")
        messages = await rest_of(socket)
    found: dict[str, list[bytes]] = {kind: [] for kind in kinds}
    for message in messages:
        head, _, rest = message.partition(b'","data":')
        found[head.partition(b"@")[2].decode()].append(rest[:-1])
    return found


def test_every_stream_has_the_keys_types_and_decimals_of_the_exchange() -> None:
    async def test() -> None:
        async with market() as standin:
            found = await heard(standin, SHAPES, 5_000)
        for kind, template in SHAPES.items():
            assert found[kind], kind
            for payload in found[kind]:
                shapes.check(template, payload)

    run(test())


def test_slow_depth_is_the_fast_one_in_slots_of_a_second_and_leads_to_the_same_book() -> None:
    async def test() -> None:
        async with market() as standin:
            before = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=5000)).json
            found = await heard(standin, ("depth", "depth@100ms"), 10_000)
        fast, slow = ([json.loads(payload) for payload in found[kind]] for kind in ("depth@100ms", "depth"))
        assert len(slow) >= 8
        fast_ends = {update["u"] for update in fast}
        assert all(update["u"] in fast_ends for update in slow)
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(slow))
        assert [update["E"] for update in slow] == [START_MS + 1100 + n * 1000 for n in range(len(slow))]
        for update in slow:
            parts = [part for part in fast if update["U"] <= part["U"] and part["u"] <= update["u"]]
            assert (parts[0]["U"], parts[-1]["u"]) == (update["U"], update["u"])
            for side, rising in (("b", False), ("a", True)):
                merged = {price: quantity for part in parts for price, quantity in part[side]}
                assert dict(update[side]) == merged
                prices = [Decimal(price) for price, _ in update[side]]
                assert prices == sorted(set(prices), reverse=not rising)
        by_fast, by_slow = ReferenceBook(before), ReferenceBook(before)
        for update in fast:
            if update["u"] <= slow[-1]["u"]:
                by_fast.update(update)
        # The first slow frame covers what came before it too: it starts at the slot, not at the subscription.
        for update in [part for part in fast if part["u"] < slow[0]["U"]] + slow:
            by_slow.update(update)
        assert (by_fast.id, by_fast.bids, by_fast.asks) == (by_slow.id, by_slow.bids, by_slow.asks)

    run(test())


def test_partial_depth_is_the_top_of_the_true_book_at_its_id_also_without_change() -> None:
    async def test() -> None:
        async with market() as standin:
            found = await heard(standin, ("depth5@100ms", "depth20"), 3_000)
            fast, slow = ([json.loads(payload) for payload in found[kind]] for kind in found)
            assert len(fast) == 30
            assert len(slow) == 3
            for levels, books in ((5, fast), (20, slow)):
                for book in books:
                    query = {"symbol": "BTCUSDT", "update_id": book["lastUpdateId"]}
                    truth = (await get(standin, "/_standin/truth/book", **query)).json
                    for side, falling in (("bids", True), ("asks", False)):
                        top = sorted(truth[side].items(), key=lambda level: Decimal(level[0]), reverse=falling)[:levels]
                        assert [tuple(level) for level in book[side]] == top

    run(test())


def candle(trades: list[dict], interval_ms: int, open_ms: int) -> dict[str, Any]:
    """By hand: a candle of `@trade` payloads, in the names of the stream."""
    own = [t for t in trades if open_ms <= t["T"] < open_ms + interval_ms]
    prices = [Decimal(t["p"]) for t in own]

    def total(rows: list[dict], *, quote: bool) -> Decimal:
        return sum((Decimal(t["q"]) * (Decimal(t["p"]) if quote else 1) for t in rows), Decimal(0))

    bought = [t for t in own if not t["m"]]
    return {
        "t": open_ms,
        "T": open_ms + interval_ms - 1,
        "f": own[0]["t"],
        "L": own[-1]["t"],
        "o": prices[0],
        "c": prices[-1],
        "h": max(prices),
        "l": min(prices),
        "v": total(own, quote=False),
        "n": len(own),
        "q": total(own, quote=True),
        "V": total(bought, quote=False),
        "Q": total(bought, quote=True),
    }


def assert_candle(said: dict, worked_out: dict) -> None:
    """Quote sums are cut to 8 decimals trade by trade, so they may lack 1e-8 each."""
    for key, value in worked_out.items():
        if key in "qQ":
            assert 0 <= value - Decimal(said[key]) < Decimal(said["n"] + 1) / 10**8, key
        else:
            assert (Decimal(said[key]) if isinstance(value, Decimal) else said[key]) == value, key


def test_closed_candles_are_the_sums_of_the_fills_and_come_once_each_in_time() -> None:
    async def test() -> None:
        async with market() as standin:
            found = await heard(standin, ("trade", "kline_1s", "kline_1m"), 62_000)
        trades = [json.loads(payload) for payload in found["trade"]]
        seconds = [json.loads(payload) for payload in found["kline_1s"]]
        minutes = [json.loads(payload) for payload in found["kline_1m"]]
        assert [second["k"]["t"] for second in seconds] == [START_MS + n * 1000 for n in range(61)]
        assert all(second["k"]["x"] and second["E"] == second["k"]["t"] + 1100 for second in seconds)
        closed = [minute for minute in minutes if minute["k"]["x"]]
        assert [minute["k"]["t"] for minute in closed] == [START_MS]
        assert [minute["E"] for minute in closed] == [START_MS + 60_100]
        for said in [*seconds, *closed]:
            width = 1000 if said["k"]["i"] == "1s" else 60_000
            if said["k"]["n"]:
                assert_candle(said["k"], candle(trades, width, said["k"]["t"]))
            else:
                assert (said["k"]["f"], said["k"]["L"], said["k"]["v"]) == (-1, -1, "0.00000000")
        # Every 2000 ms the open one, with what was traded until then.
        running = [minute for minute in minutes if not minute["k"]["x"]]
        assert {later["E"] - earlier["E"] for earlier, later in pairwise(running)} == {2000}
        for said in running:
            so_far = [t for t in trades if t["T"] < said["E"]]
            if said["k"]["n"]:
                assert_candle(said["k"], candle(so_far, 60_000, said["k"]["t"]))

    run(test())


def test_the_day_and_the_average_of_a_recording_are_the_sums_of_its_fills() -> None:
    """346 s of one symbol: all of it lies within the 24 hours. Nothing was traded before, so the close before is 0."""

    async def test() -> None:
        async with StandIn(Recording(captured(BTC)), speed=0, limits=Limits(unsent_bytes=0), at_end="close") as standin:
            kinds = ("trade", "aggTrade", "ticker", "miniTicker", "avgPrice")
            async with connect(standin, "/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in kinds)) as socket:
                messages = [json.loads(message) for message in await rest_of(socket)]
            rest = (await get(standin, "/api/v3/ticker/24hr", symbol="BTCUSDT")).json
        trades: list[dict] = []
        whole = checked = 0  # fills count once their aggregate is whole
        for message in messages:
            data = message["data"]
            if data["e"] == "trade":
                trades.append(data)
                continue
            if data["e"] == "aggTrade":
                whole = data["l"]
                continue
            seen = [t for t in trades if t["t"] <= whole]
            checked += 1
            prices = [Decimal(t["p"]) for t in seen]
            volume = sum(Decimal(t["q"]) for t in seen)
            if data["e"] == "avgPrice":
                last = [t for t in seen if t["T"] > data["E"] - 300_000]
                quote = sum(Decimal(t["q"]) * Decimal(t["p"]) for t in last)
                average = quote / sum(Decimal(t["q"]) for t in last)
                assert abs(Decimal(data["w"]) - average) < Decimal("0.0001")
                assert data["T"] == seen[-1]["T"]
                continue
            assert [Decimal(data[key]) for key in "cohlv"] == [prices[-1], prices[0], max(prices), min(prices), volume]
            if data["e"] == "24hrTicker":
                change = prices[-1] - prices[0]
                assert (Decimal(data["p"]), data["n"]) == (change, len(seen))
                assert (data["F"], data["L"]) == (seen[0]["t"], seen[-1]["t"])
                assert Decimal(data["P"]) == (change / prices[0] * 100).quantize(Decimal("0.001"), ROUND_HALF_UP)
                assert abs(Decimal(data["w"]) * volume - Decimal(data["q"])) < volume / 10**7
                assert (data["x"], data["C"] - data["O"], data["C"]) == ("0.00000000", 86_400_000, data["E"])
                assert Decimal(data["b"]) < Decimal(data["a"]) or data["b"] == "0.00000000"
        assert checked > 600
        assert Decimal(rest["volume"]) == sum(Decimal(t["q"]) for t in trades)
        assert rest["count"] == len(trades)
        quote = sum((Decimal(t["p"]) * Decimal(t["q"]) for t in trades), Decimal(0)).quantize(Decimal("1e-8"), ROUND_DOWN)
        assert 0 <= quote - Decimal(rest["quoteVolume"]) < Decimal("0.001")

    run(test())


def test_what_a_recording_has_itself_is_sent_as_it_was_and_not_made_up() -> None:
    async def test() -> None:
        path = captured("multi/binance_20210404_btc_eth_dot.raw.gz")
        source = Recording(path)
        assert source.recorded("ethusdt@kline_1m")
        assert not source.recorded("ethusdt@kline_1s")
        async with StandIn(source, speed=0, at_end="close", limits=Limits(unsent_bytes=0)) as standin:
            async with connect(standin, "/stream?streams=ethusdt@kline_1m/ethusdt@kline_1s") as socket:
                messages = await rest_of(socket)
        recorded = [message for message in messages if b"@kline_1m" in message[:40]]
        again = Recording(path)
        own: list[bytes] = []
        while again.next_ns() is not None:
            frames = again.advance(1 << 62)
            own += [b'{"stream":"ethusdt@kline_1m","data":' + f.payload + b"}" for f in frames if f.stream == "ethusdt@kline_1m"]
            if again.gate():
                again.pass_gate()
        assert recorded == own
        assert len(messages) > len(recorded) > 20

    run(test())


def _price(level: list[str]) -> Decimal:
    return Decimal(level[0])


def test_slow_and_partial_depth_of_a_recording_are_its_own_book_where_its_frames_end() -> None:
    async def test() -> None:
        async with StandIn(Recording(captured(BTC)), speed=0, limits=Limits(unsent_bytes=0)) as standin:
            async with connect(standin, "/ws/btcusdt@depth/btcusdt@depth5") as socket:
                book = ReferenceBook((await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1000)).json)
                await standin.until(lambda s: s.finished)
                await post(standin, "fault", fault="socket.close")
                messages = [json.loads(message) for message in await rest_of(socket)]
            updates = [message for message in messages if "e" in message]
            tops = [message for message in messages if "e" not in message]
            assert 330 < len(updates) < 350
            assert 330 < len(tops) < 350
            for top in tops[:20]:
                query = {"symbol": "BTCUSDT", "update_id": top["lastUpdateId"]}
                whole = (await get(standin, "/_standin/truth/book", **query)).json
                assert top["bids"] == sorted(map(list, whole["bids"].items()), key=_price, reverse=True)[:5]
                assert top["asks"] == sorted(map(list, whole["asks"].items()), key=_price)[:5]
            for update in updates:
                shapes.check(DEPTH, json.dumps(update, separators=(",", ":")))
                book.update(update)
            truth = (await get(standin, "/_standin/truth/book", symbol="BTCUSDT", update_id=book.id)).json
        low, high = Decimal(truth["known_bid"]), Decimal(truth["known_ask"])
        sides = [{Decimal(p): Decimal(q) for p, q in truth[side].items()} for side in ("bids", "asks")]
        assert book.within(low, high) == tuple({p: q for p, q in side.items() if low <= p <= high} for side in sides)

    run(test())


def test_partial_depth_of_a_recording_is_its_own_book_where_its_frames_end(tmp_path: Path) -> None:
    """Frames and snapshot are 50 ms apart: at 200 ms the latest is 106..109, at 300 ms 112."""
    source = Recording([small(tmp_path)])
    derived = Derived(source)
    derived.hear("aaausdt@depth5@100ms")
    frames: list[Frame] = []
    position = source.start_ns - 1
    while source.next_ns() is not None:
        moment = derived.next_ns(position)
        source.advance(moment)
        if source.gate():
            position = source.next_ns() or position
            source.pass_gate()
            continue
        position = moment
        frames += derived.tick(moment)
    books = [json.loads(frame.payload) for frame in frames]
    assert [book["lastUpdateId"] for book in books] == [109, 112]
    assert books[-1]["bids"] == [["10.25", "6.0"]]
    assert books[-1]["asks"] == [["11.25", "7.0"], ["11.50", "2.0"], ["12.00", "5.0"]]


def test_what_is_listened_to_changes_no_frame_of_the_market_and_no_time_of_listening_a_derived_frame() -> None:
    async def test() -> None:
        own = ("depth@100ms", "bookTicker", "trade", "aggTrade")
        made = ("depth", "kline_1s", "kline_1m", "ticker", "avgPrice", "depth10@100ms")
        async with market() as standin:
            alone = await heard(standin, own, 4_000)
        async with market() as standin:
            both = await heard(standin, own + made, 4_000)
        assert {kind: both[kind] for kind in own} == alone
        async with market() as standin:
            await standin.advance(1_730)  # in the middle of a slot
            late = await heard(standin, made, 2_270)
        for kind in made:
            assert 0 < len(late[kind]) < len(both[kind]) or kind == "kline_1m"
            assert both[kind][len(both[kind]) - len(late[kind]) :] == late[kind], kind

    run(test())


def test_nothing_is_made_for_nobody_and_nothing_after_the_last_has_gone() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, "/ws/btcusdt@ticker/btcusdt@depth5@100ms") as socket:
            await standin.advance(1_000)
            await socket.send('{"method":"UNSUBSCRIBE","params":["btcusdt@ticker","btcusdt@depth5@100ms"],"id":1}')
            while "id" not in json.loads(await socket.recv()):
                pass
            await standin.advance(3_000)
            await post(standin, "fault", fault="socket.close")
            assert await rest_of(socket) == []

    run(test())
    source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
    derived = Derived(source)
    source.advance(source.start_ns + SECOND_NS)
    at = source.start_ns + SECOND_NS // 10
    assert derived.tick(at) == []
    derived.hear("btcusdt@ticker")
    derived.hear("btcusdt@no")
    derived.hear("nosuch@ticker")
    derived.hear("btcusdt@kline_7m")
    assert [frame.stream for frame in derived.tick(at)] in ([], ["btcusdt@ticker"])
    derived.forget("btcusdt@ticker")
    assert derived.tick(at) == []


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
def test_a_connection_in_microseconds_gets_the_same_messages_with_longer_times(unit: str) -> None:
    kinds = ("depth@100ms", "trade", "aggTrade", "kline_1s", "ticker", "avgPrice", "bookTicker", "depth5")
    streams = "/".join(f"btcusdt@{kind}" for kind in kinds)

    async def test() -> None:
        async with (
            market() as standin,
            connect(standin, f"/stream?streams={streams}") as plain,
            connect(standin, f"/stream?streams={streams}&timeUnit={unit}") as fine,
        ):
            await standin.advance(5_000)
            rows = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1000)).json
            await post(standin, "fault", fault="socket.close")
            both = [[json.loads(message)["data"] for message in await rest_of(socket)] for socket in (plain, fine)]
        assert len(both[0]) == len(both[1]) > 100
        for ms, us in zip(*both, strict=True):
            assert list(ms) == list(us)
            k_ms, k_us = ms.pop("k", {}), us.pop("k", {})
            for key in ("E", "T", "O", "C"):
                if key in ms:
                    assert us[key] // 1000 == ms[key]
                    assert us[key] > 1e15
            assert {**ms, "E": 0, "T": 0, "O": 0, "C": 0} == {**us, "E": 0, "T": 0, "O": 0, "C": 0}
            if k_ms:
                assert (k_us["t"], k_us["T"]) == (k_ms["t"] * 1000, k_ms["T"] * 1000 + 999)
        by_id = {row["a"]: row["T"] for row in rows}
        fine_trades = [data for data in both[1] if data.get("e") == "aggTrade"]
        assert fine_trades
        assert all(data["T"] // 1000 == by_id[data["a"]] for data in fine_trades)

    run(test())


def test_a_recording_without_trades_has_no_candles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", trade("AAAUSDT", 5, "2.00", "1.5", 1_700_000_000_000, sold=True))
    source = Recording([path, small(tmp_path, "BBBUSDT")])
    derived = Derived(source)
    for stream in ("bbbusdt@kline_1s", "bbbusdt@ticker", "bbbusdt@miniTicker", "bbbusdt@avgPrice", "aaausdt@ticker"):
        derived.hear(stream)
    source.advance(1 << 62)
    moment = derived.next_ns(source.start_ns)
    assert [frame.stream for frame in derived.tick(moment)] == ["aaausdt@ticker"]
