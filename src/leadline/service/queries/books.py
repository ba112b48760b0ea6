"""The book a question is about: the live one of a running service, or the newest stored snapshot."""

from msgspec import Struct

from leadline.analytics.book_sides import Sides, sides_of
from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.core.records import TOP_LEVELS, BookState, BookView
from leadline.service.queries.desk import Desk

LEVELS_ALL = 20_001  # one more than a book holds a side
MAX_AGE_MS = 5_000
MAX_AGE_MS_MAX = 60_000


class Found(Struct, frozen=True):
    """A frozen book, its two sides, and where it is from: live or store."""

    view: BookView
    sides: Sides
    source: str


def book_of(desk: Desk, symbol: str, *, levels: int = LEVELS_ALL, max_age_ms: int = MAX_AGE_MS) -> Found:
    """The live book, or where no service runs the newest stored snapshot. Raises BookNotLive.

    max_age_ms: of a live book since its connection was last heard, of a stale one since it was lost; a stored one has any age.
    """
    if not 0 <= max_age_ms <= MAX_AGE_MS_MAX:
        raise InvalidRequest("max_age_ms", f"{max_age_ms} ms", f"0-{MAX_AGE_MS_MAX}")
    if desk.books is None:
        return _stored(desk, symbol)
    if symbol not in desk.books.symbols:
        raise BookNotLive(symbol, "not followed")
    view = desk.books.view(symbol, levels)
    status = desk.books.status(symbol)
    if view is None:
        raise BookNotLive(symbol, desk.books.why_none(symbol), status.lost_ms)
    silent_ms = status.heard_ms if view.state is BookState.LIVE else status.lost_ms
    if silent_ms is None or silent_ms > max_age_ms:
        silent = f"its connection was last heard more than {max_age_ms} ms ago"
        raise BookNotLive(symbol, view.reason or silent, None if view.state is BookState.LIVE else status.lost_ms)
    return Found(view, sides_of(view, levels), "live")


def _stored(desk: Desk, symbol: str) -> Found:
    snapshot = desk.reader.latest_snapshot(symbol)
    if snapshot is None:
        raise BookNotLive(symbol, "no snapshot is stored")
    records = desk.reader.seconds(symbol, snapshot.timestamp, snapshot.timestamp + 1).rows
    record = records[0] if records else None
    view = BookView(
        symbol,
        BookState.LIVE,
        None if record is None else record.reason,
        0 if record is None or record.epoch is None else record.epoch,
        snapshot.update_id,
        snapshot.bids,
        snapshot.asks,
        None if record is None else record.known_bid,
        None if record is None else record.known_ask,
        (0 if record is None or record.event_ms is None else record.event_ms) * 1_000_000,
        (0 if record is None or record.recv_ms is None else record.recv_ms) * 1_000_000,
    )
    return Found(view, sides_of(view, TOP_LEVELS), "store")
