"""Pictures: the arrays that are drawn against values worked out by hand or by plain loops over the records; then the files."""

import io
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from msgspec import structs
from tests.captures import captures
from tests.store import samples

from leadline import app as house
from leadline import cli, plot
from leadline.config import Settings
from leadline.core.errors import BookNotLive, InvalidRequest, NotEnoughData
from leadline.core.records import BookSnapshot, BookState, Flag, SymbolRules, SymbolSecond, Trade, TradeBlock, TradeState
from leadline.core.units import E8, E16
from leadline.plot import series, sheet
from leadline.service import queries
from leadline.store.history import History
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine

T = 1_723_161_240  # 2024-08-08 23:54:00 UTC
BTC = "BTCUSDT"
NAN = float("nan")


def history_of(*rows: SymbolSecond, incidents: Sequence = ()) -> History:
    history = History(MemoryEngine(), "the test's store")
    history.open_for("test", T)
    history.write(rows, incidents)
    return history


def second(t: int, *trades: Trade, **changes: object) -> SymbolSecond:
    """Clean, mid 100, one epoch; by hand: pressure (3 + 5) 100 = 800 for buyers, (2 + 1) 100 = 300 for sellers."""
    plain = {
        "flags": 0, "epoch": 3, "mid2_open": 200 * E8, "mid2_close": 200 * E8, "bid_added": 3 * E8, "bid_removed": 1 * E8,
        "ask_added": 2 * E8, "ask_removed": 5 * E8,
    }  # fmt: skip
    blocks = (TradeBlock(BTC, t, TradeState.COMPLETE, trades),) if trades else ()
    return samples.row(t, trades=blocks, **(plain | changes))


def lost(t: int, reason: str, **changes: object) -> SymbolSecond:
    """A record of a second without a live book."""
    without = {"state": BookState.SYNCING, "reason": reason, "update_id": None, "mid2_close": None, "bid_added": None}
    row = second(t, **(without | {"depth_bid": [None] * 6, "depth_ask": [None] * 6} | changes))
    return structs.replace(row, snapshot=None, skipped="book not live")


def trade(n: int, t: int, quantity: int, *, sold: bool = False, price: int = 100) -> Trade:
    """The n-th fill, alone in its aggregate."""
    return Trade(BTC, n, price * E8, quantity * E8, n, n, t * 10**9, sold)


def same(found: np.ndarray, wanted: Sequence[float]) -> None:
    np.testing.assert_allclose(found, np.array(wanted, float), rtol=1e-12, atol=0)


# Flow ---------------------------------------------------------------------------------------


def test_mid_and_pressure_are_those_of_clean_records_and_all_others_are_gaps():
    """T+1 has no book, T+2 is flagged, T+3 was never stored, T+4 is another epoch at mid 200: its pressure is twice as much."""
    history = history_of(
        second(T),
        lost(T + 1, "gap"),
        second(T + 2, flags=int(Flag.PARTIAL | Flag.RESYNC | Flag.RANGE), epoch=4),
        second(T + 4, epoch=5, mid2_close=400 * E8),
        second(T + 5, epoch=5, flags=int(Flag.RANGE | Flag.TRADES_LATE)),
    )
    found = series.flow_series(history, BTC, T, T + 6)
    assert found.ticks.tolist() == list(range(T, T + 6))
    same(found.mid, [100, NAN, NAN, NAN, 200, 100])
    same(found.bid_rate, [800, NAN, NAN, NAN, 1600, 800])
    same(found.ask_rate, [300, NAN, NAN, NAN, 600, 300])
    same(found.epoch, [3, NAN, NAN, NAN, 5, 5])
    assert (found.clean_s, found.epochs) == (3, 2)


