"""Thin zones: the vector worked out by hand, each rule seen to decide, and the recordings.

A book here is a dictionary of prices in ticks of 0.01; the model of the properties asks each price cell of each tick in turn.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_profiles import MIDNIGHT_NS, TWO_HILLS, profile_of, recorded, trade
from tests.core.test_oracles import both, live_books

from leadline.analytics.histogram import SECOND_NS
from leadline.analytics.vacuums import (
    BaseDensity,
    BookCells,
    RestingZones,
    base_density,
    book_cells,
    resting_zones,
    traded_zones,
)
from leadline.core.cells import cell_height_e8

TICK = 10**6  # 0.01
MID2 = 2000 * 10**8
CELL = 5 * TICK
E16 = 10**16


def book(*, gap=(100_100, 100_130), mid=100_000, thin=None, t=0, known=(None, None)) -> BookCells:
    """Mid 1000: bids of 1000 quote in every 0.05 from 999.95 down to 995, asks from 1000.05 up to 1005, none in the gap (ticks);
    thin: quote value in the gap. The prices stay when the mid is moved."""
    bids = {price // 5: 1000 * E16 for price in range(99_995, 99_495, -5)}
    asks = {price // 5: 1000 * E16 for price in range(100_005, 100_500, 5)}
    for side in (bids, asks):
        for cell in range(gap[0] // 5, -(-gap[1] // 5)):
            if cell in side:
                side.pop(cell)
                if thin:
                    side[cell] = thin * E16
    low, high = known
    return BookCells(t, 2 * mid * TICK, CELL, bids, asks, low and low * TICK, high and high * TICK)


def base(per_bp: float | None = 2000.0, minutes: int = 30) -> BaseDensity:
    """1000 quote in half a basis point."""
    return BaseDensity((per_bp,) * 100, (per_bp,) * 100, minutes)


def spans(found: RestingZones) -> list[tuple[str, str, float, float]]:
    return [(zone.side, zone.kind, zone.low_e8 / 1e8, zone.high_e8 / 1e8) for zone in found.zones]


# The vector of the specification --------------------------------------------------------------


def test_the_resting_zone_worked_out_by_hand() -> None:
    """19 cells of 1000 from 1000.05 up to 1001.00, then 6 empty cells of half a basis point."""
    levels = [(price * TICK, 0) for price in range(100_005, 100_501, 5) if not 100_100 <= price < 100_130]
    value = 1000 * E16
    # a quantity of 1e-8 whose value is 1000 quote but for less than a price unit: the sums below are of these levels
    asks = [(price, value // price) for price, _ in levels]
    bids = [(99_995 * TICK, value // (99_995 * TICK))]
    cell = cell_height_e8(MID2, TICK)
    assert cell == CELL
    tick = book_cells(bids, asks, ts_ns=7, cell_e8=cell, known_bid_e8=99_995 * TICK)
    assert tick is not None
    found = resting_zones([tick] * 10)
    assert (found.status, found.reason, found.samples) == ("baseline_short", "baseline_short", 10)
    [zone] = found.zones
    assert (zone.low_e8, zone.high_e8, zone.side, zone.kind) == (100_100 * TICK, 100_130 * TICK, "above", "empty")
    assert zone.width_bps == pytest.approx(3.0)
    assert round(zone.quote_to_reach_e16 / 1e16, 3) == 19000
    assert (zone.quote_in_zone_e16, zone.quote_to_cross_e16) == (0, zone.quote_to_reach_e16)
    assert (zone.persistence, zone.detected_ns, zone.deficit_pct, zone.p_cross_1m) == (1.0, 7, None, None)
    assert zone.vacuum_id == "empty:1001-1001.3"
    assert found.reasons == {"p_cross_1m": "baseline_short", "deficit_pct": "baseline_short"}
    assert spans(resting_zones([book()] * 10)) == [("above", "empty", 1001.0, 1001.3)]
    assert resting_zones([book()] * 10).zones[0].quote_to_reach_e16 == 19000 * E16


def test_the_same_gap_among_the_bids_lies_below() -> None:
    """Cells 999.95, 999.90, ..., 999.00 before it: 20 of 1000."""
    [zone] = resting_zones([book(gap=(99_870, 99_900))] * 10).zones
    assert (zone.low_e8, zone.high_e8, zone.side) == (99_870 * TICK, 99_900 * TICK, "below")
    assert zone.quote_to_reach_e16 == 20_000 * E16


# Cells ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mid", "ticks"), [("1000", 5), ("61824.005", 309), ("1", 1), ("90", 1), ("300", 2), ("299.99", 1), ("500", 3)]
)
def test_a_cell_is_a_20000th_of_the_mid_in_whole_ticks(mid: str, ticks: int) -> None:
    """61824.005 / 20000 = 3.0912; 300 / 20000 is one tick and a half, and half goes up, as with 500: 2.5 ticks."""
    assert cell_height_e8(round(float(mid) * 2 * 10**8), TICK) == ticks * TICK


def test_the_height_of_cells_is_held_while_the_mid_stays_within_five_percent() -> None:
    held = cell_height_e8(MID2, TICK)
    assert cell_height_e8(MID2 * 105 // 100, TICK, held, MID2) == held
    assert cell_height_e8(MID2 * 105 // 100 + 40 * TICK, TICK, held, MID2) == 5 * TICK
    assert cell_height_e8(MID2 * 95 // 100, TICK, held, MID2) == held
    assert cell_height_e8(MID2 * 2, TICK, held, MID2) == 10 * TICK
    assert cell_height_e8(MID2 * 105 // 100, TICK, 7 * TICK, MID2) == 7 * TICK
    assert cell_height_e8(MID2 * 105 // 100 + 1, TICK, 7 * TICK, MID2) == 5 * TICK


def test_levels_are_summed_by_cell_within_fifty_bps() -> None:
    """Mid 1000: down to 995 and up to 1005, edges included."""
    bids = [(99_999 * TICK, 2), (99_995 * TICK, 3), (99_500 * TICK, 1), (99_499 * TICK, 9)]
    asks = [(100_001 * TICK, 5), (100_500 * TICK, 7), (100_501 * TICK, 9)]
    tick = book_cells(bids, asks, ts_ns=1, cell_e8=CELL, known_ask_e8=1)
    assert tick is not None
    assert (tick.mid2_e8, tick.known_bid_e8, tick.known_ask_e8) == (MID2, None, 1)
    assert tick.bids_e16 == {19_999: (2 * 99_999 + 3 * 99_995) * TICK, 19_900: 99_500 * TICK}
    assert tick.asks_e16 == {20_000: 5 * 100_001 * TICK, 20_100: 7 * 100_500 * TICK}
    assert book_cells(bids, [], ts_ns=1, cell_e8=CELL) is None
    assert book_cells([], asks, ts_ns=1, cell_e8=CELL) is None


# Each rule decides --------------------------------------------------------------------------------


def test_two_bps_are_wide_enough_and_three_cells_are_not() -> None:
    assert spans(resting_zones([book(gap=(100_100, 100_120))] * 10)) == [("above", "empty", 1001.0, 1001.2)]
    assert resting_zones([book(gap=(100_100, 100_115))] * 10).zones == ()


def test_nine_ticks_are_too_few() -> None:
    found = resting_zones([book()] * 9, base())
    assert (found.status, found.reason, found.samples, found.zones) == ("too_few", "too_few", 9, ())
    assert resting_zones([]).status == "too_few"


def test_a_zone_was_so_in_seventy_percent_of_the_ring_and_is_so_now() -> None:
    full = book(gap=(0, 0))
    assert resting_zones([full] * 3 + [book()] * 7).zones[0].persistence == 0.7
    assert resting_zones([full] * 4 + [book()] * 6).zones == ()
    assert resting_zones([book()] * 29 + [full]).zones == ()
    part = resting_zones([book(gap=(100_100, 100_120))] * 10 + [book()] * 10).zones
    assert [(zone.high_e8 // TICK, zone.persistence) for zone in part] == [(100_120, 1.0)]


def test_an_unknown_cell_is_not_an_empty_one() -> None:
    """Known up to 1001.15: three cells of the gap are left. Known up to 1001.20: four, which are 2 bps."""
    assert resting_zones([book(known=(None, 100_115))] * 10).zones == ()
    assert spans(resting_zones([book(known=(None, 100_120))] * 10)) == [("above", "empty", 1001.0, 1001.2)]
    assert resting_zones([book(known=(None, 100_119))] * 10).zones == ()
    assert resting_zones([book(gap=(99_870, 99_900), known=(99_881, None))] * 10).zones == ()
    assert resting_zones([book(known=(None, 100_115))] * 4 + [book()] * 6).zones == ()
    assert resting_zones([book(gap=(99_870, 99_900), known=(99_885, None))] * 10).zones == ()
    assert len(resting_zones([book(gap=(99_870, 99_900), known=(99_880, None))] * 10).zones) == 1


def test_nothing_is_said_beyond_fifty_bps() -> None:
    """Asks end at 1005: what is beyond is empty and no zone. In a gap up to 1004.85 three cells remain before the border."""
    assert resting_zones([book(gap=(0, 0))] * 10).zones == ()
    assert spans(resting_zones([book(gap=(100_480, 100_600))] * 10)) == [("above", "empty", 1004.8, 1005.0)]
    assert resting_zones([book(gap=(100_485, 100_600))] * 10).zones == ()


def test_a_cell_that_was_on_the_other_side_of_the_mid_was_not_empty_there() -> None:
    """The mid fell from 1002 to 1000: where asks are missing now there were bids to be had, not a gap among the asks."""
    above = BookCells(0, 2 * 100_200 * TICK, CELL, {20_020: E16}, {}, None, None)
    assert resting_zones([above] * 9 + [book()]).zones == ()


def test_the_cell_that_holds_the_mid_is_no_part_of_a_zone_but_is_to_be_crossed() -> None:
    """Asks of 5 at 1000.01, inside the mid's cell, and then none up to 1000.25: four whole cells from 1000.05."""
    tick = book(gap=(100_005, 100_025))
    tick = BookCells(0, tick.mid2_e8, CELL, tick.bids_e16, {**tick.asks_e16, 20_000: 5 * E16})
    [zone] = resting_zones([tick] * 10).zones
    assert (zone.low_e8, zone.high_e8, zone.quote_to_reach_e16) == (100_005 * TICK, 100_025 * TICK, 5 * E16)
    [zone] = resting_zones([book(gap=(99_980, 100_000))] * 10).zones
    assert (zone.low_e8, zone.high_e8, zone.quote_to_reach_e16) == (99_980 * TICK, 100_000 * TICK, 0)


