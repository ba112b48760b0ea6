"""The hub's readers without sockets: slow ones by each policy, turns, heartbeats, the end, and tapes."""

import asyncio
import gc
from typing import Any

import pytest
from msgspec import structs
from tests.fakes import run
from tests.serve.market import BTC, House, Market, settle
from tests.service.readers import Copy, bodies, books, drained, on_a_loop

from leadline.core.records import Incident, SymbolSecond
from leadline.service.fanout import SERVICE, Ended, Policy, Position, Reader, TradesGone, beats
from leadline.service.lines import LAG_MAX, RING, TAPE, Event, Heartbeat, Items, Skipped, Slow, Snapshot, Status

ETH = "ETHUSDT"


# Slow readers ------------------------------------------------------------------------------


async def behind(policy: Policy, events: int, **how: Any) -> tuple[House, Reader]:
    """A reader with a Snapshot, and so many events before it."""
    house = House()
    house.go_live()
    reader = books(house, policy=policy, **how)
    await drained(reader)
    line = house.hub._views[BTC][5]
    seq = line.ring.seq
    while line.ring.seq < seq + events:
        house.move()
    return house, reader


@on_a_loop
async def test_64_events_are_no_slowness_under_any_policy():
    for policy in (Policy.CONFLATE, Policy.WARN, Policy.DISCONNECT):
        _, reader = await behind(policy, LAG_MAX)
        assert bodies(await drained(reader)) == ["Diff"] * LAG_MAX


@on_a_loop
async def test_a_conflated_reader_is_told_what_it_missed_and_goes_on_with_the_present():
    house, reader = await behind(Policy.CONFLATE, LAG_MAX + 1)
    skipped, snapshot = await drained(reader)
    assert skipped.body == Skipped(65, 2, 66)
    assert (skipped.prev_seq, skipped.seq, snapshot.prev_seq, snapshot.seq) == (1, 66, 66, 66)
    copy = Copy()
    copy.seq = 66
    copy.take(snapshot)
    house.move()
    for event in await drained(reader):
        copy.take(event)
    assert copy.best == house.markets[BTC].best(5, house.markets[BTC].id)
    assert house.hub.skipped == {"CONFLATE": 65}


@on_a_loop
async def test_a_conflated_reader_without_a_book_is_told_that_there_is_none():
    house, reader = await behind(Policy.CONFLATE, LAG_MAX + 1)
    house.gap()
    skipped, status = await drained(reader)
    assert (type(skipped.body), status.body.reason, status.mark.state) == (Skipped, "gap", "STALE")


@on_a_loop
async def test_a_warned_reader_loses_nothing_and_hears_every_64_events_how_slow_it_is():
    house, reader = await behind(Policy.WARN, LAG_MAX + 1)
    [slow] = await reader.take()
    assert slow.body == Slow(65, RING)
    assert (slow.seq, slow.prev_seq) == (1, 1)
    line = house.hub._views[BTC][5]
    while line.ring.seq < 1 + 130:
        house.move()
    [again] = await reader.take()
    assert again.body == Slow(130, RING)
    assert bodies(await drained(reader)) == ["Diff"] * 130
    assert house.hub.skipped == {}


@pytest.mark.parametrize(("policy", "events"), [(Policy.WARN, RING + 1), (Policy.DISCONNECT, LAG_MAX + 1)])
def test_a_reader_that_is_too_slow_is_ended(policy: Policy, events: int):
    async def check() -> None:
        house, reader = await behind(policy, events)
        assert await reader.take() == ()
        assert reader.ended == Ended(events)
        assert await reader.take() == ()
        assert house.hub.skipped == {str(policy): events}

    run(check())


@on_a_loop
async def test_600_events_are_held_for_a_warned_reader():
    _, reader = await behind(Policy.WARN, RING)
    found = bodies(await drained(reader))
    assert found == ["Slow"] + ["Diff"] * RING


