"""Volume by price: where a window traded, how firm that picture is, and where it is thin (get_volume_profile, footprint).

`volume_profile` reads one Histogram. Quantities and quote values are exact; shares, quartiles and everything about resamples are
floats. Ties have rules, so that two programs give the same row.
Our own conventions, each open to a better one: the row width, 80 % persistence.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from leadline.analytics.firmness import node_candidates, poc_iqr_rows, resample, volume_by_block
from leadline.analytics.histogram import Histogram, Ints, exact_sum, grouped
from leadline.analytics.reasons import TOO_FEW
from leadline.core.errors import InvalidRequest
from leadline.core.units import E8, decimal_text

Method = Literal["single_row", "two_row"]

ROWS_MAX = 2_000
BATCHES_MIN = 30  # below that the answer is refused; the caller does it, who knows when there will be more
VALUE_AREA = 0.70
THIN_SAMPLE = 200  # effective trades
BLOCKS_MIN = 10
PERSISTENCE_MIN = 0.8

_TOLERANCE = 1e-12  # of the total: what a target such as 0.7 may miss in floats
_BUCKETS_BITS = 16  # the counters of one pass over prices stay in the cache


# What is given out -----------------------------------------------------------------------------


class Row(Struct, frozen=True):
    """One row [low_e8, high_e8) in which something traded."""

    low_e8: int
    """Lowest price of the row."""
    high_e8: int
    """First price above the row."""
    volume_e8: int
    """Quantity traded in the row, base asset."""
    buy_e8: int
    """Of it, what takers bought."""
    sell_e8: int
    """Of it, what takers sold."""
    delta_e8: int
    """Bought less sold."""
    fills: int
    """Raw trades in the row."""


class Node(Struct, frozen=True):
    """A row that stands out in the smoothed profile and does so again in resamples."""

    kind: Literal["high", "low"]
    """high: a local maximum of volume; low: a thin stretch between two of them."""
    low_e8: int
    """Lower edge of its lowest row."""
    high_e8: int
    """Upper edge of its highest row."""
    volume_e8: int
    """Quantity traded inside, base asset."""
    persistence: float
    """Share of the resamples in which it appears again within one row, in [0, 1]."""
    deficit_pct: float | None
    """How far its smoothed minimum lies below the smaller neighbouring high node, 0-100; None for high nodes."""


class VolumeProfile(Struct, frozen=True, kw_only=True):
    """Where trading happened and how firm that picture is; levels, not targets."""

    first_ns: int
    """Trade time of the first trade."""
    last_ns: int
    """Trade time of the last trade."""
    price_low_e8: int
    """Lowest price traded."""
    price_high_e8: int
    """Highest price traded."""
    row_e8: int
    """Height of a row; rows start at multiples of it."""
    row_count: int
    """Rows from the lowest price to the highest, empty ones included."""
    bin_rule: Literal["given", "auto"]
    """Who chose the height: the caller, or the width rule."""
    va_method: Method
    """How the value area grows: by one row, or by pairs of rows."""
    rows: tuple[Row, ...]
    """The rows that traded, by rising price; empty ones are left out."""
    total_volume_e8: int
    """Quantity traded, base asset."""
    total_quote_e16: int
    """Value traded, quote asset."""
    vwap_e16: int
    """Value over quantity: the mean price by volume, to the nearest 1e-16."""
    n_trades: int
    """Raw trades."""
    n_batches: int
    """Taker orders, as far as public trades show them."""
    n_eff: float
    """How many trades of equal size would be as good a sample; of aggregate trades as they are stored."""
    poc_low_e8: int
    """Lower edge of the row with most volume."""
    poc_high_e8: int
    """Upper edge of the row with most volume."""
    point_of_control_e16: int
    """Centre of that row; in 1e-16, because half a row may need a ninth decimal."""
    poc_share: float
    """Share of the volume in that row, in (0, 1]."""
    poc_iqr: float | None
    """Distance of the quartiles of the point of control over resamples of time blocks, quote asset; None: too few blocks."""
    value_area_low_e8: int
    """Lower edge of the lowest row of the value area, which grows from the point of control."""
    value_area_high_e8: int
    """Upper edge of its highest row."""
    value_area_share: float
    """Share of the volume inside it, at least the target."""
    hdi_low_e8: int
    """Lower edge of the shortest run of rows that holds the target; it need not hold the point of control."""
    hdi_high_e8: int
    """Upper edge of that run."""
    nodes: tuple[Node, ...] | None
    """Stable high and low nodes by rising price; empty: none is stable; None: too few blocks to tell."""
    n_blocks: int
    """Blocks of time with trades, which the resamples draw from."""
    warnings: tuple[str, ...]
    """`thin_sample`: n_eff is below 200."""
    reasons: dict[str, str]
    """Field -> reason code, for each field that is None."""


def volume_profile(
    histogram: Histogram,
    *,
    tick_e8: int,
    row_e8: int | None = None,
    covered_ns: int | None = None,
    value_area: float = VALUE_AREA,
    va_method: Method = "single_row",
) -> VolumeProfile | None:
    """The profile of all trades of the histogram; None without a trade.

    row_e8: height of a row, a whole multiple of the tick (else InvalidRequest), None for the width rule. covered_ns: time really
    covered, which decides between blocks of 10 s and 5 min; None: from the first trade to the last.
    """
    total = exact_sum(histogram.buy_e8) + exact_sum(histogram.sell_e8)
    if not total:
        return None
    price = histogram.price_e8
    low, high = int(price.min()), int(price.max())
    # A line holds either side or, compacted, both: 64 bits are enough for the whole (compacted) or for either part (trades).
    quantity = histogram.buy_e8 + histogram.sell_e8
    n_eff = total * total / histogram.squares_e16
    if row_e8 is None:
        target = row_target_ticks(low, high, _quartile_distance_e8(price, quantity, total), n_eff, tick_e8)
        height = nearest_step(target) * tick_e8
    else:
        height = _given_row(row_e8, low, high, tick_e8)

    first_row = low // height
    row = price // height - first_row
    count = high // height - first_row + 1
    buy, sell, fills = (grouped(row, column, count).tolist() for column in (histogram.buy_e8, histogram.sell_e8, histogram.fills))
    volumes = [b + s for b, s in zip(buy, sell, strict=True)]

    def edge(k: int) -> int:
        return (first_row + k) * height

    poc = point_of_control(volumes)
    below, above = grown_area(volumes, poc, value_area, va_method)
    shortest = shortest_run(volumes, value_area)
    blocks = volume_by_block(histogram, quantity, row, count, covered_ns)
    resampled = resample(blocks) if len(blocks) >= BLOCKS_MIN else None
    return VolumeProfile(
        first_ns=histogram.first_ns,
        last_ns=histogram.last_ns,
        price_low_e8=low,
        price_high_e8=high,
        row_e8=height,
        row_count=count,
        bin_rule="auto" if row_e8 is None else "given",
        va_method=va_method,
        rows=tuple(
            Row(edge(k), edge(k + 1), volumes[k], buy[k], sell[k], buy[k] - sell[k], fills[k])
            for k in range(count)
            if fills[k] or volumes[k]
        ),
        total_volume_e8=total,
        total_quote_e16=histogram.quote_e16,
        vwap_e16=(2 * histogram.quote_e16 * E8 + total) // (2 * total),
        n_trades=sum(fills),
        n_batches=histogram.batches,
        n_eff=n_eff,
        poc_low_e8=edge(poc),
        poc_high_e8=edge(poc + 1),
        point_of_control_e16=(edge(poc) + edge(poc + 1)) * E8 // 2,
        poc_share=volumes[poc] / total,
        poc_iqr=None if resampled is None else poc_iqr_rows(resampled) * height / E8,
        value_area_low_e8=edge(below),
        value_area_high_e8=edge(above + 1),
        value_area_share=sum(volumes[below : above + 1]) / total,
        hdi_low_e8=edge(shortest[0]),
        hdi_high_e8=edge(shortest[1] + 1),
        nodes=None
        if resampled is None
        else tuple(
            Node(node.kind, edge(node.low), edge(node.high + 1), node.volume(volumes), node.persistence, node.deficit_pct)
            for node in node_candidates(volumes, resampled)
            if node.persistence >= PERSISTENCE_MIN
        ),
        n_blocks=len(blocks),
        warnings=("thin_sample",) if n_eff < THIN_SAMPLE else (),
        reasons={"poc_iqr": TOO_FEW, "nodes": TOO_FEW} if resampled is None else {},
    )


class Bar(Struct, frozen=True):
    """One bar of a footprint: the rows that traded in [start_ns, start_ns + bar length). A bar without trades is left out."""

    start_ns: int
    """Start of the bar, a multiple of its length."""
    rows: tuple[Row, ...]
    """The rows that traded, by rising price."""


def footprint(histogram: Histogram, *, row_e8: int, bar_ns: int) -> list[Bar]:
    """Rows per bar of bar_ns by trade time. Summed over bars they are the profile of the same trades at the same height."""
    assert histogram.block_ns == 0 or bar_ns % histogram.block_ns == 0, "compacted more coarsely than the bars"
    if not len(histogram.ts_ns):
        return []
    bar, row = histogram.ts_ns // bar_ns, histogram.price_e8 // row_e8
    first_bar, first_row = int(bar.min()), int(row.min())
    count = int(row.max()) - first_row + 1
    keys, cell = np.unique((bar - first_bar) * count + (row - first_row), return_inverse=True)
    sums = (grouped(cell, column, len(keys)).tolist() for column in (histogram.buy_e8, histogram.sell_e8, histogram.fills))
    bars: dict[int, list[Row]] = {}
    for key, buy, sell, fills in zip(keys.tolist(), *sums, strict=True):
        start, low = (key // count + first_bar) * bar_ns, (key % count + first_row) * row_e8
        bars.setdefault(start, []).append(Row(low, low + row_e8, buy + sell, buy, sell, buy - sell, fills))
    return [Bar(start, tuple(rows)) for start, rows in bars.items()]


# Height of a row ---------------------------------------------------------------------------------


def row_target_ticks(low_e8: int, high_e8: int, iqr_e8: int, n_eff: float, tick_e8: int) -> float:
    """Freedman-Diaconis with volume weights, between a 200th and a 30th of the range; ticks. 0 for a single price."""
    reach = (high_e8 - low_e8) / tick_e8
    return min(max(2 * iqr_e8 / tick_e8 / math.cbrt(n_eff), reach / 200), reach / 30)


def nearest_step(target: float) -> int:
    """The whole number of {1, 2, 2.5, 5} x 10^j whose ratio to the target is nearest to 1; the smaller of two; 1 for 0."""
    if target <= 1:
        return 1
    ten = int(10 ** int(math.log10(target)))
    steps = [step * power // 10 for power in (ten, ten * 10) for step in (10, 20, 25, 50) if step * power % 10 == 0]
    return min(steps, key=lambda step: (abs(math.log(step / target)), step))


def _given_row(row_e8: int, low_e8: int, high_e8: int, tick_e8: int) -> int:
    if row_e8 <= 0 or row_e8 % tick_e8:
        tick = decimal_text(tick_e8)
        raise InvalidRequest(
            "tick_size", f"{decimal_text(row_e8)} is no whole multiple of the tick {tick}", f"multiples of {tick}"
        )
    if high_e8 // row_e8 - low_e8 // row_e8 < ROWS_MAX:
        return row_e8
    ticks = max(1, (high_e8 - low_e8) // (ROWS_MAX * tick_e8))
    while high_e8 // (ticks * tick_e8) - low_e8 // (ticks * tick_e8) >= ROWS_MAX:
        ticks += 1
    fits = decimal_text(ticks * tick_e8)
    raise InvalidRequest("tick_size", f"{decimal_text(row_e8)} gives more than {ROWS_MAX} rows; {fits} fits", f"at least {fits}")


def _quartile_distance_e8(price_e8: Ints, quantity_e8: Ints, total_e8: int) -> int:
    low, high = _prices_reaching(price_e8, quantity_e8, [-(-total_e8 // 4), -(-3 * total_e8 // 4)])
    return high - low


def _prices_reaching(price_e8: Ints, quantity_e8: Ints, needs_e8: Sequence[int]) -> list[int]:
    """The smallest price up to which at least so much was traded, for each need. Buckets are counted, the right one is opened."""
    low = int(price_e8.min())
    shift = max(0, (int(price_e8.max()) - low).bit_length() - _BUCKETS_BITS)
    bucket = (price_e8 - low) >> shift
    reached = np.cumsum(grouped(bucket, quantity_e8, int(bucket.max()) + 1))
    prices = []
    for need in needs_e8:
        found = int(np.searchsorted(reached, need))
        if shift == 0:
            prices.append(low + found)
        else:
            inside, before = bucket == found, int(reached[found - 1]) if found else 0
            prices += _prices_reaching(price_e8[inside], quantity_e8[inside], [need - before])
    return prices


# Rows that are given a name ------------------------------------------------------------------------


def point_of_control(volumes: Sequence[int]) -> int:
    """The row of largest volume; ties: nearest to the centre, then the lower."""
    last = len(volumes) - 1
    return min(range(len(volumes)), key=lambda k: (-volumes[k], abs(2 * k - last), k))


def grown_area(volumes: Sequence[int], poc: int, target: float, method: Method) -> tuple[int, int]:
    """First and last row of the value area: from the point of control the larger neighbour is added until the target is held.

    two_row compares and adds pairs (Dalton, Jones, Dalton, Mind over Markets). Equal: the side with fewer rows added so far, then
    above. A missing side loses, an empty row counts 0 and is crossed.
    """
    step = 1 if method == "single_row" else 2
    need = (target - _TOLERANCE) * sum(volumes)
    low = high = poc
    held = volumes[poc]
    while held < need:
        below, above = volumes[max(0, low - step) : low], volumes[high + 1 : high + 1 + step]
        if not below and not above:
            break
        down, up = (sum(below) if below else -1), (sum(above) if above else -1)
        if up > down or (up == down and high - poc <= poc - low):
            high, held = high + len(above), held + up
        else:
            low, held = low - len(below), held + down
    return low, high


def shortest_run(volumes: Sequence[int], target: float) -> tuple[int, int]:
    """First and last row of the shortest run that holds the target; ties: more volume, then the lower."""
    need = (target - _TOLERANCE) * sum(volumes)
    best = (len(volumes), -sum(volumes), 0)  # rows, volume negated, first row
    first = held = 0
    for last, volume in enumerate(volumes):
        held += volume
        while held - volumes[first] >= need and first < last:
            held -= volumes[first]
            first += 1
        if held >= need:
            best = min(best, (last - first + 1, -held, first))
    return best[2], best[2] + best[0] - 1
