"""The levels within 50 bps of the mid at a tick, as arrays: what the minute block and the ring of cells are made of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadline.core.book import Book, Ladder
from leadline.core.units import E16

REACH_BPS = 50


class NearLevels(NamedTuple):
    """One side, best last. A level just beyond 50 bps may be among them: whoever needs the edge looks.

    prices_e8: int64. quotes: value of each level. known_e8: as Ladder.known_key, a price.
    """

    prices_e8: NDArray[np.int64]
    quotes: NDArray[np.float64]
    known_e8: int | None


class NearBook(NamedTuple):
    """Both sides at a tick."""

    mid2_e8: int
    bids: NearLevels
    asks: NearLevels


def near_book(book: Book | None) -> NearBook | None:
    """Of a LIVE book with a mid, else None."""
    if book is None or book.mid2 is None:
        return None
    return NearBook(book.mid2, _near(book.bids, book.mid2), _near(book.asks, book.mid2))


def _near(side: Ladder, mid2: int) -> NearLevels:
    keys = side.keys_beyond((side.sign * mid2 - mid2 * REACH_BPS // 10_000) // 2 - 1)
    prices = np.abs(np.fromiter(keys, np.int64, len(keys)))
    quantities = np.fromiter(map(side.quantities.__getitem__, keys), np.int64, len(keys))
    known = None if side.known_key is None else side.sign * side.known_key
    return NearLevels(prices, prices * quantities.astype(np.float64) / E16, known)
