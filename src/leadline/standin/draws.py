"""Chance, in raw bits: one generator a purpose, integers on top, no library distribution. Same seed, same draws, anywhere."""

import random

from leadline.standin.tables import DRAW_BITS, EXPONENTIAL_BITS, Inverse, exponential


class Draws:
    """An endless stream of draws of one purpose; another purpose has another stream."""

    def __init__(self, *purpose: object) -> None:
        """purpose: for example a seed, a symbol and what is drawn."""
        # Seeding with text and getrandbits are fixed by the language; a market needs no secrets.
        self.bits = random.Random("/".join(map(str, purpose))).getrandbits  # noqa: S311
        self._exponential = exponential()

    def below(self, bound: int) -> int:
        """On [0, bound), near enough to uniform for bounds far under 2^32."""
        return self.bits(32) * bound >> 32

    def chance(self, per_mille: int) -> bool:
        """True that often in a thousand."""
        return self.bits(32) * 1000 >> 32 < per_mille

    def of(self, table: Inverse) -> int:
        """One value of a measured distribution."""
        return table.at(self.bits(DRAW_BITS))

    def waiting_us(self, rate: int) -> int:
        """Time to the next event at `rate` per second, in thousandths; at least 1 us."""
        return self._exponential[self.bits(EXPONENTIAL_BITS)] * 10**9 // (rate * 65_536) + 1

    def rounded(self, thousandths: int) -> int:
        """A whole number that is thousandths / 1000 on average."""
        whole, rest = divmod(thousandths, 1000)
        return whole + self.chance(rest)
