"""Closes each second of one symbol into a BookSnapshot and a SecondRecord (docs/records.md).

The snapshot is the state at tick t; the record is what happened since tick t - 1. Sums of trades are as received, aligned with
the book events of the same second. Sums of the book belong to one epoch: what an epoch that ended in this second had summed is
dropped.

Durations are receive stamps; the caller gives the stamp of the tick. Nothing here takes time.
"""

from collections import deque
from collections.abc import Sequence

from leadline.core.book import Book
from leadline.core.minute import MinuteSums
from leadline.core.records import (
    BANDS_BPS,
    SIZES_QUOTE,
    TOP_LEVELS,
    BestQuote,
    BookSnapshot,
    BookState,
    DepthUpdate,
    Flag,
    SecondRecord,
    Trade,
    TradeState,
)

RANKS = 10
NO_FLAGS = Flag(0)
DISPLAY_NS = 100_000_000  # a batch is compared with the largest size shown in the 100 ms before it (docs/records.md)
_ABSENT = (-(1 << 64), 0)  # a rank that is not there: worse than every key, nothing in it


class QuoteSums:
    """Order flow at the best prices over a chain of best quotes (Cont, Kukanov, Stoikov 2014); the path of mid and spread."""

    __slots__ = (
        "_changed_ns",
        "_since_ns",
        "_unlinked_ns",
        "_weighted",
        "ask_added",
        "ask_removed",
        "bid_added",
        "bid_removed",
        "last",
        "mid2_high",
        "mid2_low",
        "mid2_open",
        "mid_sq",
        "spread_max",
    )  # fmt: skip

    def __init__(self) -> None:
        self.last: tuple[int, int, int, int] | None = None
        self.open(0)

    def open(self, tick_recv_ns: int) -> None:
        """A second begins; the last quote lives on, the sums do not."""
        self.bid_added = self.bid_removed = self.ask_added = self.ask_removed = 0
        self.mid_sq = 0
        self._weighted = 0
        self._unlinked_ns = tick_recv_ns
        self._since_ns = self._changed_ns = tick_recv_ns
        self.mid2_open: int | None = None
        self.mid2_high = self.mid2_low = 0
        self.spread_max = 0
        if self.last is not None:
            self._begin(self.last)

    def restart(self) -> None:
        """The chain broke: the next quote has no predecessor, and what was summed belongs to another epoch."""
        self.last = None
        self.open(0)

    def unlink(self, recv_ns: int) -> None:
        """There is no quote from here on, and the next one has no predecessor; the sums of the second stay."""
        if self.last is not None:
            self._weighted += (self.last[2] - self.last[0]) * (recv_ns - self._changed_ns)
            self._unlinked_ns = recv_ns
            self.last = None

    def _begin(self, quote: tuple[int, int, int, int]) -> None:
        mid2, spread = quote[0] + quote[2], quote[2] - quote[0]
        self.mid2_open = self.mid2_high = self.mid2_low = mid2
        self.spread_max = spread

    def quote(self, bid: int, bid_qty: int, ask: int, ask_qty: int, recv_ns: int) -> None:
        """One best quote: prices and quantities in 1e-8, and when it was received."""
        last = self.last
        mid2 = bid + ask
        if last is None:
            self.last = (bid, bid_qty, ask, ask_qty)
            if self.mid2_open is None:
                self._begin(self.last)
                self._since_ns = recv_ns
            else:
                self._since_ns += recv_ns - self._unlinked_ns  # time without a quote weighs nothing
            self._changed_ns = recv_ns
        else:
            last_bid, last_bid_qty, last_ask, last_ask_qty = last
            # e_bid = 1{Pb >= Pb'} qb - 1{Pb <= Pb'} qb';  e_ask likewise with the inequalities turned round
            change = (bid_qty if bid >= last_bid else 0) - (last_bid_qty if bid <= last_bid else 0)
            if change > 0:
                self.bid_added += change
            else:
                self.bid_removed -= change
            change = (ask_qty if ask <= last_ask else 0) - (last_ask_qty if ask >= last_ask else 0)
            if change > 0:
                self.ask_added += change
            else:
                self.ask_removed -= change
            if bid != last_bid or ask != last_ask:
                step = mid2 - last_bid - last_ask
                self.mid_sq += step * step
                self._weighted += (last_ask - last_bid) * (recv_ns - self._changed_ns)
                self._changed_ns = recv_ns
            self.last = (bid, bid_qty, ask, ask_qty)
        self.mid2_high = max(self.mid2_high, mid2)
        self.mid2_low = min(self.mid2_low, mid2)
        self.spread_max = max(self.spread_max, ask - bid)

    def spread_tw(self, tick_recv_ns: int) -> float | None:
        """Spread weighted by receive time up to the tick; the value at the tick if no time passed; None without a quote."""
        if self.last is None:
            return None
        spread = self.last[2] - self.last[0]
        passed = tick_recv_ns - self._since_ns
        if passed <= 0:
            return float(spread)
        return (self._weighted + spread * (tick_recv_ns - self._changed_ns)) / passed


