"""The composition root: the one place that knows every room. Settings in; store, exchange, feeds and recorder out, and their end.

Nesting is the shutdown order: streams and feeds stop first, the recorder drains, the store is closed last.
"""

import asyncio
import contextlib
import difflib
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from leadline.clock import Clock, SystemClock
from leadline.config import Settings
from leadline.core.errors import ExchangeError, InvalidRequest, LeadlineError, RateLimited, StoreError, UnknownSymbol
from leadline.core.records import DepthSnapshot, Incident, SymbolRules, SymbolSecond, Trade
from leadline.core.sizes import DAY_S
from leadline.exchange.binance.limits import Backoff, Priority, WeightBudget
from leadline.exchange.binance.rest import BinanceRest
from leadline.exchange.binance.stream import BinanceStream
from leadline.exchange.replay import Recording, ReplayEvent, inferred_rules
from leadline.service.feed import Feed
from leadline.service.hours import HourKeeper
from leadline.service.listing import Listing, renewed
from leadline.service.live import Live
from leadline.service.live_books import LiveBooks
from leadline.service.own_histories import OwnHistories
from leadline.service.ports import Listener
from leadline.service.queries import Desk
from leadline.service.recorder import SERVICE, Recorder
from leadline.service.replay import Replay
from leadline.service.retention import Caps, Retention
from leadline.service.seeding import Sizes, seed, stored_sizes
from leadline.store.history import History
from leadline.store.rocks import RocksEngine
from leadline.store.sidefile import SideFile

log = logging.getLogger("leadline.app")

MB = 2**20
WEIGHT_LIMIT = 6000  # per minute, until exchangeInfo says; Binance rest-api.md, 2026-04
SIDE_FILE = "last_second"
NANO = 1_000_000_000

T = TypeVar("T")


# The store -------------------------------------------------------------------


@contextlib.contextmanager
def _closing(engine: RocksEngine) -> Iterator[RocksEngine]:
    try:
        yield engine
    finally:
        engine.close()


def open_writer(settings: Settings, path: Path, *, patient: bool = False) -> RocksEngine:
    """The store as its only writer; its folder is made if need be. patient: wait when it is busy. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(str(path), f"its folder cannot be made: {error.strerror}") from error
    symbols = len(settings.symbols)
    cache_mb = settings.store.cache_mb or (8 if symbols <= 4 else 64)
    buffer_mb = settings.store.write_buffer_mb or min(16, max(2, -(-symbols // 2)))
    return RocksEngine(path, patient=patient, cache_bytes=cache_mb * MB, write_buffer_bytes=buffer_mb * MB)


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[History]:
    """The store as one of many readers, beside a running service or not. Raises StoreError."""
    if not path.is_dir():
        raise InvalidRequest("--data", f"no store at {path}")
    with _closing(RocksEngine(path, secondary=True)) as engine:
        engine.catch_up()
        yield History(engine, str(path))


class _Sink:
    """The recorder's way to the store, and to the side file that witnesses what was written."""

    def __init__(self, history: History, side: SideFile) -> None:
        self._history = history
        self._side = side

    def write(self, rows: Sequence[SymbolSecond], incidents: Sequence[Incident] = ()) -> list[tuple[SymbolSecond, Exception]]:
        failed = self._history.write(rows, incidents)
        unwritten = {id(row) for row, _ in failed}
        newest = max((row.second for row in rows if row.record is not None and id(row) not in unwritten), default=None)
        if newest is not None:
            with contextlib.suppress(OSError):  # a witness that cannot be written is no loss of data
                self._side.note(newest)
        return failed

    def set_rules(self, rules: SymbolRules) -> None:
        self._history.set_rules(rules)


# Replay ----------------------------------------------------------------------


def open_recording(files: Sequence[Path]) -> Recording:
    """One recording of one or more files. Raises CaptureError for a file that is none."""
    return Recording(files)


