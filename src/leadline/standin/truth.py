"""What really was: every level change of one symbol, in order, and so its book at every update id. Pure; the stand-in's own book.

Changes are kept in chunks of 10,000 ids, each with the whole book at its start, so any book is at most that many steps away. The
oldest chunks are let go; whoever needs older ids runs the market again from its seed.
"""

from array import array
from bisect import bisect_left
from collections import deque
from itertools import chain

CHUNK_IDS = 10_000
KEPT_CHUNKS = 200  # of all symbols of a market together, about 56 MB
KEPT_CHUNKS_LEAST = 2  # of each

Levels = dict[int, int]  # tick -> lots


class _Chunk:
    """The book at `before_id`, and the changes after it. A tick of a bid is written as its negative."""

    __slots__ = ("_asks", "_bids", "before_id", "quantities", "ticks", "times_us")

    def __init__(self, before_id: int, bids: Levels, asks: Levels) -> None:
        self.before_id = before_id
        self._bids = array("q", chain.from_iterable(bids.items()))
        self._asks = array("q", chain.from_iterable(asks.items()))
        self.ticks = array("q")
        self.quantities = array("q")
        self.times_us = array("q")

    def start(self) -> tuple[Levels, Levels]:
        return _levels(self._bids), _levels(self._asks)


class Ledger:
    """The changes of one symbol. Ids count up from the one after `first_id`."""

    def __init__(self, first_id: int, bids: Levels, asks: Levels, kept_chunks: int) -> None:
        """bids, asks: the book at first_id."""
        self.first_id = self.last_id = first_id
        self._chunks = deque([_Chunk(first_id, bids, asks)], maxlen=kept_chunks)
        self._open = self._chunks[0]

    def holds(self, update_id: int) -> bool:
        """Whether the book at that id is here."""
        return self.kept_from <= update_id <= self.last_id

    @property
    def kept_from(self) -> int:
        """The oldest id whose book is still here."""
        return self._chunks[0].before_id

    def add(self, time_us: int, signed_tick: int, quantity: int) -> int:
        """A change; returns its id. signed_tick: negative for a bid. quantity: the new one, in lots."""
        chunk = self._open
        if self.last_id - chunk.before_id == CHUNK_IDS:
            bids, asks = chunk.start()
            _apply(chunk, 0, CHUNK_IDS, bids, asks, remove=True)
            chunk = self._open = _Chunk(self.last_id, bids, asks)
            self._chunks.append(chunk)
        chunk.ticks.append(signed_tick)
        chunk.quantities.append(quantity)
        chunk.times_us.append(time_us)
        self.last_id += 1
        return self.last_id

    def book(self, update_id: int) -> tuple[Levels, Levels] | None:
        """(bids, asks) at that id; None where it is not kept or has not come."""
        if not self.holds(update_id):
            return None
        chunk = self._chunk_of(update_id)
        bids, asks = chunk.start()
        _apply(chunk, 0, update_id - chunk.before_id, bids, asks, remove=True)
        return bids, asks

    def touched(self, first_id: int, last_id: int) -> tuple[Levels, Levels] | None:
        """Every level that the ids changed, with its quantity at last_id (0: gone); None where one of them is not kept."""
        if not self.kept_from < first_id <= last_id <= self.last_id:
            return None
        bids: Levels = {}
        asks: Levels = {}
        while first_id <= last_id:
            chunk = self._chunk_of(first_id)
            until = min(last_id, chunk.before_id + CHUNK_IDS)
            _apply(chunk, first_id - 1 - chunk.before_id, until - chunk.before_id, bids, asks, remove=False)
            first_id = until + 1
        return bids, asks

    def id_at(self, time_us: int) -> int:
        """The last id that had come by then; the oldest kept one where that is later."""
        for chunk in reversed(self._chunks):
            if chunk.times_us and chunk.times_us[0] <= time_us:
                return chunk.before_id + bisect_left(chunk.times_us, time_us + 1)
        return self.kept_from

    def _chunk_of(self, update_id: int) -> _Chunk:
        place = (update_id - 1 - self.kept_from) // CHUNK_IDS
        return self._chunks[max(0, place)]


def _apply(chunk: _Chunk, start: int, end: int, bids: Levels, asks: Levels, *, remove: bool) -> None:
    for signed_tick, quantity in zip(chunk.ticks[start:end], chunk.quantities[start:end], strict=True):
        side, tick = (bids, -signed_tick) if signed_tick < 0 else (asks, signed_tick)
        if quantity or not remove:
            side[tick] = quantity
        else:
            side.pop(tick, None)


def _levels(flat: "array[int]") -> Levels:
    return dict(zip(flat[::2], flat[1::2], strict=True))
