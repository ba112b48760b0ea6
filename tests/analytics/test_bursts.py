"""Detector A, message bursts: against a market of known messages, and its regression against plain sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, NAN, NOT_FOUND, activity, changed, found, refused, ticks
from tests.analytics.build_flow import QUICK
from tests.analytics.test_health_past import kolmogorov

from leadline.analytics.activity import Activity
from leadline.analytics.anomalies import LOOK_BACK_S, SEVERITIES
from leadline.analytics.bursts import detect_bursts, fit_bursts

TICK = 10**6
N = 4_100
ORDINARY = 80 + np.arange(N) % 41  # 80 to 120, each 100 times: the median is 100
PAST = activity(ticks(1 - N, 0), messages=ORDINARY)
MODEL = fit_bursts(PAST, TICK)
RARE = 1 / (N + 1)


def rows_of(messages, **columns):
    """The seconds after the past: some have other messages than 100, by their number."""
    t = ticks(1, max(60, *messages) if messages else 60)
    values = [messages.get(second, 100) for second in (t - DAY).tolist()]
    return activity(t, messages=values, **columns)


def judged(messages, model=MODEL, start=0, end=60, **columns):
    return detect_bursts(rows_of(messages, **columns), DAY + start, DAY + end, model)


# What opens an event -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "severity"),
    [
        (499, None),
        (500, "Low"),
        (501, "Low"),
        (999, "Low"),
        (1000, "Medium"),
        (1999, "Medium"),
        (2000, "High"),
        (4999, "High"),
        (5000, "Critical"),
        (10**6, "Critical"),
    ],
)
def test_severity_is_the_number_of_medians_and_five_are_the_least(messages, severity):
    """Median 100; anything above 120 is rarer than all 4,100 seconds of the past."""
    outcome = judged({30: messages, 31: messages})
    assert found(outcome) == (NOT_FOUND if severity is None else ("found", None, [(30, 31, 31, severity)]))
    assert outcome.seconds == 60


def test_an_event_tells_its_peak_second_and_its_rarest():
    """1,200 ids beside 7 fills in second 31, between seconds of 600 with 2: the fills of the others are not beside them."""
    outcome = judged({30: 600, 31: 1200, 33: 600}, fills=[7 if second == 31 else 2 for second in range(1, 61)])
    (event,) = outcome.events
    assert event.evidence | {"residual_z": None} == {
        "rate_per_s": 1200,
        "median_per_s": 100,
        "residual_z": None,
        "fills": 7,
        "flagged_s": 3,
    }
    assert event.p_value == RARE
    residuals = np.log1p(ORDINARY) - np.log1p(ORDINARY).mean()
    deviation = 1.4826 * np.median(np.abs(residuals - np.median(residuals)))
    assert event.evidence["residual_z"] == pytest.approx((math.log(1201 / 101)) / deviation, rel=0.01)
    assert event.text == (
        "1200 update ids in a second beside 7 fills, where the median is 100: more than its activity explains, "
        "beyond 4100 of 4100 ordinary seconds"
    )
    model = fit_bursts(replace(PAST, messages=changed(ORDINARY, 0, 700)), TICK)
    (event,) = judged({30: 600, 31: 1200, 33: 600}, model).events
    assert event.p_value == RARE  # that of 600 is twice as much


def test_one_second_alone_is_no_event_and_a_pause_of_30_s_makes_two():
    assert found(judged({30: 5000})) == NOT_FOUND
    assert found(judged({30: 5000, 33: 5000, 36: 5000})) == NOT_FOUND
    ends = [(event[0], event[1]) for event in found(judged({5: 900, 6: 900, 35: 900, 36: 900}))[2]]
    assert ends == [(5, 36)]
    ends = [(event[0], event[1]) for event in found(judged({5: 900, 6: 900, 36: 900, 37: 900}))[2]]
    assert ends == [(5, 6), (36, 37)]


def test_rare_alone_is_not_enough_and_many_alone_are_not():
    """300 is beyond all 4,100 seconds but 3 medians. In a past with 11 seconds of 600, 600 is 6 medians but not rare."""
    assert found(judged({30: 300, 31: 300})) == NOT_FOUND
    model = fit_bursts(replace(PAST, messages=changed(ORDINARY, slice(0, 1100, 100), 600)), TICK)
    assert model.p95 < 600
    assert found(judged({30: 600, 31: 600}, model)) == NOT_FOUND
    assert found(judged({30: 601, 31: 601}, model)) == ("found", None, [(30, 31, 31, "Low")])


def test_what_one_second_in_ten_has_is_not_many_however_little_explains_it():
    """A tenth of the past has 1,000 ids beside 100 fills; 600 without a fill are 6 medians, rarer than all, and under p95."""
    busy = np.arange(N) % 10 == 0
    past = replace(PAST, messages=np.where(busy, 1_000, ORDINARY), fills=np.where(busy, 100.0, 0.0))
    model = fit_bursts(past, TICK)
    assert (model.p95, model.flagged(rows_of({30: 600}))[1][29]) == (1_000, RARE)
    assert found(judged({30: 600, 31: 600}, model)) == found(judged({30: 1_000, 31: 1_000}, model)) == NOT_FOUND
    assert found(judged({30: 1_001, 31: 1_001}, model))[0] == "found"


def test_a_second_that_its_activity_explains_is_no_event():
    """Messages are 9 + 10 per fill: 600 with 59 fills are ordinary, the same without any are a burst."""
    random = np.random.default_rng(1)
    fills = random.integers(0, 20, 2_000)
    past = activity(
        ticks(-1_999, 0), messages=np.expm1(np.log(10) + np.log1p(fills)) * random.uniform(0.99, 1.01, 2000), fills=fills
    )
    model = fit_bursts(past, TICK)
    busy = [59 if second in (30, 31) else 3 for second in range(1, 61)]
    usual = [9 + 10 * n for n in busy]
    assert found(detect_bursts(activity(ticks(1, 60), messages=usual, fills=busy), DAY, DAY + 60, model)) == NOT_FOUND
    quiet = [3] * 60
    assert found(detect_bursts(activity(ticks(1, 60), messages=usual, fills=quiet), DAY, DAY + 60, model))[0] == "found"


# What is no second -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["messages", "fills", "mid_range_e8"])
def test_a_second_with_a_fault_never_counts_and_opens_nothing_among_flagged_ones(fault):
    """Every third second is known, and each of those is a burst: no two of three in a row are."""
    rows = rows_of(dict.fromkeys(range(1, 61), 9000))
    known = np.arange(60) % 3 == 0
    rows = replace(rows, **{fault: np.where(known, getattr(rows, fault), NAN)})
    outcome = detect_bursts(rows, DAY, DAY + 60, MODEL)
    assert (found(outcome), outcome.seconds) == (NOT_FOUND, 20)
    rows = replace(rows, **{fault: np.where(known | (np.arange(60) == 31), 0.0 if fault != "messages" else 9000.0, NAN)})
    if fault != "messages":
        assert found(detect_bursts(rows, DAY, DAY + 60, MODEL)) == ("found", None, [(31, 34, 32, "Critical")])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"messages": NAN, "fills": NAN, "mid_range_e8": NAN}, "low_coverage"),
        ({"fills": NAN}, "trade_gap"),
        ({"mid_range_e8": NAN}, "undefined"),
    ],
)
def test_where_no_second_can_be_seen_it_says_why(columns, reason):
    outcome = detect_bursts(activity(ticks(1, 60), **columns), DAY, DAY + 60, MODEL)
    assert (found(outcome), outcome.seconds) == (refused(reason), 0)
    assert outcome.current["rate_per_s"] == (None if reason == "low_coverage" else 100)
    assert found(detect_bursts(activity(ticks(1, 0)), DAY, DAY + 60, MODEL)) == refused("low_coverage")


def test_without_a_past_it_says_what_is_there_now_and_judges_nothing():
    rows = rows_of({30: 9000, 31: 9000})
    for reason in ("baseline_short", "too_few"):
        outcome = detect_bursts(rows, DAY, DAY + 60, None, no_model=reason)
        assert (found(outcome), outcome.seconds, outcome.base_rate_per_day) == (refused(reason), 60, None)
        assert outcome.current == {"rate_per_s": (58 * 100 + 18_000) / 60, "max_per_s": 9000, "median_per_s": None}
    assert detect_bursts(rows, DAY, DAY + 60, None).reason == "baseline_short"


def test_a_past_in_which_nothing_could_be_rare_is_none():
    """1 / (998 + 1) is more than 0.001. Seconds without a value do not count."""
    assert fit_bursts(activity(ticks(-997, 0), messages=ORDINARY[:998]), TICK) is None
    assert fit_bursts(activity(ticks(-998, 0), messages=ORDINARY[:999]), TICK) is not None
    assert fit_bursts(activity(ticks(-998, 0), messages=changed(ORDINARY[:999], 5, NAN)), TICK) is None
    assert fit_bursts(activity(ticks(1, 0)), TICK) is None


# Its own past ------------------------------------------------------------------------------------


def yesterday(n, messages=3000):
    """The past with n seconds in a row of so many messages."""
    return replace(PAST, messages=changed(ORDINARY, slice(100, 100 + n), messages))


def test_a_burst_of_yesterday_does_not_hide_one_of_today():
    """205 of 4,100 seconds are 5 %: p is one of 3,896. With 206 they are put back: 206 as large, p = 207 / 4,101."""
    model = fit_bursts(yesterday(205), TICK)
    assert (model.warnings, model.residuals.n) == ((), N - 205)
    outcome = judged({30: 3000, 31: 3000}, model)
    assert found(outcome) == ("found", None, [(30, 31, 31, "High")])
    assert outcome.events[0].p_value == 1 / (N - 205 + 1)
    model = fit_bursts(yesterday(206), TICK)
    assert (model.warnings, model.residuals.n) == (("regime_change",), N)
    outcome = judged({30: 3000, 31: 3000}, model)
    assert (found(outcome), outcome.warnings) == (NOT_FOUND, ("regime_change",))
    assert model.flagged(rows_of({30: 3000}))[1][29] == 207 / (N + 1)


def test_the_guard_begins_above_20_medians():
    assert fit_bursts(yesterday(2, 2000), TICK).residuals.n == N
    assert fit_bursts(yesterday(2, 2001), TICK).residuals.n == N - 2


def test_a_burst_of_yesterday_does_not_raise_what_is_many():
    """p95 is that of the seconds that are left: without the 205 it is 118 of 80 to 120, as if they had not been."""
    assert fit_bursts(yesterday(205), TICK).p95 == MODEL.p95 == 118


def test_the_base_rate_counts_the_events_of_the_past():
    """Two of 3 s each, and a single second, which is none; 2 * 86,400 / 4,100 a day."""
    messages = changed(changed(changed(ORDINARY, slice(100, 103), 5000), slice(500, 503), 5000), 800, 5000)
    assert fit_bursts(replace(PAST, messages=messages), TICK).base_rate_per_day == 2 * 86_400 / N
    assert MODEL.base_rate_per_day == 0


def test_where_most_seconds_are_silent_a_median_of_nothing_measures_nothing():
    """3 % of the seconds have one update. 4 ids are no event; 5 are 5 times one id, not infinitely often none."""
    past = activity(ticks(-1_999, 0), messages=np.arange(2_000) % 33 == 0)
    model = fit_bursts(past, TICK)
    assert (model.median, model.warnings) == (0, ())
    quiet = changed(np.zeros(60), [29, 30], 4)
    assert found(detect_bursts(activity(ticks(1, 60), messages=quiet), DAY, DAY + 60, model)) == NOT_FOUND
    louder = activity(ticks(1, 60), messages=quiet * 5 / 4)
    assert found(detect_bursts(louder, DAY, DAY + 60, model)) == ("found", None, [(30, 31, 31, "Low")])


# The regression ----------------------------------------------------------------------------------


def random_market(seed, n, t):
    random = np.random.default_rng(seed)
    fills = random.poisson(6, n).astype(float)
    ranges = random.integers(0, 9, n) * TICK * 1.5
    logs = 4 + 0.7 * np.log1p(fills) + 0.4 * np.log1p(ranges / TICK) + random.normal(0, 0.3, n)
    return activity(t, messages=np.round(np.expm1(logs)), fills=fills, mid_range_e8=ranges)


def by_hand(past):
    """Intercept and slopes by Cramer's rule on centred sums, in plain loops."""
    y = [math.log(1 + m) for m in past.messages.tolist()]
    x1 = [math.log(1 + f) for f in past.fills.tolist()]
    x2 = [math.log(1 + r / TICK) for r in past.mid_range_e8.tolist()]
    n = len(y)
    means = [math.fsum(column) / n for column in (x1, x2, y)]

    def product(a, b):
        columns = (x1, x2, y)
        return math.fsum((u - means[a]) * (v - means[b]) for u, v in zip(columns[a], columns[b], strict=True))

    determinant = product(0, 0) * product(1, 1) - product(0, 1) ** 2
    first = (product(0, 2) * product(1, 1) - product(1, 2) * product(0, 1)) / determinant
    second = (product(1, 2) * product(0, 0) - product(0, 2) * product(0, 1)) / determinant
    return means[2] - first * means[0] - second * means[1], first, second


