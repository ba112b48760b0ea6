"""RocksDB behind the Engine protocol, and the only file that imports rocksdict. Its traps end here (docs/store.md).

T1  options given at a reopen are ignored for families they are not given for: every family is named, and read back.
T2  an iterator keeps a bare pointer to its upper bound: bound, options and iterator are locals of one function.
T3  the binding's setter for the lower bound sets the upper one: it is never called; the low side is cut by seek.
T4  the dict-like views end silently at a damaged block: loops run on the iterator and end with status().

And one of RocksDB's own: a manifest cut short opens as an older store, and the data files it no longer names are deleted. So
its length is noted (at open, flush and close) in a file of ours, and a shorter one is refused before RocksDB sees it. A family
that the manifest does not name is made anew only where it is a derived one, and no options file of RocksDB's names it either.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    ColumnFamily,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from leadline.core.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreLocked
from leadline.store import keys
from leadline.store.engine import DERIVED, FAMILIES, Damage, Put, Range, Scan

MB = 1 << 20
BLOCK_BYTES = 16 << 10  # 178 B a snapshot on disk and 21 us a get; 4 kB: 207 B, 64 kB: 50 us (docs/store.md)
BLOOM_BITS = 10
ZSTD_LEVEL = 3
WAL_BYTES_MAX = 64 * MB  # without it a rarely written family pins the whole log
SMALL_BUFFER_BYTES = 1 * MB

_BUSY = ("snapshots", "seconds", "trades")
_DEFAULT = "default"  # RocksDB's own family: always there, always empty, and T1 applies to it too
_COUNT_PAGE = 4096
_DEFAULT_W_BITS = -14  # RocksDB's own
_NOTE = "leadline-manifest"


class RocksEngine:
    """One RocksDB folder: the only writer, or (secondary) one of many readers beside it, each with a folder of its own.

    patient: wait out a stall instead of refusing; for a process that does nothing but write.
    cache_bytes: one block cache for all families. write_buffer_bytes: of each of snapshots, seconds and trades.
    Raises StoreLocked if another process writes here, StoreCorrupt if files are damaged, StoreError if there is no such folder.
    """

    def __init__(
        self,
        path: Path,
        *,
        secondary: bool = False,
        patient: bool = False,
        cache_bytes: int = 8 * MB,
        write_buffer_bytes: int = 1 * MB,
    ) -> None:
        self.path = path
        self._own: Path | None = None
        self._closed = True
        holds_data = _check_folder(path, reader=secondary)
        cache = Cache(cache_bytes)
        buffers = {name: write_buffer_bytes if name in _BUSY else SMALL_BUFFER_BYTES for name in (*FAMILIES, _DEFAULT)}
        # All families are made in an empty folder only: RocksDB takes a torn manifest for a short one, and would make those
        # it no longer knows anew, empty, and delete the data files of the old.
        create = not secondary and not holds_data
        options = {name: _options(cache, buffer, create=create) for name, buffer in buffers.items()}
        access = AccessType.read_write()
        if secondary:
            self._own = Path(tempfile.mkdtemp(prefix="leadline-reader-"))
            access = AccessType.secondary(str(self._own))
        try:
            try:
                absent: set[str] = set()
                self._db = self._opened(options, access)
            except StoreCorrupt as damage:
                absent = self._of_an_older_program(damage)
                self._db = self._opened({name: option for name, option in options.items() if name not in absent}, access)
            with self._translated():
                while absent and not secondary:
                    name = absent.pop()
                    self._db.create_column_family(name, options[name]).close()
                held = [name for name in FAMILIES if name not in absent]
                self._families = {name: self._db.get_column_family(name) for name in held}
                self._handles = {name: self._db.get_column_family_handle(name) for name in held}
        except StoreError:
            self._drop_own()
            raise
        self._absent = absent  # a reader finds nothing in them
        self._closed = False
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = not patient  # a stall would hold the GIL, up to 268 ms; refused instead, as StoreBusy
        for name, family in (*self._families.items(), (_DEFAULT, self._db)):
            capacity = family.property_int_value("rocksdb.block-cache-capacity")
            if capacity != cache_bytes:  # T1
                self.close()
                raise StoreError(str(path), f"options were ignored: block cache of {name} is {capacity} bytes, not {cache_bytes}")
        self._note_manifest()

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        """One write batch, then one fsync of the log. StoreBusy, StoreFull: nothing is lost by writing the same again."""
        self._open()
        batch = WriteBatch(raw_mode=True)
        with self._translated():
            for family, lo, hi in deletes:
                handle = self._handle(family)
                if hi == keys.after(lo):
                    batch.delete(lo, handle)  # gone with the next flush; a range would be looked at by every read until then
                elif lo < hi:  # RocksDB takes a reversed range and fails every write and flush after it
                    batch.delete_range(lo, hi, handle)
            for family, key, value in puts:
                batch.put(key, value, self._handle(family))
            self._db.write(batch, self._write_options)
            if sync:
                self._db.flush_wal(True)

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None. Raises StoreCorrupt where the key's block is damaged."""
        if self._is_absent(family):
            return None
        with self._translated(family, key):
            value: bytes | None = self._family(family).get(key)
            return value

    def scan(self, family: str, lo: bytes, hi: bytes, limit: int | None = None) -> Scan:
        """Rows in key order. Raises StoreCorrupt for damage in a range that is not inside one symbol."""
        rows: list[tuple[bytes, bytes]] = []
        holes: list[Damage] = []
        start = hi if self._is_absent(family) else lo
        while start < hi and (limit is None or len(rows) < limit):
            damage = self._read(family, start, hi, rows, limit)
            if damage is None:
                break
            lost = keys.after(rows[-1][0]) if rows else lo
            if not keys.same_symbol(lo, hi):
                raise StoreCorrupt(str(self.path), damage, family, lost.decode(errors="replace"))
            start = self._beyond(family, lost, hi)
            holes.append(Damage(lost, start, damage))
        return Scan(rows, holes)

    def last(self, family: str, lo: bytes, upto: bytes) -> tuple[bytes, bytes] | None:
        """The greatest key in [lo, upto]; a neighbour symbol's key is not taken for it."""
        if self._is_absent(family):
            return None
        with self._translated(family, upto):
            options = ReadOptions()
            it = self._family(family).iter(options)
            it.seek_for_prev(upto)
            row = (it.key(), it.value()) if it.valid() else None
            it.status()
            return row if row is not None and row[0] >= lo else None

    def count(self, family: str, lo: bytes, hi: bytes) -> int:
        """Rows that can be read, page by page, so that memory stays small."""
        total = 0
        while True:
            page = self.scan(family, lo, hi, _COUNT_PAGE).rows
            total += len(page)
            if len(page) < _COUNT_PAGE:
                return total
            lo = keys.after(page[-1][0])

    def used_bytes(self) -> int:
        """Sizes of all files in the folder."""
        self._open()
        total = 0
        for file in self.path.rglob("*"):
            try:
                total += file.stat().st_size
            except FileNotFoundError:  # compaction deletes files while we look
                continue
        return total

    def flush(self) -> None:
        """Every family: the binding's flush knows only its own."""
        self._open()
        with self._translated():
            for family in self._families.values():
                family.flush(True)
        self._note_manifest()

    def compact(self, family: str, lo: bytes, hi: bytes) -> None:
        """Lets go of the GIL; 0.2-1.4 s for a retention cut (docs/store.md)."""
        with self._translated(family):
            self._family(family).compact_range(lo, hi)

    def checkpoint(self, path: Path) -> None:
        """Hard links, so 1-9 ms; it pins old files until it is deleted."""
        self._open()
        with self._translated():
            Checkpoint(self._db).create_checkpoint(str(path))

    def catch_up(self) -> None:
        """Secondary: see what the writer has written until now. About 4 ms."""
        self._open()
        if self._own is not None:
            with self._translated():
                self._db.try_catch_up_with_primary()

    def close(self) -> None:
        """Families first, then handles, then the database: LOCK is held while one of them lives.

        The binding flushes each family on the way. On a full disk it cannot and says so; the log still has all that was
        acknowledged, so nobody needs to act, and LOCK must be let go all the same.
        """
        if self._closed:
            return
        self._closed = True
        for family in self._families.values():
            with suppress(StoreError), self._translated():
                family.close()
        self._families.clear()
        self._handles.clear()
        with suppress(StoreError), self._translated():
            self._db.close()
        del self._db
        self._note_manifest()
        self._drop_own()

    @classmethod
    def repair(cls, path: Path) -> Path:
        """Copy the folder beside itself, let RocksDB rebuild its manifest, return the copy's path.

        The store must not be open. A data file with a damaged block is moved whole to `lost/`: the copy still has it.
        """
        _check_folder(path, reader=True, damaged=True)
        copy = next(p for n in count(1) if not (p := path.with_name(f"{path.name}.before-repair-{n}")).exists())
        try:
            shutil.copytree(path, copy)
        except OSError as error:
            shutil.rmtree(copy, ignore_errors=True)
            raise StoreError(str(path), f"no copy could be made before the repair: {error}") from error
        (path / _NOTE).unlink(missing_ok=True)
        options = _options(Cache(8 * MB), SMALL_BUFFER_BYTES, create=True)
        try:
            Rdict.repair(str(path), options)
            # Families that had no data file are forgotten by now; made anew here, since an open refuses to. Derived ones are
            # emptied: what they were made from may be gone.
            db = Rdict(str(path), options, dict.fromkeys((*FAMILIES, _DEFAULT), options))
            for name in DERIVED:
                db.drop_column_family(name)
                db.create_column_family(name, options).close()
            db.close()
        except Exception as error:
            translated = _translation(str(path), error)
            if isinstance(translated, StoreLocked):
                shutil.rmtree(copy)
            raise translated from error
        return copy

    def _read(self, family: str, lo: bytes, hi: bytes, rows: list[tuple[bytes, bytes]], limit: int | None) -> str | None:
        """Append rows of [lo, hi) until the end (None) or until damage (its text)."""
        upper = hi  # T2: bound, options and iterator live and die in this frame
        options = ReadOptions()
        options.set_iterate_upper_bound(upper)
        try:
            with self._translated(family, lo):
                it = self._family(family).iter(options)
                it.seek(lo)
                while it.valid() and (limit is None or len(rows) < limit):
                    rows.append((it.key(), it.value()))
                    it.next()
                it.status()  # T4
        except StoreCorrupt as damage:
            return damage.why
        return None

    def _beyond(self, family: str, lost: bytes, hi: bytes) -> bytes:
        """The first readable key of [lost, hi), or hi. `lost` itself lies in a damaged block.

        Steps of one second, later of 1/256 of the way, then bisection back: a block of quiet data may span days.
        """

        def found(second: int) -> bytes | None:
            """The first key from `second` on (none left: hi), or None if it lies in a damaged block."""
            rows: list[tuple[bytes, bytes]] = []
            # A fresh iterator each time: one that failed may call the next good block its end.
            damage = self._read(family, keys.probe(lost, second), hi, rows, 1)
            return None if damage and not rows else rows[0][0] if rows else hi

        begin, end = keys.span(lost, hi)
        end = min(end, keys.SECOND_MAX)
        dark = light = begin
        while light < end and found(light) is None:
            dark = light
            light += 1 + (light - begin) // 256
        light = min(light, end)
        while light - dark > 1:
            middle = (dark + light) // 2
            dark, light = (middle, light) if found(middle) is None else (dark, middle)
        return found(light) or hi

    def _opened(self, options: dict[str, Options], access: AccessType) -> Rdict:
        with self._translated():
            return Rdict(str(self.path), options[_DEFAULT], options, access)

    def _of_an_older_program(self, damage: StoreCorrupt) -> set[str]:
        """The derived families that this store has never had. Raises `damage` if they, or others, were there once."""
        with self._translated():
            named = set(Rdict.list_cf(str(self.path)))
        absent = set(FAMILIES) - named
        # RocksDB writes one at each open and for each new family, after the manifest, and keeps the last two.
        options = "".join(file.read_text(errors="replace") for file in self.path.glob("OPTIONS-*"))
        if not absent or not absent <= set(DERIVED) or any(f'[CFOptions "{name}"]' in options for name in absent):
            raise damage
        return absent

    def _note_manifest(self) -> None:
        if self._own is None:
            with suppress(OSError):  # a full disk: the older note stays true
                name = (self.path / "CURRENT").read_text().strip()
                fresh = self.path / f"{_NOTE}.new"
                fresh.write_text(f"{name} {(self.path / name).stat().st_size}\n")
                fresh.replace(self.path / _NOTE)

    def _open(self) -> None:
        if self._closed:
            raise StoreError(str(self.path), "is closed")

    def _is_absent(self, family: str) -> bool:
        """Whether a reader looks at a store that does not have this family yet."""
        self._open()
        return family in self._absent

    def _family(self, family: str) -> Rdict:
        self._open()
        if family not in self._families:
            raise StoreError(str(self.path), f"has no family {family!r}")
        return self._families[family]

    def _handle(self, family: str) -> ColumnFamily:
        self._family(family)
        return self._handles[family]

    def _drop_own(self) -> None:
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    @contextmanager
    def _translated(self, family: str = "", key: bytes = b"") -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if type(error) not in (Exception, DbClosedError) and not isinstance(error, OSError):
                # Ours, or a bug: the binding raises plain Exception, and OSError for its own small file.
                raise
            raise _translation(str(self.path), error, family, key.decode(errors="replace")) from error


