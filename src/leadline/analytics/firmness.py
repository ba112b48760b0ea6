"""How firm a volume profile is: resamples of its blocks of time, and the nodes that are found again in them.

Our own conventions, each open to a better one: 300 resamples, the 10 % and 50 % of nodes.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.histogram import LONG_BLOCK_NS, SECOND_NS, Bools, Histogram, Ints
from leadline.analytics.stats import Floats

HOUR_NS = 3_600 * SECOND_NS
SHORT_BLOCK_NS = 10 * SECOND_NS  # of windows below one hour
RESAMPLES = 300
SEED = 20240808


def volume_by_block(histogram: Histogram, quantity_e8: Ints, row: Ints, rows: int, covered_ns: int | None) -> Floats:
    """One line of rows per block in which something traded; a block without trades may be one that nobody recorded.

    Blocks are of 10 s below an hour, else of 5 min; also where what was put together before is no finer.
    """
    covered = histogram.last_ns - histogram.first_ns if covered_ns is None else covered_ns
    block_ns = SHORT_BLOCK_NS if covered < HOUR_NS and histogram.block_ns <= SHORT_BLOCK_NS else LONG_BLOCK_NS
    assert histogram.block_ns == 0 or block_ns % histogram.block_ns == 0, "compacted more coarsely than the blocks"
    first = histogram.first_ns // block_ns
    blocks = histogram.last_ns // block_ns - first + 1
    cell = (histogram.ts_ns // block_ns - first) * rows + row
    table: Floats = np.bincount(cell, quantity_e8, blocks * rows).astype(np.float64).reshape(blocks, rows)
    return table[table.any(axis=1)]


def resample(blocks: Floats, seed: int = SEED) -> Floats:
    """RESAMPLES profiles of as many blocks as there are, drawn with replacement: one line of rows each."""
    n = len(blocks)
    draws = (_random(seed, RESAMPLES * n) >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)
    lane = np.repeat(np.arange(RESAMPLES), n)
    times = np.bincount(lane * n + draws.astype(np.int64), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    return times.astype(np.float64) @ blocks


def _random(seed: int, n: int) -> NDArray[np.uint64]:
    """splitmix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers with every numpy, so a profile repeats for ever."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def poc_iqr_rows(resampled: Floats) -> float:
    """Quartile distance, linear between values, of the point of control over the lines; rows."""
    rows = resampled.shape[1]
    # In the order of the tie rule, so that the first maximum is the right one.
    order = np.lexsort((np.arange(rows), np.abs(2 * np.arange(rows) - (rows - 1))))
    low, high = np.quantile(order[np.argmax(resampled[:, order], axis=1)], (0.25, 0.75))
    return float(high - low)


class Candidate(Struct, frozen=True):
    """A node before the question whether it is stable. low, high: its first and last row."""

    kind: Literal["high", "low"]
    low: int
    high: int
    persistence: float
    deficit_pct: float | None

    def volume(self, volumes: Sequence[int]) -> int:
        """Sum over its rows."""
        return sum(volumes[self.low : self.high + 1])


def node_candidates(volumes: Sequence[int], resampled: Floats) -> list[Candidate]:
    """Every node of the smoothed rows, by rising price, with the share of resamples in which it is found within one row.

    A high node is its one row; a low node is the rows around its minimum below half of the smaller neighbouring high node.
    """
    smooth = _smoothed(np.vstack([np.array(volumes, dtype=np.float64), resampled]))
    highs, lows = _turning_rows(smooth)
    base = smooth[0]

    def persistence(found: Bools, row: int) -> float:
        return float(found[1:, max(0, row - 1) : row + 2].any(axis=1).mean())

    peaks = np.flatnonzero(highs[0]).tolist()
    nodes = [Candidate("high", row, row, persistence(highs, row), None) for row in peaks]
    for row in np.flatnonzero(lows[0]).tolist():
        smaller = min(base[max(k for k in peaks if k < row)], base[min(k for k in peaks if k > row)])
        low = high = row
        while 2 * base[low - 1] < smaller:
            low -= 1
        while 2 * base[high + 1] < smaller:
            high += 1
        nodes.append(Candidate("low", low, high, persistence(lows, row), float(100 * (1 - base[row] / smaller))))
    return sorted(nodes, key=lambda node: node.low)


def _smoothed(lines: Floats) -> Floats:
    """Four times (1/4, 1/2, 1/4) along the rows: whole numbers stay whole. Outside the range nothing traded."""
    smooth = 2 * lines
    smooth[:, 1:] += lines[:, :-1]
    smooth[:, :-1] += lines[:, 1:]
    return smooth


def _turning_rows(smooth: Floats) -> tuple[Bools, Bools]:
    """Which rows are high nodes and which low ones, in every line at once: one step per row over all lines.

    A top counts when the line rises to it and falls from it by a tenth of its largest row, both inside the range: these are the
    tops with that prominence. Of equal tops with no such fall between, the lower row is taken; of a flat bottom the middle.
    """
    lines, rows = smooth.shape
    highs, lows = np.zeros((lines, rows), bool), np.zeros((lines, rows), bool)
    largest = smooth.max(axis=1)
    rising = np.zeros(lines, bool)
    top, top_before = np.zeros(lines), np.zeros(lines)  # a top before is 0 until there is one, and nothing is below half of 0
    top_row = np.zeros(lines, np.int64)
    bottom = smooth[:, 0].copy()
    bottom_first, bottom_last = np.zeros(lines, np.int64), np.zeros(lines, np.int64)
    for k in range(1, rows):
        value = smooth[:, k]
        higher = rising & (value > top)
        top[higher], top_row[higher] = value[higher], k
        fallen = rising & (10 * (top - value) >= largest)

        falling = ~rising
        lower = falling & (value < bottom)
        bottom[lower], bottom_first[lower], bottom_last[lower] = value[lower], k, k
        bottom_last[falling & (value == bottom) & (bottom_last == k - 1)] = k
        risen = falling & (10 * (value - bottom) >= largest)
        top[risen], top_row[risen], rising[risen] = value[risen], k, True

        if fallen.any():
            where = np.flatnonzero(fallen)
            highs[where, top_row[where]] = True
            thin = where[2 * bottom[where] < np.minimum(top_before[where], top[where])]
            lows[thin, (bottom_first[thin] + bottom_last[thin]) // 2] = True
            top_before[where], bottom[where], rising[where] = top[where], value[where], False
            bottom_first[where], bottom_last[where] = k, k
    return highs, lows
