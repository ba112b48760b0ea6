"""A recording through the same feeds as live traffic, as fast as it goes, by the recording's own clock.

Snapshots come where they stand in the recording, or are held until they are asked for. What a recording cannot answer it does not
answer: a hole in the trades becomes MISSING at once, and a book that is lost stays lost until the recording brings a snapshot.
"""

from collections.abc import Callable, Iterable

from leadline.core.records import DepthSnapshot, Disconnected, MarketEvent, Subscribed, SymbolRules, SymbolSecond
from leadline.core.sync import FetchSnapshot
from leadline.core.trade_chain import FetchTrades
from leadline.service.feed import SECOND_NS, Feed, FeedEffect
from leadline.service.recorder import Recorder
from leadline.service.seeding import Sizes

BATCH_ROWS = 512


class Replay:
    """One run over a recording's events. feeds: by symbol, to be read when it is done.

    first_snapshot: is told each symbol's first snapshot and its second, and may answer with the symbol's rules.
    sizes_before: what the store holds of a symbol's minute blocks of the 24 h before a second.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        epochs: Callable[[str], int],
        first_snapshot: Callable[[DepthSnapshot, int], SymbolRules | None],
        sizes_before: Callable[[str, int], Sizes] = lambda symbol, t: (),
    ) -> None:
        self.feeds: dict[str, Feed] = {}
        self._recorder = recorder
        self._epochs = epochs
        self._first_snapshot = first_snapshot
        self._sizes_before = sizes_before
        self._rows: list[SymbolSecond] = []
        self._held: dict[str, DepthSnapshot] = {}
        self._asked: dict[str, int] = {}
        self._ruled: set[str] = set()
        self._sized: set[str] = set()

    def run(self, events: Iterable[MarketEvent | DepthSnapshot]) -> None:
        """Feed every event, then flush. Raises StoreError: the recording was stored up to some second."""
        for event in events:
            match event:
                case DepthSnapshot():
                    self._held[event.symbol] = event
                    self._answer(event.symbol)
                case Disconnected() | Subscribed():
                    for symbol in event.symbols:
                        self._handle(symbol, event, event.ts_recv_ns)
                case _:
                    self._handle(event.symbol, event, event.ts_recv_ns)
            if len(self._rows) >= BATCH_ROWS:
                self._flush()
        for feed in self.feeds.values():
            rest = feed.finish(0)
            if rest is not None:
                self._rows.append(rest)
        self._flush()
        self._recorder.write_pending()

    def _handle(self, symbol: str, event: MarketEvent, recv_ns: int) -> None:
        feed = self.feeds.get(symbol)
        if feed is None:
            feed = self.feeds[symbol] = Feed(symbol, epoch=self._epochs(symbol), event_ticks=True)
        self._carry_out(feed, feed.handle(event, recv_ns / 1e9, recv_ns))

    def _carry_out(self, feed: Feed, effects: list[FeedEffect]) -> None:
        for effect in effects:
            match effect:
                case SymbolSecond():
                    self._rows.append(self._recorder.checked(effect, effect.second))
                case FetchSnapshot():
                    self._remember_sizes(feed)
                    self._asked[feed.symbol] = effect.request_id
                    self._answer(feed.symbol)
                case FetchTrades():
                    self._carry_out(feed, feed.trades_failed(effect.request_id, 0.0))

    def _remember_sizes(self, feed: Feed) -> None:
        """Once, at the first question: then the first tick is known, and no record of this recording is read again."""
        if feed.symbol not in self._sized:
            self._sized.add(feed.symbol)
            first_tick = -(-feed.newest_event_ns // SECOND_NS)
            feed.remember_sizes(self._sizes_before(feed.symbol, first_tick), first_tick)

    def _answer(self, symbol: str) -> None:
        """Bring question and snapshot together once both are there."""
        if symbol not in self._held or symbol not in self._asked:
            return
        feed, request_id = self.feeds[symbol], self._asked.pop(symbol)
        if not feed.sync.wants(request_id):  # asked on a connection that ended since: the snapshot waits for the next question
            return
        snapshot = self._held.pop(symbol)
        newest_ns = feed.newest_event_ns
        if symbol not in self._ruled:
            self._ruled.add(symbol)
            rules = self._first_snapshot(snapshot, newest_ns // SECOND_NS)
            if rules is not None:
                feed.set_tick(rules.tick_e8)
        self._carry_out(feed, feed.snapshot_received(request_id, snapshot, newest_ns / 1e9, newest_ns))

    def _flush(self) -> None:
        if self._rows:
            self._recorder.write(self._rows)
            self._rows = []
