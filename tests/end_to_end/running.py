"""The whole service against a stand-in, in one loop: what the tests of this folder share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from leadline import app
from leadline.clock import Clock
from leadline.config import Settings, load
from leadline.standin.server import StandIn
from leadline.store.history import History

SAFETY_S = 120  # a hang becomes a failure


def settings_for(standin_or_url: StandIn | tuple[str, str], data: Path, symbols: list[str], **more: object) -> Settings:
    """Settings of a service at `data` that is fed by a stand-in, or by any (http, ws) pair of addresses."""
    http, ws = (standin_or_url.http_url, standin_or_url.ws_url) if isinstance(standin_or_url, StandIn) else standin_or_url
    flags = {"symbols": symbols, "store.path": str(data), "exchange.rest_url": http, "exchange.ws_url": ws, **more}
    return load(flags, environ={}).settings


@asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[app.Service]:
    """The service, recording; stopped in order at the end of the block."""
    stop = asyncio.Event()
    started: asyncio.Future[app.Service] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(app.serve(settings, stop, clock=clock, started=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            return  # the TaskGroup raises what serve raised
        try:
            yield started.result()
        finally:
            stop.set()


async def until(condition: Callable[[], object]) -> None:
    """Turn the loop until the condition holds."""
    while not condition():  # noqa: ASYNC110 (the conditions are of real rooms, which have no event for us)
        await asyncio.sleep(0.001)


@contextmanager
def stored(data: Path) -> Iterator[History]:
    """The store at `data`, read beside whoever writes it."""
    with app.open_reader(data) as history:
        yield history
