"""What may go wrong, by who must act. An exception carries fields and builds its sentence from them; nobody parses the sentence.

What the exchange's rule expects (a gap, a crossed book, a full queue) is a value, not an exception: see `sync.Fault`.
"""

from collections.abc import Sequence


class LeadlineError(Exception):
    """Base of all errors that somebody outside must act on. exit_code is the command line's."""

    retryable = False
    exit_code = 1


class InvalidRequest(LeadlineError):
    """The caller's: one field is wrong."""

    exit_code = 2

    def __init__(self, field: str, why: str, allowed: str = "") -> None:
        super().__init__(field, why, allowed)
        self.field, self.why, self.allowed = field, why, allowed

    def __str__(self) -> str:
        return f"{self.field}: {self.why}" + (f" (allowed: {self.allowed})" if self.allowed else "")


class UnknownSymbol(LeadlineError):
    """The caller's: no such symbol here; `near` lists close matches."""

    exit_code = 3

    def __init__(self, symbol: str, near: Sequence[str] = (), where: str = "on this exchange") -> None:
        super().__init__(symbol, tuple(near), where)
        self.symbol, self.near, self.where = symbol, tuple(near), where

    def __str__(self) -> str:
        hint = f"; near matches: {', '.join(self.near)}" if self.near else ""
        return f"symbol: {self.symbol!r} is not known {self.where}{hint}"


class UnknownName(LeadlineError):
    """The caller's: no such tool, resource or prompt; `near` lists close matches."""

    exit_code = 3

    def __init__(self, kind: str, name: str, near: Sequence[str] = (), why: str = "") -> None:
        super().__init__(kind, name, tuple(near), why)
        self.kind, self.name, self.near, self.why = kind, name, tuple(near), why

    def __str__(self) -> str:
        hint = f"; {self.why}" if self.why else f"; near matches: {', '.join(self.near)}" if self.near else ""
        return f"no such {self.kind}: {self.name!r}{hint}"


class NotReady(LeadlineError):
    """Time's: ask again later."""

    retryable = True
    exit_code = 4


class BookNotLive(NotReady):
    """No LIVE book of this symbol now. since_ms: so long ago it was lost; None: there was none. ready_in_s None: not known."""

    def __init__(self, symbol: str, reason: str, since_ms: int | None = None, ready_in_s: float | None = None) -> None:
        super().__init__(symbol, reason, since_ms, ready_in_s)
        self.symbol, self.reason, self.since_ms, self.ready_in_s = symbol, reason, since_ms, ready_in_s

    def __str__(self) -> str:
        since = "" if self.since_ms is None else f", lost {self.since_ms / 1000:g} s ago"
        soon = "" if self.ready_in_s is None else f", ready in {self.ready_in_s:g} s"
        return f"no live book of {self.symbol}: {self.reason}{since}{soon}"


class NotEnoughData(NotReady):
    """The window holds less than the question needs."""

    def __init__(self, have: float, need: float, unit: str, coverage: float, ready_in_s: float | None) -> None:
        super().__init__(have, need, unit, coverage, ready_in_s)
        self.have, self.need, self.unit, self.coverage, self.ready_in_s = have, need, unit, coverage, ready_in_s

    def __str__(self) -> str:
        soon = "" if self.ready_in_s is None else f", ready in {self.ready_in_s:g} s"
        return f"Insufficient historical data: have {self.have:g} {self.unit}, need {self.need:g} {self.unit}{soon}"


class Deadline(LeadlineError):
    """The answer was not there in time."""

    retryable = True
    exit_code = 4

    def __init__(self, after_s: float) -> None:
        super().__init__(after_s)
        self.after_s = after_s

    def __str__(self) -> str:
        return f"no answer within {self.after_s:g} s"


class Overloaded(LeadlineError):
    """Ours: so many calls are under way that another one would only wait."""

    retryable = True
    exit_code = 4

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"too many calls are under way, come back in {self.retry_after_s:g} s"


class SlowReader(LeadlineError):
    """A stream's reader was too slow for the policy it chose: `waiting` events lay before it."""

    retryable = True
    exit_code = 4

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting

    def __str__(self) -> str:
        return f"the reader is too slow: {self.waiting} events lie before it"


class ExchangeError(LeadlineError):
    """The exchange's: it did not give what was asked for."""

    exit_code = 5


class RateLimited(ExchangeError):
    """429 or 418, or our own budget: nothing may be asked before retry_after_s has passed."""

    retryable = True
    exit_code = 4

    def __init__(self, retry_after_s: float, banned: bool = False) -> None:
        super().__init__(retry_after_s, banned)
        self.retry_after_s, self.banned = retry_after_s, banned

    def __str__(self) -> str:
        return f"{'banned' if self.banned else 'rate limited'} by the exchange for {self.retry_after_s:.0f} s"


class Rejected(ExchangeError):
    """The exchange answered with an error."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message
        self.retryable = status >= 500 or code in {-1000, -1001, -1006, -1007, -1008, -1016}

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code}"
        return f"the exchange answered {self.status}{code}: {self.message}"


class Unreachable(ExchangeError):
    """No answer: refused, timed out, broken off."""

    retryable = True

    def __init__(self, what: str, cause: str) -> None:
        super().__init__(what, cause)
        self.what, self.cause = what, cause

    def __str__(self) -> str:
        return f"{self.what} is unreachable: {self.cause}"


class Malformed(ExchangeError):
    """A message that is not what the protocol says; `field` names the part that is wrong."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, why)
        self.field, self.why = field, why

    def __str__(self) -> str:
        return f"malformed message, {self.field}: {self.why}"


class CaptureError(LeadlineError):
    """A recording that is not one, or ends in the middle. `line` counts from 1."""

    exit_code = 2

    def __init__(self, path: str, line: int, why: str) -> None:
        super().__init__(path, line, why)
        self.path, self.line, self.why = path, line, why

    def __str__(self) -> str:
        return f"FILE: {self.path}, line {self.line}: {self.why}"


class StoreError(LeadlineError):
    """The operator's: the store did not do what was asked."""

    exit_code = 6

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"store {self.path}: {self.why}"


class StoreLocked(StoreError):
    """Another process writes here."""


class StoreFull(StoreError):
    """No space left on the device."""

    retryable = True


class StoreBusy(StoreError):
    """The engine refuses writes for the moment."""

    retryable = True


class StoreCorrupt(StoreError):
    """Damaged files. family and key may be empty when the damage is not of one record."""

    def __init__(self, path: str, why: str, family: str = "", key: str = "") -> None:
        super().__init__(path, why)
        self.family, self.key = family, key

    def __str__(self) -> str:
        place = f" at {self.family}/{self.key}" if self.key else f" in {self.family}" if self.family else ""
        remedy = "`leadline store repair --data DIR` tries to mend it and keeps a copy"
        return f"store {self.path} is damaged{place}: {self.why}; {remedy}"


class StoreMismatch(StoreError):
    """The folder holds a newer format, or data born elsewhere; it is not opened for writing."""


class RecordUnreadable(StoreError):
    """One value does not decode."""

    def __init__(self, path: str, family: str, key: str, why: str) -> None:
        super().__init__(path, why)
        self.family, self.key = family, key

    def __str__(self) -> str:
        return f"store {self.path}: record {self.family}/{self.key} is unreadable: {self.why}"
