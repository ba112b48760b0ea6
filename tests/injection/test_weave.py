"""The edited market by itself: by hand on a book of four levels, and as a true stream for every script of the protocol."""

import pickle

import pytest
from bench.injection.cells import Cell, cells
from bench.injection.edits import Ahead, Plot, band, floor
from bench.injection.path import Clean, window
from bench.injection.placements import Placement
from bench.injection.plain import ASK, BID, PlainBook
from bench.injection.run import stage_at
from bench.injection.usual import Usual
from bench.injection.weave import Stage, Withheld, woven
from tests.injection.told import Told

from leadline.core.records import BestQuote, DepthUpdate, Trade

MS = 1_000_000
ALL = cells({1, 2, 3, 4, 5, 6})
# Of each row those that do most; the others differ in strength.
HARDEST = {
    *("burst times=20 seconds=3", "withdrawal share=0.3 one seconds=2", "withdrawal share=0.9 both seconds=30"),
    *("spread bps=1 seconds=10", "spread bps=5 seconds=10", "spread bps=20 seconds=10"),
    *("large level times=10 bps=0.5 life_s=10 flow=1", "large level times=3 bps=5 life_s=1.9 flow=0"),
    *("iceberg refills=10 delay_ms=0 small=0", "iceberg refills=10 delay_ms=50 small=0"),
    *("iceberg refills=3 delay_ms=300 small=0", "iceberg below the filter refills=10 delay_ms=300 small=1"),
    "absorption times=2 seconds=10",
}


def quote(update_id: int, bid: int, bid_qty: int, ask: int, ask_qty: int, at_ms: int) -> BestQuote:
    return BestQuote("X", update_id, bid, bid_qty, ask, ask_qty, at_ms * MS)


def diff(first: int, last: int, bids: list, asks: list, at_ms: int) -> DepthUpdate:
    return DepthUpdate("X", first, last, at_ms * MS, at_ms * MS, tuple(bids), tuple(asks))


def trade(agg: int, price: int, quantity: int, first: int, last: int, sold: bool, at_ms: int) -> Trade:
    return Trade("X", agg, price, quantity, first, last, at_ms * MS, sold, at_ms * MS, at_ms * MS)


def stage() -> Stage:
    """Bids 100x5 99x3, asks 102x4 103x2; ids up to 10, trades up to 7 (fills up to 20)."""
    book = PlainBook(10, [(100, 5), (99, 3)], [(102, 4), (103, 2)])
    return Stage(book, quote(10, 100, 5, 102, 4, 0), trade(7, 100, 1, 20, 20, True, 0), tick_e8=1, lot_e8=1)


def told(base: list, steps) -> list:
    return list(woven(base, market := stage(), steps(market)))


def test_without_a_step_the_stream_is_the_very_same():
    base = [quote(11, 100, 6, 102, 4, 20), trade(8, 100, 1, 21, 22, True, 30), diff(11, 12, [(100, 6)], [], 100)]
    out = told(base, lambda market: iter(()))
    assert all(one is other for one, other in zip(out, base, strict=True))


def test_an_own_level_takes_an_id_when_it_comes_and_one_when_it_goes():
    """98x7 comes before the first diff (ids 11, 12 of the base), goes before the second (id 13). So 11..13 and 14..15."""

    def steps(market: Stage):
        yield 10 * MS
        market.put(BID, 98, 7)
        yield 150 * MS
        market.put(BID, 98, None)

    out = told([diff(11, 12, [(99, 2)], [(104, 1)], 100), diff(13, 13, [], [(104, 0)], 200)], steps)
    assert out == [diff(11, 13, [(99, 2), (98, 7)], [(104, 1)], 100), diff(14, 15, [(98, 0)], [(104, 0)], 200)]


def test_a_level_that_comes_and_goes_inside_a_slot_is_told_as_a_removal():
    def steps(market: Stage):
        yield 10 * MS
        market.put(BID, 98, 7)
        yield 20 * MS
        market.put(BID, 98, None)

    assert told([diff(11, 11, [(99, 2)], [], 100)], steps) == [diff(11, 13, [(99, 2), (98, 0)], [], 100)]


