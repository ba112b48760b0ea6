"""What other people's packages make of numbers that they are given: a question a line in, an answer a line out, as JSON.

Runs in an environment of its own (`make others`), so it imports nothing of leadline. A question is {"ask": name, ...arguments}.
Prices and quantities are floats in whole units, as the packages want them.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from frds.measures.spread import effective_spread, quoted_spread
from market_profile import MarketProfile
from orderflow_metrics import L1Quote, Trade, ofi_series, trade_imbalance
from orderflow_metrics.execution import FlowObservation, kyle_lambda
from orderflow_metrics.liquidity import ReturnVolume, amihud_illiquidity
from orderflow_metrics.mlofi import BookSnapshot, multi_level_ofi
from orderflow_metrics.orderbook import Level


def versions(names):
    return {name: version(name) for name in names}


# orderflow-metrics ---------------------------------------------------------------------


def flow_of_quotes(quotes):
    """Order flow of each step. quotes: bid price, bid size, ask price, ask size."""
    return ofi_series([L1Quote(*quote) for quote in quotes])


def flow_by_rank(before, after, ranks):
    """before, after: bids and asks, each a list of price and size, best first."""
    first, second = (BookSnapshot(*([Level(*level) for level in side] for side in book)) for book in (before, after))
    return multi_level_ofi(first, second, ranks)


def imbalance(trades):
    """trades: price, size, "buy" or "sell"."""
    return trade_imbalance([Trade(*trade) for trade in trades])


def slope(moves, volumes):
    return kyle_lambda([FlowObservation(*one) for one in zip(moves, volumes, strict=True)])


def illiquidity(moves, volumes):
    return amihud_illiquidity([ReturnVolume(*one) for one in zip(moves, volumes, strict=True)])


# MarketProfile -------------------------------------------------------------------------


def profile(prices, volumes, row):
    """Names of the rows, point of control, value area."""
    times = pd.date_range("2024-08-08", periods=len(prices), freq="ms")
    frame = pd.DataFrame({"Close": prices, "High": prices, "Low": prices, "Volume": volumes}, index=times)
    found = MarketProfile(frame, tick_size=row)[frame.index.min() : frame.index.max()]
    return [float(name) for name in found.profile.index], float(found.poc_price), [float(edge) for edge in found.value_area]


# frds ----------------------------------------------------------------------------------


def effective(prices, mids, sizes, signs):
    """Percent."""
    return float(effective_spread(np.array(prices), np.array(mids), np.array(sizes), np.array(signs)))


def quoted(bids, asks):
    """Percent."""
    return float(quoted_spread(np.array(bids), np.array(asks)))


QUESTIONS = {
    one.__name__: one
    for one in (versions, flow_of_quotes, flow_by_rank, imbalance, slope, illiquidity, profile, effective, quoted)
}

if __name__ == "__main__":
    for line in sys.stdin:
        arguments = json.loads(line)
        print(json.dumps(QUESTIONS[arguments.pop("ask")](**arguments)), flush=True)
