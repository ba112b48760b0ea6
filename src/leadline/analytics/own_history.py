"""A symbol's own last day, kept as columns, and everything that ranks or fits the present against it.

A window that begins at start_s is compared with the 24 h before it: with the non-overlapping UTC-aligned windows of its length
that end no later and are at least 90 % clean. What is fitted (regressions, detectors, medians) is fitted to the day before the
last whole minute, once a minute.

About 300 bytes a second, some 30 MB for a full day of one symbol: built for symbols that somebody asks about.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple
from numpy.typing import NDArray

from leadline.analytics import health, order_flow
from leadline.analytics.absorption import Absorbing, fit_absorbing
from leadline.analytics.activity import ACTIVITY_COLUMNS, Activity, activity_of
from leadline.analytics.anomalies import Ints
from leadline.analytics.bursts import Bursts, fit_bursts
from leadline.analytics.clean import clean_rows
from leadline.analytics.fleeting import Fleeting, fit_fleeting
from leadline.analytics.growing import Growing
from leadline.analytics.health import Baseline
from leadline.analytics.impact import TradeSide, cost_columns
from leadline.analytics.order_flow import Windows
from leadline.analytics.stats import Fit, Floats, History
from leadline.analytics.stress import Stress, fit_stress
from leadline.analytics.trades import kyle_slope
from leadline.analytics.vacuums import BaseDensity, base_density
from leadline.core.minute import BINS, BUCKETS_BPS
from leadline.core.records import SIZES_QUOTE, MinuteBlock
from leadline.core.sizes import size_thresholds

DAY_S = 86_400
MINUTE_S = 60
NEED_S_MIN = 1_800
NEED_WINDOWS = 30
REACH_S = DAY_S + 3 * health.REVERSION_S + MINUTE_S  # kept: a day before the start of the longest window asked for, and a margin
CACHED_MAX = 64

COLUMNS = tuple(dict.fromkeys((*health.COLUMNS, *ACTIVITY_COLUMNS, *order_flow.COLUMNS)))

T = TypeVar("T")


class Costs(Struct, frozen=True):
    """Cost of each of SIZES_QUOTE in clean seconds, bps, (n, 6) a side; +inf: the book held less; NaN: not known."""

    t: Ints
    buy: Floats
    sell: Floats


class Minutes(Struct, frozen=True):
    """Minute blocks, a row each: density (n, 2, 100) quote per bp, bids first; size_p99 (n, 6) quote. NaN: not known."""

    t: Ints
    density: Floats
    size_p99: Floats


class OwnHistory:
    """The day of one symbol. Rows go in with `add`, in order of time; everything else reads.

    from_s, to_s: what has been added covers the ticks from_s < t <= to_s, be there records or not.
    """

    def __init__(self, from_s: int) -> None:
        self.from_s = self.to_s = from_s
        self._flow = Growing(order_flow.columns_of({name: _none(name) for name in COLUMNS}))
        self._health = Growing(health.seconds_of({name: _none(name) for name in COLUMNS}))
        self._activity = Growing(activity_of({name: _none(name) for name in COLUMNS}))
        self._costs = Growing(_costs({name: _none(name) for name in COLUMNS}))
        self._minutes = Growing(Minutes(_none("t"), np.zeros((0, 2, BINS)), np.zeros((0, 6))))
        self._minute_health = health.windows(self._health.between(0, 0), np.zeros(0, np.int64))
        self._cache: OrderedDict[Any, tuple[tuple[int, int], Any]] = OrderedDict()

    # What goes in ------------------------------------------------------------------------

    def add(self, to_s: int, columns: Mapping[str, NDArray[Any]], minutes: Sequence[tuple[int, MinuteBlock]]) -> None:
        """The records with self.to_s < t <= to_s: COLUMNS as the store gives them, and their minute blocks."""
        assert to_s >= self.to_s, "history grows at its end"
        self._flow.append(order_flow.columns_of(columns))
        self._health.append(health.seconds_of(columns))
        self._activity.append(activity_of(columns))
        self._costs.append(_costs(columns))
        self._minutes.append(_minutes(minutes))
        self.to_s = to_s
        self._add_minutes()
        until = to_s - REACH_S
        for held in (self._flow, self._health, self._activity, self._costs, self._minutes):
            cast(Growing[Any], held).drop_until(until)
        self.from_s = max(self.from_s, until)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        return sum(
            cast(Growing[Any], held).nbytes for held in (self._flow, self._health, self._activity, self._costs, self._minutes)
        )

    # How much there is -------------------------------------------------------------------

    def baseline(self, start_s: int, window_s: int) -> Baseline:
        """The label of what a window of window_s seconds that begins at start_s is ranked against."""
        have_s = self.have_s(start_s)
        need_s = max(NEED_S_MIN, NEED_WINDOWS * window_s)
        found = self.windows(start_s, window_s)
        ordinary = found.start_s[found.coverage >= order_flow.WHOLE_COVERAGE_MIN]
        span_s = int(ordinary[-1] - ordinary[0]) + window_s if len(ordinary) else 0
        state = "ready" if have_s >= need_s else "short"
        return Baseline(state, "trailing_24h", len(ordinary), span_s, have_s, need_s)

    def have_s(self, start_s: int) -> int:
        """Clean seconds of the 24 h before."""
        return self._cached("have", start_s - DAY_S, start_s, lambda since, until: len(self._flow.between(since, until).t))

    # Order flow --------------------------------------------------------------------------

    def windows(self, start_s: int, window_s: int) -> Windows:
        """The aligned windows of window_s seconds inside the 24 h before start_s, cut ones left out."""
        until = start_s // window_s * window_s
        since = -(-(start_s - DAY_S) // window_s) * window_s

        def build(after: int, to: int) -> Windows:
            return order_flow.windows(self._flow.between(after, to), window_s)

        return self._cached(("windows", window_s), since, until, build)

    def ordinary(self, start_s: int, window_s: int, statistic: Callable[[Windows], Floats]) -> History:
        """A statistic of those windows that are at least 90 % clean."""
        found = self.windows(start_s, window_s)
        return History.of(statistic(found)[found.coverage >= order_flow.WHOLE_COVERAGE_MIN])

    def move_fit(self, start_s: int, tick_e8: int, source: str) -> Fit | None:
        """Of order_flow.move_fit, over the day before."""
        return self._each_minute(
            ("move", tick_e8, source), start_s, lambda a, b: order_flow.move_fit(self._flow.between(a, b), tick_e8, source=source)
        )

    def kyle(self, start_s: int) -> Fit | None:
        """Of trades.kyle_slope, over the day before."""
        return self._each_minute("kyle", start_s, lambda a, b: kyle_slope(self._flow.between(a, b)))

    # Health ------------------------------------------------------------------------------

    def health_past(self, end_s: int) -> health.Past | None:
        """What the window (end_s - 60, end_s] is ranked in; made once a minute."""
        until = (end_s - health.WINDOW_S) // MINUTE_S * MINUTE_S

        def build(since: int, until: int) -> health.Past:
            seconds, found = self._health.between(since, until), self._minute_health
            inside = (found.ends >= since + MINUTE_S) & (found.ends <= until)
            return health.past_of(
                seconds, health.Windows(*(column[inside] for column in astuple(found))), until + health.WINDOW_S
            )

        return self._cached("health", until - DAY_S, until, build) if until > self.from_s else None

    def _add_minutes(self) -> None:
        """The parts of a minute that is over do not change any more, so each is computed once."""
        held = self._minute_health
        first = int(held.ends[-1]) if len(held.ends) else self.from_s // MINUTE_S * MINUTE_S
        ends = np.arange(first + MINUTE_S, self.to_s + 1, MINUTE_S, dtype=np.int64)
        if len(ends):
            fresh = health.windows(self._health.between(int(ends[0]) - health.REVERSION_S, self.to_s), ends)
            kept = held.ends > self.to_s - REACH_S
            pairs = zip(astuple(held), astuple(fresh), strict=True)
            self._minute_health = health.Windows(*(np.concatenate([old[kept], new]) for old, new in pairs))

    # Detectors ---------------------------------------------------------------------------

    def bursts(self, start_s: int, tick_e8: int) -> Bursts | None:
        """Detector A's model of the day before."""
        return self._each_minute(("A", tick_e8), start_s, lambda a, b: fit_bursts(self._activity.between(a, b), tick_e8))

    def stress(self, start_s: int) -> Stress | None:
        """Detector B's."""
        return self._each_minute("B", start_s, lambda a, b: fit_stress(self._health.between(a, b)))

    def fleeting(self, start_s: int, window_s: int) -> Fleeting | None:
        """Detector C's, for windows of this length."""
        return self._each_minute(
            ("C", window_s), start_s, lambda a, b: fit_fleeting(self._activity.between(a, b), window_s, a, b)
        )

    def absorbing(self, start_s: int) -> Absorbing | None:
        """Detector E's."""
        return self._each_minute("E", start_s, lambda a, b: fit_absorbing(self._flow.between(a, b)))

    # Book --------------------------------------------------------------------------------

    def cost_history(self, start_s: int, side: TradeSide, size_quote: int) -> History:
        """Cost of the same question in each clean second of the day before, bps; both sides: the sum."""

        def build(since: int, until: int) -> History:
            held, place = self._costs.between(since, until), SIZES_QUOTE.index(size_quote)
            buy, sell = held.buy[:, place], held.sell[:, place]
            return History.of({TradeSide.BUY: buy, TradeSide.SELL: sell, TradeSide.BOTH: buy + sell}[side])

        return self._each_minute(("cost", side, size_quote), start_s, build)

    def size_thresholds(self, start_s: int) -> list[float | None]:
        """Quote value above which a level counts as large, by distance bucket (core/sizes.py)."""
        return self._each_minute("sizes", start_s, lambda a, b: size_thresholds(self._minutes.between(a, b).size_p99))

    def base_density(self, start_s: int) -> BaseDensity:
        """What usually rests at each distance."""
        return self._each_minute("density", start_s, lambda a, b: base_density(self._minutes.between(a, b).density))

    def minute_net_quote(self, start_s: int) -> Floats:
        """Bought less sold value of each whole minute of the day before, quote."""
        return self.ordinary(start_s, MINUTE_S, lambda found: found.signed_quote).sorted

    # Rows ----------------------------------------------------------------------------------

    def health_rows(self, after_s: int, to_s: int) -> health.Seconds:
        """after_s < t <= to_s."""
        return self._health.between(after_s, to_s)

    def activity_rows(self, after_s: int, to_s: int) -> Activity:
        """after_s < t <= to_s."""
        return self._activity.between(after_s, to_s)

    def flow_rows(self, after_s: int, to_s: int) -> order_flow.Columns:
        """after_s < t <= to_s; clean ones only."""
        return self._flow.between(after_s, to_s)

    # Caches ------------------------------------------------------------------------------

    def _each_minute(self, key: Any, start_s: int, build: Callable[[int, int], T]) -> T:
        until = start_s // MINUTE_S * MINUTE_S
        return self._cached(key, until - DAY_S, until, build)

    def _cached(self, key: Any, since: int, until: int, build: Callable[[int, int], T]) -> T:
        """One value per key: that of the rows since < t <= until it was last asked for, as far as they were there."""
        held, rows = self._cache.get(key), (since, min(until, self.to_s))
        if held is None or held[0] != rows:
            held = self._cache[key] = (rows, build(since, until))
        self._cache.move_to_end(key)
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return cast(T, held[1])


