"""The gRPC door as a whole: both services, health, reflection, limits, and an orderly end.

No TLS of its own: it binds loopback unless told otherwise, and a proxy stands before it where others come in.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from leadline.clock import Clock
from leadline.core.errors import InvalidRequest
from leadline.serve import grpc_market_data, grpc_provider
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_door import TokenCheck
from leadline.serve.grpc_health import Health
from leadline.serve.grpc_market_data import MarketData
from leadline.serve.grpc_provider import Provider
from leadline.serve.proto.market_data_pb2_grpc import add_MarketDataServicer_to_server
from leadline.serve.proto.provider_pb2_grpc import add_ProviderServicer_to_server
from leadline.serve.tokens import Tokens
from leadline.service.fanout import Hub, beats

log = logging.getLogger("leadline.serve")

BIND = "127.0.0.1:50053"
REQUEST_BYTES_MAX = 4 * 2**20
CALLS_MAX = 1_024  # streams count as long as they last
GRACE_S = 5.0
HEALTH_S = 0.25
SERVICES = (grpc_provider.NAME, grpc_market_data.NAME)
HEALTH_NAMES = ("", *SERVICES)

OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", -1),  # answers have bounds of their own
    ("grpc.so_reuseport", 0),  # a second service on the same port is a mistake, not a share of the load
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may ask as often whether we live
)


@asynccontextmanager
async def grpc_door(
    dispatcher: Dispatcher,
    hub: Hub,
    *,
    clock: Clock,
    ready: Callable[[], bool],
    bind: str = BIND,
    tokens: Tokens | None = None,
    grace_s: float = GRACE_S,
) -> AsyncIterator[int]:
    """Serves as long as it is open; gives the port. ready: what health says. Raises InvalidRequest where it cannot bind.

    At the end health says so, streams get their last words, and calls have grace_s to finish.
    """
    server = grpc.aio.server(
        options=OPTIONS,
        maximum_concurrent_rpcs=CALLS_MAX,
        interceptors=[TokenCheck(tokens)] if tokens is not None and tokens.asked else None,
    )
    add_ProviderServicer_to_server(Provider(dispatcher, hub, clock), server)
    add_MarketDataServicer_to_server(MarketData(dispatcher, hub, clock), server)
    told = Health(HEALTH_NAMES)
    told.tell(ready())
    add_HealthServicer_to_server(told, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _bound(server, bind)
    await server.start()
    log.info("grpc_listening", extra={"bind": bind, "port": port})
    async with asyncio.TaskGroup() as tasks:
        running = (
            tasks.create_task(beats(hub, clock), name="grpc.beats"),
            tasks.create_task(_mirror(told, ready, clock), name="grpc.health"),
        )
        try:
            yield port
        finally:
            for task in running:
                task.cancel()
            told.stop()
            hub.stop()
            await server.stop(grace_s)
            log.info("grpc_stopped")


def _bound(server: grpc.aio.Server, bind: str) -> int:
    try:
        port: int = server.add_insecure_port(bind)
    except RuntimeError as error:
        raise InvalidRequest("grpc.bind", f"{bind}: {error}", "a free HOST:PORT of this machine") from error
    return port


async def _mirror(told: Health, ready: Callable[[], bool], clock: Clock) -> None:
    while True:
        told.tell(ready())
        await clock.sleep_until(clock.monotonic() + HEALTH_S)
