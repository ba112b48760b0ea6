"""What all readers of one stream share: its last events, numbered, in one ring.

`seq` rises by one with each event, and no number is used twice for the same thing while the service runs: whoever has one knows
what is missing behind it. A BookLine tells how the best levels of one book change, a Tape one thing after another.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from leadline.core.records import BookState, BookView, Level

RING = 600  # events of a book: a minute of them
TAPE = 4_096  # things on a tape
LAG_MAX = 64  # events that may lie before a reader

Levels = tuple[Level, ...]
T = TypeVar("T")


# Events ----------------------------------------------------------------------


class Snapshot(Struct, frozen=True):
    """The view as a whole, best first; known_*: edges of the known range, None: complete to the end."""

    bids: Levels
    asks: Levels
    known_bid: int | None
    known_ask: int | None


class Diff(Struct, frozen=True):
    """What changed in the view; quantity 0 removes the level. known: the known range where it changed, else None."""

    bids: Levels
    asks: Levels
    known: tuple[int | None, int | None] | None


class Status(Struct, frozen=True):
    """How things stand. state: of BookState, or OFF."""

    state: str
    reason: str
    detail: str = ""


class Items(Struct, frozen=True):
    """Things of one kind from a tape, in order."""

    items: tuple[Any, ...]


class Skipped(Struct, frozen=True):
    """Events that a slow reader does not get."""

    count: int
    from_seq: int
    to_seq: int


class Slow(Struct, frozen=True):
    """A reader is slow and has lost nothing yet. limit: so many are held."""

    waiting: int
    limit: int


class Heartbeat(Struct, frozen=True):
    """Nothing was said for a second."""


Body = Snapshot | Diff | Status | Items | Skipped | Slow | Heartbeat


class Mark(Struct, frozen=True):
    """Where a book stands. reason: why it is not LIVE, or what else must be known of it."""

    state: str
    reason: str | None
    epoch: int
    update_id: int
    ts_event_ns: int
    ts_recv_ns: int


class Event(Struct, frozen=True):
    """One message to a reader. prev_seq: `seq` of the message before it, 0 in the first. mark: of a book."""

    symbol: str
    seq: int
    prev_seq: int
    body: Body
    mark: Mark | None = None


# Lines -----------------------------------------------------------------------


class Ring(Generic[T]):
    """The last things, numbered up to `seq`, and who is called when there is one more."""

    def __init__(self, *, seq: int, limit: int) -> None:
        self.seq = seq
        self.limit = limit
        self.readers: dict[object, Callable[[], None]] = {}
        self._held: deque[T] = deque(maxlen=limit)
        self._left_seq = seq

    @property
    def first(self) -> int:
        """The oldest number that can still be had; one more than `seq` if there is none."""
        return self.seq + 1 - len(self._held)

    @property
    def is_left(self) -> bool:
        """Nobody reads, and nobody who did could go on behind what he has."""
        return not self.readers and self.seq - self._left_seq > self.limit

    def append(self, thing: T) -> None:
        """One more."""
        self.seq += 1
        self._held.append(thing)
        for woken in self.readers.values():
            woken()

    def __getitem__(self, seq: int) -> T:
        """The thing of that number, which is held."""
        return self._held[seq - self.seq - 1]

    def leave(self, reader: object) -> None:
        """One reader less."""
        self.readers.pop(reader, None)
        self._left_seq = self.seq


class Line(Protocol):
    """What a reader follows."""

    symbol: str

    @property
    def ring(self) -> Ring[Any]:
        """What it holds."""
        ...

    def opening(self, prev_seq: int) -> Event:
        """The present, for a reader that has nothing."""
        ...

    def after(self, seq: int, at_most: int) -> Event:
        """What comes behind `seq`, which is held; at most so many things."""
        ...

    def after_skip(self, prev_seq: int) -> Sequence[Event]:
        """What a reader needs to go on with the present."""
        ...

    def mark(self) -> Mark | None:
        """Where the book stands, if it is one."""
        ...


class BookLine:
    """The best levels of one book, so many as its views have. view: as of the ring's `seq`; None: no LIVE one, and why."""

    def __init__(self, symbol: str, *, seq: int, view: BookView | None, status: Status) -> None:
        self.symbol = symbol
        self.ring: Ring[Event] = Ring(seq=seq, limit=RING)
        self.view: BookView | None = None
        self.status = status
        self._bids: frozenset[Level] = frozenset()
        self._asks: frozenset[Level] = frozenset()
        if view is not None:
            self._see(view)

    def changed(self, view: BookView) -> None:
        """The LIVE book is this now."""
        before = self.view
        bids, asks = self._bids, self._asks
        self._see(view)
        if before is None or before.epoch != view.epoch:
            self._append(self._snapshot(view))
            return
        known = (view.known_bid, view.known_ask)
        diff = Diff(
            _changes(bids, self._bids) if bids is not self._bids else (),
            _changes(asks, self._asks) if asks is not self._asks else (),
            None if known == (before.known_bid, before.known_ask) else known,
        )
        if diff.bids or diff.asks or diff.known or view.reason != before.reason:
            self._append(diff)

    def lost(self, status: Status) -> None:
        """There is no LIVE book any more."""
        if self.view is None:
            return
        self.status = status
        last, self.view = self.view, None
        self._bids = self._asks = frozenset()
        self._append(status, Mark(status.state, status.reason, last.epoch, last.update_id, last.ts_event_ns, last.ts_recv_ns))

    def goes_on(self, epoch: int, seq: int) -> bool:
        """Whether a reader that has everything of this epoch up to `seq` can go on behind it."""
        if seq == self.ring.seq:
            return self.view is not None and self.view.epoch == epoch
        if not self.ring.first <= seq + 1 <= self.ring.seq:
            return False
        mark = self.ring[seq + 1].mark
        return mark is not None and mark.epoch == epoch

    def after(self, seq: int, at_most: int) -> Event:
        """The event behind `seq`, which is held."""
        return self.ring[seq + 1]

    def opening(self, prev_seq: int) -> Event:
        """A Snapshot, or a Status where there is no LIVE book."""
        view = self.view
        body: Body = self.status if view is None else self._snapshot(view)
        return Event(self.symbol, self.ring.seq, prev_seq, body, self.mark())

    def after_skip(self, prev_seq: int) -> Sequence[Event]:
        """The book anew."""
        return (self.opening(prev_seq),)

    def mark(self) -> Mark:
        """Where the book stands."""
        view = self.view
        if view is None:
            return Mark(self.status.state, self.status.reason, 0, 0, 0, 0)
        return Mark(view.state.value, view.reason, view.epoch, view.update_id, view.ts_event_ns, view.ts_recv_ns)

    def _see(self, view: BookView) -> None:
        assert view.state is BookState.LIVE, "readers are given LIVE books"
        before, self.view = self.view, view
        if before is None or before.bids != view.bids:
            self._bids = frozenset(view.bids)
        if before is None or before.asks != view.asks:
            self._asks = frozenset(view.asks)

    @staticmethod
    def _snapshot(view: BookView) -> Snapshot:
        return Snapshot(view.bids, view.asks, view.known_bid, view.known_ask)

    def _append(self, body: Body, mark: Mark | None = None) -> None:
        seq = self.ring.seq
        self.ring.append(Event(self.symbol, seq + 1, seq, body, mark or self.mark()))


