"""What holds for the order flow of any records: sums add, units scale, sides swap, and less knowledge says less."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_flow import QUICK, by_cases, made_second, nulls_have_reasons, open_desk, runs, steps
from tests.core.build import ns
from tests.core.test_oracles import TICK

from leadline.analytics.order_flow import Columns, OrderFlow, explained_move_bps, order_flow, windows
from leadline.analytics.stats import Fit
from leadline.core.records import Flag

SUMS = ("bid_added_e8", "bid_removed_e8", "ask_added_e8", "ask_removed_e8", "ofi_e8", "ofi_top20_e8")
SUMS += ("buy_received_e8", "sell_received_e8", "clean_s", "valued_s", "imbalance_s")


@given(runs(), st.integers(1, 39))
@QUICK
def test_the_sums_of_two_parts_of_a_window_add_to_its_own(records, cut):
    whole, left, right = (order_flow(records, *edges) for edges in ((0, 40), (0, cut), (cut, 40)))
    for name in SUMS:
        assert getattr(whole, name) == (getattr(left, name) or 0) + (getattr(right, name) or 0), name
    for name in ("bid_flow_rate", "ask_flow_rate", "net_flow"):
        parts = sum(Fraction(getattr(flow, name) or 0) * flow.valued_s for flow in (left, right))
        assert getattr(whole, name) * whole.valued_s == pytest.approx(float(parts), rel=1e-12, abs=1e-3)
    assert whole.move_bps == pytest.approx((left.move_bps or 0) + (right.move_bps or 0), abs=1e-8)
    assert whole.coverage * 40 == pytest.approx(left.coverage * cut + right.coverage * (40 - cut))
    assert max(left.n_epochs, right.n_epochs) <= whole.n_epochs <= left.n_epochs + right.n_epochs


@given(runs())
@QUICK
def test_rates_are_the_flow_in_quote_by_fractions(records):
    flow = order_flow(records, 0, 40)
    worth = [Fraction(r.mid2_close, 2 * 10**8) for r in records]
    buyers = sum(Fraction(r.bid_added + r.ask_removed, 10**8) * mid for r, mid in zip(records, worth, strict=True))
    sellers = sum(Fraction(r.ask_added + r.bid_removed, 10**8) * mid for r, mid in zip(records, worth, strict=True))
    assert flow.bid_flow_rate == float(buyers / len(records))
    assert flow.ask_flow_rate == float(sellers / len(records))
    assert flow.net_flow == float((buyers - sellers) / len(records))


@given(runs(), st.integers(2, 1000))
@QUICK
def test_larger_quantities_scale_the_sums_and_leave_the_ratios(records, c):
    quantities = ("bid_added", "bid_removed", "ask_added", "ask_removed", "buy_qty", "sell_qty", "buy_quote", "sell_quote")
    larger = [
        structs.replace(
            r,
            **{name: c * getattr(r, name) for name in quantities},
            depth_bid=[c * d for d in r.depth_bid],
            depth_ask=[c * d for d in r.depth_ask],
        )
        for r in records
    ]
    small, large = order_flow(records, 0, 40), order_flow(larger, 0, 40)
    assert large.ofi_e8 == c * small.ofi_e8
    assert (large.bid_flow_rate, large.net_flow) == (pytest.approx(c * small.bid_flow_rate), pytest.approx(c * small.net_flow))
    unchanged = ("coverage", "tfi_received", "move_bps", "imbalance_bps_mean", "reasons")
    assert [getattr(large, name) for name in unchanged] == [getattr(small, name) for name in unchanged]


@given(runs(), st.integers(2, 1000))
@QUICK
def test_higher_prices_scale_the_rates_and_leave_bps_and_shares(records, c):
    higher = [structs.replace(r, mid2_open=c * r.mid2_open, mid2_close=c * r.mid2_close) for r in records]
    low, high = order_flow(records, 0, 40), order_flow(higher, 0, 40)
    assert (high.net_flow, high.ofi_e8) == (pytest.approx(c * low.net_flow), low.ofi_e8)
    assert (high.move_bps, high.tfi_received) == (pytest.approx(low.move_bps, abs=1e-9), low.tfi_received)
    fit = Fit(0.0, 2.0, None, 40)
    assert explained_move_bps(high, fit, c * TICK) == pytest.approx(explained_move_bps(low, fit, TICK))


def played(rows, mirrored):
    """Quotes 100 - k, 100 + k with two sizes, and trades, through a Second; mirrored at 100, where the mid stays."""
    desk = open_desk([(90, 1)], [(110, 1)])
    records = []
    for number, (k, bid_size, ask_size, buys, size) in enumerate(rows, 2):
        sizes = (ask_size, bid_size) if mirrored else (bid_size, ask_size)
        desk.quotes((number, 100 - k, sizes[0], 100 + k, sizes[1], number - 0.5))
        if size:
            buys = buys != mirrored
            desk.trades((number, 100 + k if buys else 100 - k, size, buys, number - 0.4, number - 0.4))
        records.append(desk.tick(number))
    return records


@given(steps)
@QUICK
def test_swapping_the_sides_changes_the_sign_of_the_flow_and_swaps_the_rates(rows):
    flow, other = (order_flow(played(rows, mirrored), 1, 1 + len(rows)) for mirrored in (False, True))
    assert other.ofi_e8 == -flow.ofi_e8
    assert (other.bid_added_e8, other.bid_removed_e8) == (flow.ask_added_e8, flow.ask_removed_e8)
    assert (other.bid_flow_rate, other.ask_flow_rate) == (flow.ask_flow_rate, flow.bid_flow_rate)
    assert other.net_flow == -flow.net_flow
    assert other.tfi_received == (None if flow.tfi_received is None else -flow.tfi_received)
    assert (other.move_bps, flow.move_bps) == (0.0, 0.0)


@given(runs(least=2), st.data())
@QUICK
def test_dropping_records_lowers_coverage_and_raises_no_sum_and_no_rate_beyond_its_seconds(records, data):
    """A mean over the time covered may rise when a quiet second is lost; it stays among the rates of the seconds that are left.
    What may never happen is that a lost second counts as time, or as flow."""
    kept = sorted(data.draw(st.sets(st.sampled_from(range(len(records))), min_size=1, max_size=len(records) - 1)))
    rest = [records[n] for n in kept]
    whole, part = order_flow(records, 0, 40), order_flow(rest, 0, 40)
    assert part.coverage < whole.coverage
    for name in ("bid_added_e8", "bid_removed_e8", "ask_added_e8", "ask_removed_e8", "buy_received_e8", "clean_s", "n_epochs"):
        assert getattr(part, name) <= getattr(whole, name), name
    for name in ("bid_flow_rate", "ask_flow_rate"):
        alone = [getattr(order_flow([r], r.t - 1, r.t), name) for r in rest]
        assert min(alone) * (1 - 1e-12) <= getattr(part, name) <= max(alone) * (1 + 1e-12)
        assert getattr(part, name) * part.valued_s <= getattr(whole, name) * whole.valued_s * (1 + 1e-12)
    w, v = windows(Columns.of(records), 10), windows(Columns.of(rest), 10)
    before = dict(zip(w.start_s.tolist(), w.coverage.tolist(), strict=True))
    assert all(before[start] >= share for start, share in zip(v.start_s.tolist(), v.coverage.tolist(), strict=True))


@given(made_second, st.sets(st.integers(1, 40), min_size=1, max_size=39))
@QUICK
def test_equal_seconds_have_the_same_rate_however_many_are_lost(row, ticks):
    flow = order_flow([structs.replace(row, t=t) for t in sorted(ticks)], 0, 40)
    one = order_flow([row], 0, 1)
    assert (flow.bid_flow_rate, flow.ask_flow_rate, flow.net_flow) == (one.bid_flow_rate, one.ask_flow_rate, one.net_flow)
    assert flow.coverage == len(ticks) / 40


@given(runs(), st.data())
@QUICK
def test_less_knowledge_only_turns_values_null(records, data):
    """A nearer known edge: depth and ranks of some seconds become unknown. Whatever is still said is what was said before,
    except the mean, which then rests on fewer seconds and says so."""
    hidden = data.draw(st.sets(st.sampled_from([r.t for r in records])))
    nothing = {"ofi_diff": None, "ofi_top20": None, "depth_bid": [None] * 6, "flags": int(Flag.RANGE)}
    dimmed = [structs.replace(r, **nothing) if r.t in hidden else r for r in records]
    clear, dim = order_flow(records, 0, 40), order_flow(dimmed, 0, 40)
    for name in set(OrderFlow.__struct_fields__) - {"reasons", "imbalance_s", "imbalance_bps_mean"}:
        assert getattr(dim, name) in (getattr(clear, name), None), name
    assert dim.imbalance_s <= clear.imbalance_s
    assert nulls_have_reasons(dim)


@given(steps, st.integers(0, 19), st.integers(6, 9))
@QUICK
def test_a_resync_anywhere_removes_flow_and_never_adds_any(rows, at, jump):
    """The book is lost in a second and found again with quite another quote: what is left is the flow of the two parts, each from
    its own first state, without the step between them."""
    assume(at < len(rows))
    quotes = [(100 - k, bid, 100 + k, ask) for k, bid, ask, _, _ in rows]
    desk, records = open_desk([(80, 1)], [(120, 1)]), []
    for number, (bid, bid_size, ask, ask_size) in enumerate(quotes):
        tick = number + 2
        if number == at:
            desk.second.book_lost(gap=True, crossed=False)
            desk.second.book_ready(desk.book, ns(tick - 0.9), resync=True)
            desk.epoch = 2
        shift = jump if number >= at else 0
        desk.quotes((tick, bid + shift, bid_size, ask + shift, ask_size, tick - 0.5))
        records.append(desk.tick(tick))
    assert records[at].flags == Flag.PARTIAL | Flag.GAP | Flag.RESYNC
    flow = order_flow(records, 1, 1 + len(rows))
    if len(rows) == 1:
        assert flow.reasons["ofi_e8"] == "book_not_live"
        return
    moved = [by_cases(a, b) * 10**8 for a, b in pairwise(quotes)]
    assert flow.ofi_e8 == sum(moved[: max(0, at - 1)]) + sum(moved[at:])
    assert (flow.clean_s, flow.n_epochs) == (len(rows) - 1, (at > 0) + (at < len(rows) - 1))
    assert flow.move_bps == 0.0  # the mid stood still inside each epoch; the jump between them is in neither
