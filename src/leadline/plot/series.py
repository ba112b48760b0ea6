"""What the pictures show, as arrays from stored columns: NaN where there is no number, and the reason beside it.

Only clean records count (docs/records.md). Ticks are record seconds: what a record of tick t sums up happened in (t-1, t], what
it says of the book was so at t. Values are floats, in base or quote units: they are for the eye.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.book_sides import Side, sides
from leadline.analytics.clean import clean_rows
from leadline.core.errors import BookNotLive, NotEnoughData
from leadline.core.records import BANDS_BPS, HARMLESS, TOP_LEVELS, Flag, Trade, TradeState
from leadline.core.units import E8, E16
from leadline.service import queries
from leadline.service.queries.profile import VolumeProfileAnswer
from leadline.store.history import History, SecondColumns, TradeColumns, slices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BAND_BPS = 10
SLICE_S = 3600
PATH_POINTS_MAX = 1500
BINS_MAX = 720
BIN_WIDTHS_S = (1, 2, 5, 10, 30, 60, 120)
PATH_STEPS_S = (1, 5, 10, 30, 60, 300, 600)
MISSING_STATE = 2  # of trade_columns
SECOND_NS = 1_000_000_000


class Names(Struct, frozen=True):
    """How a symbol's numbers are labelled. tick: smallest step of a price, quote; decimals: of a price."""

    symbol: str
    base: str
    quote: str
    tick: float
    decimals: int
    origin: str


def names_of(history: History, symbol: str) -> Names:
    """From the symbol's rules; a recording without exchangeInfo names no assets."""
    rules = history.rules(symbol)
    tick_e8 = 1 if rules is None else rules.tick_e8
    decimals = next((n for n in range(8) if tick_e8 % 10 ** (8 - n) == 0), 8)
    base, quote = ("", "") if rules is None else (rules.base_asset, rules.quote_asset)
    origin = history.meta("origin", str) or "unknown"
    return Names(symbol, base or "base units", quote or "quote units", tick_e8 / E8, decimals, origin)


class Blank(Struct, frozen=True):
    """Ticks [from_s, to_s) that give no number, and why. live: there was a book, but what its records say is not clean."""

    from_s: int
    to_s: int
    cause: str
    live: bool


# Flow ------------------------------------------------------------------------


class FlowSeries(Struct, frozen=True, kw_only=True):
    """Order flow tick by tick; arrays of n ticks, NaN where a record is missing or not clean.

    ticks: Every tick of the window, there or not, unix s.
    mid: At the tick, quote.
    epoch: Number of the unbroken run of the book.
    bid_rate, ask_rate: Pressure for buyers and for sellers (docs/records.md), at the tick's mid, quote per second, >= 0.
    cvd: n + 1 values at ticks[0] - 1 and at each tick: bought less sold since the anchor before, base; NaN: trades are missing.
    anchors: Moments at which cvd begins at 0: the start of the window, and where it can be told again after trades are missing.
    blanks: Why there are no numbers, in order of time.
    """

    ticks: Ints
    mid: Floats
    epoch: Floats
    bid_rate: Floats
    ask_rate: Floats
    cvd: Floats
    anchors: tuple[int, ...]
    blanks: tuple[Blank, ...]

    @property
    def clean_s(self) -> int:
        """Ticks with a number."""
        return int(np.count_nonzero(~np.isnan(self.mid)))

    @property
    def epochs(self) -> int:
        """Unbroken runs that these ticks belong to."""
        return len(np.unique(self.epoch[~np.isnan(self.mid)]))


_FLOW = (
    "state",
    "flags",
    "epoch",
    "update_id",
    "trade_state",
    "mid2_close",
    "bid_added",
    "bid_removed",
    "ask_added",
    "ask_removed",
)


