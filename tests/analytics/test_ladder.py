"""The ladder of a frozen book: the cuts of book Z by hand, which rows may be called complete, and a model of plain loops."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_books import (
    E16,
    EMPTY,
    QUICK,
    TICK,
    Model,
    Z,
    books,
    ladder_of,
    mid_of,
    quantities,
    rows,
    view,
    widths,
)
from tests.core.build import e8, levels

from leadline.analytics.ladder import Encoding, encoded
from leadline.core.errors import InvalidRequest

# Book Z, by hand: mid 100 --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "bids", "asks", "cut_by"),
    [
        ({"max_notional_e16": 400 * E16}, [(99.9, 3), (99.8, 2)], [(100.1, 1), (100.2, 2), (100.6, 5)], "notional"),
        ({"max_bps": Decimal(20)}, [(99.9, 3), (99.8, 2)], [(100.1, 1), (100.2, 2)], "bps"),
        ({"price_step_e8": e8("0.5")}, [(99.5, 9)], [(100.5, 3), (101, 5)], "book_end"),
        ({"levels": 1}, [(99.9, 3)], [(100.1, 1)], "levels"),
        ({"max_notional_e16": 2997 * E16 // 10}, [(99.9, 3)], [(100.1, 1), (100.2, 2)], "notional"),
        ({"max_bps": Decimal("19.9")}, [(99.9, 3)], [(100.1, 1)], "bps"),
        ({}, [(99.9, 3), (99.8, 2), (99.5, 4)], [(100.1, 1), (100.2, 2), (100.6, 5)], "book_end"),
    ],
)
def test_the_cuts_of_the_worked_example(cut, bids, asks, cut_by):
    ladder = ladder_of(Z, **cut)
    assert (rows(ladder.bids), rows(ladder.asks)) == (bids, asks)
    assert (ladder.bids.cut_by, ladder.asks.cut_by) == (cut_by, cut_by)
    assert (ladder.bids.complete, ladder.asks.complete) == (True, True)


def test_cuts_apply_one_after_the_other():
    """20 bps leave 99.9 x 3, 99.8 x 2; 300 quote need both; a step of 1 sums them to 99 x 5; the total is of their own prices."""
    ladder = ladder_of(Z, max_bps=Decimal(20), max_notional_e16=300 * E16, price_step_e8=e8(1), levels=1)
    assert (rows(ladder.bids), ladder.bids.total_e16 / E16, ladder.bids.cut_by) == ([(99, 5)], 499.3, "notional")
    assert (rows(ladder.asks), ladder.asks.total_e16 / E16) == ([(101, 3)], 300.5)


def test_decimals_are_the_symbols_and_integers_are_exact():
    def written(book, encoding, tick="0.1", step="0.01"):
        got = encoded(ladder_of(book, e8(tick), levels=2), encoding, tick_e8=e8(tick), step_e8=e8(step))
        return got.bids, got.asks, got.price_scale, got.qty_scale

    assert written(Z, Encoding.DECIMAL) == ([("99.9", "3.00"), ("99.8", "2.00")], [("100.1", "1.00"), ("100.2", "2.00")], 10, 100)
    assert written(Z, Encoding.INTEGER) == ([(999, 300), (998, 200)], [(1001, 100), (1002, 200)], 10, 100)
    off = view(levels([("99.9", 3), ("99.8125", "2.5")]), levels([("100.1", "0.00000001")]))
    assert written(off, Encoding.DECIMAL)[:2] == ([("99.9", "3.00"), ("99.8125", "2.50")], [("100.1", "0.00000001")])
    assert written(off, Encoding.INTEGER) == ([(999_000, 300_000_000), (998_125, 250_000_000)], [(1_001_000, 1)], 10_000, 10**8)
    whole = view(levels([(95, 3)]), levels([(105, 20)]))
    assert written(whole, Encoding.DECIMAL, "5", "1") == ([("95", "3")], [("105", "20")], 1, 1)
    assert written(EMPTY, Encoding.INTEGER) == ([], [], 10, 100)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("levels", {"levels": n}) for n in (0, 101)),
        *(("max_bps", {"max_bps": Decimal(width)}) for width in ("0", "500.1", "NaN", "Infinity")),
        *(("max_notional", {"max_notional_e16": n}) for n in (0, -1)),
        *(("price_step", {"price_step_e8": n}) for n in (e8("0.15"), 0, -e8("0.1"))),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(field, wrong):
    with pytest.raises(InvalidRequest) as caught:
        ladder_of(Z, **wrong)
    assert caught.value.field == field


def test_the_outermost_cuts_are_made():
    assert ladder_of(Z, levels=100, max_bps=Decimal(500)).bids.complete


# What may be called complete -----------------------------------------------------------------


def test_rows_are_complete_only_if_nothing_among_them_can_be_missing():
    """Known from 99.8 to 100.2."""
    known = replace(Z, known_bid=e8("99.8"), known_ask=e8("100.2"))

    def told(**cut):
        ladder = ladder_of(known, **cut)
        assert (ladder.bids.complete, ladder.bids.cut_by) == (ladder.asks.complete, ladder.asks.cut_by)
        return ladder.bids.complete, ladder.bids.cut_by

    assert told() == (False, "book_end")
    assert told(levels=2) == (True, "levels")
    assert told(levels=3) == (False, "levels")
    assert told(max_bps=Decimal(20)) == (True, "bps")
    assert told(max_bps=Decimal(30)) == (False, "bps")
    assert told(max_bps=Decimal(100)) == (False, "book_end")
    assert told(max_notional_e16=300 * E16) == (True, "notional")
    assert told(max_notional_e16=800 * E16) == (False, "notional")
    # A row of step 0.5 reaches down to 99.5, where not all is known; cut by value before, it holds only what is.
    assert told(price_step_e8=e8("0.5"), levels=1) == (False, "levels")
    assert told(price_step_e8=e8("0.5"), levels=1, max_notional_e16=300 * E16) == (True, "notional")
    assert told(price_step_e8=e8("0.2"), levels=1) == (True, "levels")


def test_a_band_that_is_known_and_holds_all_there_is_ends_by_its_width():
    """Known to 99 and 101, within 70 bps nothing is missing and nothing lies behind; of a complete book that is the end."""
    known = replace(Z, known_bid=e8(99), known_ask=e8(101))
    assert [(side.complete, side.cut_by) for side in (ladder_of(known, max_bps=Decimal(70)).bids,)] == [(True, "bps")]
    assert ladder_of(Z, max_bps=Decimal(70)).bids.cut_by == "book_end"


def test_as_many_rows_as_asked_for_are_enough_where_the_copy_ends():
    assert [ladder_of(Z, levels=n, cut_at=3).bids.complete for n in (2, 3, 4)] == [True, True, False]
    assert ladder_of(Z, levels=3, cut_at=3).asks.cut_by == "levels"
    assert ladder_of(Z, levels=3).asks.cut_by == "book_end"


@QUICK
@given(books(), widths, st.none() | st.integers(1, 10**10), st.sampled_from([None, "0.03", "7"]), st.integers(1, 30), st.data())
def test_rows_that_are_called_complete_stay_when_more_becomes_known(book, width, cents, step, n, data):
    """Whatever levels turn up beyond the known range, a complete side keeps its rows."""
    hidden = {}
    for side, edge, sign in (("bids", book.known_bid, 1), ("asks", book.known_ask, -1)):
        have = dict(getattr(book, side))
        if edge is not None:
            more = data.draw(st.dictionaries(st.integers(1, 500), quantities, max_size=5))
            have = {edge - sign * k * TICK: q for k, q in more.items()} | have
        hidden[side] = tuple(sorted(have.items(), reverse=sign == 1))
    cuts = {"max_bps": width, "price_step_e8": step and e8(step), "levels": n, "max_notional_e16": cents and cents * E16 // 100}
    before, after = ladder_of(book, TICK, **cuts), ladder_of(replace(book, **hidden), TICK, **cuts)
    assert not before.bids.complete or before.bids.rows == after.bids.rows
    assert not before.asks.complete or before.asks.rows == after.asks.rows


# Against plain loops -------------------------------------------------------------------------


@QUICK
@given(
    books(),
    widths,
    st.none() | st.integers(1, 10**10),
    st.none() | st.sampled_from(["0.01", "0.03", "0.5", "7", "2000"]),
    st.integers(1, 30),
)
def test_a_ladder_is_cut_as_by_one_list_after_the_other(book, width, cents, step, n):
    cuts = {"max_notional_e16": cents and cents * E16 // 100, "price_step_e8": step and e8(step)}
    ladder, mid = ladder_of(book, TICK, max_bps=width, levels=n, **cuts), mid_of(book)
    for name, side in (("bid", ladder.bids), ("ask", ladder.asks)):
        want = Model(book, name).rows(mid, width, cents and Fraction(cents, 100), step)[:n]
        assert [(Fraction(p, 10**8), Fraction(q, 10**8)) for p, q in side.rows] == [row[:2] for row in want]
        assert Fraction(side.total_e16, E16) == sum(value for *_, value in want)
    if ladder.bids.rows and ladder.asks.rows:
        assert ladder.bids.rows[0][0] < ladder.asks.rows[0][0]
    decimal, integer = (encoded(ladder, encoding, tick_e8=TICK, step_e8=1000) for encoding in Encoding)
    for side, texts, numbers in ((ladder.bids, decimal.bids, integer.bids), (ladder.asks, decimal.asks, integer.asks)):
        assert [(e8(price), e8(quantity)) for price, quantity in texts] == list(side.rows)
        exact = [(p * 10**8 // integer.price_scale, q * 10**8 // integer.qty_scale) for p, q in numbers]
        assert exact == list(side.rows)