def test_each_gap_carries_its_cause():
    missed = structs.replace(samples.incident(T + 3, symbol="*", end_ms=(T + 3) * 1000), kind="missed_seconds", cause="stalled")
    history = history_of(
        second(T),
        lost(T + 1, "gap"),
        second(T + 2, flags=int(Flag.PARTIAL | Flag.RESYNC | Flag.RANGE), epoch=4),
        second(T + 4, mid2_close=None),
        second(T + 5, flags=int(Flag.AUDIT)),
        second(T + 6, flags=int(Flag.AUDIT)),
        incidents=[missed],
    )
    assert series.flow_series(history, BTC, T, T + 8).blanks == (
        series.Blank(T + 1, T + 2, "gap", False),
        series.Blank(T + 2, T + 3, "flagged PARTIAL, RESYNC", True),
        series.Blank(T + 3, T + 4, "missed_seconds (stalled)", False),
        series.Blank(T + 4, T + 5, "no mid", True),
        series.Blank(T + 5, T + 7, "flagged AUDIT", True),
        series.Blank(T + 7, T + 8, "nothing is stored since", False),
    )


def test_two_stretches_of_one_cause_that_do_not_touch_stay_two():
    history = history_of(second(T, flags=1), second(T + 1), second(T + 2, flags=1))
    found = series.flow_series(history, BTC, T, T + 3).blanks
    assert [(blank.from_s, blank.to_s) for blank in found] == [(T, T + 1), (T + 2, T + 3)]


def test_volume_delta_adds_up_by_trade_time_and_belongs_to_the_tick_that_ends_its_second():
    """Bought 5 in second T, sold 2 in T+1, nothing in T+2; the window of ticks T+1..T+3 begins at moment T."""
    history = history_of(second(T, trade(1, T, 5)), second(T + 1, trade(2, T + 1, 2, sold=True)), second(T + 2), second(T + 3))
    found = series.flow_series(history, BTC, T + 1, T + 4)
    same(found.cvd, [0, 5, 3, 3])
    assert found.anchors == (T,)


def test_volume_delta_goes_through_seconds_without_a_book_where_the_fill_ids_close_up():
    """Bought 5 in T and 1 in T+4, ids 1 and 2: nothing can have traded between, though T+2 and T+3 have no book."""
    rows = [second(T, trade(1, T, 5)), second(T + 1), lost(T + 2, "gap"), lost(T + 3, "gap"), second(T + 4, trade(2, T + 4, 1))]
    found = series.flow_series(history_of(*rows, second(T + 5)), BTC, T + 1, T + 6)
    same(found.mid, [100, NAN, NAN, 100, 100])
    same(found.cvd, [0, 5, 5, 5, 5, 6])


def test_volume_delta_stops_at_a_hole_in_the_fill_ids_and_begins_anew_behind_it():
    """Fill 3 is missing: it traded in second T+1, T+2 or T+3, and nobody knows in which. Bought 1 in T, 8 in T+4."""
    rows = [second(T, trade(1, T, 1)), second(T + 1, trade(2, T + 1, 2)), second(T + 2), second(T + 3, trade(4, T + 3, 4))]
    history = history_of(*rows, second(T + 4, trade(5, T + 4, 8)), second(T + 5))
    found = series.flow_series(history, BTC, T + 1, T + 6)
    same(found.cvd, [0, 1, NAN, NAN, 0, 8])
    assert found.anchors == (T, T + 4)


@pytest.mark.parametrize(("next_id", "wanted"), [(2, [0, 0, 0, 0]), (3, [NAN, NAN, NAN, NAN])])
def test_trades_outside_the_window_prove_it_or_disprove_it(next_id: int, wanted: list[float]):
    """No record of T+1..T+3 tells anything; the trades of T-1 and T+9 do."""
    rows = [lost(T + i, "gap") for i in range(1, 4)]
    history = history_of(second(T - 1, trade(1, T - 1, 1)), *rows, second(T + 9, trade(next_id, T + 9, 1)))
    same(series.flow_series(history, BTC, T + 1, T + 4).cvd, wanted)


def test_the_second_of_the_first_trade_ever_is_not_proven_by_it():
    """Others may have traded in second T before it, and the record of T+1 saw no whole second; between T and T+2 ids prove it."""
    history = history_of(second(T, trade(1, T, 1)), lost(T + 1, "gap"), second(T + 2, trade(2, T + 2, 4)), second(T + 3))
    found = series.flow_series(history, BTC, T + 1, T + 4)
    same(found.cvd, [NAN, 0, 0, 4])
    assert found.anchors == (T + 1,)


