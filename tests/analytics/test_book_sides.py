"""Bands and sizes of a frozen book: book Z by hand, a model of plain loops and fractions, the recordings."""

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_books import BEYOND, E16, QUICK, Model, Z, books, mid_of, ticks, view
from tests.core.build import e8
from tests.core.test_oracles import FIRST, both, spot

from leadline.analytics.book_sides import depth_e16, fill, imbalance, sides_of
from leadline.core.records import BANDS_BPS, SIZES_QUOTE


def test_a_copy_of_n_levels_is_known_as_far_as_it_reaches():
    cut = sides_of(Z, 3)
    assert (cut.bids.known_outward, cut.asks.known_outward) == (-e8("99.5"), e8("100.6"))
    assert sides_of(replace(Z, known_bid=e8("99.8")), 3).bids.known_outward == -e8("99.8")
    assert sides_of(replace(Z, known_bid=e8("99")), 3).bids.known_outward == -e8("99.5")
    assert sides_of(Z, 4).bids.known_outward is None


@QUICK
@given(st.none() | st.integers(0, 10**30), st.none() | st.integers(0, 10**30))
def test_an_imbalance_lies_between_minus_1_and_1(bid, ask):
    got = imbalance(bid, ask)
    assert (got is None) == (bid is None or ask is None or bid + ask == 0)
    assert got is None or -1 <= got <= 1


# Against plain loops ---------------------------------------------------------------------------


@QUICK
@given(books(), st.fractions(min_value=Fraction(1, 10), max_value=400, max_denominator=10))
def test_depth_is_what_a_loop_over_the_levels_finds(book, width):
    frozen, mid = sides_of(book), mid_of(book)
    assert frozen.mid2 == (None if mid is None else 2 * mid * 10**8)
    if mid is not None:
        for side, name in ((frozen.bids, "bid"), (frozen.asks, "ask")):
            want = Model(book, name).depth(mid, width)
            assert depth_e16(side, frozen.mid2, width) == (None if want is None else want * 10**16)


@QUICK
@given(books(), st.integers(1, 10**9))
def test_a_size_is_taken_as_by_a_loop_over_the_levels(book, cents):
    frozen, mid, size = sides_of(book), mid_of(book), Fraction(cents, 100)
    for side, name in ((frozen.bids, "bid"), (frozen.asks, "ask")):
        taken, (average, filled, quantity, used) = fill(side, cents * E16 // 100), Model(book, name).take(size)
        assert taken.vwap_e8 == (None if average is None else average * 10**8)
        assert (taken.filled_e16, taken.quantity_e8, taken.levels_used) == (filled * E16, quantity * 10**8, used)
        cost = taken.cost_bps(frozen.mid2)
        if average is None or mid is None:
            assert cost is None
        else:
            assert cost == float(10_000 * (average / mid - 1) * (1 if name == "ask" else -1))
        edge = book.known_ask if name == "ask" else book.known_bid
        assert taken.reason == (None if average is not None else "exhausted" if edge is None else BEYOND)


@QUICK
@given(books(), st.integers(1, 10**9), st.integers(1, 10**9))
def test_cost_rises_with_size_and_what_holds_the_larger_holds_the_smaller(book, a, b):
    frozen, (small, large) = sides_of(book), sorted((a, b))
    for side in (frozen.bids, frozen.asks):
        little, much = fill(side, small * E16 // 100), fill(side, large * E16 // 100)
        assert little.filled_e16 <= much.filled_e16
        if much.reason is None:
            assert little.reason is None
            assert little.slippage_bps(side.levels[0][0]) >= 0
            if frozen.mid2 is not None:
                assert little.cost_bps(frozen.mid2) <= much.cost_bps(frozen.mid2)


@QUICK
@given(books())
def test_depth_rises_with_the_band_and_unknown_bands_come_last(book):
    frozen = sides_of(book)
    assume(frozen.mid2 is not None)
    for side in (frozen.bids, frozen.asks):
        bands = [depth_e16(side, frozen.mid2, width) for width in BANDS_BPS]
        known = [value for value in bands if value is not None]
        assert known == sorted(known)
        assert bands == known + [None] * (len(bands) - len(known))


# The recordings --------------------------------------------------------------------------------


@both
def test_bands_and_costs_of_every_second_are_those_of_its_record(symbol):
    """To the bit. Where the best bid lies beyond the known range the record goes by it; a view then has no mid and no cost."""
    assert len(ticks(symbol)) == 346
    no_mid = 0
    for record, whole in ticks(symbol):
        frozen = sides_of(whole)
        if frozen.mid2 is None:
            no_mid += 1
            assert (frozen.no_mid, record.depth_bid, record.cost_sell) == ("beyond_known_range", [None] * 6, [None] * 6)
            continue
        for side, bands, costs, fills in (
            (frozen.bids, record.depth_bid, record.cost_sell, record.fill_sell),
            (frozen.asks, record.depth_ask, record.cost_buy, record.fill_buy),
        ):
            assert [depth_e16(side, frozen.mid2, width) for width in BANDS_BPS] == bands
            taken = [fill(side, size * E16) for size in SIZES_QUOTE]
            assert [one.cost_bps(frozen.mid2) for one in taken] == costs
            assert [one.filled_e16 if one.reason else None for one in taken] == fills
    assert no_mid == (2 if symbol == "BTCUSDT" else 0)


@both
def test_the_stored_twenty_levels_give_the_same_numbers_or_none(symbol):
    """Of a stored snapshot, complete as far as its last level: what it can answer is what the whole book answers."""
    snapshot = next(row.snapshot for row in spot(symbol)[0] if row.second == FIRST)
    record = spot(symbol)[2][FIRST]
    frozen = sides_of(view(snapshot.bids, snapshot.asks), 20)
    for side, bands, costs in (
        (frozen.bids, record.depth_bid, record.cost_sell),
        (frozen.asks, record.depth_ask, record.cost_buy),
    ):
        got = [depth_e16(side, frozen.mid2, width) for width in BANDS_BPS]
        paid = [fill(side, size * E16).cost_bps(frozen.mid2) for size in SIZES_QUOTE]
        assert all(value is None or value == whole for value, whole in zip(got + paid, bands + costs, strict=True))
        # They reach about 1 to 2 bps: 10k is in them on both sides, 5 bps and 1M are not.
        assert (got[2:], paid[0] is None, paid[5]) == ([None] * 4, False, None)
