"""Exact numbers against Decimal, and what is no number."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.core import units

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0.00000000", 0),
        ("0.00000001", 1),
        ("0.00000123", 123),
        ("61837.63000000", 6_183_763_000_000),
        ("00012.5", 1_250_000_000),
        ("1.000000000000", 100_000_000),
        ("92233720368.54775807", MAX),
    ],
)
def test_a_decimal_text_is_the_integer_of_1e_8(text, value):
    assert units.fixed(text) == value


@pytest.mark.parametrize(
    "text",
    ["", ".", ".5", "-1", "+1", "1e5", "1_000", " 1", "1 ", "1,5", "1.2.3", "NaN", "inf", "٣", "1.٣", "0x1", "\uff11", "1.-5"],
)
def test_a_text_that_is_no_plain_decimal_is_refused(text):
    with pytest.raises(units.NotExact):
        units.fixed(text)


@pytest.mark.parametrize("text", ["0.000000001", "1.123456789", "92233720368.54775808", "1" + "0" * 40, "1" * 5000])
def test_what_does_not_fit_1e_8_and_64_bits_is_refused_never_rounded(text):
    with pytest.raises(units.NotExact):
        units.fixed(text)


@QUICK
@given(st.integers(0, MAX))
def test_text_and_integer_of_1e_8_are_inverse_and_agree_with_decimal(value):
    text = units.decimal_text(value)
    assert Decimal(text) * 10**8 == value
    assert units.fixed(text) == value
    assert not (("." in text) and text.endswith("0"))
    assert not text.endswith(".")


@QUICK
@given(st.integers(-(10**45), 10**45))
def test_text_and_integer_of_1e_16_are_inverse_for_every_sign_and_size(value):
    text = units.decimal_text_e16(value)
    sign, digits, exponent = Decimal(text).as_tuple()
    magnitude = int("".join(map(str, digits))) * 10 ** (16 + exponent) if exponent >= -16 else None
    assert (-magnitude if sign else magnitude) == value
    assert units.fixed_e16(text) == value


@pytest.mark.parametrize(("value", "text"), [(500_000_000, "5"), (1, "0.00000001"), (0, "0"), (-150_000_000, "-1.5")])
def test_texts_have_no_trailing_zeros(value, text):
    assert units.decimal_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(-1, "-0.0000000000000001"), (10**16, "1"), (-(15 * 10**15), "-1.5"), (0, "0")])
def test_a_negative_sum_keeps_its_sign_below_one(value, text):
    assert units.decimal_text_e16(value) == text
    assert units.fixed_e16(text) == value


@pytest.mark.parametrize("text", ["", ".5", "-", "abc", "1.5e3", "1_0", " 1", "+1", "0.00000000000000001", "1.-5", "--1", "٣"])
def test_a_stored_sum_that_we_would_not_have_written_is_a_corrupt_record(text):
    with pytest.raises(ValueError):
        units.fixed_e16(text)
