"""A service whose messages do not close up: over real sockets, what it says becomes no book and no trade."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.doors import Told, door_of
from tests.fakes import FakeClock, run

from leadline.client import AsyncClient, News
from leadline.client.aio import PAUSES_S
from leadline.serve.proto import market_data_pb2 as pb

BTC = "BTCUSDT"
P = 10**8  # a price of 1


def side(*levels: tuple[int, int]) -> pb.Side:
    """(price in whole units, quantity)."""
    return pb.Side(price_e8=[price * P for price, _ in levels], quantity_e8=[quantity for _, quantity in levels])


def book(seq: int, prev_seq: int, **what: Any) -> pb.BookEvent:
    given = {"symbol": BTC, "instance": "one", "epoch": 4, "update_id": seq * 10, "state": pb.LIVE}
    return pb.BookEvent(seq=seq, prev_seq=prev_seq, **(given | what))


def whole(seq: int = 7, prev_seq: int = 0, **what: Any) -> pb.BookEvent:
    """Bids 99 and 98, asks 101 and 102."""
    told = pb.Snapshot(bids=side((99, 5), (98, 6)), asks=side((101, 7), (102, 8)), origin="synthetic:1", depth=5)
    return book(seq, prev_seq, **({"snapshot": told} | what))


def diff(seq: int, prev_seq: int, *bids: tuple[int, int], asks: pb.Side | None = None, **what: Any) -> pb.BookEvent:
    return book(seq, prev_seq, diff=pb.Diff(bids=side(*bids), asks=asks), **what)


def skip(seq: int, prev_seq: int, count: int, from_seq: int, to_seq: int) -> pb.BookEvent:
    return book(seq, prev_seq, skipped=pb.Skipped(count=count, from_seq=from_seq, to_seq=to_seq))


LIES: dict[str, tuple[pb.BookEvent, str]] = {
    "a message is missing": (diff(9, 8, (99, 1)), "prev_seq 8 behind seq 7"),
    "a message comes again": (diff(7, 6, (99, 1)), "prev_seq 6 behind seq 7"),
    "a number is left out": (diff(9, 7, (99, 1)), "a diff takes 2 numbers"),
    "a change without a number": (diff(7, 7, (99, 1)), "a diff takes 0 numbers"),
    "another run": (diff(8, 7, (99, 1), instance="two"), "another run of the service"),
    "another epoch": (diff(8, 7, (99, 1), epoch=5), "a change of a book that is LIVE, epoch 5"),
    "a change of a lost book": (diff(8, 7, (99, 1), state=pb.STALE), "a change of a book that is STALE, epoch 4"),
    "a level goes that was not there": (diff(8, 7, (97, 0)), f"a level is removed that is not there: {97 * P}"),
    "a quantity below zero": (diff(8, 7, (99, -1)), "quantity -1"),
    "a price of zero": (diff(8, 7, (0, 1)), "quantity 1"),
    "the best prices cross": (diff(8, 7, (101, 1)), "best prices cross"),
    "a price twice": (diff(8, 7, (99, 1), (99, 2)), "a price that changes twice"),
    "too many levels": (diff(8, 7, *((97 - n, 1) for n in range(4))), "more than 5 levels a side"),
    "a price without a quantity": (book(8, 7, diff=pb.Diff(bids=pb.Side(price_e8=[P]))), "prices without quantities"),
    "a snapshot upside down": (
        whole(8, 7, snapshot=pb.Snapshot(bids=side((98, 1), (99, 1)))),
        "levels that are not best first",
    ),
    "a snapshot with an empty level": (
        whole(8, 7, snapshot=pb.Snapshot(asks=side((101, 0)))),
        "a level without a price or a quantity",
    ),
    "a snapshot that is stale": (whole(8, 7, state=pb.STALE), "a stream's book that is STALE"),
    "a heartbeat with a number": (book(8, 7, heartbeat=pb.Heartbeat()), "a heartbeat takes 1 numbers"),
    "a heartbeat of another epoch": (
        book(7, 7, epoch=5, heartbeat=pb.Heartbeat()),
        "nothing was said of a book that is LIVE, epoch 5",
    ),
    "more was skipped than is told": (skip(17, 7, 9, 9, 17), "9 skipped from 9 to 17"),
}


async def told_by(told: Told, count: int, stream: Callable[[AsyncClient], Any]) -> list[Any]:
    """So many items; pauses between connections pass at once."""
    clock, items = FakeClock(), []
    async with door_of(told) as target, AsyncClient(target, clock=clock) as client:
        reads = stream(client)
        while len(items) < count:
            if items and items[-1].news is News.CONNECTION:
                coming = asyncio.ensure_future(anext(reads))
                await clock.advance(PAUSES_S[-1])
                items.append(await coming)
            else:
                items.append(await anext(reads))
        await reads.aclose()
    return items


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_close_up_takes_the_book_away_and_a_new_one_is_asked_for(lie: str):
    """A snapshot and the lie; then, on a new connection, another snapshot and a change."""

    async def check() -> None:
        event, why = LIES[lie]
        told = Told([whole(), event], [whole(30), diff(31, 30, (99, 9))])
        items = await told_by(told, 4, lambda client: client.stream_book(BTC, 5))
        assert [item.news for item in items] == [News.BOOK, News.CONNECTION, News.BOOK, News.CHANGE]
        gone = items[1]
        assert (gone.state, gone.reason, gone.bids, gone.asks) == ("UNKNOWN", f"broken chain: {why}", (), ())
        assert [list(request.resume) for request in told.asked] == [[], []]
        assert [item.skipped for item in items] == [0, 0, None, 0]
        assert items[3].bids == ((99 * P, 9), (98 * P, 6))

    run(check())


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (whole(7, 6), "the first message has prev_seq 6"),
        (diff(1, 0, (99, 1)), "the first message is a diff"),
        (book(1, 0, heartbeat=pb.Heartbeat()), "the first message is a heartbeat"),
    ],
)
def test_a_stream_that_does_not_begin_with_the_whole_is_none(event: pb.BookEvent, why: str):
    async def check() -> None:
        items = await told_by(Told([event], [whole()]), 2, lambda client: client.stream_book(BTC, 5))
        assert [(item.state, item.reason) for item in items] == [("UNKNOWN", f"broken chain: {why}"), ("LIVE", "")]

    run(check())


def test_a_message_about_something_else_ends_the_connection_and_says_nothing_against_the_book():
    async def check() -> None:
        told = Told([whole(), diff(8, 7, (99, 1), symbol="ETHUSDT")], [diff(8, 7, (99, 1))])
        items = await told_by(told, 3, lambda client: client.stream_book(BTC, 5))
        assert [item.reason for item in items] == ["", "broken chain: a message about 'ETHUSDT'", ""]
        assert [place.seq for place in told.asked[1].resume] == [7]
        assert (items[2].bids[0], items[2].skipped) == ((99 * P, 1), 0)

    run(check())


def test_a_resumed_stream_that_goes_on_elsewhere_is_void():
    """Number 8 was there when the stream ended; the next connection goes on behind 9."""

    async def check() -> None:
        told = Told([whole(), diff(8, 7, (99, 1)), None], [diff(10, 9, (98, 1))], [whole(40)])
        items = await told_by(told, 5, lambda client: client.stream_book(BTC, 5))
        assert [item.reason for item in items] == ["", "", "the stream ended", "broken chain: prev_seq 9 behind seq 8", ""]
        [place] = told.asked[1].resume
        assert (place.instance, place.symbol, place.depth, place.epoch, place.seq) == ("one", BTC, 5, 4, 8)
        assert list(told.asked[2].resume) == []
        assert (items[-1].news, items[-1].seq, items[-1].skipped) == (News.BOOK, 40, None)

    run(check())


def test_what_later_services_say_besides_is_passed_over_and_its_number_is_not():
    async def check() -> None:
        told = Told([whole(), book(8, 7), diff(9, 8, (99, 3))])
        items = await told_by(told, 2, lambda client: client.stream_book(BTC, 5))
        assert [(item.seq, item.bids[0]) for item in items] == [(7, (99 * P, 5)), (9, (99 * P, 3))]

    run(check())


def test_skipped_changes_are_told_with_the_snapshot_behind_them():
    async def check() -> None:
        told = Told([whole(), skip(90, 7, 83, 8, 90), whole(90, 90)])
        items = await told_by(told, 2, lambda client: client.stream_book(BTC, 5))
        assert [(item.news, item.seq, item.skipped) for item in items] == [(News.BOOK, 7, 0), (News.BOOK, 90, 83)]

    run(check())


def test_a_lost_book_stays_away_until_a_whole_one_comes():
    """Lost, quiet, then a change as if nothing had been; on the next connection a skip, and a change without the whole."""

    async def check() -> None:
        lost = book(8, 7, state=pb.STALE, status=pb.Status(state=pb.STALE, reason="gap", detail="U 12 after u 9"))
        quiet = book(8, 8, state=pb.STALE, heartbeat=pb.Heartbeat(heard_ms=3))
        told = Told(
            [whole(), lost, quiet, diff(9, 8, (99, 1))], [whole(30), skip(40, 30, 10, 31, 40), diff(41, 40, (99, 1))], [whole()]
        )
        items = await told_by(told, 7, lambda client: client.stream_book(BTC, 5))
        gone = "broken chain: a change of a book that is not there"
        assert [(item.news, item.state, item.reason, len(item.bids)) for item in items] == [
            (News.BOOK, "LIVE", "", 2),
            (News.STATUS, "STALE", "gap", 0),
            (News.QUIET, "STALE", "", 0),
            (News.CONNECTION, "UNKNOWN", gone, 0),
            (News.BOOK, "LIVE", "", 2),
            (News.CONNECTION, "UNKNOWN", gone, 0),
            (News.BOOK, "LIVE", "", 2),
        ]
        assert (items[1].detail, items[2].heard_ms) == ("U 12 after u 9", 3)

    run(check())


# Trades --------------------------------------------------------------------------------------


def trade(seq: int, prev_seq: int, **what: Any) -> pb.TradeEvent:
    return pb.TradeEvent(seq=seq, prev_seq=prev_seq, **({"symbol": BTC, "instance": "one"} | what))


def fills(*agg_ids: int) -> pb.Trades:
    return pb.Trades(trades=[pb.Trade(agg_id=agg_id, price_e8=P, quantity_e8=1) for agg_id in agg_ids])


OPENING = trade(7, 0, status=pb.Status(state=pb.LIVE))


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (trade(9, 8, trades=fills(1)), "prev_seq 8 behind seq 7"),
        (trade(7, 6, trades=fills(1)), "prev_seq 6 behind seq 7"),
        (trade(9, 7, trades=fills(1)), "1 things take 2 numbers"),
        (trade(8, 7, trades=fills(1), instance="two"), "another run of the service"),
        (trade(8, 7, heartbeat=pb.Heartbeat()), "0 things take 1 numbers"),
        (trade(9, 7, missing=pb.MissingTrades(holes=[pb.Hole(from_id=1, to_id=2)])), "1 things take 2 numbers"),
        (trade(17, 7, skipped=pb.Skipped(count=9, from_seq=9, to_seq=17)), "9 skipped from 9 to 17"),
    ],
)
def test_trades_that_do_not_close_up_are_not_given(event: pb.TradeEvent, why: str):
    async def check() -> None:
        told = Told([OPENING, event], [trade(30, 0, status=pb.Status(state=pb.LIVE))])
        items = await told_by(told, 3, lambda client: client.stream_trades(BTC))
        assert [item.trades for item in items] == [(), (), ()]
        assert [(item.state, item.reason) for item in items[1:]] == [("UNKNOWN", f"broken chain: {why}"), ("LIVE", "")]
        assert [list(request.resume) for request in told.asked] == [[], []]

    run(check())


def test_an_id_that_is_left_out_is_a_hole_whoever_lost_it():
    """5, then 8 and 9: 6 and 7 were not told by the service. Then the ids begin anew with 2. What was skipped has its own why."""

    async def check() -> None:
        told = Told(
            [
                OPENING,
                trade(8, 7, trades=fills(5)),
                trade(10, 8, trades=fills(8, 9)),
                trade(11, 10, trades=fills(2)),
                trade(14, 11, skipped=pb.Skipped(count=3, from_seq=12, to_seq=14)),
                trade(15, 14, trades=fills(6)),
                trade(16, 15, trades=fills(8)),
            ]
        )
        items = await told_by(told, 7, lambda client: client.stream_trades(BTC))
        assert [[one.agg_id for one in item.trades] for item in items] == [[], [5], [8, 9], [2], [], [6], [8]]
        holes = [(hole.from_id, hole.to_id, hole.why) for item in items for hole in item.holes]
        assert holes == [
            (6, 7, "not told by the service"),
            (10, 9, "the exchange's ids began anew"),
            (3, 5, "not received: this reader was too slow"),
            (7, 7, "not told by the service"),
        ]
        assert [item.skipped for item in items] == [0, 0, 0, 0, 3, 0, 0]

    run(check())