def test_where_no_trade_proves_the_end_the_records_must():
    """After the last trade: T+2 clean; T+3 not; T+4 clean, but a hole in the trades is open; T+5 clean."""
    rows = [second(T + 1), second(T + 2), second(T + 3, flags=1), second(T + 4, trade_state=TradeState.MISSING), second(T + 5)]
    history = history_of(second(T, trade(1, T, 1)), *rows)
    found = series.flow_series(history, BTC, T + 1, T + 6)
    same(found.cvd, [0, 1, 1, NAN, 0, 0])
    assert found.anchors == (T, T + 4)


def test_behind_a_block_whose_trades_are_missing_volume_delta_begins_anew():
    """Bought 1 in each of T, T+1, T+2; the block of T+1 says that more is missing there."""
    history = history_of(second(T, trade(1, T, 1)), second(T + 1), second(T + 2, trade(3, T + 2, 1)), second(T + 3))
    block = TradeBlock(BTC, T + 1, TradeState.MISSING, (trade(2, T + 1, 1),))
    history.write([SymbolSecond(BTC, T + 1, None, None, None, (block,), ())])
    found = series.flow_series(history, BTC, T + 1, T + 4)
    same(found.cvd, [0, 1, 0, 1])
    assert found.anchors == (T, T + 2)


def test_a_window_without_any_record_is_refused():
    history = history_of(second(T))
    for read in (series.flow_series, series.depth_series):
        with pytest.raises(NotEnoughData) as caught:
            read(history, BTC, T + 1, T + 9)
        assert (caught.value.have, caught.value.need, caught.value.unit) == (0, 1, "s")


# Depth --------------------------------------------------------------------------------------


def bands(*values: int | None) -> list[int | None]:
    return [None if value is None else value * E16 for value in values]


def test_depth_over_time_has_gaps_where_a_band_is_not_known_and_zeros_where_nothing_rests():
    history = history_of(
        second(T, depth_bid=bands(1, 2, 3, 44, 5, 6), depth_ask=bands(1, 2, 3, 55, 5, 6)),
        second(T + 1, depth_bid=bands(1, 2, 3, None, None, None), depth_ask=bands(1, 2, 3, 56, 5, 6)),
        second(T + 2, depth_bid=bands(0, 0, 0, 0, 5, 6), depth_ask=bands(1, 2, 3, 57, 5, 6)),
        lost(T + 3, "crossed"),
        second(T + 4, flags=int(Flag.PARTIAL), depth_bid=bands(1, 2, 3, 48, 5, 6)),
    )
    found = series.depth_series(history, BTC, T, T + 5)
    same(found.bid, [44, NAN, 0, NAN, NAN])
    same(found.ask, [55, 56, 57, NAN, NAN])
    assert found.blanks == (
        series.Blank(T + 1, T + 2, "a band lies beyond the known range", True),
        series.Blank(T + 3, T + 4, "crossed", False),
        series.Blank(T + 4, T + 5, "flagged PARTIAL", True),
    )


BOOK = BookSnapshot(
    bids=((99 * E8, 2 * E8), (98 * E8, 3 * E8), (97 * E8, 4 * E8)),
    asks=((101 * E8, E8), (102 * E8, 2 * E8)),
    update_id=9,
    timestamp=T,
)


def book_history(snapshot: BookSnapshot = BOOK, **changes: object) -> History:
    return history_of(structs.replace(second(snapshot.timestamp, **changes), snapshot=snapshot))


def test_a_snapshot_is_cumulated_from_the_best_price_outwards():
    """Mid 100, so a price of 99 lies 100 bps away. 198, 198 + 294, 492 + 388; 101, 101 + 204."""
    found = series.book_series(book_history(known_bid=90 * E8, known_ask=None), BTC, T)
    assert (found.second, found.mid) == (T, 100)
    same(found.bids.bps, [100, 200, 300])
    same(found.bids.value, [198, 492, 880])
    same(found.asks.bps, [100, 200])
    same(found.asks.value, [101, 305])
    assert (found.bids.known_bps, found.asks.known_bps) == (1000, None)


def test_levels_beyond_the_known_range_are_left_out_and_counted():
    found = series.book_series(book_history(known_bid=98 * E8, known_ask=None), BTC, T)
    same(found.bids.value, [198, 492])
    assert (found.bids.stored, found.bids.known_bps, found.asks.stored) == (3, 200, 2)


