"""What rests in a frozen book and what it would cost to take it: top, bands, slippage, impact, walls, the cuts of a ladder.

Everything is computed on a `Side`: levels best first with running sums, so that a band is one search and a size is another. Money
stays in exact integers and fractions until the last division. Where the known range ends the answer ends: a band beyond it, a
size it cannot fill, a best price outside it are None with a reason, never what happens to be left.

Places on a side are told by `outward`: a bid's is minus its price, an ask's is its price, so that both rise away from the mid.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate
from statistics import median
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.stats import Floats, History
from leadline.core.errors import InvalidRequest
from leadline.core.minute import BUCKETS_BPS
from leadline.core.records import BANDS_BPS, SIZES_QUOTE, TOP_LEVELS, BookState, BookView, Level, MinuteBlock
from leadline.core.units import DECIMALS, E8, E16, decimal_text

L1_SIZES_QUOTE = (10_000, 25_000, 50_000)
LEVELS_MAX = 100
BPS_MAX = 500
WALL_MINUTES = 30  # minute blocks under which no size is called large

BEYOND = "beyond_known_range"
EXHAUSTED = "exhausted"
UNDEFINED = "undefined"
BASELINE_SHORT = "baseline_short"
TOO_FEW = "too_few"
NOT_FITTED = "not_fitted"
NOT_ASKED = "not_evaluated"  # the question did not ask for it

# The frozen book ---------------------------------------------------------------


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


class Impact(Struct, frozen=True):
    """What taking one size from one side now costs, if nothing moves. What the known book cannot fill has no price and no cost.

    notional_e16: Size asked about, in quote units of 1e-16.
    filled_e16: How much of it the known book holds, in quote units of 1e-16.
    filled_e8: Quantity that this is, in base units of 1e-8, rounded to one of them.
    avg_price_e8: Average price of the whole size, in quote units of 1e-8, rounded to one of them.
    worst_price_e8: Price of the last level that the size needs, in quote units of 1e-8.
    levels_used: So many levels are taken, the last one in part.
    cost_bps: How much worse than the mid the average price is, in bps of the mid; None also without a mid.
    slippage_bps: How much worse than the best price the average price is, in bps of the best price.
    reason: Why price or cost is None: `exhausted`, `beyond_known_range`, or `undefined` where an empty side leaves no mid.
    """

    notional_e16: int
    filled_e16: int
    filled_e8: int
    avg_price_e8: int | None
    worst_price_e8: int | None
    levels_used: int
    cost_bps: float | None
    slippage_bps: float | None
    reason: str | None


def impact(both: Sides, side: Side, notional_e16: int) -> Impact:
    """notional_e16 > 0, taken from one of both sides."""
    taken = fill(side, notional_e16)
    vwap = taken.vwap_e8
    return Impact(
        notional_e16=notional_e16,
        filled_e16=taken.filled_e16,
        filled_e8=round(taken.quantity_e8),
        avg_price_e8=None if vwap is None else round(vwap),
        worst_price_e8=taken.worst_e8,
        levels_used=taken.levels_used,
        cost_bps=taken.cost_bps(both.mid2),
        slippage_bps=taken.slippage_bps(side.levels[0][0] if side.levels else None),
        reason=taken.reason or both.no_mid,
    )


# Walls -------------------------------------------------------------------------


class Wall(Struct, frozen=True):
    """One of the 20 best levels that is larger than what is usual at its distance from the mid.

    price_e8: Price of the level, in quote units of 1e-8.
    quantity_e8: Quantity that rests there, in base units of 1e-8.
    value_e16: What that is worth, in quote units of 1e-16.
    threshold_quote: Value above which a level at this distance counts as large, in quote units.
    """

    price_e8: int
    quantity_e8: int
    value_e16: int
    threshold_quote: float


class Walls(Struct, frozen=True):
    """Unusually large levels within 10 bps, among the 20 best of each side.

    bids: Large bids, best first.
    asks: Large asks, best first.
    """

    bids: tuple[Wall, ...]
    asks: tuple[Wall, ...]


def wall_thresholds(minutes: Sequence[MinuteBlock]) -> list[float | None]:
    """Quote value above which a level is large, by distance bucket (minute.BUCKETS_BPS): the median of the minutes' size_p99.

    None for a bucket that fewer than 30 minutes know.
    """
    by_bucket = [[block.size_p99[bucket] for block in minutes] for bucket in range(len(BUCKETS_BPS))]
    known = [[size for size in sizes if size is not None] for sizes in by_bucket]
    return [median(sizes) if len(sizes) >= WALL_MINUTES else None for sizes in known]


def _walls(both: Sides, thresholds: Sequence[float | None] | None) -> Walls | str:
    """The walls, or the reason why they cannot be told."""
    if both.mid2 is None:
        return both.no_mid or UNDEFINED
    if thresholds is None or all(threshold is None for threshold in thresholds):
        return BASELINE_SHORT
    found: list[tuple[Wall, ...]] = []
    for side in (both.bids, both.asks):
        if not _top_is_known(side):
            return BEYOND
        walls = []
        for price, quantity in side.levels[:TOP_LEVELS]:
            distance_bps = abs(2 * price - both.mid2) * 1e4 / both.mid2  # one rounding, so that an edge stays an edge
            bucket = int(np.searchsorted(BUCKETS_BPS, distance_bps, side="right"))
            if bucket == len(BUCKETS_BPS):
                break  # farther than any bucket: no size is called large there
            threshold = thresholds[bucket]
            if threshold is None:
                return TOO_FEW
            if price * quantity / E16 > threshold:
                walls.append(Wall(price, quantity, price * quantity, threshold))
        found.append(tuple(walls))
    return Walls(*found)


def _top_is_known(side: Side) -> bool:
    """The 20 best levels, or all of a complete side with fewer, lie inside the known range."""
    return side.known_outward is None or side.n_known >= TOP_LEVELS


# orderbook_l1 ------------------------------------------------------------------


class BandDepth(Struct, frozen=True):
    """What rests within `bps` of the mid.

    bps: Width of the band on each side of the mid, its edge included.
    bid_e16: Value of the bids inside it, in quote units of 1e-16.
    ask_e16: Value of the asks inside it, in quote units of 1e-16.
    imbalance: (bid - ask) / (bid + ask) of the two, in [-1, 1]; above 0 more is bid.
    """

    bps: int
    bid_e16: int | None
    ask_e16: int | None
    imbalance: float | None


class OrderbookL1(Struct, frozen=True, kw_only=True):
    """How wide and how thick the market is right now, and down to which price that is known.

    best_bid_e8: Highest bid price, in quote units of 1e-8.
    best_ask_e8: Lowest ask price, in quote units of 1e-8.
    best_bid_size_e8: Quantity at the best bid, in base units of 1e-8.
    best_ask_size_e8: Quantity at the best ask, in base units of 1e-8.
    mid2_e8: Best bid plus best ask, in quote units of 1e-8: twice the mid.
    spread_e8: Best ask minus best bid, in quote units of 1e-8.
    spread_bps: The spread in bps of the mid.
    spread_ticks: The spread in ticks; None also where it is no whole number of them.
    weighted_mid: Best prices weighted by the size on the other side, in quote units.
    microprice_fitted: The mid plus the move that followed such best prices in the past, in quote units; may leave the spread.
    bid_volume_e8: Quantity of the 20 best bids, in base units of 1e-8.
    ask_volume_e8: Quantity of the 20 best asks, in base units of 1e-8.
    imbalance_ratio: bid_volume / ask_volume.
    imbalance: (bid - ask) / (bid + ask) of the best sizes, in [-1, 1]; above 0 more is bid.
    imbalance_top20: The same of the 20 best levels a side.
    depth: What rests within 1, 2, 5, 10, 25 and 50 bps of the mid.
    buy: What buying 10k, 25k and 50k quote units would cost.
    sell: What selling 10k, 25k and 50k quote units would cost.
    walls: Levels larger than usual at their distance from the mid.
    reasons: Why a field is None, by its name; of a band `depth.10.bid_e16`.
    """

    best_bid_e8: int | None
    best_ask_e8: int | None
    best_bid_size_e8: int | None
    best_ask_size_e8: int | None
    mid2_e8: int | None
    spread_e8: int | None
    spread_bps: float | None
    spread_ticks: int | None
    weighted_mid: float | None
    microprice_fitted: float | None
    bid_volume_e8: int | None
    ask_volume_e8: int | None
    imbalance_ratio: float | None
    imbalance: float | None
    imbalance_top20: float | None
    depth: tuple[BandDepth, ...]
    buy: tuple[Impact, ...]
    sell: tuple[Impact, ...]
    walls: Walls | None
    reasons: dict[str, str]


_OF_A_MID = ("mid2_e8", "spread_e8", "spread_bps", "spread_ticks", "weighted_mid", "microprice_fitted", "imbalance")


def orderbook_l1(
    both: Sides,
    *,
    tick_e8: int,
    wall_thresholds_quote: Sequence[float | None] | None = None,
    microprice: "MicroPrice | None" = None,
) -> OrderbookL1:
    """Of a frozen book. wall_thresholds_quote: of wall_thresholds; None: no baseline yet. microprice: None: not fitted."""
    reasons: dict[str, str] = {}
    bid, ask = _best(both.bids, "bid", reasons), _best(both.asks, "ask", reasons)
    spread: int | None = None
    ticks: int | None = None
    micro: float | None = None
    fitted: float | None = None
    if both.mid2 is not None and bid and ask:
        spread = ask[0] - bid[0]
        micro = weighted_mid(*bid, *ask)
        if spread % tick_e8 == 0:
            ticks = spread // tick_e8
        else:
            reasons["spread_ticks"] = UNDEFINED
        if microprice is not None:
            fitted = microprice.of(*bid, *ask)
        if fitted is None:
            reasons["microprice_fitted"] = NOT_FITTED
    else:
        reasons |= dict.fromkeys(_OF_A_MID, both.no_mid or UNDEFINED)
    bids, asks = _top_quantity(both.bids, "bid", reasons), _top_quantity(both.asks, "ask", reasons)
    unknown = BEYOND if bids is None or asks is None else UNDEFINED
    ratio = bids / asks if bids is not None and asks else None
    top20 = imbalance(bids, asks)
    reasons |= {name: unknown for name, value in (("imbalance_ratio", ratio), ("imbalance_top20", top20)) if value is None}
    walls = _walls(both, wall_thresholds_quote)
    if not isinstance(walls, Walls):
        reasons["walls"] = walls
    return OrderbookL1(
        best_bid_e8=bid[0] if bid else None,
        best_ask_e8=ask[0] if ask else None,
        best_bid_size_e8=bid[1] if bid else None,
        best_ask_size_e8=ask[1] if ask else None,
        mid2_e8=both.mid2,
        spread_e8=spread,
        spread_bps=None if spread is None or both.mid2 is None else 20_000 * spread / both.mid2,
        spread_ticks=ticks,
        weighted_mid=micro,
        microprice_fitted=fitted,
        bid_volume_e8=bids,
        ask_volume_e8=asks,
        imbalance_ratio=ratio,
        imbalance=imbalance(bid[1], ask[1]) if both.mid2 is not None and bid and ask else None,
        imbalance_top20=top20,
        depth=tuple([_band(both, width, reasons) for width in BANDS_BPS]),
        buy=tuple([impact(both, both.asks, size * E16) for size in L1_SIZES_QUOTE]),
        sell=tuple([impact(both, both.bids, size * E16) for size in L1_SIZES_QUOTE]),
        walls=walls if isinstance(walls, Walls) else None,
        reasons=reasons,
    )


def weighted_mid(bid_e8: int, bid_quantity_e8: int, ask_e8: int, ask_quantity_e8: int) -> float:
    """Best prices weighted by the size on the other side, in quote units."""
    return (bid_e8 * ask_quantity_e8 + ask_e8 * bid_quantity_e8) / ((bid_quantity_e8 + ask_quantity_e8) * E8)


def _best(side: Side, word: str, reasons: dict[str, str]) -> Level | None:
    if side.n_known:
        return side.levels[0]
    reasons |= dict.fromkeys((f"best_{word}_e8", f"best_{word}_size_e8"), UNDEFINED if side.known_outward is None else BEYOND)
    return None


def _top_quantity(side: Side, word: str, reasons: dict[str, str]) -> int | None:
    if _top_is_known(side):
        return side.quantity_e8(min(TOP_LEVELS, len(side.levels)))
    reasons[f"{word}_volume_e8"] = BEYOND
    return None


def _band(both: Sides, width_bps: int, reasons: dict[str, str]) -> BandDepth:
    bid = ask = None
    unknown = both.no_mid or BEYOND
    if both.mid2 is not None:
        bid, ask = (depth_e16(side, both.mid2, width_bps) for side in (both.bids, both.asks))
    share = imbalance(bid, ask)
    for name, value in (("bid_e16", bid), ("ask_e16", ask)):
        if value is None:
            reasons[f"depth.{width_bps}.{name}"] = unknown
    if share is None:
        reasons[f"depth.{width_bps}.imbalance"] = unknown if bid is None or ask is None else UNDEFINED
    return BandDepth(width_bps, bid, ask, share)


# orderbook_l2 ------------------------------------------------------------------


class CutBy(StrEnum):
    """What ended one side of a ladder. BOOK_END: nothing that was asked for; there is no further level here."""

    BPS = "bps"
    NOTIONAL = "notional"
    LEVELS = "levels"
    BOOK_END = "book_end"


class LadderSide(Struct, frozen=True):
    """One side of a ladder.

    rows: Price and quantity of each row in units of 1e-8, best first.
    complete: True if no level that belongs among the rows can be missing; False if they reach beyond what is known.
    cut_by: What ended the rows: bps, notional, levels or book_end.
    total_e16: Value of the levels in the rows at their own prices, in quote units of 1e-16.
    reason: Why there is no row although there may be levels: no mid to measure max_bps from; else None.
    """

    rows: tuple[Level, ...]
    complete: bool
    cut_by: CutBy
    total_e16: int
    reason: str | None


class OrderbookL2(Struct, frozen=True):
    """Resting size by price; a side that is not complete may miss levels.

    bids: The bids.
    asks: The asks.
    """

    bids: LadderSide
    asks: LadderSide


def orderbook_l2(
    both: Sides,
    *,
    tick_e8: int,
    levels: int = TOP_LEVELS,
    max_bps: Decimal | None = None,
    max_notional_e16: int | None = None,
    price_step_e8: int | None = None,
) -> OrderbookL2:
    """The ladder, cut in this order: max_bps, max_notional, price_step, levels; each side by itself. Raises InvalidRequest."""
    if not 1 <= levels <= LEVELS_MAX:
        raise InvalidRequest("levels", f"{levels} rows a side", f"1-{LEVELS_MAX}")
    if max_bps is not None and not (max_bps.is_finite() and 0 < max_bps <= BPS_MAX):
        raise InvalidRequest("max_bps", f"{max_bps} bps", f"> 0, at most {BPS_MAX}")
    if max_notional_e16 is not None and max_notional_e16 <= 0:
        raise InvalidRequest("max_notional", "not above 0", "> 0")
    if price_step_e8 is not None and (price_step_e8 <= 0 or price_step_e8 % tick_e8):
        raise InvalidRequest("price_step", "no multiple of the tick", f"multiples of {decimal_text(tick_e8)}")
    width = None if max_bps is None else Fraction(max_bps)
    bids, asks = (
        LadderSide((), False, CutBy.BPS, 0, both.no_mid)
        if width is not None and both.mid2 is None
        else _cut(side, both.mid2 or 0, width=width, notional_e16=max_notional_e16, step_e8=price_step_e8, levels=levels)
        for side in (both.bids, both.asks)
    )
    return OrderbookL2(bids, asks)


def _cut(
    side: Side, mid2: int, *, width: Fraction | None, notional_e16: int | None, step_e8: int | None, levels: int
) -> LadderSide:
    """The cuts in their order. `reach` is how far the side must be known for the rows to be all there is; None: to its end."""
    n, cut_by = len(side.levels), CutBy.BOOK_END
    reach: Fraction | int | None = None
    # 1. max_bps: levels inside the band, edge included
    if width is not None:
        reach = side.band_edge(mid2, width)
        n = bisect_right(side.outward, reach)
        if n < len(side.levels) or (side.known_outward is not None and side.knows(reach)):
            cut_by = CutBy.BPS
    # 2. max_notional: up to and including the level at which the running value reaches it
    if notional_e16 is not None:
        last = bisect_left(side.values_e16, notional_e16, 0, n)
        if last < n:
            n, cut_by, reach = last + 1, CutBy.NOTIONAL, side.outward[last]
    # 3. price_step: bids down, asks up, so that no row is shown better than its orders
    places: list[int] = []
    ends: list[int] = []  # how many levels lie in the rows up to each one, itself included
    for i, outward in enumerate(side.outward[:n], 1):
        place = outward if step_e8 is None else -(-outward // step_e8) * step_e8
        if places and places[-1] == place:
            ends[-1] = i
        else:
            places.append(place)
            ends.append(i)
    # 4. levels: rows. As many rows as asked for are enough also where the known range ends behind them.
    if len(places) > levels or (len(places) == levels and cut_by is CutBy.BOOK_END and side.known_outward is not None):
        cut_by, places = CutBy.LEVELS, places[:levels]
        reach = places[-1]
    ends = [0, *ends[: len(places)]]
    rows = [
        (-side.sign * place, side.quantity_e8(end) - side.quantity_e8(start))
        for place, start, end in zip(places, ends[:-1], ends[1:], strict=True)
    ]
    complete = side.known_outward is None or (reach is not None and side.knows(reach))
    return LadderSide(tuple(rows), complete, cut_by, side.value_e16(ends[-1]), None)


class Encoding(StrEnum):
    """How prices and quantities of a ladder are written: decimal text, or integers times a scale."""

    DECIMAL = "decimal"
    INTEGER = "integer"


class EncodedRows(Struct, frozen=True):
    """A ladder as it is written.

    bids: Price and quantity of each bid row, best first; decimal text, or integers times the scales.
    asks: Price and quantity of each ask row, best first.
    price_scale: A power of ten that makes every price here a whole number.
    qty_scale: A power of ten that makes every quantity here a whole number.
    """

    bids: list[tuple[str | int, str | int]]
    asks: list[tuple[str | int, str | int]]
    price_scale: int
    qty_scale: int


def encoded(ladder: OrderbookL2, encoding: Encoding, *, tick_e8: int, step_e8: int) -> EncodedRows:
    """Exact either way, with the decimals of the symbol's tick and step; finer where a row is off their grid."""
    every = ladder.bids.rows + ladder.asks.rows
    price_decimals = max([_decimals(tick_e8), *(_decimals(price) for price, _ in every)])
    quantity_decimals = max([_decimals(step_e8), *(_decimals(quantity) for _, quantity in every)])
    price_unit, quantity_unit = 10 ** (DECIMALS - price_decimals), 10 ** (DECIMALS - quantity_decimals)

    def written(rows: Sequence[Level]) -> list[tuple[str | int, str | int]]:
        if encoding is Encoding.INTEGER:
            return [(price // price_unit, quantity // quantity_unit) for price, quantity in rows]
        return [(grid_text(price, tick_e8), grid_text(quantity, step_e8)) for price, quantity in rows]

    return EncodedRows(written(ladder.bids.rows), written(ladder.asks.rows), 10**price_decimals, 10**quantity_decimals)


def grid_text(value_e8: int, grid_e8: int) -> str:
    """Decimal text with as many decimals as the symbol's grid prints, more if the value is off it."""
    decimals = max(_decimals(grid_e8), _decimals(value_e8))
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{f'{fraction:08d}'[:decimals]}" if decimals else str(whole)


def _decimals(value_e8: int) -> int:
    """Decimals that the value needs."""
    return len(f"{value_e8 % E8:08d}".rstrip("0"))


# estimate_market_impact ----------------------------------------------------------


class TradeSide(StrEnum):
    """What to ask about: taking asks (buy), taking bids (sell), or both."""

    BUY = "buy"
    SELL = "sell"
    BOTH = "both"


class MarketImpact(Struct, frozen=True):
    """What taking this size now would cost against the mid, if nothing moves.

    buy: Taking asks; None: not asked for.
    sell: Taking bids; None: not asked for.
    round_trip_bps: Cost of buying and selling the size at once, in bps of the mid.
    cost_rank: Share of the baseline's seconds in which the same was cheaper, in [0, 1]; ties count half.
    reasons: Why a field is None, by its name.
    """

    buy: Impact | None
    sell: Impact | None
    round_trip_bps: float | None
    cost_rank: float | None
    reasons: dict[str, str]


def market_impact(
    both: Sides, *, notional_e16: int, side: TradeSide = TradeSide.BOTH, past: History | None = None
) -> MarketImpact:
    """Exact for now; says nothing about hidden or arriving orders. past: of cost_history for the same question; None: baseline
    short, or a size that the records do not hold. Raises InvalidRequest.
    """
    if notional_e16 <= 0:
        raise InvalidRequest("notional", "not above 0", "> 0")
    buy = impact(both, both.asks, notional_e16) if side is not TradeSide.SELL else None
    sell = impact(both, both.bids, notional_e16) if side is not TradeSide.BUY else None
    asked = [one for one in (buy, sell) if one is not None]
    reasons = {name: NOT_ASKED for name, one in (("buy", buy), ("sell", sell)) if one is None}
    costs = [one.cost_bps for one in asked if one.cost_bps is not None]
    total = sum(costs) if len(costs) == len(asked) else None
    no_cost = next((one.reason for one in asked if one.reason is not None), UNDEFINED)
    trip = total if side is TradeSide.BOTH else None
    if trip is None:
        reasons["round_trip_bps"] = no_cost if side is TradeSide.BOTH else NOT_ASKED
    rank = None
    if notional_e16 not in {size * E16 for size in SIZES_QUOTE}:
        reasons["cost_rank"] = UNDEFINED
    elif total is None:
        reasons["cost_rank"] = no_cost
    elif past is None or not past.n:
        reasons["cost_rank"] = BASELINE_SHORT
    else:
        rank = past.share_below(total)
    return MarketImpact(buy, sell, trip, rank, reasons)


def cost_columns(columns: Mapping[str, NDArray[Any]], size_quote: int) -> tuple[Floats, Floats]:
    """Cost to buy and to sell one of SIZES_QUOTE, bps, a row per record; +inf where the book held less to its very end.

    columns: state, cost_*, fill_* and known_* of SecondRecord, as the store gives them. NaN: not known.
    """
    place = SIZES_QUOTE.index(size_quote)
    live = columns["state"] == BookState.LIVE
    found = []
    for side, edge in (("buy", "known_ask"), ("sell", "known_bid")):
        cost, filled = columns[f"cost_{side}"][:, place], columns[f"fill_{side}"][:, place]
        found.append(np.where(live & np.isnan(columns[edge]) & ~np.isnan(filled), np.inf, cost))
    return found[0], found[1]


def cost_history(columns: Mapping[str, NDArray[Any]], counted: NDArray[np.bool_], *, side: TradeSide, size_quote: int) -> History:
    """What market_impact is ranked against: the cost of the same question in each counted second, bps.

    counted: which rows are clean. Both sides: the sum, as in round_trip_bps. An exhausted book was dearer than any cost.
    """
    buy, sell = cost_columns(columns, size_quote)
    cost = {TradeSide.BUY: buy, TradeSide.SELL: sell, TradeSide.BOTH: buy + sell}[side]
    return History.of(cost[counted])


# Fitted micro-price ----------------------------------------------------------------

DECILES = 10
FIT_EVENTS_MIN = 5_000
FIT_SPAN_NS_MIN = 3_600 * 10**9
FIT_STEPS_MAX = 1_000


class MicroPrice(Struct, frozen=True):
    """What the mid is expected to move, by state of the best prices. Source: Stoikov, The micro-price, Quantitative Finance 2018;
    with the mean change of the mid in place of its distribution.

    moves_e8: by spread (one tick, more) and decile of bid size / both sizes; None for a state that was never left. n: events.
    """

    tick_e8: int
    moves_e8: tuple[float | None, ...]
    n: int

    def of(self, bid_e8: int, bid_quantity_e8: int, ask_e8: int, ask_quantity_e8: int) -> float | None:
        """Mid plus expected move, quote; None in a state that the fit has not seen."""
        decile, rest = divmod(DECILES * bid_quantity_e8, bid_quantity_e8 + ask_quantity_e8)
        # On the border of two deciles both count half, so that the move is odd in the imbalance there too.
        deciles = {min(decile, DECILES - 1), max(decile - 1, 0)} if rest == 0 else {decile}
        wide = DECILES if ask_e8 - bid_e8 >= 2 * self.tick_e8 else 0
        moves = [self.moves_e8[wide + one] for one in deciles]
        known = [move for move in moves if move is not None]
        if len(known) < len(moves):
            return None
        return ((bid_e8 + ask_e8) / 2 + sum(known) / len(known)) / E8


def fit_microprice(
    quotes: NDArray[np.int64], chains: NDArray[np.int64], recv_ns: NDArray[np.int64], tick_e8: int
) -> MicroPrice | None:
    """From best quotes in order. None under one hour or 5,000 events, or where no move follows from them.

    quotes: rows of bid price, bid quantity, ask price, ask quantity (1e-8). chains: one number for each unbroken run of them.
    """
    if len(quotes) < FIT_EVENTS_MIN or int(recv_ns[-1]) - int(recv_ns[0]) < FIT_SPAN_NS_MIN:
        return None
    return expected_moves(quotes, chains, tick_e8)


def expected_moves(quotes: NDArray[np.int64], chains: NDArray[np.int64], tick_e8: int) -> MicroPrice | None:
    """The fit itself, of any number of events."""
    bid, bid_quantity, ask, ask_quantity = quotes.T
    share = bid_quantity / (bid_quantity.astype(np.float64) + ask_quantity)
    decile = np.minimum((DECILES * share).astype(np.int64), DECILES - 1)
    wide = np.where(ask - bid >= 2 * tick_e8, DECILES, 0)
    linked = chains[1:] == chains[:-1]
    change = np.diff(bid + ask)[linked] / 2
    # Every step counts mirrored as well: imbalance reversed, change negated.
    both = [(wide + decile, change), (wide + DECILES - 1 - decile, -change)]
    before = np.concatenate([state[:-1][linked] for state, _ in both])
    after = np.concatenate([state[1:][linked] for state, _ in both])
    moved = np.concatenate([step for _, step in both])
    states = 2 * DECILES

    def counted(chosen: NDArray[np.bool_]) -> Floats:
        flat = np.bincount(before[chosen] * states + after[chosen], minlength=states * states)
        return flat.reshape(states, states).astype(np.float64)

    times = np.bincount(before, minlength=states)
    each = np.maximum(times, 1)[:, None]
    stays, jumps = counted(moved == 0) / each, counted(moved != 0) / each
    mean = np.bincount(before, moved, states) / each[:, 0]
    try:
        first, onward = np.split(np.linalg.solve(np.eye(states) - stays, np.column_stack([mean, jumps])), [1], axis=1)
    except np.linalg.LinAlgError:
        return None  # some states are never left by a move
    move = term = first[:, 0]
    for _ in range(FIT_STEPS_MAX):
        term = onward @ term
        move = move + term
        if np.abs(term).max() <= 1e-9 * tick_e8:
            known = tuple(float(value) if n else None for value, n in zip(move, times, strict=True))
            return MicroPrice(tick_e8, known, len(quotes))
    return None
