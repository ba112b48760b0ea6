"""The family `hours`: its bytes, when its rows must go, who may put them there, and stores that do not have it yet."""

import contextlib
import os
import shutil
from pathlib import Path
from threading import Event, Thread

import msgspec
import numpy as np
import pytest
import rocksdict
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.store.samples import block, row

from leadline.core.errors import StoreCorrupt
from leadline.core.records import TradeHour, TradeState
from leadline.store import codec, hour_codec
from leadline.store.engine import DERIVED, FAMILIES, Engine
from leadline.store.history import History
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine

HOUR = 490_000 * 3_600  # 1,764,000,000
KEY = b"BTCUSDT:%d" % HOUR
GOLDEN = Path(__file__).parent / "golden"
ALL = (b"", b"\xff")


def hour(second: int = HOUR, symbol: str = "BTCUSDT", **changes: object) -> TradeHour:
    """Two lines in the first five minutes, one in the last; prices in cents, quantities in thousandths."""
    fields: dict[str, object] = {
        "block_s": 300,
        "ts_ns": [second * 10**9, second * 10**9, (second + 3_300) * 10**9],
        "price_e8": [6_183_764_000_000, 6_183_765_000_000, 6_183_764_000_000],
        "buy_e8": [0, 200_000, 100_000],
        "sell_e8": [100_000, 13_000_000, 0],
        "fills": [1, 300, 2],
        "quote_e16": 8_286_247 * 10**14,
        "squares_e16": 1,
        "batches": 3,
        "first_ns": second * 10**9 + 5,
        "first_id": 901,
        "first_state": TradeState.COMPLETE,
        "last_ns": (second + 3_599) * 10**9,
        "last_id": 1_205,
        "last_state": TradeState.BACKFILLED,
        "complete_s": 3_590,
        "backfilled_s": 6,
        "missing_s": 2,
        "missing_ids": 2,
    }
    fields |= changes
    for name in ("ts_ns", "price_e8", "buy_e8", "sell_e8", "fills"):
        fields[name] = np.array(fields[name], np.int64)
    return TradeHour(symbol=symbol, second=second, **fields)  # type: ignore[arg-type]


def plain(found: TradeHour | None) -> dict[str, object] | None:
    """Comparable: arrays as lists."""
    if found is None:
        return None
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


# Values -----------------------------------------------------------------------

HOUR_V1 = [
    1, 300, 3, "82862.47", "0.0000000000000001",
    [HOUR * 10**9 + 5, 901, "COMPLETE"], [(HOUR + 3_599) * 10**9, 1_205, "BACKFILLED"],
    [3_590, 6, 2, 2], 6_183_764_000_000, 1_000_000, 100_000, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    b"\x00\x01\x00" b"\x00\x02\x01" b"\x01\x82\x01\x00" b"\x01\xac\x02\x02",
]  # fmt: skip
"""`hour` by hand: prices 0 and 1 cent above the lowest, 0 in the next block; 130 is 0x82 0x01, 300 is 0xac 0x02."""


def test_hours_v1_are_these_bytes():
    golden = bytes.fromhex((GOLDEN / "hours_v1.hex").read_text())
    assert golden == msgspec.msgpack.encode(HOUR_V1)
    assert hour_codec.encode_hour(hour()) == golden
    assert plain(hour_codec.decode_hour(golden, "BTCUSDT", HOUR)) == plain(hour())
    assert hour_codec.is_hour(golden)


def test_an_hour_without_trades_is_short():
    nothing = {name: [] for name in ("ts_ns", "price_e8", "buy_e8", "sell_e8", "fills")}
    empty = hour(**nothing, first_state=None, last_state=None, first_ns=0, first_id=0, last_ns=0, last_id=0, missing_ids=None)
    value = hour_codec.encode_hour(empty)
    assert len(value) < 80
    assert plain(hour_codec.decode_hour(value, "BTCUSDT", HOUR)) == plain(empty)


