"""get_volume_profile and get_liquidity_vacuums over the recordings, against the figures of an independent program."""

from decimal import Decimal

import pytest
from tests.core.test_oracles import both
from tests.service.desks import desk

from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.core.records import TradeState
from leadline.service.queries import get_liquidity_vacuums, get_volume_profile, run

END = 1723161602  # every trade of the recordings lies before it
WHOLE = {
    "BTCUSDT": {
        "volume": "212.03315",
        "quote": "13084074.1123886",
        "vwap": Decimal("61707.681617"),
        "range": ("61583.22", "61860.80"),
        "row": "10.00",
        "poc": ("61670.00", "61680.00", 0.1013),
        "single_row": ("61640.00", "61740.00", 0.7156),
        "two_row": ("61630.00", "61740.00", 0.7264),
        "shortest": ("61640.00", "61740.00"),
        "trades": 9757,
    },
    "ETHUSDT": {
        "volume": "2261.3149",
        "quote": "6066483.27618",
        "vwap": Decimal("2682.723789"),
        "range": ("2679.00", "2685.37"),
        "row": "0.20",
        "poc": ("2683.40", "2683.60", 0.0610),
        "single_row": ("2682.00", "2685.20", 0.7005),
        "two_row": ("2681.80", "2685.20", 0.7189),
        "shortest": ("2682.00", "2685.20"),
        "trades": 6106,
    },
}


@both
@pytest.mark.parametrize("va_method", ["single_row", "two_row"])
def test_the_profile_of_a_recording_has_the_known_figures(symbol, va_method):
    known = WHOLE[symbol]
    found = run(get_volume_profile(desk(), symbol, duration_hours=1, va_method=va_method, end_s=END))
    assert (found.total_volume, found.total_quote, found.n_trades) == (known["volume"], known["quote"], known["trades"])
    assert abs(Decimal(found.vwap) - known["vwap"]) < Decimal("1e-6")
    assert (found.price_range_low, found.price_range_high) == known["range"]
    assert (found.bin_size, found.bin_rule) == (known["row"], "auto")
    assert (found.poc_low, found.poc_high) == known["poc"][:2]
    assert found.poc_share == pytest.approx(known["poc"][2], abs=5e-5)
    assert (found.value_area_low, found.value_area_high) == known[va_method][:2]
    assert found.value_area_share == pytest.approx(known[va_method][2], abs=5e-5)
    assert (found.hdi_low, found.hdi_high) == known["shortest"]
    assert sum(Decimal(row.volume) for row in found.histogram) == Decimal(found.total_volume)


def test_rows_of_five_are_those_of_the_published_figures():
    """9.2: POC [61660, 61665) with 12.11394; single_row 61640-61740, shortest 61650-61745."""
    found = run(get_volume_profile(desk(), "BTCUSDT", duration_hours=1, tick_size="5", end_s=END))
    assert (found.poc_low, found.poc_high, found.bin_rule) == ("61660.00", "61665.00", "given")
    assert next(row.volume for row in found.histogram if row.low == found.poc_low) == "12.11394"
    assert (found.value_area_low, found.value_area_high) == ("61640.00", "61740.00")
    assert (found.hdi_low, found.hdi_high) == ("61650.00", "61745.00")


@both
def test_what_lies_before_the_recording_is_unknown_and_not_quiet(symbol):
    """346 seconds were recorded; of the other 54 minutes nothing is known, and no trade of the 346 is missing."""
    found = run(get_volume_profile(desk(), symbol, duration_hours=1, end_s=END))
    state = found.trade_state
    assert state.complete_s + state.backfilled_s + state.missing_s + state.unknown_s == 3600
    assert (state.missing_s, state.missing_ids) == (0, 0)
    assert 344 <= state.complete_s <= 348
    assert found.envelope.coverage.ratio == pytest.approx(state.complete_s / 3600)
    assert found.nodes is not None, "blocks of ten seconds, since less than an hour is covered"
    assert [node for node in found.nodes if node.kind == "low"] == []


@both
def test_no_thin_stretch_is_claimed_where_none_is_stable_and_the_stored_book_is_not_searched(symbol):
    found = run(get_liquidity_vacuums(desk(), symbol, duration_hours=1, end_s=END))
    assert (found.traded.status, found.traded.zones) == ("ok", [])
    assert (found.resting.status, found.resting.reason, found.resting.samples) == ("too_few", "book_not_live", 0)
    assert found.evidence == "weak"
    assert "not proven" in found.reading


def test_too_few_taker_orders_are_refused_and_it_is_told_when_there_will_be_enough():
    """In the first recorded second of BTCUSDT 8 taker orders began."""
    with pytest.raises(NotEnoughData) as caught:
        run(get_volume_profile(desk(), "BTCUSDT", duration_hours=1, end_s=1723161257))
    assert (caught.value.need, caught.value.unit) == (30, "batches")
    assert caught.value.have < 30
    assert caught.value.ready_in_s is None or caught.value.ready_in_s > 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"duration_hours": 0}, "duration_hours"),
        ({"duration_hours": 169}, "duration_hours"),
        ({"tick_size": "0.005"}, "tick_size"),
        ({"tick_size": "0"}, "tick_size"),
        ({"tick_size": "-1"}, "tick_size"),
        ({"tick_size": "1e-9"}, "tick_size"),
        ({"tick_size": "NaN"}, "tick_size"),
        ({"tick_size": "five"}, "tick_size"),
        ({"tick_size": "0.01"}, "tick_size"),
    ],
)
def test_a_wrong_request_names_its_field(given, field):
    """0.01 is a multiple of the tick, but would give 27,759 rows."""
    with pytest.raises(InvalidRequest) as caught:
        run(get_volume_profile(desk(), "BTCUSDT", end_s=END, **given))
    assert caught.value.field == field


def test_trades_are_stored_complete():
    from tests.service.desks import recorded

    states = {block.state for block in recorded().trades("BTCUSDT", END - 400, END).rows}
    assert states == {TradeState.COMPLETE}
