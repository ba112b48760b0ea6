"""Exported rows against values worked out by hand from the records in the store."""

import csv
import io
import json
import logging
from typing import Any

import pytest
from msgspec import structs
from tests.store import samples

from leadline import export
from leadline.core.errors import InvalidRequest
from leadline.core.records import BookSnapshot, SymbolSecond, Trade, TradeBlock, TradeState
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

T = 1_723_161_240
MINUTE_T = T + 60
BTC = "BTCUSDT"

# The table of docs/records.md, spelled out once more: name -> text in the CSV for samples.record(T).
SECONDS = {
    "v": "1", "t": str(T), "state": "LIVE", "reason": "", "epoch": "3", "live_ms": "1000", "flags": "68",
    "update_id": "50000000001", "event_ms": f"{T}000"[:-3] + "000", "recv_ms": "", "sample_ms": f"{T}001",
    "known_bid": "60000.00000001", "known_ask": "", "n_diff": "10", "n_ids": "301", "n_levels": "402", "n_bbo": "53",
    "ofi_source": "event", "bid_added": "0.00000104", "bid_removed": "0.00000105", "ask_added": "0.00000106",
    "ask_removed": "0.00000107",
    **{f"ofi_diff_{i}": f"{'-' if i % 2 == 0 else ''}0.0000000{i + 1}" for i in range(9)}, "ofi_diff_9": "0.0000001",
    "ofi_top20": "-0.00000108",
    "mid2_open": "123675.29000001", "mid2_high": "123675.29000004", "mid2_low": "123675.29", "mid2_close": "123675.29000003",
    "mid_sq": "0.25", "spread_tw": "0.010000005", "spread_max": "0.02",
    "buy_qty": "0.00000111", "sell_qty": "0.00000112", "buy_quote": "927564.75", "sell_quote": "0.0000000000000001",
    "n_buy": "13", "n_sell": "14", "n_batches": "15", "first_id": "901", "last_id": "927",
    "px_first": "61837.64000001", "px_last": "61837.64000002", "px_high": "61837.64000004", "px_low": "61837.64",
    "max_batch_quote": "5", "trade_state": "COMPLETE",
    **{f"depth_bid_{i}": str(i + 1) for i in range(5)}, "depth_bid_5": "",
    **{f"depth_ask_{i}": str(i + 6) for i in range(5)}, "depth_ask_5": "",
    **{f"depth_min_bid_{i}": f"0.000000000000000{i + 1}" for i in range(5)}, "depth_min_bid_5": "",
    **{f"depth_min_ask_{i}": f"0.000000000000000{i + 6}" for i in range(4)}, "depth_min_ask_4": "0.000000000000001",
    "depth_min_ask_5": "", "n_eval": "11",
    **{f"cost_buy_{i}": text for i, text in enumerate(["0.25", "0.5", "0.75", "1.0", "1.25", ""])},
    **{f"cost_sell_{i}": text for i, text in enumerate(["2.25", "2.5", "2.75", "3.0", "", ""])},
    **{f"fill_buy_{i}": text for i, text in enumerate(["", "", "", "", "", "77"])},
    **{f"fill_sell_{i}": text for i, text in enumerate(["", "", "", "", "88", "99"])},
    "n_large_bid": "1", "n_large_ask": "2", "large_bid_quote": "1.2", "large_ask_quote": "1.3",
    "n_sweeps": "3", "n_excess": "4", "excess_quote": "1.4",
    "level_events": '[["large","BID","0.00000201","0.00000202","0.00000203","0.00000204",205,206,7.5]]',
    "level_events_dropped": "6",
    "minute_samples": "",
    **{f"minute_density_{side}_{i}": "" for side in ("bid", "ask") for i in range(100)},
    **{f"minute_size_{q}_{i}": "" for q in ("p95", "p99") for i in range(6)},
}  # fmt: skip
SECONDS |= {"event_ms": str(T * 1000 - 11), "recv_ms": str(T * 1000 - 10)}

LEVELS = range(20)
SNAPSHOTS = "timestamp,update_id," + ",".join(
    [f"b{i}_{part}" for i in LEVELS for part in "pq"] + [f"a{i}_{part}" for i in LEVELS for part in "pq"]
)


def store(*rows: SymbolSecond) -> History:
    history = History(MemoryEngine(), "the test's store")
    history.write(rows)
    return history


def exported(
    history: History, what: str, symbol: str = BTC, start: float | None = None, end: float | None = None, form: str = "csv"
) -> str:
    out = io.StringIO()
    count = export.write(history, what, symbol, start_s=start, end_s=end, form=form, out=out, advance=lambda done: None)
    lines = out.getvalue().splitlines()
    assert count == len(lines) - (form == "csv")
    return out.getvalue()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def trade_at(agg_id: int, ms: int, **changes: Any) -> Trade:
    return structs.replace(samples.trade(agg_id, T, ms=ms), **changes)


