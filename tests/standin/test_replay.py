"""The recorded source by itself: order, derived trades, its book against the independently computed files."""

import csv
import gzip
import json
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pytest
from tests.standin.support import (
    BTC,
    ETH,
    SMALL_BODY,
    ReferenceBook,
    captured,
    decimals,
    depth,
    hft_lines,
    played_to_end,
    small,
    snapshot,
    trade,
    write,
)

from leadline.standin.replay import NotASpotRecording, Recording


def test_two_files_are_one_recording_in_the_order_of_local_time() -> None:
    paths = captured(BTC, ETH)
    recording = Recording(paths)
    lines = sorted((line for path in paths for line in hft_lines(path)), key=lambda line: line[0])
    expected = [body for _, body in lines if not body.startswith(b'{"lastUpdateId"')]

    sent = [
        b'{"stream":"%b","data":%b}' % (frame.stream.encode(), frame.payload)
        for frame in played_to_end(recording)
        if not frame.stream.endswith("@aggTrade")
    ]

    assert sent == expected
    assert recording.origin == "replay:btcusdt_20240808+ethusdt_20240808"
    assert recording.symbols == ("BTCUSDT", "ETHUSDT")


@pytest.mark.parametrize("name", [BTC, ETH])
def test_aggregates_are_the_runs_of_fills_with_equal_time_price_and_side(name: str) -> None:
    (path,) = captured(name)
    fills = [data for _, body in hft_lines(path) if (data := json.loads(body).get("data", {})).get("e") == "trade"]
    expected = []
    for number, (_, run_) in enumerate(groupby(fills, key=lambda t: (t["T"], t["p"], t["m"])), start=1):
        run = list(run_)
        total = sum(Decimal(t["q"]) for t in run)
        last = run[-1]
        expected.append(
            f'{{"e":"aggTrade","E":{last["E"]},"s":"{last["s"]}","a":{number},"p":"{last["p"]}","q":"{total:.8f}",'
            f'"f":{run[0]["t"]},"l":{last["t"]},"T":{last["T"]},"m":{str(last["m"]).lower()},"M":true}}'
        )
    frames = played_to_end(Recording([path]))

    assert [frame.payload.decode() for frame in frames if frame.stream.endswith("@aggTrade")] == expected
    before = frames[0]
    for frame in frames[1:]:
        if frame.stream.endswith("@aggTrade"):
            assert json.loads(before.payload)["t"] == json.loads(frame.payload)["l"]
        before = frame


@pytest.mark.parametrize("name", [BTC, ETH])
def test_the_quantities_of_the_derived_trades_are_those_of_the_expected_seconds(name: str) -> None:
    (path,) = captured(name)
    symbol = path.name[:7].upper()
    expected = path.parents[1] / "expected" / f"spot_{path.name[:-3]}_trades_1s.csv.gz"
    recording = Recording([path])
    played_to_end(recording)
    rows = recording.tape(symbol).aggregates(from_id=1, start_ms=None, end_ms=None, limit=10**9)
    with gzip.open(expected, "rt") as file:
        for row in csv.DictReader(file):
            own = [r for r in rows if int(row["t_ms"]) // 1000 == r.T // 1000]
            assert sum(r.l - r.f + 1 for r in own) == int(row["n"])
            assert sum(Decimal(r.q) for r in own if not r.m) == Decimal(row["taker_buy_qty"])
            assert sum(Decimal(r.q) for r in own if r.m) == Decimal(row["taker_sell_qty"])


def test_fills_whose_ids_leave_a_hole_are_not_one_aggregate(tmp_path: Path) -> None:
    fills = [trade("AAAUSDT", n, "10.00", "0.1", 1_700_000_000_000, sold=True) for n in (1, 2, 4)]
    frames = played_to_end(Recording([write(tmp_path / "a.txt", *fills)]))
    aggregates = [json.loads(f.payload) for f in frames if f.stream == "aaausdt@aggTrade"]
    assert [(t["a"], t["f"], t["l"], t["q"]) for t in aggregates] == [(1, 1, 2, "0.20000000"), (2, 4, 4, "0.10000000")]


def test_fills_of_other_side_price_or_time_are_not_one_aggregate(tmp_path: Path) -> None:
    at = 1_700_000_000_000
    fills = [
        trade("AAAUSDT", 1, "10.00", "0.1", at, sold=True),
        trade("AAAUSDT", 2, "10.00", "0.1", at, sold=False),
        trade("AAAUSDT", 3, "10.01", "0.1", at, sold=False),
        trade("AAAUSDT", 4, "10.01", "0.1", at + 1, sold=False),
    ]
    frames = played_to_end(Recording([write(tmp_path / "a.txt", *fills)]))
    assert [json.loads(f.payload)["f"] for f in frames if f.stream == "aaausdt@aggTrade"] == [1, 2, 3, 4]


def test_captured_aggregates_are_sent_and_none_are_derived() -> None:
    (path,) = captured("multi/binance_20210404_btc_eth_dot.raw.gz")
    with gzip.open(path) as file:
        expected = [line.split(b": ", 1)[1].rstrip(b"\n") for line in file if line[:1].isdigit()]
    frames = played_to_end(Recording([path]))
    assert [b'{"stream":"%b","data":%b}' % (f.stream.encode(), f.payload) for f in frames] == expected


@pytest.mark.parametrize("name", [BTC, ETH])
def test_the_truth_equals_the_expected_book_at_every_whole_second(name: str) -> None:
    (path,) = captured(name)
    symbol = path.name[:7].upper()
    recording = Recording([path])
    with gzip.open(path.parents[1] / "expected" / f"spot_{path.name[:-3]}_top20_1s.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        book = recording.book(symbol, int(row["last_u"]))
        assert book is not None
        assert (len(book.bids), len(book.asks)) == (int(row["bid_levels"]), int(row["ask_levels"]))
        bids = sorted(book.bids.items(), key=lambda level: -Decimal(level[0]))[:20]
        asks = sorted(book.asks.items(), key=lambda level: Decimal(level[0]))[:20]
        assert bids == [(row[f"b{n}_p"], row[f"b{n}_q"]) for n in range(len(bids))]
        assert asks == [(row[f"a{n}_p"], row[f"a{n}_q"]) for n in range(len(asks))]
    assert len(rows) > 300


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["multi/binance_20210404_btc_eth_dot.raw.gz"], "multi_binance_20210404.json"),
        (["multi/binance_20211012_4pairs.ws.gz", "multi/binance_20211012_4pairs.http.gz"], "multi_binance_20211012.json"),
        (["multi/binanceus_20211012_4pairs.ws.gz", "multi/binanceus_20211012_4pairs.http.gz"], "multi_binanceus_20211012.json"),
    ],
)
def test_the_last_book_of_every_symbol_is_the_expected_one(names: list[str], expected: str) -> None:
    paths = captured(*names)
    recording = Recording(paths)
    final = json.loads((paths[0].parents[1] / "expected" / expected).read_text())
    assert set(final) == set(recording.symbols)
    for symbol, wanted in final.items():
        book = recording.book(symbol, wanted["final_u"])
        assert book is not None
        assert [len(book.bids), len(book.asks)] == wanted["final_levels"]
        assert max(book.bids.items(), key=lambda level: Decimal(level[0])) == tuple(wanted["final_bid"])
        assert min(book.asks.items(), key=lambda level: Decimal(level[0])) == tuple(wanted["final_ask"])


