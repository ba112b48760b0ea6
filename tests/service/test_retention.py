"""Retention: the plan as a table worked out by hand, and the task over simulated days against a real History."""

import asyncio
import logging
from pathlib import Path

import pytest
from tests.fakes import FailingEngine, FakeClock, InlineWriter, run, settle
from tests.store import samples

from leadline.core.errors import StoreFull
from leadline.service.retention import EVERY_S, Caps, Cut, Retention, plan
from leadline.store.history import History

DAY = 86_400
KIND = ("snapshots", "seconds", "trades")

# The plan ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("oldest", "newest", "used", "free", "expected"),
    [
        pytest.param(None, None, 0, 9999, None, id="an empty store"),
        pytest.param(None, None, 0, 0, None, id="an empty store on a full disk"),
        pytest.param(9000, 9999, 1000, 9999, None, id="exactly as old and as large as allowed"),
        pytest.param(8999, 9999, 500, 9999, Cut(9000, "age"), id="one second too old"),
        pytest.param(100, 5000, 500, 9999, Cut(9000, "age"), id="everything is too old"),
        # 100 s hold 2000 B; down to 900 B are 1100 B = 55 s.
        pytest.param(9901, 10_000, 2000, 9999, Cut(9956, "size"), id="too large"),
        # 30 s hold 1001 B; 101 B too much are 3.03 s, so 4.
        pytest.param(9971, 10_000, 1001, 9999, Cut(9975, "size"), id="rounded to what is surely enough"),
        # Age asks for 9000; 2000 s hold 1600 B, 700 B too much are 875 s: 8001 + 875 = 8876.
        pytest.param(8001, 10_000, 1600, 9999, Cut(9000, "age"), id="age cuts more than size"),
        # The same with 2000 B: 1100 s, 9101.
        pytest.param(8001, 10_000, 2000, 9999, Cut(9101, "size"), id="size cuts more than age"),
        # 100 s hold 900 B; 90 B are missing on the disk: 10 s.
        pytest.param(9901, 10_000, 900, 10, Cut(9911, "disk"), id="the disk is nearly full"),
        pytest.param(9901, 10_000, 900, 100, None, id="the disk has just enough"),
        # 900 B cannot give 10,000 B: nothing is gained by losing all of it.
        pytest.param(9901, 10_000, 900, -9900, None, id="not even everything is enough"),
        pytest.param(9901, 10_000, 901, -800, Cut(10_001, "disk"), id="all but nothing is just enough"),
        pytest.param(9901, 10_000, 0, 0, None, id="nothing that a cut would give back"),
    ],
)
def test_the_plan_cuts_what_the_stricter_bound_asks_for(
    oldest: int | None, newest: int | None, used: int, free: int, expected: Cut | None
):
    """Caps: 1000 s and 1000 B; at 10,000; 100 B are to stay free."""
    caps = Caps(1000, 1000)
    found = plan(caps, now_s=10_000, oldest_s=oldest, newest_s=newest, used_bytes=used, free_bytes=free, min_free_bytes=100)
    assert found == expected


# Days, simulated ----------------------------------------------------------------------


class Days:
    """A store that grows by one row of each symbol every ten minutes, and its retention."""

    SYMBOLS = ("BTCUSDT", "BTCUSDC", "BTC")

    def __init__(self, folder: Path, *, max_age_s: int = 10**9, max_bytes: int = 10**12, min_free_bytes: int = 0) -> None:
        self.engine = FailingEngine()
        self.history = History(self.engine, "the test's store")
        self.clock = FakeClock()
        self.retention = Retention(self.history, Caps(max_age_s, max_bytes), folder, min_free_bytes)
        self.losses = False
        self.written: list[int] = []
        self.sizes: list[int] = []

    @property
    def now_s(self) -> int:
        return self.clock.wall_ns() // 10**9

    def write(self) -> None:
        second = self.now_s
        self.history.write(
            [samples.row(second, symbol, trades=(samples.block(second, second, symbol=symbol),)) for symbol in self.SYMBOLS],
            [samples.incident(second, symbol=symbol) for symbol in (*self.SYMBOLS, "*") if self.losses],
        )
        self.written.append(second)

    async def pass_by(self, days: float) -> None:
        task = asyncio.ensure_future(self.retention.run(self.clock, InlineWriter()))
        for _ in range(round(days * DAY / EVERY_S)):
            self.write()
            await self.clock.advance(EVERY_S)
            self.sizes.append(self.history.used_bytes())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def kept(self, family: str, symbol: str) -> list[int]:
        rows = self.engine.scan(family, f"{symbol}:".encode(), f"{symbol};".encode()).rows
        return [int(key.decode().split(":")[1]) for key, _ in rows]


