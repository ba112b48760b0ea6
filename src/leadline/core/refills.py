"""Prices at which more traded than was shown, update by update: hidden size, or an order placed again between two messages.

Between two diffs the excess at a price is what traded there beyond the larger of its size at the first of them and the largest
size that the ticker showed there since. Three diffs with an excess within 10 s are a refill (docs/records.md). Keys are those of
Ladder: a bid's price, minus an ask's price.
"""

from collections import deque

from leadline.core.book import Book
from leadline.core.records import BestQuote, DepthUpdate, LevelEvent, Trade

REFILL = "refill"
SPAN_NS = 10_000_000_000
DIFFS_MIN = 3
WAITING_MAX = 10_000  # tickers and trades between two diffs

Excess = tuple[int, int, int]
"""E of the diff in ns, what traded since the diff before, what was shown since."""

Beyond = tuple[int, int, int]
"""Key, what traded since the last diff, size at that diff, which is less."""


class Refills:
    """The excesses of one symbol's book over the last 10 s, and the refills of one second."""

    def __init__(self) -> None:
        self._quotes: list[BestQuote] = []  # the one that stood at the last diff, and all since
        self._trades: list[Trade] = []  # since the last diff
        self._whole = False  # there was a diff in this epoch, and a ticker stood at it
        self._beyond: list[Beyond] = []
        self._excesses: dict[int, deque[Excess]] = {}
        self._told: dict[int, LevelEvent] = {}
        self._newest_ns = 0

    def restart(self) -> None:
        """An epoch began or ended. Its first diff has none before it."""
        self._whole = False
        for memory in (self._trades, self._beyond, self._excesses, self._told):
            memory.clear()

    def disconnected(self) -> None:
        """The ticker's connection ended: what is shown is not known until it speaks again."""
        self._quotes.clear()
        self._whole = False

    def quote(self, quote: BestQuote) -> None:
        """One bookTicker."""
        self._quotes.append(quote)

    def trade(self, trade: Trade) -> None:
        """One trade, as received."""
        self._trades.append(trade)

    def coming(self, book: Book) -> None:
        """A diff is about to be applied: what traded beyond its size at the diff before."""
        self._beyond = []
        if not self._trades or not self._whole:
            return
        traded: dict[int, int] = {}
        for trade in self._trades:
            key = trade.price_e8 if trade.buyer_is_maker else -trade.price_e8
            traded[key] = traded.get(key, 0) + trade.quantity_e8
        for key, quantity in traded.items():
            held = (book.bids if key > 0 else book.asks).quantities.get(key, 0)
            if quantity > held:
                self._beyond.append((key, quantity, held))

    def applied(self, update: DepthUpdate, book: Book) -> None:
        """That diff was applied."""
        self._newest_ns = update.ts_event_ns
        for key, traded, held in self._beyond:
            shown = max(held, self._shown(key))
            if traded > shown:
                self._exceeded(key, (update.ts_event_ns, traded, shown), book.mid2)
        self._beyond.clear()
        self._trades.clear()
        del self._quotes[:-1]
        self._whole = bool(self._quotes)

    def _shown(self, key: int) -> int:
        """Largest size that the ticker showed since the last diff, the state at that diff included."""
        if key > 0:
            return max([quote.bid_quantity_e8 for quote in self._quotes if quote.bid_price_e8 == key], default=0)
        return max([quote.ask_quantity_e8 for quote in self._quotes if quote.ask_price_e8 == -key], default=0)

    def _exceeded(self, key: int, excess: Excess, mid2: int | None) -> None:
        rows = self._excesses.setdefault(key, deque())
        rows.append(excess)
        now_ns = excess[0]
        while rows[0][0] <= now_ns - SPAN_NS:
            rows.popleft()
        if len(rows) < DIFFS_MIN or mid2 is None:
            return
        price, (_, traded, shown) = abs(key), map(sum, zip(*rows, strict=True))
        told = self._told.get(key)
        if told is None or traded - shown > told.traded_e8 - told.displayed_e8:
            peak, distance_bps = max(seen for _, _, seen in rows), abs(2 * price - mid2) * 1e4 / mid2
            first_ms, last_ms = rows[0][0] // 1_000_000, now_ns // 1_000_000
            side = "bid" if key > 0 else "ask"
            self._told[key] = LevelEvent(REFILL, side, price, peak, shown, traded, first_ms, last_ms, distance_bps)

    def close(self) -> list[LevelEvent]:
        """A second ends: one refill for each price at which one went on, with the largest of its running sums."""
        told = list(self._told.values())
        self._told.clear()
        past_ns = self._newest_ns - SPAN_NS
        for key in [key for key, rows in self._excesses.items() if rows[-1][0] <= past_ns]:
            del self._excesses[key]
        if len(self._quotes) + len(self._trades) > WAITING_MAX:
            self._whole = False
        if not self._whole:  # no book, or no diff for long: what waits is let go, and nothing exceeds what is not known
            del self._quotes[:-1]
            self._trades.clear()
        return told
