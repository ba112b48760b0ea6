"""What takers did, from trades in id order, and what their trading cost, from trades and records.

Sums are exact integers: quantities of 1e-8, quote values of 1e-16. Ratios and statistics are floats. The aggressor of every trade
is known, so nothing is classified.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
from msgspec import Struct

from leadline.analytics.clean import is_clean
from leadline.analytics.histogram import Bools, Ints, batch_starts, exact_sum
from leadline.analytics.order_flow import REGRESSION_S, REGRESSION_WINDOWS_MIN, Columns, windows
from leadline.analytics.reasons import BOOK_NOT_LIVE, NO_TRADES, TRADE_GAP, UNDEFINED
from leadline.analytics.stats import Fit, least_squares
from leadline.core.records import SecondRecord, Trade
from leadline.core.units import E8, E16

MILLION = 1e6
AMIHUD_S = 60  # the measure depends on the length of its windows, so there is one
DAY_S = 86_400

# Taker orders --------------------------------------------------------------------------


class Batch(Struct, frozen=True, gc=False):
    """Approximately one taker order: consecutive trades of one trade time and aggressor whose price never moves back against it.

    Two orders of one side in one millisecond merge.

    ts_trade_ns: When it traded, UTC ns.
    buys: Whether the taker bought.
    fills: So many raw trades.
    quantity_e8: What it took, base units of 1e-8.
    quote_e16: What that was worth, quote units of 1e-16.
    first_price_e8: Its best price, quote units of 1e-8.
    last_price_e8: Its worst price, quote units of 1e-8.
    """

    ts_trade_ns: int
    buys: bool
    fills: int
    quantity_e8: int
    quote_e16: int
    first_price_e8: int
    last_price_e8: int

    @property
    def is_sweep(self) -> bool:
        """Whether it took more than one price."""
        return self.first_price_e8 != self.last_price_e8

    @property
    def walked_bps(self) -> float:
        """How far its average price lies from its first, in bps of the first, >= 0."""
        at_first_e16 = self.first_price_e8 * self.quantity_e8
        return 1e4 * (abs(self.quote_e16 - at_first_e16) / at_first_e16)


def batches(trades: Iterable[Trade]) -> list[Batch]:
    """The taker orders that trades in id order come from. What traded in a hole of the ids is not guessed."""
    found: list[Batch] = []
    run: list[Trade] = []
    for trade in trades:
        if run and not _goes_on(run[-1], trade):
            found.append(_batch(run))
            run = []
        run.append(trade)
    if run:
        found.append(_batch(run))
    return found


def _goes_on(last: Trade, trade: Trade) -> bool:
    if trade.ts_trade_ns != last.ts_trade_ns or trade.buyer_is_maker != last.buyer_is_maker:
        return False
    return trade.price_e8 <= last.price_e8 if trade.buyer_is_maker else trade.price_e8 >= last.price_e8


def _batch(run: Sequence[Trade]) -> Batch:
    first = run[0]
    return Batch(
        first.ts_trade_ns,
        not first.buyer_is_maker,
        sum(trade.fills for trade in run),
        sum(trade.quantity_e8 for trade in run),
        sum(trade.price_e8 * trade.quantity_e8 for trade in run),
        first.price_e8,
        run[-1].price_e8,
    )


# Sums over trades ----------------------------------------------------------------------


class TradeFlow(Struct, frozen=True, kw_only=True):
    """Trades of a window, by aggressor. Exact, of the trades that are there.

    n_trades: So many raw trades.
    n_batches: So many taker orders, approximately.
    n_sweeps: So many of them took more than one price.
    buy_e8: What takers bought, base units of 1e-8.
    sell_e8: What takers sold, base units of 1e-8.
    buy_quote_e16: What was paid for it, quote units of 1e-16.
    sell_quote_e16: What was paid for that, quote units of 1e-16.
    delta_e8: Bought less sold, base units of 1e-8; None if trades are missing.
    tfi: delta / (bought + sold), in [-1, 1]; None without trades or if some are missing.
    vwap: Average price by quantity, in quote; None without trades.
    max_batch_quote_e16: Value of the largest taker order, quote units of 1e-16; None without trades.
    reasons: Why a field is None, by its name: `no_trades`, `trade_gap`.
    """

    n_trades: int
    n_batches: int
    n_sweeps: int
    buy_e8: int
    sell_e8: int
    buy_quote_e16: int
    sell_quote_e16: int
    delta_e8: int | None
    tfi: float | None
    vwap: float | None
    max_batch_quote_e16: int | None
    reasons: dict[str, str]


class TradeColumns(Protocol):
    """Trades in id order, an entry each, exact: the store's columns have more."""

    @property
    def ts_ns(self) -> Ints:
        """Trade time."""
        ...

    @property
    def price_e8(self) -> Ints:
        """Price."""
        ...

    @property
    def quantity_e8(self) -> Ints:
        """Quantity, base."""
        ...

    @property
    def fills(self) -> Ints:
        """Raw trades of each."""
        ...

    @property
    def taker_buy(self) -> Bools:
        """Whether the taker bought."""
        ...

    @property
    def first_id(self) -> Ints:
        """Its first fill id."""
        ...

    @property
    def last_id(self) -> Ints:
        """Its last fill id."""
        ...


