"""Where the recordings are, and what their lines say."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadline.core import capture

FOLDER = Path(os.environ.get("LEADLINE_CAPTURES") or Path(__file__).parents[3] / "shared" / "captures")
needed = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings at {FOLDER} (set LEADLINE_CAPTURES)")
SPOT = ("spot/btcusdt_20240808.gz", "spot/ethusdt_20240808.gz")
MULTI = (
    "multi/binance_20210404_btc_eth_dot.raw.gz",
    "multi/binance_20211012_4pairs.ws.gz",
    "multi/binance_20211012_4pairs.http.gz",
    "multi/binanceus_20211012_4pairs.ws.gz",
    "multi/binanceus_20211012_4pairs.http.gz",
)


def lines(name: str) -> Iterator[capture.CaptureLine]:
    with gzip.open(FOLDER / name) as file:
        for line in file:
            if parsed := capture.parse(line):
                yield parsed