@pytest.mark.parametrize("seed", range(3))
def test_the_regression_and_its_p_values_are_those_of_plain_sums(seed):
    past = random_market(seed, 1_500, ticks(-1_499, 0))
    model = fit_bursts(past, TICK)
    alpha, first, second = by_hand(past)
    assert model.beta == pytest.approx([alpha, first, second], rel=1e-9)

    def left_over(rows, i):
        explained = alpha + first * math.log(1 + rows.fills[i]) + second * math.log(1 + rows.mid_range_e8[i] / TICK)
        return math.log(1 + rows.messages[i]) - explained

    residuals = [left_over(past, i) for i in range(1_500)]
    fresh = random_market(seed + 100, 200, ticks(1, 200))
    _, p = model.flagged(fresh)
    for i in range(200):
        value = left_over(fresh, i)
        if min(abs(value - other) for other in residuals) > 1e-8:  # a tie is a matter of rounding
            assert p[i] == (1 + sum(other >= value for other in residuals)) / 1_501


def test_a_second_like_one_of_the_past_ties_with_it_however_many_are_asked_about():
    """300 rows of a past of 40 kinds of second: each kind ties with its like, in a table of any length."""
    past = random_market(7, 40, ticks(1, 40))
    t = ticks(-1_199, 0)
    many = Activity(t, *(np.tile(getattr(past, name), 30) for name in Activity.__struct_fields__[1:]))
    model = fit_bursts(many, TICK)
    for rows in (
        many,
        past,
        *(Activity(*(getattr(past, name)[i : i + 1] for name in Activity.__struct_fields__)) for i in range(40)),
    ):
        _, p = model.flagged(rows)
        assert ((1201 * p - 1).round() % 30 == 0).all()


