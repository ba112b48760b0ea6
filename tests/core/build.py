"""Short ways to say records in tests: prices and quantities as decimal text or numbers, times in seconds."""

from collections.abc import Iterable
from decimal import Decimal

from leadline.core.book import Book
from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, Level, Trade

SYMBOL = "BTCUSDT"
Number = str | int | float
Pairs = Iterable[tuple[Number, Number]]


def e8(number: Number) -> int:
    """A decimal number in units of 1e-8, by Decimal."""
    scaled = Decimal(str(number)) * 10**8
    assert scaled == int(scaled), number
    return int(scaled)


def levels(pairs: Pairs) -> tuple[Level, ...]:
    return tuple((e8(price), e8(quantity)) for price, quantity in pairs)


def ns(seconds: Number) -> int:
    return int(Decimal(str(seconds)) * 10**9)


def update(
    first: int, last: int, bids: Pairs = (), asks: Pairs = (), *, at: Number = 0, recv: Number | None = None
) -> DepthUpdate:
    """One diff; at: event time, recv: receive time (else the same), both in seconds."""
    return DepthUpdate(SYMBOL, first, last, ns(at), ns(at if recv is None else recv), levels(bids), levels(asks))


def snapshot(update_id: int, bids: Pairs = (), asks: Pairs = (), *, limit: int = 5000) -> DepthSnapshot:
    return DepthSnapshot(SYMBOL, update_id, levels(bids), levels(asks), limit)


def book(bids: Pairs = (), asks: Pairs = (), *, update_id: int = 1, limit: int = 5000) -> Book:
    return Book(snapshot(update_id, bids, asks, limit=limit))


def quote(update_id: int, bid: Number, bid_qty: Number, ask: Number, ask_qty: Number, *, recv: Number = 0) -> BestQuote:
    return BestQuote(SYMBOL, update_id, e8(bid), e8(bid_qty), e8(ask), e8(ask_qty), ns(recv))


def trade(
    agg_id: int,
    price: Number = 100,
    quantity: Number = 1,
    *,
    at: Number = 0,
    buys: bool = True,
    first: int | None = None,
    last: int | None = None,
    recv: Number | None = None,
) -> Trade:
    """One aggregate trade at trade time `at` seconds; fills default to one, with the aggregate's own id."""
    first = agg_id if first is None else first
    return Trade(
        SYMBOL,
        agg_id,
        e8(price),
        e8(quantity),
        first,
        first if last is None else last,
        ns(at),
        not buys,
        ns(at),
        ns(at if recv is None else recv),
    )