_amounts = st.integers(0, 2**63 - 1) | st.integers(0, 500).map(lambda n: n * 10**7)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 11), _amounts, _amounts, _amounts, _amounts), max_size=40), st.integers(0, 2**200))
@example([(0, 2**63 - 1, 0, 0, 0)], 0)
def test_every_hour_comes_back_exactly_in_order_of_block_and_price(lines: list[tuple[int, ...]], big: int):
    lines.sort(key=lambda line: line[:2])
    block_number, price, buy, sell, fills = zip(*lines, strict=True) if lines else ((),) * 5
    stored = hour(
        ts_ns=[(HOUR + 300 * n) * 10**9 for n in block_number], price_e8=price, buy_e8=buy, sell_e8=sell, fills=fills,
        quote_e16=big, squares_e16=big + 1, missing_ids=None,
    )  # fmt: skip
    value = hour_codec.encode_hour(stored)
    assert plain(hour_codec.decode_hour(value, "BTCUSDT", HOUR)) == plain(stored)
    mixed = np.random.default_rng(len(lines)).permutation(len(lines))
    columns = {name: getattr(stored, name)[mixed] for name in ("ts_ns", "price_e8", "buy_e8", "sell_e8", "fills")}
    again = hour_codec.decode_hour(hour_codec.encode_hour(msgspec.structs.replace(stored, **columns)), "BTCUSDT", HOUR)
    assert sorted(zip(*[getattr(again, name).tolist() for name in columns], strict=True)) == sorted(
        zip(*[getattr(stored, name).tolist() for name in columns], strict=True)
    )


def changed(**changes: object) -> bytes:
    names = (
        "version",
        "block_s",
        "batches",
        "quote",
        "squares",
        "first",
        "last",
        "seconds",
        "low",
        "price",
        "quantity",
        "counts",
        "lines",
    )
    return msgspec.msgpack.encode(list((dict(zip(names, HOUR_V1, strict=True)) | changes).values()))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([1]),
        hour_codec.encode_claim(5),
        changed(version=2),
        changed(more=1),
        changed(block_s=301),
        changed(block_s=0, counts=[]),
        changed(counts=[3, -1, *[0] * 9, 1]),
        changed(counts=[2**63, *[0] * 10, 1]),
        changed(counts=[2, *[0] * 10, 2]),
        changed(lines=b"\x00" * 11),
        changed(lines=b"\x00" * 11 + b"\x80"),
        changed(lines=b"\x00" * 12 + b"\x80"),
        changed(lines=b"\x00" * 11 + b"\x80" * 9 + b"\x01"),
        changed(price=0),
        changed(price=2**63),
        changed(quantity=2**57),
        changed(low=-1),
        changed(low=2**63 - 1),
        changed(quote="x"),
        changed(first=[1, 2, "FINE"]),
    ],
)
def test_what_is_no_hour_is_unreadable(value: bytes):
    with pytest.raises(codec.Unreadable):
        hour_codec.decode_hour(value, "BTCUSDT", HOUR)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_random_bytes_never_raise_anything_else(value: bytes, at: int, byte: int):
    bent = bytearray(msgspec.msgpack.encode(HOUR_V1))
    bent[at % len(bent)] = byte
    for wrong in (value, bytes(bent)):
        with contextlib.suppress(codec.Unreadable):
            hour_codec.decode_hour(wrong, "BTCUSDT", HOUR)


def test_a_claim_is_no_hour():
    assert not hour_codec.is_hour(hour_codec.encode_claim(5))
    assert hour_codec.encode_claim(5) == msgspec.msgpack.encode([0, 5])


# When a row goes ----------------------------------------------------------------


def keep(history: History, second: int = HOUR, symbol: str = "BTCUSDT") -> None:
    claim = history.claim_hour(symbol, second)
    assert history.write_hour(hour(second, symbol), claim)


def held(history: History, symbol: str = "BTCUSDT", hours: range = range(-1, 4)) -> list[int]:
    return [n for n in hours if history.trade_hour(symbol, HOUR + 3_600 * n) is not None]


@pytest.mark.parametrize("second", [HOUR, HOUR + 1_800, HOUR + 3_599])
@pytest.mark.parametrize("state", list(TradeState))
def test_a_block_takes_the_sums_of_its_own_hour_with_it_and_of_no_other(history: History, second: int, state: TradeState):
    for symbol in ("BTCUSDT", "BTCUSD", "BTCUSDTX"):
        for n in (-1, 0, 1):
            keep(history, HOUR + 3_600 * n, symbol)
    assert history.write([row(HOUR + 9_000, trades=(block(second, 1, state=state),))]) == []
    assert held(history) == [-1, 1]
    assert held(history, "BTCUSD") == held(history, "BTCUSDTX") == [-1, 0, 1]


