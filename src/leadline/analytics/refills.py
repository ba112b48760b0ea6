"""Detector D, iceberg-like refills: more traded at a price than was shown there (IcebergOrder). Inferred, and weak.

Only a discrepancy is visible: hidden size, or an order that was loaded again between two messages. Against order-by-order data
rules of this kind miss more than half of the icebergs, and at most half of what they report is real; so it is never Critical.
Background: Zotikov, Antonov, arXiv 1909.09495. The discrepancies themselves are found by the recorder (docs/records.md).
"""

from collections.abc import Sequence
from statistics import median

from leadline.analytics.anomalies import MERGE_S, AnomalyType, Event, Outcome, Severity, still_open
from leadline.analytics.clean import is_clean
from leadline.analytics.reasons import LOW_COVERAGE, NO_TICKER_STREAM
from leadline.core.records import LevelEvent, SecondRecord
from leadline.core.units import E16, decimal_text

QUOTE_MIN = 5_000
BATCHES = 3  # times the median taker order
MEDIUM_QUOTE, HIGH_QUOTE = 25_000, 100_000
KINDS = ("sweep_excess", "refill")
THRESHOLD = "traded beyond what was shown: >= 5000 quote and >= 3 x the median taker order"


def detect_refills(records: Sequence[SecondRecord], start_s: int, end_s: int, batch_quotes_e16: Sequence[int]) -> Outcome:
    """The window (start_s, end_s]. records: its own, in order of t, and some before it: what began in them keeps its name.

    batch_quotes_e16: values of taker orders so far.
    """
    clean = [record for record in records if start_s < record.t <= end_s and is_clean(record)]
    seen = [record for record in clean if record.n_sweeps is not None]
    middle = median(batch_quotes_e16) / E16 if batch_quotes_e16 else None
    least = max(float(QUOTE_MIN), BATCHES * middle) if middle is not None else float(QUOTE_MIN)
    sweeps = sum(record.n_excess or 0 for record in seen)
    current: dict[str, float | None] = {
        "sweeps_beyond_display": float(sweeps) if seen else None,
        "excess_quote": sum(record.excess_quote or 0 for record in seen) / E16 if seen else None,
        "median_batch_quote": middle,
        "least_quote": least,
    }
    reason = None if seen else NO_TICKER_STREAM if clean else LOW_COVERAGE
    events: tuple[Event, ...] = ()
    if reason is None:
        known = (record for record in records if record.t <= end_s and is_clean(record))
        levels = [(record.t, level) for record in known for level in record.level_events if level.kind in KINDS]
        large = [(t, level) for t, level in levels if excess_quote(level) >= least]
        events = tuple(_event(group, end_s) for group in _groups(large) if group[-1][0] > start_s)
    return Outcome(
        anomaly_type=AnomalyType.REFILL,
        window_s=end_s - start_s,
        reason=reason,
        seconds=len(seen),
        threshold=THRESHOLD,
        current=current,
        base_rate_per_day=None,
        events=events,
    )


def excess_quote(level: LevelEvent) -> float:
    """Value of what was traded beyond what was shown, quote."""
    return level.price_e8 * max(0, level.traded_e8 - level.displayed_e8) / E16


def _groups(levels: Sequence[tuple[int, LevelEvent]]) -> list[list[tuple[int, LevelEvent]]]:
    """By side and price, and by time where 30 s or more lie between; in order of their first second."""
    groups: list[list[tuple[int, LevelEvent]]] = []
    latest: dict[tuple[str, int], list[tuple[int, LevelEvent]]] = {}
    for t, level in levels:
        group = latest.get((level.side, level.price_e8))
        if group is None or t - group[-1][0] >= MERGE_S:
            group = latest[level.side, level.price_e8] = []
            groups.append(group)
        group.append((t, level))
    return groups


def _event(group: Sequence[tuple[int, LevelEvent]], end_s: int) -> Event:
    """The largest speaks for its group: a refill is told with running sums."""
    level = max((level for _, level in group), key=excess_quote)
    first, last, value = group[0][0], group[-1][0], excess_quote(level)
    price, traded, shown = (decimal_text(number) for number in (level.price_e8, level.traded_e8, level.displayed_e8))
    return Event(
        start_s=first,
        end_s=None if still_open(last, end_s) else last,
        detected_s=first,
        severity=Severity.HIGH if value >= HIGH_QUOTE else Severity.MEDIUM if value >= MEDIUM_QUOTE else Severity.LOW,
        p_value=None,
        prices_e8=(level.price_e8,),
        evidence={
            "kind": level.kind,
            "side": level.side,
            "price_e8": level.price_e8,
            "displayed_e8": level.displayed_e8,
            "traded_e8": level.traded_e8,
            "excess_quote": value,
        },
        text=f"{traded} traded at {price} where {shown} was shown; consistent with hidden size, also with "
        "an order that was placed again between two messages",
    )