def trade_flow(trades: TradeColumns, *, gap: bool = False) -> TradeFlow:
    """Sums of trades. gap: some are known to be missing; a hole between those given is seen here."""
    n, buys = len(trades.ts_ns), trades.taker_buy
    first = batch_starts(trades.ts_ns, trades.price_e8, trades.taker_buy)
    buy, sell = exact_sum(trades.quantity_e8[buys]), exact_sum(trades.quantity_e8[~buys])
    quotes = trades.price_e8.astype(object) * trades.quantity_e8  # beyond 64 bits
    buy_quote, sell_quote = int(quotes[buys].sum()), int(quotes[~buys].sum())
    last = np.append(first[1:], n) - 1 if n else first
    reasons = {} if n else dict.fromkeys(("tfi", "vwap", "max_batch_quote_e16"), "no_trades")
    gap = gap or bool((trades.first_id[1:] != trades.last_id[:-1] + 1).any())
    if gap:
        reasons |= dict.fromkeys(("delta_e8", "tfi"), "trade_gap")
    return TradeFlow(
        n_trades=int(trades.fills.sum()),
        n_batches=len(first),
        n_sweeps=int((trades.price_e8[first] != trades.price_e8[last]).sum()),
        buy_e8=buy,
        sell_e8=sell,
        buy_quote_e16=buy_quote,
        sell_quote_e16=sell_quote,
        delta_e8=None if gap else buy - sell,
        tfi=(buy - sell) / (buy + sell) if n and not gap else None,
        vwap=(buy_quote + sell_quote) / ((buy + sell) * E8) if n else None,
        max_batch_quote_e16=max(np.add.reduceat(quotes, first).tolist()) if n else None,
        reasons=reasons,
    )


def has_hole(trades: Iterable[Trade]) -> bool:
    """Whether the fill ids do not close up: trades are missing, doubled or out of order."""
    return any(after.first_id != before.last_id + 1 for before, after in pairwise(trades))


def cvd_path(trades: Iterable[Trade]) -> list[int]:
    """Bought less sold after each trade, from 0 before the first; base units of 1e-8."""
    return list(accumulate(-trade.quantity_e8 if trade.buyer_is_maker else trade.quantity_e8 for trade in trades))


class Cvd(Struct, frozen=True, kw_only=True):
    """Cumulative volume delta since an anchor.

    value_e8: What takers bought since the anchor less what they sold, base units of 1e-8; None unless every trade is there.
    anchor_s: Since when, in unix s.
    coverage: Share of the time since the anchor whose trades are all there, in [0, 1].
    reasons: Why value_e8 is None: `trade_gap`.
    """

    value_e8: int | None
    anchor_s: int
    coverage: float
    reasons: dict[str, str]


def day_start_s(end_s: int) -> int:
    """The usual anchor: 00:00 UTC of the day in which a window that ends at end_s lies."""
    return (end_s - 1) // DAY_S * DAY_S


