"""detect_market_anomalies: what was beyond a symbol's own habit, how often that happens anyway, and what was not checked."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from leadline.analytics import trades
from leadline.analytics.absorption import detect_absorption
from leadline.analytics.anomalies import LOOK_BACK_S, MEASURED, PATTERNS, Event, Outcome, Status
from leadline.analytics.bursts import detect_bursts
from leadline.analytics.calibration import ASSUMED_BASE_RATE, VERSION, confidence
from leadline.analytics.fleeting import detect_fleeting
from leadline.analytics.health import Baseline
from leadline.analytics.order_flow import REGRESSION_S
from leadline.analytics.own_history import OwnHistory
from leadline.analytics.reasons import BASELINE_SHORT, NOT_CALIBRATED, NOT_FITTED, TOO_FEW
from leadline.analytics.refills import detect_refills
from leadline.analytics.stats import per_day
from leadline.analytics.stress import detect_stress
from leadline.core.records import BookState, SecondRecord
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, of_window, utc
from leadline.service.queries.flow import WINDOW_S, require_live, trades_between, window_in_bounds
from leadline.service.steps import Steps

DEFINITION = f"market_anomalies/1, calibration/{VERSION}"
LIVE_S_MIN = 10
EARLIER_S = 300  # a refill that began before the window keeps its name
BATCHES_S = 600  # the median taker order is that of the last ten minutes


class DetectorAnswer(Struct, frozen=True, kw_only=True):
    """What one detector says: found, not found in so many seconds, or not evaluated and why.

    anomaly_type: Identifier of the pattern, not a finding of intent.
    status: found, not_found or not_evaluated.
    reason: Why it was not evaluated.
    seconds: Clean seconds of the window in which it could see.
    threshold: What it asks for.
    current: Its raw values in the window, by name.
    base_rate_per_day: So many such findings a day are in this symbol's own baseline.
    baseline: What it compares with.
    warnings: regime_change: more than 5 % of the baseline is itself extreme.
    """

    anomaly_type: str
    status: str
    reason: str | None
    seconds: int
    threshold: str
    current: dict[str, float | None]
    base_rate_per_day: float | None
    baseline: Baseline
    warnings: list[str]


class AnomalyAnswer(Struct, frozen=True, kw_only=True):
    """One finding. Severity is the size of the effect, confidence how likely the named pattern is real.

    anomaly_id: The same while the window moves on.
    symbol: The symbol.
    anomaly_type: Identifier of the pattern.
    pattern: The same in plain words.
    severity: Low, Medium, High or Critical.
    statement: measured: a quantity beyond its own history; inferred: other explanations fit as well.
    p_value: How often ordinary time of this symbol looks like this.
    per_day: Expected ordinary occurrences a day at this p_value.
    confidence_score: Probability that the named pattern is real, in [0, 1], under assumed_base_rate.
    assumed_base_rate: Share of windows in which the pattern is assumed to be there.
    intent_inferable: Always false.
    detection_timestamp: When enough was known, UTC.
    start: First second, UTC.
    end: Last second, UTC; null: it may still go on.
    start_s: First second, unix s.
    end_s: Last second, unix s; null: it may still go on.
    affected_price_levels: Prices concerned.
    evidence: Numbers that it rests on, units in the names.
    text: One sentence of them.
    reasons: Field -> reason code, for each field that is null.
    """

    anomaly_id: str
    symbol: str
    anomaly_type: str
    pattern: str
    severity: str
    statement: str
    p_value: float | None
    per_day: float | None
    confidence_score: float | None
    assumed_base_rate: float | None
    intent_inferable: bool
    detection_timestamp: str
    start: str
    end: str | None
    start_s: int
    end_s: int | None
    affected_price_levels: list[str]
    evidence: dict[str, Any]
    text: str
    reasons: dict[str, str]


class MarketAnomaliesAnswer(Struct, frozen=True, kw_only=True):
    """What was beyond this symbol's own habit, how often that happens anyway, and what was not checked.

    reading: One sentence made of the fields.
    symbol: The symbol.
    time_window_start: Start of the window, UTC.
    time_window_end: End of the window, UTC.
    window_duration_secs: Its length, s.
    detectors: What each of the five detectors says.
    anomalies: The findings; an empty list is no statement without the detectors beside it.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    time_window_start: str
    time_window_end: str
    window_duration_secs: int
    detectors: list[DetectorAnswer]
    anomalies: list[AnomalyAnswer]
    envelope: Envelope


def detect_market_anomalies(
    desk: Desk, symbol: str, *, window_duration_secs: int = WINDOW_S, end_s: int | None = None
) -> Steps[MarketAnomaliesAnswer]:
    """end_s: last tick; None: the newest. Raises UnknownSymbol, InvalidRequest, NotEnoughData."""
    length_s = window_in_bounds(window_duration_secs)
    symbol = desk.symbol(symbol)
    end = desk.end_s(symbol, end_s)
    start = end - length_s
    records = desk.reader.seconds(symbol, start + 1, end + 1).rows
    require_live(sum(record.state is BookState.LIVE for record in records), LIVE_S_MIN, length_s)
    own = yield from desk.histories.upto(symbol, start, end)
    grid = desk.grid(symbol)
    found: list[tuple[Outcome, Baseline]] = []
    for outcome, window_s in _outcomes(desk, symbol, own, records, start, end):
        found.append((outcome, own.baseline(start, window_s)))
        yield
    events = [_answer(symbol, outcome, event, grid) for outcome, _ in found for event in outcome.events]
    envelope = of_window(desk, symbol, start, end, records=records, definition=DEFINITION)
    return MarketAnomaliesAnswer(
        reading=_reading(symbol, length_s, [outcome for outcome, _ in found]),
        symbol=symbol,
        time_window_start=utc(start),
        time_window_end=utc(end),
        window_duration_secs=length_s,
        detectors=[
            DetectorAnswer(
                anomaly_type=outcome.anomaly_type.value,
                status=outcome.status.value,
                reason=outcome.reason,
                seconds=outcome.seconds,
                threshold=outcome.threshold,
                current=outcome.current,
                base_rate_per_day=outcome.base_rate_per_day,
                baseline=baseline,
                warnings=list(outcome.warnings),
            )
            for outcome, baseline in found
        ],
        anomalies=sorted(events, key=lambda event: (event.start_s, event.anomaly_type)),
        envelope=envelope,
    )


