"""What holds for every answer about a frozen book: the unknown is not given, and units and sides do not matter."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_books import BEYOND, E16, EMPTY, QUICK, TICK, Z, books, ladder_of, prices, taking, top_of
from tests.core.build import e8

from leadline.analytics.book_sides import sides_of
from leadline.analytics.ladder import CutBy, LadderSide
from leadline.analytics.microprice import MicroPrice

# What is not known is not given --------------------------------------------------------------


@pytest.mark.parametrize("empty", ["bids", "asks"])
def test_a_book_with_one_side_has_no_mid(empty):
    one, word = replace(Z, **{empty: ()}), empty[:3]
    top = top_of(one)
    gone = {"mid2_e8", "spread_e8", "spread_bps", "spread_ticks", "weighted_mid", "microprice_fitted", "imbalance"}
    gone |= {"walls", f"best_{word}_e8", f"best_{word}_size_e8"}
    assert {name for name in top.__struct_fields__ if getattr(top, name) is None} - {"imbalance_ratio"} == gone
    assert {top.reasons[name] for name in gone} == {"undefined"}
    assert {(band.bid_e16, band.ask_e16, band.imbalance) for band in top.depth} == {(None, None, None)}
    assert top.imbalance_top20 == (-1 if empty == "bids" else 1)
    taken = taking(one, 100)
    alive, dead = (taken.buy, taken.sell) if empty == "bids" else (taken.sell, taken.buy)
    assert (dead.filled_e16, dead.filled_e8, dead.reason, dead.levels_used) == (0, 0, "exhausted", 0)
    assert (alive.filled_e16, alive.cost_bps, alive.reason) == (100 * E16, None, "undefined")
    assert alive.avg_price_e8 is not None
    banded = ladder_of(one, max_bps=Decimal(10))
    assert banded.bids == banded.asks == LadderSide((), False, CutBy.BPS, 0, "undefined")


def test_an_empty_book_gives_no_number():
    top = top_of(EMPTY)
    assert (top.best_bid_e8, top.mid2_e8, top.imbalance_top20, top.imbalance_ratio) == (None, None, None, None)
    assert (top.bid_volume_e8, top.ask_volume_e8) == (0, 0)
    assert ladder_of(EMPTY).bids == ladder_of(EMPTY, cut_at=5).asks == LadderSide((), True, CutBy.BOOK_END, 0, None)


def test_a_best_price_beyond_the_known_range_is_not_the_best():
    """Between the edge and the best bid nothing is known."""
    book = replace(Z, known_bid=e8("99.95"))
    top = top_of(book)
    assert (top.best_bid_e8, top.mid2_e8, top.bid_volume_e8, top.best_ask_e8) == (None, None, None, e8("100.1"))
    assert {top.reasons[name] for name in ("best_bid_e8", "mid2_e8", "bid_volume_e8", "imbalance_top20", "walls")} == {BEYOND}
    taken = taking(book, 100)
    assert (taken.buy.cost_bps, taken.buy.reason, taken.sell.filled_e16) == (None, BEYOND, 0)


def changed(before, after, path=""):
    """Every place where the second differs from the first other than by being null."""
    if after is None:
        return []
    if isinstance(before, dict):
        return [where for key in before for where in changed(before[key], after[key], f"{path}.{key}")]
    if isinstance(before, list):
        assert len(before) == len(after)
        return [where for i, pair in enumerate(zip(before, after, strict=True)) for where in changed(*pair, f"{path}.{i}")]
    return [] if before == after else [path]


FLAT = MicroPrice(TICK, (0.0,) * 20, 1)


@QUICK
@given(books(), prices, prices)
def test_knowing_less_only_turns_values_to_null(book, bid_edge, ask_edge):
    """Edges moved towards the mid. Amounts that could be filled are told as far as is known, so they are no part of this."""
    edges = e8(1000) - bid_edge * TICK, e8(1000) + ask_edge * TICK
    assume(book.known_bid is None or edges[0] >= book.known_bid)
    assume(book.known_ask is None or edges[1] <= book.known_ask)
    nearer = replace(book, known_bid=edges[0], known_ask=edges[1])
    answers = []
    for one in (book, nearer):
        top = msgspec.to_builtins(top_of(one, TICK, wall_thresholds_quote=[5000.0] * 6, microprice=FLAT))
        taken = msgspec.to_builtins(taking(one, 5000))
        for answer in (top, taken):
            del answer["reasons"]
        for estimate in (*top["buy"], *top["sell"], taken["buy"], taken["sell"]):
            for name in ("filled_e16", "filled_e8", "levels_used", "reason"):
                del estimate[name]
        answers.append(msgspec.json.decode(msgspec.json.encode({"top": top, "taken": taken})))
    assert changed(*answers) == []
    before, after = (ladder_of(one, TICK, levels=5) for one in (book, nearer))
    assert (before.bids.rows, before.asks.rows) == (after.bids.rows, after.asks.rows)
    assert before.bids.complete >= after.bids.complete
    assert before.asks.complete >= after.asks.complete


@QUICK
@given(books())
def test_every_null_has_a_reason(book):
    top = top_of(book, TICK)
    assert {name for name in top.__struct_fields__ if getattr(top, name) is None} == {n for n in top.reasons if "." not in n}
    for band in top.depth:
        for name in ("bid_e16", "ask_e16", "imbalance"):
            assert (getattr(band, name) is None) == (f"depth.{band.bps}.{name}" in top.reasons)
    taken = taking(book, 100_000)
    assert {name for name in taken.__struct_fields__ if getattr(taken, name) is None} == set(taken.reasons)
    for side in (taken.buy, taken.sell, *top.buy, *top.sell):
        assert (side.cost_bps is None) == (side.reason is not None)
        assert (side.avg_price_e8 is None) == (side.slippage_bps is None) == (side.filled_e16 < side.notional_e16)


# Units and sides ------------------------------------------------------------------------------


def scaled(book, price, quantity):
    edges = [None if edge is None else edge * price for edge in (book.known_bid, book.known_ask)]
    bids, asks = (tuple((p * price, q * quantity) for p, q in side) for side in (book.bids, book.asks))
    return replace(book, bids=bids, asks=asks, known_bid=edges[0], known_ask=edges[1])


@QUICK
@given(books(), st.integers(2, 9), st.integers(2, 9))
def test_ratios_do_not_depend_on_the_units_of_price_and_quantity(book, price, quantity):
    """Sizes and depth go with both factors."""
    big = scaled(book, price, quantity)
    one, other = top_of(book, TICK), top_of(big, TICK * price)
    for name in ("spread_bps", "spread_ticks", "imbalance", "imbalance_top20", "imbalance_ratio"):
        assert getattr(one, name) == getattr(other, name)
    for band, large in zip(one.depth, other.depth, strict=True):
        assert band.imbalance == large.imbalance
        for value, times in ((band.bid_e16, large.bid_e16), (band.ask_e16, large.ask_e16)):
            assert times == (None if value is None else value * price * quantity)
    taken, large = taking(book, 1000), taking(big, 1000 * price * quantity)
    for mine, its in ((taken.buy, large.buy), (taken.sell, large.sell)):
        assert (mine.cost_bps, mine.slippage_bps, mine.levels_used, mine.reason) == (
            *(its.cost_bps, its.slippage_bps, its.levels_used, its.reason),
        )


@QUICK
@given(books())
def test_sides_trade_places_in_a_mirror(book):
    """Reflected at the mid: sums of price times quantity and costs agree to first order only, the rest exactly."""
    mid2 = sides_of(book).mid2
    assume(mid2 is not None)
    mirror = [tuple((mid2 - p, q) for p, q in side) for side in (book.asks, book.bids)]
    edges = [None if edge is None else mid2 - edge for edge in (book.known_ask, book.known_bid)]
    swapped = replace(book, bids=mirror[0], asks=mirror[1], known_bid=edges[0], known_ask=edges[1])
    one, other = top_of(book, TICK), top_of(swapped, TICK)
    assert (one.mid2_e8, one.spread_e8, one.spread_bps) == (other.mid2_e8, other.spread_e8, other.spread_bps)
    assert (one.bid_volume_e8, one.ask_volume_e8) == (other.ask_volume_e8, other.bid_volume_e8)
    assert one.imbalance == -other.imbalance
    assert one.imbalance_top20 == (None if other.imbalance_top20 is None else -other.imbalance_top20)
    assert one.weighted_mid + other.weighted_mid == pytest.approx(one.mid2_e8 / 1e8, rel=1e-12)
    for band, reflected in zip(one.depth, other.depth, strict=True):
        for value, seen in ((band.bid_e16, reflected.ask_e16), (band.ask_e16, reflected.bid_e16)):
            assert (value is None) == (seen is None)
            assert value is None or value == pytest.approx(seen, rel=2.1 * band.bps / 1e4)
    near, far = taking(book, 1), taking(swapped, 1)
    for cost, seen in ((near.buy.cost_bps, far.sell.cost_bps), (near.sell.cost_bps, far.buy.cost_bps)):
        if cost is not None and seen is not None:
            assert cost == pytest.approx(seen, rel=0.1)
