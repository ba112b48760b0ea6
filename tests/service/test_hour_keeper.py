"""The keeper of hours: which it sums up, when, in which order, and what it does when the store does not do its part."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from tests.fakes import FailingEngine, FakeClock, HeldWriter, InlineWriter, run, settle
from tests.store import samples

from leadline.core.errors import StoreFull
from leadline.core.records import SymbolSecond, TradeState
from leadline.service.hours import DELAY_S, EVERY_S, HourKeeper
from leadline.store.engine import Engine
from leadline.store.history import History

NANO = 10**9


class Kept:
    """A store with trades each ten minutes of some hours, a clock, and a keeper that runs."""

    def __init__(self, engine: Engine | None = None, *, symbols: Sequence[str] = ("BTCUSDT",), hours_back: int = 3) -> None:
        self.engine = engine or FailingEngine()
        self.history = History(self.engine, "the test's store")
        self.clock = FakeClock()
        self.start = self.clock.wall_ns() // NANO // 3_600 * 3_600
        self.keeper = HourKeeper(self.history, symbols)
        for symbol in symbols:
            ids = range(6 * hours_back)
            blocks = [samples.block(self.start - 3_600 * hours_back + 600 * n, n, symbol=symbol) for n in ids]
            assert self.history.write([SymbolSecond(symbol, self.start, None, None, None, tuple(blocks), ())]) == []

    def held(self, symbol: str = "BTCUSDT") -> list[int]:
        """Hours from the start of the clock's hour."""
        return [n for n in range(-9, 4) if self.history.trade_hour(symbol, self.start + 3_600 * n) is not None]

    async def wall(self, second: float) -> None:
        """The clock goes on to `second` of the hour in which it began, in steps, as time does."""
        while (self.clock.wall_ns() / NANO) < self.start + second:
            await self.clock.advance(min(5.0, self.start + second - self.clock.wall_ns() / NANO))


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_at_the_start_all_hours_that_are_over_are_kept_newest_first():
    async def test() -> None:
        kept = Kept(symbols=("BTCUSDT", "ETHUSDT"))
        order: list[tuple[str, int]] = []

        class Telling(InlineWriter):
            def submit(self, fn, /, *args, **kwargs):
                if fn.__name__ == "claim_hour":
                    order.append((args[0], (args[1] - kept.start) // 3_600))
                return super().submit(fn, *args, **kwargs)

        kept.clock.set_wall(kept.start + DELAY_S + 1 - kept.clock.wall_ns() / NANO)
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, Telling(1)))
        await kept.wall(DELAY_S + 60)
        assert kept.held() == kept.held("ETHUSDT") == [-3, -2, -1]
        assert [number for _, number in order] == [-1, -1, -2, -2, -3, -3]
        assert kept.keeper.kept == 6
        await ended(task)

    run(test())


def test_the_hour_that_runs_and_one_just_over_are_left_alone():
    async def test() -> None:
        kept = Kept()
        kept.clock.set_wall(kept.start + DELAY_S - 30 - kept.clock.wall_ns() / NANO)
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, InlineWriter(1)))
        await kept.wall(DELAY_S - 1)
        assert kept.held() == [-3, -2]
        await kept.wall(DELAY_S + EVERY_S + 10)
        assert kept.held() == [-3, -2, -1]
        await kept.wall(3_600 + DELAY_S + EVERY_S + 10)
        assert kept.held() == [-3, -2, -1, 0]
        await ended(task)

    run(test())


def test_an_hour_of_which_a_block_is_written_while_it_is_summed_up_is_kept_an_hour_later():
    async def test() -> None:
        kept = Kept(hours_back=1)
        kept.clock.set_wall(kept.start + DELAY_S + 1 - kept.clock.wall_ns() / NANO)
        writer = HeldWriter()
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, writer))
        await kept.wall(DELAY_S + 10)
        await writer.let_through()  # the claim
        await kept.wall(DELAY_S + 60)
        assert writer.in_hand == 1  # the sums
        late = samples.block(kept.start - 5, 77, state=TradeState.BACKFILLED)
        assert kept.history.write([SymbolSecond("BTCUSDT", kept.start, None, None, None, (late,), ())]) == []
        await writer.let_through()
        assert (kept.held(), kept.keeper.kept, kept.keeper.changed) == ([], 0, 1)
        await kept.wall(3_600 + DELAY_S + EVERY_S + 60)
        for _ in range(4):
            await writer.let_through()
            await kept.wall(kept.clock.wall_ns() / NANO - kept.start + 30)
        assert kept.held() == [-1, 0]
        found = kept.history.trade_hour("BTCUSDT", kept.start - 3_600)
        assert found is not None and found.last_ns == (kept.start - 5) * NANO
        await ended(task)

    run(test())


def test_a_store_that_takes_nothing_is_told_and_asked_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)

    async def test() -> None:
        kept = Kept()
        kept.clock.set_wall(kept.start + DELAY_S + 1 - kept.clock.wall_ns() / NANO)
        assert isinstance(kept.engine, FailingEngine)
        kept.engine.error = StoreFull("the test's store", "no space left on device")
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, InlineWriter(1)))
        await kept.wall(DELAY_S + 60)
        assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.ERROR, "hours_failed")]
        kept.engine.error = None
        await kept.wall(DELAY_S + EVERY_S + 60)
        assert kept.held() == [-3, -2, -1]
        assert [(r.levelno, r.getMessage()) for r in caplog.records[1:]] == [(logging.INFO, "hours_kept")]
        assert vars(caplog.records[1])["count"] == 3
        await ended(task)

    run(test())


def test_an_hour_that_cannot_be_read_is_told_once_and_costs_no_other(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        kept = Kept()
        kept.engine.write([("trades", b"BTCUSDT:%d" % (kept.start - 7_000), b"\xc1")])
        kept.clock.set_wall(kept.start + DELAY_S + 1 - kept.clock.wall_ns() / NANO)
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, InlineWriter(1)))
        await kept.wall(2 * 3_600)
        assert kept.held() == [-3, -1, 0]
        assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, "hour_unreadable")]
        assert vars(caplog.records[0])["second"] == kept.start - 7_200
        await ended(task)

    run(test())


def test_an_hour_that_is_over_meanwhile_comes_before_older_ones():
    """Thirty hours to be kept, at the pace of a slow disk: the one that ends then is the next."""

    async def test() -> None:
        kept = Kept(hours_back=30)
        kept.clock.set_wall(kept.start + DELAY_S + 1 - kept.clock.wall_ns() / NANO)
        writer = HeldWriter()
        task = asyncio.ensure_future(kept.keeper.run(kept.clock, writer))
        claimed: list[int] = []
        for step in range(12):
            await kept.wall(DELAY_S + 10 * (step + 1) + (3_600 if step > 5 else 0))
            if writer.in_hand:
                await writer.let_through()
            claimed = kept.held()
        assert 0 in claimed
        assert -9 not in claimed and kept.keeper.kept < 10
        await ended(task)

    run(test())


def test_a_symbol_without_trades_costs_nothing():
    async def test() -> None:
        kept = Kept()
        keeper = HourKeeper(kept.history, ["NEWUSDT"])
        task = asyncio.ensure_future(keeper.run(kept.clock, InlineWriter(1)))
        await settle()
        await kept.clock.advance(EVERY_S)
        assert keeper.kept == 0
        await ended(task)

    run(test())
