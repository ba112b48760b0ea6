"""Every trade of one symbol, in columns: aggregates, their fills, and the candles and 24-hour figures made of them. Pure.

Numbers are exact integers of 1e-8, times are microseconds. What happened before the stand-in began (`Past`) is made when it is
asked for and joins the same chain of ids: its rows have the places -count to -1, and what is traded now counts from 0.
"""

from array import array
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


class Tape:
    """The trades so far. Ids rise; times do not fall."""

    def __init__(self, past: Past | None = None, *, opening: int = 0) -> None:
        """opening: the price, in 1e-8, of a candle before anything was traded."""
        self._past = past
        self._opening = opening
        self._columns = Columns(*(array("q") for _ in Columns._fields))  # type: ignore[arg-type]
        self._fill_ids = array("q")
        self._fill_rows = array("q")
        self._fill_quantities = array("q")

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
        self, *, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int, until_us: int | None = None
    ) -> list[AggTrade]:
        """Oldest first; ids and times inclusive; with neither fromId nor startTime the latest. Source: Binance rest-api.md.

        until_us: what happened later is not to be had yet.
        """
        low, high = -self._before, len(self)
        if until_us is not None:
            high = self._place(until_us + 1)
        if start_ms is not None:
            low = self._place(start_ms * 1000)
        if end_ms is not None:
            high = min(high, self._place((end_ms + 1) * 1000))
        if from_id is not None:
            low = max(low, self._place_of_id(from_id))
        if from_id is None and start_ms is None:
            low = max(low, high - limit)
        return [_aggregate(*row) for row in _each(self.rows(low, min(high, low + limit)))]

    def fills(self, *, from_id: int | None, limit: int, until_us: int | None = None) -> list[Trade]:
        """From an id on, or the latest, oldest first."""
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
        past = [_fill(row[5], row[1], row[2], row[3], row[7]) for row in _each(self.rows(min(low, 0), min(high, 0)))]
        return past + [self._fill_at(place) for place in range(max(low, 0), high)]

    def _fill_at(self, place: int) -> Trade:
        row, columns = self._fill_rows[place], self._columns
        return _fill(
            self._fill_ids[place], columns.time_us[row], columns.price[row], self._fill_quantities[place], columns.sold[row]
        )

    @property
    def last_price(self) -> int:
        """Of the latest trade, 1e-8; the opening price before the first."""
        rows = self.rows(len(self) - 1, len(self)) if len(self) or self._before else None
        return int(rows.price[0]) if rows else self._opening

    @property
    def last_ids(self) -> tuple[int, int]:
        """(aggregate id, fill id) of the latest trade; (-1, -1) before the first."""
        rows = self.rows(len(self) - 1, len(self)) if len(self) or self._before else None
        return (int(rows.agg_id[0]), int(rows.last_id[0])) if rows else (-1, -1)

    # Figures --------------------------------------------------------------------

    def candle(self, open_ms: int, close_ms: int) -> Candle:
        """Of open_ms to close_ms, both included; without a trade it stands at the close before."""
        low, high = self._place(open_ms * 1000), self._place((close_ms + 1) * 1000)
        return self._candle(open_ms, close_ms, self.rows(low, high), low)

    def candles(self, interval: str, *, start_ms: int | None, end_ms: int, limit: int, until_ms: int) -> list[Candle]:
        """The candles whose open lies in [start_ms, end_ms], oldest first: from start_ms on, or else the last `limit` of them.

        The first is the one in which the tape begins; the last, which may be open, the one of until_ms.
        """
        begins_us = self._begins_us()
        if begins_us is None:
            return []
        last = candle_open(interval, min(end_ms, until_ms))
        first = candle_open(interval, begins_us // 1000)
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
        if not opens:
            return []
        places = [self._place(at * 1000) for at in [*opens, first]]
        rows = self.rows(places[0], places[-1])
        return [
            self._candle(at, end - 1, Columns(*(column[a - places[0] : b - places[0]] for column in rows)), a)
            for at, end, a, b in zip(opens, [*opens[1:], first], places, places[1:], strict=True)
        ]

    def _candle(self, open_ms: int, close_ms: int, rows: Columns, place: int) -> Candle:
        if not len(rows.price):
            before = self.rows(place - 1, place) if place > -self._before else None
            price = int(before.price[0]) if before else self._opening
            return Candle(open_ms, close_ms, price, price, price, price, 0, 0, 0, 0, 0, -1, -1)
        bought = rows.sold == 0
        return Candle(
            open_ms,
            close_ms,
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


def _each(rows: Columns) -> "zip[tuple[int, ...]]":
    return zip(*(column.tolist() for column in rows), strict=True)


def _aggregate(a: int, at_us: int, price: int, quantity: int, quote: int, first: int, last: int, sold: int) -> AggTrade:
    return AggTrade(a, text(price), text(quantity), first, last, at_us // 1000, bool(sold))


def _fill(fill_id: int, at_us: int, price: int, quantity: int, sold: int) -> Trade:
    return Trade(fill_id, text(price), text(quantity), text(price * quantity // E8), at_us // 1000, bool(sold))
