"""Closes each second of one symbol into a BookSnapshot and a SecondRecord (docs/records.md).

The snapshot is the state at tick t; the record is what happened since tick t - 1. Sums of trades are as received, aligned with
the book events of the same second. Sums of the book belong to one epoch: what an epoch that ended in this second had summed is
dropped.

Durations are receive stamps; the caller gives the stamp of the tick. Nothing here takes time.
"""

from collections import deque
from collections.abc import Sequence

from leadline.core.book import Book
from leadline.core.cells import CellRing, TickCells
from leadline.core.fleeting import FLEETING, FleetingLevels
from leadline.core.minute import MinuteSums
from leadline.core.near import near_book
from leadline.core.records import (
    BANDS_BPS,
    SIZES_QUOTE,
    TOP_LEVELS,
    BestQuote,
    BookSnapshot,
    BookState,
    DepthUpdate,
    Flag,
    LevelEvent,
    SecondRecord,
    Trade,
    TradeState,
)
from leadline.core.refills import Refills
from leadline.core.sums import DISPLAY_NS, RANKS, QuoteSums, RankSums, Shown, TradeSums

__all__ = ["DISPLAY_NS", "NO_FLAGS", "RANKS", "QuoteSums", "Second"]

NO_FLAGS = Flag(0)
LEVEL_EVENTS_MAX = 8