def flow_series(history: History, symbol: str, lo: int, hi: int) -> FlowSeries:
    """Of the ticks [lo, hi). Raises NotEnoughData without any record."""
    found = _seconds(history, symbol, lo, hi, _FLOW)
    trades = history.trade_columns(symbol, lo - 1, hi - 1)
    before, after = history.last_trade(symbol, lo - 2), history.first_trade(symbol, hi - 1)
    clean = clean_rows(found.columns)
    whole = clean & (found.columns["trade_state"] != TradeState.MISSING)
    known = trades_known(trades, before, after, _on_ticks(found.seconds, lo, hi, whole.astype(float)) == 1, lo - 1)
    cvd, anchors = volume_delta(trades, known, lo - 1)

    def column(name: str, unit: float) -> Floats:
        return _on_ticks(found.seconds, lo, hi, np.where(clean, found.columns[name], np.nan) / unit)

    mid = column("mid2_close", 2 * E8)
    rate = mid / E8
    return FlowSeries(
        ticks=np.arange(lo, hi),
        mid=mid,
        epoch=column("epoch", 1),
        bid_rate=(column("bid_added", 1) + column("ask_removed", 1)) * rate,
        ask_rate=(column("ask_added", 1) + column("bid_removed", 1)) * rate,
        cvd=cvd,
        anchors=anchors,
        blanks=_blanks(history, symbol, lo, hi, found, ~np.isnan(mid), "no mid"),
    )


def trades_known(trades: TradeColumns, before: Trade | None, after: Trade | None, by_record: Bools, start_s: int) -> Bools:
    """Of each second from start_s on: whether all its trades are there.

    Fill ids that close up from one trade to the next prove it for the time between; ids that do not, disprove it, both ends
    included. before, after: the trades next to the window. Where none stands on one side, the record of the second must do.
    """
    second, first_id, last_id = np.concatenate((_ends(before), _ids(trades), _ends(after)), axis=1)
    place = np.clip(second - start_s, 0, len(by_record))
    known = by_record.copy()
    if len(place):  # of the outermost second that has no trade outside it, ids prove one half only
        known[place[0] + (before is None) : place[-1] + (after is not None)] = True
    for hole in np.flatnonzero(first_id[1:] != last_id[:-1] + 1).tolist():
        known[place[hole] : place[hole + 1] + 1] = False
    known[trades.seconds[trades.states == MISSING_STATE] - start_s] = False
    return known


