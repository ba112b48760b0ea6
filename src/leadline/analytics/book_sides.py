"""The two sides of a frozen book: how far each is known, what rests in a band, what a size takes.

Levels are best first with running sums, so that a band is one search and a size is another. Money stays in exact integers and
fractions until the last division. Where the known range ends the answer ends: a band beyond it, a size it cannot fill, a best
price outside it are None with a reason, never what happens to be left.

Places on a side are told by `outward`: a bid's is minus its price, an ask's is its price, so that both rise away from the mid.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

from msgspec import Struct

from leadline.analytics.reasons import BEYOND, EXHAUSTED, UNDEFINED
from leadline.core.records import TOP_LEVELS, BookView, Level


class Side(Struct, frozen=True):
    """One side, best first. sign: 1 bids, -1 asks. known_outward: place up to which it is complete; None: to its end.

    values_e16, quantities_e8: running sums of price times quantity and of quantity, one for each level.
    """

    sign: int
    levels: tuple[Level, ...]
    known_outward: int | None
    outward: tuple[int, ...]
    values_e16: tuple[int, ...]
    quantities_e8: tuple[int, ...]

    def knows(self, place: Fraction | int) -> bool:
        """Complete as far as this place, itself included."""
        return self.known_outward is None or place <= self.known_outward

    @property
    def n_known(self) -> int:
        """How many levels lie inside the known range; what lies farther out may lack neighbours."""
        return len(self.levels) if self.known_outward is None else bisect_right(self.outward, self.known_outward)

    @property
    def top_is_known(self) -> bool:
        """The 20 best levels, or all of a complete side with fewer, lie inside the known range."""
        return self.known_outward is None or self.n_known >= TOP_LEVELS

    @property
    def end_reason(self) -> str:
        """Why nothing more can be said behind the last known level."""
        return EXHAUSTED if self.known_outward is None else BEYOND

    def value_e16(self, n: int) -> int:
        """Quote value of the n best levels."""
        return self.values_e16[n - 1] if n else 0

    def quantity_e8(self, n: int) -> int:
        """Quantity of the n best levels."""
        return self.quantities_e8[n - 1] if n else 0

    def band_edge(self, mid2: int, width_bps: Fraction | int) -> Fraction:
        """Place of the band's edge: 20000 p = mid2 (10000 -+ W), as in the known range's rule."""
        return Fraction(mid2) * (width_bps - self.sign * 10_000) / 20_000


class Sides(Struct, frozen=True):
    """Both sides. mid2: best bid plus best ask (1e-8), twice the mid; None with `no_mid` as the reason.

    A best level beyond the known range is no best price: nearer ones may be missing.
    """

    bids: Side
    asks: Side
    mid2: int | None
    no_mid: str | None


def sides(
    bids: Sequence[Level],
    asks: Sequence[Level],
    *,
    known_bid: int | None = None,
    known_ask: int | None = None,
    cut_at: int | None = None,
) -> Sides:
    """Levels best first, in 1e-8. known_*: edges of the known range (1e-8); None: that side is complete to its end.

    cut_at: levels a side that a copy was limited to. A side with as many may go on, so it is known as far as its last level only.
    """
    bid_side, ask_side = _side(1, bids, known_bid, cut_at), _side(-1, asks, known_ask, cut_at)
    if bid_side.n_known and ask_side.n_known:
        return Sides(bid_side, ask_side, bids[0][0] + asks[0][0], None)
    lost = any(not side.n_known and side.known_outward is not None for side in (bid_side, ask_side))
    return Sides(bid_side, ask_side, None, BEYOND if lost else UNDEFINED)


def sides_of(view: BookView, cut_at: int | None = None) -> Sides:
    """Of a frozen view. cut_at: the number of levels the view was asked for, unless that was all of them."""
    return sides(view.bids, view.asks, known_bid=view.known_bid, known_ask=view.known_ask, cut_at=cut_at)


def _side(sign: int, levels: Sequence[Level], known_e8: int | None, cut_at: int | None) -> Side:
    outward = tuple([-sign * price for price, _ in levels])
    known = None if known_e8 is None else -sign * known_e8
    if cut_at is not None and outward and len(outward) >= cut_at:
        known = outward[-1] if known is None else min(known, outward[-1])
    values = tuple(accumulate([price * quantity for price, quantity in levels]))
    return Side(sign, tuple(levels), known, outward, values, tuple(accumulate([quantity for _, quantity in levels])))


# Bands, sizes ------------------------------------------------------------------


def depth_e16(side: Side, mid2: int, width_bps: Fraction | int) -> int | None:
    """Quote value inside the band around the mid, edge included; None where the edge lies beyond the known range."""
    edge = side.band_edge(mid2, width_bps)
    return side.value_e16(bisect_right(side.outward, edge)) if side.knows(edge) else None


def imbalance(bid: int | None, ask: int | None) -> float | None:
    """(bid - ask) / (bid + ask), in [-1, 1]; None where either is unknown or both are 0."""
    return (bid - ask) / (bid + ask) if bid is not None and ask is not None and bid + ask else None


class Fill(Struct, frozen=True):
    """One size taken from one side, best level first, the last in part. reason: why it was not filled; None: filled.

    notional_e16, filled_e16: quote. quantity_e8: base, exact. worst_e8: price of the last level, None if not filled.
    """

    sign: int
    notional_e16: int
    filled_e16: int
    quantity_e8: Fraction
    worst_e8: int | None
    levels_used: int
    reason: str | None

    @property
    def vwap_e8(self) -> Fraction | None:
        """Average price; a partial fill has none."""
        return None if self.reason else self.notional_e16 / self.quantity_e8

    def cost_bps(self, mid2: int | None) -> float | None:
        """What the average price is worse than the mid, in bps of the mid."""
        vwap = self.vwap_e8
        return None if vwap is None or mid2 is None else float(-self.sign * 10_000 * (2 * vwap / mid2 - 1))

    def slippage_bps(self, best_e8: int | None) -> float | None:
        """What the average price is worse than the best one, in bps of the best."""
        vwap = self.vwap_e8
        return None if vwap is None or best_e8 is None else float(10_000 * abs(vwap / best_e8 - 1))


def fill(side: Side, notional_e16: int) -> Fill:
    """Take notional_e16 > 0 of quote value from the side, inside the known range."""
    n = side.n_known
    last = bisect_left(side.values_e16, notional_e16, 0, n)
    if last == n:
        return Fill(side.sign, notional_e16, side.value_e16(n), Fraction(side.quantity_e8(n)), None, n, side.end_reason)
    price = side.levels[last][0]
    quantity = side.quantity_e8(last) + Fraction(notional_e16 - side.value_e16(last), price)
    return Fill(side.sign, notional_e16, notional_e16, quantity, price, last + 1, None)
