"""A recorder in a process of its own, fed through stdin: `python -m bench.recorder_child FOLDER CACHE_MB BUFFER_MB`.

Lines: `S SYMBOL BODY` a depth answer, `NS FRAME` a frame. It records by the wall clock of the stamps, and prints what it holds
in memory as one JSON object: bytes after its imports, with store and books open, after each hour, at the end, and at most.
"""

import logging
import sys
from pathlib import Path

import msgspec
import psutil

from leadline import app
from leadline.config import Settings, Store
from leadline.core.records import Subscribed
from leadline.core.sync import FetchSnapshot
from leadline.exchange.binance import wire
from leadline.service.feed import Feed
from leadline.service.recorder import Recorder
from leadline.store.history import History

NANO = 1_000_000_000


def main(folder: Path, cache_mb: int, buffer_mb: int) -> None:
    logging.disable()
    memory = psutil.Process().memory_info
    said = {"imports": memory().rss, "hours": []}
    engine = app.open_writer(Settings(store=Store(cache_mb=cache_mb, write_buffer_mb=buffer_mb)), folder)
    recorder = Recorder(History(engine, str(folder)), snapshot_lines="none")
    decode = wire.FrameDecoder().decode
    feeds: dict[str, Feed] = {}
    second = 0
    for line in sys.stdin.buffer:
        stamp, _, data = line.partition(b" ")
        if stamp == b"S":
            symbol, _, body = data.partition(b" ")
            _begin(feeds, symbol.decode(), body)
            continue
        recv_ns = int(stamp)
        if not second:
            said["open"] = memory().rss
            second = recv_ns // NANO + 1
        while recv_ns >= second * NANO:
            rows = [
                feed.tick(second, tick_recv_ns=second * NANO, sample_ns=second * NANO, now=second)[0] for feed in feeds.values()
            ]
            recorder.write([recorder.checked(row, second) for row in rows])  # type: ignore[arg-type]
            second += 1
            if second % 3600 == 0:
                said["hours"].append(memory().rss)  # type: ignore[attr-defined]
        event = decode(data, recv_ns)
        feeds[event.symbol].handle(event, recv_ns / 1e9, recv_ns)  # type: ignore[union-attr, arg-type]
    said["end"] = memory().rss
    # ru_maxrss would be the parent's where that was larger: it outlives exec.
    status = Path("/proc/self/status").read_text()
    said["most"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    said["rows"] = recorder.stored
    said["lost"] = sum(feed.gaps + feed.crossings + feed.audit.mismatches for feed in feeds.values())
    engine.close()
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")


def _begin(feeds: dict[str, Feed], symbol: str, body: bytes) -> None:
    feed = feeds[symbol] = Feed(symbol)
    asked = feed.handle(Subscribed((symbol,), 0), 0.0, 0)[0]
    assert isinstance(asked, FetchSnapshot)
    feed.snapshot_received(asked.request_id, wire.depth_snapshot(body, symbol, 1000), 0.0, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
