"""What operators watch, read from the running service at each scrape; nothing is counted twice (docs/operations.md lists all).

Counters end in `_total`. Labels are bounded: symbols that are followed, tools that are known; an unknown tool counts as `other`.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from leadline import __version__
from leadline.core.records import BookState, BookView
from leadline.serve.dispatch import Dispatcher
from leadline.service.fanout import Hub
from leadline.service.feed import Feed
from leadline.service.live import Live
from leadline.service.queries.desk import Books
from leadline.service.recorder import Recorder

PREFIX = "leadline_"
GAUGE, COUNTER = "gauge", "counter"
Told = Iterable[tuple[tuple[str, ...], float]]

METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "build_info": (GAUGE, ("version",), "constant 1, with the version"),
    "tool_calls": (COUNTER, ("tool", "transport", "outcome"), "calls"),
    "tool_seconds": (COUNTER, ("tool",), "time taken by calls, s"),
    "stream_subscribers": (GAUGE, (), "streams that are read now"),
    "stream_skipped": (COUNTER, ("policy",), "events that slow readers did not get"),
    "book_live": (GAUGE, ("symbol",), "1: the book equals the exchange's"),
    "book_age_seconds": (GAUGE, ("symbol",), "since the last applied update"),
    "book_epoch": (GAUGE, ("symbol",), "number of the unbroken run"),
    "known_range_bps": (GAUGE, ("symbol", "side"), "how far from the mid the book is complete"),
    "depth_events": (COUNTER, ("symbol",), "depth updates applied"),
    "gaps": (COUNTER, ("symbol",), "breaks in the update ids"),
    "resyncs": (COUNTER, ("symbol",), "books built anew"),
    "audit_checks": (COUNTER, ("symbol",), "comparisons with the ticker"),
    "audit_mismatches": (COUNTER, ("symbol",), "comparisons that differed"),
    "trades": (COUNTER, ("symbol",), "raw trades accepted"),
    "trades_missing": (COUNTER, ("symbol",), "aggregate trades that could not be had"),
    "snapshots_taken": (COUNTER, ("symbol",), "whole seconds with a snapshot"),
    "event_loop_lag_seconds": (GAUGE, (), "how late the last tick was"),
    "ws_open": (GAUGE, ("connection",), "1: the connection is open"),
    "ws_reconnects": (COUNTER, ("connection",), "times that a connection was lost"),
    "ws_malformed": (COUNTER, ("connection",), "messages that were not what the protocol says"),
    "ws_handovers": (COUNTER, ("connection",), "connections that took over before another one ended"),
    "rest_weight_used": (GAUGE, (), "request weight of this minute"),
    "rest_weight_limit": (GAUGE, (), "request weight a minute that is allowed"),
    "rest_banned_until_seconds": (GAUGE, (), "unix time until which the exchange refuses us; 0: it does not"),
    "snapshots_stored": (COUNTER, (), "snapshots on the disk"),
    "snapshots_skipped": (COUNTER, ("reason",), "seconds without a snapshot"),
    "store_write_errors": (COUNTER, (), "batches or rows that could not be written"),
    "queue_dropped": (COUNTER, (), "seconds dropped because the store did not take them"),
    "queue_length": (GAUGE, (), "seconds that wait for the store"),
    "store_newest_second": (GAUGE, (), "newest stored second, unix s"),
    "store_bytes": (GAUGE, (), "size of the store"),
    "retention_cut_seconds": (COUNTER, (), "symbol-seconds that were cut"),
    "retention_last_run_seconds": (GAUGE, (), "when retention last ran, unix s; 0: not yet"),
}


def named() -> list[tuple[str, tuple[str, ...], str]]:
    """(name, labels, text) of every metric, as it is scraped."""
    return [
        (PREFIX + name + ("_total" if kind == COUNTER else ""), labels, text) for name, (kind, labels, text) in METRICS.items()
    ]


def _family(name: str, told: Told) -> Metric:
    kind, labels, text = METRICS[name]
    make = CounterMetricFamily if kind == COUNTER else GaugeMetricFamily
    family = make(PREFIX + name, text, labels=labels)
    for values, number in told:
        family.add_metric(values, number)
    return family


def _one(name: str, number: float) -> Metric:
    return _family(name, [((), number)])


class Watched(Protocol):
    """A running service, as far as it is watched."""

    live: Live
    recorder: Recorder
    books: Books

    def store_bytes(self) -> int:
        """All families and the log."""
        ...

    def connections(self) -> Iterable[Any]:
        """One entry per connection: state, reconnects, malformed, handovers."""
        ...

    def rest_weight(self) -> tuple[int, int, int]:
        """Used in this minute, the limit, and until when we are banned, UTC ns (0: not)."""
        ...

    def retention(self) -> tuple[int, int]:
        """Seconds cut in this run, and the moment of the last run, unix s (0: none yet)."""
        ...


class Scrape:
    """The collector. watched: None as long as the service starts."""

    def __init__(
        self, dispatcher: Dispatcher, hub: Hub, watched: Callable[[], Watched | None], wall_s: Callable[[], float]
    ) -> None:
        self._dispatcher = dispatcher
        self._hub = hub
        self._watched = watched
        self._wall_s = wall_s
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All families that can be told now."""
        yield _family("build_info", [((__version__,), 1)])
        yield _family("tool_calls", self._dispatcher.calls.items())
        yield _family("tool_seconds", [((tool,), taken) for tool, taken in self._dispatcher.seconds.items()])
        yield _one("stream_subscribers", self._hub.readers)
        yield _family("stream_skipped", [((str(policy),), count) for policy, count in self._hub.skipped.items()])
        watched = self._watched()
        if watched is not None:
            yield from self._books(watched)
            yield from self._exchange(watched)
            yield from self._store(watched)

    def _books(self, watched: Watched) -> Iterator[Metric]:
        now_s = self._wall_s()
        feeds = watched.live.feeds
        views = {symbol: watched.books.view(symbol, 1) for symbol in feeds}
        there = {symbol: view for symbol, view in views.items() if view is not None}
        live = {symbol for symbol, view in there.items() if view.state is BookState.LIVE}
        yield _family("book_live", [((symbol,), float(symbol in live)) for symbol in feeds])
        ages = {symbol: max(0.0, now_s - view.ts_recv_ns / 1e9) for symbol, view in there.items() if view.ts_recv_ns}
        yield _family("book_age_seconds", [((symbol,), age) for symbol, age in ages.items()])
        yield _family("book_epoch", [((symbol,), feed.sync.epoch) for symbol, feed in feeds.items()])
        yield _family("known_range_bps", [told for symbol, view in there.items() for told in _reach(symbol, view)])
        for name, count in _COUNTS.items():
            yield _family(name, [((symbol,), count(feed)) for symbol, feed in feeds.items()])
        yield _one("event_loop_lag_seconds", watched.live.loop_lag_s)

    def _exchange(self, watched: Watched) -> Iterator[Metric]:
        connections = list(watched.connections())
        yield _family("ws_open", [((one.name,), float(one.state == "open")) for one in connections])
        yield _family("ws_reconnects", [((one.name,), one.reconnects) for one in connections])
        yield _family("ws_malformed", [((one.name,), one.malformed) for one in connections])
        yield _family("ws_handovers", [((one.name,), one.handovers) for one in connections])
        used, limit, banned_ns = watched.rest_weight()
        yield _one("rest_weight_used", used)
        yield _one("rest_weight_limit", limit)
        yield _one("rest_banned_until_seconds", banned_ns / 1e9)

    def _store(self, watched: Watched) -> Iterator[Metric]:
        recorder = watched.recorder
        yield _one("snapshots_stored", recorder.stored)
        yield _family("snapshots_skipped", [((reason,), count) for reason, count in recorder.skipped.items()])
        yield _one("store_write_errors", recorder.write_errors)
        yield _one("queue_dropped", recorder.dropped_seconds)
        yield _one("queue_length", recorder.queue_length)
        if recorder.last_stored_second is not None:
            yield _one("store_newest_second", recorder.last_stored_second)
        yield _one("store_bytes", watched.store_bytes())
        cut, last_run_s = watched.retention()
        yield _one("retention_cut_seconds", cut)
        yield _one("retention_last_run_seconds", last_run_s)


_COUNTS: dict[str, Callable[[Feed], int]] = {
    "depth_events": lambda feed: feed.sync.events_applied,
    "gaps": lambda feed: feed.gaps,
    "resyncs": lambda feed: feed.resyncs,
    "audit_checks": lambda feed: feed.audit.checks,
    "audit_mismatches": lambda feed: feed.audit.mismatches,
    "trades": lambda feed: feed.fills,
    "trades_missing": lambda feed: feed.trades_missing,
    "snapshots_taken": lambda feed: feed.snapshots_taken,
}


def _reach(symbol: str, view: BookView) -> Told:
    if not view.bids or not view.asks:
        return []
    mid2 = view.bids[0][0] + view.asks[0][0]
    edges = (("bid", view.known_bid), ("ask", view.known_ask))
    return [((symbol, side), math.inf if edge is None else 1e4 * abs(2 * edge - mid2) / mid2) for side, edge in edges]
