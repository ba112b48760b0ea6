"""A running service that answers calls, asked by HTTP. The library for that is loaded with the first call."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from leadline.clock import Clock
from leadline.core.errors import LeadlineError, Unreachable
from leadline.serve.dispatch import Outcome, Progress
from leadline.serve.errors import Failure, door_named, door_of, failure_of
from leadline.serve.requests import request_of
from leadline.serve.tools import Tool, tool_of

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 60
TOLD_EVERY_S = 1.0


class Remote:
    """Within its block; the addresses are those of the HTTP door."""

    def __init__(self, url: str, clock: Clock, token: str = "") -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Remote":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, name: str, arguments: Any, *, transport: str, progress: Progress | None = None) -> Outcome:
        """Never raises but for cancellation. progress: told of the seconds that have passed."""
        try:
            tool = tool_of(name)
            request_of(tool.request, arguments)  # what is wrong with the question is not the service's fault
        except LeadlineError as error:
            return Outcome(None, failure=failure_of(error), door=door_of(error))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(self._wait(progress), name=f"{transport} progress")
            try:
                return await self._asked(tool, arguments)
            finally:
                waiting.cancel()

    async def _wait(self, progress: Progress | None) -> None:
        begun, told_s = self._clock.monotonic(), 0
        while progress is not None:
            told_s += 1
            await self._clock.sleep_until(begun + told_s * TOLD_EVERY_S)
            await progress(told_s)

    async def _asked(self, tool: Tool, arguments: Any) -> Outcome:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.post(f"{self._url}/api/tools/{tool.name}", data=msgspec.json.encode(arguments)) as answer:
                data = await answer.read()
            if answer.status == 200:
                return Outcome(tool, msgspec.json.decode(data))
            failure = msgspec.json.decode(data, type=Failure)
            return Outcome(tool, failure=failure, door=door_named(failure.error))
        except aiohttp.ClientConnectorError:
            why = "nothing answers there; start `leadline serve`"
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"[:300]
        unreachable = Unreachable(self._url, why)
        return Outcome(tool, failure=failure_of(unreachable), door=door_of(unreachable))
