"""Values: the bytes of every version ever written, exactness both ways, and refusal of everything else."""

import contextlib
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store import samples

from leadline.core.records import BookSnapshot, BookState, Incident, MinuteBlock, SecondRecord, Trade, TradeBlock, TradeState
from leadline.store import codec

pack = msgspec.msgpack.encode
GOLDEN = Path(__file__).parent / "golden"
T = 1_763_000_000


def test_a_snapshot_is_the_specifications_array_byte_for_byte():
    """93 [bids, asks, id, ts]: 0x92/0x91 levels of 0x92 [price, quantity] as short strings (0xa0 + length); ids by hand:
    300 = cd 01 2c, 1763000000 = 0x69153ec0 = ce 69 15 3e c0."""
    snapshot = BookSnapshot(
        ((6_183_764_000_000, 500_000_000), (6_183_763_500_000, 1)), ((6_183_765_000_000, 12_000_000),), 300, T
    )
    expected = (
        b"\x94"
        b"\x92" b"\x92\xa861837.64\xa15" b"\x92\xa961837.635\xaa0.00000001"
        b"\x91" b"\x92\xa861837.65\xa40.12"
        b"\xcd\x01\x2c" b"\xce\x69\x15\x3e\xc0"
    )  # fmt: skip
    assert codec.encode_snapshot(snapshot) == expected
    assert codec.decode_snapshot(expected) == snapshot


def test_trades_v1_are_these_bytes():
    """[1, "BACKFILLED", [[9, "61837.64", "0.001", 90, 91, 1763000000005, true], [10, ..., "1763000000005.25", false]]]"""
    first = Trade("BTCUSDT", 9, 6_183_764_000_000, 100_000, 90, 91, T * 10**9 + 5_000_000, True)
    second = Trade("BTCUSDT", 10, 6_183_764_000_000, 100_000, 92, 92, T * 10**9 + 5_250_000, False)
    expected = (
        b"\x93\x01\xaaBACKFILLED\x92"
        b"\x97\x09\xa861837.64\xa50.001\x5a\x5b\xcf\x00\x00\x01\x9a\x7b\x36\x66\x05\xc3"
        b"\x97\x0a\xa861837.64\xa50.001\x5c\x5c\xb01763000000005.25\xc2"
    )
    expected = expected.replace(b"\x00\x00\x01\x9a\x7b\x36\x66\x05", (T * 1000 + 5).to_bytes(8, "big"))
    block = TradeBlock("BTCUSDT", T, TradeState.BACKFILLED, (first, second))
    assert codec.encode_trades(block) == expected
    assert codec.decode_trades(expected, "BTCUSDT", T) == block


def test_a_trade_takes_about_43_bytes():
    block = TradeBlock("B", T, TradeState.COMPLETE, (samples.trade(3_000_000_000, T),))
    empty = TradeBlock("B", T, TradeState.COMPLETE, ())
    assert len(codec.encode_trades(block)) - len(codec.encode_trades(empty)) in range(40, 52)


def test_incidents_v1_are_these_bytes():
    """[1, "gap", 5, nil, 3, nil, "c", "d"]"""
    expected = b"\x98\x01\xa3gap\x05\xc0\x03\xc0\xa1c\xa1d"
    incident = Incident("BTCUSDT", T, 2, "gap", 5, None, 3, None, "c", "d")
    assert codec.encode_incident(incident) == expected
    assert codec.decode_incident(expected, "BTCUSDT", T, 2) == incident


