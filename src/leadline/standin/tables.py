"""What was measured of the real market, as integers: rates by distance, sizes, takers, jumps. No float decides a byte.

Source: about eleven minutes of BTCUSDT and ETHUSDT spot, August 2024 (docs/standin.md). Rates are per second, both sides
together, in thousandths; distances from the own best in hundredths of a basis point; sizes in 1e-8 of the base asset.
"""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Context, Decimal
from functools import cache

from msgspec import Struct

SHARES = (0, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 999, 1000)  # per mille, of every table of sizes
DRAW_BITS = 20  # what `Inverse.at` takes

_EXACT = Context(prec=30)  # ln and exp of Decimal are the same on every machine, those of float are not


class Bucket(Struct, frozen=True):
    """Levels whose distance from their own best is under `to`, and not in a bucket before. size: its median, 1e-8 of base.

    arrivals, of which new: more quantity, a new level. occupied: levels a side. hazard: cancels of each level, per second / 1e6.
    """

    to: int
    arrivals: int
    new: int
    size: int
    occupied: int
    hazard: int


class Calibration(Struct, frozen=True):
    """One measured market. bp_ticks: ticks of one basis point, in hundredths. best: (arrivals, cancels) of the best level.

    near_sizes are those under 20 bp. The last four are tuned by bench/calibration.py, in thousandths: how much of the measured
    arrivals and cancels goes on all the time (the rest comes in bursts), how large bursts are, how long jumps, and how
    many cancels take one of the last levels that came.
    """

    price_e8: int
    tick_e8: int
    bp_ticks: int
    buckets: tuple[Bucket, ...]
    best: tuple[int, int]
    near_sizes: tuple[int, ...]
    far_sizes: tuple[int, ...]
    best_sizes: tuple[int, ...]
    taker_sizes: tuple[int, ...]
    fills: tuple[int, ...]
    taker_base: int  # takers a second that no other brought about
    taker_children: tuple[int, int]  # brought about by each, fast and slow, in thousandths
    taker_decay: tuple[int, int]  # per second, in thousandths
    sweep: int  # share that takes more than one price, in thousandths
    jump_ticks: tuple[int, ...]  # by SHARES
    background: int
    burst_size: int
    jump_length: int
    young: int


def _buckets(rows: str) -> tuple[Bucket, ...]:
    """Lines of: to, arr, new, median size, occupied, hazard."""

    def scaled(text: str, scale: int) -> int:
        return int(Decimal(text) * scale)

    return tuple(
        Bucket(scaled(to, 100), scaled(arr, 1000), scaled(new, 1000), scaled(size, 10**8), scaled(occ, 1000), scaled(haz, 10**6))
        for to, arr, new, size, occ, haz in (line.split() for line in rows.strip().splitlines())
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(Decimal(value) * 10**8) for value in text.split())


# "1 tick" and "2-5 ticks" are written in basis points too: of BTCUSDT they reach to 0.0016 and 0.008.
BTC = Calibration(
    price_e8=61_837 * 10**8,
    tick_e8=10**6,
    bp_ticks=61_800,
    buckets=_buckets(
        """
        0.00   0.90  0.43 0.026  0.38 1.0
        0.01   0.98  0.72 0.0008 0.44 0.67
        0.2    5.1   4.3  0.049  2.6  1.10
        0.5    8.4   7.0  0.049  4.7  1.09
        1     13.4  11.8  0.054  9.0  0.87
        2     19.7  18.2  0.051  20   0.52
        5     39.8  37.5  0.050  76   0.28
        10    34.4  32.5  0.048  129  0.135
        20    37.9  35.1  0.049  285  0.067
        50    16.7  15.7  0.048  489  0.018
        100    3.0   2.7  0.0016 269  0.0038
        300    5.3   5.0  0.050  199  0.011
        1500   4.0   3.1  0.0016 285  0.0043
        """
    ),
    best=(7_100, 5_600),
    near_sizes=_sizes(".00001 .00009 .00021 .00059 .0057 .0328 .048 .0503 .078 .146 .324 .583 .784 2.26 5.38 10.2"),
    far_sizes=_sizes(".00001 .00009 .00016 .00031 .00103 .00486 .0181 .048 .049 .050 .055 .098 .654 4.22 125 555"),
    best_sizes=_sizes(".00001 .00935 .0715 .147 .376 .795 1.44 1.99 2.64 3.23 3.87 4.71 5.52 7.04 10.3 11.6"),
    taker_sizes=_sizes(".00001 .00009 .00009 .00017 .00025 .00044 .0011 .00316 .00686 .0146 .0324 .101 .254 1.04 4.33 13.7"),
    fills=(1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 6, 10, 22, 80, 735),
    taker_base=3_770,
    taker_children=(336, 320),
    taker_decay=(136_000, 5_300),
    sweep=140,
    jump_ticks=(1, 11, 20, 28, 42, 57, 73, 92, 116, 150, 201, 302, 424, 942, 1_630, 3_000),
    background=570,
    burst_size=1_600,
    jump_length=960,
    young=310,
)

