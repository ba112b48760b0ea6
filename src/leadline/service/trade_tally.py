"""Bought less sold since midnight, and where trades are missing: a running sum per symbol over the stored trades of its day.

Ids of consecutive trades that close up prove that nothing is missing between them. The newest half minute is added anew at each
question, because trades arrive a little after the second they belong to.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from msgspec import Struct, structs

from leadline.analytics.histogram import exact_sum
from leadline.core.records import Trade
from leadline.service.steps import Steps

SECOND_NS = 1_000_000_000
DAY_S = 86_400
SLICE_S = 300
SETTLED_S = 30
AGAIN_S = 300  # a hole may be filled later: so often the day is looked through again
SYMBOLS_MAX = 64


class TradeReader(Protocol):
    """The store's reading side, as far as the tally needs it."""

    def trade_columns(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with int64 arrays ts_ns, quantity_e8, first_id, last_id and bools taker_buy, in id order."""
        ...

    def last_trade(self, symbol: str, at: int | None = None) -> Trade | None:
        """The newest stored trade of the seconds up to `at`."""
        ...


class Hole(Struct, frozen=True):
    """Trades are missing between two trade times; from_ns None: nothing is known of what came before to_ns."""

    from_ns: int
    to_ns: int


class Tally(Struct, frozen=True):
    """Of the trades with anchor_s <= T < upto_s.

    delta_e8: bought less sold, base. holes: where trades are missing. last_id, last_ns: of the newest trade, None before one.
    """

    anchor_s: int
    upto_s: int
    delta_e8: int
    holes: tuple[Hole, ...]
    last_id: int | None
    last_ns: int

    def missing_between(self, start_s: int, end_s: int) -> bool:
        """Whether trades of [start_s, end_s) are missing."""
        return any(hole.from_ns < end_s * SECOND_NS and hole.to_ns > start_s * SECOND_NS for hole in self.holes)

    @property
    def can_be_filled(self) -> bool:
        """Whether trades are missing between known ones; what nobody saw before the first will not come."""
        return any(hole.from_ns > self.anchor_s * SECOND_NS for hole in self.holes)

    @property
    def missing_s(self) -> float:
        """Time in which trades are missing."""
        return sum(hole.to_ns - hole.from_ns for hole in self.holes) / SECOND_NS


class Tallies:
    """Settled tallies by symbol."""

    def __init__(self, reader: TradeReader) -> None:
        self._reader = reader
        self._held: dict[str, tuple[Tally, int]] = {}  # with the second at which its day was begun to be looked through

    def upto(self, symbol: str, anchor_s: int, end_s: int) -> Steps[Tally]:
        """Of [anchor_s, end_s)."""
        settled_s = max(anchor_s, end_s - SETTLED_S)
        tally, begun_s = self._held.get(symbol, (None, end_s))
        if (
            tally is None
            or tally.anchor_s != anchor_s
            or tally.upto_s > settled_s
            or (tally.can_be_filled and end_s - begun_s >= AGAIN_S)
        ):
            tally, begun_s = self._begun(symbol, anchor_s), end_s
        while tally.upto_s < settled_s:
            tally = self._added(symbol, tally, min(tally.upto_s + SLICE_S, settled_s))
            yield
        self._held.pop(symbol, None)
        self._held[symbol] = tally, begun_s
        if len(self._held) > SYMBOLS_MAX:
            del self._held[next(iter(self._held))]
        return self._added(symbol, tally, end_s)

    def _begun(self, symbol: str, anchor_s: int) -> Tally:
        before = self._reader.last_trade(symbol, anchor_s - 1)
        last_id = None if before is None else before.last_id
        return Tally(anchor_s, anchor_s, 0, (), last_id, anchor_s * SECOND_NS)

    def _added(self, symbol: str, tally: Tally, upto_s: int) -> Tally:
        found = self._reader.trade_columns(symbol, tally.upto_s, upto_s)
        if not len(found.ts_ns):
            return structs.replace(tally, upto_s=upto_s)
        bought = exact_sum(np.where(found.taker_buy, found.quantity_e8, 0))
        sold = exact_sum(np.where(found.taker_buy, 0, found.quantity_e8))
        return structs.replace(
            tally,
            upto_s=upto_s,
            delta_e8=tally.delta_e8 + bought - sold,
            holes=(*tally.holes, *_holes(tally, found)),
            last_id=int(found.last_id[-1]),
            last_ns=int(found.ts_ns[-1]),
        )


def _holes(tally: Tally, found: Any) -> Sequence[Hole]:
    """Where the fill ids do not close up."""
    unknown = -2  # no id follows it
    before = np.concatenate([[unknown if tally.last_id is None else tally.last_id], found.last_id[:-1]])
    times = np.concatenate([[tally.last_ns], found.ts_ns[:-1]])
    broken = np.flatnonzero(found.first_id != before + 1)
    return [Hole(int(times[place]), int(found.ts_ns[place])) for place in broken]
