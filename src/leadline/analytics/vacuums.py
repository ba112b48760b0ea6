"""Where the market is thin: prices at which little traded, and prices at which little rests now (get_liquidity_vacuums).

Two lists that are never mixed. Nothing we know of shows that such zones are crossed faster: "thin", not "price will jump".
Resting zones are read from a ring of ticks, each the book in cells of about half a basis point, anchored at price 0.
The thresholds (2 bps, 70 % of the ring, a quarter of the base) are our own conventions.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from leadline.analytics.reasons import BASELINE_SHORT, TOO_FEW
from leadline.analytics.stats import Floats
from leadline.analytics.volume_profile import VolumeProfile
from leadline.core.cells import TickCells
from leadline.core.minute import BIN_BPS
from leadline.core.near import REACH_BPS
from leadline.core.records import Level
from leadline.core.units import E16, decimal_text

Side = Literal["below", "above", "contains_mid"]

RING_MIN = 10
WIDTH_BPS_MIN = 2
SEEN_SHARE_MIN = 0.70
THIN_SHARE = 0.25
BASELINE_MINUTES = 30
NEAREST = 10


# What comes in -------------------------------------------------------------------------------


class BookCells(Struct, frozen=True):
    """The book of one tick. Cell k is [k * cell_e8, (k + 1) * cell_e8). In one without a key nothing is known to rest."""

    ts_ns: int
    """The moment of the tick."""
    mid2_e8: int
    """Best bid plus best ask."""
    cell_e8: int
    """Height of a cell."""
    bids_e16: Mapping[int, int]
    """Cell -> quote value of the bids in it."""
    asks_e16: Mapping[int, int]
    """Cell -> quote value of the asks in it."""
    known_bid_e8: int | None = None
    """Lowest price down to which the bids are complete; None: to the end."""
    known_ask_e8: int | None = None
    """Highest price up to which the asks are complete; None: to the end."""


def cells_of(tick: TickCells) -> BookCells:
    """A tick of the ring. Its quote values are floats: they tell what is empty or thin, never an amount that is served."""

    def cells(first: int, quotes: Floats) -> dict[int, int]:
        return {first + int(place): round(float(quotes[place]) * E16) for place in np.flatnonzero(quotes)}

    return BookCells(
        tick.ts_ns,
        tick.mid2_e8,
        tick.cell_e8,
        cells(tick.bid_from, tick.bids),
        cells(tick.ask_from, tick.asks),
        tick.known_bid_e8,
        tick.known_ask_e8,
    )


def book_cells(
    bids: Iterable[Level],
    asks: Iterable[Level],
    *,
    ts_ns: int,
    cell_e8: int,
    known_bid_e8: int | None = None,
    known_ask_e8: int | None = None,
) -> BookCells | None:
    """The levels (best first) within 50 bps of the mid, in cells; None where one side is empty."""
    bids, asks = list(bids), list(asks)
    if not bids or not asks:
        return None
    mid2 = bids[0][0] + asks[0][0]

    def cells(levels: list[Level]) -> dict[int, int]:
        found: dict[int, int] = {}
        for price, quantity in levels:
            if 10_000 * abs(2 * price - mid2) > REACH_BPS * mid2:
                break
            found[price // cell_e8] = found.get(price // cell_e8, 0) + price * quantity
        return found

    return BookCells(ts_ns, mid2, cell_e8, cells(bids), cells(asks), known_bid_e8, known_ask_e8)


class BaseDensity(Struct, frozen=True):
    """What usually rests at a distance: quote value per bp in bins of half a bp from the mid, the median over minute blocks.

    None where fewer than 30 blocks know the bin. minutes: blocks with samples.
    """

    bid: tuple[float | None, ...]
    ask: tuple[float | None, ...]
    minutes: int


def base_density(density: Floats) -> BaseDensity:
    """density: (n, 2, 100), quote value per bp of n minutes, bids first; NaN where a minute does not know a bin."""

    def medians(rows: Floats) -> tuple[float | None, ...]:
        known = [column[~np.isnan(column)] for column in rows.T]
        return tuple(float(np.median(column)) if len(column) >= BASELINE_MINUTES else None for column in known)

    return BaseDensity(medians(density[:, 0]), medians(density[:, 1]), len(density))


# What is given out -----------------------------------------------------------------------------


class TradedZone(Struct, frozen=True, kw_only=True):
    """A stretch of prices at which little traded, between two at which much did."""

    vacuum_id: str
    """The same for the same list, kind and prices."""
    low_e8: int
    """Lowest price of the zone."""
    high_e8: int
    """First price above it."""
    side: Side
    """Where it lies from the mid."""
    kind: Literal["low_volume_node"]
    """What makes it a zone."""
    width_bps: float
    """Its height, in bps of the mid."""
    deficit_pct: float
    """How far its smoothed minimum lies below the smaller neighbouring high node, 0-100."""
    persistence: float
    """Share of resamples of the trades in which it appears again, in [0, 1]."""
    detected_ns: int
    """Trade time of the last trade that the profile knew."""
    median_volume_e8: int
    """Median quantity of the rows of the profile that traded, base asset; of an even number the mean of the two, rounded down."""
    actual_volume_e8: int
    """Mean quantity of the rows of the zone, base asset, rounded down."""
    volume_e8: int
    """Quantity traded in the zone, base asset."""


class RestingZone(Struct, frozen=True, kw_only=True):
    """A stretch of prices on one side of the mid at which little or nothing rests now, and did not in the ticks before."""

    vacuum_id: str
    """The same for the same list, kind and prices."""
    low_e8: int
    """Lowest price of the zone."""
    high_e8: int
    """First price above it."""
    side: Side
    """below: among the bids; above: among the asks."""
    kind: Literal["empty", "thin"]
    """empty: nothing rests in any cell; thin: less than a quarter of what usually rests at that distance."""
    width_bps: float
    """Its height, in bps of the mid."""
    deficit_pct: float | None
    """How much less rests in it than usual, 0-100; None without a baseline for all of its cells."""
    persistence: float
    """Share of the ring's ticks at which its least constant cell was so, in [0.7, 1]."""
    detected_ns: int
    """The tick of the book."""
    quote_to_reach_e16: int
    """Quote value that rests between the mid and the zone."""
    quote_in_zone_e16: int
    """Quote value that rests in the zone."""
    quote_to_cross_e16: int
    """The sum of both."""
    p_cross_1m: float | None
    """Share of the baseline's minutes in which takers traded more than that, net, in this direction; None: too few minutes."""


