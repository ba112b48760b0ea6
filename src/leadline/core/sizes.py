"""How large level entries are by their distance from the mid, and from which size on a level is large (docs/records.md).

Sizes are quote values. They are counted in bins 10 % wide, so a quantile is the middle of its bin, and a day of quantiles is kept
as numbers of bins: 16 bytes a minute.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

BUCKETS_BPS = np.array([0.25, 0.5, 1.0, 2.0, 5.0, 10.0])
SIZE_BINS = 600  # 1e-8 .. 7e16 quote units
BLOCKS_MIN = 30  # minute blocks under which no size is called large
DAY_S = 86_400
_LOG_BIN = float(np.log(1.1))
_LOG_LOW = float(np.log(1e-8))
_UNKNOWN = 0xFFFF  # no bin
_BUCKETS = len(BUCKETS_BPS)


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each quote value above zero; what is beyond the ends belongs to the last bin there."""
    return ((np.log(values) - _LOG_LOW) / _LOG_BIN).clip(0, SIZE_BINS - 1).astype(np.int64)


def bin_value(index: int) -> float:
    """Middle of a bin, quote."""
    return float(np.exp(_LOG_LOW + (index + 0.5) * _LOG_BIN))


_VALUES = np.full(_UNKNOWN + 1, np.nan)
_VALUES[:SIZE_BINS] = [bin_value(index) for index in range(SIZE_BINS)]


def size_thresholds(sizes: ArrayLike) -> list[float | None]:
    """Quote value above which a level is large, by distance bucket (BUCKETS_BPS): the median of the minutes' size_p99.

    sizes: a row of six for each minute block, None or NaN where it does not know. None for a bucket that fewer than 30 know.
    """
    ordered = np.sort(np.array(sizes, dtype=np.float64).reshape(-1, _BUCKETS), axis=0)  # NaN last
    found: list[float | None] = []
    for column, known in zip(ordered.T, np.count_nonzero(~np.isnan(ordered), axis=0).tolist(), strict=True):
        middle = (column[(known - 1) // 2] + column[known // 2]) / 2 if known >= BLOCKS_MIN else None
        found.append(None if middle is None else float(middle))
    return found


class SizeHistory:
    """The size_p99 of one symbol's minute blocks over the last day, 23 kB when it is full."""

    def __init__(self) -> None:
        self._minutes = array("i")  # t / 60, rising
        self._bins = array("H")  # six for each of them

    def __len__(self) -> int:
        return len(self._minutes)

    def add(self, t: int, size_p99: Sequence[float | None]) -> None:
        """The block of minute t, a multiple of 60, in place of an earlier one; blocks may come in any order."""
        minute = t // 60
        place = bisect_left(self._minutes, minute)
        bins = array("H", [_UNKNOWN if size is None else int(bins_of(np.array(size))) for size in size_p99])
        if place < len(self._minutes) and self._minutes[place] == minute:
            self._bins[_BUCKETS * place : _BUCKETS * (place + 1)] = bins
        else:
            self._minutes.insert(place, minute)
            self._bins[_BUCKETS * place : _BUCKETS * place] = bins
        past = bisect_right(self._minutes, self._minutes[-1] - DAY_S // 60)
        del self._minutes[:past], self._bins[: _BUCKETS * past]

    def thresholds(self, t: int) -> list[float | None]:
        """By the blocks of the 24 h up to second t."""
        first = bisect_right(self._minutes, t // 60 - DAY_S // 60)
        end = bisect_right(self._minutes, t // 60)
        bins = np.array(self._bins[_BUCKETS * first : _BUCKETS * end], dtype=np.uint16)
        return size_thresholds(_VALUES[bins])
