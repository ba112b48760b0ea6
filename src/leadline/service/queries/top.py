"""orderbook_l1: how wide and how thick the market is right now, and down to which price that is known."""

from msgspec import Struct

from leadline.analytics import top as analytics
from leadline.analytics.impact import Impact
from leadline.analytics.reasons import BEYOND
from leadline.analytics.top import L1_SIZES_QUOTE, OrderbookL1
from leadline.analytics.walls import Wall
from leadline.core.units import E8, E16
from leadline.service.queries.books import LEVELS_ALL, MAX_AGE_MS, Found, book_of
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, of_view
from leadline.service.steps import Steps

DEFINITION = "orderbook_l1/1"
LEVELS_FIRST = 1_000


class DepthAnswer(Struct, frozen=True):
    """What rests within `bps` of the mid.

    bps: Width of the band on each side of the mid, its edge included.
    bid_quote: Value of the bids inside it, quote.
    ask_quote: Value of the asks inside it, quote.
    imbalance: (bid - ask) / (bid + ask), in [-1, 1]; above 0 more is bid.
    """

    bps: int
    bid_quote: str | None
    ask_quote: str | None
    imbalance: float | None


class SlippageAnswer(Struct, frozen=True):
    """What taking one size would cost. "usd" is the original's word for the quote asset.

    target_usd: The size, quote.
    avg_price: Average price of all of it; null unless the known book fills it.
    cost_bps: How much worse than the mid that is, bps.
    slippage_bps: How much worse than the best price, bps.
    filled_qty: Quantity that the known book holds of it, base.
    filled_usd: Value of that, quote.
    """

    target_usd: float
    avg_price: str | None
    cost_bps: float | None
    slippage_bps: float | None
    filled_qty: str
    filled_usd: str


class WallAnswer(Struct, frozen=True):
    """A level larger than usual at its distance from the mid.

    price: Its price.
    qty: Its quantity, base.
    quote: Its value, quote.
    threshold_quote: Value from which a level at this distance is large, quote.
    """

    price: str
    qty: str
    quote: str
    threshold_quote: str


class WallsAnswer(Struct, frozen=True):
    """Large levels within 10 bps among the 20 best of each side.

    bids: Large bids, best first.
    asks: Large asks, best first.
    """

    bids: list[WallAnswer]
    asks: list[WallAnswer]