# Snapshots -----------------------------------------------------------------------------


def test_snapshots_have_eighty_two_columns_of_exact_decimals_and_missing_levels_are_empty():
    thin = BookSnapshot(((150_000_000, 5),), ((2 * 10**16, 10**8), (3 * 10**16, 123_000_000)), 9, T)
    lines = exported(store(structs.replace(samples.row(T), snapshot=thin)), "snapshots").splitlines()
    assert lines[0] == SNAPSHOTS
    assert lines[1:] == [f"{T},9,1.5,0.00000005" + "," * 38 + ",200000000,1,300000000,1.23" + "," * 36]


def test_a_full_snapshot_has_its_best_levels_first():
    (row,) = table(exported(store(samples.row(T)), "snapshots"))
    assert (row["b0_p"], row["b0_q"], row["b19_p"], row["b19_q"]) == ("61837.64", "0.001", "61837.45", "0.02")
    assert (row["a0_p"], row["a0_q"], row["a19_p"], row["a19_q"]) == ("61837.65", "0.001", "61837.84", "0.02")


def test_snapshots_as_json_lines_have_the_same_names_and_null_for_missing_levels():
    thin = BookSnapshot(((150_000_000, 5),), (), 9, T)
    (line,) = exported(store(structs.replace(samples.row(T), snapshot=thin)), "snapshots", form="jsonl").splitlines()
    row = json.loads(line)
    assert list(row) == SNAPSHOTS.split(",")
    assert (row["timestamp"], row["b0_p"], row["b1_p"], row["a0_p"]) == (T, "1.5", None, None)


# Seconds --------------------------------------------------------------------------------


def test_seconds_have_the_names_of_the_document_and_the_units_of_each():
    (row,) = table(exported(store(samples.row(T)), "seconds"))
    assert list(row) == list(SECONDS)
    assert row == SECONDS


def test_a_minute_block_fills_its_columns():
    (row,) = table(exported(store(samples.row(MINUTE_T, minute=samples.MINUTE)), "seconds"))
    assert (row["minute_samples"], row["minute_density_bid_0"], row["minute_density_bid_1"]) == ("60", "1.5", "")
    assert (row["minute_density_ask_0"], row["minute_size_p95_0"], row["minute_size_p99_0"]) == ("2.5", "3.5", "4.5")


def test_every_row_of_seconds_is_as_wide_as_its_header_whatever_is_null():
    nothing = dict.fromkeys(["epoch", "update_id", "ofi_diff", "ofi_top20", "mid_sq", "spread_tw", "known_bid", "px_low"])
    rows = [samples.row(T), samples.row(T + 1, **nothing), samples.row(MINUTE_T, minute=samples.MINUTE)]
    lines = list(csv.reader(io.StringIO(exported(store(*rows), "seconds"))))
    assert {len(line) for line in lines} == {len(SECONDS)}
    second = dict(zip(lines[0], lines[2], strict=True))
    assert {second[name] for name in ("epoch", "ofi_diff_0", "ofi_diff_9", "mid_sq", "spread_tw", "px_low")} == {""}


def test_seconds_as_json_lines_keep_arrays_and_nulls():
    (line,) = exported(store(samples.row(T, minute=samples.MINUTE)), "seconds", form="jsonl").splitlines()
    row = json.loads(line)
    assert (row["t"], row["known_bid"], row["known_ask"], row["n_diff"]) == (T, "60000.00000001", None, 10)
    assert row["depth_bid"] == ["1", "2", "3", "4", "5", None]
    assert row["cost_buy"] == [0.25, 0.5, 0.75, 1.0, 1.25, None]
    assert row["minute"]["density_bid"] == [1.5, None]


# Trades ----------------------------------------------------------------------------------


def test_trades_carry_the_exchanges_fields_in_its_meaning():
    """`m`: the buyer was the maker. `T` in ms, and its rest where the exchange gave microseconds."""
    sold = trade_at(7, 5)
    bought = structs.replace(trade_at(8, 6, buyer_is_maker=False, price_e8=10**8), ts_trade_ns=(T * 1000 + 6) * 10**6 + 250_000)
    history = store(samples.row(T, trades=(TradeBlock(BTC, T, TradeState.COMPLETE, (sold, bought)),)))
    assert exported(history, "trades").splitlines() == [
        "a,p,q,f,l,T,m",
        f"7,61837.64,0.001,70,71,{T}005,true",
        f"8,1,0.001,80,81,{T}006.25,false",
    ]
    first = json.loads(exported(history, "trades", form="jsonl").splitlines()[0])
    assert first == {"a": 7, "p": "61837.64", "q": "0.001", "f": 70, "l": 71, "T": T * 1000 + 5, "m": True}


