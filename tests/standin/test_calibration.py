"""A seeded sample of bench/calibration.py: three minutes of BTCUSDT, and what of the recordings' figures they must show."""

import pytest
from bench import calibration

SECONDS, SEED = 180, 7
# Ten minutes are held to the bands; of three, long lives of levels and tails of returns say too little.
LEFT_TO_THE_BENCH = ("level lifetime, p75, s", "level lifetime, p90, s", "1-s return, kurtosis")


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return calibration.figures(*calibration.synthetic("BTCUSDT", SECONDS, SEED))


@pytest.mark.parametrize("name", [name for name in calibration.TARGETS if name not in LEFT_TO_THE_BENCH])
def test_a_figure_of_the_synthetic_market_lies_in_its_band(name: str, figures: dict[str, float]) -> None:
    target, _, band, unit = calibration.TARGETS[name]
    assert calibration.row(name, figures[name], unit, target, band, "target").met


def test_a_figure_outside_its_band_is_told() -> None:
    band = calibration.TARGETS["update ids a second"][2]
    assert calibration.row("x", 69.0, "1/s", 100, band, "target").met is False
    assert calibration.row("x", 141.0, "1/s", 100, band, "target").met is False
    assert calibration.row("x", 0.25, "correlation", 0.5, calibration.CLOSE, "target").met is False
