"""Exact numbers: prices and quantities are integers of 1e-8, products of the two integers of 1e-16.

The exchange's own cap on a quantity is 2^63 - 1 at 1e-8 (Binance changelog, 2022-05), so one value always fits 64 bits;
sums and products need not, and stay Python integers.
"""

from functools import lru_cache

E8 = 100_000_000
E16 = E8 * E8
MAX_E8 = 2**63 - 1

DECIMALS = 8


class NotExact(ValueError):
    """The text is not a plain non-negative decimal that fits 1e-8 and 64 bits."""


def fixed(text: str) -> int:
    """Decimal text to integer units of 1e-8. Raises NotExact for signs, exponents, a ninth decimal or an overflow."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isdecimal() or not digits.isascii() or not whole:
        raise NotExact(f"not a decimal number: {text[:40]!r}")
    if len(fraction) > DECIMALS:
        if fraction[DECIMALS:].strip("0"):
            raise NotExact(f"more than 8 decimals: {text[:40]!r}")
        fraction = fraction[:DECIMALS]
    # int() refuses thousands of digits with an error of its own
    value = int(whole + fraction.ljust(DECIMALS, "0")) if len(whole) <= 64 else MAX_E8 + 1
    if value > MAX_E8:
        raise NotExact(f"beyond 2^63 - 1 at 1e-8: {text[:40]!r}")
    return value


@lru_cache(maxsize=16384)  # neighbouring seconds share most of their 80 numbers
def decimal_text(value_e8: int) -> str:
    """Integer units of 1e-8 to decimal text without trailing zeros: 500000000 -> "5"."""
    if value_e8 < 0:
        return _trimmed(value_e8, DECIMALS)
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{fraction:08d}".rstrip("0") if fraction else str(whole)


def decimal_text_e16(value_e16: int) -> str:
    """Integer units of 1e-16 (price times quantity, squared price) to decimal text without trailing zeros."""
    return _trimmed(value_e16, 2 * DECIMALS)


def fixed_e16(text: str) -> int:
    """The inverse of decimal_text_e16; the text is our own, so anything else is a corrupt record (ValueError)."""
    whole, _, fraction = text.partition(".")
    digits = whole.removeprefix("-")
    if not digits or not (digits + fraction).isdecimal() or not text.isascii():
        raise NotExact(f"not a decimal number: {text[:60]!r}")
    if len(fraction) > 2 * DECIMALS:
        raise NotExact(f"more than 16 decimals: {text[:60]!r}")
    return int(whole + fraction.ljust(2 * DECIMALS, "0"))


def _trimmed(value: int, decimals: int) -> str:
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).zfill(decimals + 1)
    fraction = digits[-decimals:].rstrip("0")
    whole = digits[:-decimals]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
