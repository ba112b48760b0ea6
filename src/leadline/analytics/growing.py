"""Structs of columns that grow at the end and are let go at the front: a day of seconds, read as slices without a copy."""

from typing import Any, Generic, TypeVar

import numpy as np
from msgspec import Struct, structs

T = TypeVar("T", bound=Struct)

_ROWS_MIN = 256


class Growing(Generic[T]):
    """Rows in order of `t`, a field of T like all others: arrays with a row each in the first axis."""

    def __init__(self, empty: T) -> None:
        """empty: no rows; it gives the kinds and widths of the columns."""
        self._kind = type(empty)
        self._names = [field.name for field in structs.fields(empty)]
        self._held: dict[str, np.ndarray[Any, Any]] = {name: getattr(empty, name) for name in self._names}
        self._first = self._end = 0

    def append(self, part: T) -> None:
        """Rows that are all later than those held."""
        rows = len(part.t)  # type: ignore[attr-defined]  # every T has it
        if not rows:
            return
        held_t = self._held["t"]
        assert self._first == self._end or held_t[self._end - 1] < part.t[0], "rows in order of t"  # type: ignore[attr-defined]
        if self._end + rows > len(held_t):
            self._make_room(rows)
        for name in self._names:
            self._held[name][self._end : self._end + rows] = getattr(part, name)
        self._end += rows

    def _make_room(self, rows: int) -> None:
        """What was let go makes room first; a quarter as much again is kept free, so that a row is moved a few times a day."""
        held = self._end - self._first
        capacity = max(_ROWS_MIN, (held + rows) * 5 // 4)
        for name, column in self._held.items():
            fresh = np.empty((capacity, *column.shape[1:]), column.dtype)
            fresh[:held] = column[self._first : self._end]
            self._held[name] = fresh
        self._first, self._end = 0, held

    def drop_until(self, t: int) -> None:
        """Let go of the rows up to t, itself included."""
        self._first += int(np.searchsorted(self._held["t"][self._first : self._end], t, "right"))

    def between(self, after_t: int, to_t: int) -> T:
        """The rows with after_t < t <= to_t, as views to be read; what is appended later does not change them."""
        held_t = self._held["t"][self._first : self._end]
        low, high = (self._first + int(place) for place in np.searchsorted(held_t, (after_t, to_t), "right"))
        return self._kind(*(self._held[name][low:high] for name in self._names))

    @property
    def nbytes(self) -> int:
        """Memory of the columns, room to grow included."""
        return sum(column.nbytes for column in self._held.values())