SECOND_V1 = [
    1, 1_763_000_000, "LIVE", None, 3, 1000, 68, 50_000_000_001, 1_762_999_999_989, 1_762_999_999_990, 1_763_000_000_001,
    6_000_000_000_001, None, 10, 301, 402, 53, "event", 104, 105, 106, 107, [-1, 2, -3, 4, -5, 6, -7, 8, -9, 10], -108,
    12_367_529_000_001, 12_367_529_000_004, 12_367_529_000_000, 12_367_529_000_003, "0.25", 1_000_000.5, 2_000_000,
    111, 112, "927564.75", "0.0000000000000001", 13, 14, 15, 901, 927,
    6_183_764_000_001, 6_183_764_000_002, 6_183_764_000_004, 6_183_764_000_000, "5", "COMPLETE",
    ["1", "2", "3", "4", "5", None], ["6", "7", "8", "9", "10", None],
    ["0.0000000000000001", "0.0000000000000002", "0.0000000000000003", "0.0000000000000004", "0.0000000000000005", None],
    ["0.0000000000000006", "0.0000000000000007", "0.0000000000000008", "0.0000000000000009", "0.000000000000001", None],
    11, [0.25, 0.5, 0.75, 1.0, 1.25, None], [2.25, 2.5, 2.75, 3.0, None, None],
    [None, None, None, None, None, "77"], [None, None, None, None, "88", "99"],
    1, 2, "1.2", "1.3", 3, 4, "1.4", [["large", "BID", 201, 202, 203, 204, 205, 206, 7.5]], 6,
    [60, [1.5, None], [2.5, None], [3.5, None], [4.5, None]],
]  # fmt: skip
"""samples.record with its minute block, written out by hand in the order of docs/records.md."""


def test_seconds_v1_are_these_bytes_in_the_documents_order():
    record = samples.record(T, minute=samples.MINUTE)
    golden = bytes.fromhex((GOLDEN / "seconds_v1.hex").read_text())
    assert golden == pack(SECOND_V1)
    assert codec.encode_second(record) == golden
    assert codec.decode_second(golden) == record


def test_an_integer_beyond_64_bits_is_its_text_and_both_forms_are_read():
    record = samples.record(T, buy_qty=2**64, ofi_diff=[-(2**63) - 1] + [0] * 9)
    value = msgspec.msgpack.decode(codec.encode_second(record))
    assert (value[31], value[22][0]) == ("18446744073709551616", "-9223372036854775809")
    assert codec.decode_second(pack(value)) == record
    value[31] = "111"
    assert codec.decode_second(pack(value)).buy_qty == 111


@given(samples.books)
def test_every_snapshot_comes_back_exactly(snapshot):
    assert codec.decode_snapshot(codec.encode_snapshot(snapshot)) == snapshot


@settings(max_examples=60)
@given(samples.records())
def test_every_second_comes_back_exactly(record):
    assert codec.decode_second(codec.encode_second(record)) == record


@given(samples.trade_blocks())
def test_every_trade_block_comes_back_exactly(block):
    assert codec.decode_trades(codec.encode_trades(block), block.symbol, block.second) == block


def test_more_than_twenty_levels_are_refused():
    with pytest.raises(ValueError, match="20 levels"):
        codec.encode_snapshot(samples.book(T, levels=21))


DECODERS = {
    "snapshots": codec.decode_snapshot,
    "columns": lambda value: codec.snapshot_columns([value]),
    "seconds": codec.decode_second,
    "second columns": lambda value: codec.second_columns([value], ["t", "depth_bid", "state"]),
    "trades": lambda value: codec.decode_trades(value, "X", T),
    "incidents": lambda value: codec.decode_incident(value, "X", T, 0),
}


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize(
    "value", [b"", b"\xc1", b"\xff\xff", b"garbage", pack([]), pack({}), pack([1]), pack("1"), pack([1, "X"])]
)
def test_garbage_is_unreadable(family, value):
    with pytest.raises(codec.Unreadable):
        DECODERS[family](value)


@settings(max_examples=200)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=80))
def test_random_bytes_never_raise_anything_else(family, value):
    with contextlib.suppress(codec.Unreadable):
        DECODERS[family](value)


@pytest.mark.parametrize(
    ("family", "value"),
    [
        ("seconds", [2, *SECOND_V1[1:]]),
        ("seconds", [*SECOND_V1, 5]),
        ("second columns", [2, *SECOND_V1[1:]]),
        ("trades", [2, "COMPLETE", []]),
        ("incidents", [2, "gap", 5, None, 3, None, "c", "d"]),
        ("snapshots", [[], [], 1, T, 5]),
        ("snapshots", [[["1", "1"]] * 21, [], 1, T]),
        ("columns", [[["1", "1"]] * 21, [["1", "1"]] * 19, 1, T]),
        ("snapshots", [[["-1", "1"]], [], 1, T]),
    ],
)
def test_a_newer_version_or_another_shape_is_unreadable(family, value):
    with pytest.raises(codec.Unreadable):
        DECODERS[family](pack(value))


