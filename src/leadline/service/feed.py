"""One symbol: its book, its trade chain, its seconds and its incidents. The only holder of a Book.

No I/O and no clock: the caller hands in what arrived with the time, carries out the effects it gets back (fetch a snapshot,
fetch trades, record a second), and closes seconds either by its own clock (`tick`) or lets the exchange's event time do it
(`event_ticks`: a replay, or a stream that does not run at the pace of our clock).
"""

import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from msgspec import structs

from leadline.core.audit import QuoteAudit
from leadline.core.cells import TickCells
from leadline.core.records import (
    TRADING,
    BestQuote,
    BookState,
    BookView,
    DepthSnapshot,
    DepthUpdate,
    Flag,
    Incident,
    MarketEvent,
    Subscribed,
    SymbolSecond,
    Trade,
    TradeBlock,
    TradeState,
)
from leadline.core.second import NO_FLAGS, Second
from leadline.core.sizes import SizeHistory
from leadline.core.sync import (
    LEVELS_MAX,
    BookAnchored,
    BookLost,
    BookReady,
    BookSync,
    Effect,
    FetchSnapshot,
    Lost,
    StreamSilent,
)
from leadline.core.trade_chain import (
    ChainEffect,
    ChainRestarted,
    FetchTrades,
    TradeChain,
    TradesAccepted,
    TradesMissing,
)
from leadline.service.ports import Listener, Nobody

log = logging.getLogger("leadline.feed")

SECOND_NS = 1_000_000_000
NEVER = float("inf")
ANCHOR_PAUSE_S = 30.0  # least time between two looks beside the live book
ANCHOR_REACH = 0.5  # ask again when half of the reach on a side is used up
RECORDING_GAP_S = 7200  # an update that comes later than this after the one before: the recording was off meanwhile

QUIET_LOOK_S = 60.0  # a book without a diff for this long is looked at over REST; then after twice as long, and so on
TRADE_AGE_NS = 30 * SECOND_NS  # clocks differ by seconds: a trade this old is surely not on its way any more
TICKER_LEAD_S = 5.0  # tickers go on and no diff came for this long: look at once

FeedEffect = FetchSnapshot | FetchTrades | SymbolSecond | StreamSilent