def test_thin_is_below_a_quarter_of_what_usually_rests_there() -> None:
    """Usual: 1000 in a cell. 249 of it is thin, 250 is not; thin needs 30 minutes of baseline."""
    found = resting_zones([book(thin=249)] * 10, base())
    assert (found.status, found.reason) == ("ok", None)
    [zone] = found.zones
    assert (zone.kind, zone.low_e8, zone.high_e8) == ("thin", 100_100 * TICK, 100_130 * TICK)
    assert zone.deficit_pct == pytest.approx(75.1)
    assert (zone.quote_in_zone_e16, zone.quote_to_cross_e16) == (6 * 249 * E16, (19_000 + 6 * 249) * E16)
    assert resting_zones([book(thin=250)] * 10, base()).zones == ()
    short = resting_zones([book(thin=249)] * 10, base(minutes=29))
    assert (short.status, short.zones) == ("baseline_short", ())
    assert resting_zones([book(thin=1)] * 10, base(per_bp=0.0)).zones == ()
    assert resting_zones([book(thin=1)] * 10, base(per_bp=None)).zones == ()


def test_an_empty_zone_stays_one_inside_a_thin_one() -> None:
    wide, narrow = book(gap=(100_080, 100_150), thin=100), book()
    asks = {cell: value for cell, value in wide.asks_e16.items() if cell in narrow.asks_e16}
    found = resting_zones([BookCells(0, MID2, CELL, wide.bids_e16, asks)] * 10, base())
    assert spans(found) == [("above", "thin", 1000.8, 1001.5), ("above", "empty", 1001.0, 1001.3)]
    assert [zone.deficit_pct for zone in found.zones] == [pytest.approx(100 * (1 - 800 / 14_000)), 100.0]
    assert found.reasons == {"p_cross_1m": "baseline_short"}


