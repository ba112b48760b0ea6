"""What the service needs of the world, as protocols. It never imports an adapter."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from leadline.core.records import DepthSnapshot, Incident, SymbolRules, SymbolSecond, Trade


class Market(Protocol):
    """The exchange's answers. Raises ExchangeError."""

    async def depth(self, symbol: str, limit: int, *, anchor: bool) -> DepthSnapshot:
        """A snapshot of at most `limit` levels a side; an anchor may wait behind everything else."""
        ...

    async def agg_trades(self, symbol: str, from_id: int, limit: int) -> Sequence[Trade]:
        """Aggregate trades from an id on, oldest first."""
        ...

    async def rules(self, symbols: Sequence[str]) -> Mapping[str, SymbolRules]:
        """What is listed of these symbols now, and how; it may wait behind everything else."""
        ...


class Stream(Protocol):
    """The exchange's streams; hands each record to the callback it was built with."""

    async def run(self) -> None:
        """Until cancelled. Reconnects by itself and says so with Disconnected."""
        ...

    def renew(self, symbol: str, why: str) -> None:
        """Replace the connection that carries this symbol."""
        ...


class RecordSink(Protocol):
    """The store's writing side. Raises StoreError."""

    def write(self, rows: Sequence[SymbolSecond], incidents: Sequence[Incident] = ()) -> list[tuple[SymbolSecond, Exception]]:
        """One atomic batch, on disk when it returns; rows that could not be encoded come back with the reason."""
        ...

    def set_rules(self, rules: SymbolRules) -> None:
        """What the exchange says of a symbol."""
        ...


class Retained(Protocol):
    """The store's ageing side. Raises StoreError."""

    def used_bytes(self) -> int:
        """All families and the log."""
        ...

    def oldest_second(self) -> int | None:
        """Of any symbol."""
        ...

    def newest_second(self) -> int | None:
        """Of any symbol."""
        ...

    def cut_before(self, cutoff_s: int, incidents_cutoff_s: int | None = None) -> int:
        """Delete what is older; returns the symbol-seconds deleted."""
        ...

    def compact(self) -> None:
        """Give the space of the last cut back to the disk."""
        ...
