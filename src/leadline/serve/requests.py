"""What may be asked of each tool: names, types, bounds and defaults, once for every door.

A request is converted from plain values (JSON, or text from a command line). What does not fit is an InvalidRequest that names
the field, what is wrong with it and what is allowed; unknown fields are refused.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, inspect

from leadline.core.errors import InvalidRequest

Symbol = Annotated[
    str,
    Meta(
        description="Symbol as the exchange writes it, e.g. BTCUSDT; case and spaces around it do not matter.",
        min_length=1,
        max_length=64,
    ),
]
MaxAge = Annotated[
    int, Meta(ge=0, le=60_000, description="Refuse a book older than this, ms: a live one since its connection was last heard.")
]
Window = Annotated[int, Meta(ge=10, le=300, description="Length of the window that ends now, s.")]
Hours = Annotated[int, Meta(ge=1, le=168, description="Length of the window that ends now, h.")]
Decimal = Annotated[  # ASCII digits alone
    str,
    Meta(description="A decimal number, as text.", max_length=40, pattern=r"^[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?$"),
]
Amount = Decimal | float

SYMBOL_MAX = 32  # characters, without the spaces around it
SECOND_MAX = 9_999_999_999  # unix s; more is most likely milliseconds

R = TypeVar("R", bound="Request")


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all: nothing is asked for."""


class SymbolRequest(Request, frozen=True, kw_only=True):
    """Of one symbol."""

    symbol: Symbol


class LiveRequest(SymbolRequest, frozen=True, kw_only=True):
    """Of a symbol's book now."""

    max_age_ms: MaxAge = 5_000


class LadderRequest(LiveRequest, frozen=True, kw_only=True):
    """How much of the ladder, and how it is written."""

    levels: Annotated[int, Meta(ge=1, le=100, description="Rows a side, at most.")] = 20
    max_bps: Annotated[float, Meta(gt=0, le=500, description="Only levels within so many bps of the mid.")] | None = None
    max_notional: Amount | None = None
    price_step: Annotated[Decimal, Meta(description="Height of a row, a multiple of the tick.")] | None = None
    encoding: Literal["decimal", "integer"] = "decimal"


class ImpactRequest(LiveRequest, frozen=True, kw_only=True):
    """What to trade."""

    side: Literal["buy", "sell", "both"] = "both"
    notional: Amount = "100000"


class BooksRequest(Request, frozen=True, kw_only=True):
    """Of one symbol, or of all."""

    symbol: Symbol | None = None


class WindowRequest(SymbolRequest, frozen=True, kw_only=True):
    """A window of seconds that ends now."""

    window_duration_secs: Window = 60


class HoursRequest(SymbolRequest, frozen=True, kw_only=True):
    """A window of hours that ends now."""

    duration_hours: Hours = 24


class ProfileRequest(HoursRequest, frozen=True, kw_only=True):
    """How the volume is put into rows."""

    tick_size: Amount | None = None
    va_method: Literal["single_row", "two_row"] = "single_row"


class IncidentsRequest(Request, frozen=True, kw_only=True):
    """Which losses."""

    symbol: Symbol | None = None
    from_s: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="Unix s; only what ended after it.")] | None = None
    to_s: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="Unix s; only what began before it.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=500, description="At most so many, the newest.")] = 50


class CoverageRequest(SymbolRequest, frozen=True, kw_only=True):
    """Of which seconds."""

    from_s: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="First second, unix s; default: the oldest stored.")] | None = (
        None
    )
    to_s: (
        Annotated[int, Meta(ge=0, le=SECOND_MAX, description="First second not meant, unix s; default: after the newest.")] | None
    ) = None


class HistoryRequest(SymbolRequest, frozen=True, kw_only=True):
    """Stored rows of a window."""

    from_s: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="First second, unix s.")]
    to_s: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="First second that is not wanted, unix s.")]
    kind: Literal["seconds", "snapshots"] = "seconds"
    step_s: Annotated[int, Meta(ge=1, le=3600, description="Every so many seconds.")] = 1
    limit: Annotated[int, Meta(ge=1, le=3600, description="At most so many rows.")] = 300
    cursor: Annotated[int, Meta(ge=0, le=SECOND_MAX, description="Where an earlier answer said to go on.")] | None = None


Section = Literal[
    "price_overview",
    "orderbook_metrics",
    "liquidity_analysis",
    "market_microstructure",
    "market_anomalies",
    "microstructure_health",
    "data_health",
]


class ReportOptions(Request, frozen=True, kw_only=True):
    """What the report holds."""

    include_sections: Annotated[list[Section], Meta(max_length=7)] | None = None
    volume_window_hours: Hours = 24
    orderbook_levels: Annotated[int, Meta(ge=1, le=100, description="Rows of the ladder a side.")] = 20


class ReportRequest(SymbolRequest, frozen=True, kw_only=True):
    """A report of one symbol."""

    options: ReportOptions = ReportOptions()


class DepthRequest(SymbolRequest, frozen=True, kw_only=True):
    """How deep."""

    limit: Literal[5, 10, 20, 50, 100, 500, 1000, 5000] = 100


class TradesRequest(SymbolRequest, frozen=True, kw_only=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many, the newest.")] = 500


Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]


