"""Binance's market streams: a few sockets, read straight into records and handed on at once.

No queue and no task stands between socket and book. A lost connection is an event, never an exception; life is told by
what is read, pings included, for a quiet market is a correct market (docs/exchange.md).
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal

import aiohttp
from msgspec import Struct

from leadline.clock import Clock
from leadline.core.errors import Malformed
from leadline.core.records import BestQuote, DepthUpdate, Disconnected, MarketEvent, Subscribed, Trade
from leadline.exchange.binance import wire
from leadline.exchange.binance.limits import Backoff, Gate
from leadline.exchange.binance.rest import RETRY_AFTER_S, cause_of

SILENCE_S = 65.0  # the server pings every 20 s and cuts after 60 s
ACK_S = 30.0  # no answer to a SUBSCRIBE
CONNECT_S = 10.0
PARAMS_PER_MESSAGE = 200  # about 5 kB; the longest allowed is not documented
PONGS_WAITING = 16  # more than that: the oldest is dropped, as RFC 6455 5.5.3 allows
_CLOSE: Final = aiohttp.ClientWSTimeout(ws_close=1.0)  # what the other side still has to say is of no use
SHUTDOWN: Final = "the server announced its shutdown"


class ConnectionStatus(Struct):
    """The last evidence about one connection, for status displays. It is written by its connection only.

    last_read: monotonic seconds of the last thing read (data, ping, pong). last_end: why the last connection or attempt ended.
    """

    name: str
    symbols: tuple[str, ...]
    state: Literal["connecting", "open", "waiting"] = "waiting"
    connected_since_ns: int | None = None
    last_read: float | None = None
    frames: int = 0
    malformed: int = 0
    foreign: int = 0
    attempts: int = 0
    reconnects: int = 0
    last_end: str = ""


class BinanceStream:
    """The streams `depth@100ms`, `aggTrade` and, unless tickers is off, `bookTicker` of each symbol, on as few sockets as may be.

    on_event is called synchronously for each DepthUpdate, Trade, BestQuote, and for Subscribed and Disconnected of a
    connection's symbols. What it raises is the caller's bug and comes out of `run`, in an ExceptionGroup.
    """

    def __init__(
        self,
        ws_url: str,
        symbols: Sequence[str],
        *,
        clock: Clock,
        rng: random.Random,
        on_event: Callable[[MarketEvent], None],
        tickers: bool = True,
        max_streams: int = 1024,
        backoff_base_s: float = 1.0,
        backoff_max_s: float = 60.0,
        new_session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        self.decoder = wire.FrameDecoder()
        self._new_session = new_session
        kinds = wire.STREAM_SUFFIXES if tickers else wire.STREAM_SUFFIXES[:-1]
        self._connections = [
            _Connection(
                url=f"{ws_url.rstrip('/')}/stream",
                status=ConnectionStatus(f"stream-{number}", share),
                kinds=kinds,
                decoder=self.decoder,
                clock=clock,
                backoff=Backoff(backoff_base_s, backoff_max_s, rng),
                on_event=on_event,
            )
            for number, share in enumerate(_shares(symbols, max_streams // len(kinds)), 1)
        ]

    @property
    def status(self) -> tuple[ConnectionStatus, ...]:
        """One entry per connection."""
        return tuple(connection.status for connection in self._connections)

    def renew(self, symbol: str, why: str) -> None:
        """Replace the connection that carries this symbol: its stream was acknowledged and delivers nothing."""
        for connection in self._connections:
            if symbol in connection.status.symbols:
                connection.renew(why)

    async def run(self) -> None:
        """Keep all connections up until cancelled."""
        async with self._new_session() as session, asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(connection.run(session), name=connection.status.name)


class _Connection:
    """One socket, again and again. Its symbols stay the same."""

    def __init__(
        self,
        *,
        url: str,
        status: ConnectionStatus,
        kinds: tuple[str, ...],
        decoder: wire.FrameDecoder,
        clock: Clock,
        backoff: Backoff,
        on_event: Callable[[MarketEvent], None],
    ) -> None:
        self.status = status
        self._url, self._kinds, self._decoder, self._clock = url, kinds, decoder, clock
        self._backoff, self._on_event = backoff, on_event
        self._symbols = frozenset(status.symbols)
        self._last_id = 0
        self._unanswered: dict[int, tuple[tuple[str, ...], float]] = {}
        self._given_up: asyncio.Queue[str] = asyncio.Queue(1)

    def renew(self, why: str) -> None:
        """End the present connection, if there is one."""
        if self.status.state == "open" and not self._given_up.full():
            self._given_up.put_nowait(why)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Connect, serve, wait, until cancelled."""
        while True:
            delay_s = await self._once(session)
            if delay_s:
                await self._clock.sleep_until(self._clock.monotonic() + delay_s)

    async def _once(self, session: aiohttp.ClientSession) -> float:
        """One connection from attempt to end. Returns how long to wait before the next."""
        status = self.status
        status.state = "connecting"
        status.attempts += 1
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await session.ws_connect(self._url, autoping=False, compress=0, timeout=_CLOSE)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            status.state = "waiting"
            status.last_end = f"no connection within {CONNECT_S:g} s" if isinstance(error, TimeoutError) else cause_of(error)
            refused = error.status if isinstance(error, aiohttp.WSServerHandshakeError) else 0
            return max(self._backoff.delay_s(), RETRY_AFTER_S.get(refused, 0.0))
        since = self._clock.monotonic()
        try:
            status.state, status.last_read, status.connected_since_ns = "open", since, self._clock.wall_ns()
            reason = await self._serve(socket)
            status.state, status.connected_since_ns, status.last_end = "waiting", None, reason
            status.reconnects += 1
            self._on_event(Disconnected(status.symbols, reason, self._clock.wall_ns()))
        finally:
            await socket.close()
        delay_s = self._backoff.delay_s(self._clock.monotonic() - since)
        # At once, but a server that says so again and again waits like any other.
        return 0.0 if reason == SHUTDOWN and self._backoff.failures == 1 else delay_s

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Read, write and watch until one of them ends; returns why."""
        pongs: asyncio.Queue[bytes] = asyncio.Queue(PONGS_WAITING)
        self._unanswered.clear()
        self._given_up = asyncio.Queue(1)
        async with asyncio.TaskGroup() as tasks:
            name = self.status.name
            parts = [
                tasks.create_task(self._read(socket, pongs), name=f"{name}.read"),
                tasks.create_task(self._write(socket, pongs), name=f"{name}.write"),
                tasks.create_task(self._watch(), name=f"{name}.watch"),
                tasks.create_task(self._given_up.get(), name=f"{name}.renewed"),
            ]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                part.cancel()
        return next(part.result() for part in parts if part in done)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, pongs: asyncio.Queue[bytes]) -> str:
        status, clock = self.status, self._clock
        while True:
            message = await socket.receive()
            status.last_read = clock.monotonic()
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    status.frames += 1
                    if ended := self._frame(message.data, clock.wall_ns()):
                        return ended
                case aiohttp.WSMsgType.PING:
                    if pongs.full():
                        pongs.get_nowait()
                    pongs.put_nowait(bytes(message.data))
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.CLOSE:
                    return f"closed by the exchange: {message.data} {message.extra or ''}".rstrip()
                case aiohttp.WSMsgType.BINARY:
                    status.malformed += 1
                    return "malformed message, frame: binary where text was to come"
                case _:
                    error = message.data if isinstance(message.data, Exception) else socket.exception()
                    return f"connection lost: {type(error).__name__ if error else 'ended without a close frame'} (1006)"

    def _frame(self, frame: str, ts_recv_ns: int) -> str | None:
        """Hand on what a frame says; returns why the connection must end, if it must."""
        try:
            record = self._decoder.decode(frame, ts_recv_ns)
        except Malformed as error:
            self.status.malformed += 1
            return str(error)
        if isinstance(record, (DepthUpdate, BestQuote, Trade)):
            if record.symbol in self._symbols:
                self._on_event(record)
            else:
                self.status.foreign += 1
        elif isinstance(record, wire.Control):
            return self._answer(record)
        elif isinstance(record, wire.ServerShutdown):
            return SHUTDOWN
        return None

    def _answer(self, answer: wire.Control) -> str | None:
        if answer.error_code is not None:
            return f"the exchange refused our message: {answer.error_code} {answer.error_message}".rstrip()
        if isinstance(answer.id, int) and (asked := self._unanswered.pop(answer.id, None)):
            self._on_event(Subscribed(asked[0], answer.ts_recv_ns))
        return None

    async def _write(self, socket: aiohttp.ClientWebSocketResponse, pongs: asyncio.Queue[bytes]) -> str:
        gate = Gate(self._clock)
        try:
            for symbols in _shares(self.status.symbols, PARAMS_PER_MESSAGE // len(self._kinds)):
                await gate.wait()
                self._last_id += 1
                self._unanswered[self._last_id] = (symbols, self._clock.monotonic() + ACK_S)
                await socket.send_str(wire.subscribe(symbols, self._kinds, self._last_id))
            while True:
                payload = await pongs.get()
                await gate.wait()
                await socket.pong(payload)
        except (aiohttp.ClientError, OSError) as error:
            return f"connection lost while sending: {cause_of(error)}"

    async def _watch(self) -> str:
        while True:
            now = self._clock.monotonic()
            dead_at = (now if self.status.last_read is None else self.status.last_read) + SILENCE_S
            answer_by = min((by for _, by in self._unanswered.values()), default=dead_at)
            if now >= dead_at:
                return f"nothing was read for {SILENCE_S:g} s, not even a ping"
            if now >= answer_by:
                return f"no answer to SUBSCRIBE within {ACK_S:g} s"
            await self._clock.sleep_until(min(dead_at, answer_by, now + ACK_S))


def _shares(symbols: Sequence[str], at_most: int) -> list[tuple[str, ...]]:
    """The symbols in as few groups as may be, of nearly equal size; a symbol's streams are never parted."""
    if at_most < 1:
        raise ValueError("one connection must have room for the streams of one symbol")
    count = -(-len(symbols) // at_most)
    return [tuple(symbols[len(symbols) * n // count : len(symbols) * (n + 1) // count]) for n in range(count)]
