"""What five detectors have in common (detect_market_anomalies): outcomes, events, severity, how sure one may be.

A detector finds something, finds nothing in so many clean seconds, or was not evaluated and says why. Seconds with a data fault
never count: faults are incidents, not market anomalies. Severity is the size of the effect, confidence how likely the named
pattern is real. Of intent nothing is visible in public data.

bursts.py (A), stress.py (B), fleeting.py (C), refills.py (D), absorption.py (E) are the detectors.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.stats import Floats, History

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

P_SECOND = 1e-3  # a second is flagged from here on; our convention, like all thresholds of the detectors
OPENING_S = 3  # two flagged seconds among so many open an event
MERGE_S = 30
LOOK_BACK_S = 4_320  # before the window: what began there keeps its name; 5 % of a day, what lasts longer is the new normal
OPEN_S = 2  # an event whose last flagged second is so near the end of the window may go on
EXCLUDED_MAX = 0.05  # share of its own baseline that a detector may leave out


class AnomalyType(StrEnum):
    """Identifiers of the detectors; names of patterns, not findings of intent."""

    MESSAGE_BURST = "QuoteStuffing"
    LIQUIDITY_STRESS = "FlashCrashRisk"
    FLEETING = "FleetingLiquidity"
    REFILL = "IcebergOrder"
    ABSORPTION = "Absorption"


PATTERNS = {
    AnomalyType.MESSAGE_BURST: "message_burst",
    AnomalyType.LIQUIDITY_STRESS: "liquidity_stress",
    AnomalyType.FLEETING: "fleeting_liquidity",
    AnomalyType.REFILL: "iceberg_like",
    AnomalyType.ABSORPTION: "absorption_like",
}
MEASURED = frozenset({AnomalyType.MESSAGE_BURST, AnomalyType.LIQUIDITY_STRESS})


class Status(StrEnum):
    """What a detector can say of a window."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    NOT_EVALUATED = "not_evaluated"


class Severity(StrEnum):
    """Size of an effect, smallest first."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


SEVERITIES = tuple(Severity)


class Event(Struct, frozen=True, kw_only=True):
    """One finding. Seconds are ticks: a second t covers (t - 1, t].

    start_s, end_s: First and last flagged second; end_s None: it may still go on.
    detected_s: The second at which enough was known to open it.
    p_value: How often ordinary time looks like its strongest second or window; None without a baseline.
    prices_e8: Prices concerned.
    evidence: Numbers that it rests on, by name; units in the names, 1e-8 integers as such.
    text: One sentence of them.
    """

    start_s: int
    end_s: int | None
    detected_s: int
    severity: Severity
    p_value: float | None
    prices_e8: tuple[int, ...] = ()
    evidence: dict[str, Any]
    text: str


class Outcome(Struct, frozen=True, kw_only=True):
    """What one detector says of a window.

    window_s: Length of what one p-value is about: a second, or a window.
    reason: Why it was not evaluated: `baseline_short`, `low_coverage`, `trade_gap`, `no_ticker_stream`, `too_few`, `undefined`.
    seconds: Clean seconds of the window in which it could see.
    threshold: What it asks for, in words and numbers.
    current: Its raw values now, by name; there also when it was not evaluated.
    base_rate_per_day: How many such findings a day this symbol's own baseline holds.
    warnings: `regime_change`: more than 5 % of the baseline is itself extreme, and was kept in it.
    """

    anomaly_type: AnomalyType
    window_s: int
    reason: str | None
    seconds: int
    threshold: str
    current: dict[str, float | None]
    base_rate_per_day: float | None
    events: tuple[Event, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Found, not found in so many seconds, or not evaluated."""
        if self.reason is not None:
            return Status.NOT_EVALUATED
        return Status.FOUND if self.events else Status.NOT_FOUND


def p_high(history: History, values: Floats) -> Floats:
    """History.p_high of a column; NaN stays NaN. 1 without a past: then nothing is rare."""
    if not history.n:
        return np.where(np.isnan(values), np.nan, 1.0)
    at_least = history.n - np.searchsorted(history.sorted, values, "left")
    return np.where(np.isnan(values), np.nan, (1 + at_least) / (history.n + 1))


def beyond(p_value: float, n: int) -> int:
    """How many of the n values of a past are smaller than one with this upper-tail p-value."""
    return round((1 - p_value) * (n + 1))


def reaches(history: History, p_value: float) -> bool:
    """Whether anything can be so rare against this past. Where nothing can, "not found" would say more than we know."""
    return 1 / (history.n + 1) <= p_value


def without_guarded(usable: Bools, guarded: Bools) -> tuple[Bools, tuple[str, ...]]:
    """Rows of its own baseline that a detector uses: yesterday's event must not hide today's, but a new normal must show."""
    n = int(usable.sum())
    out = usable & guarded
    if n and out.sum() > EXCLUDED_MAX * n:
        return usable, ("regime_change",)
    return usable & ~guarded, ()


class Run(Struct, frozen=True):
    """Flagged seconds that belong together. detected: the second of them with which 2 of 3 were flagged."""

    first: int
    last: int
    detected: int
    seconds: tuple[int, ...]


def runs(t: Ints, flagged: Bools) -> list[Run]:
    """A run opens when 2 of 3 seconds in a row are flagged; runs less than 30 s apart are one. t: rising, flagged: a row each."""
    hits = t[flagged]
    if not len(hits):
        return []
    near = np.diff(hits) < OPENING_S
    members = hits[np.append(near, False) | np.append(False, near)]
    return [Run(group[0], group[-1], group[1], tuple(group)) for group in merged(members)]


def merged(seconds: Ints, within_s: int = MERGE_S) -> list[list[int]]:
    """Rising seconds in groups: what is less than within_s after the one before belongs to its group."""
    groups: list[list[int]] = []
    for second in seconds.tolist():
        if groups and second - groups[-1][-1] < within_s:
            groups[-1].append(second)
        else:
            groups.append([second])
    return groups


def still_open(last_s: int, end_s: int) -> bool:
    """Whether an event may go on after the window."""
    return end_s - last_s < OPEN_S


def step_of(value: float, steps: Sequence[float]) -> Severity | None:
    """Severity of a value against rising steps, one per severity; None below the first."""
    reached = sum(value >= step for step in steps)
    return SEVERITIES[reached - 1] if reached else None


def runs_a_day(found: Sequence[Run], seconds: int) -> float | None:
    """Base rate of runs over so many evaluated seconds."""
    return len(found) * 86_400 / seconds if seconds else None


def finite(value: float) -> float | None:
    """NaN and infinity are no numbers to print."""
    return float(value) if np.isfinite(value) else None