class Tape:
    """One thing after another; numbers count things. status: how things stand, for a reader that begins."""

    def __init__(self, symbol: str, *, seq: int, status: Callable[[], Status]) -> None:
        self.symbol = symbol
        self.ring: Ring[Any] = Ring(seq=seq, limit=TAPE)
        self._status = status

    def goes_on(self, seq: int) -> bool:
        """Whether a reader that has everything up to `seq` can go on behind it."""
        return self.ring.first <= seq + 1 <= self.ring.seq + 1

    def after(self, seq: int, at_most: int) -> Event:
        """The things behind `seq`, which is held, as long as they are of one kind."""
        last = min(seq + at_most, self.ring.seq)
        items = [self.ring[seq + 1]]
        kind = type(items[0])
        while seq + len(items) < last and type(item := self.ring[seq + len(items) + 1]) is kind:
            items.append(item)
        return Event(self.symbol, seq + len(items), seq, Items(tuple(items)))

    def opening(self, prev_seq: int) -> Event:
        """How things stand."""
        return Event(self.symbol, self.ring.seq, prev_seq, self._status())

    def after_skip(self, prev_seq: int) -> Sequence[Event]:
        """Nothing: what was skipped is gone."""
        return ()

    def mark(self) -> None:
        """It is no book."""
        return


def _changes(before: frozenset[Level], after: frozenset[Level]) -> Levels:
    """New and changed levels, and with quantity 0 those that are in the view no more; by price."""
    new = after - before
    gone = {price for price, _ in before - after} - {price for price, _ in new}
    return tuple(sorted([*new, *((price, 0) for price in gone)]))
