"""Records to store: by hand, and as hypothesis strategies. Knows nothing of leadline.store."""

from hypothesis import strategies as st

from leadline.core.records import (
    BookSnapshot,
    BookState,
    Incident,
    LevelEvent,
    MinuteBlock,
    SecondRecord,
    SymbolSecond,
    Trade,
    TradeBlock,
    TradeState,
)

T0 = 1_799_999_000  # 1,000 s before the second whose eighth digit changes


def book(second: int, levels: int = 20, update_id: int = 7) -> BookSnapshot:
    """Bids 61837.64 down, asks 61837.65 up, by a cent; quantities 0.001 times the level."""
    bids = tuple((6_183_764_000_000 - i * 1_000_000, 100_000 * (i + 1)) for i in range(levels))
    asks = tuple((6_183_765_000_000 + i * 1_000_000, 100_000 * (i + 1)) for i in range(levels))
    return BookSnapshot(bids, asks, update_id, second)


def record(second: int, **changes: object) -> SecondRecord:
    """Every field its own number, so that two fields swapped are seen."""
    fields: dict[str, object] = {
        "t": second,
        "state": BookState.LIVE,
        "reason": None,
        "epoch": 3,
        "live_ms": 1000,
        "flags": 68,
        "update_id": 50_000_000_001,
        "event_ms": second * 1000 - 11,
        "recv_ms": second * 1000 - 10,
        "sample_ms": second * 1000 + 1,
        "known_bid": 6_000_000_000_001,
        "known_ask": None,
        "n_diff": 10,
        "n_ids": 301,
        "n_levels": 402,
        "n_bbo": 53,
        "ofi_source": "event",
        "bid_added": 104,
        "bid_removed": 105,
        "ask_added": 106,
        "ask_removed": 107,
        "ofi_diff": [-1, 2, -3, 4, -5, 6, -7, 8, -9, 10],
        "ofi_top20": -108,
        "mid2_open": 12_367_529_000_001,
        "mid2_high": 12_367_529_000_004,
        "mid2_low": 12_367_529_000_000,
        "mid2_close": 12_367_529_000_003,
        "mid_sq": 25 * 10**14,
        "spread_tw": 1_000_000.5,
        "spread_max": 2_000_000,
        "buy_qty": 111,
        "sell_qty": 112,
        "buy_quote": 9_275_647_500_000_000_000_000,
        "sell_quote": 1,
        "n_buy": 13,
        "n_sell": 14,
        "n_batches": 15,
        "first_id": 901,
        "last_id": 927,
        "px_first": 6_183_764_000_001,
        "px_last": 6_183_764_000_002,
        "px_high": 6_183_764_000_004,
        "px_low": 6_183_764_000_000,
        "max_batch_quote": 5 * 10**16,
        "trade_state": TradeState.COMPLETE,
        "depth_bid": [10**16, 2 * 10**16, 3 * 10**16, 4 * 10**16, 5 * 10**16, None],
        "depth_ask": [6 * 10**16, 7 * 10**16, 8 * 10**16, 9 * 10**16, 10**17, None],
        "depth_min_bid": [1, 2, 3, 4, 5, None],
        "depth_min_ask": [6, 7, 8, 9, 10, None],
        "n_eval": 11,
        "cost_buy": [0.25, 0.5, 0.75, 1.0, 1.25, None],
        "cost_sell": [2.25, 2.5, 2.75, 3.0, None, None],
        "fill_buy": [None, None, None, None, None, 77 * 10**16],
        "fill_sell": [None, None, None, None, 88 * 10**16, 99 * 10**16],
        "n_large_bid": 1,
        "n_large_ask": 2,
        "large_bid_quote": 12 * 10**15,
        "large_ask_quote": 13 * 10**15,
        "n_sweeps": 3,
        "n_excess": 4,
        "excess_quote": 14 * 10**15,
        "level_events": [LevelEvent("large", "BID", 201, 202, 203, 204, 205, 206, 7.5)],
        "level_events_dropped": 6,
        "minute": None,
    }
    assert not changes.keys() - fields.keys()
    return SecondRecord(**(fields | changes))  # type: ignore[arg-type]


