"""Live books, trades, seconds and losses to many readers, without waiting for any of them.

The hub is told what happens, synchronously; it works a change out once for all who look at the same view, and not at all where
nobody looks. A reader is a place in the rings of what it follows (service/lines.py), not a queue: a slow one holds nothing, and
when it comes back it is told by the policy it chose what became of what it missed.
"""

import asyncio
import enum
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct, structs

from leadline.clock import Clock
from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.core.records import BookState, BookView, Incident, SymbolSecond, Trade
from leadline.service.lines import LAG_MAX, BookLine, Event, Heartbeat, Line, Skipped, Slow, Status, Tape
from leadline.service.queries.desk import Books

DEPTHS = (5, 20, 100, 1000)
HEARTBEAT_S = 1.0
BEAT_S = 0.25  # how often it is looked who needs a heartbeat
TRADES_A_MESSAGE = 32
SERVICE = "*"
OFF = "OFF"
STOPPING = "stopping"


class Policy(enum.StrEnum):
    """What becomes of a reader that is too slow. LATEST: it wants nothing but the present anyway."""

    CONFLATE = "CONFLATE"
    WARN = "WARN"
    DISCONNECT = "DISCONNECT"
    LATEST = "LATEST"


class Position(Struct, frozen=True):
    """Where a reader left off."""

    instance: str
    seq: int
    depth: int = 0
    epoch: int = 0


class TradesGone(Struct, frozen=True):
    """Aggregate ids from_id..to_id that could not be had; none if to_id is less."""

    from_id: int
    to_id: int
    why: str


class Ended(Struct, frozen=True):
    """Why a reader gets nothing more. waiting: events before one that was too slow; 0: the service stops."""

    waiting: int = 0


class Cursor:
    """A reader's place on one line. seq: of the last message it was given; None: it has had none."""

    __slots__ = ("_allowed", "_at_most", "_lag_max", "beat", "line", "seq", "told_at")

    def __init__(self, line: Line, *, seq: int | None, at_most: int, now: float) -> None:
        self.line = line
        self.seq = seq
        self.told_at = now
        self.beat = False
        self._at_most = at_most
        self._lag_max = LAG_MAX * at_most
        # Whoever goes on behind an old place is behind from the start: that is no slowness.
        self._allowed = self._lag_max + (0 if seq is None else line.ring.seq - seq)

    @property
    def pending(self) -> bool:
        """There is something to be told."""
        return self.seq != self.line.ring.seq

    def take(self, policy: Policy, now: float) -> Sequence[Event] | Ended:
        """The next messages; none if there is nothing to tell."""
        ring, beat = self.line.ring, self.beat
        self.told_at, self.beat = now, False
        if self.seq is None:
            return self._present(0)
        waiting = ring.seq - self.seq
        if not waiting:
            return (self._own(Heartbeat()),) if beat else ()
        if policy is Policy.LATEST:
            return self._present(self.seq)
        gone = self.seq + 1 < ring.first
        if gone or waiting > self._allowed:
            if policy is Policy.CONFLATE:
                return self._skip(waiting)
            if policy is Policy.DISCONNECT or gone:
                return Ended(waiting)
            self._allowed = waiting + self._lag_max
            return (self._own(Slow(waiting, ring.limit)),)
        event = self.line.after(self.seq, self._at_most)
        self.seq = event.seq
        self._allowed = max(self._lag_max, min(self._allowed, ring.seq - self.seq + self._lag_max))
        return (event,)

    def last_words(self) -> Event:
        """When nothing more will come."""
        seq, mark = self.seq or 0, self.line.mark()
        ended = None if mark is None else structs.replace(mark, state=OFF, reason=STOPPING)
        return Event(self.line.symbol, seq, seq, Status(OFF, STOPPING), ended)

    def _own(self, body: Heartbeat | Slow) -> Event:
        """A message of this reader alone: it takes no number."""
        seq = self.seq or 0
        return Event(self.line.symbol, seq, seq, body, self.line.mark())

    def _present(self, prev_seq: int) -> Sequence[Event]:
        event = self.line.opening(prev_seq)
        self.seq = event.seq
        self._allowed = self._lag_max
        return (event,)

    def _skip(self, count: int) -> Sequence[Event]:
        assert self.seq is not None
        before, self.seq = self.seq, self.line.ring.seq
        self._allowed = self._lag_max
        skipped = Event(self.line.symbol, self.seq, before, Skipped(count, before + 1, self.seq), self.line.mark())
        return (skipped, *self.line.after_skip(self.seq))


