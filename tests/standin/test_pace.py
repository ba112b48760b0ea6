"""Virtual time: what passes n times faster, and what does when playback stands."""

import asyncio
import json
from typing import Any

from tests.fakes import FakeClock
from tests.standin.support import connect, get, post, run

from leadline.standin.derived import Derived
from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.pace import AGE_US, DELAY_US, LAG_US, Delays, Pace
from leadline.standin.player import Player
from leadline.standin.script import Script
from leadline.standin.server import StandIn
from leadline.standin.source import Frame

START_MS = 1_767_225_600_000


def test_virtual_time_is_real_time_until_the_rate_changes_and_never_steps() -> None:
    async def test() -> None:
        clock = FakeClock()
        pace = Pace(clock)
        await clock.advance(5)
        assert (pace.monotonic(), pace.wall_ns()) == (clock.monotonic(), clock.wall_ns())
        pace.set_rate(10)
        assert pace.monotonic() == 5
        await clock.advance(2)
        assert pace.monotonic() == 25
        assert pace.wall_ns() == clock.wall_ns() + 18 * 10**9
        pace.set_rate(1)
        await clock.advance(3)
        assert pace.monotonic() == 28
        assert pace.wall_ns() == clock.wall_ns() + 18 * 10**9

    run(test())


def test_a_sleeper_wakes_at_its_virtual_moment_also_when_the_rate_changes_meanwhile() -> None:
    async def test() -> None:
        clock = FakeClock()
        pace = Pace(clock)
        async with asyncio.TaskGroup() as tasks:
            sleeper = tasks.create_task(pace.sleep_until(100))
            await clock.advance(10)
            pace.set_rate(30)
            await clock.advance(2.9)
            assert not sleeper.done()
            await clock.advance(0.2)
            assert sleeper.done()

    run(test())


def test_the_delays_of_a_seed_lie_within_their_bounds_and_are_the_same_again() -> None:
    delays, again, other = Delays("synthetic:7"), Delays("synthetic:7"), Delays("synthetic:8")
    drawn = [(*delays.depth_us("A", ms), delays.lag_us("A", ms)) for ms in range(500)]
    again.lag_us("B", 3)  # what others ask changes nothing
    assert drawn == [(*again.depth_us("A", ms), again.lag_us("A", ms)) for ms in range(500)]
    assert drawn != [(*other.depth_us("A", ms), other.lag_us("A", ms)) for ms in range(500)]
    for bounds, values in zip((DELAY_US, AGE_US, LAG_US), zip(*drawn, strict=True), strict=True):
        low, high = bounds
        assert low <= min(values) < low + (high - low) // 20
        assert high - (high - low) // 20 < max(values) < high


class Paced:
    """A player without sockets: its frames land in a list."""

    def __init__(self, clock: FakeClock, *, speed: float, paused: bool = False) -> None:
        self.frames: list[Frame] = []
        self.pace = Pace(clock)
        source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
        self.derived = Derived(source)
        self.player = Player(
            source, clock=clock, pace=self.pace, derived=self.derived, script=Script(), speed=speed, hold=False, paused=paused,
            deliver=self._take, listeners=lambda symbol: True,
        )  # fmt: skip

    async def _take(self, frames: list[Frame]) -> None:
        self.frames += frames
        await asyncio.sleep(0)

    @property
    def reached_s(self) -> float:
        """Up to 0.2 s of real time behind, the longest look away from the controls."""
        return (self.player.position_ns - START_MS * 1_000_000) / 1e9


def test_the_speed_of_playback_and_of_virtual_time_are_one_and_can_be_changed() -> None:
    async def test() -> None:
        clock = FakeClock()
        paced = Paced(clock, speed=1)
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(paced.player.play())
            await clock.advance(2)
            assert 1.8 <= paced.reached_s <= 2
            paced.player.set_speed(20)
            await clock.advance(1)
            assert 17 <= paced.reached_s <= 22
            assert paced.pace.monotonic() == 22
            paced.player.pause()
            stood = paced.reached_s
            await clock.advance(5)
            assert (paced.reached_s, paced.pace.monotonic()) == (stood, 27)
            paced.player.resume()
            await clock.advance(0.5)
            assert stood + 6 <= paced.reached_s <= stood + 10
            playing.cancel()

    run(test())


