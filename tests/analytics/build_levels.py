"""Records with notable levels in them, for tests of the detectors that read those (C and D). Times are seconds from DAY."""

import numpy as np
from msgspec.structs import replace
from tests.analytics.build_anomalies import DAY, E8, E16, activity
from tests.analytics.build_flow import second

from leadline.core.records import BookState, Flag, LevelEvent

MID2 = 20_000 * E8  # a mid of 10,000: a basis point is 1 in quote, 2 in mid2


def level(side="bid", born=4.2, died=4.9, *, price=9_999, quote=10_000, kind="fleeting", shown=0, traded=0):
    """A level of so much quote value at its peak; shown, traded: in base units."""
    peak_e8 = round(quote * E8 / price)
    distance_bps = abs(2 * price * E8 - MID2) * 1e4 / MID2
    stamps = round((DAY + born) * 1000), round((DAY + died) * 1000)
    return LevelEvent(kind, side, price * E8, peak_e8, round(shown * E8), round(traded * E8), *stamps, distance_bps)


def record(t, *levels, large=(0, 0), mids=(0, 0, 0, 0), bought=0, sold=0, **changes):
    """large: quote value of the fleeting levels of both sides that died; mids: open, high, low, close in bps from 10,000."""
    opened, high, low, close = (MID2 + round(2 * bps * E8) for bps in mids)
    bids, asks = (None, None) if large is None else large
    return replace(
        second(DAY + t, mids=(opened, close)),
        **{
            "mid2_high": high,
            "mid2_low": low,
            "buy_quote": round(bought * E16),
            "sell_quote": round(sold * E16),
            "large_bid_quote": None if bids is None else round(bids * E16),
            "large_ask_quote": None if asks is None else round(asks * E16),
            "n_large_bid": None if bids is None else sum(one.side == "bid" for one in levels),
            "n_large_ask": None if asks is None else sum(one.side == "ask" for one in levels),
            "level_events": list(levels),
            "n_sweeps": 0,
            "n_excess": 0,
            "excess_quote": 0,
        }
        | changes,
    )


def faulty(one, fault=Flag.GAP):
    return replace(one, flags=fault)


def rows_of(records):
    """The same seconds as columns: not known without a size threshold, or where the record is not clean."""
    clean = [one.state is BookState.LIVE and not one.flags for one in records]

    def column(name):
        values = [getattr(one, name) for one in records]
        return [np.nan if v is None or not ok else v / E16 for v, ok in zip(values, clean, strict=True)]

    return activity(
        np.array([one.t for one in records], np.int64),
        bids=column("large_bid_quote"),
        asks=column("large_ask_quote"),
        bought=column("buy_quote"),
        sold=column("sell_quote"),
    )