def _none(name: str) -> NDArray[Any]:
    """No rows of a column, as the store gives them."""
    width = {"depth_bid": 6, "depth_ask": 6, "cost_buy": 6, "cost_sell": 6, "fill_buy": 6, "fill_sell": 6}.get(name)
    kind: Any = np.int64 if name in {"t", "flags"} else object if name in {"state", "trade_state", "ofi_source"} else np.float64
    return np.zeros(0 if width is None else (0, width), kind)


def _costs(columns: Mapping[str, NDArray[Any]]) -> Costs:
    clean = clean_rows(columns)[:, None]
    each = [cost_columns(columns, size) for size in SIZES_QUOTE]
    buy, sell = (np.where(clean, np.column_stack([pair[side] for pair in each]), np.nan) for side in (0, 1))
    return Costs(columns["t"], buy, sell)


def _minutes(blocks: Sequence[tuple[int, MinuteBlock]]) -> Minutes:
    used = [(t, block) for t, block in blocks if block.samples]
    return Minutes(
        np.array([t for t, _ in used], np.int64),
        np.array([[block.density_bid, block.density_ask] for _, block in used], np.float64).reshape(-1, 2, BINS),
        np.array([block.size_p99 for _, block in used], np.float64).reshape(-1, len(BUCKETS_BPS)),
    )