def _options(cache: Cache, write_buffer_bytes: int, *, create: bool) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_block_size(BLOCK_BYTES)
    table.set_bloom_filter(BLOOM_BITS, False)  # whole keys; no prefix extractor anywhere (docs/store.md)
    table.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.create_missing_column_families(create)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_compression_options(_DEFAULT_W_BITS, ZSTD_LEVEL, 0, 0)
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.set_max_open_files(-1)  # secondary readers need it
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 * MB)  # else one LOG file grows for ever
    return options


def _check_folder(path: Path, *, reader: bool, damaged: bool = False) -> bool:
    """Whether the folder holds data. Raises in our words where the binding would make folders or an empty store instead."""
    if path.exists() and not path.is_dir():
        raise StoreError(str(path), "is a file, not a folder")
    if not path.parent.is_dir():
        raise StoreError(str(path), f"the folder {path.parent} does not exist")
    files = list(path.iterdir()) if path.is_dir() else []
    data = any(f.suffix in (".sst", ".log") and f.stat().st_size for f in files)
    current = any(f.name == "CURRENT" for f in files)
    if data and not current and not damaged:
        raise StoreCorrupt(str(path), "the file CURRENT is missing")
    with suppress(FileNotFoundError, ValueError):  # no note, no proof
        name, size = (path / _NOTE).read_text().split()
        held = (path / name).stat().st_size
        if held < int(size) and not damaged:
            raise StoreCorrupt(str(path), f"{name} has {held} bytes, it had {size}")
    if reader and not (data or current):
        raise StoreError(str(path), "there is no store here")
    return data


def _translation(path: str, error: Exception, family: str = "", key: str = "") -> StoreError:
    """The one place where the binding's sentences are read."""
    text = str(error)
    if isinstance(error, DbClosedError):
        return StoreError(path, "is closed")
    if "No space left" in text:
        return StoreFull(path, text)
    if "lock hold by current process" in text or ("lock file" in text and "temporarily unavailable" in text):
        return StoreLocked(path, "already in use by another process")
    if "Write stall" in text:
        return StoreBusy(path, text)
    if (
        "Corruption" in text
        or "Column family not found" in text
        or ("No such file" in text and (".sst" in text or "MANIFEST" in text))
    ):
        return StoreCorrupt(path, text, family, key)
    return StoreError(path, text)
