"""What taking a size would cost against the mid, if nothing moves (estimate_market_impact), and how that ranks among the past."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.book_sides import Side, Sides, fill
from leadline.analytics.reasons import BASELINE_SHORT, NOT_ASKED, UNDEFINED
from leadline.analytics.stats import Floats, History
from leadline.core.errors import InvalidRequest
from leadline.core.records import SIZES_QUOTE, BookState
from leadline.core.units import E16


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


# Both sides ----------------------------------------------------------------------


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
    """Exact for now; says nothing about hidden or arriving orders. past: the same in the past; None: baseline
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


# Among the past ------------------------------------------------------------------


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
