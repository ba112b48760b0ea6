"""get_ticker, get_recent_trades, get_klines, get_avg_price: what traded, as the exchange states it when asked.

Its own field names and its own numbers, each checked, and null where it has none. Any symbol that it lists may be asked for,
followed or not. These questions wait for the network, so they are awaited; they come last in the one weight budget.
"""

from typing import Any

from msgspec import Struct, structs

from leadline.analytics.reasons import NO_TRADES, UNDEFINED
from leadline.core.errors import InvalidRequest, Unreachable
from leadline.core.units import decimal_text
from leadline.service.ports import MarketData
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, of_service

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
ROWS_MAX = 1000
SYMBOL_MAX = 32  # characters
TIME_MS_BELOW = 10**14  # from there on the exchange takes a time for microseconds


# 24 hours ----------------------------------------------------------------------------------


class TickerAnswer(Struct, frozen=True, kw_only=True):
    """The rolling 24 hours of a symbol as the exchange states them.

    reading: One sentence made of the fields.
    symbol: The symbol.
    priceChange: lastPrice less openPrice.
    priceChangePercent: The same in percent of openPrice, as the exchange rounds it.
    weightedAvgPrice: Average price, weighted by volume.
    prevClosePrice: Price of the last trade before the 24 hours.
    lastPrice: Price of the newest trade.
    lastQty: Quantity of the newest trade, base.
    bidPrice: Highest bid price.
    bidQty: Quantity there, base.
    askPrice: Lowest ask price.
    askQty: Quantity there, base.
    openPrice: Price of the first trade of the 24 hours.
    highPrice: Highest price traded.
    lowPrice: Lowest price traded.
    volume: Quantity traded, base.
    quoteVolume: Value traded, quote.
    openTime: Where the 24 hours begin, UTC ms.
    closeTime: Where they end, UTC ms.
    firstId: Id of the first trade.
    lastId: Id of the newest trade.
    count: Number of trades.
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    priceChange: str | None
    priceChangePercent: str | None
    weightedAvgPrice: str | None
    prevClosePrice: str | None
    lastPrice: str | None
    lastQty: str | None
    bidPrice: str | None
    bidQty: str | None
    askPrice: str | None
    askQty: str | None
    openPrice: str | None
    highPrice: str | None
    lowPrice: str | None
    volume: str
    quoteVolume: str
    openTime: int
    closeTime: int
    firstId: int | None
    lastId: int | None
    count: int
    reasons: dict[str, str]
    envelope: Envelope


async def get_ticker(desk: Desk, symbol: str, *, market: MarketData | None) -> TickerAnswer:
    """Now. Raises UnknownSymbol, ExchangeError."""
    symbol = named(symbol)
    day = await reached(market).ticker(symbol)
    grid = desk.grid(symbol)
    last, low, high, change = (_price(grid, value) for value in (day.last_e8, day.low_e8, day.high_e8, day.change_e8))
    percent = None if day.change_percent_e8 is None else decimal_text(day.change_percent_e8)
    volume = grid.quantity(day.volume_e8)
    bid, ask = ((None, None) if best is None else (grid.price(best[0]), grid.quantity(best[1])) for best in (day.bid, day.ask))
    moved = f"last {last}, {percent} % in 24 h, between {low} and {high}; {volume} traded in {day.trades} trades"
    answer = TickerAnswer(
        reading=f"{symbol}: {moved if day.trades else 'no trade in 24 h'}.",
        symbol=symbol,
        priceChange=change,
        priceChangePercent=percent,
        weightedAvgPrice=_price(grid, day.average_e8),
        prevClosePrice=_price(grid, day.previous_close_e8),
        lastPrice=last,
        lastQty=None if day.last_quantity_e8 is None else grid.quantity(day.last_quantity_e8),
        bidPrice=bid[0],
        bidQty=bid[1],
        askPrice=ask[0],
        askQty=ask[1],
        openPrice=_price(grid, day.open_e8),
        highPrice=high,
        lowPrice=low,
        volume=volume,
        quoteVolume=decimal_text(day.quote_e8),
        openTime=day.open_ms,
        closeTime=day.close_ms,
        firstId=day.first_id,
        lastId=day.last_id,
        count=day.trades,
        reasons={},
        envelope=evidence(desk, symbol, definition="ticker/1", exchange_time_ms=day.close_ms),
    )
    nulls = [name for name in answer.__struct_fields__ if getattr(answer, name) is None]
    return structs.replace(answer, reasons={name: UNDEFINED if name in _RESTING else NO_TRADES for name in nulls})


_RESTING = frozenset({"bidPrice", "bidQty", "askPrice", "askQty"})


# The latest trades -------------------------------------------------------------------------


class RecentTradeAnswer(Struct, frozen=True, kw_only=True):
    """One trade.

    id: The exchange's id.
    price: Its price.
    qty: Quantity, base.
    quoteQty: Value, quote, as the exchange rounds it.
    time: When it was, UTC ms.
    isBuyerMaker: True: the taker sold; false: the taker bought.
    isBestMatch: The exchange's word for a trade at the best price.
    """

    id: int
    price: str
    qty: str
    quoteQty: str
    time: int
    isBuyerMaker: bool
    isBestMatch: bool


class RecentTradesAnswer(Struct, frozen=True, kw_only=True):
    """The latest trades of a symbol.

    reading: One sentence made of the fields.
    symbol: The symbol.
    trades: The trades, oldest first.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    trades: list[RecentTradeAnswer]
    envelope: Envelope


