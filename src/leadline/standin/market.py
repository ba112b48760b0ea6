"""A source from a seed: a small random market. A placeholder: alive and exact, not calibrated (docs/standin.md).

Integers throughout (ticks, lots of 1e-8, microseconds), raw bits of one generator per (seed, symbol, purpose), no library
distribution: same seed, same bytes, on every machine. Levels are born at log-uniform distances from their own best and die
anywhere; the touch is re-quoted in jumps; takers eat levels. Each level change takes the next update id, and the book is
uncrossed and two-sided after every one of them.
"""

import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from leadline.standin.source import (
    AggTrade,
    DepthAnswer,
    Diff,
    Frame,
    Place,
    TrueBook,
    agg_trade_frame,
    depth_body,
    symbol_info,
    text,
)
from leadline.standin.tape import Tape

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")

SLOT_US = 100_000
LEVELS_LEAST, LEVELS_MIN, LEVELS_MAX = 620, 700, 1100  # a side; limit=1000 cuts some books and not others
LOG_IDS = 200_000  # level changes kept for the truth
KEPT_FRAMES = 4_096  # ids of past frames, for snapshots that are stale on purpose
DEPTH_MAX = 5_000

# Parts in 256 of the event kinds; the rest changes the size of a best level.
_PLACE, _CANCEL, _TAKE, _REQUOTE = 116, 76, 12, 4
_EVENTS_US_MEAN = 4_000  # between two events of a symbol


class Price(Struct, frozen=True):
    """Where a symbol's market begins. ticks: first mid; tick_e8, lot_e8: the grid."""

    ticks: int
    tick_e8: int
    lot_e8: int


_KNOWN = {"BTCUSDT": Price(6_000_000, 1_000_000, 1_000), "ETHUSDT": Price(260_000, 1_000_000, 10_000)}