class Feed:
    """State of one symbol. epoch, last_trade: where the store left off.

    anchor_s: a second look beside the live book at least this often; None: never. deepen: the first snapshot is a shallow one.
    tick_e8: the symbol's tick size; None: not known.
    """

    def __init__(
        self,
        symbol: str,
        *,
        epoch: int = 0,
        last_trade: Trade | None = None,
        event_ticks: bool = False,
        anchor_s: float | None = None,
        deepen: bool = False,
        incident_keys: Collection[tuple[int, int]] = (),
        start_cause: str = "starting",
        listener: Listener | None = None,
        tick_e8: int | None = None,
    ) -> None:
        self.symbol = symbol
        self.sync = BookSync(epoch=epoch)
        self.chain = TradeChain(last_trade)
        self.audit = QuoteAudit()
        self.second = Second()
        self.set_tick(tick_e8)
        self._sizes = SizeHistory()
        self._thresholds: list[float | None] | None = None  # by our own minutes
        self.gaps = self.resyncs = self.crossings = self.fills = self.seconds_closed = self.snapshots_taken = 0
        self.trades_missing = 0
        self.last_mismatch_ms: int | None = None
        self.recent: deque[MarketEvent] = deque(maxlen=8)
        self._event_ticks = event_ticks
        self._anchor_s = anchor_s
        self._shallow = self._deepen = deepen
        self._anchor_due = self._anchor_pause_until = NEVER
        self._diff_at, self._quiet_look_s = 0.0, QUIET_LOOK_S
        self._trade_at: float | None = None
        self._trade_look_s = QUIET_LOOK_S
        self._probed_ns = 0
        self._reach = (0, 0)
        self._next_tick: int | None = None
        self._last_update: tuple[int, int] | None = None  # (E, receive stamp) of the book's last diff
        self._newest_update: tuple[int, int] | None = None  # the same of the newest diff received on this connection
        self._newest_event_ns = 0
        self._blocks: dict[int, tuple[TradeState, list[Trade]]] = {}
        self._trade_state = TradeState.COMPLETE  # worst news of this second; a hole that is open at the tick comes on top
        self._incidents: list[Incident] = []
        self._incident_keys = set(incident_keys)
        self._open_incident: Incident | None = None
        self._halt: Incident | None = None  # open while the symbol does not trade; its cause is the exchange's word
        self._first_epoch = epoch + 1
        self._started = False
        self._start_cause = start_cause
        self._listener: Listener = listener or Nobody()

    def successor(self, began_ns: int) -> "Feed":
        """A fresh feed after this one crashed at began_ns: what it had accepted is not lost, what it held of the book is."""
        heir = Feed(
            self.symbol,
            epoch=self.sync.epoch,
            last_trade=self.chain.last,
            event_ticks=self._event_ticks,
            anchor_s=self._anchor_s,
            deepen=self._shallow,
            incident_keys=self._incident_keys,
            start_cause="feed_crash",
            tick_e8=self.tick_e8,
            listener=self._listener,
        )
        heir._sizes, heir._thresholds = self._sizes, self._thresholds
        heir.second.set_size_thresholds(self.size_thresholds)
        heir._blocks, heir._incidents, heir._next_tick = self._blocks, self._incidents, self._next_tick
        heir._newest_event_ns, heir._halt = self._newest_event_ns, self._halt
        if self._open_incident is not None:
            heir._incidents.append(structs.replace(self._open_incident, end_ms=began_ns // 1_000_000))
        heir.begin(began_ns)
        return heir

    # What happened -----------------------------------------------------------

    def handle(self, event: MarketEvent, now: float, clock_ns: int) -> list[FeedEffect]:
        """One event of this symbol. now: monotonic seconds; clock_ns: the service's clock (unused where event time drives)."""
        self.recent.append(event)
        match event:
            case DepthUpdate():
                return self._depth(event, now, clock_ns)
            case BestQuote():
                self._quote(event, now)
                return []
            case Trade():
                return self._trade(event, now)
            case Subscribed():
                if not self._event_ticks:
                    self.begin(clock_ns)
                return self._book_effects(self.sync.subscribed(now), now, clock_ns)
            case _:
                return self.disconnected(event.reason, now, clock_ns)

    def _depth(self, update: DepthUpdate, now: float, clock_ns: int) -> list[FeedEffect]:
        out: list[FeedEffect] = self._event_seconds(update) if self._event_ticks else []
        self._newest_update = (update.ts_event_ns, update.ts_recv_ns)
        self._newest_event_ns = update.ts_event_ns
        self.begin(self._time(clock_ns))
        book_before = self.sync.book
        if book_before is not None:
            self.second.depth_coming(update, book_before)
        applied = self.sync.events_applied
        effects = self.sync.update_received(update, now)
        if book_before is not None and self.sync.events_applied != applied:
            # book_before is the one this update changed; an anchor that it brought into place is no change of the market.
            self._last_update = self._newest_update
            self._diff_at, self._quiet_look_s = now, QUIET_LOOK_S
            if self.sync.book is not None:
                self.second.depth_applied(update, book_before)
                self.audit.book_changed(book_before)
                self._listener.book_changed(self.symbol)
        if effects:
            out += self._book_effects(effects, now, clock_ns)
        return out

    @property
    def newest_event_ns(self) -> int:
        """Event time of the newest diff; 0 before the first."""
        return self._newest_event_ns

    def _time(self, clock_ns: int) -> int:
        """The clock by which losses are dated: ours, or the newest event time where that drives."""
        return self._newest_event_ns if self._event_ticks and self._newest_event_ns else clock_ns

    def _quote(self, quote: BestQuote, now: float) -> None:
        self.second.quote_received(quote)
        book = self.sync.book
        if book is None:
            return
        if now - self._diff_at > TICKER_LEAD_S and quote.update_id > book.update_id:
            self._anchor_due = min(self._anchor_due, now)
        if not self.audit.quote_received(quote):
            self.second.flag(Flag.AUDIT)
            self.last_mismatch_ms = quote.ts_recv_ns // 1_000_000
            log.warning("audit_mismatch", extra={"symbol": self.symbol, "detail": self.audit.last_mismatch})
            if self._anchor_s is not None:
                self._anchor_due = now  # a second snapshot is the judge

    def _trade(self, trade: Trade, now: float) -> list[FeedEffect]:
        self._trade_at, self._trade_look_s = now, QUIET_LOOK_S
        newest = self.chain.newest
        if newest is None or trade.agg_id > newest.agg_id or trade.ts_trade_ns > newest.ts_trade_ns:
            self.second.trade_received(trade)
        return self._chain_effects(self.chain.received(trade, now))

    def snapshot_received(self, request_id: int, snapshot: DepthSnapshot, now: float, clock_ns: int) -> list[FeedEffect]:
        """The answer to a FetchSnapshot."""
        return self._book_effects(self.sync.snapshot_received(request_id, snapshot, now), now, clock_ns)

    def snapshot_failed(self, request_id: int, now: float, clock_ns: int) -> list[FeedEffect]:
        """No answer to a FetchSnapshot."""
        return self._book_effects(self.sync.snapshot_failed(request_id, now), now, clock_ns)

    def trades_received(self, request_id: int, trades: Sequence[Trade], now: float) -> list[FeedEffect]:
        """The answer to a FetchTrades."""
        if not self.chain.is_probe(request_id):
            return self._chain_effects(self.chain.page_received(request_id, trades, now))
        # Young ones may be on their way; old ones were not delivered by a stream that looked merely quiet.
        old = [trade for trade in trades if trade.ts_trade_ns < self._probed_ns - TRADE_AGE_NS]
        out = self._chain_effects(self.chain.page_received(request_id, old, now))
        return [*out, StreamSilent(f"trades up to {old[-1].agg_id} did not come")] if old else out

    def trades_failed(self, request_id: int, now: float) -> list[FeedEffect]:
        """No answer to a FetchTrades."""
        return self._chain_effects(self.chain.page_failed(request_id, now))

    def disconnected(self, reason: str, now: float, clock_ns: int) -> list[FeedEffect]:
        """The symbol's connection ended."""
        effects = self.sync.disconnected(reason)
        self._newest_update = None
        self.second.disconnected()
        self.audit.restart()
        return self._book_effects(effects, now, clock_ns)

    def trading(self, status: str, now: float, clock_ns: int) -> list[FeedEffect]:
        """What exchangeInfo says of the symbol. While it is not TRADING its silence means nothing, and its book is not dead."""
        if status == (TRADING if self._halt is None else self._halt.cause):
            return []
        at_ms = self._time(clock_ns) // 1_000_000
        if self._halt is not None:
            self._incidents.append(structs.replace(self._halt, end_ms=at_ms))
            self._halt = None
        if status == TRADING:
            self._diff_at, self._quiet_look_s = now, QUIET_LOOK_S
            self._trade_at, self._trade_look_s = now, QUIET_LOOK_S
            log.info("trading_again", extra={"symbol": self.symbol})
        else:
            self.sync.forget_anchor()  # one that is ahead would be taken for a silent stream
            self._halt = self.incident("not_trading", at_ms, None, status, "")
            log.warning("not_trading", extra={"symbol": self.symbol, "status": status})
        self._listener.book_changed(self.symbol)
        return []

    def set_tick(self, tick_e8: int | None) -> None:
        """The symbol's tick size, as exchangeInfo says."""
        self.tick_e8 = tick_e8
        self.second.set_tick(tick_e8)

    # Seconds -------------------------------------------------------------------

    def tick(self, t: int, *, tick_recv_ns: int, sample_ns: int, now: float, flags: Flag = NO_FLAGS) -> list[FeedEffect]:
        """Close second t: its record, its snapshot if there is a book, the trades and incidents since the last one."""
        self.begin(sample_ns)
        # Where event time drives, only the stream itself closes seconds: its silence is nothing that could be seen here.
        waited = [] if self._event_ticks else self._book_effects(self.sync.time_passed(now), now, sample_ns)
        book = self.sync.book
        live = book is not None
        reason = self._live_reason if live else self.reason
        if book is not None:
            book.trim(LEVELS_MAX)
        snapshot, record = self.second.close(
            t,
            state=self.sync.state,
            reason=reason,
            epoch=self.sync.epoch if self.sync.epoch >= self._first_epoch else None,
            book=book,
            last_update=self._last_update,
            tick_recv_ns=tick_recv_ns,
            sample_ns=sample_ns,
            trade_state=self._trade_state if self.chain.hole is None else TradeState.MISSING,
            flags=flags,
        )
        self._trade_state = TradeState.COMPLETE
        if record.minute is not None:
            self._sizes.add(t, record.minute.size_p99)
            self._judge_sizes(t)
        skipped = None
        if snapshot is None:
            skipped = "empty orderbook" if live else f"book not live ({reason})"
        self.seconds_closed += 1
        self.snapshots_taken += snapshot is not None
        second = SymbolSecond(self.symbol, t, record, snapshot, skipped, self._take_blocks(), self._take_incidents())
        return [*waited, second, *self._anchor(now), *self._look_for_trades(now, sample_ns)]

    def finish(self, clock_ns: int) -> SymbolSecond | None:
        """What is left when a recording or the service ends: trades and incidents of a second that nobody will close."""
        self._chain_effects(self.chain.give_up("the service stopped before they came"))
        self._close_incident(self._time(clock_ns))
        if self._halt is not None:
            self._incidents.append(structs.replace(self._halt, end_ms=self._time(clock_ns) // 1_000_000))
        blocks, incidents = self._take_blocks(), self._take_incidents()
        if not blocks and not incidents:
            return None
        second = self._time(clock_ns) // SECOND_NS
        if not second:  # a recording without a single diff
            second = max([block.second for block in blocks] + [incident.second for incident in incidents])
        return SymbolSecond(self.symbol, second, None, None, None, blocks, incidents)

    def remember_sizes(self, sizes: Iterable[tuple[int, Sequence[float | None]]], t: int | None) -> None:
        """Minute blocks of an earlier run: tick and size_p99. t: the present second; None: the next minute's tick tells it."""
        for minute, size_p99 in sizes:
            self._sizes.add(minute, size_p99)
        if t is not None:
            self._judge_sizes(t)

    def _judge_sizes(self, t: int) -> None:
        """From now on a level is large by the minutes of the 24 h up to t.

        What was set at `second` from outside stays until those minutes have something to say.
        """
        found = self._sizes.thresholds(t)
        thresholds = None if all(threshold is None for threshold in found) else found
        if thresholds != self._thresholds:
            self._thresholds = thresholds
            self.second.set_size_thresholds(thresholds)

    def _event_seconds(self, update: DepthUpdate) -> list[FeedEffect]:
        """Tick t falls after the last update with E <= t and just before the first with E > t."""
        out: list[FeedEffect] = []
        if self._next_tick is None:
            self._next_tick = -(-update.ts_event_ns // SECOND_NS)
        restart = -(-update.ts_event_ns // SECOND_NS)
        while update.ts_event_ns > self._next_tick * SECOND_NS:
            t = self._next_tick
            self._next_tick += 1
            out += self.tick(t, tick_recv_ns=update.ts_recv_ns, sample_ns=t * SECOND_NS, now=t)
            if restart - t > RECORDING_GAP_S:  # what came before is closed with its second; of the rest nothing is known
                self.incident("missed_seconds", t * 1000, (restart - 1) * 1000, "recording", f"no update for {restart - t} s")
                self._next_tick = restart
        return out

    def _take_blocks(self) -> tuple[TradeBlock, ...]:
        blocks = tuple(
            TradeBlock(self.symbol, second, state, tuple(trades)) for second, (state, trades) in sorted(self._blocks.items())
        )
        self._blocks.clear()
        return blocks

    def _take_incidents(self) -> tuple[Incident, ...]:
        incidents, self._incidents = tuple(self._incidents), []
        return incidents

    # What may be read ------------------------------------------------------------

    @property
    def reason(self) -> str:
        """Why there is no LIVE book."""
        return self.sync.lost.reason.value if self.sync.lost is not None else self._start_cause

    @property
    def _live_reason(self) -> str | None:
        """What a LIVE book's reader must know."""
        return None if self._halt is None else self._halt.kind

    @property
    def lost_since_ms(self) -> int | None:
        """When the book was lost that `view` still shows; None while there is a live one, and before the first."""
        lost = self.sync.book is None and self.sync.last is not None and self._open_incident is not None
        return self._open_incident.start_ms if lost and self._open_incident is not None else None

    @property
    def size_thresholds(self) -> Sequence[float | None] | None:
        """Quote value above which a level is large, by distance bucket (sizes.BUCKETS_BPS); None: too little history."""
        return self.second.size_thresholds

    @property
    def cells(self) -> tuple[TickCells, ...]:
        """The last ticks of this epoch in price cells, oldest first; none without a tick size."""
        return self.second.cells

    def view(self, levels: int) -> BookView | None:
        """A frozen copy of the book, or of the last good one flagged STALE; None before the first."""
        book, stale = self.sync.book, False
        if book is None:
            book, stale = self.sync.last, True
        if book is None:
            return None
        event_ns, recv_ns = self._last_update or (0, 0)
        return BookView(
            self.symbol,
            BookState.STALE if stale else BookState.LIVE,
            self.reason if stale else self._live_reason or (None if self.sync.bridged else Lost.UNBRIDGED.value),
            self.sync.epoch,
            book.update_id,
            tuple(book.bids.top(levels)),
            tuple(book.asks.top(levels)),
            book.known_bid,
            book.known_ask,
            event_ns,
            recv_ns,
        )

    # Effects of the core ---------------------------------------------------------

    def _book_effects(self, effects: Sequence[Effect], now: float, clock_ns: int) -> list[FeedEffect]:
        out: list[FeedEffect] = []
        clock_ns = self._time(clock_ns)
        for effect in effects:
            match effect:
                case FetchSnapshot() | StreamSilent():
                    out.append(effect)
                case BookReady():
                    self._ready(effect, now, clock_ns)
                case BookLost():
                    self._lost(effect, clock_ns)
                case BookAnchored():
                    assert self.sync.book is not None
                    self._deepen = False
                    self._note_reach()
                    self.second.book_swapped(self.sync.book)
                    fields = {"update_id": effect.update_id, "compared": effect.compared}
                    log.info("book_anchored", extra={"symbol": self.symbol, **fields})
                    self._listener.book_changed(self.symbol)
        return out

    def _ready(self, ready: BookReady, now: float, clock_ns: int) -> None:
        book = self.sync.book
        assert book is not None
        self._last_update = self._newest_update
        # Where event time drives, the clock is no receive stamp, so the newest diff gives one.
        recv_ns = self._newest_update[1] if self._event_ticks and self._newest_update is not None else clock_ns
        resync = self.sync.epoch > self._first_epoch
        self.resyncs += resync
        self.second.book_ready(book, recv_ns, resync=resync)
        self.audit.restart()
        self.audit.book_changed(book)
        self._note_reach()
        self._deepen = self._shallow
        if self._anchor_s is not None:
            self._diff_at, self._quiet_look_s = now, QUIET_LOOK_S
            self._anchor_due = now if self._deepen else now + self._anchor_s
            self._anchor_pause_until = now
        self._close_incident(clock_ns)
        log.info("book_ready", extra={"symbol": self.symbol, "epoch": ready.epoch, "update_id": ready.update_id})
        self._listener.book_changed(self.symbol)

    def _lost(self, lost: BookLost, clock_ns: int) -> None:
        fault = lost.fault
        self.gaps += fault.reason in {Lost.GAP, Lost.ID_RESTART, Lost.UNBRIDGED}
        self.crossings += fault.reason is Lost.CROSSED
        self.second.book_lost(gap=fault.reason is not Lost.CROSSED, crossed=fault.reason is Lost.CROSSED)
        if fault.reason is Lost.AUDIT:
            self.second.flag(Flag.AUDIT)
        self.audit.restart()
        self._open_incident = self.incident(
            fault.reason.value, clock_ns // 1_000_000, None, fault.reason.value, fault.detail, epoch_before=lost.epoch
        )
        log.warning(
            "book_lost",
            extra={"symbol": self.symbol, "epoch": lost.epoch, "reason": fault.reason.value, "detail": fault.detail},
        )
        self._listener.book_lost(self.symbol, fault.reason.value, fault.detail)

    def _chain_effects(self, effects: Sequence[ChainEffect]) -> list[FeedEffect]:
        out: list[FeedEffect] = []
        for effect in effects:
            match effect:
                case FetchTrades():
                    out.append(effect)
                    if not effect.probe:
                        self.second.flag(Flag.TRADES_LATE)
                case TradesAccepted():
                    if effect.state is TradeState.BACKFILLED and self._trade_state is TradeState.COMPLETE:
                        self._trade_state = TradeState.BACKFILLED
                    for trade in effect.trades:
                        self.fills += trade.fills
                        self._block(trade, effect.state)
                        self._listener.trade(trade)
                case TradesMissing():
                    self._missing(effect)
                case ChainRestarted():
                    self.incident(
                        "chain_restart",
                        effect.last.ts_trade_ns // 1_000_000,
                        effect.first.ts_trade_ns // 1_000_000,
                        "id_restart",
                        f"aggregate id {effect.last.agg_id} followed by {effect.first.agg_id}",
                    )
        return out

    def _block(self, trade: Trade, state: TradeState) -> None:
        second = trade.ts_trade_ns // SECOND_NS
        before, trades = self._blocks.get(second, (TradeState.COMPLETE, []))
        trades.append(trade)
        self._blocks[second] = (state if before is TradeState.COMPLETE else before, trades)

    def _missing(self, missing: TradesMissing) -> None:
        self._trade_state = TradeState.MISSING
        self.trades_missing += max(0, missing.to_id - missing.from_id + 1)
        for neighbour in (missing.after, missing.before):
            second = neighbour.ts_trade_ns // SECOND_NS
            self._blocks[second] = (TradeState.MISSING, self._blocks.get(second, (TradeState.MISSING, []))[1])
        self.incident(
            "trades_missing",
            missing.after.ts_trade_ns // 1_000_000,
            missing.before.ts_trade_ns // 1_000_000,
            missing.why,
            f"aggregate ids {missing.from_id}..{missing.to_id}"
            if missing.from_id <= missing.to_id
            else f"fills {missing.after.last_id + 1}..{missing.before.first_id - 1}",
        )
        log.warning("trades_missing", extra={"symbol": self.symbol, "detail": missing.why})
        self._listener.trades_missing(self.symbol, missing.from_id, missing.to_id, missing.why)

    # Incidents -----------------------------------------------------------------

    def incident(
        self, kind: str, start_ms: int, end_ms: int | None, cause: str, detail: str, *, epoch_before: int | None = None
    ) -> Incident:
        """Note one loss; it goes to the store with the next second."""
        second = start_ms // 1000
        n = next((n for n in range(1000) if (second, n) not in self._incident_keys), 999)
        self._incident_keys.add((second, n))
        incident = Incident(self.symbol, second, n, kind, start_ms, end_ms, epoch_before, None, cause, detail)
        self._incidents.append(incident)
        return incident

    def close_left_open(self, incident: Incident, end_ms: int) -> None:
        """End an incident that an earlier run was killed over: what came after is the outage's, not its."""
        self._incidents.append(structs.replace(incident, end_ms=max(end_ms, incident.start_ms)))

    def begin(self, clock_ns: int) -> None:
        """From the first sign of life until the first LIVE book, the missing seconds have an incident too."""
        if not self._started:
            self._started = True
            if self.sync.book is None:
                self._open_incident = self.incident("start", clock_ns // 1_000_000, None, self._start_cause, "")

    def _close_incident(self, clock_ns: int) -> None:
        if self._open_incident is not None:
            epoch = self.sync.epoch if self.sync.book is not None else None  # None: it ended with the service
            closed = structs.replace(self._open_incident, end_ms=clock_ns // 1_000_000, epoch_after=epoch)
            self._open_incident = None
            self._incidents.append(closed)

    # Re-anchor -----------------------------------------------------------------

    def _note_reach(self) -> None:
        book = self.sync.book
        assert book is not None
        self._reach = _distance(book.bids.keys, book.bids.known_key), _distance(book.asks.keys, book.asks.known_key)

    def _anchor(self, now: float) -> list[FeedEffect]:
        """A second look when the known range grows thin, when the first was shallow, after an audit mismatch, or by the timer."""
        book = self.sync.book
        if self._anchor_s is None or book is None or self._halt is not None or now < self._anchor_pause_until:
            return []
        thin = any(
            _distance(side.keys, side.known_key) < ANCHOR_REACH * reach
            for reach, side in zip(self._reach, (book.bids, book.asks), strict=True)
        )
        quiet = now - self._diff_at >= self._quiet_look_s
        if not (thin or self._deepen or quiet or now >= self._anchor_due):
            return []
        if quiet:
            self._quiet_look_s *= 2
        self._anchor_due = now + self._anchor_s
        self._anchor_pause_until = now + ANCHOR_PAUSE_S
        return [effect for effect in self.sync.request_anchor(now) if isinstance(effect, FetchSnapshot)]

    def _look_for_trades(self, now: float, sample_ns: int) -> list[FeedEffect]:
        """No trade for a minute, then for two, four ...: ask whether there were any."""
        if self._trade_at is None:
            self._trade_at = now
        if self._anchor_s is None or self._halt is not None or now - self._trade_at < self._trade_look_s:
            return []
        self._trade_look_s *= 2
        self._probed_ns = sample_ns
        return self._chain_effects(self.chain.probe(now))


def _distance(keys: list[int], known_key: int | None) -> int:
    """From the best price to the edge of the known range; 0 if the side is complete or empty."""
    return keys[-1] - known_key if keys and known_key is not None else 0
