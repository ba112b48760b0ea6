"""A symbol's own day: what goes in as columns is what the records say, and what is ranked against is what lies before."""

import math
from collections import OrderedDict
from copy import copy
from statistics import median

import numpy as np
import pytest
from msgspec.structs import replace
from tests.analytics.build_days import E16, columns_between, fill, filled, many, records, same, stored
from tests.store.samples import record as sample

from leadline.analytics import health, order_flow
from leadline.analytics.absorption import fit_absorbing
from leadline.analytics.activity import ACTIVITY_COLUMNS, activity_of
from leadline.analytics.bursts import fit_bursts
from leadline.analytics.clean import is_clean
from leadline.analytics.fleeting import fit_fleeting
from leadline.analytics.impact import TradeSide
from leadline.analytics.order_flow import Columns
from leadline.analytics.own_history import DAY_S, REACH_S, OwnHistory
from leadline.analytics.stress import fit_stress
from leadline.analytics.trades import kyle_slope
from leadline.core.records import SIZES_QUOTE

END = 1_800_000_000  # a whole minute, and a multiple of 300
FROM = END - 7_830  # not a whole minute
RECORDS = records(FROM + 1, END - FROM, faults=0.03)
STORE = stored(RECORDS)
OWN = filled(STORE, FROM, END)
CLEAN = [one for one in RECORDS if is_clean(one)]
TICK = 10**6


def unasked():
    """OWN as it was before any question: the same columns, nothing remembered."""
    own = copy(OWN)
    own._cache = OrderedDict()
    return own


def column(name):
    return columns_between(STORE, FROM, END, [name])[name]


# From records to columns -------------------------------------------------------------------------


def test_the_records_are_of_every_kind():
    assert 100 < len(RECORDS) - len(CLEAN) < 300
    assert {one.state.value for one in RECORDS} == {"LIVE", "SYNCING"}
    assert {one.flags for one in RECORDS} == {0, 1, 2, 3, 4, 8, 16, 32, 64, 112, 128, 256, 512}
    assert len({one.epoch for one in CLEAN}) > 30
    assert {one.ofi_source for one in CLEAN} == {"event", "diff"}
    assert {one.trade_state.value for one in CLEAN} == {"COMPLETE", "BACKFILLED", "MISSING"}
    assert any(one.mid2_open is None for one in CLEAN)
    assert any(one.large_bid_quote is None for one in CLEAN)


def test_order_flow_columns_of_the_store_are_those_of_the_records():
    of_records = Columns.of(RECORDS)
    of_store = order_flow.columns_of(columns_between(STORE, FROM, END, order_flow.COLUMNS))
    for name in Columns.__struct_fields__:
        one, other = getattr(of_records, name), getattr(of_store, name)
        assert one.dtype == other.dtype
        if name == "move_bps":  # numpy's logarithm and Python's differ in the last place
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)
    same(OWN.flow_rows(FROM, END), of_store)
    nothing = order_flow.columns_of(columns_between(STORE, END, END + 9, order_flow.COLUMNS))
    same(nothing, Columns.of([]))


def test_health_columns_of_the_store_are_those_of_the_records():
    same(OWN.health_rows(FROM, END), health.seconds_of(health.columns_of(RECORDS)))


def test_activity_is_what_a_loop_over_the_records_finds():
    def known(one, value, complete=False):
        lacking = complete and (one.trade_state.value != "COMPLETE" or one.flags & 64)
        return math.nan if not is_clean(one) or lacking or value is None else float(value)

    want = {
        "messages": [known(one, one.n_ids) for one in RECORDS],
        "fills": [known(one, one.n_buy + one.n_sell, True) for one in RECORDS],
        "mid_range_e8": [known(one, None if one.mid2_high is None else (one.mid2_high - one.mid2_low) / 2) for one in RECORDS],
        "large_bid_quote": [known(one, None if one.large_bid_quote is None else one.large_bid_quote / E16) for one in RECORDS],
        "large_ask_quote": [known(one, None if one.large_ask_quote is None else one.large_ask_quote / E16) for one in RECORDS],
        "buy_quote": [known(one, one.buy_quote / E16, True) for one in RECORDS],
        "sell_quote": [known(one, one.sell_quote / E16, True) for one in RECORDS],
    }
    found = OWN.activity_rows(FROM, END)
    same(found, activity_of(columns_between(STORE, FROM, END, ACTIVITY_COLUMNS)))
    assert found.t.tolist() == [one.t for one in RECORDS]
    for name, values in want.items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


