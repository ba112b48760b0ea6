"""get_exchange_info: tick, step and status as the exchange says, asked for anew unless it said so in the last minutes."""

from msgspec import Struct, structs

from leadline.core.errors import UnknownSymbol
from leadline.core.records import TRADING, SymbolRules
from leadline.core.units import decimal_text
from leadline.service.ports import MarketData
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_service
from leadline.service.queries.market import evidence, named, reached

DEFINITION = "exchange_info/1"
FRESH_S = 120.0  # so old may be what the exchange said; a running service asks each minute for what it follows


class ListedAnswer(Struct, frozen=True, kw_only=True):
    """How one symbol is traded.

    symbol: The symbol.
    status: TRADING, or why it does not trade: HALT, BREAK, END_OF_DAY, CANCEL_ONLY ...
    baseAsset: The asset that quantities are in.
    quoteAsset: The asset that prices are in.
    tickSize: Smallest step of a price; null: the exchange sets none. Older orders may rest between the steps.
    stepSize: Smallest step of a quantity; null: the exchange sets none.
    told_ms: When the exchange said so, UTC ms.
    """

    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    tickSize: str | None
    stepSize: str | None
    told_ms: int


class ExchangeInfoAnswer(Struct, frozen=True, kw_only=True):
    """How symbols are traded.

    reading: One sentence made of the fields.
    symbols: The symbol asked for, or all that are followed.
    not_listed: Followed symbols that the exchange does not list any more.
    envelope: The evidence.
    """

    reading: str
    symbols: list[ListedAnswer]
    not_listed: list[str]
    envelope: Envelope


async def get_exchange_info(desk: Desk, symbol: str | None = None, *, market: MarketData | None) -> ExchangeInfoAnswer:
    """Of one symbol, or of all that are followed. Raises UnknownSymbol, InvalidRequest, ExchangeError."""
    names = [named(symbol)] if symbol is not None else list(desk.books.symbols if desk.books is not None else ())
    exchange = reached(market)
    listed = await exchange.listed(names, FRESH_S) if names else {}
    gone = [name for name in names if name not in listed]
    if symbol is not None and gone:
        raise UnknownSymbol(gone[0], exchange.near(gone[0]))
    rows = [_row(*listed[name]) for name in names if name in listed]
    trading = sum(row.status == TRADING for row in rows)
    said = f"{len(rows)} of {len(names)} followed symbols are listed, {trading} of them trading"
    if symbol is not None:
        (row,) = rows
        said = f"{row.symbol}: {row.status}, tick {row.tickSize or 'none'}, step {row.stepSize or 'none'}"
    envelope = (
        evidence(desk, names[0], definition=DEFINITION) if symbol is not None else of_service(desk, None, definition=DEFINITION)
    )
    told_ms = min((row.told_ms for row in rows), default=None)
    return ExchangeInfoAnswer(
        reading=f"{said}.",
        symbols=rows,
        not_listed=gone,
        envelope=structs.replace(envelope, source="rest", received_time_ms=told_ms),
    )


def _row(rules: SymbolRules, told_ns: int) -> ListedAnswer:
    tick, step = (decimal_text(grid_e8) if grid_e8 else None for grid_e8 in (rules.tick_e8, rules.step_e8))
    return ListedAnswer(
        symbol=rules.symbol,
        status=rules.status,
        baseAsset=rules.base_asset,
        quoteAsset=rules.quote_asset,
        tickSize=tick,
        stepSize=step,
        told_ms=told_ns // 1_000_000,
    )