def test_bands_of_the_snapshots_own_record_come_with_it_and_unknown_ones_are_no_zeros():
    history = book_history(known_bid=90 * E8, depth_bid=bands(0, 1, 2, 3, None, None), depth_ask=bands(4, 5, 6, 7, 8, None))
    found = series.book_series(history, BTC, T + 5)
    same(found.band_bid, [0, 1, 2, 3, NAN, NAN])
    same(found.band_ask, [4, 5, 6, 7, 8, NAN])


def test_the_newest_snapshot_before_the_end_of_the_window_is_shown():
    history = history_of(second(T), second(T + 1), second(T + 2), lost(T + 3, "gap"))
    assert series.book_series(history, BTC, T + 1).second == T + 1
    assert series.book_series(history, BTC, T + 3).second == T + 2
    with pytest.raises(BookNotLive):
        series.book_series(history, BTC, T - 1)


def test_a_side_that_is_empty_leaves_no_mid_and_no_distances():
    found = series.book_series(book_history(BookSnapshot(BOOK.bids, (), 9, T)), BTC, T)
    assert (found.mid, len(found.bids.bps), len(found.asks.bps)) == (None, 0, 0)


# Profile ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_hours() -> History:
    """100 trades 70 s apart whose ids close up: prices 100 to 109, quantities 1 to 7, every third one sold."""
    trades = [trade(n, T + 70 * n, 1 + n % 7, sold=n % 3 == 0, price=100 + n % 10) for n in range(100)]
    rows = [second(one.ts_trade_ns // 10**9, one) for one in trades]
    history = history_of(*rows, second(T + 7000))
    history.set_rules(SymbolRules(BTC, "TRADING", "BTC", "USDT", E8, E8, T))
    return history


def asked(history: History, hours: int = 2) -> queries.VolumeProfileAnswer:
    desk = queries.Desk(history, now_ns=lambda: (T + 7000) * 10**9)
    return queries.run(queries.get_volume_profile(desk, BTC, duration_hours=hours))


def test_rows_of_a_profile_hold_what_takers_bought_and_sold_in_them(two_hours: History):
    found = series.profile_series(asked(two_hours))
    trades = [one for block in two_hours.trades(BTC, T, T + 7000).rows for one in block.trades]
    assert len(trades) == 100
    for low, high, buy, sell in zip(found.low, found.high, found.buy, found.sell, strict=True):
        inside = [one for one in trades if low <= one.price_e8 / E8 < high]
        assert buy == sum(one.quantity_e8 for one in inside if not one.buyer_is_maker) / E8
        assert sell == sum(one.quantity_e8 for one in inside if one.buyer_is_maker) / E8
    assert (found.buy + found.sell).sum() == sum(one.quantity_e8 for one in trades) / E8


def test_what_is_not_known_of_the_trades_is_said_with_the_picture(two_hours: History):
    """Two hours end at T+7000, 200 s before the first trade begins; the record of T+7000 speaks for its last second alone."""
    from leadline.plot import by_price

    answer = asked(two_hours)
    state = answer.trade_state
    known = state.complete_s + state.backfilled_s
    assert 6900 < known < 7200 and state.unknown_s == 7200 - known - state.missing_s
    said = by_price.missing(answer)
    assert (
        said.startswith(f"All trades are known for {known:,} of 7,200 s (") and f"nothing is known of {state.unknown_s} s" in said
    )
    whole = structs.replace(answer.envelope, coverage=structs.replace(answer.envelope.coverage, live_s=7200))
    assert by_price.missing(structs.replace(answer, envelope=whole)) == ""


def test_a_share_that_is_not_all_does_not_look_like_all():
    assert [sheet.share(ratio) for ratio in (1.0, 0.99999, 0.5, 0.0)] == ["100 %", "99.99 %", "50 %", "0 %"]


def test_the_price_path_of_a_short_window_has_every_second_and_its_gaps():
    history = history_of(second(T), second(T + 1), lost(T + 2, "gap"), second(T + 3, epoch=4, mid2_close=202 * E8))
    found = series.price_path(history, BTC, T - 3600, T + 3)
    assert (found.step_s, found.ticks.tolist()) == (1, [T, T + 1, T + 2, T + 3])
    same(found.mid, [100, 100, NAN, 101])
    same(found.epoch, [3, 3, NAN, 4])


def test_the_price_path_of_a_long_window_has_few_points_on_whole_steps(two_hours: History):
    """7,000 s at 5 s are 1,400 points. Records stand at T + 70 n, which are multiples of 10, and at T + 7000."""
    found = series.price_path(two_hours, BTC, T - 1, T + 7000)
    assert (found.step_s, int(found.ticks[0]), int(found.ticks[-1])) == (5, T, T + 7000)
    assert found.ticks[~np.isnan(found.mid)].tolist() == [T + 70 * n for n in range(101)]


# Lines and bars -----------------------------------------------------------------------------


def test_no_line_joins_two_epochs():
    x, y = series.broken(np.arange(5), np.array([1.0, 2, 3, NAN, 5]), np.array([1.0, 1, 2, NAN, 3]))
    same(x, [0, 1, NAN, 2, 3, 4])
    same(y, [1, 2, NAN, 3, NAN, 5])


def test_a_point_without_a_neighbour_is_found():
    assert series.lone(np.array([1, NAN, 2, 3, NAN, 4])).tolist() == [True, False, False, False, False, True]


def test_a_bar_is_the_mean_of_the_seconds_that_are_there():
    same(series.binned(np.array([1, NAN, 3, NAN, NAN, NAN, 7]), 3), [2, NAN, 7])


def test_bins_begin_a_second_before_their_first_tick_and_the_last_may_be_short():
    same(series.bin_edges(np.arange(T, T + 7), 3), [T - 1, T + 2, T + 5, T + 6])
    assert [series.bin_width(n) for n in (1, 720, 721, 86_400)] == [1, 1, 2, 120]


def test_a_bin_with_parts_of_two_runs_belongs_to_none():
    same(series.binned_run(np.array([1, 1, 1, NAN, 1, 2, NAN, NAN, 2]), 2), [1, 1, NAN, NAN, 2])


def test_causes_are_numbered_once_and_counted():
    blanks = [series.Blank(1, 4, "gap", False), series.Blank(4, 5, "flagged PARTIAL", True), series.Blank(9, 10, "gap", False)]
    numbers, why = sheet.causes(blanks, "Gaps")
    assert numbers == {("gap", False): 1, ("flagged PARTIAL", True): 2}
    assert why.replace("\u00a0", " ") == "Gaps: [1] no live book: gap, 4 s in 2 stretches; [2] live, but flagged PARTIAL, 1 s."


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (-0.0, "0"), (1234567.0, "1,234,567"), (-0.25, "−0.25"), (0.1 + 0.2, "0.3")]
)
def test_numbers_have_thousands_separators_and_no_idle_decimals(value: float, text: str):
    assert sheet.plain(value) == text


