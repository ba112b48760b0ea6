"""The minute block: how depth lies around the mid and how large level entries are, over the LIVE ticks of one minute.

Defined in docs/records.md. Statistics, so floats: nothing here is ever money. Sizes go into a histogram whose bins are 10 % wide.
"""

from array import array

import numpy as np
from numpy.typing import NDArray

from leadline.core.book import Book
from leadline.core.near import REACH_BPS, NearBook, NearLevels
from leadline.core.records import DepthUpdate, MinuteBlock
from leadline.core.sizes import BUCKETS_BPS, SIZE_BINS, bin_value, bins_of

__all__ = ["BINS", "BIN_BPS", "BUCKETS_BPS", "ENTRIES_MIN", "REACH_BPS", "MinuteSums"]

BIN_BPS = 0.5
BINS = int(REACH_BPS / BIN_BPS)
ENTRIES_MIN = 200
_BATCH = 1024  # entries that wait to be sorted into the histogram together


class MinuteSums:
    """Accumulates one minute of one symbol."""

    def __init__(self) -> None:
        self._numbers = array("d")  # price, quantity, price, quantity, ... of level entries not sorted in yet
        self._counts: list[int] = []  # entries of each diff that set a size
        self._mids: list[int] = []  # and the mid after it
        self._open()

    def _open(self) -> None:
        self._samples = 0
        self._density = np.zeros((2, BINS))
        self._unknown = np.zeros((2, BINS), dtype=bool)
        self._sizes = np.zeros((len(BUCKETS_BPS), SIZE_BINS), dtype=np.int64)
        self._clear()

    def _clear(self) -> None:
        del self._numbers[:]
        self._counts.clear()
        self._mids.clear()

    def update(self, update: DepthUpdate, book: Book) -> None:
        """The level entries of an applied diff that set a size, placed by the mid after it."""
        mid2 = book.mid2
        if mid2 is None:
            return
        numbers: list[float] = [number for level in update.bids if level[1] for number in level]
        numbers += [number for level in update.asks if level[1] for number in level]
        self._numbers.fromlist(numbers)
        self._counts.append(len(numbers) // 2)
        self._mids.append(mid2)
        if len(self._numbers) >= 2 * _BATCH:
            self._sort_sizes()

    def close(self, t: int, near: NearBook | None) -> MinuteBlock | None:
        """Tick t, with what is near the mid of a LIVE book; the block if it ends a minute, else None."""
        if near is not None:
            self._samples += 1
            self._add_density(0, near.bids, near.mid2_e8)
            self._add_density(1, near.asks, near.mid2_e8)
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

    def _add_density(self, row: int, side: NearLevels, mid2: int) -> None:
        distance = np.abs(side.prices_e8 * 2.0 - mid2) * 1e4 / mid2  # one rounding, so that an edge stays an edge
        bins = (distance / BIN_BPS).astype(np.int64)
        inside = bins < BINS
        self._density[row] += np.bincount(bins[inside], side.quotes[inside], BINS) / BIN_BPS
        if side.known_e8 is not None:
            known_bps = 10_000 * (1 - 2 * row) * (mid2 - 2 * side.known_e8) / mid2  # below 0: the mid itself left the range
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
        near = bucket < len(BUCKETS_BPS)
        value = (price * quantity)[near] / 1e16
        flat = np.bincount(bucket[near] * SIZE_BINS + bins_of(value), minlength=self._sizes.size)
        self._sizes += flat.reshape(self._sizes.shape)

    @staticmethod
    def _quantile(counts: NDArray[np.int64], share: float) -> float | None:
        total = int(counts.sum())
        if total < ENTRIES_MIN:
            return None
        index = int(np.searchsorted(np.cumsum(counts), share * total))
        return bin_value(index)
