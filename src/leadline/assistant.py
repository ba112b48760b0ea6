"""`leadline mcp`: one assistant on standard input and output, answered by a running service, or by a service of its own.

Two processes cannot write one store, so an assistant's child process asks the service that runs; with none running each call
says how to start it. Standard output belongs to the protocol, logs go to standard error.
"""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from msgspec import structs

from leadline.clock import SystemClock
from leadline.serve.dispatch import Dispatcher
from leadline.serve.listing import Offer
from leadline.serve.mcp_stdio import speak
from leadline.serve.remote import Remote

if TYPE_CHECKING:
    from leadline.config import Settings


async def over_service(url: str, offer: Offer, token: str = "") -> None:
    """Until standard input ends."""
    async with Remote(url, SystemClock(), token) as remote:
        await speak(remote, offer)


async def standalone(settings: "Settings", offer: Offer, stop: asyncio.Event) -> None:
    """Feeds and store in this process, all other doors closed; until `stop` is set or standard input ends.

    The assistant is answered before anything is opened. Raises LeadlineError for what an operator must mend before a start.
    """
    clock = SystemClock()
    dispatcher = Dispatcher(clock)
    closed = structs.replace(settings, grpc=structs.replace(settings.grpc, bind=""), http=structs.replace(settings.http, bind=""))
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(speak(dispatcher, offer), name="stdio")
        speaking.add_done_callback(lambda _: stop.set())
        serving = await asyncio.to_thread(_load)
        await serving.serve(closed, stop, clock=clock, dispatcher=dispatcher)
        if not speaking.done():  # a thread waits for standard input, and nothing wakes it
            sys.stderr.flush()
            os._exit(0)


def _load() -> Any:
    from leadline import serving

    return serving