async def get_recent_trades(desk: Desk, symbol: str, *, limit: int = 500, market: MarketData | None) -> RecentTradesAnswer:
    """The latest `limit`. Raises UnknownSymbol, InvalidRequest, ExchangeError."""
    symbol, limit = named(symbol), _rows("limit", limit)
    fills = await reached(market).recent_trades(symbol, limit)
    grid = desk.grid(symbol)
    sold = sum(fill.buyer_is_maker for fill in fills)
    said = "no trade is told"
    if fills:
        said = f"{len(fills)} trades, the taker sold in {sold} of them, the last at {grid.price(fills[-1].price_e8)}"
    return RecentTradesAnswer(
        reading=f"{symbol}: {said}.",
        symbol=symbol,
        trades=[
            RecentTradeAnswer(
                id=fill.trade_id,
                price=grid.price(fill.price_e8),
                qty=grid.quantity(fill.quantity_e8),
                quoteQty=decimal_text(fill.quote_e8),
                time=fill.ts_trade_ms,
                isBuyerMaker=fill.buyer_is_maker,
                isBestMatch=fill.best_match,
            )
            for fill in fills
        ],
        envelope=evidence(desk, symbol, definition="recent_trades/1", exchange_time_ms=fills[-1].ts_trade_ms if fills else None),
    )


# Candles -----------------------------------------------------------------------------------


class KlineAnswer(Struct, frozen=True, kw_only=True):
    """One candle. Without a trade its prices stand at the close before.

    openTime: Where it begins, UTC ms.
    open: First price.
    high: Highest price.
    low: Lowest price.
    close: Last price.
    volume: Quantity traded, base.
    closeTime: Its last millisecond, UTC ms; in the future: the candle is open.
    quoteVolume: Value traded, quote.
    trades: Number of trades.
    takerBuyBase: Quantity that takers bought, base.
    takerBuyQuote: Value that takers bought, quote.
    """

    openTime: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    closeTime: int
    quoteVolume: str
    trades: int
    takerBuyBase: str
    takerBuyQuote: str


