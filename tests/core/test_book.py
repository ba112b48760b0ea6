"""Book and Ladder against a model of plain dictionaries and fractions that shares no code with them."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, e8, levels, snapshot, update

from leadline.core.book import Book
from leadline.core.records import BANDS_BPS, SIZES_QUOTE, DepthSnapshot, DepthUpdate

QUICK = settings(derandomize=True, deadline=None, max_examples=100)
MAX = 2**63 - 1

# Book Z, worked out by hand.
Z_BIDS = [("99.9", 3), ("99.8", 2), ("99.5", 4)]
Z_ASKS = [("100.1", 1), ("100.2", 2), ("100.6", 5)]


class Model:
    """Two dictionaries, price to quantity; every answer by going through all of them."""

    def __init__(self, bids, asks, limit):
        self.sides = {"bid": {p: q for p, q in bids if q}, "ask": {p: q for p, q in asks if q}}
        self.known = {
            "bid": min(p for p, _ in bids) if len(bids) >= limit else None,
            "ask": max(p for p, _ in asks) if len(asks) >= limit else None,
        }

    def apply(self, bids, asks):
        for side, changes in (("bid", bids), ("ask", asks)):
            for price, quantity in changes:
                self.sides[side][price] = quantity
                if quantity == 0:
                    del self.sides[side][price]

    def best_first(self, side):
        return sorted(self.sides[side].items(), reverse=side == "bid")

    @property
    def mid(self):
        if not self.sides["bid"] or not self.sides["ask"]:
            return None
        return Fraction(max(self.sides["bid"]) + min(self.sides["ask"]), 2)

    def knows(self, side, price):
        edge = self.known[side]
        return edge is None or (edge <= price if side == "bid" else edge >= price)

    def depth(self, side, band):
        mid = self.mid
        if mid is None:
            return None
        edge = mid * (1 - Fraction(band, 10_000)) if side == "bid" else mid * (1 + Fraction(band, 10_000))
        if not self.knows(side, edge):
            return None
        inside = [(p, q) for p, q in self.sides[side].items() if (p >= edge if side == "bid" else p <= edge)]
        return sum(p * q for p, q in inside)

    def cost(self, side, size):
        """(cost in bps or None, filled in 1e-16 or None)."""
        left, taken, filled = Fraction(size * 10**16), Fraction(0), 0
        for price, quantity in self.best_first(side):
            if not self.knows(side, price):
                break
            if price * quantity >= left:
                vwap = Fraction(size * 10**16) / (taken + left / price)
                ratio = vwap / self.mid - 1
                return float(10_000 * (-ratio if side == "bid" else ratio)), None
            left -= price * quantity
            filled += price * quantity
            taken += quantity
        return None, filled


def check(made: Book, model: Model) -> None:
    """Everything that may be read, compared."""
    mid = model.mid
    assert made.mid2 == (None if mid is None else 2 * mid)
    for side, ladder in (("bid", made.bids), ("ask", made.asks)):
        ranked = model.best_first(side)
        for n in (1, 2, 20, 10_000):
            assert ladder.top(n) == ranked[:n]
        assert ladder.depth_e16() == [model.depth(side, band) for band in BANDS_BPS]
    assert made.best_bid == next(iter(model.best_first("bid")), None)
    assert made.best_ask == next(iter(model.best_first("ask")), None)
    assert (made.known_bid, made.known_ask) == (model.known["bid"], model.known["ask"])
    crossed = mid is not None and max(model.sides["bid"]) >= min(model.sides["ask"])
    assert made.crossed == crossed


# A grid on which band edges fall on levels: around 10,000 one basis point is one step. `unit` makes prices of any size of it.
steps = st.integers(9_880, 10_120)
near_steps = st.integers(9_990, 10_010)
quantities = st.one_of(st.just(0), st.integers(1, 50), st.sampled_from([MAX, MAX - 1, 1]))
units_of_price = st.sampled_from([1, 2, 123, 618_376_300, 9 * 10**14])
changes = st.lists(st.tuples(st.one_of(steps, near_steps), quantities), max_size=12)
moves = st.lists(st.tuples(changes, changes, st.integers(-60, 60)), max_size=8)


@st.composite
def lives(draw):
    """(snapshot levels, limit, updates): a book that lives; each update shifts all later prices, far beyond 50 bps."""
    unit = draw(units_of_price)
    low = draw(st.lists(st.tuples(st.integers(9_880, 9_999), st.integers(1, 9)), unique_by=lambda level: level[0], max_size=25))
    high = draw(
        st.lists(st.tuples(st.integers(10_001, 10_120), st.integers(1, 9)), unique_by=lambda level: level[0], max_size=25)
    )
    limit = draw(st.sampled_from([1, 5, 10, 20, 5000]))
    low, high = sorted(low, reverse=True)[:limit], sorted(high)[:limit]
    shift, updates = 0, []
    for bids, asks, step in draw(moves):
        updates.append(tuple([((price + shift) * unit, quantity) for price, quantity in side] for side in (bids, asks)))
        shift += step
    return [(p * unit, q) for p, q in low], [(p * unit, q) for p, q in high], limit, updates


def born(bids, asks, limit):
    return Book(DepthSnapshot("S", 10, tuple(bids), tuple(asks), limit)), Model(bids, asks, limit)


@QUICK
@given(lives())
def test_after_every_update_the_book_reads_as_two_plain_dictionaries_would(life):
    bids, asks, limit, updates = life
    made, model = born(bids, asks, limit)
    check(made, model)
    for number, (bid_changes, ask_changes) in enumerate(updates, 11):
        made.apply(DepthUpdate("S", number, number, 0, 0, tuple(bid_changes), tuple(ask_changes)))
        model.apply([(p, q) for p, q in bid_changes], [(p, q) for p, q in ask_changes])
        check(made, model)
        assert made.update_id == number


@QUICK
@given(lives(), st.lists(st.integers(1, 10**13), min_size=1, max_size=6, unique=True).map(sorted))
def test_costs_and_fills_equal_a_walk_in_fractions(life, sizes):
    bids, asks, limit, updates = life
    made, model = born(bids, asks, limit)
    for number, (bid_changes, ask_changes) in enumerate(updates, 11):
        made.apply(DepthUpdate("S", number, number, 0, 0, tuple(bid_changes), tuple(ask_changes)))
        model.apply(bid_changes, ask_changes)
    if model.mid is None:
        return
    for side, ladder in (("bid", made.bids), ("ask", made.asks)):
        # Sizes around what the side holds, so that some just fill and some just do not.
        held = sum(p * q for p, q in model.sides[side].items()) // 10**16
        wanted = sorted({*sizes, max(1, held // 3), max(1, held - 1), held or 1, held + 1})
        expected = [model.cost(side, size) for size in wanted]
        assert ladder.cost(made.mid2, wanted) == ([cost for cost, _ in expected], [filled for _, filled in expected])


@QUICK
@given(lives(), st.integers(1, 30))
def test_trimming_forgets_the_farthest_levels_and_shrinks_the_known_range_to_what_is_left(life, levels_max):
    bids, asks, limit, updates = life
    made, model = born(bids, asks, limit)
    for number, (bid_changes, ask_changes) in enumerate(updates, 11):
        made.apply(DepthUpdate("S", number, number, 0, 0, tuple(bid_changes), tuple(ask_changes)))
        model.apply(bid_changes, ask_changes)
        made.trim(levels_max)
        for side, worse in (("bid", min), ("ask", max)):
            kept = model.best_first(side)[:levels_max]
            if len(kept) < len(model.sides[side]):
                last = kept[-1][0]
                edge = model.known[side]
                model.sides[side] = dict(kept)
                model.known[side] = last if edge is None or worse(last, edge) == edge else edge
        check(made, model)


@QUICK
@given(lives())
def test_a_narrower_known_range_only_takes_values_away_and_never_changes_one(life):
    bids, asks, _, _ = life
    wide = Book(DepthSnapshot("S", 1, tuple(bids), tuple(asks), 5000))
    narrow = Book(DepthSnapshot("S", 1, tuple(bids), tuple(asks), 1))
    for ours, theirs in ((narrow.bids, wide.bids), (narrow.asks, wide.asks)):
        for value, full in zip(ours.depth_e16(), theirs.depth_e16(), strict=True):
            assert value is None or value == full


@QUICK
@given(lives(), st.integers(2, 9))
def test_depth_rises_with_the_band_cost_with_the_size_and_scaled_quantities_cost_the_same(life, factor):
    bids, asks, limit, _ = life
    made, _ = born(bids, asks, limit)
    bids, asks = ([(price, factor * quantity) for price, quantity in side] for side in (bids, asks))
    scaled, _ = born(bids, asks, limit)
    sizes = (1, 2, 5, 100, 10_000)
    for ladder, more in ((made.bids, scaled.bids), (made.asks, scaled.asks)):
        known = [depth for depth in ladder.depth_e16() if depth is not None]
        assert known == sorted(known)
        assert [None if depth is None else factor * depth for depth in ladder.depth_e16()] == more.depth_e16()
        if made.mid2 is None:
            continue
        costs, fills = ladder.cost(made.mid2, sizes)
        filled = [cost for cost in costs if cost is not None]
        assert filled == sorted(filled)
        assert costs[len(filled) :] == [None] * (len(sizes) - len(filled)), "a larger size is not filled where a smaller is not"
        again, more_fills = more.cost(made.mid2, [factor * size for size in sizes])
        assert again == costs
        assert more_fills == [None if fill is None else factor * fill for fill in fills]


def test_depth_of_the_published_example():
    """Book Z: m = 100; 10 bps reach 99.9 and 100.1, 25 bps 99.75 and 100.25, 50 bps 99.5 and 100.5."""
    made = book(Z_BIDS, Z_ASKS)
    bid, ask = made.bids.depth_e16(), made.asks.depth_e16()
    by_band = dict(zip(BANDS_BPS, zip(bid, ask, strict=True), strict=True))
    e16 = 10**16
    assert by_band[10] == (2997 * e16 // 10, 1001 * e16 // 10)
    assert by_band[25] == (4993 * e16 // 10, 3005 * e16 // 10)
    assert by_band[50] == (8973 * e16 // 10, 3005 * e16 // 10)
    assert by_band[1] == by_band[2] == by_band[5] == (0, 0)


def test_costs_of_the_published_example():
    """By hand: buy 100, 200, 400 costs 10, 14.992504, 27.410915 bps; sell 10, 10, 12.509382."""
    made = book(Z_BIDS, Z_ASKS)
    buy, not_bought = made.asks.cost(made.mid2, (100, 200, 400))
    sell, not_sold = made.bids.cost(made.mid2, (100, 200, 400))
    assert buy == pytest.approx([10, 14.992504, 27.410915], abs=1e-6)
    assert sell == pytest.approx([10, 10, 12.509382], abs=1e-6)
    assert not_bought == not_sold == [None, None, None]


def test_what_cannot_be_filled_has_no_cost_and_says_how_much_there_was():
    """Book Z holds 100.1 + 200.4 + 503 = 803.5 to buy and 299.7 + 199.6 + 398 = 897.3 to sell."""
    made = book(Z_BIDS, Z_ASKS)
    assert made.asks.cost(made.mid2, (1000,)) == ([None], [8035 * 10**15])
    assert made.bids.cost(made.mid2, (1000,)) == ([None], [8973 * 10**15])


def test_a_size_that_takes_the_last_level_to_its_end_is_filled():
    """One ask of 2 at 100 and a mid of 99.5: 200 is filled at 100, 50.2513 bps above; 201 is not."""
    made = book([(99, 1)], [(100, 2)])
    costs, fills = made.asks.cost(made.mid2, (200, 201))
    assert costs[0] == pytest.approx((100 / 99.5 - 1) * 1e4, rel=1e-15)
    assert (costs[1], fills) == (None, [None, 200 * 10**16])


def test_levels_beyond_the_known_range_are_no_liquidity():
    """The snapshot was cut at two levels a side. 99.5 came later and is right, but what lies between is not known."""
    made = book([(100, 1), ("99.9", 1)], [(101, 1), ("101.1", 1)], limit=2)
    made.apply(update(2, 2, bids=[("99.5", 1000)], asks=[("101.5", 1000)]))
    assert (made.known_bid, made.known_ask) == (e8("99.9"), e8("101.1"))
    assert made.bids.top(3)[2] == (e8("99.5"), e8(1000))
    assert made.bids.cost(made.mid2, (1000,)) == ([None], [e8("199.9") * 10**8])
    assert made.asks.cost(made.mid2, (1000,)) == ([None], [e8("202.1") * 10**8])


def test_the_edge_of_a_band_belongs_to_it_and_the_next_price_does_not():
    """m = 100: 10 bps end at 99.90 and 100.10. A level 1e-8 farther out is outside."""
    made = book([("99.95", 1), ("99.9", 1), ("99.89999999", 1)], [("100.05", 1), ("100.1", 1), ("100.10000001", 1)])
    assert made.bids.depth_e16()[3] == e8("199.85") * 10**8
    assert made.asks.depth_e16()[3] == e8("200.15") * 10**8


def test_a_band_that_grows_by_a_single_price_takes_in_the_level_there():
    """In units of 1e-8: mid2 20002 puts the edge of 50 bps at 9951 (9950.995, rounded up), mid2 20000 at 9950; and back."""
    made = Book(DepthSnapshot("S", 1, ((9999, 3), (9950, 7)), ((10003, 1),), 5000))
    assert made.bids.depth_e16()[5] == 9999 * 3
    made.apply(DepthUpdate("S", 2, 2, 0, 0, (), ((10001, 1),)))
    assert made.bids.depth_e16()[5] == 9999 * 3 + 9950 * 7
    made.apply(DepthUpdate("S", 3, 3, 0, 0, (), ((10001, 0),)))
    assert made.bids.depth_e16()[5] == 9999 * 3


def test_a_band_that_ends_exactly_at_the_known_edge_is_known():
    """m = 100, known down to 99.90 and up to 100.10: 10 bps are known, 25 are not; 1e-8 less and 10 bps are not known either."""
    made = book([("99.95", 1), ("99.9", 1)], [("100.05", 1), ("100.1", 1)], limit=2)
    assert [value is None for value in made.bids.depth_e16()] == [False, False, False, False, True, True]
    assert [value is None for value in made.asks.depth_e16()] == [False, False, False, False, True, True]
    thin = book([("99.95", 1), ("99.90000001", 1)], [("100.05", 1), ("100.09999999", 1)], limit=2)
    assert [value is None for value in thin.bids.depth_e16()] == [False, False, False, True, True, True]
    assert [value is None for value in thin.asks.depth_e16()] == [False, False, False, True, True, True]


def test_a_side_with_as_many_levels_as_asked_is_cut_and_one_with_fewer_is_complete():
    cut = book([(3, 1), (2, 1)], [(4, 1)], limit=2)
    assert (cut.known_bid, cut.known_ask) == (e8(2), None)


def test_a_one_sided_book_has_no_mid_no_depth_and_comes_back_with_the_other_side():
    made = book([(100, 1)], [])
    assert (made.mid2, made.best_ask, made.crossed) == (None, None, False)
    assert made.bids.depth_e16() == [None] * 6
    made.apply(update(2, 2, bids=[("99.999", 2)], asks=[("100.02", 3)]))  # m = 100.01: 1 bp reaches 99.999999 and 100.020001
    assert made.bids.depth_e16()[0] == e8(100) * e8(1)
    assert made.bids.depth_e16()[1] == e8(100) * e8(1) + e8("99.999") * e8(2)
    made.apply(update(3, 3, asks=[("100.02", 0)]))
    assert (made.mid2, made.bids.depth_e16()) == (None, [None] * 6)


def test_an_empty_book_is_a_book():
    made = book()
    assert (made.best_bid, made.best_ask, made.mid2, made.crossed) == (None, None, None, False)
    made.apply(update(2, 7, bids=[(5, 0)]))
    assert (made.best_bid, made.update_id) == (None, 7)


def test_removing_an_unknown_level_changes_nothing():
    made = book([(100, 1)], [(101, 1)])
    made.apply(update(2, 2, bids=[(99, 0), (102, 0)], asks=[(101.5, 0), (98, 0)]))
    assert (made.bids.top(5), made.asks.top(5)) == (list(levels([(100, 1)])), list(levels([(101, 1)])))


def test_a_price_named_twice_in_one_update_has_the_later_quantity():
    made = book([(100, 1)], [(101, 1)])
    made.apply(update(2, 2, bids=[(99, 5), (99, 0), (98, 1), (98, 4)], asks=[(101, 0), (101, 2)]))
    assert made.bids.top(5) == list(levels([(100, 1), (98, 4)]))
    assert made.asks.top(5) == list(levels([(101, 2)]))


def test_the_book_is_crossed_when_the_best_prices_meet():
    assert not book([(100, 1)], [("100.00000001", 1)]).crossed
    assert book([(100, 1)], [(100, 1)]).crossed
    assert book([(101, 1)], [(100, 1)]).crossed


def test_the_cheapest_and_the_largest_numbers_stay_exact():
    """SHIB-like: 0.00000123 and 0.00000124 with 2^63-1 units on each side; the products pass 64 bits."""
    made = Book(DepthSnapshot("SHIBUSDT", 1, ((123, MAX),), ((124, MAX), (125, MAX)), 5000))
    assert made.mid2 == 247
    # 124 <= 123.5 * (1 + 0.0050) = 124.1175, 125 is not; 1..25 bps reach 123.80875 at most
    assert made.asks.depth_e16() == [0, 0, 0, 0, 0, 124 * MAX]
    assert made.bids.depth_e16() == [0, 0, 0, 0, 0, 123 * MAX]
    assert made.bids.cost(made.mid2, SIZES_QUOTE[:1]) == ([pytest.approx(0.5 / 123.5 * 1e4)], [None])


def test_an_update_that_does_not_follow_is_our_bug_and_not_applied():
    made = book([(100, 1)], [(101, 1)], update_id=5)
    with pytest.raises(AssertionError):
        made.apply(update(7, 8, bids=[(100, 9)]))
    assert made.best_bid == (e8(100), e8(1))


def test_levels_of_quantity_zero_in_a_snapshot_are_no_levels():
    assert Book(snapshot(1, [(100, 1), (99, 0)], [(101, 0)])).asks.top(5) == []


def test_keys_beyond_a_price_rise_towards_the_best():
    made = book([(100, 1), (99, 1), (98, 1)], [(101, 1), (102, 1)])
    assert made.bids.keys_beyond(e8(99)) == [e8(99), e8(100)]
    assert made.asks.keys_beyond(-e8(101)) == [-e8(101)]