@pytest.mark.parametrize("name", [BTC, ETH])
def test_a_later_snapshot_lies_inside_the_next_event_and_bridges_to_the_exact_book(name: str) -> None:
    """Every 97th event a snapshot: strictly inside [U, u] of the next one where it spans three ids, never crossed, never
    beyond the captured range; with the whole next event it equals the truth wherever both are known."""
    (path,) = captured(name)
    symbol = path.name[:7].upper()
    recording = Recording([path])
    updates = [data for _, body in hft_lines(path) if (data := json.loads(body).get("data", {})).get("e") == "depthUpdate"]
    body = json.loads(next(body for _, body in hft_lines(path) if body.startswith(b'{"lastUpdateId"')))
    low, high = Decimal(body["bids"][-1][0]), Decimal(body["asks"][-1][0])
    inside = checked = 0
    sent = 0
    while recording.next_ns() is not None:
        frames = recording.advance(recording.next_ns() or 0)
        if recording.gate():
            recording.pass_gate()
        for frame in frames:
            if not frame.stream.endswith("@depth@100ms"):
                continue
            sent += 1
            if sent % 97 or sent == len(updates):
                continue
            answer = recording.depth(symbol, 1000)
            assert answer is not None
            said = json.loads(answer.body)
            book = ReferenceBook(said)
            assert max(book.bids) < min(book.asks)
            assert min(book.bids) >= low
            assert max(book.asks) <= high
            assert answer.levels == min(1000, len(said["bids"]), len(said["asks"]))
            following = updates[sent]
            assert following["U"] <= book.id + 1 <= following["u"]
            inside += following["U"] < book.id < following["u"]
            checked += 1
            book.update(following)
            truth = recording.book(symbol, following["u"])
            assert truth is not None
            known_low, known_high = max(low, book.low), min(high, book.high)
            bids = {p: q for p, q in decimals(truth.bids).items() if p >= known_low}
            asks = {p: q for p, q in decimals(truth.asks).items() if p <= known_high}
            assert book.within(known_low, known_high) == (bids, asks)
    assert checked == (len(updates) - 1) // 97
    assert inside > checked * 0.8


