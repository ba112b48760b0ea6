"""The scripts of rows 1 to 6: what is put into the market, with a label that says what, when and at which prices.

Each is a generator over a Stage (weave.py). It takes its magnitudes from what is usual of the symbol (usual.py), and may look
ahead in the base's tickers, as nobody can in a real market: so that what is to stay untouched does.
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from zlib import crc32

from msgspec import Struct

from bench.injection.plain import ASK, BID, SIDES, at_distance, worse
from bench.injection.source import SECOND_NS, Event
from bench.injection.usual import Usual
from bench.injection.weave import MS, Stage, Withheld
from leadline.core.records import BestQuote
from leadline.core.units import E16

WITHDRAWN_BPS = 25
BATCH_NS = 10 * MS  # a burst's levels live so long
HIT_NS = 50 * MS  # between two takers beside a large level
SPAN_NS = 10 * SECOND_NS  # an iceberg's hits come within this
SMALL_QUOTE = 2_000  # all that an iceberg below the size filter hides
PEAK_SHARE = 10  # an iceberg shows a tenth of the level it replaces
PEAK_QUOTE_MIN = 4_000
HELD_BPS = 5

Steps = Iterator[int]


class Label(Struct):
    """What was put in: from the first change to the last one, receive time; times of the service's clock where a fault steps it.

    parameters: of the cell, and what came of them (`lived_s`, `quote`, ...). prices_e8: those concerned, where they are few.
    """

    kind: str
    start_ns: int
    end_ns: int
    parameters: dict[str, float | str]
    side: int | None = None
    prices_e8: tuple[int, ...] = ()


class Ahead:
    """The base's touch over the time of an injection."""

    def __init__(self, events: Iterable[Event]) -> None:
        quotes = [event for event in events if isinstance(event, BestQuote)]
        self._at = [quote.ts_recv_ns for quote in quotes]
        self._best = ([quote.bid_price_e8 for quote in quotes], [quote.ask_price_e8 for quote in quotes])

    def path(self, side: int, from_ns: int, until_ns: int) -> Sequence[tuple[int, int]]:
        """(since when, best price) of a side over [from_ns, until_ns), the one it begins with included."""
        first = max(0, bisect_left(self._at, from_ns + 1) - 1)
        end = bisect_left(self._at, until_ns)
        return list(zip(self._at[first:end], self._best[side][first:end], strict=True))

    def farthest(self, side: int, from_ns: int, until_ns: int) -> int:
        """The worst that the best price of a side comes to be."""
        prices = [price for _, price in self.path(side, from_ns, until_ns)]
        return min(prices) if side == BID else max(prices)

    def reached(self, side: int, price: int, from_ns: int, until_ns: int) -> int:
        """When the base's best first is no better than `price`, so that a level there would be the best; else until_ns."""
        return next(
            (max(at, from_ns) for at, best in self.path(side, from_ns, until_ns) if not worse(side, price, best)), until_ns
        )


class Plot(Struct, frozen=True):
    """What a script is given besides the stage. start_ns: when it begins; number: of the placement, seeds its draws."""

    start_ns: int
    number: int
    usual: Usual
    ahead: Ahead
    label: Label

    def draws(self) -> random.Random:
        """The same for the same placement and cell."""
        return random.Random(f"{self.number}:{self.label.kind}:{sorted(self.label.parameters.items())}")


# Row 1 -------------------------------------------------------------------------------


def burst(stage: Stage, plot: Plot, *, times: float, seconds: float) -> Steps:
    """Levels 2 to 10 bps away come and go, so many times the usual update ids a second, without a trade."""
    draws, owed, ids = plot.draws(), 0.0, 0
    end_ns = plot.start_ns + int(seconds * SECOND_NS)
    yield plot.start_ns
    while stage.now_ns < end_ns:
        owed += times * plot.usual.n_ids / 2 * BATCH_NS / SECOND_NS
        until_ns = stage.now_ns + BATCH_NS
        reach = [plot.ahead.farthest(side, stage.now_ns, until_ns + 1) for side in SIDES]
        for _ in range(int(owed)):
            owed -= 1
            side = draws.choice(SIDES)
            price = stage.on_grid(side, at_distance(stage.base_mid2, side, draws.uniform(2, 10)))
            if worse(side, price, reach[side]) and (side, price) not in stage.own:  # else the touch comes through here
                stage.put(side, price, stage.shown(side, price) + stage.lot_e8)
        ids += 2 * len(stage.own)
        yield until_ns
        for side, price in list(stage.own):
            stage.put(side, price, None)
    plot.label.end_ns = stage.now_ns
    plot.label.parameters["ids_per_s"] = ids / seconds


