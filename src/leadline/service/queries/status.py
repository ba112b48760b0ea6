"""orderbook_health: can the books be trusted now; `ok` with a large age only means a quiet market."""

from msgspec import Struct

from leadline.core.errors import BookNotLive
from leadline.core.records import BookState, BookView, Incident
from leadline.service.queries.books import book_of
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_service, utc
from leadline.service.steps import Steps

DEFINITION = "orderbook_health/1"
HOUR_MS = 3_600_000
QUIET_MS = 30_000  # a connection that said nothing for so long, pings included, is silent
AUDIT_MS = 60_000
STORED_S = 10
GAP_KINDS = frozenset({"gap", "id_restart", "unbridged"})


class AuditAnswer(Struct, frozen=True):
    """Our best prices against the exchange's ticker.

    checks: So many updates could be compared in this run.
    mismatches: So many of them differed.
    last_mismatch: When the last one was, UTC.
    """

    checks: int
    mismatches: int
    last_mismatch: str | None


class BookHealthAnswer(Struct, frozen=True, kw_only=True):
    """One symbol's book.

    symbol: The symbol.
    state: LIVE, STALE, WAITING or SYNCING; OFF: not followed by a running service.
    reason: Why it is not LIVE, or what else must be known of it.
    epoch: Number of the unbroken LIVE run.
    update_id: The exchange's id of the last applied update.
    age_ms: Since the last applied update.
    heard_ms: Since the connection last said anything.
    known_bid_bps: How far below the mid the bids are complete, bps; null: to their end.
    known_ask_bps: How far above the mid the asks are complete, bps; null: to their end.
    gaps_1h: Breaks in the update ids in the last hour.
    resyncs_1h: Books that were lost in the last hour.
    audit: Our best prices against the ticker.
    trades: State of the trade chain: COMPLETE or MISSING.
    last_stored: Newest stored second, unix s.
    """

    symbol: str
    state: str
    reason: str | None
    epoch: int | None
    update_id: int | None
    age_ms: int | None
    heard_ms: int | None
    known_bid_bps: float | None
    known_ask_bps: float | None
    gaps_1h: int
    resyncs_1h: int
    audit: AuditAnswer | None
    trades: str | None
    last_stored: int | None


class OrderbookHealthAnswer(Struct, frozen=True, kw_only=True):
    """Can the books be trusted now; ok with a large age only means a quiet market.

    reading: One sentence made of the fields.
    status: ok, degraded or error.
    reason: What is not well; null: ok.
    timestamp: Moment of the answer, UTC ms.
    orderbook_symbols_active: So many followed symbols are LIVE.
    websocket_connected: Every connection is up and was heard in the last 30 s.
    last_update_age_ms: Since the newest applied update of any symbol; decides nothing.
    origin: Where the data is born.
    symbols: One row per symbol.
    envelope: The evidence.
    """

    reading: str
    status: str
    reason: str | None
    timestamp: int
    orderbook_symbols_active: int
    websocket_connected: bool
    last_update_age_ms: int | None
    origin: str
    symbols: list[BookHealthAnswer]
    envelope: Envelope


def orderbook_health(desk: Desk, symbol: str | None = None) -> Steps[OrderbookHealthAnswer]:
    """Now. symbol None: all. Raises UnknownSymbol."""
    followed = desk.books.symbols if desk.books is not None else ()
    names = [desk.symbol(symbol)] if symbol else list(followed) or desk.reader.symbols()
    now_ms = desk.now_ns() // 1_000_000
    rows, troubles, connected = [], [], bool(names) and desk.books is not None
    for name in names:
        row, trouble, heard = _row(desk, name, now_ms)
        rows.append(row)
        connected = connected and heard
        if trouble is not None:
            troubles.append(f"{name}: {trouble}")
        yield
    live = sum(row.state == BookState.LIVE for row in rows)
    status = "error" if not live else "degraded" if troubles else "ok"
    reason = None if status == "ok" else "; ".join(troubles[:5]) or "no symbol is followed"
    ages = [row.age_ms for row in rows if row.age_ms is not None]
    return OrderbookHealthAnswer(
        reading=f"{status}: {live} of {len(rows)} books LIVE" + (f"; {reason}." if reason else "."),
        status=status,
        reason=reason,
        timestamp=now_ms,
        orderbook_symbols_active=live,
        websocket_connected=connected,
        last_update_age_ms=min(ages, default=None),
        origin=desk.reader.meta("origin", str) or "unknown",
        symbols=rows,
        envelope=of_service(desk, names[0] if symbol else None, definition=DEFINITION),
    )


def _row(desk: Desk, symbol: str, now_ms: int) -> tuple[BookHealthAnswer, str | None, bool]:
    """The row, what is not well with it, and whether its connection is up and heard."""
    view = _view(desk, symbol)
    status = desk.books.status(symbol) if desk.books is not None and symbol in desk.books.symbols else None
    state = "OFF" if status is None else view.state.value if view is not None else "WAITING"
    reason = "no service runs here" if desk.books is None else "not followed" if status is None else None
    if status is not None and desk.books is not None:
        reason = view.reason if view is not None else desk.books.why_none(symbol)
    last_stored = desk.reader.last_second(symbol, now_ms // 1000)
    incidents = [i for i in desk.reader.incidents(symbol).rows if i.start_ms >= now_ms - HOUR_MS]
    heard = status is not None and status.connected and (status.heard_ms is not None and status.heard_ms <= QUIET_MS)
    row = BookHealthAnswer(
        symbol=symbol,
        state=state,
        reason=reason,
        epoch=None if view is None else view.epoch,
        update_id=None if view is None else view.update_id,
        age_ms=None if view is None or not view.ts_recv_ns else max(0, now_ms - view.ts_recv_ns // 1_000_000),
        heard_ms=None if status is None else status.heard_ms,
        known_bid_bps=None if view is None else _reach_bps(view, view.known_bid),
        known_ask_bps=None if view is None else _reach_bps(view, view.known_ask),
        gaps_1h=sum(incident.kind in GAP_KINDS for incident in incidents),
        resyncs_1h=sum(_took_a_book(incident) for incident in incidents),
        audit=None
        if status is None
        else AuditAnswer(
            status.audit_checks,
            status.audit_mismatches,
            None if status.last_mismatch_ms is None else utc(status.last_mismatch_ms / 1000),
        ),
        trades=None if status is None else status.trades,
        last_stored=last_stored,
    )
    trouble = None
    if state != BookState.LIVE:
        trouble = f"{state}" + (f" ({reason})" if reason else "")
    elif not heard:
        trouble = "its connection is down or silent"
    elif status is not None and status.last_mismatch_ms is not None and now_ms - status.last_mismatch_ms <= AUDIT_MS:
        trouble = "its best prices differed from the ticker's in the last minute"
    elif last_stored is None or now_ms // 1000 - last_stored > STORED_S:
        trouble = "its newest stored second is older than 10 s"
    return row, trouble, heard


def _view(desk: Desk, symbol: str) -> BookView | None:
    if desk.books is not None and symbol in desk.books.symbols:
        return desk.books.view(symbol, 1)
    try:
        return book_of(desk, symbol).view
    except BookNotLive:
        return None


def _took_a_book(incident: Incident) -> bool:
    return incident.epoch_before is not None


def _reach_bps(view: BookView, edge_e8: int | None) -> float | None:
    if edge_e8 is None or not view.bids or not view.asks:
        return None
    mid2 = view.bids[0][0] + view.asks[0][0]
    return 1e4 * abs(2 * edge_e8 - mid2) / mid2
