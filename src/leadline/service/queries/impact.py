"""estimate_market_impact: what taking a size now would cost against the mid, if nothing moves."""

from msgspec import Struct

from leadline.analytics.impact import Impact, TradeSide, market_impact
from leadline.core.errors import InvalidRequest
from leadline.core.records import SIZES_QUOTE
from leadline.core.units import E8, E16
from leadline.service.queries.books import LEVELS_ALL, MAX_AGE_MS, book_of
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, of_view
from leadline.service.queries.ladder import exact_e8
from leadline.service.steps import Steps

DEFINITION = "market_impact/1"
NOTIONAL_QUOTE = "100000"


class ImpactAnswer(Struct, frozen=True):
    """Taking the size from one side.

    notional: The size, quote.
    filled: How much of it the known book holds, quote.
    avg_price: Average price of all of it; null unless it is filled.
    cost_bps: How much worse than the mid that is, bps.
    worst_price: Price of the last level that is needed.
    levels_used: So many levels are taken, the last one in part.
    reason: Why price or cost is null.
    """

    notional: str
    filled: str
    avg_price: str | None
    cost_bps: float | None
    worst_price: str | None
    levels_used: int
    reason: str | None


class MarketImpactAnswer(Struct, frozen=True, kw_only=True):
    """What taking this size now would cost against the mid, if nothing moves.

    reading: One sentence made of the fields.
    symbol: The symbol.
    quote_asset: The asset that quote values are in.
    buy: Taking asks; null: not asked for.
    sell: Taking bids; null: not asked for.
    round_trip_bps: Cost of buying and selling the size at once, bps of the mid.
    cost_rank: Share of the own last day's seconds in which the same was cheaper, in [0, 1].
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    quote_asset: str
    buy: ImpactAnswer | None
    sell: ImpactAnswer | None
    round_trip_bps: float | None
    cost_rank: float | None
    reasons: dict[str, str]
    envelope: Envelope


def estimate_market_impact(
    desk: Desk, symbol: str, *, side: str = "both", notional: str | float = NOTIONAL_QUOTE, max_age_ms: int = MAX_AGE_MS
) -> Steps[MarketImpactAnswer]:
    """Now. Raises UnknownSymbol, InvalidRequest, BookNotLive."""
    symbol = desk.symbol(symbol)
    grid = desk.grid(symbol)
    if side not in {one.value for one in TradeSide}:
        raise InvalidRequest("side", repr(side), "buy, sell, both")
    size_e16 = exact_e8("notional", notional) * E8
    past = None
    end = desk.end_s(symbol, None)
    if size_e16 in {size * E16 for size in SIZES_QUOTE}:
        own = yield from desk.histories.upto(symbol, end, end)
        if own.baseline(end, 1).state == "ready":
            past = own.cost_history(end, TradeSide(side), size_e16 // E16)
    found = book_of(desk, symbol, levels=LEVELS_ALL, max_age_ms=max_age_ms)
    cost = market_impact(found.sides, notional_e16=size_e16, side=TradeSide(side), past=past)
    return MarketImpactAnswer(
        reading=_reading(symbol, grid, size_e16, cost.buy, cost.sell),
        symbol=symbol,
        quote_asset=grid.quote_asset,
        buy=None if cost.buy is None else _answer(cost.buy, grid),
        sell=None if cost.sell is None else _answer(cost.sell, grid),
        round_trip_bps=cost.round_trip_bps,
        cost_rank=cost.cost_rank,
        reasons=cost.reasons,
        envelope=of_view(desk, found.view, source=found.source, definition=DEFINITION),
    )


def _answer(one: Impact, grid: Grid) -> ImpactAnswer:
    return ImpactAnswer(
        notional=grid.quote(one.notional_e16),
        filled=grid.quote(one.filled_e16),
        avg_price=None if one.avg_price_e8 is None else grid.price(one.avg_price_e8),
        cost_bps=one.cost_bps,
        worst_price=None if one.worst_price_e8 is None else grid.price(one.worst_price_e8),
        levels_used=one.levels_used,
        reason=one.reason,
    )


def _reading(symbol: str, grid: Grid, size_e16: int, buy: Impact | None, sell: Impact | None) -> str:
    said = []
    for word, one in (("buying", buy), ("selling", sell)):
        if one is None:
            continue
        if one.cost_bps is not None:
            said.append(f"{word} costs {one.cost_bps:.2f} bps of the mid")
        else:
            said.append(f"{word} has no price ({one.reason}): the known book holds {one.filled_e16 / E16:,.0f}")
    return f"{symbol}, {size_e16 / E16:,.0f} {grid.quote_asset}".rstrip() + " now: " + "; ".join(said) + "."