# columns ----------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(samples.books, max_size=6))
def test_snapshot_columns_are_the_floats_of_the_texts_and_nan_where_no_level_is(books):
    columns = codec.snapshot_columns([codec.encode_snapshot(book) for book in books])
    assert columns.shape == (len(books), 2, 20, 2)
    for book, sides in zip(books, columns, strict=True):
        for levels, side in zip((book.bids, book.asks), sides, strict=True):
            exact = [[_float(price), _float(quantity)] for price, quantity in levels]
            assert side.tolist()[: len(levels)] == exact
            assert np.isnan(side[len(levels) :]).all()


def test_one_short_book_among_600_costs_no_other_row():
    """Slices of 256: the short one is in the second."""
    books = [samples.book(T + i, levels=19 if i == 300 else 20) for i in range(600)]
    columns = codec.snapshot_columns([codec.encode_snapshot(book) for book in books])
    assert np.argwhere(np.isnan(columns)).tolist() == [[300, side, 19, k] for side in (0, 1) for k in (0, 1)]
    assert columns[599, 0, 1].tolist() == [61837.63, 0.002]


def test_second_columns_have_the_fields_own_units_and_nan_for_null():
    rows = [samples.record(T), samples.record(T + 1, epoch=None, ofi_diff=None, reason="gap", buy_qty=2**70)]
    names = ["t", "flags", "epoch", "ofi_diff", "depth_bid", "cost_sell", "buy_quote", "buy_qty", "reason", "state", "mid_sq"]
    columns = codec.second_columns([codec.encode_second(row) for row in rows], names)
    assert list(columns) == names
    assert columns["t"].dtype == columns["flags"].dtype == np.int64
    assert columns["t"].tolist() == [T, T + 1]
    assert columns["flags"].tolist() == [68, 68]
    assert columns["buy_quote"].tolist() == [927564.75, 927564.75]
    assert columns["mid_sq"].tolist() == [0.25, 0.25]
    assert columns["buy_qty"].tolist() == [111.0, 2.0**70]
    assert columns["reason"].tolist() == [None, "gap"]
    assert columns["state"].tolist() == ["LIVE", "LIVE"]
    np.testing.assert_array_equal(columns["epoch"], [3.0, np.nan])
    np.testing.assert_array_equal(columns["ofi_diff"], [[-1, 2, -3, 4, -5, 6, -7, 8, -9, 10], [np.nan] * 10])
    np.testing.assert_array_equal(columns["depth_bid"], [[1, 2, 3, 4, 5, np.nan]] * 2)
    np.testing.assert_array_equal(columns["cost_sell"], [[2.25, 2.5, 2.75, 3.0, np.nan, np.nan]] * 2)


def test_every_field_but_the_two_nested_ones_is_a_column():
    fields = set(SecondRecord.__struct_fields__)
    assert fields - {"level_events", "minute"} == codec.COLUMNS
    columns = codec.second_columns([codec.encode_second(samples.record(T, minute=samples.MINUTE))] * 300, sorted(codec.COLUMNS))
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(codec.COLUMNS, 300)
    assert [columns[name][299] for name in ("n_eval", "level_events_dropped", "px_low")] == [11, 6, 6_183_764_000_000.0]


def test_an_unknown_column_is_refused():
    with pytest.raises(KeyError, match="minute"):
        codec.second_columns([], ["t", "minute"])


@settings(max_examples=300)
@given(samples.e8)
def test_text_becomes_the_same_float_on_both_paths(number):
    """The lax decoder of the fast path against Python's own float()."""
    snapshot = BookSnapshot(((number, number),), (), 1, T)
    assert codec.snapshot_columns([codec.encode_snapshot(snapshot)])[0, 0, 0].tolist() == [_float(number)] * 2


def test_the_states_on_disk_are_the_documents_words():
    for state in (*BookState, *TradeState):
        assert re.fullmatch("[A-Z]+", state.value)
    assert MinuteBlock.__struct_fields__ == ("samples", "density_bid", "density_ask", "size_p95", "size_p99")


def _float(number_e8: int) -> float:
    return float(f"{number_e8 // 10**8}.{number_e8 % 10**8:08d}")
