"""Blocks as columns: equal to the trades that were stored, whatever their bytes look like, by the quick road and by the slow."""

import contextlib
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.store import samples

from leadline.core.records import Trade, TradeBlock, TradeState
from leadline.store import codec, trade_columns
from leadline.store.history import Hole
from leadline.store.trade_columns import STATES

T = 1_763_000_000
LOOKALIKE = [
    0xC297,
    0xC397,
    0xC29797,
    0xC2970000,
    0x97C297C2,
    0x42_C297_CE00_0001_A1,
    0x5C_C397_C297_93C3_97,
    0x42_97C2_97C2_97C3,
]
"""Ids whose bytes look like the end of one trade and the begin of the next."""

_id = st.sampled_from(LOOKALIKE) | st.integers(0, 2**63 - 2) | st.integers(0, 300)
_amount = st.integers(0, 2**63 - 1) | st.integers(0, 10**5).map(lambda n: n * 10**6) | st.integers(0, 9)
_whole_ms = st.integers(0, 999).map(lambda ms: ms * 10**6)


@st.composite
def blocks(draw: st.DrawFn) -> TradeBlock:
    second = draw(st.integers(10**9, 9_223_372_035))
    offset = draw(st.sampled_from([_whole_ms, _whole_ms | st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1)]))
    trades = [
        Trade(
            "X", draw(_id), draw(_amount), draw(_amount), draw(_id), draw(_id), second * 10**9 + draw(offset), draw(st.booleans())
        )
        for _ in range(draw(st.integers(0, 20)))
    ]
    return TradeBlock("X", second, draw(st.sampled_from(list(TradeState))), tuple(trades))


def expected(stored: list[TradeBlock]) -> dict[str, list[object]]:
    """From the records that went in; no bytes."""
    trades = [trade for block in stored for trade in block.trades]
    return {
        "states": [["COMPLETE", "BACKFILLED", "MISSING"].index(block.state.value) for block in stored],
        "ts_ns": [trade.ts_trade_ns for trade in trades],
        "price_e8": [trade.price_e8 for trade in trades],
        "quantity_e8": [trade.quantity_e8 for trade in trades],
        "fills": [trade.last_id - trade.first_id + 1 for trade in trades],
        "taker_buy": [not trade.buyer_is_maker for trade in trades],
        "first_id": [trade.first_id for trade in trades],
        "last_id": [trade.last_id for trade in trades],
    }


