"""The recordings through the whole path from file to record, against numbers that an independent program worked out
(captures/expected). Nothing here is computed by what it checks."""

import csv
import gzip
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from tests.captures import captures

from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, SymbolSecond, Trade, TradeState
from leadline.core.sums import QuoteSums, RankSums
from leadline.core.sync import BookSync, FetchSnapshot
from leadline.exchange.replay import Recording
from leadline.service.recorder import Recorder
from leadline.service.replay import Replay

FIRST, LAST = 1723161257, 1723161601
FILES = {"BTCUSDT": "btcusdt_20240808", "ETHUSDT": "ethusdt_20240808"}
both = pytest.mark.parametrize("symbol", FILES)


class Rows:
    """The store of these tests: a list."""

    def __init__(self):
        self.rows = []

    def write(self, rows: Sequence[SymbolSecond], incidents):
        assert not incidents
        self.rows += rows
        return []


def replayed(*paths):
    sink = Rows()
    replay = Replay(Recorder(sink, snapshot_lines="none"), epochs=lambda s: 0, first_snapshot=lambda snapshot, second: None)
    recording = Recording(paths)
    replay.run(recording.events())
    assert (recording.errors, recording.malformed) == ([], 0)
    return sink.rows, replay.feeds


@cache
def spot(symbol):
    """(rows, feed, records by second) of one spot recording."""
    rows, feeds = replayed(captures() / "spot" / f"{FILES[symbol]}.gz")
    assert list(feeds) == [symbol]
    return rows, feeds[symbol], {row.second: row.record for row in rows if row.record is not None}


@cache
def events(symbol):
    return list(Recording([captures() / "spot" / f"{FILES[symbol]}.gz"]).events())


def complete(symbol):
    """The 345 complete seconds."""
    records = spot(symbol)[2]
    return [records[second] for second in range(FIRST, LAST + 1)]


def live_books(symbol):
    """(book, came it from a diff) at going LIVE and after every diff from then on."""
    sync, held, asked = BookSync(), None, None
    for event in events(symbol):
        if isinstance(event, DepthSnapshot):
            held = event
        elif isinstance(event, DepthUpdate):
            before = sync.book
            for effect in sync.update_received(event, 0.0):
                assert isinstance(effect, FetchSnapshot)
                asked = effect.request_id
            if before is not None:
                assert (sync.book, sync.book.update_id) == (before, event.last_id)
                yield sync.book, True
        if held is not None and asked is not None:
            sync.snapshot_received(asked, held, 0.0)
            held = asked = None
            yield sync.book, sync.bridged


def expected(name):
    with gzip.open(captures() / "expected" / name, "rt") as file:
        return list(csv.DictReader(file))


def e8(text):
    value = Decimal(text) * 10**8
    assert value == int(value)
    return int(value)


def e8s(text):
    return [e8(word) for word in text.replace(",", " ").split()]


def quotes(values, places=2):
    """Sums of 1e-16 as floats, rounded as the document prints them."""
    return [None if value is None else round(value / 10**16, places) for value in values]


# The whole file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "diffs", "tickers", "fills"), [("BTCUSDT", 3451, 28040, 9757), ("ETHUSDT", 3434, 24077, 6106)]
)
def test_the_whole_file_is_read(symbol, diffs, tickers, fills):
    count = Counter(type(event) for event in events(symbol))
    assert (count[DepthUpdate], count[BestQuote], count[DepthSnapshot]) == (diffs, tickers, 1)
    assert sum(event.fills for event in events(symbol) if isinstance(event, Trade)) == fills
    assert spot(symbol)[1].fills == fills


@pytest.mark.parametrize(
    ("symbol", "last_id", "bids", "asks", "best_bid", "best_ask"),
    [
        ("BTCUSDT", 50093421584, 1209, 2196, "61685.99", "61686.00"),
        ("ETHUSDT", 35346671849, 1195, 1158, "2682.50", "2682.51"),
    ],
)
def test_the_book_at_the_end_of_the_file(symbol, last_id, bids, asks, best_bid, best_ask):
    book = spot(symbol)[1].sync.book
    assert (book.update_id, len(book.bids.keys), len(book.asks.keys)) == (last_id, bids, asks)
    assert (book.best_bid[0], book.best_ask[0]) == (e8(best_bid), e8(best_ask))


