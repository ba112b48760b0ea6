"""Faults of connections, REST and limits, actions on the market, and scripts: seen on the wire and in the list of injections."""

import asyncio
import json
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import websockets
from tests.fakes import FakeClock
from tests.standin.bent import DEPTH, START_MS, before, injections, market, received, undisturbed
from tests.standin.raw_socket import RawSocket
from tests.standin.support import ask, connect, get, post, rest_of, run, small
from tests.standin.test_bending import KINDS, WAYS

from leadline.standin.faults import ALL_FAULTS, UnknownFault
from leadline.standin.limits import Limits
from leadline.standin.replay import Recording
from leadline.standin.scenes import ACTIONS
from leadline.standin.script import command_line, scenario
from leadline.standin.server import StandIn


def test_every_fault_is_switched_by_a_test_of_the_wire_or_of_the_market() -> None:
    here = Path(__file__).parent
    told = "".join((here / name).read_text(encoding="utf-8") for name in ("test_faults.py", "test_bending.py"))
    in_tables = {*ACTIONS, *(f"{kind}.{way}" for kind in KINDS for way in WAYS)}  # of test_scenes.py and test_bending.py
    assert [name for name in ALL_FAULTS if f'"{name}"' not in told and name not in in_tables] == []


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


# Limits -----------------------------------------------------------------------


def test_the_weight_header_jumps_or_is_missing_once_each() -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="rest.header", value=5900)
            await post(standin, "fault", fault="rest.header", path="ping")
            jumped = await get(standin, "/api/v3/time")
            assert jumped.headers["X-MBX-USED-WEIGHT-1M"] == jumped.headers["X-MBX-USED-WEIGHT"] == "5900"
            assert "X-MBX-USED-WEIGHT-1M" not in (await get(standin, "/api/v3/ping")).headers
            assert (await get(standin, "/api/v3/ping")).headers["X-MBX-USED-WEIGHT-1M"] == "3"

    run(test())


def test_a_lowered_weight_limit_stands_in_exchange_info_and_is_enforced() -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="limits.weight", value=30)
            info = (await get(standin, "/api/v3/exchangeInfo")).json
            assert info["rateLimits"][0]["limit"] == 30
            assert (await get(standin, "/api/v3/exchangeInfo")).status == 429

    run(test())


# Streams ----------------------------------------------------------------------


def test_a_silent_stream_is_acknowledged_and_brings_nothing_while_others_go_on() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, "/stream") as socket:
            await post(standin, "fault", fault="stream.silent", symbol="BTCUSDT", stream="@depth@100ms", count=None)
            assert (await ask(socket, method="SUBSCRIBE", params=[DEPTH, "btcusdt@bookTicker"], id=1))["result"] is None
            streams = {json.loads(message)["stream"] for message in await received(standin, socket, 2000)}
            assert streams == {"btcusdt@bookTicker"}

    run(test())


def test_a_late_acknowledgement_comes_after_data() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, "/ws") as socket:
            await post(standin, "fault", fault="stream.late_ack", delay_s=1)
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [DEPTH], "id": 7}))
            await standin.until(lambda s: bool(s.streams_heard))
            messages = [json.loads(message) for message in await received(standin, socket, 2000)]
            place = next(n for n, message in enumerate(messages) if "result" in message)
            assert messages[place] == {"result": None, "id": 7}
            assert 8 <= place <= 11
            assert {message["e"] for message in messages[:place]} == {"depthUpdate"}

    run(test())


def test_a_refused_subscription_brings_nothing_and_the_next_one_does() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, "/ws") as socket:
            await post(standin, "fault", fault="stream.error")
            refused = await ask(socket, method="SUBSCRIBE", params=[DEPTH], id=1)
            assert refused == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 1}
            assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=2))["result"] == []
            assert (await ask(socket, method="SUBSCRIBE", params=[DEPTH], id=3))["result"] is None
            assert await received(standin, socket, 1000) == undisturbed(1000)

    run(test())


def test_a_connection_on_the_wrong_route_is_acknowledged_and_silent_and_the_next_one_is_not() -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="stream.wrong_route")
            async with connect(standin, f"/ws/{DEPTH}") as wrong, connect(standin, f"/ws/{DEPTH}") as right:
                assert (await ask(wrong, method="SUBSCRIBE", params=["ethusdt@bookTicker"], id=1))["result"] is None
                await standin.advance(1000)
                await post(standin, "fault", fault="socket.close")
                assert await rest_of(wrong) == []
                assert await rest_of(right) == undisturbed(1000)

    run(test())


