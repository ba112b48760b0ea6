"""What recording costs: the share of a core for 2, 20 and 400 symbols, and for 400 and 1,500 at the most the protocol sends.

Frames of recorded mixes go through decoder, Feed, wall ticks, Recorder (one log line a snapshot, to nowhere) and History into a
RocksDB store with the service's own settings, as fast as it goes; process CPU time, RocksDB's threads included, divided by the
seconds recorded. Sockets, TLS and wake-ups are not in it. Mixes: 2 = BTCUSDT and ETHUSDT of 2024; 20 = both of them twice and 16
quiet ones; 400 = 4 such, 36 of the middle kind (2021), 360 quiet ones; "ceiling" = quiet ones at 10 diffs a second each. Copies
have moved prices and quantities, so that no cache is flattered. Baseline: the same frames, decoded and thrown away.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from bench import material
from bench.material import START_S, Member
from bench.rows import Row, percentile, settle
from leadline import app, logs
from leadline.config import Settings
from leadline.exchange.binance.wire import FrameDecoder
from leadline.service.recorder import Recorder
from leadline.store.history import History

Frames = list[list[tuple[int, bytes]]]


class Cost(Struct):
    """CPU of one run. tick_us: each Feed.tick with the recorder's checks; second_ms: all ticks of one second."""

    seconds: int
    messages: int
    decode_s: float
    handle_s: float
    ticks_s: float
    total_s: float
    tick_us: list[float]
    second_ms: list[float]
    store_s: float


def run(quick: bool) -> list[Row]:
    """Each mix once; it is long, so it needs no rounds."""
    if quick:
        return _rows("2 symbols", material.mix(2), 5, 0, 1.0) + _rows("20 symbols", material.mix(20), 5, 0, None)
    warm = material.WARM_S
    return [
        *_rows("2 symbols", material.mix(2), 300, 0, 1.0),
        *_rows("20 symbols", material.mix(20), warm + 120, warm, None),
        *_rows("400 symbols", material.mix(400), warm + 60, warm, 25.0),
        *_rows("400 at the ceiling", material.crowded(400), warm + 20, warm, None),
        *_rows("1,500 at the ceiling", material.crowded(1500), warm + 5, warm, 100.0),
    ]


def _rows(label: str, members: Sequence[Member], seconds: int, warm: int, bar_percent: float | None) -> list[Row]:
    frames: Frames = [[(e.ts_recv_ns, material.frame(e)) for e in events] for events in material.seconds_of(members, seconds)]
    settle()
    cost = record(members, frames, warm)

    def share(spent_s: float) -> float:
        return 100 * spent_s / cost.seconds

    name = f"{label}, {cost.messages / cost.seconds:,.0f} messages/s"
    total, decode = share(cost.total_s), share(cost.decode_s)
    bar = "" if bar_percent is None else f"< {bar_percent:g} % of a core"
    met = None if bar_percent is None else total < bar_percent
    tick = percentile(cost.tick_us, 0.5)
    return [
        Row(name, total, "%", "decoding alone", decode, bar, met),
        Row(f"{label}: messages", share(cost.handle_s), "%", "decoding alone", decode),
        Row(f"{label}: ticks", share(cost.ticks_s), "%", "decoding alone", decode),
        Row(f"{label}: encode, write, log lines", share(cost.store_s), "%", "decoding alone", decode),
        Row(f"{label}: a message, decoded and handled", cost.handle_s / cost.messages * 1e6, "us"),
        Row(f"{label}: one tick of one symbol, p99", percentile(cost.tick_us, 0.99), "us", "p50", tick),
        Row(f"{label}: all ticks of a second, worst", max(cost.second_ms), "ms", "p50", percentile(cost.second_ms, 0.5)),
    ]


def record(members: Sequence[Member], frames: Frames, warm: int) -> Cost:
    """Record; what the first `warm` seconds cost is not counted."""
    decoder = FrameDecoder()
    decode = decoder.decode
    feeds = {member.name: material.live_feed(member) for member in members}
    cost = Cost(len(frames) - warm, sum(map(len, frames[warm:])), 0.0, 0.0, 0.0, 0.0, [], [], 0.0)
    clock = time.process_time
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as name, _told_to_nobody():
        engine = app.open_writer(Settings(symbols=tuple(feeds)), Path(name) / "store")
        recorder = Recorder(History(engine, name))
        for number, second in enumerate(frames):
            if number == warm:
                begun = clock()
            before = clock()
            for recv_ns, data in second:
                event = decode(data, recv_ns)
                feeds[event.symbol].handle(event, recv_ns / 1e9, recv_ns)  # type: ignore[union-attr, arg-type]
            handled = clock()
            t = START_S + number + 1
            rows = []
            for feed in feeds.values():
                tick_begun = time.thread_time_ns()
                rows.append(recorder.checked(material.tick(feed, t), t))
                if number >= warm:
                    cost.tick_us.append((time.thread_time_ns() - tick_begun) / 1e3)
            ticked = clock()
            recorder.write(rows)
            if number >= warm:
                cost.handle_s += handled - before
                cost.ticks_s += ticked - handled
                cost.second_ms.append((ticked - handled) * 1e3)
                cost.store_s += clock() - ticked
        cost.total_s = clock() - begun
        engine.close()
    lost = [
        feed.symbol for feed in feeds.values() if feed.gaps or feed.crossings or feed.audit.mismatches or feed.sync.book is None
    ]
    assert not lost, f"books were lost on the way: {lost[:5]}"
    before = clock()
    for second in frames[warm:]:
        for recv_ns, data in second:
            decode(data, recv_ns)
    cost.decode_s = clock() - before
    return cost


@contextlib.contextmanager
def _told_to_nobody() -> Iterator[None]:
    """Log lines are made as the service makes them by default, and written to /dev/null."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with open(os.devnull, "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logs.JsonFormatter())
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
