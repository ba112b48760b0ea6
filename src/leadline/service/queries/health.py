"""get_microstructure_health: how healthy a market is now, in general and for this symbol; null where our data are bad."""

from msgspec import Struct

from leadline.analytics import health
from leadline.analytics.health import WINDOW_S, Baseline, Part
from leadline.core.records import BookState
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_window
from leadline.service.queries.flow import require_live
from leadline.service.steps import Steps

DEFINITION = "microstructure_health/1"


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """basis relative: 50 is an ordinary minute of this symbol; absolute: how liquid in general; null: our data, not the market.

    reading: One sentence made of the fields.
    symbol: The symbol.
    timestamp: End of the 60 s judged, UTC ms.
    basis: relative once there is enough history, absolute before that.
    baseline: What relative scores rest on.
    overall_score: The score of the basis, 0-100.
    relative_score: Share of this symbol's past minutes that were worse, in percent.
    absolute_score: Weighted geometric mean of the parts against fixed anchors, 0-100.
    health_level: Excellent, Good, Fair, Poor or Critical; UNKNOWN without a score.
    parts: The six parts with their raw values.
    spread_stability_score: Score of the spread part in this basis, 0-100.
    liquidity_depth_score: Score of the depth part in this basis, 0-100.
    flow_balance_score: Score of the balance part in this basis, 0-100.
    update_rate_score: 100 x coverage of the 60 s: our data, no part of the score.
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    timestamp: int
    basis: str
    baseline: Baseline
    overall_score: float | None
    relative_score: float | None
    absolute_score: float | None
    health_level: str
    parts: list[Part]
    spread_stability_score: float | None
    liquidity_depth_score: float | None
    flow_balance_score: float | None
    update_rate_score: float
    reasons: dict[str, str]
    envelope: Envelope


def get_microstructure_health(desk: Desk, symbol: str, *, end_s: int | None = None) -> Steps[HealthAnswer]:
    """end_s: last tick; None: the newest. Raises UnknownSymbol, NotEnoughData."""
    symbol = desk.symbol(symbol)
    end = desk.end_s(symbol, end_s)
    start = end - WINDOW_S
    records = desk.reader.seconds(symbol, start + 1, end + 1).rows
    require_live(sum(record.state is BookState.LIVE for record in records), health.LIVE_S_MIN, WINDOW_S)
    own = yield from desk.histories.upto(symbol, start, end)
    live_now = bool(records) and records[-1].t == end and records[-1].state is BookState.LIVE
    if end_s is None and desk.books is not None:
        view = desk.books.view(symbol, 1)
        live_now = view is not None and view.state is BookState.LIVE
    found = health.health(end, own.health_rows(end - health.REVERSION_S, end), own.health_past(end), live_now=live_now)
    return HealthAnswer(
        reading=_reading(symbol, found),
        symbol=symbol,
        timestamp=end * 1000,
        basis=found.basis,
        baseline=found.baseline,
        overall_score=found.overall_score,
        relative_score=found.relative_score,
        absolute_score=found.absolute_score,
        health_level=found.health_level.value,
        parts=list(found.parts),
        spread_stability_score=found.spread_stability_score,
        liquidity_depth_score=found.liquidity_depth_score,
        flow_balance_score=found.flow_balance_score,
        update_rate_score=100 * found.coverage,
        reasons=found.reasons,
        envelope=of_window(desk, symbol, start, end, records=records, definition=DEFINITION),
    )


def _reading(symbol: str, found: health.MicrostructureHealth) -> str:
    if found.overall_score is None:
        return f"{symbol}: no score ({found.reasons['overall_score']}); the level is UNKNOWN, which is about our data."
    against = "its own last day (50 is ordinary)" if found.basis == "relative" else "fixed anchors (too little history to rank)"
    which = "score_relative" if found.basis == "relative" else "score_absolute"
    scored = [(getattr(part, which), part.name) for part in found.parts if getattr(part, which) is not None]
    lowest = min(scored) if scored else None
    worst = "" if lowest is None else f"; lowest part: {lowest[1]} ({lowest[0]:.0f})"
    return f"{symbol}: {found.health_level.value}, {found.overall_score:.0f} of 100 against {against}{worst}."