def test_a_better_own_level_is_the_best_and_takers_of_the_base_hit_it():
    """101x2 is bid; a sale of 3 at 100 is done at 101, but for no more than the 2 that are shown there; the next one at 100."""

    def steps(market: Stage):
        yield 10 * MS
        market.put(BID, 101, 2)
        yield 60 * MS
        market.put(BID, 101, None)

    base = [
        trade(8, 100, 3, 21, 23, True, 20),
        trade(9, 100, 1, 24, 24, True, 30),
        quote(11, 100, 1, 102, 4, 40),
        diff(11, 11, [(100, 1)], [], 100),
    ]
    assert told(base, steps) == [
        quote(11, 101, 2, 102, 4, 10),
        trade(8, 101, 2, 21, 23, True, 20),
        trade(9, 100, 1, 24, 24, True, 30),
        quote(13, 100, 1, 102, 4, 60),  # ids 11 for the level, 12 of the base, 13 for its end
        diff(11, 13, [(101, 0), (100, 1)], [], 100),
    ]


def test_withheld_levels_go_at_once_and_are_back_at_the_end():
    """Asks up to 102 are withheld: 102 goes (id 11). The base's 101x1 (its 11, so 12) is told as 0. Then both come (13, 14)."""

    def steps(market: Stage):
        yield 10 * MS
        market.withhold(Withheld(lambda mid2: (None, 102)))
        yield 150 * MS
        market.withhold(None)

    base = [quote(11, 100, 5, 101, 1, 50), diff(11, 11, [], [(101, 1)], 100), diff(12, 12, [(99, 1)], [], 200)]
    assert told(base, steps) == [
        quote(11, 100, 5, 103, 2, 10),
        diff(11, 12, [], [(101, 0), (102, 0)], 100),
        quote(14, 100, 5, 101, 1, 150),
        diff(13, 15, [(99, 1)], [(101, 1), (102, 4)], 200),
    ]


def test_a_taker_put_in_is_a_trade_and_two_changes_of_the_best_level():
    def steps(market: Stage):
        yield 10 * MS
        assert market.take(ASK, 2) == 2
        assert market.take(ASK, 9) == 1, "of four, two were taken before and a lot is left"
        assert market.take(ASK, 9) == 0

    base = [trade(8, 100, 1, 21, 22, True, 30), diff(11, 11, [(99, 1)], [], 100)]
    out = told(base, steps)
    sold = [e for e in out if isinstance(e, Trade)]
    assert [(e.agg_id, e.price_e8, e.quantity_e8, e.first_id, e.last_id, e.buyer_is_maker) for e in sold] == [
        (8, 102, 2, 21, 21, False),
        (9, 102, 1, 22, 22, False),
        (10, 100, 1, 23, 24, True),
    ]
    assert [(e.update_id, e.ask_quantity_e8) for e in out if isinstance(e, BestQuote)] == [(11, 2), (12, 4), (13, 3), (14, 4)]
    assert out[-1] == diff(11, 15, [(99, 1)], [(102, 4)], 100)


def test_where_a_slot_hid_the_true_book_one_more_ticker_comes_before_the_diff():
    """Bids from 100 on are withheld, so 99x3 is the best; the diff has 99 grown to 8 meanwhile, which no ticker could tell."""

    def steps(market: Stage):
        yield 10 * MS
        market.withhold(Withheld(lambda mid2: (100, None)))

    out = told([quote(11, 101, 1, 102, 4, 50), diff(11, 12, [(101, 1), (99, 8)], [], 100)], steps)
    assert out == [
        quote(11, 99, 3, 102, 4, 10),
        quote(13, 99, 8, 102, 4, 100),
        diff(11, 13, [(101, 0), (100, 0), (99, 8)], [], 100),
    ]


