"""Large levels near the mid that vanish untraded within two seconds, seen update by update (docs/records.md).

Each level that was seen to appear near the mid has one entry: its peak, and while it is young the moment of its birth. Levels
that were in the book before (in the snapshot, or out of reach when they appeared) have none: nobody knows since when they are.
"""

from bisect import bisect_right
from collections.abc import Sequence

from leadline.core.book import Book
from leadline.core.records import DepthUpdate, Level, LevelEvent, Trade
from leadline.core.sizes import BUCKETS_BPS
from leadline.core.units import E16

FLEETING = "fleeting"
LIFE_NS = 2_000_000_000
BEFORE_NS = 100_000_000  # what traded before the first update that shows the level may have traded against it
DEAD = 5  # below one part in so many of its peak
UNTRADED = 10  # less than one part in so many of its peak
TRADES_KEPT_NS = 5_000_000_000  # before the newest update: a life, what is before it, the second that is being closed
LAG_NS = 60_000_000_000  # that updates may be behind trades

_EDGES_BPS = BUCKETS_BPS.tolist()
_REACH = 1000  # 10 bps, the last edge: one part in so many of the mid
_NEVER_E16 = 1 << 256  # no level is worth more

Death = tuple[int, int, int, int, int, int]
"""Price, peak, quantity that is left, mid2 at birth, E of birth and of death in ns."""

Moment = tuple[int, int, int, int]
"""E in ns, mid2 (0: none), and the lowest and highest price less than 10 bps from the mid."""


class FleetingLevels:
    """The levels of one symbol under watch, and the deaths of one second."""

    def __init__(self) -> None:
        self._bids, self._asks = _Side("bid"), _Side("ask")
        self._thresholds: Sequence[float | None] | None = None
        self._least_e16 = _NEVER_E16  # no threshold is below it
        self._near = (0, 1, 0)  # mid2, and the lowest and highest price near it
        self._newest_trade_ns = self._newest_update_ns = self._tidied_ns = 0

    @property
    def thresholds(self) -> Sequence[float | None] | None:
        """Quote value above which a level is large, by distance bucket; None: no bucket has one."""
        return self._thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Sequence[float | None] | None) -> None:
        if thresholds is None or all(threshold is None for threshold in thresholds):
            self._thresholds, self._least_e16 = None, _NEVER_E16
        else:  # a bucket without one makes every death worth a look
            self._thresholds = tuple(thresholds)
            self._least_e16 = int(min(threshold or 0.0 for threshold in thresholds) * E16)

    def restart(self) -> None:
        """An epoch began or ended: what is under watch belongs to another book. Trades are facts and stay."""
        self._bids.restart()
        self._asks.restart()

    def trade(self, trade: Trade) -> None:
        """One trade, as received."""
        traded = self._bids.traded if trade.buyer_is_maker else self._asks.traded  # a taker that buys takes asks
        price, at_ns = trade.price_e8, trade.ts_trade_ns
        if price in traded:
            traded[price].append((at_ns, trade.quantity_e8))
        else:
            traded[price] = [(at_ns, trade.quantity_e8)]
        self._newest_trade_ns = at_ns

    def coming(self, update: DepthUpdate, book: Book) -> None:
        """A diff is about to be applied: which of its prices hold nothing yet."""
        bids, asks = book.bids.quantities, book.asks.quantities
        self._bids.appearing = [price for price, quantity in update.bids if quantity and price not in bids]
        self._asks.appearing = [-price for price, quantity in update.asks if quantity and -price not in asks]

    def applied(self, update: DepthUpdate, book: Book) -> None:
        """The diff told of by `coming` was applied."""
        mid2 = book.mid2 or 0
        if mid2 != self._near[0]:
            self._near = (mid2, *_reach(mid2))
        self._newest_update_ns = update.ts_event_ns
        now = (update.ts_event_ns, *self._near)
        self._bids.follow(update.bids, book.bids.quantities, now, self._least_e16)
        self._asks.follow(update.asks, book.asks.quantities, now, self._least_e16)

    def close(self) -> list[LevelEvent] | None:
        """A second ends: its fleeting large levels. None: there are no thresholds, or one was missing where it was needed."""
        events: list[LevelEvent] | None = []
        for side in (self._bids, self._asks):
            for death in side.dead:
                if events is not None and self._thresholds is not None:
                    events = _judged(events, side, death, self._thresholds)
            side.dead = []
        self._tidy()
        return None if self._thresholds is None else events

    def _tidy(self) -> None:
        """Forget trades that no death can need any more; now and then is enough."""
        newest_ns = max(self._newest_update_ns, self._newest_trade_ns)
        if newest_ns - self._tidied_ns > TRADES_KEPT_NS:
            self._tidied_ns = newest_ns
            from_ns = max(self._newest_update_ns - TRADES_KEPT_NS, self._newest_trade_ns - LAG_NS)
            self._bids.tidy(from_ns)
            self._asks.tidy(from_ns)


