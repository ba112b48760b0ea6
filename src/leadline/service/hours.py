"""The trades of long windows: hours that are over are summed up once and kept, the rest is read from its blocks.

What is known of them comes from the fill ids. Where the ids of one trade and the next close up, nothing is missing between the
two, whether they came over the stream, later, or after an outage; where they do not, every second the hole touches is missing.
Before the first stored trade and after the last one only the records can tell. An hour keeps what its own blocks say and its two
ends, so that it stays true whatever is learnt of its neighbours; the ends are joined when it is read (docs/store.md).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from leadline.analytics.firmness import SHORT_BLOCK_NS
from leadline.analytics.histogram import LONG_BLOCK_NS, Histogram, merged
from leadline.clock import Clock
from leadline.core.errors import StoreError
from leadline.core.records import BookState, Flag, Trade, TradeHour, TradeState
from leadline.service.steps import Steps, run_between

log = logging.getLogger("leadline.hours")

NANO = 1_000_000_000
HOUR_S = 3_600
BLOCK_S = LONG_BLOCK_NS // NANO
TRADES_A_STEP = 4_000  # some 2 ms: blocks read, or trades summed up
FIRST_STEP_S = 60
RECORDS_A_STEP_S = 600
DELAY_S = 180  # after the end of an hour: what is late or asked for anew is mostly in
EVERY_S = 300.0
LOOK_S = 86_400  # some 3 ms: hours of one symbol looked for
PAUSE_S = 0.02  # between two steps of what nobody waits for

_LINES = ("ts_ns", "price_e8", "buy_e8", "sell_e8", "fills")
_STATES = (TradeState.COMPLETE, TradeState.BACKFILLED, TradeState.MISSING)
_COMPLETE, _BACKFILLED, _UNKNOWN, _MISSING = range(4)  # what is said of a second; where two things are, the greater
_SAID = {TradeState.COMPLETE: _COMPLETE, TradeState.BACKFILLED: _BACKFILLED, TradeState.MISSING: _MISSING}


class TradeReader(Protocol):
    """The store's reading side, as far as trades need it."""

    def trade_columns(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `seconds`, `states` (0 COMPLETE, 1 BACKFILLED, 2 MISSING) of blocks, and columns of their trades:

        ts_ns, price_e8, quantity_e8, fills, taker_buy, first_id, last_id; `unreadable` holes.
        """
        ...

    def trade_hour(self, symbol: str, second: int) -> TradeHour | None:
        """The sums of the hour that begins there; None: not kept."""
        ...

    def last_trade(self, symbol: str, at: int | None = None) -> Trade | None:
        """The newest stored trade of the seconds up to `at`."""
        ...

    def first_trade(self, symbol: str, from_s: int) -> Trade | None:
        """The oldest stored trade of the seconds from `from_s` on."""
        ...

    def second_columns(self, symbol: str, lo: int, hi: int, names: Sequence[str]) -> Any:
        """Object with `seconds` and `columns` by name."""
        ...


class HourStore(TradeReader, Protocol):
    """The store, as far as summing up hours needs it. Raises StoreError."""

    def hours_missing(self, symbol: str, lo: int, hi: int) -> list[int]:
        """Starts of the hours in [lo, hi) that are not kept and could be."""
        ...

    def claim_hour(self, symbol: str, second: int) -> bytes:
        """Asked before the blocks of an hour are read."""
        ...

    def write_hour(self, hour: TradeHour, claim: bytes) -> bool:
        """Keep its sums; False: a block of it was written since the claim."""
        ...


class TradeCover(Struct, frozen=True):
    """What is known of the trades of a window, in seconds of trade time; the four add up to its length."""

    complete_s: int
    """All trades came over the stream; seconds in which nothing traded are complete too."""
    backfilled_s: int
    """All trades are there, some were fetched later."""
    missing_s: int
    """Trades are missing, or may be: the second lies in a hole of the fill ids, its ends included."""
    unknown_s: int
    """No trade on either side proves anything, and no record either."""
    missing_ids: int | None
    """Fill ids in the holes that touch the window; None: the ids began anew, nobody can count them."""

    @property
    def known_s(self) -> int:
        """Seconds whose trades are all there."""
        return self.complete_s + self.backfilled_s

    @property
    def expected_s(self) -> int:
        """Length of the window."""
        return self.known_s + self.missing_s + self.unknown_s


def traded_between(reader: TradeReader, symbol: str, start_s: int, end_s: int) -> Steps[tuple[Histogram, TradeCover]]:
    """The trades with start_s <= T < end_s, and what is known of them. Whole hours come from their sums where those are kept.

    Not in a window of less than an hour's trading, which needs finer blocks: the answer never depends on what is kept.
    """
    parts: list[Histogram] = []
    stretch: Stretch | None = None
    short = _is_short(reader, symbol, start_s, end_s)
    at = start_s
    while at < end_s:
        upto = at // HOUR_S * HOUR_S + HOUR_S
        hour = reader.trade_hour(symbol, at) if at % HOUR_S == 0 and upto <= end_s and not short else None
        if hour is None:
            upto = min(upto, end_s)
            histogram, more, _ = yield from _summed(reader, symbol, at, upto, SHORT_BLOCK_NS if short else LONG_BLOCK_NS)
        else:
            histogram, more = histogram_of(hour), stretch_of(hour)
        yield
        parts.append(histogram)
        stretch = joined(stretch, more)
        at = upto
    cover = yield from _cover(reader, symbol, start_s, end_s, stretch)
    histogram = yield from _merged(parts)
    return histogram, cover


def _is_short(reader: TradeReader, symbol: str, start_s: int, end_s: int) -> bool:
    """Whether less than an hour of the window traded: its firmness is told in blocks of 10 s then (firmness.py)."""
    first = _readable(lambda: reader.first_trade(symbol, start_s))
    last = _readable(lambda: reader.last_trade(symbol, end_s - 1))
    return first is None or last is None or last.ts_trade_ns - first.ts_trade_ns < HOUR_S * NANO


def _merged(parts: Sequence[Histogram]) -> Steps[Histogram]:
    """`merged`, but the lines are copied step by step: a week of a busy symbol has millions."""
    sums = merged([structs.replace(part, **{name: getattr(part, name)[:1] for name in _LINES}) for part in parts])
    lines = {name: np.empty(sum(len(part.ts_ns) for part in parts), np.int64) for name in _LINES}
    at = 0
    for part in parts:
        for name, column in lines.items():
            column[at : at + len(part.ts_ns)] = getattr(part, name)
        at += len(part.ts_ns)
        yield
    return structs.replace(sums, **lines)


# Sums of an hour ----------------------------------------------------------------------------------


def summed_hour(reader: TradeReader, symbol: str, second: int) -> Steps[TradeHour | None]:
    """The sums of the hour that begins at `second`, from its blocks; None: not all of them can be read."""
    histogram, stretch, readable = yield from _summed(reader, symbol, second, second + HOUR_S, LONG_BLOCK_NS)
    return hour_of(symbol, second, histogram, stretch) if readable else None


def hour_of(symbol: str, second: int, histogram: Histogram, stretch: "Stretch | None") -> TradeHour:
    """As it is stored. What could not be put together for its size keeps its own line, at the start of its block."""
    first, last = (_NONE, _NONE) if stretch is None else (stretch.first, stretch.last)
    between_s = dict.fromkeys(_STATES, 0) if stretch is None else stretch.between_s
    return TradeHour(
        symbol=symbol,
        second=second,
        block_s=BLOCK_S,
        ts_ns=histogram.ts_ns // LONG_BLOCK_NS * LONG_BLOCK_NS,
        price_e8=histogram.price_e8,
        buy_e8=histogram.buy_e8,
        sell_e8=histogram.sell_e8,
        fills=histogram.fills,
        quote_e16=histogram.quote_e16,
        squares_e16=histogram.squares_e16,
        batches=histogram.batches,
        first_ns=first.ts_ns,
        first_id=first.fill_id,
        first_state=None if stretch is None else first.state,
        last_ns=last.ts_ns,
        last_id=last.fill_id,
        last_state=None if stretch is None else last.state,
        complete_s=between_s[TradeState.COMPLETE],
        backfilled_s=between_s[TradeState.BACKFILLED],
        missing_s=between_s[TradeState.MISSING],
        missing_ids=0 if stretch is None else stretch.missing_ids,
    )


def histogram_of(hour: TradeHour) -> Histogram:
    """What can be added to others and made a profile of."""
    return Histogram(
        ts_ns=hour.ts_ns,
        price_e8=hour.price_e8,
        buy_e8=hour.buy_e8,
        sell_e8=hour.sell_e8,
        fills=hour.fills,
        quote_e16=hour.quote_e16,
        squares_e16=hour.squares_e16,
        batches=hour.batches,
        first_ns=hour.first_ns,
        last_ns=hour.last_ns,
        block_ns=hour.block_s * NANO,
    )


def _summed(
    reader: TradeReader, symbol: str, start_s: int, end_s: int, block_ns: int
) -> Steps[tuple[Histogram, "Stretch | None", bool]]:
    """From the blocks of [start_s, end_s): sums by price and block_ns, what the ids say, and whether all could be read."""
    parts: list[Histogram] = []
    stretch: Stretch | None = None
    readable = True
    waiting: list[Any] = []
    step_s = FIRST_STEP_S
    at = start_s
    while at < end_s:
        upto = min(at + step_s, end_s)
        if upto - at > BLOCK_S:
            upto = upto // BLOCK_S * BLOCK_S
        columns = reader.trade_columns(symbol, at, upto)
        step_s = max(1, min(HOUR_S, (upto - at) * TRADES_A_STEP // max(1, len(columns.ts_ns))))
        readable = readable and not columns.unreadable
        stretch = joined(stretch, stretch_between(columns))
        waiting.append(columns)
        at = upto
        yield
        # Only where a block of lines ends, so that each of its prices becomes one line.
        if at == end_s or (at % BLOCK_S == 0 and sum(len(c.ts_ns) for c in waiting) >= TRADES_A_STEP):
            parts.append(_histogram(waiting, block_ns))
            waiting = []
            yield
    return structs.replace(merged(parts), block_ns=block_ns), stretch, readable


def _histogram(read: Sequence[Any], block_ns: int) -> Histogram:
    def joint(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(columns, name) for columns in read])

    names = ("ts_ns", "price_e8", "quantity_e8", "taker_buy", "fills")
    return Histogram.of(**{name: joint(name) for name in names}).compacted(block_ns)


# What the ids say ----------------------------------------------------------------------------------


class End(Struct, frozen=True):
    """The first or the last trade of a stretch: least or greatest time, outer fill id, its second's state as seen from inside."""

    ts_ns: int
    fill_id: int
    state: TradeState

    @property
    def second(self) -> int:
        """Of the trade."""
        return self.ts_ns // NANO


_NONE = End(0, 0, TradeState.COMPLETE)


class Stretch(Struct, frozen=True):
    """Two trades and what lies between: the seconds strictly between theirs by state, and the fill ids missing there.

    first and last may be of one second, or one trade; then both carry its state. missing_ids None: the ids began anew.
    """

    first: End
    last: End
    between_s: dict[TradeState, int]
    missing_ids: int | None


def stretch_between(columns: Any) -> Stretch | None:
    """From columns of trades; None without one. A traded second is what its block says; one in a hole is missing."""
    if not len(columns.ts_ns):
        return None
    second = columns.ts_ns // NANO
    gaps = columns.first_id[1:] - columns.last_id[:-1] - 1
    start, end = int(second[0]), int(second[-1]) + 1
    states = np.zeros(end - start, np.int64)
    traded = np.isin(columns.seconds, second)  # a block without trades says nothing that the ids do not
    states[columns.seconds[traded] - start] = columns.states[traded]
    for place in np.flatnonzero(gaps):
        states[second[place] - start : second[place + 1] - start + 1] = _STATES.index(TradeState.MISSING)
    return Stretch(
        End(int(columns.ts_ns.min()), int(columns.first_id[0]), _STATES[states[0]]),
        End(int(columns.ts_ns.max()), int(columns.last_id[-1]), _STATES[states[-1]]),
        dict(zip(_STATES, np.bincount(states[1:-1], minlength=len(_STATES)).tolist(), strict=True)),
        None if (gaps < 0).any() else int(gaps.sum()),
    )


def stretch_of(hour: TradeHour) -> Stretch | None:
    """What a stored hour says; None without a trade."""
    if hour.first_state is None or hour.last_state is None:
        return None
    first = End(hour.first_ns, hour.first_id, hour.first_state)
    last = End(hour.last_ns, hour.last_id, hour.last_state)
    seconds = dict(zip(_STATES, (hour.complete_s, hour.backfilled_s, hour.missing_s), strict=True))
    return Stretch(first, last, seconds, hour.missing_ids)


def joined(one: Stretch | None, other: Stretch | None) -> Stretch | None:
    """One after the other, with the seconds between them; `other` begins in a later second than `one` ends."""
    if one is None or other is None:
        return other if one is None else one
    gap = other.first.fill_id - one.last.fill_id - 1
    between_s = {state: one.between_s[state] + other.between_s[state] for state in _STATES}
    between_s[TradeState.MISSING if gap else TradeState.COMPLETE] += other.first.second - one.last.second - 1
    left, right = (TradeState.MISSING, TradeState.MISSING) if gap else (one.last.state, other.first.state)
    first, last = one.first, other.last
    # A second at the seam is now inside, unless it is the stretch's first or last itself.
    if first.second == one.last.second:
        first = structs.replace(first, state=left)
    else:
        between_s[left] += 1
    if last.second == other.first.second:
        last = structs.replace(last, state=right)
    else:
        between_s[right] += 1
    return Stretch(first, last, between_s, _together(one.missing_ids, other.missing_ids, gap))


def _together(*missing: int | None) -> int | None:
    """None where one cannot be counted; ids that fall are a gap below zero."""
    return None if any(n is None or n < 0 for n in missing) else sum(n or 0 for n in missing)


def _cover(reader: TradeReader, symbol: str, start_s: int, end_s: int, stretch: Stretch | None) -> Steps[TradeCover]:
    """Of a window with these trades in it: the ends are joined to the trades outside, or judged by the records."""
    before = _readable(lambda: reader.last_trade(symbol, start_s - 1))
    after = _readable(lambda: reader.first_trade(symbol, end_s))
    yield
    if stretch is None:
        gap = None if before is None or after is None else after.first_id - before.last_id - 1
        whole = yield from _side(reader, symbol, start_s, end_s, gap)
        return _counted(np.bincount(whole, minlength=4), _together(gap or 0))
    left_gap = None if before is None else stretch.first.fill_id - before.last_id - 1
    right_gap = None if after is None else after.first_id - stretch.last.fill_id - 1
    left = yield from _side(reader, symbol, start_s, stretch.first.second + 1, left_gap)
    right = yield from _side(reader, symbol, stretch.last.second, end_s, right_gap)
    counts = np.bincount(left[:-1], minlength=4) + np.bincount(right[1:], minlength=4)
    for state, seconds in stretch.between_s.items():
        counts[_SAID[state]] += seconds
    first, last = max(_SAID[stretch.first.state], left[-1]), max(_SAID[stretch.last.state], right[0])
    for said in [max(first, last)] if stretch.first.second == stretch.last.second else [first, last]:
        counts[said] += 1
    return _counted(counts, _together(stretch.missing_ids, left_gap or 0, right_gap or 0))


def _counted(counts: NDArray[np.int64], missing_ids: int | None) -> TradeCover:
    complete, backfilled, unknown, missing = counts.tolist()
    return TradeCover(complete, backfilled, missing, unknown, missing_ids)


def _readable(trade: Callable[[], Trade | None]) -> Trade | None:
    """One that cannot be read is as good as none."""
    try:
        return trade()
    except StoreError:
        return None


def _side(reader: TradeReader, symbol: str, start_s: int, end_s: int, gap: int | None) -> Steps[NDArray[np.int64]]:
    """What is said of each second of [start_s, end_s), which lies beside a trade: by the gap of ids there, or by the records.

    The record of tick s + 1 tells of second s: nothing was missing if the book was LIVE all the time and no hole was open.
    """
    if gap is not None:
        return np.full(end_s - start_s, _MISSING if gap else _COMPLETE)
    said = np.full(end_s - start_s, _UNKNOWN)
    for lo in range(start_s, end_s, RECORDS_A_STEP_S):
        hi = min(lo + RECORDS_A_STEP_S, end_s)
        found = reader.second_columns(symbol, lo + 1, hi + 1, ["state", "flags", "trade_state"])
        state, flags, trades = (found.columns[name] for name in ("state", "flags", "trade_state"))
        holed = trades == TradeState.MISSING.value
        sound = (state == BookState.LIVE.value) & (flags & int(Flag.PARTIAL | Flag.CLOCK) == 0)
        said[found.seconds - 1 - start_s] = np.where(holed, _MISSING, np.where(sound, _COMPLETE, _UNKNOWN))
        yield
        blocks = reader.trade_columns(symbol, lo, hi)
        said[blocks.seconds[blocks.states == _STATES.index(TradeState.MISSING)] - start_s] = _MISSING
        yield
    return said


# Keeping --------------------------------------------------------------------------------------------


class HourKeeper:
    """Sums up the hours of these symbols that are over and not kept, newest first.

    kept, changed: evidence; hours it has summed up in this run, and those of which a block was written meanwhile.
    """

    def __init__(self, store: HourStore, symbols: Sequence[str]) -> None:
        self._store = store
        self._symbols = symbols
        self._damaged: set[tuple[int, str]] = set()  # not read again in this run
        self.kept = 0
        self.changed = 0

    async def run(self, clock: Clock, writer: ThreadPoolExecutor) -> None:
        """At the start and after each hour, until cancelled. Writes in the writer's thread. A failure is told and tried again."""
        done_s: int | None = None
        while True:
            try:
                while (over_s := _over_s(clock)) != done_s:
                    await self._keep_before(over_s, clock, writer)
                    done_s = over_s
            except StoreError as error:
                log.error("hours_failed", extra={"cause": str(error)})
            await clock.sleep_until(clock.monotonic() + EVERY_S)

    async def _keep_before(self, over_s: int, clock: Clock, writer: ThreadPoolExecutor) -> None:
        """Every hour that ends by then; it ends early when another one is over, which comes first."""
        kept = self.kept
        for second, symbol in sorted(await self._missing(over_s, clock), reverse=True):
            if _over_s(clock) != over_s:
                break
            await self._keep(symbol, second, clock, writer)
        if self.kept > kept:
            log.info("hours_kept", extra={"count": self.kept - kept})

    async def _missing(self, over_s: int, clock: Clock) -> set[tuple[int, str]]:
        found: set[tuple[int, str]] = set()
        for symbol in self._symbols:
            first = self._store.first_trade(symbol, 0)
            first_s = over_s if first is None else first.ts_trade_ns // NANO // HOUR_S * HOUR_S
            for lo in range(first_s, over_s, LOOK_S):
                found.update((second, symbol) for second in self._store.hours_missing(symbol, lo, min(lo + LOOK_S, over_s)))
                await _rest(clock)
        return found - self._damaged

    async def _keep(self, symbol: str, second: int, clock: Clock, writer: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        claim = await loop.run_in_executor(writer, self._store.claim_hour, symbol, second)
        hour = await run_between(summed_hour(self._store, symbol, second), lambda: _rest(clock))
        if hour is None:
            self._damaged.add((second, symbol))
            log.warning("hour_unreadable", extra={"symbol": symbol, "second": second})
        elif await loop.run_in_executor(writer, self._store.write_hour, hour, claim):
            self.kept += 1
        else:
            self.changed += 1  # the next look finds it missing


def _over_s(clock: Clock) -> int:
    """Hours that end by then are over."""
    return (clock.wall_ns() // NANO - DELAY_S) // HOUR_S * HOUR_S


async def _rest(clock: Clock) -> None:
    await clock.sleep_until(clock.monotonic() + PAUSE_S)