class RandomMarket:
    """A market that goes on for ever. Output depends on (seed, symbol, start_ms) only, not on the other symbols or on clients."""

    waits_for_client = False

    def __init__(self, seed: int | str, symbols: Iterable[str] = DEFAULT_SYMBOLS, *, start_ms: int) -> None:
        """start_ms: exchange time of the first moment, UTC."""
        self._seed = seed
        self._symbols = tuple(dict.fromkeys(symbols))
        self._start_us = start_ms * 1000
        self.restart()

    @property
    def origin(self) -> str:
        """`synthetic:<seed>`."""
        return f"synthetic:{self._seed}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """As given, each once."""
        return self._symbols

    @property
    def start_ns(self) -> int:
        """The first moment."""
        return self._start_us * 1000

    def restart(self) -> None:
        """The same market from its beginning."""
        self._now_us = self._start_us
        self._pairs = {symbol: _Pair(self._seed, symbol, self._start_us) for symbol in self._symbols}

    def next_ns(self) -> int | None:
        """When the next event or slot end of any symbol is due."""
        return min(pair.next_us for pair in self._pairs.values()) * 1000

    def advance(self, until_ns: int) -> list[Frame]:
        """All frames up to `until_ns`, by time; symbols in their given order where times are equal."""
        until_us = until_ns // 1000
        frames: list[Frame] = []
        while (pair := min(self._pairs.values(), key=_due)).next_us <= until_us:
            pair.step(frames)
        self._now_us = max(self._now_us, until_us)
        return frames

    def gate(self) -> str | None:
        """Never: nothing is recorded."""
        return None

    def pass_gate(self) -> None:
        """Nothing to pass."""

    def snapshot_ahead(self, symbol: str) -> bool:
        """Never: the book is known from the start."""
        return False

    def depth(self, symbol: str, limit: int, *, events_back: int = 0, place: Place = "now") -> DepthAnswer | None:
        """From memory at the current id, so mostly inside the next event. events_back counts frames, as far as they are kept."""
        pair, limit = self._pairs[symbol], min(limit, DEPTH_MAX)
        if not events_back:
            bids, asks, update_id = pair.bids.best(limit), pair.asks.best(limit), pair.update_id
        else:
            ends = pair.frame_ends
            update_id = ends[max(0, len(ends) - 1 - events_back)] if ends else pair.update_id
            old = pair.at(update_id)
            assert old is not None, "frame ids are kept for a shorter time than changes"
            bids, asks = sorted(old[0].items(), reverse=True)[:limit], sorted(old[1].items())[:limit]
        return DepthAnswer(depth_body(update_id, pair.texts(bids), pair.texts(asks)), limit)

    def book(self, symbol: str, update_id: int) -> TrueBook | None:
        """The whole book at any of the last 200,000 ids."""
        pair = self._pairs[symbol]
        sides = pair.at(update_id)
        if sides is None:
            return None
        bids, asks = sides
        return TrueBook(update_id, dict(pair.texts(bids.items())), dict(pair.texts(asks.items())))

    def tape(self, symbol: str) -> Tape:
        """The trades so far."""
        return self._pairs[symbol].tape

    def diff(self, symbol: str, first_id: int, last_id: int) -> Diff | None:
        """What the ids did, as far as they are kept."""
        pair = self._pairs[symbol]
        if not pair.base_id < first_id <= last_id <= pair.update_id:
            return None
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        for change_id, is_bid, tick, quantity in pair.log:
            if first_id <= change_id <= last_id:
                (bids if is_bid else asks)[tick] = quantity
        return Diff(first_id, last_id, dict(pair.texts(bids.items())), dict(pair.texts(asks.items())))

    def frame_end(self, symbol: str) -> int:
        """`u` of the last frame."""
        return self._pairs[symbol].sent_id

    def exchange_info(self) -> list[dict[str, object]]:
        """One entry per symbol, with its real grid."""
        return [symbol_info(symbol, pair.price.tick_e8, pair.price.lot_e8) for symbol, pair in self._pairs.items()]

    def server_time_ms(self) -> int:
        """The time reached."""
        return self._now_us // 1000


def _due(pair: "_Pair") -> int:
    return pair.next_us


class _Bits:
    """Raw bits of one generator; everything else is integer arithmetic on them."""

    def __init__(self, *purpose: object) -> None:
        # Seeding with text and getrandbits are fixed by the language; a market needs no secrets.
        self.take = random.Random("/".join(map(str, purpose))).getrandbits  # noqa: S311

    def below(self, bound: int) -> int:
        """Near enough to uniform on [0, bound) for bounds far under 2^32."""
        return self.take(32) * bound >> 32

    def log_uniform(self, octaves: int) -> int:
        """At least 1, under 2^octaves; each doubling as likely as the next."""
        octave = self.below(octaves)
        return (1 << octave) + self.take(octave + 1) % (1 << octave)


class _Side:
    """One side of the book: quantities by tick, and the ticks in order."""

    def __init__(self, *, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.away = -1 if is_bid else 1  # from the touch into the book
        self.quantities: dict[int, int] = {}
        self.ticks: list[int] = []  # rising

    @property
    def top(self) -> int:
        return self.ticks[-1] if self.is_bid else self.ticks[0]

    def set(self, tick: int, quantity: int) -> None:
        if quantity == 0:
            if self.quantities.pop(tick, None) is not None:
                del self.ticks[bisect_left(self.ticks, tick)]
        else:
            if tick not in self.quantities:
                insort(self.ticks, tick)
            self.quantities[tick] = quantity

    def best(self, limit: int) -> list[tuple[int, int]]:
        ticks = self.ticks[: -limit - 1 : -1] if self.is_bid else self.ticks[:limit]
        return [(tick, self.quantities[tick]) for tick in ticks]


class _Pair:
    """One symbol: its book, its ids, and what it has yet to send."""

    def __init__(self, seed: int | str, symbol: str, start_us: int) -> None:
        self.symbol = symbol
        self.stream = symbol.lower()
        self.quoted = msgspec.json.encode(symbol)
        self._bits = _Bits(seed, symbol, "market")
        self._jitter = _Bits(seed, symbol, "jitter")
        self.price = _KNOWN.get(symbol) or _some_price(_Bits(seed, symbol, "price"))
        self.octaves = max(12, (self.price.ticks // 100).bit_length())  # levels reach past 100 bps, and have room
        self.jumps = max(3, (self.price.ticks // 10_000).bit_length())  # a re-quote moves up to 1 or 2 bps
        self.bids, self.asks = _Side(is_bid=True), _Side(is_bid=False)
        self.update_id = 50_000_000_000 + self._bits.take(24)
        self._trade_id = 3_000_000_000 + self._bits.take(24)
        self._agg_id = 1_000_000_000 + self._bits.take(24)
        self._populate()
        self.log: deque[tuple[int, bool, int, int]] = deque()  # (id, is_bid, tick, quantity)
        self._base = (self.update_id, dict(self.bids.quantities), dict(self.asks.quantities))
        self.frame_ends: deque[int] = deque(maxlen=KEPT_FRAMES)
        self.tape = Tape()
        self._touched: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.sent_id = self.update_id  # u of the last frame
        self._event_us = start_us + self._gap_us()
        self._slot_start_us = start_us + self._jitter.below(SLOT_US)
        self._slot_us = self._slot_start_us
        self._shown = self._touch()

    @property
    def base_id(self) -> int:
        return self._base[0]

    @property
    def next_us(self) -> int:
        return min(self._event_us, self._slot_us)

    def step(self, frames: list[Frame]) -> None:
        """What is due next: an event of the market, or the end of a slot (events of the same microsecond come first)."""
        if self._event_us <= self._slot_us:
            self._event(frames)
            self._event_us += self._gap_us()
        else:
            self._end_slot(frames)

    def texts(self, levels: Iterable[tuple[int, int]]) -> list[tuple[str, str]]:
        return [(text(tick * self.price.tick_e8), text(quantity)) for tick, quantity in levels]

    def at(self, update_id: int) -> tuple[dict[int, int], dict[int, int]] | None:
        """Both sides at that id; None outside what is kept."""
        base_id, bids, asks = self._base
        if not base_id <= update_id <= self.update_id:
            return None
        bids, asks = dict(bids), dict(asks)
        for change_id, is_bid, tick, quantity in self.log:
            if change_id > update_id:
                break
            _put(bids if is_bid else asks, tick, quantity)
        return bids, asks

    # The market ---------------------------------------------------------------

    def _gap_us(self) -> int:
        return 1 + self._bits.below(2 * _EVENTS_US_MEAN)

    def _populate(self) -> None:
        middle = self.price.ticks
        for side in (self.bids, self.asks):
            side.set(middle + (side.away + 1) // 2, self._quantity())
            while len(side.ticks) < (LEVELS_MIN + LEVELS_MAX) // 2:
                side.set(side.top + side.away * self._distance(), self._quantity())

    def _distance(self) -> int:
        """From the own best, in ticks: the largest of three draws, so that levels thin out towards the touch."""
        return max(self._bits.log_uniform(self.octaves) for _ in range(3))

    def _quantity(self) -> int:
        """In 1e-8, on the lot grid, over five decades."""
        return self._bits.log_uniform(17) * self.price.lot_e8

    def _event(self, frames: list[Frame]) -> None:
        bits = self._bits
        side, other = (self.bids, self.asks) if bits.take(1) else (self.asks, self.bids)
        kind = bits.take(8)
        if kind < _TAKE:
            self._take(frames, side)
        elif kind < _TAKE + _REQUOTE:
            self._requote(frames, side, other)
        elif kind < _TAKE + _REQUOTE + _PLACE:
            self._place(frames, side, other)
        elif kind < _TAKE + _REQUOTE + _PLACE + _CANCEL:
            self._cancel(frames, side)
        else:
            self._change(frames, side, side.top, self._quantity())

    def _place(self, frames: list[Frame], side: _Side, other: _Side) -> None:
        spread = abs(side.top - other.top)
        if spread > 1 and self._bits.take(1):
            self._change(frames, side, other.top + side.away, self._quantity())  # closes the touch
        elif len(side.ticks) >= LEVELS_MAX:
            self._cancel(frames, side)
        else:
            self._change(frames, side, max(1, side.top + side.away * self._distance()), self._quantity())

    def _cancel(self, frames: list[Frame], side: _Side) -> None:
        tick = side.ticks[self._bits.below(len(side.ticks))]
        room = len(side.ticks) > LEVELS_MIN
        if room and self._bits.take(3):
            self._change(frames, side, tick, 0)
        else:
            self._change(frames, side, tick, self._quantity())

    def _take(self, frames: list[Frame], side: _Side) -> None:
        """A market order against `side`: one fill or a few at each price, each price an aggregate, no more than three prices."""
        left = self._quantity()
        for _ in range(3):
            tick = side.top
            resting = side.quantities[tick]
            eaten = min(left, resting)
            self._trade(frames, side, tick, eaten)
            self._change(frames, side, tick, resting - eaten)
            left -= eaten
            if not left:
                break

    def _requote(self, frames: list[Frame], side: _Side, other: _Side) -> None:
        """The touch moves away from `side`'s best into it: its levels go, the other side follows, a burst of changes after."""
        goal = side.top + side.away * self._bits.log_uniform(self.jumps)
        while (side.top - goal) * side.away < 0 and len(side.ticks) > LEVELS_LEAST:
            self._change(frames, side, side.top, 0)
        self._change(frames, other, side.top - side.away, self._quantity())
        for _ in range(8 + self._bits.log_uniform(6)):
            near = (side, other)[self._bits.take(1)]
            distance = self._bits.log_uniform(self.octaves // 2 + 1)
            self._change(frames, near, max(1, near.top + near.away * distance), self._quantity())

    # The frames ---------------------------------------------------------------

    def _change(self, frames: list[Frame], side: _Side, tick: int, quantity: int) -> None:
        """One level change: the next update id; a ticker if the touch is another now."""
        side.set(tick, quantity)
        self.update_id += 1
        assert self.bids.top < self.asks.top
        self._touched[side.is_bid][tick] = quantity
        self.log.append((self.update_id, side.is_bid, tick, quantity))
        if len(self.log) > LOG_IDS:
            base_id, is_bid, old_tick, old_quantity = self.log.popleft()
            _put(self._base[1] if is_bid else self._base[2], old_tick, old_quantity)
            self._base = (base_id, self._base[1], self._base[2])
        touch = self._touch()
        if touch != self._shown:
            self._shown = touch
            payload = b'{"u":%d,"s":%b,"b":"%b","B":"%b","a":"%b","A":"%b"}'
            figures = (value.encode() for level in self.texts((touch[:2], touch[2:])) for value in level)
            self._send(frames, "bookTicker", payload % (self.update_id, self.quoted, *figures))

    def _touch(self) -> tuple[int, int, int, int]:
        bid, ask = self.bids.top, self.asks.top
        return bid, self.bids.quantities[bid], ask, self.asks.quantities[ask]

    def _trade(self, frames: list[Frame], side: _Side, tick: int, quantity: int) -> None:
        trade_ms, event_ms = self._event_us // 1000, self._event_us // 1000 + self._jitter.take(1)
        price = text(tick * self.price.tick_e8)
        first = self._trade_id + 1
        parts = [quantity]
        while parts[-1] > 2 * self.price.lot_e8 and len(parts) < 8 and self._bits.take(2) == 0:
            half = parts[-1] // (2 * self.price.lot_e8) * self.price.lot_e8
            parts[-1:] = [parts[-1] - half, half]
        for part in parts:
            self._trade_id += 1
            self._send(
                frames,
                "trade",
                b'{"e":"trade","E":%d,"s":%b,"t":%d,"p":"%b","q":"%b","T":%d,"m":%b,"M":true}'
                % (
                    event_ms,
                    self.quoted,
                    self._trade_id,
                    price.encode(),
                    text(part).encode(),
                    trade_ms,
                    b"true" if side.is_bid else b"false",
                ),
            )
        self._agg_id += 1
        agg = AggTrade(self._agg_id, price, text(quantity), first, self._trade_id, trade_ms, side.is_bid)
        self.tape.add(
            self._agg_id, trade_ms * 1000, tick * self.price.tick_e8, quantity, first, self._trade_id, side.is_bid, parts
        )
        self._send(frames, "aggTrade", agg_trade_frame(self.symbol, event_ms, agg))

    def _end_slot(self, frames: list[Frame]) -> None:
        """One diff of all that was touched, with its quantity now; nothing after a slot without change."""
        if self.update_id > self.sent_id:
            asks, bids = self._touched
            body = msgspec.json.encode(
                {
                    "e": "depthUpdate",
                    "E": self._slot_us // 1000,
                    "s": self.symbol,
                    "U": self.sent_id + 1,
                    "u": self.update_id,
                    "b": self.texts(sorted(bids.items(), reverse=True)),
                    "a": self.texts(sorted(asks.items())),
                }
            )
            frames.append(Frame(self._slot_us * 1000, f"{self.stream}@depth@100ms", self.symbol, body))
            self.sent_id = self.update_id
            self.frame_ends.append(self.sent_id)
            self._touched = ({}, {})
        self._slot_start_us += SLOT_US
        self._slot_us = self._slot_start_us + self._jitter.below(2001) - 1000

    def _send(self, frames: list[Frame], kind: str, payload: bytes) -> None:
        frames.append(Frame(self._event_us * 1000, f"{self.stream}@{kind}", self.symbol, payload))


def _put(side: dict[int, int], tick: int, quantity: int) -> None:
    if quantity:
        side[tick] = quantity
    else:
        side.pop(tick, None)


def _some_price(bits: _Bits) -> Price:
    """A price between 0.001 and 9,000 for a symbol that has no known one."""
    return Price(100_000 + bits.below(800_000), 10 ** bits.below(7), 10 ** (3 + bits.below(5)))
