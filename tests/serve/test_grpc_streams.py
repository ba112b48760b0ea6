"""Streams of leadline.v1 over real sockets: what a client rebuilds is judged by the market's own books and by the feed's."""

import asyncio
import gc
import json
from collections import Counter
from typing import Any

import grpc
import pytest
from tests.core.test_oracles import events
from tests.fakes import run
from tests.serve.market import BTC, House, Market, Rebuilt, settle, until

from leadline.core.records import DepthSnapshot, DepthUpdate, Trade
from leadline.serve.proto import market_data_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.service.fanout import HEARTBEAT_S
from leadline.service.lines import LAG_MAX, RING, Event

ETH = "ETHUSDT"


def asked(*symbols: str, depth: int = 20, **how: Any) -> pb.StreamBookRequest:
    return pb.StreamBookRequest(symbols=symbols or [BTC], depth=depth, **how)


class Client:
    """Reads a stream as fast as it comes, and judges each message the moment it is there."""

    def __init__(self, call: Any, house: House, depth: int, copy: Rebuilt | None = None) -> None:
        self.copy = copy or Rebuilt(depth)
        self.house = house
        self.task = asyncio.ensure_future(self._read(call))
        self.call = call

    async def _read(self, call: Any) -> None:
        async for event in call:
            self.copy.take(event)
            if (book := self.copy.book) is not None and event.WhichOneof("body") != "slow":
                assert book == self.house.markets[event.symbol].best(self.copy.depth, event.update_id)
                assert (event.state, event.epoch > 0) == (pb.LIVE, True)

    async def catches_up(self) -> None:
        """It has all that was told so far."""
        await until(lambda: self.task.done() or self.copy.seq == newest(self.house, BTC, self.copy.depth))
        if self.task.done():
            self.task.result()

    async def kill(self) -> None:
        self.call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


def newest(house: House, symbol: str, depth: int) -> int:
    """Number of the newest message of a view; -1 as long as nobody looks."""
    line = house.hub._views.get(symbol, {}).get(depth)
    return -1 if line is None else line.ring.seq


# Equality --------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "updates"), [(5, 3_451), (20, 3_451), (100, 3_451), (1000, 1_000)])
def test_a_recorded_book_is_rebuilt_exactly_at_each_message(depth: int, updates: int):
    """Every applied update of the recording leaves its view in `seen`, as the feed shows it; each message must equal it."""

    async def check() -> None:
        house = House(event_ticks=True)
        seen: dict[int, tuple[Any, Any]] = {}
        house.markets[BTC].best = lambda depth, update_id: seen[update_id]  # type: ignore[method-assign]
        feed = house.feeds[BTC]
        snapshot = next(event for event in events(BTC) if isinstance(event, DepthSnapshot))
        diffs = [event for event in events(BTC) if isinstance(event, DepthUpdate)][:updates]
        async with house.open() as door:
            client = Client(door.data.StreamBook(asked(depth=depth)), house, depth)
            await until(lambda: client.copy.last is not None)
            for n, event in enumerate(diffs):
                house.hear(event)
                if house.asked:
                    house.answer(snapshot=snapshot)
                view = feed.view(depth)
                if view is not None:
                    seen[view.update_id] = (view.bids, view.asks)
                    if n % 25 == 0:
                        await client.catches_up()
            await client.catches_up()
            view = feed.view(depth)
            assert client.copy.book == (view.bids, view.asks)
            count = Counter(client.copy.bodies)
            assert count.keys() == {"status", "snapshot", "diff"}
            assert (count["status"], count["snapshot"]) == (1, 1)
            assert count["diff"] > updates // 2
            await client.kill()

    run(check())