@on_a_loop
async def test_whoever_comes_back_is_not_slow_for_what_went_by_meanwhile():
    """500 events went by. While they are read 64 more may come, and no 65 when all is read."""
    for policy in (Policy.CONFLATE, Policy.DISCONNECT):
        house, reader = await behind(policy, 0)
        house.hub.leave(reader)
        line = house.hub._views[BTC][5]
        while line.ring.seq < 501:
            house.move()
        back = books(house, policy=policy, resume={BTC: Position("first-run", 1, depth=5, epoch=1)})
        while line.ring.seq < 501 + LAG_MAX:
            house.move()
        assert bodies(await drained(back)) == ["Diff"] * 564
        while line.ring.seq < 501 + 2 * LAG_MAX + 1:
            house.move()
        assert bodies(await drained(back)) == (["Skipped", "Snapshot"] if policy is Policy.CONFLATE else [])


@on_a_loop
async def test_what_is_held_does_not_grow_with_slow_readers():
    house = House(Market(levels=30))
    house.go_live()
    readers = [books(house, policy=policy) for policy in (Policy.CONFLATE, Policy.WARN) for _ in range(20)]
    for _ in range(3 * RING):
        house.move()
    gc.collect()
    held = sum(isinstance(one, Event) for one in gc.get_objects())
    assert RING <= held <= RING + 10
    for reader in readers:
        house.hub.leave(reader)
    assert house.hub._views[BTC][5].ring.readers == {}


@on_a_loop
async def test_a_reader_of_the_present_gets_it_once_however_much_went_by():
    house, reader = await behind(Policy.LATEST, 500)
    [event] = await drained(reader)
    assert (type(event.body), event.prev_seq, event.seq) == (Snapshot, 1, 501)
    assert house.hub.skipped == {}


# Turns and beats -----------------------------------------------------------------------------


@on_a_loop
async def test_a_busy_symbol_does_not_hold_up_a_quiet_one():
    house = House(Market(), Market(ETH, seed=8))
    house.go_live(BTC)
    house.go_live(ETH)
    reader = books(house, BTC, ETH, depth=1000)
    await drained(reader)
    for _ in range(5):
        house.move(BTC)
    house.move(ETH)
    assert [event.symbol for event in await drained(reader)] == [BTC, ETH, BTC, BTC, BTC, BTC]


@on_a_loop
async def test_after_a_quiet_second_there_is_a_heartbeat_and_after_a_message_there_is_none():
    house = House(Market(), Market(ETH))
    house.go_live(BTC)
    house.go_live(ETH)
    reader = books(house, BTC, ETH, depth=1000)
    beating = asyncio.ensure_future(beats(house.hub, house.clock))
    await drained(reader)
    await house.clock.advance(0.75)
    house.move(BTC)
    assert bodies(await drained(reader)) == ["Diff"]
    await house.clock.advance(0.25)
    assert [(event.symbol, event.body) for event in await drained(reader)] == [(ETH, Heartbeat())]
    await house.clock.advance(0.5)
    assert await drained(reader) == []
    await house.clock.advance(0.25)
    [beat] = await drained(reader)
    assert (beat.symbol, beat.seq, beat.prev_seq) == (BTC, 2, 2)
    beating.cancel()


@on_a_loop
async def test_a_reader_that_stays_away_finds_one_heartbeat_and_not_one_a_second():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    for _ in range(60):
        house.clock.now += 1
        house.hub.beat()
    assert bodies(await drained(reader)) == ["Heartbeat"]


@on_a_loop
async def test_a_reader_that_waits_is_woken():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    waiting = asyncio.ensure_future(reader.take())
    await settle()
    assert not waiting.done()
    house.move()
    assert bodies(list(await waiting)) == ["Diff"]


@on_a_loop
async def test_when_the_service_stops_everyone_is_told_once_and_whoever_comes_then_too():
    house = House(Market(), Market(ETH))
    house.go_live(BTC)
    reader = books(house, BTC, ETH)
    await drained(reader)
    waiting = asyncio.ensure_future(reader.take())
    await settle()
    house.hub.stop()
    words = await waiting
    assert [(one.symbol, one.body, one.mark.state) for one in words] == [
        (symbol, Status("OFF", "stopping"), "OFF") for symbol in (BTC, ETH)
    ]
    assert (await reader.take(), reader.ended) == ((), Ended())
    late = books(house)
    assert bodies(list(await late.take())) == ["Status"]
    assert (await late.take(), late.ended) == ((), Ended())