# The windows before a moment -----------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 10, 37, 60, 300])
@pytest.mark.parametrize("start", [END, END - 1, END - 59, END - 3_601])
def test_windows_are_aligned_and_over_before_the_window_asked_for_begins(start, length):
    found = unasked().windows(start, length)
    before = Columns.of([one for one in RECORDS if start - DAY_S < one.t <= start // length * length])
    same(found, order_flow.windows(before, length))
    assert (found.start_s % length == 0).all()
    assert start - 3 * length < found.start_s[-1] + length <= start


@pytest.mark.parametrize(("lost", "counts"), [(6, True), (7, False)])
def test_a_window_enters_a_history_from_nine_tenths_clean_seconds_on(lost, counts):
    """Ten minutes of clean seconds; of the third one 6 or 7 seconds have a gap."""
    first = END - 600
    rows = [replace(sample(t), flags=2 if 0 <= t - (first + 121) < lost else 0, minute=None) for t in range(first + 1, END + 1)]
    own = filled(stored(rows), first, END)
    history = own.ordinary(END, 60, lambda found: found.start_s.astype(float))
    assert (first + 120 in history.sorted) == counts
    assert (history.n, own.baseline(END, 60).n) == (10 if counts else 9,) * 2


def test_a_day_is_the_most_that_is_looked_back():
    """A row every 10 s for 25 hours. Before END lie 8,640 of them; before END + 5 the same, and one of 30 s less in windows."""
    own = OwnHistory(END - 90_000)
    own.add(END, many(range(END - 89_990, END + 1, 10)), [])
    assert own.have_s(END) == 8_640
    assert own.windows(END, 30).start_s[0] == END - DAY_S
    assert own.windows(END - 15, 30).start_s[[0, -1]].tolist() == [END - DAY_S, END - 60]
    assert own.windows(END - 31, 30).start_s[[0, -1]].tolist() == [END - DAY_S - 30, END - 90]
    assert own.windows(END, 70).start_s[0] >= END - DAY_S


@pytest.mark.parametrize(
    ("window_s", "clean_s", "need_s", "state"),
    [
        (10, 1_799, 1_800, "short"),
        (10, 1_800, 1_800, "ready"),
        (60, 1_800, 1_800, "ready"),
        (61, 1_829, 1_830, "short"),
        (61, 1_830, 1_830, "ready"),
        (300, 8_999, 9_000, "short"),
        (300, 9_000, 9_000, "ready"),
    ],
)
def test_a_baseline_is_ready_after_half_an_hour_and_30_windows_of_clean_time(window_s, clean_s, need_s, state):
    """Seconds before the first record, and after the window begins, are no clean time."""
    own = OwnHistory(END - 20_000)
    own.add(END + 60, many(range(END - clean_s + 1, END + 61)), [])
    baseline = own.baseline(END, window_s)
    assert (baseline.state, baseline.have_s, baseline.need_s, baseline.kind) == (state, clean_s, need_s, "trailing_24h")
    last = END // window_s
    first = -(-(END - clean_s) // window_s)
    if (END - clean_s) % window_s and first * window_s - (END - clean_s) >= 0.9 * window_s:
        first -= 1  # nine tenths of one that is cut at its front are there
    assert (baseline.n, baseline.span_s) == (last - first, (last - first) * window_s)


def test_seconds_that_are_not_clean_are_no_clean_time():
    assert OWN.have_s(END) == len(CLEAN)
    assert OWN.have_s(END - 1_000) == sum(one.t <= END - 1_000 for one in CLEAN)
    assert OWN.baseline(END, 60).have_s == len(CLEAN)


def test_without_records_there_is_a_baseline_of_nothing():
    own = OwnHistory(END)
    assert own.baseline(END, 60) == health.Baseline("short", "trailing_24h", 0, 0, 0, 1_800)
    assert own.health_past(END) is None
    for model in (own.bursts(END, TICK), own.stress(END), own.fleeting(END, 60), own.absorbing(END), own.kyle(END)):
        assert model is None
    assert own.size_thresholds(END) == [None] * 6
    assert own.base_density(END).minutes == 0


# What is fitted to the day before --------------------------------------------------------------------


@pytest.mark.parametrize("start", [END, END - 1, END - 59, END - 60])
def test_models_are_fitted_to_the_day_before_the_last_whole_minute(start):
    own, until = unasked(), start // 60 * 60
    before = [one for one in RECORDS if until - DAY_S < one.t <= until]
    columns = columns_between(STORE, FROM, until)
    flow = Columns.of(before)
    same(own.bursts(start, TICK), fit_bursts(activity_of(columns), TICK))
    same(own.stress(start), fit_stress(health.seconds_of(columns)))
    same(own.fleeting(start, 10), fit_fleeting(activity_of(columns), 10, until - DAY_S, until))
    same(own.absorbing(start), fit_absorbing(flow))
    same(own.kyle(start), kyle_slope(flow))
    for source in ("event", "diff"):
        same(own.move_fit(start, TICK, source), order_flow.move_fit(flow, TICK, source=source))
    assert own.bursts(start, TICK) is not None
    assert own.stress(start) is not None
    assert own.fleeting(start, 10) is not None


@pytest.mark.parametrize("end", [END + 60, END, END - 1, END - 59, END - 60, END - 240, END - 300])
def test_the_past_of_health_is_that_computed_from_scratch(end):
    """For the window that began with the last whole minute. What lies before the first record is not clean, and counts not."""
    found = unasked().health_past(end)
    minute = end // 60 * 60
    wanted = health.past(health.seconds_of(health.columns_of([one for one in RECORDS if one.t <= minute])), minute)
    same(found.histories, wanted.histories)
    assert (found.end, found.have_s, found.ready, found.baseline) == (minute, wanted.have_s, wanted.ready, wanted.baseline)
    assert found.ready
    inside = np.isin(wanted.windows.ends, found.windows.ends)
    assert not wanted.counted[~inside].any()
    same(health.Windows(*(getattr(wanted.windows, name)[inside] for name in health.Windows.__struct_fields__)), found.windows)


def test_the_past_of_health_reaches_back_one_day():
    """26 hours; windows of the first hours are gone, and the rest are those of a computation from scratch."""
    t = np.arange(END - 26 * 3_600 + 1, END + 1)
    own = OwnHistory(END - 26 * 3_600)
    wanted = health.past(health.seconds_of(many(t)), END)
    for first in range(0, len(t), 3_600):
        part = t[first : first + 3_600]
        own.add(int(part[-1]), many(part), [])
    found = own.health_past(END)
    assert len(found.windows.ends) == 1_440
    same(found, wanted)


# Minute blocks -----------------------------------------------------------------------------------


def test_size_thresholds_and_usual_densities_are_medians_over_the_minutes_before():
    """None where fewer than 30 of the minutes with samples know it."""
    for start in (END, END - 1, END - 5_400, END - 6_300):
        used = [one.minute for one in RECORDS if one.minute and one.minute.samples and one.t <= start]
        sizes = [[block.size_p99[bucket] for block in used if block.size_p99[bucket] is not None] for bucket in range(6)]
        assert OWN.size_thresholds(start) == [median(known) if len(known) >= 30 else None for known in sizes]
        found = OWN.base_density(start)
        assert found.minutes == len(used)
        for name, medians in (("density_bid", found.bid), ("density_ask", found.ask)):
            bins = [[value for block in used if (value := getattr(block, name)[i]) is not None] for i in range(100)]
            assert list(medians) == [median(known) if len(known) >= 30 else None for known in bins]
    assert None in OWN.size_thresholds(END - 6_300)
    assert None not in OWN.size_thresholds(END)


# Costs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", TradeSide)
@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_costs_are_those_of_the_clean_seconds_and_an_exhausted_book_was_dearer_than_any(side, size):
    place = SIZES_QUOTE.index(size)

    def cost(one, way):
        value = getattr(one, f"cost_{way}")[place]
        edge = one.known_ask if way == "buy" else one.known_bid
        return math.inf if value is None and edge is None else value

    want = []
    for one in CLEAN:
        both = [cost(one, way) for way in (("buy", "sell") if side is TradeSide.BOTH else (side.value,))]
        if None not in both:
            want.append(sum(both))
    found = OWN.cost_history(END, side, size)
    np.testing.assert_allclose(found.sorted, sorted(want), rtol=1e-6)
    assert math.inf in want


# Slices ------------------------------------------------------------------------------------------


def everything(own, start):
    return [
        *(getattr(own, name)(FROM, END) for name in ("flow_rows", "health_rows", "activity_rows")),
        *(own.windows(start, length) for length in (10, 60, 77)),
        *(own.baseline(start, length) for length in (10, 60, 300)),
        *(own.cost_history(start, side, 100_000) for side in TradeSide),
        *(own.bursts(start, TICK), own.stress(start), own.fleeting(start, 10), own.absorbing(start), own.kyle(start)),
        *(own.size_thresholds(start), own.base_density(start), own.minute_net_quote(start), own.health_past(start)),
    ]


@pytest.mark.parametrize("slice_s", [13, 60, 240])
def test_slices_of_any_length_give_the_same_as_all_at_once(slice_s):
    own = filled(STORE, FROM, END, slice_s)
    for start in (END, END - 61):
        for one, other in zip(everything(own, start), everything(OWN, start), strict=True):
            same(one, other)


def test_a_slice_without_records_moves_on_all_the_same():
    rows = [one for one in RECORDS if not END - 5_000 < one.t <= END - 4_000]
    own, whole = filled(stored(rows), FROM, END, 100), filled(stored(rows), FROM, END)
    assert own.to_s == END
    for one, other in zip(everything(own, END), everything(whole, END), strict=True):
        same(one, other)
    with pytest.raises(AssertionError, match="grows at its end"):
        own.add(END - 1, many([]), [])


# Memory ------------------------------------------------------------------------------------------


def test_memory_grows_with_the_rows_and_what_is_older_than_a_day_is_let_go():
    """Two and a half days in hours. A second has 260 to 310 bytes; a quarter is room, and so is the hour being added."""
    own, hour = OwnHistory(END - 60 * 3_600), 3_600
    held = []
    for to_s in range(END - 59 * hour, END + 1, hour):
        own.add(to_s, many(range(to_s - hour + 1, to_s + 1)), [])
        rows = len(own.health_rows(0, END).t)
        assert rows == min(to_s - (END - 60 * hour), REACH_S)
        assert 260 * rows <= own.nbytes <= 310 * (rows + hour) * 5 // 4
        held.append(own.nbytes)
    minute = (END + 59 - 300) // 60 * 60  # what the longest window, asked for a second before the next minute, is fitted to
    own.add(END + 59, many(range(END + 1, END + 60)), [])
    assert len(own.health_rows(minute - DAY_S, minute).t) == DAY_S
    assert own.from_s == END + 59 - REACH_S
    assert own.health_rows(0, END).t[0] == own.flow_rows(0, END).t[0] == own.activity_rows(0, END).t[0] == END + 60 - REACH_S
    assert held[5] < held[20] <= max(held[26:]) <= 310 * (REACH_S + hour) * 5 / 4


# What is remembered ------------------------------------------------------------------------------


def test_a_view_taken_before_more_is_added_stays_right():
    own = filled(STORE, FROM, END - 3_000)
    rows, windows = own.flow_rows(FROM, END), own.windows(END - 3_000, 10)
    copies = [replace(rows, **{name: getattr(rows, name).copy() for name in rows.__struct_fields__}), windows.start_s.copy()]
    own.add(END, columns_between(STORE, END - 3_000, END), [])
    own.windows(END, 10)
    same(rows, copies[0])
    same(windows.start_s, copies[1])


def test_what_is_remembered_of_one_moment_is_not_told_of_another():
    """120 questions in any order, some of them twice, against histories that were asked nothing else."""
    random, asked = np.random.default_rng(8), unasked()
    questions = [
        lambda own, start: own.windows(start, 10),
        lambda own, start: own.windows(start, 60),
        lambda own, start: own.baseline(start, 10),
        lambda own, start: own.bursts(start, TICK),
        lambda own, start: own.bursts(start, 2 * TICK),
        lambda own, start: own.fleeting(start, 10),
        lambda own, start: own.fleeting(start, 12),
        lambda own, start: own.move_fit(start, TICK, "event"),
        lambda own, start: own.move_fit(start, TICK, "diff"),
        lambda own, start: own.cost_history(start, TradeSide.BUY, 10_000),
        lambda own, start: own.cost_history(start, TradeSide.SELL, 10_000),
        lambda own, start: own.cost_history(start, TradeSide.BUY, 25_000),
        lambda own, start: own.health_past(start),
        lambda own, start: own.size_thresholds(start),
    ]
    fresh = {}
    for _ in range(120):
        which, start = int(random.integers(len(questions))), END - int(random.choice([0, 1, 30, 61, 3_600]))
        if (which, start) not in fresh:
            fresh[which, start] = questions[which](unasked(), start)
        same(questions[which](asked, start), fresh[which, start], f"{which} at {start - END}")


def test_more_kinds_of_question_than_are_remembered_are_still_answered():
    for _ in range(2):
        for length in range(10, 90):
            assert OWN.windows(END, length).length_s == length
    assert len(OWN._cache) <= 64


def test_the_windows_of_a_day_are_those_of_the_moment_asked_for_whatever_was_asked_before():
    """Until END both; the day before END + 5 begins 5 s later, so that its first window of 10 s is the next one."""
    own = OwnHistory(END - 90_000)
    own.add(END + 10, many(range(END - 89_990, END + 11, 10)), [])
    assert own.windows(END, 10).start_s[0] == END - DAY_S
    assert own.windows(END + 5, 10).start_s[0] == END + 10 - DAY_S


def test_what_was_not_there_yet_when_it_was_asked_for_is_not_missing_later():
    """Asked while the records end 30 s before the window begins, and again when they are there."""
    own = filled(STORE, FROM, END - 30)
    everything(own, END)
    fill(own, STORE, END)
    for i, (one, other) in enumerate(zip(everything(own, END), everything(OWN, END), strict=True)):
        same(one, other, f"answer {i}")


def test_a_cost_like_all_others_is_in_the_middle():
    """The same 2.3 bps in every second of the past: none was cheaper, none dearer."""
    rows = [replace(sample(t), flags=0, minute=None, cost_buy=[2.3] * 6) for t in range(END - 99, END + 1)]
    assert filled(stored(rows), END - 100, END).cost_history(END, TradeSide.BUY, 100_000).share_below(2.3) == 0.5
