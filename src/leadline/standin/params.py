"""The parameters of a REST request, checked: refusals in the exchange's words. Source: Binance errors.md, rest-api.md."""

import re
from collections.abc import Iterable

import msgspec

from leadline.standin.source import MAX_ROWS
from leadline.standin.tape import INTERVALS_MS

_SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"  # as the exchange words it
_SYMBOL = re.compile(r"[^\Wa-z]([^\Wa-z]|[-.]){0,49}")
_SYMBOLS_RANGE = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'
_NUMBER_RANGE = "^[0-9]{1,20}$"
_ZONE = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?")
_ZONE_MINUTES = (-12 * 60, 14 * 60)
_US_MIN = 10**14  # a time from here on is in microseconds
STATUSES = ("TRADING", "HALT", "BREAK")
INTERVALS = (*INTERVALS_MS, "1M")


class ApiError(Exception):
    """A refusal: HTTP status and the exchange's code and words."""

    def __init__(self, code: int, msg: str, status: int = 400) -> None:
        """code: as in Binance errors.md."""
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.status = status


class Params:
    """What was sent. in_us: the answer's times are microseconds."""

    def __init__(self, sent: Iterable[tuple[str, str]], time_unit: str | None = None) -> None:
        """time_unit: header X-MBX-TIME-UNIT, if it was sent. Raises ApiError."""
        pairs = list(sent)
        self.sent = dict(pairs)
        if len(self.sent) != len(pairs):
            raise ApiError(-1101, "Duplicate values for a parameter detected.")
        unit = (time_unit or "MILLISECOND").upper()
        if unit not in ("MILLISECOND", "MICROSECOND"):
            raise ApiError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        self.in_us = unit == "MICROSECOND"

    def only(self, known: frozenset[str]) -> None:
        """Refuse what the endpoint does not read, and what is there without a value. Raises ApiError."""
        surplus = self.sent.keys() - known
        if surplus:
            read, sent = len(self.sent) - len(surplus), len(self.sent)
            raise ApiError(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")
        for name, value in self.sent.items():
            if not value and name not in ("symbol", "interval"):  # mandatory ones have their own words
                raise ApiError(-1105, f"Parameter '{name}' was empty.")

    def mandatory(self, name: str) -> str:
        """Its text. Raises ApiError."""
        value = self.sent.get(name, "")
        if not value:
            raise ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def symbol(self) -> str:
        """`symbol`, which may be none that is served. Raises ApiError."""
        symbol = self.mandatory("symbol")
        if not _SYMBOL.fullmatch(symbol):
            raise _illegal("symbol", _SYMBOL_RANGE)
        return symbol

    def names(self) -> list[str] | None:
        """`symbol` or the list `symbols`; None where neither was sent. Raises ApiError."""
        if "symbol" in self.sent and "symbols" in self.sent:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in self.sent:
            return [self.symbol()]
        if "symbols" not in self.sent:
            return None
        try:
            names = msgspec.json.decode(self.sent["symbols"], type=list[str])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise _illegal("symbols", _SYMBOLS_RANGE) from error
        if not all(map(_SYMBOL.fullmatch, names)):
            raise _illegal("symbols", _SYMBOLS_RANGE)
        if len(set(names)) != len(names):
            raise ApiError(-1151, "Symbol is present multiple times in the list.")
        return names

    def number(self, name: str) -> int | None:
        """A whole number; None where it was not sent. Raises ApiError."""
        said = self.sent.get(name)
        if said is None:
            return None
        if not (said.isascii() and said.isdigit() and len(said) <= 20):
            raise _illegal(name, _NUMBER_RANGE)
        return int(said)

    def limit(self, default: int, most: int = MAX_ROWS) -> int:
        """`limit`; what is above `most` is cut to it. Raises ApiError."""
        limit = self.number("limit")
        if limit == 0:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or default, most)

    def time_us(self, name: str, *, end: bool = False) -> int | None:
        """A moment sent as ms or us; of a ms its first us, or its last (end). None where it was not sent. Raises ApiError."""
        said = self.number(name)
        if said is None or said >= _US_MIN:
            return said
        return said * 1000 + (999 if end else 0)

    def interval(self) -> str:
        """Of candles. Raises ApiError."""
        interval = self.mandatory("interval")
        if interval not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        return interval

    def zone_ms(self) -> int:
        """`timeZone`, such as 0, 8, -1:00 or 05:45, as an offset. Raises ApiError."""
        match = _ZONE.fullmatch(self.sent.get("timeZone", "0"))
        minutes = int(match[2]) * 60 + int(match[3] or 0) if match else _ZONE_MINUTES[1] + 1
        minutes = -minutes if match and match[1] == "-" else minutes
        if not _ZONE_MINUTES[0] <= minutes <= _ZONE_MINUTES[1]:
            raise ApiError(-1130, "Data sent for parameter 'timeZone' is not valid.")
        return minutes * 60_000

    def status(self) -> str | None:
        """`symbolStatus`; None where it was not sent. Raises ApiError."""
        status = self.sent.get("symbolStatus")
        if status is not None and status not in STATUSES:
            raise ApiError(-1122, "Invalid symbolStatus.")
        return status

    def kind(self) -> str:
        """`type` of a 24-hour ticker: FULL or MINI. Raises ApiError."""
        kind = self.sent.get("type", "FULL")
        if kind not in ("FULL", "MINI"):
            raise ApiError(-1139, "Invalid ticker type.")
        return kind

    def permissions(self) -> list[str] | None:
        """One name or a list; None where none was sent. Raises ApiError."""
        said = self.sent.get("permissions")
        if said is None or not said.startswith("["):
            return None if said is None else [said]
        try:
            return msgspec.json.decode(said, type=list[str])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ApiError(-1130, "Data sent for parameter 'permissions' is not valid.") from error

    def flag(self, name: str, *, default: bool) -> bool:
        """`true` or `false`. Raises ApiError."""
        said = self.sent.get(name)
        if said not in (None, "true", "false"):
            raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return default if said is None else said == "true"


def _illegal(name: str, legal: str) -> ApiError:
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
