"""What a store of bytes must do. `memory.MemoryEngine` and `rocks.RocksEngine` plug in; one contract suite tests both."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

FAMILIES = ("snapshots", "seconds", "trades", "incidents", "meta", "hours")
DERIVED = ("hours",)  # made from the others: may be dropped at any time, and is missing in a store of an older program

Put = tuple[str, bytes, bytes]
"""(family, key, value)"""

Range = tuple[str, bytes, bytes]
"""(family, lo, hi): the keys in [lo, hi)"""


class Damage(NamedTuple):
    """Keys in [lo, hi) could not be read; `why` is the engine's own sentence and names the file."""

    lo: bytes
    hi: bytes
    why: str


class Scan(NamedTuple):
    """The readable rows of a range in key order, and what was damaged between them."""

    rows: list[tuple[bytes, bytes]]
    holes: list[Damage]


class Engine(Protocol):
    """Ordered bytes in families. Every method may raise StoreError."""

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        """All or nothing; deletes apply before puts. With sync it returns once the batch is on the disk."""
        ...

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None. Raises StoreCorrupt where the key's block is damaged."""
        ...

    def scan(self, family: str, lo: bytes, hi: bytes, limit: int | None = None) -> Scan:
        """Rows with lo <= key < hi, at most `limit`. Inside one symbol, damage costs its seconds and not the query."""
        ...

    def last(self, family: str, lo: bytes, upto: bytes) -> tuple[bytes, bytes] | None:
        """The row with the greatest key in [lo, upto], upto included."""
        ...

    def count(self, family: str, lo: bytes, hi: bytes) -> int:
        """Number of readable rows with lo <= key < hi."""
        ...

    def used_bytes(self) -> int:
        """Bytes on the disk (in memory: of keys and values), log included."""
        ...

    def flush(self) -> None:
        """Move what only the log holds into data files, all families."""
        ...

    def compact(self, family: str, lo: bytes, hi: bytes) -> None:
        """Give back the space of what was deleted in [lo, hi)."""
        ...

    def checkpoint(self, path: Path) -> None:
        """A consistent copy at `path`, which must not exist, on the same file system."""
        ...

    def catch_up(self) -> None:
        """A reader beside a writer sees what was written until now; for a writer nothing happens."""
        ...

    def close(self) -> None:
        """Let go of files and lock; a second call does nothing."""
        ...
