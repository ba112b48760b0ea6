"""The WebSocket surface, judged by another library than the server uses."""

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import pytest
import websockets
from tests.standin.support import ask, connect, get, post, rest_of, run

from leadline.clock import SystemClock
from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000
NAME = "币安人生USDT"


class StandingClock(SystemClock):
    """Time that does not pass for whoever counts messages; sleeping works."""

    def monotonic(self) -> float:
        return 1000.0


def market(**options: Any) -> StandIn:
    options = {"speed": 0, "paused": True, "limits": Limits(messages_per_s=1000), **options}
    return StandIn(SyntheticMarket(7, ("BTCUSDT", NAME), start_ms=START_MS), **options)


@pytest.mark.parametrize("request_id", [1, -5, 2**62, "a" * 36, "5f0c7c2e-6f0a-4f4e-9d5e-0d6b8d1f3a11", None])
def test_the_id_of_a_request_comes_back_with_its_type(request_id: object) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            reply = await ask(socket, method="SUBSCRIBE", params=["btcusdt@aggTrade"], id=request_id)
            assert reply == {"result": None, "id": request_id}

    run(test())


def test_subscriptions_can_be_listed_repeated_and_ended() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            both = ["btcusdt@depth@100ms", "btcusdt@aggTrade"]
            await ask(socket, method="SUBSCRIBE", params=both, id=1)
            assert await ask(socket, method="SUBSCRIBE", params=both[:1], id=2) == {"result": None, "id": 2}
            assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=3))["result"] == both
            assert await ask(socket, method="UNSUBSCRIBE", params=["btcusdt@nothing"], id=4) == {"result": None, "id": 4}
            await ask(socket, method="UNSUBSCRIBE", params=both[1:], id=5)
            await standin.advance(3000)
            await post(standin, "fault", fault="socket.close")
            messages = [json.loads(message) for message in await rest_of(socket)]
            assert {message["stream"] for message in messages} == {"btcusdt@depth@100ms"}
            ids = [message["data"]["U"] for message in messages]
            assert len(set(ids)) == len(ids) > 25

    run(test())


def test_an_unknown_stream_is_acknowledged_and_silent() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            await ask(socket, method="SUBSCRIBE", params=["nosuch@depth@100ms", "btcusdt@kline_7m"], id=1)
            await standin.advance(1000)
            await post(standin, "fault", fault="socket.close", code=1000)
            assert await rest_of(socket) == []

    run(test())


def test_symbols_outside_ascii_are_served_under_their_lower_case_name() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            stream = NAME.lower() + "@ticker"  # which comes also where nothing happens
            await ask(socket, method="SUBSCRIBE", params=[stream], id=1)
            await standin.advance(300)
            message = await socket.recv(decode=False)
            assert message.startswith(f'{{"stream":"{stream}","data":{{"e":"24hrTicker",'.encode())
            assert json.loads(message)["data"]["s"] == NAME
            assert (await get(standin, "/api/v3/depth", symbol=NAME)).json["lastUpdateId"]

    run(test())


def test_the_wrapping_can_be_asked_for_and_changed() -> None:
    async def test() -> None:
        async with market() as standin:
            async with connect(standin, "/stream/ws/0") as raw:
                assert (await ask(raw, method="GET_PROPERTY", params=["combined"], id=1))["result"] is False
                assert (await ask(raw, method="LIST_SUBSCRIPTIONS", id=2))["result"] == []
            async with connect(standin, "/stream?streams=btcusdt@depth@100ms") as socket:
                assert (await ask(socket, method="GET_PROPERTY", params=["combined"], id=1))["result"] is True
                assert await ask(socket, method="SET_PROPERTY", params=["combined", False], id=2) == {"result": None, "id": 2}
                await standin.advance(200)
                assert json.loads(await socket.recv())["e"] == "depthUpdate"

    run(test())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"method":"GET_PROPERTY","params":["other"],"id":9}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":9}', 1),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":9}', 2),
        ('{"method":"SET_PROPERTY","params":[1,true],"id":9}', 2),
        ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":9}', 2),
        ('{"method":"SUBSCRIBE","params":[7],"id":9}', 2),
        ('{"method":"SUBSCRIBE","id":9}', 2),
        ('{"method":"DANCE","id":9}', 2),
        ('{"params":[],"id":9}', 2),
        ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2),
        ('{"method":"LIST_SUBSCRIPTIONS","id":true}', 2),
        (f'{{"method":"LIST_SUBSCRIPTIONS","id":"{"a" * 37}"}}', 2),
        ("[1]", 2),
        ('{"method":', 3),
    ],
)
def test_a_bad_request_gets_its_code_and_changes_nothing(text: str, code: int) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            await socket.send(text)
            reply = json.loads(await socket.recv())
            assert reply["error"]["code"] == code
            assert reply["id"] in (9, None)
            assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=1))["result"] == []
        async with market(bare_errors=True) as standin, connect(standin) as socket:
            await socket.send(text)
            assert json.loads(await socket.recv())["code"] == code

    run(test())


def test_a_sixth_message_in_a_second_closes_the_connection_with_1008() -> None:
    async def test() -> None:
        async with market(limits=Limits(ping_every_s=1e6), clock=StandingClock()) as standin, connect(standin) as socket:
            for n in range(5):
                await ask(socket, method="LIST_SUBSCRIPTIONS", id=n)
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":6}')
            assert await rest_of(socket) == []
            assert (socket.close_code, socket.close_reason) == (1008, "Too many requests")

    run(test())


