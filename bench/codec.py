"""What a stored value costs: microseconds to encode and decode it, bytes raw, bytes on the disk.

Rows are what the feeds of BTCUSDT and ETHUSDT hand over, second after second, both symbols in turn. Numbers and their texts are
remembered by the codec, so each pass starts with nothing remembered and goes through the seconds in their order, as recording
does. Disk: the same ten minutes again and again as later hours, written in batches of 512 rows, flushed, compacted; a family
alone is a second store with nothing else in it.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import material
from bench.rows import Row, ceiling, interleaved, settle
from leadline.core import units
from leadline.core.records import SymbolSecond
from leadline.service.replay import BATCH_ROWS
from leadline.store import codec, keys
from leadline.store.engine import Put, Range
from leadline.store.history import History
from leadline.store.rocks import RocksEngine

TILE_S = 600
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[list[tuple[str, str]], list[tuple[str, str]], int, int]).decode
_unpack_any = msgspec.msgpack.Decoder().decode


def run(quick: bool) -> list[Row]:
    """Times, then sizes."""
    rows = [row for second in material.rows_of(material.mix(2), 60 if quick else TILE_S) for row in second]
    crowd = (
        [row for second in material.rows_of(material.mix(400), material.WARM_S + 2) for row in second][-800:] if not quick else []
    )
    return _times(rows, crowd, 2 if quick else 9) + _sizes(rows, 60 if quick else TILE_S, 1 if quick else 24)


def _times(rows: Sequence[SymbolSecond], crowd: Sequence[SymbolSecond], rounds: int) -> list[Row]:
    snapshots = [row.snapshot for row in rows if row.snapshot is not None]
    many = [row.snapshot for row in crowd if row.snapshot is not None]
    records = [row.record for row in rows if row.record is not None]
    plain = [record for record in records if record.minute is None]
    minutes = [record for record in records if record.minute is not None]
    blocks = [block for row in rows for block in row.trades]
    books = [codec.encode_snapshot(snapshot) for snapshot in snapshots]
    ready = [_unpack(value) for value in books]
    seconds = [codec.encode_second(record) for record in plain]
    lists = [_unpack_any(value) for value in seconds]
    trades = [codec.encode_trades(block) for block in blocks]

    def each(call: Callable[[Any], Any], items: Sequence[Any]) -> Callable[[], float]:
        def timed() -> float:
            units.decimal_text.cache_clear()
            codec._e8.cache_clear()
            begun = time.process_time_ns()
            for item in items:
                call(item)
            return (time.process_time_ns() - begun) / 1e3 / len(items)

        return timed

    def columns() -> float:
        begun = time.process_time_ns()
        codec.snapshot_columns(books)
        return (time.process_time_ns() - begun) / 1e3 / len(books)

    cases = {
        "encode": each(codec.encode_snapshot, snapshots),
        "pack": each(_pack, ready),
        "decode": each(codec.decode_snapshot, books),
        "unpack": each(_unpack, books),
        "columns": columns,
        "encode second": each(codec.encode_second, plain),
        "pack second": each(_pack, lists),
        "decode second": each(codec.decode_second, seconds),
        "unpack second": each(_unpack_any, seconds),
        "encode minute": each(codec.encode_second, minutes),
        "encode trades": each(codec.encode_trades, blocks),
        "decode trades": each(lambda value: codec.decode_trades(value, "BTCUSDT", material.START_S), trades),
    }
    if many:
        cases["encode many"] = each(codec.encode_snapshot, many)
    settle()
    us = interleaved(cases, rounds)
    per_block = sum(len(block.trades) for block in blocks) / len(blocks)
    packing, unpacking = "msgpack of ready texts", "msgpack to texts"
    out = [
        ceiling("encode a snapshot", us["encode"], "us", 2, baseline=packing, baseline_value=us["pack"]),
        ceiling("decode a snapshot, exact", us["decode"], "us", 6, baseline=unpacking, baseline_value=us["unpack"]),
        Row("decode a snapshot to float columns", us["columns"], "us", unpacking, us["unpack"]),
        Row("encode a second's record", us["encode second"], "us", "msgpack of a ready list", us["pack second"]),
        Row("decode a second's record, exact", us["decode second"], "us", "msgpack to a list", us["unpack second"]),
        Row("encode a record with its minute block", us["encode minute"], "us"),
        Row(f"encode a block of {per_block:.1f} trades", us["encode trades"], "us"),
        Row(f"decode a block of {per_block:.1f} trades", us["decode trades"], "us"),
    ]
    if many:
        out.insert(1, Row("encode a snapshot, 400 symbols in turn", us["encode many"], "us", packing, us["pack"]))
    return out


class Tee:
    """An engine that writes what it is given, and each family alone into a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.engine = RocksEngine(folder / "all")
        self.alone = {name: RocksEngine(folder / name) for name in ("snapshots", "seconds", "trades")}
        self.bytes = dict.fromkeys(self.alone, 0)
        self.rows = dict.fromkeys(self.alone, 0)

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        self.engine.write(puts, deletes, sync=False)
        for name, engine in self.alone.items():
            own = [put for put in puts if put[0] == name]
            engine.write(own, sync=False)
            self.rows[name] += len(own)
            self.bytes[name] += sum(len(value) for _, _, value in own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def _sizes(rows: Sequence[SymbolSecond], tile_s: int, tiles: int) -> list[Row]:
    symbols = sorted({row.symbol for row in rows})
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        tee = Tee(Path(folder))
        history = History(tee, folder)
        for tile in range(tiles):
            shifted = [material.later(row, tile * tile_s) for row in rows]
            for i in range(0, len(shifted), BATCH_ROWS):
                failed = history.write(shifted[i : i + BATCH_ROWS])
                assert not failed, failed[0]
        used = {}
        for name, engine in (("all", tee.engine), *tee.alone.items()):
            engine.flush()
            for family in ("snapshots", "seconds", "trades"):
                for symbol in symbols:
                    engine.compact(family, *keys.symbol_range(symbol))
            engine.close()
            used[name] = sum(file.stat().st_size for file in (Path(folder) / name).glob("*.sst"))
    count = tile_s * tiles * len(symbols)
    raw = {name: tee.bytes[name] / max(1, tee.rows[name]) for name in tee.bytes}
    hours = f"{tile_s * tiles / 3600:.1f} h of {len(symbols)} symbols"
    rest = (used["seconds"] + used["trades"]) / count
    return [
        Row("snapshot, raw", raw["snapshots"], "B"),
        Row("second's record, raw (minute block included)", raw["seconds"], "B"),
        Row("block of trades, raw", raw["trades"], "B"),
        ceiling(
            f"snapshot on disk, {hours}", used["snapshots"] / count, "B", 200, baseline="raw", baseline_value=raw["snapshots"]
        ),
        Row("second's record on disk", used["seconds"] / count, "B", "raw", raw["seconds"]),
        Row("trades on disk, a symbol-second", used["trades"] / count, "B", "raw", tee.bytes["trades"] / count),
        ceiling("record and trades on disk, a symbol-second", rest, "B", 600),
        Row("all families in one store, a symbol-second", used["all"] / count, "B", "raw", sum(tee.bytes.values()) / count),
        Row("disk a day and symbol", used["all"] / count * 86_400 / 2**20, "MiB"),
    ]
