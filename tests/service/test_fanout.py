"""The hub's views without sockets: what readers get is judged by the market's own books, and by numbers worked out by hand."""

from typing import Any

import pytest
from msgspec import structs
from tests.fakes import run
from tests.serve.market import BTC, House, Market
from tests.service.readers import Copy, bodies, books, drained, on_a_loop

from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.core.records import Disconnected
from leadline.service.fanout import DEPTHS, HEARTBEAT_S, Hub
from leadline.service.lines import RING, Diff, Event, Heartbeat, Snapshot, Status

ETH = "ETHUSDT"


# Views ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_each_diff_makes_the_view_before_it_the_view_after_it(depth: int):
    async def check() -> None:
        house = House(Market(levels=1_100))
        house.go_live()
        reader, copy = books(house, depth=depth), Copy()
        diffs = 0
        for _ in range(150):
            for event in await drained(reader):
                copy.take(event)
                diffs += isinstance(event.body, Diff)
                assert event.mark is not None
                assert copy.best == house.markets[BTC].best(depth, event.mark.update_id)
            view = house.view(BTC, depth)
            assert copy.best == (view.bids, view.asks)
            house.move(changes=9)
        assert diffs > 100

    run(check())


@on_a_loop
async def test_a_change_below_the_view_is_no_event_and_the_next_heartbeat_has_its_id():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    market = house.markets[BTC]
    deep = structs.replace(market.update(0, changes=0), bids=((1, 5),))
    house.hear(deep)
    assert await drained(reader) == []
    house.clock.now += HEARTBEAT_S
    house.hub.beat()
    [event] = await drained(reader)
    assert (event.body, event.mark.update_id) == (Heartbeat(), market.id)


@on_a_loop
async def test_a_symbol_that_nobody_looks_at_is_never_asked_for_its_book():
    house = House(Market(), Market(ETH))
    house.go_live(BTC)
    house.go_live(ETH)
    asked: list[str] = []
    view = house.view
    house.view = lambda symbol, levels: asked.append(symbol) or view(symbol, levels)  # type: ignore[method-assign]
    reader = books(house, BTC)
    asked.clear()
    house.move(ETH)
    house.trade(ETH)
    house.gap(ETH)
    assert asked == []
    house.move(BTC)
    assert asked == [BTC]
    house.hub.leave(reader)


@on_a_loop
async def test_readers_of_one_view_share_its_events_and_its_numbers():
    house = House()
    house.go_live()
    first = books(house)
    [opening] = await drained(first)
    house.move()
    [diff], [second] = await drained(first), await drained(books(house))
    assert (opening.seq, diff.seq, second.seq, second.prev_seq) == (1, 2, 2, 0)
    late = books(house)
    await drained(late)
    house.move()
    [one], [other] = await drained(first), await drained(late)
    assert one is other
    assert one.seq == 3


@on_a_loop
async def test_a_lost_book_is_one_status_and_then_a_snapshot_of_a_new_epoch():
    house = House()
    house.go_live()
    reader, copy = books(house), Copy()
    events = await drained(reader)
    house.gap()
    events += await drained(reader)
    assert bodies(events) == ["Snapshot", "Status"]
    assert (events[1].body.state, events[1].body.reason, events[1].mark.epoch) == ("STALE", "gap", 1)
    house.move()
    assert await drained(reader) == []
    house.answer()
    house.move()
    events += await drained(reader)
    assert bodies(events[2:]) == ["Snapshot", "Diff"]
    assert events[2].mark.epoch == 2
    for event in events:
        copy.take(event)
    assert copy.best == house.markets[BTC].best(5, house.markets[BTC].id)


@on_a_loop
async def test_without_a_book_the_first_message_is_a_status_with_its_reason():
    house = House()
    early = books(house)
    [event] = await drained(early)
    assert event.body == Status("WAITING", "starting")
    house.go_live()
    assert bodies(await drained(early)) == ["Snapshot", "Diff"]
    house.hear(Disconnected((BTC,), "closed by peer", house.clock.wall_ns()))
    late = books(house)
    [event] = await drained(late)
    assert (event.body.state, event.body.reason) == ("STALE", "disconnected")
    assert bodies(await drained(early)) == ["Status"]


