"""The WebSocket surface (docs/standin.md): connections, control messages, pings, and who gets which frame."""

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec
from aiohttp import WSMsgType, web

from leadline.clock import Clock
from leadline.standin.faults import Message
from leadline.standin.limits import Limits, MessageRate

GOING_AWAY, POLICY = 1001, 1008
TOO_MANY = "Too many requests"

_STREAM = re.compile(r"[^\s@!/]+(@[A-Za-z0-9_]+)+|![A-Za-z]+(@[A-Za-z0-9_]+)*")
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_INCOMING_MAX = 1 << 18
_CLOSE_WAIT_S = 2.0


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

    def __init__(self, number: int, web_socket: web.WebSocketResponse, transport: asyncio.Transport, path: str) -> None:
        """number: from 1, in order of arrival; path: as asked for."""
        self.number = number
        self.path = path
        self.wrapped = False
        self.streams: dict[str, None] = {}
        self.mode = Mode.OPEN
        self.frames = 0
        self.lost = 0  # while stalled or half-open
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

    async def serve(self, on_text: Callable[["Client", str | bytes], None], limits: Limits, clock: Clock) -> None:
        """Until the connection ends."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send_queued(), name=f"client{self.number}.send")
            pinging = tasks.create_task(self._ping(limits, clock), name=f"client{self.number}.ping")
            try:
                await self._receive(on_text, MessageRate(limits.messages_per_s), clock)
                if self._closed is not None:
                    await self._closed.wait()
            finally:
                self._leave()
                sending.cancel()
                pinging.cancel()

    async def _receive(self, on_text: Callable[["Client", str | bytes], None], rate: MessageRate, clock: Clock) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
                return
            if self.mode is Mode.HALF_OPEN:
                continue
            if rate.too_many(clock.monotonic()):
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

    async def _ping(self, limits: Limits, clock: Clock) -> None:
        next_ping = clock.monotonic() + limits.ping_every_s
        while not self.gone:
            overdue = min(self._pings.values(), default=next_ping) + limits.pong_within_s
            await clock.sleep_until(min(next_ping, overdue))
            now = clock.monotonic()
            if self.mode is Mode.HALF_OPEN:
                self._pings.clear()
            elif self._pings and now - min(self._pings.values()) >= limits.pong_within_s:
                self.reset()
            elif now >= next_ping:
                payload = str(clock.wall_ns()).encode()
                self._pings[payload] = now
                try:
                    await self._socket.ping(payload)
                except ConnectionError:
                    return
            next_ping = now + limits.ping_every_s if now >= next_ping else next_ping

    async def _send_queued(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                body = self._queue.popleft()
                if isinstance(body, _Close):
                    await self._close(body)
                    return
                try:
                    await self._socket.send_frame(body, WSMsgType.TEXT)
                except ConnectionError:
                    self._leave()
                    return
                self.unsent_bytes -= len(body)
            self._filled.clear()
            self.idle.set()

    async def _close(self, close: _Close) -> None:
        self._closed = asyncio.Event()
        self._leave()
        try:
            await self._socket.close(code=close.code, message=close.reason.encode())
        finally:
            self._closed.set()

    def _wake(self) -> None:
        self.idle.clear()
        self._filled.set()

    def _leave(self) -> None:
        self.gone = True
        self._queue.clear()
        self.unsent_bytes = 0
        self.idle.set()


class Hub:
    """All connections, by stream."""

    def __init__(
        self, *, origin: str, limits: Limits, clock: Clock, bare_errors: bool, deflate: bool, changed: Callable[[], None]
    ) -> None:
        """changed: called when connections or subscriptions are other than before."""
        self.clients: dict[int, Client] = {}
        self._streams: dict[str, dict[Client, None]] = {}
        self._origin = origin
        self._limits = limits
        self._clock = clock
        self._bare_errors = bare_errors
        self._deflate = deflate
        self._changed = changed
        self._count = 0

    def listens(self, symbol: str | None) -> bool:
        """Does anybody subscribe to depth of this symbol; None: to anything."""
        if symbol is None:
            return bool(self._streams)
        prefix = f"{symbol.lower()}@depth"
        return any(stream.startswith(prefix) for stream in self._streams)

    def publish(self, message: Message) -> None:
        """Queue a message for each connection that subscribed to its stream; cut whoever reads too slowly."""
        raw = message.payload
        wrapped: bytes | None = None
        for client in tuple(self._streams.get(message.stream, ())):
            if client.wrapped:
                if wrapped is None:
                    wrapped = wrap(message)
                client.send(wrapped)
            else:
                client.send(raw)
            client.frames += 1
            if client.unsent_bytes > self._limits.unsent_bytes:
                client.reset()

    async def drained(self) -> None:
        """Wait until every connection has taken what was queued for it."""
        for client in tuple(self.clients.values()):
            if not client.idle.is_set():
                await client.idle.wait()

    def chosen(self, number: int | None) -> list[Client]:
        """The connection with that number, or all; none if there is no such connection."""
        return [client for client in self.clients.values() if number in (None, client.number)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from the handshake to its end."""
        wanted, wrapped = _asked_for(request)
        answer = web.WebSocketResponse(autoping=False, compress=self._deflate, max_msg_size=_INCOMING_MAX, timeout=_CLOSE_WAIT_S)
        answer.headers["X-Standin"] = self._origin
        await answer.prepare(request)
        transport = request.transport
        if transport is None:
            return answer
        self._count += 1
        client = Client(self._count, answer, transport, request.path_qs)
        client.wrapped = wrapped
        self.clients[client.number] = client
        if len(wanted) > self._limits.streams:
            client.close(POLICY, "Too many streams")
        else:
            self._subscribe(client, wanted)
        self._changed()
        try:
            await client.serve(self._control, self._limits, self._clock)
        finally:
            del self.clients[client.number]
            self._unsubscribe(client, tuple(client.streams))
            self._changed()
        return answer

    def _subscribe(self, client: Client, names: Iterable[str]) -> None:
        for name in names:
            client.streams[name] = None
            self._streams.setdefault(name, {})[client] = None

    def _unsubscribe(self, client: Client, names: Iterable[str]) -> None:
        for name in names:
            client.streams.pop(name, None)
            hearers = self._streams.get(name, {})
            hearers.pop(client, None)
            if not hearers:
                self._streams.pop(name, None)

    def _control(self, client: Client, text: str | bytes) -> None:
        """One control message: the reply goes out first, then what it changes takes effect."""
        request_id: object = None
        try:
            try:
                asked = msgspec.json.decode(text)
            except msgspec.DecodeError as error:
                raise _Refused(3, "Invalid JSON: expected value at line 1 column 1") from error
            if not isinstance(asked, dict):
                raise _Refused(2, "Invalid request: expected a map at line 1 column 1")
            request_id = _checked_id(asked.get("id"))
            result, effect = self._carry_out(client, asked)
            client.send(msgspec.json.encode({"result": result, "id": request_id}))
            effect()
        except _Refused as refused:
            error_body = {"code": refused.code, "msg": refused.msg}
            client.send(
                msgspec.json.encode(
                    {**error_body, "id": request_id} if self._bare_errors else {"error": error_body, "id": request_id}
                )
            )
        self._changed()

    def _carry_out(self, client: Client, asked: dict[str, object]) -> tuple[object, Callable[[], None]]:
        """(the result to reply, what to do after the reply). Raises _Refused."""
        if "method" not in asked:
            raise _Refused(2, "Invalid request: missing field `method` at line 1 column 1")
        match asked["method"]:
            case "SUBSCRIBE":
                names = _checked_names(asked)
                if len({**client.streams, **dict.fromkeys(names)}) > self._limits.streams:
                    raise _Refused(2, "Invalid request: too many streams")
                return None, lambda: self._subscribe(client, names)
            case "UNSUBSCRIBE":
                names = _checked_names(asked)
                return None, lambda: self._unsubscribe(client, names)
            case "LIST_SUBSCRIPTIONS":
                return list(client.streams), _nothing
            case "SET_PROPERTY":
                value = _checked_property(asked, 2)[1]
                if not isinstance(value, bool):
                    raise _Refused(1, "Invalid value type: expected Boolean")
                return None, lambda: setattr(client, "wrapped", value)
            case "GET_PROPERTY":
                _checked_property(asked, 1)
                return client.wrapped, _nothing
            case other:
                raise _Refused(2, f"Invalid request: unknown variant `{other}`, expected one of {', '.join(_METHODS)}")