def replay(recording: Recording, settings: Settings, data: Path, progress: Callable[[int], None] = lambda done: None) -> Replay:
    """Run a recording into the store at `data`. Raises StoreError, CaptureError (what came before is stored)."""
    with _closing(open_writer(settings, data, patient=True)) as engine:
        history = History(engine, str(data))
        recorder = Recorder(_Sink(history, SideFile(data / SIDE_FILE)), snapshot_lines=settings.log.snapshot_lines)
        run = Replay(
            recorder,
            epochs=lambda symbol: last_epoch(history, symbol),
            first_snapshot=lambda snapshot, since_s: _inferred(history, snapshot, since_s),
            sizes_before=lambda symbol, t: stored_sizes(history, symbol, t - DAY_S, t),
        )
        # created: by the recording's clock, so that the same recording makes the same bytes.
        history.open_for(recording.origin, recording.first_recv_ns // NANO)
        run.run(_watched(recording, progress))
        history.set_meta({"clean_shutdown": True})
        engine.flush()
        return run


def _inferred(history: History, snapshot: DepthSnapshot, since_s: int) -> SymbolRules:
    rules = inferred_rules(snapshot, since_s)
    history.set_rules(rules)
    return rules


def _watched(recording: Recording, progress: Callable[[int], None]) -> Iterator[ReplayEvent]:
    for count, event in enumerate(recording.events()):
        if count % 1024 == 0:
            progress(recording.bytes_read)
        yield event


# Live ------------------------------------------------------------------------


class Service:
    """A running service, for whoever shows its state. Built by `serve`, gone when that returns."""

    def __init__(
        self,
        *,
        origin: str,
        live: Live,
        recorder: Recorder,
        retention: Retention,
        stream: BinanceStream,
        budget: WeightBudget,
        desk: Desk,
        store_bytes: Callable[[], int],
    ) -> None:
        self.origin = origin
        self.live = live
        self.recorder = recorder
        self.retention = retention
        self.stream = stream
        self.budget = budget
        self.desk = desk
        self.store_bytes = store_bytes


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    clock: Clock | None = None,
    started: Callable[[Service], None] | None = None,
    listener: Listener | None = None,
) -> None:
    """Record until `stop` is set. listener: is told at once what happens. Raises LeadlineError for what must be mended first."""
    clock = clock or SystemClock()
    path = Path(settings.store.path)
    writer = ThreadPoolExecutor(1, thread_name_prefix="store")
    try:
        with _closing(open_writer(settings, path)) as engine:
            history = History(engine, str(path))
            log.info("store_opened", extra={"path": str(path), "symbols": len(history.symbols())})
            async with _exchange(settings, history, clock, writer) as (rest, budget):
                ready = await _until(stop, _introduced(rest, settings, clock))
                if ready is not None:
                    await _record(
                        settings,
                        stop,
                        history=history,
                        path=path,
                        rest=rest,
                        budget=budget,
                        clock=clock,
                        writer=writer,
                        origin=ready[0],
                        rules=ready[1],
                        started=started,
                        listener=listener,
                    )
            engine.flush()
    finally:
        writer.shutdown(wait=True)


@contextlib.asynccontextmanager
async def _exchange(
    settings: Settings, history: History, clock: Clock, writer: ThreadPoolExecutor
) -> AsyncIterator[tuple[BinanceRest, WeightBudget]]:
    """REST and its budget, for the start and for the run: a ban of either outlives us."""
    banned_until_ns = history.meta("banned_until", int) or 0
    budget = WeightBudget(WEIGHT_LIMIT, clock, banned_until_ns=banned_until_ns)
    async with BinanceRest(settings.exchange.rest_url, budget, clock) as rest, asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(_keep_ban(history, budget, clock, writer), name="bans")
        try:
            yield rest, budget
        finally:
            keeping.cancel()
            if budget.banned_until_ns != banned_until_ns:  # told since the last look
                history.set_meta({"banned_until": budget.banned_until_ns})


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None if `stop` came first; then the work is cancelled and has ended."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work, name="work")
        stopped = tasks.create_task(stop.wait(), name="stop")
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        task.cancel()
    return None if task.cancelled() else task.result()