@both
def test_no_book_of_the_recordings_is_lost_or_crossed(symbol):
    rows, feed, records = spot(symbol)
    assert (feed.gaps, feed.resyncs, feed.crossings, feed.trades_missing, feed.sync.epoch) == (0, 0, 0, 0, 1)
    assert {record.flags & ~32 for record in records.values() if record.t >= FIRST} == {0}
    incidents = [incident for row in rows for incident in row.incidents]
    assert [(incident.kind, incident.end_ms is None) for incident in incidents] == [("start", True), ("start", False)]


@pytest.mark.parametrize(("symbol", "comparable"), [("BTCUSDT", 3449), ("ETHUSDT", 3432)])
def test_after_every_diff_the_best_prices_equal_the_last_ticker_not_above_the_books_id(symbol, comparable):
    """Worked out here, not by the audit: every state of the book after going LIVE, against the tickers of the whole file."""
    tickers = [
        (event.update_id, (event.bid_price_e8, event.bid_quantity_e8, event.ask_price_e8, event.ask_quantity_e8))
        for event in events(symbol)
        if isinstance(event, BestQuote)
    ]
    states = [(book.update_id, *book.best_bid, *book.best_ask) for book, after_a_diff in live_books(symbol) if after_a_diff]
    numbers = [number for number, _ in tickers]
    assert numbers == sorted(set(numbers))
    checks = 0
    for update_id, *best in states:
        position = bisect_right(numbers, update_id)
        if position:
            checks += 1
            assert tickers[position - 1][1] == tuple(best), update_id
            assert best[0] < best[2]
    assert checks == comparable
    feed = spot(symbol)[1]
    assert feed.audit.mismatches == 0
    assert comparable - 3 <= feed.audit.checks <= comparable


@pytest.mark.parametrize(
    ("symbol", "total", "parts"),
    [
        ("BTCUSDT", "-99.47148", "1569.59945, 620.80605, 1645.71436, 597.44948"),
        ("ETHUSDT", "-1172.4734", "11576.3111, 5718.3363, 13125.6235, 6095.1753"),
    ],
)
def test_the_order_flow_of_all_tickers(symbol, total, parts):
    sums = QuoteSums()
    for event in events(symbol):
        if isinstance(event, BestQuote):
            sums.quote(event.bid_price_e8, event.bid_quantity_e8, event.ask_price_e8, event.ask_quantity_e8, event.ts_recv_ns)
    assert [sums.bid_added, sums.bid_removed, sums.ask_added, sums.ask_removed] == e8s(parts)
    assert sums.bid_added - sums.bid_removed - sums.ask_added + sums.ask_removed == e8(total)


@pytest.mark.parametrize(
    ("symbol", "steps", "rank_1", "ranks_10", "ranks_20"),
    [
        ("BTCUSDT", 3448, "-87.42089", "-95.07540", "-125.18325"),
        ("ETHUSDT", 3432, "-531.6532", "-1616.1871", "-1173.2560"),
    ],
)
def test_the_order_flow_by_rank_of_all_diffs(symbol, steps, rank_1, ranks_10, ranks_20):
    sums, states = RankSums(), 0
    for book, _ in live_books(symbol):
        states += 1
        sums.book(book)
    assert states - 1 == steps
    assert (sums.by_rank[0], sum(sums.by_rank), sums.top20) == (e8(rank_1), e8(ranks_10), e8(ranks_20))


