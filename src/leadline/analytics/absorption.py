"""Detector E, absorption: takers press hard and the mid does not follow (Absorption). Inferred; our own convention.

On aligned parts of ten seconds: signed taker value S, move r, and the slope that takers usually move the mid by. There are no
labelled data to test it against, so its confidence is capped and its base rate is told.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from leadline.analytics.anomalies import (
    MERGE_S,
    SEVERITIES,
    AnomalyType,
    Bools,
    Event,
    Outcome,
    Severity,
    finite,
    merged,
    p_high,
    reaches,
)
from leadline.analytics.order_flow import REGRESSION_S, Columns, Windows, windows
from leadline.analytics.reasons import BASELINE_SHORT, LOW_COVERAGE, TOO_FEW, TRADE_GAP
from leadline.analytics.stats import Fit, Floats, History
from leadline.analytics.trades import MILLION, kyle_slope
from leadline.core.records import Trade

P_PART = 0.01
P_HIGH_PART = 1e-3
SECOND_NS = 1_000_000_000
SHARE_MAX = 0.25  # of the usual move
THRESHOLD = "10 s of one-sided takers with p <= 0.01, at most 25 % of the usual move, order flow against them"


class Absorbing(Struct, frozen=True):
    """What is usual: size of the signed taker value of ten seconds, and the move of the mid that goes with it."""

    sizes: History
    slope: Fit
    base_rate_per_day: float | None

    def flagged(self, parts: Windows) -> tuple[Bools, Floats]:
        """Which parts look like absorption, and p of their taker value."""
        p = p_high(self.sizes, np.abs(parts.signed_quote))
        way = np.sign(parts.signed_quote)
        usual = self.slope.beta * np.abs(parts.signed_quote) / MILLION
        held = way * parts.move_bps <= SHARE_MAX * usual
        against = np.sign(parts.ofi) != way
        return (p <= P_PART) & held & against & parts.whole, p


def fit_absorbing(past: Columns) -> Absorbing | None:
    """None where so few whole parts have a value that no other could be rare, or where takers do not move the mid their way."""
    slope = kyle_slope(past)
    if slope is None or slope.beta <= 0:
        return None
    parts = windows(past, REGRESSION_S)
    usable = _usable(parts)
    model = Absorbing(History.of(np.abs(parts.signed_quote[usable])), slope, None)
    if not reaches(model.sizes, P_PART):
        return None
    hits = int(model.flagged(parts)[0].sum())
    return Absorbing(model.sizes, slope, hits * 86_400 / (REGRESSION_S * int(usable.sum())))


def _usable(parts: Windows) -> Bools:
    return parts.whole & ~np.isnan(parts.signed_quote) & ~np.isnan(parts.move_bps)


def detect_absorption(
    rows: Columns,
    trades: Sequence[Trade],
    start_s: int,
    end_s: int,
    model: Absorbing | None,
    *,
    refills_quote: float | None,
    no_model: str = BASELINE_SHORT,
) -> Outcome:
    """The window (start_s, end_s]. trades: its own. model None: no_model is the reason.

    rows: of the window and of LOOK_BACK_S before. refills_quote: largest refill excess of the window, quote; evidence beside the
    parts.
    """
    found = windows(rows, REGRESSION_S)
    inside = (found.start_s >= start_s) & (found.start_s + REGRESSION_S <= end_s)
    places = np.flatnonzero(inside & _usable(found))
    last = int(places[-1]) if len(places) else None
    reason = no_model if model is None else None if last is not None else _blindness(found, inside, start_s, end_s)
    events: list[Event] = []
    if model is not None and reason is None:
        flagged, p = model.flagged(found)
        for group in merged(found.start_s[flagged], MERGE_S + REGRESSION_S):  # from the end of one to the start of the next
            mine = [int(place) for place in np.flatnonzero(flagged & inside) if group[0] <= found.start_s[place] <= group[-1]]
            if mine:
                events.append(_event(found, p, mine, group[0], end_s, model, trades, refills_quote))
    return Outcome(
        anomaly_type=AnomalyType.ABSORPTION,
        window_s=REGRESSION_S,
        reason=reason,
        seconds=REGRESSION_S * len(places),
        threshold=THRESHOLD,
        current={
            "taker_quote": None if last is None else finite(found.signed_quote[last]),
            "move_bps": None if last is None else finite(found.move_bps[last]),
            "slope_bps_per_million": None if model is None else model.slope.beta,
        },
        base_rate_per_day=None if model is None else model.base_rate_per_day,
        events=tuple(events),
    )


def _blindness(found: Windows, inside: Bools, start_s: int, end_s: int) -> str:
    """Why no aligned part of the window has a value."""
    if end_s // REGRESSION_S <= -(-start_s // REGRESSION_S):
        return TOO_FEW  # none lies in it
    return TRADE_GAP if np.isnan(found.signed_quote[inside & found.whole]).any() else LOW_COVERAGE


def _event(
    found: Windows,
    p: Floats,
    mine: Sequence[int],
    start_s: int,
    window_end_s: int,
    model: Absorbing,
    trades: Sequence[Trade],
    refills_quote: float | None,
) -> Event:
    """mine: the flagged parts of the window, told by the gravest; start_s: where the first of them, or one before it, began."""
    severities = {place: _severity(found, p, place) for place in mine}
    gravest = max(mine, key=lambda place: (SEVERITIES.index(severities[place]), -p[place]))
    taker, move = float(found.signed_quote[gravest]), float(found.move_bps[gravest])
    expected = model.slope.beta * taker / MILLION
    row = _row(trades, int(found.start_s[gravest]))
    side = "bought" if taker > 0 else "sold"
    last_s = int(found.start_s[mine[-1]]) + REGRESSION_S
    return Event(
        start_s=start_s + 1,
        end_s=None if window_end_s - last_s < REGRESSION_S else last_s,  # the next part is not over yet
        detected_s=start_s + REGRESSION_S,
        severity=severities[gravest],
        p_value=float(p[mine].min()),
        prices_e8=() if row is None else (row[0],),
        evidence={
            "taker_quote": taker,
            "move_bps": move,
            "expected_bps": expected,
            "ofi": float(found.ofi[gravest]),
            "price_e8": None if row is None else row[0],
            "price_share": None if row is None else row[1],
            "refill_quote": refills_quote,
        },
        text=f"takers {side} {abs(taker):.0f} quote net in 10 s, the mid moved {move:+.2f} bps where {expected:+.2f} is usual; "
        "consistent with large resting orders that take the other side, also with news the other way and with chance",
    )


def _severity(found: Windows, p: Floats, place: int) -> Severity:
    """Of one part: by how rare so much taking is, more if the mid went the other way."""
    if p[place] > P_HIGH_PART:
        return Severity.LOW
    return Severity.HIGH if found.signed_quote[place] * found.move_bps[place] < 0 else Severity.MEDIUM


def _row(trades: Sequence[Trade], start_s: int) -> tuple[int, float] | None:
    """The price with most volume in the part that begins at start_s, and its share."""
    by_price: dict[int, int] = {}
    for trade in trades:
        if start_s * SECOND_NS <= trade.ts_trade_ns < (start_s + REGRESSION_S) * SECOND_NS:
            by_price[trade.price_e8] = by_price.get(trade.price_e8, 0) + trade.quantity_e8
    if not by_price:
        return None
    price = max(by_price, key=lambda key: (by_price[key], -key))
    return price, by_price[price] / sum(by_price.values())
