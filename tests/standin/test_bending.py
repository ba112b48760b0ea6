"""Frames, snapshots and trades bent on command: seen on the wire and in the list of injections."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.standin.bent import DEPTH, START_MS, before, disturbed, injections, market, received, undisturbed
from tests.standin.support import ReferenceBook, connect, decimals, get, post, rest_of, run, small

from leadline.standin.market import SyntheticMarket
from leadline.standin.replay import Recording
from leadline.standin.server import StandIn

KINDS = {"diff": DEPTH, "trades": "btcusdt@aggTrade", "ticker": "btcusdt@bookTicker"}
WAYS = {
    "drop": lambda frames, at: frames[:at] + frames[at + 1 :],
    "duplicate": lambda frames, at: frames[: at + 1] + frames[at:],
    "reorder": lambda frames, at: [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]],
    "delay": lambda frames, at: frames,  # later, which a test below sees; in their order
    "malformed": lambda frames, at: [*frames[:at], frames[at][:-1] + b",}", *frames[at + 1 :]],
    "truncated": lambda frames, at: [*frames[:at], frames[at][: len(frames[at]) // 2], *frames[at + 1 :]],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_one_frame_is_bent_and_no_other(kind: str, way: str) -> None:
    async def test() -> None:
        stream = KINDS[kind]
        messages, log = await disturbed(stream, fault=f"{kind}.{way}", symbol="BTCUSDT")
        assert messages == WAYS[way](undisturbed(3000, stream), before(stream))
        assert {one["fault"] for one in log} == {f"{kind}.{way}"}

    run(test())


def test_dropped_frames_are_missing_and_named() -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        messages, log = await disturbed(fault="diff.drop", symbol="BTCUSDT", count=2)
        assert messages == frames[:at] + frames[at + 2 :]
        lost = [json.loads(frame) for frame in frames[at : at + 2]]
        assert [(one["fault"], one["symbol"], one["first_id"], one["last_id"]) for one in log] == [
            ("diff.drop", "BTCUSDT", frame["U"], frame["u"]) for frame in lost
        ]

    run(test())


def test_a_fault_of_another_symbol_changes_nothing() -> None:
    async def test() -> None:
        messages, log = await disturbed(fault="diff.drop", symbol="ETHUSDT")
        assert messages == undisturbed(3000)
        assert log == []  # nobody hears that symbol

    run(test())


def test_a_crossed_update_keeps_its_ids_and_has_a_bid_above_the_best_ask() -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        messages, log = await disturbed(fault="diff.crossed", symbol="BTCUSDT")
        crossed, real = json.loads(messages[at]), json.loads(frames[at])
        assert (crossed["U"], crossed["u"]) == (real["U"], real["u"]) == (log[0]["first_id"], log[0]["last_id"])
        assert crossed["b"][1:] == real["b"]
        assert float(crossed["b"][0][0]) > 100_000
        assert messages[:at] + messages[at + 1 :] == frames[:at] + frames[at + 1 :]

    run(test())


@pytest.mark.parametrize("fault", ["diff.malformed", "diff.truncated"])
@pytest.mark.parametrize("path", ["/ws/", "/stream?streams="])
def test_a_broken_frame_is_no_json(fault: str, path: str) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, path + DEPTH) as socket:
            await post(standin, "fault", fault=fault, symbol="BTCUSDT")
            messages = await received(standin, socket, 1000)
            with pytest.raises(json.JSONDecodeError):
                json.loads(messages[0])
            assert all(json.loads(message) for message in messages[1:])
            if fault == "diff.truncated":
                whole = undisturbed(1000)[0]
                assert messages[0].endswith(whole[: len(whole) // 2])

    run(test())


def test_dropped_trades_leave_a_hole_in_their_ids_until_it_is_cleared() -> None:
    async def test() -> None:
        stream = "btcusdt@aggTrade"
        messages, log = await disturbed(stream, fault="trades.drop", symbol="BTCUSDT", count=None)
        assert messages == undisturbed(1000, stream)
        lost = [json.loads(frame)["a"] for frame in undisturbed(3000, stream)[len(messages) :]]
        assert [one["first_id"] for one in log] == lost

        async with market() as standin, connect(standin, f"/ws/{stream}") as socket:
            await post(standin, "fault", fault="trades.drop", count=None)
            await standin.advance(1000)
            await post(standin, "fault", fault="clear")
            assert await received(standin, socket, 2000) == undisturbed(3000, stream)[before(stream) :]

    run(test())


def test_a_stale_snapshot_is_older_than_the_first_frame_of_the_client() -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(3000)
            async with connect(standin, f"/ws/{DEPTH}") as socket:
                await standin.advance(500)
                await post(standin, "fault", fault="snapshot.stale", symbol="BTCUSDT", events=10)
                stale = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100)).json
                fresh = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100)).json
                first = json.loads(await socket.recv())
                assert stale["lastUpdateId"] + 1 < first["U"] < fresh["lastUpdateId"]
                truth = await get(standin, "/_standin/truth/book", symbol="BTCUSDT", update_id=stale["lastUpdateId"])
                assert dict(stale["bids"]).items() <= truth.json["bids"].items()

    run(test())


def test_a_held_snapshot_comes_with_the_resume(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            StandIn(Recording([small(tmp_path)]), speed=0) as standin,
            connect(standin, "/stream?streams=aaausdt@bookTicker"),
        ):
            await standin.until(lambda s: s.finished)
            await post(standin, "fault", fault="snapshot.hold", symbol="AAAUSDT")
            held = asyncio.create_task(get(standin, "/api/v3/depth", symbol="AAAUSDT"))
            while not await injections(standin):
                pass
            assert not held.done()
            await post(standin, "resume")
            assert (await held).json["lastUpdateId"] == 112

    run(test())


# Frames -----------------------------------------------------------------------


def test_delayed_frames_come_in_their_order_once_as_many_more_were_made() -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await standin.advance(1000)
            await post(standin, "fault", fault="diff.delay", symbol="BTCUSDT", events=4, count=6)
            sent = []
            for _ in range(9):
                await standin.advance(100)
                sent.append(standin.frames_sent - at)
            assert sent == [0, 0, 0, 0, 1, 2, 7, 8, 9]  # the first when four more wait; the seventh frame brings the rest
            assert await received(standin, socket, 1100) == frames

    run(test())


def test_split_frames_have_other_borders_and_the_same_history() -> None:
    async def test() -> None:
        source = SyntheticMarket(7, start_ms=START_MS)
        async with (
            StandIn(source, speed=0, paused=True) as standin,
            connect(standin, f"/ws/{DEPTH}") as bent,
            connect(standin, f"/ws/{DEPTH}") as plain,
        ):
            answer = await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
            book = ReferenceBook(answer.json)
            await standin.advance(500)
            await post(standin, "fault", fault="diff.split", symbol="BTCUSDT", client=1, count=10)
            await standin.advance(2000)
            await post(standin, "fault", fault="socket.close")
            ends = [json.loads(frame)["u"] for frame in await rest_of(plain)]
            compared = 0
            for frame in await rest_of(bent):
                update = json.loads(frame)
                book.update(update)
                true = source.book("BTCUSDT", update["u"])
                assert true is not None
                assert (decimals(true.bids), decimals(true.asks)) == (book.bids, book.asks)
                compared += update["u"] not in ends
            assert compared > 5  # a frame of one id has no middle
            assert book.id == ends[-1]

    run(test())


@pytest.mark.parametrize(
    ("fault", "stream"),
    [("diff.unknown_event", DEPTH), ("diff.extra_keys", DEPTH), ("diff.empty", DEPTH), ("trades.off_book", "btcusdt@trade")],
)
def test_what_a_tolerant_reader_passes_over_stands_beside_what_was_to_be_said(fault: str, stream: str) -> None:
    async def test() -> None:
        frames, at = undisturbed(3000, stream), before(stream)
        messages, log = await disturbed(stream, fault=fault, symbol="BTCUSDT")
        said, real = [json.loads(message) for message in messages[at : at + 2]], json.loads(frames[at])
        assert len(log) == 1
        match fault:
            case "diff.unknown_event":
                assert said[0]["e"] == "somethingNew"
                assert said[1] == real
            case "diff.extra_keys":
                assert said[0] == {**real, "ps": "BTCUSDT", "st": 1}
                assert len(messages) == len(frames)
            case "diff.empty":
                last = real["U"] - 1
                assert said[0] == {**real, "U": last, "u": last, "b": [], "a": []}
                assert said[1] == real
            case _:
                assert said[0] == real
                assert said[1]["X"] == "INSURANCE_FUND"
                assert said[1]["t"] == real["t"]
                assert float(said[1]["p"]) == pytest.approx(0.9 * float(real["p"]))

    run(test())


@pytest.mark.parametrize(
    ("fault", "event_ms"),
    [
        ({"fault": "time.back", "ms": 700}, lambda ms: ms - 700),
        ({"fault": "time.skew", "ms": 5000}, lambda ms: ms + 5000),
        ({"fault": "time.micros"}, lambda ms: ms * 1000),
    ],
)
def test_event_times_are_bent_and_nothing_else(fault: dict, event_ms: Any) -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        messages, _ = await disturbed(**fault, symbol="BTCUSDT", stream="@depth@100ms", count=3)
        bent = [json.loads(frame) for frame in frames[at : at + 3]]
        expected = [{**update, "E": event_ms(update["E"])} for update in bent]
        assert [json.loads(message) for message in messages[at : at + 3]] == expected
        assert messages[:at] + messages[at + 3 :] == frames[:at] + frames[at + 3 :]

    run(test())


def test_microseconds_reach_trade_times_too() -> None:
    async def test() -> None:
        stream = "btcusdt@aggTrade"
        at, real = before(stream), json.loads(undisturbed(3000, stream)[before(stream)])
        messages, _ = await disturbed(stream, fault="time.micros", count=None)
        said = json.loads(messages[at])
        assert (said["E"], said["T"]) == (real["E"] * 1000, real["T"] * 1000)

    run(test())


def test_a_fault_of_one_connection_leaves_the_other_alone() -> None:
    async def test() -> None:
        async with (
            market() as standin,
            connect(standin, f"/ws/{DEPTH}") as one,
            connect(standin, f"/stream?streams={DEPTH}") as two,
        ):
            await post(standin, "fault", fault="diff.drop", client=2, count=None)
            await standin.advance(1000)
            await post(standin, "fault", fault="socket.close")
            assert await rest_of(one) == undisturbed(1000)
            assert await rest_of(two) == []

    run(test())


def test_a_fault_with_an_end_ends_by_itself() -> None:
    """For 0.55 s from 1 s on: five or six slots of BTCUSDT are not sent."""

    async def test() -> None:
        frames, at = undisturbed(3000), before()
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await standin.advance(1000)
            await post(standin, "fault", **{"fault": "diff.drop", "symbol": "BTCUSDT", "for": 0.55})
            messages = await received(standin, socket, 2000)
            log = await injections(standin)
            assert len(log) in (5, 6)
            assert messages == frames[:at] + frames[at + len(log) :]

    run(test())


# Trades -----------------------------------------------------------------------


def test_a_hole_for_ever_is_missing_on_the_stream_and_in_rest_and_only_there() -> None:
    async def test() -> None:
        stream = "btcusdt@aggTrade"
        async with market() as standin, connect(standin, f"/ws/{stream}") as socket:
            await standin.advance(1000)
            await post(standin, "fault", fault="trades.hole", symbol="BTCUSDT", count=3)
            messages = [json.loads(message) for message in await received(standin, socket, 2000)]
            lost = [one["first_id"] for one in await injections(standin)]
            assert len(lost) == 3
            every = [json.loads(frame)["a"] for frame in undisturbed(3000, stream)]
            assert [trade["a"] for trade in messages] == [a for a in every if a not in lost]
            rows = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", fromId=every[0], limit=1000)).json
            assert [row["a"] for row in rows] == [a for a in every if a not in lost]
            true = (await get(standin, "/_standin/truth/trades", symbol="BTCUSDT", from_id=every[0], to_id=every[-1])).json
            assert [row["a"] for row in true] == every

    run(test())


def test_a_lagging_database_and_a_short_page() -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(20_000)
            every = (await get(standin, "/api/v3/aggTrades", symbol="ETHUSDT", limit=1000)).json
            now_ms = (await get(standin, "/api/v3/time")).json["serverTime"]
            await post(standin, "fault", fault="trades.short_page", symbol="ETHUSDT", rows=3)
            assert (await get(standin, "/api/v3/aggTrades", symbol="ETHUSDT", fromId=every[0]["a"])).json == every[:3]
            assert (await get(standin, "/api/v3/aggTrades", symbol="ETHUSDT", limit=1000)).json == every
        async with market() as standin:
            await standin.advance(20_000)
            await post(standin, "fault", fault="trades.lag", symbol="ETHUSDT", delay_s=5, count=None)
            old = (await get(standin, "/api/v3/aggTrades", symbol="ETHUSDT", limit=1000)).json
            assert old[-1]["a"] == [row["a"] for row in every if row["T"] <= now_ms - 5000][-1]

    run(test())


# Snapshots --------------------------------------------------------------------


def test_a_snapshot_on_a_border_is_the_book_after_the_last_frame() -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(1050)
            await post(standin, "fault", fault="snapshot.border", symbol="BTCUSDT")
            answer = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1000)).json
            assert answer["lastUpdateId"] == json.loads(undisturbed(1050)[-1])["u"]

    run(test())


def test_a_snapshot_inside_lies_inside_the_last_frame() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await standin.advance(1050)
            await post(standin, "fault", fault="snapshot.inside", symbol="BTCUSDT")
            answer = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=5000)).json
            last = [json.loads(message) for message in await received(standin, socket, 1)][-1]
            assert last["U"] <= answer["lastUpdateId"] < last["u"]
            book = ReferenceBook(answer)
            book.update(last)
            true = (await get(standin, "/_standin/truth/book", symbol="BTCUSDT", update_id=last["u"])).json
            assert (decimals(true["bids"]), decimals(true["asks"])) == (book.bids, book.asks)

    run(test())


def test_a_snapshot_ahead_of_the_stream_is_answered_before_the_frames_it_knows_come() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await standin.advance(1000)
            await post(standin, "fault", fault="snapshot.ahead", symbol="BTCUSDT", events=5)
            asked = asyncio.create_task(get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1000))
            while not await injections(standin):
                pass
            sent = standin.frames_sent
            await standin.advance(550)
            answer = (await asked).json
            assert standin.frames_sent == sent
            messages = [json.loads(message) for message in await received(standin, socket, 500)]
            assert messages == [json.loads(frame) for frame in undisturbed(2050)]
            assert answer["lastUpdateId"] > messages[sent + 3]["u"]

    run(test())


def test_a_snapshot_of_few_levels_of_another_symbol_and_a_late_one() -> None:
    async def test() -> None:
        async with market() as standin:
            plain = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100)).json
            other = (await get(standin, "/api/v3/depth", symbol="ETHUSDT", limit=100)).json
            await post(standin, "fault", fault="snapshot.shallow", symbol="BTCUSDT", levels=7)
            few = await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100)
            assert few.json == {**plain, "bids": plain["bids"][:7], "asks": plain["asks"][:7]}
            await post(standin, "fault", fault="snapshot.wrong_symbol", symbol="BTCUSDT")
            assert (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100)).json == other
            await post(standin, "fault", fault="snapshot.delay", symbol="BTCUSDT", delay_s=0.2)
            late = asyncio.create_task(get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=100))
            assert (await get(standin, "/api/v3/depth", symbol="ETHUSDT", limit=100)).json == other
            assert not late.done()
            assert (await late).json == plain

    run(test())


# Several streams and connections ---------------------------------------------------


def test_what_is_held_of_one_stream_is_never_sent_on_another() -> None:
    """Without a symbol: each stream has its own frame held back, and its own hearers."""

    async def test() -> None:
        streams = (DEPTH, "ethusdt@depth@100ms")
        async with (
            market() as standin,
            connect(standin, f"/ws/{streams[0]}") as btc,
            connect(standin, f"/ws/{streams[1]}") as eth,
        ):
            await standin.advance(1000)
            await post(standin, "fault", fault="diff.reorder", count=2)
            await standin.advance(2000)
            await post(standin, "fault", fault="socket.close")
            for socket, stream in ((btc, streams[0]), (eth, streams[1])):
                frames, at = undisturbed(3000, stream), before(stream)
                assert await rest_of(socket) == [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]

    run(test())


def test_split_frames_of_both_speeds_keep_each_its_own_history() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/stream?streams={DEPTH}/btcusdt@depth") as socket:
            await standin.advance(1500)
            await post(standin, "fault", fault="diff.split", symbol="BTCUSDT", count=12)
            last: dict[str, int] = {}
            for message in await received(standin, socket, 4000):
                said = json.loads(message)
                stream, update = said["stream"], said["data"]
                assert update["U"] == last.get(stream, update["U"] - 1) + 1
                last[stream] = update["u"]
            assert len(last) == 2

    run(test())


def test_each_of_many_connections_gets_its_own_fault_and_no_others() -> None:
    async def test() -> None:
        count = 6
        async with market() as standin:
            sockets = [await connect(standin, f"/ws/{DEPTH}") for _ in range(count)]
            for client in range(1, count + 1):
                await post(standin, "fault", fault="time.skew", client=client, ms=client * 1000, count=None)
            await standin.advance(1000)
            await post(standin, "fault", fault="socket.close")
            real = [json.loads(frame)["E"] for frame in undisturbed(1000)]
            for client, socket in enumerate(sockets, 1):
                assert [json.loads(frame)["E"] - client * 1000 for frame in await rest_of(socket)] == real

    run(test())


def test_a_page_of_trades_is_full_also_behind_a_hole() -> None:
    async def test() -> None:
        stream = "btcusdt@aggTrade"
        async with market() as standin, connect(standin, f"/ws/{stream}"):
            await post(standin, "fault", fault="trades.hole", symbol="BTCUSDT", count=2)
            await standin.advance(5000)
            lost = [one["first_id"] for one in await injections(standin)]
            page = (await get(standin, "/api/v3/aggTrades", symbol="BTCUSDT", fromId=lost[0], limit=3)).json
            assert [row["a"] for row in page] == [lost[1] + 1, lost[1] + 2, lost[1] + 3]

    run(test())
