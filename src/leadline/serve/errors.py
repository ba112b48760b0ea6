"""One table of what can go wrong, for every door: the class, its gRPC status, its HTTP status, its fields."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from leadline.core.errors import (
    BookNotLive,
    Deadline,
    ExchangeError,
    InvalidRequest,
    LeadlineError,
    NotEnoughData,
    NotReady,
    Overloaded,
    RateLimited,
    RecordUnreadable,
    SlowReader,
    StoreCorrupt,
    StoreError,
    UnknownName,
    UnknownSymbol,
    Unreachable,
)


class Failure(Struct, frozen=True, kw_only=True):
    """A call that has no answer, as it is told.

    error: Class of the failure.
    message: One sentence, built from the fields.
    retryable: Whether the same call may succeed later.
    fields: What the sentence is made of.
    """

    error: str
    message: str
    retryable: bool
    fields: dict[str, Any]


class Door(Struct, frozen=True):
    """How a class of failures is told. grpc: name of the status; http: number."""

    grpc: str
    http: int
    fields: tuple[str, ...]


class Failed(Exception):
    """A call that came back without an answer, where somebody else must tell it. door None: by the class of the failure."""

    def __init__(self, failure: Failure, door: Door | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.door = door or door_named(failure.error)

    @property
    def exit_code(self) -> int:
        """That of the class, as if it had been raised here."""
        return _EXIT_CODES.get(self.failure.error, 1)


# The most particular class first.
TABLE: dict[type[LeadlineError], Door] = {
    InvalidRequest: Door("INVALID_ARGUMENT", 400, ("field", "why", "allowed")),
    UnknownName: Door("NOT_FOUND", 404, ("kind", "name", "near")),
    UnknownSymbol: Door("NOT_FOUND", 404, ("symbol", "near")),
    BookNotLive: Door("FAILED_PRECONDITION", 503, ("symbol", "reason", "since_ms", "ready_in_s")),
    NotEnoughData: Door("FAILED_PRECONDITION", 503, ("have", "need", "unit", "coverage", "ready_in_s")),
    NotReady: Door("FAILED_PRECONDITION", 503, ()),
    Deadline: Door("DEADLINE_EXCEEDED", 504, ("after_s",)),
    Overloaded: Door("RESOURCE_EXHAUSTED", 429, ("retry_after_s",)),
    SlowReader: Door("RESOURCE_EXHAUSTED", 429, ("waiting",)),
    RateLimited: Door("RESOURCE_EXHAUSTED", 429, ("retry_after_s",)),
    ExchangeError: Door("UNAVAILABLE", 502, ()),
    StoreCorrupt: Door("DATA_LOSS", 500, ("family", "key")),
    RecordUnreadable: Door("DATA_LOSS", 500, ("family", "key")),
    StoreError: Door("UNAVAILABLE", 503, ()),
}
BUG = Door("INTERNAL", 500, ("correlation_id",))


def _with_all_below(kind: type[LeadlineError]) -> Iterator[type[LeadlineError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _with_all_below(one)


# Those of the classes; what only a door says has that of its row in the table of failures (docs/serving.md).
_EXIT_CODES = {kind.__name__: kind.exit_code for kind in _with_all_below(LeadlineError)} | {
    "TooLarge": InvalidRequest.exit_code,
    "Unauthenticated": Unreachable.exit_code,
    "InsufficientScope": Unreachable.exit_code,
    "InvalidHost": Unreachable.exit_code,
    "InvalidOrigin": Unreachable.exit_code,
    "NoSuchRoute": Unreachable.exit_code,
}


def door_of(error: LeadlineError) -> Door:
    """The row of its class, or of the nearest one above."""
    return next((door for kind, door in TABLE.items() if isinstance(error, kind)), BUG)


def door_named(error: str) -> Door:
    """The row of a class by its name; a name that is not in the table is told as our own fault."""
    return next((door for kind, door in TABLE.items() if kind.__name__ == error), BUG)


def failure_of(error: LeadlineError) -> Failure:
    """As it is told at every door."""
    fields = {name: getattr(error, name, None) for name in door_of(error).fields}
    return Failure(error=type(error).__name__, message=str(error), retryable=error.retryable, fields=fields)


def bug(correlation_id: str) -> Failure:
    """Our own fault: no detail leaves the house, the log has it under this id."""
    return Failure(
        error="InternalError",
        message=f"internal error, noted as {correlation_id}",
        retryable=False,
        fields={"correlation_id": correlation_id},
    )


def retry_after_s(failure: Failure) -> float | None:
    """When to come back, where that is known."""
    for name in ("retry_after_s", "ready_in_s"):
        value = failure.fields.get(name)
        if value is not None:
            return float(value)
    return None
