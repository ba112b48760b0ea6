"""Two connections with the same streams, made into one sequence without a hole: the successor takes over, stream by stream.

What the old connection says is handed on as it comes, and what its successor says is held until it joins: until nothing can lie
between what was handed on and the first event held. From then on the successor alone is heard. Event borders differ between
connections, so events are joined by the exchange's own ids and never paired (docs/exchange.md).

Pure: events, acknowledgements and monotonic seconds go in, what to hand on comes out, in order.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from itertools import dropwhile

from leadline.core.records import BestQuote, DepthUpdate, Disconnected, MarketEvent, Subscribed, Trade

Event = DepthUpdate | BestQuote | Trade
Key = tuple[type, str]  # kind of event and symbol: one stream

SETTLE_S = 5.0  # after the ACK all that is new comes on the successor; the old may bring for so long what was on its way
HELD_MAX = 4096  # events of one stream; full: the oldest goes, as in the core's own buffer
BEHIND = f"the old connection stayed more than {SETTLE_S:g} s behind its successor"


class _Seam:
    """One stream. last: id handed on last; newest: last id of the successor; held: its events since held_at, without a hole."""

    __slots__ = ("held", "held_at", "last", "newest", "switched")

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.newest: int | None = None
        self.held: deque[Event] = deque(maxlen=HELD_MAX)
        self.held_at = 0.0
        self.switched = False


class Handover:
    """One handover of all streams of some symbols. passed: the last event of each stream that was handed on before it began.

    It is `complete` when the old connection is of no more use, and `over` when every stream of the successor has come past what
    the old one had brought; until then it must still be asked. A symbol that cannot be joined is told as Disconnected, and what
    the successor holds of it follows.
    """

    def __init__(self, symbols: Collection[str], kinds: Collection[type], passed: Mapping[Key, Event]) -> None:
        self._symbols, self._kinds = symbols, kinds
        self._seams = {
            (kind, symbol): _Seam(_id(passed[kind, symbol]) if (kind, symbol) in passed else None)
            for kind in kinds
            for symbol in symbols
        }
        self._open = dict.fromkeys(self._seams)  # streams that the old connection still carries, in order
        self._acknowledged_at: dict[str, float] = {}

    @property
    def complete(self) -> bool:
        """The successor carries every stream."""
        return not self._open

    @property
    def over(self) -> bool:
        """Whatever the successor says may be handed on unseen."""
        return not self._seams

    def carries(self, symbol: str) -> bool:
        """Whether the successor carries the symbol's depth."""
        return (DepthUpdate, symbol) not in self._open

    # What happened -----------------------------------------------------------

    def from_old(self, event: Event) -> list[MarketEvent]:
        """The old connection is heard, whatever it says, until the stream has changed over."""
        key = type(event), event.symbol
        if key not in self._open:
            return []
        seam = self._seams[key]
        seam.last = _id(event)
        return [event, *self._join(key, seam)]

    def from_successor(self, event: Event, now: float) -> list[MarketEvent]:
        """Held, or handed on once its stream has changed over and only if it is news."""
        key = type(event), event.symbol
        seam = self._seams.get(key)
        if seam is None:
            return [event]
        before, seam.newest = seam.newest, _id(event)
        if before is not None and seam.newest < before:  # ids that fall are for the core to judge: nothing may swallow them
            held = self._switch(key, seam)
            self._seams.pop(key, None)
            return [*held, event]
        if seam.switched:
            if seam.last is not None and seam.newest <= seam.last:
                return []
            del self._seams[key]
            return [event]
        if before is not None and not isinstance(event, BestQuote) and not _joins(event, before):
            seam.held.clear()  # what lies before a hole carries nobody over it
        if not seam.held:
            seam.held_at = now
        seam.held.append(event)
        return self._join(key, seam)

    def acknowledged(self, symbols: Iterable[str], now: float) -> None:
        """The successor's streams of these symbols stand."""
        self._acknowledged_at |= dict.fromkeys(symbols, now)

    def time_passed(self, now: float, ts_recv_ns: int) -> list[MarketEvent]:
        """A stream that was quiet on both for long enough changes over; one on which the old is left behind cannot be joined."""
        out: list[MarketEvent] = []
        behind = set()
        for key in list(self._open):
            seam, acknowledged_at = self._seams[key], self._acknowledged_at.get(key[1])
            if acknowledged_at is None or now - max(acknowledged_at, seam.held_at) < SETTLE_S:
                continue
            if seam.held and seam.last is not None and key[0] is not Trade:
                behind.add(key[1])
            else:  # quiet; or trades, whose holes are filled by id
                out += self._switch(key, seam)
        return out + self._begin_anew(behind, BEHIND, ts_recv_ns)

    def old_ended(self, reason: str, ts_recv_ns: int) -> list[MarketEvent]:
        """Symbols whose depth and ticker have changed over notice nothing (trades are completed by id); the others begin anew."""
        lost = {symbol for kind, symbol in self._open if kind is not Trade}
        out = [event for key in list(self._open) if key[1] not in lost for event in self._switch(key, self._seams[key])]
        return [*out, *self._begin_anew(lost, reason, ts_recv_ns)]

    def successor_ended(self, reason: str, ts_recv_ns: int) -> list[MarketEvent]:
        """What it carried is lost, although the old connection goes on: that was not heard meanwhile."""
        kinds = [kind for kind in self._kinds if kind is not Trade]
        lost = {symbol for symbol in self._symbols for kind in kinds if (kind, symbol) not in self._open}
        return [Disconnected(self._in_order(lost), reason, ts_recv_ns)] if lost else []

    # Inside ------------------------------------------------------------------

    def _join(self, key: Key, seam: _Seam) -> list[MarketEvent]:
        if seam.held and seam.last is not None and _joins(seam.held[0], seam.last):
            return self._switch(key, seam)
        return []

    def _switch(self, key: Key, seam: _Seam) -> list[MarketEvent]:
        """From here on the successor is heard: first what it held beyond the last event that was handed on."""
        last = seam.last
        news = [*dropwhile(lambda event: last is not None and _id(event) <= last, seam.held)]
        seam.held.clear()
        seam.switched = True
        self._open.pop(key, None)
        if news or last is None:
            self._seams.pop(key, None)
        return [*news]

    def _begin_anew(self, symbols: set[str], reason: str, ts_recv_ns: int) -> list[MarketEvent]:
        """These symbols cannot be joined: they are lost, and go on with what the successor brings."""
        if not symbols:
            return []
        held: list[Event] = []
        for key in [key for key in self._seams if key[1] in symbols]:
            held += self._seams.pop(key).held
            self._open.pop(key, None)
        held.sort(key=lambda event: event.ts_recv_ns)
        told: list[MarketEvent] = [Disconnected(self._in_order(symbols), reason, ts_recv_ns)]
        if stand := self._in_order(symbols & self._acknowledged_at.keys()):
            told.append(Subscribed(stand, ts_recv_ns))
        return [*told, *held]

    def _in_order(self, symbols: Collection[str]) -> tuple[str, ...]:
        return tuple(symbol for symbol in self._symbols if symbol in symbols)


def _id(event: Event) -> int:
    """The last id an event tells of."""
    match event:
        case DepthUpdate():
            return event.last_id
        case Trade():
            return event.agg_id
        case _:
            return event.update_id


def _joins(event: Event, last: int) -> bool:
    """Nothing can lie between id `last` and this event. Ids of tickers have holes, so only one that both brought proves it."""
    match event:
        case DepthUpdate():
            return event.first_id <= last + 1
        case Trade():
            return event.agg_id <= last + 1
        case _:
            return event.update_id <= last
