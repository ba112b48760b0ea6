"""A call that failed, as the exception it would have been here: the class and the fields of the table of failures.

The sentence is the service's own, since it knew all the fields; a class that this release does not know is told as Refused.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import grpc
import msgspec
from msgspec import Struct

from leadline.core.errors import Deadline, LeadlineError, Unreachable

ERROR_KEY = "leadline-error-bin"


class Unauthenticated(LeadlineError):
    """The service wants a token, and this is not it."""

    exit_code = 5

    def __str__(self) -> str:
        return "token missing or wrong"


class InternalError(LeadlineError):
    """A bug of the service, which has written it down under this id."""

    def __init__(self, correlation_id: str) -> None:
        super().__init__(correlation_id)
        self.correlation_id = correlation_id

    def __str__(self) -> str:
        return f"internal error, noted as {self.correlation_id}"


class Refused(LeadlineError):
    """Something else than a leadline service of this kind answered so. status: gRPC's name of it."""

    exit_code = 5

    def __init__(self, status: str, details: str) -> None:
        super().__init__(status, details)
        self.status, self.details = status, details

    def __str__(self) -> str:
        return f"the service answered {self.status}: {self.details}"


class Told(Struct):
    """What the trailing metadata of a failed call hold."""

    error: str
    message: str
    retryable: bool
    fields: dict[str, Any]


def failure(error: grpc.RpcError, target: str, timeout_s: float) -> LeadlineError:
    """What this failed call comes to. timeout_s: how long it was given."""
    told = _told(error)
    if told is None:
        return _by_status(error, target, timeout_s)
    if told.error == "Stopping":
        return Unreachable(target, told.message)
    kind = _kinds().get(told.error)
    if kind is None:
        refused = Refused(_status(error), told.message)
        refused.retryable = told.retryable
        return refused
    return _rebuilt(kind, told)


def _told(error: Any) -> Told | None:
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_KEY:
            try:
                return msgspec.json.decode(value, type=Told)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
    return None


def _by_status(error: Any, target: str, timeout_s: float) -> LeadlineError:
    """No leadline service said it: the library, a proxy, or the service's own gRPC."""
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED | grpc.StatusCode.UNKNOWN | grpc.StatusCode.INTERNAL:
            return Unreachable(target, details or _status(error))
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Deadline(timeout_s)
        case grpc.StatusCode.UNAUTHENTICATED:
            return Unauthenticated()
        case _:
            return Refused(_status(error), details)


def _status(error: Any) -> str:
    return str(error.code().name)


@cache
def _kinds() -> Mapping[str, type[LeadlineError]]:
    return {kind.__name__: kind for kind in _with_all_below(LeadlineError)}


def _with_all_below(kind: type[LeadlineError]) -> Iterator[type[LeadlineError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _with_all_below(one)


def _rebuilt(kind: type[LeadlineError], told: Told) -> LeadlineError:
    """An exception of that class. What the service does not tell of it is None."""
    error = _as_told(told.error)(told.message)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in told.fields.items()}
    names = [name for name in inspect.signature(kind.__init__).parameters if name not in {"self", "args", "kwargs"}]
    for name, value in (dict.fromkeys(names) | given).items():
        setattr(error, name, value)
    error.retryable = told.retryable
    return error


@cache
def _as_told(name: str) -> type[LeadlineError]:
    """The class itself to whoever catches it, with the sentence that came over the wire."""
    kind = _kinds()[name]

    def init(self: LeadlineError, message: str) -> None:
        LeadlineError.__init__(self, message)

    return type(name, (kind,), {"__init__": init, "__str__": lambda self: str(self.args[0]), "__doc__": kind.__doc__})
