"""Who may come in by HTTP: known host names and origins, a token where one is asked for, so many requests a second, so large.

A page in a browser may reach a port on loopback under a name of its own (DNS rebinding); its Host and Origin give it away.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leadline.clock import Clock
from leadline.serve.tokens import METADATA, OAuth, Tokens

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
CLIENTS_MAX = 1_024
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?")


class Rules(Struct, frozen=True):
    """hosts, origins: beside loopback. token, oauth: neither: none is asked for. A client may make `burst` requests at once."""

    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    token: str = ""
    oauth: OAuth | None = None
    body_bytes_max: int = 64 * 1024
    rate_per_s: float = 50.0
    burst: int = 100


class Guard:
    """Middleware over every path."""

    def __init__(self, app: ASGIApp, rules: Rules, tokens: Tokens, clock: Clock) -> None:
        self._app = app
        self._rules = rules
        self._tokens = tokens
        self._clock = clock
        self._hosts = {*LOOPBACK, *(host.lower() for host in rules.hosts)}
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tokens left, when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = await self._refused(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._app(scope, _Bounded(receive, self._rules.body_bytes_max), send)

    async def _refused(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if _host(headers.get("host", "")) not in self._hosts:
            return _no(421, "InvalidHost", "this host name is not allowed; see http.allowed_hosts")
        origin = headers.get("origin")
        if origin is not None and not self._is_known(origin):
            return _no(403, "InvalidOrigin", "this origin is not allowed; see http.allowed_origins")
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(METADATA):
            return None
        wait_s = self._wait_s(scope)  # before the token: whoever guesses at it has no more tries than others have requests
        if wait_s > 0:
            return _no(429, "Overloaded", "too many requests", retry_after_s=wait_s)
        refusal = await self._tokens.refusal(headers.get("authorization", ""))
        if refusal is not None:
            return _no(refusal.door.http, refusal.error, refusal.message, challenge=refusal.challenge)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._rules.body_bytes_max:
            return _no(413, "TooLarge", f"a request is at most {self._rules.body_bytes_max} bytes")
        return None

    def _is_known(self, origin: str) -> bool:
        if origin in self._rules.origins:
            return True
        _, _, host = origin.partition("://")
        return _host(host) in LOOPBACK

    def _wait_s(self, scope: Scope) -> float:
        """Take one of the client's tokens; else how long until there is one."""
        client = scope["client"][0] if scope.get("client") else ""
        now = self._clock.monotonic()
        left, since = self._buckets.pop(client, (float(self._rules.burst), now))
        left = min(float(self._rules.burst), left + (now - since) * self._rules.rate_per_s)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rules.rate_per_s


class _Bounded:
    """A body without a length is cut off where it grows too large."""

    def __init__(self, receive: Receive, bytes_max: int) -> None:
        self._receive = receive
        self._left = bytes_max

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self._left < 0 else message


def _host(text: str) -> str:
    """Without the port, lower-case; whole where it is no HOST or HOST:PORT, and then it is nobody's name."""
    name = text.strip().lower()
    found = _HOST.fullmatch(name)
    return found[1] if found else name


def _no(status: int, error: str, message: str, *, challenge: str = "", **fields: float) -> JSONResponse:
    body = {"error": error, "message": message, "retryable": status in {429, 503}, "fields": fields}
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    if status == 429:
        headers["Retry-After"] = str(max(1, math.ceil(fields["retry_after_s"])))
    return JSONResponse(body, status, headers)
