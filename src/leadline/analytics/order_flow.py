"""Who pressed in a window, from its SecondRecords: order flow at the best prices and by rank, and the move beside it.

Only clean records count, and every rate divides by the seconds that were really covered. Sums of quantities and of quote values
are exact integers; rates, ratios and statistics are floats. What cannot be said is None, and `reasons` names the cause by field.

Each record's sums belong to one epoch, so records of several epochs may be added. What happened between two epochs is in none of
them; `n_epochs` tells. Flow explains the present move; it does not forecast.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from operator import gt
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.clean import clean_rows, has_all_trades, is_clean, rows_with_all_trades
from leadline.analytics.reasons import (
    BASELINE_SHORT,
    BEYOND,
    BOOK_NOT_LIVE,
    LOW_COVERAGE,
    NO_TRADES,
    TOO_FEW,
    TRADE_GAP,
    UNDEFINED,
)
from leadline.analytics.stats import Fit, Floats, History, least_squares
from leadline.core.records import BANDS_BPS, SecondRecord
from leadline.core.second import RANKS
from leadline.core.units import E8, E16

STRONG = 0.95  # shares of the own history that lie below in size; our convention
SOME = 0.70
RANKED_COVERAGE_MIN = 0.8  # a window with less is not ranked against full ones
WHOLE_COVERAGE_MIN = 0.9  # a window with less does not enter a history or a regression
IMBALANCE_SHARE_MIN = 0.8  # of the clean seconds must know the band, as the parts of the health score ask
REGRESSION_S = 10
REGRESSION_WINDOWS_MIN = 30

_BAND_10 = BANDS_BPS.index(10)


# One window ----------------------------------------------------------------------------


class OrderFlow(Struct, frozen=True, kw_only=True):
    """Order flow of the clean records with start_s < t <= end_s. Quantities are base units of 1e-8, exact.

    start_s: The window begins after this tick, in unix s.
    end_s: The window ends with this tick, in unix s.
    clean_s: So many seconds of the window have a clean record.
    coverage: Share of the window that these seconds are, in [0, 1].
    n_epochs: The clean records belong to so many unbroken runs of the book; between two of them changes are unknown.
    ofi_source: `event` (every change of the best prices), `diff` (the net of each update) or `mixed`; None: none is clean.
    bid_added_e8: Quantity that came to the best bid.
    bid_removed_e8: Quantity that left the best bid.
    ask_added_e8: Quantity that came to the best ask.
    ask_removed_e8: Quantity that left the best ask.
    ofi_e8: Order-flow imbalance at the best prices: bid_added - bid_removed - ask_added + ask_removed; above 0 buyers pressed.
    ofi_levels_e8: Order-flow imbalance of ranks 1 to 10, best first; None if any clean record does not know them.
    ofi_top20_e8: Order-flow imbalance summed over ranks 1 to 20; None if any clean record does not know it.
    valued_s: So many of the clean seconds have a closing mid; rates and move rest on these.
    bid_flow_rate: What came to the bid or left the ask, at each second's closing mid, in quote per second.
    ask_flow_rate: What came to the ask or left the bid, at each second's closing mid, in quote per second.
    net_flow: bid_flow_rate - ask_flow_rate: the imbalance in quote per second.
    buy_received_e8: Quantity that takers bought, as received in step with the book.
    sell_received_e8: Quantity that takers sold, as received in step with the book.
    tfi_received: (bought - sold) / (bought + sold) as received, in [-1, 1]; to be ranked against Windows.tfi, its own history.
    move_bps: How far the mid moved inside the valued seconds: sum of 1e4 ln(close / open).
    mid2_close_e8: Best bid plus best ask at the end of the last valued second, in quote units of 1e-8.
    imbalance_s: So many of the clean seconds know the resting depth within 10 bps on both sides, and it is not zero on both.
    imbalance_bps_mean: Mean over these of (bid - ask) / (bid + ask) in quote value within 10 bps, in [-1, 1].
    reasons: Why a field is None, by its name: `book_not_live`, `beyond_known_range`, `too_few`, `no_trades`, `trade_gap`,
    `undefined`.
    """

    start_s: int
    end_s: int
    clean_s: int
    coverage: float
    n_epochs: int
    ofi_source: str | None
    bid_added_e8: int | None
    bid_removed_e8: int | None
    ask_added_e8: int | None
    ask_removed_e8: int | None
    ofi_e8: int | None
    ofi_levels_e8: tuple[int, ...] | None
    ofi_top20_e8: int | None
    valued_s: int
    bid_flow_rate: float | None
    ask_flow_rate: float | None
    net_flow: float | None
    buy_received_e8: int | None
    sell_received_e8: int | None
    tfi_received: float | None
    move_bps: float | None
    mid2_close_e8: int | None
    imbalance_s: int
    imbalance_bps_mean: float | None
    reasons: dict[str, str]


_OF_A_LIVE_BOOK = [
    *("ofi_source", "bid_added_e8", "bid_removed_e8", "ask_added_e8", "ask_removed_e8", "ofi_e8", "ofi_levels_e8"),
    *("ofi_top20_e8", "bid_flow_rate", "ask_flow_rate", "net_flow", "buy_received_e8", "sell_received_e8", "tfi_received"),
    *("move_bps", "mid2_close_e8", "imbalance_bps_mean"),
]
_OF_A_MID = ("bid_flow_rate", "ask_flow_rate", "net_flow", "move_bps", "mid2_close_e8")


def order_flow(records: Sequence[SecondRecord], start_s: int, end_s: int) -> OrderFlow:
    """The window (start_s, end_s] of ticks. records: in order of t; what lies outside the window is left out."""
    assert start_s < end_s
    _assert_in_order([record.t for record in records])
    clean = [record for record in records if start_s < record.t <= end_s and is_clean(record)]
    if not clean:
        nothing: dict[str, None] = dict.fromkeys(_OF_A_LIVE_BOOK)
        return OrderFlow(
            start_s=start_s,
            end_s=end_s,
            clean_s=0,
            coverage=0.0,
            n_epochs=0,
            valued_s=0,
            imbalance_s=0,
            reasons=dict.fromkeys(_OF_A_LIVE_BOOK, BOOK_NOT_LIVE),
            **nothing,
        )
    reasons: dict[str, str] = {}
    bid_added, bid_removed, ask_added, ask_removed = (sum(column) for column in zip(*map(_parts, clean), strict=True))

    known = [(r.ofi_diff, r.ofi_top20) for r in clean if r.ofi_diff is not None and r.ofi_top20 is not None]
    levels: tuple[int, ...] | None = None
    top20: int | None = None
    if len(known) == len(clean):
        levels = tuple(sum(ranks[rank] for ranks, _ in known) for rank in range(RANKS))
        top20 = sum(sum_20 for _, sum_20 in known)
    else:  # a sum over the seconds that happen to be known would pass for the window's
        reasons |= dict.fromkeys(("ofi_levels_e8", "ofi_top20_e8"), BEYOND)

    valued = [(r, r.mid2_open, r.mid2_close) for r in clean if r.mid2_open is not None and r.mid2_close is not None]
    bid_rate = ask_rate = net = move = None
    if valued:
        bid_e16x2 = ask_e16x2 = 0
        for record, _, mid2 in valued:
            added_bid, removed_bid, added_ask, removed_ask = _parts(record)
            bid_e16x2 += (added_bid + removed_ask) * mid2
            ask_e16x2 += (added_ask + removed_bid) * mid2
        unit = 2 * E16 * len(valued)  # a clean second is live for all of its 1000 ms
        bid_rate, ask_rate, net = bid_e16x2 / unit, ask_e16x2 / unit, (bid_e16x2 - ask_e16x2) / unit
        move = math.fsum(_log_bps(opened, closed) for _, opened, closed in valued)
    else:
        reasons |= dict.fromkeys(_OF_A_MID, TOO_FEW)

    bought, sold = sum(record.buy_qty for record in clean), sum(record.sell_qty for record in clean)
    tfi = None
    if not all(map(has_all_trades, clean)):
        reasons["tfi_received"] = TRADE_GAP
    elif not bought + sold:
        reasons["tfi_received"] = NO_TRADES
    else:
        tfi = (bought - sold) / (bought + sold)

    imbalances, unknown = _imbalances(clean)
    imbalance = None
    if (len(clean) - unknown) / len(clean) < IMBALANCE_SHARE_MIN:
        reasons["imbalance_bps_mean"] = BEYOND
    elif not imbalances:
        reasons["imbalance_bps_mean"] = UNDEFINED
    else:
        imbalance = math.fsum(imbalances) / len(imbalances)

    sources = {record.ofi_source for record in clean}
    return OrderFlow(
        start_s=start_s,
        end_s=end_s,
        clean_s=len(clean),
        coverage=len(clean) / (end_s - start_s),
        n_epochs=len({record.epoch for record in clean}),
        ofi_source=sources.pop() if len(sources) == 1 else "mixed",
        bid_added_e8=bid_added,
        bid_removed_e8=bid_removed,
        ask_added_e8=ask_added,
        ask_removed_e8=ask_removed,
        ofi_e8=bid_added - bid_removed - ask_added + ask_removed,
        ofi_levels_e8=levels,
        ofi_top20_e8=top20,
        valued_s=len(valued),
        bid_flow_rate=bid_rate,
        ask_flow_rate=ask_rate,
        net_flow=net,
        buy_received_e8=bought,
        sell_received_e8=sold,
        tfi_received=tfi,
        move_bps=move,
        mid2_close_e8=valued[-1][2] if valued else None,
        imbalance_s=len(imbalances),
        imbalance_bps_mean=imbalance,
        reasons=reasons,
    )


def _assert_in_order(ticks: Sequence[int]) -> None:
    assert not any(map(gt, ticks, ticks[1:])), "records in order of t"
    assert len(set(ticks)) == len(ticks), "one record per t"


def _parts(record: SecondRecord) -> tuple[int, int, int, int]:
    """Added and removed at the best bid, added and removed at the best ask, of a LIVE record."""
    assert record.bid_added is not None
    assert record.bid_removed is not None
    assert record.ask_added is not None
    assert record.ask_removed is not None
    return record.bid_added, record.bid_removed, record.ask_added, record.ask_removed


def _log_bps(mid2_open: int, mid2_close: int) -> float:
    return 1e4 * math.log(mid2_close / mid2_open)


def _imbalances(clean: Sequence[SecondRecord]) -> tuple[list[float], int]:
    """Imbalance of the depth within 10 bps per second that has one, and how many seconds do not know it."""
    found, unknown = [], 0
    for record in clean:
        bid, ask = record.depth_bid[_BAND_10], record.depth_ask[_BAND_10]
        if bid is None or ask is None:
            unknown += 1
        elif bid or ask:
            found.append((bid - ask) / (bid + ask))
    return found, unknown


# The label -----------------------------------------------------------------------------


class FlowDirection(enum.StrEnum):
    """Which side pressed, against what is usual for the symbol."""

    STRONG_BUY = "STRONG_BUY"
    MODERATE_BUY = "MODERATE_BUY"
    NEUTRAL = "NEUTRAL"
    MODERATE_SELL = "MODERATE_SELL"
    STRONG_SELL = "STRONG_SELL"


class Pressure(Struct, frozen=True, kw_only=True):
    """How unusual a window's order flow and taker imbalance are for this symbol, and the label that follows.

    ofi_z: Distance of the order-flow imbalance from its usual value, in robust deviations.
    ofi_rank: Share of the past windows whose order-flow imbalance was smaller in size, in [0, 1]; ties count half.
    tfi_rank: Share of the past windows whose taker imbalance was smaller in size, in [0, 1]; ties count half.
    flow_direction: Which side pressed; STRONG if both are among the largest 5 %, MODERATE if at least one among the largest 30 %.
    conflict: Whether both are among the largest 30 % and point to opposite sides: takers and resting orders disagree.
    reasons: Why a field is None, by its name: `baseline_short`, `low_coverage`, `no_trades`, `trade_gap`, `undefined`.
    """

    ofi_z: float | None
    ofi_rank: float | None
    tfi_rank: float | None
    flow_direction: FlowDirection | None
    conflict: bool | None
    reasons: dict[str, str]


def pressure(
    ofi: float,
    tfi: float | None,
    *,
    ofi_history: History | None,
    tfi_history: History | None,
    coverage: float = 1.0,
    trade_gap: bool = False,
) -> Pressure:
    """The label of a window. ofi: base units; tfi: in [-1, 1], or None without trades; coverage: of the window, in [0, 1].

    The histories hold the same two statistics, with their signs, over past windows of the same length; None while the baseline is
    short. trade_gap: trades of the window are missing, so that its tfi is not known.
    """
    names = ("ofi_z", "ofi_rank", "tfi_rank", "flow_direction", "conflict")
    if coverage < RANKED_COVERAGE_MIN:
        return _no_pressure(dict.fromkeys(names, LOW_COVERAGE))
    if ofi_history is None or not ofi_history.n:
        return _no_pressure(dict.fromkeys(names, BASELINE_SHORT))
    reasons: dict[str, str] = {}
    ofi_z, ofi_rank = ofi_history.z(ofi), _share_smaller(ofi_history, ofi)
    if ofi_z is None:
        reasons["ofi_z"] = UNDEFINED
    tfi_rank = None
    if trade_gap:
        reasons |= dict.fromkeys(("tfi_rank", "flow_direction", "conflict"), TRADE_GAP)
    elif tfi is None:
        reasons["tfi_rank"] = NO_TRADES
    elif tfi_history is None or not tfi_history.n:
        reasons |= dict.fromkeys(("tfi_rank", "flow_direction", "conflict"), BASELINE_SHORT)
    else:
        tfi_rank = _share_smaller(tfi_history, tfi)
    direction = conflict = None
    if "flow_direction" not in reasons:
        direction, conflict = _label(ofi, ofi_rank, tfi or 0.0, tfi_rank or 0.0)  # no trades: takers pressed nowhere
    return Pressure(
        ofi_z=ofi_z, ofi_rank=ofi_rank, tfi_rank=tfi_rank, flow_direction=direction, conflict=conflict, reasons=reasons
    )


def _no_pressure(reasons: dict[str, str]) -> Pressure:
    return Pressure(ofi_z=None, ofi_rank=None, tfi_rank=None, flow_direction=None, conflict=None, reasons=reasons)


def _share_smaller(history: History, x: float) -> float:
    share = History.of(np.abs(history.sorted)).share_below(abs(x))
    assert share is not None
    return share


def _label(ofi: float, ofi_rank: float, tfi: float, tfi_rank: float) -> tuple[FlowDirection, bool]:
    """Direction and conflict. What is 0 has a rank of at most 0.5, since it is below nothing: it never points anywhere."""
    some = [value for value, rank in ((ofi, ofi_rank), (tfi, tfi_rank)) if rank >= SOME]
    if not some:
        return FlowDirection.NEUTRAL, False
    buys = some[0] > 0
    if any((value > 0) != buys for value in some):
        return FlowDirection.NEUTRAL, True
    if ofi_rank >= STRONG and tfi_rank >= STRONG:
        return FlowDirection.STRONG_BUY if buys else FlowDirection.STRONG_SELL, False
    return FlowDirection.MODERATE_BUY if buys else FlowDirection.MODERATE_SELL, False


# Many windows --------------------------------------------------------------------------


class Columns(Struct, frozen=True):
    """What statistics over many windows need of the clean records, one entry each, in order of t. NaN: not known.

    t: Tick, in unix s.
    epoch: Number of the epoch.
    from_events: Whether ofi_source is `event`.
    ofi_e8: Order-flow imbalance at the best prices, base units of 1e-8.
    buy_e8, sell_e8: What takers bought and sold as received, base units of 1e-8; NaN where trades are known to be missing.
    buy_quote, sell_quote: Its value in quote; NaN as before.
    move_bps: 1e4 ln(close / open) of the mid; NaN without a mid.
    mid2_change_e8: Change of best bid plus best ask from open to close, quote units of 1e-8; NaN without a mid.
    """

    t: NDArray[np.int64]
    epoch: NDArray[np.int64]
    from_events: NDArray[np.bool_]
    ofi_e8: Floats
    buy_e8: Floats
    sell_e8: Floats
    buy_quote: Floats
    sell_quote: Floats
    move_bps: Floats
    mid2_change_e8: Floats

    @classmethod
    def of(cls, records: Iterable[SecondRecord]) -> "Columns":
        """records: in order of t. Records that are not clean are left out."""
        clean = list(filter(is_clean, records))
        _assert_in_order([record.t for record in clean])
        mids = [(record.mid2_open, record.mid2_close) for record in clean]
        trades = np.array([1.0 if has_all_trades(record) else np.nan for record in clean])
        return cls(
            np.array([record.t for record in clean], dtype=np.int64),
            np.array([record.epoch for record in clean], dtype=np.int64),
            np.array([record.ofi_source == "event" for record in clean], dtype=np.bool_),
            _floats(bid_in - bid_out - ask_in + ask_out for bid_in, bid_out, ask_in, ask_out in map(_parts, clean)),
            _floats(record.buy_qty for record in clean) * trades,
            _floats(record.sell_qty for record in clean) * trades,
            _floats(record.buy_quote / E16 for record in clean) * trades,
            _floats(record.sell_quote / E16 for record in clean) * trades,
            _floats(np.nan if a is None or b is None else _log_bps(a, b) for a, b in mids),
            _floats(np.nan if a is None or b is None else b - a for a, b in mids),
        )


COLUMNS = (
    *("t", "state", "flags", "epoch", "trade_state", "ofi_source", "bid_added", "bid_removed", "ask_added", "ask_removed"),
    *("buy_qty", "sell_qty", "buy_quote", "sell_quote", "mid2_open", "mid2_close"),
)


def columns_of(stored: Mapping[str, NDArray[Any]]) -> Columns:
    """The same from COLUMNS of records as the store gives them: numbers in 1e-8, quote values in whole units, NaN for null."""
    clean = clean_rows(stored)
    held = {name: column[clean] for name, column in stored.items() if name in COLUMNS}
    trades = np.where(rows_with_all_trades(held), 1.0, np.nan)
    return Columns(
        held["t"],
        held["epoch"].astype(np.int64),
        held["ofi_source"] == "event",
        held["bid_added"] - held["bid_removed"] - held["ask_added"] + held["ask_removed"],
        held["buy_qty"] * trades,
        held["sell_qty"] * trades,
        held["buy_quote"] * trades,
        held["sell_quote"] * trades,
        1e4 * np.log(held["mid2_close"] / held["mid2_open"]),
        held["mid2_close"] - held["mid2_open"],
    )


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)


class Windows(Struct, frozen=True):
    """Statistics of the UTC-aligned windows that hold at least one clean record, in order of time. NaN: no value.

    A window [start_s, start_s + length_s) holds the records with start_s < t <= start_s + length_s.

    length_s: Length of each window, in s.
    start_s: Where each window begins, in unix s; a multiple of length_s.
    coverage: Share of the window that has clean records, in [0, 1].
    n_epochs: The clean records belong to so many epochs.
    source: What the order flow was taken from: `event`, `diff` or `mixed`.
    ofi: Order-flow imbalance at the best prices, base units.
    delta: What takers bought less what they sold as received, base units; NaN where trades are known to be missing.
    tfi: delta / (bought + sold), in [-1, 1]; NaN without trades, and as before.
    signed_quote: Value bought less value sold by takers, in quote; NaN where trades are known to be missing.
    quote: Value traded, in quote; NaN as before.
    move_bps: How far the mid moved inside the clean seconds; NaN if one of them has no mid.
    mid_change_e8: The same in quote units of 1e-8; NaN as before.
    """

    length_s: int
    start_s: NDArray[np.int64]
    coverage: Floats
    n_epochs: NDArray[np.int64]
    source: NDArray[np.str_]
    ofi: Floats
    delta: Floats
    tfi: Floats
    signed_quote: Floats
    quote: Floats
    move_bps: Floats
    mid_change_e8: Floats

    @property
    def crosses_epochs(self) -> NDArray[np.bool_]:
        """Whether the book was lost and found inside the window."""
        return self.n_epochs > 1

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Whether a window may enter a regression: at least 90 % of it is clean, all in one epoch."""
        return (self.coverage >= WHOLE_COVERAGE_MIN) & ~self.crosses_epochs


