"""Shared statistics against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadline.analytics.stats import History, effective_size, least_squares, per_day, reversion

H = History.of(np.array([1.0, 2.0, 2.0, 3.0, 10.0]))
numbers = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("x", "share", "p"),
    [(2, 0.4, 5 / 6), (10, 0.9, 1 / 3), (11, 1.0, 1 / 6), (0, 0.0, 1.0)],
)
def test_ranks_count_ties_half_and_p_counts_the_value_itself(x: float, share: float, p: float) -> None:
    """Of 1 2 2 3 10: below 2 is one value and two equal it, (1 + 1) / 5; four are at least 2, (1 + 4) / 6."""
    assert H.share_below(x) == pytest.approx(share)
    assert H.p_high(x) == pytest.approx(p)


def test_z_is_in_robust_deviations() -> None:
    """Median 2, distances 1 0 0 1 8 with median 1: (10 - 2) / 1.4826. With MAD 0 the mean distance: of 1 1 1 5 it is 1."""
    assert H.z(10) == pytest.approx(5.395926, abs=1e-6)
    assert History.of(np.array([1.0, 1.0, 1.0, 5.0])).z(3) == pytest.approx(2 / 1.2533)
    assert History.of(np.array([4.0, 4.0])).z(9) is None


def test_without_a_past_there_are_no_ranks() -> None:
    none = History.of(np.array([np.nan, np.nan]))
    assert (none.n, none.share_below(1), none.p_high(1), none.z(1), none.quantile(0.5)) == (0, None, None, None, None)


def test_frequency_follows_from_p_and_window() -> None:
    assert per_day(0.001, 10) == pytest.approx(8.64)


def test_a_line_is_fitted() -> None:
    """x = 1 -1 2 0, y = 2 -1 5 0: means 0.5 and 1.5, sxy 10, sxx 5; the rest is 1 of 21."""
    fit = least_squares(np.array([1.0, -1, 2, 0]), np.array([2.0, -1, 5, 0]))
    assert fit is not None
    assert (fit.beta, fit.alpha, fit.n) == (pytest.approx(2), pytest.approx(0.5), 4)
    assert fit.r2 == pytest.approx(0.952381, abs=1e-6)
    assert least_squares(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert least_squares(np.array([1.0]), np.array([1.0])) is None
    flat = least_squares(np.array([1.0, 2.0]), np.array([3.0, 3.0]))
    assert flat is not None
    assert flat.r2 is None


@pytest.mark.parametrize(
    ("series", "kappa", "half_life_s"),
    [([-1, -0.5, -0.25, -0.125], 0.5, 1.0), ([1.0, -1.0, 1.0, -1.0], 2.0, 0.0), ([1.0, 2.0, 4.0, 8.0], -1.0, None)],
)
def test_mean_reversion_has_its_half_life(series: list[float], kappa: float, half_life_s: float | None) -> None:
    """Half of the deviation gone each second: kappa 0.5, ln 2 / -ln 0.5 = 1 s."""
    found = reversion(np.array(series[:-1]), np.array(series[1:]))
    assert found is not None
    assert found.kappa == pytest.approx(kappa)
    assert found.half_life_s == (None if half_life_s is None else pytest.approx(half_life_s))


def test_heavy_tails_make_a_small_sample() -> None:
    """1 1 1 1 4: 8^2 / 20."""
    assert effective_size(np.array([1.0, 1, 1, 1, 4])) == pytest.approx(3.2)
    assert effective_size(np.array([])) is None


@given(st.lists(numbers, min_size=1, max_size=40), numbers, numbers)
def test_ranks_rise_and_p_falls_with_the_value(past: list[float], a: float, b: float) -> None:
    history, (low, high) = History.of(np.array(past)), sorted((a, b))
    assert history.share_below(low) <= history.share_below(high)  # type: ignore[operator]
    assert history.p_high(low) >= history.p_high(high) >= 1 / (len(past) + 1)  # type: ignore[operator]
    assert history.share_below(a) == pytest.approx((sum(h < a for h in past) + 0.5 * past.count(a)) / len(past))
    assert history.p_high(a) == pytest.approx((1 + sum(h >= a for h in past)) / (len(past) + 1))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30))
def test_the_fitted_line_leaves_no_slope_in_the_rest(points: list[tuple[float, float]]) -> None:
    x, y = (np.array(values) for values in zip(*points, strict=True))
    fit = least_squares(x, y)
    if fit is not None and np.ptp(x) > 1e-3:
        rest = y - fit.alpha - fit.beta * x
        scale = 1 + np.abs(y).max() * (1 + np.abs(x).max())
        assert math.isclose(float(rest.sum()) / scale, 0, abs_tol=1e-6)
