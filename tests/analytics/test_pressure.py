"""The label of a window: ranks against a past that is handed in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analytics.build_flow import QUICK, nulls_have_reasons, second
from tests.core.test_oracles import complete

from leadline.analytics.order_flow import FlowDirection, order_flow, pressure
from leadline.analytics.stats import History

PAST = History.of(np.array([n * (-1) ** n for n in range(1, 101)], dtype=float))  # 1 to 100 in size
TFI_PAST = History.of(PAST.sorted / 100)
N = FlowDirection.NEUTRAL


@pytest.mark.parametrize(
    ("ofi", "tfi", "direction", "conflict"),
    [
        (96, 0.96, "STRONG_BUY", False),  # 95 of 100 are smaller and one is equal: 0.955
        (-96, -0.96, "STRONG_SELL", False),
        (95, 0.96, "MODERATE_BUY", False),  # 0.945
        (96, 0.95, "MODERATE_BUY", False),
        (71, 0.10, "MODERATE_BUY", False),  # 0.705
        (70, 0.10, "NEUTRAL", False),  # 0.695
        (10, -0.71, "MODERATE_SELL", False),
        (-10, 0.71, "MODERATE_BUY", False),
        (71, -0.71, "NEUTRAL", True),
        (-99, 0.99, "NEUTRAL", True),
        (71, -0.70, "MODERATE_BUY", False),
        (99, None, "MODERATE_BUY", False),  # no trades: takers pressed nowhere
        (-10, None, "NEUTRAL", False),
        (0, 0.0, "NEUTRAL", False),
    ],
)
def test_the_label_follows_the_two_ranks(ofi, tfi, direction, conflict):
    label = pressure(ofi, tfi, ofi_history=PAST, tfi_history=TFI_PAST)
    assert (label.flow_direction, label.conflict) == (direction, conflict)
    assert label.ofi_rank == pytest.approx((max(abs(ofi) - 1, 0) + 0.5 * bool(ofi)) / 100)
    assert label.reasons == ({"tfi_rank": "no_trades"} if tfi is None else {})


@pytest.mark.parametrize(("share", "direction"), [(0.70, "MODERATE_BUY"), (0.95, "STRONG_BUY")])
def test_a_rank_on_the_limit_is_over_it(share, direction):
    """Of 20 sizes 1..20: 14.5 is above 14, 19.5 above 19 of them."""
    past = History.of(np.arange(1.0, 21.0))
    x = share * 20 + 0.5
    label = pressure(x, x, ofi_history=past, tfi_history=past)
    assert (label.ofi_rank, label.flow_direction) == (share, direction)


@pytest.mark.parametrize(
    ("how", "reasons"),
    [
        ({"ofi_history": None}, dict.fromkeys(("ofi_z", "ofi_rank", "tfi_rank", "flow_direction", "conflict"), "baseline_short")),
        (
            {"ofi_history": History.of(np.array([]))},
            dict.fromkeys(("ofi_z", "ofi_rank", "tfi_rank", "flow_direction", "conflict"), "baseline_short"),
        ),
        ({"tfi_history": None}, dict.fromkeys(("tfi_rank", "flow_direction", "conflict"), "baseline_short")),
        ({"tfi_history": History.of(np.array([]))}, dict.fromkeys(("tfi_rank", "flow_direction", "conflict"), "baseline_short")),
        ({"coverage": 0.79}, dict.fromkeys(("ofi_z", "ofi_rank", "tfi_rank", "flow_direction", "conflict"), "low_coverage")),
        ({"coverage": 0.8}, {}),
        ({"trade_gap": True}, dict.fromkeys(("tfi_rank", "flow_direction", "conflict"), "trade_gap")),
    ],
)
def test_what_cannot_be_ranked_is_null_with_its_reason(how, reasons):
    label = pressure(99, 0.99, **{"ofi_history": PAST, "tfi_history": TFI_PAST, **how})
    assert label.reasons == reasons
    assert nulls_have_reasons(label)


def test_a_history_of_one_value_ranks_it_in_the_middle_and_has_no_z():
    same = History.of(np.full(50, 7.0))
    label = pressure(7.0, 7.0, ofi_history=same, tfi_history=same)
    assert (label.ofi_rank, label.tfi_rank, label.ofi_z, label.flow_direction) == (0.5, 0.5, None, N)
    assert label.reasons == {"ofi_z": "undefined"}


def test_what_the_last_minute_of_btc_would_say_with_a_baseline():
    """OFI +67.6 while takers sell: ranked against a history handed in, in which both are rare, the two disagree."""
    flow = order_flow(complete("BTCUSDT"), 1723161540, 1723161600)
    past = History.of(np.linspace(-50, 50, 101))
    label = pressure(flow.ofi_e8 / 1e8, flow.tfi_received, ofi_history=past, tfi_history=History.of(past.sorted / 200))
    assert (label.flow_direction, label.conflict, label.ofi_rank, label.tfi_rank) == (FlowDirection.NEUTRAL, True, 1.0, 1.0)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.booleans())
@QUICK
def test_a_frozen_book_without_trades_never_has_a_direction(past, traded_before):
    history = History.of(np.array(past))
    flow = order_flow([second(t) for t in range(1, 61)], 0, 60)
    assert (flow.ofi_e8, flow.net_flow, flow.bid_flow_rate, flow.move_bps) == (0, 0.0, 0.0, 0.0)
    label = pressure(0.0, flow.tfi_received, ofi_history=history, tfi_history=history if traded_before else None)
    assert (label.flow_direction, label.conflict) == (N, False)
    assert (label.ofi_rank <= 0.5, label.tfi_rank) == (True, None)


@given(st.floats(-120, 120), st.one_of(st.none(), st.floats(-1, 1)))
@QUICK
def test_the_label_changes_sides_when_the_sides_are_swapped(ofi, tfi):
    label = pressure(ofi, tfi, ofi_history=PAST, tfi_history=TFI_PAST)
    other = pressure(-ofi, None if tfi is None else -tfi, ofi_history=PAST, tfi_history=TFI_PAST)
    swapped = {"BUY": "SELL", "SELL": "BUY"}
    word, _, side = label.flow_direction.partition("_")
    assert other.flow_direction == (f"{word}_{swapped[side]}" if side else word)
    assert (other.conflict, other.ofi_rank, other.tfi_rank) == (label.conflict, label.ofi_rank, label.tfi_rank)
