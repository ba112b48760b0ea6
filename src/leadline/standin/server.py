"""The stand-in as a server: routes, playback, and the control path under /_standin/ (docs/standin.md)."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
from aiohttp import web

from leadline.clock import Clock, SystemClock
from leadline.standin.asking import is_socket_path
from leadline.standin.bending import Bending
from leadline.standin.control import Control
from leadline.standin.derived import Derived, in_microseconds
from leadline.standin.faults import FaultRequest, Faults, Injection
from leadline.standin.limits import Limits
from leadline.standin.pace import Pace
from leadline.standin.pages import page
from leadline.standin.player import Player
from leadline.standin.rest import Rest
from leadline.standin.script import SECOND_NS, Entry, Script
from leadline.standin.sockets import GOING_AWAY, Hub, Mode
from leadline.standin.source import Frame, Source
from leadline.standin.switchboard import Switchboard

AtEnd = Literal["stay", "close", "loop"]

LINE_MAX = 1 << 20  # of a request, in bytes: our own limit on the URL is the one that refuses


class StandIn:
    """A running exchange: `async with StandIn(source) as standin:`; all tasks end with the block.

    speed    1 = real time, 0 = as fast as the clients take it
    hold     playback stops at each recorded snapshot until it was asked for and `resume` came
    paused   starts paused: only `advance` (POST clock) moves the market, until `resume`
    at_end   of a recording: stay (connections open, last state served), close (1001), or loop (1001, then from the start)
    control  whether POST under /_standin/ is served; reading always is
    tls_port a second port with the same paths behind TLS (0 = any free one); `certificate_pem` is what its clients trust
    v1_gone  /api/v1 answers 410; else it is /api/v3
    script   faults, and when they strike
    """

    def __init__(
        self,
        source: Source,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_port: int | None = None,
        speed: float = 1.0,
        hold: bool = False,
        paused: bool = False,
        at_end: AtEnd = "stay",
        control: bool = True,
        v1_gone: bool = False,
        bare_errors: bool = False,
        deflate: bool = True,
        limits: Limits | None = None,
        script: Iterable[Entry] = (),
        clock: Clock | None = None,
    ) -> None:
        """port: 0 = any free one. bare_errors: WebSocket errors as documented, not as seen. Binds in `__aenter__` (OSError).

        Raises UnknownFault for a script that cannot be carried out.
        """
        limits, clock = limits or Limits(), clock or SystemClock()
        self.certificate_pem: str | None = None
        self._source = source
        self._clock = clock
        self._bind = host, port
        self._tls_port = tls_port
        self._at_end = at_end
        self._faults, self._script = Faults(), Script()
        self._bending = Bending(self._faults, best_ask=self._best_ask, diff=source.diff)
        pace, derived = Pace(clock), Derived(source)
        self._hub = Hub(
            origin=source.origin,
            limits=limits,
            clock=pace,
            bare_errors=bare_errors,
            deflate=deflate,
            faults=self._faults,
            bending=self._bending,
            position_ns=lambda: self._player.position_ns,
            later=self._later,
            changed=self._changed,
            heard=lambda stream, on: derived.hear(stream) if on else derived.forget(stream),
            in_microseconds=partial(in_microseconds, source),
        )
        self._player = Player(
            source,
            clock=clock,
            pace=pace,
            derived=derived,
            script=self._script,
            speed=speed,
            hold=hold,
            paused=paused,
            deliver=self._deliver,
            listeners=self._hub.listens,
        )
        self._rest = Rest(player=self._player, faults=self._faults, limits=limits, clock=pace, v1_gone=v1_gone)
        self._switchboard = Switchboard(
            source=source,
            player=self._player,
            hub=self._hub,
            faults=self._faults,
            limits=limits,
            later=self._later,
            release=self._rest.release,
        )
        self._control = Control(
            player=self._player,
            hub=self._hub,
            rest=self._rest,
            faults=self._faults,
            limits=limits,
            enabled=control,
            resume=self.resume,
            answer=self.answer_held,
            check=self._switchboard.check,
            fault=self.fault,
        )
        self._runner: web.AppRunner | None = None
        self._tasks = asyncio.TaskGroup()  # entered and left with the block: playback that fails ends it
        self._playing: asyncio.Task[None] | None = None
        self._address = self._tls_address = ""
        self._entries = tuple(script)
        for entry in self._entries:
            self._switchboard.check(entry.request)
        self._play_script()

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

    @property
    def https_url(self) -> str:
        """As http_url, of the TLS port."""
        return f"https://{self._tls_address}"

    @property
    def wss_url(self) -> str:
        """As ws_url, of the TLS port."""
        return f"wss://{self._tls_address}"

    async def __aenter__(self) -> Self:
        """Bind, serve, and begin to play."""
        app = web.Application()
        app.add_routes(
            [
                web.route("*", "/api/{version:v1|v3}/{endpoint:.+}", self._rest.handle),
                web.route("*", "/sapi/v1/{endpoint:.+}", self._rest.handle),
                *self._control.routes(),
                web.get("/{path:.*}", self._streams),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True, max_line_size=LINE_MAX
        )
        await self._runner.setup()
        host, port = self._bind
        try:
            await web.TCPSite(self._runner, host, port).start()
            self._address = _address(self._runner.addresses[0])
            if self._tls_port is not None:
                from leadline.standin import tls

                identity = tls.identity(self._clock.wall_ns())
                identity.context.sni_callback = self._greeted
                self.certificate_pem = identity.pem
                await web.TCPSite(self._runner, host, self._tls_port, ssl_context=identity.context).start()
                self._tls_address = _address(self._runner.addresses[-1])
        except OSError:
            await self._runner.cleanup()
            raise
        await self._tasks.__aenter__()
        self._playing = self._tasks.create_task(self._play(), name="standin.play")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop playing, close every connection with 1001, free the port."""
        assert self._playing is not None
        assert self._runner is not None
        self._playing.cancel()
        for client in self._hub.chosen(None):
            client.mode, client.bytes_per_s = Mode.OPEN, None
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

    @property
    def injections(self) -> list[Injection]:
        """Everything that went wrong on command so far, as `GET /_standin/faults` tells it."""
        return list(self._faults.log)

    @property
    def streams_heard(self) -> int:
        """Streams with a listener."""
        return self._hub.heard_streams

    @property
    def position_ms(self) -> int:
        """How far the market has been played."""
        return self._player.position_ns // 1_000_000

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
        self._rest.release()

    def fault(self, request: FaultRequest) -> None:
        """Switch a fault; one that says for how long ends by itself. Raises UnknownFault."""
        self._switchboard.fault(request)
        self._changed()

    def _play_script(self) -> None:
        """From the start of a session; what is due at the start strikes before anything is served."""
        self._script.clear()
        self._script.play(self._entries, self._source.start_ns, self._switchboard.scripted)
        self._script.run(self._source.start_ns)

    def _later(self, in_s: float, do: Callable[[], None]) -> None:
        self._script.at(max(self._player.position_ns, self._source.start_ns) + int(in_s * SECOND_NS), do)

    def _greeted(self, socket: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        """A TLS client has said hello."""
        struck = self._faults.struck("socket.tls_error", self._player.position_ns)
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if struck else None

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
            self._play_script()

    async def _deliver(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self._hub.hears(frame.stream):
                self._hub.publish(self._bending.messages(frame), frame)
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
            return page(404, self.origin)
        return await self._hub.handle(request)


def _address(bound: tuple[str, int]) -> str:
    return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"


def run(standin: StandIn, *, attached: bool = False, certificate: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Prints one line with the addresses once they can be connected to. Raises OSError.

    attached: also end when standard input ends, which it does when whoever started us is gone, killed or not.
    certificate: where that of the TLS port is written; None: a temporary file, removed at the end.
    """
    asyncio.run(_run(standin, attached, certificate))


async def _run(standin: StandIn, attached: bool, certificate: Path | None) -> None:
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
        with _written(standin.certificate_pem, certificate) as path:
            tls = f" tls={standin.https_url} cert={path}" if path else ""
            sys.stdout.write(f"standin listening on {standin.http_url} origin={standin.origin}{tls}\n")
            sys.stdout.flush()
            await stop.wait()  # playback that fails ends the block, loudly


@contextlib.contextmanager
def _written(pem: str | None, path: Path | None) -> Iterator[Path | None]:
    """The file in which a certificate stands while the block lasts, and longer where a path was given."""
    if pem is None:
        yield None
    elif path is not None:
        path.write_text(pem)
        yield path
    else:
        with tempfile.NamedTemporaryFile("w", prefix="leadline-standin-", suffix=".pem") as file:
            file.write(pem)
            file.flush()
            yield Path(file.name)
