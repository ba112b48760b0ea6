"""Where questions are asked: the stored records, the live books if the service runs, and what is remembered between questions."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from leadline.analytics.ladder import grid_text
from leadline.core.errors import UnknownSymbol
from leadline.core.records import BookView, SymbolRules, Trade, TradeHour
from leadline.core.units import decimal_text, decimal_text_e16
from leadline.service.own_histories import OwnHistories
from leadline.service.ports import MarketData
from leadline.service.trade_tally import Tallies

FRESH_S = 5  # the newest stored record may be so old before the missing ones count as missing


class Reader(Protocol):
    """The store's reading side (store.history.History)."""

    def second_columns(self, symbol: str, lo: int, hi: int, names: Sequence[str]) -> Any:
        """Object with `seconds` (n,) int64, `columns` by name, `unreadable` holes (lo_s, hi_s, cause)."""
        ...

    def seconds(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of SecondRecord."""
        ...

    def snapshots(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of BookSnapshot."""
        ...

    def snapshot_columns(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `seconds` and `levels` (n, 2, 20, 2)."""
        ...

    def latest_snapshot(self, symbol: str, at: int | None = None) -> Any:
        """The newest BookSnapshot at or before `at`, or None."""
        ...

    def trades(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of TradeBlock."""
        ...

    def trade_columns(self, symbol: str, lo: int, hi: int) -> Any:
        """Trades as exact int64 columns, in id order."""
        ...

    def last_trade(self, symbol: str, at: int | None = None) -> Trade | None:
        """The newest stored trade of the seconds up to `at`."""
        ...

    def first_trade(self, symbol: str, from_s: int) -> Trade | None:
        """The oldest stored trade of the seconds from `from_s` on."""
        ...

    def trade_hour(self, symbol: str, second: int) -> TradeHour | None:
        """The sums of the hour that begins there; None: not kept."""
        ...

    def incidents(self, symbol: str) -> Any:
        """Object with `rows` of Incident."""
        ...

    def symbols(self) -> list[str]:
        """All symbols ever stored."""
        ...

    def rules(self, symbol: str) -> SymbolRules | None:
        """What the exchange last said of the symbol."""
        ...

    def first_second(self, symbol: str) -> int | None:
        """Of the oldest record."""
        ...

    def last_second(self, symbol: str, at: int | None = None) -> int | None:
        """Of the newest record at or before `at`."""
        ...

    def meta(self, name: str, kind: Any = Any) -> Any:
        """A value by its plain name, or None."""
        ...


class BookStatus(Struct, frozen=True):
    """What a running service says of one followed symbol beside its book.

    heard_ms: since its connection last said anything. lost_ms: since its book was lost; None while LIVE or before the first.
    trades: state of its trade chain. Counts are of this run.
    """

    symbol: str
    heard_ms: int | None
    lost_ms: int | None
    connected: bool
    trades: str
    audit_checks: int
    audit_mismatches: int
    last_mismatch_ms: int | None


class Books(Protocol):
    """The live books of a running service."""

    @property
    def symbols(self) -> Sequence[str]:
        """The followed symbols."""
        ...

    def view(self, symbol: str, levels: int) -> BookView | None:
        """A frozen copy: LIVE, or the last good one flagged STALE; None before the first."""
        ...

    def why_none(self, symbol: str) -> str:
        """Why there is no LIVE book."""
        ...

    def cells(self, symbol: str) -> Sequence[Any]:
        """The last ticks in price cells, oldest first."""
        ...

    def size_thresholds(self, symbol: str) -> Sequence[float | None] | None:
        """Quote value above which a level counts as large, by distance bucket; None: too little history."""
        ...

    def status(self, symbol: str) -> BookStatus:
        """What goes with the book."""
        ...


class Desk:
    """Everything a question may need. books, market None: no service runs here, answers come from the store alone."""

    def __init__(
        self,
        reader: Reader,
        *,
        now_ns: Callable[[], int],
        books: Books | None = None,
        histories: OwnHistories | None = None,
        market: MarketData | None = None,
    ) -> None:
        self.reader = reader
        self.books = books
        self.now_ns = now_ns
        self.market = market
        self.histories = histories or OwnHistories(reader)
        self.tallies = Tallies(reader)

    def symbol(self, text: str) -> str:
        """As stored or followed. Raises UnknownSymbol with near matches."""
        name = text.strip().upper()
        known = sorted({*self.reader.symbols(), *(self.books.symbols if self.books is not None else ())})
        if name in known:
            return name
        raise UnknownSymbol(name, difflib.get_close_matches(name, known, n=5, cutoff=0.4) or known[:5], "here")

    def end_s(self, symbol: str, asked_s: int | None) -> int:
        """Last tick of a window: the one asked for, else the newest that is stored, or now where the store has fallen behind."""
        if asked_s is not None:
            return asked_s
        now_s = self.now_ns() // 1_000_000_000
        newest_s = self.reader.last_second(symbol, now_s)
        if newest_s is not None and (self.books is None or now_s - newest_s <= FRESH_S):
            return newest_s
        return now_s

    def grid(self, symbol: str) -> "Grid":
        """How the symbol's numbers are written."""
        rules = self.reader.rules(symbol)
        return Grid(1, 1, "", False) if rules is None else Grid(rules.tick_e8, rules.step_e8, rules.quote_asset, True)


class Grid(Struct, frozen=True):
    """Tick and step of a symbol, 1e-8, and its quote asset; known False: nobody has said, and numbers are written as they are."""

    tick_e8: int
    step_e8: int
    quote_asset: str
    known: bool

    def price(self, value_e8: int) -> str:
        """With the decimals of the tick, more if it lies off the grid."""
        return grid_text(value_e8, self.tick_e8) if self.known else decimal_text(value_e8)

    def quantity(self, value_e8: int) -> str:
        """With the decimals of the step; may be negative."""
        sign, size = ("-", -value_e8) if value_e8 < 0 else ("", value_e8)
        return sign + (grid_text(size, self.step_e8) if self.known else decimal_text(size))

    @staticmethod
    def quote(value_e16: int) -> str:
        """A quote value, exact."""
        return decimal_text_e16(value_e16)
