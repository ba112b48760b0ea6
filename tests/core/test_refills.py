"""Refills, sweeps beyond the display, and which of a second's level events are listed."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, e8, ns, quote, trade, update

from leadline.core.records import BookState, LevelEvent
from leadline.core.refills import WAITING_MAX, Refills
from leadline.core.second import LEVEL_EVENTS_MAX, Second

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
BIDS, ASKS = [(99, 5)], [(101, 5)]


class Desk:
    """A Second over a LIVE book, with a ticker that says what the book says until it is told otherwise."""

    def __init__(self, bids=BIDS, asks=ASKS):
        self.second = Second()
        self.ids = self.t = 0
        self.book = book(bids, asks)
        self.second.book_ready(self.book, 0, resync=False)

    def ticker(self, bid_qty=5, ask_qty=5, *, bid=99, ask=101, at=0):
        self.ids += 1
        self.second.quote_received(quote(self.ids, bid, bid_qty, ask, ask_qty, recv=at))

    def trade(self, price, quantity, *, buys=True, at=0):
        self.ids += 1
        self.second.trade_received(trade(self.ids, price, quantity, buys=buys, at=at if at else self.ids))

    def diff(self, at, bids=(), asks=()):
        number = self.book.update_id + 1
        change = update(number, number, bids, asks, at=at, recv=0)
        self.second.depth_coming(change, self.book)
        self.book.apply(change)
        self.second.depth_applied(change, self.book)

    def tick(self):
        self.t += 1
        state = BookState.LIVE if self.book else BookState.SYNCING
        how = {"reason": None, "epoch": 1, "last_update": (0, 0), "tick_recv_ns": ns(self.t), "sample_ns": ns(self.t)}
        return self.second.close(self.t, state=state, book=self.book, **how)[1]

    def refills(self):
        """(price, excess) as listed."""
        events = [event for event in self.tick().level_events if event.kind == "refill"]
        return [(event.price_e8 // 10**8, Fraction(event.traded_e8 - event.displayed_e8, 10**8)) for event in events]

    def watched(self):
        """A diff at 0 at which a ticker stood."""
        self.ticker()
        self.diff(0)
        return self


# Refills ----------------------------------------------------------------------------------


def test_three_diffs_with_an_excess_at_one_price_are_a_refill():
    """5 are shown at 101. 7, 6 and 8 are bought there between the diffs: 2 + 1 + 3 more than shown."""
    desk = Desk().watched()
    for at, bought in ((1, 7), (2, 6), (3, 8)):
        desk.trade(101, bought)
        desk.diff(at)
    record = desk.tick()
    assert record.level_events == [
        LevelEvent("refill", "ask", e8(101), e8(5), e8(15), e8(21), 1000, 3000, pytest.approx(100.0)),
    ]
    assert desk.refills() == [], "no news, no entry"


def test_two_diffs_with_an_excess_are_none():
    desk = Desk().watched()
    for at, bought in ((1, 7), (2, 9), (3, 5)):
        desk.trade(101, bought)
        desk.diff(at)
    assert desk.refills() == []


@pytest.mark.parametrize(("last", "found"), [("10.999", [(101, 6)]), ("11", [])])
def test_they_lie_within_ten_seconds_of_event_time(last, found):
    desk = Desk().watched()
    for at in ("1", "5", last):
        desk.trade(101, 7)
        desk.diff(at)
    assert desk.refills() == found


def test_bids_are_refilled_by_what_takers_sell():
    desk = Desk().watched()
    for at in (1, 2, 3):
        desk.trade(99, 6, buys=False)
        desk.trade(101, 5)
        desk.diff(at)
    [event] = desk.tick().level_events
    assert (event.side, event.price_e8, event.traded_e8 - event.displayed_e8) == ("bid", e8(99), e8(3))


def test_what_is_traded_in_parts_between_two_diffs_is_one_sum():
    desk = Desk().watched()
    for at in (1, 2, 3):
        for bought in (4, 3):
            desk.trade(101, bought)
        desk.diff(at)
    assert desk.refills() == [(101, 6)]


def test_shown_is_the_larger_of_the_book_at_the_diff_before_and_the_ticker_since():
    """9 are bought three times. The ticker shows 3, then 8, then 4 before the second diff: 1 more. The book holds 6: 3 more."""
    desk = Desk().watched()
    desk.ticker(ask_qty=3)
    desk.ticker(ask_qty=8)
    desk.trade(101, 9)
    desk.ticker(ask_qty=4)
    desk.diff(1, [], [(101, 6)])
    desk.trade(101, 9)
    desk.diff(2)
    desk.trade(101, 9)
    desk.diff(3)
    [event] = desk.tick().level_events
    assert (event.peak_e8, event.displayed_e8, event.traded_e8) == (e8(8), e8(8 + 6 + 6), e8(27))


def test_what_the_ticker_shows_elsewhere_is_not_shown_at_a_price():
    """Sold below the best bid and bought above the best ask, 2 more than rest there; at the best 50 are shown."""
    desk = Desk([(99, 5), (98, 3)], [(101, 5), (102, 3)])
    desk.ticker(50, 50)
    desk.diff(0)
    for at in (1, 2, 3):
        desk.trade(98, 5, buys=False)
        desk.trade(102, 5)
        desk.diff(at)
    assert sorted(desk.refills()) == [(98, 6), (102, 6)]


def test_the_ticker_that_stood_at_the_diff_before_was_shown_since():
    """The ticker ran ahead: it shows 9 at 101 when the diff comes that still says 5, and says no more. 9 are bought."""
    desk = Desk()
    desk.ticker(ask_qty=9)
    desk.diff(0)
    for at in (1, 2, 3):
        desk.trade(101, "9.5")
        desk.diff(at)
    assert desk.refills() == [(101, Fraction(3, 2))]


def test_a_price_that_nobody_shows_is_exceeded_by_all_that_trades_there():
    desk = Desk().watched()
    for at in (1, 2, 3):
        desk.trade(103, 2)
        desk.diff(at)
    [event] = desk.tick().level_events
    assert (event.peak_e8, event.displayed_e8, event.traded_e8) == (0, 0, e8(6))


def test_without_a_ticker_there_are_no_refills():
    desk = Desk()
    for at in (0, 1, 2, 3):
        desk.trade(101, 9)
        desk.diff(at)
    assert desk.refills() == []


def test_what_traded_before_the_first_diff_of_an_epoch_is_compared_with_nothing():
    desk = Desk()
    desk.ticker()
    for at in (0, 1, 2):
        desk.trade(101, 9)
        desk.diff(at)
    assert desk.refills() == []
    desk.trade(101, 9)
    desk.diff(3)
    assert desk.refills() == [(101, 12)]


def test_a_ticker_whose_connection_ended_shows_nothing_until_it_speaks_again():
    desk = Desk().watched()
    for at in (1, 2):
        desk.trade(101, 9)
        desk.diff(at)
    desk.second.disconnected()
    desk.trade(101, 9)
    desk.diff(3)
    desk.ticker()
    desk.trade(101, 9)
    desk.diff(4)
    assert desk.refills() == []
    desk.trade(101, 9)
    desk.diff(5)
    assert desk.refills() == [(101, 12)]


def test_a_refill_that_goes_on_is_told_once_a_second_with_its_largest_sum():
    desk = Desk().watched()
    told = []
    for at in range(1, 13):
        desk.trade(101, 6)
        desk.diff(Decimal(at) / 2)
        if not at % 2:
            told.append(desk.refills())
    assert told == [[], *[[(101, sums)] for sums in (4, 6, 8, 10, 12)]]


def test_the_largest_sum_of_a_second_is_not_overwritten_by_a_smaller_one():
    """At 3.0 the sum is 50 + 1 + 1; at 12.9 the 50 of 1.0 have left: 1 + 1 + 1. Both before one late tick."""
    desk = Desk().watched()
    for at, bought in (("1", 55), ("2.95", 6), ("3", 6), ("12.9", 6)):
        desk.trade(101, bought)
        desk.diff(at)
    assert desk.refills() == [(101, 52)]


def test_the_end_of_an_epoch_forgets_the_excesses_and_what_was_to_be_told():
    desk = Desk().watched()
    for at in (1, 2, 3):
        desk.trade(101, 7)
        desk.diff(at)
    desk.second.book_lost(gap=True, crossed=False)
    desk.book = book(BIDS, ASKS)
    desk.second.book_ready(desk.book, 0, resync=True)
    for at in (4, 5, 6):  # the first diff of the epoch has none before it
        desk.trade(101, 7)
        desk.diff(at)
    assert desk.refills() == []
    desk.trade(101, 7)
    desk.diff(7)
    assert desk.refills() == [(101, 6)]


def test_a_book_that_is_lost_keeps_no_trades_and_tickers_waiting():
    refills = Refills()
    refills.restart()
    for number in range(5):
        refills.quote(quote(number, 99, 5, 101, 5))
        refills.trade(trade(number))
    assert refills.close() == []
    assert (len(refills._quotes), len(refills._trades)) == (1, 0)


def test_what_was_shown_in_an_interval_too_long_to_remember_is_not_exceeded():
    """A book without a diff under a ticker that goes on: what it showed first is let go, so nothing is said of that interval."""
    desk = Desk().watched()
    desk.ticker(ask_qty=500)
    for _ in range(WAITING_MAX):
        desk.ticker()
    desk.tick()
    assert len(desk.second._refills._quotes) == 1
    for at in (1, 2, 3):
        desk.trade(101, 9)
        desk.diff(at)
    assert desk.refills() == []
    desk.trade(101, 9)
    desk.diff(4)
    assert desk.refills() == [(101, 12)]


def model(steps):
    """Excess sums by diff and price, by the words of the definition, from all that ever happened.

    steps: [(E, tickers, trades, asks after)], a ticker is (ask, size), a trade is (price, quantity); the first step is before.
    """
    excesses = defaultdict(list)
    told = []
    for (_, tickers_before, _, held), (at, tickers, trades, _) in pairwise(steps):
        standing = tickers_before[-1:]
        for price in {price for price, _ in trades}:
            traded = sum(quantity for its_price, quantity in trades if its_price == price)
            shown = max([held.get(price, 0)] + [size for its_price, size in [*standing, *tickers] if its_price == price])
            if traded > shown:
                excesses[price].append((at, traded, shown))
        told.append({
            price: (sum(row[1] for row in recent), sum(row[2] for row in recent))
            for price, rows in excesses.items()
            if rows and rows[-1][0] == at and len(recent := [row for row in rows if row[0] > at - 10]) >= 3
        })  # fmt: skip
    return told


asks = st.dictionaries(st.integers(101, 104), st.integers(0, 6), max_size=3)
rows = st.tuples(
    st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(4)]),
    st.lists(st.tuples(st.integers(101, 103), st.integers(1, 6)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(101, 103), st.integers(1, 9)), max_size=4),
    asks,
)


@QUICK
@given(asks, st.lists(rows, min_size=5, max_size=25))
def test_generated_trades_have_the_refills_of_the_definition(start, moves):
    """A tick after each diff, so that each running sum is told. The ask at 105 is always there."""
    desk = Desk(asks=[*start.items(), (105, 1)])
    held, at, steps, told = dict(start), Fraction(0), [], []
    for gap, tickers, trades, change in moves:
        at += gap
        for price, size in tickers:
            desk.ticker(ask=price, ask_qty=size)
        for price, quantity in trades:
            desk.trade(price, quantity)
        desk.diff(float(at), [], change.items())
        held = held | change
        steps.append((at, tickers, trades, held))
        told.append({
            event.price_e8 // 10**8: (event.traded_e8 // 10**8, event.displayed_e8 // 10**8)
            for event in desk.tick().level_events
            if event.kind == "refill"
        })  # fmt: skip
    assert told[1:] == model(steps)
    assert told[0] == {}


# Sweeps ------------------------------------------------------------------------------------


def test_a_sweep_beyond_the_display_is_listed_with_what_was_shown_and_what_was_taken():
    """At most 7 at 101 in the 100 ms before; 5 + 4 taken there at trade time 9, then 1 at 102. The mid of the ticker: 100."""
    desk = Desk()
    desk.ticker(ask_qty=7, at="0.1")
    desk.ticker(ask_qty=3, at="0.15")
    for price, quantity in ((101, 5), (101, 4), (102, 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.2"))
    record = desk.tick()
    assert (record.n_sweeps, record.n_excess, record.excess_quote) == (1, 1, 202 * 10**16)
    assert record.level_events == [
        LevelEvent("sweep_excess", "ask", e8(101), e8(7), e8(7), e8(9), 9000, 9000, pytest.approx(100.0)),
    ]


def test_a_sweep_of_a_price_that_no_ticker_showed_exceeds_nothing():
    """It began at 102, where the ticker of the last 100 ms never was: what rested there is not known."""
    desk = Desk()
    desk.ticker(at="0.1")
    for price, quantity in ((102, 50), (103, 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.15"))
    record = desk.tick()
    assert (record.n_sweeps, record.n_excess, record.excess_quote, record.level_events) == (1, 0, 0, [])


def test_a_sweep_without_a_mid_is_counted_and_not_listed():
    desk = Desk()
    desk.ticker(bid=0, bid_qty=0, ask_qty=3, at="0.1")
    for price, quantity in ((101, 5), (102, 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.15"))
    record = desk.tick()
    assert (record.n_excess, record.excess_quote, record.level_events) == (1, 202 * 10**16, [])


def test_a_sweep_stays_listed_when_the_book_is_lost_and_its_trades_are_facts():
    desk = Desk()
    desk.ticker(bid_qty=3, at="0.1")
    for price, quantity in ((99, 5), (98, 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.15", buys=False))
    desk.second.book_lost(gap=True, crossed=False)
    desk.book = None
    assert [(event.kind, event.side) for event in desk.tick().level_events] == [("sweep_excess", "bid")]


# The list ------------------------------------------------------------------------------------


CALM = [("999.9", "0.1")], [("1000.1", "0.1")]


def test_the_list_holds_the_eight_of_largest_value_and_counts_the_rest():
    """Bids of 100 to 109 at 999.8 down to 999.35, dead after 0.1 s, and a sweep of 9 where 7 were shown: worth least of all."""
    desk = Desk(*CALM)
    desk.second.set_size_thresholds([1000.0] * 6)
    prices = [str(Decimal("999.8") - Decimal(n) / 20) for n in range(10)]
    desk.diff(1, [(price, 100 + n) for n, price in enumerate(prices)])
    desk.diff("1.1", [(price, 0) for price in prices])
    desk.ticker(bid="999.9", ask="1000.1", ask_qty=7, at="0.1")
    for price, quantity in (("1000.1", 9), ("1000.2", 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.2"))
    record = desk.tick()
    assert (record.n_large_bid, record.n_excess) == (10, 1)
    assert (len(record.level_events), record.level_events_dropped) == (LEVEL_EVENTS_MAX, 3)
    assert [event.price_e8 for event in record.level_events] == [e8(price) for price in reversed(prices[2:])]


def test_a_refill_and_a_sweep_are_ranked_by_their_excess_and_a_fleeting_level_by_its_peak():
    """A level of 30 at 999.5 with 2 left; a refill of 3 x 20 more than the 0.1 shown; a sweep of 9 where 7 were shown."""
    desk = Desk(*CALM)
    desk.second.set_size_thresholds([1000.0] * 6)
    desk.ticker("0.1", "0.1", bid="999.9", ask="1000.1")
    desk.diff(0, [("999.5", 30)])
    for at in (1, "1.1", "1.2"):
        desk.trade("999.9", "20.1", buys=False)
        desk.diff(at, [("999.5", 2)])
    desk.ticker(bid="999.9", ask="1000.1", ask_qty=7, at="0.1")
    for price, quantity in (("1000.1", 9), ("1000.2", 1)):
        desk.ids += 1
        desk.second.trade_received(trade(desk.ids, price, quantity, at=9, recv="0.2"))
    assert [event.kind for event in desk.tick().level_events] == ["refill", "fleeting", "sweep_excess"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_events_of_equal_value_stand_in_an_order_that_does_not_depend_on_arrival(order):
    """999.5 x 1000.5 on both sides."""
    desk = Desk(*CALM)
    desk.second.set_size_thresholds([1000.0] * 6)
    births = ([("999.5", "1000.5")], []), ([], [("1000.5", "999.5")])
    deaths = ([("999.5", 0)], []), ([], [("1000.5", 0)])
    for at, side in enumerate(order):
        desk.diff(Decimal(at) / 10, *births[side])
    for at, side in enumerate(order):
        desk.diff(1 + Decimal(at) / 10, *deaths[side])
    assert [event.side for event in desk.tick().level_events] == ["ask", "bid"]
