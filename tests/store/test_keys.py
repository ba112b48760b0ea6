"""Keys: byte order is time order, symbols never mix, nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadline.core.errors import InvalidRequest
from leadline.store import keys

seconds = st.integers(1_000_000_000, 9_999_999_999)
symbols = st.one_of(
    st.sampled_from(
        ["BTCUSDT", "BTCUSDC", "BTCUSD", "BTC", "1000X", "币安人生USDT", "A", "ABC1", "ABC", "ABCX", "A;", "ABCDEFGHIJKLMNO"]
    ),
    st.text(st.characters(categories=("Lu", "Lo", "Nd"), exclude_characters=":*"), min_size=1, max_size=15),
)


def test_keys_are_the_specifications_bytes():
    assert keys.at("BTCUSDT", 1_763_000_000) == b"BTCUSDT:1763000000"
    assert keys.incident("*", 1_763_000_000, 7) == b"*:1763000000:007"
    assert keys.symbol_range("币安人生USDT") == ("币安人生USDT:".encode(), "币安人生USDT;".encode())


@given(symbols, seconds, st.none() | st.integers(0, 999))
def test_a_key_parses_back_to_what_it_was_built_from(symbol, second, n):
    key = keys.at(symbol, second) if n is None else keys.incident(symbol, second, n)
    assert keys.parse(key) == (symbol, second, n)
    assert n is not None or keys.second(key) == second


@given(symbols, seconds, seconds)
def test_byte_order_is_time_order_inside_a_symbol(symbol, a, b):
    assert (keys.at(symbol, a) < keys.at(symbol, b)) == (a < b)


@given(symbols, symbols, seconds, st.integers(-(10**11), 10**11), st.integers(-(10**11), 10**11))
def test_a_window_holds_exactly_its_own_symbols_seconds(symbol, other, second, lo, hi):
    first, end = keys.window(symbol, lo, hi)
    key = keys.at(other, second)
    assert (first <= key < end) == (symbol == other and lo <= second < hi)
    first, end = keys.symbol_range(symbol)
    assert (first <= key < end) == (symbol == other)


@pytest.mark.parametrize("second", [999_999_999, 10_000_000_000, -1, 0, 1_763_000_000_000])
def test_a_second_without_ten_digits_is_refused_on_write(second):
    with pytest.raises(InvalidRequest) as caught:
        keys.at("BTCUSDT", second)
    assert caught.value.field == "second"


@pytest.mark.parametrize("symbol", ["", "A" * 33, "A:B", "A*", "*", "A B", "A\t", "A\n", "A\u00a0", "A\x00", "\ud800", "A\u200b"])
def test_a_symbol_that_would_break_the_order_is_refused(symbol):
    with pytest.raises(InvalidRequest) as caught:
        keys.at(symbol, 1_763_000_000)
    assert caught.value.field == "symbol"


@pytest.mark.parametrize("n", [-1, 1000])
def test_an_incident_number_without_three_digits_is_refused(n):
    with pytest.raises(InvalidRequest):
        keys.incident("BTCUSDT", 1_763_000_000, n)


@pytest.mark.parametrize(
    "key", [b"", b"BTC", b"BTC:", b"BTC:17", b"BTC:+763000000", b"BTC:1763000000:7", b"A:B:1763000000", b"\xff"]
)
def test_what_is_no_key_does_not_parse(key):
    with pytest.raises((ValueError, InvalidRequest)):
        keys.parse(key)


@pytest.mark.parametrize(
    ("lo", "hi", "expected"),
    [
        (b"BTC:1763000000", b"BTC:1763000005", (1_763_000_000, 1_763_000_005)),
        (b"BTC:1763000000\0", b"BTC;", (1_763_000_001, 10_000_000_000)),
        (b"BTC:", b"BTC:1763000000", (1_000_000_000, 1_763_000_000)),
        (b"BTC:1763000000:002\0", b"BTC:1763000003:001", (1_763_000_000, 1_763_000_004)),
    ],
)
def test_a_span_of_keys_is_told_in_the_seconds_it_touches(lo, hi, expected):
    assert keys.span(lo, hi) == expected
