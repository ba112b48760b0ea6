"""The windows of health against a plain loop, and the past that they are ranked in."""

import math
from statistics import mean, median, pstdev

import numpy as np
import pytest
from msgspec.structs import replace
from tests.analytics.build_health import (
    BALANCE,
    COST,
    DEPTH,
    END,
    NAMES,
    ORDINARY,
    PAST,
    RESILIENCY,
    SPREAD,
    TABLE,
    VOLATILITY,
    draws,
    judged,
    minutes,
    ordinary,
    part,
    record,
    steady,
    table,
)

from leadline.analytics.health import HealthLevel, Seconds, health, past, relative_score, windows
from leadline.core.records import BookState

# Windows against a plain loop ----------------------------------------------------------------


def model(records, end):
    """The six statistics of one window by plain loops over the records; kappa by numpy's polyfit."""
    good = [one for one in records if one.state == "LIVE" and one.flags in {0, 16, 32, 64}]
    last = [one for one in good if end - 60 < one.t <= end]

    def over(values, statistic):
        known = [value for value in values if value is not None]
        return statistic(known) if len(known) >= 48 else None

    depths = [(one.depth_bid[3], one.depth_ask[3]) for one in last]
    shares = [None if None in pair or not sum(pair) else (pair[0] - pair[1]) / sum(pair) for pair in depths]
    costs = [None if one.cost_buy[3] is None else (one.cost_buy[3] + one.cost_sell[3]) / 2 for one in last]
    moves = [1e4 * math.log(one.mid2_close / one.mid2_open) for one in last]
    by_second = {one.t: one for one in good if end - 300 < one.t <= end}
    x, dx = [], []
    for t, one in by_second.items():
        before = by_second.get(t - 1)
        if before and before.epoch == one.epoch and None not in (*before.depth_bid[3:4], *one.depth_bid[3:4]):
            logs = [math.log((it.depth_bid[3] + it.depth_ask[3]) / 1e16) for it in (before, one)]
            x.append(logs[0])
            dx.append(logs[1] - logs[0])
    return [
        over([1e4 * one.spread_tw / (one.mid2_close / 2) for one in last], mean),
        over(costs, mean),
        over([None if None in pair else min(pair) / 1e16 for pair in depths], median),
        -float(np.polyfit(x, dx, 1)[0]) if len(x) >= 120 else None,
        over(moves, lambda known: math.sqrt(mean(move * move for move in known))),
        over(shares, lambda known: mean(map(abs, known)) + pstdev(known)),
    ]