def test_what_is_usual_depends_on_side_and_distance() -> None:
    """2000 a bp, but 800 of it 10.0-13.0 bps out among the asks: 400 in a cell, of which 249 is not thin and 99 is."""
    ask = tuple(800.0 if 20 <= place < 26 else 2000.0 for place in range(100))
    uneven = BaseDensity((2000.0,) * 100, ask, 30)
    assert resting_zones([book(thin=249)] * 10, uneven).zones == ()
    assert len(resting_zones([book(thin=99)] * 10, uneven).zones) == 1
    assert len(resting_zones([book(gap=(99_870, 99_900), thin=249)] * 10, uneven).zones) == 1
    there = BaseDensity((None,) * 100, tuple(2000.0 if 20 <= place < 26 else None for place in range(100)), 30)
    assert spans(resting_zones([book(thin=249)] * 10, there)) == [("above", "thin", 1001.0, 1001.3)]


def test_how_often_it_would_be_crossed_counts_minutes_in_that_direction() -> None:
    """19,000 to cross: of 40 minutes 10 brought more than that from buyers, 4 from sellers; exactly as much is not more."""
    flows = np.array([19_001.0] * 10 + [19_000.0] * 6 + [-50_000.0] * 4 + [0.0] * 20)
    [zone] = resting_zones([book()] * 10, base(), flows).zones
    assert zone.p_cross_1m == 0.25
    [below] = resting_zones([book(gap=(99_870, 99_900))] * 10, base(), flows).zones
    assert below.p_cross_1m == 0.1
    assert resting_zones([book()] * 10, base(), flows).reasons == {}
    short = resting_zones([book()] * 10, base(), flows[:29])
    assert (short.zones[0].p_cross_1m, short.reasons) == (None, {"p_cross_1m": "baseline_short"})


