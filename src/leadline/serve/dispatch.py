"""One way to answer a call, for every door: find the tool, check the request, ask, and turn what goes wrong into a Failure.

A question runs in steps on the service's loop and lets others in between; one that outlives its deadline is given up. So many are
asked at once and no more: what comes beyond is refused at once, so that those under way have an end.
"""

import asyncio
import inspect
import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from leadline.clock import Clock
from leadline.core.errors import BookNotLive, Deadline, LeadlineError, Overloaded
from leadline.serve.errors import BUG, Door, Failure, bug, door_of, failure_of
from leadline.serve.requests import request_of
from leadline.serve.tools import Tool, tool_of
from leadline.service.queries import Desk
from leadline.service.steps import Steps

log = logging.getLogger("leadline.serve")

DEADLINE_S = 30.0
CALLS_MAX = 64  # under way at once; they take turns in steps of a few ms, so each still has some turns a second
REST_CALLS_MAX = 16  # of questions to the exchange, counted by themselves: an exchange that hangs keeps no live book from readers
RETRY_AFTER_S = 1.0
Progress = Callable[[int], Awaitable[None]]
T = TypeVar("T")


class Outcome(Struct, frozen=True):
    """What came of a call: an answer of the tool, or a failure and how it is told."""

    tool: Tool | None
    value: Any = None
    failure: Failure | None = None
    door: Door | None = None


class Dispatcher:
    """Answers calls. desk: None as long as the service starts. calls: by (tool, transport, outcome).

    under_way: how many are answered now, by Tool.rest.
    """

    def __init__(self, clock: Clock, *, deadline_s: float = DEADLINE_S) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self.desk: Desk | None = None
        self.calls: Counter[tuple[str, str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.under_way: Counter[bool] = Counter()

    async def call(
        self, name: str, arguments: Any, *, transport: str, lax: bool = False, progress: Progress | None = None
    ) -> Outcome:
        """Never raises but for cancellation."""
        begun = self._clock.monotonic()
        tool: Tool | None = None
        try:
            tool = tool_of(name)
            request = request_of(tool.request, arguments, lax=lax)
            if self.desk is None:
                raise BookNotLive(getattr(request, "symbol", None) or "any symbol", "starting")
            outcome = Outcome(tool, await self._answered(tool, self.desk, request, begun, progress))
        except LeadlineError as error:
            outcome = Outcome(tool, failure=failure_of(error), door=door_of(error))
        except Exception:  # the dispatcher: a bug in one question must not end the service
            failure = bug(uuid.uuid4().hex[:12])
            log.exception("tool_failed", extra={"tool": name[:80], "id": failure.fields["correlation_id"]})
            outcome = Outcome(tool, failure=failure, door=BUG)
        known = "other" if tool is None else tool.name
        self.calls[known, transport, "ok" if outcome.failure is None else outcome.failure.error] += 1
        self.seconds[known] += self._clock.monotonic() - begun
        return outcome

    async def _answered(self, tool: Tool, desk: Desk, request: Any, begun: float, progress: Progress | None) -> Any:
        if self.under_way[tool.rest] >= (REST_CALLS_MAX if tool.rest else CALLS_MAX):
            raise Overloaded(RETRY_AFTER_S)
        self.under_way[tool.rest] += 1
        try:
            asked = tool.run(desk, request)
            if inspect.isawaitable(asked):
                return await self._in_time(asked, begun)
            return await self._stepped(asked, begun, progress)
        finally:
            self.under_way[tool.rest] -= 1

    async def _in_time(self, asked: Awaitable[T], begun: float) -> T:
        """Cancelled at the deadline. Raises Deadline, and what it raises."""

        async def alarm() -> None:
            await self._clock.sleep_until(begun + self._deadline_s)
            raise Deadline(self._deadline_s)

        try:
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(alarm(), name="tool.deadline")
                answer = await asked
                waiting.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # a Deadline comes before what its cancelling led to
        return answer

    async def _stepped(self, steps: Steps[Any], begun: float, progress: Progress | None) -> Any:
        done = 0
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value
                done += 1
                if self._clock.monotonic() - begun > self._deadline_s:
                    raise Deadline(self._deadline_s)
                if progress is not None:
                    await self._in_time(progress(done), begun)  # the reader may have stopped reading
                await self._clock.sleep_until(self._clock.monotonic())
        finally:
            steps.close()


def plain(value: Any) -> Any:
    """An answer as plain values."""
    return msgspec.to_builtins(value)
