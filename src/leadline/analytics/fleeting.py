"""Detector C, fleeting large liquidity: large levels near the mid that vanish within two seconds untraded (FleetingLiquidity).

The rate is measured, the reading inferred: such levels are common, so one means nothing. What counts is how much of them there
was in the window against the symbol's own windows of the same length, and something beside it. Distance matters: Fabre, Challet,
arXiv 2504.15908. The recorder sees them in every update (docs/records.md); snapshots once a second would show a minority.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.lib.stride_tricks import sliding_window_view

from leadline.analytics.activity import Activity
from leadline.analytics.anomalies import (
    SEVERITIES,
    AnomalyType,
    Bools,
    Event,
    Ints,
    Outcome,
    merged,
    p_high,
    reaches,
    step_of,
    still_open,
)
from leadline.analytics.clean import is_clean
from leadline.analytics.order_flow import WHOLE_COVERAGE_MIN
from leadline.analytics.reasons import BASELINE_SHORT, LOW_COVERAGE
from leadline.analytics.stats import Floats, History
from leadline.core.records import LevelEvent, SecondRecord
from leadline.core.units import E16

SIDES = ("bid", "ask")
P_WINDOW = 0.01
STEPS = (3.0, 5.0, 10.0, 20.0)  # times the median of the own windows; where that is 0, their mean
FLOW_SHARE = 0.025  # takers of the other side are among the largest 2.5 % of seconds
AWAY = 10_000  # the mid went away if it moved by one part in so many, a basis point; our convention
RETURN_S = 5
RETURN_SHARE = 0.5
TOGETHER = 3  # levels of one side that vanish within a second
COVERAGE_MIN = 0.8
THRESHOLD = "value a second on one side with p <= 0.01 and >= 3 x median; beside it takers, a return of the mid or three at once"


class Fleeting(Struct, frozen=True):
    """What is usual: value a second of vanished large levels, bids and asks, over own windows; takers a second.

    base_rate_per_day: of such values, whatever stood beside them.
    """

    window_s: int
    rates: tuple[History, History]
    medians: tuple[float, float]
    takers: tuple[History, History]
    base_rate_per_day: float | None

    def times(self, rates: Floats, place: int) -> Floats:
        """Rates of a side, 0 bids, 1 asks, against the usual one. Infinite where no past window had any."""
        usual = self.medians[place] or float(self.rates[place].sorted.mean())
        return rates / usual if usual else np.where(rates > 0, np.inf, rates)

    def flagged(self, rates: Floats, place: int) -> Bools:
        """Which windows had more than is usual."""
        return (p_high(self.rates[place], rates) <= P_WINDOW) & (self.times(rates, place) >= STEPS[0])


def fit_fleeting(past: Activity, window_s: int, since_s: int, until_s: int) -> Fleeting | None:
    """From the aligned windows of window_s seconds inside (since_s, until_s]. None where too few are known for any to be rare."""
    rates = [_rates(past, column, window_s, since_s, until_s) for column in (past.large_bid_quote, past.large_ask_quote)]
    histories = History.of(rates[0]), History.of(rates[1])
    if not all(reaches(history, P_WINDOW) for history in histories):
        return None
    medians = float(np.median(histories[0].sorted)), float(np.median(histories[1].sorted))
    model = Fleeting(window_s, histories, medians, (History.of(past.buy_quote), History.of(past.sell_quote)), None)
    hits = model.flagged(rates[0], 0) | model.flagged(rates[1], 1)
    known = int((~np.isnan(rates[0])).sum())
    return replace(model, base_rate_per_day=int(hits.sum()) * 86_400 / (known * window_s))


def _rates(past: Activity, column: Floats, window_s: int, since_s: int, until_s: int) -> Floats:
    """Of each aligned window that lies inside; NaN where less than 90 % of its seconds are known."""
    first, end = -(-since_s // window_s), until_s // window_s
    if end <= first:
        return np.zeros(0)
    number: Ints = (past.t - 1) // window_s - first
    known = ~np.isnan(column) & (number >= 0) & (number < end - first)
    n = np.bincount(number[known], minlength=end - first)
    total = np.bincount(number[known], column[known], end - first)
    whole: Bools = n >= WHOLE_COVERAGE_MIN * window_s
    return np.where(whole, total / np.maximum(n, 1), np.nan)


def detect_fleeting(
    rows: Activity,
    records: Sequence[SecondRecord],
    start_s: int,
    end_s: int,
    model: Fleeting | None,
    *,
    no_model: str = BASELINE_SHORT,
) -> Outcome:
    """The window (start_s, end_s], as long as the model's. model None: no_model is the reason.

    rows: of the window and of LOOK_BACK_S before. records: its own, in order of t.
    """
    assert model is None or model.window_s == end_s - start_s
    inside = (rows.t > start_s) & (rows.t <= end_s)
    columns = rows.large_bid_quote, rows.large_ask_quote
    known = inside & ~np.isnan(columns[0]) & ~np.isnan(columns[1])
    seen = int(known.sum())
    rates = [float(column[known].sum()) / seen if seen else None for column in columns]
    clean = [record for record in records if start_s < record.t <= end_s and is_clean(record)]
    reason = no_model if model is None else None
    if reason is None and seen < COVERAGE_MIN * (end_s - start_s):  # from which size on a level is large takes a past of its own
        reason = LOW_COVERAGE if len(clean) < COVERAGE_MIN * (end_s - start_s) else BASELINE_SHORT
    events: list[Event] = []
    if model is not None and reason is None:
        for place, (rate, column) in enumerate(zip(rates, columns, strict=True)):
            if rate is not None and model.flagged(np.array([rate]), place)[0]:
                event = _event(clean, rate, model, place, _began_s(rows.t, column, model, place, end_s), end_s)
                events += [] if event is None else [event]
    return Outcome(
        anomaly_type=AnomalyType.FLEETING,
        window_s=end_s - start_s,
        reason=reason,
        seconds=seen,
        threshold=THRESHOLD,
        current={
            "bid_quote_per_s": rates[0],
            "ask_quote_per_s": rates[1],
            "bid_median_quote_per_s": None if model is None else model.medians[0],
            "ask_median_quote_per_s": None if model is None else model.medians[1],
        },
        base_rate_per_day=None if model is None else model.base_rate_per_day,
        events=tuple(events),
    )


def _began_s(t: Ints, column: Floats, model: Fleeting, place: int, end_s: int) -> int:
    """The window that ends at end_s has more than is usual: since when, without 30 s between, windows had."""
    low = min(int(t[0]), end_s - model.window_s + 1)
    grid = np.full(end_s - low + 1, np.nan)
    grid[t[t <= end_s] - low] = column[t <= end_s]
    each = sliding_window_view(grid, model.window_s)
    n = (~np.isnan(each)).sum(axis=1)
    rates = np.where(n >= COVERAGE_MIN * model.window_s, np.nansum(each, axis=1) / np.maximum(n, 1), np.nan)
    ends = np.flatnonzero(model.flagged(rates[:-1], place)) + low + model.window_s - 1
    return merged(np.append(ends, end_s))[-1][0]


def _event(clean: Sequence[SecondRecord], rate: float, model: Fleeting, place: int, began_s: int, end_s: int) -> Event | None:
    side = SIDES[place]
    levels = [level for record in clean for level in record.level_events if level.kind == "fleeting" and level.side == side]
    beside = _beside(clean, levels, side, model)
    if not levels or not beside:
        return None
    history, median = model.rates[place], model.medians[place]
    times = float(model.times(np.array([rate]), place)[0])
    largest = sorted(levels, key=lambda level: -level.price_e8 * level.peak_e8)[:5]
    last = max(began_s, *(-(-level.died_ms // 1000) for level in levels))
    count = sum((record.n_large_bid if side == "bid" else record.n_large_ask) or 0 for record in clean)
    return Event(
        start_s=began_s,
        end_s=None if still_open(last, end_s) else last,
        detected_s=began_s,
        severity=SEVERITIES[0] if np.isinf(times) else step_of(times, STEPS) or SEVERITIES[0],  # times nothing tells no size
        p_value=history.p_high(rate),
        prices_e8=tuple(sorted({level.price_e8 for level in largest})),
        evidence={
            "side": side,
            "count": count,
            "quote_per_s": rate,
            "median_quote_per_s": median,
            "co_occurrence": beside,
            "levels": [
                {
                    "price_e8": level.price_e8,
                    "peak_e8": level.peak_e8,
                    "born_ms": level.born_ms,
                    "died_ms": level.died_ms,
                    "distance_bps": level.distance_bps,
                }
                for level in largest
            ],
        },
        text=f"{count} large {side} levels came and vanished untraded within 2 s, {rate:.0f} quote a second where the median of "
        f"{history.n} windows is {median:.0f}; consistent with quotes that are pulled on purpose, also with makers who requote",
    )


def _beside(clean: Sequence[SecondRecord], levels: Sequence[LevelEvent], side: str, model: Fleeting) -> list[str]:
    """What else was there: takers of the other side while one lived, a mid that went away and came back, three at once."""
    found = []
    by_second = {record.t: record for record in clean}
    takers = model.takers[0 if side == "bid" else 1]  # a large bid may draw buyers, a large ask sellers
    if any(_taken(by_second, level, side, takers) for level in levels):
        found.append("opposite_takers")
    if any(_returned(by_second, level, side) for level in levels):
        found.append("mid_returned")
    died = sorted(level.died_ms for level in levels)
    if any(after - before <= 1000 for before, after in zip(died, died[TOGETHER - 1 :], strict=False)):
        found.append("several_at_once")
    return found


def _seconds(from_ms: int, to_ms: int) -> range:
    """Ticks of the records that cover the moments."""
    return range(-(-from_ms // 1000), -(-to_ms // 1000) + 1)


def _taken(by_second: dict[int, SecondRecord], level: LevelEvent, side: str, takers: History) -> bool:
    for t in _seconds(level.born_ms, level.died_ms):
        record = by_second.get(t)
        if record is None:
            continue
        quote_e16 = record.buy_quote if side == "bid" else record.sell_quote
        p_value = takers.p_high(quote_e16 / E16)
        if quote_e16 and p_value is not None and p_value <= FLOW_SHARE:
            return True
    return False


def _returned(by_second: dict[int, SecondRecord], level: LevelEvent, side: str) -> bool:
    """Whether the mid went away from the level while it lived, by a basis point or more, and came back by half within 5 s.

    What is known are whole seconds: the first counts from its start, and the one in which the level died tells no order.
    """
    sign = 1 if side == "bid" else -1
    alive = [by_second[t] for t in _seconds(level.born_ms, level.died_ms) if t in by_second]
    after = [by_second[t] for t in range(-(-level.died_ms // 1000) + 1, level.died_ms // 1000 + RETURN_S + 1) if t in by_second]
    if not alive or not after or alive[0].mid2_open is None:
        return False
    far = [sign * (r.mid2_high if sign > 0 else r.mid2_low) for r in alive if r.mid2_high is not None and r.mid2_low is not None]
    back = [sign * (r.mid2_low if sign > 0 else r.mid2_high) for r in after if r.mid2_high is not None and r.mid2_low is not None]
    if not far or not back:
        return False
    began = sign * alive[0].mid2_open
    went = max(far) - began
    return AWAY * went >= alive[0].mid2_open and max(far) - min(back) >= RETURN_SHARE * went