def test_the_nearest_ten_of_a_side_are_given() -> None:
    """Full cells at every fifth, 4 empty ones between: 20 zones up to 1005, and 19 below."""
    asks = dict.fromkeys(range(20_000, 20_100, 5), E16)
    bids = dict.fromkeys(range(19_999, 19_899, -5), E16)
    found = resting_zones([BookCells(0, MID2, CELL, bids, asks)] * 10).zones
    above = [zone for zone in found if zone.side == "above"]
    assert [zone.low_e8 // CELL for zone in above] == [20_001 + 5 * k for k in range(10)]
    assert [zone.low_e8 // CELL for zone in found if zone.side == "below"] == [19_995 - 5 * k for k in reversed(range(10))]


def test_one_height_of_cells_in_a_ring() -> None:
    with pytest.raises(AssertionError, match="one height"):
        resting_zones([book()] * 9 + [BookCells(0, MID2, 2 * CELL, {}, {})])


# What usually rests ------------------------------------------------------------------------------


def density(*values: float | None) -> np.ndarray:
    """A minute each: the same in every bin, twice as much among the asks; the last bin of the bids is not known."""
    rows = np.array([np.nan if value is None else value for value in values], np.float64)
    both = np.stack([rows[:, None].repeat(100, 1), 2 * rows[:, None].repeat(100, 1)], axis=1)
    both[:, 0, 99] = np.nan
    return both


def test_the_base_is_the_median_over_minutes_that_know_the_bin() -> None:
    """1..31: 16. A bin that 29 minutes know has none, nor has one that none knows."""
    found = base_density(density(*map(float, range(1, 32)), None))
    assert (found.bid[0], found.ask[0], found.bid[99], found.ask[99], found.minutes) == (16, 32, None, 32, 32)
    assert base_density(density(*[1.0] * 30)).bid[0] == 1.0
    short = base_density(density(*[1.0] * 29, None))
    assert (short.bid[0], short.ask[0], short.minutes) == (None, None, 30)
    assert base_density(np.zeros((0, 2, 100))) == BaseDensity((None,) * 100, (None,) * 100, 0)


# In past volume -------------------------------------------------------------------------------------


def two_hills(blocks: int = 10, height: int = 1):
    """Blocks that look alike, rows of 1: a hill at 102, a valley 104..108, a hill at 110."""
    return profile_of(
        [
            trade((100 + row) * height, volume, ts_ns=MIDNIGHT_NS + block * 10 * SECOND_NS)
            for block in range(blocks)
            for row, volume in enumerate(TWO_HILLS)
            if volume
        ],
        row_e8=height,
    )


@pytest.mark.parametrize(
    ("mid2", "side"),
    [(207, "above"), (208, "above"), (209, "contains_mid"), (217, "contains_mid"), (218, "below"), (219, "below")],
)
def test_a_traded_zone_is_a_low_node_seen_from_the_mid(mid2: int, side: str) -> None:
    """[104, 109) holds 4 + 4 in each of 10 blocks: 80 in 5 rows. Rows that traded hold 40 100 40 4 4 30 80 30 times ten: the
    middle ones are 30 and 40."""
    found = traded_zones(two_hills(), mid2)
    assert (found.status, found.reason) == ("ok", None)
    [zone] = found.zones
    assert (zone.low_e8, zone.high_e8, zone.side, zone.kind) == (104, 109, side, "low_volume_node")
    assert (zone.volume_e8, zone.actual_volume_e8, zone.median_volume_e8) == (80, 16, 350)
    assert zone.width_bps == pytest.approx(1e4 * 5 / (mid2 / 2))
    assert (zone.deficit_pct, zone.persistence) == (100.0, 1.0)
    assert zone.detected_ns == MIDNIGHT_NS + 90 * SECOND_NS


def test_the_volume_of_a_traded_zone_is_given_by_row() -> None:
    """The same in rows of 3: 80 in the 5 rows of [312, 327)."""
    [zone] = traded_zones(two_hills(height=3), 600).zones
    assert (zone.low_e8, zone.high_e8, zone.volume_e8, zone.actual_volume_e8) == (312, 327, 80, 16)


def test_without_enough_time_no_traded_zone_is_looked_for() -> None:
    short = two_hills(blocks=9)
    found = traded_zones(short, 200)
    assert (found.status, found.reason, found.zones) == ("too_few", "too_few", ())
    assert found.n_eff == short.n_eff
    assert traded_zones(None, 200).n_eff is None


def test_the_nearest_ten_traded_zones_of_a_side_are_given() -> None:
    """25 hills, 24 valleys; seen from between, 10 below and 10 above, and the one around the mid."""
    found = profile_of(
        [
            trade(100 + 6 * hill + row, volume, ts_ns=MIDNIGHT_NS + block * 10 * SECOND_NS)
            for block in range(10)
            for hill in range(25)
            for row, volume in ((1, 10), (2, 100), (3, 10))
        ],
        row_e8=1,
    )
    zones = traded_zones(found, 2 * (100 + 6 * 12 + 5)).zones
    assert [zone.side for zone in zones] == ["below"] * 10 + ["contains_mid"] + ["above"] * 10
    lows = [zone.low_e8 for zone in zones]
    assert lows == sorted(lows)
    assert lows[0] == lows[10] - 60


# The recordings ------------------------------------------------------------------------------------


@both
def test_the_recordings_have_no_traded_zone(symbol: str) -> None:
    found = traded_zones(profile_of(recorded(symbol), TICK), 2 * 61700 * 10**8)
    assert (found.status, found.zones) == ("ok", ())


@pytest.mark.parametrize(("symbol", "beyond"), [("BTCUSDT", {"above", "below"}), ("ETHUSDT", set())])
def test_the_recordings_have_no_resting_zone_inside_the_known_range(symbol: str, beyond: set[str]) -> None:
    """A state every ten diffs is about one a second. Bitcoin has gaps only where its one snapshot did not reach; read as if
    they were known, each says of itself what a look at the levels says."""
    height, known, unlimited, found, states = None, [], [], set(), 0
    for n, (held, _) in enumerate(live_books(symbol)):
        if n % 10:
            continue
        states += 1
        bids, asks = (
            sorted(((abs(key), quantity) for key, quantity in side.quantities.items()), reverse=down)
            for side, down in ((held.bids, True), (held.asks, False))
        )
        mid2 = bids[0][0] + asks[0][0]
        height = height or cell_height_e8(mid2, TICK)
        tick = book_cells(bids, asks, ts_ns=0, cell_e8=height)
        assert tick is not None
        assert sum(tick.bids_e16.values()) == sum(p * q for p, q in bids if 10_000 * (mid2 - 2 * p) <= 50 * mid2)
        unlimited = [*unlimited, tick][-30:]
        known = [*known, structs.replace(tick, known_bid_e8=held.known_bid, known_ask_e8=held.known_ask)][-30:]
        assert resting_zones(known).zones == ()
        for zone in resting_zones(unlimited).zones:
            found.add(zone.side)
            side = asks if zone.side == "above" else bids
            assert [p for p, _ in side if zone.low_e8 <= p < zone.high_e8] == []
            nearer = [p * q for p, q in side if (p < zone.low_e8 if zone.side == "above" else p >= zone.high_e8)]
            assert zone.quote_to_reach_e16 == zone.quote_to_cross_e16 == sum(nearer)
            assert 2 <= zone.width_bps <= 50
    assert states > 300
    assert found == beyond


# Properties -------------------------------------------------------------------------------------------

cells_of_a_side = st.dictionaries(st.integers(0, 60), st.integers(1, 5), max_size=40)
rings = st.lists(st.tuples(cells_of_a_side, st.integers(-6, 6)), min_size=10, max_size=14)


def made(ring, scale: int = 1) -> list[BookCells]:
    """Asks by their distance in cells from 1000; the mid moves by some ticks of 0.01."""
    return [
        BookCells(0, MID2 + 2 * TICK * moved, CELL, {}, {20_000 + cell: value * scale * E16 for cell, value in asks.items()})
        for asks, moved in ring
    ]


@given(rings)
def test_empty_zones_are_the_wide_runs_of_cells_in_which_nothing_rests(ring) -> None:
    def so(asks, moved, cell) -> bool:
        mid = 100_000 + moved
        return cell not in asks and 5 * (20_000 + cell) > mid and (20_000 + cell + 1) * 5000 <= mid * 1005

    good = [so(*ring[-1], cell) and sum(so(asks, moved, cell) for asks, moved in ring) >= 0.7 * len(ring) for cell in range(120)]
    want, start = [], None
    for cell, value in enumerate([*good, False]):
        if value and start is None:
            start = cell
        elif not value and start is not None:
            if (cell - start) * 5 * 1e4 >= 2 * (100_000 + ring[-1][1]):
                want.append((20_000 + start, 20_000 + cell))
            start = None
    found = [zone for zone in resting_zones(made(ring)).zones if zone.side == "above"]
    assert [(zone.low_e8 // CELL, zone.high_e8 // CELL) for zone in found] == want[:10]


@given(rings, st.integers(2, 1000))
def test_quantities_and_base_times_a_factor_change_no_zone(ring, factor: int) -> None:
    one, other = resting_zones(made(ring), base(8.0)), resting_zones(made(ring, factor), base(8.0 * factor))
    assert spans(one) == spans(other)
    for a, b in zip(one.zones, other.zones, strict=True):
        assert b.quote_to_cross_e16 == factor * a.quote_to_cross_e16
        assert b.deficit_pct == (None if a.deficit_pct is None else pytest.approx(a.deficit_pct))


@given(rings, st.integers(0, 60))
def test_a_nearer_known_edge_only_takes_zones_away(ring, edge: int) -> None:
    ticks = made(ring)
    cut = [BookCells(0, t.mid2_e8, CELL, {}, t.asks_e16, None, (20_000 + edge) * CELL) for t in ticks]
    all_cells = {c for z in resting_zones(ticks).zones if z.side == "above" for c in range(z.low_e8 // CELL, z.high_e8 // CELL)}
    for zone in resting_zones(cut).zones:
        if zone.side == "above":
            assert zone.high_e8 <= (20_000 + edge) * CELL
            assert set(range(zone.low_e8 // CELL, zone.high_e8 // CELL)) <= all_cells
