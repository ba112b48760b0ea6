"""How sure one may be of a finding: shares of injected patterns found and of clean windows flagged, measured (bench/injection).

confidence = pi TPR / (pi TPR + (1 - pi) FPR), with an assumed base rate pi that is printed beside it. None where a detector or a
severity has not been measured. What is inferred is capped at one half: other explanations always fit as well.
"""

from msgspec import Struct

from leadline.analytics.anomalies import MEASURED, AnomalyType, Severity

VERSION = 1
CAP_INFERRED = 0.5

ASSUMED_BASE_RATE = dict.fromkeys(AnomalyType, 1e-4)
"""Share of windows in which the pattern is assumed to be there."""


class Measured(Struct, frozen=True):
    """tpr: share of injected patterns found at this severity or above. fpr: share of clean windows flagged so."""

    tpr: float
    fpr: float


TABLE: dict[tuple[AnomalyType, Severity], Measured] = {}


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
