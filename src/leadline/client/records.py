"""What clients are given: frozen, exact, and each with why there is nothing where there is nothing.

Prices and quantities are integers of 1e-8 (`_e8`), as everywhere; the properties without that ending are the same as Decimal.
"""

import enum
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import Struct

from leadline.core.units import decimal_text, decimal_text_e16

LIVE = "LIVE"
UNKNOWN = "UNKNOWN"  # ours: the service is not heard, so nobody can say


class News(enum.StrEnum):
    """What made an item of a stream."""

    BOOK = "book"  # the book as a whole, whatever was there before
    CHANGE = "change"  # the book moved on
    TRADES = "trades"
    QUIET = "quiet"  # nothing happened for a second; what was told still holds
    SLOW = "slow"  # this reader is behind, and nothing is lost yet
    STATUS = "status"  # how things stand: there is no live book, or whether trades come
    CONNECTION = "connection"  # the service is not heard, or its numbers did not close up


class Policy(enum.StrEnum):
    """What becomes of a reader that is slower than the market."""

    CONFLATE = "CONFLATE"  # it is told how much it missed and goes on with the present
    WARN = "WARN"  # it is told how far behind it is, and ended (SlowReader) when that is no longer held
    DISCONNECT = "DISCONNECT"  # it is ended (SlowReader)


def exact(value_e8: int) -> Decimal:
    """The number itself, whatever the context's precision is."""
    return Decimal(decimal_text(value_e8))


# Books -----------------------------------------------------------------------


class Level(NamedTuple):
    """One price with what rests there."""

    price_e8: int
    quantity_e8: int

    @property
    def price(self) -> Decimal:
        """In quote units."""
        return exact(self.price_e8)

    @property
    def quantity(self) -> Decimal:
        """In base units."""
        return exact(self.quantity_e8)


class Book(Struct, frozen=True, kw_only=True):
    """The best levels of one symbol, or why there are none.

    symbol: As the exchange names it.
    news: What made this item of a stream.
    state: LIVE: the levels equal the exchange's at `update_id`. STALE, WAITING, SYNCING: there is no live book. OFF: not
        followed, or the service stops. UNKNOWN: the service is not heard. In a stream only a LIVE book has levels; one that was
        asked for once may be STALE and have the last good ones.
    reason: Why it is not LIVE, or what else must be known of it (not_trading, unbridged); empty: nothing.
    detail: What showed it.
    instance: Which run of the service; empty: none was heard yet.
    epoch: Number of the unbroken LIVE run; never difference across two.
    seq: Number of the message in its stream; 0 beside any stream.
    update_id: The exchange's id of the last applied update; 0: none.
    exchange_time_ms: Of that update, by the exchange; None: not known.
    received_time_ms: When the service received it; None: not known.
    depth: So many levels a side were asked for.
    bids: Best first.
    asks: Best first.
    known_bid_e8: Down to here the bids are complete, below it only touched levels are known; None: complete to their end.
    known_ask_e8: Up to here the asks are complete; None: complete to their end.
    tick_size: None: not known.
    step_size: None: not known.
    origin: Where the data was born: the exchange's host, `synthetic:SEED` or `replay:NAME`; empty: not known yet.
    skipped: Changes of the view that were not given since the item before; None: some, and nobody knows how many.
    waiting: Changes that lie before a reader that is behind: the book was right at its update, and is old.
    heard_ms: Time since the exchange's connection last said anything; None: not told with this item.
    """

    symbol: str
    news: News
    state: str
    reason: str = ""
    detail: str = ""
    instance: str = ""
    epoch: int = 0
    seq: int = 0
    update_id: int = 0
    exchange_time_ms: int | None = None
    received_time_ms: int | None = None
    depth: int = 0
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    known_bid_e8: int | None = None
    known_ask_e8: int | None = None
    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    origin: str = ""
    skipped: int | None = 0
    waiting: int = 0
    heard_ms: int | None = None

    @property
    def is_live(self) -> bool:
        """It equals the exchange's at its update."""
        return self.state == LIVE

    @property
    def is_synthetic(self) -> bool:
        """No real market."""
        return self.origin.startswith("synthetic:")

    @property
    def best_bid(self) -> Level | None:
        """None: there is none."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        """None: there is none."""
        return self.asks[0] if self.asks else None

    @property
    def mid(self) -> Decimal | None:
        """Exact. None: one side is empty."""
        if not self.bids or not self.asks:
            return None
        return Decimal(decimal_text_e16((self.bids[0].price_e8 + self.asks[0].price_e8) * 50_000_000))  # half of it, at 1e-16

    @property
    def spread(self) -> Decimal | None:
        """Exact. None: one side is empty."""
        return exact(self.asks[0].price_e8 - self.bids[0].price_e8) if self.bids and self.asks else None


# Trades ----------------------------------------------------------------------


class Trade(Struct, frozen=True):
    """One aggregate trade: the fills first_id..last_id of one taker order at one price.

    backfilled: it did not come by itself, it was asked for; None where that is not told (stored trades).
    """

    symbol: str
    agg_id: int
    price_e8: int
    quantity_e8: int
    first_id: int
    last_id: int
    trade_time_ns: int
    buyer_is_maker: bool
    backfilled: bool | None = None

    @property
    def price(self) -> Decimal:
        """In quote units."""
        return exact(self.price_e8)

    @property
    def quantity(self) -> Decimal:
        """In base units."""
        return exact(self.quantity_e8)

    @property
    def aggressor(self) -> str:
        """`buy` or `sell`: what the taker did."""
        return "sell" if self.buyer_is_maker else "buy"


class Hole(Struct, frozen=True):
    """Aggregate ids from_id..to_id that are not given, and why. Where to_id is less, which ids is not known: only fills are
    missing between two neighbours, or the exchange began to count anew.
    """

    from_id: int
    to_id: int
    why: str


class TradeNews(Struct, frozen=True, kw_only=True):
    """The next trades of one symbol, or what else must be known of them.

    symbol: As the exchange names it.
    news: What made this item.
    state: LIVE: trades come. Else as for a book.
    reason: Why it is not LIVE; empty: nothing.
    instance: Which run of the service.
    seq: Number of the last thing in it.
    trades: In id order.
    holes: What is missing before these trades, or for good.
    skipped: Trades and holes that this reader was too slow for; None: some may be missing, the next trade's id tells which.
    waiting: Things that lie before a reader that is behind.
    heard_ms: Time since the exchange's connection last said anything; None: not told with this item.
    """

    symbol: str
    news: News
    state: str
    reason: str = ""
    instance: str = ""
    seq: int = 0
    trades: tuple[Trade, ...] = ()
    holes: tuple[Hole, ...] = ()
    skipped: int | None = 0
    waiting: int = 0
    heard_ms: int | None = None


# Tools -----------------------------------------------------------------------


class ToolInfo(Struct, frozen=True):
    """One question that can be asked. Schemas are JSON Schema 2020-12."""

    name: str
    help: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
