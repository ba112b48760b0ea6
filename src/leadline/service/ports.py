"""What the service needs of the world, as protocols. It never imports an adapter."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

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


class MarketData(Protocol):
    """What people ask the exchange for: last in line, and never waiting.

    Raises UnknownSymbol, and ExchangeError: RateLimited where the budget is needed for recording, Malformed for a wrong answer.
    Names end in `_e8` (integers of 1e-8, volumes without a bound) or `_ms` (UTC).
    """

    async def ticker(self, symbol: str) -> Any:
        """The rolling 24 hours: symbol, open_ms, close_ms, volume_e8 (base), quote_e8, trades; None where nothing traded:
        change_e8, change_percent_e8, average_e8, previous_close_e8, last_e8, last_quantity_e8, open_e8, high_e8, low_e8,
        first_id, last_id; bid, ask: Level, None where no order rests.
        """
        ...

    async def orderbook(self, symbol: str, limit: int) -> DepthSnapshot:
        """At most `limit` levels a side."""
        ...

    async def recent_trades(self, symbol: str, limit: int) -> Sequence[Any]:
        """The latest, oldest first: trade_id, price_e8, quantity_e8, quote_e8, ts_trade_ms, buyer_is_maker, best_match."""
        ...

    async def klines(self, symbol: str, interval: str, limit: int, start_ms: int | None, end_ms: int | None) -> Sequence[Any]:
        """Candles that open in [start_ms, end_ms], oldest first, from start_ms on or else the last: open_ms, open_e8, high_e8,
        low_e8, close_e8, volume_e8 (base), close_ms, quote_e8, trades, taker_buy_e8 (base), taker_buy_quote_e8.
        """
        ...

    async def average_price(self, symbol: str) -> Any:
        """Average by volume: minutes; price_e8, None if never traded; close_ms of the last trade, or None."""
        ...

    async def listed(self, symbols: Sequence[str], fresh_s: float) -> Mapping[str, tuple[SymbolRules, int]]:
        """Rules of those that are listed, and when the exchange said so (wall ns); asked anew if one is older than fresh_s."""
        ...

    def near(self, symbol: str) -> Sequence[str]:
        """Names like this one, the closest first; none where none are known."""
        ...


class Listener(Protocol):
    """Who is told at once what happens to books, trades and seconds; called synchronously, and must not wait."""

    def book_changed(self, symbol: str) -> None:
        """The book moved on, or what must be known of it changed."""
        ...

    def book_lost(self, symbol: str, reason: str, detail: str = "") -> None:
        """There is no LIVE book any more."""
        ...

    def trade(self, trade: Trade) -> None:
        """A trade was accepted, in id order."""
        ...

    def trades_missing(self, symbol: str, from_id: int, to_id: int, why: str) -> None:
        """These aggregate ids will not come."""
        ...

    def second(self, row: SymbolSecond) -> None:
        """A second was closed."""
        ...

    def incident_noted(self, incident: Incident) -> None:
        """Something was lost that is not told with a second."""
        ...


class Nobody:
    """A Listener that does not listen."""

    def book_changed(self, symbol: str) -> None:
        """Nothing."""

    def book_lost(self, symbol: str, reason: str, detail: str = "") -> None:
        """Nothing."""

    def trade(self, trade: Trade) -> None:
        """Nothing."""

    def trades_missing(self, symbol: str, from_id: int, to_id: int, why: str) -> None:
        """Nothing."""

    def second(self, row: SymbolSecond) -> None:
        """Nothing."""

    def incident_noted(self, incident: Incident) -> None:
        """Nothing."""


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
