"""Health: that each part can be bad comes first, then bad data, then numbers worked out by hand and by an independent program."""

import math
from statistics import mean, median, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.test_oracles import spot

from leadline.analytics.health import (
    COLUMNS,
    PARTS,
    HealthLevel,
    Seconds,
    absolute_score,
    columns_of,
    composite,
    health,
    health_level,
    past,
    relative_score,
    relative_scores,
    seconds_of,
    windows,
)
from leadline.analytics.stats import History
from leadline.core.errors import NotEnoughData
from leadline.core.records import BookState, Flag, SecondRecord, TradeState
from leadline.store import codec

QUICK = settings(derandomize=True, deadline=None, max_examples=100)
END = 1_723_161_600  # a multiple of 300
NAMES = [part.name for part in PARTS]
SPREAD, COST, DEPTH, RESILIENCY, VOLATILITY, BALANCE = range(6)
E16 = 10**16
KNOWN = 99 * 10**8, 101 * 10**8


def record(
    t,
    *,
    spread_bps=1.0,
    cost_bps=2.0,
    bid=6e6,
    ask=6e6,
    return_bps=0.1,
    known=(None, None),
    fill=None,
    state=BookState.LIVE,
    flags=0,
    epoch=1,
):
    """A second of a market at 100: the two halves of 200 are its best prices. cost_bps None: not filled, there was `fill`."""
    close = 200 * 10**8
    bands = [[None, None, None, None if value is None else round(value * E16), None, None] for value in (bid, ask)]
    return SecondRecord(
        **{
            **dict.fromkeys(SecondRecord.__struct_fields__),
            **dict.fromkeys(("live_ms", "n_diff", "n_ids", "n_levels", "buy_qty", "sell_qty", "buy_quote", "sell_quote"), 0),
            **dict.fromkeys(("n_buy", "n_sell", "n_batches", "n_eval", "level_events_dropped"), 0),
            "t": t,
            "state": state,
            "epoch": epoch,
            "flags": flags,
            "update_id": 1,
            "known_bid": known[0],
            "known_ask": known[1],
            "mid2_open": round(close / math.exp(return_bps / 1e4)),
            "mid2_close": close,
            "spread_tw": spread_bps * close / 2 / 1e4,
            "trade_state": TradeState.COMPLETE,
            "depth_bid": bands[0],
            "depth_ask": bands[1],
            "depth_min_bid": [None] * 6,
            "depth_min_ask": [None] * 6,
            "cost_buy": [None, None, None, cost_bps, None, None],
            "cost_sell": [None, None, None, cost_bps, None, None],
            "fill_buy": [None, None, None, fill, None, None],
            "fill_sell": [None, None, None, fill, None, None],
            "level_events": [],
        }
    )


def table(records):
    return seconds_of(columns_of(records))


def draws(n, seed=7):
    """Numbers around 1, drawn independently: a market that is ordinary in every minute."""
    return np.random.default_rng(seed).uniform(0.9, 1.1, (n, 6))


def ordinary(drawn):
    spread, cost, bid, ask, move, _ = (float(value) for value in drawn)
    return {"spread_bps": spread, "cost_bps": 2 * cost, "bid": 6e6 * bid, "ask": 6e6 * ask, "return_bps": 0.1 * move}


PAST_S = 10_800  # three hours: resiliency too is ranked from 9,000 s on
DRAWN = draws(PAST_S + 301)
ORDINARY = [record(END - PAST_S - 300 + i, **ordinary(drawn)) for i, drawn in enumerate(DRAWN)][1:]
TABLE = table(ORDINARY)
PAST = past(TABLE, END)


def judged(last, found=PAST):
    """Health when the last records of an ordinary day are these."""
    return health(END, table(last), found, live_now=True)


def part(answer, name):
    return answer.parts[NAMES.index(name)]


# Every score can fall ----------------------------------------------------------------


def steady(i):
    """Depth that flutters around its mean: a deviation is gone after a second."""
    return 6e6 * (1.05 if i % 2 else 0.95)


BAD = {
    "spread": lambda i: {"spread_bps": 60.0},
    "cost": lambda i: {"cost_bps": 120.0},
    "depth": lambda i: {"bid": steady(i) / 2000},
    "resiliency": lambda i: {"bid": 6e6 * math.exp(1e-3 * 1.01**i), "ask": 6e6 * math.exp(1e-3 * 1.01**i)},
    "volatility": lambda i: {"return_bps": 25.0 if i % 2 else -25.0},
    "balance": lambda i: {"bid": 6e8 if i % 2 else 6e6, "ask": 6e6 if i % 2 else 6e8},
}


def minutes(change=lambda i: {}):
    """The last 300 s of the ordinary day, with something else."""
    return [record(END - 299 + i, **(ordinary(DRAWN[i - 300]) | change(i))) for i in range(300)]


