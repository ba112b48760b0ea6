"""What the exchange answers to people's questions: its 24-hour figures, its latest trades, candles, average price.

Each answer is decoded once, exactly, or refused with the field that is wrong. The exchange writes 0 where it has no price and -1
where it has no id: here that is None. Volumes may be larger than any one quantity, so they are integers without a bound.
Source: Binance rest-api.md, 2026-07-21 (docs/exchange.md).
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from leadline.core.errors import Malformed
from leadline.core.records import DepthSnapshot, Level
from leadline.core.units import DECIMALS, E8
from leadline.exchange.binance.wire import decoded, time_ns

# Records -------------------------------------------------------------------------


class DayFigures(Struct, frozen=True):
    """The rolling 24 hours of a symbol. None: nothing traded that could have it, or no order rests on that side.

    change_percent_e8: of the opening price, in 1e-8 of a percent, as the exchange rounds it. average_e8: by volume.
    previous_close_e8: price of the trade before them. volume_e8: base; quote_e8: quote; both without a bound.
    """

    symbol: str
    change_e8: int | None
    change_percent_e8: int | None
    average_e8: int | None
    previous_close_e8: int | None
    last_e8: int | None
    last_quantity_e8: int | None
    bid: Level | None
    ask: Level | None
    open_e8: int | None
    high_e8: int | None
    low_e8: int | None
    volume_e8: int
    quote_e8: int
    open_ms: int
    close_ms: int
    first_id: int | None
    last_id: int | None
    trades: int


class Fill(Struct, frozen=True, gc=False):
    """One trade. quote_e8: its value as the exchange rounds it. buyer_is_maker true means the taker sold."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    quote_e8: int
    ts_trade_ms: int
    buyer_is_maker: bool
    best_match: bool


class Candle(Struct, frozen=True, gc=False):
    """One candle, open_ms to close_ms, both included; the newest may be open. volume_e8: base; quote_e8: quote."""

    open_ms: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int
    close_ms: int
    quote_e8: int
    trades: int
    taker_buy_e8: int
    taker_buy_quote_e8: int


class AveragePrice(Struct, frozen=True):
    """Average price by volume of the last minutes. price_e8 None: never traded. close_ms: time of the last trade, where told."""

    minutes: int
    price_e8: int | None
    close_ms: int | None


# Bodies ----------------------------------------------------------------------------


def day_figures(body: bytes, symbol: str) -> DayFigures:
    """Answer of `GET /ticker/24hr` of one symbol. Raises Malformed."""
    row = decoded(_DAY, body)
    if row.symbol != symbol:
        raise Malformed("symbol", f"{row.symbol[:40]!r} came for {symbol!r}")
    price = _needed if row.count else _price
    opened, last = price(row.openPrice, "openPrice"), price(row.lastPrice, "lastPrice")
    high, low = price(row.highPrice, "highPrice"), price(row.lowPrice, "lowPrice")
    if opened is not None and last is not None and low is not None and high is not None:
        _inside((opened, last), low, high, "lowPrice", "highPrice")
    if row.count and row.firstId < 0:
        raise Malformed("firstId", f"{row.firstId} in a day with trades")
    if row.lastId < row.firstId:
        raise Malformed("lastId", f"{row.lastId} is below the first id {row.firstId}")
    open_ms, close_ms = _span(row.openTime, row.closeTime)
    moved = opened is not None and last is not None
    change, percent = _number(row.priceChange, "priceChange"), _number(row.priceChangePercent, "priceChangePercent")
    return DayFigures(
        symbol=symbol,
        change_e8=change if moved else None,
        change_percent_e8=percent if moved else None,
        average_e8=_price(row.weightedAvgPrice, "weightedAvgPrice"),
        previous_close_e8=_price(row.prevClosePrice, "prevClosePrice"),
        last_e8=last,
        last_quantity_e8=_price(row.lastQty, "lastQty"),
        bid=_best(row.bidPrice, row.bidQty, "bid"),
        ask=_best(row.askPrice, row.askQty, "ask"),
        open_e8=opened,
        high_e8=high,
        low_e8=low,
        volume_e8=_size(row.volume, "volume"),
        quote_e8=_size(row.quoteVolume, "quoteVolume"),
        open_ms=open_ms,
        close_ms=close_ms,
        first_id=row.firstId if row.firstId >= 0 else None,
        last_id=row.lastId if row.lastId >= 0 else None,
        trades=row.count,
    )


