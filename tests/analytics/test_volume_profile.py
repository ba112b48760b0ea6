"""Volume by price: vectors worked out by hand, and the recordings as the recorder keeps them."""

import numpy as np
import pytest
from tests.analytics.build_profiles import (
    CBOT,
    MIDNIGHT_NS,
    TICK,
    named,
    profile_of,
    profile_of_rows,
    quartile_distance,
    raw,
    recorded,
    trade,
)
from tests.core.test_oracles import e8

from leadline.analytics.histogram import SECOND_NS, Histogram, merged
from leadline.analytics.stats import effective_size
from leadline.analytics.volume_profile import (
    ROWS_MAX,
    VolumeProfile,
    _quartile_distance_e8,
    footprint,
    nearest_step,
    point_of_control,
    row_target_ticks,
    shortest_run,
    volume_profile,
)
from leadline.core.errors import InvalidRequest

# Vectors worked out by hand --------------------------------------------------------------------


def test_the_value_area_of_the_published_example() -> None:
    """555 in all, 388.5 wanted. From 150: 90, 80 (above the 70 below), 70: 390. In pairs: 90 + 80 above, 70 + 60 below: 450."""
    trades = [trade(price, volume) for price, volume in enumerate(CBOT, 101)]
    single, two = profile_of(trades, row_e8=1), profile_of(trades, row_e8=1, va_method="two_row")
    assert named(single) == (106, (105, 108), (105, 108))
    assert named(two)[1] == (104, 108)
    assert (single.value_area_share, two.value_area_share) == (390 / 555, 450 / 555)
    assert (single.total_volume_e8, single.poc_share, single.point_of_control_e16) == (555, 150 / 555, 106_50000000)


@pytest.mark.parametrize(
    ("volumes", "poc", "single", "two"),
    [
        ([10, 30, 50, 30, 10], 3, (2, 4), (1, 5)),
        ([20, 50, 20], 2, (2, 3), (2, 3)),
        ([10, 70, 20], 2, (2, 2), (2, 2)),
        ([40, 10, 40], 1, (1, 3), (1, 3)),
        ([10, 40, 5, 40, 20], 2, (1, 4), (2, 4)),
        ([40, 40, 10, 5], 2, (1, 2), (1, 2)),
        ([30, 0, 0, 40, 20], 4, (1, 5), (1, 5)),
    ],
)
def test_ties_have_their_rule(volumes: list[int], poc: int, single: tuple[int, int], two: tuple[int, int]) -> None:
    """Equal neighbours: the side with fewer rows so far, then above. Equal maxima: nearest to the centre, then the lower.
    A pair of which one row exists is that row."""
    found = profile_of_rows(volumes)
    assert named(found)[:2] == (poc, single)
    assert named(profile_of_rows(volumes, va_method="two_row"))[:2] == (poc, two)


def test_an_empty_row_is_crossed_and_the_shortest_run_need_not_hold_the_area() -> None:
    """30 _ _ 40 20: 63 of 90 wanted; rows 4-5 hold 60, rows 1-4 hold 70."""
    found = profile_of_rows([30, 0, 0, 40, 20])
    assert named(found) == (4, (1, 5), (1, 4))
    assert (found.row_count, len(found.rows)) == (5, 3)


def test_of_equally_short_runs_the_fuller_then_the_lower_is_taken() -> None:
    assert shortest_run([35, 36, 0, 35, 37], 0.5) == (3, 4)
    assert shortest_run([35, 37, 0, 35, 37], 0.5) == (0, 1)


