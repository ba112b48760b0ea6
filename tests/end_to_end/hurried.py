"""An event loop in which time passes only while nobody has anything to do, and then IDLE_RATE times as fast.

Everybody in it has this one time: the service, the stand-in, and the time-outs of sockets. What is computed takes none of it, so
that a slow machine makes a test slow and changes nothing else. While a thread works for the loop it passes at ABROAD_RATE: a slow
disk is no outage.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

IDLE_RATE, ABROAD_RATE = 1000, 50
START_WALL_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00:00 UTC, the start of a minute


class _Idling(selectors.SelectSelector):
    """Counts the time for which it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.abroad = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        rate = ABROAD_RATE if self.abroad else IDLE_RATE
        began = time.monotonic()
        found = super().select(None if timeout is None else timeout / rate)
        waited = (time.monotonic() - began) * rate
        self.now += waited if timeout is None else min(waited, timeout) if found else timeout
        return found


class _HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.idling = _Idling()
        super().__init__(self.idling)

    def time(self) -> float:
        return self.idling.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        self.idling.abroad += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._home)
        return future

    def _home(self, future: object) -> None:
        self.idling.abroad -= 1


class LoopClock:
    """A Clock that shows the running loop's time; its wall time can be set."""

    def __init__(self, wall_ns: int = START_WALL_NS) -> None:
        self._wall_ns = wall_ns

    def wall_ns(self) -> int:
        return self._wall_ns + round(self.monotonic() * 1e9)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self.monotonic()))

    def set_wall(self, by_s: float) -> None:
        """Somebody sets the machine's clock; monotonic time does not notice."""
        self._wall_ns += round(by_s * 1e9)


def hurried(main: Coroutine[Any, Any, Any]) -> Any:
    """asyncio.run in such a loop."""
    with asyncio.Runner(loop_factory=_HurriedLoop) as runner:
        return runner.run(main)
