"""Trades and volume profiles for tests, and the trades of the recordings."""

import gzip
from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st
from tests.core.test_oracles import captures, e8, spot

from leadline.analytics.histogram import SECOND_NS, Histogram
from leadline.analytics.volume_profile import VolumeProfile, volume_profile
from leadline.core.records import Trade

TICK = 10**6  # 0.01
MIDNIGHT_NS = 1_723_161_600 * SECOND_NS
CBOT = [10, 15, 20, 60, 70, 150, 90, 80, 50, 10]  # rows 101..110, the published example
TWO_HILLS = [0, 40, 100, 40, 4, 0, 0, 0, 4, 30, 80, 30, 0]


def trade(price_e8: int, quantity_e8: int, *, buy: bool = True, ts_ns: int = MIDNIGHT_NS, fills: int = 1, n: int = 1) -> Trade:
    return Trade("X", n, price_e8, quantity_e8, n, n + fills - 1, ts_ns, not buy)


def profile_of(trades: Sequence[Trade], tick_e8: int = 1, **how: object) -> VolumeProfile:
    found = volume_profile(Histogram.of_trades(trades), tick_e8=tick_e8, **how)  # type: ignore[arg-type]
    assert found is not None
    return found


def profile_of_rows(volumes: Sequence[int], **how: object) -> VolumeProfile:
    """Rows counted from 1, one trade each."""
    return profile_of([trade(row, volume) for row, volume in enumerate(volumes, 1) if volume], row_e8=1, **how)


def named(profile: VolumeProfile) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """POC, value area, shortest run, as first and last row of height 1."""
    return (
        profile.poc_low_e8,
        (profile.value_area_low_e8, profile.value_area_high_e8 - 1),
        (profile.hdi_low_e8, profile.hdi_high_e8 - 1),
    )


def quartile_distance(trades: Sequence[Trade]) -> int:
    """Trade by trade, sorted by price."""
    total, reached, found = sum(t.quantity_e8 for t in trades), 0, []
    for t in sorted(trades, key=lambda t: t.price_e8):
        before, reached = reached, reached + t.quantity_e8
        found += [t.price_e8 for share in (1, 3) if 4 * before < share * total <= 4 * reached]
    return found[1] - found[0]


# Any trades ------------------------------------------------------------------------------------

lists_of_trades = st.lists(
    st.builds(
        lambda p, q, buy, at, fills: trade(p, q, buy=buy, ts_ns=MIDNIGHT_NS + at * SECOND_NS, fills=fills),
        st.integers(1, 400),
        st.integers(1, 10**6),
        st.booleans(),
        st.integers(0, 4000),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=60,
)


def changed(trades: Sequence[Trade], price=lambda p: p, quantity=lambda q: q, flip: bool = False) -> list[Trade]:
    return [
        trade(price(t.price_e8), quantity(t.quantity_e8), buy=t.buyer_is_maker == flip, ts_ns=t.ts_trade_ns, fills=t.fills)
        for t in trades
    ]


# The recordings --------------------------------------------------------------------------------


def recorded(symbol: str) -> list[Trade]:
    """All trades of a recording as the recorder stores them: aggregate trades, by their own time."""
    return [trade for row in spot(symbol)[0] for block in row.trades for trade in block.trades]


def raw(symbol: str) -> list[Trade]:
    """The same recording fill by fill, each as a trade of its own; the recorder does not keep the sizes of fills."""
    path = captures() / "spot" / f"{symbol.lower()}_20240808.gz"
    with gzip.open(path, "rb") as lines:
        frames = [line.split(b" ", 1)[1] for line in lines if b'"e":"trade"' in line]
    data = [msgspec.json.decode(frame)["data"] for frame in frames]
    return [Trade(d["s"], d["t"], e8(d["p"]), e8(d["q"]), d["t"], d["t"], d["T"] * 10**6, d["m"]) for d in data]