ETH = Calibration(
    price_e8=2_683 * 10**8,
    tick_e8=10**6,
    bp_ticks=2_680,
    buckets=_buckets(
        """
        0.04   0.90  0.41 0.84  0.40 1.6
        0.2    3.0   1.8  0.85  1.1  1.6
        0.5    6.5   4.0  0.96  2.4  1.55
        1     10.5   6.4  1.2   4.6  1.36
        2     16.4  10.1  1.3   10.5 0.88
        5     30.2  16.4  1.5   37   0.42
        10    23.3  13.4  1.5   60   0.21
        20    39.0  18.4  1.3   142  0.133
        50    45.9  18.1  1.3   361  0.063
        100    1.7   1.2  0.037 313  0.0028
        300    3.0   2.6  1.5   182  0.0073
        1500   2.9   2.4  0.26  231  0.0038
        """
    ),
    best=(6_600, 5_700),
    near_sizes=_sizes(".0001 .002 .0039 .06 .478 .882 1.16 1.48 1.99 3.73 6.52 10.4 14.1 52.2 118 185"),
    far_sizes=_sizes(".0001 .0029 .0186 .1 1.09 1.11 1.14 1.16 1.32 1.43 1.5 1.82 2.97 101 476 3850"),
    best_sizes=_sizes(".0004 .0645 .667 1.94 2.86 4.3 6.36 9.58 12.9 16.4 20.3 27.6 35 60.8 94 186"),
    taker_sizes=_sizes(".0003 .002 .002 .0029 .0049 .0087 .0118 .026 .0796 .216 .56 1.77 3.2 11.9 41.4 500"),
    fills=(1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 4, 7, 11, 20, 37, 219),
    taker_base=1_800,
    taker_children=(505, 275),
    taker_decay=(95_000, 740),
    sweep=190,
    jump_ticks=(1, 1, 1, 2, 3, 4, 5, 6, 8, 10, 13, 19, 26, 40, 97, 180),
    background=595,
    burst_size=2_450,
    jump_length=600,
    young=195,
)

# Both markets: jumps a second; changes after a jump, by SHARES; how long the spread stays open, us, by SHARES.
JUMP_RATE = 2_800
BURST = (1, 2, 4, 6, 10, 14, 19, 25, 32, 44, 62, 100, 150, 317, 735, 1_500)  # lognormal(3.2, 1.1)
OPEN_US = (30, 60, 130, 210, 380, 560, 760, 1_000, 1_300, 1_700, 2_300, 3_800, 6_500, 33_000, 60_000, 80_000)


class Inverse:
    """A distribution by its values at SHARES, linear between; integers in, integers out."""

    def __init__(self, values: Sequence[int], *, bits: int = 10) -> None:
        """values: at SHARES, rising. bits: log2 of the table's length. See `inverse`."""
        self._shift = DRAW_BITS - bits
        size = 1 << bits
        self._table = [_between(values, 1000 * n, size) for n in range(size + 1)]

    def at(self, draw: int) -> int:
        """The value at draw / 2^DRAW_BITS."""
        place = draw >> self._shift
        low = self._table[place]
        return low + ((self._table[place + 1] - low) * (draw & ((1 << self._shift) - 1)) >> self._shift)


@cache
def inverse(values: tuple[int, ...]) -> Inverse:
    """The one table of these values."""
    return Inverse(values)


def _between(values: Sequence[int], numerator: int, denominator: int) -> int:
    """The value where the share is numerator / denominator per mille."""
    n = min(bisect_right(SHARES, numerator // denominator), len(SHARES) - 1)
    low, high = SHARES[n - 1], SHARES[n]
    part = numerator - low * denominator
    return values[n - 1] + (values[n] - values[n - 1]) * part // ((high - low) * denominator)


EXPONENTIAL_BITS = 10
UNIT = 1 << 16  # fixed point of exponential draws and of decays


@cache
def exponential() -> tuple[int, ...]:
    """2^10 equally likely values of an exponential variable with mean 1, in 1/UNIT."""
    size = 1 << EXPONENTIAL_BITS
    return tuple(int(-_EXACT.ln(Decimal(2 * n + 1) / (2 * size)) * UNIT) for n in range(size))


@cache
def decay(per_second: int, step_us: int, steps: int) -> tuple[int, ...]:
    """What is left of UNIT^2 after 0, 1, .. steps of step_us microseconds; per_second in thousandths."""
    one = int(_EXACT.exp(-Decimal(per_second) * step_us / 10**9) * UNIT * UNIT)
    left = [UNIT * UNIT]
    for _ in range(steps):
        left.append(left[-1] * one // (UNIT * UNIT))
    return tuple(left)


@cache
def burst_factor(jump: int, median: int) -> int:
    """How much a jump of that many ticks enlarges its burst, in thousandths: (length in medians * 0.92)^0.7 + 0.4, at most 3."""
    if not jump:
        return 400
    length = Decimal(jump) * 92 / (Decimal(median) * 100)
    return min(3_000, int(_EXACT.exp(_EXACT.ln(length) * Decimal("0.7")) * 1000) + 400)
