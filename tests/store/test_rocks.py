"""RocksDB's traps, each with its cure and, as a canary, the raw binding still misbehaving; damage; locks; full disks.

When a canary fails the binding has been mended, and its cure may go.
"""

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
import rocksdict
from tests.store import samples

import leadline
import leadline.store
from leadline.core.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreLocked
from leadline.store import codec
from leadline.store.engine import DERIVED, FAMILIES
from leadline.store.history import History
from leadline.store.rocks import RocksEngine

T = 1_763_000_000
ROWS = 20_500
ALL = (b"", b"\xff")
SOURCE = str(Path(leadline.__file__).parents[1])


def key(i: int, symbol: str = "BTCUSDT") -> bytes:
    return f"{symbol}:{T + i}".encode()


def fill(path: Path, rows: int = ROWS, step: int = 1) -> None:
    """Rows of 200 B that do not compress, in one data file."""
    engine = RocksEngine(path, write_buffer_bytes=64 << 20)
    engine.write([("snapshots", key(i * step), os.urandom(200)) for i in range(rows)])
    engine.write([("meta", b"symbols", codec.encode_meta(["BTCUSDT"]))])
    engine.close()


def flip(path: Path, share: float = 0.5) -> Path:
    """One bit of the largest data file."""
    sst = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(sst.read_bytes())
    data[int(len(data) * share)] ^= 1
    sst.write_bytes(data)
    return sst


@contextmanager
def raw(path: Path, families: bool = True) -> Iterator[rocksdict.Rdict]:
    """The binding without our wrapper."""
    options = rocksdict.Options(raw_mode=True)
    db = rocksdict.Rdict(str(path), options, dict.fromkeys((*FAMILIES, "default"), options) if families else None)
    try:
        yield db
    finally:
        db.close()