# Connections ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("/ws", "", ["e"]),
        ("/stream", "", ["stream", "data"]),
        ("/stream", "raw", ["e"]),
        ("/ws", "combined", ["stream", "data"]),
        ("/ws", "api", ["event"]),
    ],
)
def test_a_server_shutdown_has_the_shape_asked_for_and_its_cut_comes_when_it_said(
    path: str, shape: str, expected: list[str]
) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, path) as socket:
            await post(standin, "fault", fault="socket.server_shutdown", shape=shape, lead_s=2)
            message = json.loads(await socket.recv())
            assert [key for key in message if key != "E"] == expected
            assert "serverShutdown" in json.dumps(message)
            await standin.advance(1900)
            assert standin.clients == 1
            await standin.advance(200)
            assert await rest_of(socket) == []
            assert socket.close_code == 1001

    run(test())


def test_the_end_of_a_life_is_a_close_with_1001() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            await post(standin, "fault", fault="socket.end_of_life")
            await rest_of(socket)
            assert socket.close_code == 1001

    run(test())


def test_refused_handshakes_get_the_status_and_the_next_ones_are_let_in() -> None:
    async def test() -> None:
        async with market() as standin:
            await post(standin, "fault", fault="socket.refuse", status=503, count=2)
            for _ in range(2):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with connect(standin):
                        pass
                assert refused.value.response.status_code == 503
            async with connect(standin):
                pass

    run(test())


def test_a_tls_handshake_fails_and_the_next_one_does_not() -> None:
    async def test() -> None:
        async with market(tls_port=0) as standin:
            trusted = ssl.create_default_context(cadata=standin.certificate_pem)
            await post(standin, "fault", fault="socket.tls_error")
            address = standin.wss_url.replace("127.0.0.1", "localhost")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with websockets.connect(address + "/ws", ssl=trusted):
                    pass
            async with websockets.connect(address + "/ws", ssl=trusted):
                pass

    run(test())


def test_a_connection_without_pings_gets_its_frames_and_no_ping() -> None:
    async def test() -> None:
        clock = FakeClock()
        async with market(clock=clock, limits=Limits(pong_within_s=0)) as standin:
            host, port = standin.http_url.removeprefix("http://").split(":")
            socket = await RawSocket.connect(host, int(port), f"/ws/{DEPTH}")
            await clock.advance(20.0)
            assert (await socket.receive())[0] == RawSocket.PING
            await post(standin, "fault", fault="socket.no_pings")
            await clock.advance(100.0)
            await standin.advance(500)
            frames = undisturbed(500)
            assert [await socket.receive() for _ in frames] == [(RawSocket.TEXT, frame) for frame in frames]
            assert not socket.pending
            socket.abort()

    run(test())


def test_a_dripping_connection_is_behind_by_what_it_was_not_sent() -> None:
    """At a byte a second nothing is sent of what a second of the market made; when it is over all of it comes."""

    async def test() -> None:
        async with market(speed=50) as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await post(standin, "fault", fault="socket.drip", bytes_per_s=1)
            await standin.advance(1000)
            waiting = (await get(standin, "/_standin/state")).json["clients"][0]["unsent_bytes"]
            assert waiting == sum(map(len, undisturbed(1000)))
            await post(standin, "fault", fault="clear")
            assert await received(standin, socket, 1000) == undisturbed(2000)

    run(test())


# The market, scripts and truth ---------------------------------------------------


def test_actions_on_the_market_are_switched_like_faults_and_labelled() -> None:
    async def test() -> None:
        async with market() as standin:
            await standin.advance(1000)
            await post(standin, "fault", **{"fault": "symbol.halt", "symbol": "ETHUSDT", "for": 2})
            assert (await get(standin, "/api/v3/exchangeInfo", symbol="ETHUSDT")).json["symbols"][0]["status"] == "HALT"
            await post(standin, "regime", **{"regime": "busy", "for": 1})
            await standin.advance(3000)
            assert (await get(standin, "/api/v3/exchangeInfo", symbol="ETHUSDT")).json["symbols"][0]["status"] == "TRADING"
            labels = (await get(standin, "/_standin/truth/labels", symbol="ETHUSDT")).json
            assert [(label["name"], label["end_ms"] - label["start_ms"]) for label in labels] == [
                ("symbol.halt", 2000),
                ("regime.busy", 1000),
            ]
            log = (await get(standin, "/_standin/truth/faults")).json
            assert [(one["fault"], one["symbol"]) for one in log] == [
                ("symbol.halt", "ETHUSDT"),
                ("regime.busy", "BTCUSDT"),
                ("regime.busy", "ETHUSDT"),
            ]
            await post(standin, "fault", fault="symbol.new", symbol="SOLUSDT")
            assert (await get(standin, "/api/v3/depth", symbol="SOLUSDT")).status == 200
            await post(standin, "fault", fault="symbol.delisted", symbol="ETHUSDT")
            assert (await get(standin, "/api/v3/depth", symbol="ETHUSDT")).json["code"] == -1121

    run(test())


