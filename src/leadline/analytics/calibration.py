"""How sure one may be of a finding: shares of injected patterns found and of clean windows flagged, measured (bench/injection).

confidence = pi TPR / (pi TPR + (1 - pi) FPR), with an assumed base rate pi that is printed beside it. None where a detector or a
severity has not been measured. What is inferred is capped at one half: other explanations always fit as well.
"""

from msgspec import Struct

from leadline.analytics.anomalies import MEASURED, AnomalyType, Severity

VERSION = 1  # of the table below
CAP_INFERRED = 0.5

ASSUMED_BASE_RATE = dict.fromkeys(AnomalyType, 1e-4)
"""Share of windows in which the pattern is assumed to be there."""


class Measured(Struct, frozen=True):
    """tpr: share of injected patterns found at this severity or above. fpr: share of clean windows flagged so."""

    tpr: float
    fpr: float


def _shares(found: int, placed: int, flagged: int, windows: int) -> Measured:
    """Of counts; half a case more in each, so that what was never seen is not called impossible."""
    return Measured((found + 0.5) / (placed + 1), (flagged + 0.5) / (windows + 1))


# BTCUSDT of the stand-in, 24 placements a cell, and one clean day of BTCUSDT and of ETHUSDT: 2,816 windows of 60 s
# (bench/README.md, 2026-11-25). Bursts of 5, 10 and 20 medians for 3 and 10 s; 70 and 90 % of both sides gone for 10 and 30 s;
# icebergs of 3 and 10 refills. What was not found once has no row. Vanished levels and absorption are not calibrated.
_WINDOWS = 2_816
TABLE: dict[tuple[AnomalyType, Severity], Measured] = {
    (AnomalyType.MESSAGE_BURST, Severity.LOW): _shares(90, 144, 0, _WINDOWS),
    (AnomalyType.MESSAGE_BURST, Severity.MEDIUM): _shares(79, 144, 0, _WINDOWS),
    (AnomalyType.MESSAGE_BURST, Severity.HIGH): _shares(47, 144, 0, _WINDOWS),
    (AnomalyType.LIQUIDITY_STRESS, Severity.LOW): _shares(94, 96, 0, _WINDOWS),
    (AnomalyType.LIQUIDITY_STRESS, Severity.MEDIUM): _shares(78, 96, 0, _WINDOWS),
    (AnomalyType.LIQUIDITY_STRESS, Severity.HIGH): _shares(50, 96, 0, _WINDOWS),
    (AnomalyType.LIQUIDITY_STRESS, Severity.CRITICAL): _shares(34, 96, 0, _WINDOWS),
    (AnomalyType.REFILL, Severity.LOW): _shares(84, 144, 4, _WINDOWS),
    (AnomalyType.REFILL, Severity.MEDIUM): _shares(46, 144, 2, _WINDOWS),
    (AnomalyType.REFILL, Severity.HIGH): _shares(11, 144, 0, _WINDOWS),
}


def confidence(kind: AnomalyType, severity: Severity) -> float | None:
    """In [0, 1]; None: not calibrated."""
    measured = TABLE.get((kind, severity))
    if measured is None:
        return None
    pi = ASSUMED_BASE_RATE[kind]
    found, mistaken = pi * measured.tpr, (1 - pi) * measured.fpr
    if not found + mistaken:
        return None
    share = found / (found + mistaken)
    return share if kind in MEASURED else min(share, CAP_INFERRED)