MINUTE = MinuteBlock(60, [1.5, None], [2.5, None], [3.5, None], [4.5, None])


def trade(agg_id: int, second: int, symbol: str = "BTCUSDT", ms: int = 0) -> Trade:
    """0.001 at 61837.64, sold."""
    ts_ns = (second * 1000 + ms) * 1_000_000
    return Trade(symbol, agg_id, 6_183_764_000_000, 100_000, agg_id * 10, agg_id * 10 + 1, ts_ns, True)


def block(second: int, *agg_ids: int, symbol: str = "BTCUSDT", state: TradeState = TradeState.COMPLETE) -> TradeBlock:
    return TradeBlock(symbol, second, state, tuple(trade(agg_id, second, symbol) for agg_id in agg_ids))


def row(second: int, symbol: str = "BTCUSDT", *, trades: tuple[TradeBlock, ...] = (), **changes: object) -> SymbolSecond:
    """One second as the feed hands it to the recorder."""
    return SymbolSecond(symbol, second, record(second, **changes), book(second), None, trades, ())


def incident(second: int, n: int = 0, symbol: str = "BTCUSDT", end_ms: int | None = None) -> Incident:
    return Incident(symbol, second, n, "gap", second * 1000, end_ms, 3, None, "gap", "U 12 after u 9")


# Strategies -------------------------------------------------------------------

big = st.one_of(st.integers(-5, 5), st.integers(-(2**70), 2**70))
e8 = st.integers(0, 2**63 - 1)
_ids = st.integers(0, 2**64 - 1)
_text = st.text(max_size=20)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_levels = st.lists(st.tuples(e8, e8), max_size=20).map(tuple)

books = st.builds(BookSnapshot, bids=_levels, asks=_levels, update_id=_ids, timestamp=st.integers(10**9, 10**10 - 1))


def _list(of: st.SearchStrategy[object], n: int) -> st.SearchStrategy[list[object]]:
    return st.lists(of, min_size=n, max_size=n)


@st.composite
def records(draw: st.DrawFn) -> SecondRecord:
    """Any numbers, nulls wherever a field may be null."""
    base, changes = record(draw(st.integers(10**9, 10**10 - 1))), {}
    never = {"t", "live_ms", "flags", "n_diff", "n_ids", "n_levels", "n_buy", "n_sell", "n_batches", "n_eval"}
    never |= {"level_events_dropped", "buy_qty", "sell_qty", "buy_quote", "sell_quote"}
    for name in base.__struct_fields__:
        value = getattr(base, name)
        if name == "level_events":
            events = st.builds(LevelEvent, _text, _text, big, big, big, big, big, big, _floats)
            changes[name] = draw(st.lists(events, max_size=8))
        elif name == "minute":
            shares = st.lists(st.none() | _floats, max_size=100)
            changes[name] = draw(st.none() | st.builds(MinuteBlock, _ids, shares, shares, shares, shares))
        elif name in ("state", "trade_state"):
            changes[name] = draw(st.sampled_from(list(type(value))))
        elif name in ("reason", "ofi_source"):
            changes[name] = draw(st.none() | _text)
        elif name == "spread_tw":
            changes[name] = draw(st.none() | _floats)
        elif name == "ofi_diff":
            changes[name] = draw(st.none() | _list(big, 10))
        elif name in ("cost_buy", "cost_sell"):
            changes[name] = draw(_list(st.none() | _floats, 6))
        elif isinstance(value, list):
            changes[name] = draw(_list(st.none() | big, 6))
        elif name != "t":
            changes[name] = draw(big if name in never else st.none() | big)
    return record(base.t, **changes)


@st.composite
def trade_blocks(draw: st.DrawFn) -> TradeBlock:
    """Trade times down to the nanosecond."""
    second = draw(st.integers(10**9, 10**10 - 1))
    trades = [
        Trade("X", agg_id, draw(e8), draw(e8), draw(_ids), draw(_ids), second * 10**9 + draw(st.integers(0, 10**9 - 1)), side)
        for agg_id, side in draw(st.lists(st.tuples(_ids, st.booleans()), max_size=5))
    ]
    return TradeBlock("X", second, draw(st.sampled_from(list(TradeState))), tuple(trades))
