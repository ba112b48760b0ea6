"""A clock that stands still until the test moves it."""

import asyncio
import heapq

START_WALL_NS = 1_723_161_240_000_000_000  # 2024-08-08 23:54:00 UTC, the start of a minute


class FakeClock:
    def __init__(self, wall_ns: int = START_WALL_NS) -> None:
        self.now = 0.0
        self._wall_ns = wall_ns
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def wall_ns(self) -> int:
        return self._wall_ns + round(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    async def sleep_until(self, deadline: float) -> None:
        if deadline <= self.now:
            await asyncio.sleep(0)
            return
        self._count += 1
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (deadline, self._count, sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its own moment and letting it act before time goes on."""
        target = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, sleeper = heapq.heappop(self._sleepers)
            self.now = max(self.now, deadline)
            if not sleeper.done():
                sleeper.set_result(None)
            await settle()
        self.now = target
        await settle()


async def settle() -> None:
    """Let everything that can go on without time or I/O go on."""
    for _ in range(30):
        await asyncio.sleep(0)
