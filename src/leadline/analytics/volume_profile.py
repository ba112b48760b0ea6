"""Volume by price: where a window traded, how firm that picture is, and where it is thin (get_volume_profile, footprint).

Columns of trades go into a Histogram, histograms add, and `volume_profile` reads one. Quantities and quote values are exact;
shares, quartiles and everything about resamples are floats. Ties have rules, so that two programs give the same row.
Our own conventions, each open to a better one: the row width, the 10 % and 50 % of nodes, 300 resamples, 80 % persistence.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from leadline.core.errors import InvalidRequest
from leadline.core.records import Trade
from leadline.core.units import E8, decimal_text

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Method = Literal["single_row", "two_row"]

ROWS_MAX = 2_000
BATCHES_MIN = 30  # below that the answer is refused; the caller does it, who knows when there will be more
VALUE_AREA = 0.70
THIN_SAMPLE = 200  # effective trades
SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
SHORT_BLOCK_NS = 10 * SECOND_NS  # of windows below one hour
LONG_BLOCK_NS = 300 * SECOND_NS
BLOCKS_MIN = 10
RESAMPLES = 300
SEED = 20240808
PERSISTENCE_MIN = 0.8

_TOLERANCE = 1e-12  # of the total: what a target such as 0.7 may miss in floats
_EXACT_FLOAT_BITS = 53
_BUCKETS_BITS = 16  # the counters of one pass over prices stay in the cache


# What comes in and adds up -------------------------------------------------------------------


class Histogram(Struct, frozen=True):
    """What traded where and when: one line per trade, or per price and block of time once compacted. Histograms add.

    Lines are parallel int64 columns. Two lines may have the same price and time.
    """

    ts_ns: Ints
    """Trade time; the start of the block in a compacted one."""
    price_e8: Ints
    """Price."""
    buy_e8: Ints
    """Quantity that takers bought there, base asset."""
    sell_e8: Ints
    """Quantity that takers sold there, base asset."""
    fills: Ints
    """Raw trades of the line."""
    quote_e16: int
    """Sum of price times quantity, quote asset."""
    squares_e16: int
    """Sum of the squared quantities of the trades, before lines were put together."""
    batches: int
    """Taker orders: trades of one time and aggressor whose price never moves back against it."""
    first_ns: int
    """Trade time of the first trade; 0 without any."""
    last_ns: int
    """Trade time of the last trade; 0 without any."""
    block_ns: int = 0
    """Length of the blocks that times are rounded down to; 0: not compacted."""

    @classmethod
    def of(cls, *, ts_ns: Ints, price_e8: Ints, quantity_e8: Ints, taker_buy: Bools, fills: Ints) -> "Histogram":
        """From columns of trades in id order. Only the number of batches depends on the order."""
        buy = np.where(taker_buy, quantity_e8, 0)
        low = int(price_e8.min()) if len(price_e8) else 0  # above it prices are short, and their products cheap
        return cls(
            ts_ns=ts_ns,
            price_e8=price_e8,
            buy_e8=buy,
            sell_e8=quantity_e8 - buy,
            fills=fills,
            quote_e16=low * exact_sum(quantity_e8) + exact_dot(price_e8 - low, quantity_e8),
            squares_e16=exact_dot(quantity_e8, quantity_e8),
            batches=_batches(ts_ns, price_e8, taker_buy),
            first_ns=int(ts_ns.min()) if len(ts_ns) else 0,
            last_ns=int(ts_ns.max()) if len(ts_ns) else 0,
        )

    @classmethod
    def of_trades(cls, trades: Iterable[Trade]) -> "Histogram":
        """From records in id order."""
        rows = [(t.ts_trade_ns, t.price_e8, t.quantity_e8, t.fills, not t.buyer_is_maker) for t in trades]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
        ts_ns, price, quantity, fills, buys = (np.ascontiguousarray(column) for column in columns)
        return cls.of(ts_ns=ts_ns, price_e8=price, quantity_e8=quantity, taker_buy=buys.astype(bool), fills=fills)

    def compacted(self, block_ns: int = LONG_BLOCK_NS) -> "Histogram":
        """One line per price and block: a small thing to keep of an hour that will not change. Cut hours by trade time.

        Same profile as before, for windows whose blocks are a multiple of block_ns. Left as it is if a line could pass 64 bits.
        """
        if not len(self.ts_ns) or exact_sum(self.buy_e8) + exact_sum(self.sell_e8) >= 2**63:
            return self
        low = int(self.price_e8.min())
        block = self.ts_ns // block_ns
        first, prices = int(block.min()), int(self.price_e8.max()) - low + 1
        assert (int(block.max()) - first + 1) * prices < 2**63, "blocks times prices no longer fit one key"
        keys, line = np.unique((block - first) * prices + (self.price_e8 - low), return_inverse=True)
        return structs.replace(
            self,
            ts_ns=(keys // prices + first) * block_ns,
            price_e8=keys % prices + low,
            buy_e8=grouped(line, self.buy_e8, len(keys)),
            sell_e8=grouped(line, self.sell_e8, len(keys)),
            fills=grouped(line, self.fills, len(keys)),
            block_ns=block_ns,
        )


def merged(parts: Sequence[Histogram]) -> Histogram:
    """The sum of histograms that share no trade. A batch that is cut between two parts counts twice; hours never cut one."""
    filled = [part for part in parts if len(part.ts_ns)]

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in filled] or [np.zeros(0, np.int64)])

    return Histogram(
        ts_ns=joined("ts_ns"),
        price_e8=joined("price_e8"),
        buy_e8=joined("buy_e8"),
        sell_e8=joined("sell_e8"),
        fills=joined("fills"),
        quote_e16=sum(part.quote_e16 for part in filled),
        squares_e16=sum(part.squares_e16 for part in filled),
        batches=sum(part.batches for part in filled),
        first_ns=min((part.first_ns for part in filled), default=0),
        last_ns=max((part.last_ns for part in filled), default=0),
        block_ns=max((part.block_ns for part in filled), default=0),
    )


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
    blocks = _volume_by_block(histogram, quantity, row, count, covered_ns)
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
        poc_iqr=None if resampled is None else _poc_iqr_rows(resampled) * height / E8,
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
        reasons={"poc_iqr": "too_few", "nodes": "too_few"} if resampled is None else {},
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


# How firm it is --------------------------------------------------------------------------------------


def _volume_by_block(histogram: Histogram, quantity_e8: Ints, row: Ints, rows: int, covered_ns: int | None) -> Floats:
    """One line of rows per block in which something traded; a block without trades may be one that nobody recorded."""
    covered = histogram.last_ns - histogram.first_ns if covered_ns is None else covered_ns
    block_ns = SHORT_BLOCK_NS if covered < HOUR_NS else LONG_BLOCK_NS
    assert histogram.block_ns == 0 or block_ns % histogram.block_ns == 0, "compacted more coarsely than the blocks"
    first = histogram.first_ns // block_ns
    blocks = histogram.last_ns // block_ns - first + 1
    cell = (histogram.ts_ns // block_ns - first) * rows + row
    table: Floats = np.bincount(cell, quantity_e8, blocks * rows).astype(np.float64).reshape(blocks, rows)
    return table[table.any(axis=1)]


def resample(blocks: Floats, seed: int = SEED) -> Floats:
    """RESAMPLES profiles of as many blocks as there are, drawn with replacement: one line of rows each."""
    n = len(blocks)
    draws = (_random(seed, RESAMPLES * n) >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)
    lane = np.repeat(np.arange(RESAMPLES), n)
    times = np.bincount(lane * n + draws.astype(np.int64), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    return times.astype(np.float64) @ blocks


def _random(seed: int, n: int) -> NDArray[np.uint64]:
    """splitmix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers with every numpy, so a profile repeats for ever."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _poc_iqr_rows(resampled: Floats) -> float:
    """Quartile distance, linear between values, of the point of control over the lines; rows."""
    rows = resampled.shape[1]
    # In the order of the tie rule, so that the first maximum is the right one.
    order = np.lexsort((np.arange(rows), np.abs(2 * np.arange(rows) - (rows - 1))))
    low, high = np.quantile(order[np.argmax(resampled[:, order], axis=1)], (0.25, 0.75))
    return float(high - low)