def test_a_recording_cannot_be_acted_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with StandIn(Recording([small(tmp_path)]), speed=0) as standin:
            answer = await post(standin, "fault", fault="regime.crash")
            assert answer.status == 400
            assert "recording" in answer.json["error"]

    run(test())


SCRIPT = """
[[script]]
at = 1.0
fault = "diff.drop"
symbol = "BTCUSDT"
count = 2

[[script]]
every = 0.5
seed = 3
fault = "trades.duplicate"
symbol = "BTCUSDT"
"""


def test_a_script_strikes_at_its_virtual_times_whatever_the_speed() -> None:
    """Alike when the market is played in one piece, in small steps, and at speed 20 of real time."""

    async def played(steps_ms: list[int], **options: Any) -> tuple[list[bytes], list[dict]]:
        async with market(script=scenario(SCRIPT).entries, **options) as standin:
            path = f"/stream?streams={DEPTH}/btcusdt@aggTrade"
            async with connect(standin, path) as socket:
                for step_ms in steps_ms:
                    await standin.advance(step_ms)
                if not steps_ms:
                    standin.resume()
                    await standin.until(lambda s: s.position_ms >= START_MS + 3000)
                await post(standin, "fault", fault="socket.close")
                log = [one for one in await injections(standin) if one["at_ns"] < (START_MS + 3000) * 1_000_000]
                return await rest_of(socket), log

    async def test() -> None:
        messages, log = await played([3000])
        assert sum(one["fault"] == "diff.drop" for one in log) == 2
        assert sum(one["fault"] == "trades.duplicate" for one in log) >= 2
        assert await played([137] * 21 + [123]) == (messages, log)
        fast, fast_log = await played([], speed=20.0)
        assert fast[: len(messages)] == messages
        assert fast_log == log

    run(test())


def test_the_end_of_one_fault_leaves_others_of_the_connection_on() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/ws/{DEPTH}") as socket:
            await post(standin, "fault", fault="socket.stall")
            await post(standin, "fault", **{"fault": "socket.no_pings", "for": 0.5})
            await standin.advance(1000)
            client = (await get(standin, "/_standin/state")).json["clients"][0]
            assert (client["mode"], client["pinged"]) == ("stalled", True)
            await post(standin, "fault", fault="clear")
            assert await received(standin, socket, 1000) == undisturbed(2000)[before() :]

    run(test())


def test_overlapping_limits_end_where_they_began() -> None:
    async def test() -> None:
        async with market() as standin:
            for value, for_s in ((100, 1), (50, 2)):
                await post(standin, "fault", **{"fault": "limits.weight", "value": value, "for": for_s})
            limit = [(await get(standin, "/_standin/state")).json["limits"]["weight_per_minute"]]
            for _ in range(2):
                await standin.advance(1001)
                limit.append((await get(standin, "/_standin/state")).json["limits"]["weight_per_minute"])
            assert limit == [50, 50, 6000]
            await post(standin, "fault", fault="limits.weight", value=7)
            await post(standin, "fault", fault="clear")
            assert (await get(standin, "/_standin/state")).json["limits"]["weight_per_minute"] == 6000

    run(test())


def test_a_held_snapshot_comes_when_the_fault_ends_or_is_cleared() -> None:
    async def test() -> None:
        for ending in ({"for": 1}, {}):
            async with market() as standin:
                await post(standin, "fault", **{"fault": "snapshot.hold", "symbol": "BTCUSDT", **ending})
                held = asyncio.create_task(get(standin, "/api/v3/depth", symbol="BTCUSDT"))
                while not await injections(standin):
                    pass
                await standin.advance(1100)
                if not ending:
                    await post(standin, "fault", fault="clear")
                assert (await held).status == 200

    run(test())


