"""What every answer says of itself: where it comes from, the state of the book, its age, what is there and what is missing."""

import datetime
from collections.abc import Sequence

from msgspec import Struct

from leadline.core.records import BookState, BookView, SecondRecord
from leadline.service.queries.coverage import SERVICE, Coverage, coverage
from leadline.service.queries.desk import Desk, Grid

GAPS_LISTED = 10
OLD_S = 10


class KnownRange(Struct, frozen=True):
    """Inside it the book is complete, outside only touched levels are known.

    bid_low: Lowest price down to which the bids are complete; null: to their end.
    ask_high: Highest price up to which the asks are complete; null: to their end.
    """

    bid_low: str | None
    ask_high: str | None


class Covered(Struct, frozen=True):
    """What of a window is there. Rates divide by the time covered, not by the time asked for.

    from_ms: Where the window begins, UTC ms.
    to_ms: Where it ends, UTC ms.
    expected_s: Seconds asked for.
    live_s: So many of them are there: with a live book, or, where trades are asked about, with all trades.
    ratio: live_s / expected_s, in [0, 1].
    gaps: The missing seconds as [first, first after, cause], at most the last 10.
    gaps_total: How many gaps there are.
    """

    from_ms: int
    to_ms: int
    expected_s: int
    live_s: int
    ratio: float
    gaps: list[tuple[int, int, str]]
    gaps_total: int


class Envelope(Struct, frozen=True, kw_only=True):
    """The evidence of an answer.

    symbol: The symbol asked about.
    origin: Where the data was born: the exchange's host name, synthetic:<seed> or replay:<name>.
    source: Which of ours answered: live (the book in memory), store, rest (the exchange, asked for it), or mixed.
    state: Of the book at the end of what was asked: LIVE; STALE: the last good one; WAITING, SYNCING: none yet; OFF: none, or no
    record. Of an answer about all symbols: LIVE while a service runs here.
    reason: Why it is not LIVE, or what else must be known of it.
    epoch: Number of the unbroken LIVE run; numbers of different epochs are never differenced.
    update_id: The exchange's id of the last applied update.
    exchange_time_ms: The exchange's time of that update, UTC ms.
    received_time_ms: When we received it, UTC ms.
    as_of_ms: Moment of the answer, UTC ms.
    age_ms: Since the last applied update; a quiet book is old and right.
    heard_ms: Since the connection last said anything, pings included; null without a running service.
    known_range: Prices between which the book is complete; null without a book.
    coverage: What of the window is there; null where no window was asked about.
    definition: Method and its version.
    warnings: Short sentences on what to mind.
    truncated: Rows were left out so that the answer fits.
    omitted: List -> number of rows left out.
    next: How to get the rest.
    """

    symbol: str
    origin: str
    source: str
    state: str
    reason: str | None
    epoch: int | None
    update_id: int | None
    exchange_time_ms: int | None
    received_time_ms: int | None
    as_of_ms: int
    age_ms: int | None
    heard_ms: int | None
    known_range: KnownRange | None
    coverage: Covered | None
    definition: str
    warnings: list[str]
    truncated: bool = False
    omitted: dict[str, int] = {}
    next: str | None = None


def of_window(
    desk: Desk,
    symbol: str,
    start_s: int,
    end_s: int,
    *,
    records: Sequence[SecondRecord],
    definition: str,
    warnings: Sequence[str] = (),
) -> Envelope:
    """Of a window (start_s, end_s] and its records: its seconds with a live book, the state at its end."""
    live_s = sum(record.update_id is not None for record in records)
    if live_s == end_s - start_s:
        found = Coverage(symbol, start_s + 1, end_s + 1, live_s, ())
    else:
        found = coverage(desk.reader, symbol, start_s + 1, end_s + 1)
    last = records[-1] if records and records[-1].t == end_s else None
    there = covered(found, start_s, end_s)
    return _of_record(desk, symbol, end_s, last, definition=definition, covered=there, warnings=warnings)


def of_end(
    desk: Desk, symbol: str, end_s: int, *, definition: str, covered: Covered | None, warnings: Sequence[str] = ()
) -> Envelope:
    """Of stored records up to the tick end_s."""
    rows = desk.reader.seconds(symbol, end_s, end_s + 1).rows
    record = rows[0] if rows else None
    return _of_record(desk, symbol, end_s, record, definition=definition, covered=covered, warnings=warnings)