class TradedZones(Struct, frozen=True):
    """Zones in past volume, the nearest 10 a side, by rising price. None at all is usual for a short window."""

    status: Literal["ok", "too_few"]
    """too_few: not enough time to tell what is stable."""
    reason: str | None
    """Reason code; None: ok."""
    n_eff: float | None
    """How many trades of equal size would be as good a sample; None without a trade."""
    zones: tuple[TradedZone, ...]
    """The zones."""


class RestingZones(Struct, frozen=True):
    """Zones in the book now, the nearest 10 a side, by rising price. None at all is usual.

    status too_few: the ring is too short, nothing was looked at. baseline_short: empty zones were looked for, thin ones were not.
    """

    status: Literal["ok", "too_few", "baseline_short"]
    """What was looked at."""
    reason: str | None
    """Reason code; None: ok."""
    samples: int
    """Ticks in the ring."""
    zones: tuple[RestingZone, ...]
    """The zones."""
    reasons: dict[str, str]
    """Field of a zone -> reason code, for fields that are None."""


def traded_zones(profile: VolumeProfile | None, mid2_e8: int) -> TradedZones:
    """The low nodes of a profile, seen from the mid."""
    if profile is None or profile.nodes is None:
        return TradedZones(TOO_FEW, TOO_FEW, None if profile is None else profile.n_eff, ())
    middle = _median_floor([row.volume_e8 for row in profile.rows])
    zones = [
        TradedZone(
            vacuum_id=_name("low_volume_node", node.low_e8, node.high_e8),
            low_e8=node.low_e8,
            high_e8=node.high_e8,
            side=_side(node.low_e8, node.high_e8, mid2_e8),
            kind="low_volume_node",
            width_bps=_bps(node.high_e8 - node.low_e8, mid2_e8),
            deficit_pct=node.deficit_pct,
            persistence=node.persistence,
            detected_ns=profile.last_ns,
            median_volume_e8=middle,
            actual_volume_e8=node.volume_e8 * profile.row_e8 // (node.high_e8 - node.low_e8),
            volume_e8=node.volume_e8,
        )
        for node in profile.nodes
        if node.deficit_pct is not None
    ]
    below = [zone for zone in zones if zone.side == "below"][-NEAREST:]
    around = [zone for zone in zones if zone.side == "contains_mid"]
    above = [zone for zone in zones if zone.side == "above"][:NEAREST]
    return TradedZones("ok", None, profile.n_eff, (*below, *around, *above))