def test_over_eight_days_the_size_stays_flat_and_exactly_what_is_too_old_is_gone(tmp_path: Path):
    days = Days(tmp_path, max_age_s=7 * DAY)
    run(days.pass_by(8))
    a_day = round(DAY / EVERY_S)
    assert days.sizes[a_day * 6] < days.sizes[a_day * 7 - 1]
    assert set(days.sizes[a_day * 7 :]) == {days.sizes[-1]}  # the last day neither grew nor shrank
    cutoff = days.now_s - 7 * DAY
    expected = [second for second in days.written if second >= cutoff]
    assert len(expected) == 7 * a_day
    for family in KIND:
        for symbol in Days.SYMBOLS:
            assert days.kept(family, symbol) == expected, (family, symbol)
    assert days.retention.last_run_s == days.now_s
    assert days.retention.seconds_cut == {"age": (len(days.written) - len(expected)) * len(Days.SYMBOLS), "size": 0, "disk": 0}


def test_incidents_live_ten_times_longer(tmp_path: Path):
    days = Days(tmp_path, max_age_s=DAY // 10)
    days.losses = True
    run(days.pass_by(1.5))
    for symbol in (*Days.SYMBOLS, "*"):
        assert days.kept("incidents", symbol) == [second for second in days.written if second >= days.now_s - DAY]
    assert days.kept("seconds", "BTC") == [second for second in days.written if second >= days.now_s - DAY // 10]


def test_a_size_cap_holds_while_the_store_grows_on_and_all_symbols_are_cut_at_one_moment(tmp_path: Path):
    unbounded = Days(tmp_path)
    run(unbounded.pass_by(1))
    cap = unbounded.sizes[-1] // 2
    days = Days(tmp_path, max_bytes=cap)
    run(days.pass_by(2))
    an_hour = 6
    assert max(days.sizes) < cap * 1.1
    assert min(days.sizes[an_hour * 24 :]) > cap * 0.5  # and no more than asked for is thrown away
    first = {days.kept(family, symbol)[0] for family in KIND for symbol in Days.SYMBOLS}
    assert len(first) == 1
    assert days.retention.seconds_cut["size"] > 0 == days.retention.seconds_cut["age"]


def test_a_disk_that_others_fill_is_told_and_costs_no_history(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    days = Days(tmp_path, min_free_bytes=2**62)
    days.write()
    assert days.retention.run_once(days.now_s) is None
    assert days.history.newest_second() == days.now_s
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "disk_low")
    assert vars(record)["min_free_bytes"] == 2**62


def test_a_cut_by_age_is_told_at_info(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    days = Days(tmp_path, max_age_s=60)
    days.write()
    days.retention.run_once(days.now_s + 61)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.INFO, "retention_cut")]


def test_a_look_that_finds_nothing_to_do_is_a_run_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    days = Days(tmp_path)
    days.write()
    assert days.retention.last_run_s is None
    assert days.retention.run_once(days.now_s) is None
    assert (days.retention.last_run_s, caplog.records) == (days.now_s, [])


@pytest.mark.parametrize("broken", ["store", "disk"])
def test_a_cut_that_fails_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str):
    """`disk`: the folder whose free space is asked for is away for a while."""

    async def test() -> None:
        folder = tmp_path / "data"
        days = Days(folder, max_age_s=60)
        days.write()
        days.clock.now += 100
        if broken == "store":
            folder.mkdir()
            days.engine.error = StoreFull("the test's store", "no space left on device")
        task = asyncio.ensure_future(days.retention.run(days.clock, InlineWriter()))
        await settle()
        assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.ERROR, "retention_failed")]
        assert days.retention.last_run_s is None and len(days.kept("seconds", "BTC")) == 1
        days.engine.error = None
        folder.mkdir(exist_ok=True)
        await days.clock.advance(EVERY_S - 1)
        assert days.retention.last_run_s is None
        await days.clock.advance(1)
        assert days.retention.last_run_s == days.now_s and days.kept("seconds", "BTC") == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test())