def test_a_script_strikes_from_the_start_and_what_it_cannot_do_then_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        entries = [command_line("rest.status path=exchangeInfo status=503"), command_line("scene.wall symbol=ETHUSDT at=2")]
        async with market(script=entries) as standin:
            assert (await get(standin, "/api/v3/exchangeInfo")).status == 503
            await post(standin, "fault", fault="symbol.halt", symbol="ETHUSDT")
            await standin.advance(3000)
            (refused,) = [one for one in standin.injections if one.fault == "scene.wall"]
            assert refused.detail.startswith("refused: ETHUSDT does not trade")
        for entry in (command_line("diff.drop symbol=NOSUCH"), command_line("symbol.new symbol=A@B")):
            with pytest.raises(UnknownFault):
                market(script=[entry])
        with pytest.raises(UnknownFault, match="recording"):
            StandIn(Recording([small(tmp_path)]), script=[command_line("regime.crash at=1")])

    run(test())


@pytest.mark.parametrize("others", [0, 1, 4])
def test_other_clients_who_come_ask_and_go_change_nothing_of_what_one_is_sent(others: int) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, f"/stream?streams={DEPTH}/btcusdt@kline_1m/btcusdt@depth5") as socket:
            for _ in range(10):
                for number in range(others):
                    async with connect(standin, f"/ws/ethusdt@trade/btcusdt@depth{(5, 10, 20)[number % 3]}@100ms"):
                        await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=1000)
                        await standin.advance(17)
                await standin.advance(500 - 17 * others)
            messages = await received(standin, socket, 1)
            assert sha256(b"".join(messages)).hexdigest() == await _alone()

    run(test())


async def _alone() -> str:
    async with market() as standin, connect(standin, f"/stream?streams={DEPTH}/btcusdt@kline_1m/btcusdt@depth5") as socket:
        await standin.advance(5000)
        return sha256(b"".join(await received(standin, socket, 1))).hexdigest()


def test_symbols_that_come_and_go_take_their_derived_streams_with_them() -> None:
    async def test() -> None:
        streams = "btcusdt@depth/btcusdt@ticker/solusdt@depth/solusdt@ticker"
        async with market() as standin, connect(standin, f"/stream?streams={streams}") as socket:
            await standin.advance(2500)
            await post(standin, "fault", fault="symbol.delisted", symbol="BTCUSDT")
            await post(standin, "fault", fault="symbol.new", symbol="SOLUSDT")
            messages = [json.loads(message) for message in await received(standin, socket, 60_000)]
            late = [m["stream"] for m in messages if m["data"]["E"] > START_MS + 2600]
            assert {stream.partition("@")[0] for stream in late} == {"solusdt"}
            assert {"solusdt@ticker", "solusdt@depth"} <= set(late)

    run(test())


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("fault", {"fault": "scene.wall", "times": 10**15}),
        ("fault", {"fault": "scene.wall", "side": "buy"}),
        ("fault", {"fault": "socket.server_shutdown", "shape": "foo"}),
        ("fault", {"fault": "limits.weight", "value": -5}),
        ("fault", {"fault": "symbol.new", "symbol": 'A"B'}),
        ("fault", {"fault": "symbol.new"}),
        ("regime", {"regime": "busy", "for": -5}),
        ("regime", {"regime": "nonsense"}),
    ],
)
def test_a_request_that_means_nothing_is_refused_and_changes_nothing(verb: str, body: dict) -> None:
    async def test() -> None:
        async with market() as standin:
            assert (await post(standin, verb, **body)).status == 400
            assert standin.injections == []

    run(test())


def test_odd_numbers_are_no_numbers() -> None:
    async def test() -> None:
        async with market() as standin:
            huge = "9" * 5000
            assert (await get(standin, "/_standin/truth/book", symbol="BTCUSDT", update_id=huge)).status == 400
            assert (await get(standin, "/_standin/faults", since=huge)).json == []
            book = (await get(standin, "/api/v3/depth", symbol="BTCUSDT", limit=5)).json
            cut = await get(standin, "/_standin/truth/book", symbol="BTCUSDT", update_id=book["lastUpdateId"], levels=5)
            assert list(cut.json["bids"].items()) == [tuple(level) for level in book["bids"]]
            async with connect(standin, "/ws") as socket:
                await socket.send("[" * 100_000)
                assert json.loads(await socket.recv())["error"]["code"] == 3

    run(test())