class KlinesRequest(SymbolRequest, frozen=True, kw_only=True):
    """Which candles."""

    interval: Interval
    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many.")] = 500
    start_time: Annotated[int, Meta(ge=0, description="UTC ms; candles that open from then on.")] | None = None
    end_time: Annotated[int, Meta(ge=0, description="UTC ms; candles that open until then.")] | None = None


class InfoRequest(Request, frozen=True, kw_only=True):
    """Of one symbol, or of all that are followed."""

    symbol: Symbol | None = None


ALIASES: dict[type[Request], dict[str, tuple[str, ...]]] = {LadderRequest: {"levels": ("depth_levels", "limit")}}
"""Other names of a field; two different values under several names are an error."""

FIELD_SHOWN, WHY_SHOWN = 80, 200  # of what a caller wrote, characters
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def request_of(kind: type[R], arguments: Any, *, lax: bool = False) -> R:
    """From plain values. lax: numbers may be text (a command line). Raises InvalidRequest."""
    if not isinstance(arguments, dict):
        raise InvalidRequest("arguments", f"{type(arguments).__name__}", "an object")
    try:
        request = msgspec.convert(_plain(kind, arguments), kind, strict=not lax)
    except msgspec.ValidationError as error:
        raise _refused(kind, str(error)) from error
    except UnicodeEncodeError as error:  # half of a surrogate pair; which field has it, the library does not say
        field = next((name for name, value in arguments.items() if not _is_unicode(value)), "arguments")
        raise InvalidRequest(_printable(field[:FIELD_SHOWN]), "not Unicode text", "UTF-8") from error
    symbol = getattr(request, "symbol", None)
    if symbol is not None:
        check_symbol(symbol)
    return request


def check_symbol(text: str) -> None:
    """Raises InvalidRequest for what may not be looked up."""
    if not _is_symbol(text):
        raise InvalidRequest("symbol", "no name of a symbol", "1-32 printable characters without ':' and white space")


def _is_unicode(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_symbol(text: str) -> bool:
    """Whether it may be looked up: what is upper-cased to ASCII though it is not (long s, ligatures) would find another one."""
    name = text.strip()
    disguised = name.upper().isascii() and not name.isascii()
    fits = 1 <= len(name) <= SYMBOL_MAX and name.isprintable() and not any(sign == ":" or sign.isspace() for sign in name)
    return fits and not disguised


def _plain(kind: type[Request], arguments: dict[str, Any]) -> dict[str, Any]:
    """Aliases under the field's own name."""
    plain = dict(arguments)
    for name, others in ALIASES.get(kind, {}).items():
        given = {other: plain.pop(other) for other in (name, *others) if other in plain}
        values = list(given.values())
        if any(type(value) is not type(values[0]) or value != values[0] for value in values[1:]):
            raise InvalidRequest(name, f"given as {', '.join(given)} with different values", "one of them")
        if given:
            plain[name] = values[0]
    return plain


def _refused(kind: type[Request], said: str) -> InvalidRequest:
    """The library's sentence, taken apart: which field, and what it may be."""
    path = _PATH.search(said)
    place = path[1] if path else ""
    if unknown := _UNKNOWN.search(said):
        field = f"{place}.{unknown[1]}" if place else unknown[1]
        return InvalidRequest(_printable(field[:FIELD_SHOWN]), "unknown field", _allowed(_type_at(kind, place)))
    if missing := _MISSING.search(said):
        return InvalidRequest(missing[1], "missing", "required")
    why = "not a decimal number" if "matching regex" in said else _printable(_PATH.sub("", said)[:WHY_SHOWN])
    return InvalidRequest(place or "arguments", why, _allowed(_type_at(kind, place)))


def _printable(text: str) -> str:
    """What a caller wrote, as one line: nothing in it moves a cursor or begins a header."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _type_at(kind: type[Request], place: str) -> inspect.Type:
    """What the request holds there, e.g. at `options.include_sections[0]`."""
    found = inspect.type_info(kind)
    for name in place.split(".") if place else ():
        assert isinstance(found, inspect.StructType), "only structs have named fields"
        found = next(field.type for field in found.fields if field.encode_name == name.partition("[")[0])
        found = found.type if isinstance(found, inspect.Metadata) else found
        if "[" in name:
            options = found.types if isinstance(found, inspect.UnionType) else (found,)
            found = next(one.item_type for one in options if isinstance(one, inspect.ListType))
    return found


def _allowed(kind: inspect.Type) -> str:
    """In words, as short as they are clear."""
    match kind:
        case inspect.Metadata():
            return _allowed(kind.type)
        case inspect.IntType() | inspect.FloatType():
            what = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            if kind.ge is not None and kind.le is not None:
                return f"{kind.ge}-{kind.le}"
            if kind.gt is not None and kind.le is not None:
                return f"more than {kind.gt:g}, at most {kind.le:g}"
            return what if kind.ge is None else f"{what}, {kind.ge} or more"
        case inspect.StrType():
            if kind.pattern is not None:
                return "a decimal number as text"
            if kind.max_length is None:
                return "text"
            return f"text of {kind.min_length or 0}-{kind.max_length} characters"
        case inspect.LiteralType():
            return ", ".join(str(value) for value in kind.values)
        case inspect.UnionType():
            return " or ".join(_allowed(one) for one in kind.types)
        case inspect.ListType():
            return f"a list of {_allowed(kind.item_type)}"
        case inspect.StructType():
            return ", ".join(field.encode_name for field in kind.fields) or "no fields"
    return "null"
