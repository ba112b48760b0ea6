"""What holds for the health of any market: scores fall as their values get worse, and shifts and swaps change nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_health import END, NAMES, ORDINARY, PAST, QUICK, TABLE, judged, minutes, part, steady, table

from leadline.analytics.health import PARTS, absolute_score, composite, health, past, relative_score, relative_scores
from leadline.analytics.stats import History

WORSE = {"spread": 1, "cost": 1, "depth": -1, "resiliency": 1, "volatility": 1, "balance": 1}  # absolute: of the half-life
positive = st.floats(1e-9, 1e9)


@QUICK
@given(st.sampled_from(range(6)), positive, positive)
def test_absolute_scores_fall_as_their_values_get_worse(i, a, b):
    good, bad = sorted((a, b), key=lambda value: WORSE[NAMES[i]] * value)
    assert 0 <= absolute_score(PARTS[i], bad) <= absolute_score(PARTS[i], good) <= 100


@QUICK
@given(st.sampled_from(range(6)), st.lists(positive, min_size=1), positive, positive)
def test_relative_scores_fall_as_their_values_get_worse(i, earlier, a, b):
    good, bad = sorted((a, b), reverse=not PARTS[i].high_is_bad)
    score_bad, score_good = relative_scores(PARTS[i], History.of(np.array(earlier)), np.array([bad, good]))
    assert 0 <= score_bad <= score_good <= 100
    share = History.of(np.array(earlier)).share_below(bad)
    assert score_bad == pytest.approx(100 * (1 - share) if PARTS[i].high_is_bad else 100 * share)


scores = st.lists(st.floats(0, 100), min_size=6, max_size=6)


@QUICK
@given(scores, st.sampled_from(range(6)), st.floats(0, 100))
def test_composites_and_the_overall_score_rise_with_each_score(one, i, other):
    low, high = np.array(one), np.array(one)
    low[i], high[i] = sorted((one[i], other))
    assert composite(low, range(6)) <= composite(high, range(6)) * (1 + 1e-12)
    assert composite(high, range(6)) == pytest.approx(
        math.exp(sum(rule.weight * math.log(max(s, 1)) for rule, s in zip(PARTS, high, strict=True)))
    )
    assert relative_score(low, PAST) <= relative_score(high, PAST)


@QUICK
@given(st.sampled_from(["spread", "cost", "volatility"]), st.floats(1.0, 300), st.floats(1.0, 300))
def test_overall_falls_as_a_raw_value_gets_worse(name, a, b):
    """Spread, cost or volatility times 1 to 300, the rest as it is."""
    field, usual = {"spread": ("spread_bps", 1.0), "cost": ("cost_bps", 2.0), "volatility": ("return_bps", 0.1)}[name]
    little, much = (judged(minutes(lambda i, f=factor: {field: usual * f})) for factor in sorted((a, b)))
    assert much.overall_score <= little.overall_score
    assert much.absolute_score <= little.absolute_score + 1e-9


def test_a_tenth_of_the_quantities_lowers_depth_and_with_enough_of_them_gone_it_is_0():
    depth = [part(judged(minutes(lambda i, f=f: {"bid": steady(i) * f, "ask": steady(i) * f})), "depth") for f in (1, 0.1, 1e-4)]
    assert depth[0].score_absolute > depth[1].score_absolute > depth[2].score_absolute == 0
    assert depth[0].score_relative > depth[1].score_relative == depth[2].score_relative == 0


@pytest.mark.parametrize("shift", [86_400, 300, -86_400 * 7])
def test_a_shift_by_whole_windows_changes_times_only(shift):
    moved = [replace(one, t=one.t + shift) for one in ORDINARY]
    found = past(table(moved), END + shift)
    answer = health(END + shift, table(moved), found, live_now=True)
    assert replace(answer, end_s=END) == health(END, TABLE, PAST, live_now=True)


def test_swapping_the_sides_changes_nothing():
    swapped = [
        replace(
            one,
            depth_bid=one.depth_ask,
            depth_ask=one.depth_bid,
            cost_buy=one.cost_sell,
            cost_sell=one.cost_buy,
            known_bid=one.known_ask,
            known_ask=one.known_bid,
        )
        for one in ORDINARY
    ]
    answer, usual = judged(swapped), judged(ORDINARY)
    assert [p.value for p in answer.parts] == pytest.approx([p.value for p in usual.parts])
    assert answer.relative_score == usual.relative_score
