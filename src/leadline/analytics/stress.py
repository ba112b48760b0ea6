"""Detector B, liquidity stress: two of depth gone, trading dear, spread wide, price wild (FlashCrashRisk). Measured.

It says "stress now", never that something is coming. It is deaf to a halving of depth on purpose: rarity is bought with
sensitivity, and `per_day` tells how rare. VPIN is not an input: Andersen, Bondarenko, J. Financial Markets 17, 2014.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.lib.stride_tricks import sliding_window_view

from leadline.analytics.anomalies import (
    P_SECOND,
    SEVERITIES,
    AnomalyType,
    Bools,
    Event,
    Ints,
    Outcome,
    Run,
    beyond,
    finite,
    p_high,
    reaches,
    runs,
    runs_a_day,
    still_open,
    without_guarded,
)
from leadline.analytics.health import Seconds
from leadline.analytics.reasons import BASELINE_SHORT, LOW_COVERAGE
from leadline.analytics.stats import Floats, History

VOLATILITY_S = 10
DEPTH_SHARES = (0.30, 0.20, 0.10, 0.05)  # of the median, from which the severities begin
COST_TIMES = (5.0, 10.0, 20.0, 50.0)  # of the median
COST_BPS_MIN = 0.5  # a median below is not taken as a measure
SPREAD_BPS_MIN = 0.1
AGREEING = 2  # witnesses
WITNESSES = ("depth", "cost", "spread", "volatility")
THRESHOLD = "two of depth, cost, spread, volatility with p <= 0.001, and depth < 30 % or cost > 5 x of its median, 2 of 3 seconds"


class Witnesses(Struct, frozen=True):
    """What a second says, a row each. bad: (n, 4), higher is worse, in the order of WITNESSES. NaN: not known.

    depth_quote: smaller side within 10 bps. cost_bps: mean of buying and selling 100k, +inf: the book held less.
    """

    t: Ints
    bad: Floats
    depth_quote: Floats
    cost_bps: Floats
    spread_bps: Floats
    volatility_bps: Floats


def witnesses(rows: Seconds) -> Witnesses:
    """Of each second. Volatility needs ten clean seconds in a row."""
    volatility = _rolling(rows.t, rows.return_bps)
    depth = np.log(np.maximum(rows.depth_quote, 1.0))
    bad = np.column_stack([-depth, rows.cost_bps, np.maximum(rows.spread_bps, SPREAD_BPS_MIN), volatility])
    return Witnesses(rows.t, bad, rows.depth_quote, rows.cost_bps, rows.spread_bps, volatility)


def _rolling(t: Ints, returns_bps: Floats) -> Floats:
    """Root of the summed squared returns of the ten seconds up to each."""
    if not len(t):
        return np.zeros(0)
    low = int(t[0]) - VOLATILITY_S + 1
    grid = np.full(int(t[-1]) - low + 1, np.nan)
    grid[t - low] = returns_bps**2
    rolled: Floats = np.sqrt(sliding_window_view(grid, VOLATILITY_S).sum(axis=1))[t - t[0]]
    return rolled.round(9)  # ranked: the order in which numpy sums must not break a tie


class Stress(Struct, frozen=True):
    """What is usual: each witness over the own day, medians of depth (quote) and cost (bps)."""

    histories: tuple[History, ...]
    depth_median: float
    cost_median: float
    base_rate_per_day: float | None
    warnings: tuple[str, ...]

    def each(self, rows: Witnesses) -> Floats:
        """(n, 4): the p-value of each witness. One that is not known counts as 1."""
        columns = [p_high(history, column) for history, column in zip(self.histories, rows.bad.T, strict=True)]
        return np.nan_to_num(np.column_stack(columns), nan=1.0)

    def reached(self, rows: Witnesses) -> Ints:
        """How many steps of severity, 0 to 4: the worse of what is left of the depth and of what trading costs."""
        least_bps = max(self.cost_median, COST_BPS_MIN)
        depth = [rows.depth_quote < share * self.depth_median for share in DEPTH_SHARES]
        cost = [rows.cost_bps > times * least_bps for times in COST_TIMES]
        worse: Ints = np.maximum(np.sum(depth, axis=0), np.sum(cost, axis=0))
        return worse

    def flagged(self, rows: Witnesses) -> tuple[Bools, Floats]:
        """Which seconds are under stress, and the p-value of each: the second smallest of four, since two must agree."""
        p = np.sort(self.each(rows), axis=1)[:, 1]
        return (p <= P_SECOND) & (self.reached(rows) > 0), p


def fit_stress(past: Seconds) -> Stress | None:
    """None where so few seconds of the past have a value that no other could be rare."""
    rows = witnesses(past)
    usable = _seen(rows)
    depth_median, cost_median = (
        float(np.median(known)) if len(known := column[usable & ~np.isnan(column)]) else np.nan
        for column in (rows.depth_quote, rows.cost_bps)
    )
    fit = Stress((), depth_median, cost_median, None, ())
    used, warnings = without_guarded(usable, fit.reached(rows) > 0)
    fit = replace(fit, histories=tuple(History.of(column[used]) for column in rows.bad.T), warnings=warnings)
    if sum(reaches(history, P_SECOND) for history in fit.histories) < AGREEING:
        return None
    return replace(fit, base_rate_per_day=runs_a_day(runs(rows.t, fit.flagged(rows)[0]), int(usable.sum())))


def _seen(rows: Witnesses) -> Bools:
    """Where two witnesses are known, and one of them is depth or cost: fewer cannot tell of stress."""
    known = ~np.isnan(rows.bad)
    seen: Bools = (known.sum(axis=1) >= AGREEING) & known[:, :2].any(axis=1)
    return seen


def detect_stress(seconds: Seconds, start_s: int, end_s: int, model: Stress | None, *, no_model: str = BASELINE_SHORT) -> Outcome:
    """The window (start_s, end_s]; seconds: of it and of LOOK_BACK_S before. model None: no_model is the reason."""
    rows = witnesses(seconds)
    inside = (rows.t > start_s) & (rows.t <= end_s)
    seen = int((inside & _seen(rows)).sum())
    places = np.flatnonzero(inside)
    current: dict[str, float | None] = dict.fromkeys(("depth_quote", "cost_bps", "spread_bps", "volatility_bps"))
    if len(places):
        last = places[-1]
        for name in current:
            current[name] = finite(getattr(rows, name)[last])
    current |= {
        "depth_median_quote": None if model is None else finite(model.depth_median),
        "cost_median_bps": None if model is None else finite(model.cost_median),
    }
    reason = no_model if model is None else LOW_COVERAGE if not seen else None
    events: tuple[Event, ...] = ()
    if model is not None and reason is None:
        flagged, p = model.flagged(rows)
        events = tuple(
            _event(rows, model, run, p, end_s) for run in runs(rows.t, flagged) if run.last > start_s and run.first <= end_s
        )
    return Outcome(
        anomaly_type=AnomalyType.LIQUIDITY_STRESS,
        window_s=1,
        reason=reason,
        seconds=seen,
        threshold=THRESHOLD,
        current=current,
        base_rate_per_day=None if model is None else model.base_rate_per_day,
        events=events,
        warnings=() if model is None else model.warnings,
    )


def _event(rows: Witnesses, model: Stress, run: Run, p: Floats, end_s: int) -> Event:
    places = np.flatnonzero(np.isin(rows.t, run.seconds)).tolist()
    reached, each = model.reached(rows).tolist(), model.each(rows)
    worst, rarest = max(places, key=lambda place: (reached[place], -p[place])), min(places, key=lambda place: p[place])
    p_value = float(p[rarest])
    n = model.histories[np.argsort(each[rarest], kind="stable")[AGREEING - 1]].n
    depth, cost = float(rows.depth_quote[worst]), float(rows.cost_bps[worst])
    share = depth / model.depth_median if model.depth_median else np.nan
    witnesses_p = np.where(np.isnan(rows.bad[worst]), np.nan, each[worst]).tolist()
    return Event(
        start_s=run.first,
        end_s=None if still_open(run.last, end_s) else run.last,
        detected_s=run.detected,
        severity=SEVERITIES[reached[worst] - 1],
        p_value=p_value,
        evidence={
            "depth_quote": finite(depth),
            "depth_share": finite(share),
            "cost_bps": finite(cost),
            "spread_bps": finite(rows.spread_bps[worst]),
            "volatility_bps": finite(rows.volatility_bps[worst]),
            "p": {name: finite(value) for name, value in zip(WITNESSES, witnesses_p, strict=True)},
            "flagged_s": len(run.seconds),
        },
        text=f"{_told(share, cost, model.cost_median)}; two measures at once are beyond {beyond(p_value, n)} of {n} "
        "ordinary seconds",
    )


def _told(share: float, cost: float, cost_median: float) -> str:
    """What is known of depth and cost; one of them is."""
    told = [] if np.isnan(share) else [f"{100 * share:.0f} % of the usual depth within 10 bps is left"]
    usual = f", where the median is {cost_median:.2f} bps" if np.isfinite(cost_median) else ""
    if np.isinf(cost):
        told.append(f"100k quote cannot be traded at all{usual}")
    elif not np.isnan(cost):
        told.append(f"trading 100k quote costs {cost:.2f} bps{usual}")
    return "; ".join(told)
