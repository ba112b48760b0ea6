"""What records, incidents and health say of an injection, beside the detectors: the parts of the protocol that are no events."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bench.injection.asking import Questions
from bench.injection.edits import Label
from bench.injection.faults import FAULTS, LASTS_S
from bench.injection.source import SECOND_NS
from bench.injection.usual import Usual, least_depth
from leadline.core.records import BookState, Flag, Incident, SecondRecord, TradeState

LIFE_MAX_S = 2.0  # the detector's: what lives longer is not fleeting

Checks = dict[str, bool | float | None]


class Seen(Struct, frozen=True):
    """records: from the fork on. incidents: all. asked: of the fork; clean: of the base."""

    label: Label
    usual: Usual
    records: Sequence[SecondRecord]
    incidents: Sequence[Incident]
    asked: Questions
    clean: Questions


def checks(row: int, seen: Seen) -> Checks:
    """By name; None: does not apply at this placement."""
    return CHECKS[row](seen) if row in CHECKS else {}


def _withdrawn(seen: Seen) -> Checks:
    """Share of whole seconds whose depth alone is under the 1 % quantile of clean ones."""
    label = seen.label
    inside = [r for r in seen.records if label.start_ns <= (r.t - 1) * SECOND_NS and r.t * SECOND_NS <= label.end_ns]
    if not inside:
        return {DEPTH: None}
    depth = least_depth(_quote([r.depth_bid for r in inside]), _quote([r.depth_ask for r in inside]))
    return {DEPTH: float(np.mean(depth < seen.usual.depth_p01))}


def _quote(depths: Sequence[Sequence[int | None]]) -> NDArray[np.float64]:
    return np.array([[np.nan if d is None else d / 1e16 for d in row] for row in depths])


def _widened(seen: Seen) -> Checks:
    """Scores of the minute that ends with the injection, against the same minute without it."""
    at_s = seen.label.end_ns // SECOND_NS
    scores, before = seen.asked.health(at_s).scores, seen.clean.health(at_s).scores
    return {f"{name} score falls": scores[name] < before[name] for name in ("spread", "cost") if name in before}


def _large(seen: Seen) -> Checks:
    """Whether the level is told as fleeting; only of those that lived as short as that."""
    label = seen.label
    lived_s = float(label.parameters["lived_s"])
    whole = lived_s >= float(label.parameters["life_s"])
    near = [r for r in seen.records if label.start_ns // SECOND_NS <= r.t <= label.end_ns // SECOND_NS + 3]
    told = [event for r in near for event in r.level_events if event.kind == "fleeting"]
    counted = any(event.price_e8 in label.prices_e8 for event in told)
    applies = whole and lived_s < LIFE_MAX_S and all(r.n_large_bid is not None for r in near)
    return {COUNTED: counted if applies else None, "lived as asked": whole}


def _hidden(seen: Seen) -> Checks:
    """Whether there were as many hidden refills as asked."""
    said = seen.label.parameters
    return {"rounds as asked": said["rounds"] == said["refills"]}


def _faulty(seen: Seen) -> Checks:
    """The incident, the mark on the records, and no score while there was no book."""
    label, start_ms = seen.label, seen.label.start_ns // 1_000_000
    fault = FAULTS[label.kind]
    new = [i for i in seen.incidents if i.start_ms >= start_ms - LASTS_S * 1000 and i.kind != "start"]
    # A clock that steps moves the seconds too.
    after = [r for r in seen.records if r.t >= math.floor(label.start_ns / SECOND_NS) - LASTS_S]
    dark = [r for r in after if r.state is not BookState.LIVE]
    marked = any(r.flags & ~Flag.RANGE or r.state is not BookState.LIVE or r.trade_state is TradeState.MISSING for r in after)
    wanted = fault.incident is not None
    return {
        INCIDENT: any(i.kind == fault.incident for i in new) if wanted else not new,
        "marked": marked if wanted else None,
        NO_SCORE: seen.asked.health(dark[0].t).overall is None if dark else None,
    }


DEPTH = "seconds with depth under its 1 %"
COUNTED = "counted as fleeting"
INCIDENT = "incident as expected"
NO_SCORE = "no score without a book"

CHECKS: dict[int, Callable[[Seen], Checks]] = {2: _withdrawn, 3: _widened, 4: _large, 5: _hidden, 7: _faulty}
