"""The second half of the composition root: a recording service with its doors, one loop.

Doors open before the store and the exchange are there, and close before the recording ends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from leadline import app
from leadline.clock import Clock, SystemClock
from leadline.config import Settings
from leadline.core.errors import InvalidRequest
from leadline.exchange.binance.stream import ConnectionStatus
from leadline.serve.dispatch import Dispatcher
from leadline.serve.doors import Binds, Doors
from leadline.serve.guard import Rules
from leadline.serve.listing import Offer
from leadline.serve.tokens import OAuth

log = logging.getLogger("leadline.serve")


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    clock: Clock | None = None,
    started: Callable[[app.Service], None] | None = None,
    opened: Callable[[Doors], None] | None = None,
    dispatcher: Dispatcher | None = None,
) -> None:
    """Record and answer until `stop` is set. dispatcher: one that somebody asks already.

    Raises LeadlineError for what an operator must mend before a start.
    """
    clock = clock or SystemClock()
    doors, closed = Doors(clock, dispatcher), asyncio.Event()
    binds = binds_of(settings)

    async def answer() -> None:
        async with doors.open(binds):
            log.info("doors_open", extra={"grpc": doors.grpc_port, "http": doors.http_port})
            if opened is not None:
                opened(doors)
            await stop.wait()
        closed.set()

    def ready(service: app.Service) -> None:
        doors.dispatcher.desk, doors.hub.books, doors.watched = service.desk, service.desk.books, _Watched(service)
        if started is not None:
            started(service)

    async with asyncio.TaskGroup() as tasks:
        answering = tasks.create_task(answer(), name="doors")
        try:
            await app.serve(settings, closed, clock=clock, started=ready, listener=doors.hub)
        finally:
            if not closed.is_set():  # it ended by itself: an error is on its way out
                answering.cancel()


def binds_of(settings: Settings) -> Binds:
    """What the doors need of the settings. Raises InvalidRequest for settings that do not go together."""
    return Binds(
        settings.grpc.bind,
        settings.http.bind,
        Rules(settings.http.allowed_hosts, settings.http.allowed_origins, settings.auth.token, _oauth(settings)),
        Offer(
            settings.mcp.toolsets,
            settings.mcp.max_result_bytes,
            (settings.http.public_url or f"http://{settings.http.bind}") if settings.mcp.search_fetch else "",
        ),
        legacy_sse=settings.mcp.legacy_sse,
    )


def _oauth(settings: Settings) -> OAuth | None:
    """Raises InvalidRequest for an authorization server that is set by half."""
    if not settings.auth.issuer:
        return None
    if not settings.auth.jwks_url:
        raise InvalidRequest("auth.jwks_url", "empty", "the address of the public keys of auth.issuer")
    resource = settings.auth.resource or (settings.http.public_url and settings.http.public_url.rstrip("/") + "/mcp")
    if not resource:
        raise InvalidRequest("auth.resource", "empty", "our address, or http.public_url")
    return OAuth(settings.auth.issuer, settings.auth.jwks_url, resource, settings.auth.scopes)


class _Watched:
    """What the scrape reads of a running service."""

    def __init__(self, service: app.Service) -> None:
        assert service.desk.books is not None, "a service has live books"
        self._service = service
        self.live, self.recorder, self.books = service.live, service.recorder, service.desk.books

    def store_bytes(self) -> int:
        return self._service.store_bytes()

    def connections(self) -> Sequence[ConnectionStatus]:
        return self._service.stream.status

    def rest_weight(self) -> tuple[int, int, int]:
        budget = self._service.budget
        return budget.used, budget.limit_per_minute, budget.banned_until_ns

    def retention(self) -> tuple[int, int]:
        retention = self._service.retention
        return sum(retention.seconds_cut.values()), retention.last_run_s or 0
