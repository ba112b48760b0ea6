"""Sums over one second: order flow at the best prices and by rank, and trades as received (docs/records.md).

`Second` feeds them and asks for what they hold; none knows of another.
"""

from collections import deque

from leadline.core.book import Book
from leadline.core.records import TOP_LEVELS, LevelEvent, Trade

RANKS = 10
DISPLAY_NS = 100_000_000  # a batch is compared with the largest size shown in the 100 ms before it (docs/records.md)
SWEEP = "sweep_excess"
_ABSENT = (-(1 << 64), 0)  # a rank that is not there: worse than every key, nothing in it

Shown = tuple[int, int, int, int, int]
"""One ticker: receive stamp in ns, then price and quantity of the best bid and of the best ask."""


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


class RankSums:
    """Order flow by rank over diffs (Xu, Gould, Howison, arXiv 1907.06230): ranks 1..10, and the sum over ranks 1..20."""

    __slots__ = ("_asks", "_bids", "by_rank", "range_left", "top20")

    def __init__(self) -> None:
        self._bids: tuple[list[int], list[int]] | None = None
        self._asks: tuple[list[int], list[int]] | None = None
        self.open()

    def open(self) -> None:
        """A second begins; the last state lives on, the sums do not."""
        self.by_rank = [0] * RANKS
        self.top20 = 0
        self.range_left = False

    def restart(self, book: Book | None) -> None:
        """An epoch began with this book, or ended: what was summed belongs to another one."""
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


class TradeSums:
    """Trades as received, by aggressor, and the taker orders (batches) they form (docs/records.md)."""

    __slots__ = (
        "_batch_quote", "_begun", "_buys", "_first_px", "_first_qty", "_last_px", "_prices", "_shown", "_shown_at", "_ts",
        "batches", "buy_qty", "buy_quote", "excess", "excess_quote", "first_id", "last_id", "max_batch_quote",
        "n_buy", "n_sell", "px_first", "px_high", "px_last", "px_low", "sell_qty", "sell_quote", "sweeps", "swept",
    )  # fmt: skip

    def __init__(self) -> None:
        self._ts = -1
        self._buys = False
        self._last_px = self._first_px = self._first_qty = self._batch_quote = self._prices = 0
        self._shown: int | None = None
        self._shown_at: Shown | None = None
        self.open()

    def open(self) -> None:
        """A second begins; an open batch goes on."""
        self.buy_qty = self.sell_qty = self.buy_quote = self.sell_quote = self.n_buy = self.n_sell = 0
        self.batches = self.sweeps = self.excess = self.excess_quote = 0
        self.first_id: int | None = None
        self.last_id: int | None = None
        self.px_first: int | None = None
        self.px_last = self.px_high = self.px_low = 0
        self.max_batch_quote: int | None = None
        self.swept: list[LevelEvent] = []  # sweeps that took more than was shown
        self._begun = False  # an open batch belongs to the second in which it began

    def trade(self, trade: Trade, quotes: deque[Shown]) -> None:
        """One trade. quotes: the tickers of the 100 ms before it and the one before those; empty: no ticker."""
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
            self._shown, self._shown_at = _shown(quotes, price, buys)
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
            self._list_excess(self._shown)

    def _list_excess(self, shown: int) -> None:
        assert self._shown_at is not None
        _, bid, bid_qty, ask, ask_qty = self._shown_at
        if not (bid_qty and ask_qty):  # a side was empty: no mid, and no distance from it
            return
        side, price, ms = "ask" if self._buys else "bid", self._first_px, self._ts // 1_000_000
        distance_bps = abs(2 * price - bid - ask) * 1e4 / (bid + ask)
        self.swept.append(LevelEvent(SWEEP, side, price, shown, shown, self._first_qty, ms, ms, distance_bps))


def _shown(quotes: deque[Shown], price: int, buys: bool) -> tuple[int, Shown] | tuple[None, None]:
    """Largest size displayed at `price` on the side that is taken, and the last ticker that displayed it.

    None where no ticker had that price: what rested there is not known, and nothing that was taken can be called more.
    """
    at, size = (3, 4) if buys else (1, 2)
    seen = [quote for quote in quotes if quote[at] == price]
    return (max(quote[size] for quote in seen), seen[-1]) if seen else (None, None)
