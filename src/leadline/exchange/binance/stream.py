"""Binance's market streams: a few sockets, read straight into records and handed on at once.

No queue and no task stands between socket and book. A lost connection is an event, never an exception; life is told by
what is read, pings included, for a quiet market is a correct market (docs/exchange.md). A connection whose end is known
beforehand is replaced before it ends, and nobody notices.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import aiohttp
from msgspec import Struct

from leadline.clock import Clock
from leadline.core.errors import Malformed
from leadline.core.records import BestQuote, DepthUpdate, Disconnected, MarketEvent, Subscribed, Trade
from leadline.exchange.binance import wire
from leadline.exchange.binance.handover import Event, Handover, Key
from leadline.exchange.binance.limits import Backoff, Gate
from leadline.exchange.binance.rest import RETRY_AFTER_S, cause_of

LIFE_S = 23 * 3600.0  # a connection is cut at 24 h; before that, it hands over to its successor
LIFE_JITTER = 0.05  # of it: connections that were opened together are not replaced together
SILENCE_S = 65.0  # the server pings every 20 s and cuts after 60 s
ACK_S = 30.0  # no answer to a SUBSCRIBE
CONNECT_S = 10.0
PARAMS_PER_MESSAGE = 200  # about 5 kB; the longest allowed is not documented
PONGS_WAITING = 16  # more than that: the oldest is dropped, as RFC 6455 5.5.3 allows
LOOK_S = 0.5  # how often a handover is asked whether a quiet stream may change over
_CLOSE: Final = aiohttp.ClientWSTimeout(ws_close=1.0)  # what the other side still has to say is of no use
SHUTDOWN: Final = "the server announced its shutdown"
OLD: Final = "its 24 hours are nearly over"
_KIND: Final[dict[str, type]] = {"depth@100ms": DepthUpdate, "aggTrade": Trade, "bookTicker": BestQuote}


class ConnectionStatus(Struct):
    """The last evidence about one connection, for status displays. It is written by its connection only.

    state, connected_since_ns, last_read: of the socket that carries the symbols; last_read: monotonic seconds of the last thing
    read (data, ping, pong). successor: state of the one that is wanted beside it. Counts are over all sockets. handovers:
    successors that took over; reconnects: times that symbols were disconnected. last_end: why the last socket or attempt ended.
    """

    name: str
    symbols: tuple[str, ...]
    state: Literal["connecting", "open", "waiting"] = "waiting"
    successor: Literal["connecting", "open", "waiting"] | None = None
    connected_since_ns: int | None = None
    last_read: float | None = None
    frames: int = 0
    malformed: int = 0
    foreign: int = 0
    attempts: int = 0
    handovers: int = 0
    reconnects: int = 0
    last_end: str = ""


class BinanceStream:
    """The streams `depth@100ms`, `aggTrade` and, unless tickers is off, `bookTicker` of each symbol, on as few sockets as may be.

    on_event is called synchronously for each DepthUpdate, Trade, BestQuote, and for Subscribed and Disconnected of a
    connection's symbols. What it raises is the caller's bug and comes out of `run`, in an ExceptionGroup.
    life_s: age at which a connection hands over to its successor.
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
        life_s: float = LIFE_S,
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
                life_s=lambda: life_s * (1.0 - LIFE_JITTER * rng.random()),
                on_event=on_event,
            )
            for number, share in enumerate(_parted(symbols, max_streams // len(kinds)), 1)
        ]

    @property
    def status(self) -> tuple[ConnectionStatus, ...]:
        """One entry per connection."""
        return tuple(connection.status for connection in self._connections)

    def renew(self, symbol: str, why: str) -> None:
        """Replace the connection that carries this symbol: its stream was acknowledged and delivers nothing."""
        for connection in self._connections:
            if symbol in connection.status.symbols:
                connection.renew(symbol, why)

    async def run(self) -> None:
        """Keep all connections up until cancelled."""
        async with self._new_session() as session, asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(connection.run(session), name=connection.status.name)


class _Connection:
    """The connection of some symbols: one socket after another, and while one hands over to its successor, both."""

    def __init__(
        self,
        *,
        url: str,
        status: ConnectionStatus,
        kinds: tuple[str, ...],
        decoder: wire.FrameDecoder,
        clock: Clock,
        backoff: Backoff,
        life_s: Callable[[], float],
        on_event: Callable[[MarketEvent], None],
    ) -> None:
        self.status, self.kinds, self.decoder, self.clock = status, kinds, decoder, clock
        self.symbols = frozenset(status.symbols)
        self._url, self._backoff, self._life_s, self._on_event = url, backoff, life_s, on_event
        self._carrier: _Socket | None = None
        self._successor: _Socket | None = None
        self._handover: Handover | None = None  # outlives the old connection until the successor has come past what that brought
        self._passed: dict[Key, Event] = {}
        self._told: set[str] = set()  # symbols that are Subscribed, as far as was told
        self._room = asyncio.Semaphore(2)  # never more than two sockets, one that is closing included
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._not_before = float("-inf")
        self._opening: Literal["connecting", "waiting"] = "waiting"

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Open a connection whenever one is wanted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wanted.wait()
                await self.clock.sleep_until(self._not_before)
                await self._room.acquire()
                ws = await self._opened(session)
                if ws is None:
                    self._room.release()
                    continue
                socket = _Socket(self, ws, self._life_s())
                self._wanted.clear()
                if self._carrier is None:
                    self._carrier = socket
                else:
                    self._successor = socket
                    self._handover = Handover(self.status.symbols, [_KIND[kind] for kind in self.kinds], self._passed)
                    tasks.create_task(self._settle(self._handover), name=f"{self.status.name}.handover")
                self._show()
                tasks.create_task(self._live(socket), name=f"{self.status.name}.{self.status.attempts}")

    def renew(self, symbol: str, why: str) -> None:
        """End the connection that carries this symbol, if there is one."""
        socket = self._successor if self._handover is not None and self._handover.carries(symbol) else None
        socket = socket or self._carrier
        if socket is not None:
            socket.end(why)

    # What a connection says ---------------------------------------------------

    def heard(self, socket: "_Socket", event: Event) -> None:
        """One event of one of our symbols."""
        handover = self._handover
        if handover is None:
            if socket is self._carrier:
                self._passed[type(event), event.symbol] = event
                self._on_event(event)
            return
        if socket is self._carrier and self._successor is not None:
            self._hand_on(handover.from_old(event))
        elif socket is self._carrier or socket is self._successor:
            self._hand_on(handover.from_successor(event, self.clock.monotonic()))
        self._look()

    def acknowledged(self, socket: "_Socket", symbols: tuple[str, ...], ts_recv_ns: int) -> None:
        """The streams of these symbols stand; told once, on whichever connection."""
        if socket is self._successor and self._handover is not None:
            self._handover.acknowledged(symbols, self.clock.monotonic())
        if socket is self._carrier or socket is self._successor:
            self._hand_on(self._subscribed(symbols, ts_recv_ns))

    def read(self, socket: "_Socket") -> None:
        """Anything was read, pings included."""
        if socket is self._carrier:
            self.status.last_read = socket.last_read

    def leaving(self, socket: "_Socket") -> None:
        """This connection will end: its successor is wanted. (A successor that leaves takes over first.)"""
        if socket is self._carrier and self._successor is None:
            self._want(socket, at_once=True)

    # From one connection to the next --------------------------------------------

    async def _opened(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse | None:
        """One attempt. None: it failed, and the next must wait."""
        self.status.attempts += 1
        self._opening = "connecting"
        self._show()
        try:
            async with asyncio.timeout(CONNECT_S):
                return await session.ws_connect(self._url, autoping=False, compress=0, timeout=_CLOSE)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            self._opening = "waiting"
            late = isinstance(error, TimeoutError)
            self.status.last_end = f"no connection within {CONNECT_S:g} s" if late else cause_of(error)
            refused = error.status if isinstance(error, aiohttp.WSServerHandshakeError) else 0
            wait_s = max(self._backoff.delay_s(), RETRY_AFTER_S.get(refused, 0.0))
            self._not_before = self.clock.monotonic() + wait_s
            self._show()
            return None

    async def _live(self, socket: "_Socket") -> None:
        try:
            self._ended(socket, await socket.serve())
        finally:
            await socket.ws.close()
            self._room.release()

    async def _settle(self, handover: Handover) -> None:
        while self._successor is not None and self._handover is handover:
            now = self.clock.monotonic()
            self._hand_on(handover.time_passed(now, self.clock.wall_ns()))
            self._look()
            await self.clock.sleep_until(now + LOOK_S)

    def _look(self) -> None:
        """The old connection goes when it is of no more use."""
        handover = self._handover
        if handover is not None and handover.complete and self._successor is not None:
            self._promote()
        if handover is not None and handover.over:
            self._handover = None

    def _promote(self) -> None:
        old, self._carrier, self._successor = self._carrier, self._successor, None
        assert old is not None and self._carrier is not None
        self.status.handovers += 1
        old.end(f"{old.leaves}: a successor took over")
        if self._carrier.leaves:
            self._want(self._carrier, at_once=True)
        self._show()

    def _ended(self, socket: "_Socket", reason: str) -> None:
        self.status.last_end = reason
        now_ns, handover = self.clock.wall_ns(), self._handover
        if socket is self._carrier and self._successor is not None:
            assert handover is not None
            self._hand_on(handover.old_ended(reason, now_ns))
            self._promote()
            self._look()
        elif socket is self._carrier:
            self._carrier = self._handover = None
            self._hand_on([Disconnected(self.status.symbols, reason, now_ns)])
            self._want(socket)
        elif socket is self._successor:
            assert handover is not None and self._carrier is not None
            self._successor = self._handover = None
            for lost in handover.successor_ended(reason, now_ns):  # they go on with the old connection
                self._hand_on([lost])
                self._hand_on(self._subscribed(self._carrier.acknowledged, now_ns))
            self._want(socket)

    def _want(self, socket: "_Socket", *, at_once: bool = False) -> None:
        """A connection is wanted after this one. at_once: but a server that says so again and again waits like any other."""
        if not self._wanted.is_set():
            now = self.clock.monotonic()
            delay_s = self._backoff.delay_s(now - socket.since)
            self._not_before = now + (0.0 if at_once and self._backoff.failures == 1 else delay_s)
            self._opening = "waiting"
            self._wanted.set()
        self._show()

    def _show(self) -> None:
        status, carrier = self.status, self._carrier
        status.state = self._opening if carrier is None else "open"
        status.connected_since_ns = None if carrier is None else carrier.since_ns
        if carrier is not None:
            status.last_read = carrier.last_read
        if carrier is None or not (self._successor or self._wanted.is_set()):
            status.successor = None
        else:
            status.successor = "open" if self._successor else self._opening

    # To the caller ----------------------------------------------------------------

    def _subscribed(self, symbols: Iterable[str], ts_recv_ns: int) -> list[MarketEvent]:
        fresh = tuple(symbol for symbol in symbols if symbol not in self._told)
        return [Subscribed(fresh, ts_recv_ns)] if fresh else []

    def _hand_on(self, events: Iterable[MarketEvent]) -> None:
        for event in events:
            match event:
                case Subscribed():
                    self._told.update(event.symbols)
                case Disconnected():
                    self._told.difference_update(event.symbols)
                    self._passed = {key: last for key, last in self._passed.items() if key[1] not in event.symbols}
                    self.status.reconnects += 1
                case _:
                    self._passed[type(event), event.symbol] = event
            self._on_event(event)


class _Socket:
    """One socket, from its first message to its end; its owner is told what it says.

    leaves: why it will end, "" as long as nobody knows.
    """

    def __init__(self, owner: _Connection, ws: aiohttp.ClientWebSocketResponse, life_s: float) -> None:
        self.ws = ws
        self.since = self.last_read = owner.clock.monotonic()
        self.since_ns = owner.clock.wall_ns()
        self.leaves = ""
        self.acknowledged: dict[str, None] = {}  # symbols, in order
        self._owner, self._status, self._clock = owner, owner.status, owner.clock
        self._old_at = self.since + life_s
        self._last_id = 0
        self._unanswered: dict[int, tuple[tuple[str, ...], float]] = {}
        self._given_up: asyncio.Queue[str] = asyncio.Queue(1)
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue(PONGS_WAITING)

    def end(self, why: str) -> None:
        """It is of no more use."""
        if not self._given_up.full():
            self._given_up.put_nowait(why)

    async def serve(self) -> str:
        """Read, write and watch until one of them ends; returns why."""
        async with asyncio.TaskGroup() as tasks:
            name = self._status.name
            parts = [
                tasks.create_task(self._read(), name=f"{name}.read"),
                tasks.create_task(self._write(), name=f"{name}.write"),
                tasks.create_task(self._watch(), name=f"{name}.watch"),
                tasks.create_task(self._given_up.get(), name=f"{name}.given_up"),
            ]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                part.cancel()
        return next(part.result() for part in parts if part in done)

    def _leave(self, why: str) -> None:
        if not self.leaves:
            self.leaves = why
            self._owner.leaving(self)

    async def _read(self) -> str:
        status, clock = self._status, self._clock
        while True:
            message = await self.ws.receive()
            self.last_read = clock.monotonic()
            self._owner.read(self)
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    status.frames += 1
                    if ended := self._frame(message.data, clock.wall_ns()):
                        return ended
                case aiohttp.WSMsgType.PING:
                    if self._pongs.full():
                        self._pongs.get_nowait()
                    self._pongs.put_nowait(bytes(message.data))
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.CLOSE:
                    return f"closed by the exchange: {message.data} {message.extra or ''}".rstrip()
                case aiohttp.WSMsgType.BINARY:
                    status.malformed += 1
                    return "malformed message, frame: binary where text was to come"
                case _:
                    error = message.data if isinstance(message.data, Exception) else self.ws.exception()
                    return f"connection lost: {type(error).__name__ if error else 'ended without a close frame'} (1006)"

    def _frame(self, frame: str, ts_recv_ns: int) -> str | None:
        """Hand on what a frame says; returns why the connection must end, if it must."""
        try:
            record = self._owner.decoder.decode(frame, ts_recv_ns)
        except Malformed as error:
            self._status.malformed += 1
            return str(error)
        if isinstance(record, (DepthUpdate, BestQuote, Trade)):
            if record.symbol in self._owner.symbols:
                self._owner.heard(self, record)
            else:
                self._status.foreign += 1
        elif isinstance(record, wire.Control):
            return self._answer(record)
        elif isinstance(record, wire.ServerShutdown):
            self._leave(SHUTDOWN)
        return None

    def _answer(self, answer: wire.Control) -> str | None:
        if answer.error_code is not None:
            return f"the exchange refused our message: {answer.error_code} {answer.error_message}".rstrip()
        if isinstance(answer.id, int) and (asked := self._unanswered.pop(answer.id, None)):
            self.acknowledged |= dict.fromkeys(asked[0])
            self._owner.acknowledged(self, asked[0], answer.ts_recv_ns)
        return None

    async def _write(self) -> str:
        gate, kinds = Gate(self._clock), self._owner.kinds
        try:
            for symbols in _parted(self._status.symbols, PARAMS_PER_MESSAGE // len(kinds)):
                await gate.wait()
                self._last_id += 1
                self._unanswered[self._last_id] = (symbols, self._clock.monotonic() + ACK_S)
                await self.ws.send_str(wire.subscribe(symbols, kinds, self._last_id))
            while True:
                payload = await self._pongs.get()
                await gate.wait()
                await self.ws.pong(payload)
        except (aiohttp.ClientError, OSError) as error:
            return f"connection lost while sending: {cause_of(error)}"

    async def _watch(self) -> str:
        while True:
            now = self._clock.monotonic()
            dead_at = self.last_read + SILENCE_S
            answer_by = min((by for _, by in self._unanswered.values()), default=dead_at)
            if now >= dead_at:
                return f"nothing was read for {SILENCE_S:g} s, not even a ping"
            if now >= answer_by:
                return f"no answer to SUBSCRIBE within {ACK_S:g} s"
            if now >= self._old_at:
                self._leave(OLD)
            old_at = dead_at if self.leaves else self._old_at
            await self._clock.sleep_until(min(dead_at, answer_by, old_at, now + ACK_S))


def _parted(symbols: Sequence[str], at_most: int) -> list[tuple[str, ...]]:
    """The symbols in as few groups as may be, of nearly equal size; a symbol's streams are never parted."""
    if at_most < 1:
        raise ValueError("one connection must have room for the streams of one symbol")
    count = -(-len(symbols) // at_most)
    return [tuple(symbols[len(symbols) * n // count : len(symbols) * (n + 1) // count]) for n in range(count)]
