"""`leadline replay` of a recording into a new store, as an operator runs it: a process of its own, wall clock, start included.

Baseline: reading and decoding the same file, nothing else done with it.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import material
from bench.rows import Row, interleaved
from leadline.exchange.replay import Recording


def run(quick: bool) -> list[Row]:
    """BTCUSDT of 2024 (quick: the thin pairs)."""
    files = [material.captures() / file for file in (material.THIN[0] if quick else material.BIG[:1])]
    events = list(Recording(files).events())
    stamps = [event.ts_recv_ns for event in events if hasattr(event, "ts_recv_ns")]
    recorded_s = (stamps[-1] - stamps[0]) / 1e9

    def replay() -> float:
        with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
            begun = time.perf_counter()
            command = [sys.executable, "-m", "leadline", "replay", *map(str, files), "--data", str(Path(folder) / "store")]
            subprocess.run(command, check=True, capture_output=True)
            return time.perf_counter() - begun

    def read() -> float:
        begun = time.perf_counter()
        for _ in Recording(files).events():
            pass
        return time.perf_counter() - begun

    took = interleaved({"replay": replay, "read": read}, 1 if quick else 5)
    lasted = {name: len(events) / seconds for name, seconds in took.items()}
    return [
        Row(f"replay of {len(events):,} messages", lasted["replay"], "messages/s", "reading and decoding alone", lasted["read"]),
        Row("times the speed of the recording", recorded_s / took["replay"], "x"),
        Row(f"replay of {recorded_s:.0f} s", took["replay"], "s", "reading and decoding alone", took["read"]),
    ]