@pytest.mark.parametrize("depth", [5, 1000])
def test_over_gaps_and_resyncs_the_book_is_the_markets_or_there_is_none(depth: int):
    async def check() -> None:
        house = House(Market(levels=60), Market(ETH, seed=3))
        house.go_live(BTC)
        house.go_live(ETH)
        async with house.open() as door:
            one = Client(door.data.StreamBook(asked(depth=depth)), house, depth)
            both = door.data.StreamBook(asked(BTC, ETH, depth=depth))
            copies = {BTC: Rebuilt(depth), ETH: Rebuilt(depth)}
            for n in range(200):
                if n % 40 == 20:
                    house.gap(BTC)
                elif n % 40 == 25:
                    house.answer(BTC)
                else:
                    house.move(BTC)
                house.move(ETH)
                if n % 20 == 0 and house.feeds[BTC].sync.book is not None:
                    house.hear(house.markets[BTC].update(0, changes=1))
                    await one.catches_up()
            await one.catches_up()
            assert one.copy.book == house.markets[BTC].best(depth, one.copy.last.update_id)
            assert Counter(one.copy.bodies)["status"] == Counter(one.copy.bodies)["snapshot"] - 1 == 5
            assert one.copy.last.epoch == 6
            async for event in both:
                copies[event.symbol].take(event)
                known = {symbol for symbol, copy in copies.items() if copy.book is not None}  # after a skip: anew
                if known == {BTC, ETH} and all(copy.seq == newest(house, symbol, depth) for symbol, copy in copies.items()):
                    break
            for symbol, copy in copies.items():
                assert copy.book == house.markets[symbol].best(depth, copy.last.update_id)
            both.cancel()
            await one.kill()

    run(check())


def test_a_client_killed_at_any_message_goes_on_and_has_the_same_book():
    """Killed behind the 1st, 2nd, ... 40th message, while the market moves, is lost and found again; no number is seen twice."""

    async def check() -> None:
        house = House()
        house.go_live()
        went_on = 0
        async with house.open() as door:
            for kill_at in range(1, 41):
                call = door.data.StreamBook(asked(depth=5))
                copy = Rebuilt(5)
                while len(copy.bodies) < kill_at:
                    copy.take(await call.read())
                    house.stir()
                call.cancel()
                for n in range(kill_at):
                    if n == 30:
                        house.gap()
                        house.answer()
                    house.move()
                place, seq = copy.place, copy.seq
                again = door.data.StreamBook(asked(depth=5, resume=[place]))
                first = await again.read()
                if first.prev_seq:
                    went_on += 1
                    assert (first.prev_seq, first.WhichOneof("body")) == (seq, "diff")
                else:
                    copy = Rebuilt(5)
                copy.take(first)
                while copy.seq != newest(house, BTC, 5):
                    copy.take(await again.read())
                assert copy.book == house.markets[BTC].best(5, copy.last.update_id)
                again.cancel()
                await until(lambda: house.hub.readers == 0)
        assert went_on > 30

    run(check())


def test_another_run_of_the_service_begins_anew():
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            place = pb.Position(instance="an earlier run", symbol=BTC, depth=20, epoch=1, seq=1)
            first = await door.data.StreamBook(asked(resume=[place])).read()
            assert (first.WhichOneof("body"), first.prev_seq, first.instance) == ("snapshot", 0, "first-run")

    run(check())


def test_a_snapshot_says_where_it_is_from_and_how_far_it_is_complete():
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            for event in (
                await door.data.StreamBook(asked(" btcusdt ")).read(),
                await door.data.GetBook(pb.BookRequest(symbol=BTC)),
            ):
                found = event.snapshot
                assert (found.origin, found.tick_size, found.step_size) == ("synthetic:7", "0.01", "0.00000001")
                assert (found.known.HasField("bid_low_e8"), found.depth, len(found.bids.price_e8)) == (False, 20, 20)
                assert event.exchange_time_ms == event.received_time_ms == house.clock.wall_ns() // 10**6
            assert (event.seq, event.prev_seq, event.epoch) == (0, 0, 1)

    run(check())


def test_a_book_older_than_asked_for_is_refused_and_a_stale_one_says_so():
    """The book's connection was heard 120 ms ago; a lost one was lost 40 ms ago."""

    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await door.data.GetBook(pb.BookRequest(symbol=BTC, max_age_ms=100))
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            house.gap()
            stale = await door.data.GetBook(pb.BookRequest(symbol=BTC, depth=5, max_age_ms=100))
            assert (stale.state, stale.reason, len(stale.snapshot.asks.price_e8)) == (pb.STALE, "gap", 5)

    run(check())


