"""The minute block: how depth lies around the mid and how large level entries are, over the LIVE ticks of one minute.

Defined in docs/records.md. Statistics, so floats: nothing here is ever money. Sizes go into a histogram whose bins are 10 % wide.
"""

from array import array
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from leadline.core.book import Book, Ladder
from leadline.core.records import DepthUpdate, MinuteBlock

BIN_BPS = 0.5
BINS = 100
REACH_BPS = 50  # BIN_BPS * BINS
BUCKETS_BPS = np.array([0.25, 0.5, 1.0, 2.0, 5.0, 10.0])
ENTRIES_MIN = 200
_LOG_BIN = float(np.log(1.1))
_LOG_LOW = float(np.log(1e-8))
_SIZE_BINS = 600  # 1e-8 .. 7e16 quote units
_BATCH = 1024  # entries that wait to be sorted into the histogram together


class MinuteSums:
    """Accumulates one minute of one symbol."""

    def __init__(self) -> None:
        self._numbers = array("d")  # price, quantity, price, quantity, ... of level entries not sorted in yet
        self._counts: list[int] = []  # entries of each diff
        self._mids: list[int] = []  # and the mid after it
        self._open()

    def _open(self) -> None:
        self._samples = 0
        self._density = np.zeros((2, BINS))
        self._unknown = np.zeros((2, BINS), dtype=bool)
        self._sizes = np.zeros((len(BUCKETS_BPS), _SIZE_BINS), dtype=np.int64)
        self._clear()

    def _clear(self) -> None:
        del self._numbers[:]
        self._counts.clear()
        self._mids.clear()

    def update(self, update: DepthUpdate, book: Book) -> None:
        """The level entries of an applied diff, placed by the mid after it."""
        mid2 = book.mid2
        if mid2 is None:
            return
        numbers = self._numbers
        numbers.extend(chain.from_iterable(update.bids))
        numbers.extend(chain.from_iterable(update.asks))
        self._counts.append(len(update.bids) + len(update.asks))
        self._mids.append(mid2)
        if len(numbers) >= 2 * _BATCH:
            self._sort_sizes()

    def close(self, t: int, book: Book | None) -> MinuteBlock | None:
        """Tick t; the block if it ends a minute, else None."""
        if book is not None and book.mid2 is not None:
            self._samples += 1
            self._add_density(0, book.bids, book.mid2)
            self._add_density(1, book.asks, book.mid2)
        if t % 60:
            return None
        self._sort_sizes()
        block = MinuteBlock(
            self._samples,
            self._mean_density(0),
            self._mean_density(1),
            [self._quantile(row, 0.95) for row in self._sizes],
            [self._quantile(row, 0.99) for row in self._sizes],
        )
        self._open()
        return block

    def _add_density(self, row: int, side: Ladder, mid2: int) -> None:
        keys = side.keys_beyond((side.sign * mid2 - mid2 * REACH_BPS // 10_000) // 2 - 1)
        prices = np.abs(np.array(keys, dtype=np.float64))
        quantities = np.array([side.quantities[key] for key in keys], dtype=np.float64)
        distance = np.abs(prices * 2 - mid2) * 1e4 / mid2  # one rounding, so that an edge stays an edge
        bins = (distance / BIN_BPS).astype(np.int64)
        inside = bins < BINS
        self._density[row] += np.bincount(bins[inside], (prices * quantities)[inside] / 1e16, BINS) / BIN_BPS
        if side.known_key is not None:
            known_bps = 10_000 * (side.sign * mid2 - 2 * side.known_key) / mid2
            self._unknown[row, max(0, int(known_bps // BIN_BPS)) :] = True

    def _mean_density(self, row: int) -> list[float | None]:
        if not self._samples:
            return [None] * BINS
        mean = self._density[row] / self._samples
        return [None if unknown else float(value) for value, unknown in zip(mean, self._unknown[row], strict=True)]

    def _sort_sizes(self) -> None:
        if not self._numbers:
            return
        price, quantity = np.array(self._numbers).reshape(-1, 2).T
        mid2 = np.repeat(np.array(self._mids, dtype=np.float64), self._counts)
        self._clear()
        distance = np.abs(price * 2 - mid2) * 1e4 / mid2
        bucket = np.searchsorted(BUCKETS_BPS, distance, side="right")
        near = (bucket < len(BUCKETS_BPS)) & (quantity > 0)
        value = (price * quantity)[near] / 1e16
        bins = ((np.log(value) - _LOG_LOW) / _LOG_BIN).clip(0, _SIZE_BINS - 1).astype(np.int64)
        flat = np.bincount(bucket[near] * _SIZE_BINS + bins, minlength=self._sizes.size)
        self._sizes += flat.reshape(self._sizes.shape)

    @staticmethod
    def _quantile(counts: NDArray[np.int64], share: float) -> float | None:
        total = int(counts.sum())
        if total < ENTRIES_MIN:
            return None
        index = int(np.searchsorted(np.cumsum(counts), share * total))
        return float(np.exp(_LOG_LOW + (index + 0.5) * _LOG_BIN))
