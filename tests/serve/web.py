"""The HTTP door as tests use it: real sockets over a dispatcher whose desk is that of the recordings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.fakes import FakeClock
from tests.service import desks

from leadline.serve.doors import Binds, Doors
from leadline.serve.guard import Rules

NOW_NS = (desks.LAST + 1) * 10**9
MANY = 100_000


class Web:
    """A client of one HTTP door, and the doors themselves."""

    def __init__(self, doors: Doors, session: aiohttp.ClientSession) -> None:
        self.doors, self._session = doors, session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.doors.http_port}"

    async def ask(self, method: str, path: str, **how: Any) -> tuple[int, Any, Any]:
        """Status, headers, body: JSON where it is said to be."""
        async with self._session.request(method, self.url + path, **how) as answer:
            body = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, answer.headers, body

    async def tool(self, name: str, arguments: Any, **how: Any) -> tuple[int, Any, Any]:
        """One call."""
        return await self.ask("POST", f"/api/tools/{name}", json=arguments, **how)


@asynccontextmanager
async def web(rules: Rules | None = None, *, clock: FakeClock | None = None, starting: bool = False) -> AsyncIterator[Web]:
    """starting: without a desk. rules: MANY requests at once where none are given."""
    doors = Doors(clock or FakeClock(NOW_NS))
    if not starting:
        doors.dispatcher.desk = desks.desk()
    async with doors.open(Binds("", "127.0.0.1:0", rules or Rules(burst=MANY))):
        async with aiohttp.ClientSession() as session:
            yield Web(doors, session)
