"""What goes wrong on command, and the list of what did. No I/O: requests are switched on and off here, and whoever comes to the
place where one strikes asks here what is to be done.

A fault is switched on by one object (`FaultRequest`); each time it strikes, one `Injection` is appended to `log`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from leadline.standin.scenes import ACTIONS, Action

STREAMS = {"diff": ("@depth@100ms", "@depth"), "trades": ("@aggTrade",), "ticker": ("@bookTicker",)}  # by their endings

FRAME_FAULTS = (
    *(f"{kind}.{way}" for kind in STREAMS for way in ("drop", "duplicate", "reorder", "delay", "malformed", "truncated")),
    *(f"diff.{way}" for way in ("crossed", "unknown_event", "extra_keys", "empty", "split")),
    "trades.hole",
    "trades.off_book",
    "time.back",
    "time.skew",
    "time.micros",
    "stream.silent",
)
SNAPSHOT_FAULTS = tuple(
    f"snapshot.{way}" for way in ("stale", "ahead", "border", "inside", "shallow", "delay", "hold", "wrong_symbol")
)
REST_FAULTS = ("rest.status", "rest.timeout", "rest.header", "trades.lag", "trades.short_page")
CONTROL_FAULTS = ("stream.late_ack", "stream.error", "stream.wrong_route")
SOCKET_FAULTS = tuple(
    f"socket.{way}"
    for way in (
        "close",
        "reset",
        "stall",
        "no_pings",
        "half_open",
        "drip",
        "end_of_life",
        "server_shutdown",
        "refuse",
        "tls_error",
    )
)
MARKET_FAULTS = tuple(ACTIONS)
ALL_FAULTS = (
    *FRAME_FAULTS, *SNAPSHOT_FAULTS, *REST_FAULTS, *CONTROL_FAULTS, *SOCKET_FAULTS, "limits.weight", *MARKET_FAULTS, "clear",
)  # fmt: skip

HOLD_BACK = "snapshot.ahead, the stream"  # what a struck `snapshot.ahead` does to frames
LOG_MAX = 200_000  # injections kept

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class FaultRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_s": "for"}):
    """One switch. Fields that a fault does not name are ignored by it (docs/standin.md says which it names).

    symbol: "" = all.                                count: how often it strikes; null = until it ends; of a scene, how many.
    client: number of the connection; null = all.    for: virtual seconds until it ends by itself; null = not by itself.
    """

    fault: str
    symbol: str = ""
    client: int | None = None
    count: Count | UnsetType | None = UNSET
    for_s: Seconds | None = None
    stream: str = ""  # what its name ends with
    events: Annotated[int, Meta(ge=1, le=4000)] = 20  # depth frames
    levels: Annotated[int, Meta(ge=1, le=5000)] = 1000
    delay_s: Seconds = 2.0
    ms: Annotated[int, Meta(ge=0, le=10**12)] = 1000
    rows: Annotated[int, Meta(ge=0)] = 1
    path: str = ""  # last part of the REST path, such as "depth"; "" = any
    status: Annotated[int, Meta(ge=100, le=599)] = 500
    body: str | None = None  # null: what the exchange says with that status
    content_type: str = "application/json"
    retry_after_s: int = 1
    value: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    code: Annotated[int, Meta(ge=1000, le=4999)] = 1001
    reason: str = ""
    lead_s: Seconds | None = None  # until the cut that was announced; null: it never comes
    shape: Literal["", "raw", "combined", "api"] = ""  # "" = as the connection is
    bytes_per_s: Count = 1000
    side: Literal["bid", "ask"] = "bid"
    bp: Annotated[int, Meta(ge=1, le=9999)] = 5
    times: Annotated[int, Meta(ge=1, le=10_000)] = 50

    @property
    def strikes(self) -> int | None:
        """How often, None = until it ends. What is not said: once, or until it ends where an end is said."""
        if self.count is UNSET:
            return None if self.for_s is not None else 1
        return self.count

    @property
    def action(self) -> Action:
        """As something done to the market."""
        count = 20 if self.count is UNSET or self.count is None else self.count
        return Action(
            name=self.fault, for_s=self.for_s, side=self.side, bp=self.bp, times=self.times, count=count, levels=self.levels
        )


class Injection(Struct, frozen=True, omit_defaults=True):
    """One thing that was done: virtual time, what, to whom, with which update or aggregate ids, and what was really sent."""

    n: int
    at_ns: int
    fault: str
    symbol: str = ""
    client: int | None = None
    first_id: int | None = None
    last_id: int | None = None
    detail: str = ""


class Kept:
    """What a rule keeps of one stream. held: messages that wait for their turn. from_id: where its next frame has to begin."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.from_id: int | None = None