def test_derived_frames_stand_at_their_place_among_the_others_at_every_speed() -> None:
    async def played(speed: float) -> list[Frame]:
        clock = FakeClock()
        paced = Paced(clock, speed=speed)
        for stream in ("btcusdt@kline_1s", "btcusdt@depth5@100ms", "btcusdt@depth"):
            paced.derived.hear(stream)
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(paced.player.play())
            while paced.reached_s < 4:
                await clock.advance(0.1)
            playing.cancel()
        return [frame for frame in paced.frames if frame.at_ns <= (START_MS + 4000) * 1_000_000]

    async def test() -> None:
        slow, fast = await played(1), await played(50)
        assert slow == fast
        assert [frame.at_ns for frame in slow] == sorted(frame.at_ns for frame in slow)
        assert {frame.stream.partition("@")[2] for frame in slow} > {"kline_1s", "depth5@100ms", "depth", "trade"}

    run(test())


class Watched(SyntheticMarket):
    """Remembers how old the books were that it was asked for."""

    ages_us: list[int] | None = None

    def depth(self, symbol: str, limit: int, *, age_us: int = 0, **options: Any) -> Any:
        self.ages_us = [*(self.ages_us or []), age_us]
        return super().depth(symbol, limit, age_us=age_us, **options)


def test_a_snapshot_takes_its_delay_in_virtual_time_while_the_market_plays_and_none_while_it_stands() -> None:
    async def test() -> None:
        clock = FakeClock()
        source = Watched(7, start_ms=START_MS)
        async with StandIn(source, clock=clock, speed=1) as standin:
            for n in range(1, 6):
                asked = asyncio.create_task(get(standin, "/api/v3/depth", symbol="BTCUSDT"))
                while (await get(standin, "/_standin/state")).json["weights"].get("127.0.0.1", {}).get("requests", 0) < n:
                    pass
                moved_ms = 0
                while not asked.done():
                    await clock.advance(0.001)
                    await get(standin, "/_standin/state")
                    moved_ms += 1
                assert moved_ms >= DELAY_US[0] // 1000
                assert (await asked).status == 200
            assert source.ages_us is not None
            assert len(set(source.ages_us)) == 5
            assert all(AGE_US[0] <= age < AGE_US[1] for age in source.ages_us)
            await post(standin, "pause")
            assert (await get(standin, "/api/v3/depth", symbol="BTCUSDT")).status == 200  # or it would wait for ever
            assert source.ages_us[-1] == 0

    run(test())


def test_the_database_lags_behind_the_stream_while_the_market_plays_and_loses_nothing() -> None:
    async def test() -> None:
        clock = FakeClock()
        source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
        async with StandIn(source, clock=clock, speed=1, limits=Limits(ping_every_s=0)) as standin:
            lags, latest = [], 0
            for _ in range(30):
                await clock.advance(1.0)
                now_ms = (await get(standin, "/api/v3/time")).json["serverTime"]
                stored = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1)).json[0]
                fills = (await get(standin, "/api/v3/historicalTrades", symbol="BTCUSDT", limit=1)).json[0]
                memory = (await get(standin, "/api/v3/trades", symbol="BTCUSDT", limit=1)).json[0]
                assert memory["id"] == source.tape("BTCUSDT").last_ids[1]
                assert stored["a"] >= latest
                assert fills["id"] >= stored["l"]
                latest = stored["a"]
                newer = source.tape("BTCUSDT").aggregates(from_id=latest + 1, limit=1)
                if newer:
                    lags.append(now_ms - newer[0].T)
            assert len(lags) > 25
            assert 0 < max(lags) <= 2000
            assert max(lags) > 1000
            await post(standin, "pause")
            assert (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1)).json[0]["a"] == source.tape(
                "BTCUSDT"
            ).last_ids[0]

    run(test())


def test_the_clock_can_be_set_to_another_speed_by_command() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=1, paused=True) as standin:
            assert (await post(standin, "clock", speed=25)).status == 200
            state = (await get(standin, "/_standin/state")).json
            assert (state["speed"], state["paused"]) == (25, True)
            async with connect(standin, "/ws/btcusdt@depth@100ms") as socket:
                await post(standin, "clock", speed=0, advance_ms=300)
                assert json.loads(await socket.recv())["e"] == "depthUpdate"
            for wrong in ({"speed": -1}, {"speed": "fast"}, {"advance_ms": -5}, {"haste": 1}):
                assert (await post(standin, "clock", **wrong)).status == 400

    run(test())
