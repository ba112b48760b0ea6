"""What a book, a feed and a recorder hold in memory.

Books and feeds: bytes by tracemalloc, numbers of each made anew as decoding makes them. Recorder: the resident set of a process
of its own that is sent the frames of BTCUSDT and ETHUSDT for a day, the first hours as recorded, the rest of the day without
tickers and with one trade a second, so that it fits into minutes. What it holds beyond its imports is compared with the promise.
"""

import gc
import heapq
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from bench import material
from bench.material import NANO, START_S, Event, Member, Stream
from bench.rows import Row, ceiling
from leadline.core.book import Book
from leadline.core.records import BestQuote, Subscribed, Trade
from leadline.core.sync import FetchSnapshot
from leadline.exchange.binance import wire
from leadline.service.feed import Feed

FULL_HOURS = 2
PROFILES = (("default cache (8 + 2 MiB)", 0, 0, 60), ("low memory (2 + 1 MiB)", 2, 1, 20))  # label, cache, buffer, bar in MiB


def run(quick: bool) -> list[Row]:
    """Books, feeds, then the recorder with both cache profiles beside each other."""
    big = [stream for file in material.BIG for stream in material.streams([file]).values()]
    thin = [stream for files in material.THIN for stream in material.streams(files).values()]
    return [
        *_books("big", big, 4 if quick else 40),
        *_books("thin", thin, 2 if quick else 10),
        _feed("BTCUSDT", big[0], 500 if quick else 10**9),
        _feed("a thin pair", max(thin, key=lambda stream: len(stream.events)), 10**9),
        *_recorders(20 if quick else FULL_HOURS * 3600, 40 if quick else 86_400),
    ]


def _books(kind: str, streams: list[Stream], copies: int) -> list[Row]:
    bodies = [(stream.symbol, material.body(stream.snapshot)) for stream in streams]
    levels = sum(len(s.snapshot.bids) + len(s.snapshot.asks) for s in streams) / len(streams)

    def book(symbol: str, body: bytes) -> Book:
        return Book(wire.depth_snapshot(body, symbol, 1000))

    def plain(symbol: str, body: bytes) -> Any:
        answer = msgspec.json.decode(body)
        return [{float(price): float(quantity) for price, quantity in answer[side]} for side in ("bids", "asks")]

    ours, base = (_bytes_each(make, bodies, copies) for make in (book, plain))
    return [Row(f"{kind} book of {levels:,.0f} levels", ours / 1024, "KiB", "two dicts of floats", base / 1024)]


def _bytes_each(make: Callable[[str, bytes], Any], bodies: list[tuple[str, bytes]], copies: int) -> float:
    make(*bodies[0])
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    held = [make(*body) for _ in range(copies) for body in bodies]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(held)


def _feed(name: str, stream: Stream, events: int) -> Row:
    """A feed after a recording has gone through it, everything of it included: book, sums, histograms, what waits."""
    frames = [material.frame(event) for event in stream.events[:events]]
    stamps = [event.ts_recv_ns for event in stream.events[:events]]
    body = material.body(stream.snapshot)
    decode = wire.FrameDecoder().decode
    for data in frames[:100]:
        decode(data, 1)
    first_book = _bytes_each(lambda symbol, body: Book(wire.depth_snapshot(body, symbol, 1000)), [(stream.symbol, body)], 1)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    feed = Feed(stream.symbol, event_ticks=True)
    asked = feed.handle(Subscribed((stream.symbol,), stamps[0]), 0.0, stamps[0])[0]
    assert isinstance(asked, FetchSnapshot)
    feed.snapshot_received(asked.request_id, wire.depth_snapshot(body, stream.symbol, 1000), 0.0, stamps[0])
    for data, stamp in zip(frames, stamps, strict=True):
        feed.handle(decode(data, stamp), 0.0, stamp)  # type: ignore[arg-type]
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert feed.sync.book is not None
    return Row(f"feed of {name} after {len(frames):,} messages", held / 1024, "KiB", "its first book", first_book / 1024)


def _recorders(full_s: int, all_s: int) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.recorder_child", str(Path(folder) / str(n)), str(cache), str(buffer)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).resolve().parents[1],
            )
            for n, (_, cache, buffer, _) in enumerate(PROFILES)
        ]
        for block in _blocks(_lines(full_s, all_s)):
            for child in children:
                child.stdin.write(block)  # type: ignore[union-attr]
        said = [msgspec.json.decode(child.communicate()[0]) for child in children]
    lasted = f"{all_s / 3600:.0f} h of 2 symbols" if all_s >= 3600 else f"{all_s} s of 2 symbols"
    for (label, _, _, bar), seen in zip(PROFILES, said, strict=True):
        assert not seen["lost"] and seen["rows"] >= 2 * (all_s - 2), seen
        mib = {name: value / 2**20 for name, value in seen.items() if isinstance(value, int)}
        base = {"baseline": "imports alone", "baseline_value": mib["imports"]}
        rows += [
            ceiling(f"recorder, {label}: beyond its imports after {lasted}", mib["end"] - mib["imports"], "MiB", bar, **base),
            Row(f"recorder, {label}: resident at the end", mib["end"], "MiB", **base),
            Row(f"recorder, {label}: resident with books and store open", mib["open"], "MiB", **base),
            Row(f"recorder, {label}: most", mib["most"], "MiB", **base),
        ]
        if len(seen["hours"]) > FULL_HOURS:
            at = seen["hours"][FULL_HOURS - 1] / 2**20
            rows.append(Row(f"recorder, {label}: resident after {FULL_HOURS} h", at, "MiB", **base))
    return rows


def _lines(full_s: int, all_s: int) -> Iterator[bytes]:
    members = material.mix(2)
    for member in members:
        yield b"S %s %s\n" % (member.name.encode(), material.body(member.stream.snapshot))
    streams = [member.stream.run(member.name, 0, START_S * NANO) for member in members]
    thinner = _Thinner(members)
    for event in heapq.merge(*streams, key=lambda event: event.ts_recv_ns):
        passed_s = event.ts_recv_ns // NANO - START_S
        if passed_s >= all_s:
            return
        kept = thinner.kept(event, passed_s >= full_s)
        if kept is not None:
            yield b"%d %s\n" % (kept.ts_recv_ns, material.frame(kept))


class _Thinner:
    """Trades keep a chain without holes while only the first of each second goes through."""

    def __init__(self, members: list[Member]) -> None:
        self._ids = {member.name: 0 for member in members}
        self._seconds = {member.name: 0 for member in members}

    def kept(self, event: Event, thin: bool) -> Event | None:
        if not thin:
            return self._numbered(event) if isinstance(event, Trade) else event
        if isinstance(event, BestQuote):
            return None
        if isinstance(event, Trade):
            second = event.ts_recv_ns // NANO
            if self._seconds[event.symbol] == second:
                return None
            self._seconds[event.symbol] = second
            return self._numbered(event)
        return event

    def _numbered(self, trade: Trade) -> Trade:
        number = self._ids[trade.symbol] = self._ids[trade.symbol] + 1
        return structs.replace(trade, agg_id=number, first_id=number, last_id=number)


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    block: list[bytes] = []
    for line in lines:
        block.append(line)
        if len(block) == 500:
            yield b"".join(block)
            block.clear()
    yield b"".join(block)
