"""Live traffic: events to feeds, effects to the exchange, a tick each whole second. One symbol's crash touches no other.

Everything runs on one loop; feeds are called synchronously, so there are no locks. A feed that crashes is logged with its recent
events and begins anew after a pause; crashes that go on end the process, loudly.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from leadline.clock import Clock
from leadline.core.errors import ExchangeError, StoreError
from leadline.core.records import Disconnected, Flag, MarketEvent, Subscribed, SymbolRules, SymbolSecond
from leadline.core.sync import FetchSnapshot, StreamSilent
from leadline.core.trade_chain import FetchTrades
from leadline.service.feed import SECOND_NS, Feed, FeedEffect
from leadline.service.ports import Listener, Market, Nobody, Stream
from leadline.service.recorder import Recorder
from leadline.service.seeding import Sizes

log = logging.getLogger("leadline.live")

CRASH_PAUSE_S = 1.0
CRASHES_MAX = 10  # in a row, each within CRASH_FORGET_S of the one before
CRASH_FORGET_S = 600.0
BREATH_S = 0.001  # a tick over many symbols lets the sockets be read this often; an answer takes some ten such turns
STEP_S = 0.5  # wall and monotonic time drift apart by more than this between two ticks: the clock was set
INLINE_ROWS = 64


class Live:
    """All followed symbols.

    first_limit, full_limit: levels asked for at the start, and beside a live book.
    """

    def __init__(
        self,
        feeds: dict[str, Feed],
        *,
        market: Market,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
        first_limit: int,
        full_limit: int,
        event_ticks: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.feeds = feeds
        self.loop_lag_s = 0.0
        self._market = market
        self._recorder = recorder
        self._clock = clock
        self._rng = rng
        self._first_limit = first_limit
        self._full_limit = full_limit
        self._event_ticks = event_ticks
        self._listener: Listener = listener or Nobody()
        self._tasks: asyncio.TaskGroup | None = None
        self._stream: Stream | None = None
        self._crashes: dict[str, tuple[int, float]] = {}
        self._paused: dict[str, float] = {}
        self._rows: list[SymbolSecond] = []
        self._subscribed: set[str] = set()
        self._connected: set[str] = set()

    async def run(self, stream: Stream) -> None:
        """Until cancelled."""
        self._stream = stream
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(stream.run(), name="streams")
            self._tasks.create_task(self._flushes() if self._event_ticks else self._ticks(), name="ticks")

    def finish(self) -> list[SymbolSecond]:
        """What the feeds still hold when the service stops: trades and incidents of the second that is not over."""
        now_ns = self._clock.wall_ns()
        rest = [feed.finish(now_ns) for feed in self.feeds.values()]
        rows, self._rows = self._rows, []
        return rows + [row for row in rest if row is not None]

    # Events ------------------------------------------------------------------

    def on_event(self, event: MarketEvent) -> None:
        """One record from a stream; called synchronously by the socket's reader."""
        if isinstance(event, Disconnected | Subscribed):
            # Known here too, since a feed that is paused after a crash hears nothing.
            (self._connected.update if isinstance(event, Subscribed) else self._connected.difference_update)(event.symbols)
            for symbol in event.symbols:
                if isinstance(event, Subscribed) and symbol not in self._subscribed:
                    self._subscribed.add(symbol)
                    log.info("Pre-subscribed to %s for snapshot persistence", symbol, extra={"symbol": symbol})
                self._guarded(symbol, lambda feed: feed.handle(event, self._clock.monotonic(), event.ts_recv_ns))
        else:
            self._guarded(event.symbol, lambda feed: feed.handle(event, self._clock.monotonic(), event.ts_recv_ns))

    def _guarded(self, symbol: str, call: Callable[[Feed], list[FeedEffect] | None]) -> None:
        feed = self.feeds.get(symbol)
        if feed is None:
            return
        if symbol in self._paused:
            return
        try:
            effects = call(feed)
            if effects:
                self._carry_out(feed, effects)
        except Exception:  # the supervisor: whatever broke in this symbol stays in this symbol
            self._crashed(symbol, feed, self._clock.wall_ns())

    def _crashed(self, symbol: str, feed: Feed, began_ns: int) -> None:
        now = self._clock.monotonic()
        count, last = self._crashes.get(symbol, (0, now))
        count = count + 1 if now - last < CRASH_FORGET_S else 1
        self._crashes[symbol] = count, now
        log.exception("feed_crashed", extra={"symbol": symbol, "count": count, "recent": [repr(e)[:200] for e in feed.recent]})
        if count > CRASHES_MAX:
            raise RuntimeError(f"the feed of {symbol} keeps crashing")
        self.feeds[symbol] = feed.successor(began_ns)
        self._listener.book_lost(symbol, "feed_crash")
        self._paused[symbol] = now + CRASH_PAUSE_S * 2 ** (count - 1)

    def _resume(self) -> None:
        """Successors of crashed feeds whose pause is over; their streams were acknowledged long ago."""
        now = self._clock.monotonic()
        for symbol in [symbol for symbol, until in self._paused.items() if now >= until]:
            del self._paused[symbol]
            if symbol in self._connected:
                self.on_event(Subscribed((symbol,), self._clock.wall_ns()))

    def trading(self, symbol: str, status: str) -> None:
        """What exchangeInfo says of a symbol."""
        self._guarded(symbol, lambda feed: feed.trading(status, self._clock.monotonic(), self._clock.wall_ns()))

    def ruled(self, rules: SymbolRules) -> None:
        """What exchangeInfo says anew of a symbol's grid."""
        if rules.symbol in self.feeds:
            self.feeds[rules.symbol].set_tick(rules.tick_e8)

    def remember_sizes(self, symbol: str, sizes: Sizes) -> None:
        """What the store holds of a symbol's minute blocks."""
        t = None if self._event_ticks else self._clock.wall_ns() // SECOND_NS
        self._guarded(symbol, lambda feed: feed.remember_sizes(sizes, t))

    # Effects -----------------------------------------------------------------

    def _carry_out(self, feed: Feed, effects: Iterable[FeedEffect]) -> None:
        assert self._tasks is not None and self._stream is not None, "run() is not under way"
        for effect in effects:
            match effect:
                case SymbolSecond():
                    self._listener.second(effect)
                    self._rows.append(self._recorder.checked(effect, effect.second))
                    if len(self._rows) >= INLINE_ROWS:
                        self._flush()
                case FetchSnapshot():
                    self._tasks.create_task(self._fetch_snapshot(feed, effect), name=f"{feed.symbol}.snapshot")
                case StreamSilent():
                    self._stream.renew(feed.symbol, f"{feed.symbol} is silent: {effect.detail}")
                case FetchTrades():
                    self._tasks.create_task(self._fetch_trades(feed, effect), name=f"{feed.symbol}.trades")

    async def _fetch_snapshot(self, feed: Feed, effect: FetchSnapshot) -> None:
        jitter = self._rng.random() * 0.1 * max(0.0, effect.not_before - self._clock.monotonic())
        await self._clock.sleep_until(effect.not_before + jitter)
        if not feed.sync.wants(effect.request_id):
            return
        limit = self._full_limit if effect.anchor else self._first_limit
        try:
            snapshot = await self._market.depth(feed.symbol, limit, anchor=effect.anchor)
        except ExchangeError as error:
            log.warning("snapshot_failed", extra={"symbol": feed.symbol, "attempt": effect.attempt, "cause": str(error)})
            self._answer(feed, lambda f: f.snapshot_failed(effect.request_id, self._clock.monotonic(), self._clock.wall_ns()))
        else:
            self._answer(
                feed,
                lambda f: f.snapshot_received(effect.request_id, snapshot, self._clock.monotonic(), self._clock.wall_ns()),
            )

    async def _fetch_trades(self, feed: Feed, effect: FetchTrades) -> None:
        await self._clock.sleep_until(effect.not_before)
        if not feed.chain.wants(effect.request_id):
            return
        try:
            trades = await self._market.agg_trades(feed.symbol, effect.from_id, effect.limit)
        except ExchangeError as error:
            log.warning("trades_failed", extra={"symbol": feed.symbol, "from_id": effect.from_id, "cause": str(error)})
            self._answer(feed, lambda f: f.trades_failed(effect.request_id, self._clock.monotonic()))
        else:
            self._answer(feed, lambda f: f.trades_received(effect.request_id, trades, self._clock.monotonic()))

    def _answer(self, feed: Feed, call: Callable[[Feed], list[FeedEffect]]) -> None:
        if self.feeds.get(feed.symbol) is feed:  # not an answer to a predecessor that crashed
            self._guarded(feed.symbol, call)

    # Seconds -----------------------------------------------------------------

    async def _ticks(self) -> None:
        """Close every whole second of the wall clock once; what was missed, or a clock that was set, is an incident."""
        clock = self._clock
        ticked_at_ns, ticked_at = clock.wall_ns(), clock.monotonic()
        ticked = ticked_at_ns // SECOND_NS
        set_back = False
        while True:
            wall_ns = clock.wall_ns()
            if wall_ns < ticked * SECOND_NS:  # set back: the grid follows, seconds already stored are written once more
                detail = f"from {ticked} to {wall_ns // SECOND_NS}"
                self._recorder.incident("clock_step", wall_ns // 1_000_000, ticked * 1000, "the clock was set back", detail)
                log.warning("clock_step", extra={"detail": detail})
                ticked, ticked_at_ns, ticked_at, set_back = wall_ns // SECOND_NS, wall_ns, clock.monotonic(), True
            remaining_ns = (ticked + 1) * SECOND_NS - wall_ns
            if remaining_ns > 0:
                await clock.sleep_until(clock.monotonic() + remaining_ns / 1e9)
                continue
            second = wall_ns // SECOND_NS
            self.loop_lag_s = (wall_ns - (ticked + 1) * SECOND_NS) / 1e9
            late = second > ticked + 1
            if late:
                stepped_s = (wall_ns - ticked_at_ns) / 1e9 - (clock.monotonic() - ticked_at)
                self._missed(ticked + 1, second, "the clock was set forward" if stepped_s > STEP_S else "the service stalled")
            flags = Flag.CLOCK if late or set_back else Flag(0)
            ticked, ticked_at_ns, ticked_at, set_back = second, wall_ns, clock.monotonic(), False
            await self._tick(second, flags)

    def _missed(self, first: int, second: int, cause: str) -> None:
        self._recorder.incident("missed_seconds", first * 1000, (second - 1) * 1000, cause, f"{second - first} s")
        log.warning("missed_seconds", extra={"first": first, "last": second - 1, "cause": cause})

    async def _tick(self, second: int, flags: Flag) -> None:
        clock = self._clock
        self._resume()
        started = clock.monotonic()
        for symbol in list(self.feeds):
            now, now_ns = clock.monotonic(), clock.wall_ns()
            if now - started > BREATH_S:
                await clock.sleep_until(now)
                started = now = clock.monotonic()
                now_ns = clock.wall_ns()
            self._close(symbol, second, flags, now, now_ns)
        rows, self._rows = self._rows, []
        self._recorder.accept(second, rows, clock.wall_ns() / 1e9)

    def _close(self, symbol: str, second: int, flags: Flag, now: float, now_ns: int) -> None:
        feed = self.feeds[symbol]
        try:
            effects = feed.tick(second, tick_recv_ns=now_ns, sample_ns=now_ns, now=now, flags=flags)
            closed = [effect for effect in effects if isinstance(effect, SymbolSecond)]
            for row in closed:
                self._listener.second(row)
            self._rows += closed
            self._carry_out(feed, [effect for effect in effects if not isinstance(effect, SymbolSecond)])
        except Exception:  # the supervisor, as in _guarded
            self._crashed(symbol, feed, second * SECOND_NS)

    async def _flushes(self) -> None:
        """Where event time drives, seconds close as events come; what waits is written at least once a second."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + 1.0)
            self._resume()
            self._flush()

    def _flush(self) -> None:
        """Written here, on the loop: a source that runs faster than the store is held back by its socket.

        What the store refuses waits in the recorder's queue, and what comes after it waits behind it.
        """
        rows, self._rows = self._rows, []
        if rows and not self._recorder.queue_length:
            try:
                self._recorder.write(rows)
            except StoreError as error:
                log.error("store_refused", extra={"rows": len(rows), "cause": str(error)})
            else:
                return
        for second in sorted({row.second for row in rows}):
            self._recorder.accept(second, [row for row in rows if row.second == second], None)
