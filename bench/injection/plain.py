"""The exchange's book, kept by the instrument itself: two dicts, and the prices of each in order. Shares no code with core.book.

Sides are numbered so that one rule serves both: BID 0, ASK 1.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import islice

from leadline.core.records import DepthSnapshot, DepthUpdate, Level

BID, ASK = 0, 1
SIDES = (BID, ASK)
LEVELS = 5_000  # of a snapshot, a side; the exchange's maximum


class PlainBook:
    """Quantities by price, 1e-8, at `last_id`. Nothing is checked."""

    def __init__(self, last_id: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.last_id = last_id
        self.quantities = (dict(bids), dict(asks))
        self.prices = (sorted(self.quantities[BID]), sorted(self.quantities[ASK]))

    def put(self, side: int, price: int, quantity: int) -> None:
        """0 removes."""
        held, prices = self.quantities[side], self.prices[side]
        if quantity:
            if price not in held:
                insort(prices, price)
            held[price] = quantity
        elif held.pop(price, 0):
            del prices[bisect_left(prices, price)]

    def apply(self, update: DepthUpdate) -> None:
        """Every entry, and the id."""
        for side, levels in zip(SIDES, (update.bids, update.asks), strict=True):
            for price, quantity in levels:
                self.put(side, price, quantity)
        self.last_id = update.last_id

    def outward(self, side: int, beyond: int | None = None) -> Iterator[int]:
        """Prices from the best on; `beyond`: only those worse than this one."""
        prices = self.prices[side]
        if side == BID:
            end = len(prices) if beyond is None else bisect_left(prices, beyond)
            return (prices[n] for n in range(end - 1, -1, -1))
        start = 0 if beyond is None else bisect_right(prices, beyond)
        return (prices[n] for n in range(start, len(prices)))

    def within(self, side: int, limit: int) -> list[int]:
        """Prices of the side from its best to `limit`, included."""
        prices = self.prices[side]
        return prices[bisect_left(prices, limit) :] if side == BID else prices[: bisect_right(prices, limit)]

    def best(self, side: int) -> Level | None:
        """None: that side is empty."""
        prices = self.prices[side]
        if not prices:
            return None
        price = prices[-1] if side == BID else prices[0]
        return price, self.quantities[side][price]

    def snapshot(self, symbol: str) -> DepthSnapshot:
        """As `GET /depth` would answer at this id."""
        bids, asks = ([(p, self.quantities[side][p]) for p in islice(self.outward(side), LEVELS)] for side in SIDES)
        return DepthSnapshot(symbol, self.last_id, tuple(bids), tuple(asks), LEVELS)


def worse(side: int, price: int, than: int) -> bool:
    """Farther from the touch."""
    return price < than if side == BID else price > than


def at_distance(mid2: int, side: int, bps: float) -> int:
    """The price so many basis points away from the mid, on that side; not on any grid."""
    sign = -1 if side == BID else 1
    return round(mid2 / 2 * (1 + sign * bps / 1e4))