class _RankSums:
    """Order flow by rank over diffs (Xu, Gould, Howison, arXiv 1907.06230): ranks 1..10, and the sum over ranks 1..20."""

    __slots__ = ("_asks", "_bids", "by_rank", "range_left", "top20")

    def __init__(self) -> None:
        self._bids: tuple[list[int], list[int]] | None = None
        self._asks: tuple[list[int], list[int]] | None = None
        self.open()

    def open(self) -> None:
        self.by_rank = [0] * RANKS
        self.top20 = 0
        self.range_left = False

    def restart(self, book: Book | None) -> None:
        self._bids = self._asks = None
        self.open()
        if book is not None:
            self.book(book)

    def swap(self, book: Book) -> None:
        """The same state, seen through another book."""
        self._bids = self._asks = None
        self.book(book)

    def book(self, book: Book) -> None:
        """The state after a diff; the first one after a restart has no predecessor."""
        bids = self._top(book.bids.keys, book.bids.quantities, book.bids.known_key)
        asks = self._top(book.asks.keys, book.asks.quantities, book.asks.known_key)
        if self._bids is not None and bids != self._bids:
            self._add(self._bids, bids, 1)
        if self._asks is not None and asks != self._asks:
            self._add(self._asks, asks, -1)
        self._bids, self._asks = bids, asks

    def _top(self, keys: list[int], quantities: dict[int, int], known_key: int | None) -> tuple[list[int], list[int]]:
        best = keys[: -TOP_LEVELS - 1 : -1]
        if known_key is not None and (len(best) < TOP_LEVELS or best[-1] < known_key):
            self.range_left = True
        return best, [quantities[key] for key in best]

    def _add(self, before: tuple[list[int], list[int]], after: tuple[list[int], list[int]], sign: int) -> None:
        ranks = TOP_LEVELS
        keys0, quantities0 = before
        keys1, quantities1 = after
        if len(keys0) < ranks or len(keys1) < ranks:
            keys0, quantities0 = _padded(keys0, quantities0)
            keys1, quantities1 = _padded(keys1, quantities1)
        by_rank = self.by_rank
        for rank in range(ranks):
            key0, key1 = keys0[rank], keys1[rank]
            if key1 == key0:
                change = quantities1[rank] - quantities0[rank]
                if not change:
                    continue
            elif key1 > key0:
                change = quantities1[rank]
            else:
                change = -quantities0[rank]
            change *= sign
            if rank < RANKS:
                by_rank[rank] += change
            self.top20 += change


def _padded(keys: list[int], quantities: list[int]) -> tuple[list[int], list[int]]:
    absent = TOP_LEVELS - len(keys)
    return keys + [_ABSENT[0]] * absent, quantities + [_ABSENT[1]] * absent


