"""How healthy a market is: six parts over the last minute, each against fixed anchors and against this symbol's own past.

The absolute score says how liquid the market is in general, the relative one how this minute compares with the symbol's ordinary
ones (50). The quality of our own feed is never part of a score: where the data are bad there is none, and the level is UNKNOWN.

From records to score: `seconds_of` takes what is needed of the records, `windows` computes the parts over any windows of them,
`past` does so for the aligned windows of the day before, `health` ranks the present among them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from leadline.analytics.clean import clean_rows
from leadline.analytics.impact import cost_columns
from leadline.analytics.reasons import BASELINE_SHORT, BEYOND, BOOK_NOT_LIVE, EXHAUSTED, LOW_COVERAGE, UNDEFINED
from leadline.analytics.stats import Floats, History, reversion
from leadline.core.errors import NotEnoughData
from leadline.core.records import BANDS_BPS, BookState, SecondRecord

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WINDOW_S = 60
REVERSION_S = 300  # window of the resiliency part
DAY_S = 86_400
LIVE_S_MIN = 30  # under which there is no answer
VALUES_MIN = 48  # 80 % of the window's seconds, under which a part has no value, and so the whole no score
PAIRS_MIN = 120
PAST_CLEAN = 0.9  # share of clean records from which a past window counts
NEED_WINDOWS = 30  # length of a ready baseline, in windows, and at least half an hour
NEED_S_MIN = 1_800
HISTORY_MIN = 24  # 80 % of NEED_WINDOWS: past values under which a part is not ranked

_BAND = BANDS_BPS.index(10)
_COST_SIZE_QUOTE = 100_000


class HealthLevel(StrEnum):
    """Verbal level of a score, best first."""

    EXCELLENT = "Excellent"
    GOOD = "Good"
    FAIR = "Fair"
    POOR = "Poor"
    CRITICAL = "Critical"
    UNKNOWN = "UNKNOWN"


_LEVELS = (HealthLevel.EXCELLENT, HealthLevel.GOOD, HealthLevel.FAIR, HealthLevel.POOR, HealthLevel.CRITICAL)
ABSOLUTE_FROM = (80, 60, 40, 20)  # lowest score of each level but the last
RELATIVE_FROM = (80, 20, 5, 1)


class PartRule(Struct, frozen=True):
    """How one part is weighed and scored. good, bad: values that score 100 and 0; linear: on a straight scale, else on a log one.

    core: without it there is no score. high_is_bad: of the ranked statistic.
    """

    name: str
    unit: str
    weight: float
    core: bool
    good: float
    bad: float
    linear: bool = False
    high_is_bad: bool = True


# Weights and anchors are our own choice.
PARTS = (
    PartRule("spread", "bps", 0.15, True, 0.5, 50),
    PartRule("cost", "bps", 0.20, True, 1, 100),
    PartRule("depth", "quote", 0.25, True, 5e6, 5e3, high_is_bad=False),
    PartRule("resiliency", "s half-life", 0.15, False, 1, 100, high_is_bad=False),  # anchors: half-life; ranked by kappa
    PartRule("volatility", "bps", 0.15, False, 0.2, 20),
    PartRule("balance", "share", 0.10, False, 0, 1.2, linear=True),
)
RESILIENCY = 3
_WEIGHTS = np.array([part.weight for part in PARTS])


# What is served ------------------------------------------------------------------


class Part(Struct, frozen=True):
    """One part of the score.

    name: spread, cost, depth, resiliency, volatility or balance.
    value: What was measured over the last 60 s (resiliency: 300 s).
    unit: Unit of the value.
    score_relative: 0-100 against this symbol's own last 24 h; 50 is ordinary.
    score_absolute: 0-100 against fixed anchors.
    weight: Weight in both scores.
    core: Without this part there is no score.
    reason: Why the value, or else a score, is None.
    """

    name: str
    value: float | None
    unit: str
    score_relative: float | None
    score_absolute: float | None
    weight: float
    core: bool
    reason: str | None


class Baseline(Struct, frozen=True):
    """What relative scores rest on.

    state: ready, or short: then nothing is ranked.
    kind: trailing_24h: aligned windows of the 24 h before the window asked for.
    n: So many past windows count.
    span_s: From the start of the oldest of them to the end of the newest.
    have_s: So many seconds of the 24 h are clean.
    need_s: From so many the baseline is ready.
    """

    state: str
    kind: str
    n: int
    span_s: int
    have_s: int
    need_s: int


class MicrostructureHealth(Struct, frozen=True, kw_only=True):
    """basis relative: 50 is an ordinary minute of this symbol; basis absolute: how liquid in general; None: our data's fault.

    end_s: End of the 60 s judged, in unix s.
    coverage: Share of the 60 s with a live book, in [0, 1]: our data, no part of the score.
    basis: relative once the baseline is ready, before that absolute.
    baseline: What the relative scores rest on.
    overall_score: The score of the basis, 0-100.
    relative_score: Share of this symbol's past minutes that were worse, in percent.
    absolute_score: Weighted geometric mean of the absolute scores of the parts, 0-100.
    health_level: Excellent, Good, Fair, Poor or Critical; UNKNOWN without a score.
    parts: The six parts.
    spread_stability_score: Score of the spread part in this basis, 0-100.
    liquidity_depth_score: Score of the depth part in this basis, 0-100.
    flow_balance_score: Score of the balance part in this basis, 0-100.
    reasons: Why a field is None, by its name.
    """

    end_s: int
    coverage: float
    basis: str
    baseline: Baseline
    overall_score: float | None
    relative_score: float | None
    absolute_score: float | None
    health_level: HealthLevel
    parts: tuple[Part, ...]
    spread_stability_score: float | None
    liquidity_depth_score: float | None
    flow_balance_score: float | None
    reasons: dict[str, str]


# From records to columns -----------------------------------------------------------

COLUMNS = (
    *("t", "state", "flags", "epoch", "known_bid", "known_ask", "mid2_open", "mid2_close", "spread_tw"),
    *("depth_bid", "depth_ask", "cost_buy", "cost_sell", "fill_buy", "fill_sell"),
)
_QUOTE_COLUMNS = {"depth_bid", "depth_ask", "fill_buy", "fill_sell"}


class Seconds(Struct, frozen=True):
    """What health needs of records, a row each, rising by t. NaN: no value, or the record is not clean.

    ranged: a side of the book is not known to its end. cost_bps: mean of buying and selling 100k; +inf: the book held less.
    depth_quote: the smaller side within 10 bps. log_depth: logarithm of both together; -inf for an empty band.
    """

    t: Ints
    live: Bools
    clean: Bools
    ranged: Bools
    epoch: Floats
    spread_bps: Floats
    cost_bps: Floats
    depth_quote: Floats
    log_depth: Floats
    return_bps: Floats
    imbalance: Floats


def seconds_of(columns: Mapping[str, NDArray[Any]]) -> Seconds:
    """From COLUMNS of records as the store gives them: numbers in 1e-8, those of 1e-16 in whole quote units, NaN for null."""
    clean = clean_rows(columns)
    open_, close = columns["mid2_open"], columns["mid2_close"]
    bid, ask = columns["depth_bid"][:, _BAND], columns["depth_ask"][:, _BAND]
    buy, sell = cost_columns(columns, _COST_SIZE_QUOTE)
    # Infinite is more than whatever the other side would have cost.
    cost = np.where(np.isinf(buy) | np.isinf(sell), np.inf, (buy + sell) / 2)
    both = bid + ask
    with np.errstate(divide="ignore", invalid="ignore"):
        log_depth, share = np.log(both), (bid - ask) / both

    def kept(values: Floats) -> Floats:
        return np.where(clean, values, np.nan)

    return Seconds(
        t=columns["t"],
        live=columns["state"] == BookState.LIVE,
        clean=clean,
        ranged=~(np.isnan(columns["known_bid"]) & np.isnan(columns["known_ask"])),
        epoch=kept(columns["epoch"]),
        spread_bps=kept(20_000 * columns["spread_tw"] / close),
        cost_bps=kept(cost),
        depth_quote=kept(np.minimum(bid, ask)),
        log_depth=kept(log_depth),
        return_bps=kept(10_000 * np.log(close / open_)),
        imbalance=kept(share),
    )


def columns_of(records: Sequence[SecondRecord]) -> dict[str, NDArray[Any]]:
    """The same columns from whole records, for a few of them; over a day the store's own columns are quicker."""
    kinds: dict[str, Any] = {"t": np.int64, "flags": np.int64, "state": object}
    out: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        column = np.array([getattr(record, name) for record in records], kinds.get(name, np.float64))
        out[name] = column / 1e16 if name in _QUOTE_COLUMNS else column
    return out