# A recording --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    data = tmp_path_factory.mktemp("plot") / "eth"
    house.replay(house.open_recording([captures() / "spot" / "ethusdt_20240808.gz"]), Settings(), data)
    with house.open_reader(data) as history:
        yield history


def test_the_series_of_a_recording_are_those_of_its_records_one_by_one(recorded: History):
    """Exact sums over the records and the trades, in plain loops: 346 s, of which the first is PARTIAL."""
    name, lo = "ETHUSDT", recorded.first_second("ETHUSDT")
    assert lo is not None
    hi = lo + 346
    flow, depth = series.flow_series(recorded, name, lo, hi), series.depth_series(recorded, name, lo, hi)
    records = recorded.seconds(name, lo, hi).rows
    trades = [one for block in recorded.trades(name, lo - 1, hi).rows for one in block.trades]
    assert len(records) == 346 and flow.clean_s == 345
    assert [(blank.from_s, blank.cause) for blank in flow.blanks] == [(lo, "flagged PARTIAL")]
    for place, record in enumerate(records[1:], 1):
        assert flow.mid[place] == pytest.approx(float(Fraction(record.mid2_close, 2 * E8)), rel=1e-12)
        bid = Fraction((record.bid_added + record.ask_removed) * record.mid2_close, 2 * E16)
        ask = Fraction((record.ask_added + record.bid_removed) * record.mid2_close, 2 * E16)
        assert (flow.bid_rate[place], flow.ask_rate[place]) == (pytest.approx(float(bid)), pytest.approx(float(ask)))
        assert depth.bid[place] == pytest.approx(record.depth_bid[3] / E16)
        before = [one for one in trades if (lo * 10**9) <= one.ts_trade_ns < record.t * 10**9]
        delta = sum(-one.quantity_e8 if one.buyer_is_maker else one.quantity_e8 for one in before) / E8
        assert flow.cvd[place + 1] - flow.cvd[1] == pytest.approx(delta, abs=1e-6)