class _TradeSums:
    """Trades as received, by aggressor, and the taker orders (batches) they form (docs/records.md)."""

    __slots__ = (
        "_batch_quote", "_begun", "_buys", "_first_px", "_first_qty", "_last_px", "_prices", "_shown", "_ts",
        "batches", "buy_qty", "buy_quote", "excess", "excess_quote", "first_id", "last_id", "max_batch_quote",
        "n_buy", "n_sell", "px_first", "px_high", "px_last", "px_low", "sell_qty", "sell_quote", "sweeps",
    )  # fmt: skip

    def __init__(self) -> None:
        self._ts = -1
        self._buys = False
        self._last_px = self._first_px = self._first_qty = self._batch_quote = self._prices = 0
        self._shown: int | None = None
        self.open()

    def open(self) -> None:
        self.buy_qty = self.sell_qty = self.buy_quote = self.sell_quote = self.n_buy = self.n_sell = 0
        self.batches = self.sweeps = self.excess = self.excess_quote = 0
        self.first_id: int | None = None
        self.last_id: int | None = None
        self.px_first: int | None = None
        self.px_last = self.px_high = self.px_low = 0
        self.max_batch_quote: int | None = None
        self._begun = False  # an open batch belongs to the second in which it began

    def trade(self, trade: Trade, quotes: deque[tuple[int, int, int, int, int]]) -> None:
        price, quantity, buys = trade.price_e8, trade.quantity_e8, not trade.buyer_is_maker
        quote = price * quantity
        if buys:
            self.buy_qty += quantity
            self.buy_quote += quote
            self.n_buy += trade.fills
        else:
            self.sell_qty += quantity
            self.sell_quote += quote
            self.n_sell += trade.fills
        if self.px_first is None:
            self.px_first = self.px_high = self.px_low = price
            self.first_id = trade.first_id
        self.last_id = trade.last_id
        self.px_last = price
        if price > self.px_high:
            self.px_high = price
        elif price < self.px_low:
            self.px_low = price

        back = price < self._last_px if buys else price > self._last_px
        if trade.ts_trade_ns == self._ts and buys == self._buys and not back:
            if price != self._last_px:
                self._prices += 1
                if self._prices == 2:
                    self._swept()
            elif self._prices == 1:
                self._first_qty += quantity
            self._batch_quote += quote
        else:
            self._ts, self._buys = trade.ts_trade_ns, buys
            self._first_px, self._first_qty, self._prices = price, quantity, 1
            self._shown = _shown(quotes, price, buys, trade.ts_recv_ns)
            self._batch_quote = quote
            self._begun = True
            self.batches += 1
        self._last_px = price
        if self._begun and (self.max_batch_quote is None or self._batch_quote > self.max_batch_quote):
            self.max_batch_quote = self._batch_quote

    def _swept(self) -> None:
        """The batch went on to a second price, so all it took at its first is known."""
        self.sweeps += 1
        if self._shown is not None and self._first_qty > self._shown:
            self.excess += 1
            self.excess_quote += (self._first_qty - self._shown) * self._first_px


def _shown(quotes: deque[tuple[int, int, int, int, int]], price: int, buys: bool, recv_ns: int) -> int | None:
    """Largest size displayed at `price` on the side that is taken, in the 100 ms before; the state at their start included."""
    if not quotes:
        return None
    at, size = (3, 4) if buys else (1, 2)
    return max((quote[size] for quote in quotes if quote[at] == price), default=0)


class Second:
    """Accumulates one symbol's second after second. The caller feeds what happened and closes each whole second."""

    def __init__(self, sizes_quote: Sequence[int] = SIZES_QUOTE) -> None:
        self._sizes = sizes_quote
        self._event = QuoteSums()  # chain of bookTickers
        self._diff = QuoteSums()  # chain of the own book's best after each diff
        self._ranks = _RankSums()
        self._trades = _TradeSums()
        self._minute = MinuteSums()
        self._shown: deque[tuple[int, int, int, int, int]] = deque()
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
        self._open_book(0)

    def book_swapped(self, book: Book) -> None:
        """An anchor took the live book's place: equal where both know, so no chain breaks, and what is known anew is no flow."""
        self._ranks.swap(book)

    def disconnected(self) -> None:
        """The ticker's connection ended; its next message has no predecessor."""
        self._event.restart()
        self._last_quote_id = None
        self._shown.clear()

    def flag(self, flag: Flag) -> None:
        """Mark this second."""
        self._flags |= flag

    def depth_applied(self, update: DepthUpdate, book: Book) -> None:
        """A diff was applied to the LIVE book."""
        self._n_diff += 1
        self._n_ids += update.last_id - update.first_id + 1
        self._n_levels += len(update.bids) + len(update.asks)
        self._chain_diff(book, update.ts_recv_ns)
        self._ranks.book(book)
        self._evaluate(book)
        self._minute.update(update, book)

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
            n_large_bid=None,  # no size threshold yet: it comes from the baseline of the analytics
            n_large_ask=None,
            large_bid_quote=None,
            large_ask_quote=None,
            n_sweeps=trades.sweeps if self._has_ticker else None,
            n_excess=trades.excess if self._has_ticker else None,
            excess_quote=trades.excess_quote if self._has_ticker else None,
            level_events=[],
            level_events_dropped=0,
            minute=self._minute.close(t, book),
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
