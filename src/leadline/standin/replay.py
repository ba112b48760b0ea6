"""A source from recorded traffic: frames as they were received, snapshots from the stand-in's own book of the same recording.

Everything is read into memory once (the captures are minutes long); a session is a position in the list of events. What a
position knows (book, trades so far) is worked out when asked for, from the frames before it, so playing costs no decoding.
"""

import gzip
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from leadline.core import capture
from leadline.standin.scenes import Action, Label
from leadline.standin.source import (
    AggTrade,
    DepthAnswer,
    Diff,
    Frame,
    Place,
    TrueBook,
    UnknownAction,
    agg_trade_frame,
    depth_body,
    fixed,
    symbol_info,
    text,
)
from leadline.standin.tape import Tape

Level = tuple[str, str]

_MS_MAX = 10**14  # a time above it is in microseconds

_COMBINED = re.compile(rb'\{"stream":("[^"]+"),"data":(\{.*\})\}', re.DOTALL)


class NotASpotRecording(ValueError):
    """The file holds traffic that this stand-in does not speak."""

    def __init__(self, path: Path, why: str) -> None:
        """path: the file; why: what was found in it."""
        super().__init__(f"{path.name}: {why}")
        self.path = path
        self.why = why


class Recording:
    """One or more capture files as one market. Several files are one recording continued, or parts of one, by local time.

    Raises OSError, capture.NotACaptureLine, NotASpotRecording (futures traffic, or no stream frame at all).
    `skipped` counts messages that are no combined-stream frames (replies to SUBSCRIBE).
    """

    waits_for_client = True

    def __init__(self, paths: Sequence[Path | str]) -> None:
        """paths: hft or cf files, plain or gzip (captures/README.md); an exchangeInfo answer among them is served."""
        files = [Path(path) for path in paths]
        self.skipped = 0
        self._origin = "replay:" + "+".join(sorted({capture.base_name(path.name) for path in files}))
        self._info: list[dict[str, object]] = []
        raw: list[_Event] = []
        for path in files:
            raw += self._read(path)
        raw.sort(key=lambda event: event.at_ns)  # stable: equal times stay in file order
        if not any(isinstance(event.what, Frame) for event in raw):
            raise NotASpotRecording(files[-1], "no stream frames")
        self._markets: dict[str, _Market] = {}
        self._events = _with_agg_trades(raw)
        for event in self._events:
            self._markets.setdefault(event.symbol, _Market()).add(event)
        self._streams = {event.what.stream for event in self._events if isinstance(event.what, Frame)}
        self.restart()

    @property
    def origin(self) -> str:
        """`replay:` and the base names joined by `+`."""
        return self._origin

    @property
    def symbols(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(self._markets)

    @property
    def start_ns(self) -> int:
        """Local time of the first message."""
        return self._events[0].at_ns

    def restart(self) -> None:
        """Back to the first message."""
        self._position = 0
        self._gate: str | None = None
        self._server_ms = next((e.event_ms for e in self._events if e.event_ms), self.start_ns // 1_000_000)
        for market in self._markets.values():
            market.rewind()

    def next_ns(self) -> int | None:
        """Local time of the next message; None at the end."""
        return self._events[self._position].at_ns if self._position < len(self._events) else None

    def advance(self, until_ns: int) -> list[Frame]:
        """The frames up to `until_ns`, or up to the next captured snapshot if that stands before."""
        frames: list[Frame] = []
        while self._gate is None and self._position < len(self._events):
            event = self._events[self._position]
            if event.at_ns > until_ns:
                break
            if isinstance(event.what, Frame):
                frames.append(event.what)
                self._pass(event)
            else:
                self._gate = event.symbol
        return frames

    def gate(self) -> str | None:
        """The symbol whose captured body stands here."""
        return self._gate

    def pass_gate(self) -> None:
        """Go on behind the captured body."""
        assert self._gate is not None
        self._gate = None
        self._pass(self._events[self._position])

    def _pass(self, event: "_Event") -> None:
        self._position += 1
        self._server_ms = max(self._server_ms, event.event_ms)
        self._markets[event.symbol].passed(event)

    def server_time_ms(self) -> int:
        """The latest exchange time passed: the recorder's own clock ran beside it by a constant."""
        return self._server_ms

    def depth(
        self, symbol: str, limit: int, *, events_back: int = 0, place: Place = "now", age_us: int = 0
    ) -> DepthAnswer | None:
        """At its place the captured body, later the own book, inside the next event where that spans several ids.

        None before the captured body and after a hole in the recorded ids. Never more levels than are known: `levels` of the
        answer is the smaller count of the sides that were cut by the capture. place: `now` is `inside`.
        """
        market = self._markets[symbol]
        if self._gate == symbol and not events_back:
            body = self._events[self._position].what
            assert isinstance(body, _Body)
            levels = min(limit, body.limit)
            if len(body.bids) <= limit and len(body.asks) <= limit:
                return DepthAnswer(body.text, levels)
            return DepthAnswer(depth_body(body.update_id, body.bids[:limit], body.asks[:limit]), levels)
        book = market.now(events_back, at_gate=self._gate == symbol, inside=place != "border")
        return book.answer(limit) if book else None

    def diff(self, symbol: str, first_id: int, last_id: int) -> Diff | None:
        """Whole recorded frames, one after the other without a hole; None for any other range."""
        return self._markets[symbol].diff(first_id, last_id)

    def frame_end(self, symbol: str) -> int:
        """`u` of the last frame passed."""
        market = self._markets[symbol]
        if not market.diffs:
            return 0
        passed = market.diffs_passed
        return market.diffs[passed - 1].last_id if passed else market.diffs[0].first_id - 1

    def recorded(self, stream: str) -> bool:
        """Whether it was, or is among the aggregates that are made of recorded fills."""
        return stream in self._streams

    def snapshot_ahead(self, symbol: str) -> bool:
        """Whether a captured body of the symbol is still to come."""
        market = self._markets[symbol]
        return market.bodies_passed < len(market.bodies)

    def book(self, symbol: str, update_id: int, *, kept_only: bool = False) -> TrueBook | None:
        """The book after the frame with that `u`; None if there is none, or it is before the snapshot or behind a hole."""
        market = self._markets.get(symbol)
        return market.true_book(update_id) if market else None

    def tape(self, symbol: str) -> Tape:
        """The trades passed. Fills are known where `@trade` was captured; they come with their aggregate."""
        return self._markets[symbol].tape

    @property
    def can_act(self) -> bool:
        """No."""
        return False

    def act(self, symbol: str, action: Action) -> None:
        """A recording cannot be changed: raises UnknownAction."""
        raise UnknownAction(f"{action.name!r} cannot be done to a recording")

    @property
    def labels(self) -> Sequence[Label]:
        """None: nothing was put into it."""
        return ()

    def exchange_info(self) -> list[dict[str, object]]:
        """Captured entries as they were; for a recorded symbol without one, worked out from its first snapshot."""
        named = {entry["symbol"] for entry in self._info}
        return self._info + [symbol_info(s, *market.grid()) for s, market in self._markets.items() if s not in named]

    def _read(self, path: Path) -> list["_Event"]:
        events: list[_Event] = []
        nameless: list[int] = []  # the hft format does not say whose body it is: the symbol of that file
        at_ns = 0
        for line in _lines(path):
            said = capture.parse(line)
            if said is None or isinstance(said, capture.Opened):
                continue
            at_ns = max(at_ns, said.ts_recv_ns)  # the order of the file is the truth, also where the clock stepped back
            if isinstance(said, capture.Frame):
                event = _frame_event(at_ns, said.body, path)
                if event is None:
                    self.skipped += 1
                else:
                    events.append(event)
            elif (url := urlsplit(said.url)).path.endswith("/exchangeInfo"):
                self._info = msgspec.json.decode(said.body)["symbols"]
            elif url.path.endswith("/depth"):
                query = parse_qs(url.query)
                body = _Body.of(said.body, int(query.get("limit", ["100"])[0]))
                if "symbol" not in query:
                    nameless.append(len(events))
                events.append(_Event(at_ns, query.get("symbol", [""])[0], "body", body))
        owner = {event.symbol for event in events if event.symbol}
        if nameless and len(owner) != 1:
            raise NotASpotRecording(path, "a snapshot without symbol among frames of several symbols")
        for place in nameless:
            events[place] = msgspec.structs.replace(events[place], symbol=min(owner))
        return events


class _Body(Struct, frozen=True):
    """A captured answer of `GET depth`."""

    update_id: int
    bids: list[Level]
    asks: list[Level]
    limit: int
    text: bytes

    @classmethod
    def of(cls, text: bytes, limit: int) -> "_Body":
        said = msgspec.json.decode(text, type=_DepthSaid)
        return cls(said.lastUpdateId, said.bids, said.asks, limit, text)


class _Event(Struct, frozen=True):
    """One message of the recording. kind: diff, agg, trade, other, body. detail: what the kind's counters need."""

    at_ns: int
    symbol: str
    kind: str
    what: Frame | _Body
    event_ms: int = 0
    detail: "_Ids | AggTrade | _TradeSaid | None" = None


class _DepthSaid(Struct):
    lastUpdateId: int
    bids: list[Level]
    asks: list[Level]


class _Said(Struct):
    """What every payload may say of itself; the rest is decoded by kind."""

    e: str = ""
    E: int = 0
    s: str = ""


class _Ids(Struct, frozen=True):
    U: int
    u: int
    pu: int | None = None


class _TradeSaid(Struct, frozen=True):
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Changes(Struct):
    b: list[Level]
    a: list[Level]


_said = msgspec.json.Decoder(_Said)
_ids = msgspec.json.Decoder(_Ids)
_agg_said = msgspec.json.Decoder(AggTrade)
_trade_said = msgspec.json.Decoder(_TradeSaid)
_changes = msgspec.json.Decoder(_Changes)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else path.open("rb") as lines:
        yield from lines


def _frame_event(at_ns: int, body: bytes, path: Path) -> _Event | None:
    match = _COMBINED.fullmatch(body)
    if match is None:
        return None
    stream, payload = msgspec.json.decode(match[1], type=str), match[2]
    said = _said.decode(payload)
    symbol = said.s or stream.partition("@")[0].upper()
    frame = Frame(at_ns, stream, symbol, payload)
    match said.e:
        case "depthUpdate":
            ids = _ids.decode(payload)
            if ids.pu is not None:
                raise NotASpotRecording(path, "futures traffic (depth frames carry `pu`)")
            # Both intervals of @depth tell the same ids; the book of the stand-in follows the fast one.
            kind = "diff" if stream.endswith("@depth@100ms") else "other"
            return _Event(at_ns, symbol, kind, frame, said.E, ids)
        case "aggTrade":
            return _Event(at_ns, symbol, "agg", frame, said.E, _agg_said.decode(payload))
        case "trade":
            t = _trade_said.decode(payload)
            return _Event(at_ns, symbol, "trade", frame, said.E, t)
        case _:
            return _Event(at_ns, symbol, "other", frame, said.E)


def _with_agg_trades(events: list[_Event]) -> list[_Event]:
    """The events, with `@aggTrade` behind the last fill of each for symbols of which only `@trade` was captured.

    Fills of one aggregate: consecutive trade ids with equal time, price and side. `a` counts from 1.
    """
    captured = {event.symbol for event in events if event.kind == "agg"}
    runs: dict[str, list[list[int]]] = {}
    for index, event in enumerate(events):
        if event.kind != "trade" or event.symbol in captured:
            continue
        own = runs.setdefault(event.symbol, [])
        if own and _joins(events[own[-1][-1]].detail, event.detail):
            own[-1].append(index)
        else:
            own.append([index])
    derived: dict[int, _Event] = {}
    for symbol, own in runs.items():
        for number, run in enumerate(own, start=1):
            derived[run[-1]] = _agg_event(symbol, number, [events[index] for index in run])
    merged: list[_Event] = []
    for index, event in enumerate(events):
        merged.append(event)
        if index in derived:
            merged.append(derived[index])
    return merged


def _joins(before: object, fill: object) -> bool:
    assert isinstance(before, _TradeSaid)
    assert isinstance(fill, _TradeSaid)
    return fill.t == before.t + 1 and (fill.T, fill.p, fill.m) == (before.T, before.p, before.m)


def _agg_event(symbol: str, number: int, fills: list[_Event]) -> _Event:
    rows = [event.detail for event in fills if isinstance(event.detail, _TradeSaid)]
    last, at = rows[-1], fills[-1]
    row = AggTrade(number, last.p, text(sum(fixed(row.q) for row in rows)), rows[0].t, last.t, last.T, last.m)
    assert isinstance(at.what, Frame)
    stream = at.what.stream.partition("@")[0] + "@aggTrade"
    frame = Frame(at.at_ns, stream, symbol, agg_trade_frame(symbol, at.event_ms, row))
    return _Event(at.at_ns, symbol, "agg", frame, at.event_ms, row)


class _Diff(Struct, frozen=True):
    first_id: int
    last_id: int
    payload: bytes


class _Market:
    """What one symbol's part of the recording holds, and how much of it has been passed."""

    def __init__(self) -> None:
        self.diffs: list[_Diff] = []
        self.bodies: list[tuple[int, _Body]] = []  # (diffs before it, body)
        self.tape = Tape()
        self._fills: dict[int, int] = {}  # trade id -> quantity in 1e-8
        self._ends: dict[int, int] = {}  # u -> diffs up to and with that frame
        self._kept: tuple[int, int, _Book] | None = None  # (body, diffs applied, book): most questions move forward
        self.rewind()

    def rewind(self) -> None:
        self.diffs_passed = self.bodies_passed = 0
        self.tape = Tape()

    def add(self, event: _Event) -> None:
        detail = event.detail
        if isinstance(event.what, _Body):
            self.bodies.append((len(self.diffs), event.what))
        elif event.kind == "diff" and isinstance(detail, _Ids):
            self.diffs.append(_Diff(detail.U, detail.u, event.what.payload))
            self._ends[detail.u] = len(self.diffs)
        elif isinstance(detail, _TradeSaid):
            self._fills[detail.t] = fixed(detail.q)

    def passed(self, event: _Event) -> None:
        match event.kind:
            case "diff":
                self.diffs_passed += 1
            case "agg":
                assert isinstance(event.detail, AggTrade)
                self._add_to_tape(event.detail)
            case "body":
                self.bodies_passed += 1

    def _add_to_tape(self, row: AggTrade) -> None:
        ids = range(row.f, row.l + 1)
        fills = [self._fills[n] for n in ids] if all(n in self._fills for n in ids) else []
        time_us = row.T if row.T > _MS_MAX else row.T * 1000
        self.tape.add(row.a, time_us, fixed(row.p), fixed(row.q), row.f, row.l, row.m, fills)

    def diff(self, first_id: int, last_id: int) -> Diff | None:
        end, start = self._ends.get(last_id), bisect_left(self.diffs, first_id, key=_first_id)
        if end is None or start == len(self.diffs) or self.diffs[start].first_id != first_id:
            return None
        bids: dict[str, str] = {}
        asks: dict[str, str] = {}
        expected = first_id
        for diff in self.diffs[start:end]:
            if diff.first_id != expected:
                return None
            expected = diff.last_id + 1
            changes = _changes.decode(diff.payload)
            bids.update(changes.b)
            asks.update(changes.a)
        return Diff(first_id, last_id, bids, asks) if expected > first_id else None

    def grid(self) -> tuple[int, int]:
        """(tick, step) in 1e-8: the largest powers of ten that divide every price and quantity of the first snapshot."""
        levels = [level for _, body in self.bodies[:1] for level in body.bids + body.asks]
        return _grid([price for price, _ in levels]), _grid([quantity for _, quantity in levels])

    def now(self, events_back: int, *, at_gate: bool, inside: bool) -> "_Book | None":
        """The book here, moved into the next event; or exactly as it was `events_back` frames ago."""
        usable = self.bodies_passed + at_gate
        if not usable:
            return None
        place = max(0, self.diffs_passed - events_back)
        book = self._after(usable - 1, place)
        if events_back and book is None:
            # The book of then is not known. An id older than every recorded frame: no client may use what it came with.
            stale = _Book(self.bodies[usable - 1][1])
            stale.update_id = min(self.diffs[0].first_id, stale.update_id) - 1 - events_back
            return stale
        if book is None or events_back or not inside or self.diffs_passed == len(self.diffs):
            return book
        return book.inside(self.diffs[self.diffs_passed])

    def true_book(self, update_id: int) -> TrueBook | None:
        count = self._ends.get(update_id)
        if count is None or not self.bodies:
            return None
        earlier = [n for n, (place, _) in enumerate(self.bodies) if place <= count]
        book = self._after(earlier[-1] if earlier else 0, count)
        if book is None or book.update_id != update_id:
            return None
        return TrueBook(update_id, dict(book.bids), dict(book.asks), book.low, book.high)

    def _after(self, body: int, count: int) -> "_Book | None":
        """The book from that body after the first `count` diffs; None across a hole, or where the body is newer than them."""
        if self._kept is not None and self._kept[0] == body and self._kept[1] <= count:
            _, done, book = self._kept
        else:
            done, book = 0, _Book(self.bodies[body][1])
            if count < self.bodies[body][0] and (not count or self.diffs[count - 1].last_id < book.update_id):
                return None
        for diff in self.diffs[done:count]:
            if diff.last_id <= book.update_id:
                continue
            if diff.first_id > book.update_id + 1:
                return None
            book.apply(diff)
        self._kept = (body, count, book)
        return book


class _Book:
    """The stand-in's own book: decimal text to decimal text. `low`, `high`: the range inside which no level is missing."""

    def __init__(self, body: _Body) -> None:
        self.update_id = body.update_id
        self.bids = dict(body.bids)
        self.asks = dict(body.asks)
        self.low = body.bids[-1][0] if len(body.bids) >= body.limit else None
        self.high = body.asks[-1][0] if len(body.asks) >= body.limit else None

    def apply(self, diff: _Diff) -> None:
        changes = _changes.decode(diff.payload)
        for side, levels in ((self.bids, changes.b), (self.asks, changes.a)):
            for price, quantity in levels:
                _set(side, price, quantity)
        self.update_id = diff.last_id

    def inside(self, diff: _Diff) -> "_Book":
        """A copy in the middle of the next event; itself where that event is one id, or the middle has no two sides."""
        middle = (diff.first_id + diff.last_id) // 2
        if diff.first_id > self.update_id + 1 or not self.update_id < middle < diff.last_id:
            return self
        half = _copy(self, middle)
        changes = _changes.decode(diff.payload)
        both = [(half.bids, *level) for level in changes.b] + [(half.asks, *level) for level in changes.a]
        # Removals first: what is left then belongs to the book before or after, so that no half can be crossed.
        both.sort(key=lambda change: fixed(change[2]) != 0)
        for side, price, quantity in both[: len(both) // 2]:
            _set(side, price, quantity)
        return half if half.bids and half.asks else self

    def answer(self, limit: int) -> DepthAnswer:
        bids = _sorted(self.bids, self.low, falling=True)
        asks = _sorted(self.asks, self.high, falling=False)
        known = [limit]
        if self.low is not None:
            known.append(len(bids))
        if self.high is not None:
            known.append(len(asks))
        return DepthAnswer(depth_body(self.update_id, bids[:limit], asks[:limit]), min(known))


def _copy(book: _Book, update_id: int) -> _Book:
    other = _Book.__new__(_Book)
    other.update_id, other.low, other.high = update_id, book.low, book.high
    other.bids, other.asks = dict(book.bids), dict(book.asks)
    return other


def _set(side: dict[str, str], price: str, quantity: str) -> None:
    if fixed(quantity):
        side[price] = quantity
    else:
        side.pop(price, None)


def _sorted(side: dict[str, str], edge: str | None, *, falling: bool) -> list[Level]:
    levels = sorted(((fixed(price), price, quantity) for price, quantity in side.items()), reverse=falling)
    if edge is not None:
        last = fixed(edge)
        levels = [level for level in levels if (level[0] >= last if falling else level[0] <= last)]
    return [(price, quantity) for _, price, quantity in levels]


def _first_id(diff: _Diff) -> int:
    return diff.first_id


def _grid(texts: list[str]) -> int:
    values = [fixed(text) for text in texts if fixed(text)]
    power = 1
    while values and all(value % (power * 10) == 0 for value in values):
        power *= 10
    return power
