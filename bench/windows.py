"""An hour and a day of one symbol out of the store, warm: milliseconds of CPU, which is what a warm read takes.

One store with a day of BTCUSDT: ten recorded minutes again and again as later ones, flushed and compacted; opened with the
default cache. The baseline does what a first version does: decode the texts, float() each, np.array of the lists, the whole
window in one go.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import material
from bench.material import START_S
from bench.rows import Row, ceiling, interleaved, settle
from leadline.service.replay import BATCH_ROWS
from leadline.store import keys
from leadline.store.history import History
from leadline.store.rocks import MB, RocksEngine

TILE_S = 600
HOUR_S = 3600
NAMES = ("t", "mid2_close", "spread_tw", "bid_added", "bid_removed", "buy_qty", "sell_qty")
_decode = msgspec.msgpack.Decoder().decode


def run(quick: bool) -> list[Row]:
    """The same questions to the same store, in turn."""
    day_s = TILE_S if quick else 86_400
    hour_s = 120 if quick else HOUR_S
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        symbol = fill(Path(folder) / "store", day_s, TILE_S if not quick else 120)
        engine = RocksEngine(Path(folder) / "store", cache_bytes=8 * MB)
        history = History(engine, folder)

        def naive(lo: int, hi: int) -> Any:
            sides = []
            for _, value in engine.scan("snapshots", *keys.window(symbol, lo, hi)).rows:
                bids, asks, _id, _t = _decode(value)
                sides.append([[[float(p), float(q)] for p, q in side] for side in (bids, asks)])
            return np.array(sides)

        def cases(length: int) -> dict[str, Callable[[], float]]:
            lo, hi = START_S + 1 + (day_s - length) // 2, START_S + 1 + (day_s - length) // 2 + length
            return {
                "columns": lambda: _ms(lambda: history.snapshot_columns(symbol, lo, hi)),
                "seconds": lambda: _ms(lambda: history.second_columns(symbol, lo, hi, NAMES)),
                "exact": lambda: _ms(lambda: history.snapshots(symbol, lo, hi)),
                "scan": lambda: _ms(lambda: engine.scan("snapshots", *keys.window(symbol, lo, hi))),
                "naive": lambda: _ms(lambda: naive(lo, hi)),
            }

        lo = START_S + 1
        assert np.array_equal(history.snapshot_columns(symbol, lo, lo + 60).levels, naive(lo, lo + 60)), "not the same numbers"
        assert len(history.snapshots(symbol, lo, lo + day_s).rows) == day_s
        settle()
        interleaved(cases(hour_s), 1)  # warm
        hour = interleaved(cases(hour_s), 2 if quick else 15)
        day = interleaved(cases(day_s), 1 if quick else 5)
        engine.close()
    out = []
    for what, ms, limit in ((f"{hour_s:,} s", hour, 25), (f"{day_s:,} s", day, 600)):
        base = {"baseline": "decode, float(), np.array", "baseline_value": ms["naive"]}
        out += [
            ceiling(f"{what}: snapshots to columns", ms["columns"], "ms", limit, **base),
            ceiling(f"{what}: {len(NAMES)} columns of the seconds", ms["seconds"], "ms", limit, **base),
            Row(f"{what}: snapshots, exact", ms["exact"], "ms", **base),
            Row(f"{what}: the scan alone", ms["scan"], "ms", **base),
        ]
    return out


def fill(folder: Path, length_s: int, tile_s: int) -> str:
    """A store of length_s seconds of BTCUSDT, tile_s recorded ones again and again; returns the symbol."""
    member = material.mix(2)[0]
    rows = [second[0] for second in material.rows_of([member], tile_s)]
    engine = RocksEngine(folder, write_buffer_bytes=2 * MB)
    history = History(engine, str(folder))
    for start in range(0, length_s, tile_s):
        shifted = [material.later(row, start) for row in rows]
        for i in range(0, tile_s, BATCH_ROWS):
            failed = history.write(shifted[i : i + BATCH_ROWS])
            assert not failed, failed[0]
    engine.flush()
    for family in ("snapshots", "seconds", "trades"):
        engine.compact(family, *keys.symbol_range(member.name))
    engine.close()
    return member.name


def _ms(call: Callable[[], Any]) -> float:
    begun = time.process_time_ns()
    call()
    return (time.process_time_ns() - begun) / 1e6
