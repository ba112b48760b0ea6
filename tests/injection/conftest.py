"""One short clean pass for all tests: two and a half minutes of BTCUSDT, which can be forked after 60 and 105 seconds."""

import pytest
from bench.injection.path import Clean, clean_pass
from bench.injection.source import Source
from bench.injection.usual import Usual, usual_of


@pytest.fixture(scope="session")
def clean() -> Clean:
    return clean_pass(Source("BTCUSDT", 7), 150, every=45, first=60)


@pytest.fixture(scope="session")
def usual(clean: Clean) -> Usual:
    """The market is known to be lively after its first minute, and its sizes to be large."""
    start_s = clean.source.start_s
    return usual_of(clean.history, clean.symbol, start_s + 5, start_s + 148)