@pytest.mark.parametrize("name", NAMES)
def test_a_market_that_is_bad_in_one_part_scores_0_there_and_less_in_all(name):
    """Spread 60 bps, cost 120 bps, depth 3,000 quote on one side, deviations that grow by 1 % a second, 25 bps a second, one side
    that holds 100 times the other in turns: each beyond the worst anchor and beyond everything of the past."""
    good, bad = judged(minutes()), judged(minutes(BAD[name]))
    assert part(good, name).score_absolute > 50
    assert part(bad, name).score_absolute == 0
    assert part(bad, name).score_relative == pytest.approx(0, abs=1e-9)
    assert bad.absolute_score < good.absolute_score
    assert bad.overall_score == bad.relative_score < good.relative_score
    assert bad.basis == "relative"


@pytest.mark.parametrize("name", ["spread", "cost", "volatility"])
def test_a_bad_part_leaves_the_others_alone(name):
    good, bad = judged(minutes()), judged(minutes(BAD[name]))
    assert [p for p in good.parts if p.name != name] == [p for p in bad.parts if p.name != name]


def test_a_market_that_is_bad_in_everything_is_critical_on_both_scales():
    def everything(i: int) -> dict[str, float]:
        return BAD["spread"](i) | BAD["cost"](i) | BAD["volatility"](i) | {"bid": 1e3 * 9 ** (i % 2), "ask": 9e3}

    with_past, without = judged(minutes(everything)), judged(minutes(everything), None)
    assert (with_past.health_level, without.health_level) == (HealthLevel.CRITICAL, HealthLevel.CRITICAL)
    assert with_past.overall_score == 0
    assert without.overall_score < 5


def test_a_book_that_ends_before_the_size_costs_without_limit():
    """Exhausted in one second is exhausted in the mean; there is a score, 0, and no number."""
    emptied = minutes(lambda i: {"cost_bps": None, "fill": 5 * E16} if i == 299 else {})
    cost = part(judged(emptied), "cost")
    assert (cost.value, cost.score_absolute, cost.score_relative, cost.reason) == (None, 0, 0, "exhausted")
    assert judged(emptied).health_level is not HealthLevel.UNKNOWN


def test_one_exhausted_side_is_enough_whatever_the_other_would_cost():
    last = minutes(lambda i: {"cost_bps": None, "fill": 5 * E16, "known": (KNOWN[0], None)} if i == 299 else {})
    assert part(judged(last), "cost").reason == "exhausted"
    last = minutes(lambda i: {"cost_bps": None, "fill": 5 * E16, "known": KNOWN} if i > 200 else {})
    assert part(judged(last), "cost").reason == "beyond_known_range"


def test_depth_that_does_not_come_back_has_no_half_life():
    resiliency = part(judged(minutes(BAD["resiliency"])), "resiliency")
    assert (resiliency.value, resiliency.score_absolute, resiliency.reason) == (None, 0, "undefined")


# Bad data is no bad market -------------------------------------------------------------


def test_a_book_that_is_not_live_now_has_no_score():
    answer = health(END, table(minutes()), PAST, live_now=False)
    assert (answer.overall_score, answer.relative_score, answer.absolute_score) == (None, None, None)
    assert answer.health_level is HealthLevel.UNKNOWN
    assert {answer.reasons[name] for name in ("overall_score", "relative_score", "absolute_score")} == {"book_not_live"}


@pytest.mark.parametrize(("lost", "unknown"), [(12, False), (13, True), (30, True)])
@pytest.mark.parametrize("how", ["missing", "not live"])
def test_under_four_fifths_of_a_minute_there_is_no_score(lost, unknown, how):
    """48 of 60 is 0.8."""
    last = minutes()
    syncing = {"state": BookState.SYNCING, "depth_bid": [None] * 6, "depth_ask": [None] * 6, "mid2_close": None}
    last[-lost:] = [] if how == "missing" else [replace(one, **syncing) for one in last[-lost:]]
    answer = judged(last)
    assert (answer.health_level is HealthLevel.UNKNOWN, answer.overall_score is None) == (unknown, unknown)
    assert answer.coverage == pytest.approx((60 - lost) / 60)
    if unknown:
        assert answer.reasons["overall_score"] == "low_coverage"
        assert {p.reason for p in answer.parts if p.name != "resiliency"} == {"low_coverage"}


def test_under_half_a_minute_there_is_no_answer():
    with pytest.raises(NotEnoughData) as caught:
        judged(minutes()[:-31])
    assert (caught.value.have, caught.value.need, caught.value.unit, caught.value.ready_in_s) == (29, 30, "s", 1)


