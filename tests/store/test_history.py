"""Records in, records out; merging, retention, holes, digests."""

import random

import msgspec
import numpy as np
import pytest
from tests.store import samples
from tests.store.samples import block, book, incident, record, row, trade

from leadline.core.errors import InvalidRequest, RecordUnreadable, StoreBusy, StoreError, StoreFull, StoreMismatch
from leadline.core.records import SymbolRules, SymbolSecond, TradeBlock, TradeState
from leadline.store.history import History, Hole, slices
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine

T = 1_799_999_990  # ten seconds before 1,800,000,000


def store(history: History, *rows: SymbolSecond) -> None:
    assert history.write(rows) == []


def test_a_written_second_is_read_back_in_every_shape(history):
    store(history, *(row(T + i, trades=(block(T + i, i),)) for i in range(20)))
    assert history.snapshots("BTCUSDT", T + 5, T + 15).rows == [book(T + i) for i in range(5, 15)]
    assert history.seconds("BTCUSDT", T + 5, T + 15).rows == [record(T + i) for i in range(5, 15)]
    assert history.trades("BTCUSDT", T + 5, T + 15).rows == [block(T + i, i) for i in range(5, 15)]
    assert history.snapshot("BTCUSDT", T + 3) == book(T + 3)
    assert history.snapshot("BTCUSDT", T + 20) is None
    columns = history.snapshot_columns("BTCUSDT", T + 5, T + 15)
    assert columns.seconds.tolist() == list(range(T + 5, T + 15))
    assert columns.levels.shape == (10, 2, 20, 2)
    assert columns.levels[0, 1, 1].tolist() == [61837.66, 0.002]
    seconds = history.second_columns("BTCUSDT", T + 5, T + 15, ["t", "epoch"])
    assert seconds.columns["t"].tolist() == seconds.seconds.tolist() == list(range(T + 5, T + 15))
    assert history.last_trade("BTCUSDT") == trade(19, T + 19)


def test_the_specifications_get_and_put_carry_its_bytes(history):
    value = msgspec.msgpack.encode([[["61837.64", "5"]], [], 300, T])
    history.put("BTCUSDT", T, value)
    assert history.get("BTCUSDT", T) == value
    assert history.get("BTCUSDT", T + 1) is None
    assert history.snapshot("BTCUSDT", T).bids == ((6_183_764_000_000, 500_000_000),)
    assert history.symbols() == ["BTCUSDT"]


def test_a_second_without_a_book_leaves_a_record_and_no_snapshot(history):
    empty = samples.BookSnapshot((), (), 5, T + 1)
    store(history, SymbolSecond("BTCUSDT", T, record(T), None, "SYNCING", (), ()))
    store(history, SymbolSecond("BTCUSDT", T + 1, record(T + 1), empty, None, (), ()))
    assert history.snapshots("BTCUSDT", T, T + 9).rows == []
    assert [r.t for r in history.seconds("BTCUSDT", T, T + 9).rows] == [T, T + 1]


def test_a_row_without_a_record_carries_its_trades_and_incidents(history):
    store(history, SymbolSecond("BTCUSDT", T, None, None, "end", (block(T - 1, 4),), (incident(T, 1),)))
    assert history.seconds("BTCUSDT", 0, 10**10).rows == []
    assert history.trades("BTCUSDT", 0, 10**10).rows == [block(T - 1, 4)]
    assert history.incidents("BTCUSDT").rows == [incident(T, 1)]


def test_the_same_second_again_replaces_the_first(history):
    store(history, row(T, n_diff=1))
    store(history, row(T, n_diff=2), row(T, n_diff=3))
    assert [r.n_diff for r in history.seconds("BTCUSDT", T, T + 1).rows] == [3]


