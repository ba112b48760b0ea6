"""The ring of cells: what is in a cell, which ticks are in the ring, and when it begins anew."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, e8, ns, update

from leadline.core.cells import CELL_SHARE, RING_TICKS, CellRing, cell_height_e8
from leadline.core.near import near_book
from leadline.core.records import BookState
from leadline.core.second import Second

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
TICK = 10**6  # 0.01
BIDS = [("999.99", 1), ("999.95", 2), ("999.949", 3), (995, 4), ("994.99", 5)]
ASKS = [("1000.01", 6), ("1000.05", 7), (1005, 8), ("1005.01", 9)]


class Desk:
    """A Second that is closed once a second."""

    def __init__(self, bids=BIDS, asks=ASKS, *, tick_e8=TICK, limit=5000):
        self.second = Second()
        self.second.set_tick(tick_e8)
        self.t = 0
        self.ready(bids, asks, limit=limit)

    def ready(self, bids=BIDS, asks=ASKS, *, limit=5000):
        self.book = book(bids, asks, limit=limit)
        self.second.book_ready(self.book, 0, resync=False)

    def lost(self):
        self.second.book_lost(gap=True, crossed=False)
        self.book = None

    def diff(self, bids=(), asks=()):
        number = self.book.update_id + 1
        change = update(number, number, bids, asks)
        self.second.depth_coming(change, self.book)
        self.book.apply(change)
        self.second.depth_applied(change, self.book)

    def tick(self, t=None):
        self.t = self.t + 1 if t is None else t
        how = {"reason": None, "epoch": 1, "last_update": (0, 0), "tick_recv_ns": ns(self.t), "sample_ns": ns(self.t)}
        state = BookState.LIVE if self.book else BookState.SYNCING
        self.second.close(self.t, state=state, book=self.book, **how)

    def ticks(self):
        """Seconds of the ring."""
        return [cells.ts_ns // 10**9 for cells in self.second.cells]


# What is in a cell ------------------------------------------------------------------------


def test_a_tick_holds_the_quote_value_of_each_cell_within_50_bps():
    """m = 1000, 50 bps are 5, a cell is 0.05. 995 is cell 19900, 999.949 cell 19998, 999.95 and 999.99 cell 19999.

    The mid lies at the lower edge of cell 20000, which also holds 1000.01. 1000.05 is cell 20001, 1005 cell 20100.
    994.99 and 1005.01 are beyond.
    """
    desk = Desk()
    desk.tick(7)
    [cells] = desk.second.cells
    assert (cells.ts_ns, cells.mid2_e8, cells.cell_e8) == (7 * 10**9, e8(2000), e8("0.05"))
    assert (cells.bid_from, len(cells.bids), cells.ask_from, len(cells.asks)) == (19900, 101, 20000, 101)
    bids = {cells.bid_from + place: value for place, value in enumerate(cells.bids.tolist()) if value}
    assert bids == pytest.approx({19900: 4 * 995, 19998: 3 * 999.949, 19999: 2 * 999.95 + 999.99})
    asks = {cells.ask_from + place: value for place, value in enumerate(cells.asks.tolist()) if value}
    assert asks == pytest.approx({20000: 6 * 1000.01, 20001: 7 * 1000.05, 20100: 8 * 1005})
    assert (cells.known_bid_e8, cells.known_ask_e8) == (None, None)


def test_the_known_edges_are_those_of_the_book():
    desk = Desk([("999.99", 1), (999, 1)], [("1000.01", 1), (1001, 1)], limit=2)
    desk.tick()
    [cells] = desk.second.cells
    assert (cells.known_bid_e8, cells.known_ask_e8) == (e8(999), e8(1001))


def test_what_was_given_out_changes_no_more():
    desk = Desk()
    desk.tick()
    held = desk.second.cells
    before = held[0].bids.copy()
    desk.diff([("999.5", 100)])
    desk.tick()
    assert (len(held), held[0].bids.tolist()) == (1, before.tolist())
    with pytest.raises(ValueError, match="read-only"):
        held[0].bids[0] = 1.0


levels = st.dictionaries(st.integers(1, 1200), st.integers(1, 99), min_size=1, max_size=25)


@QUICK
@given(levels, levels, st.sampled_from([1, 7, 50, 2_000]), st.integers(-3, 3))
def test_the_cells_of_any_book_equal_a_plain_loop_over_fractions(below, above, tick, shift):
    """Levels on a grid of 0.05 bps around 100 + shift / 1000: many lie on edges of cells and of the 50 bps. tick: of 1e-4."""
    middle = Fraction(100) + Fraction(shift, 1000)
    bids = {middle - Fraction(n, 2000): quantity for n, quantity in below.items()}
    asks = {middle + Fraction(n, 2000): quantity for n, quantity in above.items()}
    sides = [[(Decimal(float(p)).quantize(Decimal("1e-8")), q) for p, q in side.items()] for side in (bids, asks)]
    desk = Desk(*sides, tick_e8=tick * 10**4)
    desk.tick()
    [cells] = desk.second.cells
    mid = (max(bids) + min(asks)) / 2
    height = Fraction(tick, 10_000) * max(1, int(mid / CELL_SHARE / Fraction(tick, 10_000) + Fraction(1, 2)))
    assert Fraction(cells.cell_e8, 10**8) == height
    for side, first, found in ((bids, cells.bid_from, cells.bids), (asks, cells.ask_from, cells.asks)):
        expected = {}
        for price, quantity in side.items():
            if abs(price - mid) / mid * 10_000 <= 50:
                expected[price // height] = expected.get(price // height, 0) + float(price * quantity)
        assert {first + n: value for n, value in enumerate(found.tolist()) if value} == pytest.approx(expected)
    assert cells.bid_from + len(cells.bids) - 1 == cells.ask_from == mid // height


# The height of a cell ----------------------------------------------------------------------


@pytest.mark.parametrize(("mid", "ticks"), [(1000, 5), ("1099.99", 5), (1100, 6), (100, 1), (5, 1), ("61686", 308)])
def test_a_cell_is_a_twenty_thousandth_of_the_mid_in_whole_ticks_halves_up_and_at_least_one(mid, ticks):
    """1100 / 20000 = 0.055: 5.5 ticks."""
    assert cell_height_e8(2 * e8(mid), TICK) == ticks * TICK


def test_within_five_percent_of_its_mid_a_height_is_kept():
    """From 1000: 1050 and 950 are within, and would be 5.25 and 4.75 ticks; 1050.01 is not."""
    assert cell_height_e8(2 * e8(1050), TICK, 7 * TICK, 2 * e8(1000)) == 7 * TICK
    assert cell_height_e8(2 * e8(950), TICK, 7 * TICK, 2 * e8(1000)) == 7 * TICK
    assert cell_height_e8(2 * e8("1050.01"), TICK, 7 * TICK, 2 * e8(1000)) == 5 * TICK
    assert cell_height_e8(2 * e8("949.99"), TICK, 7 * TICK, 2 * e8(1000)) == 5 * TICK


class Rings:
    """A bare ring, fed with books whose mids are given."""

    def __init__(self, tick_e8=TICK):
        self.ring = CellRing(tick_e8)
        self.t = 0

    def at(self, *mids):
        for mid in mids:
            self.t += 1
            half = Decimal("0.01")
            self.ring.add(self.t, near_book(book([(Decimal(mid) - half, 1)], [(Decimal(mid) + half, 1)])))
        return [(cells.mid2_e8 // 2 / 1e8, cells.cell_e8 // TICK) for cells in self.ring.ticks]


def test_the_ring_begins_anew_when_the_height_changes():
    """5 ticks at 1000. 1090 is more than 5 % away, but 5.45 ticks are 5 too; from there on 5 are held. 1200 is 6 ticks."""
    rings = Rings()
    assert rings.at(1000, 1090) == [(1000, 5), (1090, 5)]
    assert rings.at(1140) == [(1000, 5), (1090, 5), (1140, 5)], "5.7 ticks would be 6, but 1140 is within 5 % of 1090"
    assert rings.at(1200, 1145) == [(1200, 6), (1145, 6)]


def test_a_height_is_held_from_the_mid_it_was_chosen_for_not_from_the_last():
    """1101 is 10 % above 1000, though less than 5 % above 1049: 5.505 ticks are 6."""
    assert Rings().at(1000, 1049, 1101) == [(1101, 6)]


def test_another_tick_size_begins_another_ring_and_the_same_does_not():
    rings = Rings()
    rings.at(1000, 1001)
    rings.ring.set_tick(TICK)
    assert len(rings.ring.ticks) == 2
    rings.ring.set_tick(20 * TICK)
    assert rings.ring.ticks == ()
    assert rings.at(1000) == [(1000, 20)]
    rings.ring.set_tick(None)
    assert rings.at(1000) == []


# Which ticks ----------------------------------------------------------------------------------


def test_without_a_tick_size_there_is_no_ring():
    desk = Desk(tick_e8=None)
    desk.tick()
    assert desk.second.cells == ()
    desk.second.set_tick(TICK)
    desk.tick()
    assert desk.ticks() == [2]


def test_the_ring_holds_the_last_thirty_ticks_oldest_first():
    desk = Desk()
    for _ in range(RING_TICKS + 5):
        desk.tick()
    assert desk.ticks() == list(range(6, 36))


def test_seconds_that_were_missed_push_old_ticks_out():
    """At 40 the ring reaches back to 11."""
    desk = Desk()
    for t in (9, 10, 11, 12, 40):
        desk.tick(t)
    assert desk.ticks() == [11, 12, 40]


def test_a_tick_without_a_mid_has_no_cells_and_the_others_stay():
    desk = Desk([(999, 1)], [(1001, 1)])
    desk.tick()
    desk.diff([(999, 0)])
    desk.tick()
    desk.diff([(999, 1)])
    desk.tick()
    assert desk.ticks() == [1, 3]


def test_a_clock_that_was_set_back_begins_a_new_ring():
    for ticks, ring in (((10, 11, 5, 6), [5, 6]), ((10, 11, 11), [11])):
        desk = Desk()
        for t in ticks:
            desk.tick(t)
        assert desk.ticks() == ring


def test_the_ring_belongs_to_one_epoch():
    desk = Desk()
    desk.tick()
    desk.lost()
    assert desk.second.cells == ()
    desk.tick()
    assert desk.second.cells == ()
    desk.ready()
    desk.tick()
    assert desk.ticks() == [3]
    desk.ready()  # an epoch that ended and another that began between two ticks
    desk.tick()
    assert desk.ticks() == [4]


def test_a_new_epoch_holds_no_height_of_the_one_before():
    """5.25 ticks are 5 at 1050, and would be held at 1100, within 5 %. Chosen anew there, 5.5 are 6."""
    desk = Desk([("1049.99", 1)], [("1050.01", 1)])
    desk.tick()
    assert desk.second.cells[0].cell_e8 == 5 * TICK
    desk.lost()
    desk.ready([("1099.99", 1)], [("1100.01", 1)])
    desk.tick()
    assert desk.second.cells[0].cell_e8 == 6 * TICK


def test_an_anchor_that_takes_the_books_place_leaves_the_ring():
    desk = Desk()
    desk.tick()
    desk.book = book(BIDS, ASKS, update_id=desk.book.update_id)
    desk.second.book_swapped(desk.book)
    desk.tick()
    assert desk.ticks() == [1, 2]