# Heartbeats and the end -------------------------------------------------------------------------


def test_a_quiet_stream_has_a_heartbeat_each_second():
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            call, trades = door.data.StreamBook(asked()), door.data.StreamTrades(pb.StreamTradesRequest(symbols=[BTC]))
            first, opening = await call.read(), await trades.read()
            for _ in range(3):
                await house.clock.advance(HEARTBEAT_S)
                beat = await call.read()
                assert (beat.heartbeat.heard_ms, beat.seq, beat.prev_seq) == (120, first.seq, first.seq)
                assert ((await trades.read()).heartbeat.heard_ms, opening.status.state) == (120, pb.LIVE)

    run(check())


def test_when_the_service_stops_a_stream_gets_a_last_status_and_ends():
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{door.port}")
            data = MarketDataStub(channel)
            call, unread = data.StreamBook(asked()), data.StreamTrades(pb.StreamTradesRequest(symbols=[BTC]))
            await call.read()
            await until(lambda: house.hub.readers == 2)
        last = await call.read()
        assert (last.status.state, last.status.reason, last.state) == (pb.OFF, "stopping", pb.OFF)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert (ended.value.code(), fields_of(ended.value)["error"]) == (grpc.StatusCode.UNAVAILABLE, "Stopping")
        assert [(await unread.read()).status.reason for _ in range(2)] == ["", "stopping"]
        await channel.close()
        assert house.hub.readers == 0

    run(check())


# Slow readers ------------------------------------------------------------------------------------


async def stalled(house: House, door: Any, policy: int, lag: int) -> Any:
    """A stream whose client reads its first message and no more, until so many events lie before it."""
    call = door.data.StreamBook(asked(depth=1000, policy=policy))
    first = await call.read()
    [reader] = house.hub._readers
    [cursor] = reader.cursors
    while cursor.line.ring.seq - cursor.seq < lag:
        house.move(changes=60)
        for _ in range(3):
            await asyncio.sleep(0)
    return call, first, cursor


def slow_house() -> House:
    house = House(Market(levels=300))
    house.go_live()
    return house


def test_a_stalled_client_that_conflates_is_told_and_has_the_present_book():
    async def check() -> None:
        house = slow_house()
        async with house.open() as door:
            call, first, _ = await stalled(house, door, pb.CONFLATE, LAG_MAX + 200)
            held = events_held()
            for _ in range(800):
                house.move(changes=60)
            assert events_held() <= max(held, RING + 10)
            copy = Rebuilt(1000)
            copy.take(first)
            while not copy.skipped or copy.bodies[-1] == "skipped":
                copy.take(await call.read())
            assert (copy.skipped > 1_000, copy.last.snapshot.depth) == (True, 1000)
            assert copy.book == house.markets[BTC].best(1000, copy.last.update_id)
            assert house.hub.skipped["CONFLATE"] == copy.skipped

    run(check())


@pytest.mark.parametrize(("policy", "lag"), [(pb.WARN, RING + 1), (pb.DISCONNECT, LAG_MAX + 1)])
def test_a_stalled_client_is_ended_by_the_policy_it_chose(policy: int, lag: int):
    async def check() -> None:
        house = slow_house()
        async with house.open() as door:
            call, first, _ = await stalled(house, door, policy, lag)
            copy = Rebuilt(1000)
            copy.take(first)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                while True:
                    copy.take(await call.read())
            assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            told = fields_of(ended.value)
            assert (told["error"], told["retryable"], told["fields"]["waiting"] >= lag) == ("SlowReader", True, True)
            assert house.hub.readers == 0

    run(check())