def fills(body: bytes, limit: int) -> list[Fill]:
    """Answer of `GET /trades`: the latest, at most `limit`, oldest first. Raises Malformed."""
    found = [
        Fill(
            row.id,
            _needed(row.price, "price"),
            _needed(row.qty, "qty"),
            _size(row.quoteQty, "quoteQty"),
            _ms(row.time, "time"),
            row.isBuyerMaker,
            row.isBestMatch,
        )
        for row in decoded(_FILLS, body)
    ]
    _at_most(limit, found, "id")
    _rising((fill.trade_id for fill in found), "id")
    return found


def candles(body: bytes, limit: int, start_ms: int | None, end_ms: int | None) -> list[Candle]:
    """Answer of `GET /klines`: at most `limit` that open in [start_ms, end_ms], oldest first. Raises Malformed."""
    try:
        rows = decoded(_CANDLES, body)
    except Malformed as error:
        raise Malformed(_column(error.why) or error.field, error.why) from error
    found = [_candle(row) for row in rows]
    _at_most(limit, found, "openTime")
    _rising((candle.open_ms for candle in found), "openTime")
    for candle in found:
        if (start_ms is not None and candle.open_ms < start_ms) or (end_ms is not None and candle.open_ms > end_ms):
            raise Malformed("openTime", f"{candle.open_ms} lies outside what was asked for")
    return found


def average_price(body: bytes) -> AveragePrice:
    """Answer of `GET /avgPrice`. Raises Malformed."""
    row = decoded(_AVERAGE, body)
    return AveragePrice(row.mins, _price(row.price, "price"), None if row.closeTime is None else _ms(row.closeTime, "closeTime"))


def sound(snapshot: DepthSnapshot, limit: int) -> DepthSnapshot:
    """A snapshot that is shown as it came: at most `limit` levels a side, best first, sizes above 0, bids below asks.

    Raises Malformed. (A book that is followed has its own judges.)
    """
    for field, levels, sign in (("bids", snapshot.bids, -1), ("asks", snapshot.asks, 1)):
        _at_most(limit, levels, field)
        if any(not price or not quantity for price, quantity in levels):
            raise Malformed(field, "a level without a price or a quantity")
        _rising((sign * price for price, _ in levels), field)
    if snapshot.bids and snapshot.asks and snapshot.bids[0][0] >= snapshot.asks[0][0]:
        raise Malformed("asks", "the best ask is not above the best bid")
    return snapshot


# Field by field ------------------------------------------------------------------------


def _candle(row: "_CandleRow") -> Candle:
    opened, high, low, close = (
        _needed(text, field) for text, field in ((row.open, "open"), (row.high, "high"), (row.low, "low"), (row.close, "close"))
    )
    _inside((opened, close), low, high, "low", "high")
    open_ms, close_ms = _span(row.openTime, row.closeTime)
    volume, quote = _size(row.volume, "volume"), _size(row.quoteVolume, "quoteVolume")
    bought, bought_quote = _size(row.takerBuyBase, "takerBuyBase"), _size(row.takerBuyQuote, "takerBuyQuote")
    for part, whole, field in ((bought, volume, "takerBuyBase"), (bought_quote, quote, "takerBuyQuote")):
        if part > whole:
            raise Malformed(field, "takers bought more than was traded")
    return Candle(open_ms, opened, high, low, close, volume, close_ms, quote, row.trades, bought, bought_quote)


def _number(text: str, field: str) -> int:
    """Decimal text to units of 1e-8, of any size and sign, exact."""
    match = _DECIMAL(text)
    if match is None:
        raise Malformed(field, f"not a decimal number of at most 8 decimals: {text[:40]!r}")
    value = int(match[2]) * E8 + int((match[3] or "").ljust(DECIMALS, "0"))
    return -value if match[1] else value


