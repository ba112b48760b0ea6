"""Detector E, absorption: parts of ten seconds against a past in which takers move the mid by 5 bps a million."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, E8, NAN, NOT_FOUND, flow, found, refused, ticks
from tests.analytics.build_flow import QUICK
from tests.analytics.test_health_past import kolmogorov
from tests.core.build import trade

from leadline.analytics.absorption import detect_absorption, fit_absorbing
from leadline.analytics.anomalies import SEVERITIES
from leadline.analytics.order_flow import Columns

PARTS = 1_001
TAKEN = (np.arange(PARTS) - 500) * 100.0  # signed taker value of each part: -50,000 to 50,000 quote, so 0 once, all others twice
SLOPE = 5e-6  # bps per quote


def parts(taken, moves, ofi=None, first=0, **more):
    """Ten equal seconds for each part, the first of them after DAY + first."""
    taken, moves = np.asarray(taken, float), np.asarray(moves, float)
    ofi = np.sign(taken) if ofi is None else np.asarray(ofi, float)
    t = ticks(first + 1, first + 10 * len(taken))
    bought, sold = np.maximum(taken, 0), np.maximum(-taken, 0)
    return flow(
        t,
        **{
            name: np.repeat(column, 10) / 10
            for name, column in zip(("ofi", "bought", "sold", "moves"), (ofi, bought, sold, moves), strict=True)
        },
        **more,
    )


PAST = parts(TAKEN, SLOPE * TAKEN, first=-10 * PARTS)
MODEL = fit_absorbing(PAST)
QUIET = (0.0, 0.0, 1.0)  # taken, move, order flow of an ordinary part


def window(*told, parts_n=6, first=0):
    """Six parts; told: (number of the part, taken, move, order flow)."""
    rows = [QUIET] * parts_n
    for number, *row in told:
        rows[number] = tuple(row)
    return parts(*zip(*rows, strict=True), first=first)


def judged(*told, model=MODEL, start=0, end=60, trades=(), refills=None, **how):
    return detect_absorption(window(*told, **how), trades, DAY + start, DAY + end, model, refills_quote=refills)


# What opens an event -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "move", "ofi", "severity"),
    [
        (60_000, 0.0, -1, "Medium"),  # p = 1 / 1,002
        (-60_000, 0.0, 1, "Medium"),
        (60_000, 0.0, 0, "Medium"),  # order flow of 0 is not with them
        (60_000, 0.0, 1, None),  # order flow is with them
        (-60_000, 0.0, -1, None),
        (60_000, 0.0749, -1, "Medium"),  # a quarter of the usual 0.3 bps
        (60_000, 0.0751, -1, None),
        (-60_000, -0.0749, 1, "Medium"),
        (-60_000, -0.0751, 1, None),
        (60_000, -0.01, -1, "High"),  # the mid went the other way
        (-60_000, 0.01, 1, "High"),
        (50_000, 0.0, -1, "Low"),  # two as large: p = 3 / 1,002
        (50_000, -1.0, -1, "Low"),  # not rare enough for High, whatever the mid did
        (49_700, 0.0, -1, "Low"),  # eight as large: p = 9 / 1,002
        (49_650, 0.0, -1, "Low"),  # still eight
        (49_600, 0.0, -1, None),  # ten as large: p = 11 / 1,002, over one in a hundred
        (0, 0.0, -1, None),
    ],
)
def test_rare_takers_whom_neither_mid_nor_order_flow_follows(taken, move, ofi, severity):
    outcome = judged((2, taken, move, ofi))
    assert found(outcome) == (NOT_FOUND if severity is None else ("found", None, [(21, 30, 30, severity)]))
    assert (outcome.seconds, outcome.window_s) == (60, 10)


def test_p_counts_the_parts_of_the_past_that_took_as_much_on_either_side():
    for taken, more in ((60_000, 0), (50_000, 2), (-50_000, 2), (49_700, 8)):
        (event,) = judged((2, taken, 0.0, -np.sign(taken))).events
        assert event.p_value == (1 + more) / (PARTS + 1)


def test_an_event_tells_what_was_taken_what_is_usual_and_where_most_was_traded():
    """In part 2, seconds 20 to 30, 3 traded at 101 and 5 at 100; before and after it other prices had more."""
    trades = [
        trade(1, 99, 50, at=DAY + 19.999),
        trade(2, 101, 3, at=DAY + 20),
        trade(3, 100, 4, at=DAY + 25),
        trade(4, 100, 1, at=DAY + 29.999),
        trade(5, 102, 50, at=DAY + 30),
    ]
    outcome = judged((2, -60_000, 0.02, 1.5), trades=trades, refills=7_000.0)
    (event,) = outcome.events
    assert event.evidence == {
        "taker_quote": pytest.approx(-60_000),
        "move_bps": pytest.approx(0.02),
        "expected_bps": pytest.approx(-0.3),
        "ofi": pytest.approx(1.5),
        "price_e8": 100 * E8,
        "price_share": 5 / 8,
        "refill_quote": 7_000,
    }
    assert event.prices_e8 == (100 * E8,)
    assert event.text.startswith("takers sold 60000 quote net in 10 s, the mid moved +0.02 bps where -0.30 is usual; consistent")
    assert outcome.current == {"taker_quote": 0, "move_bps": 0, "slope_bps_per_million": pytest.approx(5)}
    (event,) = judged((2, 60_000, 0.0, -1)).events
    assert (event.prices_e8, event.evidence["price_e8"], event.evidence["price_share"]) == ((), None, None)
    assert event.text.startswith("takers bought 60000")


def test_parts_less_than_30_s_apart_are_one_event_and_the_gravest_speaks():
    """From the end of one to the start of the next: 20 s between parts 0 and 3, 30 s between 0 and 4."""
    near = judged((0, 60_000, 0.0, -1), (3, -70_000, 0.1, 1))
    assert found(near) == ("found", None, [(1, 40, 10, "High")])
    assert near.events[0].evidence["taker_quote"] == pytest.approx(-70_000)
    for first, second in ((50_000, 49_700), (49_700, 50_000)):  # both Low: the rarer one
        (event,) = judged((0, first, 0.0, -1), (1, second, 0.0, -1)).events
        assert (event.severity, event.evidence["taker_quote"], event.p_value) == ("Low", pytest.approx(50_000), 3 / 1_002)
    assert found(judged((0, 60_000, 0.0, -1), (4, 60_000, 0.0, -1)))[2] == [(1, 10, 10, "Medium"), (41, 50, 50, "Medium")]


def test_parts_are_apart_by_time_not_by_how_many_are_known_between_them():
    """Between the parts 0 and 5 nothing is known for 40 s: two events."""
    rows = window((0, 60_000, 0.0, -1), (5, 60_000, 0.0, -1))
    cut = Columns(*(np.delete(getattr(rows, name), slice(10, 50)) for name in Columns.__struct_fields__))
    outcome = detect_absorption(cut, (), DAY, DAY + 60, MODEL, refills_quote=None)
    assert found(outcome) == ("found", None, [(1, 10, 10, "Medium"), (51, None, 60, "Medium")])
    assert outcome.seconds == 20


def test_an_event_may_go_on_until_the_next_part_is_over():
    assert [found(judged((4, 60_000, 0.0, -1), end=end))[2][0][1] for end in (50, 59, 60)] == [None, None, 50]


# What is no part ---------------------------------------------------------------------------------


def test_parts_are_those_that_lie_in_the_window():
    """Part 2 is the seconds 21 to 30."""
    told = (2, 60_000, 0.0, -1)
    for start, end, seen, seconds in ((20, 60, True, 40), (21, 60, False, 30), (0, 30, True, 30), (0, 29, False, 20)):
        outcome = judged(told, start=start, end=end)
        assert (bool(outcome.events), outcome.seconds) == (seen, seconds)


def test_a_window_in_which_no_part_lies_is_too_short_to_tell():
    assert found(judged(start=5, end=19)) == refused("too_few")
    assert found(judged(start=5, end=20)) == found(judged(start=20, end=30)) == NOT_FOUND


@pytest.mark.parametrize(("lost", "seen"), [(1, True), (2, False)])
def test_nine_of_ten_clean_seconds_of_one_epoch_are_the_least(lost, seen):
    rows = window((2, 60_000, 0.0, -1))
    kept = ~np.isin(rows.t, DAY + 21 + np.arange(lost))
    cut = Columns(*(getattr(rows, name)[kept] for name in Columns.__struct_fields__))
    outcome = detect_absorption(cut, (), DAY, DAY + 60, MODEL, refills_quote=None)
    assert (bool(outcome.events), outcome.seconds) == (seen, 60 if seen else 50)
    resync = replace(rows, epoch=np.where(rows.t > DAY + 25, 2, 1))
    assert found(detect_absorption(resync, (), DAY, DAY + 60, MODEL, refills_quote=None)) == NOT_FOUND


def test_where_no_part_has_a_value_it_says_why():
    rows = window((2, 60_000, 0.0, -1))
    missing = replace(rows, buy_quote=np.full(60, NAN))
    assert found(detect_absorption(missing, (), DAY, DAY + 60, MODEL, refills_quote=None)) == refused("trade_gap")
    no_mid = replace(rows, move_bps=np.full(60, NAN))
    assert found(detect_absorption(no_mid, (), DAY, DAY + 60, MODEL, refills_quote=None)) == refused("low_coverage")
    nothing = parts([], [])
    outcome = detect_absorption(nothing, (), DAY, DAY + 60, MODEL, refills_quote=None)
    assert (found(outcome), outcome.seconds) == (refused("low_coverage"), 0)
    assert outcome.current["taker_quote"] is None


def test_without_a_past_it_says_what_is_there_now_and_judges_nothing():
    for reason in ("baseline_short", "too_few"):
        rows = window((5, 60_000, 0.02, -1))
        outcome = detect_absorption(rows, (), DAY, DAY + 60, None, refills_quote=None, no_model=reason)
        assert (found(outcome), outcome.seconds, outcome.base_rate_per_day) == (refused(reason), 60, None)
        assert outcome.current == {
            "taker_quote": pytest.approx(60_000),
            "move_bps": pytest.approx(0.02),
            "slope_bps_per_million": None,
        }


# The past ----------------------------------------------------------------------------------------


def test_takers_who_do_not_move_the_mid_their_way_give_no_model():
    assert fit_absorbing(parts(TAKEN, -SLOPE * TAKEN, first=-10 * PARTS)) is None
    assert fit_absorbing(parts(TAKEN, np.zeros(PARTS), first=-10 * PARTS)) is None
    assert fit_absorbing(parts(np.zeros(PARTS), np.zeros(PARTS), first=-10 * PARTS)) is None
    assert MODEL.slope.beta == pytest.approx(5)


def test_a_past_in_which_nothing_could_be_rare_is_none():
    """98 parts: 1 / 99 is more than one in a hundred. A part whose trades are missing does not count."""
    for n, known in ((98, False), (99, True)):
        past = parts(TAKEN[:n], SLOPE * TAKEN[:n], first=-10 * n)
        assert (fit_absorbing(past) is not None) == known
    assert fit_absorbing(replace(past, sell_quote=np.where(past.t == DAY, NAN, past.sell_quote))) is None
    assert fit_absorbing(parts([], [])) is None


def test_the_base_rate_is_the_share_of_past_parts_that_meet_all_four():
    """Two of 1,001 parts of 10 s: the one of 50,000 quote bought, and the one of 50,000 sold, without move and with flow
    against them. A third has a move, a fourth flow with the takers. So 2 / 10,010 s."""
    moves, ofi = SLOPE * TAKEN, np.sign(TAKEN)
    moves[[0, -1, -2]] = 0
    ofi[[0, -1, 1]] *= -1
    model = fit_absorbing(parts(TAKEN, moves, ofi, first=-10 * PARTS))
    assert model.base_rate_per_day == pytest.approx(2 * 86_400 / 10_010)
    assert MODEL.base_rate_per_day == 0


# What changes nothing ------------------------------------------------------------------------------


def test_with_sides_swapped_the_same_is_found_the_other_way_round():
    told = [(1, 60_000, -0.02, -2), (5, -50_000, 0.0, 1)]
    mirrored = [(number, *(-value for value in row)) for number, *row in told]
    model = fit_absorbing(parts(-TAKEN, -SLOPE * TAKEN, first=-10 * PARTS))
    one, two = judged(*told), judged(*mirrored, model=model)
    assert found(one) == found(two)
    assert [e.p_value for e in one.events] == [e.p_value for e in two.events]
    for name in ("taker_quote", "move_bps", "expected_bps", "ofi"):
        assert [e.evidence[name] for e in two.events] == [pytest.approx(-e.evidence[name]) for e in one.events]


@pytest.mark.parametrize("scale", [4, 1024])
def test_quantities_times_a_constant_change_only_quote_values(scale):
    model = fit_absorbing(parts(TAKEN * scale, SLOPE * TAKEN, first=-10 * PARTS))
    for taken in (49_600, 49_700, 60_000):
        plain, larger = judged((2, taken, -0.02, -1)), judged((2, taken * scale, -0.02, -scale), model=model)
        assert found(plain) == found(larger)
        for one, two in zip(plain.events, larger.events, strict=True):
            assert (one.p_value, one.evidence["move_bps"]) == (two.p_value, two.evidence["move_bps"])
            assert two.evidence["expected_bps"] == pytest.approx(one.evidence["expected_bps"])


def test_an_event_keeps_its_start_while_the_window_moves_on():
    """Parts 13 to 15, then 18, of a market that is asked about each second, in windows of 60 s with what was before them."""
    told = [(number, 60_000, 0.0, -1) for number in (13, 14, 15, 18)]
    rows = window(*told, parts_n=30)
    seen = {}
    for end in range(100, 290):
        upto = Columns(*(getattr(rows, name)[:end] for name in Columns.__struct_fields__))
        outcome = detect_absorption(upto, (), DAY + end - 60, DAY + end, MODEL, refills_quote=None)
        for start_s, end_s, detected_s, _ in found(outcome)[2]:
            seen[end] = start_s, detected_s, end_s
    assert list(seen) == list(range(140, 241))  # part 18 ends at 190, and begins at 180 = 240 - 60
    assert {event[:2] for event in seen.values()} == {(131, 140)}
    assert [seen[end][2] for end in (140, 169, 170, 189, 190, 200)] == [None, None, 160, 160, None, 190]


@QUICK
@given(st.integers(0, 80_000), st.integers(0, 80_000), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_more_takers_and_less_move_are_never_less_grave_or_less_rare(taken, other_taken, move, other_move):
    less, more = sorted((taken, other_taken))
    against, along = sorted((move, other_move))
    mild, grave = judged((2, less, along, -1)), judged((2, more, against, -1))
    assert len(grave.events) >= len(mild.events)
    for before, after in zip(mild.events, grave.events, strict=False):
        assert after.p_value <= before.p_value
        assert SEVERITIES.index(after.severity) >= SEVERITIES.index(before.severity)


def test_parts_drawn_like_the_past_have_uniform_p_values():
    """500 new parts against 10,000. With a fifth more in each they are not drawn like it."""
    random = np.random.default_rng(17)
    taken = random.normal(0, 1e5, 10_500)
    moves = SLOPE * taken + random.normal(0, 0.1, 10_500)
    model = fit_absorbing(parts(taken[:10_000], moves[:10_000], first=-100_000))
    for more, alike in ((1.0, True), (1.2, False)):
        values = [model.sizes.p_high(abs(value) * more) for value in taken[10_000:]]
        assert (kolmogorov(values) > 0.01) == alike
