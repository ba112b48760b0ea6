"""One placement after the other: each cell forks the clean pass, the service is asked afterwards, the answers are judged.

Asked are the minute that ends a little after the injection, and one that ends when all of its traces should be over.
"""

import math
import pickle
from bisect import bisect_left
from functools import partial

from msgspec import Struct

from bench.injection.asking import Past, Questions, Said
from bench.injection.cells import FLEETING, Cell
from bench.injection.checks import Seen, checks
from bench.injection.edits import Ahead, Label, Plot
from bench.injection.faults import ANSWER_NS, FAULTS, crossed_first
from bench.injection.path import Checkpoint, Clean, fork, watched, window
from bench.injection.placements import LEAD_NS, SPREAD_MS, Placement
from bench.injection.score import SEVERITIES, Outcome, distinct, matches
from bench.injection.source import SECOND_NS, Event
from bench.injection.usual import Usual
from bench.injection.weave import Stage, woven
from leadline.store.history import History

SOON_S = 6  # after the end: what follows a level's death within 5 s belongs to it
LATE_S = 40
TAIL_NS = (LATE_S + 3) * SECOND_NS
ROOM_S = LEAD_NS // SECOND_NS + SPREAD_MS // 1000 + 30 + LATE_S + 4  # seconds of arrival that the longest cell needs


class Scene(Struct, frozen=True):
    """A placement made ready: the base's events, the own history at the fork, and what is found there anyway."""

    placement: Placement
    events: list[Event]
    stamps: list[int]
    ahead: Ahead
    past: bytes
    clean: Questions
    natural: Said


class Ground(Struct, frozen=True):
    """What all placements of a symbol share. past: grows with the placements, so they come in order of time."""

    clean: Clean
    usual: Usual
    past: Past


def scene(ground: Ground, placement: Placement) -> Scene:
    """Ready for any number of cells."""
    clean, at = ground.clean, placement.checkpoint
    events = window(clean, at, ROOM_S)
    past = ground.past.copy_at(at.closed_s)
    asked = Questions(clean.history, clean.symbol, past)
    start_s = placement.start_ns // SECOND_NS
    answers = [asked.anomalies(start_s + after_s) for after_s in (20, 50, LATE_S + 30)]
    natural = Said({}, tuple(event for answer in answers for event in answer.found))
    stamps = [event.ts_recv_ns for event in events]
    return Scene(placement, events, stamps, Ahead(events), past, asked, natural)


def run_cell(ground: Ground, where: Scene, cell: Cell) -> Outcome:
    """Put it in, run it through, ask, judge."""
    label = cell.label(where.placement)
    history = injected(ground, where, cell, label)
    start_s, end_s = label.start_ns / SECOND_NS, label.end_ns / SECOND_NS
    symbol = ground.clean.symbol
    asked = Questions(history, symbol, where.past)
    soon_s = math.floor(end_s) + SOON_S
    answers = [asked.anomalies(soon_s), asked.anomalies(math.floor(end_s) + LATE_S)]
    events = [event for answer in answers for event in answer.found if event.end_s >= start_s]
    hits = [event for event in events if event.kind == cell.target and matches(event, start_s, end_s)]
    others = distinct(event for event in events if event not in hits)
    new = [e for e in others if not any(n.kind == e.kind and matches(n, e.start_s, e.end_s) for n in where.natural.found)]
    status = answers[0].statuses.get(cell.target, ("not_evaluated", None))[0]
    records = history.seconds(symbol, where.placement.checkpoint.closed_s + 1, math.floor(end_s) + LATE_S + 1).rows
    return Outcome(
        row=cell.row,
        kind=cell.kind,
        name=cell.name,
        target=cell.target,
        parameters=cell.parameters,
        symbol=symbol,
        placement=where.placement.number,
        tercile=where.placement.tercile,
        start_s=start_s,
        end_s=end_s,
        found=bool(hits) if cell.target and (hits or status != "not_evaluated") else None,
        natural=any(event.kind == cell.target and matches(event, start_s, end_s) for event in where.natural.found),
        severity=max((hit.severity for hit in hits), key=SEVERITIES.index, default=None),
        delay_s=_delay(asked, cell, label, soon_s, min(hit.detected_s for hit in hits)) if hits else None,
        false={kind: sum(event.kind == kind for event in new) for kind in sorted({event.kind for event in new})},
        became={name: value for name, value in label.parameters.items() if name not in cell.parameters},
        checks=checks(cell.row, Seen(label, ground.usual, records, history.incidents(symbol).rows, asked, where.clean)),
    )


def injected(ground: Ground, where: Scene, cell: Cell, label: Label) -> History:
    """The history with the cell's injection at this placement; the label says what it came to be."""
    clean, at = ground.clean, where.placement.checkpoint
    plot = Plot(label.start_ns, where.placement.number, ground.usual, where.ahead, label)
    events = where.events[: bisect_left(where.stamps, label.end_ns + TAIL_NS)]
    if cell.script is None:
        fault, book = FAULTS[cell.kind], pickle.loads(at.book)
        answer = partial(book.snapshot, clean.symbol)
        delivered = fault.deliver(watched(events, book), plot)
        return fork(clean, at, delivered, crossed_first(answer) if fault.crossed else answer, answer_ns=ANSWER_NS)
    stage = stage_at(clean, at)
    return fork(clean, at, woven(events, stage, cell.script(stage, plot)), partial(stage.book.snapshot, clean.symbol))


def stage_at(clean: Clean, at: Checkpoint) -> Stage:
    """The market as it is at a checkpoint."""
    return Stage(pickle.loads(at.book), at.quote, at.trade, tick_e8=clean.rules.tick_e8, lot_e8=clean.rules.step_e8)


def _delay(asked: Questions, cell: Cell, label: Label, soon_s: int, detected_s: int) -> float:
    """Until it was known. A detector of whole windows knows when it is asked, so that one is asked each second."""
    start_s, end_s = label.start_ns / SECOND_NS, label.end_ns / SECOND_NS
    if cell.target == FLEETING:
        seconds = range(math.ceil(start_s) + 1, soon_s)
        seen = (t for t in seconds if any(e.kind == FLEETING and matches(e, start_s, end_s) for e in asked.anomalies(t).found))
        detected_s = next(seen, soon_s)
    return max(0.0, detected_s - start_s)