def _ids(trades: TradeColumns) -> Ints:
    return np.stack((trades.ts_ns // SECOND_NS, trades.first_id, trades.last_id))


def _ends(trade: Trade | None) -> Ints:
    rows = [] if trade is None else [(trade.ts_trade_ns // SECOND_NS, trade.first_id, trade.last_id)]
    return np.array(rows, np.int64).reshape(-1, 3).T


def volume_delta(trades: TradeColumns, known: Bools, start_s: int) -> tuple[Floats, tuple[int, ...]]:
    """Cumulative at the start and after each of the n seconds, and the moments at which it begins at 0."""
    signed = np.where(trades.taker_buy, trades.quantity_e8, -trades.quantity_e8) / E8
    delta = np.bincount(trades.ts_ns // SECOND_NS - start_s, signed, len(known))
    out = np.full(len(known) + 1, np.nan)
    anchors = []
    for first, end in _runs(known):
        out[first] = 0.0
        out[first + 1 : end + 1] = np.cumsum(delta[first:end])
        anchors.append(start_s + first)
    return out, tuple(anchors)


# Depth -----------------------------------------------------------------------


class BookSide(Struct, frozen=True):
    """One side of a snapshot as far as it is known, best first.

    bps: Distance of each level from the mid, >= 0. value: Running sum of price times quantity, quote.
    stored: So many levels the snapshot has. known_bps: How far the book was complete; None: to its end.
    """

    bps: Floats
    value: Floats
    stored: int
    known_bps: float | None


class BookSeries(Struct, frozen=True, kw_only=True):
    """A stored snapshot and what its record says of the bands around the mid.

    second: Its tick, unix s. mid: None: a side is empty, and there are no distances.
    band_bid, band_ask: Quote value within 1, 2, 5, 10, 25, 50 bps; NaN: beyond the known range.
    """

    second: int
    mid: float | None
    bids: BookSide
    asks: BookSide
    band_bid: Floats
    band_ask: Floats


def book_series(history: History, symbol: str, at_s: int) -> BookSeries:
    """The newest snapshot at or before the tick at_s. Raises BookNotLive if none is stored."""
    snapshot = history.latest_snapshot(symbol, at_s)
    if snapshot is None:
        raise BookNotLive(symbol, "no snapshot is stored at or before the end of the window")
    rows = history.seconds(symbol, snapshot.timestamp, snapshot.timestamp + 1).rows
    record = rows[0] if rows else None
    known_bid, known_ask = (None, None) if record is None else (record.known_bid, record.known_ask)
    book = sides(snapshot.bids, snapshot.asks, known_bid=known_bid, known_ask=known_ask, cut_at=TOP_LEVELS)
    bands: list[list[int | None]] = [[], []] if record is None else [record.depth_bid, record.depth_ask]
    band_bid, band_ask = (np.array([np.nan if value is None else value / E16 for value in side]) for side in bands)
    return BookSeries(
        second=snapshot.timestamp,
        mid=None if book.mid2 is None else book.mid2 / (2 * E8),
        bids=_side(book.bids, book.mid2, known_bid),
        asks=_side(book.asks, book.mid2, known_ask),
        band_bid=band_bid,
        band_ask=band_ask,
    )


def _side(side: Side, mid2: int | None, known_e8: int | None) -> BookSide:
    if mid2 is None:
        return BookSide(np.zeros(0), np.zeros(0), len(side.levels), None)

    def bps(price_e8: int) -> float:
        return side.sign * 10_000 * (mid2 - 2 * price_e8) / mid2

    known = side.levels[: side.n_known]
    return BookSide(
        np.array([bps(price) for price, _ in known]),
        np.array([value / E16 for value in side.values_e16[: side.n_known]]),
        len(side.levels),
        None if known_e8 is None else bps(known_e8),
    )


class DepthSeries(Struct, frozen=True, kw_only=True):
    """Quote value within 10 bps of the mid, tick by tick; NaN: not clean, no mid, or the band is beyond the known range."""

    ticks: Ints
    bid: Floats
    ask: Floats
    epoch: Floats
    blanks: tuple[Blank, ...]


def depth_series(history: History, symbol: str, lo: int, hi: int) -> DepthSeries:
    """Of the ticks [lo, hi). Raises NotEnoughData without any record."""
    found = _seconds(history, symbol, lo, hi, ("state", "flags", "epoch", "update_id", "depth_bid", "depth_ask"))
    clean = clean_rows(found.columns)
    band = BANDS_BPS.index(BAND_BPS)

    def column(values: Floats) -> Floats:
        return _on_ticks(found.seconds, lo, hi, np.where(clean, values, np.nan))

    bid, ask = column(found.columns["depth_bid"][:, band]), column(found.columns["depth_ask"][:, band])
    return DepthSeries(
        ticks=np.arange(lo, hi),
        bid=bid,
        ask=ask,
        epoch=column(found.columns["epoch"]),
        blanks=_blanks(history, symbol, lo, hi, found, ~(np.isnan(bid) | np.isnan(ask)), "a band lies beyond the known range"),
    )


# Profile ---------------------------------------------------------------------


class ProfileSeries(Struct, frozen=True):
    """Rows that traded, by rising price: edges in quote, quantities in base."""

    low: Floats
    high: Floats
    buy: Floats
    sell: Floats


def profile_series(answer: VolumeProfileAnswer) -> ProfileSeries:
    """As served."""
    columns = [(float(row.low), float(row.high), float(row.buy_volume), float(row.sell_volume)) for row in answer.histogram]
    return ProfileSeries(*np.array(columns, float).reshape(-1, 4).T)


class PricePath(Struct, frozen=True):
    """Mid at every step_s-th tick, quote; NaN where there is no clean record."""

    ticks: Ints
    mid: Floats
    epoch: Floats
    step_s: int


def price_path(history: History, symbol: str, start_s: int, end_s: int) -> PricePath:
    """Of the ticks (start_s, end_s], from the first stored one on; some 1,500 at most, so that a week costs what a day does."""
    first = max(start_s + 1, history.first_second(symbol) or end_s)
    step_s = next((step for step in PATH_STEPS_S if (end_s - first) / step <= PATH_POINTS_MAX), PATH_STEPS_S[-1])
    ticks = np.arange(-(-first // step_s) * step_s, end_s + 1, step_s)
    mid, epoch = np.full(len(ticks), np.nan), np.full(len(ticks), np.nan)
    for place, tick in enumerate(ticks.tolist()):
        found = history.second_columns(symbol, tick, tick + 1, ("state", "flags", "epoch", "mid2_close"))
        if clean_rows(found.columns).any():
            mid[place] = found.columns["mid2_close"][0] / (2 * E8)
            epoch[place] = found.columns["epoch"][0]
    return PricePath(ticks, mid, epoch, step_s)


# Lines and bars --------------------------------------------------------------


def broken(x: Floats | Ints, y: Floats, run: Floats) -> tuple[Floats, Floats]:
    """The same points with a NaN between two neighbours of different runs, so that no line joins them."""
    cuts = np.flatnonzero((run[1:] != run[:-1]) & ~np.isnan(y[1:]) & ~np.isnan(y[:-1])) + 1
    return np.insert(x.astype(float), cuts, np.nan), np.insert(y, cuts, np.nan)


def lone(y: Floats) -> Bools:
    """Points without a neighbour on either side: no line shows them."""
    there = ~np.isnan(np.concatenate(([np.nan], y, [np.nan])))
    alone: Bools = there[1:-1] & ~there[:-2] & ~there[2:]
    return alone


def bin_width(n: int) -> int:
    """So many seconds in one, that n of them are few enough to be told apart."""
    return next((width for width in BIN_WIDTHS_S if n / width <= BINS_MAX), BIN_WIDTHS_S[-1])


def bin_edges(ticks: Ints, width: int) -> Floats:
    """Moments between the bins: the first begins a second before its first tick, the last may be shorter."""
    n = len(ticks)
    return np.minimum(np.arange(-(-n // width) + 1) * width, n) + float(ticks[0]) - 1


def binned(values: Floats, width: int) -> Floats:
    """Mean of each `width` values over those that are there; NaN: none is."""
    padded = _bins(values, width)
    there = ~np.isnan(padded)
    counts = there.sum(axis=1)
    sums = np.where(there, padded, 0.0).sum(axis=1)
    means: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def binned_run(run: Floats, width: int) -> Floats:
    """The run that each bin belongs to; NaN, which equals no other: it has parts of several, or of none."""
    padded = _bins(run, width)
    first = np.where(np.isnan(padded), np.inf, padded).min(axis=1)
    last = np.where(np.isnan(padded), -np.inf, padded).max(axis=1)
    return np.where(first == last, first, np.nan)


def _bins(values: Floats, width: int) -> Floats:
    return np.concatenate((values, np.full(-len(values) % width, np.nan))).reshape(-1, width)


# Helpers ---------------------------------------------------------------------


def _seconds(history: History, symbol: str, lo: int, hi: int, names: Sequence[str]) -> SecondColumns:
    parts = [history.second_columns(symbol, start, end, names) for start, end in slices(lo, hi, SLICE_S)]
    seconds = np.concatenate([part.seconds for part in parts])
    if not len(seconds):
        raise NotEnoughData(0, 1, "s", 0.0, None)
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
    return SecondColumns(seconds, columns, [hole for part in parts for hole in part.unreadable])


def _on_ticks(seconds: Ints, lo: int, hi: int, values: NDArray[Any]) -> Floats:
    out = np.full(hi - lo, np.nan)
    out[seconds - lo] = values
    return out


def _blanks(
    history: History, symbol: str, lo: int, hi: int, found: SecondColumns, shown: Bools, otherwise: str
) -> tuple[Blank, ...]:
    """Ticks that are not shown: those without a live book as coverage explains them, the others by their flags."""
    blanks = [Blank(gap.from_s, gap.to_s, gap.cause, False) for gap in queries.coverage(history, symbol, lo, hi).gaps]
    live = ~np.isnan(found.columns["update_id"])
    harmful = found.columns["flags"] & ~int(HARMLESS)
    rows = [
        (second, f"flagged {_flag_names(flags)}" if flags else otherwise)
        for second, flags, is_live in zip(found.seconds.tolist(), harmful.tolist(), live.tolist(), strict=True)
        if is_live and not shown[second - lo]
    ]
    for (cause, _), run in groupby(enumerate(rows), key=lambda row: (row[1][1], row[1][0] - row[0])):
        ticks = [second for _, (second, _) in run]
        blanks.append(Blank(ticks[0], ticks[-1] + 1, cause, True))
    return tuple(sorted(blanks, key=lambda blank: blank.from_s))


def _flag_names(flags: int) -> str:
    return ", ".join(str(flag.name) for flag in Flag if flags & flag)


def _runs(mask: Bools) -> list[tuple[int, int]]:
    """Half-open index ranges in which the mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
