"""The control path under /_standin/: what state the stand-in is in, and what it is to do (docs/standin.md)."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from leadline.standin.faults import FaultRequest, Faults, Seconds, UnknownFault
from leadline.standin.limits import Limits
from leadline.standin.player import Player
from leadline.standin.rest import Rest
from leadline.standin.sockets import Hub
from leadline.standin.source import TrueBook, fixed

TRADES_MAX = 100_000
DIGITS_MAX = 18


class Control:
    """Reading is always served, doing only where it is `enabled`; both to loopback only, and to no web page."""

    def __init__(
        self,
        *,
        player: Player,
        hub: Hub,
        rest: Rest,
        faults: Faults,
        limits: Limits,
        enabled: bool,
        resume: Callable[[], None],
        answer: Callable[[], None],
        check: Callable[[FaultRequest], None],
        fault: Callable[[FaultRequest], None],
    ) -> None:
        """resume, answer, fault: what POST does beside the player. check: raises UnknownFault for what cannot be done."""
        self._player = player
        self._source = player.source
        self._hub = hub
        self._rest = rest
        self._faults = faults
        self._limits = limits
        self._enabled = enabled
        self._resume = resume
        self._answer = answer
        self._check = check
        self._fault = fault

    def routes(self) -> list[web.RouteDef]:
        """Under /_standin/."""
        return [
            web.get("/_standin/state", self._get_state),
            web.get("/_standin/faults", self._get_faults),
            web.get("/_standin/truth/faults", self._get_faults),
            web.get("/_standin/truth/book", self._get_book),
            web.get("/_standin/truth/trades", self._get_trades),
            web.get("/_standin/truth/labels", self._get_labels),
            web.post("/_standin/{verb}", self._post),
        ]

    async def _get_state(self, request: web.Request) -> web.Response:
        """Query `until=gate|finished` answers when that has come."""
        _only_loopback(request)
        match request.query.get("until"):
            case "gate":
                await self._player.until(lambda: self._player.gate is not None)
            case "finished":
                await self._player.until(lambda: self._player.finished)
        player = self._player
        gate = None if player.gate is None else {"symbol": player.gate, "asked": player.gate_asked}
        return self._json(
            {
                "origin": self._source.origin,
                "symbols": self._source.symbols,
                "speed": player.speed,
                "hold": player.hold,
                "paused": player.paused,
                "started": player.started,
                "finished": player.finished,
                "start_ns": self._source.start_ns,
                "position_ns": player.position_ns,
                "server_time_ms": self._source.server_time_ms(),
                "gate": gate,
                "depth_waiting": {symbol: count for symbol, count in player.waiting.items() if count},
                "frames": player.frames,
                "clients": [
                    {
                        "client": client.number,
                        "path": client.path,
                        "wrapped": client.wrapped,
                        "microseconds": client.microseconds,
                        "streams": list(client.streams),
                        "mode": client.mode,
                        "pinged": client.pinged,
                        "messages": client.messages,
                        "frames": client.frames,
                        "lost": client.lost,
                        "unsent_bytes": client.unsent_bytes,
                    }
                    for client in self._hub.clients.values()
                ],
                "limits": self._limits,
                "weights": {
                    address: {
                        "used": budget.used,
                        "requests": budget.requests,
                        "refused": budget.refused,
                        "banned_until_ms": budget.banned_until_ms,
                    }
                    for address, budget in self._rest.budgets.items()
                },
                "connections": {
                    address: {
                        "attempts": attempts.count,
                        "refused": attempts.refused,
                        "banned_until_ms": attempts.banned_until_ms,
                    }
                    for address, attempts in self._hub.attempts.items()
                },
                "faults": self._faults.active,
            }
        )

    async def _get_faults(self, request: web.Request) -> web.Response:
        """Every injection with number above query `since`."""
        _only_loopback(request)
        since = _number(request, "since") or 0
        return self._json([injection for injection in self._faults.log if injection.n > since])

    async def _get_book(self, request: web.Request) -> web.Response:
        """The truth at query `symbol`, `update_id`; `levels`: so many a side, best first. Old ids are worked out in a thread."""
        _only_loopback(request)
        symbol, update_id = request.query.get("symbol", ""), _number(request, "update_id")
        if not symbol or update_id is None:
            return self._json({"error": "symbol or update_id is missing"}, status=400)
        book = self._source.book(symbol, update_id, kept_only=True)
        if book is None:
            book = await asyncio.to_thread(self._source.book, symbol, update_id)
        if book is None:
            return self._json({"error": "there is no book at this id, or (of a recording) no event ends there"}, status=404)
        levels = _number(request, "levels")
        return self._json(book if levels is None else _cut(book, levels))

    async def _get_trades(self, request: web.Request) -> web.Response:
        """Every aggregate trade of query `symbol` from `from_id` to `to_id`, sent or not; at most TRADES_MAX of them."""
        _only_loopback(request)
        symbol, first, last = request.query.get("symbol", ""), _number(request, "from_id"), _number(request, "to_id")
        if symbol not in self._source.symbols or first is None or last is None:
            return self._json({"error": "symbol, from_id or to_id is missing or not served"}, status=400)
        limit = min(max(0, last - first + 1), TRADES_MAX)
        rows = self._source.tape(symbol).aggregates(from_id=first, start_us=None, end_us=None, limit=limit)
        return self._json([row for row in rows if row.a <= last])

    async def _get_labels(self, request: web.Request) -> web.Response:
        """What was done to the market, of query `symbol` or of all."""
        _only_loopback(request)
        symbol = request.query.get("symbol", "")
        return self._json([label for label in self._source.labels if symbol in ("", label.symbol)])

    async def _post(self, request: web.Request) -> web.Response:
        _only_loopback(request)
        if not self._enabled:
            return self._json({"error": "started without control"}, status=403)
        try:
            match request.match_info["verb"]:
                case "resume":
                    self._resume()
                case "answer":
                    self._answer()
                case "pause":
                    self._player.pause()
                case "clock":
                    await self._set_clock(msgspec.json.decode(await request.read(), type=_ClockRequest))
                case "fault" | "faults":
                    said = msgspec.json.decode(await request.read(), type=list[FaultRequest] | FaultRequest)
                    asked = said if isinstance(said, list) else [said]
                    for check_first in (self._check, self._fault):
                        for each in asked:
                            check_first(each)
                case "regime":
                    wanted = msgspec.json.decode(await request.read(), type=_RegimeRequest)
                    self._fault(FaultRequest(fault=f"regime.{wanted.regime}", symbol=wanted.symbol, for_s=wanted.for_s))
                case _:
                    return self._json({"error": "resume, answer, pause, clock, faults, or regime"}, status=404)
        except (msgspec.MsgspecError, UnknownFault) as error:
            return self._json({"error": str(error)}, status=400)
        return self._json({"position_ns": self._player.position_ns, "faults": len(self._faults.log)})

    def _json(self, value: object, *, status: int = 200) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(value),
            status=status,
            content_type="application/json",
            headers={"X-Standin": self._source.origin},
        )

    async def _set_clock(self, asked: "_ClockRequest") -> None:
        if asked.speed is not None:
            self._player.set_speed(asked.speed)
        if asked.advance_ms is not None:
            await self._player.advance(asked.advance_ms * 1_000_000)


class _ClockRequest(msgspec.Struct, forbid_unknown_fields=True):
    advance_ms: Annotated[int, Meta(ge=0)] | None = None
    speed: Annotated[float, Meta(ge=0, le=1e6)] | None = None


class _RegimeRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"for_s": "for"}):
    regime: str
    symbol: str = ""
    for_s: Seconds | None = None


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX else None


def _cut(book: TrueBook, levels: int) -> TrueBook:
    bids = sorted(book.bids.items(), key=lambda level: fixed(level[0]), reverse=True)[:levels]
    asks = sorted(book.asks.items(), key=lambda level: fixed(level[0]))[:levels]
    return msgspec.structs.replace(book, bids=dict(bids), asks=dict(asks))


def _only_loopback(request: web.Request) -> None:
    # A page in a browser on this machine is on loopback too: it may not reach in.
    if not request.remote or not ipaddress.ip_address(request.remote).is_loopback or "Origin" in request.headers:
        raise web.HTTPForbidden
