"""Detector D, iceberg-like refills: what the recorder told, by size, side, price and time.

How an excess is found, and that a refill takes three updates, is the recorder's rule (tests/core).
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, E8, E16, NOT_FOUND, found, refused
from tests.analytics.build_flow import QUICK
from tests.analytics.build_levels import faulty, level, record

from leadline.analytics.anomalies import SEVERITIES
from leadline.analytics.refills import detect_refills, excess_quote

DUST = [100 * E16] * 5  # taker orders of 100 quote


def excess(quote, *, price=100, side="bid", kind="refill", shown=2.0, born=1.0, died=4.0):
    """At this price so much quote value more was traded than the shown quantity."""
    return level(side, born, died, price=price, kind=kind, shown=shown, traded=shown + quote / price)


def judged(told, *, start=0, end=60, batches=DUST, **changes):
    """told: second -> levels. A record for each second."""
    records = [record(t, *told.get(t, ()), **changes) for t in range(start - 300, end + 1)]
    return detect_refills(records, DAY + start, DAY + end, batches)


# Size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["refill", "sweep_excess"])
@pytest.mark.parametrize(
    ("quote", "severity"),
    [
        (4_999.99, None),
        (5_000, "Low"),
        (24_999.99, "Low"),
        (25_000, "Medium"),
        (99_999.99, "Medium"),
        (100_000, "High"),
        (10**9, "High"),  # never Critical
    ],
)
def test_an_excess_is_told_from_5000_quote_on_and_graver_from_25k_and_100k(quote, severity, kind):
    outcome = judged({30: [excess(quote, kind=kind)]})
    assert found(outcome) == (NOT_FOUND if severity is None else ("found", None, [(30, 30, 30, severity)]))
    assert (outcome.seconds, outcome.window_s, outcome.base_rate_per_day) == (60, 60, None)


@pytest.mark.parametrize(
    ("batches", "least"),
    [([], 5_000), (DUST, 5_000), ([2_000 * E16] * 3, 6_000), ([1, 2_000 * E16, 4_000 * E16, 10**30], 9_000)],
)
def test_an_excess_is_at_least_three_median_taker_orders(batches, least):
    """The median of 0, 2,000, 4,000 and very much is 3,000."""
    assert found(judged({30: [excess(least - 0.01)]}, batches=batches)) == NOT_FOUND
    outcome = judged({30: [excess(least)]}, batches=batches)
    assert found(outcome) == ("found", None, [(30, 30, 30, "Low")])
    assert outcome.current["least_quote"] == least
    assert outcome.current["median_batch_quote"] == (None if not batches else (least / 3 if least > 5_000 else 100))


def test_the_excess_is_the_value_of_what_was_traded_beyond_what_was_shown():
    """5 at 100 were shown, 60.5 traded: 5,550 quote. Less than was shown is no excess."""
    told = level(price=100, kind="refill", shown=5, traded=60.5)
    assert excess_quote(told) == 5_550
    assert excess_quote(replace(told, traded_e8=4 * E8)) == 0
    (event,) = judged({30: [told]}).events
    assert event.evidence == {
        "kind": "refill",
        "side": "bid",
        "price_e8": 100 * E8,
        "displayed_e8": 5 * E8,
        "traded_e8": 60.5 * E8,
        "excess_quote": 5_550,
    }
    assert (event.p_value, event.prices_e8) == (None, (100 * E8,))
    assert event.text == (
        "60.5 traded at 100 where 5 was shown; consistent with hidden size, also with an order that was placed again "
        "between two messages"
    )


def test_fleeting_levels_are_no_refills():
    assert found(judged({30: [level(price=100, shown=0, traded=10_000)]})) == NOT_FOUND


# Groups ------------------------------------------------------------------------------------------


def test_one_price_of_one_side_is_one_event_and_the_largest_speaks_for_it():
    told = {10: [excess(6_000), excess(7_000, side="ask")], 20: [excess(30_000, kind="sweep_excess"), excess(8_080, price=101)]}
    outcome = judged(told | {40: [excess(9_000)]})
    assert found(outcome)[2] == [(10, 40, 10, "Medium"), (10, 10, 10, "Low"), (20, 20, 20, "Low")]
    assert [event.evidence["excess_quote"] for event in outcome.events] == [30_000, 7_000, 8_080]
    assert [event.evidence["kind"] for event in outcome.events] == ["sweep_excess", "refill", "refill"]


def test_30_s_without_an_excess_end_an_event_and_small_ones_build_no_bridge():
    assert [event[:2] for event in found(judged({10: [excess(6_000)], 39: [excess(6_000)]}))[2]] == [(10, 39)]
    assert [event[:2] for event in found(judged({10: [excess(6_000)], 40: [excess(6_000)]}))[2]] == [(10, 10), (40, 40)]
    bridged = {10: [excess(6_000)], 25: [excess(4_000)], 40: [excess(6_000)]}
    assert [event[:2] for event in found(judged(bridged))[2]] == [(10, 10), (40, 40)]


def test_an_event_at_the_end_may_go_on():
    assert [found(judged({t: [excess(6_000)]}))[2][0][1] for t in (58, 59, 60)] == [58, None, None]


def test_an_event_keeps_its_start_while_the_window_moves_on():
    told = {t: [excess(6_000)] for t in (100, 120, 145)}
    seen = {end: found(judged(told, start=end - 60, end=end))[2] for end in range(90, 220)}
    seen = {end: events for end, events in seen.items() if events}
    assert list(seen) == list(range(100, 205))
    assert {(event[0], event[2]) for (event,) in seen.values()} == {(100, 100)}


# What is not known -------------------------------------------------------------------------------


def test_a_second_with_a_fault_never_counts():
    records = [record(t, *([excess(50_000)] if t == 30 else [])) for t in range(1, 61)]
    assert found(detect_refills(records, DAY, DAY + 60, DUST))[0] == "found"
    records[29] = faulty(records[29])
    outcome = detect_refills(records, DAY, DAY + 60, DUST)
    assert (found(outcome), outcome.seconds) == (NOT_FOUND, 59)
    surrounded = [one if one.t == DAY + 30 else record(one.t - DAY, excess(50_000)) for one in records]
    (event,) = detect_refills(surrounded, DAY, DAY + 60, DUST).events
    assert (event.start_s, event.end_s, event.evidence["excess_quote"]) == (DAY + 1, None, 50_000)


def test_where_it_cannot_see_it_says_why():
    nothing = {"n_sweeps": None, "n_excess": None, "excess_quote": None}
    outcome = judged({30: [excess(50_000)]}, **nothing)
    assert (found(outcome), outcome.seconds) == (refused("no_ticker_stream"), 0)
    assert outcome.current == {
        "sweeps_beyond_display": None,
        "excess_quote": None,
        "median_batch_quote": 100,
        "least_quote": 5_000,
    }
    records = [faulty(record(t)) for t in range(1, 61)]
    assert found(detect_refills(records, DAY, DAY + 60, DUST)) == refused("low_coverage")
    assert found(detect_refills([], DAY, DAY + 60, DUST)) == refused("low_coverage")


def test_what_is_there_now_is_that_of_the_window_alone():
    """Two sweeps beyond the display, worth 7 quote, in the last second; before the window there were others."""
    records = [record(t, n_excess=9, excess_quote=9 * E16) for t in range(-20, 1)] + [record(t) for t in range(1, 60)]
    records.append(record(60, n_excess=2, excess_quote=7 * E16))
    current = detect_refills(records, DAY, DAY + 60, DUST).current
    assert (current["sweeps_beyond_display"], current["excess_quote"]) == (2, 7)


# What changes nothing ------------------------------------------------------------------------------


def test_with_sides_swapped_the_same_is_found_on_the_other_side():
    told = {10: [excess(6_000), excess(30_000, side="ask", price=101)], 35: [excess(6_000)]}
    other = {"bid": "ask", "ask": "bid"}
    mirrored = {
        t: [replace(one, side=other[one.side], price_e8=200 * E8 - one.price_e8) for one in levels] for t, levels in told.items()
    }
    one, two = judged(told), judged(mirrored)
    assert [(e.start_s, e.end_s, e.evidence["traded_e8"]) for e in one.events] == [
        (e.start_s, e.end_s, e.evidence["traded_e8"]) for e in two.events
    ]
    assert [e.evidence["side"] for e in one.events] == [other[e.evidence["side"]] for e in two.events]


@pytest.mark.parametrize("scale", [2, 10])
def test_quantities_and_taker_orders_times_a_constant_keep_what_is_found_above_the_least_size(scale):
    """Three median orders of 2,000 quote rule here, not the 5,000 quote, which are no multiple of anything."""
    batches, levels = [2_000 * E16] * 3, [excess(6_000), excess(5_999, price=101)]
    plain = judged({30: levels}, batches=batches)
    larger = [replace(one, traded_e8=one.traded_e8 * scale, displayed_e8=one.displayed_e8 * scale) for one in levels]
    scaled = judged({30: larger}, batches=[value * scale for value in batches])
    assert [event.prices_e8 for event in scaled.events] == [event.prices_e8 for event in plain.events] == [(100 * E8,)]
    assert scaled.events[0].evidence["excess_quote"] == scale * plain.events[0].evidence["excess_quote"]


@QUICK
@given(st.floats(0, 200_000), st.floats(0, 200_000))
def test_a_larger_excess_is_never_less_grave(quote, other):
    small, large = (judged({30: [excess(value)]}) for value in sorted((quote, other)))
    assert len(large.events) >= len(small.events)
    for before, after in zip(small.events, large.events, strict=False):
        assert SEVERITIES.index(after.severity) >= SEVERITIES.index(before.severity)
        assert math.isclose(after.evidence["excess_quote"], max(quote, other), rel_tol=1e-6)
