"""One second of all symbols into the store, wall milliseconds.

Four ways in turn, each with a store of its own: History.write as the service calls it (encode, merge trades, one batch, fsync of
the log); the same without the fsync; the ready batch alone without the fsync; and the bare machine: 4 kB appended to a file and
fdatasync. Rows come from the feeds of the recorded mixes, second after second.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import material
from bench.rows import Row, ceiling, percentile, settle
from leadline import app
from leadline.config import Settings
from leadline.core.records import SymbolSecond
from leadline.store.engine import Put, Range
from leadline.store.history import History


class Unsynced:
    """An engine whose writes do not wait for the disk; `puts`: what the last one held."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.puts: list[Put] = []

    def write(self, puts: Sequence[Put], deletes: Sequence[Range] = (), *, sync: bool = True) -> None:
        self.puts = list(puts)
        self.engine.write(puts, deletes, sync=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def run(quick: bool) -> list[Row]:
    """Three sizes of batch in turn."""
    rows: list[Row] = []
    for symbols, seconds in ((2, 5 if quick else 300), (20, 5 if quick else 300), *([] if quick else [(400, 150)])):
        rows += _measured(symbols, seconds)
    return rows


def _measured(symbols: int, seconds: int) -> list[Row]:
    members = material.mix(symbols)
    warm = material.WARM_S if symbols > 2 and seconds > material.WARM_S else 0
    ms: dict[str, list[float]] = {"sync": [], "unsynced": [], "ready": [], "fdatasync": []}
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as name:
        folder = Path(name)
        settings = Settings(symbols=tuple(member.name for member in members))
        engines = {way: app.open_writer(settings, folder / way) for way in ("sync", "unsynced", "ready")}
        unsynced = Unsynced(engines["unsynced"])
        synced_history, unsynced_history = History(engines["sync"], name), History(unsynced, name)
        plain = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        batches = list(material.rows_of(members, seconds))
        settle()
        for number, rows in enumerate(batches):
            lasted = [
                ("unsynced", _ms(_write, unsynced_history, rows)),
                ("sync", _ms(_write, synced_history, rows)),
                ("ready", _ms(engines["ready"].write, unsynced.puts, (), sync=False)),
                ("fdatasync", _ms(_append, plain)),
            ]
            if number >= warm:
                for way, spent in lasted:
                    ms[way].append(spent)
        os.close(plain)
        for engine in engines.values():
            engine.close()
    out: list[Row] = []
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        at = {way: percentile(values, share) for way, values in ms.items()}
        base = {"baseline": f"4 kB and fdatasync, {label}", "baseline_value": at["fdatasync"]}
        limited = symbols == 20 and label == "p99"
        for way, what in (
            ("sync", "encode, write, fsync"),
            ("unsynced", "encode, write, no fsync"),
            ("ready", "write of the ready batch, no fsync"),
        ):
            figure = f"{symbols} symbols: {what}, {label}"
            if limited and way != "sync":
                out.append(ceiling(figure, at[way], "ms", 1, **base))
            else:
                out.append(Row(figure, at[way], "ms", **base))
    return out


def _write(history: History, rows: list[SymbolSecond]) -> None:
    failed = history.write(rows)
    assert not failed, failed[0]


def _append(file: int) -> None:
    os.write(file, b"x" * 4096)
    os.fdatasync(file)


def _ms(call: Callable[..., Any], *args: Any, **named: Any) -> float:
    begun = time.perf_counter_ns()
    call(*args, **named)
    return (time.perf_counter_ns() - begun) / 1e6