def resting_zones(
    ring: Sequence[BookCells], base: BaseDensity | None = None, minute_net_quote: Floats | None = None
) -> RestingZones:
    """Zones of the newest tick, checked against the ring (oldest first, one epoch, one height of cells).

    base: what usually rests; None: not ready. minute_net_quote: bought less sold quote value of each baseline minute.
    """
    assert len({tick.cell_e8 for tick in ring}) <= 1, "a ring has one height of cells"
    if len(ring) < RING_MIN:
        return RestingZones(TOO_FEW, TOO_FEW, len(ring), (), {})
    ready = base is not None and base.minutes >= BASELINE_MINUTES
    flows = None if minute_net_quote is None or len(minute_net_quote) < BASELINE_MINUTES else minute_net_quote
    zones: list[RestingZone] = []
    for sign in (-1, 1):
        sides = [_BookSide(tick, sign, base if ready else None) for tick in ring]
        empty = _runs(sides, lambda side, cell: side.empty(cell))
        runs = [("empty", run) for run in empty]
        if ready:
            wider = _runs(sides, lambda side, cell: side.empty(cell) or side.thin(cell))
            runs += [("thin", run) for run in wider if run[0] not in [cells for cells, _ in empty]]
        found = [_zone(kind, run, sides[-1], flows) for kind, run in runs]
        zones += sorted(found, key=lambda zone: sign * zone.low_e8)[:NEAREST]
    reasons = {} if flows is not None else {"p_cross_1m": BASELINE_SHORT}
    if any(zone.deficit_pct is None for zone in zones):
        reasons["deficit_pct"] = TOO_FEW if ready else BASELINE_SHORT
    status: Literal["ok", "baseline_short"] = "ok" if ready else BASELINE_SHORT
    zones.sort(key=lambda zone: (zone.low_e8, zone.high_e8))
    return RestingZones(status, None if ready else status, len(ring), tuple(zones), reasons)


# One side of one tick ------------------------------------------------------------------------------


