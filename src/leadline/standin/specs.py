"""Which symbols the synthetic market has, and what each is like: two that were measured, some for the edges of the protocol, and
any further name, drawn from its seed."""

from leadline.standin.draws import Draws
from leadline.standin.listing import Spec
from leadline.standin.tables import BTC, ETH

NORMAL_SPEED = 1_000_000

# The first two are the measured markets. The others: a pair with an event in minutes and five letters, a name that begins with a
# digit, one outside ASCII, a coin of 123 ticks, prices of two decimals, one that is halted, one whose tick grows after a minute.
KNOWN = {
    spec.symbol: spec
    for spec in (
        Spec(symbol="BTCUSDT", calibration=BTC, price_ticks=6_183_763, tick_e8=10**6, lot_e8=10**3),
        Spec(symbol="ETHUSDT", calibration=ETH, price_ticks=268_312, tick_e8=10**6, lot_e8=10**4),
        Spec(
            symbol="AEBTC", calibration=ETH, price_ticks=4_630, tick_e8=10, lot_e8=10**6, speed=5, size=2, occupied=60
        ),
        Spec(symbol="1INCHUSDT", calibration=ETH, price_ticks=2_487, tick_e8=10**4, lot_e8=10**7, speed=60_000, size=20),
        Spec(symbol="币安人生USDT", calibration=ETH, price_ticks=18_120, tick_e8=10**3, lot_e8=10**7, speed=90_000, size=15),
        Spec(symbol="PEPEUSDT", calibration=ETH, price_ticks=123, tick_e8=1, lot_e8=10**8, speed=200_000, size=2),
        Spec(
            symbol="BTCJPY", calibration=BTC, price_ticks=9_412_350, tick_e8=10**8, lot_e8=10**3, speed=30_000, size=30_000,
            decimals=2,
        ),
        Spec(symbol="LUNABUSD", calibration=ETH, price_ticks=8_105, tick_e8=10**4, lot_e8=10**6, size=20, status="HALT"),
        Spec(
            symbol="INJUSDT", calibration=ETH, price_ticks=17_934, tick_e8=10**5, lot_e8=10**6, speed=80_000, size=25,
            tick_grows_after_s=60,
        ),
    )
}  # fmt: skip

SPEEDS = (2_000, 4_000, 7_000, 12_000, 20_000, 30_000, 45_000, 70_000, 110_000, 200_000)  # most symbols are quiet


def spec_of(seed: int | str, symbol: str) -> Spec:
    """A known symbol's, or one drawn from the seed: a price between 0.001 and 9,000 in 2,000 to 20,000 ticks."""
    if symbol in KNOWN:
        return KNOWN[symbol]
    draws = Draws(seed, symbol, "spec")
    ticks, tick_e8 = 2_000 + draws.below(18_000), 10 ** (1 + draws.below(6))
    # A lot is worth about what it is in the measured market.
    lot_e8 = next(10**n for n in range(9) if 10**n * ticks * tick_e8 * 8 > ETH.price_e8 * 10**4 or n == 8)
    return Spec(
        symbol=symbol,
        calibration=ETH,
        price_ticks=ticks,
        tick_e8=tick_e8,
        lot_e8=lot_e8,
        speed=SPEEDS[draws.below(len(SPEEDS))] * (700 + draws.below(600)) // 1000,
        size=10 + draws.below(50),
    )