@pytest.mark.parametrize(
    ("symbol", "bought", "sold", "buys", "batches", "sweeps", "quote", "bought_quote", "prices", "ids"),
    [
        (
            *("BTCUSDT", "96.65118", "115.38197", 4103, 3249, 456, "13084074.1123886", "5963909.5359136"),
            *("61837.63 61860.80 61583.22 61685.99", (3735683259, 3735693015)),
        ),
        (
            *("ETHUSDT", "953.0359", "1308.2790", 3231, 1931, 410, "6066483.27618", "2556463.492205"),
            *("2683.80 2685.37 2679.00 2682.51", (1520538925, 1520545030)),
        ),
    ],
)
def test_the_trades_of_the_whole_file(symbol, bought, sold, buys, batches, sweeps, quote, bought_quote, prices, ids):
    """From the blocks; batches and sweeps from the records, and by a plain loop for the last second, which nothing closes."""
    rows, _, records = spot(symbol)
    trades = [trade for row in rows for block in row.trades for trade in block.trades]
    assert {block.state for row in rows for block in row.trades} == {TradeState.COMPLETE}
    assert (trades[0].first_id, trades[-1].last_id) == ids
    assert all(a.last_id + 1 == b.first_id and a.agg_id + 1 == b.agg_id for a, b in pairwise(trades))
    bought_trades = [trade for trade in trades if not trade.buyer_is_maker]
    assert sum(trade.quantity_e8 for trade in bought_trades) == e8(bought)
    assert sum(trade.quantity_e8 for trade in trades) == e8(bought) + e8(sold)
    assert sum(trade.fills for trade in bought_trades) == buys
    assert sum(trade.price_e8 * trade.quantity_e8 for trade in trades) == e8(quote) * 10**8
    assert sum(trade.price_e8 * trade.quantity_e8 for trade in bought_trades) == e8(bought_quote) * 10**8
    path = [trade.price_e8 for trade in trades]
    assert [path[0], max(path), min(path), path[-1]] == e8s(prices)
    groups: list[list[Trade]] = []
    for trade in trades:
        last = groups[-1][-1] if groups else None
        same = last is not None and (trade.ts_trade_ns, trade.buyer_is_maker) == (last.ts_trade_ns, last.buyer_is_maker)
        back = last is not None and (trade.price_e8 > last.price_e8 if trade.buyer_is_maker else trade.price_e8 < last.price_e8)
        if same and not back:
            groups[-1].append(trade)
        else:
            groups.append([trade])
    assert len(groups) == batches
    assert sum(len({trade.price_e8 for trade in group}) > 1 for group in groups) == sweeps
    closed = sum(record.n_buy + record.n_sell for record in records.values())
    begun, seen = 0, 0
    for group in groups:
        begun += seen < closed
        seen += sum(trade.fills for trade in group)
    assert sum(record.n_batches for record in records.values()) == begun


# Records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "counts", "flow", "delta"),
    [
        ("BTCUSDT", [3441, 181281, 123497, 27837, 9706], "-74.49668", "-18.56354"),
        ("ETHUSDT", [3425, 157342, 106271, 23847, 6069], "-905.4684", "-354.5008"),
    ],
)
def test_the_sums_over_all_complete_seconds(symbol, counts, flow, delta):
    records = complete(symbol)
    assert len(records) == 345
    fills = sum(record.n_buy + record.n_sell for record in records)
    assert [sum(getattr(record, name) for record in records) for name in ("n_diff", "n_ids", "n_levels", "n_bbo")] == counts[:4]
    assert fills == counts[4]
    assert sum(r.bid_added - r.bid_removed - r.ask_added + r.ask_removed for r in records) == e8(flow)
    assert sum(record.buy_qty - record.sell_qty for record in records) == e8(delta)
    assert {(record.ofi_source, record.live_ms, record.epoch) for record in records} == {("event", 1000, 1)}


@pytest.mark.parametrize(("symbol", "ids"), [("BTCUSDT", (284, 1605, 4539)), ("ETHUSDT", (298, 1500, 2551))])
def test_the_ids_a_second(symbol, ids):
    values = [record.n_ids for record in complete(symbol)]
    assert (median(values), round(float(np.percentile(values, 95))), max(values)) == ids