def wrap(message: Message) -> bytes:
    """The combined form: `{"stream":"<name>","data":<payload>}`."""
    end = b"" if message.cut else b"}"
    return b'{"stream":%b,"data":%b%b' % (msgspec.json.encode(message.stream), message.payload, end)


class _Refused(Exception):
    """A control message that gets an error; code and msg as the exchange's."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


def _nothing() -> None:
    pass


def _checked_id(given: object) -> object:
    match given:
        case bool():
            pass
        case None:
            return None
        case int() if -(2**63) <= given < 2**63:
            return given
        case str() if len(given) <= 36:
            return given
    raise _Refused(2, "Invalid request: request ID must be a 64-bit integer, a text of at most 36 characters, or null")


def _checked_names(asked: dict[str, object]) -> list[str]:
    names = asked.get("params")
    if not isinstance(names, list):
        raise _Refused(2, "Invalid request: missing field `params` at line 1 column 1")
    checked: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise _Refused(2, "Invalid request: property name must be a string")
        if not _STREAM.fullmatch(name):
            raise _Refused(2, "Invalid request: invalid stream")
        checked.append(name)
    return checked


def _checked_property(asked: dict[str, object], count: int) -> list[object]:
    params = asked.get("params")
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise _Refused(0, "Unknown property")
    if len(params) > count:
        raise _Refused(2, "Invalid request: too many parameters")
    return [*params, None]


def _asked_for(request: web.Request) -> tuple[list[str], bool]:
    """(streams named in the address, wrapped or not). Raw when the path has a part `ws`; what stands before is ignored."""
    parts = request.path.split("/")
    if "ws" in parts:
        named = [part for part in parts[parts.index("ws") + 1 :] if part and not part.isdigit()]
        return list(dict.fromkeys(named)), False
    named = [name for name in request.query.get("streams", "").split("/") if name]
    return list(dict.fromkeys(named)), True


def is_socket_path(path: str) -> bool:
    """True for the paths under which streams are served."""
    return not {"ws", "stream"}.isdisjoint(path.split("/"))
