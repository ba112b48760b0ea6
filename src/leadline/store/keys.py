"""The only place where a key is built or parsed: `{symbol}:{second}`, incidents `{symbol}:{second}:{nnn}`.

Byte order is time order inside one symbol because the second always has ten digits. Byte order is not symbol order
(`ABC1:` < `ABC:` < `ABCX:`), so nothing here compares symbols.
"""

from functools import lru_cache
from typing import NamedTuple

from leadline.core.errors import InvalidRequest

SECOND_MIN = 1_000_000_000  # 2001-09-09; below, and above SECOND_MAX, the number of digits changes and byte order breaks
SECOND_MAX = 9_999_999_999  # 2286-11-20
SERVICE = "*"  # the symbol of incidents that concern the whole service

_SYMBOL_LENGTH_MAX = 32
_INCIDENTS_MAX = 1000


class Key(NamedTuple):
    """What a key says; n is None but for incidents."""

    symbol: str
    second: int
    n: int | None = None


def at(symbol: str, second: int) -> bytes:
    """Key of one symbol-second, for writing and point reads. Raises InvalidRequest for what cannot be a key."""
    if symbol == SERVICE:
        raise InvalidRequest("symbol", f"{SERVICE!r} has incidents only")
    return _prefix(symbol) + _digits(second)


def incident(symbol: str, second: int, n: int) -> bytes:
    """Key of incident n of that second; symbol may be `*`. Raises InvalidRequest."""
    if not 0 <= n < _INCIDENTS_MAX:
        raise InvalidRequest("n", f"{n} is not an incident number", f"0..{_INCIDENTS_MAX - 1}")
    return b"%s%s:%03d" % (_prefix(symbol), _digits(second), n)


def symbol_range(symbol: str) -> tuple[bytes, bytes]:
    """[lo, hi) of all keys of a symbol."""
    prefix = _prefix(symbol)
    return prefix, prefix[:-1] + b";"  # ';' is ':' + 1


def window(symbol: str, lo: int, hi: int) -> tuple[bytes, bytes]:
    """[lo, hi) as keys; seconds no key can have are clamped."""
    prefix, end = symbol_range(symbol)

    def bound(second: int) -> bytes:
        return end if second > SECOND_MAX else prefix + _digits(max(second, SECOND_MIN))

    return bound(lo), bound(hi)


def parse(key: bytes) -> Key:
    """The inverse of `at` and `incident`. Raises ValueError for anything else."""
    symbol, second, *rest = key.decode().split(":")
    number = rest[0] if rest else None
    parsed = Key(symbol, int(second), None if number is None else int(number))
    built = at(symbol, parsed.second) if parsed.n is None else incident(symbol, parsed.second, parsed.n)
    if built != key:
        raise ValueError(f"not a key: {key!r}")
    return parsed


def second(key: bytes) -> int:
    """The second of a key that `at` built and a store gave back: parse without the checks, for long windows."""
    return int(key[-10:])


def hour(key: bytes) -> bytes:
    """The key of the UTC hour in which the second of this key lies."""
    return key[:-10] + b"%010d" % (int(key[-10:]) // 3600 * 3600)


def span(lo: bytes, hi: bytes) -> tuple[int, int]:
    """The seconds [lo, hi) that a range of keys of one symbol touches; the inverse of `window`, rounded outwards.

    Bounds may also be a `symbol_range` bound or `after(key)`.
    """
    return _second(lo, up=False), _second(hi, up=True)


def after(key: bytes) -> bytes:
    """The least key greater than this one."""
    return key + b"\0"


def same_symbol(lo: bytes, hi: bytes) -> bool:
    """Whether [lo, hi) lies inside one symbol's range, so that `span` has a meaning."""
    prefix, colon, _ = lo.partition(b":")
    return bool(colon) and lo < hi <= prefix + b";"


def probe(key: bytes, second: int) -> bytes:
    """Where to seek for `second` of the symbol of `key`."""
    return key.partition(b":")[0] + b":" + _digits(second)


@lru_cache(maxsize=4096)
def _prefix(symbol: str) -> bytes:
    forbidden = symbol != SERVICE and set(symbol) & set(": *")
    if not 1 <= len(symbol) <= _SYMBOL_LENGTH_MAX or not symbol.isprintable() or forbidden:
        allowed = f"1-{_SYMBOL_LENGTH_MAX} printable characters without ':', '*' and white space"
        raise InvalidRequest("symbol", f"{symbol!r} cannot be a key", allowed)
    return symbol.encode() + b":"


def _digits(second: int) -> bytes:
    if not SECOND_MIN <= second <= SECOND_MAX:
        raise InvalidRequest("second", f"{second} is no ten-digit unix second", f"{SECOND_MIN}..{SECOND_MAX}")
    return b"%010d" % second


def _second(bound: bytes, *, up: bool) -> int:
    _, colon, rest = bound.partition(b":")
    if not colon:
        return SECOND_MAX + 1
    if not rest:
        return SECOND_MIN
    second, tail = int(rest[:10]), rest[10:]
    inside = tail == b"\0" or (up and tail != b"")  # after(key) begins the next second; an incident's key lies within one
    return second + inside
