"""Each fault, seen on the wire and in the list of injections."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.standin.support import ask, connect, get, post, rest_of, run, small

from leadline.standin.market import SyntheticMarket
from leadline.standin.replay import Recording
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000
DEPTH = "btcusdt@depth@100ms"


def market(**options: Any) -> StandIn:
    return StandIn(SyntheticMarket(7, start_ms=START_MS), **{"speed": 0, "paused": True, **options})


def undisturbed(until_ms: int, stream: str = DEPTH) -> list[bytes]:
    frames = SyntheticMarket(7, start_ms=START_MS).advance((START_MS + until_ms) * 1_000_000 - 1)
    return [frame.payload for frame in frames if frame.stream == stream]


async def received(standin: StandIn, socket: Any, advance_ms: int) -> list[bytes]:
    """What comes within the next virtual milliseconds; ends the connection."""
    await standin.advance(advance_ms)
    await post(standin, "fault", fault="socket.close")
    return await rest_of(socket)


async def injections(standin: StandIn) -> list[dict]:
    return [one for one in (await get(standin, "/_standin/faults")).json if not one["fault"].startswith("socket.")]


async def disturbed(stream: str = DEPTH, **fault: object) -> tuple[list[bytes], list[dict]]:
    """(messages of 3 s with the fault switched on after 1 s, injections)"""
    async with market() as standin, connect(standin, f"/ws/{stream}") as socket:
        await standin.advance(1000)
        assert (await post(standin, "fault", **fault)).status == 200
        messages = await received(standin, socket, 2000)
        return messages, await injections(standin)


def before(stream: str = DEPTH) -> int:
    return len(undisturbed(1000, stream))


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
        assert [one["symbol"] for one in log] == ["ETHUSDT"]

    run(test())


def test_a_duplicated_frame_comes_twice() -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        messages, _ = await disturbed(fault="diff.duplicate", symbol="BTCUSDT")
        assert messages == [*frames[: at + 1], *frames[at:]]

    run(test())


def test_reordered_frames_change_places() -> None:
    async def test() -> None:
        frames, at = undisturbed(3000), before()
        messages, log = await disturbed(fault="diff.reorder", symbol="BTCUSDT")
        assert messages == [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
        assert len(log) == 2

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


def test_connections_are_closed_with_the_code_asked_for() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as one, connect(standin) as other:
            await post(standin, "fault", fault="socket.close", code=1011, reason="too slow", client=2)
            await rest_of(other)
            assert (other.close_code, other.close_reason) == (1011, "too slow")
            assert (await ask(one, method="LIST_SUBSCRIPTIONS", id=1))["result"] == []

    run(test())


def test_a_reset_has_no_close_frame() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            await post(standin, "fault", fault="socket.reset")
            await rest_of(socket)
            assert socket.close_code == 1006

    run(test())


def test_a_stalled_connection_answers_pings_and_brings_nothing_until_cleared() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await post(standin, "fault", fault="socket.stall")
            await standin.advance(1000)
            await (await socket.ping())
            await post(standin, "fault", fault="clear")
            assert await received(standin, socket, 2000) == undisturbed(3000)[before() :]
            log = (await get(standin, "/_standin/faults")).json
            assert log[1]["detail"] == f"{before()} messages lost while stalled"

    run(test())


def test_a_half_open_connection_answers_nothing() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await post(standin, "fault", fault="socket.half_open")
            pong = await socket.ping()
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            await standin.advance(1000)
            state = (await get(standin, "/_standin/state")).json["clients"][0]
            assert (state["mode"], state["lost"]) == ("half_open", before())
            assert not pong.done()
            await post(standin, "fault", fault="clear")
            assert await received(standin, socket, 2000) == undisturbed(3000)[before() :]

    run(test())


@pytest.mark.parametrize(("path", "key"), [("/ws", "e"), ("/stream", "data")])
def test_a_server_shutdown_is_told_in_the_form_of_the_path(path: str, key: str) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, path) as socket:
            await post(standin, "fault", fault="socket.server_shutdown")
            message = json.loads(await socket.recv())
            assert message.get("data", message)["e"] == "serverShutdown"
            assert key in message

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


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        ({"status": 429, "retry_after_s": 7}, -1003, "json"),
        ({"status": 418, "retry_after_s": 7}, -1003, "json"),
        ({"status": 500}, -1000, "json"),
        ({"status": 503}, None, "html"),
        ({"status": 403}, None, "html"),
        ({"status": 500, "body": "<html>", "content_type": "text/html"}, None, "html"),
    ],
)
def test_the_next_requests_get_the_status_asked_for(fault: dict, code: int | None, kind: str) -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="rest.status", count=2, path="depth", **fault)
            assert (await get(standin, "/api/v3/ping")).status == 200
            for _ in range(2):
                answer = await get(standin, "/api/v3/depth", symbol="BTCUSDT")
                assert answer.status == fault["status"]
                assert kind in answer.headers["Content-Type"]
                assert answer.headers.get("Retry-After") == ("7" if fault["status"] in (418, 429) else None)
                assert code is None or answer.json["code"] == code
            assert (await get(standin, "/api/v3/depth", symbol="BTCUSDT")).status == 200
            assert [one["fault"] for one in await injections(standin)] == ["rest.status"] * 2

    run(test())


def test_a_request_that_times_out_is_never_answered() -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="rest.timeout", count=1)
            silent = asyncio.create_task(get(standin, "/api/v3/ping"))
            while not await injections(standin):
                pass
            assert (await get(standin, "/api/v3/ping")).status == 200
            assert not silent.done()
        with pytest.raises(OSError):  # the connection is closed with the server
            await silent

    run(test())


@pytest.mark.parametrize(
    "fault",
    [{"fault": "diff.nonsense"}, {"fault": "diff.drop", "symbol": "NOSUCH"}, {"fault": "diff.drop", "cout": 3}, {}],
)
def test_an_unknown_fault_is_refused(fault: dict) -> None:
    async def test() -> None:
        async with market() as standin:
            assert (await post(standin, "fault", **fault)).status == 400
            assert await injections(standin) == []

    run(test())
