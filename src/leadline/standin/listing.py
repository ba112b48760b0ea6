"""One listed symbol: its book, and what the exchange tells of it. Every change takes an update id, every trade its ids.

A side is kept by *keys*: ticks of asks, negative ticks of bids. The best of either has the smallest key, and keys grow away from
the touch, so that one rule serves both. Quantities are lots.
"""

from bisect import bisect_left, insort
from collections import deque
from math import gcd

from msgspec import Struct

from leadline.standin.draws import Draws
from leadline.standin.source import Frame, text
from leadline.standin.tables import Calibration
from leadline.standin.tape import Tape
from leadline.standin.truth import Ledger

SLOT_US = 100_000
FRAME_ENDS_KEPT = 4_096
TEXTS_KEPT = 5_000
QUANTITY_MAX_E8 = 2**63 - 1  # the exchange's own cap


class Spec(Struct, frozen=True, kw_only=True):
    """A symbol's own: its grid, its price, and how it lives.

    speed: millionths of the measured market's. size: what orders are worth, thousandths of those there. occupied: levels at the
    start, thousandths. decimals: of prices, as frames write them. tick_grows_after_s: then it is ten times as large; 0: never.
    """

    symbol: str
    calibration: Calibration
    price_ticks: int
    tick_e8: int
    lot_e8: int
    speed: int = 1_000_000
    size: int = 1000
    occupied: int = 1000
    decimals: int = 8
    status: str = "TRADING"
    tick_grows_after_s: int = 0

    def lots_per(self) -> tuple[int, int]:
        """(n, d): a measured size of x 1e-8 is x * n / d lots here, worth the same, or `size` of it."""
        n = self.calibration.price_e8 * self.size
        d = 1000 * self.price_ticks * self.tick_e8 * self.lot_e8
        common = gcd(n, d)
        return n // common, d // common


class Side:
    """Quantities by key, and the keys in order, best first."""

    __slots__ = ("away", "keys", "quantities")

    def __init__(self, away: int) -> None:
        self.away = away
        self.keys: list[int] = []
        self.quantities: dict[int, int] = {}

    def levels(self) -> dict[int, int]:
        """tick -> lots."""
        away = self.away
        return {key * away: quantity for key, quantity in self.quantities.items()}


