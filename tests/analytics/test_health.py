"""Health: that each part can be bad comes first, then bad data, then numbers worked out by hand and by an independent program."""

import math

import numpy as np
import pytest
from msgspec.structs import replace
from tests.analytics.build_health import (
    BAD,
    BALANCE,
    COST,
    DEPTH,
    E16,
    END,
    KNOWN,
    NAMES,
    PAST,
    RESILIENCY,
    SPREAD,
    VOLATILITY,
    judged,
    minutes,
    part,
    table,
)
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
    seconds_of,
    windows,
)
from leadline.core.errors import NotEnoughData
from leadline.core.records import BookState, Flag
from leadline.store import codec

# Every score can fall ----------------------------------------------------------------


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
