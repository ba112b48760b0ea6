"""The stand-in as a server: routes, playback, and the control path under /_standin/ (docs/standin.md)."""

import asyncio
import ipaddress
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import msgspec
from aiohttp import web

from leadline.clock import Clock, SystemClock
from leadline.standin.faults import SOCKET_FAULTS, FaultRequest, Faults, UnknownFault
from leadline.standin.limits import Limits
from leadline.standin.player import Player
from leadline.standin.rest import Rest
from leadline.standin.sockets import GOING_AWAY, Hub, Mode, is_socket_path
from leadline.standin.source import Frame, Source

AtEnd = Literal["stay", "close", "loop"]


class StandIn:
    """A running exchange: `async with StandIn(source) as standin:`; all tasks end with the block.

    speed    1 = real time, 0 = as fast as the clients take it
    hold     playback stops at each recorded snapshot until it was asked for and `resume` came
    paused   starts paused: only `advance` (POST clock) moves the market, until `resume`
    at_end   of a recording: stay (connections open, last state served), close (1001), or loop (1001, then from the start)
    control  whether POST under /_standin/ is served; reading always is
    """

    def __init__(
        self,
        source: Source,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        hold: bool = False,
        paused: bool = False,
        at_end: AtEnd = "stay",
        control: bool = True,
        bare_errors: bool = False,
        deflate: bool = True,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        """port: 0 = any free one. bare_errors: WebSocket errors as documented, not as seen. Binds in `__aenter__` (OSError)."""
        limits, clock = limits or Limits(), clock or SystemClock()
        self._source = source
        self._bind = host, port
        self._at_end = at_end
        self._control = control
        self._hub = Hub(
            origin=source.origin, limits=limits, clock=clock, bare_errors=bare_errors, deflate=deflate, changed=self._changed
        )
        self._player = Player(
            source,
            clock=clock,
            speed=speed,
            hold=hold,
            paused=paused,
            deliver=self._deliver,
            listeners=self._hub.listens,
        )
        self._faults = Faults(self._best_ask)
        self._rest = Rest(player=self._player, faults=self._faults, limits=limits, clock=clock)
        self._runner: web.AppRunner | None = None
        self._tasks = asyncio.TaskGroup()  # entered and left with the block: playback that fails ends it
        self._playing: asyncio.Task[None] | None = None
        self._address = ""

    @property
    def origin(self) -> str:
        """What the header X-Standin says."""
        return self._source.origin

    @property
    def http_url(self) -> str:
        """Base of REST and control, without a slash at the end; known once started."""
        return f"http://{self._address}"

    @property
    def ws_url(self) -> str:
        """Base of the streams, without a slash at the end."""
        return f"ws://{self._address}"

    async def __aenter__(self) -> Self:
        """Bind, serve, and begin to play."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/v3/{endpoint}", self._rest.handle),
                web.get("/_standin/state", self._get_state),
                web.get("/_standin/faults", self._get_faults),
                web.get("/_standin/truth/book", self._get_book),
                web.post("/_standin/{verb}", self._post),
                web.get("/{path:.*}", self._streams),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        host, port = self._bind
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0]
        self._address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
        await self._tasks.__aenter__()
        self._playing = self._tasks.create_task(self._play(), name="standin.play")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop playing, close every connection with 1001, free the port."""
        assert self._playing is not None
        assert self._runner is not None
        self._playing.cancel()
        for client in self._hub.chosen(None):
            client.mode = Mode.OPEN
            client.close(GOING_AWAY)
        await self._runner.cleanup()
        await self._tasks.__aexit__(kind, error, trace)

    async def until(self, holds: Callable[["StandIn"], bool]) -> None:
        """Wait for a condition on the public state; for tests in the same process."""
        await self._player.until(lambda: holds(self))

    @property
    def finished(self) -> bool:
        """True when the source has come to its end and every frame was handed on."""
        return self._player.finished

    @property
    def gate(self) -> str | None:
        """The symbol whose recorded snapshot playback stands at."""
        return self._player.gate

    @property
    def clients(self) -> int:
        """Connections open now."""
        return len(self._hub.clients)

    async def advance(self, by_ms: int) -> None:
        """Pause, and play `by_ms` of virtual time; returns when its frames are handed on, or at a gate, or at the end."""
        await self._player.advance(by_ms * 1_000_000)

    @property
    def frames_sent(self) -> int:
        """Stream messages handed to the connections that are open, answers to control messages not counted."""
        return sum(client.frames for client in self._hub.clients.values())

    def resume(self) -> None:
        """Let playback (and snapshots that are held) go on."""
        self._player.resume()
        self.answer_held()

    def answer_held(self) -> None:
        """Let snapshots that are held go, the one of a held gate too, while playback stays where it is."""
        self._player.answer()
        self._rest.held.set()
        self._rest.held.clear()

    def fault(self, request: FaultRequest) -> None:
        """Switch a fault. Raises UnknownFault."""
        if request.symbol and request.symbol not in self._source.symbols:
            raise UnknownFault(f"symbol {request.symbol!r} is not served")
        if request.fault in SOCKET_FAULTS:
            self._socket_fault(request)
        else:
            self._faults.switch(request)
            if request.fault == "clear":
                for client in self._hub.chosen(None):
                    if client.mode is not Mode.OPEN:
                        self._log("clear", client.number, f"{client.lost} messages lost while {client.mode}")
                        client.mode, client.lost = Mode.OPEN, 0
        self._changed()

    def _socket_fault(self, request: FaultRequest) -> None:
        for client in self._hub.chosen(request.client):
            self._log(request.fault, client.number, f"{request.code} {request.reason}" if request.fault == "socket.close" else "")
            match request.fault:
                case "socket.close":
                    client.close(request.code, request.reason)
                case "socket.reset":
                    client.reset()
                case "socket.stall":
                    client.mode = Mode.STALLED
                case "socket.half_open":
                    client.mode = Mode.HALF_OPEN
                case _:
                    client.send(_server_shutdown(self._source.server_time_ms(), wrapped=client.wrapped))

    def _log(self, fault: str, client: int, detail: str) -> None:
        self._faults.record(fault, self._player.position_ns, client=client, detail=detail)

    # Playback -----------------------------------------------------------------

    async def _play(self) -> None:
        while True:
            await self._player.play()
            if self._at_end == "stay":
                return
            for client in self._hub.chosen(None):
                client.close(GOING_AWAY)
            if self._at_end == "close":
                return
            await self._player.until(lambda: not self._hub.clients)
            self._player.restart()

    async def _deliver(self, frames: list[Frame]) -> None:
        for frame in frames:
            for message in self._faults.messages(frame):
                self._hub.publish(message)
        await asyncio.sleep(0)  # also where nothing is to be waited for: connections must get their turn to end
        if not self._player.speed:
            await self._hub.drained()

    def _best_ask(self, symbol: str) -> str | None:
        answer = self._source.depth(symbol, 1)
        asks = msgspec.json.decode(answer.body)["asks"] if answer else []
        return str(asks[0][0]) if asks else None

    def _changed(self) -> None:
        self._player.changed()

    # Requests -----------------------------------------------------------------

    async def _streams(self, request: web.Request) -> web.StreamResponse:
        if not is_socket_path(request.path):
            raise web.HTTPNotFound(headers={"X-Standin": self.origin})
        return await self._hub.handle(request)

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
                "origin": self.origin,
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
                        "streams": list(client.streams),
                        "mode": client.mode,
                        "frames": client.frames,
                        "lost": client.lost,
                        "unsent_bytes": client.unsent_bytes,
                    }
                    for client in self._hub.clients.values()
                ],
                "weights": {
                    address: {"used": budget.used, "banned_until_ms": budget.banned_until_ms}
                    for address, budget in self._rest.budgets.items()
                },
                "faults": self._faults.active,
            }
        )

    async def _get_faults(self, request: web.Request) -> web.Response:
        """Every injection with number above query `since`."""
        _only_loopback(request)
        since = request.query.get("since", "0")
        return self._json(self._faults.log[int(since) if since.isdecimal() else 0 :])

    async def _get_book(self, request: web.Request) -> web.Response:
        """The truth at query `symbol`, `update_id`."""
        _only_loopback(request)
        symbol, update_id = request.query.get("symbol", ""), request.query.get("update_id", "")
        if symbol not in self._source.symbols or not update_id.isdecimal():
            return self._json({"error": "symbol or update_id is missing or not served"}, status=400)
        book = self._source.book(symbol, int(update_id))
        if book is None:
            return self._json({"error": "the book at this id is not kept, or no event ends there"}, status=404)
        return self._json(book)

    async def _post(self, request: web.Request) -> web.Response:
        _only_loopback(request)
        if not self._control:
            return self._json({"error": "started without control"}, status=403)
        try:
            match request.match_info["verb"]:
                case "resume":
                    self.resume()
                case "answer":
                    self.answer_held()
                case "pause":
                    self._player.pause()
                case "clock":
                    await self.advance(msgspec.json.decode(await request.read(), type=_ClockRequest).advance_ms)
                case "fault" | "faults":
                    self.fault(msgspec.json.decode(await request.read(), type=FaultRequest))
                case _:
                    return self._json({"error": "resume, answer, pause, clock, or fault"}, status=404)
        except (msgspec.MsgspecError, UnknownFault) as error:
            return self._json({"error": str(error)}, status=400)
        return self._json({"position_ns": self._player.position_ns, "faults": len(self._faults.log)})

    def _json(self, value: object, *, status: int = 200) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(value), status=status, content_type="application/json", headers={"X-Standin": self.origin}
        )


