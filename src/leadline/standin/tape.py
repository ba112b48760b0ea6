"""Every trade of one symbol, in columns: aggregates, their fills, and the candles and 24-hour figures made of them. Pure.

Numbers are exact integers of 1e-8, times are microseconds. What happened before the stand-in began (`Past`) is made when it is
asked for and joins the same chain of ids: its rows have the places -count to -1, and what is traded now counts from 0.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import Struct

from leadline.standin.source import AggTrade, Trade, text

E8 = 10**8
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

INTERVALS_MS = {
    **{f"{n}s": n * 1000 for n in (1,)},
    **{f"{n}m": n * 60_000 for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 3_600_000 for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": n * 86_400_000 for n in (1, 3)},
    "1w": 7 * 86_400_000,
}
WEEK_START_MS = 4 * 86_400_000  # weeks begin on Monday, the epoch was a Thursday
DAY_MS = 86_400_000
BLOCK, SMALL_BLOCK = 4096, 64  # rows that are summed once and kept; the small ones at the ends of what is asked for


class Columns(NamedTuple):
    """Aggregates, one value a row. price, quantity, quote: 1e-8; sold: 1 where the taker sold (the buyer was the maker)."""

    agg_id: Ints
    time_us: Ints
    price: Ints
    quantity: Ints
    quote: Ints
    first_id: Ints
    last_id: Ints
    sold: Ints


class Past(Protocol):
    """The rows before row 0, made when asked for. One fill each."""

    @property
    def count(self) -> int:
        """How many."""
        ...

    def rows(self, low: int, high: int) -> Columns:
        """Rows low to high, -count <= low <= high <= 0."""
        ...

    def place(self, time_us: int) -> int:
        """The first row (0 if none) at or after that time."""
        ...


class Candle(Struct, frozen=True):
    """One candle. volume, taker_volume in base, quote, taker_quote in quote units, all 1e-8; ids are -1 where nothing traded."""

    open_ms: int
    close_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    trades: int
    taker_volume: int
    taker_quote: int
    first_id: int
    last_id: int


class Day(Struct, frozen=True):
    """The 24 hours up to a moment. before: price of the trade before them, or the opening; last_quantity: of the latest trade."""

    candle: Candle
    before: int
    last_quantity: int


class _Sum(NamedTuple):
    """Of a run of rows, which is not empty. All as in Candle."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    trades: int
    taker_volume: int
    taker_quote: int
    first_id: int
    last_id: int