# Rows 2 and 3 ------------------------------------------------------------------------


def withdrawal(stage: Stage, plot: Plot, *, share: float, sides: str, seconds: float) -> Steps:
    """Each level within 25 bps of the mid goes with the probability `share`, and its price stays empty; then all are back.

    sides: "both" or "one", which is drawn.
    """
    side = plot.draws().choice(SIDES) if sides == "one" else None
    plot.label.side = side
    return _without(stage, plot, band(WITHDRAWN_BPS, side, share, f"{plot.number}"), seconds)


def widened(stage: Stage, plot: Plot, *, bps: int, seconds: float) -> Steps:
    """No level within so many basis points of the mid, on either side."""
    return _without(stage, plot, band(bps), seconds)


def _without(stage: Stage, plot: Plot, rule: Withheld, seconds: float) -> Steps:
    yield plot.start_ns
    stage.withhold(rule)
    yield plot.start_ns + int(seconds * SECOND_NS)
    stage.withhold(None)
    plot.label.end_ns = stage.now_ns


def band(bps: int, side: int | None = None, share: float = 1.0, seed: str = "") -> Withheld:
    """Levels within so many bps of the base's mid; side None: both. share < 1: each price by its own draw, the same always."""

    def limits(mid2: int) -> tuple[int | None, int | None]:
        bid, ask = -(-mid2 * (10_000 - bps) // 20_000), mid2 * (10_000 + bps) // 20_000
        return (None if side == ASK else bid, None if side == BID else ask)

    @cache
    def chosen(of: int, price: int) -> bool:
        return crc32(f"{seed}:{of}:{price}".encode()) < share * 2**32

    return Withheld(limits, None if share >= 1 else chosen)


# Row 4 -------------------------------------------------------------------------------


def large(stage: Stage, plot: Plot, *, times: float, bps: float, life_s: float, flow: bool) -> Steps:
    """A large level that nobody trades with and that is gone again, on the side to which price comes later.

    Where price comes to it all the same it is pulled just before: `lived_s` says how long it stood. flow: takers hit the other
    side meanwhile, together twice what a busy second (p99) brings.
    """
    yield plot.start_ns
    until_ns = plot.start_ns + int(life_s * SECOND_NS)
    places = [(side, _free(stage, side, at_distance(stage.base_mid2, side, bps))) for side in SIDES]
    reached = [plot.ahead.reached(side, price, plot.start_ns, until_ns) for side, price in places]
    side, price = places[BID if reached[BID] >= reached[ASK] else ASK]
    until_ns = max(reached)
    plot.label.side, plot.label.prices_e8, plot.label.end_ns = side, (price,), until_ns
    plot.label.parameters["lived_s"] = (until_ns - plot.start_ns) / SECOND_NS
    if until_ns <= plot.start_ns:  # the touch is there already, on both sides
        return
    quantity = _lots(stage, times * plot.usual.large_quote(bps), price)
    stage.put(side, price, quantity)
    hits, got = int(min(life_s, 1.0) * SECOND_NS / HIT_NS) if flow else 0, 0
    for _ in range(hits):
        hit, wanted = stage.best(1 - side)[0], 2 * plot.usual.taker_quote_p99[1 - side] / hits
        got += stage.take(1 - side, _lots(stage, wanted, hit)) * hit
        if stage.now_ns + HIT_NS >= until_ns:
            break
        yield stage.now_ns + HIT_NS
    plot.label.parameters["flow_quote"] = got / E16
    yield until_ns
    stage.put(side, price, None)


def _free(stage: Stage, side: int, price: int) -> int:
    """The nearest price from there outward at which nothing stands."""
    price, away = stage.on_grid(side, price), -stage.tick_e8 if side == BID else stage.tick_e8
    while stage.shown(side, price):
        price += away
    return price


def _lots(stage: Stage, quote: float, price: int) -> int:
    """A quantity worth that much, in whole lots, at least one."""
    return max(1, int(quote * E16 / price / stage.lot_e8)) * stage.lot_e8


# Rows 5 and 6 ------------------------------------------------------------------------


def floor(side: int, price: int) -> Withheld:
    """Nobody quotes through a level that will not give way: of the other side, nothing at its price or beyond."""
    limits = (None, price) if side == BID else (price, None)
    return Withheld(lambda mid2: limits)


def iceberg(stage: Stage, plot: Plot, *, refills: int, delay_ms: int, small: bool) -> Steps:
    """The best level shows a small part of itself only. Again and again two takers eat what is shown, the second what has been
    refilled `delay_ms` after the first; price does not go through it. small: all that is hidden is below the detector's filter.

    Nobody hits it while somebody quotes better. It ends after ten seconds, or when the base is 5 bps through the price, which so
    small an order would not have held; `rounds` says how many there were.
    """
    draws = plot.draws()
    yield plot.start_ns
    deadline_ns = plot.start_ns + SPAN_NS
    side = max(SIDES, key=lambda s: _time_as_best(stage, plot, s, deadline_ns))
    price, shown = stage.best(side)
    value = SMALL_QUOTE / refills if small else max(PEAK_QUOTE_MIN, price * shown / E16 / PEAK_SHARE)
    peak = _lots(stage, value, price)
    stage.withhold(floor(side, price))
    stage.put(side, price, peak)
    rounds, held = 0, at_distance(2 * price, side, HELD_BPS)
    while rounds < refills and stage.now_ns < deadline_ns:
        yield stage.now_ns + draws.randrange(300, 500) * MS
        if worse(side, stage.base_best(side), held):
            break
        if stage.best(side)[0] != price:
            continue
        rounds += 1
        for _ in range(2):
            if stage.best(side)[0] != price:
                break
            stage.fill(side, price, peak)
            stage.put(side, price, 0)
            yield stage.now_ns + delay_ms * MS
            stage.put(side, price, peak)
            yield stage.now_ns + 2 * MS
    yield stage.now_ns + 100 * MS
    stage.put(side, price, None)
    stage.withhold(None)
    plot.label.side, plot.label.prices_e8, plot.label.end_ns = side, (price,), stage.now_ns
    plot.label.parameters |= {"rounds": rounds, "peak_quote": peak * price / E16}


def _time_as_best(stage: Stage, plot: Plot, side: int, until_ns: int) -> int:
    """How long nobody will quote better than the best of now."""
    path = plot.ahead.path(side, plot.start_ns, until_ns)
    ends = [at for at, _ in path[1:]] + [until_ns]
    now = stage.best(side)[0]
    return sum(end - at for (at, best), end in zip(path, ends, strict=True) if not worse(side, now, best))


def absorption(stage: Stage, plot: Plot, *, times: float, seconds: float) -> Steps:
    """Takers hit one side all the time, together so many times the p99 of net ten seconds; price does not go through a level
    that is refilled at once. Where somebody quotes better they hit that.

    On the side away from which price will have moved in the end: nothing is caught up with when the level goes.
    """
    draws = plot.draws()
    yield plot.start_ns
    end_ns = plot.start_ns + int(seconds * SECOND_NS)
    bids = plot.ahead.path(BID, plot.start_ns, end_ns)
    side = BID if bids[-1][1] >= bids[0][1] else ASK
    price, shown = stage.best(side)
    each = times * plot.usual.signed_quote_p99 / 100  # ten hits a second
    stage.withhold(floor(side, price))
    stage.put(side, price, max(shown, 2 * _lots(stage, each, price)))
    taken = 0
    while stage.now_ns < end_ns:
        hit = stage.best(side)[0]
        taken += stage.take(side, _lots(stage, each, hit)) * hit
        yield min(end_ns, stage.now_ns + draws.randrange(50, 150) * MS)
    stage.put(side, price, None)
    stage.withhold(None)
    plot.label.side, plot.label.prices_e8, plot.label.end_ns = side, (price,), stage.now_ns
    plot.label.parameters["quote"] = taken / E16
