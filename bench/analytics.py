"""Each question over its default window and its longest, asked of a store with a day of a busy symbol: p50 and p99 of CPU time.

The store holds ten recorded minutes of BTCUSDT again and again, a day long, with
the sums of whole hours. Questions are asked at many ends of window. `first` is the first question about the symbol: its own day
is read then. `from disk`: the store is opened anew before each. Rows a second and bytes are what a question reads of the store.
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import material, windows
from bench.rows import Row, ceiling, percentile, settle
from leadline.core.errors import LeadlineError
from leadline.core.records import SymbolRules
from leadline.service import queries
from leadline.service.hours import HOUR_S, summed_hour
from leadline.service.queries import Desk, Steps
from leadline.store.engine import Scan
from leadline.store.history import History
from leadline.store.rocks import MB, RocksEngine

DAY_S = 86_400
LONG_S = 300
TICK_E8, STEP_E8 = 1_000_000, 1_000


class Counting:
    """An engine that counts what is read of it."""

    def __init__(self, engine: RocksEngine) -> None:
        self._engine = engine
        self.rows = self.bytes = 0

    def scan(self, *bounds: Any) -> Scan:
        found = self._engine.scan(*bounds)
        self.rows += len(found.rows)
        self.bytes += sum(len(value) for _, value in found.rows)
        return found

    def get(self, family: str, key: bytes) -> bytes | None:
        value = self._engine.get(family, key)
        self.rows += value is not None
        self.bytes += len(value or b"")
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def run(quick: bool) -> list[Row]:
    """Build the store, then ask."""
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        return _measured(Path(folder) / "store", quick)


def _measured(folder: Path, quick: bool) -> list[Row]:
    length_s = 2 * HOUR_S if quick else DAY_S
    symbol = windows.fill(folder, length_s, 120 if quick else 600)
    end_s = material.START_S + length_s
    _complete(folder, symbol, end_s)
    rounds = 3 if quick else 40
    ends = sorted(end_s - n for n in random.Random(7).sample(range(min(1_800, length_s // 4)), rounds))  # as time goes
    out: list[Row] = []
    with _opened(folder) as (desk, counting):
        settle()
        first_ms = _ms(lambda: queries.run(queries.get_order_flow(desk, symbol, end_s=ends[0])))
        out.append(Row("order flow, the first question about a symbol", first_ms, "ms"))
        for title, ask, limit in _questions(desk, symbol):
            out += _asked(title, ask, ends, counting, limit)
        out.append(Row("own history of a symbol, a day", desk.histories.nbytes / MB, "MiB"))
    hours = 1 if quick else 24
    taken = [_from_disk(folder, symbol, hours, end) for end in ends[: 3 if quick else 9]]
    out.append(ceiling(f"volume profile, {hours} h, from disk", percentile(taken, 0.5), "ms", 300))
    return out


def _from_disk(folder: Path, symbol: str, hours: int, end_s: int) -> float:
    with _opened(folder) as (desk, _):
        return _ms(lambda: queries.run(queries.get_volume_profile(desk, symbol, duration_hours=hours, end_s=end_s)))


def _questions(desk: Desk, symbol: str) -> Sequence[tuple[str, Callable[[int], Steps[Any]], float | None]]:
    longest = {"window_duration_secs": LONG_S}
    return [
        ("order flow, 60 s", lambda end: queries.get_order_flow(desk, symbol, end_s=end), 5.0),
        ("order flow, 300 s", lambda end: queries.get_order_flow(desk, symbol, **longest, end_s=end), None),
        ("anomalies, 60 s", lambda end: queries.detect_market_anomalies(desk, symbol, end_s=end), None),
        (
            "anomalies, 300 s",
            lambda end: queries.detect_market_anomalies(desk, symbol, window_duration_secs=300, end_s=end),
            None,
        ),
        ("health", lambda end: queries.get_microstructure_health(desk, symbol, end_s=end), None),
        ("volume profile, 24 h", lambda end: queries.get_volume_profile(desk, symbol, end_s=end), 300.0),
        ("vacuums, 24 h", lambda end: queries.get_liquidity_vacuums(desk, symbol, end_s=end), None),
        ("L1 of the store", lambda end: queries.orderbook_l1(desk, symbol), None),
        ("L2 of the store, 20 levels", lambda end: queries.orderbook_l2(desk, symbol), None),
        ("market impact", lambda end: queries.estimate_market_impact(desk, symbol), None),
    ]


def _asked(
    title: str, ask: Callable[[int], Steps[Any]], ends: Sequence[int], counting: Counting, limit: float | None
) -> list[Row]:
    queries.run(ask(ends[0]))
    counting.rows = counting.bytes = 0
    taken = [_ms(lambda end=end: queries.run(ask(end))) for end in ends]
    rows, read = counting.rows / len(ends), counting.bytes / len(ends)
    middle, late = percentile(taken, 0.5), percentile(taken, 0.99)
    told = f"{rows:,.0f} rows, {read / 1000:,.0f} kB read"
    first = ceiling(f"{title}, p50 ({told})", middle, "ms", limit) if limit else Row(f"{title}, p50 ({told})", middle, "ms")
    return [first, Row(f"{title}, p99", late, "ms")]


class _opened:
    """A desk over the store, opened anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> tuple[Desk, Counting]:
        self._engine = RocksEngine(self._folder, cache_bytes=8 * MB)
        counting = Counting(self._engine)
        return Desk(History(counting, str(self._folder)), now_ns=time.time_ns), counting

    def __exit__(self, *_: object) -> None:
        self._engine.close()


def _complete(folder: Path, symbol: str, end_s: int) -> None:
    """What a service would have stored as well: the rules of the symbol, the sums of the hours that are over."""
    engine = RocksEngine(folder)
    history = History(engine, str(folder))
    history.set_rules(SymbolRules(symbol, "TRADING", "BTC", "USDT", TICK_E8, STEP_E8, material.START_S))
    for second in range(material.START_S, end_s - HOUR_S + 1, HOUR_S):
        claim = history.claim_hour(symbol, second)
        hour = queries.run(summed_hour(history, symbol, second))
        assert hour is not None and history.write_hour(hour, claim)
    engine.flush()
    engine.close()


def _ms(call: Callable[[], Any]) -> float:
    begun = time.process_time_ns()
    try:
        call()
    except LeadlineError as error:
        raise AssertionError(f"no answer: {error}") from error
    return (time.process_time_ns() - begun) / 1e6
