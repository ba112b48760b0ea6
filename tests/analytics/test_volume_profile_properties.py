"""Volume by price of any trades: models that count trades one by one and know nothing of columns, buckets or parts."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_profiles import changed, lists_of_trades, profile_of, quartile_distance, trade

from leadline.analytics.firmness import HOUR_NS
from leadline.analytics.histogram import SECOND_NS, Histogram
from leadline.analytics.volume_profile import (
    _quartile_distance_e8,
    footprint,
    grown_area,
    nearest_step,
    point_of_control,
    row_target_ticks,
    shortest_run,
)
from leadline.core.records import Trade

row_lists = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any)
methods = st.sampled_from(["single_row", "two_row"])


@given(lists_of_trades, st.integers(1, 7))
def test_every_row_is_the_sum_of_its_trades(trades: list[Trade], height: int) -> None:
    found = profile_of(trades, row_e8=height)
    want: dict[int, list[int]] = {}
    for t in trades:
        sums = want.setdefault(t.price_e8 // height * height, [0, 0, 0])
        sums[1 if t.buyer_is_maker else 0] += t.quantity_e8
        sums[2] += t.fills
    assert {row.low_e8: [row.buy_e8, row.sell_e8, row.fills] for row in found.rows} == want
    assert all(row.high_e8 - row.low_e8 == height and row.buy_e8 + row.sell_e8 == row.volume_e8 for row in found.rows)
    assert found.total_volume_e8 == sum(t.quantity_e8 for t in trades)
    assert found.total_quote_e16 == sum(t.quantity_e8 * t.price_e8 for t in trades)
    assert found.row_count == max(want) // height - min(want) // height + 1
    assert abs(found.vwap_e16 * found.total_volume_e8 - found.total_quote_e16 * 10**8) <= found.total_volume_e8 / 2


@given(lists_of_trades, st.randoms(use_true_random=False))
def test_the_order_of_trades_changes_nothing_but_batches(trades: list[Trade], random) -> None:
    mixed = list(trades)
    random.shuffle(mixed)
    one, other = profile_of(trades), profile_of(mixed)
    assert structs.replace(other, n_batches=one.n_batches) == one


@given(lists_of_trades, st.integers(2, 1000))
def test_quantities_times_a_factor_change_no_share_and_no_price(trades: list[Trade], factor: int) -> None:
    one, other = profile_of(trades), profile_of(changed(trades, quantity=lambda q: q * factor))
    for name in ("row_e8", "poc_low_e8", "value_area_low_e8", "value_area_high_e8", "hdi_low_e8", "hdi_high_e8", "vwap_e16"):
        assert getattr(other, name) == getattr(one, name), name
    for name in ("poc_share", "value_area_share", "n_eff", "poc_iqr"):
        value = getattr(one, name)
        assert getattr(other, name) == (None if value is None else pytest.approx(value)), name
    assert other.total_volume_e8 == factor * one.total_volume_e8
    assert [(n.kind, n.low_e8, n.persistence) for n in other.nodes or ()] == [
        (n.kind, n.low_e8, n.persistence) for n in one.nodes or ()
    ]


@given(lists_of_trades, st.integers(2, 1000))
def test_prices_and_tick_times_a_factor_change_no_share_and_no_row(trades: list[Trade], factor: int) -> None:
    one, other = profile_of(trades), profile_of(changed(trades, price=lambda p: p * factor), factor)
    for name in ("row_e8", "poc_low_e8", "value_area_low_e8", "value_area_high_e8", "hdi_low_e8", "hdi_high_e8"):
        assert getattr(other, name) == factor * getattr(one, name), name
    assert (other.poc_share, other.value_area_share, other.row_count) == (one.poc_share, one.value_area_share, one.row_count)
    assert [row.volume_e8 for row in other.rows] == [row.volume_e8 for row in one.rows]
    assert other.poc_iqr == (None if one.poc_iqr is None else pytest.approx(factor * one.poc_iqr))


@given(lists_of_trades, st.integers(1, 30))
def test_days_later_only_the_times_differ(trades: list[Trade], days: int) -> None:
    shift = days * 24 * HOUR_NS
    later = [structs.replace(t, ts_trade_ns=t.ts_trade_ns + shift) for t in trades]
    one = profile_of(trades)
    assert profile_of(later) == structs.replace(one, first_ns=one.first_ns + shift, last_ns=one.last_ns + shift)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=25, unique=True), methods)
def test_a_profile_without_ties_reflects(volumes: list[int], method) -> None:
    """Prices mirrored, aggressors flipped: point of control and value area are mirrored, bought and sold change places."""
    n = len(volumes)
    trades = [trade(row, volume, buy=row % 3 > 0) for row, volume in enumerate(volumes, 1)]
    one = profile_of(trades, row_e8=1, va_method=method)
    other = profile_of(changed(trades, price=lambda p: n + 1 - p, flip=True), row_e8=1, va_method=method)
    assert [(r.buy_e8, r.sell_e8, r.delta_e8) for r in other.rows] == [
        (r.sell_e8, r.buy_e8, -r.delta_e8) for r in reversed(one.rows)
    ]
    assert other.poc_low_e8 == n + 1 - one.poc_low_e8
    if method == "single_row":  # sums of pairs may tie where rows do not
        assert (other.value_area_low_e8, other.value_area_high_e8) == (
            n + 2 - one.value_area_high_e8,
            n + 2 - one.value_area_low_e8,
        )


@given(lists_of_trades, st.integers(1, 600), st.integers(1, 9))
def test_the_bars_of_a_footprint_add_up_to_the_profile(trades: list[Trade], bar_s: int, height: int) -> None:
    bars = footprint(Histogram.of_trades(trades), row_e8=height, bar_ns=bar_s * SECOND_NS)
    summed: dict[int, list[int]] = {}
    for bar in bars:
        inside = [t for t in trades if bar.start_ns <= t.ts_trade_ns < bar.start_ns + bar_s * SECOND_NS]
        assert sum(row.volume_e8 for row in bar.rows) == sum(t.quantity_e8 for t in inside) > 0
        assert [row.low_e8 for row in bar.rows] == sorted({t.price_e8 // height * height for t in inside})
        for row in bar.rows:
            sums = summed.setdefault(row.low_e8, [0, 0, 0])
            summed[row.low_e8] = [a + b for a, b in zip(sums, (row.buy_e8, row.sell_e8, row.fills), strict=True)]
    assert [bar.start_ns for bar in bars] == sorted({bar.start_ns for bar in bars})
    found = profile_of(trades, row_e8=height)
    assert summed == {row.low_e8: [row.buy_e8, row.sell_e8, row.fills] for row in found.rows}


# Rules told anew -------------------------------------------------------------------------------


def brute_area(volumes: list[int], target: float, method: str) -> tuple[int, int]:
    """The rule of the specification with a set of rows, told anew."""
    total, centre = sum(volumes), (len(volumes) - 1) / 2
    best = [k for k, volume in enumerate(volumes) if volume == max(volumes)]
    poc = sorted(best, key=lambda k: (abs(k - centre), k))[0]
    taken, step = {poc}, 2 if method == "two_row" else 1
    while sum(volumes[k] for k in taken) < target * total - 1e-12 * total:
        down = [k for k in range(min(taken) - step, min(taken)) if k >= 0]
        up = [k for k in range(max(taken) + 1, max(taken) + 1 + step) if k < len(volumes)]
        worth = {side: sum(volumes[k] for k in rows) if rows else -1 for side, rows in (("down", down), ("up", up))}
        added = {"down": sum(k < poc for k in taken), "up": sum(k > poc for k in taken)}
        side = max(("up", "down"), key=lambda name: (worth[name], -added[name], name == "up"))
        taken |= set(up if side == "up" else down)
    return min(taken), max(taken)


@given(row_lists, st.floats(0.05, 1), methods)
def test_the_value_area_grows_by_its_rule(volumes: list[int], target: float, method) -> None:
    assert grown_area(volumes, point_of_control(volumes), target, method) == brute_area(volumes, target, method)


@given(row_lists, st.floats(0.05, 1), st.floats(0.05, 1), methods)
def test_a_higher_target_never_makes_the_value_area_smaller(volumes: list[int], a: float, b: float, method) -> None:
    poc = point_of_control(volumes)
    (low_a, high_a), (low_b, high_b) = (grown_area(volumes, poc, target, method) for target in sorted((a, b)))
    assert low_b <= low_a <= poc <= high_a <= high_b
    assert sum(volumes[low_a : high_a + 1]) <= sum(volumes[low_b : high_b + 1])
    assert sum(volumes[low_b : high_b + 1]) >= max(a, b) * sum(volumes) * (1 - 1e-9)


@given(row_lists, st.floats(0.05, 1))
def test_no_shorter_run_holds_the_target(volumes: list[int], target: float) -> None:
    need = (target - 1e-12) * sum(volumes)
    runs = [(a, b) for a in range(len(volumes)) for b in range(a, len(volumes)) if sum(volumes[a : b + 1]) >= need]
    assert shortest_run(volumes, target) == min(
        runs, key=lambda run: (run[1] - run[0], -sum(volumes[run[0] : run[1] + 1]), run[0])
    )


@given(st.floats(0.01, 1e7))
def test_no_step_is_nearer_by_ratio(target: float) -> None:
    steps = [step * 10**j for j in range(9) for step in (1, 2, 5)] + [25 * 10**j for j in range(8)]
    nearest = min(abs(log(step / target)) for step in steps)
    assert abs(log(nearest_step(target) / target)) == pytest.approx(nearest)
    assert nearest_step(target) in steps


@given(st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**9)), min_size=1, max_size=40))
def test_quartiles_are_found_through_buckets(rows: list[tuple[int, int]]) -> None:
    """Prices far apart, so that a bucket must be opened once or twice: against trades sorted by price."""
    trades = [trade(price, quantity) for price, quantity in rows]
    prices, quantities = (np.array([row[k] for row in rows]) for k in (0, 1))
    assert _quartile_distance_e8(prices, quantities, int(quantities.sum())) == quartile_distance(trades)
    found = profile_of(trades)
    target = row_target_ticks(found.price_low_e8, found.price_high_e8, quartile_distance(trades), found.n_eff, 1)
    assert found.row_e8 == nearest_step(target)