def _outcomes(
    desk: Desk, symbol: str, own: OwnHistory, records: Sequence[SecondRecord], start: int, end: int
) -> Iterator[tuple[Outcome, int]]:
    """What each detector says, and the length of the windows that it compares with."""
    length_s = end - start

    def why_none(window_s: int) -> str:
        return TOO_FEW if own.baseline(start, window_s).state == "ready" else BASELINE_SHORT

    ready = why_none(1) == TOO_FEW
    grid, before = desk.grid(symbol), start - LOOK_BACK_S
    bursts = own.bursts(start, grid.tick_e8) if ready else None
    yield detect_bursts(own.activity_rows(before, end), start, end, bursts, no_model=why_none(1)), 1

    stress = own.stress(start) if ready else None
    yield detect_stress(own.health_rows(before, end), start, end, stress, no_model=why_none(1)), 1

    fleeting = own.fleeting(start, length_s) if why_none(length_s) == TOO_FEW else None
    rows = own.activity_rows(before, end)
    yield detect_fleeting(rows, records, start, end, fleeting, no_model=why_none(length_s)), length_s

    recent = trades_between(desk, symbol, end - max(BATCHES_S, length_s), end)
    earlier = desk.reader.seconds(symbol, start - EARLIER_S + 1, start + 1).rows
    refills = detect_refills([*earlier, *records], start, end, [batch.quote_e16 for batch in trades.batches(recent)])
    yield refills, length_s

    absorbing = own.absorbing(start) if why_none(REGRESSION_S) == TOO_FEW else None
    excess = [event.evidence["excess_quote"] for event in refills.events]
    absorption = detect_absorption(
        own.flow_rows(before, end),
        recent,
        start,
        end,
        absorbing,
        refills_quote=max(excess, default=None),
        no_model=NOT_FITTED if own.kyle(start) is not None else why_none(REGRESSION_S),
    )
    yield absorption, REGRESSION_S


def _answer(symbol: str, outcome: Outcome, event: Event, grid: Grid) -> AnomalyAnswer:
    kind = outcome.anomaly_type
    sure = confidence(kind, event.severity)
    reasons = {} if sure is not None else {"confidence_score": NOT_CALIBRATED}
    if event.p_value is None:
        reasons |= dict.fromkeys(("p_value", "per_day"), BASELINE_SHORT)
    return AnomalyAnswer(
        anomaly_id=hashlib.sha256(f"{kind.value}:{symbol}:{event.start_s}".encode()).hexdigest()[:16],
        symbol=symbol,
        anomaly_type=kind.value,
        pattern=PATTERNS[kind],
        severity=event.severity.value,
        statement="measured" if kind in MEASURED else "inferred",
        p_value=event.p_value,
        per_day=None if event.p_value is None else per_day(event.p_value, outcome.window_s),
        confidence_score=sure,
        assumed_base_rate=None if sure is None else ASSUMED_BASE_RATE[kind],
        intent_inferable=False,
        detection_timestamp=utc(event.detected_s),
        start=utc(event.start_s),
        end=None if event.end_s is None else utc(event.end_s),
        start_s=event.start_s,
        end_s=event.end_s,
        affected_price_levels=[grid.price(price) for price in event.prices_e8],
        evidence=written(event.evidence, grid),
        text=event.text,
        reasons=reasons,
    )


def written(evidence: dict[str, Any], grid: Grid) -> dict[str, Any]:
    """Exact integers of 1e-8 as decimal text, under names without the unit."""
    out: dict[str, Any] = {}
    for name, value in evidence.items():
        if isinstance(value, list):
            out[name] = [written(one, grid) if isinstance(one, dict) else one for one in value]
        elif name.endswith("_e8") and value is not None:
            plain = name.removesuffix("_e8")
            out[plain] = grid.price(value) if plain == "price" else grid.quantity(value)
        else:
            out[name.removesuffix("_e8")] = value
    return out


def _reading(symbol: str, length_s: int, outcomes: Sequence[Outcome]) -> str:
    found = [f"{PATTERNS[o.anomaly_type].replace('_', ' ')} ({len(o.events)})" for o in outcomes if o.status is Status.FOUND]
    none = [PATTERNS[o.anomaly_type].replace("_", " ") for o in outcomes if o.status is Status.NOT_FOUND]
    unknown = [f"{PATTERNS[o.anomaly_type].replace('_', ' ')} ({o.reason})" for o in outcomes if o.status is Status.NOT_EVALUATED]
    parts = [f"{symbol}, last {length_s} s"]
    parts += [f"beyond its own habit: {', '.join(found)}"] if found else []
    parts += [f"nothing of: {', '.join(none)}"] if none else []
    parts += [f"not evaluated: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts) + "."
