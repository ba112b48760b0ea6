"""Playback over real sockets: what is sent, when it stops, where snapshots fall."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import websockets
from tests.standin.support import (
    BTC,
    ETH,
    SMALL_BODY,
    ReferenceBook,
    ask,
    captured,
    connect,
    decimals,
    get,
    hft_lines,
    post,
    rest_of,
    run,
    small,
)

from leadline.standin.market import SyntheticMarket
from leadline.standin.replay import Recording
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000


def test_the_frames_on_the_wire_are_the_recorded_bytes_in_the_recorded_order() -> None:
    async def test() -> None:
        paths = captured(BTC, ETH)
        lines = sorted((line for path in paths for line in hft_lines(path)), key=lambda line: line[0])
        expected = [body for _, body in lines if not body.startswith(b'{"lastUpdateId"')]
        async with StandIn(Recording(paths), speed=0, at_end="close") as standin:
            streams = "/".join(f"{s}usdt@{kind}" for s in ("btc", "eth") for kind in ("depth@100ms", "bookTicker", "trade"))
            async with connect(standin, f"/stream?streams={streams}") as socket:
                asked = [asyncio.create_task(get(standin, "/api/v3/depth", symbol=s, limit=1000)) for s in ("BTCUSDT", "ETHUSDT")]
                assert await rest_of(socket) == expected
                assert socket.close_code == 1001
                bodies = [body for _, body in lines if body.startswith(b'{"lastUpdateId"')]
                assert sorted([(await answer).body for answer in asked]) == sorted(bodies)

    run(test())


def test_raw_paths_carry_bare_payloads(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            StandIn(Recording([small(tmp_path)]), speed=0, at_end="close") as standin,
            connect(standin, "/any/prefix/ws/aaausdt@depth@100ms") as socket,
        ):
            await get(standin, "/api/v3/depth", symbol="AAAUSDT")
            messages = await rest_of(socket)
        assert [json.loads(m)["u"] for m in messages] == [100, 104, 105, 109, 111, 112]
        assert messages[0].startswith(b'{"e":"depthUpdate","E":1700000000000,"s":"AAAUSDT","U":100,"u":100,')

    run(test())


def test_a_held_recording_waits_at_the_snapshot_for_the_question_and_for_the_resume(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            StandIn(Recording([small(tmp_path)]), speed=0, hold=True) as standin,
            connect(standin, "/ws/aaausdt@depth@100ms") as socket,
        ):
            state = (await get(standin, "/_standin/state", until="gate")).json
            assert (state["gate"], state["frames"]) == ({"symbol": "AAAUSDT", "asked": False}, 2)
            await post(standin, "resume")
            assert (await get(standin, "/_standin/state")).json["gate"] == {"symbol": "AAAUSDT", "asked": False}
            answer = await get(standin, "/api/v3/depth", symbol="AAAUSDT", limit=1000)
            assert answer.body == SMALL_BODY
            assert answer.headers["X-Standin-Levels"] == "1000"
            await standin.until(lambda s: s.finished)
            book = ReferenceBook(answer.json)
            for _ in range(6):
                book.update(json.loads(await socket.recv()))
            truth = (await get(standin, "/_standin/truth/book", symbol="AAAUSDT", update_id=112)).json
            assert (book.bids, book.asks) == (decimals(truth["bids"]), decimals(truth["asks"]))

    run(test())


def test_an_answered_question_alone_does_not_open_a_held_gate(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            StandIn(Recording([small(tmp_path)]), speed=0, hold=True) as standin,
            connect(standin, "/ws/aaausdt@depth@100ms"),
        ):
            await get(standin, "/_standin/state", until="gate")
            await post(standin, "answer")
            for _ in range(2):
                assert (await get(standin, "/api/v3/depth", symbol="AAAUSDT")).body == SMALL_BODY
            state = (await get(standin, "/_standin/state")).json
            assert (state["gate"], state["frames"]) == ({"symbol": "AAAUSDT", "asked": True}, 2)
            await post(standin, "resume")
            state = (await get(standin, "/_standin/state", until="finished")).json
            assert (state["gate"], state["frames"]) == (None, 6)

    run(test())


def test_a_question_before_the_place_of_the_snapshot_waits_for_that_place(tmp_path: Path) -> None:
    async def test() -> None:
        async with StandIn(Recording([small(tmp_path)]), speed=0, paused=True) as standin:
            early = asyncio.create_task(get(standin, "/api/v3/depth", symbol="AAAUSDT"))
            while not (await get(standin, "/_standin/state")).json["depth_waiting"]:
                pass
            assert not early.done()
            standin.resume()
            async with connect(standin, "/ws/aaausdt@depth@100ms"):
                assert (await early).body == SMALL_BODY

    run(test())


def test_a_replay_waits_for_its_first_listener(tmp_path: Path) -> None:
    async def test() -> None:
        async with StandIn(Recording([small(tmp_path)]), speed=0) as standin, connect(standin, "/stream") as socket:
            assert not (await get(standin, "/_standin/state")).json["started"]
            assert await ask(socket, method="SUBSCRIBE", params=["aaausdt@bookTicker"], id=1) == {"result": None, "id": 1}
            await standin.until(lambda s: s.finished)

    run(test())


def test_a_loop_closes_with_1001_and_begins_again_for_the_next_client(tmp_path: Path) -> None:
    async def test() -> None:
        async with StandIn(Recording([small(tmp_path)]), speed=0, at_end="loop") as standin:
            sessions = []
            for _ in range(2):
                async with connect(standin, "/ws/aaausdt@depth@100ms") as socket:
                    assert (await get(standin, "/api/v3/depth", symbol="AAAUSDT")).json["lastUpdateId"] == 102
                    sessions.append(await rest_of(socket))
                    assert socket.close_code == 1001
            assert sessions[0] == sessions[1]
            assert len(sessions[0]) == 6

    run(test())


def test_after_the_end_connections_stay_and_the_last_state_is_served(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            StandIn(Recording([small(tmp_path)]), speed=0) as standin,
            connect(standin, "/stream?streams=aaausdt@bookTicker") as socket,
        ):
            await standin.until(lambda s: s.finished)
            assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=3))["result"] == ["aaausdt@bookTicker"]
            answer = (await get(standin, "/api/v3/depth", symbol="AAAUSDT", limit=1)).json
            assert answer == {"lastUpdateId": 112, "bids": [["10.25", "6.0"]], "asks": [["11.25", "7.0"]]}

    run(test())


def test_several_clients_each_get_every_frame_from_their_subscription_on() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0, paused=True, at_end="close") as standin:
            path = "/ws/btcusdt@depth@100ms/btcusdt@aggTrade"
            async with connect(standin, path) as first:
                await standin.advance(1000)
                async with connect(standin, path) as second:
                    await standin.advance(2000)
                    await post(standin, "fault", fault="socket.close", code=1001)
                    early, late = await rest_of(first), await rest_of(second)
        expected = SyntheticMarket(7, start_ms=START_MS)
        wanted = [
            frame.payload
            for frame in expected.advance((START_MS + 3000) * 1_000_000 - 1)
            if frame.stream in ("btcusdt@depth@100ms", "btcusdt@aggTrade")
        ]
        assert early == wanted
        assert 0 < len(late) < len(early)
        assert early[-len(late) :] == late

    run(test())


def test_diffs_and_a_snapshot_over_the_wire_are_the_truth() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0, paused=True) as standin:
            assert standin.origin == "synthetic:7"
            async with connect(standin, "/ws/ethusdt@depth@100ms") as socket:
                await standin.advance(450)
                book = ReferenceBook((await get(standin, "/api/v3/depth", symbol="ETHUSDT", limit=5000)).json)
                await standin.advance(5000)
                await post(standin, "fault", fault="socket.close")
                updates = [json.loads(message) for message in await rest_of(socket)]
                assert updates[0]["u"] <= book.id < updates[-1]["u"]
                for update in updates:
                    book.update(update)
                truth = (await get(standin, "/_standin/truth/book", symbol="ETHUSDT", update_id=book.id)).json
                assert (book.bids, book.asks) == (decimals(truth["bids"]), decimals(truth["asks"]))
                missing = await get(standin, "/_standin/truth/book", symbol="ETHUSDT", update_id=1)
                assert missing.status == 404

    run(test())


def test_an_unpaced_market_stops_when_its_only_listener_has_gone() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0) as standin:
            async with connect(standin, "/ws/btcusdt@depth@100ms") as socket:
                await socket.recv()
            await standin.until(lambda s: s.clients == 0)
            before = (await get(standin, "/_standin/state")).json["position_ns"]
            assert (await get(standin, "/_standin/state")).json["position_ns"] == before

    run(test())


def test_a_paced_market_runs_without_listeners_and_keeps_its_bytes() -> None:
    async def test() -> None:
        async with (
            StandIn(SyntheticMarket(7, start_ms=START_MS), speed=50) as standin,
            connect(standin, "/ws/btcusdt@depth@100ms") as socket,
        ):
            received = [await socket.recv(decode=False) for _ in range(20)]
        made = SyntheticMarket(7, start_ms=START_MS).advance((START_MS + 600_000) * 1_000_000)
        payloads = [frame.payload for frame in made if frame.stream == "btcusdt@depth@100ms"]
        begin = payloads.index(received[0])
        assert payloads[begin : begin + 20] == received

    run(test())


def test_leaving_the_block_closes_every_connection_with_1001() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), paused=True) as standin:
            socket = await websockets.connect(standin.ws_url + "/ws")
        await rest_of(socket)
        assert socket.close_code == 1001

    run(test())


def test_run_prints_its_address_once_it_listens_and_ends_with_sigterm() -> None:
    program = (
        "from leadline.standin.market import SyntheticMarket; from leadline.standin.server import StandIn, run; "
        "run(StandIn(SyntheticMarket(5, start_ms=1_767_225_600_000)))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.fullmatch(r"standin listening on (http://127\.0\.0\.1:\d+) origin=synthetic:5\n", line)
        assert found, line
        with urllib.request.urlopen(found[1] + "/api/v3/ping", timeout=10) as answer:
            assert answer.read() == b"{}"
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=10)[0] == ""
        assert child.returncode == 0
