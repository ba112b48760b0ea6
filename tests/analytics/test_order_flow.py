"""Order flow of one window: published vectors, the figures of an independent program on the recordings, and what is not known."""

import numpy as np
import pytest
from msgspec import structs
from tests.analytics.build_flow import E16, nulls_have_reasons, open_desk, second
from tests.core.test_oracles import TICK, complete, e8, e8s

from leadline.analytics.order_flow import (
    Columns,
    OrderFlow,
    Pressure,
    explained_move_bps,
    has_all_trades,
    is_clean,
    order_flow,
    windows,
)
from leadline.analytics.stats import Fit
from leadline.core.records import BookState, Flag, TradeState

# Published vectors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "ofi"),
    [
        *(((100, 8, 102, 7), 3), ((101, 2, 102, 7), 2), ((99, 4, 102, 7), -5), ((100, 5, 102, 9), -2)),
        *(((100, 5, 101, 3), -3), ((100, 5, 103, 6), 7), ((101, 4, 103, 6), 11), ((100, 5, 102, 7), 0)),
    ],
)
def test_order_flow_at_the_best_prices_is_that_of_the_golden_vector(after, ofi):
    """9.1, from (Pb 100, qb 5, Pa 102, qa 7), through a Second."""
    desk = open_desk()
    desk.quotes((1, 100, 5, 102, 7, 1.5))
    records = [desk.tick(2)]
    desk.quotes((2, *after, 2.5))
    records.append(desk.tick(3))
    assert [order_flow(records, 1, 2).ofi_e8, order_flow(records, 2, 3).ofi_e8] == [0, e8(ofi)]
    flow = order_flow(records, 1, 3)
    assert (flow.ofi_e8, flow.ofi_source, flow.n_epochs, flow.coverage) == (e8(ofi), "event", 1, 1.0)
    assert windows(Columns.of(records), 3).ofi.tolist() == [ofi]


def test_order_flow_by_rank_is_that_of_the_papers_example():
    """9.1: bids 1.40x10, 1.39x10 become 1.41x7, 1.40x10, 1.39x10: 7 came to rank 1, 10 to rank 2 and 10 to rank 3."""
    desk = open_desk([("1.40", 10), ("1.39", 10)], [("1.50", 1)])
    desk.diff([("1.41", 7)], at=1.5)
    flow = order_flow([desk.tick(2)], 1, 2)
    assert flow.ofi_levels_e8 == tuple(e8(n) for n in (7, 10, 10, 0, 0, 0, 0, 0, 0, 0))
    assert (flow.ofi_top20_e8, flow.ofi_source) == (e8(27), "diff")


def test_rates_are_in_quote_per_second_at_each_seconds_own_mid():
    """Two seconds of three. At mid 100: 5 to the bid, 1 off the ask, so 600 for buyers; 2 to the ask: 200. At mid 110: 3 off the
    bid: 330. Over 2 s: 300 and 265 a second. Move 1e4 ln 1.1; imbalance (3 - 1) / 4 and (1 - 1) / 2."""
    one, ten = 10**8, 10**9
    at_10_bps = {"depth_bid": [None] * 3 + [3] + [None] * 2, "depth_ask": [None] * 3 + [1] + [None] * 2}
    even = {"depth_bid": [1] * 6, "depth_ask": [1] * 6}
    flow = order_flow(
        [
            second(1, (5 * one, 0, 2 * one, one), (20 * ten, 20 * ten), (3 * one, one), **at_10_bps),
            second(3, (0, 3 * one, 0, 0), (20 * ten, 22 * ten), (0, 0), **even),
        ],
        *(0, 3),
    )
    assert (flow.bid_flow_rate, flow.ask_flow_rate, flow.net_flow) == (300.0, 265.0, 35.0)
    assert (flow.ofi_e8, flow.clean_s, flow.valued_s, flow.coverage) == (e8(5 - 3 - 2 + 1), 2, 2, 2 / 3)
    assert flow.move_bps == pytest.approx(953.1018, abs=1e-4)
    assert (flow.tfi_received, flow.mid2_close_e8) == (0.5, 22 * ten)
    assert (flow.imbalance_bps_mean, flow.imbalance_s, flow.reasons) == (0.25, 2, {})


# The recordings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "flow", "delta"), [("BTCUSDT", "-74.49668", "-18.56354"), ("ETHUSDT", "-905.4684", "-354.5008")]
)
def test_the_sums_over_all_complete_seconds(symbol, flow, delta):
    found = order_flow(complete(symbol), 1723161256, 1723161601)
    assert (found.clean_s, found.valued_s, found.coverage, found.n_epochs, found.ofi_source) == (345, 345, 1.0, 1, "event")
    assert found.ofi_e8 == e8(flow)
    assert found.buy_received_e8 - found.sell_received_e8 == e8(delta)
    assert nulls_have_reasons(found)