class Reader:
    """One stream's places. It is read by one task; `ended` says why there is nothing more."""

    def __init__(self, cursors: Iterable[Cursor], *, policy: Policy, beats: bool, clock: Clock, skipped: Counter[str]) -> None:
        self.cursors = tuple(cursors)
        self.policy = policy
        self.beats = beats
        self.ended: Ended | None = None
        self._clock = clock
        self._skipped = skipped
        self._stopping = False
        self._wake = asyncio.Event()
        self._due = dict.fromkeys(cursor for cursor in self.cursors if cursor.pending)
        for cursor in self.cursors:
            cursor.line.ring.readers[cursor] = partial(self.due, cursor)

    def due(self, cursor: Cursor) -> None:
        """There may be something to tell."""
        if cursor not in self._due:
            self._due[cursor] = None
            self._wake.set()

    async def take(self) -> Sequence[Event]:
        """The next messages of one symbol; symbols take turns. Nothing: it is over, and `ended` says why."""
        while self.ended is None:
            if self._stopping:
                self.ended = Ended()
                return [cursor.last_words() for cursor in self.cursors]
            while self._due:
                found = self._next()
                if found:
                    return found
            if self.ended is None and not self._stopping:
                self._wake.clear()
                await self._wake.wait()
        return ()

    def _next(self) -> Sequence[Event]:
        cursor = next(iter(self._due))
        del self._due[cursor]
        found = cursor.take(self.policy, self._clock.monotonic())
        if isinstance(found, Ended):
            self.ended = found
            self._due.clear()
            self._skipped[self.policy] += found.waiting
            return ()
        for event in found:
            if isinstance(event.body, Skipped):
                self._skipped[self.policy] += event.body.count
        if cursor.pending:
            self._due[cursor] = None
        return found

    def stop(self) -> None:
        """Some last words, then nothing more."""
        self._stopping = True
        self._wake.set()

    def leave(self) -> None:
        """Nothing of it is left on any line."""
        for cursor in self.cursors:
            cursor.line.ring.leave(cursor)
        self._due.clear()


