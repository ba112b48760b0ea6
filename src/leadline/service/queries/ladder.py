"""orderbook_l2: resting size by price, cut as asked for; rows flagged incomplete may miss levels."""

from decimal import Decimal, InvalidOperation

from msgspec import Struct

from leadline.analytics import ladder as analytics
from leadline.analytics.ladder import LEVELS_MAX, Encoding, encoded
from leadline.core.errors import InvalidRequest
from leadline.core.records import TOP_LEVELS
from leadline.core.units import E8, NotExact, fixed
from leadline.service.queries.books import LEVELS_ALL, MAX_AGE_MS, book_of
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_view
from leadline.service.steps import Steps

DEFINITION = "orderbook_l2/1"


class CutByAnswer(Struct, frozen=True):
    """What ended each side: levels, bps, notional or book_end.

    bids: Of the bids.
    asks: Of the asks.
    """

    bids: str
    asks: str


class OrderbookL2Answer(Struct, frozen=True, kw_only=True):
    """Resting size by price; rows flagged incomplete may miss levels.

    reading: One sentence made of the fields.
    symbol: The symbol.
    timestamp: Time of the last event, UTC ms.
    bids: [price, quantity] of each row, best first; text, or integers times the scales.
    asks: The same of the asks.
    price_scale: Power of ten that makes every price here a whole number.
    qty_scale: Power of ten that makes every quantity here a whole number.
    price_step: Height of a row, quote; null: rows are levels.
    encoding: decimal or integer.
    levels: Most rows a side that were asked for.
    bids_complete: All bid rows lie inside the known range.
    asks_complete: All ask rows lie inside the known range.
    cut_by: What ended each side.
    bid_quote_total: Value of the bid rows, quote.
    ask_quote_total: Value of the ask rows, quote.
    reasons: Field -> reason code, for rows that cannot be told.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    timestamp: int
    bids: list[tuple[str | int, str | int]]
    asks: list[tuple[str | int, str | int]]
    price_scale: int
    qty_scale: int
    price_step: str | None
    encoding: str
    levels: int
    bids_complete: bool
    asks_complete: bool
    cut_by: CutByAnswer
    bid_quote_total: str
    ask_quote_total: str
    reasons: dict[str, str]
    envelope: Envelope


def orderbook_l2(
    desk: Desk,
    symbol: str,
    *,
    levels: int = TOP_LEVELS,
    max_bps: str | float | None = None,
    max_notional: str | float | None = None,
    price_step: str | None = None,
    encoding: str = Encoding.DECIMAL.value,
    max_age_ms: int = MAX_AGE_MS,
) -> Steps[OrderbookL2Answer]:
    """Now. Raises UnknownSymbol, InvalidRequest, BookNotLive."""
    symbol = desk.symbol(symbol)
    grid = desk.grid(symbol)
    if encoding not in {one.value for one in Encoding}:
        raise InvalidRequest("encoding", repr(encoding), "decimal, integer")
    width = None if max_bps is None else _decimal("max_bps", max_bps)
    notional = None if max_notional is None else exact_e8("max_notional", max_notional)
    step = None if price_step is None else exact_e8("price_step", price_step)
    narrow = width is None and notional is None and step is None
    yield
    found = book_of(desk, symbol, levels=LEVELS_MAX + 1 if narrow else LEVELS_ALL, max_age_ms=max_age_ms)
    rows = analytics.orderbook_l2(
        found.sides,
        tick_e8=grid.tick_e8,
        levels=levels,
        max_bps=width,
        max_notional_e16=None if notional is None else notional * E8,
        price_step_e8=step,
    )
    text = encoded(rows, Encoding(encoding), tick_e8=grid.tick_e8, step_e8=grid.step_e8)
    sides = (("bids", rows.bids), ("asks", rows.asks))
    return OrderbookL2Answer(
        reading=f"{symbol}: {len(rows.bids.rows)} bid and {len(rows.asks.rows)} ask rows, "
        + " and ".join(f"{name} {'complete' if side.complete else 'not known to be complete'}" for name, side in sides)
        + ".",
        symbol=symbol,
        timestamp=found.view.ts_event_ns // 1_000_000,
        bids=text.bids,
        asks=text.asks,
        price_scale=text.price_scale,
        qty_scale=text.qty_scale,
        price_step=None if step is None else grid.price(step),
        encoding=encoding,
        levels=levels,
        bids_complete=rows.bids.complete,
        asks_complete=rows.asks.complete,
        cut_by=CutByAnswer(rows.bids.cut_by.value, rows.asks.cut_by.value),
        bid_quote_total=grid.quote(rows.bids.total_e16),
        ask_quote_total=grid.quote(rows.asks.total_e16),
        reasons={name: side.reason for name, side in sides if side.reason is not None},
        envelope=of_view(desk, found.view, source=found.source, definition=DEFINITION),
    )


def exact_e8(field: str, value: str | float) -> int:
    """A positive decimal, as text or a number, in units of 1e-8. Raises InvalidRequest."""
    try:
        found = fixed(f"{_decimal(field, value):f}")
    except NotExact as error:
        raise InvalidRequest(field, str(error), "a decimal with at most 8 places") from error
    if not found:
        raise InvalidRequest(field, "not above 0", "> 0")
    return found


def _decimal(field: str, value: str | float) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise InvalidRequest(field, f"not a number: {str(value)[:40]!r}", "a decimal number") from None
    if not found.is_finite() or found <= 0 or found > Decimal(10) ** 15:
        raise InvalidRequest(field, f"{str(value)[:40]}", "> 0")
    return found