class Rule:
    """A request that is switched on, and what it keeps of each stream until it lets go. seen: frames it has held so far."""

    def __init__(self, request: FaultRequest) -> None:
        """left: how often it still strikes; None = until it ends."""
        self.request = request
        self.left = request.strikes
        self.ended = False
        self.seen = 0
        self.kept: dict[str, Kept] = {}


class UnknownFault(ValueError):
    """No fault has that name, or it cannot strike there."""


class Faults:
    """The switches, and `log`: every injection so far."""

    def __init__(self) -> None:
        self.log: deque[Injection] = deque(maxlen=LOG_MAX)
        self._count = 0
        self.hidden: dict[str, set[int]] = {}  # symbol -> aggregate ids that nobody will ever be given
        self._rules: list[Rule] = []

    @property
    def active(self) -> list[FaultRequest]:
        """What is switched on, with the count that is left."""
        return [msgspec.structs.replace(rule.request, count=rule.left) for rule in self._rules]

    def switch(self, request: FaultRequest) -> Callable[[], None]:
        """Switch a fault on that strikes when its place is come to; returns what ends it. Raises UnknownFault."""
        if request.fault not in ALL_FAULTS:
            raise UnknownFault(f"{request.fault!r} is none of {', '.join(ALL_FAULTS)}")
        rule = Rule(request)
        self._rules.append(rule)
        return lambda: self.end(rule)

    def clear(self) -> None:
        """End them all."""
        for rule in list(self._rules):
            self.end(rule)

    def end(self, rule: Rule) -> None:
        """It strikes no more; what it kept of a stream goes out with the stream's next frame."""
        rule.ended = True
        if not rule.kept and rule in self._rules:
            self._rules.remove(rule)

    def record(
        self,
        fault: str,
        at_ns: int,
        *,
        symbol: str = "",
        client: int | None = None,
        ids: tuple[int, int] | None = None,
        detail: str = "",
    ) -> None:
        """Append an injection."""
        first, last = ids or (None, None)
        self._count += 1
        self.log.append(Injection(self._count, at_ns, fault, symbol, client, first, last, detail))

    def rules(self, names: tuple[str, ...]) -> Iterator[Rule]:
        """Those of these names that are on, oldest first."""
        return (rule for rule in list(self._rules) if rule.request.fault in names)

    def used(self, rule: Rule) -> None:
        """It struck."""
        if rule.left is not None:
            rule.left -= 1
            if rule.left <= 0:
                self.end(rule)

    def hold_back(self, symbol: str, events: int) -> Rule:
        """From now on that many depth frames of the symbol wait, and then come together (`snapshot.ahead`)."""
        rule = Rule(FaultRequest(fault=HOLD_BACK, symbol=symbol, events=events, count=events))
        self._rules.append(rule)
        return rule

    def struck(self, fault: str, at_ns: int, *, symbol: str = "", client: int | None = None) -> FaultRequest | None:
        """The request of that name that strikes this symbol or connection, if one is on; recorded and used up."""
        for rule in self.rules((fault,)):
            request = rule.request
            elsewhere = symbol and request.symbol not in ("", symbol)
            if not rule.ended and not elsewhere and (client is None or request.client in (None, client)):
                self.used(rule)
                self.record(fault, at_ns, symbol=symbol, client=client)
                return request
        return None

    def rest(self, fault: str, path: str, at_ns: int, *, symbol: str = "") -> FaultRequest | None:
        """The request that strikes a REST call. path: its last part."""
        for rule in self.rules((fault,)):
            request = rule.request
            elsewhere = symbol and request.symbol not in ("", symbol)
            if not rule.ended and not elsewhere and request.path in ("", path):
                self.used(rule)
                self.record(fault, at_ns, symbol=symbol, detail=f"{path} {request.status}" if fault == "rest.status" else path)
                return request
        return None
