"""list_symbols and get_incidents: what is followed and stored, and every loss with its cause."""

from msgspec import Struct

from leadline.core.records import Incident
from leadline.service.queries.coverage import SERVICE
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_service, utc
from leadline.service.steps import Steps


class SymbolAnswer(Struct, frozen=True, kw_only=True):
    """One symbol.

    symbol: The symbol.
    followed: Whether a running service keeps its book.
    state: LIVE, STALE, WAITING or SYNCING; OFF: not followed.
    base_asset: The asset that quantities are in.
    quote_asset: The asset that prices and quote values are in.
    tick_size: Smallest step of a price.
    step_size: Smallest step of a quantity.
    status: What the exchange says of it, e.g. TRADING.
    first_stored: Oldest stored second, unix s.
    last_stored: Newest stored second, unix s.
    """

    symbol: str
    followed: bool
    state: str
    base_asset: str | None
    quote_asset: str | None
    tick_size: str | None
    step_size: str | None
    status: str | None
    first_stored: int | None
    last_stored: int | None


class SymbolsAnswer(Struct, frozen=True, kw_only=True):
    """What is followed and what is stored.

    reading: One sentence made of the fields.
    origin: Where the data is born.
    symbols: The symbols, by name.
    envelope: The evidence.
    """

    reading: str
    origin: str
    symbols: list[SymbolAnswer]
    envelope: Envelope


def list_symbols(desk: Desk) -> Steps[SymbolsAnswer]:
    """All symbols."""
    followed = set(desk.books.symbols if desk.books is not None else ())
    rows: list[SymbolAnswer] = []
    for name in sorted({*desk.reader.symbols(), *followed}):
        rules, grid = desk.reader.rules(name), desk.grid(name)
        view = desk.books.view(name, 1) if desk.books is not None and name in followed else None
        rows.append(
            SymbolAnswer(
                symbol=name,
                followed=name in followed,
                state="OFF" if name not in followed else "WAITING" if view is None else view.state.value,
                base_asset=None if rules is None else rules.base_asset,
                quote_asset=None if rules is None else rules.quote_asset,
                tick_size=None if rules is None else grid.price(rules.tick_e8),
                step_size=None if rules is None else grid.quantity(rules.step_e8),
                status=None if rules is None else rules.status,
                first_stored=desk.reader.first_second(name),
                last_stored=desk.reader.last_second(name),
            )
        )
        yield
    live = sum(row.state == "LIVE" for row in rows)
    return SymbolsAnswer(
        reading=f"{len(rows)} symbols known, {len(followed)} followed, {live} with a LIVE book.",
        origin=desk.reader.meta("origin", str) or "unknown",
        symbols=rows,
        envelope=of_service(desk, None, definition="symbols/1"),
    )


class IncidentAnswer(Struct, frozen=True, kw_only=True):
    """One loss.

    symbol: The symbol; * is the whole service.
    kind: What was lost: gap, disconnected, outage, trades_missing and others.
    start: When it began, UTC.
    end: When it ended, UTC; null: it lasts.
    start_ms: When it began, UTC ms.
    end_ms: When it ended, UTC ms.
    cause: Why.
    detail: What showed it.
    epoch_before: Number of the run of the book that it ended.
    epoch_after: Number of the run that began after it.
    """

    symbol: str
    kind: str
    start: str
    end: str | None
    start_ms: int
    end_ms: int | None
    cause: str
    detail: str
    epoch_before: int | None
    epoch_after: int | None


class IncidentsAnswer(Struct, frozen=True, kw_only=True):
    """Losses, the newest first.

    reading: One sentence made of the fields.
    incidents: The losses.
    total: So many lie in the window; more than are listed where it was cut.
    envelope: The evidence.
    """

    reading: str
    incidents: list[IncidentAnswer]
    total: int
    envelope: Envelope


def get_incidents(
    desk: Desk, *, symbol: str | None = None, from_s: int | None = None, to_s: int | None = None, limit: int = 50
) -> Steps[IncidentsAnswer]:
    """Of a symbol and the whole service, or of all symbols. Raises UnknownSymbol."""
    names = [desk.symbol(symbol)] if symbol is not None and symbol.strip() != SERVICE else desk.reader.symbols()
    found: list[Incident] = []
    for name in dict.fromkeys([*([] if symbol is not None and symbol.strip() == SERVICE else names), SERVICE]):
        for incident in desk.reader.incidents(name).rows:
            begins_before = to_s is None or incident.start_ms < to_s * 1000
            if begins_before and (from_s is None or incident.end_ms is None or incident.end_ms >= from_s * 1000):
                found.append(incident)
        yield
    found.sort(key=lambda incident: incident.start_ms, reverse=True)
    lasting = sum(incident.end_ms is None for incident in found)
    return IncidentsAnswer(
        reading=f"{len(found)} incidents, {lasting} of them still open.",
        incidents=[
            IncidentAnswer(
                symbol=incident.symbol,
                kind=incident.kind,
                start=utc(incident.start_ms / 1000),
                end=None if incident.end_ms is None else utc(incident.end_ms / 1000),
                start_ms=incident.start_ms,
                end_ms=incident.end_ms,
                cause=incident.cause,
                detail=incident.detail,
                epoch_before=incident.epoch_before,
                epoch_after=incident.epoch_after,
            )
            for incident in found[:limit]
        ],
        total=len(found),
        envelope=of_service(desk, names[0] if symbol is not None and names else None, definition="incidents/1"),
    )