def windows(columns: Columns, length_s: int) -> Windows:
    """All aligned windows of length_s seconds. The first and the last may be cut; their coverage says so.

    Each window is summed by itself rather than as a difference of running sums: a quiet window is then exactly 0, whatever the
    day before it summed up to, and sums below 2^53 units of 1e-8 are exact.
    """
    number = (columns.t - 1) // length_s
    first = np.flatnonzero(_changes(number))  # where a window begins
    new_epoch = _changes(columns.epoch)
    new_epoch[first] = True
    n, from_events = _sums(np.ones(len(number)), first), _sums(columns.from_events.astype(np.float64), first)
    bought, sold = _sums(columns.buy_e8, first), _sums(columns.sell_e8, first)
    traded = bought + sold
    return Windows(
        length_s,
        number[first] * length_s,
        n / length_s,
        _sums(new_epoch.astype(np.float64), first).astype(np.int64),
        np.where(from_events == n, "event", np.where(from_events == 0, "diff", "mixed")),
        _sums(columns.ofi_e8, first) / E8,
        (bought - sold) / E8,
        np.divide(bought - sold, traded, out=np.full(len(first), np.nan), where=traded > 0),
        _sums(columns.buy_quote - columns.sell_quote, first),
        _sums(columns.buy_quote + columns.sell_quote, first),
        _sums(columns.move_bps, first),
        _sums(columns.mid2_change_e8, first) / 2,
    )