class Hub:
    """instance: of this run of the service; numbers mean nothing beyond it. books: None as long as the service starts.

    skipped: events that readers did not get, by policy.
    """

    def __init__(self, clock: Clock, *, instance: str) -> None:
        self.instance = instance
        self.books: Books | None = None
        self.skipped: Counter[str] = Counter()
        self._clock = clock
        self._views: dict[str, dict[int, BookLine]] = {}
        self._tapes: dict[tuple[str, str], Tape] = {}
        self._seqs: dict[Hashable, int] = {}  # where lines that are no more have come to
        self._readers: set[Reader] = set()
        self._stopped = False

    # What happens --------------------------------------------------------------

    def book_changed(self, symbol: str) -> None:
        """An update was applied, the book became LIVE, another one took its place, or what must be known of it changed."""
        lines = self._views.get(symbol)
        if lines is None or self.books is None:
            return
        view = self.books.view(symbol, max(lines))
        if view is None or view.state is not BookState.LIVE:
            self.book_lost(symbol, self.books.why_none(symbol))
            return
        for depth, line in list(lines.items()):
            line.changed(_cut(view, depth))
            self._forget_view(symbol, depth, line)

    def book_lost(self, symbol: str, reason: str, detail: str = "") -> None:
        """There is no LIVE book any more."""
        lines = self._views.get(symbol)
        if lines is None:
            return
        for depth, line in list(lines.items()):
            line.lost(Status(BookState.STALE.value, reason, detail))
            self._forget_view(symbol, depth, line)

    def trade(self, trade: Trade) -> None:
        """A trade was accepted, in id order."""
        self._put("trades", trade.symbol, trade)

    def trades_missing(self, symbol: str, from_id: int, to_id: int, why: str) -> None:
        """These aggregate ids will not come."""
        self._put("trades", symbol, TradesGone(from_id, to_id, why))

    def second(self, row: SymbolSecond) -> None:
        """A second was closed."""
        if row.record is not None:
            self._put("seconds", row.symbol, row.record)
        for incident in row.incidents:
            self.incident_noted(incident)

    def incident_noted(self, incident: Incident) -> None:
        """Something was lost, or such a loss ended."""
        self._put("incidents", SERVICE, incident)

    # Who reads -----------------------------------------------------------------

    def read_books(
        self,
        symbols: Sequence[str],
        depth: int,
        *,
        policy: Policy,
        resume: Mapping[str, Position] | None = None,
        beats: bool = True,
    ) -> Reader:
        """A reader of views. Raises InvalidRequest for a depth, BookNotLive for a symbol that is not followed."""
        if depth not in DEPTHS:
            raise InvalidRequest("depth", f"{depth} levels", ", ".join(map(str, DEPTHS)))
        places = {symbol: self._place(symbol, resume) for symbol in symbols}
        cursors = []
        for symbol, place in places.items():
            line = self._view_line(symbol, depth)
            known = place is not None and place.depth == depth and line.goes_on(place.epoch, place.seq)
            cursors.append(self._cursor(line, place if known else None, 1))
        return self._reader(cursors, policy, beats)

    def read_tape(
        self,
        kind: str,
        symbols: Sequence[str],
        *,
        policy: Policy,
        resume: Mapping[str, Position] | None = None,
        at_most: int = 1,
        beats: bool = True,
    ) -> Reader:
        """A reader of `trades` or `seconds` of some symbols, or of `incidents` (of SERVICE); at_most: things a message."""
        places = {symbol: None if symbol == SERVICE else self._place(symbol, resume) for symbol in symbols}
        cursors = []
        for symbol, place in places.items():
            tape = self._tape(kind, symbol)
            known = place is not None and tape.goes_on(place.seq)
            cursors.append(self._cursor(tape, place if known else None, at_most))
        return self._reader(cursors, policy, beats)

    def leave(self, reader: Reader) -> None:
        """Frees everything at once."""
        reader.leave()
        self._readers.discard(reader)

    @property
    def readers(self) -> int:
        """Streams that are read now."""
        return len(self._readers)

    def beat(self) -> None:
        """Whoever has heard nothing of a symbol for a second gets a heartbeat."""
        now = self._clock.monotonic()
        for reader in self._readers:
            for cursor in reader.cursors if reader.beats else ():
                if now - cursor.told_at >= HEARTBEAT_S:
                    cursor.beat = True
                    reader.due(cursor)

    def stop(self) -> None:
        """The service stops: last words to everyone."""
        self._stopped = True
        for reader in self._readers:
            reader.stop()

    # Inside --------------------------------------------------------------------

    def _place(self, symbol: str, resume: Mapping[str, Position] | None) -> Position | None:
        """Where to go on, if it is of this run."""
        if self.books is None:
            raise BookNotLive(symbol, "starting")
        if symbol not in self.books.symbols:
            raise BookNotLive(symbol, "not followed")
        place = None if resume is None else resume.get(symbol)
        return place if place is not None and place.instance == self.instance else None

    def _cursor(self, line: Line, place: Position | None, at_most: int) -> Cursor:
        return Cursor(line, seq=None if place is None else place.seq, at_most=at_most, now=self._clock.monotonic())

    def _reader(self, cursors: Sequence[Cursor], policy: Policy, beats: bool) -> Reader:
        reader = Reader(cursors, policy=policy, beats=beats, clock=self._clock, skipped=self.skipped)
        self._readers.add(reader)
        if self._stopped:
            reader.stop()
        return reader

    def _view_line(self, symbol: str, depth: int) -> BookLine:
        assert self.books is not None
        lines = self._views.setdefault(symbol, {})
        if depth not in lines or lines[depth].view is None:
            view = self.books.view(symbol, depth)
            live = view is not None and view.state is BookState.LIVE
            state = BookState.WAITING if view is None else view.state
            status = Status(state.value, "" if live else self.books.why_none(symbol))
            if depth in lines:
                lines[depth].status = status  # the reason may be another one than when the book was lost
            else:
                lines[depth] = BookLine(symbol, seq=self._next_seq(symbol, depth), view=view if live else None, status=status)
        return lines[depth]

    def _forget_view(self, symbol: str, depth: int, line: BookLine) -> None:
        """A view that nobody can go on with is worked out no more."""
        if line.ring.is_left or (line.view is None and not line.ring.readers):
            self._seqs[symbol, depth] = line.ring.seq
            del self._views[symbol][depth]
            if not self._views[symbol]:
                del self._views[symbol]

    def _tape(self, kind: str, symbol: str) -> Tape:
        if (kind, symbol) not in self._tapes:
            self._tapes[kind, symbol] = Tape(symbol, seq=self._next_seq(kind, symbol), status=lambda: self._heard(symbol))
        return self._tapes[kind, symbol]

    def _put(self, kind: str, symbol: str, thing: object) -> None:
        tape = self._tapes.get((kind, symbol))
        if tape is None:
            return
        tape.ring.append(thing)
        if tape.ring.is_left:
            self._seqs[kind, symbol] = tape.ring.seq
            del self._tapes[kind, symbol]

    def _next_seq(self, *line: Hashable) -> int:
        """What a new line begins with. Not where the last one ended: much may have gone by since."""
        return self._seqs.get(line, 0) + 1

    def _heard(self, symbol: str) -> Status:
        """Whether something comes over the symbol's connection."""
        if symbol == SERVICE:
            return Status(BookState.LIVE.value, "")
        connected = self.books is not None and self.books.status(symbol).connected
        return Status(BookState.LIVE.value, "") if connected else Status(BookState.WAITING.value, "disconnected")


async def beats(hub: Hub, clock: Clock) -> None:
    """Heartbeats, until cancelled."""
    while True:
        await clock.sleep_until(clock.monotonic() + BEAT_S)
        hub.beat()


def _cut(view: BookView, depth: int) -> BookView:
    if len(view.bids) <= depth and len(view.asks) <= depth:
        return view
    return structs.replace(view, bids=view.bids[:depth], asks=view.asks[:depth])
