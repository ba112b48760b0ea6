"""Detector A, message burst: more update ids in a second than its own activity explains (QuoteStuffing). Measured.

Busy seconds have many messages, so what counts is the residual of a regression on fills and range over the symbol's own day.
Source of the phenomenon: Egginton, Van Ness, Van Ness, Financial Management 2016. Whether anybody meant it is not visible.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from leadline.analytics.activity import Activity
from leadline.analytics.anomalies import (
    P_SECOND,
    SEVERITIES,
    AnomalyType,
    Bools,
    Event,
    Outcome,
    Run,
    beyond,
    finite,
    p_high,
    reaches,
    runs,
    runs_a_day,
    step_of,
    still_open,
    without_guarded,
)
from leadline.analytics.reasons import BASELINE_SHORT, LOW_COVERAGE, TRADE_GAP, UNDEFINED
from leadline.analytics.stats import Floats, History

GUARD = 20.0  # times the median: such seconds leave the baseline
STEPS = (5.0, 10.0, 20.0, 50.0)
MEDIAN_MIN = 1.0  # a median below is not taken as a measure: where most seconds are silent, any other would be beyond all times
THRESHOLD = "residual of log messages on activity with p <= 0.001, messages above p95 and 5 x median, 2 of 3 seconds"


class Bursts(Struct, frozen=True):
    """What messages are usual: fit of ln(1 + messages) on 1, ln(1 + fills), ln(1 + range in ticks), and what it leaves over."""

    tick_e8: int
    beta: Floats
    residuals: History
    median: float
    p95: float
    base_rate_per_day: float | None
    warnings: tuple[str, ...]

    def residual(self, rows: Activity) -> Floats:
        """NaN where a second has no value."""
        left: Floats = np.log1p(rows.messages) - _regressors(rows, self.tick_e8) @ self.beta
        return left.round(9)  # ranked: the order in which numpy sums must not break a tie

    def times(self, messages: Floats) -> Floats:
        """Messages against their median."""
        return messages / _measure(self.median)

    def flagged(self, rows: Activity) -> tuple[Bools, Floats]:
        """Which seconds are beyond the own history, and the p-value of each."""
        p = p_high(self.residuals, self.residual(rows))
        return (p <= P_SECOND) & (rows.messages > self.p95) & (self.times(rows.messages) >= STEPS[0]), p


def fit_bursts(past: Activity, tick_e8: int) -> Bursts | None:
    """None where so few seconds of the past have a value that no other could be rare."""
    usable = _known(past)
    if not usable.any():
        return None
    median = float(np.median(past.messages[usable]))
    used, warnings = without_guarded(usable, past.messages > GUARD * _measure(median))
    least = np.linalg.lstsq(_regressors(past, tick_e8)[used], np.log1p(past.messages[used]), rcond=None)
    beta: Floats = least[0].astype(np.float64)
    p95 = float(np.quantile(past.messages[used], 0.95))
    fit = Bursts(tick_e8, beta, History(np.zeros(0)), median, p95, None, warnings)
    fit = replace(fit, residuals=History.of(fit.residual(past)[used]))
    if not reaches(fit.residuals, P_SECOND):
        return None
    return replace(fit, base_rate_per_day=runs_a_day(runs(past.t, fit.flagged(past)[0]), int(usable.sum())))


def _measure(median: float) -> float:
    return max(median, MEDIAN_MIN)


def _regressors(rows: Activity, tick_e8: int) -> Floats:
    return np.column_stack([np.ones(len(rows.t)), np.log1p(rows.fills), np.log1p(rows.mid_range_e8 / tick_e8)])


def _known(rows: Activity) -> Bools:
    return ~np.isnan(rows.messages) & ~np.isnan(rows.fills) & ~np.isnan(rows.mid_range_e8)


def detect_bursts(rows: Activity, start_s: int, end_s: int, model: Bursts | None, *, no_model: str = BASELINE_SHORT) -> Outcome:
    """The window (start_s, end_s]; rows: of it and of LOOK_BACK_S before. model None: no_model is the reason."""
    inside = (rows.t > start_s) & (rows.t <= end_s)
    clean, seen = inside & ~np.isnan(rows.messages), inside & _known(rows)
    messages = rows.messages[clean]
    reason = no_model if model is None else None if seen.any() else _blindness(rows, clean)
    events: tuple[Event, ...] = ()
    if model is not None and reason is None:
        flagged, p = model.flagged(rows)
        events = tuple(
            _event(rows, model, run, p, end_s) for run in runs(rows.t, flagged) if run.last > start_s and run.first <= end_s
        )
    return Outcome(
        anomaly_type=AnomalyType.MESSAGE_BURST,
        window_s=1,
        reason=reason,
        seconds=int(seen.sum()),
        threshold=THRESHOLD,
        current={
            "rate_per_s": finite(messages.mean()) if len(messages) else None,
            "max_per_s": finite(messages.max()) if len(messages) else None,
            "median_per_s": None if model is None else model.median,
        },
        base_rate_per_day=None if model is None else model.base_rate_per_day,
        events=events,
        warnings=() if model is None else model.warnings,
    )


def _blindness(rows: Activity, clean: Bools) -> str:
    """Why no second of these has all three numbers."""
    if not clean.any():
        return LOW_COVERAGE
    return TRADE_GAP if np.isnan(rows.fills[clean]).any() else UNDEFINED


def _event(rows: Activity, model: Bursts, run: Run, p: Floats, end_s: int) -> Event:
    places = np.flatnonzero(np.isin(rows.t, run.seconds))
    busiest = places[np.argmax(rows.messages[places])]
    peak, fills = float(rows.messages[busiest]), int(rows.fills[busiest])
    p_value, n = float(p[places].min()), model.residuals.n
    return Event(
        start_s=run.first,
        end_s=None if still_open(run.last, end_s) else run.last,
        detected_s=run.detected,
        severity=step_of(float(model.times(rows.messages[busiest])), STEPS) or SEVERITIES[0],
        p_value=p_value,
        evidence={
            "rate_per_s": peak,
            "median_per_s": model.median,
            "residual_z": model.residuals.z(float(model.residual(rows)[places].max())),
            "fills": fills,
            "flagged_s": len(run.seconds),
        },
        text=f"{peak:.0f} update ids in a second beside {fills} fills, where the median is {model.median:.0f}: more than its "
        f"activity explains, beyond {beyond(p_value, n)} of {n} ordinary seconds",
    )
