"""What the five detectors share: runs of flagged seconds, p-values of columns, severities, and what is left out of a past."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analytics.build_flow import QUICK

from leadline.analytics.anomalies import (
    MEASURED,
    PATTERNS,
    AnomalyType,
    Outcome,
    Run,
    Severity,
    Status,
    beyond,
    finite,
    merged,
    p_high,
    reaches,
    runs,
    runs_a_day,
    step_of,
    still_open,
    without_guarded,
)
from leadline.analytics.stats import History

# Runs ------------------------------------------------------------------------------------------


def told(second_flags):
    """runs of {second: flagged}; a second that is not there has no row."""
    t = np.array(sorted(second_flags), np.int64)
    return runs(t, np.array([second_flags[second] for second in sorted(second_flags)], bool))


def only(*flagged, first=0, last=99):
    return told({second: second in flagged for second in range(first, last + 1)})


@pytest.mark.parametrize(
    ("flagged", "found"),
    [
        ((), []),
        ((5,), []),
        ((5, 8), []),  # 5, 6, 7 hold one, and so do 6, 7, 8
        ((5, 6), [Run(5, 6, 6, (5, 6))]),
        ((5, 7), [Run(5, 7, 7, (5, 7))]),
        ((5, 7, 9, 11), [Run(5, 11, 7, (5, 7, 9, 11))]),
        ((5, 6, 9), [Run(5, 6, 6, (5, 6))]),  # 9 is alone among 7, 8, 9 and 9, 10, 11
        ((0, 1), [Run(0, 1, 1, (0, 1))]),  # at the very edges of what is known
        ((98, 99), [Run(98, 99, 99, (98, 99))]),
        ((5, 6, 35, 36), [Run(5, 36, 6, (5, 6, 35, 36))]),  # 29 s apart
        ((5, 6, 36, 37), [Run(5, 6, 6, (5, 6)), Run(36, 37, 37, (36, 37))]),  # 30 s apart
        ((5, 6, 20, 36, 37), [Run(5, 6, 6, (5, 6)), Run(36, 37, 37, (36, 37))]),  # one that is alone builds no bridge
    ],
)
def test_two_of_three_seconds_in_a_row_open_a_run_and_runs_under_30_s_apart_are_one(flagged, found):
    assert only(*flagged) == found


def test_a_second_without_a_row_is_not_flagged_and_seconds_around_it_are_not_neighbours():
    """Rows of 1, 2, 4, 7, 40: as rows they are in a row, as seconds only 1, 2 and 4 are."""
    assert told(dict.fromkeys((1, 2, 4, 7, 40), True)) == [Run(1, 4, 2, (1, 2, 4))]
    assert told(dict.fromkeys((1, 4, 7, 10), True)) == []
    assert told({}) == []


def model(flags):
    """Second by second through time: each looks back at the two before it."""
    found, open_run = [], None
    for second in range(min(flags, default=0), max(flags, default=0) + 1):
        lately = [s for s in (second - 2, second - 1, second) if flags.get(s)]
        if len(lately) < 2:
            continue
        fresh = [s for s in lately if open_run is None or s > open_run["seconds"][-1]]
        if not fresh:
            continue
        if open_run is None or fresh[0] - open_run["seconds"][-1] >= 30:
            open_run = {"detected": second, "seconds": []}
            found.append(open_run)
        open_run["seconds"] += fresh
    return [Run(run["seconds"][0], run["seconds"][-1], run["detected"], tuple(run["seconds"])) for run in found]


sequences = st.lists(
    st.tuples(st.integers(1, 4) | st.integers(20, 40), st.sampled_from([True, True, False])), min_size=1, max_size=40
)


@QUICK
@given(sequences)
def test_runs_are_those_of_a_walk_through_time(steps):
    """Steps of 1 to 4 s, and of 20 to 40 s around the time in which runs merge; most seconds flagged."""
    flags, second = {}, 100
    for step, flagged in steps:
        second += step
        flags[second] = flagged
    assert told(flags) == model(flags)


def test_merged_puts_together_what_is_less_than_so_many_seconds_apart():
    assert merged(np.array([1, 30, 60, 89])) == [[1, 30], [60, 89]]
    assert merged(np.array([10, 20, 29]), 10) == [[10], [20, 29]]
    assert merged(np.array([], np.int64)) == []


def test_an_event_may_go_on_if_one_of_the_last_two_seconds_was_flagged():
    assert [still_open(last, 100) for last in (98, 99, 100)] == [False, True, True]


def test_a_base_rate_counts_runs_over_the_seconds_in_which_there_could_be_one():
    run = Run(1, 2, 2, (1, 2))
    assert runs_a_day([run] * 3, 43_200) == 6
    assert runs_a_day([], 43_200) == 0
    assert runs_a_day([], 0) is None


# Ranks -----------------------------------------------------------------------------------------

numbers = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0, math.inf])


@QUICK
@given(st.lists(numbers | st.just(math.nan), max_size=30), st.lists(numbers | st.just(math.nan), min_size=1, max_size=10))
def test_p_values_of_a_column_are_counted_by_hand(past, values):
    """(1 + how many of the past are at least as large) / (n + 1); NaN is no value, on neither side."""
    history = History.of(np.array(past, float))
    known = [h for h in past if not math.isnan(h)]
    got = p_high(history, np.array(values))
    for value, p in zip(values, got, strict=True):
        if math.isnan(value):
            assert math.isnan(p)
            continue
        assert p == (1 + sum(h >= value for h in known)) / (len(known) + 1)
        assert p == (history.p_high(value) if known else 1)
        assert beyond(p, len(known)) == sum(h < value for h in known)


@pytest.mark.parametrize(
    ("n", "p_value", "possible"), [(998, 1e-3, False), (999, 1e-3, True), (98, 0.01, False), (99, 0.01, True)]
)
def test_nothing_is_as_rare_as_one_in_a_thousand_against_less_than_999_seconds(n, p_value, possible):
    history = History.of(np.arange(float(n)))
    assert reaches(history, p_value) == possible == (history.p_high(1e9) <= p_value)
    assert not reaches(History.of(np.zeros(0)), p_value)


# What a detector leaves out of its own past ------------------------------------------------------


def test_guarded_seconds_are_left_out_up_to_5_percent_of_the_usable_ones():
    """Of 120 rows 100 are usable; what is guarded among the other 20 does not count."""
    usable = np.arange(120) < 100
    for guarded, left_out in ((np.arange(120) < 5, 5), (np.arange(120) >= 95, 5), (np.arange(120) >= 100, 0)):
        used, warnings = without_guarded(usable, guarded)
        assert (int(used.sum()), warnings) == (100 - left_out, ())
        assert not (used & guarded).any()
    used, warnings = without_guarded(usable, np.arange(120) < 6)
    assert (used.tolist(), warnings) == (usable.tolist(), ("regime_change",))
    used, warnings = without_guarded(~usable & usable, usable)
    assert (used.any(), warnings) == (False, ())


# What is served ----------------------------------------------------------------------------------


def test_a_severity_begins_at_its_step():
    steps = (5.0, 10.0, 20.0, 50.0)
    below, low, medium, high, critical = None, *Severity
    for value, severity in zip(steps, (low, medium, high, critical), strict=True):
        before = {5.0: below, 10.0: low, 20.0: medium, 50.0: high}[value]
        assert step_of(math.nextafter(value, 0), steps) == before
        assert step_of(value, steps) == step_of(math.nextafter(value, 99), steps) == severity
    assert step_of(math.inf, steps) == critical
    assert step_of(math.nan, steps) is None


def test_an_outcome_has_one_of_three_states_and_a_reason_is_always_no_evaluation():
    bare = {"anomaly_type": AnomalyType.FLEETING, "window_s": 60, "seconds": 0, "threshold": "", "current": {}}
    for events in ((), (object(),)):
        assert Outcome(**bare, reason="too_few", base_rate_per_day=None, events=events).status is Status.NOT_EVALUATED
    assert Outcome(**bare, reason=None, base_rate_per_day=None).status is Status.NOT_FOUND
    assert Outcome(**bare, reason=None, base_rate_per_day=None, events=(object(),)).status is Status.FOUND


def test_every_detector_has_a_pattern_and_two_are_measured():
    assert set(PATTERNS) == set(AnomalyType)
    assert {PATTERNS[kind] for kind in MEASURED} == {"message_burst", "liquidity_stress"}


def test_only_finite_numbers_are_printed():
    assert [finite(value) for value in (1.5, math.inf, -math.inf, math.nan)] == [1.5, None, None, None]