RECORD = {
    "BTCUSDT": {
        "counts": (10, 623, 417, 127, 22, 8),
        "parts": "5.04887, 2.28064, 13.30319, 3.67719",
        "ranks": ("-7.91377 -0.14725 -0.68628", "-25.30777"),
        "mid": ((12365603, 12365603, 12364801, 12364801), 145844),
        "spread": (1.695, 202),
        "trades": ("0.01068, 0.12828", (660.288105, 7931.29506), 7879.979875),
        "top": (50093240900, "61824.00 0.35168", "61824.01 6.67343", "61631.55 62053.18"),
        "depth_bid": [81788.82, 183209.42, 1076686.97, 2271831.03, 5394813.37, None],
        "depth_ask": [575218.75, 726585.18, 1889431.17, 3275933.80, 7664899.12, None],
        "depth_min": (1945321.32, 3148482.11),
        "cost_buy": [0.000809, 0.000809, 0.000809, 0.000809, 0.095865, 1.060213],
        "cost_sell": [0.000809, 0.042864, 0.329018, 0.701089, 2.351392, 3.188991],
    },
    "ETHUSDT": {
        "counts": (10, 701, 439, 101, 12, 7),
        "parts": "14.6200, 11.2594, 75.6482, 31.4200",
        "ranks": ("-49.8999 -4.4988 -14.2340", "-231.6002"),
        "mid": ((536583, 536583, 536561, 536561), 168),
        "spread": (1.000, 10),
        "trades": ("0.0083, 0.3178", (22.267406, 852.628184), 820.433878),
        "top": (35346515195, "2682.81 2.0880", "2682.82 21.9063", "2660.60 2711.76"),
        "depth_bid": [31515.68, 66553.11, 514534.62, 1453909.03, 5327856.24, 6709419.44],
        "depth_ask": [110572.30, 178083.45, 993178.68, 1653807.65, 5156501.24, 7282736.49],
        "depth_min": (1065417.79, 1613282.99),
        "cost_buy": [0.018637, 0.018637, 0.018637, 0.196012, 1.847650, 2.726325],
        "cost_sell": [0.035031, 0.458264, 0.911084, 1.472429, 2.995581, 4.796460],
    },
}
TICK = 10**6  # both symbols: 0.01


@both
def test_every_row_of_the_record_of_1723161257(symbol):
    record, want = spot(symbol)[2][FIRST], RECORD[symbol]
    snapshot = next(row.snapshot for row in spot(symbol)[0] if row.second == FIRST)
    fills = record.n_buy + record.n_sell
    assert (record.n_diff, record.n_ids, record.n_levels, record.n_bbo, fills, record.n_batches) == want["counts"]
    assert [record.bid_added, record.bid_removed, record.ask_added, record.ask_removed] == e8s(want["parts"])
    assert (record.ofi_diff[:3], record.ofi_top20) == (e8s(want["ranks"][0]), e8(want["ranks"][1]))
    mids, squares = want["mid"]
    assert (record.mid2_open, record.mid2_high, record.mid2_low, record.mid2_close) == tuple(TICK * mid for mid in mids)
    assert record.mid_sq == squares * TICK**2
    assert (round(record.spread_tw / TICK, 3), record.spread_max) == (want["spread"][0], want["spread"][1] * TICK)
    quantities, quote, largest = want["trades"]
    assert [record.buy_qty, record.sell_qty] == e8s(quantities)
    assert [record.buy_quote / 1e16, record.sell_quote / 1e16, record.max_batch_quote / 1e16] == pytest.approx(
        [*quote, largest], abs=1e-6
    )
    update_id, bid, ask, known = want["top"]
    assert record.update_id == snapshot.update_id == update_id
    assert (list(snapshot.bids[0]), list(snapshot.asks[0])) == (e8s(bid), e8s(ask))
    assert [record.known_bid, record.known_ask] == e8s(known)
    assert quotes(record.depth_bid) == want["depth_bid"]
    assert quotes(record.depth_ask) == want["depth_ask"]
    assert quotes([record.depth_min_bid[3], record.depth_min_ask[3]]) == list(want["depth_min"])
    assert record.n_eval == 10
    assert [round(cost, 6) for cost in record.cost_buy] == want["cost_buy"]
    assert [round(cost, 6) for cost in record.cost_sell] == want["cost_sell"]


