"""What the service answers, and nothing else of the service's questions: one place to change when they change.

The clean history's own past is built once and copied for each fork, which adds what it has of its own.
"""

import pickle
from datetime import datetime
from typing import Any

from msgspec import Struct

from leadline.analytics.own_history import COLUMNS, OwnHistory
from leadline.core.errors import NotEnoughData
from leadline.service.queries.anomalies import detect_market_anomalies
from leadline.service.queries.desk import Desk
from leadline.service.queries.health import get_microstructure_health
from leadline.service.steps import Steps, run
from leadline.store.history import History

WINDOW_S = 60
MINUTE_S = 60
NOT_ENOUGH = "not enough data"


class Found(Struct, frozen=True):
    """One finding, in ticks. end_s: where it may still go on, the end of the window."""

    kind: str
    severity: str
    start_s: int
    end_s: int
    detected_s: int
    prices: tuple[str, ...]


class Said(Struct, frozen=True):
    """An answer: status and reason by detector, and what was found. Without enough data: no statuses."""

    statuses: dict[str, tuple[str, str | None]]
    found: tuple[Found, ...]


class Health(Struct, frozen=True):
    """scores: of the parts in the basis served; a part without a score is not there."""

    overall: float | None
    level: str
    scores: dict[str, float]


class Past:
    """The own history of the clean pass, as far as it has been told."""

    def __init__(self, history: History, symbol: str, from_s: int) -> None:
        """from_s: no record is older than its next second."""
        self._history, self._symbol = history, symbol
        self._own = OwnHistory(from_s)

    def copy_at(self, upto_s: int) -> bytes:
        """Records up to there, and no others; not earlier than asked for before."""
        _add(self._own, self._history, self._symbol, upto_s)
        return pickle.dumps(self._own, 5)


class Questions:
    """About one history, from its fork on. past: of the clean pass at the fork."""

    def __init__(self, history: History, symbol: str, past: bytes) -> None:
        self._symbol = symbol
        continued: Any = _Continued(history, pickle.loads(past))  # has what is asked of own histories
        self._desk = Desk(history, now_ns=lambda: 0, histories=continued)

    def anomalies(self, end_s: int, window_s: int = WINDOW_S) -> Said:
        """Of the window that ends with this tick."""
        try:
            answer = run(detect_market_anomalies(self._desk, self._symbol, window_duration_secs=window_s, end_s=end_s))
        except NotEnoughData:
            return Said({}, ())
        found = [
            Found(
                event.anomaly_type,
                event.severity,
                event.start_s,
                end_s if event.end_s is None else event.end_s,
                int(datetime.fromisoformat(event.detection_timestamp).timestamp()),
                tuple(event.affected_price_levels),
            )
            for event in answer.anomalies
        ]
        return Said({one.anomaly_type: (one.status, one.reason) for one in answer.detectors}, tuple(found))

    def health(self, end_s: int) -> Health:
        """Of the minute that ends with this tick."""
        try:
            answer = run(get_microstructure_health(self._desk, self._symbol, end_s=end_s))
        except NotEnoughData:
            return Health(None, NOT_ENOUGH, {})
        which = "score_relative" if answer.basis == "relative" else "score_absolute"
        scores = {part.name: score for part in answer.parts if (score := getattr(part, which)) is not None}
        return Health(answer.overall_score, answer.health_level, scores)


class _Continued:
    """A copy of the clean past that goes on with the records of one fork; what Desk needs of own histories."""

    def __init__(self, history: History, own: OwnHistory) -> None:
        self._history, self._own = history, own

    def upto(self, symbol: str, start_s: int, end_s: int) -> Steps[OwnHistory]:
        _add(self._own, self._history, symbol, end_s)
        yield
        return self._own


def _add(own: OwnHistory, history: History, symbol: str, upto_s: int) -> None:
    newest_s = history.last_second(symbol, upto_s)
    if newest_s is None or newest_s <= own.to_s:
        return
    columns = history.second_columns(symbol, own.to_s + 1, newest_s + 1, COLUMNS).columns
    first = own.to_s // MINUTE_S * MINUTE_S + MINUTE_S
    rows = [row for t in range(first, newest_s + 1, MINUTE_S) for row in history.seconds(symbol, t, t + 1).rows]
    own.add(newest_s, columns, [(row.t, row.minute) for row in rows if row.minute is not None])