def test_the_latest_snapshot_is_the_symbols_own(history):
    store(history, row(T, "BTCUSD"), row(T + 1, "BTCUSDT"), row(T + 5, "BTCUSDT"), row(T + 9, "BTCUSDTX"))
    assert history.latest_snapshot("BTCUSDT") == book(T + 5)
    assert history.latest_snapshot("BTCUSDT", T + 5) == book(T + 5)
    assert history.latest_snapshot("BTCUSDT", T + 4) == book(T + 1)
    assert history.latest_snapshot("BTCUSDT", T) is None
    assert history.latest_snapshot("BTCUSDT", 10**12) == book(T + 5)
    assert history.latest_snapshot("BTCUSDT", 0) is None
    assert history.latest_snapshot("ETHUSDT") is None
    history.put("OLD", 10**9, b"x")
    assert history.latest_snapshot("OLD", 10**9 - 1) is None
    assert (history.first_second("BTCUSDT"), history.last_second("BTCUSDT")) == (T + 1, T + 5)
    assert (history.oldest_second(), history.newest_second()) == (10**9, T + 9)
    assert (history.first_second("ETHUSDT"), history.last_second("ETHUSDT")) == (None, None)


def test_an_empty_store_has_no_ends_and_no_symbols(history):
    assert (history.symbols(), history.oldest_second(), history.newest_second()) == ([], None, None)
    assert history.last_trade("BTCUSDT") is None
    assert history.cut_before(T) == 0
    assert history.cleanup_old_snapshots(60, T) == 0
    assert len(history.snapshot_columns("BTCUSDT", 0, 10**12).levels) == 0


# Merging and failing ----------------------------------------------------------


def test_late_trades_join_their_seconds_block_in_id_order_and_the_worse_state_stays(history):
    store(history, row(T, trades=(block(T, 5, 3),)))
    store(history, row(T + 1, trades=(block(T, 4, 5, state=TradeState.BACKFILLED), block(T + 1, 9))))
    assert history.trades("BTCUSDT", T, T + 2).rows == [block(T, 3, 4, 5, state=TradeState.BACKFILLED), block(T + 1, 9)]
    store(history, row(T + 2, trades=(block(T, 6, state=TradeState.COMPLETE),)))
    assert history.trades("BTCUSDT", T, T + 1).rows == [block(T, 3, 4, 5, 6, state=TradeState.BACKFILLED)]
    store(history, row(T + 3, trades=(block(T, state=TradeState.MISSING),)))
    assert history.trades("BTCUSDT", T, T + 1).rows == [block(T, 3, 4, 5, 6, state=TradeState.MISSING)]


def test_late_trades_join_a_block_that_waits_in_the_same_batch(history):
    store(history, row(T, trades=(block(T, 1), block(T, 2))), row(T + 1, trades=(block(T, 3),)))
    assert history.trades("BTCUSDT", T, T + 1).rows == [block(T, 1, 2, 3)]


def test_trades_of_a_stored_block_that_does_not_decode_are_missing(history):
    store(history, row(T, trades=(block(T, 1),)))
    history.engine.write([("trades", b"BTCUSDT:%d" % T, b"\xc1")])
    store(history, row(T + 1, trades=(block(T, 2),)))
    assert history.trades("BTCUSDT", T, T + 1).rows == [block(T, 2, state=TradeState.MISSING)]


def test_the_last_trade_passes_over_empty_and_unreadable_blocks(history):
    store(history, row(T, trades=(block(T, 7, 8),)), row(T + 1, trades=(block(T + 1, state=TradeState.MISSING),)))
    history.engine.write([("trades", b"BTCUSDT:%d" % (T + 2), b"\xc1")])
    assert history.last_trade("BTCUSDT") == trade(8, T)
    assert history.last_trade("BTCUSD") is None