@pytest.mark.parametrize(
    ("symbol", "parts", "ranks"),
    [
        ("BTCUSDT", "5.04887, 2.28064, 13.30319, 3.67719", ("-7.91377 -0.14725 -0.68628", "-25.30777")),
        ("ETHUSDT", "14.6200, 11.2594, 75.6482, 31.4200", ("-49.8999 -4.4988 -14.2340", "-231.6002")),
    ],
)
def test_the_first_complete_second(symbol, parts, ranks):
    flow = order_flow(complete(symbol), 1723161256, 1723161257)
    assert [flow.bid_added_e8, flow.bid_removed_e8, flow.ask_added_e8, flow.ask_removed_e8] == e8s(parts)
    assert (list(flow.ofi_levels_e8[:3]), flow.ofi_top20_e8) == (e8s(ranks[0]), e8(ranks[1]))


@pytest.mark.parametrize(
    ("symbol", "ofi", "bid_rate", "ask_rate", "net", "move_bps"),
    [
        ("BTCUSDT", "67.57934", 425254.54, 355764.69, 69489.85, -5.1279),
        ("ETHUSDT", "-645.0720", 130179.53, 159020.88, -28841.35, -5.5157),
    ],
)
def test_the_last_minute(symbol, ofi, bid_rate, ask_rate, net, move_bps):
    flow = order_flow(complete(symbol), 1723161540, 1723161600)
    assert (flow.ofi_e8, flow.coverage) == (e8(ofi), 1.0)
    assert [round(rate, 2) for rate in (flow.bid_flow_rate, flow.ask_flow_rate, flow.net_flow)] == [bid_rate, ask_rate, net]
    assert round(flow.move_bps, 4) == move_bps
    if symbol == "BTCUSDT":  # the bids leave the range of the only snapshot: 37 of 60 seconds know 10 bps, 80 % would be needed
        assert (flow.imbalance_s, flow.reasons) == (37, {"imbalance_bps_mean": "beyond_known_range"})
    else:
        assert (flow.imbalance_s, flow.reasons) == (60, {})


# What is not known ---------------------------------------------------------------------


def test_a_record_is_clean_if_live_and_nothing_worse_than_range_bbo_break_or_late_trades():
    harmless = {Flag.RANGE, Flag.BBO_BREAK, Flag.TRADES_LATE}
    for flag in Flag:
        assert is_clean(second(1, flags=int(flag))) == (flag in harmless), flag
    assert is_clean(second(1, flags=32 | 16 | 64))
    assert not is_clean(second(1, flags=32 | 256))
    assert not is_clean(second(1, state=BookState.SYNCING))


def test_without_a_clean_record_there_is_nothing_to_say():
    for records in ([], [second(3, state=BookState.SYNCING)], [second(9), second(10)], [second(2, flags=2)]):
        flow = order_flow(records, 2, 8)
        assert (flow.coverage, flow.clean_s, flow.n_epochs, flow.valued_s, flow.imbalance_s) == (0.0, 0, 0, 0, 0)
        assert set(flow.reasons.values()) == {"book_not_live"}
        assert nulls_have_reasons(flow)
        assert explained_move_bps(flow, Fit(0.0, 1.0, 1.0, 40), TICK) is None


def test_one_second_is_a_window():
    flow = order_flow([second(5, (7, 2, 1, 3), (200, 200), (1, 3))], 4, 5)
    assert (flow.ofi_e8, flow.coverage, flow.tfi_received, flow.move_bps) == (7, 1.0, -0.5, 0.0)
    assert nulls_have_reasons(flow)


def test_ranks_are_null_if_any_second_does_not_know_them():
    unknown = second(2, flags=int(Flag.RANGE), ofi_diff=None, ofi_top20=None)
    flow = order_flow([second(1, (1, 0, 0, 0)), unknown], 0, 2)
    assert (flow.ofi_levels_e8, flow.ofi_top20_e8, flow.ofi_e8, flow.clean_s) == (None, None, 1, 2)
    assert flow.reasons["ofi_levels_e8"] == flow.reasons["ofi_top20_e8"] == "beyond_known_range"
    assert nulls_have_reasons(flow)