def test_a_second_without_trades_leaves_the_sums_alone(history: History):
    keep(history)
    assert history.write([row(HOUR + 5)]) == []
    assert held(history) == [0]


def test_a_row_that_is_left_out_leaves_the_sums_alone(history: History):
    keep(history)
    assert len(history.write([row(HOUR + 5, spread_tw=object(), trades=(block(HOUR + 5, 1),))])) == 1
    assert held(history) == [0]


def test_the_sums_go_in_the_batch_of_the_block_and_cost_no_read():
    class Watching(MemoryEngine):
        def __init__(self) -> None:
            super().__init__()
            self.reads: list[str] = []
            self.batches: list[tuple[set[str], list[object]]] = []

        def get(self, family, key):
            self.reads.append(family)
            return super().get(family, key)

        def scan(self, family, lo, hi, limit=None):
            self.reads.append(family)
            return super().scan(family, lo, hi, limit)

        def write(self, puts, deletes=(), *, sync=True):
            self.batches.append(({family for family, _, _ in puts}, list(deletes)))
            super().write(puts, deletes, sync=sync)

    engine = Watching()
    history = History(engine, "s")
    assert history.write([row(HOUR + 9, trades=(block(HOUR + 8, 1), block(HOUR + 7, 2), block(HOUR - 1, 3)))]) == []
    before = ("hours", b"BTCUSDT:%d" % (HOUR - 3_600), b"BTCUSDT:%d\0" % (HOUR - 3_600))
    assert engine.batches == [({"snapshots", "seconds", "trades", "meta"}, [before, ("hours", KEY, KEY + b"\0")])]
    assert "hours" not in engine.reads


# Who may put one there ------------------------------------------------------------


def test_sums_of_an_hour_that_changed_since_the_claim_are_not_kept(history: History):
    claim = history.claim_hour("BTCUSDT", HOUR)
    assert history.write([row(HOUR + 9_000, trades=(block(HOUR + 3_599, 1),))]) == []
    assert not history.write_hour(hour(), claim)
    assert held(history) == []


def test_a_block_of_another_hour_does_not_break_a_claim(history: History):
    claim = history.claim_hour("BTCUSDT", HOUR)
    assert history.write([row(HOUR + 9_000, trades=(block(HOUR + 3_600, 1), block(HOUR - 1, 2)))]) == []
    assert history.write_hour(hour(), claim)
    assert held(history) == [0]


def test_a_later_claim_takes_the_place_of_an_earlier_one(engine: Engine):
    """Both of one process, by two histories: their claims differ."""
    one, other = History(engine, "s"), History(engine, "s")
    first, second = one.claim_hour("BTCUSDT", HOUR), other.claim_hour("BTCUSDT", HOUR)
    assert first != second
    assert not one.write_hour(hour(), first)
    assert other.write_hour(hour(), second)


def test_sums_are_written_once_for_a_claim(history: History):
    claim = history.claim_hour("BTCUSDT", HOUR)
    assert history.write_hour(hour(), claim)
    assert not history.write_hour(hour(batches=99), claim)
    found = history.trade_hour("BTCUSDT", HOUR)
    assert found is not None and found.batches == 3


def test_a_claim_alone_is_no_sum(history: History):
    assert history.write([row(HOUR + 9, trades=(block(HOUR, 1),))]) == []
    history.claim_hour("BTCUSDT", HOUR)
    assert history.trade_hour("BTCUSDT", HOUR) is None
    assert history.hours_missing("BTCUSDT", HOUR, HOUR + 3_600) == [HOUR]


def test_a_block_cannot_come_between_the_look_at_the_claim_and_the_sums():
    """Another thread writes a block when this one has looked at the claim: it waits, or the sums outlive what they sum up."""

    class Slow(MemoryEngine):
        def __init__(self) -> None:
            super().__init__()
            self.writing = Event()
            self.other: Thread | None = None

        def get(self, family, key):
            value = super().get(family, key)
            if family == "hours" and self.other is not None:
                self.other.start()
                self.writing.wait(0.2)
            return value

        def write(self, puts, deletes=(), *, sync=True):
            super().write(puts, deletes, sync=sync)
            if any(family == "trades" for family, _, _ in puts):
                self.writing.set()

    engine = Slow()
    history = History(engine, "s")
    claim = history.claim_hour("BTCUSDT", HOUR)
    engine.other = Thread(target=history.write, args=([row(HOUR + 9, trades=(block(HOUR, 1),))],))
    history.write_hour(hour(), claim)
    engine.other.join()
    assert engine.get("trades", KEY) is not None
    assert engine.scan("hours", *ALL).rows == []