def test_half_of_the_next_events_changes_are_in_a_snapshot_inside_it(tmp_path: Path) -> None:
    """After 105 the next event is 106..109 with two removals and two settings: half of it are the removals.

    The removal of 10.00 leaves bids [8.00] out of 10.00:3.0, 8.00:1.0; asks lose 11.00. Id (106 + 109) // 2 = 107. The frame
    before the body (8.00) is older than it and not in its range, so the body's own two levels are what is known: the capture
    asked for 1000 and got 2, so both sides are complete.
    """
    recording = Recording([small(tmp_path)])
    recording.advance(1 << 62)
    recording.pass_gate()
    at = recording.next_ns()
    assert at is not None
    assert [json.loads(f.payload)["u"] for f in recording.advance(at)] == [105]
    book = recording.book("AAAUSDT", 105)
    assert book is not None
    assert (book.bids, book.asks) == ({"10.00": "3.0"}, {"11.00": "1.5", "12.00": "5.0", "11.50": "4.0"})
    # Removing 10.00 would leave no bid at all: there is no middle with two sides, so the answer stays on the border.
    answer = recording.depth("AAAUSDT", 1000)
    assert answer is not None
    assert json.loads(answer.body)["lastUpdateId"] == 105
    recording.advance(at + 50_000_000)
    answer = recording.depth("AAAUSDT", 1000)
    assert answer is not None
    # 110..111 removes 10.50, the only bid: again no middle. After it 112 is one id: the border.
    assert json.loads(answer.body) == {
        "lastUpdateId": 109,
        "bids": [["10.50", "1.0"]],
        "asks": [["11.50", "2.0"], ["12.00", "5.0"]],
    }


def test_a_recorded_snapshot_is_answered_byte_for_byte_at_its_place_and_cut_to_the_limit(tmp_path: Path) -> None:
    recording = Recording([small(tmp_path)])
    assert recording.depth("AAAUSDT", 1000) is None
    assert recording.snapshot_ahead("AAAUSDT")
    assert len(recording.advance(1 << 62)) == 2
    assert recording.gate() == "AAAUSDT"
    answer = recording.depth("AAAUSDT", 1000)
    assert answer is not None
    assert (answer.body, answer.levels) == (SMALL_BODY, 1000)
    cut = recording.depth("AAAUSDT", 1)
    assert cut is not None
    assert cut.body == b'{"lastUpdateId":102,"bids":[["10.00","1.0"]],"asks":[["11.00","1.0"]]}'


def test_a_hole_in_the_recorded_ids_takes_the_book_away_until_the_next_snapshot(tmp_path: Path) -> None:
    first = small(tmp_path)
    later = 1_700_000_100_000_000_000
    second = write(
        tmp_path / "later.txt",
        depth("AAAUSDT", 200, 201, [["10.00", "1.0"]], []),
        snapshot(201, [["10.00", "1.0"]], [["11.00", "1.0"]]),
        depth("AAAUSDT", 202, 202, [["10.00", "2.0"]], []),
        start_ns=later,
    )
    recording = Recording([first, second])
    recording.advance(later)
    recording.pass_gate()
    recording.advance(later)
    assert recording.depth("AAAUSDT", 100) is None
    assert recording.snapshot_ahead("AAAUSDT")
    assert recording.book("AAAUSDT", 112) is not None
    recording.advance(1 << 62)
    recording.pass_gate()
    recording.advance(1 << 62)
    answer = recording.depth("AAAUSDT", 100)
    assert answer is not None
    assert answer.body == b'{"lastUpdateId":202,"bids":[["10.00","2.0"]],"asks":[["11.00","1.0"]]}'


def test_a_stale_snapshot_is_the_book_of_then(tmp_path: Path) -> None:
    recording = Recording([small(tmp_path)])
    played_to_end(recording)
    answer = recording.depth("AAAUSDT", 100, events_back=2)
    assert answer is not None
    assert json.loads(answer.body) == {
        "lastUpdateId": 109,
        "bids": [["10.50", "1.0"]],
        "asks": [["11.50", "2.0"], ["12.00", "5.0"]],
    }
    older = recording.depth("AAAUSDT", 100, events_back=6)
    assert older is not None
    assert json.loads(older.body)["lastUpdateId"] < 99  # no client that saw frame 100 can take it


def test_the_grid_is_the_largest_power_of_ten_that_divides_the_snapshot() -> None:
    info = Recording(captured(ETH)).exchange_info()
    assert [f["filterType"] for f in info[0]["filters"]][:2] == ["PRICE_FILTER", "LOT_SIZE"]
    assert info[0]["filters"][0]["tickSize"] == "0.01000000"
    assert info[0]["filters"][1]["stepSize"] == "0.00010000"
    assert (info[0]["baseAsset"], info[0]["quoteAsset"]) == ("ETH", "USDT")


def test_a_captured_exchange_info_is_served_as_it_was() -> None:
    paths = captured(
        "multi/binance_20211012_4pairs.ws.gz",
        "multi/binance_20211012_4pairs.http.gz",
        "exchange_info/binance_20211012_exchangeInfo.raw.gz",
    )
    info = Recording(paths).exchange_info()
    assert len(info) == 1695
    assert info[0]["filters"][0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.00000100",
        "maxPrice": "922327.00000000",
        "tickSize": "0.00000100",
    }


def test_futures_traffic_is_refused() -> None:
    with pytest.raises(NotASpotRecording) as caught:
        Recording(captured("usdm/btcusdt_20240718.gz"))
    assert "futures" in caught.value.why
