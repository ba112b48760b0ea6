"""Many windows of order flow, and the move that it explains: measured figures of the recordings, and plain loops."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_flow import E16, QUICK, by_cases, runs, second
from tests.core.test_oracles import TICK, both, complete, events

from leadline.analytics.order_flow import Columns, explained_move_bps, move_fit, order_flow, windows
from leadline.analytics.stats import Fit, least_squares
from leadline.core.records import BestQuote, BookState

# The recordings ------------------------------------------------------------------------


@pytest.mark.parametrize(("symbol", "r2", "beta"), [("BTCUSDT", 0.436, 33.245), ("ETHUSDT", 0.758, 0.359)])
def test_the_move_follows_the_flow_as_measured(symbol, r2, beta):
    """And the explained move of the last minute, by hand: 1e4 * 33.245 * 67.57934 / 6168599.5 ticks; 1e4 * 0.359 * -645.072 /
    268250.5 ticks."""
    records = complete(symbol)
    fit = move_fit(Columns.of(records), TICK, source="event")
    assert (round(fit.r2, 3), round(fit.beta, 3), fit.n) == (r2, beta, 34)
    flow = order_flow(records, 1723161540, 1723161600)
    by_hand = {"BTCUSDT": 3.6421, "ETHUSDT": -8.633}[symbol]
    assert explained_move_bps(flow, fit, TICK) == pytest.approx(by_hand, rel=2e-3)


@pytest.mark.parametrize(("symbol", "r2", "beta"), [("BTCUSDT", 0.288, 27.624), ("ETHUSDT", 0.719, 0.349)])
def test_by_receive_stamps_the_fit_is_that_of_the_independent_program(symbol, r2, beta):
    """33 windows [start, end) of receive time from 1723161260 s, mid = last quote before the edge: the same line, other edges."""
    flow, mids = defaultdict(int), {}
    last = None
    for event in events(symbol):
        if isinstance(event, BestQuote):
            quote = (event.bid_price_e8, event.bid_quantity_e8, event.ask_price_e8, event.ask_quantity_e8)
            window = (event.ts_recv_ns - 1723161260 * 10**9) // 10**10
            if last is not None:
                flow[window] += by_cases(last, quote)
            mids[window], last = quote[0] + quote[2], quote
    x, y = zip(*((flow[k] / 1e8, (mids[k] - mids[k - 1]) / 2 / TICK) for k in range(33)), strict=True)
    fit = least_squares(np.array(x), np.array(y))
    assert (round(fit.r2, 3), round(fit.beta, 3), fit.n) == (r2, beta, 33)


@pytest.mark.parametrize(
    ("symbol", "ofi_1", "ofi_10", "phases", "delta_1", "delta_10", "next_1", "next_10"),
    [
        ("BTCUSDT", 0.334, 0.436, (0.32, 0.47), 0.423, 0.171, 0.018, 0.005),
        ("ETHUSDT", 0.717, 0.758, (0.72, 0.84), 0.201, 0.226, 0.010, 0.078),
    ],
)
def test_the_strength_of_the_evidence_is_as_published(symbol, ofi_1, ofi_10, phases, delta_1, delta_10, next_1, next_10):
    """Table of 3.5: r2 of the move of the mid on flow, on taker delta, and of the next window's move on flow."""
    columns = Columns.of(complete(symbol))
    for length_s, want in ((1, (ofi_1, delta_1, next_1)), (10, (ofi_10, delta_10, next_10))):
        w = windows(columns, length_s)
        whole = w.coverage == 1
        move, ofi, delta = w.mid_change_e8[whole], w.ofi[whole], w.delta[whole]
        assert len(move) == {1: 345, 10: 34}[length_s]
        fits = (np.corrcoef(ofi, move), np.corrcoef(delta, move), np.corrcoef(ofi[:-1], move[1:]))
        assert tuple(round(float(fit[0, 1] ** 2), 3) for fit in fits) == want
    r2 = [move_fit(structs.replace(columns, t=columns.t + phase), TICK, source="event").r2 for phase in range(10)]
    assert (round(min(r2), 2), round(max(r2), 2)) == phases


