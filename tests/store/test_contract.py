"""What every Engine must do; run over memory and RocksDB alike."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.core.errors import StoreError
from leadline.store.engine import FAMILIES, Engine
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine

SYMBOLS = ["ABC", "ABC1", "ABCX", "AB", "币安人生USDT", "ABCDEFGHIJKLMNO"]
EDGE = 1_800_000_000
ALL = (b"", b"\xff")


def key(symbol: str, second: int) -> bytes:
    return f"{symbol}:{second}".encode()


def fill(engine: Engine, symbols: list[str] = SYMBOLS, lo: int = EDGE - 50, hi: int = EDGE + 50) -> None:
    engine.write([("seconds", key(s, t), f"{s}@{t}".encode()) for s in symbols for t in range(lo, hi)])


def test_what_was_written_is_read_and_nothing_else(engine):
    engine.write([("snapshots", b"a", b"1"), ("seconds", b"a", b"2")])
    assert (engine.get("snapshots", b"a"), engine.get("seconds", b"a")) == (b"1", b"2")
    assert (engine.get("trades", b"a"), engine.get("snapshots", b"b")) == (None, None)


def test_the_last_write_of_a_key_wins_within_and_across_batches(engine):
    engine.write([("meta", b"a", b"1"), ("meta", b"a", b"2")])
    assert engine.get("meta", b"a") == b"2"
    engine.write([("meta", b"a", b"3")], sync=False)
    assert engine.scan("meta", *ALL).rows == [(b"a", b"3")]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_scan_over_1_800_000_000_returns_exactly_its_symbols_rows(engine, symbol):
    fill(engine)
    scan = engine.scan("seconds", key(symbol, EDGE - 20), key(symbol, EDGE + 20))
    assert [value for _, value in scan.rows] == [f"{symbol}@{t}".encode() for t in range(EDGE - 20, EDGE + 20)]
    assert scan.holes == []
    assert len(engine.scan("seconds", f"{symbol}:".encode(), f"{symbol};".encode()).rows) == 100


def test_a_scan_stops_at_its_limit_and_is_empty_when_the_window_is(engine):
    fill(engine)
    rows = engine.scan("seconds", key("ABC", EDGE), key("ABC", EDGE + 9), 3).rows
    assert [k for k, _ in rows] == [key("ABC", EDGE + i) for i in range(3)]
    assert engine.scan("seconds", key("ABC", EDGE), key("ABC", EDGE)).rows == []
    assert engine.scan("seconds", key("ABC", EDGE + 1), key("ABC", EDGE)).rows == []
    assert engine.scan("seconds", key("ABC", EDGE), key("ABC", EDGE + 9), 0).rows == []


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_last_row_is_the_symbols_own_and_upto_is_included(engine, symbol):
    fill(engine)
    lo = f"{symbol}:".encode()
    assert engine.last("seconds", lo, f"{symbol};".encode()) == (key(symbol, EDGE + 49), f"{symbol}@{EDGE + 49}".encode())
    assert engine.last("seconds", lo, key(symbol, EDGE - 3)) == (key(symbol, EDGE - 3), f"{symbol}@{EDGE - 3}".encode())
    assert engine.last("seconds", lo, key(symbol, EDGE + 7_000)) == (key(symbol, EDGE + 49), f"{symbol}@{EDGE + 49}".encode())
    assert engine.last("seconds", lo, key(symbol, EDGE - 50)) == (key(symbol, EDGE - 50), f"{symbol}@{EDGE - 50}".encode())
    assert engine.last("seconds", lo, key(symbol, EDGE - 51)) is None


def test_the_last_row_of_an_absent_symbol_is_none_between_its_neighbours(engine):
    fill(engine, ["ABC", "ABCXY", "A"])
    assert engine.last("seconds", b"ABCX:", b"ABCX;") is None
    assert engine.last("seconds", b"AB:", b"AB;") is None


def test_deletes_apply_before_the_puts_of_the_same_batch(engine):
    fill(engine, ["ABC", "ABC1"])
    engine.write([("seconds", key("ABC", EDGE - 50), b"new")], [("seconds", key("ABC", EDGE - 50), key("ABC", EDGE))])
    assert [k for k, _ in engine.scan("seconds", b"ABC:", b"ABC;", 2).rows] == [key("ABC", EDGE - 50), key("ABC", EDGE)]
    assert engine.count("seconds", b"ABC:", b"ABC;") == 51
    assert engine.count("seconds", b"ABC1:", b"ABC1;") == 100


@pytest.mark.parametrize("flushed", [False, True])
def test_a_range_of_one_key_takes_that_key_and_no_neighbour(engine, flushed):
    near = [b"a", b"a\0", b"a\0\0", b"a\1", b"b"]
    engine.write([(family, k, b"v") for family in ("hours", "trades") for k in near])
    if flushed:
        engine.flush()
    engine.write(
        [("trades", b"a\0", b"new")], [("hours", b"a\0", b"a\0\0"), ("trades", b"a\0", b"a\0\0"), ("hours", b"x", b"x\0")]
    )
    assert [k for k, _ in engine.scan("hours", *ALL).rows] == [b"a", b"a\0\0", b"a\1", b"b"]
    assert [value for _, value in engine.scan("trades", *ALL).rows] == [b"v", b"new", b"v", b"v", b"v"]


def test_a_batch_with_one_bad_family_changes_nothing(engine):
    with pytest.raises(StoreError, match="nonsense"):
        engine.write([("meta", b"a", b"1"), ("nonsense", b"a", b"1")])
    with pytest.raises(StoreError, match="nonsense"):
        engine.write([("meta", b"a", b"1")], [("nonsense", b"a", b"b")])
    assert engine.get("meta", b"a") is None


@pytest.mark.parametrize("read", [lambda e: e.get("x", b""), lambda e: e.scan("x", *ALL), lambda e: e.last("x", *ALL)])
def test_an_unknown_family_is_refused(engine, read):
    with pytest.raises(StoreError, match="no family"):
        read(engine)


def test_used_bytes_grow_with_the_rows(engine):
    before = engine.used_bytes()
    engine.write([("snapshots", key("ABC", EDGE), b"x" * 100_000)])
    assert engine.used_bytes() >= before + 100_000


def test_flush_compact_and_catch_up_change_no_row(engine):
    fill(engine)
    before = [engine.scan(family, *ALL).rows for family in FAMILIES]
    engine.flush()
    engine.compact("seconds", *ALL)
    engine.catch_up()
    assert [engine.scan(family, *ALL).rows for family in FAMILIES] == before


def test_a_count_goes_on_over_many_pages(engine):
    fill(engine, ["ABC"], EDGE, EDGE + 10_000)
    assert engine.count("seconds", key("ABC", EDGE + 1), b"ABC;") == 9_999


def test_a_closed_engine_refuses_everything_and_closes_twice(engine):
    engine.close()
    engine.close()
    for use in (lambda: engine.get("meta", b"a"), lambda: engine.write([("meta", b"a", b"b")]), engine.used_bytes):
        with pytest.raises(StoreError, match="is closed"):
            use()


_keys = st.binary(min_size=1, max_size=3)
_families = st.sampled_from(FAMILIES)
_batches = st.lists(
    st.tuples(
        st.lists(st.tuples(_families, _keys, st.binary(max_size=3)), max_size=6),
        st.lists(st.tuples(_families, _keys, _keys), max_size=2),
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", ["memory", "rocks"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_batches, lo=_keys, hi=_keys)
def test_any_batches_leave_what_a_plain_dict_would_hold(engine_of, kind, batches, lo, hi):
    engine: Engine = engine_of(kind)
    engine.write([], [(family, b"", b"\xff" * 9) for family in FAMILIES])
    model: dict[tuple[str, bytes], bytes] = {}
    for puts, deletes in batches:
        engine.write(puts, deletes)
        for family, begin, end in deletes:
            model = {place: v for place, v in model.items() if not (place[0] == family and begin <= place[1] < end)}
        model |= {(family, k): v for family, k, v in puts}
    for family in FAMILIES:
        inside = sorted((k, v) for (f, k), v in model.items() if f == family and lo <= k < hi)
        assert engine.scan(family, lo, hi).rows == inside
        assert engine.count(family, lo, hi) == len(inside)
        below = sorted((k, v) for (f, k), v in model.items() if f == family and lo <= k <= hi)
        assert engine.last(family, lo, hi) == (below[-1] if below else None)


@pytest.fixture
def engine_of(tmp_path: Path):
    made: dict[str, Engine] = {}

    def make(kind: str) -> Engine:
        if kind not in made:
            made[kind] = MemoryEngine() if kind == "memory" else RocksEngine(tmp_path / "db")
        return made[kind]

    yield make
    for engine in made.values():
        engine.close()
