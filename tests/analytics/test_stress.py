"""Detector B, liquidity stress: against a market of known depth, cost, spread and returns, second by second."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, NAN, NOT_FOUND, changed, found, refused, seconds, ticks
from tests.analytics.build_flow import QUICK
from tests.analytics.test_health_past import kolmogorov

from leadline.analytics.anomalies import SEVERITIES
from leadline.analytics.health import Seconds
from leadline.analytics.stress import WITNESSES, detect_stress, fit_stress, witnesses

N = 2_001
STEPS = np.random.default_rng(5).permutation(np.arange(N) - 1_000)  # -1,000 to 1,000, each once
PAST = seconds(ticks(1 - N, 0), depth=1e6 + 10 * STEPS, cost=2 + STEPS / 1e4, spread=1 + STEPS / 1e5, returns=0.1 + STEPS / 1e5)
MODEL = fit_stress(PAST)  # medians: depth 1,000,000 quote, cost 2 bps
RARE = 1 / (N + 1)
WIDE = 5.0  # bps of spread, beyond all of the past; returns of 0.1 bps and a cost of 2 bps are ordinary


def rows_of(bad, t=None, **ordinary):
    """The seconds from 60 before the window on. bad: column -> {second: value}."""
    t = ticks(-59, 60) if t is None else t
    columns = {"depth": 1e6, "cost": 2, "spread": 1, "returns": 0.1} | ordinary
    for name, values in bad.items():
        column = np.full(len(t), float(columns[name]))
        for second, value in values.items():
            column[t == DAY + second] = value
        columns[name] = column
    return seconds(t, **columns)


def judged(model=MODEL, start=0, end=60, **bad):
    return detect_stress(rows_of(bad), DAY + start, DAY + end, model)


def twice(value):
    return {30: value, 31: value}


# What opens an event -----------------------------------------------------------------------------

ALONE = {"depth": 0.2e6, "cost": 25, "spread": WIDE, "returns": 9}


@pytest.mark.parametrize("name", ALONE)
def test_one_witness_alone_never_opens_an_event(name):
    assert found(judged(**{name: twice(ALONE[name])})) == NOT_FOUND


@pytest.mark.parametrize(("one", "other"), list(combinations(ALONE, 2)))
def test_two_that_agree_do_if_depth_or_cost_is_far_from_its_median(one, other):
    """A spread and returns beyond all history are not enough: depth and cost are as always."""
    status, _, events = found(judged(**{one: twice(ALONE[one]), other: twice(ALONE[other])}))
    if {one, other} == {"spread", "returns"}:
        assert (status, events) == ("not_found", [])
    else:
        assert status == "found"
        assert events[0][:3] == (30, 31, 31)


def test_depth_that_is_rarer_than_ever_is_no_stress_while_30_percent_are_left():
    assert found(judged(depth=twice(0.3e6), spread=twice(WIDE), cost=twice(10.0))) == NOT_FOUND


@pytest.mark.parametrize(
    ("depth", "severity"),
    [(0.3e6, None), (0.2e6, "Low"), (0.1e6, "Medium"), (0.05e6, "High"), (0.0, "Critical")],
)
def test_severity_by_depth_begins_under_30_20_10_and_5_percent_of_the_median(depth, severity):
    """The value is the last of its step; just under it the next begins."""
    outcome = judged(depth=twice(depth), spread=twice(WIDE))
    assert found(outcome) == (NOT_FOUND if severity is None else ("found", None, [(30, 31, 31, severity)]))
    if depth:
        below = judged(depth=twice(math.nextafter(depth, 0)), spread=twice(WIDE))
        assert below.events[0].severity == SEVERITIES[0 if severity is None else SEVERITIES.index(severity) + 1]


@pytest.mark.parametrize(
    ("cost", "severity"), [(10.0, None), (20.0, "Low"), (40.0, "Medium"), (100.0, "High"), (math.inf, "Critical")]
)
def test_severity_by_cost_begins_above_5_10_20_and_50_medians(cost, severity):
    """Median 2 bps. An exhausted book is beyond all times."""
    outcome = judged(cost=twice(cost), spread=twice(WIDE))
    assert found(outcome) == (NOT_FOUND if severity is None else ("found", None, [(30, 31, 31, severity)]))
    if cost < math.inf:
        above = judged(cost=twice(math.nextafter(cost, math.inf)), spread=twice(WIDE))
        assert above.events[0].severity == SEVERITIES[0 if severity is None else SEVERITIES.index(severity) + 1]


def test_a_median_cost_under_half_a_basis_point_is_taken_as_that():
    """2.5 bps are 25 medians of 0.1, but 5 times 0.5."""
    model = fit_stress(replace(PAST, cost_bps=PAST.cost_bps / 20))
    for cost, told in ((2.5, NOT_FOUND), (2.6, ("found", None, [(30, 31, 31, "Low")]))):
        rows = rows_of({"cost": twice(cost), "spread": twice(WIDE)}, cost=0.1)
        assert found(detect_stress(rows, DAY, DAY + 60, model)) == told


def test_the_worse_of_depth_and_cost_counts_and_the_worst_second_speaks():
    """15 % of the depth is Medium, 25 medians of cost are High; second 31 has both."""
    outcome = judged(depth={30: 0.25e6, 31: 0.15e6}, cost={31: 50.0}, spread=twice(WIDE))
    (event,) = outcome.events
    assert event.severity == "High"
    assert event.evidence["depth_share"] == 0.15
    assert (event.evidence["cost_bps"], event.evidence["spread_bps"], event.evidence["flagged_s"]) == (50, WIDE, 2)
    assert event.text == (
        "15 % of the usual depth within 10 bps is left; trading 100k quote costs 50.00 bps, where the median is 2.00 bps; "
        "two measures at once are beyond 2001 of 2001 ordinary seconds"
    )


def test_p_is_the_second_smallest_of_the_four():
    """Depth, rarer than all 2,001; cost, with 3 at least as large; spread and volatility ordinary: p is 4 / 2,002, no event.
    One rank further, with 1 at least as large, p is 2 / 2,002 and the event is told with it."""
    depth, cost = twice(0.1e6), np.sort(PAST.cost_bps)
    _, p = MODEL.flagged(witnesses(rows_of({"depth": depth, "cost": twice(cost[-3])})))
    assert p[60 + 29] == 4 / (N + 1)
    assert found(judged(depth=depth, cost=twice(cost[-3]))) == NOT_FOUND
    outcome = judged(depth=depth, cost=twice(cost[-1]))
    assert outcome.events[0].p_value == 2 / (N + 1)
    assert outcome.events[0].evidence["p"]["cost"] == 2 / (N + 1)
    assert outcome.events[0].evidence["p"]["depth"] == RARE
    assert outcome.events[0].text.endswith("beyond 2000 of 2001 ordinary seconds")
    outcome = judged(depth=depth, returns=twice(9))
    assert outcome.events[0].p_value == 1 / (N - 9 + 1)  # of volatility, which the first nine seconds have not
    assert outcome.events[0].text.endswith("beyond 1992 of 1992 ordinary seconds")


# What is not known -------------------------------------------------------------------------------


def test_a_witness_that_is_not_known_counts_as_ordinary():
    assert found(judged(depth=twice(0.1e6), spread=twice(NAN))) == NOT_FOUND
    assert found(judged(depth=twice(0.1e6), spread=twice(NAN), cost=twice(NAN))) == NOT_FOUND
    outcome = judged(depth=twice(0.1e6), spread=twice(WIDE), cost=twice(NAN), returns={25: NAN})
    (event,) = outcome.events
    assert (event.severity, event.evidence["cost_bps"]) == ("Medium", None)
    assert {name for name in WITNESSES if event.evidence["p"][name] is None} == {"cost", "volatility"}
    assert event.text.startswith("10 % of the usual depth within 10 bps is left; two measures")


def test_an_exhausted_book_is_said_to_be_so():
    (event,) = judged(cost=twice(math.inf), spread=twice(WIDE), depth=twice(NAN)).events
    assert (event.severity, event.evidence["cost_bps"], event.evidence["depth_share"]) == ("Critical", None, None)
    assert event.text.startswith("100k quote cannot be traded at all, where the median is 2.00 bps; two measures")


def test_a_book_that_never_held_the_size_is_judged_by_its_depth():
    """Cost is infinite in all of the past, or never known: no multiple of it says anything."""
    for always, text in ((math.inf, "; 100k quote cannot be traded at all; two"), (NAN, "is left; two")):
        past = seconds(PAST.t, depth=PAST.depth_quote, cost=always, spread=PAST.spread_bps)
        rows = rows_of({"depth": twice(0.15e6), "spread": twice(WIDE)}, cost=always)
        outcome = detect_stress(rows, DAY, DAY + 60, fit_stress(past))
        assert found(outcome) == ("found", None, [(30, 31, 31, "Medium")])
        assert outcome.current["cost_median_bps"] is None
        assert text in outcome.events[0].text


def test_a_past_second_whose_cost_is_not_known_still_counts_for_spread_and_depth():
    """20 past seconds had a wide spread, and a book too thin to tell the cost: today one is p = 21 / 2,002, not the rarest."""
    thin = slice(0, 20)
    past = replace(PAST, cost_bps=changed(PAST.cost_bps, thin, NAN), spread_bps=changed(PAST.spread_bps, thin, WIDE))
    model = fit_stress(past)
    assert [history.n for history in model.histories] == [N, N - 20, N, N - 9]
    assert model.each(witnesses(rows_of({"spread": twice(WIDE)})))[60 + 29, 2] == 21 / (N + 1)
    assert found(judged(model, depth=twice(0.29e6), spread=twice(WIDE))) == NOT_FOUND


@pytest.mark.parametrize("every", [3, 4])
def test_a_second_with_a_fault_never_counts_and_opens_nothing_among_flagged_ones(every):
    t = ticks(1, 60)
    known = np.arange(60) % every == 0
    rows = seconds(t, depth=np.where(known, 1e3, NAN), cost=np.where(known, 99, NAN), spread=np.where(known, WIDE, NAN))
    outcome = detect_stress(rows, DAY, DAY + 60, MODEL)
    assert (found(outcome), outcome.seconds) == (NOT_FOUND, 60 // every)
    rows = seconds(t, depth=1e3, cost=99, spread=WIDE)
    assert found(detect_stress(rows, DAY, DAY + 60, MODEL)) == ("found", None, [(1, None, 2, "Critical")])


def test_seconds_are_those_in_which_two_witnesses_are_known_and_one_is_depth_or_cost():
    """10 with nothing, 10 with spread and volatility, 10 with depth alone; the other 30 count."""
    t = ticks(-19, 60)
    second = t - DAY
    rows = seconds(
        t,
        depth=np.where((second > 0) & (second <= 20), NAN, 1e6),
        cost=np.where((second > 0) & (second <= 30), NAN, 2),
        spread=np.where((second > 0) & (second <= 10) | (second > 20) & (second <= 30), NAN, 1),
        returns=np.where((second > 0) & (second <= 10) | (second > 20) & (second <= 30), NAN, 0.1),
    )
    assert detect_stress(rows, DAY, DAY + 60, MODEL).seconds == 30


def test_where_nothing_is_known_it_says_so():
    nothing = seconds(ticks(1, 60), depth=NAN, cost=NAN, spread=NAN, returns=NAN)
    outcome = detect_stress(nothing, DAY, DAY + 60, MODEL)
    assert (found(outcome), outcome.seconds) == (refused("low_coverage"), 0)
    assert outcome.current["depth_quote"] is None
    assert found(detect_stress(seconds(ticks(1, 0)), DAY, DAY + 60, MODEL)) == refused("low_coverage")
    only_spread = seconds(ticks(-9, 60), depth=NAN, cost=NAN)
    assert found(detect_stress(only_spread, DAY, DAY + 60, MODEL)) == refused("low_coverage")


def test_without_a_past_it_says_what_is_there_now_and_judges_nothing():
    rows = rows_of({"depth": {60: 0.1e6}, "cost": {60: math.inf}})
    for reason in ("baseline_short", "too_few"):
        outcome = detect_stress(rows, DAY, DAY + 60, None, no_model=reason)
        assert (found(outcome), outcome.seconds, outcome.base_rate_per_day) == (refused(reason), 60, None)
        assert outcome.current == {
            "depth_quote": 0.1e6,
            "cost_bps": None,
            "spread_bps": 1,
            "volatility_bps": pytest.approx(math.sqrt(0.1), rel=1e-8),
            "depth_median_quote": None,
            "cost_median_bps": None,
        }


def test_a_past_in_which_nothing_could_be_rare_is_none():
    """Two witnesses must be able to be rarer than one in 1,000: from 999 seconds on, whichever two they are."""

    def cut(n, **columns):
        return fit_stress(seconds(ticks(1 - n, 0), **columns))

    assert (cut(998), cut(999) is None) == (None, False)
    assert cut(0) is None
    assert cut(2_000, depth=NAN, cost=NAN) is None
    assert cut(2_000, cost=NAN, spread=NAN, returns=NAN) is None
    assert cut(2_000, cost=NAN, spread=NAN) is not None
    assert cut(998 + 9, cost=NAN, spread=NAN) is None  # the first nine seconds have no volatility
    assert cut(999 + 9, cost=NAN, spread=NAN) is not None


# Its own past ------------------------------------------------------------------------------------


def yesterday(n):
    """A stress of n seconds an hour ago: a tenth of the depth, a wide spread."""
    return replace(
        PAST, depth_quote=changed(PAST.depth_quote, slice(0, n), 1e5), spread_bps=changed(PAST.spread_bps, slice(0, n), WIDE)
    )


def test_a_stress_of_yesterday_does_not_hide_one_of_today():
    """100 of 2,001 seconds are under 5 %. 101 are put back: p is then 102 / 2,002."""
    model = fit_stress(yesterday(100))
    assert (model.warnings, model.histories[0].n) == ((), N - 100)
    outcome = judged(model, depth=twice(1e5), spread=twice(WIDE))
    assert found(outcome) == ("found", None, [(30, 31, 31, "Medium")])
    assert outcome.events[0].p_value == 1 / (N - 100 + 1)
    model = fit_stress(yesterday(101))
    assert (model.warnings, model.histories[0].n) == (("regime_change",), N)
    outcome = judged(model, depth=twice(1e5), spread=twice(WIDE))
    assert (found(outcome), outcome.warnings) == (NOT_FOUND, ("regime_change",))
    assert model.flagged(witnesses(rows_of({"depth": twice(1e5), "spread": twice(WIDE)})))[1][60 + 29] == 102 / (N + 1)


def test_the_base_rate_counts_the_events_of_the_past():
    assert fit_stress(yesterday(50)).base_rate_per_day == 86_400 / N
    assert MODEL.base_rate_per_day == 0


# Volatility --------------------------------------------------------------------------------------


@QUICK
@given(st.lists(st.tuples(st.integers(1, 3), st.none() | st.floats(-50, 50)), min_size=1, max_size=40))
def test_volatility_is_that_of_ten_known_seconds_in_a_row(steps):
    """Second by second: the root of the sum of ten squares; not known if a second is missing or has no return."""
    returns, second = {}, DAY
    for step, value in steps:
        second += step
        returns[second] = value
    rows = seconds(np.array(list(returns)), returns=[NAN if value is None else value for value in returns.values()])
    for t, value in zip(rows.t.tolist(), witnesses(rows).volatility_bps.tolist(), strict=True):
        last = [returns.get(s) for s in range(t - 9, t + 1)]
        if None in last:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(math.sqrt(math.fsum(r * r for r in last)), abs=1e-9)


def test_the_spread_is_never_taken_as_less_than_a_tenth_of_a_basis_point():
    """A spread that doubles from 0.02 to 0.04 bps is as ordinary as before."""
    rows = witnesses(seconds(ticks(1, 3), spread=[0.02, 0.04, 0.2]))
    assert rows.bad[:, 2].tolist() == [0.1, 0.1, 0.2]


# What changes nothing ----------------------------------------------------------------------------


def test_quantities_times_a_constant_leave_the_share_of_depth():
    bad = rows_of({"depth": twice(0.15e6), "spread": twice(WIDE)})
    (event,) = detect_stress(bad, DAY, DAY + 60, MODEL).events
    for scale in (2.0, 1024.0, 0.25):
        model = fit_stress(replace(PAST, depth_quote=PAST.depth_quote * scale))
        (scaled,) = detect_stress(replace(bad, depth_quote=bad.depth_quote * scale), DAY, DAY + 60, model).events
        assert scaled.evidence == event.evidence | {"depth_quote": 0.15e6 * scale}
        assert replace(scaled, evidence=event.evidence) == event


def test_an_event_keeps_its_start_while_the_window_moves_on():
    lasting = range(130, 140)
    rows = rows_of(
        {"depth": dict.fromkeys([*lasting, 160, 161], 1e5), "spread": dict.fromkeys([*lasting, 160, 161], WIDE)}, ticks(1, 260)
    )
    told = {}
    for end in range(60, 260):
        upto = Seconds(*(getattr(rows, name)[:end] for name in Seconds.__struct_fields__))
        for start_s, end_s, detected_s, _ in found(detect_stress(upto, DAY + end - 60, DAY + end, MODEL))[2]:
            told[end] = start_s, detected_s, end_s
    assert list(told) == list(range(131, 221))
    assert {event[:2] for event in told.values()} == {(130, 131)}
    assert [told[end][2] for end in (140, 141, 161, 162, 163)] == [None, 139, None, None, 161]


@QUICK
@given(st.floats(0, 1.2e6), st.floats(0, 1.2e6), st.floats(0.1, 200), st.floats(0.1, 200))
def test_less_depth_and_more_cost_never_make_it_less_grave_or_less_rare(depth, other_depth, cost, other_cost):
    fewer, more = sorted((depth, other_depth))
    cheaper, dearer = sorted((cost, other_cost))
    mild = judged(depth=twice(more), cost=twice(cheaper), spread=twice(WIDE))
    grave = judged(depth=twice(fewer), cost=twice(dearer), spread=twice(WIDE))
    assert len(grave.events) >= len(mild.events)
    for before, after in zip(mild.events, grave.events, strict=False):
        assert after.p_value <= before.p_value
        assert SEVERITIES.index(after.severity) >= SEVERITIES.index(before.severity)


def test_seconds_drawn_like_the_past_have_uniform_p_values():
    """Each witness of 500 new seconds, ten apart, against 20,000 of the same market. 10 % worse is not drawn like it."""
    random = np.random.default_rng(21)

    def market(t, worse=1.0):
        draws = np.exp(0.3 * random.normal(0, 1, (3, len(t)))) * worse
        returns = random.normal(0, 0.1, len(t)) * worse
        return seconds(t, depth=1e6 / draws[0], cost=2 * draws[1], spread=draws[2], returns=returns)

    model = fit_stress(market(ticks(-19_999, 0)))
    alike, unlike = (model.each(witnesses(market(ticks(1, 5_000), worse)))[9::10] for worse in (1.0, 1.1))
    for place, name in enumerate(WITNESSES):
        assert kolmogorov(alike[:, place]) > 0.01, name
        assert kolmogorov(unlike[:, place]) < 0.01, name