@pytest.mark.parametrize(
    ("symbol", "depth_bid", "depth_ask", "cost_sell"),
    [
        ("BTCUSDT", [2, 4, 22, 80, 253, 345], 146, [2, 2, 2, 2, 4, 23]),
        ("ETHUSDT", [0] * 6, 0, [0] * 6),
    ],
)
def test_how_many_records_say_that_they_do_not_know(symbol, depth_bid, depth_ask, cost_sell):
    records = complete(symbol)
    assert [sum(record.depth_bid[band] is None for record in records) for band in range(6)] == depth_bid
    assert sum(record.depth_ask[5] is None for record in records) == depth_ask
    assert [sum(record.cost_sell[size] is None for record in records) for size in range(6)] == cost_sell
    for record in records:
        assert all((cost is None) == (fill is not None) for cost, fill in zip(record.cost_sell, record.fill_sell, strict=True))


@pytest.mark.parametrize(
    ("symbol", "r2", "beta", "slope", "slope_r2"),
    [("BTCUSDT", 0.436, 33.245, 6.268, 0.171), ("ETHUSDT", 0.758, 0.359, 6.889, 0.226)],
)
def test_the_move_of_the_mid_follows_the_flow_of_the_records_as_measured(symbol, r2, beta, slope, slope_r2):
    """10-s windows [1723161260 + 10k, +10): the change of the mid in ticks on order flow in base units; in bps on signed
    taker volume in millions of quote. Both with intercept."""
    records = spot(symbol)[2]
    flow, move, bps, signed = [], [], [], []
    for start in range(1723161260, 1723161600, 10):
        window = [records[second] for second in range(start + 1, start + 11)]
        flow.append(sum(r.bid_added - r.bid_removed - r.ask_added + r.ask_removed for r in window) / 1e8)
        move.append((window[-1].mid2_close - window[0].mid2_open) / 2 / TICK)
        bps.append(1e4 * np.log(window[-1].mid2_close / window[0].mid2_open))
        signed.append(sum(record.buy_quote - record.sell_quote for record in window) / 1e16 / 1e6)
    assert len(flow) == 34
    assert round(float(np.corrcoef(flow, move)[0, 1] ** 2), 3) == r2
    assert round(float(np.polyfit(flow, move, 1)[0]), 3) == beta
    assert np.polyfit(signed, bps, 1)[0] == pytest.approx(slope, abs=1e-3)
    assert np.corrcoef(signed, bps)[0, 1] ** 2 == pytest.approx(slope_r2, abs=1e-3)


@pytest.mark.parametrize(
    ("symbol", "flow", "delta", "fills", "bid_rate", "ask_rate", "net", "tfi", "move_bps"),
    [
        ("BTCUSDT", "67.57934", "-13.46354", 1312, 425254.54, 355764.69, 69489.85, -0.415292, -5.1279),
        ("ETHUSDT", "-645.0720", "-444.3309", 1403, 130179.53, 159020.88, -28841.35, -0.485802, -5.5157),
    ],
)
def test_the_last_minute_of_order_flow(symbol, flow, delta, fills, bid_rate, ask_rate, net, tfi, move_bps):
    """[1723161540, 1723161600): flow from the records of 1723161541..1723161600, trades by their own time from the blocks."""
    rows, _, records = spot(symbol)
    window = [records[second] for second in range(1723161541, 1723161601)]
    assert sum(r.bid_added - r.bid_removed - r.ask_added + r.ask_removed for r in window) == e8(flow)
    traded = [t for row in rows for block in row.trades if 1723161540 <= block.second < 1723161600 for t in block.trades]
    signed = sum(-t.quantity_e8 if t.buyer_is_maker else t.quantity_e8 for t in traded)
    assert (signed, sum(t.fills for t in traded)) == (e8(delta), fills)
    assert round(signed / sum(t.quantity_e8 for t in traded), 6) == tfi
    rates = [
        sum((getattr(r, added) + getattr(r, removed)) * r.mid2_close / 2 for r in window) / 10**16 / 60
        for added, removed in (("bid_added", "ask_removed"), ("ask_added", "bid_removed"))
    ]
    assert [round(rate, 2) for rate in (*rates, rates[0] - rates[1])] == pytest.approx([bid_rate, ask_rate, net], abs=0.011)
    assert round(sum(1e4 * np.log(r.mid2_close / r.mid2_open) for r in window), 4) == pytest.approx(move_bps, abs=1e-4)


