"""Histograms: sums that are exact however large, and parts that add up to the whole."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_profiles import MIDNIGHT_NS, TICK, lists_of_trades, profile_of, recorded, trade
from tests.core.test_oracles import both, e8

from leadline.analytics.firmness import HOUR_NS
from leadline.analytics.histogram import LONG_BLOCK_NS, SECOND_NS, Histogram, exact_dot, exact_sum, grouped, merged
from leadline.analytics.volume_profile import footprint, volume_profile
from leadline.core.records import Trade


def test_batches_end_where_time_side_or_direction_change() -> None:
    """(100,B,10) (100,B,11) (100,B,10) (101,B,12) (101,S,12) (101,S,11): 4 batches."""
    rows = [(100, True, 10), (100, True, 11), (100, True, 10), (101, True, 12), (101, False, 12), (101, False, 11)]
    assert Histogram.of_trades([trade(price, 1, buy=buy, ts_ns=ts) for ts, buy, price in rows]).batches == 4


@given(lists_of_trades, st.integers(0, 4000), st.integers(1, 5))
def test_the_window_is_the_sum_of_its_parts(trades: list[Trade], cut_s: int, height: int) -> None:
    cut = MIDNIGHT_NS + cut_s * SECOND_NS
    ordered = sorted(trades, key=lambda t: t.ts_trade_ns)
    parts = [Histogram.of_trades([t for t in ordered if (t.ts_trade_ns < cut) == before]) for before in (True, False)]
    whole = profile_of(ordered, row_e8=height)
    assert volume_profile(merged(parts), tick_e8=1, row_e8=height) == whole
    small = volume_profile(merged([part.compacted(10 * SECOND_NS) for part in parts]), tick_e8=1, row_e8=height)
    assert small is not None
    assert structs.replace(small, first_ns=whole.first_ns, last_ns=whole.last_ns) == whole


@both
def test_hours_and_bars_of_the_recordings_add_up(symbol: str) -> None:
    trades = recorded(symbol)
    whole = Histogram.of_trades(trades)
    parts = [
        Histogram.of_trades([t for t in trades if t.ts_trade_ns // (60 * SECOND_NS) == minute])
        for minute in sorted({t.ts_trade_ns // (60 * SECOND_NS) for t in trades})
    ]
    assert len(parts) == 7
    together = volume_profile(merged([part.compacted(10 * SECOND_NS) for part in parts]), tick_e8=TICK)
    assert together == volume_profile(whole, tick_e8=TICK)
    bars = footprint(whole, row_e8=e8("0.25"), bar_ns=60 * SECOND_NS)
    assert [bar.start_ns // SECOND_NS for bar in bars] == [1723161240 + 60 * minute for minute in range(7)]
    summed = Counter[tuple[int, str]]()
    names = ("volume_e8", "buy_e8", "sell_e8", "delta_e8", "fills")
    for bar in bars:
        for row in bar.rows:
            summed.update({(row.low_e8, name): getattr(row, name) for name in names})
    found = profile_of(trades, TICK, row_e8=e8("0.25"))
    assert summed == {(row.low_e8, name): getattr(row, name) for row in found.rows for name in names}


def test_a_compacted_hour_is_small_and_gives_the_same_day() -> None:
    """3,000 trades at 10 prices in each of 12 blocks of two hours: 120 lines an hour."""
    rng = np.random.default_rng(7)
    hours = [
        [
            trade(int(p), int(q), ts_ns=MIDNIGHT_NS + hour * HOUR_NS + int(at), buy=bool(q % 2))
            for p, q, at in zip(
                rng.integers(100, 110, 3000), rng.integers(1, 10**9, 3000), np.sort(rng.integers(0, HOUR_NS, 3000)), strict=True
            )
        ]
        for hour in range(2)
    ]
    parts = [Histogram.of_trades(hour).compacted() for hour in hours]
    assert [len(part.ts_ns) for part in parts] == [120, 120]
    assert {part.block_ns for part in parts} == {LONG_BLOCK_NS}
    whole = profile_of([*hours[0], *hours[1]], covered_ns=2 * HOUR_NS)
    assert volume_profile(merged(parts), tick_e8=1, covered_ns=2 * HOUR_NS) == whole
    assert whole.n_blocks == 24
    short = volume_profile(parts[0], tick_e8=1, covered_ns=HOUR_NS - 1)
    assert short is not None and short.n_blocks == 12, "below an hour blocks are of 10 s, but these lines are no finer than 5 min"


# Exact sums ------------------------------------------------------------------------------------

huge = st.integers(0, 2**63 - 1)


@given(st.lists(st.tuples(huge, huge, st.integers(0, 4)), max_size=60))
def test_sums_are_exact_however_large(rows: list[tuple[int, int, int]]) -> None:
    a, b, index = (np.array([row[k] for row in rows], dtype=np.int64) for k in range(3))
    assert exact_sum(a) == sum(row[0] for row in rows)
    assert exact_dot(a, b) == sum(row[0] * row[1] for row in rows)
    assert grouped(index, a, 5).tolist() == [sum(row[0] for row in rows if row[2] == group) for group in range(5)]


def test_sums_just_beyond_what_floats_and_64_bits_hold_are_exact() -> None:
    for values in ([2**53, 1], [2**52, 2**52, 1], [2**62, 2**62 - 1], [2**62, 2**62]):
        assert grouped(np.zeros(len(values), np.int64), np.array(values), 1).tolist() == [sum(values)]


def test_a_token_that_trades_in_quadrillions_is_exact() -> None:
    """Its day passes 2^63 at 1e-8: 3 trades of 2^62 each. It is left uncompacted, and adds up."""
    trades = [trade(1300 + k, 2**62, ts_ns=MIDNIGHT_NS + k) for k in (0, 0, 1)]
    hour = Histogram.of_trades(trades)
    assert hour.compacted() is hour
    found = volume_profile(merged([hour, hour]), tick_e8=1)
    assert found is not None
    assert [row.volume_e8 for row in found.rows] == [4 * 2**62, 2 * 2**62]
    assert found.total_quote_e16 == 2 * 2**62 * 3901
    assert found.n_eff == 6
