"""One symbol of the synthetic market: competing clocks that change a book, place by place (docs/standin.md).

Levels are born and die by their distance from their own best, in a frame that moves with it; the touch is re-quoted in jumps that
bring bursts of changes; takers come in clusters and eat levels. Everything is drawn in the symbol's own time, which runs `speed`
times as fast as the market's: a quiet symbol is a slow one.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import accumulate
from math import isqrt
from typing import NamedTuple

from msgspec import Struct

from leadline.standin.draws import Draws
from leadline.standin.listing import QUANTITY_MAX_E8, SLOT_US, Listing, Side, Spec
from leadline.standin.tables import BURST, DRAW_BITS, JUMP_RATE, OPEN_US, Inverse, burst_factor, decay, inverse
from leadline.standin.tape import Tape

RECOUNT = 32  # events between two counts of the levels in each bucket
DECAY_STEP_US, DECAY_STEPS = 64, 256
LEVELS_LEAST = 40  # a side: cancels and jumps stop there
SIGNS_KEPT = 64
PRICES_TRIED = 4  # for a new level, until one is free

# Tuned by bench/calibration.py against the recorded figures; shares are thousandths.
BURST_BEST, BURST_FLICKER = 120, 600  # of the changes of a burst: size of the best level; levels that live for moments;
BURST_AGAIN = 25  # a level near the touch that goes and is back at once as it was
AGAIN_LEVELS = 30
YOUNG_KEPT = 96
BURST_CENTRE = 8
BURST_RATE = 9_000  # each waiting change of a burst: per second, thousandths
JUMP_BASE, JUMP_CHILDREN, JUMP_DECAY = 350, 200, 8_000
JUMP_KEEPS = 840  # its direction
CLOSES_AT_ONCE, CLOSING_STEP_US = 300, 200
# Markets are calm and lively by turns: everything goes that much faster, for ACTIVE_US on average.
ACTIVITY = (200, 300, 400, 500, 620, 760, 950, 1_250, 1_900, 3_100)
ACTIVE_US = 1_000_000
SIGN_COPIED = 780
SIGN_LAGS = (1, 1, 1, 1, 2, 2, 3, 5, 8, 13, 20)


class Regime(Struct, frozen=True):
    """What multiplies the tables, in thousandths. drift: -1 or 1 where jumps go one way only."""

    name: str
    speed: int = 1000
    jump_length: int = 1000
    jumps: int = 1000
    arrivals: int = 1000
    cancels: int = 1000
    drift: int = 0


NORMAL = Regime("normal")


class Scene(NamedTuple):
    """Something known that happens in the market: its next step, how it goes on, and whether it does while nobody trades."""

    next_us: int
    steps: Iterator[int]
    always: bool


def _due(scene: Scene) -> int:
    return scene.next_us


class Pair:
    """The market of one symbol. `step` does what is due at `next_us`; `listing` has the book and tells of it.

    What scenes and faults may set: regime, status, frozen_until_us, grid and lot_grid (new levels stand on multiples of so many
    ticks, in multiples of so many lots), pinned (how many scenes hold the price), banned (keys of a side that nobody quotes).
    """

    def __init__(
        self, seed: int | str, spec: Spec, start_us: int, tape: Tape, ids: tuple[int, int, int], kept_chunks: int
    ) -> None:
        """ids: last update, aggregate and trade id before the start. kept_chunks: of the truth."""
        self.spec = spec
        self.listing = Listing(seed, spec, start_us, tape, ids, kept_chunks)
        self._bids, self._asks = self.listing.bids, self.listing.asks
        self.regime = NORMAL
        self.status = spec.status
        self.frozen_until_us = 0
        self.grid = self.lot_grid = 1
        self.pinned = 0
        self.standing: dict[str, object] = {}  # what holds until the next of its kind: of regimes, of states
        self.banned: list[tuple[Side, int, int]] = []
        self._scenes: list[Scene] = []  # the one that is due next first
        self._draws = draws = Draws(seed, spec.symbol, "market")
        self._shape()
        self._populate()
        self.listing.open()
        self._fast = self._slow = self._excited = 0  # intensities: thousandths per second, times 2^32
        self._left_us = 0  # of the last fading, less than a step of it
        self._burst = 0
        self._young: list[tuple[Side, int]] = []  # the last levels that came
        self._flickers: list[tuple[Side, int]] = []  # the same of those of a burst
        self._direction = 1 if draws.bits(1) else -1
        self._signs = [draws.bits(1) for _ in range(SIGNS_KEPT)]
        self._closing: Side | None = None
        self._closing_us = 0
        self._activity, self._active_until_us = 1000, 0
        self._countdown = 0
        self._rates: list[int] = []
        self._steady = self._total = 0
        self._pace = 1
        self._idle = False
        self._event_us = start_us
        self._schedule()
        self._set_next()

    # Being driven ---------------------------------------------------------------

    def step(self) -> None:
        """What is due: at the same microsecond a scene goes first, the touch closes, then an event, then the slot ends."""
        self.listing.now_us = self.next_us
        if self._scenes and self._scenes[0].next_us <= self.listing.now_us:
            self._play(self._scenes.pop(0))
        elif self._closing is not None and self._closing_us <= self.listing.now_us:
            self._close_touch()
        elif self._event_us <= self.listing.now_us:
            self._event()
            self._schedule()
        else:
            self.listing.end_slot()
        self._set_next()

    def enter(self, regime: Regime) -> None:
        """From now on these multiply the tables."""
        self.regime = regime
        self._countdown = 0

    def freeze(self, until_us: int) -> None:
        """Nothing happens before, but what scenes do."""
        self.frozen_until_us = max(self.frozen_until_us, until_us)
        self._closing_us = max(self._closing_us, until_us)

    def begin(self, steps: Iterator[int], now_us: int, *, always: bool = True) -> None:
        """A scene from now on: each of its steps changes the market and gives the time to the next, us.

        always: also while the symbol does not trade; another one waits.
        """
        self.listing.now_us = now_us
        self._play(Scene(now_us, steps, always))
        self._set_next()

    def settle(self) -> None:
        """A spread that is open closes at once."""
        if self._closing is not None:
            self._close_touch(whole=True)

    def _play(self, scene: Scene) -> None:
        trades = scene.always or self.status == "TRADING"
        wait_us = next(scene.steps, None) if trades else SLOT_US
        if wait_us is not None:
            insort(self._scenes, scene._replace(next_us=self.listing.now_us + wait_us), key=_due)

    def _set_next(self) -> None:
        next_us = min(self._event_us, self.listing.slot_us)
        if self._closing is not None:
            next_us = min(next_us, self._closing_us)
        if self._scenes:
            next_us = min(next_us, self._scenes[0].next_us)
        self.next_us = next_us

    def _schedule(self) -> None:
        """Draw the time of the next event, and let the intensities fade until then."""
        self._idle = self.status != "TRADING" or self.frozen_until_us > self._event_us
        if self._idle:
            self._event_us = max(self.frozen_until_us, self._event_us + SLOT_US)
            return
        self._countdown -= 1
        if self._countdown <= 0:
            self._recount()
        self._total = self._steady + self._of_takers() + self._of_jumps() + self._burst * BURST_RATE
        own_us = min(self._draws.waiting_us(self._total), DECAY_STEP_US * DECAY_STEPS - self._left_us - 1)
        steps, self._left_us = divmod(own_us + self._left_us, DECAY_STEP_US)
        self._idle = steps == DECAY_STEPS - 1  # nothing happens, but the intensities are looked at anew
        self._fast = self._fast * self._fast_decay[steps] >> 32
        self._slow = self._slow * self._slow_decay[steps] >> 32
        self._excited = self._excited * self._jump_decay[steps] >> 32
        self._event_us += max(1, own_us * 1_000_000 // self._pace)

    def _of_takers(self) -> int:
        return self.spec.calibration.taker_base + (self._fast + self._slow >> 32)

    def _of_jumps(self) -> int:
        return JUMP_BASE + (self._excited >> 32) + JUMP_RATE * (self.regime.jumps - 1000) // 1000

    # Shape and start ------------------------------------------------------------

    def _shape(self) -> None:
        """The measured market on this symbol's grid: bucket edges in ticks, sizes in lots, jumps in thousandths of a tick."""
        spec, cal = self.spec, self.spec.calibration
        bp_ticks = spec.price_ticks // 100  # hundredths
        edges, low = [], 1
        for bucket in cal.buckets:
            high = max(low + 1, bucket.to * bp_ticks // 10_000)
            edges.append((low, high))
            low = high
        self._edges = edges
        self._jump_unit = max(1, 1000 * bp_ticks // cal.bp_ticks)
        self._sizes_per, self._sizes_of = spec.lots_per()
        self._lots_most = QUANTITY_MAX_E8 // spec.lot_e8 // 4
        self._near_sizes, self._far_sizes, self._best_sizes = (
            inverse(sizes) for sizes in (cal.near_sizes, cal.far_sizes, cal.best_sizes)
        )
        self._taker_sizes, self._fills = inverse(cal.taker_sizes), inverse(cal.fills)
        self._jump_ticks, self._bursts, self._open_us = inverse(cal.jump_ticks), inverse(BURST), inverse(OPEN_US)
        self._jump_median = cal.jump_ticks[7]
        self._fast_decay = decay(cal.taker_decay[0], DECAY_STEP_US, DECAY_STEPS)
        self._slow_decay = decay(cal.taker_decay[1], DECAY_STEP_US, DECAY_STEPS)
        self._jump_decay = decay(JUMP_DECAY, DECAY_STEP_US, DECAY_STEPS)
        self._fast_child, self._slow_child = (
            share * rate // 1000 << 32 for share, rate in zip(cal.taker_children, cal.taker_decay, strict=True)
        )
        self._jump_child = JUMP_CHILDREN * JUMP_DECAY // 1000 << 32
        self._burst_buckets = list(accumulate(bucket.arrivals for bucket in cal.buckets if bucket.to <= 500))
        self._far = next(n for n, bucket in enumerate(cal.buckets) if bucket.to > 2000)

    def _populate(self) -> None:
        for side, best in ((self._bids, -self.spec.price_ticks), (self._asks, self.spec.price_ticks + 1)):
            for key, lots in self.levels_around(side, best):
                self.listing.put(side, key, lots)

    def levels_around(self, side: Side, best: int) -> Iterator[tuple[int, int]]:
        """A side as it usually is, with that key as its best: (key, lots), each key once."""
        draws = self._draws
        yield best, self._lots(self._best_sizes, draws.bits(DRAW_BITS))
        for n, (low, high) in enumerate(self._edges):
            count = self.spec.calibration.buckets[n].occupied * self.spec.occupied // 1000
            drawn = draws.rounded(count * (850 + draws.below(300)) // 1000)
            for key in dict.fromkeys(best + low + draws.below(high - low) for _ in range(drawn)):
                if key * side.away > 0:
                    yield key, self._size(n)

    def ticks(self, bp: int) -> int:
        """That many basis points, in ticks; at least one."""
        return max(1, bp * self.spec.price_ticks // 10_000)

    @property
    def usual_best(self) -> int:
        """Lots of a best level, the median."""
        return self._lots(self._best_sizes, 1 << DRAW_BITS - 1)

    def _lots(self, sizes: Inverse, draw: int) -> int:
        return max(1, sizes.at(draw) * self._sizes_per // self._sizes_of)

    def _size(self, bucket: int) -> int:
        size = self._lots(self._far_sizes if bucket >= self._far else self._near_sizes, self._draws.bits(DRAW_BITS))
        return size if self.lot_grid == 1 else -(-size // self.lot_grid) * self.lot_grid

    def _recount(self) -> None:
        """The steady rates: arrivals a bucket, cancels a side and bucket by the levels that stand there, the best levels."""
        self._countdown = RECOUNT
        cal, regime = self.spec.calibration, self.regime
        if self.listing.now_us >= self._active_until_us:
            self._activity = ACTIVITY[self._draws.below(len(ACTIVITY))]
            calm_us = self._draws.waiting_us(1_000_000_000 // ACTIVE_US)
            self._active_until_us = self.listing.now_us + calm_us * 10**9 // (self.spec.speed * regime.speed)
        self._pace = max(1, self.spec.speed * regime.speed * self._activity // 10**6)
        if self._closing is None and self._bids.keys and self._asks.keys and self._bids.keys[0] + self._asks.keys[0] > self.grid:
            self._open(self._bids if self._draws.bits(1) else self._asks)
        arrivals, cancels = cal.background * regime.arrivals // 1000, cal.background * regime.cancels // 1000
        rates = [bucket.arrivals * arrivals // 1000 for bucket in cal.buckets]
        for side in (self._bids, self._asks):
            keys = side.keys
            if not keys:
                rates += [0] * len(cal.buckets)
                continue
            best, at = keys[0], 1
            for bucket, (_, high) in zip(cal.buckets, self._edges, strict=True):
                end = bisect_left(keys, best + high, at)
                rates.append((end - at) * bucket.hazard * cancels // 1_000_000)
                at = end
        rates.append(sum(cal.best) * cal.background // 1000)
        self._rates = list(accumulate(rates))
        self._steady = self._rates[-1]

    # Events ---------------------------------------------------------------------

    def _event(self) -> None:
        if self._idle or self.status != "TRADING" or self.frozen_until_us > self.listing.now_us:
            return
        draw = self._draws.below(self._total)
        if draw < self._steady:
            self._steady_event(draw)
            return
        draw -= self._steady
        burst = self._burst * BURST_RATE
        if draw < burst:
            self._burst_event()
        elif draw < burst + (takers := self._of_takers()):
            self._take()
        elif draw < burst + takers + self._of_jumps():
            if not self._draws.chance(JUMP_KEEPS):
                self._direction = -self._direction
            self.jump(self.regime.drift or self._direction)
        # else: the intensities have faded since the time was drawn, and nothing happens

    def _steady_event(self, draw: int) -> None:
        buckets = len(self._edges)
        n = bisect_right(self._rates, draw)
        if n < buckets:
            self._arrive(self._bids if self._draws.bits(1) else self._asks, n)
        elif n < 3 * buckets:
            self._cancel(self._bids if n < 2 * buckets else self._asks, n % buckets)
        else:
            self._resize_best(self._bids if self._draws.bits(1) else self._asks)

    def _arrive(self, side: Side, bucket: int) -> None:
        """A new level in the bucket, or more on one that stands there."""
        draws, (low, high) = self._draws, self._edges[bucket]
        if not side.keys:
            return
        best = side.keys[0]
        shape = self.spec.calibration.buckets[bucket]
        if draws.bits(32) * shape.arrivals >> 32 >= shape.new:
            keys = side.keys
            start, end = bisect_left(keys, best + low), bisect_left(keys, best + high)
            if start < end:
                self._add(side, keys[start + draws.below(end - start)], self._size(bucket))
                return
        for _ in range(PRICES_TRIED):
            key = self._on_grid(side, best + low + draws.below(high - low))
            if key not in side.quantities:
                break
        if key in side.quantities:
            self._add(side, key, self._size(bucket))
        elif key * side.away > 0:
            self._come(side, key, self._size(bucket), self._young)

    def _add(self, side: Side, key: int, lots: int) -> None:
        """More on a level; one that has gathered as much as a coarse grid can gather begins anew."""
        before = side.quantities[key]
        self.listing.change(side, key, lots if before > self._lots_most else before + lots)

    def _come(self, side: Side, key: int, quantity: int, among: list[tuple[Side, int]]) -> None:
        if any(side is banned and low <= key <= high for banned, low, high in self.banned):
            return
        self.listing.change(side, key, quantity)
        among.append((side, key))
        if len(among) > YOUNG_KEPT:
            del among[0]

    def _again(self, side: Side) -> None:
        if len(side.keys) > LEVELS_LEAST:
            key = side.keys[1 + self._draws.below(AGAIN_LEVELS)]
            lots = side.quantities[key]
            self.listing.change(side, key, 0)
            self.listing.change(side, key, lots)

    def _cancel_one_of(self, young: list[tuple[Side, int]]) -> None:
        """One of the last levels that came goes again, if it is still there and not the best."""
        if young:
            side, key = young.pop(self._draws.below(len(young)))
            if key in side.quantities and key != side.keys[0] and len(side.keys) > LEVELS_LEAST:
                self.listing.change(side, key, 0)

    def _cancel(self, side: Side, bucket: int) -> None:
        """A level of the bucket goes, or loses a part."""
        draws, keys, (low, high) = self._draws, side.keys, self._edges[bucket]
        if draws.chance(self.spec.calibration.young):
            self._cancel_one_of(self._young)
            return
        if len(keys) <= LEVELS_LEAST:
            return
        best = keys[0]
        start, end = bisect_left(keys, best + low), bisect_left(keys, best + high)
        if start >= end:
            return
        key = keys[start + draws.below(end - start)]
        shape = self.spec.calibration.buckets[bucket]
        if draws.bits(32) * shape.arrivals >> 32 < shape.new:
            self.listing.change(side, key, 0)
        else:
            self.listing.change(side, key, 1 + draws.below(side.quantities[key]))

    def _resize_best(self, side: Side) -> None:
        if side.keys:
            arrivals, cancels = self.spec.calibration.best
            best = side.keys[0]
            quantity = side.quantities[best]
            if self._draws.below(arrivals + cancels) < arrivals:
                quantity += self._lots(self._near_sizes, self._draws.bits(DRAW_BITS))
            else:
                quantity = 1 + self._draws.below(quantity)
            self.listing.change(side, best, quantity)

    def _burst_event(self) -> None:
        """After a jump makers come back: levels that live for moments, the best level, and whatever else the market does."""
        self._burst -= 1
        draws = self._draws
        kind = draws.below(1000)
        if kind < BURST_BEST:
            self._resize_best(self._bids if draws.bits(1) else self._asks)
        elif kind >= BURST_BEST + BURST_FLICKER + BURST_AGAIN:
            self._steady_event(draws.below(self._steady))
        elif kind >= BURST_BEST + BURST_FLICKER:
            self._again(self._bids if draws.bits(1) else self._asks)
        elif draws.bits(1):
            self._cancel_one_of(self._flickers)
        else:
            side = self._bids if draws.bits(1) else self._asks
            bucket = bisect_right(self._burst_buckets, draws.below(self._burst_buckets[-1]))
            if side.keys:
                low, high = self._edges[bucket]
                key = self._on_grid(side, side.keys[0] + low + draws.below(high - low))
                if key * side.away > 0 and key not in side.quantities:
                    self._come(side, key, self._size(bucket), self._flickers)

    # Takers and jumps -----------------------------------------------------------

    def _take(self) -> None:
        """A market order comes, and brings others about; one that takes more than one price moves the price."""
        draws = self._draws
        self._fast += self._fast_child
        self._slow += self._slow_child
        draw = draws.bits(DRAW_BITS)  # a larger order has more fills
        sold = self._sign()
        self.take(self._bids if sold else self._asks, self._lots(self._taker_sizes, draw), self._fills.at(draw))

    def take(self, side: Side, size: int, fills: int) -> None:
        """A market order against that side, of so many lots."""
        draws = self._draws
        if not side.keys:
            return
        best = side.keys[0]
        if self.pinned:
            if side.quantities[best] > 1:
                self.listing.trade(side, min(size, side.quantities[best] - 1), fills)
        elif not draws.chance(self.spec.calibration.sweep) and size < side.quantities[best]:
            self.listing.trade(side, size, fills)
        elif len(side.keys) > LEVELS_LEAST:
            if size < side.quantities[best]:
                self.listing.change(side, best, size)  # makers were leaving already
            self._sweep(side, size, fills)

    def _sign(self) -> bool:
        draws = self._draws
        if draws.chance(SIGN_COPIED):
            sign = self._signs[-SIGN_LAGS[draws.below(len(SIGN_LAGS))]]
        else:
            sign = draws.bits(1)
        self._signs.append(sign)
        del self._signs[0]
        return bool(sign)

    def _sweep(self, side: Side, size: int, fills: int) -> None:
        left = size
        for _ in range(5):
            taken = min(left, side.quantities[side.keys[0]])
            self.listing.trade(side, taken, max(1, fills * taken // size))
            left -= taken
            if not left:
                break
        if left == 0 and side.quantities[side.keys[0]] > 1:
            self.listing.trade(side, 1 + self._draws.below(min(size, side.quantities[side.keys[0]] - 1)), 1)
        self._direction = side.away
        self.jump(self.regime.drift or side.away)

    def jump(self, direction: int) -> None:
        """The touch is re-quoted: up, the asks below the new best go one by one, and the bids follow after a moment."""
        draws = self._draws
        self.settle()
        self._excited += self._jump_child
        ticks = self._jump_ticks.at(draws.bits(DRAW_BITS))
        lively = isqrt(self._activity * 1000)
        cal, scale = self.spec.calibration, self._jump_unit * self.regime.jump_length // 1000
        length = draws.rounded(ticks * scale * cal.jump_length // 1000 * lively // 1000)
        side, other = (self._asks, self._bids) if direction > 0 else (self._bids, self._asks)
        if side.keys and other.keys and not self.pinned:
            goal = side.keys[0] + length
            while side.keys[0] < goal and len(side.keys) > LEVELS_LEAST:
                self.listing.change(side, side.keys[0], 0)
            if side.keys[0] + other.keys[0] > 1:
                self._open(other)
        size = self._bursts.at(draws.bits(DRAW_BITS)) * burst_factor(ticks, self._jump_median) // 1000
        self._burst += BURST_CENTRE + size * cal.burst_size // 1000
        self._countdown = min(self._countdown, 4)

    def _open(self, lagging: Side) -> None:
        """The spread is wider than a tick; that side will follow."""
        self._closing = lagging
        wait_us = self._open_us.at(self._draws.bits(DRAW_BITS)) * 1_000_000 // self._pace
        self._closing_us = self.listing.now_us + max(1, wait_us)

    def _close_touch(self, *, whole: bool = False) -> None:
        """The side that lags comes nearer, in a few steps, the last of them to one tick."""
        side = self._closing
        assert side is not None
        other = self._asks if side is self._bids else self._bids
        self._closing = None
        if not side.keys or not other.keys:
            return
        last = self._on_grid(side, 1 - other.keys[0])
        while (left := side.keys[0] - last) > 0:
            if whole or left < 3 or self._draws.chance(CLOSES_AT_ONCE):
                key, sizes = last, self._best_sizes
            else:
                key, sizes = self._on_grid(side, side.keys[0] - 1 - self._draws.below(left - 1)), self._near_sizes
            self.listing.change(side, key, self._lots(sizes, self._draws.bits(DRAW_BITS)))
            if key > last and self._draws.bits(1):
                self._closing, self._closing_us = side, self.listing.now_us + CLOSING_STEP_US
                return
        best = other.keys[0]
        self.listing.change(other, best, self._lots(self._best_sizes, self._draws.bits(DRAW_BITS)))

    def _on_grid(self, side: Side, key: int) -> int:
        return key if self.grid == 1 else -(-key // self.grid) * self.grid
