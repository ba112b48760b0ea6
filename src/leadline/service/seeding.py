"""What the store knows of level sizes from the day before a start, given to the feeds hour by hour, the newest first.

A day of one symbol takes 0.1 s to read. Of 400 symbols that is too much before a start and nothing beside a running service: each
has its last hour within half a minute, and with that its thresholds.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from leadline.clock import Clock
from leadline.core.errors import StoreError
from leadline.core.sizes import DAY_S

SLICE_S = 3600
PAUSE_S = 0.05  # a slice takes about 4 ms

Sizes = Sequence[tuple[int, Sequence[float | None]]]
"""Tick of a minute block and its size_p99."""


class RecordReader(Protocol):
    """The store's reading side, as far as sizes need it."""

    def first_second(self, symbol: str) -> int | None:
        """Of the oldest record."""
        ...

    def last_second(self, symbol: str, at: int | None = None) -> int | None:
        """Of the newest record at or before `at`."""
        ...

    def seconds(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of SecondRecord."""
        ...


def stored_sizes(reader: RecordReader, symbol: str, lo: int, hi: int) -> Sizes:
    """Of the minute blocks with lo <= t < hi."""
    first, last = reader.first_second(symbol), reader.last_second(symbol, hi - 1)
    if first is None or last is None:
        return []
    found = []
    for t in range(-(-max(lo, first) // 60) * 60, last + 1, 60):
        found += [(t, row.minute.size_p99) for row in reader.seconds(symbol, t, t + 1).rows if row.minute is not None]
    return found


async def seed(
    ends: Mapping[str, int],
    *,
    read: Callable[[str, int, int], Awaitable[Sizes]],
    remember: Callable[[str, Sizes], None],
    clock: Clock,
) -> None:
    """ends: by symbol the second up to which the day reaches. read: raises StoreError; then that hour stays unknown."""
    for back_s in range(SLICE_S, DAY_S + 1, SLICE_S):
        for symbol, end in ends.items():
            with contextlib.suppress(StoreError):
                remember(symbol, await read(symbol, end - back_s, end - back_s + SLICE_S))
            await clock.sleep_until(clock.monotonic() + PAUSE_S)
