"""Levels that are larger than what usually rests at their distance from the mid."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from leadline.analytics.book_sides import Sides
from leadline.analytics.reasons import BASELINE_SHORT, BEYOND, TOO_FEW, UNDEFINED
from leadline.core.minute import BUCKETS_BPS
from leadline.core.records import TOP_LEVELS
from leadline.core.units import E16

WALL_MINUTES = 30  # minute blocks under which no size is called large


class Wall(Struct, frozen=True):
    """One of the 20 best levels that is larger than what is usual at its distance from the mid.

    price_e8: Price of the level, in quote units of 1e-8.
    quantity_e8: Quantity that rests there, in base units of 1e-8.
    value_e16: What that is worth, in quote units of 1e-16.
    threshold_quote: Value above which a level at this distance counts as large, in quote units.
    """

    price_e8: int
    quantity_e8: int
    value_e16: int
    threshold_quote: float


class Walls(Struct, frozen=True):
    """Unusually large levels within 10 bps, among the 20 best of each side.

    bids: Large bids, best first.
    asks: Large asks, best first.
    """

    bids: tuple[Wall, ...]
    asks: tuple[Wall, ...]


def walls_of(both: Sides, thresholds: Sequence[float | None] | None) -> Walls | str:
    """The walls, or the reason why they cannot be told. thresholds: of core.sizes.size_thresholds; None: no baseline yet."""
    if both.mid2 is None:
        return both.no_mid or UNDEFINED
    if thresholds is None or all(threshold is None for threshold in thresholds):
        return BASELINE_SHORT
    found: list[tuple[Wall, ...]] = []
    for side in (both.bids, both.asks):
        if not side.top_is_known:
            return BEYOND
        walls = []
        for price, quantity in side.levels[:TOP_LEVELS]:
            distance_bps = abs(2 * price - both.mid2) * 1e4 / both.mid2  # one rounding, so that an edge stays an edge
            bucket = int(np.searchsorted(BUCKETS_BPS, distance_bps, side="right"))
            if bucket == len(BUCKETS_BPS):
                break  # farther than any bucket: no size is called large there
            threshold = thresholds[bucket]
            if threshold is None:
                return TOO_FEW
            if price * quantity / E16 > threshold:
                walls.append(Wall(price, quantity, price * quantity, threshold))
        found.append(tuple(walls))
    return Walls(*found)