# Files --------------------------------------------------------------------------------------

WIDTH_PX = 1440
KINDS = ["profile", "flow", "depth"]


def drawn(kind: str, history: History, out: Path) -> bytes:
    if kind == "profile":
        plot.profile(history, BTC, 2, out)
    else:
        (plot.flow if kind == "flow" else plot.depth)(history, BTC, None, None, out)
    return out.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_a_png_of_the_right_size_with_something_on_it(two_hours: History, tmp_path: Path, kind: str):
    file = drawn(kind, two_hours, tmp_path / "a.png")
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", file[16:24])
    assert width == WIDTH_PX and 1000 < height < 1400
    pixels = imread(io.BytesIO(file), format="png")
    assert pixels.shape[:2] == (height, width)
    colours = np.round(pixels[:, :, :3] * 255).astype(np.int64) @ (65_536, 256, 1)
    assert len(np.unique(colours)) > 50
    shown = np.argwhere(pixels[:, :, :3].min(axis=2) < 0.9)
    margin = np.minimum(shown.min(axis=0), np.array([height, width]) - 1 - shown.max(axis=0))
    assert (margin > 3).all(), "something is cut off at the edge"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", plot.SUFFIXES)
def test_the_same_data_gives_the_same_bytes_whatever_the_machine_likes(two_hours: History, tmp_path: Path, kind: str, form: str):
    first = drawn(kind, two_hours, tmp_path / f"a.{form}")
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 20, "timezone": "Asia/Tokyo"}):
        assert drawn(kind, two_hours, tmp_path / f"b.{form}") == first
        assert mpl.rcParams["axes.facecolor"] == "red"