def test_a_client_that_warns_itself_is_told_and_loses_nothing():
    async def check() -> None:
        house = slow_house()
        async with house.open() as door:
            call, first, cursor = await stalled(house, door, pb.WARN, LAG_MAX + 1)
            copy = Rebuilt(1000)
            copy.take(first)
            while copy.seq != cursor.line.ring.seq:
                copy.take(await call.read())
            assert Counter(copy.bodies).keys() == {"snapshot", "slow", "diff"}
            assert copy.book == house.markets[BTC].best(1000, copy.last.update_id)

    run(check())


def events_held() -> int:
    gc.collect()
    return sum(isinstance(one, Event) for one in gc.get_objects())


def fields_of(error: grpc.aio.AioRpcError) -> Any:
    return json.loads(dict(error.trailing_metadata())["leadline-error-bin"])


# Trades --------------------------------------------------------------------------------------------


def test_recorded_trades_come_once_and_in_order():
    async def check() -> None:
        house = House(event_ticks=True)
        recorded = [event for event in events(BTC) if isinstance(event, Trade)]
        async with house.open() as door:
            call = door.data.StreamTrades(pb.StreamTradesRequest(symbols=[BTC]))
            opening = await call.read()
            assert (opening.WhichOneof("body"), opening.prev_seq) == ("status", 0)
            got: list[pb.Trade] = []
            seq = opening.seq
            for n, event in enumerate(recorded):
                house.hear(event)
                while n % 500 == 499 and len(got) <= n:
                    message = await call.read()
                    assert message.prev_seq == seq
                    seq = message.seq
                    got += message.trades.trades
            while len(got) < len(recorded):
                got += (await call.read()).trades.trades
            assert [(t.agg_id, t.price_e8, t.quantity_e8, t.trade_time_ns, t.buyer_is_maker) for t in got] == [
                (t.agg_id, t.price_e8, t.quantity_e8, t.ts_trade_ns, t.buyer_is_maker) for t in recorded
            ]
            house.hub.trades_missing(BTC, 7, 9, "they stay away")
            message = await call.read()
            assert [(hole.from_id, hole.to_id, hole.why) for hole in message.missing.holes] == [(7, 9, "they stay away")]
            call.cancel()
            again = door.data.StreamTrades(
                pb.StreamTradesRequest(symbols=[BTC], resume=[pb.Position(instance="first-run", symbol=BTC, seq=seq)])
            )
            assert (await again.read()).prev_seq == seq

    run(check())


# Cancelled -------------------------------------------------------------------------------------------


def test_two_hundred_cancelled_streams_leave_no_task_and_no_reader(caplog: pytest.LogCaptureFixture):
    """A quarter each is read, is not, stands in a write of more than a client takes unread, or has trades."""

    async def check() -> None:
        house = slow_house()
        async with house.open() as door:
            await door.data.GetBook(pb.BookRequest(symbol=BTC))
            before = len(asyncio.all_tasks())  # with one for each method that waits for its next call
            calls = [door.data.StreamBook(asked(depth=depth)) for depth in (5, 20, 1000) for _ in range(50)]
            calls += [door.data.StreamTrades(pb.StreamTradesRequest(symbols=[BTC])) for _ in range(50)]
            for call in calls:
                await call.read()
            assert house.hub.readers == 200
            waiting = [asyncio.ensure_future(call.read()) for call in calls[:50]]
            for _ in range(60):
                house.move(changes=100)
                house.trade()
                await settle()
            for call in calls:
                call.cancel()
            await until(lambda: house.hub.readers == 0)
            await asyncio.gather(*waiting, return_exceptions=True)
            await until(lambda: len(asyncio.all_tasks()) <= before)
            lines = [*house.hub._views[BTC].values(), *house.hub._tapes.values()]
            assert len(lines) == 4
            assert [line.ring.readers for line in lines] == [{}] * 4

    run(check())
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


def test_clients_that_go_while_the_service_stops_are_no_failure(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            calls = [door.data.StreamBook(asked()) for _ in range(150)]
            for call in calls:
                await call.read()
            for call in calls:
                call.cancel()
            house.move()
        assert house.hub.readers == 0

    run(check())
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