class Tape:
    """The trades so far. Ids rise; times do not fall."""

    def __init__(self, past: Past | None = None, *, opening: int = 0) -> None:
        """opening: the price, in 1e-8, of a candle before anything was traded."""
        self._past = past
        self._opening = opening
        # Readers know columns as sequences (a Past may bring other ones); only the tape, which made them, appends.
        self._columns = Columns(*(array("q") for _ in Columns._fields))  # type: ignore[arg-type]
        self._fill_ids = array("q")
        self._fill_rows = array("q")
        self._fill_quantities = array("q")
        self._blocks: dict[tuple[int, int], _Sum] = {}  # (rows of a block, its number) -> its sum; whole blocks only

    def __len__(self) -> int:
        """Aggregates traded here, the past not counted."""
        return len(self._columns.agg_id)

    def add(
        self,
        agg_id: int,
        time_us: int,
        price: int,
        quantity: int,
        first_id: int,
        last_id: int,
        sold: bool,
        fills: Sequence[int] = (),
    ) -> None:
        """One aggregate. fills: the quantities of first_id to last_id; empty where they are not known."""
        row = len(self)
        values = (agg_id, time_us, price, quantity, price * quantity // E8, first_id, last_id, sold)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)  # type: ignore[attr-defined]
        for fill_id, fill in enumerate(fills, first_id):
            self._fill_ids.append(fill_id)
            self._fill_rows.append(row)
            self._fill_quantities.append(fill)

    # Rows as the exchange gives them ------------------------------------------

    def aggregates(
        self,
        *,
        from_id: int | None,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        until_us: int | None = None,
        in_us: bool = False,
    ) -> list[AggTrade]:
        """Oldest first; ids and times inclusive; with neither fromId nor startTime the latest. Source: Binance rest-api.md.

        until_us: what happened later is not to be had yet. in_us: times of the rows are microseconds.
        """
        if start_ms is not None:
            start_us = start_ms * 1000
        if end_ms is not None:
            end_us = end_ms * 1000 + 999
        low, high = -self._before, len(self)
        if until_us is not None:
            high = self._place(until_us + 1)
        if start_us is not None:
            low = self._place(start_us)
        if end_us is not None:
            high = min(high, self._place(end_us + 1))
        if from_id is not None:
            low = max(low, self._place_of_id(from_id))
        if from_id is None and start_us is None:
            low = max(low, high - limit)
        unit = 1 if in_us else 1000
        return [_aggregate(unit, *row) for row in _each(self.rows(low, max(low, min(high, low + limit))))]

    def fills(self, *, from_id: int | None, limit: int, until_us: int | None = None, in_us: bool = False) -> list[Trade]:
        """From an id on, or the latest, oldest first. in_us: as of aggregates."""
        unit = 1 if in_us else 1000
        high = len(self._fill_ids)
        while until_us is not None and high and self._columns.time_us[self._fill_rows[high - 1]] > until_us:
            high -= 1
        if from_id is None:
            low = high - limit
        elif self._fill_ids and from_id >= self._fill_ids[0]:
            low = int(np.searchsorted(np.frombuffer(self._fill_ids, np.int64), from_id))
        else:
            low = (from_id - self._fill_ids[0]) if self._fill_ids else -self._before  # the past has one fill a row
        low = max(low, -self._before)
        high = min(high, low + limit)
        past = [_fill(unit, row[5], row[1], row[2], row[3], row[7]) for row in _each(self.rows(min(low, 0), min(high, 0)))]
        return past + [self._fill_at(place, unit) for place in range(max(low, 0), high)]

    def _fill_at(self, place: int, unit: int) -> Trade:
        row, columns = self._fill_rows[place], self._columns
        return _fill(
            unit, self._fill_ids[place], columns.time_us[row], columns.price[row], self._fill_quantities[place], columns.sold[row]
        )

    def time_us(self, *, agg_id: int | None = None, fill_id: int | None = None) -> int | None:
        """When an aggregate, or a fill, was traded here; None for one that was not."""
        ids, wanted = (self._columns.agg_id, agg_id) if fill_id is None else (self._fill_ids, fill_id)
        place = bisect_left(ids, wanted)
        if place == len(ids) or ids[place] != wanted:
            return None
        return int(self._columns.time_us[place if fill_id is None else self._fill_rows[place]])

    @property
    def last_price(self) -> int:
        """Of the latest trade, 1e-8; the opening price before the first."""
        rows = self.rows(len(self) - 1, len(self)) if len(self) or self._before else None
        return int(rows.price[0]) if rows else self._opening

    @property
    def last_us(self) -> int:
        """When the latest trade was; 0 before the first."""
        rows = self.rows(len(self) - 1, len(self)) if len(self) or self._before else None
        return int(rows.time_us[0]) if rows else 0

    @property
    def last_ids(self) -> tuple[int, int]:
        """(aggregate id, fill id) of the latest trade; (-1, -1) before the first."""
        rows = self.rows(len(self) - 1, len(self)) if len(self) or self._before else None
        return (int(rows.agg_id[0]), int(rows.last_id[0])) if rows else (-1, -1)

    # Figures --------------------------------------------------------------------

    def candle(self, open_ms: int, close_ms: int) -> Candle:
        """Of open_ms to close_ms, both included; without a trade it stands at the close before."""
        low, high = self._place(open_ms * 1000), self._place((close_ms + 1) * 1000)
        return self._candle(open_ms, close_ms, low, self._sum(low, high))

    def candles(
        self, interval: str, *, start_ms: int | None, end_ms: int, limit: int, until_ms: int, offset_ms: int = 0
    ) -> list[Candle]:
        """The candles whose open lies in [start_ms, end_ms], oldest first: from start_ms on, or else the last `limit` of them.

        The first is the one in which the tape begins; the last, which may be open, the one of until_ms. offset_ms: of the
        time zone whose days, weeks and months are meant.
        """
        begins_us = self._begins_us()
        if begins_us is None:
            return []
        if offset_ms:
            shifted = self._opens(
                interval,
                begins_us // 1000 + offset_ms,
                None if start_ms is None else start_ms + offset_ms,
                min(end_ms, until_ms) + offset_ms,
                limit,
            )
            opens = [at - offset_ms for at in shifted]
        else:
            opens = self._opens(interval, begins_us // 1000, start_ms, min(end_ms, until_ms), limit)
        if len(opens) < 2:
            return []
        places = [self._place(at * 1000) for at in opens]
        begin = places[0]
        whole = self.rows(begin, places[-1]) if places[-1] - begin <= 16 * BLOCK else None
        return [
            self._candle(
                at, end - 1, low, self._sum(low, high) if whole is None else _summed(_part(whole, low - begin, high - begin))
            )
            for at, end, low, high in zip(opens, opens[1:], places, places[1:], strict=False)
        ]

    def day(self, now_ms: int) -> Day | None:
        """The 24 hours that end with now_ms, both ends included. None where nothing was ever traded and there is no opening."""
        open_ms = now_ms - DAY_MS
        low, high = self._place(open_ms * 1000), self._place((now_ms + 1) * 1000)
        candle = self._candle(open_ms, now_ms, low, self._sum(low, high))
        if not candle.close:
            return None
        last = self.rows(high - 1, high) if high > -self._before else None
        whole = bool(last and self._fill_ids and self._fill_ids[-1] == int(last.last_id[0]))
        quantity = self._fill_quantities[-1] if whole else int(last.quantity[0]) if last else 0
        return Day(candle, self._price_before(low), quantity)

    @staticmethod
    def _opens(interval: str, begins_ms: int, start_ms: int | None, end_ms: int, limit: int) -> list[int]:
        """The opens of the wanted candles, and that of the next."""
        last, first = candle_open(interval, end_ms), candle_open(interval, begins_ms)
        if start_ms is not None:
            opening = candle_open(interval, start_ms)
            first = max(first, opening if opening >= start_ms else next_open(interval, opening))
        else:
            back = last
            for _ in range(limit - 1):
                back = candle_open(interval, back - 1)
            first = max(first, back)
        opens: list[int] = []
        while first <= last and len(opens) < limit:
            opens.append(first)
            first = next_open(interval, first)
        return [*opens, first]

    def _candle(self, open_ms: int, close_ms: int, place: int, total: _Sum | None) -> Candle:
        if total is None:
            price = self._price_before(place)
            return Candle(open_ms, close_ms, price, price, price, price, 0, 0, 0, 0, 0, -1, -1)
        return Candle(open_ms, close_ms, *total)

    def _price_before(self, place: int) -> int:
        before = self.rows(place - 1, place) if place > -self._before else None
        return int(before.price[0]) if before else self._opening

    def _sum(self, low: int, high: int, size: int = BLOCK) -> _Sum | None:
        """Of rows low to high. Whole blocks are summed once: 24 hours of a busy symbol are a million rows.

        The rest at both ends is made of small blocks, and only what is left then of rows: those of the past cost time.
        """
        first, last = -(-low // size), high // size
        smaller = SMALL_BLOCK if size > SMALL_BLOCK else 0
        if first >= last:
            return self._sum(low, high, smaller) if smaller else _summed(self.rows(low, high))
        ends = ((low, first * size), (last * size, high))
        head, tail = (self._sum(*end, smaller) if smaller else _summed(self.rows(*end)) for end in ends)
        parts = [head, *(self._block(size, number) for number in range(first, last)), tail]
        return _joined([part for part in parts if part is not None])

    def _block(self, size: int, number: int) -> _Sum:
        kept = self._blocks.get((size, number))
        if kept is None:
            kept = _summed(self.rows(number * size, (number + 1) * size))
            assert kept is not None, "a block is never empty"
            self._blocks[size, number] = kept
        return kept

    # Places ---------------------------------------------------------------------

    def rows(self, low: int, high: int) -> Columns:
        """Rows low to high; negative places are the past's."""
        live = [np.array(column[max(low, 0) : max(high, 0)], np.int64) for column in self._columns]
        if low >= 0 or self._past is None:
            return Columns(*live)
        past = self._past.rows(low, min(high, 0))
        return Columns(*(np.concatenate(pair) for pair in zip(past, live, strict=True)))

    @property
    def _before(self) -> int:
        return self._past.count if self._past else 0

    def _begins_us(self) -> int | None:
        if self._before:
            return int(self.rows(-self._before, 1 - self._before).time_us[0])
        return self._columns.time_us[0] if len(self) else None

    def _place(self, time_us: int) -> int:
        """The first row at or after that time."""
        times = self._columns.time_us
        if self._past is not None and (not len(self) or time_us <= times[0]):
            place = self._past.place(time_us)
            if place < 0:
                return place
        return int(np.searchsorted(np.frombuffer(times, np.int64), time_us)) if len(self) else 0

    def _place_of_id(self, agg_id: int) -> int:
        ids = self._columns.agg_id
        if len(self) and agg_id >= ids[0]:
            return int(np.searchsorted(np.frombuffer(ids, np.int64), agg_id))
        if not self._before:
            return 0
        first = int(self.rows(-self._before, 1 - self._before).agg_id[0])
        return min(0, max(agg_id - first, 0) - self._before)


def candle_open(interval: str, at_ms: int) -> int:
    """The open of the candle that holds at_ms. Source: Binance rest-api.md, klines; months and weeks are UTC calendar's."""
    if interval == "1M":
        return int(np.datetime64(at_ms, "ms").astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64))
    width = INTERVALS_MS[interval]
    offset = WEEK_START_MS if interval == "1w" else 0
    return (at_ms - offset) // width * width + offset


def next_open(interval: str, open_ms: int) -> int:
    """The open of the candle after the one that opens then."""
    if interval == "1M":
        month = np.datetime64(open_ms, "ms").astype("datetime64[M]") + 1
        return int(month.astype("datetime64[ms]").astype(np.int64))
    return open_ms + INTERVALS_MS[interval]


def _part(rows: Columns, low: int, high: int) -> Columns:
    return Columns(*(column[low:high] for column in rows))


def _summed(rows: Columns) -> _Sum | None:
    if not len(rows.price):
        return None
    bought = rows.sold == 0
    return _Sum(
        int(rows.price[0]),
        int(rows.price.max()),
        int(rows.price.min()),
        int(rows.price[-1]),
        int(rows.quantity.sum()),
        int(rows.quote.sum()),
        int((rows.last_id - rows.first_id + 1).sum()),
        int(rows.quantity[bought].sum()),
        int(rows.quote[bought].sum()),
        int(rows.first_id[0]),
        int(rows.last_id[-1]),
    )


def _joined(parts: Sequence[_Sum]) -> _Sum:
    """One after the other."""
    return _Sum(
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum(part.volume for part in parts),
        sum(part.quote for part in parts),
        sum(part.trades for part in parts),
        sum(part.taker_volume for part in parts),
        sum(part.taker_quote for part in parts),
        parts[0].first_id,
        parts[-1].last_id,
    )


def _each(rows: Columns) -> "zip[tuple[int, ...]]":
    return zip(*(column.tolist() for column in rows), strict=True)


def _aggregate(
    unit: int, a: int, at_us: int, price: int, quantity: int, quote: int, first: int, last: int, sold: int
) -> AggTrade:
    return AggTrade(a, text(price), text(quantity), first, last, at_us // unit, bool(sold))


def _fill(unit: int, fill_id: int, at_us: int, price: int, quantity: int, sold: int) -> Trade:
    return Trade(fill_id, text(price), text(quantity), text(price * quantity // E8), at_us // unit, bool(sold))
