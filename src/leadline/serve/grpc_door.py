"""How the gRPC door says no: each failure as its status, its fields as JSON in the trailing metadata; and who may come in."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn
from urllib.parse import quote

import grpc
import msgspec

from leadline.core.errors import InvalidRequest, LeadlineError, SlowReader
from leadline.serve.errors import BUG, Door, Failed, Failure, bug, door_of, failure_of
from leadline.serve.tokens import Refusal, Tokens
from leadline.service.fanout import Ended

log = logging.getLogger("leadline.serve")

ERROR_KEY = "leadline-error-bin"
CORRELATION_KEY = "correlation-id"
CORRELATION_MAX = 256
GONE_S = 1.0
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
OPEN_SERVICE = "/grpc.health.v1.Health/"

Context = grpc.aio.ServicerContext[Any, Any]
STOPS = Door("UNAVAILABLE", 503, ())


class Call:
    """One call that is being answered. correlation_id: the caller's, logged and given back."""

    def __init__(self, context: Context, method: str, correlation_id: str) -> None:
        self._context = context
        self._method = method
        self.correlation_id = quote(correlation_id[:CORRELATION_MAX], safe=PRINTABLE)[:CORRELATION_MAX]
        if self.correlation_id:
            context.set_trailing_metadata(((CORRELATION_KEY, self.correlation_id),))

    async def refuse(self, failure: Failure, door: Door) -> NoReturn:
        """End it with this failure."""
        self.told(door.grpc)
        metadata: list[tuple[str, str | bytes]] = [(ERROR_KEY, msgspec.json.encode(failure))]
        if self.correlation_id:
            metadata.append((CORRELATION_KEY, self.correlation_id))
        await self._context.abort(grpc.StatusCode[door.grpc], failure.message, tuple(metadata))
        raise AssertionError("abort does not return")

    async def end(self, ended: Ended | None) -> None:
        """End a stream whose reader gets nothing more."""
        if ended is not None and ended.waiting:
            slow = SlowReader(ended.waiting)
            await self.refuse(failure_of(slow), door_of(slow))
        await self.refuse(_failure("Stopping", "the service stops", retryable=True), STOPS)

    def told(self, status: str) -> None:
        """One line for whoever gave an id to look for."""
        if self.correlation_id:
            log.info("grpc_call", extra={"method": self._method, "status": status, "correlation_id": self.correlation_id})


@asynccontextmanager
async def answering(context: Context, method: str, correlation_id: str = "") -> AsyncIterator[Call]:
    """Whatever goes wrong inside ends the call with its status; a bug with an id that the log has too."""
    call = Call(context, method, correlation_id)
    try:
        yield call
    except LeadlineError as error:
        await call.refuse(failure_of(error), door_of(error))
    except Failed as error:
        await call.refuse(error.failure, error.door)
    except grpc.aio.InternalError:  # nothing can be sent: the caller has just gone; when the library hears it, we are cancelled
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_S):
                await asyncio.Event().wait()
        raise
    except grpc.aio.BaseError:  # ended by us: the library's to see to
        raise
    except Exception:  # the door: a bug in one call must not end the service, nor tell what it is made of
        failure = bug(uuid.uuid4().hex[:12])
        log.exception("grpc_failed", extra={"method": method, "id": failure.fields["correlation_id"]})
        await call.refuse(failure, BUG)
    call.told("OK")


def json_object(payload: bytes, field: str) -> Any:
    """Raw JSON; nothing means {}. Raises InvalidRequest for what is none; that it is an object is the request's to check."""
    if not payload:
        return {}
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(field, f"no JSON: {error}", "one JSON object") from error
    except RecursionError as error:
        raise InvalidRequest(field, "nested too deeply", "one JSON object") from error


class TokenCheck(grpc.aio.ServerInterceptor):
    """`authorization: Bearer <token>` is asked for, but by the health service."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """On, or away."""
        if handler_call_details.method.startswith(OPEN_SERVICE):
            return await continuation(handler_call_details)
        said = next((value for key, value in handler_call_details.invocation_metadata if key == "authorization"), "")
        refusal = await self._tokens.refusal(said if isinstance(said, str) else "")
        return await continuation(handler_call_details) if refusal is None else _refusing(refusal)


def _refusing(refusal: Refusal) -> Any:
    async def refuse(_: Any, context: Context) -> None:
        retryable = refusal.door.http == 503
        await Call(context, "", "").refuse(_failure(refusal.error, refusal.message, retryable=retryable), refusal.door)

    return grpc.unary_unary_rpc_method_handler(refuse)


def _failure(error: str, message: str, *, retryable: bool) -> Failure:
    return Failure(error=error, message=message, retryable=retryable, fields={})