# Windows ---------------------------------------------------------------------------


class Windows(Struct, frozen=True):
    """The parts' statistics in windows of 60 s that end at `ends` (unix s), a row each; resiliency over the 300 s up to there.

    values: (n, 6) in the order of PARTS, NaN for none, +inf for an exhausted cost; resiliency is kappa, a share per second.
    half_life_s: of that kappa, +inf for one that is not positive. live, clean, clean_reversion: seconds of the 60, 60 and 300.
    """

    ends: Ints
    values: Floats
    half_life_s: Floats
    live: Ints
    clean: Ints
    clean_reversion: Ints


def windows(seconds: Seconds, ends: Ints) -> Windows:
    """The statistics of the windows (end - 60, end]. ends: rising; seconds that are missing have no value."""
    if not len(ends):
        none = np.zeros(0, np.int64)
        return Windows(ends, np.zeros((0, len(PARTS))), np.zeros(0), none, none, none)
    first = int(ends[0]) - REVERSION_S + 1
    length = int(ends[-1]) - first + 1
    place = seconds.t - first
    inside = (place >= 0) & (place < length)

    def over(column: NDArray[Any], width_s: int) -> Floats:
        """(windows, width_s): the column on the grid of all seconds."""
        grid = np.full(length, np.nan)
        grid[place[inside]] = column[inside]
        rows: Floats = sliding_window_view(grid, width_s)[ends - first - width_s + 1]
        return rows

    def counted(column: Bools, width_s: int) -> Ints:
        return np.asarray((over(column, width_s) == 1).sum(axis=1), np.int64)

    values = np.column_stack(
        [
            _each(over(seconds.spread_bps, WINDOW_S), lambda rows: np.nanmean(rows, axis=1)),
            _each(over(seconds.cost_bps, WINDOW_S), lambda rows: np.nanmean(rows, axis=1)),
            _each(over(seconds.depth_quote, WINDOW_S), lambda rows: np.nanmedian(rows, axis=1)),
            np.full(len(ends), np.nan),
            _each(over(seconds.return_bps, WINDOW_S), lambda rows: np.sqrt(np.nanmean(rows**2, axis=1))),
            _each(over(seconds.imbalance, WINDOW_S), lambda rows: np.nanmean(np.abs(rows), axis=1) + np.nanstd(rows, axis=1)),
        ]
    )
    half_life_s = np.full(len(ends), np.nan)
    series = zip(over(seconds.log_depth, REVERSION_S), over(seconds.epoch, REVERSION_S), strict=True)
    for i, (log_depth, epoch) in enumerate(series):
        values[i, RESILIENCY], half_life_s[i] = _reversion(log_depth, epoch)
    return Windows(
        ends=ends,
        values=values,
        half_life_s=half_life_s,
        live=counted(seconds.live, WINDOW_S),
        clean=counted(seconds.clean, WINDOW_S),
        clean_reversion=counted(seconds.clean, REVERSION_S),
    )