def test_windows_are_what_a_plain_loop_over_the_seconds_computes():
    """900 s with every kind of hole: missing seconds, faults, unknown bands, unfilled costs, new epochs; windows overlap."""
    random = np.random.default_rng(3)
    records = []
    for i in range(900):
        drawn = random.lognormal(0, 0.5, 6)
        if random.random() < 0.05:
            continue
        one = record(END - 899 + i, **ordinary(drawn))
        flags = int(random.choice([0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 16, 32, 64]))
        one = replace(one, flags=flags, epoch=1 + i // 400, state=BookState.LIVE if random.random() > 0.03 else BookState.SYNCING)
        if random.random() < 0.06:
            one = replace(one, depth_bid=[None] * 6)
        if random.random() < 0.06:
            one = replace(one, cost_buy=[None] * 6)
        records.append(one)
    ends = np.arange(END - 600, END + 60, 7)
    found = windows(table(records), ends)
    nulls = 0
    for i, end in enumerate(ends):
        want = model(records, int(end))
        nulls += want.count(None)
        assert [None if math.isnan(value) else value for value in found.values[i]] == [
            None if value is None else pytest.approx(value, rel=1e-9) for value in want
        ], end
        inside = [one for one in records if end - 60 < one.t <= end]
        assert found.live[i] == sum(one.state == "LIVE" for one in inside)
    assert 20 < nulls < 300


# The past --------------------------------------------------------------------------------------


def test_the_past_is_aligned_clean_and_over_before_the_window_begins():
    """At 10:00:37 the window began at 09:59:37: the last past minute ends 09:59:00 and the last past 300 s end 09:55:00."""
    found = past(table([replace(one, t=one.t + 37) for one in ORDINARY]), END + 37)
    assert set(found.windows.ends % 60) == {0}
    counted = found.windows.ends[found.counted]
    assert counted[-1] == END - 60
    # Records begin at END - 11062; the first whole minute from there ends at END - 11040 + 60.
    assert counted[0] == END - 10_980
    assert found.histories[SPREAD].n == len(counted) == 183
    assert found.histories[RESILIENCY].n == len(range(END - 10_800 + 300, END - 300 + 1, 300))
    assert found.windows.ends[0] > END + 37 - 60 - 86_400


@pytest.mark.parametrize(("later", "last"), [(0, -300), (37, -300), (240, -300), (300, 0)])
def test_the_past_of_resiliency_ends_before_its_own_300_seconds_begin(later, last):
    """Longer records of the same market; the last aligned 300 s that end at least 300 s before the window does."""
    records = [record(t, bid=6e6 + (7 * t) % 11, ask=6e6) for t in range(END - 1200, END + 301)]
    found = past(table(records), END + later)
    ends = np.arange(END - 900, END + last + 1, 300)
    want = windows(table(records), ends).values[:, RESILIENCY]
    assert list(found.histories[RESILIENCY].sorted) == sorted(want)


def test_the_composite_is_ranked_among_windows_that_were_over_before_its_own_began():
    """Resiliency looks back 300 s: the four minutes that end later than that do not count with it, and do without it."""
    worst = PAST.windows.values.copy()
    worst[-4:, [SPREAD, COST, VOLATILITY, BALANCE]] = 1e9
    changed = replace(PAST, windows=replace(PAST.windows, values=worst))
    present = np.full(6, 30.0)
    assert relative_score(present, changed) == relative_score(present, PAST)
    present[RESILIENCY] = np.nan
    assert relative_score(present, changed) > relative_score(present, PAST)


@pytest.mark.parametrize(("together", "ranked"), [(23, False), (24, True)])
def test_a_composite_is_ranked_among_windows_that_had_the_same_parts(together, ranked):
    values = PAST.windows.values.copy()
    counted = np.flatnonzero(PAST.counted)
    values[counted[: len(counted) - together], BALANCE] = np.nan
    found = replace(PAST, windows=replace(PAST.windows, values=values))
    present = np.array([50.0, 50, 50, np.nan, 50, 50])
    assert (relative_score(present, found) is not None) == ranked
    present[BALANCE] = np.nan
    assert relative_score(present, found) is not None
    present[DEPTH] = np.nan  # a core part
    assert relative_score(present, found) is None


def test_a_past_window_counts_from_nine_tenths_clean_seconds():
    def without(n):
        gone = [replace(one, flags=2) if 0 <= one.t - (END - 600) - 1 < n else one for one in ORDINARY]
        found = past(table(gone), END)
        return bool(found.counted[found.windows.ends == END - 540][0]), found.histories[SPREAD].n

    total = PAST.histories[SPREAD].n
    assert [without(n) for n in (0, 6, 7)] == [(True, total), (True, total), (False, total - 1)]


def test_a_day_is_the_most_that_is_looked_back():
    hours = np.arange(END - 90_000, END + 1)
    n = len(hours)
    drawn = draws(n)
    bare = Seconds(hours, *(np.ones(n, bool),) * 2, np.zeros(n, bool), *np.column_stack([np.ones(n), drawn]).T)
    found = past(bare, END)
    assert (len(found.windows.ends), found.baseline.n, found.have_s, found.baseline.span_s) == (1440, 1440, 86_400, 86_400)
    assert (found.windows.ends[0], found.windows.ends[-1]) == (END - 86_400, END - 60)
    assert found.histories[RESILIENCY].n == 287  # 288 aligned ones; the first would begin before the day


@pytest.mark.parametrize(
    ("have_s", "ready", "resiliency"), [(1799, False, False), (1800, True, False), (8999, True, False), (9000, True, True)]
)
def test_ranks_appear_after_half_an_hour_and_those_of_resiliency_after_30_of_its_windows(have_s, ready, resiliency):
    found = past(table(ORDINARY[-have_s - 60 : -60]), END)
    answer = judged(minutes(), found)
    assert (found.have_s, answer.baseline.have_s, answer.baseline.need_s) == (have_s, have_s, 1800)
    assert (answer.baseline.state, answer.basis) == (("ready", "relative") if ready else ("short", "absolute"))
    assert (answer.relative_score is not None, part(answer, "spread").score_relative is not None) == (ready, ready)
    assert (part(answer, "resiliency").score_relative is not None) == resiliency
    assert part(answer, "resiliency").reason == (None if resiliency else "baseline_short")
    assert answer.overall_score == (answer.relative_score if ready else answer.absolute_score)


def test_a_core_part_without_a_past_is_not_ranked():
    """Three hours of records, but depth was never known in them."""
    found = past(table([replace(one, depth_bid=[None] * 6) for one in ORDINARY]), END)
    answer = judged(minutes(), found)
    assert (answer.basis, answer.baseline.state, answer.reasons["relative_score"]) == ("absolute", "short", "baseline_short")
    assert answer.overall_score == answer.absolute_score


def test_a_minute_like_all_others_is_in_the_middle():
    """Every past window equals the present: F = 0.5 in each part and in the composite."""
    records = [
        record(t, bid=steady(t), ask=steady(t) / 2, return_bps=0.1 if t % 2 else -0.1) for t in range(END - 12_000, END + 1)
    ]
    seconds = table(records)
    answer = health(END, seconds, past(seconds, END), live_now=True)
    assert [p.score_relative for p in answer.parts] == [50] * 6
    assert answer.relative_score == answer.overall_score == 50
    assert answer.health_level is HealthLevel.GOOD


def test_a_market_that_is_always_bad_is_ordinary_and_still_poor():
    """Its rank is 50, Good; its absolute score is under 20, Critical; one step above that is Poor."""
    records = [
        record(t, spread_bps=60.0, cost_bps=90.0, bid=6e3 + t % 2, ask=6e3, return_bps=30.0) for t in range(END - 12_000, END + 1)
    ]
    seconds = table(records)
    answer = health(END, seconds, past(seconds, END), live_now=True)
    assert (answer.relative_score, answer.health_level) == (50, HealthLevel.POOR)
    assert answer.absolute_score < 20


def kolmogorov(values):
    """p-value that values in [0, 1] are uniform: the distance of the steps from the diagonal, asymptotic series."""
    ordered = np.sort(values)
    n = len(ordered)
    steps = np.arange(n)
    distance = max(np.max((steps + 1) / n - ordered), np.max(ordered - steps / n))
    x = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    return 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))