# Which are missing ----------------------------------------------------------------


def test_missing_hours_are_those_without_sums_from_the_first_block_on(history: History):
    assert history.hours_missing("BTCUSDT", HOUR, HOUR + 7_200) == []
    assert history.write([row(HOUR + 9_000, trades=(block(HOUR + 1_800, 1), block(HOUR + 9_000, 2)))]) == []
    for n in (1, 3):
        keep(history, HOUR + 3_600 * n)
    history.engine.write([("hours", b"BTCUSDT:%d" % (HOUR + 3_600 * 4), changed(version=2))])
    assert history.hours_missing("BTCUSDT", HOUR - 36_000, HOUR + 3_600 * 6) == [HOUR + 3_600 * n for n in (0, 2, 4, 5)]
    assert history.hours_missing("BTCUSDT", HOUR + 3_600, HOUR + 3_600 * 3) == [HOUR + 7_200]


@pytest.mark.parametrize("value", [b"\xc1", changed(version=2), changed(lines=b"")])
def test_sums_that_do_not_decode_are_as_good_as_none(history: History, value: bytes):
    history.engine.write([("hours", KEY, value)])
    assert history.trade_hour("BTCUSDT", HOUR) is None


def test_a_damaged_row_is_as_good_as_none(tmp_path: Path):
    engine = RocksEngine(tmp_path / "db")
    keep(History(engine, "s"))
    engine.write([("hours", KEY, os.urandom(4_000))])
    engine.close()
    sst = max((tmp_path / "db").glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(sst.read_bytes())
    data[1_000] ^= 1
    sst.write_bytes(data)
    engine = RocksEngine(tmp_path / "db")
    with pytest.raises(StoreCorrupt):
        engine.get("hours", KEY)
    assert History(engine, "s").trade_hour("BTCUSDT", HOUR) is None
    engine.close()


# Cut ----------------------------------------------------------------------------


@pytest.mark.parametrize(("cutoff", "left"), [(HOUR, [0, 1]), (HOUR + 1, [1]), (HOUR + 3_600, [1]), (HOUR + 3_601, [])])
def test_an_hour_that_begins_before_the_cut_goes_whole(history: History, cutoff: int, left: list[int]):
    for n in (-1, 0, 1):
        at = HOUR + 3_600 * n
        assert history.write([row(at, trades=(block(at, 2 * n + 2), block(at + 3_599, 2 * n + 3)))]) == []
        keep(history, at)
    history.cut_before(cutoff)
    history.compact()
    assert held(history) == left
    assert history.hours_missing("BTCUSDT", HOUR - 7_200, HOUR + 7_200) == []


def test_sums_of_an_hour_that_was_cut_meanwhile_are_not_kept(history: History):
    assert history.write([row(HOUR, trades=(block(HOUR, 1), block(HOUR + 3_599, 2)))]) == []
    claim = history.claim_hour("BTCUSDT", HOUR)
    history.cut_before(HOUR + 1_800)
    assert not history.write_hour(hour(), claim)
    history.cut_before(HOUR - 7_200)  # what an earlier one took away does not come back
    late = history.claim_hour("BTCUSDT", HOUR)  # as if nobody had asked which are missing
    assert not history.write_hour(hour(), late)
    assert held(history) == []


def test_an_old_row_does_not_make_a_store_look_older(history: History):
    """A cut goes by the oldest second; the start of an hour may lie before it."""
    assert history.write([row(HOUR + 1_800, trades=(block(HOUR + 1_800, 1),))]) == []
    keep(history)
    assert history.oldest_second() == HOUR + 1_800


def test_the_digest_does_not_know_what_was_derived(history: History):
    assert history.write([row(HOUR + 9, trades=(block(HOUR, 1),))]) == []
    before = history.digest()
    keep(history)
    assert history.digest() == before


# Stores of an older program ---------------------------------------------------------

OLD = tuple(family for family in FAMILIES if family not in DERIVED)


def options() -> rocksdict.Options:
    return rocksdict.Options(raw_mode=True)


def old_store(path: Path) -> None:
    """As it was before there was a family of hours: made by RocksDB itself, one row in each family, in a data file."""
    db = rocksdict.Rdict(str(path), options())
    for name in OLD:
        family = db.create_column_family(name, options())
        family[KEY] = b"old"
        family.flush()
        family.close()
    db.close()


def contents(engine: RocksEngine) -> dict[str, list[bytes]]:
    return {family: [value for _, value in engine.scan(family, *ALL).rows] for family in FAMILIES}


def test_a_store_without_the_family_is_opened_for_writing_and_has_it_from_then_on(tmp_path: Path):
    old_store(tmp_path / "db")
    for kept in (0, 1):
        engine = RocksEngine(tmp_path / "db", cache_bytes=9 << 20)
        found = contents(engine)
        assert [found.pop("hours"), found] == [[b"new"] * kept, {family: [b"old"] for family in OLD}]
        assert engine._families["hours"].property_int_value("rocksdb.block-cache-capacity") == 9 << 20
        engine.write([("hours", KEY, b"new")])
        engine.flush()
        engine.close()
    newest = max((tmp_path / "db").glob("OPTIONS-*"), key=lambda file: int(file.name.split("-")[1])).read_text()
    assert newest.count("filter_policy=bloomfilter") == len(FAMILIES) + 1


def test_a_reader_of_a_store_without_the_family_finds_it_empty_and_the_rest_as_it_is(tmp_path: Path):
    old_store(tmp_path / "db")
    reader = RocksEngine(tmp_path / "db", secondary=True)
    assert contents(reader) == {family: [b"old"] for family in OLD} | {"hours": []}
    assert (reader.get("hours", KEY), reader.last("hours", *ALL), reader.count("hours", *ALL)) == (None, None, 0)
    writer = RocksEngine(tmp_path / "db")
    writer.write([("hours", KEY, b"new"), ("seconds", KEY, b"new")])
    reader.catch_up()
    assert (reader.get("hours", KEY), reader.get("seconds", KEY)) == (None, b"new")
    reader.close()
    again = RocksEngine(tmp_path / "db", secondary=True)
    assert (again.get("hours", KEY), again.get("seconds", KEY)) == (b"new", b"new")
    again.close()
    writer.close()


def without_last_records(path: Path, whole: bytes) -> Path:
    """The current manifest, cut so far that it names all families but the derived ones, and nothing notes its length."""
    manifest = path / (path / "CURRENT").read_text().strip()
    for size in range(len(whole) - 1, 0, -1):
        manifest.write_bytes(whole[:size])
        with contextlib.suppress(Exception):
            if {*rocksdict.Rdict.list_cf(str(path))} == {*OLD, "default"}:
                (path / "leadline-manifest").unlink(missing_ok=True)
                return manifest
    raise AssertionError("no such cut")


def test_a_torn_manifest_that_forgot_the_family_is_damage_and_no_older_store(tmp_path: Path):
    """After the family was made, data came: a store opened from the shorter manifest would delete its files."""
    path = tmp_path / "db"
    old_store(path)
    engine = RocksEngine(path)
    engine.write([(family, KEY + b"1", os.urandom(500)) for family in FAMILIES])
    engine.flush()
    shutil.copytree(path, tmp_path / "copy")
    engine.close()
    path = tmp_path / "copy"
    without_last_records(path, (path / (path / "CURRENT").read_text().strip()).read_bytes())
    files = {file.name for file in path.glob("*.sst")}
    for secondary in (False, True, False):
        with pytest.raises(StoreCorrupt, match="leadline store repair"):
            RocksEngine(path, secondary=secondary)
    assert {file.name for file in path.glob("*.sst")} == files


def test_a_repair_of_a_store_without_the_family_makes_it(tmp_path: Path):
    old_store(tmp_path / "db")
    RocksEngine.repair(tmp_path / "db")
    engine = RocksEngine(tmp_path / "db")
    assert contents(engine) == {family: [b"old"] for family in OLD} | {"hours": []}
    engine.close()