def test_a_second_without_a_mid_adds_to_the_flow_but_not_to_rates_and_move():
    """Its quantity has no price. 4 at mid 100 (in units of 1e-8: 400 of 1e-16) in the one second that has."""
    blind = structs.replace(second(2, (9, 0, 0, 0)), mid2_open=None, mid2_close=None)
    flow = order_flow([second(1, (4, 0, 0, 0)), blind], 0, 2)
    assert (flow.ofi_e8, flow.clean_s, flow.valued_s, flow.bid_flow_rate) == (13, 2, 1, 400 / E16)
    flow = order_flow([blind], 1, 2)
    assert (flow.ofi_e8, flow.valued_s, flow.bid_flow_rate, flow.net_flow, flow.move_bps) == (9, 0, None, None, None)
    assert flow.reasons["net_flow"] == flow.reasons["move_bps"] == "too_few"
    assert nulls_have_reasons(flow)
    w = windows(Columns.of([second(1), blind]), 2)
    assert (w.ofi.tolist(), np.isnan(w.move_bps).tolist(), np.isnan(w.mid_change_e8).tolist()) == ([9e-8], [True], [True])


@pytest.mark.parametrize(
    ("unknown", "mean", "reason"),
    [(0, 0.5, None), (8, 0.5, None), (9, None, "beyond_known_range"), (40, None, "beyond_known_range")],
)
def test_the_resting_imbalance_needs_four_fifths_of_the_seconds(unknown, mean, reason):
    """Of 40 seconds with 3 against 1; 32 are enough."""
    known = {"depth_bid": [3] * 6, "depth_ask": [1] * 6}
    hidden = {"depth_bid": [3, 3, 3, None, None, None], "depth_ask": [1] * 6}
    flow = order_flow([second(t, **(hidden if t <= unknown else known)) for t in range(1, 41)], 0, 40)
    assert (flow.imbalance_bps_mean, flow.imbalance_s, flow.reasons.get("imbalance_bps_mean")) == (mean, 40 - unknown, reason)


def test_the_resting_imbalance_of_nothing_is_undefined():
    flow = order_flow([second(1, depth_bid=[0] * 6, depth_ask=[0] * 6)], 0, 1)
    assert (flow.imbalance_bps_mean, flow.reasons["imbalance_bps_mean"]) == (None, "undefined")


@pytest.mark.parametrize("how", [{"flags": 64}, {"trade_state": TradeState.BACKFILLED}, {"trade_state": TradeState.MISSING}])
def test_trades_that_are_missing_take_the_taker_imbalance_away_but_not_the_flow(how):
    records = [second(1, (5, 0, 0, 0), traded=(3, 1)), second(2, traded=(1, 1), **how)]
    assert [has_all_trades(r) for r in records] == [True, False]
    flow = order_flow(records, 0, 2)
    assert (flow.tfi_received, flow.reasons["tfi_received"], flow.ofi_e8) == (None, "trade_gap", 5)
    columns = Columns.of(records)
    known = (columns.buy_e8, columns.sell_e8, columns.buy_quote, columns.sell_quote)
    assert [np.isnan(column).tolist() for column in known] == [[False, True]] * 4
    w = windows(columns, 1)
    assert [np.isnan(column).tolist() for column in (w.tfi, w.delta, w.signed_quote, w.quote, w.ofi)] == [
        *([[False, True]] * 4),
        [False, False],
    ]


def test_as_much_bought_as_sold_is_an_imbalance_of_zero_and_not_of_none():
    flow = order_flow([second(1, traded=(7, 7))], 0, 1)
    assert (flow.tfi_received, flow.reasons) == (0.0, {"imbalance_bps_mean": "undefined"})
    assert windows(Columns.of([second(1, traded=(7, 7))]), 1).tfi.tolist() == [0.0]


def test_without_trades_there_is_no_taker_imbalance_though_there_is_a_sum():
    flow = order_flow([second(1)], 0, 1)
    assert (flow.buy_received_e8, flow.sell_received_e8, flow.tfi_received) == (0, 0, None)
    assert flow.reasons["tfi_received"] == "no_trades"
    w = windows(Columns.of([second(1)]), 1)
    assert (w.delta.tolist(), w.signed_quote.tolist(), np.isnan(w.tfi).tolist()) == ([0.0], [0.0], [True])


def test_two_sources_of_flow_are_not_passed_off_as_one():
    records = [second(1, ofi_source="diff"), second(2, ofi_source="event"), second(3, ofi_source="event")]
    assert order_flow(records, 0, 3).ofi_source == "mixed"
    assert order_flow(records, 1, 3).ofi_source == "event"
    assert windows(Columns.of(records), 1).source.tolist() == ["diff", "event", "event"]
    assert windows(Columns.of(records), 3).source.tolist() == ["mixed"]


def test_results_say_what_each_field_is():
    """One sentence per field, in the docstring."""
    for struct in (OrderFlow, Pressure):
        for name in struct.__struct_fields__:
            assert f"\n    {name}: " in struct.__doc__, name
