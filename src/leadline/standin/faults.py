"""What goes wrong on command, and the list of what did. No I/O: frames and questions go in, what is to be done comes out.

A fault is switched on by one JSON object (`FaultRequest`); each time it strikes, one `Injection` is appended to `log`.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from leadline.standin.source import Frame, fixed, text

_KINDS = {"diff": ("@depth@100ms", "@depth"), "trades": ("@aggTrade",), "ticker": ("@bookTicker",)}

FRAME_FAULTS = tuple(f"{kind}.{way}" for kind in _KINDS for way in ("drop", "duplicate", "reorder", "malformed", "truncated"))
CROSSED = "diff.crossed"
SNAPSHOT_FAULTS = ("snapshot.stale", "snapshot.hold")
REST_FAULTS = ("rest.status", "rest.timeout")
SOCKET_FAULTS = ("socket.close", "socket.reset", "socket.stall", "socket.half_open", "socket.server_shutdown")
ALL_FAULTS = (*FRAME_FAULTS, CROSSED, *SNAPSHOT_FAULTS, *REST_FAULTS, *SOCKET_FAULTS, "clear")


class FaultRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One switch. Fields that a fault does not name are ignored by it.

    symbol: "" = all (frame and snapshot faults).        count: how often it strikes; null = until cleared.
    client: number of the connection (state.clients); null = all (socket faults).
    code, reason: of socket.close.                       events: how many depth frames old (snapshot.stale).
    status, body, content_type, retry_after_s: of rest.status; body null = what the exchange says with that status.
    path: last part of the REST path, such as "depth"; "" = any (rest faults).
    """

    fault: str
    symbol: str = ""
    count: int | None = 1
    client: int | None = None
    code: int = 1001
    reason: str = ""
    events: int = 20
    status: int = 500
    body: str | None = None
    content_type: str = "application/json"
    retry_after_s: int = 1
    path: str = ""


class Injection(Struct, frozen=True, omit_defaults=True):
    """One thing that was done: virtual time, what, to whom, with which update ids, and what was really sent."""

    n: int
    at_ns: int
    fault: str
    symbol: str = ""
    client: int | None = None
    first_id: int | None = None
    last_id: int | None = None
    detail: str = ""


class Message(Struct, frozen=True):
    """What goes out for a frame. cut: the message ends where `payload` does, in the middle of the JSON."""

    stream: str
    payload: bytes
    cut: bool = False


class _Rule:
    """A request that is switched on."""

    def __init__(self, request: FaultRequest) -> None:
        self.request = request
        self.left = request.count
        self.held: Message | None = None  # reorder: the frame that waits for its successor


class _Ids(Struct):
    U: int | None = None
    u: int | None = None
    a: object = None


class UnknownFault(ValueError):
    """No fault has that name, or the symbol is not served."""


class Faults:
    """The switches, and `log`: every injection so far."""

    def __init__(self, best_ask: Callable[[str], str | None]) -> None:
        """best_ask: price text of the symbol's best ask now, None while its book is not known."""
        self.log: list[Injection] = []
        self._rules: list[_Rule] = []
        self._best_ask = best_ask

    @property
    def active(self) -> list[FaultRequest]:
        """What is switched on, with the count that is left."""
        return [msgspec.structs.replace(rule.request, count=rule.left) for rule in self._rules]

    def switch(self, request: FaultRequest) -> None:
        """Switch a frame, snapshot or REST fault on. `clear` ends them all. Raises UnknownFault."""
        if request.fault == "clear":
            self._rules.clear()
        elif request.fault in ALL_FAULTS:
            self._rules.append(_Rule(request))
        else:
            raise UnknownFault(f"{request.fault!r} is none of {', '.join(ALL_FAULTS)}")

    def record(self, fault: str, at_ns: int, *, symbol: str = "", client: int | None = None, detail: str = "") -> None:
        """Append an injection that somebody else carried out."""
        self.log.append(Injection(len(self.log) + 1, at_ns, fault, symbol, client, detail=detail))

    def messages(self, frame: Frame) -> list[Message]:
        """What is sent for a frame: itself, something else, several, or nothing."""
        message = Message(frame.stream, frame.payload)
        rule = next((rule for rule in self._rules if _strikes(rule.request, frame)), None)
        if rule is None:
            return [message]
        match rule.request.fault.partition(".")[2]:
            case "drop":
                out = []
            case "duplicate":
                out = [message, message]
            case "reorder":
                if rule.held is None:
                    rule.held = message
                    self._struck(frame, rule, "held until the next one of its stream", used=False)
                    return []
                out = [message, rule.held]
                rule.held = None
            case "malformed":
                out = [Message(frame.stream, frame.payload[:-1] + b",}")]
            case "truncated":
                out = [Message(frame.stream, frame.payload[: len(frame.payload) // 2], cut=True)]
            case _:
                ask = self._best_ask(frame.symbol)
                if ask is None:
                    return [message]
                out = [Message(frame.stream, _crossed(frame.payload, ask))]
        self._struck(frame, rule, " ".join(str(len(m.payload)) for m in out) + " bytes" if out else "nothing sent")
        return out

    def snapshot(self, fault: str, symbol: str, at_ns: int) -> FaultRequest | None:
        """The request that strikes a snapshot of the symbol, if one is on; uses it up."""
        for rule in self._rules:
            if rule.request.fault == fault and rule.request.symbol in ("", symbol):
                self._use(rule)
                self.record(fault, at_ns, symbol=symbol)
                return rule.request
        return None

    def rest(self, path: str, at_ns: int) -> FaultRequest | None:
        """The request that strikes a REST call, if one is on; uses it up. path: its last part."""
        for rule in self._rules:
            if rule.request.fault in REST_FAULTS and rule.request.path in ("", path):
                self._use(rule)
                self.record(rule.request.fault, at_ns, detail=f"{path} {rule.request.status}")
                return rule.request
        return None

    def _struck(self, frame: Frame, rule: _Rule, detail: str, *, used: bool = True) -> None:
        ids = msgspec.json.decode(frame.payload, type=_Ids)
        agg_id = ids.a if isinstance(ids.a, int) else None
        first, last = (agg_id, agg_id) if agg_id is not None else (ids.U, ids.u)
        self.log.append(Injection(len(self.log) + 1, frame.at_ns, rule.request.fault, frame.symbol, None, first, last, detail))
        if used:
            self._use(rule)

    def _use(self, rule: _Rule) -> None:
        if rule.left is not None:
            rule.left -= 1
            if rule.left <= 0:
                self._rules.remove(rule)


def _strikes(request: FaultRequest, frame: Frame) -> bool:
    kind = request.fault.partition(".")[0]
    return request.symbol in ("", frame.symbol) and frame.stream.endswith(_KINDS.get(kind, ("\0",)))


def _crossed(payload: bytes, ask: str) -> bytes:
    """The same event with one more bid, at twice the best ask: the ids stay whole, the book does not."""
    update = msgspec.json.decode(payload)
    update["b"].insert(0, [text(2 * fixed(ask)), "1.00000000"])
    return msgspec.json.encode(update)