def _each(rows: Floats, statistic: Callable[[Floats], Floats]) -> Floats:
    """The statistic of each row of which enough seconds have a value; else NaN."""
    out = np.full(len(rows), np.nan)
    enough = (~np.isnan(rows)).sum(axis=1) >= VALUES_MIN
    if enough.any():
        out[enough] = statistic(rows[enough])
    return out


def _reversion(log_depth: Floats, epoch: Floats) -> tuple[float, float]:
    """kappa and half-life of a row of seconds. NaN for too few pairs of one epoch, and for a depth that never changed."""
    before, after = log_depth[:-1], log_depth[1:]
    usable = np.isfinite(before) & np.isfinite(after) & (epoch[:-1] == epoch[1:])
    if usable.sum() < PAIRS_MIN or np.ptp(before[usable]) == 0:
        return math.nan, math.nan
    found = reversion(before[usable], after[usable])
    if found is None:
        return math.nan, math.nan
    return found.kappa, math.inf if found.half_life_s is None else found.half_life_s


class Past(Struct, frozen=True):
    """The windows of 60 s, aligned to UTC minutes, of the 24 h before the window that ends at `end`.

    histories: of each part; resiliency: of the non-overlapping aligned 300 s before its own window.
    """

    end: int
    windows: Windows
    histories: tuple[History, ...]
    have_s: int

    @property
    def counted(self) -> Bools:
        """Which windows are clean enough to count."""
        return self.windows.clean >= PAST_CLEAN * WINDOW_S

    @property
    def ready(self) -> bool:
        """Long enough to rank every core part in."""
        return all(self.ranks(i) for i, part in enumerate(PARTS) if part.core)

    def ranks(self, part: int) -> bool:
        """Long enough to rank this part in."""
        need_s = _need_s(REVERSION_S if part == RESILIENCY else WINDOW_S)
        return self.have_s >= need_s and self.histories[part].n >= HISTORY_MIN

    @property
    def baseline(self) -> Baseline:
        """As it is served."""
        ends = self.windows.ends[self.counted]
        span_s = int(ends[-1] - ends[0]) + WINDOW_S if len(ends) else 0
        state = "ready" if self.ready else "short"
        return Baseline(state, "trailing_24h", len(ends), span_s, self.have_s, _need_s(WINDOW_S))