@on_a_loop
async def test_whoever_comes_later_is_told_the_present_reason_and_the_others_nothing_new():
    house = House()
    house.go_live()
    first = books(house)
    await drained(first)
    house.gap()
    assert [event.body.reason for event in await drained(first)] == ["gap"]
    house.feeds[BTC] = house.feeds[BTC].successor(0)
    [event] = await drained(books(house))
    assert event.body == Status("WAITING", "feed_crash")
    assert await drained(first) == []


@on_a_loop
async def test_what_must_be_known_of_a_live_book_is_told_when_it_changes():
    """A snapshot that no update has confirmed is `unbridged`; the first update that follows takes the word away."""
    house = House()
    house.move()
    house.answer()
    reader = books(house)
    [opening] = await drained(reader)
    assert opening.mark.reason == "unbridged"
    house.hear(house.markets[BTC].update(0, changes=0))
    [event] = await drained(reader)
    assert (event.body, event.mark.reason) == (Diff((), (), None), None)
    house.feeds[BTC].trading("HALT", 0.0, 0)
    house.hub.book_changed(BTC)
    [event] = await drained(reader)
    assert (event.body, event.mark.reason, event.mark.state) == (Diff((), (), None), "not_trading", "LIVE")


@on_a_loop
async def test_a_wider_known_range_is_told_with_the_diff():
    """The first snapshot reaches 3 levels, the one beside the live book all of them."""
    house = House()
    market = house.markets[BTC]
    house.move()
    whole = market.snapshot()
    house.answer(snapshot=structs.replace(whole, bids=whole.bids[:3], asks=whole.asks[:3], limit=3))
    house.hear(market.update(0, changes=0))
    reader = books(house)
    [opening] = await drained(reader)
    assert (opening.body.known_bid, opening.body.known_ask) == (whole.bids[2][0], whole.asks[2][0])
    [asked] = house.feeds[BTC].sync.request_anchor(0.0)
    house.asked[BTC] = asked
    house.answer()
    [event] = await drained(reader)
    assert event.body == Diff(whole.bids[4:2:-1], whole.asks[3:5], (None, None))


@on_a_loop
async def test_a_wider_known_range_is_told_where_no_level_changes():
    """The first snapshot reaches 10 levels, of which the view shows 5."""
    house = House()
    market = house.markets[BTC]
    house.move()
    whole = market.snapshot()
    house.answer(snapshot=structs.replace(whole, bids=whole.bids[:10], limit=10))
    house.hear(market.update(0, changes=0))
    reader = books(house)
    await drained(reader)
    [asked] = house.feeds[BTC].sync.request_anchor(0.0)
    house.asked[BTC] = asked
    house.answer()
    [event] = await drained(reader)
    assert event.body == Diff((), (), (None, None))


@on_a_loop
async def test_a_new_epoch_is_a_snapshot_even_where_nobody_told_of_the_loss():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    house.hub, hub = Hub(house.clock, instance="deaf"), house.hub
    house.gap()
    house.hub = hub
    house.answer()
    [event] = await drained(reader)
    assert (type(event.body), event.mark.epoch) == (Snapshot, 2)


@on_a_loop
async def test_a_loss_is_told_once():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    for _ in range(2):
        house.hub.book_lost(BTC, "gap", "expected 7, got 9")
    [event] = await drained(reader)
    assert event.body == Status("STALE", "gap", "expected 7, got 9")


@on_a_loop
async def test_a_call_for_a_book_that_is_not_live_tells_that_it_was_lost():
    house = House()
    house.go_live()
    reader = books(house)
    await drained(reader)
    house.feeds[BTC] = house.feeds[BTC].successor(0)
    house.hub.book_changed(BTC)
    [event] = await drained(reader)
    assert event.body == Status("STALE", "feed_crash")


@on_a_loop
async def test_only_some_depths_and_followed_symbols_can_be_read():
    house = House()
    with pytest.raises(InvalidRequest, match="depth: 7 levels"):
        books(house, depth=7)
    with pytest.raises(BookNotLive, match="not followed"):
        books(house, ETH)
    house.hub.books = None
    with pytest.raises(BookNotLive, match="starting"):
        books(house)
    assert house.hub.readers == 0