# Tapes --------------------------------------------------------------------------------------


def tape(house: House, kind: str = "trades", **how: Any) -> Reader:
    how = {"policy": Policy.CONFLATE, "at_most": 32} | how
    return house.hub.read_tape(kind, [SERVICE if kind == "incidents" else BTC], **how)


@on_a_loop
async def test_trades_come_in_id_order_many_in_one_message():
    house = House()
    reader = tape(house)
    [opening] = await drained(reader)
    assert (opening.body, opening.seq) == (Status("LIVE", ""), 1)
    for _ in range(70):
        house.trade()
    events = await drained(reader)
    assert [(event.prev_seq, event.seq) for event in events] == [(1, 33), (33, 65), (65, 71)]
    assert [trade.agg_id for event in events for trade in event.body.items] == list(range(1, 71))


@on_a_loop
async def test_missing_trades_stand_where_they_are_missing():
    house = House()
    reader = tape(house)
    await drained(reader)
    house.trade()
    house.hub.trades_missing(BTC, 2, 3, "they stay away")
    house.hub.trades_missing(BTC, 5, 5, "they stay away")
    house.markets[BTC].agg_id = 5
    house.hub.trade(house.markets[BTC].trade(0))
    kinds = [[getattr(item, "agg_id", item) for item in event.body.items] for event in await drained(reader)]
    assert kinds == [[1], [TradesGone(2, 3, "they stay away"), TradesGone(5, 5, "they stay away")], [6]]


@on_a_loop
async def test_a_reader_of_trades_goes_on_behind_its_last_one_while_it_is_held():
    house = House()
    reader = tape(house)
    await drained(reader)
    house.trade()
    house.hub.leave(reader)
    for _ in range(TAPE):
        house.trade()
    assert [e.prev_seq for e in await drained(tape(house, resume={BTC: Position("first-run", 2)}))][:2] == [2, 34]
    [first] = await drained(tape(house, resume={BTC: Position("first-run", 1)}))
    assert (type(first.body), first.seq) == (Status, TAPE + 2)
    for none_here in (Position("another run", 2), Position("first-run", TAPE + 3)):
        [first] = await drained(tape(house, resume={BTC: none_here}))
        assert type(first.body) is Status
    assert await drained(tape(house, resume={BTC: Position("first-run", TAPE + 2)})) == []


@on_a_loop
async def test_a_slow_reader_of_trades_is_told_how_many_it_missed():
    """64 messages of 32 trades may lie before it: 2,048."""
    house = House()
    reader = tape(house)
    await drained(reader)
    for _ in range(2_048):
        house.trade()
    house.trade()
    [skipped] = await drained(reader)
    assert skipped.body == Skipped(2_049, 2, 2_050)
    house.trade()
    [event] = await drained(reader)
    assert [trade.agg_id for trade in event.body.items] == [2_050]


@on_a_loop
async def test_seconds_and_incidents_are_told_as_they_are_recorded():
    house = House(event_ticks=False)
    house.go_live()
    seconds, incidents = tape(house, "seconds", at_most=1), tape(house, "incidents", at_most=1)
    await drained(seconds)
    await drained(incidents)
    lost = Incident(BTC, 5, 0, "gap", 5_000, None, 1, None, "gap", "")
    [row] = [
        effect
        for effect in house.feeds[BTC].tick(10**9, tick_recv_ns=10**18, sample_ns=10**18, now=1.0)
        if isinstance(effect, SymbolSecond)
    ]
    house.hub.second(structs.replace(row, incidents=(lost,)))
    house.hub.second(structs.replace(row, record=None, incidents=()))
    assert [event.body for event in await drained(seconds)] == [Items((row.record,))]
    assert [event.body for event in await drained(incidents)] == [Items((lost,))]
    assert house.hub._tapes.keys() == {("seconds", BTC), ("incidents", SERVICE)}