async def _introduced(rest: BinanceRest, settings: Settings, clock: Clock) -> tuple[str, dict[str, SymbolRules]]:
    """Who the exchange is and what it lists; asked again and again until it answers."""
    backoff = Backoff(1.0, 60.0, random.Random())  # noqa: S311 (jitter, not a secret)
    while True:
        try:
            origin = await rest.origin()
            info = await rest.exchange_info()
        except ExchangeError as error:
            if not error.retryable:
                raise
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else backoff.delay_s()
            log.warning("exchange_unreachable", extra={"cause": str(error), "again_in_s": round(wait_s, 1)})
            await clock.sleep_until(clock.monotonic() + wait_s)
            continue
        for symbol in settings.symbols:
            if symbol not in info.rules:
                raise UnknownSymbol(symbol, difflib.get_close_matches(symbol, info.rules, n=5, cutoff=0.6), f"at {origin}")
        return origin, {symbol: info.rules[symbol] for symbol in settings.symbols}


def depth_limits(symbols: int) -> tuple[int, int]:
    """Levels of the first snapshot and of those beside a live book (docs/exchange.md).

    Few symbols ask for everything at once (weight 250 each); more start with 1,000 (50) or 100 levels (5) and deepen afterwards.
    """
    if symbols <= 4:
        return 5000, 5000
    return (1000, 5000) if symbols <= 80 else (100, 1000)