def test_a_ticker_more_takes_an_id_more_where_the_last_one_has_the_diff_s_own():
    """As above, but a ticker of the base has the diff's last id 12, which is 13 here: so 14 is taken, and ends the diff."""

    def steps(market: Stage):
        yield 10 * MS
        market.withhold(Withheld(lambda mid2: (100, None)))

    out = told([quote(12, 101, 1, 102, 9, 50), diff(11, 12, [(101, 1), (99, 8)], [(102, 9)], 100)], steps)
    assert [event.update_id for event in out if isinstance(event, BestQuote)] == [11, 13, 14]
    assert (out[-1].first_id, out[-1].last_id) == (11, 14)


def test_limits_follow_the_base_inside_a_slot():
    """Bids from mid - 1 on are withheld. Mid 101: from 100 on, so 99 is best. Mid 102.5: from 101 on, so 100 is back."""

    def steps(market: Stage):
        yield 10 * MS
        market.withhold(Withheld(lambda mid2: (mid2 // 2 - 1, None)))

    out = told([quote(11, 101, 1, 104, 4, 50)], steps)
    assert out == [quote(11, 99, 3, 102, 4, 10), quote(12, 100, 5, 104, 4, 50)]


def test_behind_the_touch_stands_the_last_book_and_before_it_nothing():
    market = stage()
    market.base(quote(11, 99, 3, 103, 7, 50))
    assert [market.shown(BID, price) for price in (100, 99, 98)] == [0, 3, 0]
    assert [market.shown(ASK, price) for price in (102, 103, 104)] == [0, 7, 0]


def test_a_step_at_the_moment_of_an_event_goes_first():
    def steps(market: Stage):
        yield 100 * MS
        market.put(BID, 98, 7)

    assert told([diff(11, 11, [(99, 2)], [], 100)], steps) == [diff(11, 12, [(99, 2), (98, 7)], [], 100)]


def test_a_band_has_its_edges_and_each_price_its_own_lot():
    """10 bps of a mid of 10,000 (mid2 20,000): bids from 9,990, asks up to 10,010."""
    assert band(10).limits(20_000) == (9_990, 10_010)
    assert band(10, BID).limits(20_000) == (9_990, None)
    assert band(10, ASK).limits(20_001) == (None, 10_010)
    chosen = band(25, None, 0.3, "1").chosen
    hidden = [chosen(BID, price) for price in range(10_000)]
    assert 2_800 < sum(hidden) < 3_200
    assert hidden == [band(25, None, 0.3, "1").chosen(BID, price) for price in range(10_000)]
    assert floor(BID, 100).limits(7) == (None, 100)


# Every script on a true stream ---------------------------------------------------------


def plot_of(clean: Clean, usual: Usual, cell: Cell, number: int) -> Plot:
    at = clean.checkpoints[0]
    start_ns = (clean.source.start_s + at.place + 3) * 1_000 * MS + 123 * MS
    label = cell.label(Placement(number, at, start_ns, 0, 1.0))
    return Plot(start_ns, number, usual, Ahead(window(clean, at, 50)), label)


def test_the_hardest_scripts_are_there():
    assert {cell.name for cell in ALL} >= HARDEST


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("cell", [cell for cell in ALL if cell.name in HARDEST], ids=lambda cell: cell.name)
def test_what_comes_out_is_a_true_stream_and_ends_as_the_base_does(clean: Clean, usual: Usual, cell: Cell, number: int):
    at, base = clean.checkpoints[0], window(clean, clean.checkpoints[0], 50)
    plot = plot_of(clean, usual, cell, number)
    market = stage_at(clean, at)
    events = list(woven(base, market, cell.script(market, plot)))
    before = pickle.loads(at.book)
    edited = Told(*before.quantities).follow(events)
    true = Told(*before.quantities).follow(base)
    assert true.wrong == []
    assert edited.wrong == []
    assert edited.compared > 400
    assert (edited.bids, edited.asks) == (true.bids, true.asks)
    assert plot.start_ns <= plot.label.end_ns <= plot.start_ns + int(cell.seconds * 1e9) + 20 * MS
    assert events != base or plot.label.parameters.get("lived_s") == 0.0
    assert all(one == other for one, other in zip(events, base, strict=False) if one.ts_recv_ns < plot.start_ns)
