"""CPU microseconds a depth message: frame bytes to a decoded, checked, updated book, alone and with the sums of the second.

Every contender starts from the recorded snapshot (not timed) and is given the same frames in the same order; process time, one
thread, garbage collector on. "big": BTCUSDT and ETHUSDT of 2024. "thin": the eight quiet pairs of 2021-10-12, from their
snapshots again and again. Before anything is timed, all are run once and their best prices at the end compared.
"""

import contextlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import msgspec
from msgspec import Struct

from bench import material
from bench.material import START_S, Member
from bench.rows import Row, interleaved, settle
from leadline.core.records import Subscribed
from leadline.core.sync import BookSync, FetchSnapshot
from leadline.exchange.binance.wire import FrameDecoder
from leadline.service.feed import Feed

PEER = "python-binance"
_CLOSED = "ours, with sums and seconds"
NOT_RUN = ("cryptofeed", "ccxt pro", "nautilus_trader", "UBLDC", "a C parse-and-apply")

Prices = dict[str, tuple[float, float]]


class Contender(Struct):
    """begin: a fresh state, not timed; returns what takes one frame, and what then tells the best prices (None: holds none)."""

    name: str
    begin: Callable[[Sequence[Member]], tuple[Callable[[bytes, str], Any], Callable[[], Prices] | None]]


def run(quick: bool) -> list[Row]:
    """All contenders on both kinds of frames."""
    rounds = 2 if quick else 5
    big = [Member(stream.symbol, stream, 0) for file in material.BIG for stream in material.streams([file]).values()]
    thin = [Member(stream.symbol, stream, 0) for files in material.THIN for stream in material.streams(files).values()]
    rows = _measured("big", big, rounds, 1, share=0.1 if quick else 1.0) + _measured("thin", thin, rounds, 1 if quick else 10)
    return rows + [Row(f"peer {name}", None, "us", not_run="not run") for name in NOT_RUN]


def _measured(kind: str, members: list[Member], rounds: int, passes: int, share: float = 1.0) -> list[Row]:
    frames = [
        (material.frame(diff), member.name)
        for member in members
        for diff in member.stream.diffs[: int(share * len(member.stream.diffs)) or 1]
    ]
    levels = sum(len(diff.bids) + len(diff.asks) for member in members for diff in member.stream.diffs) / sum(
        len(m.stream.diffs) for m in members
    )
    frames_b = sum(len(data) for data, _ in frames) / len(frames)
    contenders = _contenders()
    agreed = _agreement(contenders, members, frames)
    settle()

    def timed(contender: Contender) -> float:
        spent = 0
        for _ in range(passes):
            take, _best = contender.begin(members)
            begun = time.process_time_ns()
            for data, name in frames:
                take(data, name)
            spent += time.process_time_ns() - begun
        return spent / 1e3 / len(frames) / passes

    us = interleaved({c.name: lambda c=c: timed(c) for c in contenders}, rounds)  # type: ignore[misc]
    ours = us["ours"]
    rows = [Row(f"{kind} frames: mean size", frames_b, "B"), Row(f"{kind} frames: levels", levels, "a message")]
    peers = [name for name in us if name.startswith(PEER)]
    for figure, name, bar in (
        ("frame to checked, updated book", "ours", 0.5),
        ("with the sums of the second", "ours, with sums", 1.0),
    ):
        for peer in peers:
            kept = us[name] < bar * us[peer]
            rows.append(Row(f"{kind}: {figure}", us[name], "us", peer, us[peer], f"< {bar:.2f}x of each peer", kept))
        if not peers:
            rows.append(Row(f"{kind}: {figure}", us[name], "us", "json.loads", us["json.loads"]))
    rows.append(Row(f"{kind}: with the seconds closed as well", us[_CLOSED], "us", "our frame to book", ours))
    rows += [
        Row(f"{kind}: {name}{agreed[name]}", value, "us", "our frame to book", ours)
        for name, value in us.items()
        if not name.startswith("ours")
    ]
    if not peers:
        rows.append(Row(f"{kind}: {PEER}", None, "us", not_run="not run: not installed (group `bench`)"))
    return rows


def _agreement(contenders: Sequence[Contender], members: Sequence[Member], frames: Sequence[tuple[bytes, str]]) -> dict[str, str]:
    """How many of the books a contender ends with have our best prices."""
    told: dict[str, Prices | None] = {}
    for contender in contenders:
        take, best = contender.begin(members)
        for data, name in frames:
            take(data, name)
        told[contender.name] = best() if best else None
    ours = told["ours"] or {}
    assert ours == told["ours, with sums"] == told[_CLOSED] and len(ours) == len(members)
    return {
        name: "" if prices is None else f" ({sum(prices[symbol] == ours[symbol] for symbol in ours)} of {len(ours)} best right)"
        for name, prices in told.items()
    }


def _contenders() -> list[Contender]:
    found = [
        Contender("ours", _book),
        Contender("ours, with sums", lambda members: _feed(members, event_ticks=False)),
        Contender(_CLOSED, lambda members: _feed(members, event_ticks=True)),
        Contender("json.loads", lambda members: (lambda data, name: json.loads(data), None)),
        Contender("msgspec to text levels", lambda members: (lambda data, name: _TEXTS(data), None)),
        Contender("msgspec to dicts of floats, unread", lambda members: _plain(members, read=False)),
        Contender("msgspec to dicts of floats, best read each time", lambda members: _plain(members, read=True)),
    ]
    if find_spec("binance") is not None:
        found += [
            Contender(f"{PEER} DepthCache, unread", lambda members: _depth_cache(members, read=False)),
            Contender(f"{PEER} DepthCache, best read each time", lambda members: _depth_cache(members, read=True)),
            Contender(f"{PEER} manager as shipped, unread", _manager),
        ]
    return found


