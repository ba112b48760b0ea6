"""Frozen books for tests: book Z of the specification, any book, those of the recordings, and a model of plain loops."""

from fractions import Fraction
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st
from tests.core.build import e8, levels
from tests.core.test_oracles import live_books, spot

from leadline.analytics.book_sides import sides_of
from leadline.analytics.impact import market_impact
from leadline.analytics.ladder import orderbook_l2
from leadline.analytics.top import orderbook_l1
from leadline.core.records import BookState, BookView

QUICK = settings(derandomize=True, deadline=None, max_examples=100)
E16 = 10**16
TENTH, TICK = e8("0.1"), e8("0.01")
BEYOND = "beyond_known_range"


def view(bids, asks, known=(None, None)):
    """Levels and edges in 1e-8."""
    return BookView("X", BookState.LIVE, None, 1, 7, tuple(bids), tuple(asks), *known, 0, 0)


Z = view(levels([("99.9", 3), ("99.8", 2), ("99.5", 4)]), levels([("100.1", 1), ("100.2", 2), ("100.6", 5)]))
Z_SIDES = sides_of(Z)
EMPTY = view((), ())


def top_of(book, tick=TENTH, **more):
    return orderbook_l1(sides_of(book), tick_e8=tick, **more)


def ladder_of(book, tick=TENTH, cut_at=None, **cuts):
    return orderbook_l2(sides_of(book, cut_at), tick_e8=tick, **cuts)


def taking(book, notional, cut_at=None, **more):
    """notional: whole quote units."""
    return market_impact(sides_of(book, cut_at), notional_e16=notional * E16, **more)


def rows(side):
    return [(price / 1e8, quantity / 1e8) for price, quantity in side.rows]


# Any book --------------------------------------------------------------------------------------

prices = st.integers(1, 3000)
quantities = st.integers(1, 10**12)
one_side = st.dictionaries(prices, quantities, max_size=25)
widths = st.none() | st.decimals("0.1", 400, places=1)


@st.composite
def books(draw):
    """Mid near 1000, levels up to 3 % away, edges anywhere or none."""
    bids = sorted(((e8(1000) - n * TICK, q) for n, q in draw(one_side).items()), reverse=True)
    asks = sorted((e8(1000) + n * TICK, q) for n, q in draw(one_side).items())
    known = draw(st.none() | prices), draw(st.none() | prices)
    edges = None if known[0] is None else e8(1000) - known[0] * TICK, None if known[1] is None else e8(1000) + known[1] * TICK
    return view(bids, asks, edges)


# A model of plain loops ------------------------------------------------------------------------


class Model:
    """Goes level by level with fractions of whole units."""

    def __init__(self, book, side):
        self.buys = side == "ask"
        self.levels = [(Fraction(p, 10**8), Fraction(q, 10**8)) for p, q in (book.asks if self.buys else book.bids)]
        edge = book.known_ask if self.buys else book.known_bid
        self.edge = None if edge is None else Fraction(edge, 10**8)

    def inside(self, price, limit):
        return limit is None or (price <= limit if self.buys else price >= limit)

    def depth(self, mid, width):
        limit = mid * (1 + Fraction(width) / 10_000) if self.buys else mid * (1 - Fraction(width) / 10_000)
        if not self.inside(limit, self.edge):
            return None
        return sum(p * q for p, q in self.levels if self.inside(p, limit))

    def take(self, size):
        """(average price or None, filled, quantity, levels)"""
        left, quantity, used = Fraction(size), Fraction(0), 0
        for price, offered in self.levels:
            if left == 0 or not self.inside(price, self.edge):
                break
            part = min(offered, left / price)
            quantity, left, used = quantity + part, left - part * price, used + 1
        return (Fraction(size) / quantity if left == 0 else None), Fraction(size) - left, quantity, used

    def rows(self, mid, width, notional, step):
        """(price, quantity, value) after the first three cuts."""
        left = self.levels
        if width is not None:
            edge = None if mid is None else mid * (1 + Fraction(width) / 10_000 * (1 if self.buys else -1))
            left = [] if edge is None else [(p, q) for p, q in left if self.inside(p, edge)]
        kept, value = [], Fraction(0)
        for price, quantity in left:
            if notional is not None and value >= notional:
                break
            kept.append((price, quantity))
            value += price * quantity
        summed = {}
        for price, quantity in kept:
            row = price
            if step is not None:
                units = price / Fraction(step)
                row = (-(-units // 1) if self.buys else units // 1) * Fraction(step)
            held = summed.get(row, (0, 0))
            summed[row] = held[0] + quantity, held[1] + price * quantity
        return [(row, *held) for row, held in summed.items()]


def mid_of(book):
    best = []
    for side in (Model(book, "bid"), Model(book, "ask")):
        best += [price for price, _ in side.levels[:1] if side.inside(price, side.edge)]
    return sum(best) / 2 if len(best) == 2 else None


# The recordings --------------------------------------------------------------------------------


@cache
def ticks(symbol):
    """(record, view of the whole book at its tick), in order."""
    records = {record.update_id: record for record in spot(symbol)[2].values()}
    found = []
    for book, _ in live_books(symbol):
        if book.update_id in records:
            whole = view(book.bids.top(20_000), book.asks.top(20_000), (book.known_bid, book.known_ask))
            found.append((records[book.update_id], whole))
    return found
