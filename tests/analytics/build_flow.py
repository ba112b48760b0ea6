"""Records for tests of order flow: from the recorder's own path, made second by second, or any run of them."""

from hypothesis import settings
from hypothesis import strategies as st
from msgspec import structs
from tests.core.test_second import Desk

from leadline.analytics.trades import trade_flow
from leadline.core.records import Flag, TradeBlock, TradeState
from leadline.store.codec import encode_trades
from leadline.store.trade_columns import trade_columns

QUICK = settings(derandomize=True, deadline=None, max_examples=120)
REASONS = {
    *("baseline_short", "low_coverage", "book_not_live", "beyond_known_range", "exhausted", "no_trades", "trade_gap"),
    *("no_ticker_stream", "not_fitted", "not_calibrated", "too_few", "undefined", "not_evaluated"),
}
E16 = 10**16


def open_desk(*sides):
    """A Second after its first tick: that second is PARTIAL, since its book came in it; all that follow are clean."""
    desk = Desk(*sides)
    assert desk.tick(1).flags == Flag.PARTIAL
    return desk


QUIET = open_desk().tick(2)


def second(t, parts=(0, 0, 0, 0), mids=(200, 200), traded=(0, 0), **changes):
    """parts: added, removed at the bid, then at the ask; mids: best bid plus best ask at open and close; all in units of 1e-8."""
    names = ("bid_added", "bid_removed", "ask_added", "ask_removed")
    price = mids[1] // 2
    return structs.replace(
        QUIET,
        t=t,
        **dict(zip(names, parts, strict=True)),
        mid2_open=mids[0],
        mid2_close=mids[1],
        buy_qty=traded[0],
        sell_qty=traded[1],
        buy_quote=price * traded[0],
        sell_quote=price * traded[1],
        **changes,
    )


def nulls_have_reasons(result):
    nulls = {name for name in result.__struct_fields__ if getattr(result, name) is None}
    assert nulls == set(result.reasons)
    assert set(result.reasons.values()) <= REASONS
    return True


def by_cases(before, after):
    """One step of the flow, case by case: a better price brings its size, a worse one takes the old size, else the difference."""
    total = 0
    for sign, (price0, size0), (price1, size1) in ((1, before[:2], after[:2]), (-1, before[2:], after[2:])):
        better = sign * (price1 - price0)
        total += sign * (size1 if better > 0 else -size0 if better < 0 else size1 - size0)
    return total


# Any records ---------------------------------------------------------------------------

quantity = st.integers(0, 10**12)
mid2 = st.integers(10**9, 10**14)
made_second = st.builds(
    lambda parts, mids, traded, depth, source: second(
        1, parts, mids, traded, ofi_source=source, depth_bid=[depth[0]] * 6, depth_ask=[depth[1]] * 6
    ),
    st.tuples(quantity, quantity, quantity, quantity),
    st.tuples(mid2, mid2),
    st.tuples(quantity, quantity),
    st.tuples(st.integers(0, 10**24), st.integers(0, 10**24)),
    st.sampled_from(["event", "diff"]),
)


@st.composite
def runs(draw, least=1, most=25):
    """Records in order of t within 40 s, some seconds missing, at most one change of epoch."""
    rows = draw(st.lists(made_second, min_size=least, max_size=most))
    ticks = sorted(draw(st.sets(st.integers(1, 40), min_size=len(rows), max_size=len(rows))))
    change = draw(st.integers(0, 41))
    return [structs.replace(row, t=t, epoch=1 + (t >= change)) for row, t in zip(rows, ticks, strict=True)]


steps = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 9)),
    min_size=1,
    max_size=20,
)


class Columns:
    """Trades as the store gives them."""

    def __init__(self, trades):
        block = TradeBlock("X", 0, TradeState.COMPLETE, tuple(trades))
        self.__dict__.update(trade_columns([encode_trades(block)]))


def flow_of(trades, **told):
    return trade_flow(Columns(trades), **told)