def test_pings_of_the_client_are_answered_and_counted() -> None:
    async def test() -> None:
        async with market(limits=Limits(ping_every_s=1e6), clock=StandingClock()) as standin, connect(standin) as socket:
            for n in range(5):
                await (await socket.ping(b"p%d" % n))
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":6}')
            await rest_of(socket)
            assert socket.close_code == 1008

    run(test())


def test_a_connection_holds_1024_streams_and_not_one_more() -> None:
    async def test() -> None:
        names = [f"s{n}@depth" for n in range(1025)]
        async with market() as standin, connect(standin) as socket:
            assert (await ask(socket, method="SUBSCRIBE", params=names[:1024], id=1))["result"] is None
            assert (await ask(socket, method="SUBSCRIBE", params=names[1024:], id=2))["error"]["code"] == 2
            assert (await ask(socket, method="SUBSCRIBE", params=names[:10], id=3)) == {"result": None, "id": 3}

    run(test())


@pytest.mark.parametrize("pong", ["same payload", "empty payload", "none"])
def test_only_a_pong_with_the_payload_of_the_ping_keeps_a_connection(pong: str) -> None:
    async def test() -> None:
        limits = Limits(ping_every_s=0.02, pong_within_s=0.2, messages_per_s=10**6)
        async with (
            market(limits=limits) as standin,
            aiohttp.ClientSession() as session,
            session.ws_connect(standin.http_url + "/ws", autoping=False) as socket,
        ):
            pings = 0
            while pings < 30:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.PING:
                    break
                pings += 1
                if pong != "none":
                    await socket.pong(message.data if pong == "same payload" else b"")
            assert (pings == 30) == (pong == "same payload")

    run(test())


def test_a_client_that_does_not_read_is_cut() -> None:
    async def test() -> None:
        limits = Limits(unsent_bytes=50_000)
        async with market(speed=100_000, limits=limits) as standin:
            path = "/ws/btcusdt@depth@100ms/btcusdt@bookTicker"
            async with websockets.connect(standin.ws_url + path, max_queue=1, ping_interval=None, compression=None):
                standin.resume()
                await standin.until(lambda s: s.clients == 0)

    run(test())


@pytest.mark.parametrize(
    ("path", "streams", "wrapped"),
    [
        ("/ws", [], False),
        ("/ws/btcusdt@trade", ["btcusdt@trade"], False),
        ("/ws/btcusdt@trade/btcusdt@depth5", ["btcusdt@trade", "btcusdt@depth5"], False),
        ("/ws/0", [], False),
        ("/ws/17/btcusdt@trade", ["btcusdt@trade"], False),
        ("/stream", [], True),
        ("/stream?streams=btcusdt@trade/btcusdt@trade", ["btcusdt@trade"], True),
        ("/stream/ws", [], False),
        ("/stream/ws/2", [], False),
        ("/some/base/stream?streams=btcusdt@trade", ["btcusdt@trade"], True),
        ("//ws/btcusdt@trade", ["btcusdt@trade"], False),
    ],
)
def test_a_path_says_which_streams_and_whether_they_are_wrapped(path: str, streams: list[str], wrapped: bool) -> None:
    async def test() -> None:
        async with market() as standin, connect(standin, path) as socket:
            assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=1))["result"] == streams
            assert (await ask(socket, method="GET_PROPERTY", params=["combined"], id=2))["result"] is wrapped

    run(test())


def test_a_message_is_put_into_its_form_once_for_all_who_want_it_so() -> None:
    """Four forms, ten connections each: every connection gets the same messages, in its own form."""

    async def test() -> None:
        bases, units = ("/ws/btcusdt@trade?x=1", "/stream?streams=btcusdt@trade"), ("", "&timeUnit=MICROSECOND")
        paths = [base + unit for base in bases for unit in units]
        async with market() as standin, contextlib.AsyncExitStack() as stack:
            sockets = [[await stack.enter_async_context(connect(standin, path)) for _ in range(10)] for path in paths]
            await standin.advance(3_000)
            await post(standin, "fault", fault="socket.close")
            told = [[await rest_of(socket) for socket in group] for group in sockets]
        for group in told:
            assert all(one == group[0] for one in group)
        raw, raw_us, wrapped, wrapped_us = (group[0] for group in told)
        assert len(raw) > 5
        assert wrapped == [b'{"stream":"btcusdt@trade","data":' + message + b"}" for message in raw]
        assert wrapped_us == [b'{"stream":"btcusdt@trade","data":' + message + b"}" for message in raw_us]
        assert [json.loads(message)["t"] for message in raw] == [json.loads(message)["t"] for message in raw_us]

    run(test())


def test_every_handshake_says_what_the_source_is() -> None:
    async def test() -> None:
        async with market() as standin, connect(standin) as socket:
            assert socket.response.headers["X-Standin"] == "synthetic:7"

    run(test())


def test_compression_is_used_when_it_is_offered() -> None:
    async def test() -> None:
        async with market() as standin:
            for offered in ("deflate", None):
                async with connect(standin, "/ws/btcusdt@depth@100ms", compression=offered) as socket:
                    assert ("Sec-WebSocket-Extensions" in socket.response.headers) == (offered is not None)
                    await asyncio.gather(standin.advance(200), socket.recv())

    run(test())
