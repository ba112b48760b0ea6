"""The one place where time is taken. Pure rooms are given `now`; edges are given a Clock; tests own one that they move."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time says when something happened; monotonic time says how long it took and is never stored."""

    def wall_ns(self) -> int:
        """UTC, integer nanoseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` is at least `deadline`; at least one turn of the loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall_ns(self) -> int:
        """UTC, integer nanoseconds since 1970."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps."""
        return time.monotonic()

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` is at least `deadline`."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