# Snapshots and trades, second by second ---------------------------------------------------------


@both
def test_every_snapshot_equals_the_expected_twenty_levels_of_its_second(symbol):
    snapshots = {row.second: row.snapshot for row in spot(symbol)[0] if row.snapshot is not None}
    wanted = expected(f"spot_{FILES[symbol]}_top20_1s.csv.gz")
    assert sorted(snapshots) == [int(row["t_ms"]) // 1000 for row in wanted]
    assert len(wanted) == 346
    for row in wanted:
        snapshot = snapshots[int(row["t_ms"]) // 1000]
        assert (snapshot.update_id, snapshot.timestamp * 1000) == (int(row["last_u"]), int(row["t_ms"]))
        for side, got in (("b", snapshot.bids), ("a", snapshot.asks)):
            assert got == tuple((e8(row[f"{side}{n}_p"]), e8(row[f"{side}{n}_q"])) for n in range(20)), row["t_ms"]


@both
def test_every_second_of_trade_time_has_the_expected_sums(symbol):
    blocks: dict[int, list[Trade]] = {}
    for row in spot(symbol)[0]:
        for block in row.trades:
            blocks.setdefault(block.second, []).extend(block.trades)
    wanted = expected(f"spot_{FILES[symbol]}_trades_1s.csv.gz")
    assert sorted(blocks) == [int(row["t_ms"]) // 1000 for row in wanted]
    for row in wanted:
        trades = blocks[int(row["t_ms"]) // 1000]
        prices = [trade.price_e8 for trade in trades]
        bought = sum(trade.quantity_e8 for trade in trades if not trade.buyer_is_maker)
        assert {
            "n": sum(trade.fills for trade in trades),
            "taker_buy_qty": bought,
            "taker_sell_qty": sum(trade.quantity_e8 for trade in trades) - bought,
            "quote_qty": sum(trade.price_e8 * trade.quantity_e8 for trade in trades),
            "open": prices[0],
            "close": prices[-1],
            "high": max(prices),
            "low": min(prices),
            "first_id": trades[0].first_id,
            "last_id": trades[-1].last_id,
        } == {
            "n": int(row["n"]),
            "quote_qty": int(Decimal(row["quote_qty"]) * 10**16),
            **{name: e8(row[name]) for name in ("taker_buy_qty", "taker_sell_qty", "open", "close", "high", "low")},
            "first_id": int(row["first_id"]),
            "last_id": int(row["last_id"]),
        }, row["t_ms"]


@both
def test_records_and_trade_blocks_agree_exactly_by_id_range(symbol):
    """1.1: over an epoch without trade gaps both sources hold the same trades, only cut at other moments."""
    rows, _, records = spot(symbol)
    trades = [trade for row in rows for block in row.trades for trade in block.trades]
    traded = [record for record in records.values() if record.first_id is not None]
    for record in traded:
        inside = [trade for trade in trades if record.first_id <= trade.first_id <= record.last_id]
        assert sum(trade.quantity_e8 for trade in inside) == record.buy_qty + record.sell_qty
        assert sum(trade.fills for trade in inside) == record.n_buy + record.n_sell
    assert all(a.last_id + 1 == b.first_id for a, b in pairwise(traded))


# Other recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("binance_20210404", ["binance_20210404_btc_eth_dot.raw.gz"]),
        ("binance_20211012", ["binance_20211012_4pairs.ws.gz", "binance_20211012_4pairs.http.gz"]),
        ("binanceus_20211012", ["binanceus_20211012_4pairs.ws.gz", "binanceus_20211012_4pairs.http.gz"]),
    ],
)
def test_every_book_of_the_recordings_with_several_symbols_is_bridged_and_ends_as_expected(name, files):
    folder = captures()
    wanted = json.loads((folder / "expected" / f"multi_{name}.json").read_text())
    _, feeds = replayed(*(folder / "multi" / file for file in files))
    assert sorted(feeds) == sorted(wanted)
    for symbol, want in wanted.items():
        feed = feeds[symbol]
        sync, book = feed.sync, feed.sync.book
        assert sync.snapshot_update_id == want["snapshot_lastUpdateId"], symbol
        assert (sync.events_dropped, sync.events_applied) == (want["events_dropped"], want["events_applied"]), symbol
        assert list(sync.first_applied) == want["bracket"], symbol
        assert (feed.gaps, sync.epoch, feed.trades_missing) == (want["gaps"], 1, 0), symbol
        assert [book.update_id, len(book.bids.keys), len(book.asks.keys)] == [want["final_u"], *want["final_levels"]], symbol
        assert list(book.best_bid) == [e8(text) for text in want["final_bid"]], symbol
        assert list(book.best_ask) == [e8(text) for text in want["final_ask"]], symbol
        assert feed.audit.mismatches == 0, symbol


def test_the_parts_of_a_recording_are_merged_by_receive_time():
    """The REST answers stand in a file of their own; they came within the first seconds, and the stream went on."""
    folder = captures() / "multi"
    names = "binance_20211012_4pairs.ws.gz", "binance_20211012_4pairs.http.gz"
    everything = list(Recording([folder / name for name in names]).events())
    stamps = [event.ts_recv_ns for event in everything if not isinstance(event, DepthSnapshot)]
    assert stamps == sorted(stamps)
    answers = [place for place, event in enumerate(everything) if isinstance(event, DepthSnapshot)]
    assert len(answers) == 4
    assert 0 < answers[0] < answers[-1] < len(everything) // 2


def test_fills_are_one_trade_only_if_ids_follow_and_time_price_and_side_are_equal(tmp_path):
    """Fills 1 and 2 close up. Then each differs from the one before in one thing: id, side, price, time."""
    fills = [(1, 50, "100", True), (2, 50, "100", True), (4, 50, "100", True), (5, 50, "100", False)]
    fills += [(6, 50, "101", False), (7, 51, "101", False)]
    line = (
        '{} {{"stream":"btcusdt@trade","data":{{"e":"trade","E":{}000,"s":"BTCUSDT","t":{},"p":"{}","q":"2","T":{},"m":{}}}}}\n'
    )
    path = tmp_path / "made.jsonl"
    path.write_text(
        "".join(
            line.format(1723161255233114981 + number, 1723161255 + number, number, price, 1723161255000 + at, str(maker).lower())
            for number, at, price, maker in fills
        )
    )
    trades = list(Recording([path]).events())
    assert [(trade.first_id, trade.last_id, trade.quantity_e8 // 10**8) for trade in trades] == [
        *((1, 2, 4), (4, 4, 2), (5, 5, 2), (6, 6, 2), (7, 7, 2)),
    ]
    assert [trade.agg_id for trade in trades] == [1, 2, 3, 4, 5]


def test_a_depth_answer_without_a_symbol_belongs_to_the_symbol_whose_ids_are_nearest(tmp_path):
    diff = '{{"e":"depthUpdate","E":1723161255{:03},"s":"{}","U":{},"u":{},"b":[],"a":[]}}'
    rows = [
        f'{{"stream":"{symbol.lower()}@depth@100ms","data":{diff.format(n, symbol, number, number)}}}'
        for n, (symbol, number) in enumerate((("AAAUSDT", 5000), ("BBBUSDT", 900), ("CCCUSDT", 100)))
    ]
    rows.append('{"lastUpdateId":890,"bids":[["1","1"]],"asks":[]}')
    path = tmp_path / "made.jsonl"
    path.write_text("".join(f"{1723161255233114981 + n} {row}\n" for n, row in enumerate(rows)))
    [answer] = [event for event in Recording([path]).events() if isinstance(event, DepthSnapshot)]
    assert (answer.symbol, answer.update_id, answer.limit) == ("BBBUSDT", 890, 1000)


@both
def test_the_same_recording_gives_the_same_records(symbol):
    again, _ = replayed(captures() / "spot" / f"{FILES[symbol]}.gz")
    assert again == spot(symbol)[0]