@pytest.mark.parametrize("flag", [Flag.GAP, Flag.PARTIAL, Flag.RESYNC, Flag.CROSSED, Flag.CLOCK, Flag.AUDIT])
def test_seconds_with_a_data_fault_are_no_part_of_the_market(flag):
    """Their wild values count for nothing; 13 of them leave too few."""
    wild = {"spread_bps": 500.0, "return_bps": 90.0, "cost_bps": 900.0, "flags": int(flag) | 2}
    few = judged(minutes(lambda i: wild if i >= 290 else {}))
    want = judged(minutes()[:-10])
    assert [replace(p, score_relative=None) for p in few.parts] == [replace(p, score_relative=None) for p in want.parts]
    many = judged(minutes(lambda i: wild if i >= 287 else {}))
    assert (many.health_level, many.reasons["overall_score"]) == (HealthLevel.UNKNOWN, "low_coverage")


@pytest.mark.parametrize("flag", [Flag.RANGE, Flag.BBO_BREAK, Flag.TRADES_LATE])
def test_harmless_flags_change_nothing(flag):
    assert judged(minutes(lambda i: {"flags": int(flag)})) == judged(minutes())


def test_a_core_part_beyond_the_known_range_takes_the_score_away():
    answer = judged(minutes(lambda i: {"bid": None, "known": KNOWN}))
    assert answer.health_level is HealthLevel.UNKNOWN
    assert answer.reasons["overall_score"] == "beyond_known_range"
    assert {p.name: p.reason for p in answer.parts if p.value is None} == dict.fromkeys(
        ("depth", "resiliency", "balance"), "beyond_known_range"
    )


def test_a_book_with_an_empty_side_has_no_score():
    """Without a mid the record has neither bands nor costs, nor a spread."""
    nothing = {"bid": None, "ask": None, "cost_bps": None}
    last = [replace(one, mid2_open=None, mid2_close=None, spread_tw=None) for one in minutes(lambda i: nothing)]
    answer = judged(last)
    assert (answer.health_level, answer.reasons["overall_score"]) == (HealthLevel.UNKNOWN, "undefined")
    assert {p.reason for p in answer.parts} == {"undefined"}


def test_an_empty_band_is_no_unknown_band():
    """Bands of 0 in a complete book: depth scores 0; balance and resiliency have nothing to measure."""
    answer = judged(minutes(lambda i: {"bid": 0, "ask": 0}))
    assert (part(answer, "depth").value, part(answer, "depth").score_absolute) == (0, 0)
    assert (part(answer, "balance").reason, part(answer, "resiliency").reason) == ("undefined", "undefined")
    assert answer.health_level is not HealthLevel.UNKNOWN


@pytest.mark.parametrize("depth", [6e6, 6e6 + 0.1, 6e6 + 0.555])
def test_a_depth_that_never_changed_shows_no_resiliency(depth):
    """Also where the mean of equal numbers is rounded off them: of the last it is."""
    answer = judged(minutes(lambda i: {"bid": 6e6 + 0.555, "ask": depth}))
    assert (part(answer, "resiliency").value, part(answer, "resiliency").reason) == (None, "undefined")
    assert part(answer, "resiliency").score_absolute is None


