"""What operators watch, read from the running service at each scrape; nothing is counted twice (docs/operations.md lists all).

Counters end in `_total`. Labels are bounded: symbols that are followed, tools that are known; an unknown tool counts as `other`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from leadline import __version__
from leadline.serve.dispatch import Dispatcher
from leadline.service.live import Live
from leadline.service.queries.desk import Books
from leadline.service.recorder import Recorder

PREFIX = "leadline_"


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

    def __init__(self, dispatcher: Dispatcher, watched: Callable[[], Watched | None], wall_s: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._watched = watched
        self._wall_s = wall_s
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All families that can be told now."""
        yield _one("build_info", "Constant 1, with the version.", 1, version=__version__)
        yield from self._serving()
        watched = self._watched()
        if watched is not None:
            yield from self._books(watched)
            yield from self._exchange(watched)
            yield from self._store(watched)

    def _serving(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(PREFIX + "tool_calls", "Calls.", labels=("tool", "transport", "outcome"))
        for labels, count in self._dispatcher.calls.items():
            calls.add_metric(labels, count)
        yield calls
        seconds = CounterMetricFamily(PREFIX + "tool_seconds", "Time taken by calls, s.", labels=("tool",))
        for tool, taken in self._dispatcher.seconds.items():
            seconds.add_metric((tool,), taken)
        yield seconds

    def _books(self, watched: Watched) -> Iterator[Metric]:
        live = GaugeMetricFamily(PREFIX + "book_live", "1: the book equals the exchange's.", labels=("symbol",))
        age = GaugeMetricFamily(PREFIX + "book_age_seconds", "Since the last applied update.", labels=("symbol",))
        epoch = GaugeMetricFamily(PREFIX + "book_epoch", "Number of the unbroken run.", labels=("symbol",))
        reach = GaugeMetricFamily(PREFIX + "known_range_bps", "How far the book is complete.", labels=("symbol", "side"))
        counts = {
            name: CounterMetricFamily(PREFIX + name, text, labels=("symbol",))
            for name, text in (
                ("depth_events", "Depth updates applied."),
                ("gaps", "Breaks in the update ids."),
                ("resyncs", "Books built anew."),
                ("audit_checks", "Comparisons with the ticker."),
                ("audit_mismatches", "Comparisons that differed."),
                ("trades", "Raw trades accepted."),
                ("trades_missing", "Aggregate trades that could not be had."),
                ("snapshots_taken", "Whole seconds with a snapshot."),
            )
        }
        now_s = self._wall_s()
        for symbol, feed in watched.live.feeds.items():
            view = watched.books.view(symbol, 1)
            live.add_metric((symbol,), float(view is not None and view.state.value == "LIVE"))
            epoch.add_metric((symbol,), feed.sync.epoch)
            if view is not None and view.ts_recv_ns:
                age.add_metric((symbol,), max(0.0, now_s - view.ts_recv_ns / 1e9))
            if view is not None and view.bids and view.asks:
                mid2 = view.bids[0][0] + view.asks[0][0]
                for side, edge in (("bid", view.known_bid), ("ask", view.known_ask)):
                    reach.add_metric((symbol, side), float("inf") if edge is None else 1e4 * abs(2 * edge - mid2) / mid2)
            told = {
                "depth_events": feed.sync.events_applied,
                "gaps": feed.gaps,
                "resyncs": feed.resyncs,
                "audit_checks": feed.audit.checks,
                "audit_mismatches": feed.audit.mismatches,
                "trades": feed.fills,
                "trades_missing": feed.trades_missing,
                "snapshots_taken": feed.snapshots_taken,
            }
            for name, count in told.items():
                counts[name].add_metric((symbol,), count)
        yield from (live, age, epoch, reach, *counts.values())
        yield _one("event_loop_lag_seconds", "How late the last tick was.", watched.live.loop_lag_s)

    def _exchange(self, watched: Watched) -> Iterator[Metric]:
        kinds = {
            "ws_reconnects": "Times that a connection was lost.",
            "ws_malformed": "Messages that were not what the protocol says.",
            "ws_handovers": "Connections that took over before another one ended.",
        }
        families = {name: CounterMetricFamily(PREFIX + name, text, labels=("connection",)) for name, text in kinds.items()}
        up = GaugeMetricFamily(PREFIX + "ws_open", "1: the connection is open.", labels=("connection",))
        for connection in watched.connections():
            up.add_metric((connection.name,), float(connection.state == "open"))
            families["ws_reconnects"].add_metric((connection.name,), connection.reconnects)
            families["ws_malformed"].add_metric((connection.name,), connection.malformed)
            families["ws_handovers"].add_metric((connection.name,), connection.handovers)
        yield from (up, *families.values())
        used, limit, banned_ns = watched.rest_weight()
        yield _one("rest_weight_used", "Request weight of this minute.", used)
        yield _one("rest_weight_limit", "Request weight a minute that is allowed.", limit)
        yield _one("rest_banned_until_seconds", "Unix time until which the exchange refuses us; 0: it does not.", banned_ns / 1e9)

    def _store(self, watched: Watched) -> Iterator[Metric]:
        recorder = watched.recorder
        yield _count("snapshots_stored", "Snapshots on the disk.", recorder.stored)
        skipped = CounterMetricFamily(PREFIX + "snapshots_skipped", "Seconds without a snapshot.", labels=("reason",))
        for reason, count in recorder.skipped.items():
            skipped.add_metric((reason,), count)
        yield skipped
        yield _count("store_write_errors", "Batches or rows that could not be written.", recorder.write_errors)
        yield _count("queue_dropped", "Seconds dropped because the store did not take them.", recorder.dropped_seconds)
        yield _one("queue_length", "Seconds that wait for the store.", recorder.queue_length)
        if recorder.last_stored_second is not None:
            yield _one("store_newest_second", "Newest stored second, unix s.", recorder.last_stored_second)
        yield _one("store_bytes", "Size of the store.", watched.store_bytes())
        cut, last_run_s = watched.retention()
        yield _count("retention_cut_seconds", "Symbol-seconds that were cut.", cut)
        yield _one("retention_last_run_seconds", "When retention last ran, unix s; 0: not yet.", last_run_s)


def _one(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def _count(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text)
    family.add_metric((), value)
    return family