def cvd(trades: Sequence[Trade], *, anchor_s: int, end_s: int, covered_s: float) -> Cvd:
    """trades: those with anchor_s <= T < end_s, in id order; covered_s: so many of these seconds are complete, by trade time."""
    coverage = covered_s / (end_s - anchor_s)
    if coverage < 1 or has_hole(trades):
        return Cvd(value_e8=None, anchor_s=anchor_s, coverage=coverage, reasons={"value_e8": TRADE_GAP})
    path = cvd_path(trades)
    return Cvd(value_e8=path[-1] if path else 0, anchor_s=anchor_s, coverage=coverage, reasons={})


# What trading costs --------------------------------------------------------------------


def kyle_slope(columns: Columns) -> Fit | None:
    """Move of the mid in bps on signed taker value in millions of quote, over the whole aligned 10-s windows; beta is the slope.

    None under 30 windows or where takers never differed: `too_few`.
    """
    ten = windows(columns, REGRESSION_S)
    use = ten.whole & ~np.isnan(ten.signed_quote) & ~np.isnan(ten.move_bps)
    if np.count_nonzero(use) < REGRESSION_WINDOWS_MIN:
        return None
    return least_squares(ten.signed_quote[use] / MILLION, ten.move_bps[use])


class Amihud(Struct, frozen=True):
    """Illiquidity after Amihud, over the aligned 60-s windows that are whole and in which something traded.

    bps_per_million: Mean of the size of the move in bps over the millions of quote traded; None without a window, `no_trades`.
    n: Over so many windows.
    """

    bps_per_million: float | None
    n: int


def amihud(columns: Columns) -> Amihud:
    """A window without a trade has no ratio and is left out, even if the mid moved in it."""
    minute = windows(columns, AMIHUD_S)
    use = minute.whole & (minute.quote > 0) & ~np.isnan(minute.move_bps)
    n = int(np.count_nonzero(use))
    return Amihud(float(np.mean(np.abs(minute.move_bps[use]) / (minute.quote[use] / MILLION))) if n else None, n)


class EffectiveSpread(Struct, frozen=True, kw_only=True):
    """What a round trip of ordinary takers cost: the quoted spread, and how far they walked beyond their first price.

    quoted_bps: Spread weighted by time over the clean seconds, in bps of each second's closing mid.
    walked_bps: Twice the way from a taker order's first price to its average, weighted by quote value, in bps of its first price.
    effective_bps: The sum of both.
    seconds: So many clean seconds had a spread.
    n_batches: So many taker orders.
    reasons: Why a field is None, by its name: `book_not_live`, `no_trades`, `undefined`.
    """

    quoted_bps: float | None
    walked_bps: float | None
    effective_bps: float | None
    seconds: int
    n_batches: int
    reasons: dict[str, str]


def effective_spread(records: Iterable[SecondRecord], orders: Sequence[Batch]) -> EffectiveSpread:
    """Records and taker orders of one window. No quote at the moment of a trade is needed, so no two clocks are compared."""
    clean = list(filter(is_clean, records))
    quoted = [
        1e4 * 2 * record.spread_tw / record.mid2_close
        for record in clean
        if record.spread_tw is not None and record.mid2_close is not None
    ]
    reasons: dict[str, str] = {}
    if not quoted:  # a live book may have had an empty side, or its ticker may not have come yet
        reasons |= dict.fromkeys(("quoted_bps", "effective_bps"), UNDEFINED if clean else BOOK_NOT_LIVE)
    if not orders:
        reasons |= dict.fromkeys(("walked_bps", "effective_bps"), NO_TRADES)
    quoted_bps = math.fsum(quoted) / len(quoted) if quoted else None
    walked_bps = None
    if orders:
        values = [order.quote_e16 / E16 for order in orders]
        walked = [2 * order.walked_bps * value for order, value in zip(orders, values, strict=True)]
        walked_bps = math.fsum(walked) / math.fsum(values)
    return EffectiveSpread(
        quoted_bps=quoted_bps,
        walked_bps=walked_bps,
        effective_bps=None if quoted_bps is None or walked_bps is None else quoted_bps + walked_bps,
        seconds=len(quoted),
        n_batches=len(orders),
        reasons=reasons,
    )