class Listing:
    """Who acts on it sets `now_us`; what it has to tell waits in `frames`."""

    def __init__(
        self, seed: int | str, spec: Spec, start_us: int, tape: Tape, ids: tuple[int, int, int], kept_chunks: int
    ) -> None:
        """An empty book. ids: last update, aggregate and trade id before the start. kept_chunks: of the truth."""
        self.spec = spec
        self.tape = tape
        self._lots_max = QUANTITY_MAX_E8 // spec.lot_e8
        self.bids, self.asks = Side(-1), Side(1)
        self.now_us = start_us
        self.frames: list[Frame] = []
        self._kept_chunks = kept_chunks
        self.ledgers = [Ledger(ids[0], {}, {}, kept_chunks)]
        self.sent_id = ids[0]
        self.frame_ends = deque([ids[0]], maxlen=FRAME_ENDS_KEPT)
        self._agg_id, self._trade_id = ids[1:]
        self._jitter = Draws(seed, spec.symbol, "jitter")
        self._touched: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._texts: dict[int, str] = {}
        self._slot_start_us = start_us + self._jitter.below(SLOT_US)
        self.slot_us = self._slot_start_us

    @property
    def ledger(self) -> Ledger:
        """Of the ids that count now; those of before a restart of the ids have their own."""
        return self.ledgers[-1]

    def open(self) -> None:
        """The book as it stands is where the ids begin."""
        self.ledgers = [Ledger(self.ledger.first_id, self.bids.levels(), self.asks.levels(), self._kept_chunks)]

    def restart_ids(self, by: int) -> None:
        """Update ids go on that much lower, as after a restart of the exchange: the frame under way is lost."""
        first_id = self.ledger.last_id - by
        self.ledgers.append(Ledger(first_id, self.bids.levels(), self.asks.levels(), self._kept_chunks))
        self.sent_id = first_id
        self.frame_ends = deque([first_id], maxlen=FRAME_ENDS_KEPT)
        self._touched = ({}, {})

    def put(self, side: Side, key: int, quantity: int) -> None:
        """Without a word: for the book before the start."""
        if quantity:
            if key not in side.quantities:
                insort(side.keys, key)
            side.quantities[key] = quantity
        elif side.quantities.pop(key, None) is not None:
            del side.keys[bisect_left(side.keys, key)]

    def change(self, side: Side, key: int, quantity: int) -> None:
        """One level change: the next update id; a ticker if the touch is another now. Without effect where nothing changes."""
        quantity = min(quantity, self._lots_max)
        if side.quantities.get(key, 0) == quantity:
            return
        best = side.keys[0] if side.keys else None
        self.put(side, key, quantity)
        bids, asks = self.bids.keys, self.asks.keys
        assert not bids or not asks or bids[0] + asks[0] > 0, "a crossed market"
        tick = key * side.away
        update_id = self.ledger.add(self.now_us, key, quantity)
        self._touched[side.away > 0][tick] = quantity
        if best is None or key <= best:
            (bid, bid_lots), (ask, ask_lots) = self._touch(self.bids), self._touch(self.asks)
            symbol = self.spec.symbol
            self._send(
                "bookTicker", f'{{"u":{update_id},"s":"{symbol}","b":"{bid}","B":"{bid_lots}","a":"{ask}","A":"{ask_lots}"}}'
            )

    def _touch(self, side: Side) -> tuple[str, str]:
        if not side.keys:
            return "0.00000000", "0.00000000"
        key = side.keys[0]
        return self.price_text(key * side.away), text(side.quantities[key] * self.spec.lot_e8)

    def trade(self, side: Side, quantity: int, fills: int) -> None:
        """One price of a market order against the best level of `side`: its fills, the aggregate, what is left of the level."""
        key = side.keys[0]
        resting = side.quantities[key]
        assert 0 < quantity <= resting
        spec = self.spec
        parts = self._parts(quantity, min(fills, quantity))
        trade_ms = self.now_us // 1000
        event_ms = trade_ms + (self._jitter.bits(1) if self._jitter.bits(6) else self._jitter.below(30))
        price, sold = self.price_text(key * side.away), side is self.bids
        first, maker = self._trade_id + 1, "true" if sold else "false"
        said = f'"E":{event_ms},"s":"{spec.symbol}"'
        for n, part in enumerate(parts):
            figures = f'"p":"{price}","q":"{text(part * spec.lot_e8)}","T":{trade_ms},"m":{maker},"M":true'
            self._send("trade", f'{{"e":"trade",{said},"t":{first + n},{figures}}}')
        self._trade_id += len(parts)
        self._agg_id += 1
        figures = f'"p":"{price}","q":"{text(quantity * spec.lot_e8)}","f":{first},"l":{self._trade_id},"T":{trade_ms}'
        self._send("aggTrade", f'{{"e":"aggTrade",{said},"a":{self._agg_id},{figures},"m":{maker},"M":true}}')
        self.tape.add(
            self._agg_id,
            self.now_us,
            key * side.away * spec.tick_e8,
            quantity * spec.lot_e8,
            first,
            self._trade_id,
            sold,
            [part * spec.lot_e8 for part in parts],
        )
        self.change(side, key, resting - quantity)

    def _parts(self, quantity: int, count: int) -> list[int]:
        parts = []
        for left in range(count, 1, -1):
            part = max(1, min(quantity - left + 1, 2 * quantity * (1 + self._jitter.below(1000)) // (1000 * left)))
            parts.append(part)
            quantity -= part
        return [*parts, quantity]

    def end_slot(self) -> None:
        """One diff of all that was touched, with its quantity now; nothing after a slot without change."""
        last_id = self.ledger.last_id
        if last_id > self.sent_id:
            touched_bids, touched_asks = self._touched
            bids = _levels(self.texts(sorted(touched_bids.items(), reverse=True)))
            asks = _levels(self.texts(sorted(touched_asks.items())))
            ids = f'"U":{self.sent_id + 1},"u":{last_id}'
            self._send(
                "depth@100ms",
                f'{{"e":"depthUpdate","E":{self.slot_us // 1000},"s":"{self.spec.symbol}",{ids},"b":[{bids}],"a":[{asks}]}}',
            )
            self.sent_id = last_id
            self.frame_ends.append(last_id)
            self._touched = ({}, {})
        self._slot_start_us += SLOT_US
        self.slot_us = self._slot_start_us + self._jitter.below(2001) - 1000

    def _send(self, kind: str, payload: str) -> None:
        symbol = self.spec.symbol
        self.frames.append(Frame(self.now_us * 1000, f"{symbol.lower()}@{kind}", symbol, payload.encode()))

    def price_text(self, tick: int) -> str:
        """A price as the symbol's frames write it."""
        known = self._texts.get(tick)
        if known is None:
            if len(self._texts) > TEXTS_KEPT:
                self._texts.clear()
            known = text(tick * self.spec.tick_e8)
            if self.spec.decimals < 8:
                known = known[: self.spec.decimals - 8]
            self._texts[tick] = known
        return known

    def texts(self, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
        """(tick, lots) as the exchange writes them."""
        lot = self.spec.lot_e8
        return [(self.price_text(tick), text(quantity * lot)) for tick, quantity in levels]


def _levels(levels: list[tuple[str, str]]) -> str:
    return ",".join([f'["{price}","{quantity}"]' for price, quantity in levels])