# Going on --------------------------------------------------------------------------------


@on_a_loop
async def test_a_reader_may_go_on_behind_any_message_and_has_the_same_book():
    """120 moves with two losses on the way; for every message a reader is ended behind it and goes on from there."""
    house = House()
    house.go_live()
    whole = books(house)
    told: list[Event] = []
    for n in range(120):
        told += await drained(whole)
        if n in {40, 80}:
            house.gap()
        elif n in {43, 90}:
            house.answer()
        else:
            house.move()
    told += await drained(whole)
    last_epoch = told[-1].mark.epoch
    copy, went_on = Copy(), 0
    for event in told:
        copy.take(event)
        again = books(house, resume={BTC: copy.place})
        rest = await drained(again)
        heir = Copy()
        if rest and rest[0].prev_seq == copy.seq:
            heir.seq, heir.book = copy.seq, None if copy.book is None else (dict(copy.book[0]), dict(copy.book[1]))
            went_on += 1
        for one in rest:
            heir.take(one)
        if event is not told[-1]:
            assert heir.best == house.markets[BTC].best(5, house.markets[BTC].id)
        else:
            assert rest == []
        house.hub.leave(again)
    assert last_epoch == 3
    assert went_on > 100


@pytest.mark.parametrize(
    "wrong",
    [{"instance": "another run"}, {"depth": 20}, {"epoch": 2}, {"epoch": 0}, {"seq": 10**6}, {"seq": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_place_that_is_none_here_begins_with_a_snapshot(wrong: dict[str, Any]):
    async def check() -> None:
        house = House()
        house.go_live()
        reader, copy = books(house), Copy()
        house.move()
        for event in await drained(reader):
            copy.take(event)
        house.move()
        [right] = await drained(books(house, resume={BTC: copy.place}))
        assert (type(right.body), right.prev_seq) == (Diff, copy.seq)
        present = structs.replace(copy.place, seq=right.seq)
        assert await drained(books(house, resume={BTC: present})) == []
        for place in (copy.place, present):
            [first] = await drained(books(house, resume={BTC: structs.replace(place, **wrong)}))
            assert (type(first.body), first.prev_seq) == (Snapshot, 0)

    run(check())


@on_a_loop
async def test_the_last_600_events_are_held_for_whoever_comes_back_and_no_more():
    house = House()
    house.go_live()
    reader, copy = books(house), Copy()
    for event in await drained(reader):
        copy.take(event)
    house.hub.leave(reader)
    line = house.hub._views[BTC][5]
    while line.ring.seq < copy.seq + RING - 1:
        house.move()
    back = books(house, resume={BTC: copy.place})
    house.move()  # 600 behind
    events = await drained(back)
    assert bodies(events) == ["Diff"] * RING
    for event in events:
        copy.take(event)
    assert copy.best == house.markets[BTC].best(5, house.markets[BTC].id)
    house.hub.leave(back)
    while line.ring.seq < copy.seq + RING + 1:
        other = books(house)  # keeps the view alive
        house.move()
        house.hub.leave(other)
    assert bodies(await drained(books(house, resume={BTC: copy.place}))) == ["Snapshot"]


@on_a_loop
async def test_a_view_is_forgotten_when_nobody_could_go_on_with_it_and_its_numbers_are_not_used_again():
    house = House()
    house.go_live()
    reader, copy = books(house), Copy()
    for event in await drained(reader):
        copy.take(event)
    house.hub.leave(reader)
    line = house.hub._views[BTC][5]
    while line.ring.seq < copy.seq + RING:
        house.move()
    assert BTC in house.hub._views
    while line.ring.seq < copy.seq + RING + 1:
        house.move()
    assert BTC not in house.hub._views
    for place in (copy.place, structs.replace(copy.place, seq=copy.seq + RING + 1)):
        again = books(house, resume={BTC: place})
        [first] = await drained(again)
        assert (type(first.body), first.seq) == (Snapshot, copy.seq + RING + 2)
        house.hub.leave(again)


@on_a_loop
async def test_a_view_without_readers_goes_with_its_book():
    house = House()
    house.go_live()
    house.hub.leave(books(house))
    house.gap()
    assert house.hub._views == {}
