"""Our book against an independent stream: after every diff the best bid and ask equal the last bookTicker whose id is not above
the book's (6,881 of 6,881 on the recordings of 2024-08-08). Compared by id, never by time; and only when a later ticker has come,
so that a ticker still on its way is no mismatch.
"""

from collections import deque

from leadline.core.book import Book
from leadline.core.records import BestQuote

PENDING_MAX = 256  # book states that wait for a later ticker; a quiet ticker stream leaves the oldest uncompared
QUOTES_MAX = 512  # tickers that wait for a later diff

Best = tuple[int, int, int, int]


class QuoteAudit:
    """Counts of one symbol; `checks` are the comparable ones."""

    __slots__ = ("_pending", "_quotes", "checks", "last_mismatch", "mismatches")

    def __init__(self) -> None:
        self.checks = 0
        self.mismatches = 0
        self.last_mismatch: str | None = None
        self._quotes: deque[tuple[int, Best]] = deque(maxlen=QUOTES_MAX)
        self._pending: deque[tuple[int, Best]] = deque(maxlen=PENDING_MAX)

    def restart(self) -> None:
        """The book or the connection began anew: nothing seen so far can be compared with what follows."""
        self._quotes.clear()
        self._pending.clear()

    def book_changed(self, book: Book) -> None:
        """Remember the best prices after a diff, to be compared once a later ticker has come."""
        bids, asks = book.bids, book.asks
        if bids.keys and asks.keys:
            bid, ask = bids.keys[-1], asks.keys[-1]
            self._pending.append((book.update_id, (bid, bids.quantities[bid], -ask, asks.quantities[ask])))

    def quote_received(self, quote: BestQuote) -> bool:
        """Compare what has become comparable. False: a mismatch was among it."""
        quotes, pending = self._quotes, self._pending
        if quotes and quote.update_id <= quotes[-1][0]:  # ids must rise; what came before can no longer be ordered
            self.restart()
        agreed = True
        while pending and pending[0][0] < quote.update_id:
            update_id, best = pending.popleft()
            while len(quotes) > 1 and quotes[1][0] <= update_id:
                quotes.popleft()
            if not quotes or quotes[0][0] > update_id:
                continue
            self.checks += 1
            if quotes[0][1] != best:
                self.mismatches += 1
                self.last_mismatch = f"at {update_id}: book {best}, ticker {quotes[0][1]} of {quotes[0][0]}"
                agreed = False
        quotes.append((quote.update_id, (quote.bid_price_e8, quote.bid_quantity_e8, quote.ask_price_e8, quote.ask_quantity_e8)))
        return agreed
