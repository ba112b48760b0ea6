"""Where a fault is switched: market, connections and limits are struck at once, everything else by who comes to its place."""

from collections.abc import Callable, Iterable
from functools import partial

from leadline.standin.faults import MARKET_FAULTS, SOCKET_FAULTS, FaultRequest, Faults, UnknownFault
from leadline.standin.limits import Limits
from leadline.standin.player import Player
from leadline.standin.sockets import GOING_AWAY, Client, Hub, Mode
from leadline.standin.source import Source, UnknownAction

_AT_THE_DOOR = ("socket.refuse", "socket.tls_error")  # strike connections that are to come


class Switchboard:
    """Switches every kind of fault. later: do that in so many virtual seconds."""

    def __init__(
        self,
        *,
        source: Source,
        player: Player,
        hub: Hub,
        faults: Faults,
        limits: Limits,
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._source, self._player, self._hub = source, player, hub
        self._faults, self._limits, self._later = faults, limits, later

    def fault(self, request: FaultRequest) -> None:
        """Switch it; one that says for how long ends by itself. Raises UnknownFault."""
        if request.symbol and request.symbol not in self._source.symbols and request.fault != "symbol.new":
            raise UnknownFault(f"symbol {request.symbol!r} is not served")
        if request.fault == "clear":
            self._faults.clear()
            self._mend_all(self._hub.chosen(None))
        elif request.fault in MARKET_FAULTS:
            self._act(request)
        else:
            end = self._switched(request)
            if request.for_s is not None:
                self._later(request.for_s, end)

    def _switched(self, request: FaultRequest) -> Callable[[], None]:
        if request.fault == "limits.weight":
            before, self._limits.weight_per_minute = self._limits.weight_per_minute, request.value or 0
            self._faults.record(request.fault, self._player.position_ns, detail=f"{before} -> {request.value or 0}")
            return lambda: setattr(self._limits, "weight_per_minute", before)
        if request.fault in SOCKET_FAULTS and request.fault not in _AT_THE_DOOR:
            clients = self._hub.chosen(request.client)
            for client in clients:
                self._strike(client, request)
            return partial(self._mend_all, clients)
        return self._faults.switch(request)

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

    def _mend_all(self, clients: Iterable[Client]) -> None:
        for client in clients:
            self._mend(client)

    def _mend(self, client: Client) -> None:
        """The connection goes on as it should; what it lost it lost."""
        if client.mode is not Mode.OPEN:
            detail = f"{client.lost} messages lost while {client.mode}"
            self._faults.record("clear", self._player.position_ns, client=client.number, detail=detail)
        client.mode, client.lost, client.pinged, client.bytes_per_s, client.deaf = Mode.OPEN, 0, True, None, False


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
