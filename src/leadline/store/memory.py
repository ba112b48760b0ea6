"""The store without a disk: tests, demonstrations, and the model that RocksDB is held against."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from pathlib import Path

from leadline.core.errors import StoreError
from leadline.store.engine import FAMILIES, Put, Range, Scan


class MemoryEngine:
    """An Engine over dicts, each with its keys in order. Nothing survives the process; for one thread."""

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = {family: {} for family in FAMILIES}
        self._keys: dict[str, list[bytes]] = {family: [] for family in FAMILIES}
        self._closed = False

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        """Deletes, then puts."""
        for family in {family for family, _, _ in (*puts, *deletes)}:
            self._family(family)  # all or nothing: an unknown family is refused before anything changes
        for family, lo, hi in deletes:
            keys, first, end = self._slice(family, lo, hi)
            for key in keys[first:end]:
                del self._values[family][key]
            del keys[first:end]
        for family, key, value in puts:
            if key not in self._values[family]:
                insort(self._keys[family], key)
            self._values[family][key] = value

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._family(family).get(key)

    def scan(self, family: str, lo: bytes, hi: bytes, limit: int | None = None) -> Scan:
        """Rows in key order; memory has no damage."""
        values = self._family(family)
        keys, first, end = self._slice(family, lo, hi)
        if limit is not None:
            end = min(end, first + limit)
        return Scan([(key, values[key]) for key in keys[first:end]], [])

    def last(self, family: str, lo: bytes, upto: bytes) -> tuple[bytes, bytes] | None:
        """The greatest key in [lo, upto]."""
        values, keys = self._family(family), self._keys[family]
        end = bisect_right(keys, upto)
        if end == 0 or keys[end - 1] < lo:
            return None
        return keys[end - 1], values[keys[end - 1]]

    def count(self, family: str, lo: bytes, hi: bytes) -> int:
        """Rows in the range."""
        self._family(family)
        _, first, end = self._slice(family, lo, hi)
        return end - first

    def used_bytes(self) -> int:
        """Length of all keys and values."""
        return sum(len(key) + len(value) for family in FAMILIES for key, value in self._family(family).items())

    def flush(self) -> None:
        """Nothing waits."""

    def compact(self, family: str, lo: bytes, hi: bytes) -> None:
        """Nothing to give back."""

    def checkpoint(self, path: Path) -> None:
        """Refused: there are no files."""
        raise StoreError("(memory)", f"has no files to copy to {path}")

    def catch_up(self) -> None:
        """Nothing to catch up with."""

    def close(self) -> None:
        """Later calls raise StoreError."""
        self._closed = True

    def _family(self, family: str) -> dict[bytes, bytes]:
        if self._closed:
            raise StoreError("(memory)", "is closed")
        if family not in self._values:
            raise StoreError("(memory)", f"has no family {family!r}")
        return self._values[family]

    def _slice(self, family: str, lo: bytes, hi: bytes) -> tuple[list[bytes], int, int]:
        keys = self._keys[family]
        first = bisect_left(keys, lo)
        return keys, first, max(first, bisect_left(keys, hi))