BAD_ROWS = {
    "a record that is no record": lambda: row(T, spread_tw=object()),
    "a second no key can have": lambda: row(5),
    "a symbol no key can have": lambda: row(T, "BTC:USDT"),
    "a record of another second": lambda: SymbolSecond("BAD", T, record(T + 1), book(T), None, (), ()),
    "a snapshot of another second": lambda: SymbolSecond("BAD", T, record(T), book(T - 1), None, (), ()),
    "21 levels": lambda: SymbolSecond("BAD", T, record(T), book(T, levels=21), None, (), ()),
    "a bad trade": lambda: row(T, "BAD", trades=(TradeBlock("BAD", T, TradeState.COMPLETE, (None,)),)),  # type: ignore[arg-type]
    "incident 1000": lambda: SymbolSecond("BAD", T, record(T), book(T), None, (block(T, 1),), (incident(T, 1000),)),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_row_that_cannot_be_encoded_comes_back_and_costs_no_other(history, bad):
    failing = BAD_ROWS[bad]()
    ((returned, error),) = history.write([row(T, "ETHUSDT"), failing, row(T, "SOLUSDT")], [incident(T, 0, "*")])
    assert returned is failing
    assert isinstance(error, Exception)
    assert history.symbols() == ["ETHUSDT", "SOLUSDT"]
    assert [history.snapshot(symbol, T) for symbol in history.symbols()] == [book(T)] * 2
    assert history.incidents("*").rows == [incident(T, 0, "*")]
    assert history.trades("BAD", T, T + 1).rows == history.seconds("BAD", T, T + 1).rows == []


def test_a_store_that_is_full_fails_the_whole_batch():
    class Full(MemoryEngine):
        def write(self, puts, deletes=(), *, sync=True):
            raise StoreFull("s", "No space left on device")

    with pytest.raises(StoreFull):
        History(Full(), "s").write([row(T)])


def test_a_store_that_cannot_be_read_now_fails_the_batch_and_blames_no_row():
    class Busy(MemoryEngine):
        def get(self, family, key):
            if family == "trades":
                raise StoreBusy("s", "Write stall")
            return super().get(family, key)

    history = History(Busy(), "s")
    with pytest.raises(StoreBusy):
        history.write([row(T, trades=(block(T, 1),))])
    assert history.seconds("BTCUSDT", 0, 10**11).rows == []


def test_a_batch_reaches_the_engine_in_one_synced_write():
    class Counting(MemoryEngine):
        def __init__(self):
            super().__init__()
            self.writes = []

        def write(self, puts, deletes=(), *, sync=True):
            self.writes.append((sorted({family for family, _, _ in puts}), len(puts), sync))
            super().write(puts, deletes, sync=sync)

    engine = Counting()
    history = History(engine, "s")
    history.write([row(T, s, trades=(block(T, 1, symbol=s),)) for s in ("A", "B")], [incident(T)])
    history.write([row(T + 1, s) for s in ("A", "B")])
    history.write([])
    everything = ["incidents", "meta", "seconds", "snapshots", "trades"]
    assert engine.writes == [(everything, 8, True), (["seconds", "snapshots"], 4, True)]


# Holes ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["snapshots", "seconds", "trades"])
def test_one_bad_value_of_3600_is_one_hole_and_3599_rows(family):
    engine = MemoryEngine()
    history = History(engine, "s")
    store(history, *(row(T + i, trades=(block(T + i, i),)) for i in range(3_600)))
    engine.write([(family, b"BTCUSDT:%d" % (T + 1_234), b"\x00garbage")])
    windows = {
        "snapshots": lambda: (history.snapshots("BTCUSDT", T, T + 3_600), history.snapshot_columns("BTCUSDT", T, T + 3_600)),
        "seconds": lambda: (
            history.seconds("BTCUSDT", T, T + 3_600),
            history.second_columns("BTCUSDT", T, T + 3_600, ["t", "depth_ask"]),
        ),
        "trades": lambda: (history.trades("BTCUSDT", T, T + 3_600), None),
    }
    rows, columns = windows[family]()
    assert len(rows.rows) == 3_599
    for answer in filter(None, (rows, columns)):
        (hole,) = answer.unreadable
        assert isinstance(hole, Hole)
        assert (hole.lo_s, hole.hi_s, hole.cause) == (T + 1_234, T + 1_235, "unreadable")
    if columns is not None:
        assert columns.seconds.tolist() == [T + i for i in range(3_600) if i != 1_234]
        data = columns.levels if family == "snapshots" else columns.columns["t"]
        assert len(data) == 3_599


def test_a_point_read_of_a_bad_value_names_family_and_key(history):
    history.put("BTCUSDT", T, b"\xc1")
    for read in (lambda: history.snapshot("BTCUSDT", T), lambda: history.latest_snapshot("BTCUSDT")):
        with pytest.raises(RecordUnreadable) as caught:
            read()
        assert (caught.value.family, caught.value.key) == ("snapshots", f"BTCUSDT:{T}")


def test_an_unreadable_incident_is_a_hole(history):
    store(history, SymbolSecond("BTCUSDT", T, record(T), None, "x", (), (incident(T, 0), incident(T, 1))))
    history.engine.write([("incidents", b"BTCUSDT:%d:000" % T, b"\xc1")])
    window = history.incidents("BTCUSDT")
    assert window.rows == [incident(T, 1)]
    assert [(h.lo_s, h.hi_s, h.cause) for h in window.unreadable] == [(T, T + 1, "unreadable")]


def test_an_unknown_column_is_the_callers_mistake(history):
    with pytest.raises(InvalidRequest, match="minute, nonsense"):
        history.second_columns("BTCUSDT", T, T + 1, ["t", "nonsense", "minute"])


# Incidents and meta -----------------------------------------------------------


def test_an_incident_is_written_open_and_closed_under_the_same_key(history):
    history.write([], [incident(T, 0), incident(T, 1), incident(T, 0, "*"), incident(T, 0, "BTCUSD")])
    history.write([], [incident(T, 0, end_ms=T * 1000 + 5)])
    assert history.incidents("BTCUSDT").rows == [incident(T, 0, end_ms=T * 1000 + 5), incident(T, 1)]
    assert history.incidents("*").rows == [incident(T, 0, "*")]


def test_a_store_belongs_to_the_origin_that_opened_it_first(history):
    history.open_for("stream.binance.com", T)
    history.open_for("stream.binance.com", T + 99)
    assert [history.meta(name) for name in ("format", "created", "origin")] == [1, T, "stream.binance.com"]
    with pytest.raises(StoreMismatch, match=r"holds data of stream\.binance\.com, not of synthetic:7"):
        history.open_for("synthetic:7", T)


def test_a_newer_format_is_not_opened_for_writing(history):
    history.open_for("a", T)
    history.set_meta({"format": 2})
    with pytest.raises(StoreMismatch, match="format 2 is newer than format 1"):
        history.open_for("a", T)


def test_meta_keeps_plain_values_and_rules(history):
    rules = SymbolRules("BTCUSDT", "TRADING", "BTC", "USDT", 1_000_000, 1_000, T, inferred=True)
    history.set_rules(rules)
    history.set_meta({"clean_shutdown": True, "banned_until": T})
    assert history.rules("BTCUSDT") == rules
    assert history.rules("ETHUSDT") is None
    assert (history.meta("clean_shutdown"), history.meta("banned_until"), history.meta("nothing")) == (True, T, None)


def test_meta_of_another_shape_is_unreadable(history):
    history.set_meta({"rules:BTCUSDT": 5})
    with pytest.raises(RecordUnreadable, match="rules:BTCUSDT"):
        history.rules("BTCUSDT")


# Retention --------------------------------------------------------------------


def test_a_cut_takes_what_is_older_of_every_symbol_and_nothing_else(history):
    symbols = ("ABC", "ABC1", "ABCX", "AB")
    for symbol in symbols:
        store(history, *(row(T + i, symbol, trades=(block(T + i, i, symbol=symbol),)) for i in range(20)))
        history.write([], [incident(T + i, 0, symbol) for i in range(20)])
    history.write([], [incident(T, 0, "*"), incident(T + 9, 0, "*")])
    assert history.cut_before(T + 12, T + 5) == 12 * 4
    for symbol in symbols:
        for window in (history.snapshots, history.seconds, history.trades):
            assert len(window(symbol, 0, 10**11).rows) == 8
        assert history.first_second(symbol) == T + 12
        assert [i.second for i in history.incidents(symbol).rows] == list(range(T + 5, T + 20))
        assert history.meta(f"cut:{symbol}") == T + 12
    assert [i.second for i in history.incidents("*").rows] == [T + 9]
    assert history.oldest_second() == T + 12
    assert history.symbols() == sorted(symbols)
    assert history.cut_before(T + 12) == 0
    history.compact()
    assert history.oldest_second() == T + 12


def test_a_symbol_that_was_never_named_is_not_cut(history):
    store(history, row(T, "BTCUSDT"))
    history.engine.write([("snapshots", b"BTCUSD:%d" % T, b"x"), ("snapshots", b"BTCUSDTX:%d" % T, b"x")])
    history.cut_before(T + 1)
    assert [key for key, _ in history.engine.scan("snapshots", b"", b"\xff").rows] == [b"BTCUSD:%d" % T, b"BTCUSDTX:%d" % T]


def test_the_specifications_cleanup_counts_and_deletes_old_snapshots_only(history):
    for symbol in ("BTC", "BTC1"):
        store(history, *(row(T + i, symbol) for i in range(20)))
    assert history.cleanup_old_snapshots(retention_s=5, now_s=T + 19) == 14 * 2
    for symbol in ("BTC", "BTC1"):
        assert [s.timestamp for s in history.snapshots(symbol, 0, 10**11).rows] == list(range(T + 14, T + 20))
        assert len(history.seconds(symbol, 0, 10**11).rows) == 20
    assert history.cleanup_old_snapshots(retention_s=5, now_s=T + 19) == 0


# Digest -----------------------------------------------------------------------


def test_equal_content_has_an_equal_digest_whatever_the_order_and_the_engine(tmp_path):
    rows = [row(T + i, s, trades=(block(T + i - 1, i, symbol=s),)) for i in range(30) for s in ("A", "A1", "B")]
    digests = set()
    for seed, engine in enumerate((MemoryEngine(), MemoryEngine(), RocksEngine(tmp_path / "db"))):
        history = History(engine, "s")
        history.open_for("synthetic:1", T)
        shuffled = random.Random(seed).sample(rows, len(rows))
        for i in range(0, len(rows), 10):
            assert history.write(shuffled[i : i + 10]) == []
        digests.add(history.digest())
        engine.close()
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.write([("snapshots", b"A:%d" % T, b"another")]),
        lambda e: e.write([("trades", b"A:%d" % (T + 1), b"more")]),
        lambda e: e.write([("meta", b"z", b"")]),
        lambda e: e.write([], [("incidents", b"", b"\xff")]),
        lambda e: e.write([("seconds", b"xy", b"z")], [("seconds", b"x", b"y")]),
    ],
)
def test_any_other_content_has_another_digest(change):
    engine = MemoryEngine()
    history = History(engine, "s")
    history.write([row(T, "A")], [incident(T)])
    engine.write([("seconds", b"x", b"yz")])
    before = history.digest()
    change(engine)
    assert history.digest() != before


def test_the_same_row_in_another_family_has_another_digest():
    digests = set()
    for family in ("snapshots", "seconds", "trades", "incidents", "meta"):
        engine = MemoryEngine()
        engine.write([(family, b"k", b"v")])
        digests.add(History(engine, "s").digest())
    assert len(digests) == 5


def test_a_digest_walks_over_more_than_one_page():
    digests = []
    for last in (b"a", b"b"):
        engine = MemoryEngine()
        engine.write([("seconds", b"X:%010d" % i, b"v") for i in range(8_192)] + [("seconds", b"Y", last)])
        digests.append(History(engine, "s").digest())
    assert digests[0] != digests[1]


def test_slices_cover_the_window_once():
    assert list(slices(0, 10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(slices(5, 5, 4)) == []


def test_a_closed_store_says_so(history):
    history.engine.close()
    with pytest.raises(StoreError, match="is closed"):
        history.write([row(T)])


def test_columns_of_an_empty_window_have_their_shapes(history):
    columns = history.second_columns("BTCUSDT", T, T + 9, ["t", "depth_bid"]).columns
    assert columns["t"].shape == (0,)
    assert columns["depth_bid"].shape == (0, 6)
    assert np.isnan(columns["depth_bid"]).sum() == 0
