"""grpc.health.v1: one answer for all our names. Watches end with the service; those of the library's servicer never do, so that
each of them would hold up a stop for as long as calls in flight may take.
"""

import asyncio

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthServicer

from leadline.serve.grpc_door import Context


class Health(HealthServicer):  # type: ignore[misc]  # its package has no types
    """Method names are the contract's. names: of the services, `` is the whole."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._serving = False
        self._stopping = False
        self._changed = asyncio.Event()

    def tell(self, serving: bool) -> None:
        """What is answered from now on, until the stop."""
        if serving != self._serving and not self._stopping:
            self._serving = serving
            self._wake()

    def stop(self) -> None:
        """NOT_SERVING, for good."""
        self._serving, self._stopping = False, True
        self._wake()

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """Now."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such service: {request.service[:80]!r}")
        return pb.HealthCheckResponse(status=self._status())

    async def Watch(self, request: pb.HealthCheckRequest, context: Context) -> None:
        """Now, and each change."""
        told = None
        while True:
            changed = self._changed
            status = self._status() if request.service in self._names else pb.HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                await context.write(pb.HealthCheckResponse(status=status))
                told = status
            elif self._stopping:
                return
            else:
                await changed.wait()

    def _status(self) -> int:
        status: int = pb.HealthCheckResponse.SERVING if self._serving else pb.HealthCheckResponse.NOT_SERVING
        return status

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
