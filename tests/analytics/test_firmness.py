"""How firm a profile is: resamples and nodes by hand, by their definition, and by another generator on the recordings."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import quantiles

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.analytics.build_profiles import MIDNIGHT_NS, TICK, TWO_HILLS, profile_of, recorded, trade
from tests.core.test_oracles import e8

from leadline.analytics.firmness import HOUR_NS, RESAMPLES, _random, node_candidates, resample
from leadline.analytics.histogram import SECOND_NS
from leadline.core.records import Trade

# Blocks of time, resamples ---------------------------------------------------------------------


def in_blocks(blocks: int, length_ns: int) -> list[Trade]:
    return [trade(100 + k % 3, 1 + k, ts_ns=MIDNIGHT_NS + k * length_ns, n=k + 1) for k in range(blocks)]


def test_blocks_are_ten_seconds_below_an_hour_and_five_minutes_from_then_on() -> None:
    """The time covered decides, not when the first and the last trade happened to be."""
    trades = in_blocks(12, 300 * SECOND_NS)  # the last one 55 min after the first
    assert profile_of(trades).n_blocks == 12
    close = in_blocks(60, 10 * SECOND_NS)
    assert profile_of(close).n_blocks == profile_of(close, covered_ns=HOUR_NS - 1).n_blocks == 60
    assert profile_of(close, covered_ns=HOUR_NS).n_blocks == 2
    assert profile_of(close, covered_ns=HOUR_NS).reasons == {"poc_iqr": "too_few", "nodes": "too_few"}


def test_nine_blocks_say_nothing_of_firmness_and_ten_do() -> None:
    assert profile_of(in_blocks(9, 10 * SECOND_NS)).poc_iqr is None
    ten = profile_of(in_blocks(10, 10 * SECOND_NS))
    assert ten.poc_iqr is not None
    assert ten.reasons == {}


def test_a_block_without_trades_is_not_drawn() -> None:
    """It may be one that nobody recorded."""
    assert profile_of([trade(100, 1), trade(100, 1, ts_ns=MIDNIGHT_NS + 500 * SECOND_NS)]).n_blocks == 2


def test_resamples_repeat_and_draw_every_block_alike() -> None:
    """20 blocks, each its own row: 300 * 20 draws, 300 expected a row; 5 deviations of sqrt(300 * 19/20) are 85."""
    blocks = np.eye(20)
    drawn = resample(blocks)
    assert np.array_equal(drawn, resample(blocks))
    assert not np.array_equal(drawn, resample(blocks, seed=1))
    assert drawn.shape == (RESAMPLES, 20)
    assert (drawn.sum(axis=1) == 20).all()
    assert np.abs(drawn.sum(axis=0) - 300).max() < 85
    assert drawn.var() == pytest.approx(0.95, abs=0.1)  # binomial: 20 * 1/20 * 19/20


def test_the_quartiles_of_the_point_of_control_are_those_of_the_resamples() -> None:
    """Twelve blocks, five rows: the largest row of each line found one by one, ties included."""
    table = np.array([[(3 * block + 2 * row) % 5 for row in range(5)] for block in range(12)])
    trades = [
        trade(10 + row, int(volume), ts_ns=MIDNIGHT_NS + block * 10 * SECOND_NS)
        for block, line in enumerate(table)
        for row, volume in enumerate(line)
        if volume
    ]
    pocs = [min(range(5), key=lambda row: (-line[row], abs(row - 2), row)) for line in resample(table.astype(float))]
    low, _, high = quantiles(pocs, n=4, method="inclusive")
    found = profile_of(trades, row_e8=1)
    assert found.poc_iqr == pytest.approx((high - low) / 10**8)
    assert high > low


def test_the_random_numbers_are_those_of_splitmix64() -> None:
    """The first three published for seed 1234567."""
    assert _random(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


# Nodes -----------------------------------------------------------------------------------------


def test_a_valley_between_two_hills_is_a_low_node() -> None:
    """Smoothed times 4: 40 180 280 184 48 4 0 4 38 144 220 140 30. Half of 220: rows 4..8 are below 110, the minimum is 0."""
    same = np.tile(np.array(TWO_HILLS, dtype=float), (RESAMPLES, 1))
    nodes = node_candidates(TWO_HILLS, same)
    assert [(node.kind, node.low, node.high, node.persistence) for node in nodes] == [
        *(("high", 2, 2, 1.0), ("low", 4, 8, 1.0), ("high", 10, 10, 1.0))
    ]
    assert [node.deficit_pct for node in nodes] == [None, 100.0, None]


@pytest.mark.parametrize(("hill", "kinds"), [(10, ["high", "high"]), (11, ["high", "low", "high"])])
def test_a_valley_of_half_the_smaller_hill_is_no_low_node(hill: int, kinds: list[str]) -> None:
    """Smoothed times 4: 10 24 20 12 20 24 10, half of 24 is 12; with hills of 11: 11 26 21 12 21 26 11, and 13."""
    rows = [0, hill, 4, 2, 4, hill, 0]
    assert [node.kind for node in node_candidates(rows, np.array([rows], dtype=float))] == kinds


def test_a_node_is_found_again_within_one_row_and_no_further() -> None:
    def moved(rows: int) -> list[float]:
        return [0.0] * rows + [float(v) for v in TWO_HILLS[: len(TWO_HILLS) - rows]]

    wide = [*TWO_HILLS, 0, 0]
    lanes = np.array([[*moved(rows), 0, 0] for rows in (0, 1, 2)], dtype=float)
    assert {node.persistence for node in node_candidates(wide, lanes)} == {2 / 3}


def test_only_nodes_that_come_again_are_given_out() -> None:
    """Ten blocks that all look alike: both hills and the valley stay. If one block alone makes the second hill, it is drawn in
    1 - 0.9^10 = 65 % of the resamples: it and the valley go."""
    alike = [
        trade(100 + row, volume, ts_ns=MIDNIGHT_NS + block * 10 * SECOND_NS)
        for block in range(10)
        for row, volume in enumerate(TWO_HILLS)
        if volume
    ]
    found = profile_of(alike, row_e8=1)
    assert found.nodes is not None
    assert [(node.kind, node.low_e8, node.high_e8, node.volume_e8) for node in found.nodes] == [
        *(("high", 102, 103, 1000), ("low", 104, 109, 80), ("high", 110, 111, 800))
    ]
    assert found.poc_iqr == 0
    once = [t for t in alike if t.price_e8 < 108 or t.ts_trade_ns == MIDNIGHT_NS]
    once = [trade(t.price_e8, t.quantity_e8 * (10 if t.price_e8 >= 108 else 1), ts_ns=t.ts_trade_ns) for t in once]
    once_found = profile_of(once, row_e8=1)
    assert [row.volume_e8 for row in once_found.rows] == [row.volume_e8 for row in found.rows]
    assert [node.kind for node in once_found.nodes or ()] == ["high"]


def test_a_row_of_exactly_half_the_smaller_hill_ends_the_valley() -> None:
    """Smoothed times 4: 10 24 22 12 8 12 22 24 10; half of 24 is 12, which is not below it."""
    rows = [0, 10, 4, 4, 0, 4, 4, 10, 0]
    [low] = [node for node in node_candidates(rows, np.array([rows], dtype=float)) if node.kind == "low"]
    assert (low.low, low.high, low.deficit_pct) == (4, 4, pytest.approx(100 * (1 - 8 / 24)))


def test_the_place_of_a_flat_valley_is_its_middle() -> None:
    """Nothing traded in rows 4..10; smoothed, 5..9 are 0 and the middle is 7. In the resample 3..11 are 0: it begins two rows
    earlier, but the middle is 7 as well."""
    rows = [0, 40, 50, 20, 0, 0, 0, 0, 0, 0, 0, 20, 50, 40, 0]
    wider = [0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0]
    [low] = [node for node in node_candidates(rows, np.array([wider], dtype=float)) if node.kind == "low"]
    assert (low.persistence, low.deficit_pct) == (1.0, 100.0)


def prominences(line: Sequence[float]) -> dict[int, float]:
    """Row -> how far one must go down from it before one can go higher, or to the edge. Rows below both neighbours only."""
    found = {}
    for k in range(1, len(line) - 1):
        if line[k - 1] < line[k] > line[k + 1]:
            left = next((j for j in range(k - 1, -1, -1) if line[j] > line[k]), -1)
            right = next((j for j in range(k + 1, len(line)) if line[j] > line[k]), len(line))
            found[k] = line[k] - max(min(line[left + 1 : k]), min(line[k + 1 : right]))
    return found


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True))
def test_nodes_are_the_tops_with_that_prominence_and_the_bottoms_between(volumes: list[int]) -> None:
    """Against the definition, top by top; without ties, for which there is a rule."""
    padded = [0, *volumes, 0]
    smooth = [padded[k - 1] + 2 * padded[k] + padded[k + 1] for k in range(1, len(padded) - 1)]
    assume(len(set(smooth)) == len(smooth))
    tops = sorted(k for k, height in prominences(smooth).items() if 10 * height >= max(smooth))
    nodes = node_candidates(volumes, np.array([volumes], dtype=float))
    assert [node.low for node in nodes if node.kind == "high"] == tops
    lows = []
    for a, b in pairwise(tops):
        half = min(smooth[a], smooth[b]) / 2
        bottom = min(range(a, b), key=lambda k: smooth[k])
        if smooth[bottom] < half:
            low = max(k for k in range(a, bottom) if smooth[k] >= half) + 1
            high = min(k for k in range(bottom, b + 1) if smooth[k] >= half) - 1
            lows.append((low, high, pytest.approx(100 * (1 - smooth[bottom] / half / 2))))
    assert [(node.low, node.high, node.deficit_pct) for node in nodes if node.kind == "low"] == lows


# The recordings --------------------------------------------------------------------------------


def other_resamples(trades: Sequence[Trade], height: int, seed: int) -> list[Counter[int]]:
    """300 resamples of the ten-second blocks by another generator, row by row."""
    blocks: dict[int, Counter[int]] = {}
    for t in trades:
        blocks.setdefault(t.ts_trade_ns // (10 * SECOND_NS), Counter())[t.price_e8 // height] += t.quantity_e8
    rows = sorted({row for block in blocks.values() for row in block})
    table = np.array([[block[row] for row in rows] for block in blocks.values()], dtype=float)
    chosen = np.random.default_rng(seed).integers(0, len(table), (300, len(table)))
    return [Counter(dict(zip(rows, table[lane].sum(axis=0), strict=True))) for lane in chosen]


def test_the_spread_of_the_point_of_control_agrees_with_another_generator() -> None:
    """BTC at 5 USD rows: 56 was measured with another generator. Over 40 seeds of numpy's own the value has a mean and a
    deviation; ours and 56 both lie within three of these."""
    trades, height = recorded("BTCUSDT"), e8("5")
    others = []
    for seed in range(40):
        pocs = [resampled.most_common(1)[0][0] for resampled in other_resamples(trades, height, seed)]
        low, high = np.quantile(pocs, (0.25, 0.75))
        others.append(float(high - low) * 5)
    mean, deviation = float(np.mean(others)), float(np.std(others))
    ours = profile_of(trades, TICK, row_e8=height).poc_iqr
    assert ours is not None
    assert 1 < deviation < 10
    assert abs(ours - mean) < 3 * deviation
    assert abs(56 - mean) < 3 * deviation


@pytest.mark.parametrize(("symbol", "row", "persistence"), [("BTCUSDT", "10", 0.73), ("ETHUSDT", "0.2", 0.59)])
def test_no_low_node_of_the_recordings_survives(symbol: str, row: str, persistence: float) -> None:
    """One candidate each. Two shares of 300 resamples by two generators: deviation sqrt(2 * 0.24 / 300) = 0.04, so 0.12."""
    trades = recorded(symbol)
    height, found = e8(row), profile_of(trades, TICK)
    assert found.row_e8 == height
    assert found.nodes is not None
    assert [node for node in found.nodes if node.kind == "low"] == []
    blocks: dict[int, Counter[int]] = {}
    for t in trades:
        blocks.setdefault(t.ts_trade_ns // (10 * SECOND_NS), Counter())[t.price_e8 // height] += t.quantity_e8
    rows = range(min(min(b) for b in blocks.values()), max(max(b) for b in blocks.values()) + 1)
    table = np.array([[block[k] for k in rows] for _, block in sorted(blocks.items())], dtype=float)
    lows = [n for n in node_candidates([int(v) for v in table.sum(axis=0)], resample(table)) if n.kind == "low"]
    assert [node.persistence for node in lows] == [pytest.approx(persistence, abs=0.12)]