class _Side:
    """The levels of one side, by price. watch: (peak, E in ns and mid2 at birth). traded: (T in ns, quantity) taken from it."""

    __slots__ = ("appearing", "dead", "name", "traded", "watch")

    def __init__(self, name: str) -> None:
        self.name = name
        self.traded: dict[int, list[tuple[int, int]]] = {}
        self.restart()

    def restart(self) -> None:
        self.watch: dict[int, tuple[int, int, int]] = {}
        self.appearing: list[int] = []  # keys of the Ladder
        self.dead: list[Death] = []

    def follow(self, levels: Sequence[Level], held: dict[int, int], now: Moment, least_e16: int) -> None:
        """One update: deaths first, then births; what is left of a level that died is born anew."""
        watch = self.watch
        now_ns, mid2, low, high = now
        for price, quantity in levels:
            if price in watch:
                peak, born_ns, born_mid2 = watch[price]
                if quantity * DEAD < peak:
                    if price * peak > least_e16 and now_ns - born_ns <= LIFE_NS:
                        self.dead.append((price, peak, quantity, born_mid2, born_ns, now_ns))
                    if quantity and low <= price <= high:
                        watch[price] = quantity, now_ns, mid2
                    else:
                        del watch[price]
                elif quantity > peak:
                    watch[price] = quantity, born_ns, born_mid2
        for key in self.appearing:
            price = abs(key)
            if low <= price <= high and key in held:  # an update may name a price twice
                watch[price] = held[key], now_ns, mid2

    def tidy(self, from_ns: int) -> None:
        """Forget older trades."""
        kept = {price: [row for row in rows if row[0] >= from_ns] for price, rows in self.traded.items()}
        self.traded = {price: rows for price, rows in kept.items() if rows}


def _reach(mid2: int) -> tuple[int, int]:
    """Lowest and highest price less than 10 bps from the mid; none without a mid (0)."""
    return mid2 * (_REACH - 1) // (2 * _REACH) + 1, (mid2 * (_REACH + 1) - 1) // (2 * _REACH)


def _judged(events: list[LevelEvent], side: _Side, death: Death, thresholds: Sequence[float | None]) -> list[LevelEvent] | None:
    """With this death, if it counts; None: it cannot be told, since its bucket has no threshold."""
    price, peak, left, mid2, born_ns, died_ns = death
    traded = sum(quantity for at, quantity in side.traded.get(price, ()) if born_ns - BEFORE_NS <= at <= died_ns)
    if traded * UNTRADED >= peak:
        return events
    distance_bps = abs(2 * price - mid2) * 1e4 / mid2  # one rounding, so that an edge stays an edge
    threshold = thresholds[bisect_right(_EDGES_BPS, distance_bps)]
    if threshold is None:
        return None
    if price * peak > threshold * E16:
        born_ms, died_ms = born_ns // 1_000_000, died_ns // 1_000_000
        events.append(LevelEvent(FLEETING, side.name, price, peak, left, traded, born_ms, died_ms, distance_bps))
    return events
