"""The bytes of a seed. They say that something changed, never what: test_market.py says whether it is right."""

import pytest
from tests.standin.test_market import SECOND_NS, START_MS, digest

from leadline.standin.market import DEFAULT_SYMBOLS, SyntheticMarket
from leadline.standin.source import Frame

FRAMES = 20_000  # of each symbol; bench/determinism.py looks at an hour

# A change of the model changes these, in its own commit, with a reason: python -m tests.standin.test_digests
DIGESTS = {
    (1, "BTCUSDT"): "8c806da99cf5d7d3e1ea3d864f34aefd6a01496f4fb9824d99f8524705445878",
    (1, "ETHUSDT"): "93b7ecf23f046d73aa162fdc1f10a18858e9581e3c94533e43c9c4e4f687392e",
    (2, "BTCUSDT"): "9da242f54861e53e5826b915a5fc7b82ead80dd180ced81efae4291f278fbe40",
    (2, "ETHUSDT"): "5b136dfac6af5f0e8936e9ca331c6265360a514e2b1f0529e255faaa3e5518da",
    (7, "BTCUSDT"): "9bb67e3dc5ebc90b9e8bad743ce1841116032bff9183426001720838d98082fe",
    (7, "ETHUSDT"): "166c8de6f85e40fc8bcda5befccdddad3d736f3a080786a4cf5da1466e17aadd",
}


def first_frames(seed: int, symbol: str, count: int) -> list[Frame]:
    source = SyntheticMarket(seed, (symbol,), start_ms=START_MS)
    frames: list[Frame] = []
    while len(frames) < count:
        frames += source.advance(source.server_time_ms() * 1_000_000 + SECOND_NS)
    return frames[:count]


@pytest.mark.parametrize(("seed", "symbol"), list(DIGESTS))
def test_a_seed_has_its_bytes(seed: int, symbol: str) -> None:
    assert digest(first_frames(seed, symbol, FRAMES)) == DIGESTS[seed, symbol]


if __name__ == "__main__":
    for seed in (1, 2, 7):
        for symbol in DEFAULT_SYMBOLS:
            print(f'    ({seed}, "{symbol}"): "{digest(first_frames(seed, symbol, FRAMES))}",')
