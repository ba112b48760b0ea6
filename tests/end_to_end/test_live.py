"""The running service against the stand-in's synthetic market: what it records is what happened, under many a fault.

The judge is the market's own book and its own list of trades, which share no code with ours.
"""

import asyncio
import logging
import time
from decimal import Decimal

import pytest
from tests.end_to_end.running import SAFETY_S, running, settings_for, stored, until

from leadline.core.errors import StoreLocked, StoreMismatch, UnknownSymbol
from leadline.core.records import BookState, TradeState
from leadline.core.units import decimal_text
from leadline.service import queries
from leadline.standin.faults import FaultRequest
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
SPEED = 10  # virtual seconds in one real one, where event time closes the seconds


def market(seed=11, symbols=SYMBOLS):
    return SyntheticMarket(seed, symbols, start_ms=int(time.time() * 1000) // 1000 * 1000)


def assert_true_book(source, feed):
    """Every level of the LIVE book, and no other, is in the market's own book at that id."""
    book = feed.sync.book
    assert book is not None
    true = source.book(feed.symbol, book.update_id)
    for ours, theirs in ((book.bids, true.bids), (book.asks, true.asks)):
        mine = {Decimal(decimal_text(abs(key))): Decimal(decimal_text(q)) for key, q in ours.quantities.items()}
        assert mine == {Decimal(price): Decimal(quantity) for price, quantity in theirs.items()}


def assert_true_trades(source, history, symbol):
    """The stored chain is the market's, from the first stored id to the last: none missing, none double, none changed."""
    stored_trades = [trade for block in history.trades(symbol, 0, 2**33).rows for trade in block.trades]
    first, last = stored_trades[0].agg_id, stored_trades[-1].agg_id
    assert [trade.agg_id for trade in stored_trades] == list(range(first, last + 1))
    truth = source.tape(symbol).aggregates(from_id=first, start_ms=None, end_ms=None, limit=last - first + 1)
    assert len(truth) == len(stored_trades)
    for ours, true in zip(stored_trades, truth, strict=True):
        numbers = Decimal(decimal_text(ours.price_e8)), Decimal(decimal_text(ours.quantity_e8))
        assert numbers == (Decimal(true.p), Decimal(true.q))
        moment = ours.ts_trade_ns // 1_000_000, ours.buyer_is_maker
        assert (ours.agg_id, ours.first_id, ours.last_id, *moment) == (true.a, true.f, true.l, true.T, true.m)


def eventful(standin, tmp_path):
    return settings_for(standin, tmp_path / "store", SYMBOLS, **{"exchange.ticks": "event", "log.snapshot_lines": "none"})


def scenario(tmp_path, story, *, speed=SPEED):
    """Run `story(source, standin, service)` on a service whose seconds are closed by event time; then look into its store."""

    async def main():
        source = market()
        async with StandIn(source, speed=speed) as standin, asyncio.timeout(SAFETY_S):
            async with running(eventful(standin, tmp_path)) as service:
                feeds = service.live.feeds
                await until(lambda: all(feed.sync.book is not None and feed.sync.bridged for feed in feeds.values()))
                await story(source, standin, service)
        return source

    source = asyncio.run(main())
    with stored(tmp_path / "store") as history:
        for symbol in SYMBOLS:
            assert_true_trades(source, history, symbol)
        return {symbol: history.incidents(symbol).rows for symbol in SYMBOLS}


def lost_and_found(symbol, fault, reason, **fields):
    """A story: the fault takes the book of `symbol` away, it comes back by itself and is true; the other notices nothing."""

    async def story(source, standin, service):
        feed, other = service.live.feeds[symbol], next(f for f in service.live.feeds.values() if f.symbol != symbol)
        epoch, other_epoch = feed.sync.epoch, other.sync.epoch
        standin.fault(FaultRequest(fault=fault, symbol=symbol, **fields))
        await until(lambda: feed.sync.epoch > epoch and feed.sync.book is not None)
        ready_at = feed.sync.book.update_id
        await until(lambda: feed.sync.book is not None and feed.sync.book.update_id > ready_at)
        assert_true_book(source, feed)
        assert (other.sync.epoch, other.gaps) == (other_epoch, 0)
        assert_true_book(source, other)
        # the rest of a second, so that the incident reaches the store with its end
        closed = feed.seconds_closed
        await until(lambda: feed.seconds_closed > closed + 1)

    return story


@pytest.mark.parametrize(("fault", "reason"), [("diff.drop", "gap"), ("diff.reorder", "gap"), ("diff.crossed", "crossed")])
def test_a_book_that_cannot_be_trusted_is_lost_for_that_symbol_alone_and_found_again(fault, reason, tmp_path):
    incidents = scenario(tmp_path, lost_and_found("BTCUSDT", fault, reason))
    losses = [i for i in incidents["BTCUSDT"] if i.kind == reason]
    assert losses, incidents
    assert all(i.end_ms is not None and i.epoch_after > i.epoch_before for i in losses)
    assert {i.kind for i in incidents["ETHUSDT"]} == {"start"}


def test_a_diff_that_comes_twice_changes_nothing(tmp_path):
    async def story(source, standin, service):
        feed = service.live.feeds["BTCUSDT"]
        standin.fault(FaultRequest(fault="diff.duplicate", symbol="BTCUSDT", count=20))
        dropped = feed.sync.events_dropped
        await until(lambda: feed.sync.events_dropped >= dropped + 20)
        assert feed.sync.epoch == 1
        assert_true_book(source, feed)

    assert {i.kind for i in scenario(tmp_path, story)["BTCUSDT"]} == {"start"}


@pytest.mark.parametrize("fault", ["diff.malformed", "diff.truncated", "socket.close", "socket.reset"])
def test_a_lost_connection_is_replaced_and_no_trade_is_missing(fault, tmp_path):
    async def story(source, standin, service):
        feeds = service.live.feeds.values()
        standin.fault(FaultRequest(fault=fault, symbol="" if fault.startswith("socket") else "BTCUSDT"))
        await until(lambda: all(feed.sync.epoch > 1 and feed.sync.book is not None for feed in feeds))
        fills = {feed.symbol: feed.fills for feed in feeds}
        await until(lambda: all(feed.fills > fills[feed.symbol] and feed.chain.hole is None for feed in feeds))
        for feed in feeds:
            assert_true_book(source, feed)
            assert feed.trades_missing == 0

    incidents = scenario(tmp_path, story)
    for symbol in SYMBOLS:
        assert "disconnected" in {i.kind for i in incidents[symbol]}


def test_an_announced_shutdown_is_left_in_time_and_nothing_is_lost(tmp_path):
    """Make before break: another connection takes over, in the same epoch, without a gap."""

    async def story(source, standin, service):
        (status,) = service.stream.status
        standin.fault(FaultRequest(fault="socket.server_shutdown"))
        await until(lambda: status.handovers == 1)
        for feed in service.live.feeds.values():
            at = feed.sync.book.update_id
            await until(lambda feed=feed, at=at: feed.sync.book.update_id > at)
            assert_true_book(source, feed)
            assert (feed.sync.epoch, feed.gaps, feed.trades_missing) == (1, 0, 0)

    incidents = scenario(tmp_path, story)
    assert {i.kind for symbol in SYMBOLS for i in incidents[symbol]} == {"start"}


def test_trades_that_were_not_delivered_are_fetched_and_marked(tmp_path):
    async def story(source, standin, service):
        feed = service.live.feeds["ETHUSDT"]
        await until(lambda: feed.chain.last is not None)  # before the first trade nothing can be missing
        last = feed.chain.last
        standin.fault(FaultRequest(fault="trades.drop", symbol="ETHUSDT", count=7))
        await until(lambda: feed.chain.last.agg_id > last.agg_id + 20)
        assert feed.trades_missing == 0
        closed = feed.seconds_closed
        await until(lambda: feed.seconds_closed > closed + 1)

    scenario(tmp_path, story)
    with stored(tmp_path / "store") as history:
        states = {block.state for block in history.trades("ETHUSDT", 0, 2**33).rows}
        assert states == {TradeState.COMPLETE, TradeState.BACKFILLED}
        assert {block.state for block in history.trades("BTCUSDT", 0, 2**33).rows} == {TradeState.COMPLETE}


@pytest.mark.parametrize(
    "request_fault",
    [
        {"fault": "rest.status", "status": 500},
        {"fault": "rest.status", "status": 502, "body": "<html>no</html>", "content_type": "text/html"},
        {"fault": "rest.status", "status": 429, "retry_after_s": 1},
        {"fault": "snapshot.stale", "events": 30},
    ],
    ids=["server error", "not even JSON", "budget used up", "older than the stream"],
)
def test_a_snapshot_that_does_not_come_as_it_should_is_asked_for_again(request_fault, tmp_path):
    async def story(source, standin, service):
        feed = service.live.feeds["BTCUSDT"]
        path = {"path": "depth"} if request_fault["fault"].startswith("rest") else {"symbol": "BTCUSDT"}
        standin.fault(FaultRequest(**request_fault, **path))
        standin.fault(FaultRequest(fault="diff.drop", symbol="BTCUSDT"))
        await until(lambda: feed.sync.book is None)
        assert feed.view(5).state is BookState.STALE
        await until(lambda: feed.sync.book is not None and feed.sync.epoch > 1)
        assert_true_book(source, feed)

    scenario(tmp_path, story, speed=2)


def test_seconds_of_the_wall_clock_are_recorded_told_and_closed_in_order(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "leadline")

    async def main():
        source = market()
        async with StandIn(source, speed=1) as standin, asyncio.timeout(SAFETY_S):
            async with running(settings_for(standin, tmp_path / "store", SYMBOLS)) as service:
                await until(lambda: service.recorder.stored >= 8)
                for feed in service.live.feeds.values():
                    assert_true_book(source, feed)
                assert service.retention.last_run_s is not None
                assert service.origin == "synthetic:11"
        return source

    source = asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    told = {symbol: [int(m.split()[-1]) for m in said if m.startswith(f"Stored snapshot for {symbol} at ")] for symbol in SYMBOLS}
    assert said.index("Pre-subscribed to BTCUSDT for snapshot persistence") < said.index(
        f"Stored snapshot for BTCUSDT at {told['BTCUSDT'][0]}"
    )
    for sentence in ("Snapshot persistence task started", "Snapshot persistence task shutting down"):
        assert said.count(sentence) == 1
    with stored(tmp_path / "store") as history:
        assert history.meta("clean_shutdown", bool) is True
        for symbol in SYMBOLS:
            seconds = told[symbol]
            assert seconds == list(range(seconds[0], seconds[-1] + 1))
            snapshots = history.snapshots(symbol, 0, 2**33).rows
            assert [snapshot.timestamp for snapshot in snapshots] == seconds
            assert_true_trades(source, history, symbol)
            for snapshot in snapshots:
                true = source.book(symbol, snapshot.update_id)
                best = sorted(((Decimal(p), Decimal(q)) for p, q in true.bids.items()), reverse=True)[:20]
                assert [(Decimal(decimal_text(p)), Decimal(decimal_text(q))) for p, q in snapshot.bids] == best
                best = sorted((Decimal(p), Decimal(q)) for p, q in true.asks.items())[:20]
                assert [(Decimal(decimal_text(p)), Decimal(decimal_text(q))) for p, q in snapshot.asks] == best


def test_a_restart_appends_counts_epochs_on_and_says_why_nothing_was_recorded_meanwhile(tmp_path):
    async def main():
        source = market()
        async with StandIn(source, speed=1) as standin, asyncio.timeout(SAFETY_S):
            settings = settings_for(standin, tmp_path / "store", ["BTCUSDT"], **{"log.snapshot_lines": "none"})
            async with running(settings) as service:
                await until(lambda: service.recorder.stored >= 2)
            stopped_at = service.recorder.last_stored_second
            await until(lambda: time.time() > stopped_at + 3)
            async with running(settings) as service:
                await until(lambda: service.recorder.stored >= 2)
        return source, stopped_at

    source, stopped_at = asyncio.run(main())
    with stored(tmp_path / "store") as history:
        epochs = [record.epoch for record in history.seconds("BTCUSDT", 0, 2**33).rows if record.epoch is not None]
        assert sorted(epochs) == epochs
        assert set(epochs) == {1, 2}
        outages = [i for i in history.incidents("*").rows if i.kind == "outage"]
        assert [(i.start_ms, i.cause) for i in outages] == [((stopped_at + 1) * 1000, "stopped")]
        assert_true_trades(source, history, "BTCUSDT")  # fetched over the outage too
        first, last = history.span("seconds", "BTCUSDT")
        report = queries.coverage(history, "BTCUSDT", first, last + 1)
        assert {gap.cause for gap in report.gaps} <= {"outage (stopped)", "starting"}
        assert any(gap.cause == "outage (stopped)" for gap in report.gaps)


def test_a_second_service_on_one_store_is_refused_and_the_first_goes_on(tmp_path):
    async def main():
        async with StandIn(market(), speed=1) as standin, asyncio.timeout(SAFETY_S):
            settings = settings_for(standin, tmp_path / "store", ["BTCUSDT"])
            async with running(settings) as service:
                with pytest.raises(ExceptionGroup) as refused:
                    async with running(settings):
                        pytest.fail("it started")
                assert refused.group_contains(StoreLocked)
                stored_before = service.recorder.stored
                await until(lambda: service.recorder.stored > stored_before)

    asyncio.run(main())


def test_a_store_of_another_origin_is_refused(tmp_path):
    async def main(seed):
        async with StandIn(market(seed), speed=1) as standin, asyncio.timeout(SAFETY_S):
            async with running(settings_for(standin, tmp_path / "store", ["BTCUSDT"])) as service:
                await until(lambda: service.recorder.stored)

    asyncio.run(main(1))
    with pytest.raises(ExceptionGroup) as refused:
        asyncio.run(main(2))
    assert refused.group_contains(StoreMismatch)


def test_an_unknown_symbol_is_named_with_its_near_matches_before_anything_is_recorded(tmp_path):
    async def main():
        async with StandIn(market(), speed=1) as standin, asyncio.timeout(SAFETY_S):
            async with running(settings_for(standin, tmp_path / "store", ["BTCUSD"])):
                pytest.fail("it started")

    with pytest.raises(ExceptionGroup) as refused:
        asyncio.run(main())
    (error,) = _leaves(refused.value)
    assert isinstance(error, UnknownSymbol)
    assert str(error) == "symbol: 'BTCUSD' is not known at synthetic:11; near matches: BTCUSDT, ETHUSDT"


def _leaves(error):
    return [leaf for e in error.exceptions for leaf in _leaves(e)] if isinstance(error, BaseExceptionGroup) else [error]