@pytest.fixture(autouse=True, scope="module")
def few_are_enough() -> Iterator[None]:
    """Every block here is to be read by the quick road, however small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trade_columns, "FEW_BYTES", 0)
        yield


def plain(columns: trade_columns.Columns) -> dict[str, list[object]]:
    return {name: column.tolist() for name, column in columns.items()}


def one(**changes: object) -> TradeBlock:
    fields = {"agg_id": 9, "price_e8": 5, "quantity_e8": 7, "first_id": 1, "last_id": 2, "ts_trade_ns": T * 10**9}
    return TradeBlock("X", T, TradeState.COMPLETE, (Trade(**{"symbol": "X", "buyer_is_maker": True} | fields | changes),))


@settings(max_examples=100, deadline=None)
@given(st.lists(blocks(), max_size=8))
@example([one(price_e8=2**63 - 1, quantity_e8=10**18)])
@example([one(last_id=2**63 - 1)])
@example([one(agg_id=0xC297), one(agg_id=0x97), one(first_id=0xC397, last_id=0xC397)])
@example([TradeBlock("X", T, TradeState.MISSING, ()), one(), TradeBlock("X", T, TradeState.BACKFILLED, ())])
@example([TradeBlock("X", T, TradeState.COMPLETE, tuple(one().trades[0] for _ in range(16)))])
@example([TradeBlock("X", T, TradeState.COMPLETE, tuple(one().trades[0] for _ in range(0xC297)))])
def test_columns_are_the_trades_that_were_stored(stored: list[TradeBlock]):
    columns = trade_columns.trade_columns([codec.encode_trades(block) for block in stored])
    assert plain(columns) == expected(stored)
    assert {name: column.dtype for name, column in columns.items()} == {
        **dict.fromkeys(expected([]), np.dtype(np.int64)),
        "states": np.dtype(np.uint8),
        "taker_buy": np.dtype(bool),
    }


@settings(max_examples=50)
@given(st.lists(blocks(), min_size=1, max_size=8))
def test_ordinary_blocks_take_the_quick_road(stored: list[TradeBlock]):
    """Up to 19 digits a number: the twentieth does not fit 64 bits before the point is taken out."""
    assert trade_columns._quick([codec.encode_trades(block) for block in stored]) is not None


@settings(max_examples=150)
@given(st.lists(blocks(), min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_read_as_the_decoder_reads_it_or_not_at_all(stored: list[TradeBlock], data: st.DataObject):
    values = [bytearray(codec.encode_trades(block)) for block in stored]
    victim = values[data.draw(st.integers(0, len(values) - 1))]
    victim[data.draw(st.integers(0, len(victim) - 1))] = data.draw(
        st.sampled_from([*range(0x80), 0xC2, 0xC3, 0x97]) | st.integers(0, 255)
    )
    changed = [bytes(value) for value in values]
    try:
        read = [codec.decode_trades(value, "X", T) for value in changed]
        if any(number >= 2**63 for block in read for t in block.trades for number in (t.first_id, t.last_id, t.ts_trade_ns)):
            raise codec.Unreadable
    except codec.Unreadable:
        with pytest.raises(codec.Unreadable):
            trade_columns.trade_columns(changed)
    else:
        assert plain(trade_columns.trade_columns(changed)) == expected(read)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_random_bytes_never_raise_anything_else(values: list[bytes]):
    with contextlib.suppress(codec.Unreadable):
        trade_columns.trade_columns(values)


def raw(**changes: object) -> bytes:
    """A block of one trade whose fields may be anything."""
    fields = {"a": 9, "p": "1", "q": "2", "f": 1, "l": 2, "T": T * 1000, "m": True} | changes
    return msgspec.msgpack.encode([1, "COMPLETE", [list(fields.values())]])


def test_a_first_trade_of_another_length_is_no_trade():
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([raw().replace(b"\x91\x97", b"\x91\x96"), raw()])


NO_NUMBERS = ["", ".", ".5", "1.2.3", "1..2", "-1", "1e5", "x", "1.123456789", "92233720368.54775808", "123456789012"]
NO_NUMBERS += ["184467440738", "18446744073709551617"]  # by 1e8 they pass 2^64 and come back small


@pytest.mark.parametrize("field", ["p", "q"])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_price_or_quantity_that_is_no_number_of_ours_is_unreadable(field: str, text: str):
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([raw(), raw(**{field: text}), raw()])


@pytest.mark.parametrize("text", ["1.", "01", "007.50", "1.500000000000", "0.00000001", "92233720368.54775807"])
def test_a_number_that_is_written_in_another_way_is_read_as_the_decoder_reads_it(text: str):
    (trade,) = codec.decode_trades(raw(p=text), "X", T).trades
    assert trade_columns.trade_columns([raw(), raw(p=text)])["price_e8"].tolist() == [10**8, trade.price_e8]


@pytest.mark.parametrize("time", ["", "x", ".5", "9223372036854.775808", 9_223_372_036_855, 1.5, None])
def test_a_time_that_is_none_is_unreadable(time: object):
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([raw(), raw(T=time), raw(T="1.5")])


@pytest.mark.parametrize("cut", [1, 2, 5, 20])
def test_a_block_cut_short_does_not_borrow_from_its_neighbour(cut: int):
    whole = codec.encode_trades(samples.block(T, 1, 2, 3))
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([whole[:-cut], whole[-cut:], whole])


@pytest.mark.parametrize("tail", [b"\x00", codec.encode_trades(one())[len(b"\x93\x01\xa8COMPLETE\x91") :]])
def test_a_block_that_says_it_is_empty_has_nothing_behind_its_head(tail: bytes):
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([codec.encode_trades(one()), b"\x93\x01\xa8COMPLETE\x90" + tail])


def test_two_blocks_with_each_others_counts_are_not_read_across():
    """Two trades and one, that say one and two: the sum is right."""
    two, alone = (codec.encode_trades(samples.block(T, *ids)) for ids in ((1, 2), (3,)))
    with pytest.raises(codec.Unreadable):
        trade_columns.trade_columns([two.replace(b"\x92\x97", b"\x91\x97", 1), alone.replace(b"\x91\x97", b"\x92\x97", 1)])


def test_an_id_beyond_63_bits_is_unreadable():
    with pytest.raises(codec.Unreadable, match="63 bits"):
        trade_columns.trade_columns([codec.encode_trades(one(last_id=2**63))])


def test_few_trades_are_read_by_the_decoder_and_give_the_same(monkeypatch: pytest.MonkeyPatch):
    values = [codec.encode_trades(samples.block(T + i, 2 * i, 2 * i + 1, state=state)) for i, state in enumerate(TradeState)]
    quick = trade_columns.trade_columns(values)
    monkeypatch.setattr(trade_columns, "FEW_BYTES", sum(map(len, values)))
    monkeypatch.delattr(trade_columns, "_quick")
    few = trade_columns.trade_columns(values)
    assert plain(few) == plain(quick)
    assert [column.dtype for column in few.values()] == [column.dtype for column in quick.values()]


def test_states_are_numbered_from_good_to_bad():
    assert STATES == (TradeState.COMPLETE, TradeState.BACKFILLED, TradeState.MISSING)


# In a store ---------------------------------------------------------------------


def test_a_window_of_columns_is_that_of_the_blocks_with_holes_where_they_do_not_decode(history):
    rows = [samples.row(T + i, trades=(samples.block(T + i, 3 * i, 3 * i + 1),)) for i in range(5)]
    rows[3] = samples.row(T + 3, trades=(samples.block(T + 3, state=TradeState.MISSING),))
    assert history.write(rows) == []
    history.engine.write([("trades", b"BTCUSDT:%d" % (T + 2), b"\xc1")])
    found = history.trade_columns("BTCUSDT", T + 1, T + 5)
    assert found.seconds.tolist() == [T + 1, T + 3, T + 4]
    assert found.states.tolist() == [0, 2, 0]
    assert found.first_id.tolist() == [30, 40, 120, 130]
    assert found.ts_ns.tolist() == [(T + 1) * 10**9, (T + 1) * 10**9, (T + 4) * 10**9, (T + 4) * 10**9]
    ((hole),) = found.unreadable
    assert isinstance(hole, Hole)
    assert (hole.lo_s, hole.hi_s, hole.cause) == (T + 2, T + 3, "unreadable")


def test_columns_of_an_empty_window_are_empty(history):
    found = history.trade_columns("BTCUSDT", T, T + 100)
    assert [len(getattr(found, name)) for name in found.__struct_fields__] == [0] * 10


def test_the_first_trade_passes_over_empty_and_unreadable_blocks(history):
    blocks = (samples.block(T, 1), samples.block(T + 1, state=TradeState.MISSING), samples.block(T + 3, 8, 9))
    assert history.write([samples.row(T + 9, trades=blocks)]) == []
    history.engine.write([("trades", b"BTCUSDT:%d" % (T + 2), b"\xc1")])
    assert history.first_trade("BTCUSDT", T) == samples.trade(1, T)
    assert history.first_trade("BTCUSDT", T + 1) == samples.trade(8, T + 3)
    assert history.first_trade("BTCUSDT", T + 4) is None
    assert history.first_trade("BTCUSD", T) is None


def test_the_last_trade_of_a_moment_is_not_a_later_one(history):
    assert history.write([samples.row(T + 9, trades=(samples.block(T, 1, 2), samples.block(T + 3, 8)))]) == []
    assert history.last_trade("BTCUSDT", T + 2) == samples.trade(2, T)
    assert history.last_trade("BTCUSDT", T + 3) == samples.trade(8, T + 3)
    assert history.last_trade("BTCUSDT", T - 1) is None