def test_new_minutes_drawn_like_the_past_have_uniform_relative_scores():
    """400 minutes after a day of the same market, each against that day. A market with 1 % more spread is not drawn like it."""
    t = np.arange(END - 86_400 - 60, END + 400 * 300 + 1)
    n = len(t)
    random = np.random.default_rng(11)
    noise = random.normal(0, 1, (n, 6))
    flags = np.ones(n, bool)
    columns = dict(zip(Seconds.__struct_fields__[5:], np.exp(0.1 * noise.T), strict=True)) | {"imbalance": 0.3 * noise[:, 5]}
    seconds = Seconds(t=t, live=flags, clean=flags, ranged=~flags, epoch=np.ones(n), **columns)
    found = past(seconds, END)
    ends = [END + 300 * k for k in range(1, 401)]

    def answers(table_):
        return [health(end, table_, found, live_now=True) for end in ends]

    got = answers(seconds)
    for i, name in enumerate(NAMES):
        assert kolmogorov([answer.parts[i].score_relative / 100 for answer in got]) > 0.01, name
    assert kolmogorov([answer.relative_score / 100 for answer in got]) > 0.01
    wider = answers(replace(seconds, spread_bps=seconds.spread_bps * 1.01))
    assert kolmogorov([answer.parts[SPREAD].score_relative / 100 for answer in wider]) < 0.01


def test_what_comes_later_is_no_past():
    with pytest.raises(AssertionError, match="no past"):
        health(END, TABLE, replace(PAST, end=END + 1), live_now=True)
