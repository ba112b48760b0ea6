"""What the exchange enforces: messages of a connection, request weight, bans. Pure: `now` is given."""

from collections import deque

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Every limit with the exchange's figure (docs/exchange.md); each can be lowered or stretched."""

    messages_per_s: int = 5
    streams: int = 1024
    unsent_bytes: int = 8_000_000
    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    weight_per_minute: int = 6000
    requests_after_429: int = 10
    ban_s: int = 120  # doubles with each further ban
    ban_s_max: int = 3 * 86_400


class MessageRate:
    """Counts what a client sends: pings, pongs and JSON alike, in any one second."""

    def __init__(self, per_s: int) -> None:
        """per_s: how many are allowed."""
        self._times: deque[float] = deque(maxlen=per_s)

    def too_many(self, now: float) -> bool:
        """Count one message at `now` (monotonic seconds); True if it is one more than allowed within the last second."""
        full = len(self._times) == self._times.maxlen and now - self._times[0] < 1.0
        self._times.append(now)
        return full


class Charged(Struct, frozen=True):
    """What became of a request: status 200, 429 or 418, the weight used in this minute, and when to come back."""

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ms: int = 0


class Budget:
    """Request weight of one address. Minutes are minutes of the wall clock."""

    def __init__(self, limits: Limits) -> None:
        """limits: weight_per_minute, requests_after_429, ban_s, ban_s_max."""
        self._limits = limits
        self._minute = -1
        self._refused = 0
        self._bans = 0
        self.used = 0
        self.banned_until_ms = 0

    def charge(self, weight: int, now_ns: int) -> Charged:
        """Count a request. Going on after 429 ends in a ban, and each ban is twice as long as the one before."""
        now_ms = now_ns // 1_000_000
        minute = now_ms // 60_000
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        if now_ms < self.banned_until_ms:
            return self._banned(now_ms)
        self.used += weight
        if self.used <= self._limits.weight_per_minute:
            return Charged(200, self.used)
        self._refused += 1
        if self._refused <= 1 + self._limits.requests_after_429:
            return Charged(429, self.used, (minute + 1) * 60 - now_ms // 1000)
        self.banned_until_ms = now_ms + 1000 * min(self._limits.ban_s << self._bans, self._limits.ban_s_max)
        self._bans += 1
        self._refused = 0
        return self._banned(now_ms)

    def _banned(self, now_ms: int) -> Charged:
        return Charged(418, self.used, -(-(self.banned_until_ms - now_ms) // 1000), self.banned_until_ms)