class Candidate(Struct, frozen=True):
    """A node before the question whether it is stable. low, high: its first and last row."""

    kind: Literal["high", "low"]
    low: int
    high: int
    persistence: float
    deficit_pct: float | None

    def volume(self, volumes: Sequence[int]) -> int:
        """Sum over its rows."""
        return sum(volumes[self.low : self.high + 1])


def node_candidates(volumes: Sequence[int], resampled: Floats) -> list[Candidate]:
    """Every node of the smoothed rows, by rising price, with the share of resamples in which it is found within one row.

    A high node is its one row; a low node is the rows around its minimum below half of the smaller neighbouring high node.
    """
    smooth = _smoothed(np.vstack([np.array(volumes, dtype=np.float64), resampled]))
    highs, lows = _turning_rows(smooth)
    base = smooth[0]

    def persistence(found: Bools, row: int) -> float:
        return float(found[1:, max(0, row - 1) : row + 2].any(axis=1).mean())

    peaks = np.flatnonzero(highs[0]).tolist()
    nodes = [Candidate("high", row, row, persistence(highs, row), None) for row in peaks]
    for row in np.flatnonzero(lows[0]).tolist():
        smaller = min(base[max(k for k in peaks if k < row)], base[min(k for k in peaks if k > row)])
        low = high = row
        while 2 * base[low - 1] < smaller:
            low -= 1
        while 2 * base[high + 1] < smaller:
            high += 1
        nodes.append(Candidate("low", low, high, persistence(lows, row), float(100 * (1 - base[row] / smaller))))
    return sorted(nodes, key=lambda node: node.low)