def child(code: str, *args: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-u", "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


# The four traps ---------------------------------------------------------------


def test_t1_options_hold_for_every_family_after_a_reopen(tmp_path):
    for _ in range(2):
        engine = RocksEngine(tmp_path / "db", cache_bytes=9 << 20)
        for family in engine._families.values():
            assert family.property_int_value("rocksdb.block-cache-capacity") == 9 << 20
        engine.close()
    newest = max((tmp_path / "db").glob("OPTIONS-*"), key=lambda file: int(file.name.split("-")[1])).read_text()
    tables = re.split(r"\[TableOptions/BlockBasedTable ", newest)[1:]
    assert {table.split('"')[1] for table in tables if "filter_policy=bloomfilter" in table} == {*FAMILIES, "default"}
    assert newest.count("  prefix_extractor=nullptr") == len(FAMILIES) + 1
    assert newest.count("compression=kZSTD") >= len(FAMILIES) + 1


def test_t1_the_engine_refuses_to_run_when_options_were_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr("leadline.store.rocks.Cache", lambda _: rocksdict.Cache(5 << 20))
    with pytest.raises(StoreError, match="block cache of snapshots is 5242880 bytes, not 8388608"):
        RocksEngine(tmp_path / "db")
    monkeypatch.undo()
    RocksEngine(tmp_path / "db").close()  # and the lock is free


def test_t1_canary_a_bare_reopen_ignores_the_options(tmp_path):
    RocksEngine(tmp_path / "db", cache_bytes=9 << 20).close()
    options = rocksdict.Options(raw_mode=True)
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(rocksdict.Cache(9 << 20))
    options.set_block_based_table_factory(table)
    db = rocksdict.Rdict(str(tmp_path / "db"), options)
    family = db.get_column_family("snapshots")
    assert family.property_int_value("rocksdb.block-cache-capacity") == 8 << 20
    family.close()
    db.close()


def test_t2_200_scans_with_garbage_between_them_are_all_right(rocks):
    rocks.write([("snapshots", key(i), b"v") for i in range(600)])
    wrong = 0
    for i in range(200):
        rows = rocks.scan("snapshots", key(i % 50), key(i % 50 + 500)).rows
        gc.collect(0)
        garbage = [os.urandom(18) for _ in range(50)]
        wrong += len(rows) != 500 or len(garbage) != 50
    assert wrong == 0


def test_t2_canary_a_bound_that_was_a_temporary_is_forgotten(rocks):
    rocks.write([("snapshots", key(i), b"v") for i in range(600)])
    family = rocks._families["snapshots"]

    def iterator(hi: int) -> rocksdict.RdictIter:
        options = rocksdict.ReadOptions()
        options.set_iterate_upper_bound(key(hi))
        return family.iter(options)

    wrong = 0
    for _ in range(200):
        it = iterator(500)
        gc.collect(0)
        others = [iterator(i) for i in range(20)]
        it.seek(key(0))
        n = 0
        while it.valid():
            n += 1
            it.next()
        wrong += n != 500
        del others, it
    assert wrong > 0


def test_t3_the_setter_that_sets_the_wrong_bound_is_never_named():
    for file in Path(leadline.store.__file__).parent.glob("*.py"):
        assert "set_iterate_lower_bound" not in file.read_text()


def test_t3_canary_the_lower_bound_is_set_as_the_upper(rocks):
    rocks.write([("snapshots", key(i), b"v") for i in range(10)])
    options = rocksdict.ReadOptions()
    bound = key(5)
    options.set_iterate_lower_bound(bound)
    it = rocks._families["snapshots"].iter(options)
    it.seek(key(0))
    seen = []
    while it.valid():
        seen.append(it.key())
        it.next()
    assert seen == [key(i) for i in range(5)]


def test_t4_a_flipped_byte_costs_its_block_and_is_reported(tmp_path):
    fill(tmp_path / "db")
    sst = flip(tmp_path / "db")
    engine = RocksEngine(tmp_path / "db")
    scan = engine.scan("snapshots", key(0), key(ROWS))
    found = {k for k, _ in scan.rows}
    missing = [i for i in range(ROWS) if key(i) not in found]
    assert 1 <= len(missing) <= 100
    assert missing == list(range(missing[0], missing[-1] + 1))
    (hole,) = scan.holes
    assert (hole.lo, hole.hi) == (key(missing[0] - 1) + b"\0", key(missing[-1] + 1))
    assert sst.name in hole.why
    with pytest.raises(StoreCorrupt) as caught:
        engine.get("snapshots", key(missing[0]))
    assert (caught.value.family, caught.value.key) == ("snapshots", key(missing[0]).decode())
    assert "leadline store repair" in str(caught.value)

    window = History(engine, "s").snapshot_columns("BTCUSDT", T + missing[0] - 5, T + missing[-1] + 5)
    corrupt = [(h.lo_s, h.hi_s) for h in window.unreadable if h.cause == "corrupt"]
    assert corrupt == [(T + missing[0], T + missing[-1] + 1)]
    engine.close()


def test_t4_canary_the_bindings_views_end_silently_at_a_damaged_block(tmp_path):
    fill(tmp_path / "db")
    flip(tmp_path / "db")
    with raw(tmp_path / "db") as db:
        family = db.get_column_family("snapshots")
        assert 0 < len(list(family.keys())) < ROWS - 1000
        family.close()


@pytest.mark.parametrize("share", [0.0001, 0.98])
def test_damage_at_an_end_of_the_data_is_a_hole_up_to_the_windows_bound(tmp_path, share):
    fill(tmp_path / "db")
    flip(tmp_path / "db", share)
    engine = RocksEngine(tmp_path / "db")
    scan = engine.scan("snapshots", b"BTCUSDT:", b"BTCUSDT;")
    assert ROWS - 100 <= len(scan.rows) < ROWS
    assert len(scan.holes) == 1
    assert engine.count("snapshots", b"BTCUSDT:", b"BTCUSDT;") == len(scan.rows)
    engine.close()


def test_damage_among_rows_hours_apart_costs_the_same_rows(tmp_path):
    fill(tmp_path / "db", step=3_600)
    flip(tmp_path / "db")
    engine = RocksEngine(tmp_path / "db")
    scan = engine.scan("snapshots", b"BTCUSDT:", b"BTCUSDT;")
    assert ROWS - 100 <= len(scan.rows) < ROWS
    ((lo, hi, _),) = scan.holes
    present = {k for k, _ in scan.rows}
    assert lo[:-1] in present and hi in present
    engine.close()


def test_two_damaged_blocks_are_two_holes_with_the_good_rows_between_them(tmp_path):
    fill(tmp_path / "db")
    flip(tmp_path / "db", 0.5)
    flip(tmp_path / "db", 0.505)
    engine = RocksEngine(tmp_path / "db")
    scan = engine.scan("snapshots", b"BTCUSDT:", b"BTCUSDT;")
    first, second = scan.holes
    assert any(first.hi <= k <= second.lo for k, _ in scan.rows)
    assert len(scan.rows) >= ROWS - 200
    engine.close()


def test_damage_in_a_walk_over_all_symbols_is_an_error(tmp_path):
    fill(tmp_path / "db")
    flip(tmp_path / "db")
    engine = RocksEngine(tmp_path / "db")
    with pytest.raises(StoreCorrupt):
        History(engine, "s").digest()
    engine.close()


# Smaller traps ----------------------------------------------------------------


def test_flush_reaches_every_family(rocks):
    rocks.write([(family, b"a", b"b") for family in FAMILIES])
    rocks.flush()
    for family in rocks._families.values():
        assert family.property_int_value("rocksdb.num-entries-active-mem-table") == 0
        assert family.property_value("rocksdb.num-files-at-level0") == "1"


def test_close_lets_go_of_the_lock_even_when_somebody_holds_the_engine(tmp_path):
    engine = RocksEngine(tmp_path / "db")
    engine.write([("meta", b"a", b"b")])
    engine.scan("meta", *ALL)
    engine.close()
    again = RocksEngine(tmp_path / "db")
    assert again.get("meta", b"a") == b"b"
    again.close()


def test_a_stalled_store_refuses_a_write_instead_of_blocking(rocks):
    rocks._families["snapshots"].set_options(
        {
            "level0_file_num_compaction_trigger": "99",
            "level0_slowdown_writes_trigger": "1",
            "level0_stop_writes_trigger": "1",
        }
    )
    rocks.write([("snapshots", b"a", b"1")])
    rocks.flush()
    with pytest.raises(StoreBusy) as caught:
        rocks.write([("snapshots", b"a", b"2")])
    assert caught.value.retryable
    rocks._families["snapshots"].set_options({"level0_slowdown_writes_trigger": "20", "level0_stop_writes_trigger": "36"})
    rocks.write([("snapshots", b"a", b"2")])
    assert rocks.get("snapshots", b"a") == b"2"


def test_a_value_is_stored_without_a_byte_more(tmp_path):
    engine = RocksEngine(tmp_path / "db")
    engine.write([("meta", b"a", b"value")])
    engine.close()
    with raw(tmp_path / "db") as db:
        family = db.get_column_family("meta")
        assert dict(family.items()) == {b"a": b"value"}
        assert list(db.keys()) == []
        family.close()


def test_a_synced_write_is_on_the_disk_before_it_returns(rocks):
    class Spy:
        def __init__(self, db):
            self.db, self.calls = db, []

        def __getattr__(self, name):
            def call(*args):
                self.calls.append((name, args if name == "flush_wal" else len(args[0])))
                return getattr(self.db, name)(*args)

            return call

    real = rocks._db
    rocks._db = Spy(real)
    rocks.write([("meta", b"a", b"1"), ("seconds", b"a", b"1")], [("trades", b"a", b"b")])
    rocks.write([("meta", b"a", b"2")], sync=False)
    calls, rocks._db = rocks._db.calls, real
    assert calls == [("write", 3), ("flush_wal", (True,)), ("write", 1)]


# Opening ----------------------------------------------------------------------


def test_a_second_process_is_told_that_the_store_is_in_use(tmp_path):
    code = "import sys; from pathlib import Path; from leadline.store.rocks import RocksEngine\n"
    code += "engine = RocksEngine(Path(sys.argv[1])); print('open'); sys.stdin.readline(); engine.close()"
    with child(code, tmp_path / "db") as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match="already in use by another process") as caught:
            RocksEngine(tmp_path / "db")
        with pytest.raises(StoreLocked):
            RocksEngine.repair(tmp_path / "db")
        assert list(tmp_path.iterdir()) == [tmp_path / "db"]
        other.stdin.write("\n")
        other.stdin.close()
    assert caught.value.exit_code == 6
    RocksEngine(tmp_path / "db").close()