class Second:
    """Accumulates one symbol's second after second. The caller feeds what happened and closes each whole second."""

    def __init__(self, sizes_quote: Sequence[int] = SIZES_QUOTE) -> None:
        self._sizes = sizes_quote
        self._event = QuoteSums()  # chain of bookTickers
        self._diff = QuoteSums()  # chain of the own book's best after each diff
        self._ranks = RankSums()
        self._trades = TradeSums()
        self._minute = MinuteSums()
        self._fleeting = FleetingLevels()
        self._refills = Refills()
        self._cells = CellRing()
        self._shown: deque[Shown] = deque()
        self._last_quote_id: int | None = None
        self._has_ticker = False
        self._live_since_ns: int | None = None  # receive stamp of the epoch's start if it began in this second
        self._flags = NO_FLAGS
        self._open(0)

    def _open(self, tick_recv_ns: int) -> None:
        self._tick_recv_ns = tick_recv_ns
        self._n_bbo = 0
        self._event.open(tick_recv_ns)
        self._trades.open()
        self._live_since_ns = None
        self._flags = NO_FLAGS
        self._open_book(tick_recv_ns)

    def _open_book(self, tick_recv_ns: int) -> None:
        self._n_diff = self._n_ids = self._n_levels = self._n_eval = 0
        self._diff.open(tick_recv_ns)
        self._ranks.open()
        self._depth_min: tuple[list[int | None], list[int | None]] | None = None
        self._evaluated: tuple[list[int | None], list[int | None]] = ([], [])

    # What happened -----------------------------------------------------------

    def book_ready(self, book: Book, recv_ns: int, *, resync: bool) -> None:
        """An epoch began with this book; its first state has no predecessor. resync: it is not the first of this run."""
        self._open_book(recv_ns)
        self._forget_levels()
        self._diff.restart()
        self._event.restart()
        self._ranks.restart(book)
        self._chain_diff(book, recv_ns)
        self._live_since_ns = recv_ns
        if resync:
            self._flags |= Flag.RESYNC

    def book_lost(self, *, gap: bool, crossed: bool) -> None:
        """The epoch ended; what it had summed in this second is dropped."""
        self._flags |= (Flag.GAP if gap else NO_FLAGS) | (Flag.CROSSED if crossed else NO_FLAGS)
        self._diff.restart()
        self._event.restart()
        self._ranks.restart(None)
        self._forget_levels()
        self._open_book(0)

    def _forget_levels(self) -> None:
        self._fleeting.restart()
        self._refills.restart()
        self._cells.restart()

    def book_swapped(self, book: Book) -> None:
        """An anchor took the live book's place: equal where both know, so no chain breaks, and what is known anew is no flow."""
        self._ranks.swap(book)

    def disconnected(self) -> None:
        """The ticker's connection ended; its next message has no predecessor."""
        self._event.restart()
        self._last_quote_id = None
        self._shown.clear()
        self._refills.disconnected()

    def flag(self, flag: Flag) -> None:
        """Mark this second."""
        self._flags |= flag

    def depth_coming(self, update: DepthUpdate, book: Book) -> None:
        """A diff is about to be applied to the LIVE book: what it brings anew can only be told now."""
        self._fleeting.coming(update, book)
        self._refills.coming(book)

    def depth_applied(self, update: DepthUpdate, book: Book) -> None:
        """That diff was applied."""
        self._n_diff += 1
        self._n_ids += update.last_id - update.first_id + 1
        self._n_levels += len(update.bids) + len(update.asks)
        self._chain_diff(book, update.ts_recv_ns)
        self._ranks.book(book)
        self._evaluate(book)
        self._minute.update(update, book)
        self._fleeting.applied(update, book)
        self._refills.applied(update, book)

    def _chain_diff(self, book: Book, recv_ns: int) -> None:
        bids, asks = book.bids, book.asks
        if bids.keys and asks.keys:
            bid, ask = bids.keys[-1], asks.keys[-1]
            self._diff.quote(bid, bids.quantities[bid], -ask, asks.quantities[ask], recv_ns)
        else:
            self._diff.unlink(recv_ns)

    def _evaluate(self, book: Book) -> None:
        self._n_eval += 1
        bids, asks = book.bids.depth_e16(), book.asks.depth_e16()
        if self._depth_min is None:
            self._depth_min = (bids, asks)
        else:  # a list that is still the same one has been looked at
            low_bids, low_asks = self._depth_min
            seen_bids, seen_asks = self._evaluated
            self._depth_min = (
                low_bids if bids is seen_bids else _least(low_bids, bids),
                low_asks if asks is seen_asks else _least(low_asks, asks),
            )
        self._evaluated = (bids, asks)

    def quote_received(self, quote: BestQuote) -> None:
        """One bookTicker."""
        if self._last_quote_id is not None and quote.update_id <= self._last_quote_id:
            self._event.unlink(quote.ts_recv_ns)
            self._flags |= Flag.BBO_BREAK
        self._last_quote_id = quote.update_id
        self._has_ticker = True
        self._n_bbo += 1
        self._refills.quote(quote)
        if quote.bid_quantity_e8 and quote.ask_quantity_e8:
            self._event.quote(
                quote.bid_price_e8, quote.bid_quantity_e8, quote.ask_price_e8, quote.ask_quantity_e8, quote.ts_recv_ns
            )
        else:  # a side is empty: zeros stand in its place, and there is neither mid nor spread
            self._event.unlink(quote.ts_recv_ns)
        shown = self._shown
        shown.append((quote.ts_recv_ns, quote.bid_price_e8, quote.bid_quantity_e8, quote.ask_price_e8, quote.ask_quantity_e8))
        while len(shown) > 1 and shown[1][0] <= quote.ts_recv_ns - DISPLAY_NS:
            shown.popleft()

    def trade_received(self, trade: Trade) -> None:
        """One trade, as received and not a duplicate. Backfilled trades do not come here."""
        shown = self._shown
        while len(shown) > 1 and shown[1][0] <= trade.ts_recv_ns - DISPLAY_NS:
            shown.popleft()
        self._trades.trade(trade, shown)
        self._fleeting.trade(trade)
        self._refills.trade(trade)

    # What is given from outside, and what may be read ----------------------------

    def set_size_thresholds(self, thresholds: Sequence[float | None] | None) -> None:
        """Quote value above which a level is large, by distance bucket (sizes.BUCKETS_BPS); None: not known."""
        self._fleeting.thresholds = thresholds

    @property
    def size_thresholds(self) -> Sequence[float | None] | None:
        """As set last; None if no bucket has one."""
        return self._fleeting.thresholds

    def set_tick(self, tick_e8: int | None) -> None:
        """The symbol's tick size, on which the cells are built; None: not known, and no cells."""
        self._cells.set_tick(tick_e8)

    @property
    def cells(self) -> tuple[TickCells, ...]:
        """The ring of the last ticks of this epoch, oldest first."""
        return self._cells.ticks

    # The tick ------------------------------------------------------------------

    def close(
        self,
        t: int,
        *,
        state: BookState,
        reason: str | None,
        epoch: int | None,
        book: Book | None,
        last_update: tuple[int, int] | None,
        tick_recv_ns: int,
        sample_ns: int,
        trade_state: TradeState = TradeState.COMPLETE,
        flags: Flag = NO_FLAGS,
    ) -> tuple[BookSnapshot | None, SecondRecord]:
        """Close second t. book: the LIVE one or None. last_update: (E, receive stamp) in ns of its last diff.

        tick_recv_ns: receive stamp of the tick (durations); sample_ns: real moment of the sample. Snapshot None: no LIVE book, or
        both its sides are empty.
        """
        live = book is not None
        live_ms = self._live_ms(live, tick_recv_ns)
        flags |= self._flags | (Flag.PARTIAL if live_ms < 1000 else NO_FLAGS)
        if book is not None and self._n_eval == 0:
            self._evaluate(book)
        sums = self._event if self._has_ticker else self._diff
        quoted = live and sums.mid2_open is not None and sums.last is not None
        range_left = self._ranks.range_left or (book is not None and _range_left(book))
        if live and range_left:
            flags |= Flag.RANGE
        flow = live and not range_left
        mid2 = book.mid2 if book is not None else None
        no_depth: list[int | None] = [None] * len(BANDS_BPS)
        no_cost: tuple[list[float | None], list[int | None]] = ([None] * len(self._sizes), [None] * len(self._sizes))
        cost_buy, fill_buy = book.asks.cost(mid2, self._sizes) if book and mid2 else no_cost
        cost_sell, fill_sell = book.bids.cost(mid2, self._sizes) if book and mid2 else no_cost
        depth_min = self._depth_min if live and self._depth_min else (no_depth, no_depth)
        trades = self._trades
        traded = trades.px_first is not None
        fleeting, refills = self._fleeting.close(), self._refills.close()
        n_large_bid, large_bid_quote = _large(fleeting if live else None, "bid")
        n_large_ask, large_ask_quote = _large(fleeting if live else None, "ask")
        events = sorted([*trades.swept, *refills, *(fleeting or ())], key=_by_value)
        near = near_book(book)
        self._cells.add(t, near)
        record = SecondRecord(
            t=t,
            state=state,
            reason=reason,
            epoch=epoch,
            live_ms=live_ms,
            flags=int(flags),
            update_id=book.update_id if book else None,
            event_ms=last_update[0] // 1_000_000 if book and last_update else None,
            recv_ms=last_update[1] // 1_000_000 if book and last_update else None,
            sample_ms=sample_ns // 1_000_000 if live else None,
            known_bid=book.known_bid if book else None,
            known_ask=book.known_ask if book else None,
            n_diff=self._n_diff,
            n_ids=self._n_ids,
            n_levels=self._n_levels,
            n_bbo=self._n_bbo if self._has_ticker else None,
            ofi_source=("event" if self._has_ticker else "diff") if live else None,
            bid_added=sums.bid_added if live else None,
            bid_removed=sums.bid_removed if live else None,
            ask_added=sums.ask_added if live else None,
            ask_removed=sums.ask_removed if live else None,
            ofi_diff=list(self._ranks.by_rank) if flow else None,
            ofi_top20=self._ranks.top20 if flow else None,
            mid2_open=sums.mid2_open if quoted else None,
            mid2_high=sums.mid2_high if quoted else None,
            mid2_low=sums.mid2_low if quoted else None,
            mid2_close=sums.last[0] + sums.last[2] if quoted and sums.last else None,
            mid_sq=sums.mid_sq if quoted else None,
            spread_tw=sums.spread_tw(tick_recv_ns) if quoted else None,
            spread_max=sums.spread_max if quoted else None,
            buy_qty=trades.buy_qty,
            sell_qty=trades.sell_qty,
            buy_quote=trades.buy_quote,
            sell_quote=trades.sell_quote,
            n_buy=trades.n_buy,
            n_sell=trades.n_sell,
            n_batches=trades.batches,
            first_id=trades.first_id,
            last_id=trades.last_id,
            px_first=trades.px_first,
            px_last=trades.px_last if traded else None,
            px_high=trades.px_high if traded else None,
            px_low=trades.px_low if traded else None,
            max_batch_quote=trades.max_batch_quote,
            trade_state=trade_state,
            depth_bid=book.bids.depth_e16() if book else no_depth,
            depth_ask=book.asks.depth_e16() if book else no_depth,
            depth_min_bid=depth_min[0],
            depth_min_ask=depth_min[1],
            n_eval=self._n_eval,
            cost_buy=cost_buy,
            cost_sell=cost_sell,
            fill_buy=fill_buy,
            fill_sell=fill_sell,
            n_large_bid=n_large_bid,
            n_large_ask=n_large_ask,
            large_bid_quote=large_bid_quote,
            large_ask_quote=large_ask_quote,
            n_sweeps=trades.sweeps if self._has_ticker else None,
            n_excess=trades.excess if self._has_ticker else None,
            excess_quote=trades.excess_quote if self._has_ticker else None,
            level_events=events[:LEVEL_EVENTS_MAX],
            level_events_dropped=len(events[LEVEL_EVENTS_MAX:]),
            minute=self._minute.close(t, near),
        )
        self._open(tick_recv_ns)
        if book is None or not (book.bids.keys or book.asks.keys):
            return None, record
        return BookSnapshot(tuple(book.bids.top(TOP_LEVELS)), tuple(book.asks.top(TOP_LEVELS)), book.update_id, t), record

    def _live_ms(self, live: bool, tick_recv_ns: int) -> int:
        """1000 means LIVE in one epoch since the last tick, whatever the receive stamps say of its length."""
        if not live:
            return 0
        if self._live_since_ns is None:
            return 1000
        return max(0, min(999, (tick_recv_ns - self._live_since_ns) // 1_000_000))


def _least(one: list[int | None], other: list[int | None]) -> list[int | None]:
    """Smaller of both per band; unknown in either is unknown."""
    return [None if a is None or b is None else (a if a < b else b) for a, b in zip(one, other, strict=True)]


def _range_left(book: Book) -> bool:
    """Rank 20 of a side lies beyond the known range."""
    return any(
        side.known_key is not None and (len(side.keys) < TOP_LEVELS or side.keys[-TOP_LEVELS] < side.known_key)
        for side in (book.bids, book.asks)
    )


def _large(fleeting: Sequence[LevelEvent] | None, side: str) -> tuple[int | None, int | None]:
    """How many of a side, and the value of their peaks; None: not known."""
    if fleeting is None:
        return None, None
    peaks = [event.price_e8 * event.peak_e8 for event in fleeting if event.side == side]
    return len(peaks), sum(peaks)


def _by_value(event: LevelEvent) -> tuple[int, str, str, int, int]:
    """Largest first: a fleeting level by its peak, the others by their excess; then any order that is always the same."""
    quantity = event.peak_e8 if event.kind == FLEETING else event.traded_e8 - event.displayed_e8
    return -event.price_e8 * quantity, event.kind, event.side, event.price_e8, event.born_ms
