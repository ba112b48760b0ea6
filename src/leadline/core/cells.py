"""The ring of cells: where the quote value near the mid rested at the last 30 ticks, in cells anchored at price 0.

A cell is about half a basis point high and stays so while the mid stays within 5 %, so a stretch of prices can be followed from
tick to tick. The ring belongs to one epoch and to one height of cells (docs/records.md).
"""

from collections import deque

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.core.near import REACH_BPS, NearBook

RING_TICKS = 30
CELL_SHARE = 20_000  # a cell is 1/20000 of the mid, half a basis point
REGRID_PCT = 5
_SECOND_NS = 1_000_000_000


class TickCells(Struct, frozen=True):
    """The book of one tick within 50 bps of the mid, edge included. Cell k holds the prices [k * cell_e8, (k + 1) * cell_e8).

    ts_ns: the tick. bids, asks: quote value by cell, rising prices, not to be written to; their first cells are bid_from and
    ask_from. The last cell of bids and the first of asks is the one that holds the mid. Beyond known_bid_e8 and known_ask_e8
    (None: complete to the end) levels may be missing.
    """

    ts_ns: int
    mid2_e8: int
    cell_e8: int
    bid_from: int
    bids: NDArray[np.float64]
    ask_from: int
    asks: NDArray[np.float64]
    known_bid_e8: int | None
    known_ask_e8: int | None


def cell_height_e8(mid2_e8: int, tick_e8: int, held_e8: int | None = None, held_mid2_e8: int | None = None) -> int:
    """Height of a cell: a 20,000th of the mid in whole ticks, at least one, halves up; within 5 % of the mid, the one held."""
    if held_e8 is not None and held_mid2_e8 is not None and _stays(mid2_e8, held_mid2_e8):
        return held_e8
    return tick_e8 * max(1, (mid2_e8 + CELL_SHARE * tick_e8) // (2 * CELL_SHARE * tick_e8))


def _stays(mid2_e8: int, held_mid2_e8: int) -> bool:
    return 100 * abs(mid2_e8 - held_mid2_e8) <= REGRID_PCT * held_mid2_e8


class CellRing:
    """The ring of one symbol, oldest first. Without a tick size there is none."""

    def __init__(self, tick_e8: int | None = None) -> None:
        self._tick_e8 = tick_e8
        self._ring: deque[TickCells] = deque()  # rising seconds, so no more than RING_TICKS of them
        self._held: tuple[int, int] | None = None  # height of the cells, and mid2 for which it was chosen

    @property
    def ticks(self) -> tuple[TickCells, ...]:
        """A copy, oldest first."""
        return tuple(self._ring)

    def set_tick(self, tick_e8: int | None) -> None:
        """The symbol's tick size; another one begins another ring."""
        if tick_e8 != self._tick_e8:
            self._tick_e8 = tick_e8
            self.restart()

    def restart(self) -> None:
        """An epoch began or ended."""
        self._ring.clear()
        self._held = None

    def add(self, t: int, near: NearBook | None) -> None:
        """Tick t. Without a mid it has no cells, and ticks too old for the ring leave it all the same."""
        ring = self._ring
        if ring and ring[-1].ts_ns >= t * _SECOND_NS:  # the clock was set back
            ring.clear()
        while ring and ring[0].ts_ns <= (t - RING_TICKS) * _SECOND_NS:
            ring.popleft()
        if near is None or self._tick_e8 is None:
            return
        held_e8, held_mid2 = self._held or (None, None)
        height = cell_height_e8(near.mid2_e8, self._tick_e8, held_e8, held_mid2)
        if held_mid2 is None or not _stays(near.mid2_e8, held_mid2):
            self._held = height, near.mid2_e8
        if height != held_e8:
            ring.clear()
        ring.append(_cells(t, near, height))


def _cells(t: int, near: NearBook, height: int) -> TickCells:
    mid2 = near.mid2_e8
    low = -(-mid2 * (10_000 - REACH_BPS) // 20_000)  # the lowest price within reach, and the highest
    high = mid2 * (10_000 + REACH_BPS) // 20_000
    middle = mid2 // (2 * height)
    first, last = low // height, high // height
    bids = near.bids.prices_e8 >= low
    asks = near.asks.prices_e8 <= high
    return TickCells(
        t * _SECOND_NS,
        mid2,
        height,
        first,
        _by_cell(near.bids.prices_e8[bids], near.bids.quotes[bids], height, first, middle),
        middle,
        _by_cell(near.asks.prices_e8[asks], near.asks.quotes[asks], height, middle, last),
        near.bids.known_e8,
        near.asks.known_e8,
    )


def _by_cell(
    prices_e8: NDArray[np.int64], quotes: NDArray[np.float64], height: int, first: int, last: int
) -> NDArray[np.float64]:
    cells: NDArray[np.float64] = np.bincount(prices_e8 // height - first, quotes, last - first + 1).astype(np.float64, copy=False)
    cells.flags.writeable = False
    return cells
