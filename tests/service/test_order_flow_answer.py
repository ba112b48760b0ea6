"""get_order_flow over the recordings, against the figures of an independent program (the numbers of the 2024-08-08 captures)."""

import pytest
from tests.core.test_oracles import both
from tests.service.desks import LAST, desk, null_fields, recorded

from leadline.core.errors import InvalidRequest, NotEnoughData, UnknownSymbol
from leadline.service.queries import Desk, get_order_flow, run
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

END = 1723161600
FIGURES = {
    "BTCUSDT": ("67.57934", "-13.46354", 1312, 425254.54, 355764.69, 69489.85, -0.415292, -5.1279),
    "ETHUSDT": ("-645.0720", "-444.3309", 1403, 130179.53, 159020.88, -28841.35, -0.485802, -5.5157),
}


@both
def test_the_last_minute_of_a_recording_has_the_known_figures(symbol):
    ofi, delta, n_trades, bid, ask, net, tfi, move = FIGURES[symbol]
    found = run(get_order_flow(desk(), symbol, end_s=END))
    assert (found.ofi, found.delta, found.n_trades) == (ofi, delta, n_trades)
    assert [found.bid_flow_rate, found.ask_flow_rate, found.net_flow] == pytest.approx([bid, ask, net], abs=0.005)
    assert found.tfi == pytest.approx(tfi, abs=5e-7)
    assert found.move_bps == pytest.approx(move, abs=5e-5)
    assert (found.time_window_start, found.time_window_end) == ("2024-08-08T23:59:00Z", "2024-08-09T00:00:00Z")
    assert found.envelope.coverage.ratio == 1.0
    assert found.ofi_source == "event"


@both
def test_half_an_hour_of_history_cannot_be_replaced_by_a_guess(symbol):
    """345 s are recorded, 1800 are needed: no rank, no label, no fit, and each says why."""
    found = run(get_order_flow(desk(), symbol, end_s=END))
    nulls = null_fields(found)
    assert {"ofi_z", "ofi_rank", "tfi_rank", "flow_direction", "conflict", "explained_move_bps", "fit"} <= nulls
    assert nulls <= set(found.reasons)
    assert (found.baseline.state, found.baseline.need_s) == ("short", 1800)
    assert "too little history" in found.reading


@both
def test_the_volume_since_midnight_is_not_told_where_the_recording_began_later(symbol):
    """The recording begins at 23:54:15: of the day before that nothing is known."""
    found = run(get_order_flow(desk(), symbol, end_s=END))
    assert found.cvd.value is None
    assert found.reasons["cvd"] == "trade_gap"
    assert found.cvd.coverage == pytest.approx(345 / 86_400, abs=2 / 86_400)


def test_a_window_that_began_with_the_recorder_asks_for_half_of_it():
    """At the 20th recorded second of a 60-s window 20 s are there and 30 are needed, so it is ready in 10."""
    with pytest.raises(NotEnoughData) as caught:
        run(get_order_flow(desk(), "BTCUSDT", end_s=1723161275))
    assert (caught.value.have, caught.value.need, caught.value.ready_in_s) == (20, 30, 10)
    assert str(caught.value).startswith("Insufficient historical data")
    assert run(get_order_flow(desk(), "BTCUSDT", end_s=1723161285)).clean_s == 29


@pytest.mark.parametrize("length", [9, 301, 0, -60])
def test_a_window_out_of_bounds_names_its_field(length):
    with pytest.raises(InvalidRequest) as caught:
        run(get_order_flow(desk(), "BTCUSDT", window_duration_secs=length))
    assert (caught.value.field, caught.value.allowed) == ("window_duration_secs", "10-300")


def test_a_symbol_is_found_as_it_is_written_by_people_and_an_unknown_one_is_told():
    assert run(get_order_flow(desk(), " btcusdt ", end_s=END)).symbol == "BTCUSDT"
    with pytest.raises(UnknownSymbol) as caught:
        run(get_order_flow(desk(), "BTCUSD", end_s=END))
    assert caught.value.near[0] == "BTCUSDT"


def test_without_an_end_the_newest_stored_second_is_the_end():
    found = run(get_order_flow(desk(), "ETHUSDT"))
    assert found.time_window_end == "2024-08-09T00:00:01Z"
    assert found.envelope.warnings == []
    assert run(get_order_flow(desk(LAST + 60), "ETHUSDT")).envelope.warnings != []


def test_nothing_stored_of_a_symbol_is_no_zero():
    empty = History(MemoryEngine(), "empty")
    with pytest.raises(UnknownSymbol):
        run(get_order_flow(Desk(empty, now_ns=lambda: LAST * 10**9), "BTCUSDT"))
    assert recorded().symbols() == ["BTCUSDT", "ETHUSDT"]
