"""The HTTP door: the table of tools as JSON, health, readiness and metrics.

GET /api/tools, POST /api/tools/{name}, GET /openapi.json, /healthz, /readyz and /metrics. One error shape; CORS is closed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leadline import __version__
from leadline.clock import Clock
from leadline.core.errors import InvalidRequest
from leadline.serve import bounded
from leadline.serve.dispatch import Dispatcher, Outcome
from leadline.serve.errors import Failure, door_of, failure_of, retry_after_s
from leadline.serve.guard import Guard, Rules
from leadline.serve.openapi import description
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tokens import Tokens
from leadline.serve.tools import TOOLS

STORED_S_MAX = 10


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service can be relied on now.

    ready: Every followed symbol is LIVE, and its newest stored second is fresh.
    reason: What is not; null: ready.
    symbols: Per symbol its state and the age of its newest stored second, s.
    """

    ready: bool
    reason: str | None
    symbols: dict[str, dict[str, Any]]


def http_app(
    dispatcher: Dispatcher,
    *,
    clock: Clock,
    rules: Rules,
    tokens: Tokens,
    metrics: Callable[[], bytes],
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """metrics: the scrape. more: routes of other doors behind the same guard."""

    async def healthz(_: Request) -> Response:
        return _json({"status": "ok", "version": __version__})

    async def readyz(request: Request) -> Response:
        found = readiness(dispatcher, clock.wall_ns() // 1_000_000_000, live_only=request.query_params.get("live_only") == "1")
        return _json(found, 200 if found.ready else 503)

    async def scrape(_: Request) -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def tools(_: Request) -> Response:
        return _json({"tools": [_listing(tool.name) for tool in TOOLS]})

    async def tool(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            arguments = _arguments(await request.body(), request.headers.get("content-type", ""))
        except ClientDisconnect:
            return _json(Failure(error="TooLarge", message="the request is too large", retryable=False, fields={}), 413)
        except InvalidRequest as error:
            return _failed(Outcome(None, failure=failure_of(error), door=door_of(error)))
        outcome = await dispatcher.call(name, arguments, transport="http")
        if outcome.failure is not None or outcome.tool is None:
            return _failed(outcome)
        _, data = bounded.encoded(outcome.tool, outcome.value, bounded.HTTP_BYTES_MAX)
        return Response(data, media_type="application/json")

    async def openapi(_: Request) -> Response:
        return _json(description(token=tokens.asked))

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", scrape),
        Route("/api/tools", tools),
        Route("/api/tools/{name}", tool, methods=["POST"]),
        Route("/openapi.json", openapi),
        *more,
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, rules=rules, tokens=tokens, clock=clock)],
        exception_handlers={HTTPException: _no_route},
    )


def readiness(dispatcher: Dispatcher, now_s: int, *, live_only: bool) -> Readiness:
    """live_only: without the store, so that a full disk does not take the live books out of a balancer."""
    desk = dispatcher.desk
    if desk is None or desk.books is None:
        return Readiness(ready=False, reason="starting", symbols={})
    rows: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for symbol in desk.books.symbols:
        view = desk.books.view(symbol, 1)
        newest_s = desk.reader.last_second(symbol, now_s)
        age_s = None if newest_s is None else now_s - newest_s
        state = desk.books.why_none(symbol) if view is None else view.state.value
        rows[symbol] = {"state": state, "stored_age_s": age_s}
        if view is None or state != "LIVE":
            wrong.append(f"{symbol} is {state}")
        elif not live_only and (age_s is None or age_s >= STORED_S_MAX):
            wrong.append(f"{symbol} was not stored for {STORED_S_MAX} s")
    reason = "; ".join(wrong) or (None if rows else "no symbol is followed")
    return Readiness(ready=reason is None, reason=reason, symbols=rows)


def _listing(name: str) -> dict[str, Any]:
    tool = next(one for one in TOOLS if one.name == name)
    return {
        "name": tool.name,
        "description": tool.help,
        "toolset": tool.toolset,
        "input_schema": input_schema(tool.request),
        "output_schema": output_schema(tool.result),
    }


def _arguments(body: bytes, content_type: str) -> Any:
    """The JSON of a request; an empty body asks for the defaults. Raises InvalidRequest."""
    if not body:
        return {}
    if not content_type.partition(";")[0].strip().lower().endswith("json"):
        raise InvalidRequest("Content-Type", repr(content_type[:40]), "application/json")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("body", f"not JSON: {error}", "one JSON object") from error
    except RecursionError as error:
        raise InvalidRequest("body", "nested too deeply", "one JSON object") from error


async def _no_route(_: Request, error: Exception) -> Response:
    """A path or a method that is none."""
    assert isinstance(error, HTTPException), "it is registered for these"
    failure = Failure(error="NoSuchRoute", message=error.detail, retryable=False, fields={})
    return _json(failure, error.status_code, dict(error.headers or {}))


def _failed(outcome: Outcome) -> Response:
    assert outcome.failure is not None and outcome.door is not None, "there is an answer"
    wait_s = retry_after_s(outcome.failure)
    headers = {} if wait_s is None or outcome.door.http not in {429, 503} else {"Retry-After": str(max(1, round(wait_s)))}
    return _json(outcome.failure, outcome.door.http, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
