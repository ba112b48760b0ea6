"""The records that travel between the rooms. All frozen; all numbers exact.

Prices and quantities end in `_e8`: integers of 1e-8. Sums of price times quantity end in `_e16`: integers of 1e-16.
Times end in their unit: `_ns` for moments, `_ms` where a stored record says so; UTC.
"""

import enum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Level = tuple[int, int]
"""(price_e8, quantity_e8)"""

TOP_LEVELS = 20
BANDS_BPS = (1, 2, 5, 10, 25, 50)
SIZES_QUOTE = (10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000)


# What the exchange says ------------------------------------------------------


class DepthUpdate(Struct, frozen=True, gc=False):
    """One diff of the depth stream: ids `U`..`u`, absolute quantities; 0 removes the level."""

    symbol: str
    first_id: int
    last_id: int
    ts_event_ns: int
    ts_recv_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class DepthSnapshot(Struct, frozen=True, gc=False):
    """The REST answer: best first. `limit` = levels a side that were to be had; a side with fewer is complete."""

    symbol: str
    update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    limit: int


class BestQuote(Struct, frozen=True, gc=False):
    """One bookTicker message: best prices and quantities at `update_id`."""

    symbol: str
    update_id: int
    bid_price_e8: int
    bid_quantity_e8: int
    ask_price_e8: int
    ask_quantity_e8: int
    ts_recv_ns: int


class Trade(Struct, frozen=True, gc=False):
    """One aggregate trade: the fills `first_id`..`last_id` of one taker order at one price.

    buyer_is_maker true means the taker sold. ts_event_ns is 0 for rows that came over REST.
    """

    symbol: str
    agg_id: int
    price_e8: int
    quantity_e8: int
    first_id: int
    last_id: int
    ts_trade_ns: int
    buyer_is_maker: bool
    ts_event_ns: int = 0
    ts_recv_ns: int = 0

    @property
    def fills(self) -> int:
        """Number of raw trades in this aggregate."""
        return self.last_id - self.first_id + 1


class Subscribed(Struct, frozen=True, gc=False):
    """The exchange acknowledged the streams of these symbols. No proof of data."""

    symbols: tuple[str, ...]
    ts_recv_ns: int


class Disconnected(Struct, frozen=True, gc=False):
    """The connection that carried these symbols ended; everything before it is over."""

    symbols: tuple[str, ...]
    reason: str
    ts_recv_ns: int


MarketEvent = DepthUpdate | BestQuote | Trade | Subscribed | Disconnected

TRADING = "TRADING"  # the one status in which events are to be expected; any other, known or not, is not trading


class SymbolRules(Struct, frozen=True):
    """What exchangeInfo says of a symbol. tick and step are for bins and display: levels off the grid are legal.

    inferred: worked out from a snapshot because the recording holds no exchangeInfo.
    """

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_e8: int
    step_e8: int
    since_s: int
    inferred: bool = False


# What we keep ----------------------------------------------------------------


class BookState(enum.StrEnum):
    """State of a symbol's book. STALE is a view of the last good book, never a state of a record."""

    WAITING = "WAITING"
    SYNCING = "SYNCING"
    LIVE = "LIVE"
    STALE = "STALE"


class TradeState(enum.StrEnum):
    """Completeness of the trade id chain."""

    COMPLETE = "COMPLETE"
    BACKFILLED = "BACKFILLED"
    MISSING = "MISSING"


class Flag(enum.IntFlag):
    """Marks of a SecondRecord (docs/records.md)."""

    PARTIAL = 1
    GAP = 2
    RESYNC = 4
    CROSSED = 8
    BBO_BREAK = 16
    RANGE = 32
    TRADES_LATE = 64
    CLOCK = 128
    AUDIT = 256


HARMLESS = Flag.RANGE | Flag.BBO_BREAK | Flag.TRADES_LATE  # a LIVE record with no other flag is clean


