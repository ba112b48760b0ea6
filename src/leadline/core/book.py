"""One L2 book: exact, sorted, its best prices at hand and its banded depth kept up to date level by level.

Both sides are the same thing seen from the touch: `Ladder` keeps keys that rise towards the best price (a bid's key is its price,
an ask's key is minus its price), so the best level is always the last one and changes near the touch move little memory.

The book is complete inside [known_bid, known_ask]: the prices its snapshot reached. Outside, touched levels are right, but some
are missing. None means complete to the end of that side.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from leadline.core.records import BANDS_BPS, DepthSnapshot, DepthUpdate, Level
from leadline.core.units import E16

_WIDEST_FIRST = tuple(reversed(BANDS_BPS))
_NOWHERE = 1 << 64  # above every key


class Ladder:
    """One side. Keys ascend towards the best price; `known_key` None: complete to its end."""

    __slots__ = ("_depth", "_edges", "_sums", "keys", "known", "known_key", "quantities", "sign")

    def __init__(self, sign: int, levels: Sequence[Level], known_price_e8: int | None) -> None:
        self.sign = sign
        self.quantities = {sign * price: quantity for price, quantity in levels if quantity}
        self.keys = sorted(self.quantities)
        self.known_key = None if known_price_e8 is None else sign * known_price_e8
        self.known = [False] * len(BANDS_BPS)
        self._edges: list[int] = []  # widest band first; empty while there is no mid
        self._sums = [0] * len(BANDS_BPS)
        self._depth: list[int | None] | None = None

    def apply(self, levels: Sequence[Level]) -> None:
        """Set absolute quantities; 0 removes, removing an unknown level is normal."""
        keys, quantities, sign = self.keys, self.quantities, self.sign
        edges = self._edges
        widest = edges[0] if edges else _NOWHERE
        moved = [0] * (len(BANDS_BPS) + 1)
        for price, quantity in levels:
            key = sign * price
            before = quantities.get(key, 0)
            if quantity == before:
                continue
            if quantity:
                if not before:
                    insort(keys, key)
                quantities[key] = quantity
            else:
                del keys[bisect_left(keys, key)]
                del quantities[key]
            if key >= widest:
                moved[bisect_right(edges, key)] += key * (quantity - before)
        if any(moved):
            inside = 0
            for band in range(len(BANDS_BPS) - 1, -1, -1):
                inside += moved[band + 1]
                self._sums[band] += inside
            self._depth = None

    def recenter(self, mid2: int | None) -> None:
        """Move the band edges to a new mid. The sums follow by what lies between old and new edge."""
        self._depth = None
        if mid2 is None:
            self._edges, self.known = [], [False] * len(BANDS_BPS)
            return
        scaled = [mid2 * (10_000 - self.sign * band) for band in _WIDEST_FIRST]
        # Bids: the smallest price with 20000 p >= mid2 (10000 - W). Asks: the largest with 20000 p <= mid2 (10000 + W).
        edges = [-(-value // 20_000) if self.sign > 0 else -(value // 20_000) for value in scaled]
        known_key = self.known_key
        self.known = [known_key is None or 20_000 * known_key <= self.sign * value for value in scaled]
        if not self._edges:
            self._sums = [self._between(edge, None) for edge in edges]
        else:
            for band, (old, new) in enumerate(zip(self._edges, edges, strict=True)):
                if new < old:
                    self._sums[band] += self._between(new, old)
                elif new > old:
                    self._sums[band] -= self._between(old, new)
        self._edges = edges

    def _between(self, low: int, high: int | None) -> int:
        keys = self.keys
        inside = keys[bisect_left(keys, low) : None if high is None else bisect_left(keys, high)]
        quantities = self.quantities
        return sum(key * quantities[key] for key in inside)

    def depth_e16(self) -> list[int | None]:
        """Quote value inside each band of BANDS_BPS, edge included; None where the band's edge is beyond the known range.

        The same list as long as nothing inside the bands has changed; whoever gets it does not change it.
        """
        if self._depth is None:
            sign = self.sign
            bands = zip(reversed(self._sums), reversed(self.known), strict=True)
            self._depth = [sign * total if known else None for total, known in bands]
        return self._depth

    def top(self, n: int) -> list[Level]:
        """The n best levels, best first."""
        return [(self.sign * key, self.quantities[key]) for key in self.keys[: -n - 1 : -1]]

    def keys_beyond(self, low: int) -> list[int]:
        """Keys at or above `low`, rising towards the best."""
        return self.keys[bisect_left(self.keys, low) :]

    def cost(self, mid2: int, sizes_quote: Sequence[int]) -> tuple[list[float | None], list[int | None]]:
        """Cost in bps of the mid to take each size, sizes rising; and what could be filled (1e-16) where a size could not.

        Walks inside the known range only; the last level fills in part. A partial fill never yields a cost.
        """
        sign, quantities = self.sign, self.quantities
        known_from = 0 if self.known_key is None else bisect_left(self.keys, self.known_key)
        costs: list[float | None] = []
        targets = [size * E16 for size in sizes_quote]
        target = targets[0]
        value = quantity = 0
        for key in reversed(self.keys[known_from:]):
            level_quantity = quantities[key]
            price = sign * key
            reached = value + price * level_quantity
            while reached >= target:
                # vwap = target / (quantity + rest / price), kept as one exact ratio until the last division
                taken = quantity * price + (target - value)
                costs.append(-sign * 10_000 * (2 * target * price - mid2 * taken) / (mid2 * taken))
                if len(costs) == len(targets):
                    return costs, [None] * len(costs)
                target = targets[len(costs)]
            value = reached
            quantity += level_quantity
        missing = len(sizes_quote) - len(costs)
        return costs + [None] * missing, [None] * len(costs) + [value] * missing

    def trim(self, levels_max: int) -> None:
        """Forget the levels farthest from the touch. The known range shrinks to what is left."""
        surplus = len(self.keys) - levels_max
        if surplus <= 0:
            return
        for key in self.keys[:surplus]:
            del self.quantities[key]
        del self.keys[:surplus]
        edge = self.keys[0]
        self.known_key = edge if self.known_key is None else max(edge, self.known_key)
        self._edges = []  # summed anew by the next recenter


class Book:
    """The book of one symbol at `update_id`. Not crossed as long as its owner looks at `crossed` after each update."""

    __slots__ = ("asks", "bids", "mid2", "update_id")

    def __init__(self, snapshot: DepthSnapshot) -> None:
        self.update_id = snapshot.update_id
        self.bids = Ladder(1, snapshot.bids, _edge(snapshot.bids, snapshot.limit, min))
        self.asks = Ladder(-1, snapshot.asks, _edge(snapshot.asks, snapshot.limit, max))
        self.mid2: int | None = None
        self._recenter()

    def apply(self, update: DepthUpdate) -> None:
        """Advance by one update. Asserts that it follows: the caller checks for gaps."""
        assert update.first_id <= self.update_id + 1, "caller checks for gaps"
        if update.bids:
            self.bids.apply(update.bids)
        if update.asks:
            self.asks.apply(update.asks)
        self.update_id = update.last_id
        bids, asks = self.bids.keys, self.asks.keys
        if self.mid2 != (bids[-1] - asks[-1] if bids and asks else None):
            self._recenter()

    def _recenter(self) -> None:
        bids, asks = self.bids.keys, self.asks.keys
        self.mid2 = bids[-1] - asks[-1] if bids and asks else None
        self.bids.recenter(self.mid2)
        self.asks.recenter(self.mid2)

    @property
    def crossed(self) -> bool:
        """Best bid at or above best ask: no such book exists on the exchange."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids and asks) and bids[-1] >= -asks[-1]

    @property
    def known_bid(self) -> int | None:
        """Lowest price down to which the bids are complete; None: to their end."""
        return self.bids.known_key

    @property
    def known_ask(self) -> int | None:
        """Highest price up to which the asks are complete; None: to their end."""
        return None if self.asks.known_key is None else -self.asks.known_key

    @property
    def best_bid(self) -> Level | None:
        """Best bid, None if that side is empty."""
        return next(iter(self.bids.top(1)), None)

    @property
    def best_ask(self) -> Level | None:
        """Best ask, None if that side is empty."""
        return next(iter(self.asks.top(1)), None)

    def trim(self, levels_max: int) -> None:
        """Bound the memory of both sides; the known range shrinks with what is forgotten."""
        for side in (self.bids, self.asks):
            if len(side.keys) > levels_max:
                side.trim(levels_max)
                side.recenter(self.mid2)


def _edge(levels: Sequence[Level], limit: int, farthest: Callable[[Iterator[int]], int]) -> int | None:
    """A side with `limit` levels is complete as far as it goes; a side with fewer is complete to its end."""
    return farthest(price for price, _ in levels) if len(levels) >= limit else None
