"""A recording over real WebSocket and REST gives what the direct path gives; only receive stamps, and what they weigh, differ."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs
from tests.captures import captures
from tests.end_to_end.running import SAFETY_S, running, settings_for, stored, until

from leadline import app
from leadline.config import load
from leadline.exchange.replay import Recording
from leadline.service.feed import Feed
from leadline.standin.replay import Recording as Served
from leadline.standin.server import StandIn

BY_RECEIVE_TIME = {"recv_ms", "live_ms", "spread_tw", "n_excess", "excess_quote", "level_events", "level_events_dropped"}


def untimed(record):
    """Level events that do not look back 100 ms of receive time, where none was dropped."""
    return None if record.level_events_dropped else [e for e in record.level_events if e.kind != "sweep_excess"]


RECORDINGS = {
    "two spot symbols with trades and tickers": ["spot/btcusdt_20240808.gz", "spot/ethusdt_20240808.gz"],
    "three symbols with aggregate trades": ["multi/binance_20210404_btc_eth_dot.raw.gz"],
    "thin books in two parts": ["multi/binance_20211012_4pairs.ws.gz", "multi/binance_20211012_4pairs.http.gz"],
}


def direct(files: list[Path], data: Path) -> dict[str, Feed]:
    return app.replay(Recording(files), load({}, environ={}).settings, data).feeds


async def over_sockets(files: list[Path], data: Path, expected: dict[str, Feed]) -> None:
    async with StandIn(Served(files), speed=0, hold=True) as standin, asyncio.timeout(SAFETY_S):
        settings = settings_for(standin, data, sorted(expected), **{"exchange.ticks": "event", "log.snapshot_lines": "none"})
        async with running(settings) as service:
            feeds = service.live.feeds

            def arrived() -> bool:
                return all(
                    feeds[symbol].sync.book is not None
                    and feeds[symbol].sync.book.update_id == feed.sync.book.update_id
                    and feeds[symbol].fills == feed.fills
                    for symbol, feed in expected.items()
                )

            while not standin.finished:
                await until(lambda: standin.finished or standin.gate is not None)
                if (symbol := standin.gate) is not None:
                    # What was sent before the snapshot is read before it, and what comes after is sent after: one SUBSCRIBE
                    # was acknowledged, every other message is a frame.
                    await until(lambda: service.stream.status[0].frames == standin.frames_sent + 1)
                    standin.answer_held()
                    sync = feeds[symbol].sync  # the snapshot has come: bridged, or ahead of what was sent so far
                    await until(lambda sync=sync: sync.book is not None or sync.ahead_id is not None)
                    standin.resume()
                    await until(lambda symbol=symbol: standin.gate != symbol)
            await until(arrived)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_over_sockets_is_stored_as_the_direct_path_stores_it(name, tmp_path):
    files = [captures() / file for file in RECORDINGS[name]]
    expected = direct(files, tmp_path / "direct")
    asyncio.run(over_sockets(files, tmp_path / "sockets", expected))
    with stored(tmp_path / "direct") as ours, stored(tmp_path / "sockets") as theirs:
        assert theirs.symbols() == ours.symbols() == sorted(expected)
        for symbol in expected:
            lo, last = ours.span("seconds", symbol)
            assert theirs.span("seconds", symbol) == (lo, last)
            assert [ours.get(symbol, t) for t in range(lo, last + 1)] == [theirs.get(symbol, t) for t in range(lo, last + 1)]
            assert theirs.trades(symbol, 0, 2**33).rows == ours.trades(symbol, 0, 2**33).rows
            for one, other in zip(
                ours.seconds(symbol, lo, last + 1).rows, theirs.seconds(symbol, lo, last + 1).rows, strict=True
            ):
                mine, yours = structs.asdict(one), structs.asdict(other)
                assert untimed(one) == untimed(other)
                assert {k: v for k, v in mine.items() if k not in BY_RECEIVE_TIME} == {
                    k: v for k, v in yours.items() if k not in BY_RECEIVE_TIME
                }
            assert sum(len(block.trades) for block in theirs.trades(symbol, 0, 2**33).rows) > 0 or expected[symbol].fills == 0
