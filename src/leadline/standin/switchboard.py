"""Where a fault is switched: market, connections and limits are struck at once, everything else by who comes to its place."""

import re
from collections.abc import Callable, Iterable
from functools import partial

from leadline.standin.faults import ALL_FAULTS, MARKET_FAULTS, SOCKET_FAULTS, FaultRequest, Faults, UnknownFault
from leadline.standin.limits import Limits
from leadline.standin.player import Player
from leadline.standin.sockets import GOING_AWAY, Client, Hub, Mode
from leadline.standin.source import Source, UnknownAction

_SYMBOL = re.compile(r'[^\s"\\@!/]{1,50}')
_AT_THE_DOOR = ("socket.refuse", "socket.tls_error")  # strike connections that are to come


class Switchboard:
    """Switches every kind of fault. later: do that in so many virtual seconds. release: let snapshots that are held go."""

    def __init__(
        self,
        *,
        source: Source,
        player: Player,
        hub: Hub,
        faults: Faults,
        limits: Limits,
        later: Callable[[float, Callable[[], None]], None],
        release: Callable[[], None],
    ) -> None:
        self._source, self._player, self._hub = source, player, hub
        self._faults, self._limits, self._later, self._release = faults, limits, later, release
        self._weight_per_minute = limits.weight_per_minute
        self._limited: list[FaultRequest] = []

    def check(self, request: FaultRequest) -> None:
        """Raises UnknownFault for what cannot be done here."""
        if request.fault not in ALL_FAULTS:
            raise UnknownFault(f"{request.fault!r} is none of {', '.join(ALL_FAULTS)}")
        if request.fault == "symbol.new":
            if not _SYMBOL.fullmatch(request.symbol):
                raise UnknownFault(f"symbol.new needs a symbol, without quotes, blanks, @ and !; {request.symbol!r} is none")
        elif request.symbol and request.symbol not in self._source.symbols:
            raise UnknownFault(f"symbol {request.symbol!r} is not served")
        if request.fault in MARKET_FAULTS and not self._source.can_act:
            raise UnknownFault(f"{request.fault!r} cannot be done to a recording")

    def fault(self, request: FaultRequest) -> None:
        """Switch it; one that says for how long ends by itself. Raises UnknownFault."""
        self.check(request)
        if request.fault == "clear":
            self._clear()
        elif request.fault in MARKET_FAULTS:
            self._act(request)
        else:
            end = self._switched(request)
            if request.for_s is not None:
                self._later(request.for_s, end)

    def scripted(self, request: FaultRequest) -> None:
        """The same at a moment of a script: what cannot be done by then is told in the list of injections."""
        try:
            self.fault(request)
        except UnknownFault as error:
            self._faults.record(request.fault, self._player.position_ns, symbol=request.symbol, detail=f"refused: {error}")

    def _clear(self) -> None:
        self._faults.clear()
        self._limited.clear()
        self._limit()
        self._release()
        for client in self._hub.chosen(None):
            self._mend(client)

    def _switched(self, request: FaultRequest) -> Callable[[], None]:
        if request.fault == "limits.weight":
            self._limited.append(request)
            self._limit()
            self._faults.record(request.fault, self._player.position_ns, detail=str(self._limits.weight_per_minute))
            return partial(self._unlimit, request)
        if request.fault in SOCKET_FAULTS and request.fault not in _AT_THE_DOOR:
            clients = self._hub.chosen(request.client)
            for client in clients:
                self._strike(client, request)
            return partial(self._end, request, clients)
        end = self._faults.switch(request)
        return partial(self._end_hold, end) if request.fault == "snapshot.hold" else end

    def _end_hold(self, end: Callable[[], None]) -> None:
        end()
        self._release()

    def _unlimit(self, request: FaultRequest) -> None:
        self._limited = [other for other in self._limited if other is not request]
        self._limit()

    def _limit(self) -> None:
        """The latest that is still on counts, else what was there at the start."""
        value = self._limited[-1].value if self._limited else self._weight_per_minute
        self._limits.weight_per_minute = value or 0

    def _act(self, request: FaultRequest) -> None:
        symbols = [request.symbol] if request.symbol else list(self._source.symbols)
        for symbol in symbols:
            try:
                self._source.act(symbol, request.action)
            except UnknownAction as error:
                raise UnknownFault(str(error)) from error
            self._faults.record(request.fault, self._player.position_ns, symbol=symbol)

    def _strike(self, client: Client, request: FaultRequest) -> None:
        """One connection, now."""
        detail = ""
        match request.fault:
            case "socket.close":
                detail = f"{request.code} {request.reason}"
                client.close(request.code, request.reason)
            case "socket.end_of_life":
                client.close(GOING_AWAY)
            case "socket.reset":
                client.reset()
            case "socket.stall":
                client.mode = Mode.STALLED
            case "socket.half_open":
                client.mode = Mode.HALF_OPEN
            case "socket.no_pings":
                client.pinged = False
            case "socket.drip":
                client.bytes_per_s = request.bytes_per_s
            case _:
                detail = "no cut follows" if request.lead_s is None else f"cut in {request.lead_s:g} s"
                client.send(_server_shutdown(self._source.server_time_ms(), client, request.shape))
                if request.lead_s is not None:
                    self._later(request.lead_s, partial(client.close, GOING_AWAY))
        self._faults.record(request.fault, self._player.position_ns, client=client.number, detail=detail)

    def _end(self, request: FaultRequest, clients: Iterable[Client]) -> None:
        """What this fault did to connections, and no other."""
        for client in clients:
            match request.fault:
                case "socket.stall" if client.mode is Mode.STALLED:
                    self._reopen(client)
                case "socket.half_open" if client.mode is Mode.HALF_OPEN:
                    self._reopen(client)
                case "socket.no_pings":
                    client.pinged = True
                case "socket.drip":
                    client.bytes_per_s = None

    def _reopen(self, client: Client) -> None:
        """What it lost it lost."""
        detail = f"{client.lost} messages lost while {client.mode}"
        self._faults.record("clear", self._player.position_ns, client=client.number, detail=detail)
        client.mode, client.lost = Mode.OPEN, 0

    def _mend(self, client: Client) -> None:
        """The connection goes on as it should."""
        if client.mode is not Mode.OPEN:
            self._reopen(client)
        client.pinged, client.bytes_per_s, client.deaf = True, None, False


def _server_shutdown(event_ms: int, client: Client, shape: str) -> bytes:
    """Binance web-socket-streams.md, 2026-07-21; shape `api` is that of the WebSocket API."""
    raw = b'{"e":"serverShutdown","E":%d}' % (event_ms * 1000 if client.microseconds else event_ms)
    match shape or ("combined" if client.wrapped else "raw"):
        case "combined":
            return b'{"stream":"!serverShutdown","data":%b}' % raw
        case "api":
            return b'{"event":%b}' % raw
        case _:
            return raw
