"""What several rooms' tests stand on: a clock that can be set, a writer that a test holds back, a disk that fails."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.exchange.fake_clock import FakeClock as StandingClock
from tests.exchange.fake_clock import settle

from leadline.core.errors import StoreError
from leadline.store.engine import Put, Range
from leadline.store.memory import MemoryEngine

__all__ = ["FailingEngine", "FakeClock", "HeldWriter", "InlineWriter", "RestlessClock", "settle"]


class FakeClock(StandingClock):
    """Stands still until the test moves it; its wall time can be set, and the loop can stall."""

    def set_wall(self, by_s: float) -> None:
        """Somebody sets the machine's clock; monotonic time does not notice."""
        self._wall_ns += round(by_s * 1e9)

    async def stall(self, seconds: float) -> None:
        """Time passes, and nobody is woken before it has."""
        self.now += seconds
        await self.advance(0)


class RestlessClock(FakeClock):
    """Each look at it takes time."""

    def __init__(self, look_s: float) -> None:
        super().__init__()
        self._look_s = look_s

    def monotonic(self) -> float:
        self.now += self._look_s
        return self.now


class InlineWriter(ThreadPoolExecutor):
    """The writer's thread without a thread: done when submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class HeldWriter(ThreadPoolExecutor):
    """A slow disk: what is submitted waits until the test lets it through, one call at a time."""

    def __init__(self) -> None:
        super().__init__(1)
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    @property
    def in_hand(self) -> int:
        return len(self._waiting)

    async def let_through(self) -> None:
        future, call = self._waiting.pop(0)
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)
        await settle()


class FailingEngine(MemoryEngine):
    """Memory that refuses to write for as long as `error` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: StoreError | None = None
        self.writes = 0

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        if self.error is not None:
            raise self.error
        self.writes += 1
        super().write(puts, deletes, sync=sync)


def run(test: Any) -> Any:
    """One asynchronous test, ended if it hangs."""

    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(bounded())