class _BookSide:
    """What can be said of a cell at one tick; sign +1: asks, -1: bids."""

    def __init__(self, tick: BookCells, sign: int, base: BaseDensity | None) -> None:
        self.tick, self.sign = tick, sign
        self._values = tick.asks_e16 if sign > 0 else tick.bids_e16
        self._base = None if base is None else base.ask if sign > 0 else base.bid
        self.width_bps = _bps(tick.cell_e8, tick.mid2_e8)
        cell, mid2, mid_cell = tick.cell_e8, tick.mid2_e8, tick.mid2_e8 // (2 * tick.cell_e8)
        if sign > 0:
            edges = [mid2 * (10_000 + REACH_BPS) // (20_000 * cell)]
            edges += [] if tick.known_ask_e8 is None else [tick.known_ask_e8 // cell]
            self._known = range(mid_cell + 1, min(edges))
        else:
            edges = [-(-mid2 * (10_000 - REACH_BPS) // (20_000 * cell))]
            edges += [] if tick.known_bid_e8 is None else [-(-tick.known_bid_e8 // cell)]
            self._known = range(max(edges), mid_cell)

    def cells(self) -> list[int]:
        """Cells beyond the one that holds the mid, outwards, that lie wholly within 50 bps and the known range."""
        return list(self._known)[:: self.sign]

    def empty(self, cell: int) -> bool:
        """Nothing rests in a known cell."""
        return cell in self._known and not self._values.get(cell)

    def thin(self, cell: int) -> bool:
        """Less than a quarter of what usually rests at that distance; never where that is nothing."""
        usual = self.usual(cell)
        return usual is not None and cell in self._known and self.value(cell) / E16 < THIN_SHARE * usual

    def value(self, cell: int) -> int:
        """Quote value in the cell, 1e-16."""
        return self._values.get(cell, 0)

    def usual(self, cell: int) -> float | None:
        """Quote value that usually rests in a cell at the distance of this one's centre; None: not known."""
        if self._base is None:
            return None
        distance_bps = 1e4 * abs((2 * cell + 1) * self.tick.cell_e8 - self.tick.mid2_e8) / self.tick.mid2_e8
        place = int(distance_bps / BIN_BPS)
        density = self._base[place] if place < len(self._base) else None
        return None if density is None else density * self.width_bps

    def value_before(self, cell: int) -> int:
        """Quote value between the mid and the cell, 1e-16."""
        return sum(value for other, value in self._values.items() if self.sign * (cell - other) > 0)


def _runs(sides: Sequence[_BookSide], so: Callable[[_BookSide, int], bool]) -> list[tuple[list[int], float]]:
    """Runs of neighbouring cells, outwards, that are so now and in most of the ring, and are wide enough together; and the share
    of ticks at which the least constant of the cells was so."""
    now = sides[-1]
    runs: list[tuple[list[int], float]] = []
    cells: list[int] = []
    shares: list[float] = []
    for cell in [*now.cells(), None]:
        share = 0.0
        if cell is not None and so(now, cell):
            share = sum(so(side, cell) for side in sides) / len(sides)
        if cell is not None and share >= SEEN_SHARE_MIN:
            cells.append(cell)
            shares.append(share)
            continue
        # n * cell / mid, compared as integers: 2 bps are 2 bps
        if cells and 20_000 * len(cells) * now.tick.cell_e8 >= WIDTH_BPS_MIN * now.tick.mid2_e8:
            runs.append((cells, min(shares)))
        cells, shares = [], []
    return runs


def _zone(kind: str, run: tuple[list[int], float], side: _BookSide, flows: Floats | None) -> RestingZone:
    cells, persistence = run
    low, high = min(cells) * side.tick.cell_e8, (max(cells) + 1) * side.tick.cell_e8
    reach, inside = side.value_before(cells[0]), sum(side.value(cell) for cell in cells)
    usual = [side.usual(cell) for cell in cells]
    expected = math.fsum(value for value in usual if value is not None) if None not in usual else 0.0
    return RestingZone(
        vacuum_id=_name(kind, low, high),
        low_e8=low,
        high_e8=high,
        side="above" if side.sign > 0 else "below",
        kind="empty" if kind == "empty" else "thin",
        width_bps=_bps(high - low, side.tick.mid2_e8),
        deficit_pct=100 * (1 - inside / E16 / expected) if expected else None,
        persistence=persistence,
        detected_ns=side.tick.ts_ns,
        quote_to_reach_e16=reach,
        quote_in_zone_e16=inside,
        quote_to_cross_e16=reach + inside,
        p_cross_1m=None if flows is None else float(np.mean(side.sign * flows > (reach + inside) / E16)),
    )


def _bps(height_e8: int, mid2_e8: int) -> float:
    return 20_000 * height_e8 / mid2_e8


def _side(low_e8: int, high_e8: int, mid2_e8: int) -> Side:
    return "below" if 2 * high_e8 <= mid2_e8 else "above" if 2 * low_e8 >= mid2_e8 else "contains_mid"


def _name(kind: str, low_e8: int, high_e8: int) -> str:
    return f"{kind}:{decimal_text(low_e8)}-{decimal_text(high_e8)}"


def _median_floor(volumes: Sequence[int]) -> int:
    ordered = sorted(volumes)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2