def test_no_pair_of_seconds_spans_two_epochs_or_a_hole():
    """With a new epoch every third second 200 pairs are left of 299 (100 epochs of two pairs); with every second one none."""
    thirds = windows(table(minutes(lambda i: {"epoch": i // 3})), np.array([END]))
    assert np.isfinite(thirds.values[0, RESILIENCY])
    assert np.isnan(windows(table(minutes(lambda i: {"epoch": i})), np.array([END])).values[0, RESILIENCY])
    assert np.isnan(windows(table(minutes()[::2]), np.array([END])).values[0, RESILIENCY])


@pytest.mark.parametrize(("pairs", "known"), [(120, True), (119, False)])
def test_resiliency_needs_120_pairs(pairs, known):
    found = windows(table(minutes()[-pairs - 1 :]), np.array([END]))
    assert np.isfinite(found.values[0, RESILIENCY]) == known


# Worked out by hand --------------------------------------------------------------------


def test_halfway_between_the_anchors_is_50_and_a_part_at_0_takes_its_weight():
    """Spread 5, cost 10, depth sqrt(5e6 * 5e3), half-life 10, volatility 2, balance 0.6. Depth 5e3: 50 ^ 0.75 = 18.803015."""
    values = [5, 10, math.sqrt(5e6 * 5e3), 10, 2, 0.6]
    scores = [absolute_score(rule, value) for rule, value in zip(PARTS, values, strict=True)]
    assert scores == pytest.approx([50] * 6)
    assert composite(np.array(scores), range(6)) == pytest.approx(50)
    scores[DEPTH] = absolute_score(PARTS[DEPTH], 5e3)
    assert scores[DEPTH] == 0
    assert composite(np.array(scores), range(6)) == pytest.approx(18.803015, abs=1e-6)


def golden(i, depth):
    """The smaller side is the ask, a quarter of the bid: imbalance 0.6 always. Deviations halve every 10 s."""
    ask = depth * math.exp(2 ** (-i / 10))
    return {"spread_bps": 5.0, "cost_bps": 10.0, "bid": 4 * ask, "ask": ask, "return_bps": 2.0 if i % 2 else -2.0}


@pytest.mark.parametrize(("depth", "score", "level_"), [(math.sqrt(5e6 * 5e3), 50, "Fair"), (4999.0, 18.803015, "Critical")])
def test_the_same_from_records(depth, score, level_):
    answer = judged(minutes(lambda i: golden(i, depth)), None)
    assert answer.absolute_score == answer.overall_score == pytest.approx(score, abs=2e-6)
    assert (answer.basis, answer.health_level, answer.relative_score) == ("absolute", level_, None)
    assert answer.reasons["relative_score"] == "baseline_short"
    assert [p.value for p in answer.parts] == pytest.approx([5, 10, depth, 10, 2, 0.6], rel=1e-6)


@pytest.mark.parametrize(
    ("absolute", "relative", "want"),
    [
        (None, None, "UNKNOWN"), (80, None, "Excellent"), (79.9, None, "Good"), (60, None, "Good"), (59.9, None, "Fair"),
        (40, None, "Fair"), (39.9, None, "Poor"), (20, None, "Poor"), (19.9, None, "Critical"),
        (99, 80, "Excellent"), (99, 79.9, "Good"), (99, 20, "Good"), (99, 19.9, "Fair"), (99, 5, "Fair"), (99, 4.9, "Poor"),
        (99, 1, "Poor"), (99, 0.9, "Critical"),
        (70, 99, "Excellent"), (50, 99, "Good"), (30, 99, "Fair"), (10, 99, "Poor"), (10, 0.5, "Critical"), (50, 10, "Fair"),
    ],
)  # fmt: skip
def test_the_level_is_the_worse_of_the_relative_and_one_step_above_the_absolute(absolute, relative, want):
    assert health_level(absolute, relative) == want


def test_weights_add_up_to_one():
    assert sum(rule.weight for rule in PARTS) == pytest.approx(1)
    assert [rule.name for rule in PARTS if rule.core] == ["spread", "cost", "depth"]


# By an independent program, on the recordings ----------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "values", "depth", "half_life_s", "score", "level_"),
    [
        ("BTCUSDT", [0.0079, 0.1652, 1.1915, None], None, 8.924, None, HealthLevel.UNKNOWN),
        ("ETHUSDT", [0.0397, 0.8325, 1.2306, 0.3523], 1149105.66, 4.028, 79.939, HealthLevel.GOOD),
    ],
)
def test_health_at_1723161600_of_the_recordings(symbol, values, depth, half_life_s, score, level_):
    answer = health(END, table(list(spot(symbol)[2].values())), None, live_now=True)
    got = [answer.parts[i].value for i in (SPREAD, COST, VOLATILITY, BALANCE)]
    assert [None if value is None else round(value, 4) for value in got] == values
    found = answer.parts[DEPTH].value
    assert (None if found is None else round(found, 2)) == depth
    assert round(answer.parts[RESILIENCY].value, 3) == half_life_s
    assert (None if answer.absolute_score is None else round(answer.absolute_score, 3)) == score
    assert (answer.health_level, answer.basis) == (level_, "absolute")
    if symbol == "BTCUSDT":
        assert {p.name: p.reason for p in answer.parts if p.value is None} == dict.fromkeys(
            ("depth", "balance"), "beyond_known_range"
        )
        assert answer.reasons["overall_score"] == "beyond_known_range"


def test_the_stores_columns_are_those_of_its_records():
    records = list(spot("BTCUSDT")[2].values())
    stored = codec.second_columns([codec.encode_second(one) for one in records], COLUMNS)
    for name, column in columns_of(records).items():
        if name == "state":
            assert list(column) == list(stored[name])
        else:
            np.testing.assert_allclose(column, stored[name], rtol=1e-15)
    by_store, by_record = seconds_of(stored), table(records)
    for name in Seconds.__struct_fields__:
        np.testing.assert_allclose(getattr(by_store, name), getattr(by_record, name), rtol=1e-9)


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


# Monotone --------------------------------------------------------------------------------------

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


def test_what_comes_later_is_no_past():
    with pytest.raises(AssertionError, match="no past"):
        health(END, TABLE, replace(PAST, end=END + 1), live_now=True)
