"""What came of injections: one outcome a placement, one result a cell, and tables of them.

An event matches a label when the two overlap with two seconds to spare. Recall counts placements whose injection was found,
precision counts events. Where the market alone shows an event of that kind at that place, the placement is left out.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from bench.injection.asking import Found

TOLERANCE_S = 2
MERGE_S = 30
Z_95 = 1.959964
SEVERITIES = ("Low", "Medium", "High", "Critical")
HEAD = (
    *("row", "symbol", "injection", "found", "recall (95 %)", "calm, middle, wild"),
    *("precision", "delay s: p50, p90", "other events", "checks", "asked"),
)


class Outcome(Struct, frozen=True, kw_only=True):
    """One placement of one cell. start_s, end_s: of the label, seconds of the service's clock.

    found: None: there is no target, or it was not evaluated. natural: the base has such an event there by itself.
    severity: of the finding. delay_s: from the start of the injection to the moment at which it was known.
    false: other events by kind, those left out that the base has too. became: what the label has beside the cell's parameters.
    checks: what records and health say, by name; None: does not apply here.
    """

    row: int
    kind: str
    name: str
    target: str
    parameters: dict[str, float | str]
    symbol: str
    placement: int
    tercile: int
    start_s: float
    end_s: float
    found: bool | None = None
    natural: bool = False
    severity: str | None = None
    delay_s: float | None = None
    false: dict[str, int] = {}
    became: dict[str, float | str] = {}
    checks: dict[str, bool | float | None] = {}


class Result(Struct, frozen=True, kw_only=True):
    """One cell over its placements; see the columns of `table`. shares: of each check, (share or mean, how many had it)."""

    row: int
    kind: str
    name: str
    target: str
    symbol: str
    parameters: dict[str, float | str]
    placements: int
    evaluated: int
    found: int
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    precision: float | None
    by_severity: dict[str, int]
    by_tercile: list[tuple[int, int]]
    delay_median_s: float | None
    delay_p90_s: float | None
    false: dict[str, int]
    natural: int
    checks: dict[str, tuple[float, int]]


def matches(event: Found, start_s: float, end_s: float) -> bool:
    """Whether an event, whose ticks cover (start - 1, end], is about what happened in [start_s, end_s]."""
    return event.start_s - 1 <= end_s + TOLERANCE_S and event.end_s >= start_s - TOLERANCE_S


def distinct(events: Iterable[Found]) -> list[Found]:
    """Several answers tell of the same event: those of a kind that are less than the merge time apart are one."""
    out: list[Found] = []
    for event in sorted(events, key=lambda e: (e.kind, e.start_s, e.end_s)):
        last = out[-1] if out else None
        if last is not None and last.kind == event.kind and event.start_s - last.end_s < MERGE_S:
            severest = max((last, event), key=lambda e: SEVERITIES.index(e.severity))
            out[-1] = Found(
                last.kind,
                severest.severity,
                last.start_s,
                max(last.end_s, event.end_s),
                min(last.detected_s, event.detected_s),
                last.prices,
            )
        else:
            out.append(event)
    return out


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share. (0, 1) without a trial."""
    if not n:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def results(outcomes: Sequence[Outcome]) -> list[Result]:
    """A result per symbol and cell, in their order."""
    cells: dict[tuple[str, int, str], list[Outcome]] = {}
    for outcome in outcomes:
        cells.setdefault((outcome.symbol, outcome.row, outcome.name), []).append(outcome)
    return [_result(group) for group in cells.values()]


def _result(group: Sequence[Outcome]) -> Result:
    first = group[0]
    counted = [o for o in group if o.found is not None and not o.natural]
    hits = [o for o in counted if o.found]
    low, high = wilson(len(hits), len(counted))
    false = sum((Counter(o.false) for o in group), Counter[str]())
    told = len(hits) + sum(o.false.get(o.target, 0) for o in counted)
    delays = sorted(o.delay_s for o in hits if o.delay_s is not None)
    names = dict.fromkeys(name for o in group for name in o.checks)
    known = {name: [float(v) for o in group if (v := o.checks.get(name)) is not None] for name in names}
    return Result(
        row=first.row,
        kind=first.kind,
        name=first.name,
        target=first.target,
        symbol=first.symbol,
        parameters=first.parameters,
        placements=len(group),
        evaluated=len(counted),
        found=len(hits),
        recall=len(hits) / len(counted) if counted else None,
        recall_low=low if counted else None,
        recall_high=high if counted else None,
        precision=len(hits) / told if told else None,
        by_severity=dict(Counter(o.severity for o in hits if o.severity is not None)),
        by_tercile=[(sum(o.tercile == t for o in hits), sum(o.tercile == t for o in counted)) for t in range(3)],
        delay_median_s=_nearest(delays, 0.5),
        delay_p90_s=_nearest(delays, 0.9),
        false=dict(false),
        natural=sum(o.natural and o.found is not None for o in group),
        checks={name: (sum(values) / len(values), len(values)) for name, values in known.items() if values},
    )


def _nearest(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def table(found: Sequence[Result], gate: Callable[[Result], str]) -> str:
    """Markdown, a line a cell. gate: what is asked of a cell, and whether it is met."""
    lines = [HEAD, ("---",) * len(HEAD), *((*_line(result), gate(result)) for result in found)]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def _line(result: Result) -> tuple[str, ...]:
    recall = "" if result.recall is None else f"{result.recall:.2f} ({result.recall_low:.2f}-{result.recall_high:.2f})"
    left_out = f", {result.natural} natural" if result.natural else ""
    missing = result.placements - result.evaluated - result.natural
    not_evaluated = f", {missing} not evaluated" if missing else ""
    return (
        str(result.row),
        result.symbol,
        result.name,
        f"{result.found}/{result.evaluated}{left_out}{not_evaluated}" if result.target else f"{result.placements} placed",
        recall,
        " ".join(f"{hit}/{n}" for hit, n in result.by_tercile) if result.target else "",
        "" if result.precision is None else f"{result.precision:.2f}",
        "" if result.delay_median_s is None else f"{result.delay_median_s:.1f}, {result.delay_p90_s:.1f}",
        ", ".join(f"{kind} {n}" for kind, n in sorted(result.false.items())),
        ", ".join(f"{name} {share:.2f} of {n}" for name, (share, n) in result.checks.items()),
    )