class _ClockRequest(msgspec.Struct, forbid_unknown_fields=True):
    advance_ms: int


def _only_loopback(request: web.Request) -> None:
    # A page in a browser on this machine is on loopback too: it may not reach in.
    if not request.remote or not ipaddress.ip_address(request.remote).is_loopback or "Origin" in request.headers:
        raise web.HTTPForbidden


def _server_shutdown(event_ms: int, *, wrapped: bool) -> bytes:
    """Shape: Binance web-socket-streams.md, 2026-07-21."""
    raw = b'{"e":"serverShutdown","E":%d}' % event_ms
    return b'{"stream":"!serverShutdown","data":%b}' % raw if wrapped else raw


def run(
    source: Source,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    hold: bool = False,
    at_end: AtEnd = "stay",
    attached: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM. Prints one line with the address once it can be connected to. Raises OSError.

    attached: also end when standard input ends, which it does when whoever started us is gone, killed or not.
    """
    asyncio.run(_run(StandIn(source, host=host, port=port, speed=speed, hold=hold, at_end=at_end), attached))


async def _run(standin: StandIn, attached: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            stop.set()

    if attached:
        loop.add_reader(sys.stdin.fileno(), heard)
    async with standin:
        sys.stdout.write(f"standin listening on {standin.http_url} origin={standin.origin}\n")
        sys.stdout.flush()
        await stop.wait()  # playback that fails ends the block, loudly