# What changes nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 100, 12_345])
def test_prices_and_tick_times_a_constant_change_nothing(scale):
    past, fresh = random_market(3, 1_200, ticks(-1_199, 0)), random_market(4, 60, ticks(1, 60))
    fresh = replace(fresh, messages=fresh.messages * 40)

    def at(factor):
        scaled = [replace(rows, mid_range_e8=rows.mid_range_e8 * factor) for rows in (past, fresh)]
        return detect_bursts(scaled[1], DAY, DAY + 60, fit_bursts(scaled[0], TICK * factor))

    assert at(1) == at(scale)
    assert at(1).events


def upto(rows, end, after=0):
    inside = (rows.t > DAY + after) & (rows.t <= DAY + end)
    return Activity(*(getattr(rows, name)[inside] for name in Activity.__struct_fields__))


def test_an_event_keeps_its_start_while_the_window_moves_on():
    """It begins in second 130 and lasts 40 s, with a lull; each window of 60 s that holds a second of it says 130."""
    messages = dict.fromkeys([*range(130, 140), *range(165, 170)], 900)
    rows = rows_of(messages | {260: 100})
    told = [found(detect_bursts(upto(rows, end), DAY + end - 60, DAY + end, MODEL))[2] for end in range(60, 260)]
    events = {end: events for end, events in zip(range(60, 260), told, strict=True) if events}
    assert list(events) == list(range(131, 229))
    assert {(event[0], event[2]) for (event,) in events.values()} == {(130, 131)}
    assert [events[end][0][1] for end in (139, 140, 141, 164, 165, 166, 171, 228)] == [None, None, 139, 139, 139, None, 169, 169]


