"""What is usual of a symbol, from its clean records: the yardstick of injections, never of detectors."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bench.injection.plain import ASK, BID
from leadline.core.minute import BUCKETS_BPS
from leadline.core.records import BANDS_BPS
from leadline.store.history import History

BAND_10 = BANDS_BPS.index(10)
PART_S = 10


class Usual(Struct, frozen=True):
    """Over the clean seconds looked at.

    n_ids: median of update ids a second. size_p99_quote: by distance bucket of the minute blocks, the median of their p99.
    taker_quote_p99: of a second, by the side that is hit (BID: sells). signed_quote_p99: size of net taker value of ten seconds.
    depth_p01: 1 % quantile of the smaller side within 10 bps, quote.
    """

    n_ids: float
    size_p99_quote: tuple[float, ...]
    taker_quote_p99: tuple[float, float]
    signed_quote_p99: float
    depth_p01: float

    def large_quote(self, bps: float) -> float:
        """Size that passes for large at that distance."""
        return self.size_p99_quote[int(np.searchsorted(BUCKETS_BPS, bps, side="right"))]


def usual_of(history: History, symbol: str, lo: int, hi: int) -> Usual:
    """Of the records with lo <= t < hi, at least a minute of them."""
    names = ["n_ids", "buy_quote", "sell_quote", "depth_bid", "depth_ask"]
    columns = history.second_columns(symbol, lo, hi, names).columns
    blocks = [record.minute for record in history.seconds(symbol, lo, hi).rows if record.minute is not None]
    sizes = np.array([block.size_p99 for block in blocks], float)
    net = (columns["buy_quote"] - columns["sell_quote"])[: (hi - lo) // PART_S * PART_S]
    parts = np.abs(net[: len(net) // PART_S * PART_S].reshape(-1, PART_S).sum(axis=1))
    takers = {BID: columns["sell_quote"], ASK: columns["buy_quote"]}
    return Usual(
        float(np.median(columns["n_ids"])),
        tuple(float(size) for size in np.nanmedian(sizes, axis=0)),
        (float(np.quantile(takers[BID], 0.99)), float(np.quantile(takers[ASK], 0.99))),
        float(np.quantile(parts, 0.99)),
        float(np.quantile(least_depth(columns["depth_bid"], columns["depth_ask"]), 0.01)),
    )


def least_depth(depth_bid: NDArray[np.float64], depth_ask: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smaller side within 10 bps, second by second, quote."""
    return np.minimum(depth_bid[:, BAND_10], depth_ask[:, BAND_10])