def _changes(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a value is the first or differs from the one before."""
    changes = np.ones(len(values), dtype=np.bool_)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _sums(values: Floats, first: NDArray[np.intp]) -> Floats:
    """Sum of each run of values that begins at `first`."""
    return np.add.reduceat(values, first) if len(first) else np.zeros(0)


# The explained move --------------------------------------------------------------------


def move_fit(columns: Columns, tick_e8: int, *, source: str) -> Fit | None:
    """Change of the mid in ticks on order-flow imbalance in base units, over the whole aligned 10-s windows of one ofi_source.

    None under 30 windows or where the flow does not vary: `too_few`. Source: Cont, Kukanov, Stoikov (arXiv 1011.6402).
    """
    ten = windows(columns, REGRESSION_S)
    use = ten.whole & (ten.source == source) & ~np.isnan(ten.mid_change_e8)
    if np.count_nonzero(use) < REGRESSION_WINDOWS_MIN:
        return None
    return least_squares(ten.ofi[use], ten.mid_change_e8[use] / tick_e8)


def explained_move_bps(flow: OrderFlow, fit: Fit | None, tick_e8: int) -> float | None:
    """How far the mid would have moved by this window's order flow alone, were it like the past that was fitted; bps of the mid.

    fit: of move_fit with the same tick and the flow's own source. None without a fit or a mid: `too_few`.
    """
    if fit is None or flow.ofi_e8 is None or flow.mid2_close_e8 is None:
        return None
    mid_ticks = flow.mid2_close_e8 / 2 / tick_e8
    return 1e4 * fit.beta * (flow.ofi_e8 / E8) / mid_ticks