# Ours --------------------------------------------------------------------------------


def _book(members: Sequence[Member]) -> tuple[Callable[[bytes, str], Any], Callable[[], Prices]]:
    decode = FrameDecoder().decode
    syncs: dict[str, BookSync] = {}
    for member in members:
        sync = syncs[member.name] = BookSync()
        asked = sync.subscribed(0.0)[0]
        assert isinstance(asked, FetchSnapshot)
        sync.snapshot_received(asked.request_id, member.stream.snapshot, 0.0)

    def take(data: bytes, name: str) -> None:
        syncs[name].update_received(decode(data, 1), 0.0)  # type: ignore[arg-type]

    return take, lambda: {name: _best(sync) for name, sync in syncs.items()}


def _feed(members: Sequence[Member], *, event_ticks: bool) -> tuple[Callable[[bytes, str], Any], Callable[[], Prices]]:
    """event_ticks: closes a second whenever the exchange's time passes it, for quiet pairs every other message or so."""
    decode = FrameDecoder().decode
    feeds: dict[str, Feed] = {}
    for member in members:
        feed = feeds[member.name] = Feed(member.name, event_ticks=event_ticks)
        asked = feed.handle(Subscribed((member.name,), 0), 0.0, 0)[0]
        assert isinstance(asked, FetchSnapshot)
        feed.snapshot_received(asked.request_id, member.stream.snapshot, 0.0, START_S)

    def take(data: bytes, name: str) -> None:
        feeds[name].handle(decode(data, 1), 0.0, 1)  # type: ignore[arg-type]

    return take, lambda: {name: _best(feed.sync) for name, feed in feeds.items()}


def _best(sync: BookSync) -> tuple[float, float]:
    assert sync.book is not None and sync.book.best_bid and sync.book.best_ask, "the book was lost on the way"
    return sync.book.best_bid[0] / 1e8, sync.book.best_ask[0] / 1e8


# Baselines ---------------------------------------------------------------------------


class _TextDepth(Struct, gc=False):
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _FloatDepth(Struct, gc=False):
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class _TextFrame(Struct, gc=False):
    data: _TextDepth


class _FloatFrame(Struct, gc=False):
    data: _FloatDepth


_TEXTS = msgspec.json.Decoder(_TextFrame).decode
_FLOATS = msgspec.json.Decoder(_FloatFrame, strict=False).decode


def _plain(members: Sequence[Member], *, read: bool) -> tuple[Callable[[bytes, str], Any], Callable[[], Prices]]:
    """The least that holds a book: two dicts, no check of ids. read: max and min of the keys after each message."""
    books: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    for member in members:
        snapshot = member.stream.snapshot
        books[member.name] = ({p / 1e8: q / 1e8 for p, q in snapshot.bids}, {p / 1e8: q / 1e8 for p, q in snapshot.asks})

    def take(data: bytes, name: str) -> None:
        update = _FLOATS(data).data
        bids, asks = books[name]
        for price, quantity in update.b:
            if quantity:
                bids[price] = quantity
            else:
                bids.pop(price, None)
        for price, quantity in update.a:
            if quantity:
                asks[price] = quantity
            else:
                asks.pop(price, None)
        if read:
            max(bids), min(asks)

    return take, lambda: {name: (max(bids), min(asks)) for name, (bids, asks) in books.items()}


def _peer(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of their own age
        from binance.ws import depthcache

        return getattr(depthcache, name)


def _cache(member: Member) -> Any:
    cache = _peer("DepthCache")(member.name)
    for add, levels in ((cache.add_bid, member.stream.snapshot.bids), (cache.add_ask, member.stream.snapshot.asks)):
        for price, quantity in levels:
            add([material.text(price), material.text(quantity)])
    return cache


def _depth_cache(members: Sequence[Member], *, read: bool) -> tuple[Callable[[bytes, str], Any], Callable[[], Prices]]:
    """json.loads and its two methods a level. read: get_bids() and get_asks(), its only way to a best price, which sort all."""
    caches = {member.name: _cache(member) for member in members}

    def take(data: bytes, name: str) -> None:
        message = json.loads(data)["data"]
        cache = caches[name]
        for level in message["b"]:
            cache.add_bid(level)
        for level in message["a"]:
            cache.add_ask(level)
        if read:
            cache.get_bids()[0], cache.get_asks()[0]

    return take, lambda: {name: (cache.get_bids()[0][0], cache.get_asks()[0][0]) for name, cache in caches.items()}


def _manager(members: Sequence[Member]) -> tuple[Callable[[bytes, str], Any], Callable[[], Prices]]:
    """What its users run for each message: json.loads, then the manager's handler, which formats a debug line each time."""
    managers = {}
    for member in members:
        manager = managers[member.name] = _peer("DepthCacheManager")(None, member.name, loop=object(), bm=object())
        manager._depth_cache = _cache(member)
        manager._last_update_id = member.stream.diffs[0].first_id - 1

    def take(data: bytes, name: str) -> None:
        with contextlib.suppress(StopIteration):
            managers[name]._depth_event(json.loads(data)["data"]).send(None)

    return take, lambda: {
        name: (manager._depth_cache.get_bids()[0][0], manager._depth_cache.get_asks()[0][0]) for name, manager in managers.items()
    }
