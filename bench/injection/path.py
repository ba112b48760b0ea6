"""The whole path in process: feed, recorder, history. A clean pass over the market, and forks of it for what is put in.

The feed is the product's own, its seconds closed by event time as in a replay, its answers given from the exchange's true book
after a while. At chosen moments of the clean pass the feed is pickled. A fork begins with such a copy, goes on with other events
and writes above the clean history (overlay.py), so that its past is the clean one, and that of all others too.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from bench.injection.overlay import OverlayEngine
from bench.injection.plain import PlainBook
from bench.injection.source import Event, Source
from leadline.core.records import (
    BestQuote,
    DepthSnapshot,
    DepthUpdate,
    Disconnected,
    Subscribed,
    SymbolRules,
    SymbolSecond,
    Trade,
)
from leadline.core.sync import FetchSnapshot
from leadline.core.trade_chain import FetchTrades
from leadline.service.feed import Feed, FeedEffect
from leadline.service.recorder import Recorder
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

ANSWER_NS = 150_000_000  # from the question for a snapshot to its answer
BATCH_ROWS = 60

Received = Event | Subscribed | Disconnected


class Driver:
    """Hands events to one feed, answers it, and has its seconds recorded. snapshot: the exchange's answer at this moment."""

    def __init__(
        self, feed: Feed, history: History, snapshot: Callable[[], DepthSnapshot], *, answer_ns: int = ANSWER_NS
    ) -> None:
        self.feed = feed
        self.closed_s = 0
        self._snapshot, self._answer_ns = snapshot, answer_ns
        self._recorder = Recorder(history, snapshot_lines="none")
        self._rows: list[SymbolSecond] = []
        self._asked: list[tuple[int, int]] = []  # (when the answer is there, request)

    def handle(self, event: Received) -> None:
        """One event, and before it the answers that are due."""
        recv_ns = event.ts_recv_ns
        while self._asked and self._asked[0][0] <= recv_ns:
            at_ns, request_id = self._asked.pop(0)
            self._carry_out(self.feed.snapshot_received(request_id, self._snapshot(), at_ns / 1e9, at_ns), at_ns)
        self._carry_out(self.feed.handle(event, recv_ns / 1e9, recv_ns), recv_ns)

    def flush(self) -> None:
        """Write what was closed."""
        if self._rows:
            self._recorder.write(self._rows)
            self._rows = []

    def _carry_out(self, effects: list[FeedEffect], recv_ns: int) -> None:
        for effect in effects:
            match effect:
                case SymbolSecond():
                    self.closed_s = effect.second
                    self._rows.append(self._recorder.checked(effect, effect.second))
                    if len(self._rows) >= BATCH_ROWS:
                        self.flush()
                case FetchSnapshot():
                    self._asked.append((max(recv_ns + self._answer_ns, int(effect.not_before * 1e9)), effect.request_id))
                    self._asked.sort()
                case FetchTrades():  # nothing here can be asked for them
                    self._carry_out(self.feed.trades_failed(effect.request_id, recv_ns / 1e9), recv_ns)


class Checkpoint(Struct, frozen=True):
    """Everything at the end of a second of arrival.

    place: seconds of the source before it. closed_s: newest record. feed, book: pickled. quote, trade: the base's last ones.
    """

    place: int
    closed_s: int
    feed: bytes
    book: bytes
    quote: BestQuote
    trade: Trade


class Clean(Struct, frozen=True):
    """A market without injections: its frames, its records, and where it can be forked."""

    source: Source
    history: History
    rules: SymbolRules
    checkpoints: list[Checkpoint]

    @property
    def symbol(self) -> str:
        return self.source.symbol


def clean_pass(
    source: Source, seconds: int, *, every: int = 0, first: int = 0, told: Callable[[int], None] | None = None
) -> Clean:
    """Play so many seconds through the path. every: seconds between checkpoints from `first` on, 0: none, and no frames kept.

    told: after each second, how many there were.
    """
    symbol = source.symbol
    history = History(MemoryEngine(), "(memory)")
    history.open_for(source.origin, source.start_s)
    history.set_rules(source.rules())
    rules = history.rules(symbol)
    assert rules is not None
    clean = Clean(source, history, rules, [])
    driver = Driver(Feed(symbol, event_ticks=True, tick_e8=rules.tick_e8), history, source.snapshot)
    book: PlainBook | None = None
    quote: BestQuote | None = None
    trade: Trade | None = None
    for place in range(1, seconds + 1):
        for event in source.forward(keep=every > 0):
            driver.handle(event)
            match event:
                case DepthUpdate() if book is not None:
                    book.apply(event)
                case BestQuote():
                    quote = event
                case Trade():
                    trade = event
        if book is None and every:
            book = _book_now(source)
        if every and place >= first and (place - first) % every == 0 and quote is not None and trade is not None:
            driver.flush()
            feed, held = pickle.dumps(driver.feed, 5), pickle.dumps(book, 5)
            clean.checkpoints.append(Checkpoint(place, driver.closed_s, feed, held, quote, trade))
        if told is not None:
            told(place)
    driver.flush()
    return clean


def _book_now(source: Source) -> PlainBook:
    """From the market's own answer. It may be inside a diff that is still to come, whose entries are absolute."""
    snapshot = source.snapshot()
    return PlainBook(snapshot.update_id, snapshot.bids, snapshot.asks)


def fork(
    clean: Clean,
    at: Checkpoint,
    events: Iterable[Received],
    snapshot: Callable[[], DepthSnapshot],
    *,
    answer_ns: int = ANSWER_NS,
) -> History:
    """The history as it would be, had these events come from the checkpoint on."""
    history = History(OverlayEngine(clean.history.engine, clean.symbol, at.closed_s), "(fork)")
    driver = Driver(pickle.loads(at.feed), history, snapshot, answer_ns=answer_ns)
    for event in events:
        driver.handle(event)
    driver.flush()
    return history


def window(clean: Clean, at: Checkpoint, seconds: int) -> list[Event]:
    """The base's events of so many seconds of arrival from the checkpoint on."""
    return list(clean.source.events(at.place, at.place + seconds))


def watched(events: Iterable[Event], book: PlainBook) -> Iterator[Event]:
    """The events as they are; the book goes with them."""
    for event in events:
        if isinstance(event, DepthUpdate):
            book.apply(event)
        yield event
