"""What the exchange enforces: messages of a connection, connections, request weight, bans. Pure: `now` is given."""

from collections import deque
from collections.abc import Iterable

import msgspec
from msgspec import Struct

WINDOW_MS = 5 * 60_000  # of connection attempts and raw requests


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Every limit with the exchange's figure (docs/exchange.md); each can be lowered or stretched, and 0 switches it off.

    The weight may change while it runs, as it did at the exchange.
    """

    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    life_s: float = 86_400.0
    messages_per_s: int = 5
    streams: int = 1024
    url_length: int = 8000
    connections: int = 300  # attempts in 5 minutes
    weight_per_minute: int = 6000
    raw_requests: int = 300_000  # in 5 minutes
    requests_after_429: int = 10
    ban_s: int = 120  # doubles with each further ban
    ban_s_max: int = 3 * 86_400
    unsent_bytes: int = 8_000_000


class NoSuchLimit(ValueError):
    """A text that sets no limit."""


def parse(settings: Iterable[str]) -> Limits:
    """The exchange's limits with what texts such as `life_s=60` change. Raises NoSuchLimit."""
    given: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in Limits.__struct_fields__:
            raise NoSuchLimit(f"{setting!r} is no NAME=VALUE with a NAME of {', '.join(Limits.__struct_fields__)}")
        given[name] = value
    try:
        limits = msgspec.convert(given, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise NoSuchLimit(str(error)) from error
    low = [name for name in given if not 0 <= getattr(limits, name) < float("inf")]
    if low:
        raise NoSuchLimit(f"{low[0]}={given[low[0]]} is below 0 or has no end")
    return limits


class MessageRate:
    """Counts what a client sends: pings, pongs and JSON alike, in any one second."""

    def __init__(self, per_s: int) -> None:
        """per_s: how many are allowed; 0: any number."""
        self.count = 0
        self._times: deque[float] = deque(maxlen=per_s)

    def too_many(self, now: float) -> bool:
        """Count one message at `now` (monotonic seconds); True if it is one more than allowed within the last second."""
        self.count += 1
        full = bool(self._times) and len(self._times) == self._times.maxlen and now - self._times[0] < 1.0
        self._times.append(now)
        return full


class Charged(Struct, frozen=True):
    """What became of a request: status 200, 429 or 418, the weight used in this minute, and when to come back.

    raw: it was the number of requests that was too high, not their weight. path: the last part of the request's.
    """

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ms: int = 0
    raw: bool = False
    path: str = ""


class Bans:
    """Going on after a refusal ends in a ban, and each ban is twice as long as the one before."""

    def __init__(self, limits: Limits) -> None:
        """limits: requests_after_429, ban_s, ban_s_max."""
        self._limits = limits
        self._bans = 0
        self.refused = 0  # since the last ban or new window
        self.until_ms = 0

    def banned(self, now_ms: int) -> bool:
        """True while one lasts."""
        return now_ms < self.until_ms

    def refuse(self, now_ms: int) -> bool:
        """Count a refusal; True if it is a ban now."""
        self.refused += 1
        patience = self._limits.requests_after_429
        if not patience or not self._limits.ban_s or self.refused <= 1 + patience:
            return False
        longest = self._limits.ban_s_max or self._limits.ban_s << self._bans
        self.until_ms = now_ms + 1000 * min(self._limits.ban_s << self._bans, longest)
        self._bans += 1
        self.refused = 0
        return True

    def left_s(self, now_ms: int) -> int:
        """Whole seconds until it ends."""
        return -(-(self.until_ms - now_ms) // 1000)


class Budget:
    """Requests of one address, and their weight. Minutes, and five of them, are those of the wall clock."""

    def __init__(self, limits: Limits) -> None:
        """limits: weight_per_minute, raw_requests, and those of Bans."""
        self._limits = limits
        self._bans = Bans(limits)
        self._minute = self._window = -1
        self.used = 0
        self.requests = 0

    @property
    def refused(self) -> int:
        """Answered with 429 since the window began or a ban ended."""
        return self._bans.refused

    @property
    def banned_until_ms(self) -> int:
        """When the latest ban ends or ended; 0: there was none."""
        return self._bans.until_ms

    def charge(self, weight: int, now_ns: int) -> Charged:
        """Count a request."""
        now_ms = now_ns // 1_000_000
        minute, window = now_ms // 60_000, now_ms // WINDOW_MS
        if window != self._window:
            self._window, self.requests = window, 0
        if minute != self._minute:
            self._minute, self.used, self._bans.refused = minute, 0, 0
        if self._bans.banned(now_ms):
            return self._banned(now_ms)
        self.used += weight
        self.requests += 1
        heavy = 0 < self._limits.weight_per_minute < self.used
        many = 0 < self._limits.raw_requests < self.requests
        if not heavy and not many:
            return Charged(200, self.used)
        if self._bans.refuse(now_ms):
            return self._banned(now_ms)
        again_ms = (window + 1) * WINDOW_MS if many else (minute + 1) * 60_000
        return Charged(429, self.used, -(-(again_ms - now_ms) // 1000), raw=many)

    def _banned(self, now_ms: int) -> Charged:
        return Charged(418, self.used, self._bans.left_s(now_ms), self._bans.until_ms)


class Attempts:
    """Handshakes of one address, in any five minutes."""

    def __init__(self, limits: Limits) -> None:
        """limits: connections, and those of Bans."""
        self._limits = limits
        self._bans = Bans(limits)
        self._times_ms: deque[int] = deque()

    @property
    def count(self) -> int:
        """Of the five minutes before the latest."""
        return len(self._times_ms)

    @property
    def refused(self) -> int:
        """Since the last one that was let in."""
        return self._bans.refused

    @property
    def banned_until_ms(self) -> int:
        """When the latest ban ends or ended; 0: there was none."""
        return self._bans.until_ms

    def attempt(self, now_ns: int) -> Charged:
        """Count one. A refused one is none of the allowed ones, so that whoever waits is let in again."""
        now_ms = now_ns // 1_000_000
        times = self._times_ms
        while times and times[0] <= now_ms - WINDOW_MS:
            times.popleft()
        if self._bans.banned(now_ms):
            return Charged(418, len(times), self._bans.left_s(now_ms), self._bans.until_ms)
        if not self._limits.connections or len(times) < self._limits.connections:
            self._bans.refused = 0
            times.append(now_ms)
            return Charged(200, len(times))
        if self._bans.refuse(now_ms):
            return Charged(418, len(times), self._bans.left_s(now_ms), self._bans.until_ms)
        return Charged(429, len(times), -(-(times[0] + WINDOW_MS - now_ms) // 1000))