def test_a_second_open_in_the_same_process_is_refused_too(rocks):
    with pytest.raises(StoreLocked):
        RocksEngine(rocks.path)


def test_a_path_that_is_a_file_is_named_as_one(tmp_path):
    (tmp_path / "db").write_text("")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        RocksEngine(tmp_path / "db")


def test_a_missing_parent_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="x does not exist"):
        RocksEngine(tmp_path / "x" / "db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_an_empty_folder_is_told_that_there_is_no_store(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreError, match="no store here"):
            RocksEngine(folder, secondary=True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """24 MB that can be full. Not under tmp_path: a mount left by a killed run would break pytest's own cleaning."""
    disk = Path(tempfile.mkdtemp(prefix="leadline-small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        disk.rmdir()
        pytest.skip("this machine lets us mount no tmpfs")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
    disk.rmdir()


def test_a_read_only_folder_is_a_clear_error_and_not_a_lock(small_disk):
    fill(small_disk / "db", 10)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for path in (small_disk / "db", small_disk / "new"):
        with pytest.raises(StoreError, match="Read-only file system") as caught:
            RocksEngine(path)
        assert type(caught.value) is StoreError


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(12 << 20))
    engine = RocksEngine(small_disk / "db")
    stored: list[int] = []
    pause = Event()

    def write(i: int, *expected: type[StoreError]) -> None:
        """Nobody sets the event, so a turn is 0.1 s at most; RocksDB itself tries again every 5 s."""
        for _ in range(600):
            try:
                engine.write([("snapshots", key(i), os.urandom(100_000))])
                break
            except (StoreBusy, *expected):
                pause.wait(0.1)
        stored.append(i)

    with pytest.raises(StoreFull) as caught:
        for i in range(1000):
            write(i)
    assert caught.value.retryable
    assert len(engine.get("snapshots", key(stored[-1]))) == 100_000

    ballast.unlink()
    write(5000, StoreError)
    write(5001)
    engine.close()
    engine = RocksEngine(small_disk / "db")
    assert engine.count("snapshots", *ALL) >= len(stored)
    assert all(engine.get("snapshots", key(i)) for i in stored)
    engine.close()


def test_a_close_on_a_full_disk_lets_go_of_the_lock_and_loses_nothing(small_disk):
    (small_disk / "ballast").write_bytes(bytes(18 << 20))
    engine = RocksEngine(small_disk / "db", write_buffer_bytes=16 << 20)
    stored = 0
    with pytest.raises(StoreFull):
        while True:
            engine.write([("snapshots", key(stored), os.urandom(50_000))])
            stored += 1
    engine.close()
    (small_disk / "ballast").unlink()
    assert families(small_disk / "db")["snapshots"] >= stored > 50


# Damage to the store's own files ----------------------------------------------


def families(path: Path) -> dict[str, int]:
    engine = RocksEngine(path)
    counts = {family: engine.count(family, *ALL) for family in FAMILIES}
    engine.close()
    return counts


def repaired(rows: int) -> dict[str, int]:
    """What a repair leaves: derived families are emptied, for what they were made from may be gone."""
    return {family: 0 if family in DERIVED else rows for family in FAMILIES}


def current_manifest(path: Path) -> Path:
    return path / (path / "CURRENT").read_text().strip()


def cut_manifest(path: Path) -> None:
    os.truncate(current_manifest(path), current_manifest(path).stat().st_size * 2 // 3)


def flip_manifest(path: Path) -> None:
    data = bytearray(current_manifest(path).read_bytes())
    data[len(data) // 2] ^= 0xFF
    current_manifest(path).write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        cut_manifest,
        flip_manifest,
        lambda path: (path / "CURRENT").write_text("garbage\n"),
        lambda path: (path / "CURRENT").unlink(),
        lambda path: current_manifest(path).unlink(),
    ],
    ids=["manifest cut", "manifest flipped", "CURRENT overwritten", "CURRENT gone", "manifest gone"],
)
def test_a_damaged_manifest_names_the_repair_and_the_repair_restores_every_row(tmp_path, damage):
    path = tmp_path / "db"
    engine = RocksEngine(path)
    for n in range(2):
        engine.write([(family, key(i), b"v" * 50) for family in FAMILIES for i in range(n * 500, n * 500 + 500)])
        engine.flush()
    engine.close()
    damage(path)
    for _ in range(2):  # a refused open changes nothing
        with pytest.raises(StoreCorrupt, match="leadline store repair"):
            RocksEngine(path)
    before = {file.name: file.read_bytes() for file in path.glob("*.sst")}
    copy = RocksEngine.repair(path)
    assert {file.name: file.read_bytes() for file in copy.glob("*.sst")} == before
    assert families(path) == repaired(1000)


def test_a_store_that_lost_a_family_is_damaged_and_gets_no_empty_one_instead(tmp_path):
    path = tmp_path / "db"
    options = rocksdict.Options(raw_mode=True)
    db = rocksdict.Rdict(str(path), options)
    family = db.create_column_family("snapshots", options)
    family[key(0)] = b"v"
    family.flush()
    family.close()
    db.close()
    with pytest.raises(StoreCorrupt, match="leadline store repair"):
        RocksEngine(path)


def test_a_repair_after_a_clean_close_forgets_no_family(tmp_path):
    """RocksDB's repair drops the log of a family that has no data file; the binding's close leaves nothing to the log."""
    path = tmp_path / "db"
    engine = RocksEngine(path)
    engine.write([(family, key(0), b"v") for family in FAMILIES])
    engine.close()
    cut_manifest(path)
    RocksEngine.repair(path)
    assert families(path) == repaired(1)


def test_the_origin_of_a_new_store_outlives_a_crash_and_a_repair(rocks, tmp_path):
    History(rocks, "s").open_for("synthetic:1", T)
    shutil.copytree(rocks.path, tmp_path / "crashed")
    cut_manifest(tmp_path / "crashed")
    RocksEngine.repair(tmp_path / "crashed")
    engine = RocksEngine(tmp_path / "crashed")
    assert History(engine, "s").meta("origin") == "synthetic:1"
    engine.close()


def test_canary_a_short_manifest_opens_as_an_older_store(tmp_path):
    """Without the note of its length: the second half of the rows is gone, and nobody says so."""
    path = tmp_path / "db"
    engine = RocksEngine(path)
    engine.write([("snapshots", key(i), b"v" * 50) for i in range(500)])
    engine.flush()
    size = current_manifest(path).stat().st_size
    engine.write([("snapshots", key(i), b"v" * 50) for i in range(500, 1000)])
    engine.close()
    os.truncate(current_manifest(path), size)
    (path / "leadline-manifest").unlink()
    assert families(path)["snapshots"] == 500


def test_a_missing_data_file_is_corruption(tmp_path):
    fill(tmp_path / "db", 100)
    next((tmp_path / "db").glob("*.sst")).unlink()
    with pytest.raises(StoreCorrupt, match="leadline store repair"):
        RocksEngine(tmp_path / "db")


def test_a_torn_log_opens_with_all_but_its_last_batch(tmp_path):
    path = tmp_path / "db"
    engine = RocksEngine(path)
    for i in range(100):
        engine.write([("snapshots", key(i), b"v" * 100)])
    shutil.copytree(path, tmp_path / "torn")
    engine.close()
    log = max((tmp_path / "torn").glob("*.log"), key=lambda file: file.stat().st_size)
    os.truncate(log, log.stat().st_size - 5)
    assert families(tmp_path / "torn")["snapshots"] == 99


def test_a_killed_writer_loses_no_acknowledged_batch_and_tears_none(tmp_path):
    code = """
import sys
from pathlib import Path
from leadline.store.rocks import RocksEngine
engine = RocksEngine(Path(sys.argv[1]))
for i in range(10**9):
    engine.write([(family, b"BTCUSDT:%010d" % (1763000000 + i), b"v" * 500) for family in ("snapshots", "seconds", "trades")])
    print(i)
"""
    for victim in (3, 400):
        path = tmp_path / str(victim)
        with child(code, path) as writer:
            acknowledged = next(int(line) for line in writer.stdout if int(line) == victim)
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        counts = families(path)
        assert counts["snapshots"] > acknowledged
        assert counts["snapshots"] == counts["seconds"] == counts["trades"]


# Readers and copies -----------------------------------------------------------


def test_a_reader_sees_new_rows_after_catching_up_and_cannot_write(rocks):
    rocks.write([("snapshots", key(0), b"old"), ("seconds", key(0), b"old")])
    reader = RocksEngine(rocks.path, secondary=True, cache_bytes=3 << 20)
    own = reader._own
    assert reader._families["seconds"].property_int_value("rocksdb.block-cache-capacity") == 3 << 20
    rocks.write([("snapshots", key(1), b"new")], [("seconds", key(0), key(1))])
    assert reader.get("snapshots", key(1)) is None
    reader.catch_up()
    assert reader.get("snapshots", key(1)) == b"new"
    assert reader.count("seconds", *ALL) == 0
    with pytest.raises(StoreError, match="secondary"):
        reader.write([("snapshots", key(2), b"x")])
    rocks.flush()
    rocks.compact("snapshots", *ALL)
    reader.catch_up()
    assert reader.count("snapshots", *ALL) == 2
    reader.close()
    assert not own.exists()


def test_a_checkpoint_holds_the_rows_of_its_moment_and_writing_goes_on(rocks, tmp_path):
    rocks.write([(family, key(i), b"v") for family in FAMILIES for i in range(50)])
    rocks.checkpoint(tmp_path / "copy")
    rocks.write([("snapshots", key(99), b"later")])
    with pytest.raises(StoreError):
        rocks.checkpoint(tmp_path / "copy")
    assert families(tmp_path / "copy") == dict.fromkeys(FAMILIES, 50)
    assert rocks.count("snapshots", *ALL) == 51


def test_compaction_after_a_cut_gives_the_space_back(rocks):
    history = History(rocks, "s")
    rocks.write([("snapshots", key(i), os.urandom(500)) for i in range(1_000)])
    rocks.write([("meta", b"symbols", codec.encode_meta(["BTCUSDT"]))])
    rocks.flush()

    def size() -> int:
        return rocks._families["snapshots"].property_int_value("rocksdb.live-sst-files-size")

    before = size()
    history.cut_before(T + 950)
    rocks.flush()
    history.compact()
    assert size() < before / 10
    assert rocks.count("snapshots", *ALL) == 50


def test_eight_days_with_one_day_kept_stay_flat_on_the_disk(tmp_path):
    """A row each five minutes for two symbols, cut each hour: 288 rows a day and symbol, and no more disk than after day 2."""
    engine = RocksEngine(tmp_path / "db")
    history = History(engine, "s")
    disk = []
    for day in range(8):
        for hour in range(24):
            now = T + day * 86_400 + hour * 3_600
            rows = [samples.row(now + m * 300, symbol) for m in range(12) for symbol in ("BTC", "BTC1")]
            assert history.write(rows) == []
            history.cut_before(now + 3_600 - 86_400)
        history.compact()
        engine.flush()
        disk.append(sum(f.property_int_value("rocksdb.live-sst-files-size") for f in engine._families.values()))
        for symbol in ("BTC", "BTC1"):
            assert len(history.snapshots(symbol, 0, 10**10).rows) == 288
    assert max(disk[2:]) < 1.5 * disk[1]
    engine.close()
    assert sum(file.stat().st_size for file in (tmp_path / "db").glob("*.sst")) < 1.5 * disk[1]
