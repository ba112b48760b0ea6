"""What a window of the store is answered with: rows or columns, and the holes between them."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

T = TypeVar("T")


class Hole(Struct, frozen=True):
    """Seconds [lo_s, hi_s) in which stored rows may be missing from the answer.

    cause: `corrupt` (damaged block) or `unreadable` (a value that does not decode). why: for the log; it names the file.
    """

    lo_s: int
    hi_s: int
    cause: str
    why: str


class Window(Struct, Generic[T], frozen=True):
    """Rows in time order, and the holes between them."""

    rows: list[T]
    unreadable: list[Hole]


class SnapshotColumns(Struct, frozen=True):
    """seconds: (n,) int64. levels: (n, 2, 20, 2) float64: side (bid, ask), level, (price, quantity); NaN = no level."""

    seconds: NDArray[np.int64]
    levels: NDArray[np.float64]
    unreadable: list[Hole]


class SecondColumns(Struct, frozen=True):
    """seconds: (n,) int64, the key seconds. columns: by field name; shapes and units of codec.second_columns."""

    seconds: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    unreadable: list[Hole]


class TradeColumns(Struct, frozen=True, kw_only=True):
    """Blocks: seconds (m,) int64 and states (m,) uint8, 0 COMPLETE, 1 BACKFILLED, 2 MISSING; one may have no trade.

    Trades, (n,) in block and id order, exact: int64 but for the bool taker_buy. fills is last_id - first_id + 1.
    """

    seconds: NDArray[np.int64]
    states: NDArray[np.uint8]
    ts_ns: NDArray[np.int64]
    price_e8: NDArray[np.int64]
    quantity_e8: NDArray[np.int64]
    fills: NDArray[np.int64]
    taker_buy: NDArray[np.bool_]
    first_id: NDArray[np.int64]
    last_id: NDArray[np.int64]
    unreadable: list[Hole]


def slices(lo: int, hi: int, step: int) -> Iterator[tuple[int, int]]:
    """[lo, hi) in windows of at most `step` seconds."""
    for start in range(lo, hi, step):
        yield start, min(start + step, hi)
