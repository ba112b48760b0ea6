"""An engine over another: what is written stays above, what was there below is seen up to one second and not beyond.

So one clean history is the past of any number of forks, and none of them changes it. Implements store.engine.Engine. What is
derived from other rows is not seen below: it may sum up what comes after the fork.
"""

from collections.abc import Sequence
from pathlib import Path

from leadline.store import keys
from leadline.store.engine import DERIVED, Engine, Put, Range, Scan
from leadline.store.memory import MemoryEngine


class OverlayEngine:
    """Own rows win. base: an engine with one symbol; its rows beyond second upto_s do not exist. `meta` is seen whole."""

    def __init__(self, base: Engine, symbol: str, upto_s: int) -> None:
        self._base = base
        self._own = MemoryEngine()
        self._edge = keys.at(symbol, upto_s) + b"\xff"  # behind the second's incidents, before the next second

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        """Into the upper layer. What is derived may be deleted, nothing else: the lower one is not to be changed."""
        assert all(family in DERIVED for family, _, _ in deletes), "a fork deletes nothing that was recorded"
        self._own.write(puts, deletes, sync=sync)

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None."""
        own = self._own.get(family, key)
        return self._base.get(family, key) if own is None and key <= self._below(family, key) else own

    def scan(self, family: str, lo: bytes, hi: bytes, limit: int | None = None) -> Scan:
        """Both layers in key order."""
        below = self._base.scan(family, lo, self._below(family, hi), limit)
        own = self._own.scan(family, lo, hi, limit).rows
        rows = below.rows + own
        if below.rows and own and own[0][0] <= below.rows[-1][0]:
            rows = sorted({**dict(below.rows), **dict(own)}.items())
        return Scan(rows if limit is None else rows[:limit], below.holes)

    def last(self, family: str, lo: bytes, upto: bytes) -> tuple[bytes, bytes] | None:
        """The greatest key in [lo, upto] of either layer."""
        found = self._base.last(family, lo, self._below(family, upto)), self._own.last(family, lo, upto)
        return max((row for row in reversed(found) if row is not None), default=None, key=lambda row: row[0])

    def count(self, family: str, lo: bytes, hi: bytes) -> int:
        """Rows of both, each key once."""
        return len(self.scan(family, lo, hi).rows)

    def used_bytes(self) -> int:
        """Of the upper layer."""
        return self._own.used_bytes()

    def flush(self) -> None:
        """Nothing waits."""

    def compact(self, family: str, lo: bytes, hi: bytes) -> None:
        """Nothing to give back."""

    def checkpoint(self, path: Path) -> None:
        """Refused: there are no files."""
        self._own.checkpoint(path)

    def catch_up(self) -> None:
        """Nothing to catch up with."""

    def close(self) -> None:
        """The upper layer alone."""
        self._own.close()

    def _below(self, family: str, key: bytes) -> bytes:
        """How far up to `key` the lower layer is looked at."""
        return key if family == "meta" else b"" if family in DERIVED else min(key, self._edge)