class KlinesAnswer(Struct, frozen=True, kw_only=True):
    """Candles of a symbol.

    reading: One sentence made of the fields.
    symbol: The symbol.
    interval: Length of a candle.
    klines: The candles, oldest first.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    interval: str
    klines: list[KlineAnswer]
    envelope: Envelope


async def get_klines(
    desk: Desk,
    symbol: str,
    interval: str,
    *,
    limit: int = 500,
    start_time: int | None = None,
    end_time: int | None = None,
    market: MarketData | None,
) -> KlinesAnswer:
    """At most `limit` candles that open in [start_time, end_time], UTC ms: the first of them from start_time on, else the last.

    Raises UnknownSymbol, InvalidRequest, ExchangeError.
    """
    symbol, limit = named(symbol), _rows("limit", limit)
    if interval not in INTERVALS:
        raise InvalidRequest("interval", repr(interval)[:40], ", ".join(INTERVALS))
    for name, moment in (("start_time", start_time), ("end_time", end_time)):
        if moment is not None and not 0 <= moment < TIME_MS_BELOW:
            raise InvalidRequest(name, f"{moment} is no time in UTC ms", f"0-{TIME_MS_BELOW - 1}")
    if start_time is not None and end_time is not None and end_time < start_time:
        raise InvalidRequest("end_time", f"{end_time} lies before start_time", f"from {start_time} on")
    candles = await reached(market).klines(symbol, interval, limit, start_time, end_time)
    grid = desk.grid(symbol)
    said = "no candle opens there"
    if candles:
        low, high = min(candle.low_e8 for candle in candles), max(candle.high_e8 for candle in candles)
        ends = f"{grid.price(candles[0].open_e8)} to {grid.price(candles[-1].close_e8)}"
        said = f"{len(candles)} candles of {interval}, {ends}, between {grid.price(low)} and {grid.price(high)}"
    return KlinesAnswer(
        reading=f"{symbol}: {said}.",
        symbol=symbol,
        interval=interval,
        klines=[_kline(candle, grid) for candle in candles],
        envelope=evidence(desk, symbol, definition="klines/1"),
    )


def _kline(candle: Any, grid: Grid) -> KlineAnswer:
    return KlineAnswer(
        openTime=candle.open_ms,
        open=grid.price(candle.open_e8),
        high=grid.price(candle.high_e8),
        low=grid.price(candle.low_e8),
        close=grid.price(candle.close_e8),
        volume=grid.quantity(candle.volume_e8),
        closeTime=candle.close_ms,
        quoteVolume=decimal_text(candle.quote_e8),
        trades=candle.trades,
        takerBuyBase=grid.quantity(candle.taker_buy_e8),
        takerBuyQuote=decimal_text(candle.taker_buy_quote_e8),
    )


# Average price -----------------------------------------------------------------------------


class AvgPriceAnswer(Struct, frozen=True, kw_only=True):
    """The exchange's average price, weighted by volume; where nothing traded in its minutes, the price of the last trade.

    reading: One sentence made of the fields.
    symbol: The symbol.
    mins: Over so many minutes.
    price: The average.
    closeTime: Time of the last trade, UTC ms; null: not told.
    reasons: Field -> reason code, for a price that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    mins: int
    price: str | None
    closeTime: int | None
    reasons: dict[str, str]
    envelope: Envelope


async def get_avg_price(desk: Desk, symbol: str, *, market: MarketData | None) -> AvgPriceAnswer:
    """Now. Raises UnknownSymbol, ExchangeError."""
    symbol = named(symbol)
    average = await reached(market).average_price(symbol)
    price = _price(desk.grid(symbol), average.price_e8)
    said = "never traded" if price is None else f"average price of {average.minutes} min is {price}"
    return AvgPriceAnswer(
        reading=f"{symbol}: {said}.",
        symbol=symbol,
        mins=average.minutes,
        price=price,
        closeTime=average.close_ms,
        reasons={"price": NO_TRADES} if price is None else {},
        envelope=evidence(desk, symbol, definition="avg_price/1", exchange_time_ms=average.close_ms),
    )


# What all such questions share -------------------------------------------------------------


def named(text: str) -> str:
    """A symbol as the exchange would write it; whether it lists it, only the exchange knows. Raises InvalidRequest."""
    name = text.strip().upper()
    if not 0 < len(name) <= SYMBOL_MAX or any(sign in ":*" or sign.isspace() for sign in name):
        raise InvalidRequest(
            "symbol", f"{text[:40]!r} is no symbol", f"1-{SYMBOL_MAX} printable characters without ':' and white space"
        )
    return name


def reached(market: MarketData | None) -> MarketData:
    """The exchange. Raises Unreachable where no service runs that could ask it."""
    if market is None:
        raise Unreachable("the exchange", "no service runs here")
    return market


def evidence(desk: Desk, symbol: str, *, definition: str, exchange_time_ms: int | None = None, **more: Any) -> Envelope:
    """Of an answer that came over REST just now; state and reason are those of our own book of the symbol."""
    state: str = "OFF"
    reason: str | None = "not followed"
    if desk.books is not None and symbol in desk.books.symbols:
        view = desk.books.view(symbol, 1)
        state, reason = ("WAITING", desk.books.why_none(symbol)) if view is None else (view.state.value, view.reason)
    whole = of_service(desk, symbol, definition=definition)
    told = {"exchange_time_ms": exchange_time_ms, "received_time_ms": whole.as_of_ms}
    return structs.replace(whole, source="rest", state=state, reason=reason, **told, **more)


def _rows(name: str, limit: int) -> int:
    if not 1 <= limit <= ROWS_MAX:
        raise InvalidRequest(name, str(limit), f"1-{ROWS_MAX}")
    return limit


def _price(grid: Grid, value_e8: int | None) -> str | None:
    """As the grid writes it; may be negative."""
    if value_e8 is None:
        return None
    return f"-{grid.price(-value_e8)}" if value_e8 < 0 else grid.price(value_e8)