class BookSnapshot(Struct, frozen=True, gc=False):
    """Our stored sample at the whole second `timestamp`: at most 20 levels a side, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    timestamp: int


class MinuteBlock(Struct, frozen=True, gc=False):
    """Distributions over the LIVE ticks of one full minute (docs/records.md).

    density_*: mean quote value per bp in the bins [0.5j, 0.5j + 0.5) bps from the mid, j = 0..99; None beyond the known range.
    size_*: quantiles of the quote value of level entries by distance bucket 0-.25, .25-.5, .5-1, 1-2, 2-5, 5-10 bps;
    None under 200 entries.
    """

    samples: int
    density_bid: list[float | None]
    density_ask: list[float | None]
    size_p95: list[float | None]
    size_p99: list[float | None]


class LevelEvent(Struct, frozen=True, gc=False, array_like=True):
    """One notable level of the second: a fleeting large level, or one at which more traded than was shown (docs/records.md).

    kind: `fleeting`, `sweep_excess` or `refill`. side: `bid` or `ask`, where it rested. Of the last two kinds traded_e8 less
    displayed_e8 is the excess; of a fleeting level displayed_e8 is what was left at its death.
    """

    kind: str
    side: str
    price_e8: int
    peak_e8: int
    displayed_e8: int
    traded_e8: int
    born_ms: int
    died_ms: int
    distance_bps: float


class SecondRecord(Struct, frozen=True, kw_only=True):
    """What happened in (t-1, t] and what the book was at t (docs/records.md, in this order).

    px and qty fields are integers of 1e-8; mid2_* are best bid plus best ask; fields named *_quote, depth_*, fill_* and
    mid_sq are integers of 1e-16; bps are floats; spread_tw is a float in units of 1e-8.
    """

    t: int
    state: BookState
    reason: str | None
    epoch: int | None
    live_ms: int
    flags: int
    update_id: int | None
    event_ms: int | None
    recv_ms: int | None
    sample_ms: int | None
    known_bid: int | None
    known_ask: int | None
    n_diff: int
    n_ids: int
    n_levels: int
    n_bbo: int | None
    ofi_source: str | None
    bid_added: int | None
    bid_removed: int | None
    ask_added: int | None
    ask_removed: int | None
    ofi_diff: list[int] | None
    ofi_top20: int | None
    mid2_open: int | None
    mid2_high: int | None
    mid2_low: int | None
    mid2_close: int | None
    mid_sq: int | None
    spread_tw: float | None
    spread_max: int | None
    buy_qty: int
    sell_qty: int
    buy_quote: int
    sell_quote: int
    n_buy: int
    n_sell: int
    n_batches: int
    first_id: int | None
    last_id: int | None
    px_first: int | None
    px_last: int | None
    px_high: int | None
    px_low: int | None
    max_batch_quote: int | None
    trade_state: TradeState
    depth_bid: list[int | None]
    depth_ask: list[int | None]
    depth_min_bid: list[int | None]
    depth_min_ask: list[int | None]
    n_eval: int
    cost_buy: list[float | None]
    cost_sell: list[float | None]
    fill_buy: list[int | None]
    fill_sell: list[int | None]
    n_large_bid: int | None
    n_large_ask: int | None
    large_bid_quote: int | None
    large_ask_quote: int | None
    n_sweeps: int | None
    n_excess: int | None
    excess_quote: int | None
    level_events: list[LevelEvent]
    level_events_dropped: int
    minute: MinuteBlock | None


class TradeBlock(Struct, frozen=True):
    """The trades of one second by exchange trade time: second <= T < second + 1, in id order."""

    symbol: str
    second: int
    state: TradeState
    trades: tuple[Trade, ...]


class TradeHour(Struct, frozen=True, kw_only=True):
    """What the trade blocks of one UTC hour add up to; derived from them, and at any time to be made anew.

    Lines are parallel int64 arrays: what traded at one price in one block of block_s seconds. Of the blocks' seconds only those
    strictly between the first and the last trade's are judged here; what lies outside needs a neighbour (docs/store.md).
    """

    symbol: str
    second: int
    """Start of the hour, a multiple of 3600."""
    block_s: int
    """Length of a block of lines."""
    ts_ns: NDArray[np.int64]
    """Start of the line's block."""
    price_e8: NDArray[np.int64]
    """Price of the line."""
    buy_e8: NDArray[np.int64]
    """Quantity that takers bought there."""
    sell_e8: NDArray[np.int64]
    """Quantity that takers sold there."""
    fills: NDArray[np.int64]
    """Raw trades of the line."""
    quote_e16: int
    """Sum of price times quantity."""
    squares_e16: int
    """Sum of the squared quantities of the aggregate trades."""
    batches: int
    """Taker orders (docs/records.md)."""
    first_ns: int
    """Least trade time; 0 without any trade."""
    first_id: int
    """First fill id of the first trade; 0 without any."""
    first_state: TradeState | None
    """Of its second, as far as the hour itself tells; None without any."""
    last_ns: int
    """Greatest trade time; 0 without any trade."""
    last_id: int
    """Last fill id of the last trade; 0 without any."""
    last_state: TradeState | None
    """Of its second, as first_state."""
    complete_s: int
    """Seconds whose trades all came over the stream, those without a trade included."""
    backfilled_s: int
    """Seconds with trades fetched later; nothing is missing in them."""
    missing_s: int
    """Seconds in which trades are missing, or may be."""
    missing_ids: int | None
    """Fill ids between the first and the last trade that no stored trade has; None: the ids began anew, nobody can tell."""


class BookView(Struct, frozen=True):
    """A frozen copy of a book for an answer. state STALE: the last good book, `reason` says why it is no longer advanced.

    reason while LIVE: `not_trading` or `unbridged` (docs/records.md), else None.
    """

    symbol: str
    state: BookState
    reason: str | None
    epoch: int
    update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    known_bid: int | None
    known_ask: int | None
    ts_event_ns: int
    ts_recv_ns: int


class Incident(Struct, frozen=True):
    """One loss: a gap, resync, outage, full queue, failed write, missing trades. symbol "*" = the whole service.

    (symbol, second, n) is its identity: written open (end_ms None), written again under the same key when closed.
    """

    symbol: str
    second: int
    n: int
    kind: str
    start_ms: int
    end_ms: int | None
    epoch_before: int | None
    epoch_after: int | None
    cause: str
    detail: str


class SymbolSecond(Struct, frozen=True):
    """All that one symbol hands to the recorder when a second ends. snapshot None: `skipped` says why.

    record None: the second was not closed (the end of a recording); only trades and incidents are carried.
    """

    symbol: str
    second: int
    record: SecondRecord | None
    snapshot: BookSnapshot | None
    skipped: str | None
    trades: tuple[TradeBlock, ...]
    incidents: tuple[Incident, ...]