def test_five_trades_by_hand() -> None:
    """+100x2 +101x1 -100x4 +102x3 -101x1: 11 in all, worth 1108; row 100 has 2 bought and 4 sold."""
    unit = 10**8
    rows = [(100, 2, True), (101, 1, True), (100, 4, False), (102, 3, True), (101, 1, False)]
    trades = [trade(p * unit, q * unit, buy=buy, ts_ns=MIDNIGHT_NS + at) for at, (p, q, buy) in enumerate(rows)]
    found = profile_of(trades, unit, row_e8=unit)
    assert [(r.low_e8 // unit, r.buy_e8 // unit, r.sell_e8 // unit, r.delta_e8 // unit, r.fills) for r in found.rows] == [
        *((100, 2, 4, -2, 2), (101, 1, 1, 0, 2), (102, 3, 0, 3, 1))
    ]
    assert (found.total_volume_e8, found.total_quote_e16) == (11 * unit, 1108 * unit**2)
    assert found.vwap_e16 / 1e16 == pytest.approx(100.727273, abs=1e-6)
    assert found.vwap_e16 == 100_7272727272727273
    assert (found.n_batches, found.n_trades) == (5, 5)


def test_the_effective_sample() -> None:
    """1 1 1 1 4: 64 / 20, and the same as the shared statistic says."""
    found = profile_of([trade(5, quantity) for quantity in (1, 1, 1, 1, 4)])
    assert found.n_eff == pytest.approx(3.2)
    assert found.n_eff == effective_size(np.array([1.0, 1, 1, 1, 4]))
    assert found.warnings == ("thin_sample",)
    assert profile_of([trade(5, 1)] * 200).warnings == ()


def test_nothing_traded_is_no_profile() -> None:
    empty = Histogram.of_trades([])
    assert volume_profile(empty, tick_e8=1) is None
    assert volume_profile(merged([empty, empty.compacted()]), tick_e8=1) is None
    assert footprint(empty, row_e8=1, bar_ns=1) == []


def test_one_trade_is_a_profile_of_one_row_and_of_no_firmness() -> None:
    found = profile_of([trade(123, 7, fills=3)])
    assert (found.row_count, found.row_e8, found.bin_rule) == (1, 1, "auto")
    assert named(found) == (123, (123, 123), (123, 123))
    assert (found.poc_share, found.value_area_share, found.n_eff, found.n_trades) == (1.0, 1.0, 1.0, 3)
    assert (found.poc_iqr, found.nodes) == (None, None)
    assert found.reasons == {"poc_iqr": "too_few", "nodes": "too_few"}


def test_one_price_stays_one_row_and_two_prices_are_two_rows_far_apart() -> None:
    one = profile_of([trade(500, 3, ts_ns=MIDNIGHT_NS + k * 10 * SECOND_NS) for k in range(10)])
    assert (one.row_count, one.poc_iqr, one.nodes, one.n_blocks) == (1, 0.0, (), 10)
    two = profile_of([trade(500, 3), trade(740, 5)])
    assert (two.row_e8, two.row_count) == (10, 25)  # target 240 / 30 = 8, nearest 10
    assert named(two)[0] == 740
    assert [row.volume_e8 for row in two.rows] == [3, 5]


def test_a_price_off_the_tick_falls_into_the_row_below_it() -> None:
    found = profile_of([trade(10 * TICK - 1, 1), trade(10 * TICK, 2)], TICK, row_e8=TICK)
    assert [(row.low_e8, row.volume_e8) for row in found.rows] == [(9 * TICK, 1), (10 * TICK, 2)]


def test_the_centre_of_a_row_may_need_a_ninth_decimal() -> None:
    assert profile_of([trade(3, 1)], row_e8=1).point_of_control_e16 == 350000000


# Height of a row -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "step"),
    [
        *((0, 1), (0.3, 1), (1.4, 1), (1.42, 2), (3.1, 2), (3.2, 5), (7, 5), (7.1, 10), (14.2, 20), (22, 20), (22.5, 25)),
        *((35, 25), (36, 50), (925, 1000), (21.23, 20), (24.98, 25), (1000, 1000), (2500, 2500)),
    ],
)
def test_the_step_is_the_nearest_by_ratio(target: float, step: int) -> None:
    """Between 2 and 5 the border is sqrt(10) = 3.16, as 2.5 ticks are no whole number; between 20 and 25 it is 22.36."""
    assert nearest_step(target) == step


def test_the_target_stays_between_a_30th_and_a_200th_of_the_range() -> None:
    """IQR 100 ticks, 1000 effective trades: 200 / 10 = 20 ticks."""
    assert row_target_ticks(0, 2000, 100, 1000, 1) == pytest.approx(20)
    assert row_target_ticks(0, 20_000, 100, 1000, 1) == 100
    assert row_target_ticks(0, 300, 100, 1000, 1) == 10
    assert row_target_ticks(7, 7, 0, 1, 1) == 0


