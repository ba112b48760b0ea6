"""Keep one book in step with the exchange, without doing any I/O.

The caller owns the socket, the HTTP client and the clock. It feeds this machine what happened and carries out what it gets back:

    effects = sync.update_received(update, now)
    for effect in effects: ...            # FetchSnapshot / BookReady / BookLost / BookAnchored

States
    WAITING   no update seen on this connection yet
    SYNCING   updates are buffered while a snapshot is on its way
    LIVE      the book equals the exchange's book at `book.update_id`

Invariant: `book` is readable only in LIVE. Leaving LIVE ends an epoch; nothing mends a book in place. The last good one stays
readable as `last`, for answers that say they are STALE.

A snapshot that is ahead of its stream becomes the book when the stream has come to it, not before: until then nothing shows that
it is this market's.

While LIVE a second snapshot may be asked for (`request_anchor`). It is bridged beside the live book, compared with it inside the
range both know, and takes its place: readers never see a hole, and a difference ends the epoch.

Deliberately absent: silence. A quiet symbol sends nothing, so only the connection, which also sees pings, can tell quiet from
dead.

Source: Binance, "How to manage a local order book correctly" (web-socket-streams.md, 2026-07-21).
"""

import enum
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from leadline.core.book import Book, Ladder
from leadline.core.records import BookState, DepthSnapshot, DepthUpdate

QUIET_S = 2.0  # an acknowledged stream that stays silent this long is asked for a snapshot all the same
RETRY_BASE_S = 1.0
RETRY_MAX_S = 60.0
STEADY_S = 60.0  # LIVE for less than this before the next loss counts as one more failed attempt
BUFFER_MAX = 4096
SILENT_S = 10.0  # a snapshot may be ahead of the stream by what is on its way, not by more than this
LEVELS_MAX = 20_000  # a side; memory bound, four times the deepest snapshot


class Lost(enum.StrEnum):
    """Why a book was lost."""

    GAP = "gap"
    CROSSED = "crossed"
    DISCONNECTED = "disconnected"
    ID_RESTART = "id_restart"
    UNBRIDGED = "unbridged"
    AUDIT = "audit"
    SILENT = "silent"


class Fault(Struct, frozen=True):
    """A reason to stop trusting the book, with what showed it."""

    reason: Lost
    detail: str = ""


class FetchSnapshot(Struct, frozen=True):
    """Ask the exchange for a snapshot, no earlier than `not_before`; answer with this request_id.

    anchor: for a second look beside a live book; it may wait behind everything else.
    """

    request_id: int
    attempt: int
    not_before: float
    anchor: bool = False


class BookReady(Struct, frozen=True):
    """The book is LIVE. bridged False: no update has confirmed the snapshot yet."""

    epoch: int
    update_id: int
    bridged: bool


class BookLost(Struct, frozen=True):
    """The epoch ended."""

    epoch: int
    fault: Fault


class BookAnchored(Struct, frozen=True):
    """A second snapshot took the live book's place; the counts compare both inside the range they share."""

    update_id: int
    compared: int
    missing: int
    wrong: int
    extra: int


class StreamSilent(Struct, frozen=True):
    """The exchange's book moves and its stream delivers nothing: the connection must be replaced."""

    detail: str


Effect = FetchSnapshot | BookReady | BookLost | BookAnchored | StreamSilent
Follow = Callable[[Book, DepthUpdate], Fault | None]


def follow_spot(book: Book, update: DepthUpdate) -> Fault | None:
    """Advance `book` by one update, or say why it cannot be trusted any more.

    Drop if u <= id; gap if U > id + 1; an overlap (U <= id < u) is legal because quantities are absolute.
    """
    if update.last_id <= book.update_id:
        return None
    if update.first_id > book.update_id + 1:
        return Fault(Lost.GAP, f"expected {book.update_id + 1}, got {update.first_id}")
    book.apply(update)
    return Fault(Lost.CROSSED, f"at {update.last_id}") if book.crossed else None