def _smoothed(lines: Floats) -> Floats:
    """Four times (1/4, 1/2, 1/4) along the rows: whole numbers stay whole. Outside the range nothing traded."""
    smooth = 2 * lines
    smooth[:, 1:] += lines[:, :-1]
    smooth[:, :-1] += lines[:, 1:]
    return smooth


def _turning_rows(smooth: Floats) -> tuple[Bools, Bools]:
    """Which rows are high nodes and which low ones, in every line at once: one step per row over all lines.

    A top counts when the line rises to it and falls from it by a tenth of its largest row, both inside the range: these are the
    tops with that prominence. Of equal tops with no such fall between, the lower row is taken; of a flat bottom the middle.
    """
    lines, rows = smooth.shape
    highs, lows = np.zeros((lines, rows), bool), np.zeros((lines, rows), bool)
    largest = smooth.max(axis=1)
    rising = np.zeros(lines, bool)
    top, top_before = np.zeros(lines), np.zeros(lines)  # a top before is 0 until there is one, and nothing is below half of 0
    top_row = np.zeros(lines, np.int64)
    bottom = smooth[:, 0].copy()
    bottom_first, bottom_last = np.zeros(lines, np.int64), np.zeros(lines, np.int64)
    for k in range(1, rows):
        value = smooth[:, k]
        higher = rising & (value > top)
        top[higher], top_row[higher] = value[higher], k
        fallen = rising & (10 * (top - value) >= largest)

        falling = ~rising
        lower = falling & (value < bottom)
        bottom[lower], bottom_first[lower], bottom_last[lower] = value[lower], k, k
        bottom_last[falling & (value == bottom) & (bottom_last == k - 1)] = k
        risen = falling & (10 * (value - bottom) >= largest)
        top[risen], top_row[risen], rising[risen] = value[risen], k, True

        if fallen.any():
            where = np.flatnonzero(fallen)
            highs[where, top_row[where]] = True
            thin = where[2 * bottom[where] < np.minimum(top_before[where], top[where])]
            lows[thin, (bottom_first[thin] + bottom_last[thin]) // 2] = True
            top_before[where], bottom[where], rising[where] = top[where], value[where], False
            bottom_first[where], bottom_last[where] = k, k
    return highs, lows


# Exact sums -----------------------------------------------------------------------------------------


def exact_sum(values: Ints) -> int:
    """Sum of fewer than 2^31 non-negative int64, in two halves of 32 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def exact_dot(a: Ints, b: Ints) -> int:
    """Sum of products of non-negative int64: cut into parts so short that no sum of products of parts can pass 63 bits."""
    bits = (63 - len(a).bit_length()) // 2
    parts_b = _parts(b, bits)
    return sum(
        int(part_a @ part_b) << (bits * (i + j)) for i, part_a in enumerate(_parts(a, bits)) for j, part_b in enumerate(parts_b)
    )


def grouped(index: Ints, values: Ints, groups: int) -> NDArray[Any]:
    """Exact sums of non-negative int64 by index 0..groups-1: int64, or Python integers where the total passes 63 bits.

    np.bincount adds in float64, which is exact as long as no sum can pass 2^53: else the values are cut into parts.
    """
    total = exact_sum(values)
    if total < 2**_EXACT_FLOAT_BITS:
        return np.bincount(index, values, groups).astype(np.int64)
    bits = _EXACT_FLOAT_BITS - len(values).bit_length()
    sums = np.zeros(groups, np.int64 if total < 2**63 else object)
    for i, part in enumerate(_parts(values, bits)):
        sums += np.bincount(index, part, groups).astype(np.int64).astype(sums.dtype) * 2 ** (bits * i)
    return sums


def _parts(values: Ints, bits: int) -> list[Ints]:
    """Digits to the base 2^bits, lowest first."""
    length = int(values.max()).bit_length() if len(values) else 0
    return [(values >> shift) & (2**bits - 1) for shift in range(0, length, bits)]


def _batches(ts_ns: Ints, price_e8: Ints, taker_buy: Bools) -> int:
    if not len(ts_ns):
        return 0
    step = np.diff(price_e8)
    back = np.where(taker_buy[1:], step < 0, step > 0)
    return 1 + int(((np.diff(ts_ns) != 0) | (taker_buy[1:] != taker_buy[:-1]) | back).sum())
