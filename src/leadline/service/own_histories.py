"""The own histories of the symbols that somebody asked about, built from stored records and kept up to date, in bounded memory.

A symbol's history is read once, a day of it, in slices; later questions add what was stored since. Beyond the bound the symbol
that nobody asked about for longest is let go, and would be built anew.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from leadline.analytics.own_history import COLUMNS, DAY_S, MINUTE_S, REACH_S, OwnHistory
from leadline.core.records import MinuteBlock
from leadline.service.steps import Steps

SLICE_S = 240  # about 5 ms of reading
BYTES_MAX = 256 * 2**20


class RecordReader(Protocol):
    """The store's reading side, as far as histories need it."""

    def second_columns(self, symbol: str, lo: int, hi: int, names: Sequence[str]) -> Any:
        """Object with `columns` by name, a row per record of [lo, hi)."""
        ...

    def seconds(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of SecondRecord."""
        ...

    def first_second(self, symbol: str) -> int | None:
        """Of the oldest record."""
        ...

    def last_second(self, symbol: str, at: int | None = None) -> int | None:
        """Of the newest record at or before `at`."""
        ...


class OwnHistories:
    """By symbol, the least used first. bytes_max: of all together; the one that is asked about is always kept."""

    def __init__(self, reader: RecordReader, *, bytes_max: int = BYTES_MAX) -> None:
        self._reader = reader
        self._bytes_max = bytes_max
        self._held: OrderedDict[str, OwnHistory] = OrderedDict()

    def upto(self, symbol: str, start_s: int, end_s: int) -> Steps[OwnHistory]:
        """The history that covers a window (start_s, end_s] and the day before it, as far as records are stored."""
        history = self._held.get(symbol)
        first_s = (self._reader.first_second(symbol) or end_s) - 1
        if history is None or history.from_s > max(start_s - DAY_S, first_s) or end_s < history.to_s - REACH_S:
            history = self._held[symbol] = OwnHistory(max(start_s - DAY_S - MINUTE_S, first_s))
        self._held.move_to_end(symbol)
        # What is stored late must not be passed over: the history ends where the records do.
        newest_s = self._reader.last_second(symbol, end_s)
        while newest_s is not None and history.to_s < newest_s:
            to_s = min(history.to_s + SLICE_S, newest_s)
            history.add(
                to_s,
                self._reader.second_columns(symbol, history.to_s + 1, to_s + 1, COLUMNS).columns,
                self._minutes(symbol, history.to_s, to_s),
            )
            self._let_go(symbol)
            yield
        return history

    def _minutes(self, symbol: str, after_s: int, to_s: int) -> list[tuple[int, MinuteBlock]]:
        """The blocks of the minutes that end in it."""
        first = after_s // MINUTE_S * MINUTE_S + MINUTE_S
        rows = [row for t in range(first, to_s + 1, MINUTE_S) for row in self._reader.seconds(symbol, t, t + 1).rows]
        return [(row.t, row.minute) for row in rows if row.minute is not None]

    def _let_go(self, asked: str) -> None:
        while len(self._held) > 1 and self.nbytes > self._bytes_max:
            symbol = next(iter(self._held))
            if symbol == asked:
                break
            del self._held[symbol]

    @property
    def nbytes(self) -> int:
        """Memory of all of them."""
        return sum(history.nbytes for history in self._held.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols held, the least used first."""
        return tuple(self._held)
