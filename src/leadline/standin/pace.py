"""Virtual time: what the exchange's own clock shows when playback is faster than life, and how long the exchange takes.

At speed n everything the exchange measures in time passes n times faster: pings, bans, minutes, the life of a connection, the
delay of an answer. While playback is paused, or as fast as it is read (speed 0), it passes as it does for the client.
"""

import asyncio

from leadline.clock import Clock
from leadline.standin.draws import Draws

DELAY_US = (5_000, 50_000)  # between a request of depth and its answer from memory; docs/standin.md, not measured
AGE_US = (0, 30_000)  # how old that memory may be; not measured
LAG_US = (200_000, 2_000_000)  # of the exchange's database behind the streams; not measured


class Pace:
    """A Clock that runs at `rate` beside another."""

    def __init__(self, clock: Clock) -> None:
        """clock: real time. Starts at rate 1, and shows the same time until the rate is another."""
        self._clock = clock
        self._rate = 1.0
        self._since = clock.monotonic()
        self._ahead_s = 0.0  # at `_since`
        self._changed = asyncio.Event()

    def set_rate(self, rate: float) -> None:
        """Virtual seconds per second from now on."""
        if rate == self._rate:
            return
        now = self._clock.monotonic()
        self._ahead_s = self._ahead(now)
        self._since, self._rate = now, rate
        self._changed.set()
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        """Virtual seconds; never steps."""
        now = self._clock.monotonic()
        return now + self._ahead(now)

    def wall_ns(self) -> int:
        """The machine's UTC and what virtual time is ahead of it, integer nanoseconds."""
        return self._clock.wall_ns() + int(self._ahead(self._clock.monotonic()) * 1e9)

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` is at least `deadline`, also when the rate changes meanwhile."""
        while True:
            left = deadline - self.monotonic()
            changed = self._changed
            async with asyncio.TaskGroup() as tasks:
                over = tasks.create_task(self._clock.sleep_until(self._clock.monotonic() + left / self._rate), name="pace.sleep")
                other = tasks.create_task(changed.wait(), name="pace.changed")
                await asyncio.wait((over, other), return_when=asyncio.FIRST_COMPLETED)
                over.cancel()
                other.cancel()
            if not changed.is_set():
                return

    def _ahead(self, now: float) -> float:
        return self._ahead_s + (now - self._since) * (self._rate - 1.0)


class Delays:
    """How long the exchange takes. Drawn from seed, symbol and moment: whoever else asks changes nothing."""

    def __init__(self, seed: str) -> None:
        """seed: another one takes other times."""
        self._seed = seed

    def depth_us(self, symbol: str, at_ms: int) -> tuple[int, int]:
        """(until a request of depth at that moment is served, age of the memory it is served from)."""
        draws = Draws(self._seed, symbol, "depth", at_ms)
        return _between(draws, DELAY_US), _between(draws, AGE_US)

    def lag_us(self, symbol: str, at_ms: int) -> int:
        """Of the database behind the streams."""
        return _between(Draws(self._seed, symbol, "lag", at_ms), LAG_US)


def _between(draws: Draws, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return low + draws.below(high - low)