def past(seconds: Seconds, end: int) -> Past:
    """What the window (end - 60, end] is ranked in. seconds: of the 24 h before it, or what there is of them."""
    until = end - WINDOW_S
    since = until - DAY_S
    ends = np.arange(-(-since // WINDOW_S) * WINDOW_S + WINDOW_S, until + 1, WINDOW_S, dtype=np.int64)
    return past_of(seconds, windows(seconds, ends), end)


def past_of(seconds: Seconds, found: Windows, end: int) -> Past:
    """The same from the aligned windows of that day, computed before."""
    until, ends = end - WINDOW_S, found.ends
    since = until - DAY_S
    ordinary = np.where((found.clean >= PAST_CLEAN * WINDOW_S)[:, None], found.values, np.nan)
    aligned = (ends % REVERSION_S == 0) & (ends - REVERSION_S >= since) & (ends <= end - REVERSION_S)
    enough = found.clean_reversion >= PAST_CLEAN * REVERSION_S
    ordinary[:, RESILIENCY] = np.where(aligned & enough, found.values[:, RESILIENCY], np.nan)
    have_s = int(seconds.clean[(seconds.t > since) & (seconds.t <= until)].sum())
    return Past(end, found, tuple(History.of(column) for column in ordinary.T), have_s)


def _need_s(window_s: int) -> int:
    return max(NEED_S_MIN, NEED_WINDOWS * window_s)


# Scores ------------------------------------------------------------------------------


def absolute_score(part: PartRule, value: float) -> float:
    """0-100 between the part's anchors. value: in the anchors' unit, >= 0, may be infinite."""
    if part.linear:
        score = 100 * (value - part.bad) / (part.good - part.bad)
    else:
        log = math.log(value) if value > 0 else -math.inf
        score = 100 * (log - math.log(part.bad)) / (math.log(part.good) - math.log(part.bad))
    return min(max(score, 0.0), 100.0)


def relative_scores(rule: PartRule, history: History, values: Floats) -> Floats:
    """0-100 of each value against the part's past; NaN stays NaN. History.share_below of a whole column."""
    low, high = np.searchsorted(history.sorted, values, "left"), np.searchsorted(history.sorted, values, "right")
    share = np.where(np.isnan(values), np.nan, (low + high) / (2 * history.n))
    return 100 * (1 - share) if rule.high_is_bad else 100 * share


def composite(scores: Floats, used: Sequence[int]) -> Floats:
    """Weighted geometric mean of the used parts' scores in the last axis, none of them counted under 1. NaN if one is missing."""
    weights = _WEIGHTS[list(used)]
    mean: Floats = np.exp(np.log(np.maximum(scores[..., list(used)], 1)) @ weights / weights.sum())
    return mean.round(9)  # ranked later: the order in which numpy sums must not break a tie


def relative_score(scores: Floats, found: Past) -> float | None:
    """Rank of the present composite of relative scores among those of the past windows, over the same parts; 0-100.

    scores: of the six parts, NaN for none. None if a core part has none, or if the past has too few windows with these parts.
    """
    used = [i for i in range(len(PARTS)) if not np.isnan(scores[i])]
    if any(part.core and i not in used for i, part in enumerate(PARTS)):
        return None
    rows = found.counted
    if RESILIENCY in used:  # the window asked for began 300 s ago
        enough = found.windows.clean_reversion >= PAST_CLEAN * REVERSION_S
        rows = rows & enough & (found.windows.ends <= found.end - REVERSION_S)
    ranked = [
        relative_scores(part, history, values) if i in used else np.full(len(rows), np.nan)
        for i, (part, history, values) in enumerate(zip(PARTS, found.histories, found.windows.values.T, strict=True))
    ]
    composites = History.of(composite(np.column_stack(ranked)[rows], used))
    share = composites.share_below(float(composite(scores, used)))
    return 100 * share if share is not None and composites.n >= HISTORY_MIN else None


def health_level(absolute: float | None, relative: float | None) -> HealthLevel:
    """UNKNOWN without any score. With a relative one: the worse of its level and one step above the absolute level."""
    if absolute is None:
        return HealthLevel.UNKNOWN
    place = _place(absolute, ABSOLUTE_FROM)
    if relative is not None:
        # A rank cannot see a market that is always bad.
        place = max(_place(relative, RELATIVE_FROM), place - 1)
    return _LEVELS[place]


def _place(score: float, lowest: Sequence[float]) -> int:
    return next((place for place, least in enumerate(lowest) if score >= least), len(lowest))


def health(end: int, seconds: Seconds, found: Past | None, *, live_now: bool) -> MicrostructureHealth:
    """Health of the window (end - 60, end], unix s. seconds: at least of its last 300 s. found: of `past`, made for this window
    or one before it; None: no past. live_now: the book is LIVE at this moment.

    Raises NotEnoughData under 30 s with a live book.
    """
    assert found is None or found.end <= end, "what comes later is no past"
    now = windows(seconds, np.array([end], np.int64))
    live_s = int(now.live[0])
    coverage = live_s / WINDOW_S
    if live_s < LIVE_S_MIN:
        raise NotEnoughData(live_s, LIVE_S_MIN, "s", coverage, LIVE_S_MIN - live_s)
    ready = found is not None and found.ready
    values = now.values[0]
    absolute, relative = np.full(len(PARTS), np.nan), np.full(len(PARTS), np.nan)
    for i, part in enumerate(PARTS):
        if np.isnan(values[i]):
            continue
        absolute[i] = absolute_score(part, now.half_life_s[0] if i == RESILIENCY else values[i])
        if found is not None and ready and found.ranks(i):
            relative[i] = relative_scores(part, found.histories[i], values[i : i + 1])[0]
    known = [i for i in range(len(PARTS)) if not np.isnan(absolute[i])]
    lacking = next((i for i, part in enumerate(PARTS) if part.core and i not in known), None)
    overall_absolute = float(composite(absolute, known)) if live_now and lacking is None else None
    overall_relative = relative_score(relative, found) if found is not None and overall_absolute is not None and ready else None
    if overall_absolute is not None and overall_relative is None:
        ready = False
    parts = [_part(i, now, absolute[i], relative[i], seconds) for i in range(len(PARTS))]
    overall = overall_relative if ready else overall_absolute
    served = {part.name: part.score_relative if ready else part.score_absolute for part in parts}
    named = {"spread_stability_score": "spread", "liquidity_depth_score": "depth", "flow_balance_score": "balance"}
    reasons = {
        field: part.reason or UNDEFINED
        for field, name in named.items()
        for part in parts
        if part.name == name and served[name] is None
    }
    if overall_absolute is None:
        part_reason = UNDEFINED if lacking is None else parts[lacking].reason or UNDEFINED
        why = part_reason if live_now else BOOK_NOT_LIVE
        reasons |= dict.fromkeys(("overall_score", "relative_score", "absolute_score"), why)
    elif overall_relative is None:
        reasons["relative_score"] = BASELINE_SHORT
    return MicrostructureHealth(
        end_s=end,
        coverage=coverage,
        basis="relative" if ready else "absolute",
        baseline=found.baseline if found is not None else Baseline("short", "trailing_24h", 0, 0, 0, _need_s(WINDOW_S)),
        overall_score=overall,
        relative_score=overall_relative,
        absolute_score=overall_absolute,
        health_level=health_level(overall_absolute, overall_relative),
        parts=tuple(parts),
        spread_stability_score=served["spread"],
        liquidity_depth_score=served["depth"],
        flow_balance_score=served["balance"],
        reasons=reasons,
    )


def _part(i: int, now: Windows, absolute: float, relative: float, seconds: Seconds) -> Part:
    rule, statistic = PARTS[i], float(now.values[0, i])
    value = float(now.half_life_s[0]) if i == RESILIENCY else statistic
    reason = None
    if math.isnan(statistic):
        reason = _absence(i, now, seconds)
    elif math.isinf(value):  # scored 0, but no number to print
        reason = EXHAUSTED if rule.name == "cost" else UNDEFINED
    elif math.isnan(relative):
        reason = BASELINE_SHORT
    return Part(
        name=rule.name,
        value=value if math.isfinite(value) else None,
        unit=rule.unit,
        score_relative=None if math.isnan(relative) else float(relative),
        score_absolute=None if math.isnan(absolute) else float(absolute),
        weight=rule.weight,
        core=rule.core,
        reason=reason,
    )


def _absence(i: int, now: Windows, seconds: Seconds) -> str:
    """Why a part has no value: too few clean seconds, a band or size beyond the known range, or nothing there to measure."""
    width_s, clean, need = WINDOW_S, int(now.clean[0]), VALUES_MIN
    column = (
        seconds.spread_bps,
        seconds.cost_bps,
        seconds.depth_quote,
        seconds.log_depth,
        seconds.return_bps,
        seconds.imbalance,
    )[i]
    if i == RESILIENCY:
        width_s, clean, need = REVERSION_S, int(now.clean_reversion[0]), PAIRS_MIN + 1
    if clean < need:
        return LOW_COVERAGE
    end = int(now.ends[0])
    lacking = (seconds.t > end - width_s) & (seconds.t <= end) & seconds.clean & np.isnan(column)
    ranged = int((lacking & seconds.ranged).sum())
    return BEYOND if PARTS[i].name not in {"spread", "volatility"} and ranged > 0 and 2 * ranged >= lacking.sum() else UNDEFINED