async def _record(
    settings: Settings,
    stop: asyncio.Event,
    *,
    history: History,
    path: Path,
    rest: BinanceRest,
    budget: WeightBudget,
    clock: Clock,
    writer: ThreadPoolExecutor,
    origin: str,
    rules: dict[str, SymbolRules],
    started: Callable[[Service], None] | None,
    listener: Listener | None,
) -> None:
    now_ns = clock.wall_ns()
    history.open_for(origin, now_ns // NANO)
    side = SideFile(path / SIDE_FILE)
    rules = {symbol: renewed(history.rules(symbol), found) for symbol, found in rules.items()}
    for symbol, found in rules.items():
        if history.rules(symbol) != found:
            history.set_rules(found)
    recorder = Recorder(
        _Sink(history, side),
        snapshot_lines=settings.log.snapshot_lines,
        incident_keys=[(i.second, i.n) for i in history.incidents(SERVICE).rows],
        listener=listener,
    )
    _note_outage(history, recorder, side, now_ns)
    history.set_meta({"clean_shutdown": False})
    first_limit, full_limit = depth_limits(len(settings.symbols))
    event_ticks = settings.exchange.ticks == "event"

    newest_s = history.newest_second(now_ns // NANO)  # a clock that was ahead may have left later ones
    followed = history.meta("followed", list[str])
    history.set_meta({"followed": list(settings.symbols)})

    def make_feed(symbol: str) -> Feed:
        feed = Feed(
            symbol,
            epoch=last_epoch(history, symbol),
            last_trade=_last_trade(history, symbol),
            event_ticks=event_ticks,
            anchor_s=None if event_ticks else settings.exchange.reanchor_s,
            deepen=first_limit < full_limit,
            incident_keys=[(i.second, i.n) for i in history.incidents(symbol).rows],
            tick_e8=rules[symbol].tick_e8,
            listener=listener,
        )
        last_s = history.last_second(symbol, now_ns // NANO)
        left_out = followed is not None and symbol not in followed
        if left_out and newest_s is not None and last_s is not None and last_s < newest_s:
            feed.incident("not_followed", (last_s + 1) * 1000, newest_s * 1000, "not in the symbols setting", "")
        for incident in history.incidents(symbol).rows:
            if incident.end_ms is None and newest_s is not None:
                feed.close_left_open(incident, (newest_s + 1) * 1000)
        if not event_ticks:
            feed.begin(now_ns)
            feed.trading(rules[symbol].status, clock.monotonic(), now_ns)
        return feed

    live = Live(
        {symbol: make_feed(symbol) for symbol in settings.symbols},
        market=_Market(rest),
        recorder=recorder,
        clock=clock,
        rng=random.Random(),  # noqa: S311 (jitter, not a secret)
        first_limit=first_limit,
        full_limit=full_limit,
        event_ticks=event_ticks,
        listener=listener,
    )
    stream = BinanceStream(
        settings.exchange.ws_url,
        settings.symbols,
        clock=clock,
        rng=random.Random(),  # noqa: S311 (jitter, not a secret)
        on_event=live.on_event,
        tickers=settings.exchange.tickers,
    )

    async def keep(changed: SymbolRules) -> None:
        await asyncio.get_running_loop().run_in_executor(writer, history.set_rules, changed)
        live.ruled(changed)

    async def sizes(symbol: str, lo: int, hi: int) -> Sizes:
        return await asyncio.get_running_loop().run_in_executor(writer, stored_sizes, history, symbol, lo, hi)

    # Where event time drives, the newest record says where that time stands.
    sizes_to = {s: (history.last_second(s, now_ns // NANO) or 0 if event_ticks else now_ns // NANO) + 1 for s in settings.symbols}

    listing = Listing(rules, market=_Market(rest), clock=clock, trading=live.trading, keep=keep)
    caps = Caps(settings.retention.max_age_s, settings.retention.max_size_bytes)
    retention = Retention(history, caps, path, settings.store.min_free_mb * MB)
    desk = Desk(
        history,
        now_ns=clock.wall_ns,
        books=LiveBooks(live, lambda: stream.status, clock),
        histories=OwnHistories(history, bytes_max=settings.analytics.memory_mb * MB),
        market=rest,
    )
    log.info("recording", extra={"origin": origin, "symbols": len(settings.symbols), "rest": settings.exchange.rest_url})
    if started is not None:
        started(
            Service(
                origin=origin,
                live=live,
                recorder=recorder,
                retention=retention,
                stream=stream,
                budget=budget,
                desk=desk,
                store_bytes=history.used_bytes,
            )
        )

    try:
        async with asyncio.TaskGroup() as storing:
            tasks = [
                storing.create_task(recorder.run(clock, writer), name="recorder"),
                storing.create_task(retention.run(clock, writer), name="retention"),
                storing.create_task(listing.run(), name="listing"),
                storing.create_task(HourKeeper(history, settings.symbols).run(clock, writer), name="hours"),
                storing.create_task(seed(sizes_to, read=sizes, remember=live.remember_sizes, clock=clock), name="seeding"),
            ]
            try:
                await _until(stop, live.run(stream))
            finally:
                for task in tasks:
                    task.cancel()
    finally:  # whatever ended it: what was accepted is written
        if remainder := live.finish():
            recorder.accept(clock.wall_ns() // NANO, remainder, None)
        await recorder.drain(writer)
        log.info("stopped", extra={"stored": recorder.stored, "last_second": recorder.last_stored_second})
    if not recorder.queue_length:
        history.set_meta({"clean_shutdown": True})


class ExchangeReport(Struct, frozen=True):
    """What the exchange says when asked. clock_ahead_s: its clock minus ours."""

    origin: str
    clock_ahead_s: float
    symbols: frozenset[str]
    weight_used: int
    weight_limit: int


async def ask_exchange(settings: Settings) -> ExchangeReport:
    """One look at the configured exchange, within seconds. Raises ExchangeError."""
    clock = SystemClock()
    async with BinanceRest(settings.exchange.rest_url, WeightBudget(WEIGHT_LIMIT, clock), clock, timeout_s=5) as rest:
        asked_ns = clock.wall_ns()
        server_ms = await rest.server_time_ms()
        ahead_s = server_ms / 1e3 - (asked_ns + clock.wall_ns()) / 2e9
        info = await rest.exchange_info()
        limit = info.weight_limit_per_minute or WEIGHT_LIMIT
        return ExchangeReport(await rest.origin(), ahead_s, frozenset(info.rules), rest.budget.used, limit)


def log_lost(path: Path, history: History) -> bool:
    """Whether the store at `path` ended earlier than its side file witnesses."""
    return SideFile(path / SIDE_FILE).log_lost(history.newest_second())


class _Market:
    """BinanceRest as the service's port: an anchor may wait behind everything else."""

    def __init__(self, rest: BinanceRest) -> None:
        self._rest = rest

    async def depth(self, symbol: str, limit: int, *, anchor: bool) -> DepthSnapshot:
        return await self._rest.depth(symbol, limit, Priority.ANCHOR if anchor else Priority.START)

    async def agg_trades(self, symbol: str, from_id: int, limit: int) -> Sequence[Trade]:
        return await self._rest.agg_trades(symbol, from_id, limit)

    async def rules(self, symbols: Sequence[str]) -> Mapping[str, SymbolRules]:
        return await self._rest.rules(symbols, Priority.LISTING)


async def _keep_ban(history: History, budget: WeightBudget, clock: Clock, writer: ThreadPoolExecutor) -> None:
    """A ban must outlive us: the next start obeys it too."""
    known = budget.banned_until_ns
    while True:
        if budget.banned_until_ns != known:
            known = budget.banned_until_ns
            log.error("banned", extra={"until_s": known // NANO})
            try:
                await asyncio.get_running_loop().run_in_executor(writer, history.set_meta, {"banned_until": known})
            except StoreError as error:
                log.error("ban_not_kept", extra={"cause": str(error)})
        await clock.sleep_until(clock.monotonic() + 1.0)


def last_epoch(history: History, symbol: str) -> int:
    """Highest epoch stored of a symbol; epochs count on over restarts.

    Every epoch begins and ends with an incident, so those tell it; the last minute's records tell one that was killed.
    """
    last = history.last_second(symbol)
    if last is None:
        return 0
    told = [record.epoch for record in history.seconds(symbol, last - 59, last + 1).rows]
    told += [epoch for i in history.incidents(symbol).rows for epoch in (i.epoch_before, i.epoch_after)]
    return max((epoch for epoch in told if epoch is not None), default=0)


def _last_trade(history: History, symbol: str) -> Trade | None:
    try:
        return history.last_trade(symbol)
    except StoreError as error:
        log.error("last_trade_unreadable", extra={"symbol": symbol, "cause": str(error)})
        return None


def _note_outage(history: History, recorder: Recorder, side: SideFile, now_ns: int) -> None:
    """From the second after the last one stored until now nobody recorded: that is an incident, with its cause."""
    now_s = now_ns // NANO
    newest = history.newest_second(now_s)
    if side.log_lost(newest):
        detail = f"the store ends at {newest}, but {side.seen} was written"
        log.error("log_lost", extra={"detail": detail})
        recorder.incident(
            "log_lost", ((newest or side.seen or now_s) + 1) * 1000, (side.seen or now_s) * 1000, "damaged log", detail
        )
    if newest is not None and newest < now_s:
        cause = "stopped" if history.meta("clean_shutdown", bool) else "killed"
        recorder.incident("outage", (newest + 1) * 1000, now_ns // 1_000_000, cause, f"{now_s - newest} s without the service")
        log.warning("outage", extra={"from": newest + 1, "to": now_s, "cause": cause})


__all__ = ["LeadlineError", "Service", "depth_limits", "open_reader", "open_writer", "replay", "serve"]
