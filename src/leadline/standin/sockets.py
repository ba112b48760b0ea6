"""The WebSocket surface (docs/standin.md): connections, control messages, pings, and who gets which frame."""

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sized
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import msgspec
from aiohttp import WSMsgType, web

from leadline.clock import Clock
from leadline.standin import asking
from leadline.standin.asking import Refused
from leadline.standin.bending import Bending, Message
from leadline.standin.faults import FaultRequest, Faults
from leadline.standin.limits import Attempts, Limits, MessageRate
from leadline.standin.pages import REASONS, local_address, page
from leadline.standin.source import Frame

GOING_AWAY, POLICY = 1001, 1008
TOO_MANY = "Too many requests"

_INCOMING_MAX = 1 << 18
_CLOSE_WAIT_S = 2.0
_LOOK_AGAIN_S = 1.0
_DRIP_LOOK_S = 0.05


class Mode(StrEnum):
    """What a connection does: stalled sends pings and nothing else, half-open sends nothing at all."""

    OPEN = "open"
    STALLED = "stalled"
    HALF_OPEN = "half_open"


class _Close(NamedTuple):
    code: int
    reason: str


class Client:
    """One connection: its subscriptions, and what it has yet to be sent, in order."""

    def __init__(
        self,
        number: int,
        web_socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        path: str,
        *,
        limits: Limits,
        clock: Clock,
        busy: "set[Client]",
    ) -> None:
        """number: from 1, in order of arrival; path: as asked for. Its life begins now.

        busy: where it stands for as long as it has something to send.
        """
        self.number = number
        self.path = path
        self.wrapped = False
        self.microseconds = False
        self.streams: dict[str, None] = {}
        self.mode = Mode.OPEN
        self.frames = 0
        self.lost = 0  # while stalled or half-open
        self.deaf = False  # on the wrong route: everything is acknowledged, nothing comes
        self.pinged = True
        self.bytes_per_s: int | None = None  # how slowly it is sent what is queued; None: as fast as it goes
        self.unsent_bytes = 0
        self.gone = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._socket = web_socket
        self._transport = transport
        self._queue: deque[bytes | _Close] = deque()
        self._filled = asyncio.Event()
        self._closed: asyncio.Event | None = None
        self._pings: dict[bytes, float] = {}
        self._busy = busy
        self._limits = limits
        self._clock = clock
        self._rate = MessageRate(limits.messages_per_s)
        self._born = clock.monotonic()

    @property
    def messages(self) -> int:
        """What came from the client: pings, pongs and JSON."""
        return self._rate.count

    def deliver(self, body: bytes) -> None:
        """A stream message, as this connection gets it. Who reads too slowly is cut."""
        self.frames += 1
        self.send(body)
        if 0 < self._limits.unsent_bytes < self.unsent_bytes:
            self.reset()

    def send(self, body: bytes) -> None:
        """Queue a text frame. Lost, and counted, where the connection is stalled."""
        if self.mode is not Mode.OPEN:
            self.lost += 1
        elif not self.gone:
            self._queue.append(body)
            self.unsent_bytes += len(body)
            self._wake()

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued."""
        if not self.gone:
            self._queue.append(_Close(code, reason))
            self._wake()

    def reset(self) -> None:
        """Cut the connection with RST: no close frame, nothing flushed."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self.gone:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._leave()
        self._transport.abort()

    async def serve(self, on_text: Callable[["Client", str | bytes], None]) -> None:
        """Until the connection ends."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send_queued(), name=f"client{self.number}.send")
            aging = tasks.create_task(self._age(), name=f"client{self.number}.age")
            try:
                await self._receive(on_text)
                if self._closed is not None:
                    await self._closed.wait()
            finally:
                self._leave()
                sending.cancel()
                aging.cancel()

    async def _receive(self, on_text: Callable[["Client", str | bytes], None]) -> None:
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            if self.mode is Mode.HALF_OPEN:
                continue
            if message.type is WSMsgType.CLOSE:
                await self._socket.close()
                return
            if self._rate.too_many(self._clock.monotonic()):
                self._queue.clear()
                self.close(POLICY, TOO_MANY)
                continue
            match message.type:
                case WSMsgType.PING:
                    await self._socket.pong(message.data)
                case WSMsgType.PONG:
                    self._pong(bytes(message.data))
                case _:
                    on_text(self, message.data)

    def _pong(self, payload: bytes) -> None:
        """Only the payload of a ping keeps the connection alive; it answers the earlier ones too."""
        if payload in self._pings:
            sent = self._pings[payload]
            self._pings = {other: at for other, at in self._pings.items() if at > sent}

    async def _age(self) -> None:
        """Pings, the cut of who does not answer them, and the end of a long life."""
        limits, clock = self._limits, self._clock
        every_s = limits.ping_every_s or math.inf
        patience_s = limits.pong_within_s or math.inf
        end, next_ping = self._born + (limits.life_s or math.inf), self._born + every_s
        while not self.gone:
            overdue = min(self._pings.values(), default=math.inf) + patience_s
            await clock.sleep_until(min(next_ping, overdue, end))
            now = clock.monotonic()
            if self.mode is Mode.HALF_OPEN:
                self._pings.clear()
            elif now >= end:
                self.close(GOING_AWAY)
                return
            elif self._pings and now - min(self._pings.values()) >= patience_s:
                self.reset()
            elif now >= next_ping and self.pinged:
                payload = str(clock.wall_ns()).encode()
                self._pings[payload] = now
                try:
                    await self._socket.ping(payload)
                except ConnectionError:
                    return
            next_ping = now + every_s if now >= next_ping else next_ping
            end = now + _LOOK_AGAIN_S if now >= end else end  # half-open: nothing is sent, and so no end

    async def _send_queued(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                body = self._queue.popleft()
                if isinstance(body, _Close):
                    await self._close(body)
                    return
                if self.bytes_per_s is not None:
                    await self._drip(len(body) / self.bytes_per_s)
                try:
                    await self._socket.send_frame(body, WSMsgType.TEXT)
                except ConnectionError:
                    self._leave()
                    return
                self.unsent_bytes -= len(body)
            self._filled.clear()
            self._rest()

    async def _drip(self, wait_s: float) -> None:
        """For so long, or until it need no longer be slow."""
        until = self._clock.monotonic() + wait_s
        while self.bytes_per_s is not None and (now := self._clock.monotonic()) < until:
            await self._clock.sleep_until(min(until, now + _DRIP_LOOK_S))

    async def _close(self, close: _Close) -> None:
        self._closed = asyncio.Event()
        self._leave()
        try:
            await self._socket.close(code=close.code, message=close.reason.encode())
        finally:
            self._closed.set()

    def _wake(self) -> None:
        if self.idle.is_set():
            self.idle.clear()
            self._busy.add(self)
            self._filled.set()

    def _rest(self) -> None:
        self.idle.set()
        self._busy.discard(self)

    def _leave(self) -> None:
        self.gone = True
        self.bytes_per_s = None
        self._queue.clear()
        self.unsent_bytes = 0
        self._rest()


class Hub:
    """All connections, by stream."""

    def __init__(
        self,
        *,
        origin: str,
        limits: Limits,
        clock: Clock,
        bare_errors: bool,
        deflate: bool,
        faults: Faults,
        bending: Bending,
        position_ns: Callable[[], int],
        later: Callable[[float, Callable[[], None]], None],
        changed: Callable[[], None],
        heard: Callable[[str, bool], None],
        in_microseconds: Callable[[Frame, bytes], bytes],
    ) -> None:
        """clock: by which connections are limited, pinged and cut. changed: connections or subscriptions are other than before.

        faults, bending: what goes wrong here, at position_ns. later: do that in so many virtual seconds.
        heard: a stream has its first listener (True), or none any more. in_microseconds: a payload of the frame, times in us.
        """
        self.clients: dict[int, Client] = {}
        self.attempts: dict[str, Attempts] = {}
        self._streams: dict[str, dict[Client, None]] = {}
        self._busy: set[Client] = set()
        self._origin = origin
        self._limits = limits
        self._clock = clock
        self._bare_errors = bare_errors
        self._deflate = deflate
        self._faults = faults
        self._bending = bending
        self._position_ns = position_ns
        self._later = later
        self._changed = changed
        self._heard = heard
        self._in_microseconds = in_microseconds
        self._count = 0

    @property
    def heard_streams(self) -> int:
        """Streams that somebody listens to."""
        return len(self._streams)

    def hears(self, stream: str) -> bool:
        """Does anybody subscribe to this stream."""
        return stream in self._streams

    def listens(self, symbol: str | None) -> bool:
        """Does anybody subscribe to depth of this symbol; None: to anything."""
        if symbol is None:
            return bool(self._streams)
        prefix = f"{symbol.lower()}@depth"
        return any(stream.startswith(prefix) for stream in self._streams)

    def publish(self, messages: list[Message], frame: Frame) -> None:
        """Give what is sent for a frame to each connection that subscribed to its stream, in the form it wants."""
        hearers = self._streams.get(frame.stream)
        if not hearers:
            return
        private = self._bending.private
        forms: dict[tuple[bool, bool], list[bytes]] = {}
        for client in tuple(hearers):
            if client.deaf:
                continue
            form = client.wrapped, client.microseconds
            if private and (own := self._bending.messages_for(client.number, frame, messages)) is not messages:
                bodies = [self._form(message, frame, *form) for message in own]
            else:
                bodies = forms.get(form) or forms.setdefault(form, [self._form(each, frame, *form) for each in messages])
            for body in bodies:
                client.deliver(body)

    def _form(self, message: Message, frame: Frame, wrapped: bool, microseconds: bool) -> bytes:
        if microseconds:
            payload = self._in_microseconds(frame, message.payload)
            message = Message(message.stream, payload, message.cut)
        return wrap(message) if wrapped else message.payload

    async def drained(self) -> None:
        """Wait until every connection has taken what was queued for it."""
        while waited := next((client for client in self._busy if client.bytes_per_s is None), None):
            await waited.idle.wait()

    def chosen(self, number: int | None) -> list[Client]:
        """The connection with that number, or all; none if there is no such connection."""
        return [client for client in self.clients.values() if number in (None, client.number)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from the handshake to its end; or a refusal."""
        if 0 < self._limits.url_length < len(request.raw_path):
            return page(414, self._origin)
        attempts = self.attempts.setdefault(local_address(request), Attempts(self._limits))
        attempt = attempts.attempt(self._clock.wall_ns())
        if attempt.status != 200:
            return page(attempt.status, self._origin, retry_after_s=attempt.retry_after_s)
        if refused := self._faults.struck("socket.refuse", self._position_ns()):
            return page(refused.status if refused.status in REASONS else 503, self._origin)
        wanted = asking.wanted(request.path, request.query)
        answer = web.WebSocketResponse(
            autoping=False, compress=self._deflate, max_msg_size=_INCOMING_MAX, timeout=_CLOSE_WAIT_S, autoclose=False
        )
        answer.headers["X-Standin"] = self._origin
        await answer.prepare(request)
        transport = request.transport
        if transport is None:
            return answer
        self._count += 1
        client = Client(self._count, answer, transport, request.path_qs, limits=self._limits, clock=self._clock, busy=self._busy)
        client.wrapped, client.microseconds = wanted.wrapped, wanted.microseconds
        client.deaf = self._faults.struck("stream.wrong_route", self._position_ns(), client=client.number) is not None
        self.clients[client.number] = client
        if self._too_many(wanted.streams):
            client.close(POLICY, "Too many streams")
        else:
            self._subscribe(client, wanted.streams)
        self._changed()
        try:
            await client.serve(self._control)
        finally:
            del self.clients[client.number]
            self._unsubscribe(client, tuple(client.streams))
            self._changed()
        return answer

    def _too_many(self, names: Sized) -> bool:
        return 0 < self._limits.streams < len(names)

    def _subscribe(self, client: Client, names: Iterable[str]) -> None:
        for name in names:
            client.streams[name] = None
            hearers = self._streams.setdefault(name, {})
            hearers[client] = None
            if len(hearers) == 1:
                self._heard(name, True)

    def _unsubscribe(self, client: Client, names: Iterable[str]) -> None:
        for name in names:
            client.streams.pop(name, None)
            hearers = self._streams.get(name, {})
            hearers.pop(client, None)
            if not hearers and self._streams.pop(name, None) is not None:
                self._heard(name, False)

    def _control(self, client: Client, text: str | bytes) -> None:
        """One control message: the reply goes out first, then what it changes takes effect."""
        request_id: object = None
        try:
            asked = asking.decoded(text)
            request_id = asking.checked_id(asked.get("id"))
            result, effect = self._carry_out(client, asked)
            reply = msgspec.json.encode({"result": result, "id": request_id})
            if late := self._struck("stream.late_ack", client, asked):
                self._later(late.delay_s, partial(client.send, reply))
            else:
                client.send(reply)
            effect()
        except Refused as refused:
            said = {"code": refused.code, "msg": refused.msg}
            client.send(
                msgspec.json.encode({**said, "id": request_id} if self._bare_errors else {"error": said, "id": request_id})
            )
        self._changed()

    def _struck(self, fault: str, client: Client, asked: dict[str, object]) -> FaultRequest | None:
        return (
            self._faults.struck(fault, self._position_ns(), client=client.number) if asked.get("method") == "SUBSCRIBE" else None
        )

    def _carry_out(self, client: Client, asked: dict[str, object]) -> tuple[object, Callable[[], None]]:
        """(the result to reply, what to do after the reply). Raises Refused."""
        if "method" not in asked:
            raise Refused(2, "Invalid request: missing field `method` at line 1 column 1")
        match asked["method"]:
            case "SUBSCRIBE":
                if self._struck("stream.error", client, asked):
                    raise Refused(2, "Invalid request: invalid stream")
                names = asking.checked_names(asked)
                if self._too_many({**client.streams, **dict.fromkeys(names)}):
                    raise Refused(2, "Invalid request: too many streams")
                return None, lambda: self._subscribe(client, names)
            case "UNSUBSCRIBE":
                names = asking.checked_names(asked)
                return None, lambda: self._unsubscribe(client, names)
            case "LIST_SUBSCRIPTIONS":
                return list(client.streams), _nothing
            case "SET_PROPERTY":
                value = asking.checked_property(asked, 2)[1]
                if not isinstance(value, bool):
                    raise Refused(1, "Invalid value type: expected Boolean")
                return None, lambda: setattr(client, "wrapped", value)
            case "GET_PROPERTY":
                asking.checked_property(asked, 1)
                return client.wrapped, _nothing
            case other:
                raise Refused(2, f"Invalid request: unknown variant `{other}`, expected one of {', '.join(asking.METHODS)}")


def wrap(message: Message) -> bytes:
    """The combined form: `{"stream":"<name>","data":<payload>}`."""
    end = b"" if message.cut else b"}"
    return b'{"stream":%b,"data":%b%b' % (msgspec.json.encode(message.stream), message.payload, end)


def _nothing() -> None:
    pass