def _of_record(
    desk: Desk,
    symbol: str,
    end_s: int,
    record: SecondRecord | None,
    *,
    definition: str,
    covered: Covered | None,
    warnings: Sequence[str],
) -> Envelope:
    grid, as_of_ms = desk.grid(symbol), desk.now_ns() // 1_000_000
    live = record is not None and record.update_id is not None
    age_ms = None if record is None or record.recv_ms is None else max(0, as_of_ms - record.recv_ms)
    notes = list(warnings)
    if as_of_ms - end_s * 1000 > OLD_S * 1000:
        notes.append("the window ends in the past: this is not the market of now")
    return Envelope(
        symbol=symbol,
        origin=desk.reader.meta("origin", str) or "unknown",
        source="store",
        state="OFF" if record is None else record.state.value,
        reason="no record of that second" if record is None else record.reason,
        epoch=None if record is None else record.epoch,
        update_id=None if record is None else record.update_id,
        exchange_time_ms=None if record is None else record.event_ms,
        received_time_ms=None if record is None else record.recv_ms,
        as_of_ms=as_of_ms,
        age_ms=age_ms,
        heard_ms=None if desk.books is None or symbol not in desk.books.symbols else desk.books.status(symbol).heard_ms,
        known_range=_range(grid, record.known_bid, record.known_ask) if live and record is not None else None,
        coverage=covered,
        definition=definition,
        warnings=notes,
    )


def of_view(
    desk: Desk, view: BookView, *, source: str, definition: str, covered: Covered | None = None, warnings: Sequence[str] = ()
) -> Envelope:
    """Of a frozen book."""
    as_of_ms = desk.now_ns() // 1_000_000
    recv_ms = view.ts_recv_ns // 1_000_000 or None
    notes = list(warnings)
    if view.state is BookState.STALE:
        notes.append("this is the last good book, shown while a new one is built")
    return Envelope(
        symbol=view.symbol,
        origin=desk.reader.meta("origin", str) or "unknown",
        source=source,
        state=view.state.value,
        reason=view.reason,
        epoch=view.epoch,
        update_id=view.update_id,
        exchange_time_ms=view.ts_event_ns // 1_000_000 or None,
        received_time_ms=recv_ms,
        as_of_ms=as_of_ms,
        age_ms=None if recv_ms is None else max(0, as_of_ms - recv_ms),
        heard_ms=None if source == "store" or desk.books is None else desk.books.status(view.symbol).heard_ms,
        known_range=_range(desk.grid(view.symbol), view.known_bid, view.known_ask),
        coverage=covered,
        definition=definition,
        warnings=notes,
    )


def of_service(desk: Desk, symbol: str | None, *, definition: str, covered: Covered | None = None) -> Envelope:
    """Of an answer that is not about one book: all symbols (`*`), or stored rows of one."""
    return Envelope(
        symbol=symbol or SERVICE,
        origin=desk.reader.meta("origin", str) or "unknown",
        source="store" if desk.books is None else "mixed",
        state="OFF" if desk.books is None else "LIVE",
        reason="no service runs here" if desk.books is None else None,
        epoch=None,
        update_id=None,
        exchange_time_ms=None,
        received_time_ms=None,
        as_of_ms=desk.now_ns() // 1_000_000,
        age_ms=None,
        heard_ms=None,
        known_range=None,
        coverage=covered,
        definition=definition,
        warnings=[],
    )


def covered(found: Coverage, start_s: int, end_s: int) -> Covered:
    """Coverage of the ticks (start_s, end_s] as it is served."""
    gaps = [(gap.from_s, gap.to_s, gap.cause) for gap in found.gaps]
    return Covered(
        from_ms=start_s * 1000,
        to_ms=end_s * 1000,
        expected_s=found.expected_s,
        live_s=found.live_s,
        ratio=found.ratio or 0.0,
        gaps=gaps[-GAPS_LISTED:],
        gaps_total=len(gaps),
    )


def _range(grid: Grid, known_bid: int | None, known_ask: int | None) -> KnownRange:
    low, high = (None if edge is None else grid.price(edge) for edge in (known_bid, known_ask))
    return KnownRange(low, high)


def utc(moment_s: float) -> str:
    """RFC 3339, UTC; milliseconds only where there are some."""
    moment = datetime.datetime.fromtimestamp(round(moment_s * 1000) / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond // 1000:03d}" if moment.microsecond else "") + "Z"