EMPTY = {"depth_bid": [None] * 6, "depth_ask": [None] * 6, "mid2_close": None}
HARD = {
    "one second": [second(T)],
    "no clean record": [second(T, flags=1), second(T + 1, flags=1)],
    "an empty side": [structs.replace(second(T, **EMPTY), snapshot=BookSnapshot(BOOK.bids, (), 9, T))],
    "no record beside the snapshot": [structs.replace(second(T), record=None), second(T + 5)],
    "nothing rests near the mid": [second(T + i, depth_bid=[0] * 6, depth_ask=[0] * 6) for i in range(3)],
    "the book is lost": [second(T), *(lost(T + i, "gap") for i in range(1, 60))],
    "trades with a hole": [second(T, trade(1, T, 1)), second(T + 1, trade(9, T + 1, 1)), second(T + 2), second(T + 3)],
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kind", ["flow", "depth"])
def test_data_with_little_in_it_still_makes_a_picture(tmp_path: Path, kind: str, case: str):
    assert drawn(kind, history_of(*HARD[case]), tmp_path / "a.png")[1:4] == b"PNG"


# The command --------------------------------------------------------------------------------


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings of the machine, a folder without leadline.toml, and the root logger given back."""
    for name in [name for name in os.environ if name.startswith(("LEADLINE_", "BINANCE_")) and name != "LEADLINE_CAPTURES"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["leadline", "plot", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        out, err = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0 if code is None else 1, out, err)

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTCUSDT T..T+9; ETHUSDT a trade every 100 s and a last record; BTCUSDC has trades of one second, and no record."""
    folder = tmp_path_factory.mktemp("plot") / "data"
    engine = RocksEngine(folder)
    history = History(engine, str(folder))
    history.open_for("test", T)
    block = samples.block(T, 1, symbol="BTCUSDC")
    history.write([*(second(T + i) for i in range(10)), SymbolSecond("BTCUSDC", T, None, None, None, (block,), ())])
    blocks = [samples.block(T + 100 * n, n, symbol="ETHUSDT") for n in range(1, 41)]
    trades = [
        structs.replace(b, trades=tuple(structs.replace(t, first_id=t.agg_id, last_id=t.agg_id) for t in b.trades))
        for b in blocks
    ]
    history.write([SymbolSecond("ETHUSDT", b.second, None, None, None, (b,), ()) for b in trades])
    history.write([samples.row(T + 4001, "ETHUSDT", flags=0)])
    engine.close()
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["flow", "btcusdt"],
        ["depth", BTC, "--from", f"{T + 2}", "--to", "2024-08-08T23:54:05Z"],
        ["profile", "ETHUSDT", "--hours", "2"],
    ],
    ids=lambda words: words[0],
)
def test_the_command_writes_the_file_and_says_nothing(said, data: Path, tmp_path: Path, words: list[str]):
    assert said(*words, "--data", data, "--out", tmp_path / "A.PNG") == Said(0, "", "")
    assert (tmp_path / "A.PNG").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("symbol", "out", "code", "says"),
    [
        ("BTCUSD", "a.png", 3, "symbol: 'BTCUSD' is not known in this store; near matches: BTCUSD"),
        (BTC, "a.gif", 2, "--out: a.gif: not a kind of picture (allowed: .png, .svg, .pdf)"),
        (BTC, "a", 2, "--out: a: not a kind of picture (allowed: .png, .svg, .pdf)"),
        (BTC, "folder.png", 2, "--out: folder.png: is a folder"),
        ("BTCUSDC", "a.png", 4, "leadline: "),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_an_exit_code(said, data: Path, tmp_path: Path, kind, symbol, out, code, says):
    (tmp_path / "folder.png").mkdir()
    answer = said(kind, symbol, "--data", data, "--out", out)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert says in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_place_that_cannot_be_written_is_said(said, data: Path):
    answer = said("flow", BTC, "--data", data, "--out", "nowhere/a.png")
    assert (answer.code, answer.err) == (2, "leadline: --out: cannot write nowhere/a.png: No such file or directory\n")


def test_a_symbol_without_records_has_nothing_to_draw(said, data: Path):
    answer = said("flow", "BTCUSDC", "--data", data, "--out", "a.png")
    assert (answer.code, answer.err) == (4, "leadline: Insufficient historical data: have 0 s, need 1 s\n")


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        ("flow", ["--from", f"{T}", "--to", f"{T}"], f"--from: nothing lies between {T} and {T}"),
        ("depth", ["--from", f"{T}", "--to", f"{T + 86_401}"], "--from: the window is 86,401 s long (allowed: at most 86,400 s)"),
        ("flow", ["--from", "noon"], "--from: not a time: 'noon'"),
        ("profile", ["--hours", "169"], "--hours"),
        ("profile", ["--hours", "0"], "--hours"),
        ("profile", ["--from", f"{T}"], "--from"),
    ],
)
def test_a_wrong_window_is_refused_by_its_option(said, data: Path, kind: str, words: list[str], says: str):
    answer = said(kind, BTC, "--data", data, "--out", "a.png", *words)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (None, None, (T + 400, T + 1000)),
        (None, T + 100, (T, T + 100)),
        (T + 0.5, None, (T + 1, T + 1000)),
        (T - 9, T, (T - 9, T)),
    ],
)
def test_a_window_is_the_last_ten_minutes_stored_or_what_is_asked_for(start, end, wanted: tuple[int, int]):
    """Stored are T..T+999."""
    assert plot.window(history_of(second(T), second(T + 999)), BTC, start, end) == wanted


def test_a_window_that_ends_before_it_begins_is_no_window():
    with pytest.raises(InvalidRequest):
        plot.window(history_of(second(T)), BTC, T + 5, T + 4)


def child(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_without_matplotlib_one_sentence_says_what_to_install(data: Path, tmp_path: Path, kind: str):
    words = ["leadline", "plot", kind, BTC, "--data", str(data), "--out", str(tmp_path / "a.png")]
    ended = child(f"import sys; sys.modules['matplotlib'] = None; sys.argv = {words}; from leadline import cli; cli.main()")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "leadline: plot: matplotlib is not installed; install it with: pip install 'leadline[plot]'\n"
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_needs_matplotlib_or_waits_for_it():
    ended = child("import sys; from leadline import cli, plot, show; sys.exit('matplotlib' in sys.modules)")
    assert (ended.returncode, ended.stderr) == (0, "")
