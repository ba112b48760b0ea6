"""What we may send, and when. Decisions are functions of state and `now`; the waiting around them is thin.

Weights and bans belong to the IP address, so one WeightBudget serves all REST of the process (docs/exchange.md).
Message limits belong to a socket: one Gate each.
"""

import asyncio
import enum
import heapq
import random
from collections.abc import Iterator
from contextlib import contextmanager

from leadline.clock import Clock

MINUTE_NS = 60_000_000_000
SPARE_SHARE = 0.2  # of the minute's budget, for what is more urgent than a re-anchor or an audit (docs/exchange.md)
RAMP_NS = MINUTE_NS  # after a stop the budget comes back over one minute, from a tenth
RAMP_FROM = 0.1
LOOK_AGAIN_S = 1.0  # wall time may step and limits may change while somebody waits


class Priority(enum.IntEnum):
    """Who goes first; the smaller the more urgent."""

    START = 0
    BACKFILL = 1
    ANCHOR = 2
    AUDIT = 3
    LISTING = 4


class WeightWindow:
    """The decision: how much weight is used in this clock minute, and whether more may be asked for. Pure."""

    def __init__(self, limit_per_minute: int, stopped_until_ns: int = 0) -> None:
        self.limit_per_minute = limit_per_minute
        self.stopped_until_ns = stopped_until_ns
        self.used = 0
        self._minute = -1

    def wait_ns(self, weight: int, priority: Priority, now_ns: int) -> int:
        """0 if a request of this weight may go now, else how long to wait before asking again."""
        if now_ns < self.stopped_until_ns:
            return self.stopped_until_ns - now_ns
        self._turn(now_ns)
        whole = self.limit_per_minute * (1.0 if priority < Priority.ANCHOR else 1.0 - SPARE_SHARE)
        # A request heavier than a whole minute's share goes alone: it must not wait for ever.
        if self.used + min(weight, whole) <= whole * self._ramp(now_ns):
            return 0
        return MINUTE_NS - now_ns % MINUTE_NS

    def spend(self, weight: int, now_ns: int) -> int:
        """Count a request that goes now; returns its minute."""
        self._turn(now_ns)
        self.used += weight
        return self._minute

    def observe(self, used: int, minute: int, now_ns: int) -> None:
        """What the exchange says was used. Believed when above our count: other programs share the address.

        An answer to a request of an earlier minute may still speak of that minute, and says nothing of this one.
        """
        self._turn(now_ns)
        if minute == self._minute and used > self.used:
            self.used = used

    def stop_until(self, until_ns: int) -> None:
        """Nothing goes before until_ns; the longer stop holds."""
        self.stopped_until_ns = max(self.stopped_until_ns, until_ns)

    def _turn(self, now_ns: int) -> None:
        if (minute := now_ns // MINUTE_NS) != self._minute:
            self._minute, self.used = minute, 0

    def _ramp(self, now_ns: int) -> float:
        if not self.stopped_until_ns:
            return 1.0
        return min(1.0, RAMP_FROM + (1.0 - RAMP_FROM) * (now_ns - self.stopped_until_ns) / RAMP_NS)


class WeightBudget:
    """One for all REST of the process. Callers go in order of priority, first come first served inside one.

    banned_until_ns: wall time of the last ban told to us, 0 if never; keep it and give it back at the next start.
    """

    def __init__(self, limit_per_minute: int, clock: Clock, *, banned_until_ns: int = 0) -> None:
        self.window = WeightWindow(limit_per_minute, banned_until_ns)
        self.banned_until_ns = banned_until_ns
        self._clock = clock
        self._arrivals = 0
        self._queue: list[tuple[Priority, int]] = []
        self._first_changed = asyncio.Event()

    @property
    def limit_per_minute(self) -> int:
        """The address's limit, as exchangeInfo tells it."""
        return self.window.limit_per_minute

    @limit_per_minute.setter
    def limit_per_minute(self, limit: int) -> None:
        self.window.limit_per_minute = limit

    @property
    def used(self) -> int:
        """Weight used in the minute of the last request or answer, other programs included as far as we were told."""
        return self.window.used

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    async def acquire(self, weight: int, priority: Priority) -> int:
        """Wait until a request of this weight may go, and count it. Returns its minute, for `observe`."""
        with self._place(priority) as place:
            while True:
                if self._queue[0] != place:
                    await self._first_changed.wait()
                    continue
                now_ns = self._clock.wall_ns()
                wait_ns = self.window.wait_ns(weight, priority, now_ns)
                if not wait_ns:
                    return self.window.spend(weight, now_ns)
                await self._clock.sleep_until(self._clock.monotonic() + min(wait_ns / 1e9, LOOK_AGAIN_S))

    def observe(self, used_weight_header: str | None, minute: int) -> None:
        """The answer's used-weight header, if it had one; `minute` is what `acquire` gave for that request."""
        if used_weight_header is not None and used_weight_header.isascii() and used_weight_header.isdecimal():
            self.window.observe(int(used_weight_header), minute, self._clock.wall_ns())

    def stop_until(self, wall_ns: int, banned: bool) -> None:
        """429 or 418: all callers wait until then, and start slowly."""
        self.window.stop_until(wall_ns)
        if banned:
            self.banned_until_ns = max(self.banned_until_ns, wall_ns)

    @contextmanager
    def _place(self, priority: Priority) -> Iterator[tuple[Priority, int]]:
        self._arrivals += 1
        place = (priority, self._arrivals)
        heapq.heappush(self._queue, place)
        try:
            yield place
        finally:
            self._queue.remove(place)
            heapq.heapify(self._queue)
            # Everyone who is not first waits on this event; a fresh one makes each of them look once.
            self._first_changed.set()
            self._first_changed = asyncio.Event()


class Gate:
    """Outgoing messages of one socket, evenly spaced: a burst could arrive as a bigger one. Pongs count too."""

    def __init__(self, clock: Clock, per_second: int = 4) -> None:
        self._clock = clock
        self._space_s = 1.0 / per_second
        self._free_at = float("-inf")

    def take(self, now: float) -> float:
        """The decision: reserve the next free moment (monotonic seconds) and return it."""
        moment = max(now, self._free_at)
        self._free_at = moment + self._space_s
        return moment

    async def wait(self) -> None:
        """Wait for our turn to send one message."""
        now = self._clock.monotonic()
        if (moment := self.take(now)) > now:
            await self._clock.sleep_until(moment)


class Backoff:
    """How long to wait before the next attempt: exponential with full jitter, forgotten after a minute of success."""

    def __init__(self, base_s: float, max_s: float, rng: random.Random, *, forget_after_s: float = 60.0) -> None:
        self.failures = 0
        self._base_s, self._max_s, self._forget_after_s = base_s, max_s, forget_after_s
        self._rng = rng

    def delay_s(self, lived_s: float = 0.0) -> float:
        """Delay after one more failure of something that had worked for lived_s."""
        if lived_s >= self._forget_after_s:
            self.failures = 0
        ceiling = min(self._max_s, self._base_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._rng.uniform(0.0, ceiling)
