"""A market for tests of health: three ordinary hours of seconds, and the last minutes with something else in them."""

import math

import numpy as np
from hypothesis import settings

from leadline.analytics.health import PARTS, columns_of, health, past, seconds_of
from leadline.core.records import BookState, SecondRecord, TradeState

QUICK = settings(derandomize=True, deadline=None, max_examples=100)
END = 1_723_161_600  # a multiple of 300
NAMES = [part.name for part in PARTS]
SPREAD, COST, DEPTH, RESILIENCY, VOLATILITY, BALANCE = range(6)
E16 = 10**16
KNOWN = 99 * 10**8, 101 * 10**8


def record(
    t,
    *,
    spread_bps=1.0,
    cost_bps=2.0,
    bid=6e6,
    ask=6e6,
    return_bps=0.1,
    known=(None, None),
    fill=None,
    state=BookState.LIVE,
    flags=0,
    epoch=1,
):
    """A second of a market at 100: the two halves of 200 are its best prices. cost_bps None: not filled, there was `fill`."""
    close = 200 * 10**8
    bands = [[None, None, None, None if value is None else round(value * E16), None, None] for value in (bid, ask)]
    return SecondRecord(
        **{
            **dict.fromkeys(SecondRecord.__struct_fields__),
            **dict.fromkeys(("live_ms", "n_diff", "n_ids", "n_levels", "buy_qty", "sell_qty", "buy_quote", "sell_quote"), 0),
            **dict.fromkeys(("n_buy", "n_sell", "n_batches", "n_eval", "level_events_dropped"), 0),
            "t": t,
            "state": state,
            "epoch": epoch,
            "flags": flags,
            "update_id": 1,
            "known_bid": known[0],
            "known_ask": known[1],
            "mid2_open": round(close / math.exp(return_bps / 1e4)),
            "mid2_close": close,
            "spread_tw": spread_bps * close / 2 / 1e4,
            "trade_state": TradeState.COMPLETE,
            "depth_bid": bands[0],
            "depth_ask": bands[1],
            "depth_min_bid": [None] * 6,
            "depth_min_ask": [None] * 6,
            "cost_buy": [None, None, None, cost_bps, None, None],
            "cost_sell": [None, None, None, cost_bps, None, None],
            "fill_buy": [None, None, None, fill, None, None],
            "fill_sell": [None, None, None, fill, None, None],
            "level_events": [],
        }
    )


def table(records):
    return seconds_of(columns_of(records))


def draws(n, seed=7):
    """Numbers around 1, drawn independently: a market that is ordinary in every minute."""
    return np.random.default_rng(seed).uniform(0.9, 1.1, (n, 6))


def ordinary(drawn):
    spread, cost, bid, ask, move, _ = (float(value) for value in drawn)
    return {"spread_bps": spread, "cost_bps": 2 * cost, "bid": 6e6 * bid, "ask": 6e6 * ask, "return_bps": 0.1 * move}


PAST_S = 10_800  # three hours: resiliency too is ranked from 9,000 s on
DRAWN = draws(PAST_S + 301)
ORDINARY = [record(END - PAST_S - 300 + i, **ordinary(drawn)) for i, drawn in enumerate(DRAWN)][1:]
TABLE = table(ORDINARY)
PAST = past(TABLE, END)


def judged(last, found=PAST):
    """Health when the last records of an ordinary day are these."""
    return health(END, table(last), found, live_now=True)


def part(answer, name):
    return answer.parts[NAMES.index(name)]


def steady(i):
    """Depth that flutters around its mean: a deviation is gone after a second."""
    return 6e6 * (1.05 if i % 2 else 0.95)


def minutes(change=lambda i: {}):
    """The last 300 s of the ordinary day, with something else."""
    return [record(END - 299 + i, **(ordinary(DRAWN[i - 300]) | change(i))) for i in range(300)]


BAD = {
    "spread": lambda i: {"spread_bps": 60.0},
    "cost": lambda i: {"cost_bps": 120.0},
    "depth": lambda i: {"bid": steady(i) / 2000},
    "resiliency": lambda i: {"bid": 6e6 * math.exp(1e-3 * 1.01**i), "ask": 6e6 * math.exp(1e-3 * 1.01**i)},
    "volatility": lambda i: {"return_bps": 25.0 if i % 2 else -25.0},
    "balance": lambda i: {"bid": 6e8 if i % 2 else 6e6, "ask": 6e6 if i % 2 else 6e8},
}
