"""The top of a frozen book: best prices, bands around the mid, what a few sizes would cost, walls (orderbook_l1)."""

from collections.abc import Sequence

from msgspec import Struct

from leadline.analytics.book_sides import Side, Sides, depth_e16, imbalance
from leadline.analytics.impact import Impact, impact
from leadline.analytics.microprice import MicroPrice
from leadline.analytics.reasons import BEYOND, NOT_FITTED, UNDEFINED
from leadline.analytics.walls import Walls, walls_of
from leadline.core.records import BANDS_BPS, TOP_LEVELS, Level
from leadline.core.units import E8, E16

L1_SIZES_QUOTE = (10_000, 25_000, 50_000)


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
    microprice: MicroPrice | None = None,
) -> OrderbookL1:
    """Of a frozen book. wall_thresholds_quote: of core.sizes; None: no baseline yet. microprice: None: not fitted."""
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
    walls = walls_of(both, wall_thresholds_quote)
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
    if side.top_is_known:
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