class OrderbookL1Answer(Struct, frozen=True, kw_only=True):
    """How wide and how thick the market is right now, and down to which price that is known.

    reading: One sentence made of the fields.
    symbol: The symbol.
    timestamp: Time of the last event, UTC ms.
    best_bid: Highest bid price.
    best_ask: Lowest ask price.
    best_bid_size: Quantity at the best bid, base.
    best_ask_size: Quantity at the best ask, base.
    mid_price: Mean of both best prices.
    spread: Best ask less best bid, quote.
    spread_bps: The spread in bps of the mid.
    spread_ticks: The spread in ticks.
    weighted_mid: Best prices weighted by the size on the other side, quote.
    microprice: The same, under the original's name.
    microprice_fitted: The mid plus the move that followed such best prices in the past, quote.
    last_update_id: The exchange's id of the last applied update.
    bid_volume: Quantity of the 20 best bids, base.
    ask_volume: Quantity of the 20 best asks, base.
    imbalance_ratio: bid_volume / ask_volume.
    imbalance: (bid - ask) / (bid + ask) of the best sizes, in [-1, 1]; above 0 more is bid.
    imbalance_top20: The same of the 20 best levels a side.
    depth: What rests within 1, 2, 5, 10, 25 and 50 bps of the mid.
    quote_asset: The asset that quote values are in.
    slippage_estimates: What taking 10k, 25k and 50k would cost, by name.
    walls: Levels larger than usual at their distance.
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    timestamp: int
    best_bid: str | None
    best_ask: str | None
    best_bid_size: str | None
    best_ask_size: str | None
    mid_price: str | None
    spread: str | None
    spread_bps: float | None
    spread_ticks: int | None
    weighted_mid: float | None
    microprice: float | None
    microprice_fitted: float | None
    last_update_id: int
    bid_volume: str | None
    ask_volume: str | None
    imbalance_ratio: float | None
    imbalance: float | None
    imbalance_top20: float | None
    depth: list[DepthAnswer]
    quote_asset: str
    slippage_estimates: dict[str, SlippageAnswer]
    walls: WallsAnswer | None
    reasons: dict[str, str]
    envelope: Envelope


def orderbook_l1(desk: Desk, symbol: str, *, max_age_ms: int = MAX_AGE_MS) -> Steps[OrderbookL1Answer]:
    """Now. Raises UnknownSymbol, BookNotLive."""
    symbol = desk.symbol(symbol)
    grid = desk.grid(symbol)
    if desk.books is not None and symbol in desk.books.symbols:
        thresholds = desk.books.size_thresholds(symbol)
    else:
        end = desk.end_s(symbol, None)
        thresholds = (yield from desk.histories.upto(symbol, end, end)).size_thresholds(end)
    found = book_of(desk, symbol, levels=LEVELS_FIRST, max_age_ms=max_age_ms)
    top = analytics.orderbook_l1(found.sides, tick_e8=grid.tick_e8, wall_thresholds_quote=thresholds)
    if found.source == "live" and BEYOND in top.reasons.values():  # or merely beyond what was copied
        found = book_of(desk, symbol, levels=LEVELS_ALL, max_age_ms=max_age_ms)
        top = analytics.orderbook_l1(found.sides, tick_e8=grid.tick_e8, wall_thresholds_quote=thresholds)
    return _answer(desk, found, top, grid)


def _answer(desk: Desk, found: Found, top: OrderbookL1, grid: Grid) -> OrderbookL1Answer:
    view = found.view

    def price(value: int | None) -> str | None:
        return None if value is None else grid.price(value)

    def quantity(value: int | None) -> str | None:
        return None if value is None else grid.quantity(value)

    def walls(side: tuple[Wall, ...]) -> list[WallAnswer]:
        return [
            WallAnswer(grid.price(w.price_e8), grid.quantity(w.quantity_e8), grid.quote(w.value_e16), f"{w.threshold_quote:.0f}")
            for w in side
        ]

    reasons = {_served(name): why for name, why in top.reasons.items()}
    if "weighted_mid" in reasons:
        reasons["microprice"] = reasons["weighted_mid"]
    estimates: dict[str, SlippageAnswer] = {}
    for word, taken in (("buy", top.buy), ("sell", top.sell)):
        for size, one in zip(L1_SIZES_QUOTE, taken, strict=True):
            name = f"{word}_{size // 1000}k_usd"
            estimates[name] = _slippage(one, grid)
            if one.reason is not None:
                reasons[f"slippage_estimates.{name}"] = one.reason
    return OrderbookL1Answer(
        reading=_reading(view.symbol, top, grid),
        symbol=view.symbol,
        timestamp=view.ts_event_ns // 1_000_000,
        best_bid=price(top.best_bid_e8),
        best_ask=price(top.best_ask_e8),
        best_bid_size=quantity(top.best_bid_size_e8),
        best_ask_size=quantity(top.best_ask_size_e8),
        mid_price=None if top.mid2_e8 is None else grid.quote(top.mid2_e8 * E8 // 2),
        spread=price(top.spread_e8),
        spread_bps=top.spread_bps,
        spread_ticks=top.spread_ticks,
        weighted_mid=top.weighted_mid,
        microprice=top.weighted_mid,
        microprice_fitted=top.microprice_fitted,
        last_update_id=view.update_id,
        bid_volume=quantity(top.bid_volume_e8),
        ask_volume=quantity(top.ask_volume_e8),
        imbalance_ratio=top.imbalance_ratio,
        imbalance=top.imbalance,
        imbalance_top20=top.imbalance_top20,
        depth=[
            DepthAnswer(
                band.bps,
                None if band.bid_e16 is None else grid.quote(band.bid_e16),
                None if band.ask_e16 is None else grid.quote(band.ask_e16),
                band.imbalance,
            )
            for band in top.depth
        ],
        quote_asset=grid.quote_asset,
        slippage_estimates=estimates,
        walls=None if top.walls is None else WallsAnswer(walls(top.walls.bids), walls(top.walls.asks)),
        reasons=reasons,
        envelope=of_view(desk, view, source=found.source, definition=DEFINITION),
    )


def _served(name: str) -> str:
    """Name of the served field behind an exact one: depth.10.bid_e16 -> depth.10.bid_quote."""
    if name == "mid2_e8":
        return "mid_price"
    return name.replace("_e16", "_quote").removesuffix("_e8")


def _slippage(one: Impact, grid: Grid) -> SlippageAnswer:
    return SlippageAnswer(
        target_usd=one.notional_e16 / E16,
        avg_price=None if one.avg_price_e8 is None else grid.price(one.avg_price_e8),
        cost_bps=one.cost_bps,
        slippage_bps=one.slippage_bps,
        filled_qty=grid.quantity(one.filled_e8),
        filled_usd=grid.quote(one.filled_e16),
    )


def _reading(symbol: str, top: OrderbookL1, grid: Grid) -> str:
    if top.best_bid_e8 is None or top.best_ask_e8 is None or top.spread_bps is None:
        return f"{symbol}: no spread, a side of the book has no known best price."
    parts = [f"{symbol}: {grid.price(top.best_bid_e8)} / {grid.price(top.best_ask_e8)}, spread {top.spread_bps:.3g} bps"]
    band = next((band for band in top.depth if band.bps == 10), None)
    if band is not None and band.bid_e16 is not None and band.ask_e16 is not None:
        bid, ask = band.bid_e16 / E16, band.ask_e16 / E16
        parts.append(f"within 10 bps {bid:,.0f} bid and {ask:,.0f} ask {grid.quote_asset}".rstrip())
    largest = top.buy[-1].cost_bps, top.sell[-1].cost_bps
    if largest[0] is not None and largest[1] is not None:
        parts.append(f"taking 50k costs {largest[0]:.2f} bps to buy, {largest[1]:.2f} to sell")
    return "; ".join(parts) + "."