@both
@pytest.mark.parametrize("length_s", [1, 7, 10, 60])
def test_every_window_is_the_order_flow_of_its_records(symbol, length_s):
    """The same numbers by the exact path, bit for bit where they are sums of quantities."""
    records = complete(symbol)
    w = windows(Columns.of(records), length_s)
    assert w.start_s.tolist() == sorted({(r.t - 1) // length_s * length_s for r in records})
    for row, start in enumerate(w.start_s.tolist()):
        flow = order_flow(records, start, start + length_s)
        inside = [r for r in records if start < r.t <= start + length_s]
        assert w.ofi[row] == flow.ofi_e8 / 1e8
        assert w.delta[row] == (flow.buy_received_e8 - flow.sell_received_e8) / 1e8
        assert w.tfi[row] == flow.tfi_received or (np.isnan(w.tfi[row]) and flow.reasons["tfi_received"] == "no_trades")
        assert w.signed_quote[row] == pytest.approx(sum(r.buy_quote - r.sell_quote for r in inside) / E16, abs=1e-6)
        assert w.quote[row] == pytest.approx(sum(r.buy_quote + r.sell_quote for r in inside) / E16)
        assert w.move_bps[row] == pytest.approx(flow.move_bps, abs=1e-9)
        assert w.mid_change_e8[row] == (inside[-1].mid2_close - inside[0].mid2_open) / 2
        assert (w.coverage[row], w.n_epochs[row], w.source[row]) == (flow.coverage, 1, "event")


# Windows -------------------------------------------------------------------------------


def test_windows_are_aligned_and_say_how_much_of_them_is_there():
    """Of ticks 8 10 11 12 25: window [0, 10) holds 8 and 10, [10, 20) holds 11 and 12, [20, 30) holds 25. Epoch 2 from 12."""
    records = [second(t, (t, 0, 0, 0), epoch=2 if t >= 12 else 1) for t in (8, 10, 11, 12, 25)]
    w = windows(Columns.of(records), 10)
    assert (w.start_s.tolist(), w.coverage.tolist()) == ([0, 10, 20], [0.2, 0.2, 0.1])
    assert (w.ofi.tolist(), w.n_epochs.tolist()) == ([18e-8, 23e-8, 25e-8], [1, 2, 1])
    assert (w.crosses_epochs.tolist(), w.whole.tolist()) == ([False, True, False], [False] * 3)
    none = windows(Columns.of([]), 10)
    assert (len(none.start_s), len(none.ofi), len(none.tfi), len(none.move_bps)) == (0, 0, 0, 0)


def test_a_record_that_is_not_clean_enters_no_window():
    spoilt = [second(2, (9, 0, 0, 0), flags=2), structs.replace(second(3), state=BookState.SYNCING, bid_added=None, epoch=None)]
    one, other = (windows(Columns.of(records), 4) for records in ([second(1, (5, 0, 0, 0)), *spoilt], [second(1, (5, 0, 0, 0))]))
    assert (one.coverage.tolist(), one.ofi.tolist(), one.n_epochs.tolist()) == ([0.25], [5e-8], [1])
    assert other.ofi.tolist() == one.ofi.tolist()
    assert len(windows(Columns.of(spoilt), 4).start_s) == 0


def test_a_window_is_whole_from_nine_tenths_of_one_epoch():
    nine = [second(t) for t in range(1, 10)]
    assert windows(Columns.of(nine), 10).whole.tolist() == [True]
    assert windows(Columns.of(nine[1:]), 10).whole.tolist() == [False]
    assert windows(Columns.of([*nine, second(10, epoch=2)]), 10).whole.tolist() == [False]


@given(runs(), st.integers(1, 15))
@QUICK
def test_windows_are_the_sums_of_a_plain_loop(records, length_s):
    sums: dict[int, list] = {}
    for r in records:
        start = ((r.t + length_s - 1) // length_s - 1) * length_s
        row = sums.setdefault(start, [0, 0, 0, 0.0, 0, set(), 0])
        row[0] += r.bid_added - r.bid_removed - r.ask_added + r.ask_removed
        row[1] += r.buy_qty - r.sell_qty
        row[2] += r.buy_qty + r.sell_qty
        row[3] += 1e4 * (math.log(r.mid2_close) - math.log(r.mid2_open))
        row[4] += r.mid2_close - r.mid2_open
        row[5].add(r.epoch)
        row[6] += 1
    w = windows(Columns.of(records), length_s)
    assert w.start_s.tolist() == list(sums)
    for n, (ofi, delta, traded, move, change, epochs, count) in enumerate(sums.values()):
        assert (w.ofi[n], w.delta[n], w.mid_change_e8[n]) == (ofi / 1e8, delta / 1e8, change / 2)
        assert np.isnan(w.tfi[n]) if not traded else w.tfi[n] == delta / traded
        assert w.move_bps[n] == pytest.approx(move, abs=1e-6)
        assert (w.n_epochs[n], w.coverage[n]) == (len(epochs), count / length_s)


@given(runs(), st.integers(1, 10), st.integers(1, 50))
@QUICK
def test_a_shift_by_whole_windows_changes_only_the_times(records, length_s, k):
    later = [structs.replace(r, t=r.t + k * length_s) for r in records]
    one, other = windows(Columns.of(records), length_s), windows(Columns.of(later), length_s)
    assert (other.start_s - one.start_s == k * length_s).all()
    for name in set(one.__struct_fields__) - {"length_s", "start_s"}:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=getattr(one, name).dtype.kind == "f"), name
    moved = order_flow(later, k * length_s, 40 + k * length_s)
    still = order_flow(records, 0, 40)
    assert structs.replace(moved, start_s=0, end_s=40) == still


# The explained move --------------------------------------------------------------------


def test_a_fit_needs_thirty_whole_windows_of_its_own_source():
    def past(n, **changes):
        return [second(10 * k + i, (k * k % 7, 0, 0, 0), (200, 200 + k % 5), **changes) for k in range(n) for i in range(1, 11)]

    assert move_fit(Columns.of(past(29, ofi_source="event")), 1, source="event") is None
    assert move_fit(Columns.of(past(30, ofi_source="event")), 1, source="event").n == 30
    assert move_fit(Columns.of(past(30, ofi_source="event")), 1, source="diff") is None
    assert move_fit(Columns.of(past(30)[:-2]), 1, source="diff") is None
    assert move_fit(Columns.of([second(t) for t in range(1, 401)]), 1, source="diff") is None  # flow that never varies
    assert explained_move_bps(order_flow([second(1, (5, 0, 0, 0))], 0, 1), None, 1) is None


def test_the_explained_move_is_in_bps_of_the_mid():
    """2 ticks a unit, flow 3 units: 6 ticks of 0.01 at mid 100, which is 10,000 ticks: 6 bps."""
    flow = order_flow([second(1, (3 * 10**8, 0, 0, 0), (2 * 10**10, 2 * 10**10))], 0, 1)
    assert explained_move_bps(flow, Fit(0.5, 2.0, 0.4, 40), TICK) == pytest.approx(6.0)
