"""The 24 hours before the synthetic market began: takers and a price path, no book. Made hour by hour when somebody asks.

Counts and closes of all hours are drawn at once, from the last hour backwards, so that ids join those of the live market and the
last price is its first. Each row is one order with one fill. Integers only, from raw bits: same seed, same rows, anywhere.
"""

from collections import OrderedDict
from functools import cache

import numpy as np

from leadline.standin.draws import Draws
from leadline.standin.listing import Spec
from leadline.standin.tables import DRAW_BITS, inverse
from leadline.standin.tape import E8, Columns, Ints

HOURS = 24
HOUR_US = 3_600_000_000
SIZE_BITS = 12
KEPT_HOURS = 4  # of this symbol, as rows
HOUR_WALK_BP = 60  # standard deviation of an hour's move; what is between is a bridge
STEPS_A_BP = 12  # an order moves price by at most the 12th part of a basis point


class SeededPast:
    """Rows -count to -1 of one symbol's tape."""

    def __init__(self, seed: int | str, spec: Spec, start_us: int, ids: tuple[int, int]) -> None:
        """start_us: when the live market begins. ids: last aggregate and trade id before it."""
        self._seed, self._spec, self._start_us = seed, spec, start_us
        self._agg_id, self._trade_id = ids
        draws = Draws(seed, spec.symbol, "past")
        cal = spec.calibration
        an_hour = cal.taker_base * 3600 * 1000 // (1000 - sum(cal.taker_children)) // 1000 * spec.speed // 1_000_000
        self._counts = [1 + an_hour * (600 + draws.below(800)) // 1000 for _ in range(HOURS)]
        closes = [spec.price_ticks]
        for _ in range(HOURS):
            closes.append(max(1, closes[-1] + self._move(draws, closes[-1])))
        self._closes = closes[::-1]  # HOURS + 1 prices; the last is the live market's first
        self._ends = [-sum(self._counts[hour + 1 :]) for hour in range(HOURS)]
        self._kept: OrderedDict[int, Columns] = OrderedDict()

    @staticmethod
    def _move(draws: Draws, price: int) -> int:
        """Of one hour: the sum of four even draws, about bell-shaped."""
        draw = sum(draws.below(2001) - 1000 for _ in range(4))
        return price * HOUR_WALK_BP * draw // (10_000 * 1150)

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(self._counts)

    def rows(self, low: int, high: int) -> Columns:
        """Rows low to high, -count <= low <= high <= 0."""
        parts = []
        for hour, end in enumerate(self._ends):
            start = end - self._counts[hour]
            if start < high and low < end:
                parts.append([column[max(low, start) - start : min(high, end) - start] for column in self._hour(hour)])
        if not parts:
            return Columns(*(np.empty(0, np.int64) for _ in Columns._fields))
        return Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def place(self, time_us: int) -> int:
        """The first row at or after that time; 0 if all are before."""
        hour = (time_us - self._start_us) // HOUR_US + HOURS
        if hour < 0:
            return -self.count
        if hour >= HOURS:
            return 0
        rows = self._hour(hour)
        return self._ends[hour] - self._counts[hour] + int(np.searchsorted(rows.time_us, time_us))

    def _hour(self, hour: int) -> Columns:
        if hour in self._kept:
            self._kept.move_to_end(hour)
        else:
            self._kept[hour] = self._make(hour)
            if len(self._kept) > KEPT_HOURS:
                self._kept.popitem(last=False)
        return self._kept[hour]

    def _make(self, hour: int) -> Columns:
        spec, n = self._spec, self._counts[hour]
        bits = Draws(self._seed, spec.symbol, "past", hour).bits
        raw = np.frombuffer(bits(64 * 4 * n).to_bytes(8 * 4 * n, "little"), "<u8").astype(np.uint64).reshape(4, n)
        begins = self._start_us - (HOURS - hour) * HOUR_US
        place = np.arange(n, dtype=np.int64)
        spacing = HOUR_US // n
        time_us = begins + place * spacing + _below(raw[0], spacing)
        price = self._path(hour, _below(raw[1], 2001) - 1000) * spec.tick_e8
        quantity = _lots(spec)[(raw[2] >> np.uint64(64 - SIZE_BITS)).astype(np.int64)] * spec.lot_e8
        sold = (raw[3] >> np.uint64(63)).astype(np.int64)
        first = self._ends[hour] - n + 1 + place  # 0 for the last row of all
        agg_id, trade_id = self._agg_id + first, self._trade_id + first
        return Columns(agg_id, time_us, price, quantity, _product(price, quantity), trade_id, trade_id, sold)

    def _path(self, hour: int, steps: Ints) -> Ints:
        """Prices in ticks: a walk, bent so that it ends where the next hour begins."""
        n, opens, closes = len(steps), self._closes[hour], self._closes[hour + 1]
        walk = np.cumsum(steps) * opens // (1000 * 10_000 * STEPS_A_BP)
        place = np.arange(1, n + 1, dtype=np.int64)
        bent: Ints = opens + (closes - opens) * place // n + walk - int(walk[-1]) * place // n
        floored: Ints = np.maximum(bent, 1)
        return floored


@cache
def _lots(spec: Spec) -> Ints:
    """Sizes of orders, equally likely."""
    table, (per, of) = inverse(spec.calibration.taker_sizes), spec.lots_per()
    sizes: Ints = np.array([max(1, table.at(n << DRAW_BITS - SIZE_BITS) * per // of) for n in range(1 << SIZE_BITS)], np.int64)
    return sizes


def _below(raw: "np.ndarray[tuple[int], np.dtype[np.uint64]]", bound: int) -> Ints:
    """On [0, bound), from the upper 32 bits."""
    upper: Ints = (raw >> np.uint64(32)).astype(np.int64)
    return upper * bound >> 32


def _product(price: Ints, quantity: Ints) -> Ints:
    """price * quantity / E8, rounded down, in two parts: the product itself does not fit."""
    whole, rest = np.divmod(quantity, E8)
    high, low = np.divmod(price, 10**4)
    # rest < 1e8 and low < 1e4: each product fits.
    product: Ints = price * whole + (high * rest + low * rest // 10**4) // 10**4
    return product