def test_what_lasts_an_hour_still_has_the_name_of_its_beginning():
    """Rows from LOOK_BACK_S before a window of 60 s on, as they are asked for."""
    lasting = rows_of(dict.fromkeys(range(100, 3_701), 900))
    for end in (200, 1_000, 3_700):
        rows = upto(lasting, end, end - 60 - LOOK_BACK_S)
        assert detect_bursts(rows, DAY + end - 60, DAY + end, MODEL).events[0].start_s == DAY + 100


@QUICK
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 40))
def test_more_messages_never_make_it_less_grave_or_less_rare(fewer, more, fills):
    fewer, more = sorted((fewer, more))
    small, large = (judged({30: n, 31: n}, fills=fills) for n in (fewer, more))
    assert len(large.events) >= len(small.events)
    for before, after in zip(small.events, large.events, strict=False):
        assert after.p_value <= before.p_value
        assert SEVERITIES.index(after.severity) >= SEVERITIES.index(before.severity)


def test_seconds_drawn_like_the_past_have_uniform_p_values():
    """1,000 new seconds of the same market against 10,000. One with 5 % more messages is not drawn like it."""
    model = fit_bursts(random_market(11, 10_000, ticks(-9_999, 0)), TICK)
    fresh = random_market(12, 1_000, ticks(1, 1_000))
    assert kolmogorov(model.flagged(fresh)[1]) > 0.01
    assert kolmogorov(model.flagged(replace(fresh, messages=fresh.messages * 1.05))[1]) < 0.01
