"""The figures of a symbol as the exchange words them: 24 hours, average price, candles; for REST and streams. 8 decimals.

The keys of a 24-hour ticker stand in the same order in both; only their names differ.
"""

from collections.abc import Sequence

import msgspec

from leadline.standin.source import Source, text
from leadline.standin.tape import E8, Candle, Day, Tape

AVERAGE_MS = 5 * 60_000  # of avgPrice; Binance rest-api.md
NO_QUOTE = ("0.00000000",) * 4

FULL = (
    *("priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice", "lastPrice", "lastQty"),
    *("bidPrice", "bidQty", "askPrice", "askQty", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume"),
    *("openTime", "closeTime", "firstId", "lastId", "count"),
)
FULL_STREAM = tuple("pPwxcQbBaAohlvqOCFLn")
MINI = ("openPrice", "highPrice", "lowPrice", "lastPrice", *FULL[13:])
MINI_STREAM = {"c": "lastPrice", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume"}

Figures = dict[str, object]


def best(source: Source, symbol: str) -> Sequence[str]:
    """Best bid, its quantity, best ask, its quantity; zeros where the book, or a side, is not to be had."""
    answer = source.depth(symbol, 1)
    if answer is None:
        return NO_QUOTE
    book = msgspec.json.decode(answer.body)
    return [*(book["bids"] or [NO_QUOTE[:2]])[0], *(book["asks"] or [NO_QUOTE[:2]])[0]]


def day(source: Source, symbol: str, *, quote: bool) -> Figures | None:
    """The 24-hour ticker by its names in REST, times in ms; None where nothing was ever traded. quote: with the best prices."""
    figures = source.tape(symbol).day(source.server_time_ms())
    if figures is None:
        return None
    return dict(zip(FULL, _values(figures, best(source, symbol) if quote else NO_QUOTE), strict=True))


def _values(said: Day, quote: Sequence[str]) -> list[object]:
    candle = said.candle
    traded = candle.trades > 0  # a day without a trade has no prices, but knows the close before it
    first, high, low, last = (candle.open, candle.high, candle.low, candle.close) if traded else (0, 0, 0, 0)
    change = last - first
    return [
        signed(change),
        percent(change, first),
        text(candle.quote * E8 // candle.volume) if candle.volume else text(0),
        text(said.before),
        text(last),
        text(said.last_quantity if traded else 0),
        *quote,
        *(text(value) for value in (first, high, low, candle.volume, candle.quote)),
        candle.open_ms,
        candle.close_ms,
        candle.first_id,
        candle.last_id,
        candle.trades,
    ]


def average(tape: Tape, now_ms: int) -> int:
    """Quote by base of the five minutes that end with now_ms, 1e-8; the last price where nothing was traded in them."""
    candle = tape.candle(now_ms - AVERAGE_MS + 1, now_ms)
    return candle.quote * E8 // candle.volume if candle.volume else tape.last_price


def candle_row(candle: Candle, last_ms_to: tuple[int, int] = (1, 0)) -> list[object]:
    """A row of `GET klines`. last_ms_to: what times are multiplied with, and what is added to the last: (1000, 999) for us."""
    times, end = last_ms_to
    return [
        candle.open_ms * times,
        *(text(value) for value in (candle.open, candle.high, candle.low, candle.close, candle.volume)),
        candle.close_ms * times + end,
        text(candle.quote),
        candle.trades,
        text(candle.taker_volume),
        text(candle.taker_quote),
        "0",
    ]


def signed(value_e8: int) -> str:
    """An integer of 1e-8, which may be below zero, with all its 8 decimals."""
    return f"-{text(-value_e8)}" if value_e8 < 0 else text(value_e8)


def percent(change: int, base: int) -> str:
    """`change` of `base` in percent, 3 decimals, half away from zero."""
    if not base:
        return "0.000"
    thousandths = (abs(change) * 200_000 + base) // (2 * base)
    return f"{'-' if change < 0 and thousandths else ''}{thousandths // 1000}.{thousandths % 1000:03d}"
