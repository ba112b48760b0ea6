"""Statistics that several answers share: ranks against own history, least squares, mean reversion.

Arrays are float64 and one-dimensional. Where a value does not exist the result is None, never a substitute.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class History(Struct, frozen=True):
    """One statistic over past windows, sorted. Ranks of a value against it, ties counted half; None without a past."""

    sorted: Floats

    @classmethod
    def of(cls, values: Floats) -> "History":
        """NaN means that a window has no value, and is left out."""
        return cls(np.sort(values[~np.isnan(values)]))

    @property
    def n(self) -> int:
        """How many windows have a value."""
        return len(self.sorted)

    def share_below(self, x: float) -> float | None:
        """Share of the past below x, in [0, 1]; what equals x counts half."""
        if not self.n:
            return None
        low, high = np.searchsorted(self.sorted, x, "left"), np.searchsorted(self.sorted, x, "right")
        return float(low + high) / (2 * self.n)

    def p_high(self, x: float) -> float | None:
        """Upper-tail p-value: how often a value of the past, or x itself among them, is at least x. Never below 1 / (n + 1)."""
        if not self.n:
            return None
        return float(1 + self.n - int(np.searchsorted(self.sorted, x, "left"))) / (self.n + 1)

    def z(self, x: float) -> float | None:
        """Distance from the median in robust deviations (MAD, or the mean distance where that is 0); None where both are 0."""
        if not self.n:
            return None
        median = float(np.median(self.sorted))
        distances = np.abs(self.sorted - median)
        scale = 1.4826 * float(np.median(distances)) or 1.2533 * float(distances.mean())
        return (x - median) / scale if scale else None

    def quantile(self, share: float) -> float | None:
        """Linear between the values."""
        return float(np.quantile(self.sorted, share)) if self.n else None


def per_day(p_value: float, window_s: float) -> float:
    """How often a day ordinary time looks like this: windows of window_s seconds, each with probability p_value."""
    return p_value * 86_400 / window_s


class Fit(Struct, frozen=True):
    """y = alpha + beta * x by least squares. r2: share of the variance of y, in [0, 1]; None where y does not vary."""

    alpha: float
    beta: float
    r2: float | None
    n: int


def least_squares(x: Floats, y: Floats) -> Fit | None:
    """Ordinary, one regressor. None under 2 points, or where x does not vary."""
    n = len(x)
    if n < 2:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    sxx = float(dx @ dx)
    if not sxx:
        return None
    beta = float(dx @ dy) / sxx
    syy = float(dy @ dy)
    rest = dy - beta * dx
    return Fit(float(y.mean()) - beta * float(x.mean()), beta, 1.0 - float(rest @ rest) / syy if syy else None, n)


class Reversion(Struct, frozen=True):
    """How fast a series returns to its mean. kappa: share of a deviation gone in a second; half_life_s: None for kappa <= 0."""

    kappa: float
    half_life_s: float | None
    n: int


def reversion(before: Floats, after: Floats) -> Reversion | None:
    """Linear mean reversion of a series from pairs of values one second apart. None where it cannot be fitted.

    Source: after Kempf, Mayston, Gehde-Trapp, Yadav, resiliency of limit order markets.
    """
    fit = least_squares(before, after - before)
    if fit is None:
        return None
    kappa = -fit.beta
    if kappa <= 0:
        return Reversion(kappa, None, fit.n)
    return Reversion(kappa, 0.0 if kappa >= 1 else math.log(2) / -math.log1p(-kappa), fit.n)


def effective_size(weights: Floats) -> float | None:
    """(sum w)^2 / sum w^2: how many equal trades would be as good a sample. None without any."""
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares else None
