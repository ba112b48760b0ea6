"""What the detectors need of each second beside its order flow and its health: messages, fills, range, large levels that died."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.clean import clean_rows, rows_with_all_trades
from leadline.analytics.stats import Floats

ACTIVITY_COLUMNS = (
    *("t", "state", "flags", "trade_state", "n_ids", "n_buy", "n_sell", "mid2_high", "mid2_low"),
    *("large_bid_quote", "large_ask_quote", "buy_quote", "sell_quote"),
)


class Activity(Struct, frozen=True):
    """One row per record, rising by t. NaN: not known, or the record is not clean.

    messages: update ids that the depth updates span. fills: raw trades. mid_range_e8: highest less lowest mid, quote of 1e-8.
    large_bid_quote, large_ask_quote: summed peaks of the fleeting large levels that died, quote; NaN without a size threshold.
    buy_quote, sell_quote: what takers traded, quote; NaN where trades are known to be missing.
    """

    t: NDArray[np.int64]
    messages: Floats
    fills: Floats
    mid_range_e8: Floats
    large_bid_quote: Floats
    large_ask_quote: Floats
    buy_quote: Floats
    sell_quote: Floats


def activity_of(columns: Mapping[str, NDArray[Any]]) -> Activity:
    """From ACTIVITY_COLUMNS of records as the store gives them."""
    clean = clean_rows(columns)
    complete = rows_with_all_trades(columns)

    def kept(values: NDArray[Any], known: NDArray[np.bool_] = clean) -> Floats:
        return np.where(known, values, np.nan)

    return Activity(
        t=columns["t"],
        messages=kept(columns["n_ids"]),
        fills=kept(columns["n_buy"] + columns["n_sell"], clean & complete),
        mid_range_e8=kept((columns["mid2_high"] - columns["mid2_low"]) / 2),
        large_bid_quote=kept(columns["large_bid_quote"]),
        large_ask_quote=kept(columns["large_ask_quote"]),
        buy_quote=kept(columns["buy_quote"], clean & complete),
        sell_quote=kept(columns["sell_quote"], clean & complete),
    )
