"""get_orderbook: the best levels a side, from our book where it is LIVE and known that deep, else from the exchange."""

from msgspec import Struct

from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.core.records import BookState, DepthSnapshot, Level
from leadline.service.ports import MarketData
from leadline.service.queries.books import Found, book_of
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, KnownRange, of_view
from leadline.service.queries.market import evidence, named, reached

DEFINITION = "orderbook/1"
DEPTHS = (5, 10, 20, 50, 100, 500, 1000, 5000)


class OrderbookAnswer(Struct, frozen=True, kw_only=True):
    """The best levels a side. A side with fewer than `limit` is complete.

    reading: One sentence made of the fields.
    symbol: The symbol.
    limit: Most levels a side that were asked for.
    lastUpdateId: The exchange's id of the last update that is in it.
    bids: [price, quantity] of each level, best first.
    asks: The same of the asks.
    envelope: The evidence; source says whether it is our live book or the exchange's answer.
    """

    reading: str
    symbol: str
    limit: int
    lastUpdateId: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    envelope: Envelope


async def get_orderbook(desk: Desk, symbol: str, *, limit: int = 100, market: MarketData | None) -> OrderbookAnswer:
    """Now. Raises UnknownSymbol, InvalidRequest, ExchangeError."""
    symbol = named(symbol)
    if limit not in DEPTHS:
        raise InvalidRequest("limit", str(limit), ", ".join(map(str, DEPTHS)))
    if (found := _live(desk, symbol, limit)) is not None:
        view = found.view
        envelope = of_view(desk, view, source=found.source, definition=DEFINITION)
        return _answer(symbol, limit, view.update_id, view.bids, view.asks, desk.grid(symbol), envelope)
    snapshot = await reached(market).orderbook(symbol, limit)
    grid = desk.grid(symbol)
    envelope = evidence(
        desk, symbol, definition=DEFINITION, update_id=snapshot.update_id, known_range=_known_range(snapshot, grid)
    )
    return _answer(symbol, limit, snapshot.update_id, snapshot.bids, snapshot.asks, grid, envelope)


def _live(desk: Desk, symbol: str, limit: int) -> Found | None:
    """Our book, if the exchange could say no more: LIVE, and each side known for `limit` levels or to its end."""
    if desk.books is None or symbol not in desk.books.symbols:
        return None
    try:
        found = book_of(desk, symbol, levels=limit)
    except BookNotLive:
        return None
    deep = all(side.known_outward is None or side.n_known >= limit for side in (found.sides.bids, found.sides.asks))
    return found if deep and found.view.state is BookState.LIVE else None


def _known_range(snapshot: DepthSnapshot, grid: Grid) -> KnownRange:
    """A side with as many levels as were to be had may go on behind the last one."""
    bid, ask = (levels[-1][0] if len(levels) >= snapshot.limit else None for levels in (snapshot.bids, snapshot.asks))
    return KnownRange(*(None if edge is None else grid.price(edge) for edge in (bid, ask)))


def _answer(
    symbol: str, limit: int, update_id: int, bids: tuple[Level, ...], asks: tuple[Level, ...], grid: Grid, envelope: Envelope
) -> OrderbookAnswer:
    def rows(side: tuple[Level, ...]) -> list[tuple[str, str]]:
        return [(grid.price(price), grid.quantity(quantity)) for price, quantity in side]

    bid, ask = (grid.price(side[0][0]) if side else "nothing" for side in (bids, asks))
    return OrderbookAnswer(
        reading=f"{symbol}: {bid} bid, {ask} asked; {len(bids)} bids and {len(asks)} asks, {_from(envelope)}.",
        symbol=symbol,
        limit=limit,
        lastUpdateId=update_id,
        bids=rows(bids),
        asks=rows(asks),
        envelope=envelope,
    )


def _from(envelope: Envelope) -> str:
    return "from our live book" if envelope.source == "live" else "as the exchange answered"
