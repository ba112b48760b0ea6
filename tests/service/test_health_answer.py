"""get_microstructure_health and detect_market_anomalies over the recordings: known figures, and refusals that say why."""

import pytest
from tests.core.test_oracles import both
from tests.service.desks import desk

from leadline.core.errors import NotEnoughData
from leadline.service.queries import detect_market_anomalies, get_microstructure_health, run

END = 1723161600
PARTS = {  # 9.2: spread, cost, volatility, balance (1e-4), depth, half-life (1e-3); None: beyond the known range
    "BTCUSDT": {"spread": 0.0079, "cost": 0.1652, "volatility": 1.1915, "balance": None, "depth": None, "resiliency": 8.924},
    "ETHUSDT": {
        "spread": 0.0397,
        "cost": 0.8325,
        "volatility": 1.2306,
        "balance": 0.3523,
        "depth": 1149105.66,
        "resiliency": 4.028,
    },
}


@both
def test_the_parts_of_the_last_minute_have_the_known_figures(symbol):
    found = run(get_microstructure_health(desk(), symbol, end_s=END))
    for part in found.parts:
        known = PARTS[symbol][part.name]
        if known is None:
            assert (part.value, part.reason) == (None, "beyond_known_range")
        else:
            precision = {"depth": 0.005, "resiliency": 5e-4}.get(part.name, 5e-5)
            assert part.value == pytest.approx(known, abs=precision)
    assert (found.basis, found.baseline.state) == ("absolute", "short")


def test_without_a_core_part_there_is_no_score_and_with_all_there_is_the_known_one():
    """BTC left the range of its only snapshot; ETH did not: 79.939, Good."""
    btc = run(get_microstructure_health(desk(), "BTCUSDT", end_s=END))
    assert (btc.overall_score, btc.health_level, btc.reasons["overall_score"]) == (None, "UNKNOWN", "beyond_known_range")
    eth = run(get_microstructure_health(desk(), "ETHUSDT", end_s=END))
    assert eth.absolute_score == pytest.approx(79.939, abs=5e-4)
    assert (eth.overall_score, eth.health_level, eth.update_rate_score) == (eth.absolute_score, "Good", 100)


@both
@pytest.mark.parametrize("window", [10, 60, 300])
def test_with_too_little_history_four_detectors_say_so_and_the_fifth_finds_nothing(symbol, window):
    found = run(detect_market_anomalies(desk(), symbol, window_duration_secs=window, end_s=END))
    said = {one.anomaly_type: (one.status, one.reason) for one in found.detectors}
    assert said.pop("IcebergOrder") == ("not_found", None)
    assert set(said.values()) == {("not_evaluated", "baseline_short")}
    assert (len(said), found.anomalies) == (4, [])
    current = {name for one in found.detectors for name, value in one.current.items() if value is not None}
    assert {"rate_per_s", "spread_bps", "taker_quote"} <= current, "raw values are there all the same"


def test_no_score_is_asked_of_half_a_minute_that_is_not_there():
    with pytest.raises(NotEnoughData) as caught:
        run(get_microstructure_health(desk(), "BTCUSDT", end_s=1723161270))
    assert (caught.value.have, caught.value.need) == (15, 30)