def test_the_bounds_of_trades_are_half_open_to_the_millisecond():
    trades = tuple(trade_at(ms, ms) for ms in range(1000))
    history = store(samples.row(T, trades=(TradeBlock(BTC, T, TradeState.COMPLETE, trades),)))
    for ms in range(0, 1000, 7):
        start, end = float(f"{T}.{ms:03d}"), float(f"{T}.{min(ms + 3, 999):03d}")
        found = [int(row["a"]) for row in table(exported(history, "trades", start=start, end=end))]
        assert found == list(range(ms, min(ms + 3, 999))), ms


# Incidents ---------------------------------------------------------------------------------


def test_incidents_name_what_was_lost_and_an_open_end_is_empty():
    history = store()
    history.write([], [samples.incident(T), samples.incident(T, 1, "*", end_ms=T * 1000 + 500)])
    columns = "symbol,second,n,kind,start_ms,end_ms,epoch_before,epoch_after,cause,detail"
    assert exported(history, "incidents").splitlines() == [columns, f"BTCUSDT,{T},0,gap,{T}000,,3,,gap,U 12 after u 9"]
    (service,) = table(exported(history, "incidents", "*"))
    assert (service["symbol"], service["end_ms"]) == ("*", f"{T}500")


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(None, None, [0, 5, 20]), (T + 11, None, [5, 20]), (None, T + 5, [0]), (T + 15, T + 20, [5]), (T + 20, T + 21, [5, 20])],
)
def test_incidents_of_a_window_are_those_that_touch_it(start: float | None, end: float | None, found: list[int]):
    """[T, T+10], [T+5, open) and [T+20, T+30]."""
    history = store()
    history.write([], [samples.incident(T, end_ms=(T + 10) * 1000), samples.incident(T + 5)])
    history.write([], [samples.incident(T + 20, end_ms=(T + 30) * 1000)])
    assert [int(row["second"]) - T for row in table(exported(history, "incidents", start=start, end=end))] == found


# Windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["snapshots", "seconds", "trades"])
@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (None, None, range(10)),
        (T + 2, T + 5, range(2, 5)),
        (T + 2.5, T + 4.5, range(3, 5)),
        (T - 100, T + 100, range(10)),
        (T + 5, T + 5, range(0)),
        (T + 9, T + 5, range(0)),
        (T + 10, None, range(0)),
        (0, T, range(0)),
    ],
)
def test_every_window_is_half_open(what: str, start: float | None, end: float | None, found: range):
    history = store(*(samples.row(T + i, trades=(samples.block(T + i, i),)) for i in range(10)))
    key = {"snapshots": "timestamp", "seconds": "t", "trades": "a"}[what]
    rows = [int(row[key]) for row in table(exported(history, what, start=start, end=end))]
    assert rows == [i if what == "trades" else T + i for i in found]


def test_a_window_longer_than_a_slice_loses_and_doubles_nothing():
    seconds = [T + i for i in (0, 1, export.SLICE_S - 1, export.SLICE_S, export.SLICE_S + 1, 3 * export.SLICE_S)]
    text = exported(store(*(samples.row(second) for second in seconds)), "snapshots")
    assert [int(row["timestamp"]) for row in table(text)] == seconds


def test_a_neighbour_whose_name_begins_alike_is_not_exported():
    history = store(samples.row(T), samples.row(T + 1, "BTCUSDC"), samples.row(T + 2, "BTCUSD"))
    assert [row["timestamp"] for row in table(exported(history, "snapshots", "BTCUSD"))] == [str(T + 2)]


@pytest.mark.parametrize("what", export.KINDS)
def test_a_symbol_without_rows_is_a_header(what: str):
    assert len(exported(store(), what).splitlines()) == 1
    assert exported(store(), what, form="jsonl") == ""


def test_a_row_that_cannot_be_read_is_told_and_the_others_are_exported(caplog: pytest.LogCaptureFixture):
    history = store(samples.row(T), samples.row(T + 2))
    history.engine.write([("snapshots", f"{BTC}:{T + 1}".encode(), b"\xff")])
    assert [row["timestamp"] for row in table(exported(history, "snapshots"))] == [str(T), str(T + 2)]
    (record,) = caplog.records
    fields = vars(record)
    assert (record.levelno, record.getMessage(), fields["from"], fields["to"]) == (logging.ERROR, "rows_unreadable", T + 1, T + 2)


@pytest.mark.parametrize(
    ("what", "form", "field"), [("snap", "csv", "--what"), ("trades", "xml", "--format"), ("", "csv", "--what")]
)
def test_a_kind_or_format_that_is_none_is_refused_with_its_field(what: str, form: str, field: str):
    with pytest.raises(InvalidRequest) as caught:
        export.check(what, form)
    assert caught.value.field == field
