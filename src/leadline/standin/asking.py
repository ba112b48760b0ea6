"""What a client of the streams may ask for: in the path, and in control messages. Pure; codes and words as the exchange's."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

_STREAM = re.compile(r"[^\s@!/]+(@[A-Za-z0-9_]+)+|![A-Za-z]+(@[A-Za-z0-9_]+)*")
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Wanted(NamedTuple):
    """What a path asks for. wrapped: `{"stream":...,"data":...}`; microseconds: times in us."""

    streams: list[str]
    wrapped: bool
    microseconds: bool


def is_socket_path(path: str) -> bool:
    """True for the paths under which streams are served."""
    return not {"ws", "stream"}.isdisjoint(path.split("/"))


def wanted(path: str, query: Mapping[str, str]) -> Wanted:
    """The streams of a path, each once. Raw where it has a part `ws`; a number behind that is no stream."""
    parts = path.split("/")
    microseconds = query.get("timeUnit", "").upper() == "MICROSECOND"
    if "ws" in parts:
        named = [part for part in parts[parts.index("ws") + 1 :] if part and not part.isdigit()]
    else:
        named = [name for name in query.get("streams", "").split("/") if name]
    return Wanted(list(dict.fromkeys(named)), "ws" not in parts, microseconds)


class Refused(Exception):
    """A control message that gets an error; code and msg as the exchange's."""

    def __init__(self, code: int, msg: str) -> None:
        """code: 0 to 3, as in docs/exchange.md."""
        super().__init__(msg)
        self.code = code
        self.msg = msg


def decoded(text: str | bytes) -> dict[str, object]:
    """One control message. Raises Refused."""
    try:
        asked = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(3, "Invalid JSON: expected value at line 1 column 1") from error
    if not isinstance(asked, dict):
        raise Refused(2, "Invalid request: expected a map at line 1 column 1")
    return asked


def checked_id(given: object) -> object:
    """The id of a request, to be sent back as it is. Raises Refused."""
    match given:
        case bool():
            pass
        case None:
            return None
        case int() if -(2**63) <= given < 2**63:
            return given
        case str() if len(given) <= 36:
            return given
    raise Refused(2, "Invalid request: request ID must be a 64-bit integer, a text of at most 36 characters, or null")


def checked_names(asked: dict[str, object]) -> list[str]:
    """The streams named in `params`. Raises Refused."""
    names = asked.get("params")
    if not isinstance(names, list):
        raise Refused(2, "Invalid request: missing field `params` at line 1 column 1")
    checked: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise Refused(2, "Invalid request: property name must be a string")
        if not _STREAM.fullmatch(name):
            raise Refused(2, "Invalid request: invalid stream")
        checked.append(name)
    return checked


def checked_property(asked: dict[str, object], count: int) -> list[object]:
    """`params` of a property request, at most `count` of them, and None behind them. Raises Refused."""
    params = asked.get("params")
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise Refused(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise Refused(0, "Unknown property")
    if len(params) > count:
        raise Refused(2, "Invalid request: too many parameters")
    return [*params, None]