class BookSync:
    """Sans-I/O state machine of one symbol. `now` is monotonic seconds, given by the caller."""

    def __init__(self, *, follow: Follow = follow_spot, epoch: int = 0, buffer_max: int = BUFFER_MAX) -> None:
        self.state = BookState.WAITING
        self.epoch = epoch
        self.bridged = False
        self.lost: Fault | None = None
        self.events_dropped = 0
        self.events_applied = 0
        self.first_applied: tuple[int, int] | None = None
        self.snapshot_update_id: int | None = None
        self._follow = follow
        self._book: Book | None = None
        self._last: Book | None = None
        self._buffer: deque[DepthUpdate] = deque(
            maxlen=buffer_max
        )  # full: the oldest goes; a newer snapshot overlaps what follows
        self._request_id = 0
        self._attempt = 0
        self._flaps = 0
        self._live_since = 0.0
        self._request_open = False
        self._asked_early = False
        self._anchor_id: int | None = None
        self._anchor: Book | None = None
        self._anchor_at = self._applied_at = 0.0
        self._silent = False  # nothing but an update proves that the stream is alive again
        self._newest: tuple[int, int] | None = None  # (u, E) of the newest update of this connection
        self._heard_at = 0.0
        self._ahead: Book | None = None  # while SYNCING: a snapshot to which the stream has yet to come
        self._ahead_at, self._ahead_since_ns = 0.0, 0  # when it came, by the caller's clock and by the stream's

    # What happened ---------------------------------------------------------

    def subscribed(self, now: float) -> list[Effect]:
        """The stream was acknowledged. If it stays quiet, a snapshot is wanted all the same."""
        if self.state is not BookState.WAITING or self._silent:
            return []
        self.state, self._asked_early = BookState.SYNCING, True
        return [self._fetch(now, wait_s=QUIET_S)]

    def update_received(self, update: DepthUpdate, now: float) -> list[Effect]:
        """One diff came."""
        self._silent, self._heard_at = False, now
        if self._ids_restarted(update):
            fault = Fault(Lost.ID_RESTART, f"from {self._newest[0] if self._newest else 0} to {update.last_id}")
            self._newest = (update.last_id, update.ts_event_ns)
            return self._lose(fault, now, keep=update)
        if self._newest is None or update.last_id > self._newest[0]:
            self._newest = (update.last_id, update.ts_event_ns)
        match self.state:
            case BookState.WAITING:
                self.state = BookState.SYNCING
                self._buffer.append(update)
                return [self._fetch(now)]
            case BookState.SYNCING if self._ahead is not None:
                return self._reach_ahead(self._ahead, update, now)
            case BookState.SYNCING:
                if not self._buffer or update.last_id > self._buffer[-1].last_id:
                    self._buffer.append(update)
                if self._asked_early:  # no need to wait for silence any longer
                    self._asked_early = False
                    self._attempt = 0
                    return [self._fetch(now)]
                return []
            case _:
                return self._live_update(update, now)

    def snapshot_received(self, request_id: int, snapshot: DepthSnapshot, now: float) -> list[Effect]:
        """The answer to a FetchSnapshot. An answer to a question no longer asked changes nothing."""
        if request_id == self._anchor_id:
            return self._anchor_received(snapshot, now)
        if self.state is not BookState.SYNCING or request_id != self._request_id or not self._request_open:
            return []
        self._request_open = False
        book = Book(snapshot)
        if book.crossed:
            return [self._fetch(now)]
        dropped = applied = 0
        first: tuple[int, int] | None = None
        while self._buffer:
            update = self._buffer[0]
            before = book.update_id
            if self._follow(book, update):  # a hole, or the snapshot is older than the stream: keep the buffer from here on
                return [self._fetch(now)]
            self._buffer.popleft()
            if book.update_id == before:
                dropped += 1
            else:
                applied += 1
                first = first or (update.first_id, update.last_id)
        if self._newest is not None and book.update_id < self._newest[0]:  # the stream has said more than was kept of it
            return [self._fetch(now)]
        self.events_dropped += dropped
        self.snapshot_update_id = snapshot.update_id if self.snapshot_update_id is None else self.snapshot_update_id
        if self._newest is not None and book.update_id > self._newest[0]:
            self._ahead, self._ahead_at, self._ahead_since_ns = book, now, self._newest[1]
            return []
        return self._ready(book, applied, first, now)

    def snapshot_failed(self, request_id: int, now: float) -> list[Effect]:
        """The exchange did not answer; a start is asked for again later, an anchor is forgotten."""
        if request_id == self._anchor_id:
            self._drop_anchor()
            return []
        if self.state is BookState.SYNCING and request_id == self._request_id and self._request_open:
            self._request_open = False
            return [self._fetch(now)]
        return []

    def disconnected(self, detail: str = "") -> list[Effect]:
        """The connection ended: everything before it is over."""
        was_live = self.state is BookState.LIVE
        self._newest = None
        self._leave_live(Fault(Lost.DISCONNECTED, detail))
        self.state, self._asked_early, self._request_open, self._attempt = BookState.WAITING, False, False, 0
        return [BookLost(self.epoch, Fault(Lost.DISCONNECTED, detail))] if was_live else []

    def request_anchor(self, now: float) -> list[Effect]:
        """Ask for a second snapshot beside the live book, unless one is on its way."""
        if self.state is not BookState.LIVE or self._anchor_id is not None:
            return []
        self._request_id += 1
        self._anchor_id = self._request_id
        return [FetchSnapshot(self._request_id, 1, now, anchor=True)]

    def forget_anchor(self) -> None:
        """Nothing is to be concluded from a second snapshot any more; its answer may still come."""
        if self._anchor_id is not None:
            self._drop_anchor()

    def time_passed(self, now: float) -> list[Effect]:
        """A snapshot that stays ahead of the stream shows that the stream delivers nothing: the book is old, not quiet.

        A second one that stays ahead of a stream that delivers is forgotten: it is no judge of this book.
        """
        book, anchor, ahead = self._book, self._anchor, self._ahead
        if ahead is not None and now - max(self._ahead_at, self._heard_at) >= SILENT_S:
            newest = self._newest[0] if self._newest is not None else 0
            self.state, self._silent, self._ahead = BookState.WAITING, True, None
            return [StreamSilent(f"the exchange is at {ahead.update_id}, its stream at {newest}")]
        if book is None or anchor is None or now - self._anchor_at < SILENT_S:
            return []
        if now - self._applied_at < SILENT_S:
            self._drop_anchor()
            return []
        fault = Fault(Lost.SILENT, f"the exchange is at {anchor.update_id}, its stream at {book.update_id}")
        self._leave_live(fault)
        self.state, self._silent = BookState.WAITING, True
        return [BookLost(self.epoch, fault), StreamSilent(fault.detail)]

    def wants(self, request_id: int) -> bool:
        """Whether the answer to this request would still be used."""
        return request_id == self._anchor_id or (request_id == self._request_id and self._request_open)

    # What may be read --------------------------------------------------------

    @property
    def book(self) -> Book | None:
        """The book, in LIVE only."""
        return self._book

    @property
    def last(self) -> Book | None:
        """The last good book while there is no LIVE one; never advanced, never recorded."""
        return self._last

    @property
    def ahead_id(self) -> int | None:
        """Id of a snapshot to which the stream has yet to come, before it may be the book."""
        return None if self._ahead is None else self._ahead.update_id

    # Inside ------------------------------------------------------------------

    def _ids_restarted(self, update: DepthUpdate) -> bool:
        """Ids that fall while exchange time rises are not duplicates: such a book would freeze unseen."""
        newest = self._newest
        return newest is not None and update.last_id < newest[0] and update.ts_event_ns > newest[1]

    def _ready(self, book: Book, applied: int, first: tuple[int, int] | None, now: float) -> list[Effect]:
        self.events_applied += applied
        self.first_applied = self.first_applied or first
        self._book, self._last, self.lost, self._ahead = book, None, None, None
        self.state, self._asked_early, self._live_since = BookState.LIVE, False, now
        self.bridged = applied > 0
        self.epoch += 1
        return [BookReady(self.epoch, book.update_id, self.bridged)]

    def _reach_ahead(self, ahead: Book, update: DepthUpdate, now: float) -> list[Effect]:
        """The stream comes nearer to a snapshot that is ahead of it, comes to it, or shows that they do not belong together."""
        before = ahead.update_id
        fault = self._follow(ahead, update)
        if fault is None and update.last_id >= before:
            applied = ahead.update_id > before
            self.events_dropped += not applied
            return self._ready(ahead, int(applied), (update.first_id, update.last_id) if applied else None, now)
        if fault is None:
            self.events_dropped += 1
            # By the stream's own time, and longer each time: one that is late itself must be able to come to it.
            if update.ts_event_ns - self._ahead_since_ns < SILENT_S * 1e9 * self._attempt:
                return []
        self._ahead = None
        self._buffer.append(update)
        return [self._fetch(now)]

    def _live_update(self, update: DepthUpdate, now: float) -> list[Effect]:
        book = self._book
        assert book is not None
        before = book.update_id
        if not self.bridged and update.last_id < before:  # of a stream that was silent until now: it may be another market's book
            return self._lose(
                Fault(Lost.UNBRIDGED, f"a snapshot of {before}, and the stream is at {update.last_id}"), now, keep=update
            )
        fault = self._follow(book, update)
        if fault is not None:
            if not self.bridged and fault.reason is Lost.GAP:  # the snapshot of a quiet symbol proves stale
                fault = Fault(Lost.UNBRIDGED, fault.detail)
            return self._lose(fault, now, keep=update)
        if book.update_id == before:
            self.events_dropped += 1
            return []
        self.events_applied += 1
        self.first_applied = self.first_applied or (update.first_id, update.last_id)
        self.bridged, self._applied_at = True, now
        if self._anchor_id is None:
            return []
        self._buffer.append(update)  # retained for the bridge of the anchor
        return self._bridge_anchor(now) if self._anchor is not None else []

    def _anchor_received(self, snapshot: DepthSnapshot, now: float) -> list[Effect]:
        anchor = Book(snapshot)
        if anchor.crossed:  # no such book exists on the exchange, so it is no judge of ours
            self._drop_anchor()
            return []
        self._anchor, self._anchor_at = anchor, now
        return self._bridge_anchor(now)

    def _bridge_anchor(self, now: float) -> list[Effect]:
        """Advance the second book to the live one's id, compare, swap. Not there yet: wait. Cannot be bridged: forget it."""
        book, anchor = self._book, self._anchor
        assert book is not None and anchor is not None
        while self._buffer:
            if self._follow(anchor, self._buffer[0]) is not None:
                self._drop_anchor()
                return []
            self._buffer.popleft()
        if anchor.update_id < book.update_id:  # older than all that was retained
            self._drop_anchor()
            return []
        if anchor.update_id > book.update_id:  # ahead of the stream
            return []
        compared, missing, wrong, extra = _differences(book, anchor)
        self._drop_anchor()
        if missing or wrong or extra:
            fault = Fault(Lost.AUDIT, f"{missing} missing, {wrong} wrong, {extra} extra of {compared} at {book.update_id}")
            return self._lose(fault, now, keep=None)
        self._book = anchor
        return [BookAnchored(anchor.update_id, compared, missing, wrong, extra)]

    def _drop_anchor(self) -> None:
        self._anchor_id = self._anchor = None
        self._buffer.clear()

    def _lose(self, fault: Fault, now: float, keep: DepthUpdate | None) -> list[Effect]:
        was_live = self.state is BookState.LIVE
        if was_live:  # the first loss is answered at once; losses in quick succession back off
            self._flaps = 0 if now - self._live_since >= STEADY_S else self._flaps
            self._attempt = self._flaps
            self._flaps += 1
        self._leave_live(fault)
        self.state, self._asked_early = BookState.SYNCING, False
        if keep is not None:
            self._buffer.append(keep)
        return [*([BookLost(self.epoch, fault)] if was_live else []), self._fetch(now)]

    def _leave_live(self, fault: Fault) -> None:
        if self._book is not None:
            # A crossed book is no good book: nobody is shown it.
            self._last, self.lost = (None if self._book.crossed else self._book), fault
        self._book, self._ahead, self.bridged = None, None, False
        self._drop_anchor()

    def _fetch(self, now: float, wait_s: float | None = None) -> FetchSnapshot:
        """First try at once, then 1, 2, 4 ... s. (The caller adds jitter and the weight budget.)"""
        self._request_id += 1
        self._attempt += 1
        self._request_open = True
        if wait_s is None:
            wait_s = 0.0 if self._attempt == 1 else min(RETRY_BASE_S * 2 ** min(self._attempt - 2, 16), RETRY_MAX_S)
        return FetchSnapshot(self._request_id, self._attempt, now + wait_s)


def _differences(book: Book, other: Book) -> tuple[int, int, int, int]:
    """(compared, missing, wrong, extra): levels of `other` against `book` inside the range both know."""
    compared = missing = wrong = extra = 0
    for mine, theirs in ((book.bids, other.bids), (book.asks, other.asks)):
        edges = [key for key in (mine.known_key, theirs.known_key) if key is not None]
        here, there = _inside(mine, edges), _inside(theirs, edges)
        compared += len(here.keys() | there.keys())
        missing += len(there.keys() - here.keys())
        extra += len(here.keys() - there.keys())
        wrong += sum(here[key] != there[key] for key in here.keys() & there.keys())
    return compared, missing, wrong, extra


def _inside(side: Ladder, edges: list[int]) -> dict[int, int]:
    low = max(edges, default=None)
    return {key: quantity for key, quantity in side.quantities.items() if low is None or key >= low}
