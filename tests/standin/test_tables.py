"""Draws from integer tables are the distributions that they stand for."""

import math
import statistics

import pytest

from leadline.standin.draws import Draws
from leadline.standin.tables import BTC, DRAW_BITS, ETH, SHARES, UNIT, Inverse, burst_factor, decay, exponential


@pytest.mark.parametrize("table", [BTC.near_sizes, BTC.best_sizes, ETH.taker_sizes, ETH.jump_ticks])
def test_an_inverse_gives_its_values_at_their_shares_and_never_falls(table: tuple[int, ...]) -> None:
    inverse = Inverse(table)
    values = [inverse.at(n << DRAW_BITS - 12) for n in range(1 << 12)]
    assert values == sorted(values)
    assert values[0] == table[0]
    assert inverse.at((1 << DRAW_BITS) - 1) <= table[-1]
    for share, value in zip(SHARES, table, strict=True):
        if 10 <= share <= 990:  # further out the table is coarser than the shares
            ours = inverse.at((share << DRAW_BITS) // 1000)
            assert abs(ours - value) <= max(2, value // 20)


def test_exponential_draws_have_mean_and_deviation_one() -> None:
    values = [value / UNIT for value in exponential()]
    assert statistics.fmean(values) == pytest.approx(1, abs=0.002)
    assert statistics.pstdev(values) == pytest.approx(1, abs=0.02)


def test_a_waiting_time_is_on_average_the_inverse_of_the_rate() -> None:
    draws = Draws("a seed", "waiting")
    waits = [draws.waiting_us(2_500_000) for _ in range(20_000)]  # 2,500 a second
    assert statistics.fmean(waits) == pytest.approx(400, rel=0.03)


@pytest.mark.parametrize("per_second", [5_300, 136_000])
def test_a_decay_is_exponential(per_second: int) -> None:
    table = decay(per_second, 64, 256)
    for step in (0, 1, 10, 255):
        assert table[step] / UNIT**2 == pytest.approx(math.exp(-per_second / 1000 * step * 64e-6), rel=1e-4)


@pytest.mark.parametrize(("ticks", "factor"), [(0, 400), (100, 1400), (25, 779), (1000, 3000)])
def test_a_burst_grows_with_its_jump(ticks: int, factor: int) -> None:
    """(ticks / 100)^0.7 + 0.4, at most 3, of a market whose median jump is 92 ticks."""
    assert burst_factor(ticks, 92) == pytest.approx(factor, abs=2)


def test_draws_of_another_purpose_are_others_and_the_same_are_the_same() -> None:
    one, again, other = Draws(7, "BTCUSDT", "market"), Draws(7, "BTCUSDT", "market"), Draws(7, "BTCUSDT", "jitter")
    first = [one.below(10**6) for _ in range(50)]
    assert first == [again.below(10**6) for _ in range(50)]
    assert first != [other.below(10**6) for _ in range(50)]


def test_a_rounded_share_is_right_on_average() -> None:
    draws = Draws(1, "rounding")
    assert {draws.rounded(2250) for _ in range(100)} == {2, 3}
    assert statistics.fmean(draws.rounded(2250) for _ in range(20_000)) == pytest.approx(2.25, abs=0.02)