def _size(text: str, field: str) -> int:
    value = _number(text, field)
    if value < 0:
        raise Malformed(field, f"below 0: {text[:40]!r}")
    return value


def _price(text: str, field: str) -> int | None:
    """0 is the exchange's word for none."""
    return _size(text, field) or None


def _needed(text: str, field: str) -> int:
    value = _size(text, field)
    if not value:
        raise Malformed(field, "0, where something was traded")
    return value


def _best(price: str, quantity: str, side: str) -> Level | None:
    found = _price(price, f"{side}Price"), _price(quantity, f"{side}Qty")
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _inside(prices: tuple[int, int], low: int, high: int, low_field: str, high_field: str) -> None:
    if low > min(prices):
        raise Malformed(low_field, "the lowest price is not the lowest")
    if high < max(prices):
        raise Malformed(high_field, "the highest price is not the highest")


def _span(open_time: int, close_time: int) -> tuple[int, int]:
    open_ms, close_ms = _ms(open_time, "openTime"), _ms(close_time, "closeTime")
    if close_ms <= open_ms:
        raise Malformed("closeTime", f"{close_ms} is not after {open_ms}")
    return open_ms, close_ms


def _ms(time: int, field: str) -> int:
    return time_ns(time, field) // 1_000_000


def _at_most(limit: int, rows: Sequence[object], field: str) -> None:
    if len(rows) > limit:
        raise Malformed(field, f"{len(rows)} rows came, {limit} were asked for")


def _rising(values: Iterable[int], field: str) -> None:
    for before, after in pairwise(values):
        if after <= before:
            raise Malformed(field, f"{abs(after)} after {abs(before)}: not in order")


def _column(text: str) -> str | None:
    """Name of the column that a row of a candle is refused for; None where the message tells of none."""
    columns = _CandleRow.__struct_fields__
    if match := _PLACE.search(text):
        return columns[int(match[1])]
    if match := _SHORT.search(text):
        return columns[int(match[1])]
    return None


# Shapes ----------------------------------------------------------------------------------

_DECIMAL: Final = re.compile(r"(-?)([0-9]{1,40})(?:\.([0-9]{0,8})0*)?").fullmatch
_PLACE: Final = re.compile(r"`\$\[\d+\]\[(\d+)\]`$")
_SHORT: Final = re.compile(r"of at least length \d+, got (\d+)")

_Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Id = Annotated[int, Meta(ge=-1, le=2**63 - 1)]


class _DayRow(Struct, gc=False):
    symbol: str
    priceChange: str
    priceChangePercent: str
    weightedAvgPrice: str
    prevClosePrice: str
    lastPrice: str
    lastQty: str
    bidPrice: str
    bidQty: str
    askPrice: str
    askQty: str
    openPrice: str
    highPrice: str
    lowPrice: str
    volume: str
    quoteVolume: str
    openTime: _Time
    closeTime: _Time
    firstId: _Id
    lastId: _Id
    count: _Count


class _FillRow(Struct, gc=False):
    id: _Count
    price: str
    qty: str
    quoteQty: str
    time: _Time
    isBuyerMaker: bool
    isBestMatch: bool


class _CandleRow(Struct, array_like=True, gc=False):
    openTime: _Time
    open: str
    high: str
    low: str
    close: str
    volume: str
    closeTime: _Time
    quoteVolume: str
    trades: _Count
    takerBuyBase: str
    takerBuyQuote: str


class _AverageRow(Struct, gc=False):
    mins: Annotated[int, Meta(ge=1, le=10_000)]
    price: str
    closeTime: _Time | None = None


_DAY: Final = msgspec.json.Decoder(_DayRow)
_FILLS: Final = msgspec.json.Decoder(list[_FillRow])
_CANDLES: Final = msgspec.json.Decoder(list[_CandleRow])
_AVERAGE: Final = msgspec.json.Decoder(_AverageRow)