@pytest.mark.parametrize("row_e8", [0, -TICK, TICK + 1, TICK // 2])
def test_a_step_off_the_tick_is_refused(row_e8: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        profile_of([trade(5 * TICK, 1)], TICK, row_e8=row_e8)
    assert caught.value.field == "tick_size"
    assert caught.value.allowed == "multiples of 0.01"


def test_too_many_rows_are_refused_and_the_smallest_step_that_fits_is_named() -> None:
    """5.00 to 25.00: 2001 rows of 0.01. 0.02 fits. From 5.01 to 45.01 rows of 0.02 are 2001 (250..2250): 0.03 fits."""
    trades = [trade(500 * TICK, 1), trade(2500 * TICK, 1)]
    with pytest.raises(InvalidRequest, match=r"tick_size: 0.01 gives more than 2000 rows; 0.02 fits \(allowed: at least 0.02\)"):
        profile_of(trades, TICK, row_e8=TICK)
    assert profile_of(trades, TICK, row_e8=2 * TICK).row_count == 1001
    assert profile_of([trades[0], trade(2499 * TICK, 1)], TICK, row_e8=TICK).row_count == ROWS_MAX
    with pytest.raises(InvalidRequest, match=r"0\.03 fits"):
        profile_of([trade(501 * TICK, 1), trade(4501 * TICK, 1)], TICK, row_e8=2 * TICK)


def test_a_quartile_needs_all_of_its_quarter() -> None:
    """1 1 3 at 10 20 30: a quarter of 5 is 1.25, which 20 reaches and 10 does not; three quarters are 3.75, at 30."""
    assert _quartile_distance_e8(np.array([10, 20, 30]), np.array([1, 1, 3]), 5) == 10


# The recordings --------------------------------------------------------------------------------


def area(profile: VolumeProfile) -> tuple[float, float, float]:
    return profile.value_area_low_e8 / 1e8, profile.value_area_high_e8 / 1e8, round(profile.value_area_share, 4)


ORACLES = {
    "BTCUSDT": {
        "n_eff": 971.93,
        "target": (9.25, 2),
        "row": "10",
        "poc": ("61670", "61680", 0.1013),
        "areas": ((61640, 61740, 0.7156), (61630, 61740, 0.7264)),
        "shortest": (61640, 61740),
        "totals": ("212.03315", "96.65118", "115.38197", 9757, 3249),
        "quote": 13084074.1123886,
        "vwap": 61707.681617,
        "range": ("61583.22", "61860.80"),
    },
    "ETHUSDT": {
        "n_eff": 424.40,
        "target": (0.2123, 4),
        "row": "0.2",
        "poc": ("2683.40", "2683.60", 0.0610),
        "areas": ((2682.0, 2685.2, 0.7005), (2681.8, 2685.2, 0.7189)),
        "shortest": (2682.0, 2685.2),
        "totals": ("2261.3149", "953.0359", "1308.2790", 6106, 1931),
        "quote": 6066483.27618,
        "vwap": 2682.723789,
        "range": ("2679.00", "2685.37"),
    },
}
both = pytest.mark.parametrize("symbol", ORACLES)


@both
def test_the_width_rule_on_the_fills_of_the_recordings(symbol: str) -> None:
    want, fills = ORACLES[symbol], raw(symbol)
    found = profile_of(fills, TICK)
    assert round(found.n_eff, 2) == want["n_eff"]
    target = row_target_ticks(found.price_low_e8, found.price_high_e8, quartile_distance(fills), found.n_eff, TICK) * TICK / 1e8
    assert round(target, want["target"][1]) == want["target"][0]
    assert (found.row_e8, found.bin_rule) == (e8(want["row"]), "auto")


@pytest.mark.parametrize(("symbol", "n_eff"), [("BTCUSDT", 379.04), ("ETHUSDT", 260.45)])
def test_the_width_rule_on_the_trades_as_they_are_stored(symbol: str, n_eff: float) -> None:
    """Fills of one taker order at one price are one stored trade, so the sample is smaller. The target stays: it is a 30th of the
    range, 277.58 and 6.37."""
    trades, want = recorded(symbol), ORACLES[symbol]
    found = profile_of(trades, TICK)
    assert round(found.n_eff, 2) == n_eff
    assert sum(t.quantity_e8 for t in trades) ** 2 / sum(t.quantity_e8**2 for t in trades) == found.n_eff
    target = row_target_ticks(found.price_low_e8, found.price_high_e8, quartile_distance(trades), found.n_eff, TICK) / 100
    assert round(target, want["target"][1]) == want["target"][0]
    assert target == pytest.approx((found.price_high_e8 - found.price_low_e8) / 1e8 / 30)
    assert (found.row_e8, found.bin_rule, found.warnings) == (e8(want["row"]), "auto", ())


@both
@pytest.mark.parametrize("source", [raw, recorded])
def test_the_profile_of_the_recordings(symbol: str, source) -> None:
    want, trades = ORACLES[symbol], source(symbol)
    single, two = profile_of(trades, TICK), profile_of(trades, TICK, va_method="two_row")
    low, high, share = want["poc"]
    assert (single.poc_low_e8, single.poc_high_e8, round(single.poc_share, 4)) == (e8(low), e8(high), share)
    assert (area(single), area(two)) == want["areas"]
    assert (single.hdi_low_e8 / 1e8, single.hdi_high_e8 / 1e8) == want["shortest"]
    total, buy, sell, fills, batches = want["totals"]
    assert [single.total_volume_e8, sum(r.buy_e8 for r in single.rows), sum(r.sell_e8 for r in single.rows)] == [
        *(e8(total), e8(buy), e8(sell))
    ]
    assert single.n_trades == sum(row.fills for row in single.rows) == fills
    assert single.n_batches == batches
    assert single.total_quote_e16 == sum(t.price_e8 * t.quantity_e8 for t in trades)
    assert single.total_quote_e16 / 1e16 == pytest.approx(want["quote"], abs=1e-7)
    assert round(single.vwap_e16 / 1e16, 6) == want["vwap"]
    assert [single.price_low_e8, single.price_high_e8] == [e8(text) for text in want["range"]]


def test_the_profile_of_bitcoin_at_rows_of_five_dollars() -> None:
    single = profile_of(recorded("BTCUSDT"), TICK, row_e8=e8("5"))
    two = profile_of(recorded("BTCUSDT"), TICK, row_e8=e8("5"), va_method="two_row")
    [poc] = [row for row in single.rows if row.low_e8 == single.poc_low_e8]
    assert (poc.low_e8, poc.high_e8, poc.volume_e8) == (e8("61660"), e8("61665"), e8("12.11394"))
    assert (area(single), area(two)) == ((61640, 61740, 0.7156), (61640, 61745, 0.7339))
    run = sum(row.volume_e8 for row in single.rows if single.hdi_low_e8 <= row.low_e8 < single.hdi_high_e8)
    assert (single.hdi_low_e8 / 1e8, single.hdi_high_e8 / 1e8) == (61650, 61745)
    assert round(run / single.total_volume_e8, 4) == 0.7002


@pytest.mark.parametrize(("symbol", "row", "moved"), [("BTCUSDT", "5", 66.88), ("ETHUSDT", "0.2", 0.45)])
def test_the_point_of_control_is_fragile(symbol: str, row: str, moved: float) -> None:
    """The grid moved by eighths of a row: prices are moved instead, and the centre is moved back."""
    trades, height = recorded(symbol), e8(row)
    prices, quantities = (np.array([getattr(t, name) for t in trades]) for name in ("price_e8", "quantity_e8"))
    centres = []
    for shift in range(0, height, height // 8):
        rows = (prices + shift) // height
        volumes = np.zeros(int(np.ptp(rows)) + 1, np.int64)
        np.add.at(volumes, rows - rows.min(), quantities)
        centres.append((int(rows.min()) + point_of_control(volumes.tolist())) * height - shift)
    assert round((max(centres) - min(centres)) / 1e8, 2) == moved
