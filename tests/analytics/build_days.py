"""Stored records of a market that is sometimes lost and sometimes half known, for tests of what ranks the present against it."""

import numpy as np
from msgspec.structs import astuple, replace
from tests.store.samples import record as sample

from leadline.analytics.own_history import COLUMNS, OwnHistory
from leadline.core.records import BookState, MinuteBlock, SecondRecord, SymbolSecond, TradeState
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

SYMBOL = "BTCUSDT"
E8, E16 = 10**8, 10**16
OF_A_BOOK = [
    *("epoch", "update_id", "known_bid", "known_ask", "ofi_source", "bid_added", "bid_removed", "ask_added", "ask_removed"),
    *("ofi_diff", "ofi_top20", "mid2_open", "mid2_high", "mid2_low", "mid2_close", "mid_sq", "spread_tw", "spread_max"),
]
OF_SIX = ("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask", "cost_buy", "cost_sell", "fill_buy", "fill_sell")


def records(first, n, seed=1, *, missing=0.01, faults=0.01):
    """n seconds from `first` on, some of them missing, not live, flagged, without mid, trades, depth, cost or size thresholds."""
    random = np.random.default_rng(seed)
    rows, epoch = [], 1
    for t in range(first, first + n):
        if random.random() < missing:
            continue
        if random.random() < faults:
            epoch += 1
            flags = int(random.choice([1, 2, 4, 8, 128, 256, 3, 512]))
            rows.append(_second(random, t, epoch, flags if random.random() < 0.7 else 0, lost=random.random() < 0.5))
        else:
            rows.append(_second(random, t, epoch, int(random.choice([0, 0, 0, 0, 0, 0, 16, 32, 64, 112])), lost=False))
    return rows


def _second(random, t, epoch, flags, *, lost) -> SecondRecord:
    def some(value, share=0.03):
        return None if random.random() < share else value

    mid2 = 2 * 60_000 * E8 + int(random.integers(-(10**9), 10**9))
    moved = [mid2 + int(random.integers(-(10**8), 10**8)) for _ in range(3)]
    taken = random.exponential(3, 2) * E8
    drawn = np.exp(0.2 * random.normal(0, 1, 6))
    costs = [[some(float(c)) for c in np.cumsum(random.exponential(0.3, 6))] for _ in range(2)]
    one = replace(
        sample(t),
        epoch=epoch,
        flags=flags,
        known_bid=some(6 * 10**12, 0.9),
        known_ask=some(7 * 10**12, 0.9),
        n_ids=int(300 * drawn[0]),
        ofi_source=str(random.choice(["event", "event", "event", "diff"])),
        **{name: int(random.integers(0, 10**10)) for name in ("bid_added", "bid_removed", "ask_added", "ask_removed")},
        mid2_open=mid2,
        mid2_high=max(mid2, *moved),
        mid2_low=min(mid2, *moved),
        mid2_close=moved[2],
        spread_tw=float(1e6 * drawn[1]),
        buy_qty=int(taken[0]),
        sell_qty=int(taken[1]),
        buy_quote=int(taken[0]) * 60_000 * E8 + 1,
        sell_quote=int(taken[1]) * 60_000 * E8,
        n_buy=int(random.integers(0, 30)),
        n_sell=int(random.integers(0, 30)),
        trade_state=TradeState(random.choice(["COMPLETE"] * 20 + ["BACKFILLED", "MISSING"])),
        depth_bid=[some(int(1e22 * width * drawn[2])) for width in range(1, 7)],
        depth_ask=[some(int(1e22 * width * drawn[3])) for width in range(1, 7)],
        cost_buy=costs[0],
        cost_sell=costs[1],
        fill_buy=[None if cost is not None else 10**20 for cost in costs[0]],
        fill_sell=[None if cost is not None else 10**20 for cost in costs[1]],
        large_bid_quote=int(random.exponential(10**21)) if random.random() < 0.3 else 0,
        large_ask_quote=int(random.exponential(10**21)) if random.random() < 0.3 else 0,
        minute=_minute(random) if t % 60 == 0 else None,
    )
    if random.random() < 0.01:
        one = replace(one, large_bid_quote=None, large_ask_quote=None)
    if random.random() < 0.01:
        one = replace(one, mid2_open=None, mid2_high=None, mid2_low=None, mid2_close=None, spread_tw=None)
    if lost:
        nulls = dict.fromkeys(OF_A_BOOK) | {name: [None] * 6 for name in OF_SIX}
        one = replace(one, state=BookState.SYNCING, reason="gap", flags=int(random.choice([0, 1])), **nulls)
    return one


def _minute(random):
    def some(values):
        return [None if random.random() < 0.05 else float(value) for value in values]

    if random.random() < 0.05:
        return MinuteBlock(0, [None] * 100, [None] * 100, [None] * 6, [None] * 6)
    density = [some(random.exponential(1e5, 100)) for _ in range(2)]
    return MinuteBlock(60, *density, some(random.exponential(1e4, 6)), some(random.exponential(1e5, 6)))


# Through the store -------------------------------------------------------------------------------


def stored(rows):
    """A store that holds these records."""
    history = History(MemoryEngine(), "memory")
    assert history.write([SymbolSecond(SYMBOL, one.t, one, None, "test", (), ()) for one in rows]) == []
    return history


def columns_between(history, after_t, to_t, names=COLUMNS):
    return history.second_columns(SYMBOL, after_t + 1, to_t + 1, names).columns


def fill(own, history, to_s, slice_s=10**9):
    """As the service does: slice by slice, each with the minute blocks in it."""
    while own.to_s < to_s:
        until = min(own.to_s + slice_s, to_s)
        read = history.seconds(SYMBOL, own.to_s + 1, until + 1).rows
        blocks = [(one.t, one.minute) for one in read if one.minute is not None]
        own.add(until, columns_between(history, own.to_s, until), blocks)
    return own


def filled(history, from_s, to_s, slice_s=10**9):
    return fill(OwnHistory(from_s), history, to_s, slice_s)


def many(t):
    """COLUMNS of clean seconds at these ticks, all alike but for a fee of noise: for days, which would take long to store."""
    base = columns_between(stored([replace(sample(1_800_000_000), flags=0)]), 1_799_999_999, 1_800_000_000)
    columns = {name: np.repeat(column, len(t), axis=0) for name, column in base.items()}
    columns["t"] = np.asarray(t, np.int64)
    return columns


# Comparing ---------------------------------------------------------------------------------------


def same(one, other, where=""):
    """Equal in all that they hold; floats as far as the order of sums allows."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14, err_msg=where)
        else:
            np.testing.assert_array_equal(one, other, err_msg=where)
    elif hasattr(one, "__struct_fields__"):
        for name, left, right in zip(one.__struct_fields__, astuple(one), astuple(other), strict=True):
            same(left, right, f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (left, right) in enumerate(zip(one, other, strict=True)):
            same(left, right, f"{where}[{i}]")
    elif isinstance(one, float) and isinstance(other, float):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14, err_msg=where)
    else:
        assert one == other, where
