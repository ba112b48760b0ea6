"""Detector C, fleeting large liquidity: the rate of a window against windows of a known past, and what must stand beside it.

That a level which lived for more than two seconds is none is the recorder's rule (tests/core/test_fleeting.py).
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, NAN, NOT_FOUND, activity, changed, found, refused, ticks
from tests.analytics.build_flow import QUICK
from tests.analytics.build_levels import faulty, level, record, rows_of
from tests.analytics.test_health_past import kolmogorov

from leadline.analytics.anomalies import SEVERITIES
from leadline.analytics.fleeting import detect_fleeting, fit_fleeting

W, WINDOWS = 10, 204
USUAL = 80 + np.arange(WINDOWS) % 51 * 40 / 50  # 80 to 120 quote a second, each four times: the median is 100
PAST_S = W * WINDOWS
PAST = activity(
    ticks(1 - PAST_S, 0),
    bids=np.repeat(USUAL, W),
    asks=2 * np.repeat(USUAL, W),
    bought=np.arange(PAST_S),
    sold=10 * np.arange(PAST_S),
)
MODEL = fit_fleeting(PAST, W, DAY - PAST_S, DAY)
RARE = 1 / (WINDOWS + 1)
MANY = 2_000  # bought in a second: more than in 98 % of the past's


def window(rate, levels=(), at=5, side="bid", **special):
    """Ten seconds in which large levels of one side died at second `at`, worth `rate` a second; special: s<second>={fields}."""
    rows = []
    for t in range(1, W + 1):
        large = (rate * W, 0) if side == "bid" else (0, rate * W)
        fields = {"large": large if t == at else (0, 0)} | special.get(f"s{t}", {})
        rows.append(record(t, *(levels if t == at else ()), **fields))
    return rows


BEFORE = [record(t) for t in range(1 - W, 1)]


def judged(records, model=MODEL, end=W, rows=None):
    """The ten seconds up to `end`; without rows: those of the records, and of a quiet time before them."""
    return detect_fleeting(rows_of([*BEFORE, *records]) if rows is None else rows, records, DAY + end - W, DAY + end, model)


def beside_takers(rate, side="bid", **columns):
    """One level and takers of the other side in its second; nothing else."""
    large = (rate * W, 0) if side == "bid" else (0, rate * W)
    traded = {"bought": MANY} if side == "bid" else {"sold": 10 * MANY}
    return window(rate, [level(side)], side=side, s5={"large": large} | traded, **columns)


# The rate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "severity"),
    [
        (299.9, None),
        (300, "Low"),
        (499.9, "Low"),
        (500, "Medium"),
        (999.9, "Medium"),
        (1000, "High"),
        (1999.9, "High"),
        (2000, "Critical"),
    ],
)
def test_severity_is_the_number_of_medians_and_three_are_the_least(rate, severity):
    """The median of bids is 100 quote a second, that of asks 200. 300 are rarer than all 204 windows."""
    told = NOT_FOUND if severity is None else ("found", None, [(5, 5, 5, severity)])
    bid, ask = judged(beside_takers(rate)), judged(beside_takers(2 * rate, "ask"))
    assert found(bid) == found(ask) == told
    assert bid.current == {
        "bid_quote_per_s": pytest.approx(rate),
        "ask_quote_per_s": 0,
        "bid_median_quote_per_s": 100,
        "ask_median_quote_per_s": 200,
    }
    assert (bid.seconds, bid.window_s) == (10, 10)
    if severity is not None:
        assert bid.events[0].p_value == ask.events[0].p_value == RARE
        assert (bid.events[0].evidence["side"], ask.events[0].evidence["side"]) == ("bid", "ask")


def test_p_counts_the_windows_that_had_as_much():
    """Two past windows of 700 quote a second: 600 is p = 3 / 205, over one in a hundred, and 701 is 1 / 205."""
    past = replace(PAST, large_bid_quote=changed(PAST.large_bid_quote, slice(0, 2 * W), 700))
    model = fit_fleeting(past, W, DAY - PAST_S, DAY)
    assert found(judged(beside_takers(600), model)) == NOT_FOUND
    (event,) = judged(beside_takers(701), model).events
    assert event.p_value == RARE
    assert event.text.startswith(
        "1 large bid levels came and vanished untraded within 2 s, 701 quote a second where the median of 204"
    )


def test_the_list_of_levels_may_be_cut_and_the_count_is_not():
    """14 died, 8 are listed: the five largest are told, and all 14 are counted."""
    listed = [level(quote=1_000 * n, price=9_990 + n) for n in range(8, 0, -1)]
    rows = window(5_000, listed, s5={"large": (50_000, 0), "n_large_bid": 14, "level_events_dropped": 6, "bought": MANY})
    (event,) = judged(rows).events
    assert event.evidence["count"] == 14
    assert [one["price_e8"] // 10**8 for one in event.evidence["levels"]] == [9_998, 9_997, 9_996, 9_995, 9_994]
    assert event.prices_e8 == tuple(price * 10**8 for price in (9_994, 9_995, 9_996, 9_997, 9_998))
    assert event.evidence["levels"][0] == {
        "price_e8": 9_998 * 10**8,
        "peak_e8": listed[0].peak_e8,
        "born_ms": DAY * 1000 + 4_200,
        "died_ms": DAY * 1000 + 4_900,
        "distance_bps": pytest.approx(2),
    }
    assert event.text.startswith("14 large bid levels")


# What must stand beside it -------------------------------------------------------------------------


def co_occurrences(records, **how):
    outcome = judged(records, **how)
    return outcome.events[0].evidence["co_occurrence"] if outcome.events else None


def test_a_rate_without_anything_beside_it_is_no_event():
    assert found(judged(window(5_000, [level()]))) == NOT_FOUND
    assert found(judged(window(5_000, [level(side="ask")], side="ask"))) == NOT_FOUND


@pytest.mark.parametrize(
    ("side", "second", "traded", "seen"),
    [
        ("bid", 5, {"bought": MANY}, True),  # buyers take what the other side offers
        ("bid", 5, {"sold": 10 * MANY}, False),
        ("ask", 5, {"sold": 10 * MANY}, True),
        ("ask", 5, {"bought": MANY}, False),
        ("bid", 4, {"bought": MANY}, True),  # alive from 3.9 to 4.9: in the seconds 4 and 5
        ("bid", 3, {"bought": MANY}, False),
        ("bid", 6, {"bought": MANY}, False),
    ],
)
def test_takers_of_the_other_side_while_the_level_lives_are_enough(side, second, traded, seen):
    large = (0, 50_000) if side == "ask" else (50_000, 0)
    special = {"s5": {"large": large}}
    special[f"s{second}"] = special.get(f"s{second}", {}) | traded
    rows = window(5_000, [level(side, 3.9, 4.9)], side=side, **special)
    assert co_occurrences(rows) == (["opposite_takers"] if seen else None)


@pytest.mark.parametrize(("bought", "seen"), [(1989, False), (1990, True)])
def test_such_takers_are_among_the_largest_2_5_percent_of_seconds(bought, seen):
    """0 to 2,039 in 2,040 seconds: 50 are at least 1,990, and 51 / 2,041 is under 0.025; 52 / 2,041 is over."""
    rows = window(5_000, [level()], s5={"large": (50_000, 0), "bought": bought})
    assert co_occurrences(rows) == (["opposite_takers"] if seen else None)


def test_a_past_without_takers_has_no_largest_ones():
    past = replace(PAST, buy_quote=np.full(PAST_S, NAN), sell_quote=np.zeros(PAST_S))
    model = fit_fleeting(past, W, DAY - PAST_S, DAY)
    assert co_occurrences(beside_takers(5_000), model=model) is None
    silent = window(5_000, [level("ask")], side="ask", s5={"large": (0, 50_000)})
    assert co_occurrences(silent, model=model) is None


@pytest.mark.parametrize(
    ("high", "later", "back", "seen"),
    [
        (2, 6, 1, True),  # up by 2 bps while a bid lived, down by half of it within 5 s
        (2, 6, 1.01, False),
        (2, 9, 1, True),  # died at 4.9: second 9 ends 4.1 s later
        (2, 10, 1, False),  # second 10 ends 5.1 s later
        (2, 5, 1, False),  # the second of its death tells no order
        (0.99, 6, -5, False),  # it hardly went away
        (1, 6, 0.5, True),
        (-2, 6, -5, False),  # toward the level
    ],
)
@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_mid_that_goes_away_and_comes_back_is_enough(high, later, back, seen, side):
    """For an ask all moves are the other way round. Elsewhere the mid stays where it went."""
    sign = 1 if side == "bid" else -1

    def mids(*bps):
        opened, far, near, close = (sign * value for value in bps)
        return {"mids": (opened, max(far, near, opened), min(far, near, opened), close)}

    special = {f"s{t}": mids(high, high, high, high) for t in range(6, W + 1)}
    special["s5"] = mids(0, high, min(high, 0), high) | {"large": (50_000, 0) if side == "bid" else (0, 50_000)}
    if later == 5:
        special["s5"] |= mids(0, high, back, high)
    else:
        special[f"s{later}"] = mids(high, high, back, high)
    rows = window(5_000, [level(side, 4.2, 4.9)], side=side, **special)
    assert co_occurrences(rows) == (["mid_returned"] if seen else None)


@pytest.mark.parametrize(("last", "seen"), [(4.9, True), (4.901, False)])
def test_three_of_one_side_within_a_second_are_enough(last, seen):
    levels = [level(died=died, price=price) for died, price in ((3.9, 9_999), (4.4, 9_998), (last, 9_997))]
    assert co_occurrences(window(5_000, levels)) == (["several_at_once"] if seen else None)
    mixed = [*levels[:2], level("ask", died=last)]
    assert co_occurrences(window(5_000, mixed)) is None


def test_only_fleeting_levels_of_its_own_side_count():
    levels = [level(died=died, kind=kind) for died, kind in ((4.4, "refill"), (4.5, "sweep_excess"), (4.6, "refill"))]
    assert co_occurrences(window(5_000, [level(), *levels])) is None


def test_a_second_with_a_fault_holds_no_level_and_no_takers():
    """Nine clean seconds, one of them with a rate far beyond; the second with the takers has a gap."""
    rows = window(5_000, [level(born=3.9)], s4={"bought": MANY}, s5={"large": (50_000, 0)})
    assert co_occurrences(rows) == ["opposite_takers"]
    rows[3] = faulty(rows[3])
    outcome = judged(rows)
    assert (found(outcome), outcome.seconds) == (NOT_FOUND, 9)
    rows = beside_takers(5_000)
    rows[4] = faulty(rows[4])
    assert (found(judged(rows)), judged(rows).current["bid_quote_per_s"]) == (NOT_FOUND, 0)


# When it cannot tell -----------------------------------------------------------------------------


@pytest.mark.parametrize(("clean", "told"), [(8, "found"), (7, "not_evaluated")])
def test_four_fifths_of_the_window_are_the_least(clean, told):
    rows = beside_takers(5_000)
    rows = [one if t < clean else faulty(one) for t, one in enumerate(rows)]
    outcome = judged(rows)
    assert (outcome.status, outcome.reason) == (told, None if clean == 8 else "low_coverage")
    assert outcome.current["bid_quote_per_s"] == 50_000 / clean  # divided by the time covered
    assert found(judged([])) == refused("low_coverage")


def test_without_size_thresholds_the_baseline_is_what_is_missing():
    rows = [record(t, large=None) for t in range(1, W + 1)]
    outcome = judged(rows)
    assert (found(outcome), outcome.seconds, outcome.current["bid_quote_per_s"]) == (refused("baseline_short"), 0, None)


def test_without_a_past_it_says_what_is_there_now_and_judges_nothing():
    rows = beside_takers(5_000)
    for reason in ("baseline_short", "too_few"):
        outcome = detect_fleeting(rows_of(rows), rows, DAY, DAY + W, None, no_model=reason)
        assert (found(outcome), outcome.seconds, outcome.base_rate_per_day) == (refused(reason), 10, None)
        assert outcome.current == {
            "bid_quote_per_s": 5_000,
            "ask_quote_per_s": 0,
            "bid_median_quote_per_s": None,
            "ask_median_quote_per_s": None,
        }


def test_a_past_in_which_nothing_could_be_rare_is_none():
    """98 windows: 1 / 99 is more than one in a hundred. A window counts from 9 of 10 known seconds on."""
    assert fit_fleeting(PAST, W, DAY - 98 * W, DAY) is None
    assert fit_fleeting(PAST, W, DAY - 99 * W, DAY) is not None
    for n, counts in ((1, True), (2, False)):
        bids = changed(PAST.large_bid_quote, slice(PAST_S - n, PAST_S), NAN)
        holes = replace(PAST, large_bid_quote=bids)
        assert (fit_fleeting(holes, W, DAY - 99 * W, DAY) is not None) == counts
    assert fit_fleeting(activity(ticks(1, 0)), W, DAY, DAY) is None
    assert fit_fleeting(PAST, W, DAY - PAST_S + 1, DAY).rates[0].n == WINDOWS - 1
    assert fit_fleeting(PAST, W, DAY - PAST_S, DAY - 1).rates[0].n == WINDOWS - 1


# The past ----------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 10**6), st.sampled_from([10, 13, 60]), st.integers(0, 70), st.integers(0, 70))
def test_the_past_is_that_of_aligned_windows_summed_second_by_second(seed, length, cut, late):
    """A fifth of the seconds is missing or not known in one window, none in others; windows are cut at both ends."""
    random = np.random.default_rng(seed)
    t = ticks(1 - 100 * length, 0)
    values = np.where(random.random(len(t)) < 0.7, 0, random.integers(1, 1000, len(t))).astype(float)
    hole = random.random(len(t)) < random.choice([0.02, 0.2], len(t) // length).repeat(length)
    kept = random.random(len(t)) > 0.01
    past = activity(t[kept], bids=np.where(hole, NAN, values)[kept], asks=1)
    since, until = DAY - 100 * length + cut, DAY - late
    by_second = dict(zip(past.t.tolist(), past.large_bid_quote.tolist(), strict=True))
    want = []
    for begin in range(-(-since // length) * length, until - length + 1, length):
        known = [v for s in range(begin + 1, begin + length + 1) if not np.isnan(v := by_second.get(s, NAN))]
        if 10 * len(known) >= 9 * length:
            want.append(sum(known) / len(known))
    model = fit_fleeting(past, length, since, until)
    if len(want) < 99:
        assert model is None
    else:
        assert model.rates[0].sorted.tolist() == pytest.approx(sorted(want))


def test_the_base_rate_counts_windows_of_such_a_rate_on_either_side():
    """One window with bids of 500 a second, another with asks, of 204 that are 10 s long: 2 of 2,040 s."""
    past = replace(
        PAST,
        large_bid_quote=changed(PAST.large_bid_quote, slice(0, W), 500),
        large_ask_quote=changed(PAST.large_ask_quote, slice(50, 50 + W), 1_000),
    )
    assert fit_fleeting(past, W, DAY - PAST_S, DAY).base_rate_per_day == pytest.approx(2 * 86_400 / 2_040)
    assert MODEL.base_rate_per_day == 0


def test_where_most_windows_had_none_the_mean_is_the_measure():
    """Every third window had 150 a second: median 0, mean 50. 149.9 is ordinary in any case; 500 is ten times the mean."""
    past = replace(PAST, large_bid_quote=np.where(np.arange(PAST_S) // W % 3 == 0, 150.0, 0.0))
    model = fit_fleeting(past, W, DAY - PAST_S, DAY)
    assert model.medians[0] == 0
    assert [found(judged(beside_takers(rate), model))[2] for rate in (151, 499.9, 500)] == [
        [(5, 5, 5, "Low")],
        [(5, 5, 5, "Medium")],
        [(5, 5, 5, "High")],
    ]


def test_what_never_was_before_is_found_but_has_no_size_to_compare_with():
    past = replace(PAST, large_bid_quote=np.zeros(PAST_S))
    model = fit_fleeting(past, W, DAY - PAST_S, DAY)
    assert found(judged(beside_takers(1), model)) == ("found", None, [(5, 5, 5, "Low")])
    assert found(judged(beside_takers(0), model)) == NOT_FOUND


# What changes nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [4, 1024])
def test_quantities_times_a_constant_change_only_quote_values(scale):
    names = ("large_bid_quote", "large_ask_quote", "buy_quote", "sell_quote")
    model = fit_fleeting(replace(PAST, **{name: getattr(PAST, name) * scale for name in names}), W, DAY - PAST_S, DAY)
    plain = judged(beside_takers(700))
    larger = window(700 * scale, [level(quote=10_000 * scale)], s5={"large": (7_000 * scale, 0), "bought": MANY * scale})
    outcome = judged(larger, model)
    assert found(outcome) == found(plain)
    assert outcome.events[0].p_value == plain.events[0].p_value
    assert outcome.events[0].evidence["quote_per_s"] == scale * plain.events[0].evidence["quote_per_s"]


def swapped(one):
    """Sides, aggressors and the way of the mid; a mid of 10,000 stays."""
    other = {"bid": "ask", "ask": "bid"}
    levels = [replace(each, side=other[each.side], price_e8=20_000 * 10**8 - each.price_e8) for each in one.level_events]
    mids = {"open": "open", "high": "low", "low": "high", "close": "close"}
    return replace(
        one,
        level_events=levels,
        large_bid_quote=one.large_ask_quote,
        large_ask_quote=one.large_bid_quote,
        n_large_bid=one.n_large_ask,
        n_large_ask=one.n_large_bid,
        buy_quote=one.sell_quote,
        sell_quote=one.buy_quote,
        **{f"mid2_{name}": 40_000 * 10**8 - getattr(one, f"mid2_{source}") for name, source in mids.items()},
    )


def test_with_sides_swapped_the_same_is_found_on_the_other_side():
    past = replace(
        PAST,
        large_bid_quote=PAST.large_ask_quote,
        large_ask_quote=PAST.large_bid_quote,
        buy_quote=PAST.sell_quote,
        sell_quote=PAST.buy_quote,
    )
    model = fit_fleeting(past, W, DAY - PAST_S, DAY)
    mids = {"s4": {"mids": (0, 3, 0, 3)}, "s6": {"mids": (3, 3, 0, 0)}}
    levels = [level(born=3.5, died=died) for died in (4.3, 4.6, 4.9)]
    rows = window(700, levels, **mids, s5={"large": (7_000, 0), "bought": MANY, "mids": (3, 3, 3, 3)})
    mirrored = [swapped(one) for one in rows]
    one, other = judged(rows), judged(mirrored, model)
    assert one.events[0].evidence["co_occurrence"] == ["opposite_takers", "mid_returned", "several_at_once"]
    assert found(one) == found(other)
    assert (one.events[0].evidence["side"], other.events[0].evidence["side"]) == ("bid", "ask")
    for name in ("count", "quote_per_s", "median_quote_per_s", "co_occurrence"):
        assert one.events[0].evidence[name] == other.events[0].evidence[name]


def test_an_event_keeps_its_start_while_the_window_moves_on():
    """Levels die in the seconds 105 to 140, worth 700 a second in ten: from 105 on each window of 10 s holds too many."""
    records = []
    for t in range(60, 200):
        busy = 105 <= t <= 140
        levels = [level(born=t - 0.8, died=t - 0.1)] if busy else []
        records.append(record(t, *levels, large=(7_000, 0) if busy else (50, 0), bought=MANY if busy else 0))
    rows, told = rows_of(records), {}
    for end in range(80, 200):
        upto = type(rows)(*(getattr(rows, name)[rows.t <= DAY + end] for name in rows.__struct_fields__))
        inside = [one for one in records if DAY + end - W < one.t <= DAY + end]
        for event in judged(inside, end=end, rows=upto).events:
            told[end] = event.start_s - DAY, event.detected_s - DAY, event.end_s and event.end_s - DAY
    assert list(told) == list(range(105, 150))
    assert {event[:2] for event in told.values()} == {(105, 105)}
    assert [told[end][2] for end in (105, 140, 141, 142, 149)] == [None, None, None, 140, 140]


@pytest.mark.parametrize(("again", "start"), [(43, 5), (44, 44)])
def test_windows_that_hold_too_many_are_one_event_if_less_than_30_s_apart(again, start):
    """A level dies in second 5, so windows of 10 s hold too many until 14; the next dies 29 or 30 s after that."""
    records = [
        record(t, level(born=t - 0.8, died=t - 0.1), large=(70_000, 0), bought=MANY) if t in (5, again) else record(t)
        for t in range(1 - W, again + 1)
    ]
    (event,) = judged(records[-W:], end=again, rows=rows_of(records)).events
    assert event.start_s == event.detected_s == DAY + start


def test_what_was_too_many_before_is_not_told_of_a_window_that_holds_few():
    """70,000 died in second -7, so the window up to 2 held too many, and that up to 10 holds 50, beside takers."""
    before = [record(t, large=(70_000, 0) if t == -7 else (0, 0)) for t in range(1 - 2 * W, 1)]
    assert found(judged(beside_takers(5), rows=rows_of([*before, *beside_takers(5)]))) == NOT_FOUND


def test_an_event_does_not_end_before_it_begins():
    """The book came in second 1; a level died in second 5; from second 8 on four fifths of a window are known."""
    records = [faulty(one) for one in BEFORE] + window(7_000, [level()], s5={"large": (70_000, 0), "bought": MANY})
    assert found(judged(records[W:], rows=rows_of(records))) == ("found", None, [(8, 8, 8, "Critical")])


@QUICK
@given(st.floats(0, 5_000), st.floats(0, 5_000))
def test_a_larger_rate_is_never_less_grave_or_less_rare(rate, other):
    small, large = (judged(beside_takers(value)) for value in sorted((rate, other)))
    assert len(large.events) >= len(small.events)
    for before, after in zip(small.events, large.events, strict=False):
        assert after.p_value <= before.p_value
        assert SEVERITIES.index(after.severity) >= SEVERITIES.index(before.severity)


def test_windows_drawn_like_the_past_have_uniform_p_values():
    """400 new windows of 10 s against 8,000. With 10 % more in each they are not drawn like it."""
    random = np.random.default_rng(3)
    drawn = random.exponential(100, 8_400 * W)
    past = activity(ticks(1 - 8_000 * W, 0), bids=drawn[: 8_000 * W], asks=1)
    model = fit_fleeting(past, W, DAY - 8_000 * W, DAY)
    rates = drawn[8_000 * W :].reshape(-1, W).mean(axis=1)
    assert kolmogorov([model.rates[0].p_high(rate) for rate in rates]) > 0.01
    assert kolmogorov([model.rates[0].p_high(rate * 1.1) for rate in rates]) < 0.01
