"""What the exchange enforces: the rules with time given, then each limit hit once by a client of another library.

Over sockets: one below the limit nothing happens, one above it does; 0 switches it off.
"""

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest
import websockets
from tests.fakes import FakeClock
from tests.standin.raw_socket import RawSocket
from tests.standin.support import ask, connect, get, rest_of, run, small

from leadline.clock import Clock, SystemClock
from leadline.standin.limits import Attempts, Budget, Charged, Limits, MessageRate, NoSuchLimit, parse
from leadline.standin.market import SyntheticMarket
from leadline.standin.replay import Recording
from leadline.standin.server import StandIn

MINUTE_NS = 60 * 10**9
NOON_NS = 1_767_268_800 * 10**9  # a whole minute


def test_a_sixth_message_within_a_second_is_one_too_many_and_a_second_later_it_is_not() -> None:
    rate = MessageRate(5)
    assert [rate.too_many(now) for now in (0.0, 0.1, 0.2, 0.3, 0.4)] == [False] * 5
    assert rate.too_many(0.99)
    fresh = MessageRate(5)
    assert not any(fresh.too_many(n * 0.25) for n in range(50))


def test_weight_is_counted_by_clock_minute_and_the_refusal_says_when_the_next_one_begins() -> None:
    budget = Budget(Limits(weight_per_minute=500))
    assert budget.charge(250, NOON_NS) == Charged(200, 250)
    assert budget.charge(250, NOON_NS) == Charged(200, 500)
    assert budget.charge(1, NOON_NS + 20 * 10**9) == Charged(429, 501, retry_after_s=40)
    assert budget.charge(250, NOON_NS + MINUTE_NS) == Charged(200, 250)


def test_going_on_after_429_is_a_ban_of_two_minutes_and_the_next_one_is_twice_as_long() -> None:
    budget = Budget(Limits(weight_per_minute=10))
    budget.charge(10, NOON_NS)
    assert [budget.charge(1, NOON_NS).status for _ in range(12)] == [429] * 11 + [418]
    banned = budget.charge(1, NOON_NS + 119 * 10**9)
    assert (banned.status, banned.retry_after_s, banned.banned_until_ms) == (418, 1, NOON_NS // 10**6 + 120_000)
    later = NOON_NS + 2 * MINUTE_NS
    assert budget.charge(10, later).status == 200
    assert [budget.charge(1, later).status for _ in range(12)] == [429] * 11 + [418]
    assert budget.banned_until_ms == later // 10**6 + 240_000


def test_raw_requests_have_their_own_budget_of_five_minutes() -> None:
    budget = Budget(Limits(raw_requests=3, weight_per_minute=0))
    late = NOON_NS + 4 * MINUTE_NS
    assert [budget.charge(250, late).status for _ in range(3)] == [200] * 3
    assert budget.charge(1, late) == Charged(429, 751, retry_after_s=60, raw=True)
    assert budget.charge(1, NOON_NS + 5 * MINUTE_NS).status == 200


def test_the_301st_attempt_in_five_minutes_is_refused_and_going_on_is_a_ban() -> None:
    attempts = Attempts(Limits())
    for n in range(300):
        assert attempts.attempt(NOON_NS + n * 10**9 // 2).status == 200
    assert attempts.attempt(NOON_NS + 150 * 10**9) == Charged(429, 300, retry_after_s=150)
    assert attempts.attempt(NOON_NS + 300 * 10**9).status == 200  # the first is five minutes ago
    second = NOON_NS + 300 * 10**9
    assert [attempts.attempt(second).status for _ in range(13)] == [*[429] * 11, 418, 418]
    assert attempts.attempt(second + 119 * 10**9).status == 418
    assert attempts.attempt(second + 121 * 10**9).status == 200


def test_zero_switches_each_limit_off() -> None:
    off = Limits(weight_per_minute=0, raw_requests=0, connections=0)
    budget, attempts = Budget(off), Attempts(off)
    assert {budget.charge(5000, NOON_NS).status for _ in range(500)} == {200}
    assert {attempts.attempt(NOON_NS).status for _ in range(500)} == {200}
    rate = MessageRate(0)
    assert not any(rate.too_many(0.0) for _ in range(100))
    patient = Budget(Limits(weight_per_minute=1, requests_after_429=0))
    assert {patient.charge(2, NOON_NS).status for _ in range(100)} == {429}


def test_limits_are_read_from_texts() -> None:
    assert parse(["life_s=90", "streams=0", "ping_every_s=0.5"]) == Limits(life_s=90, streams=0, ping_every_s=0.5)
    assert parse([]) == Limits()
    for wrong in ("streams", "nosuch=1", "streams=x", "streams=-1", "life_s=nan", "streams=1.5"):
        with pytest.raises(NoSuchLimit):
            parse([wrong])


# Over sockets --------------------------------------------------------------------

START_MS = 1_767_225_600_000


def market(clock: Clock | None = None, **options: Any) -> StandIn:
    """Paused, and with a clock that stands unless the test moves it."""
    source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
    return StandIn(source, **{"speed": 0, "paused": True, "clock": clock or FakeClock(), **options})


def short(folder: Path, clock: FakeClock, **options: Any) -> StandIn:
    """A recording of 300 ms: what is played of it costs nothing, and its virtual time goes on."""
    return StandIn(Recording([small(folder)]), clock=clock, **options)


async def status_of(standin: StandIn, path: str, address: str = "127.0.0.1") -> tuple[int, dict[str, str]]:
    """Status and headers of a GET to that address of the stand-in."""
    port = int(standin.http_url.rpartition(":")[2])

    def fetch() -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection(address, port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders())

    return await asyncio.to_thread(fetch)


async def handshake(standin: StandIn, address: str = "127.0.0.1") -> tuple[int, dict[str, str]]:
    """Status and headers of one attempt to connect, by a client that goes away again."""
    port = int(standin.http_url.rpartition(":")[2])
    socket = await RawSocket.connect(address, port, "/ws/btcusdt@trade")
    socket.abort()
    return socket.status, socket.headers


@pytest.mark.parametrize(("speed", "real_s"), [(1, 20.0), (10, 2.0)])
def test_the_server_pings_every_20_s_of_virtual_time_and_cuts_60_s_after_the_first_without_a_pong(
    speed: float, real_s: float, tmp_path: Path
) -> None:
    async def test() -> None:
        clock = FakeClock()
        async with short(tmp_path, clock, speed=speed) as standin:
            port = int(standin.http_url.rpartition(":")[2])
            good, bad = [await RawSocket.connect("127.0.0.1", port, "/ws") for _ in range(2)]
            await standin.until(lambda s: s.clients == 2)
            await clock.advance(real_s - 0.01)
            assert not good.pending and not bad.pending
            for _ in range(3):
                await clock.advance(real_s)
                opcode, payload = await good.receive()
                assert opcode == RawSocket.PING
                await good.send(RawSocket.PONG, payload)
                await good.send(RawSocket.TEXT, b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert (await good.receive())[0] == RawSocket.TEXT  # so the pong has been read as well
                assert standin.clients == 2
            await clock.advance(real_s)
            await standin.until(lambda s: s.clients == 1)
            assert (await good.receive())[0] == RawSocket.PING
            good.abort()
            bad.abort()

    run(test())


@pytest.mark.parametrize(("speed", "real_s"), [(1, 86_400.0), (60, 1440.0)])
def test_a_connection_lives_24_hours_of_virtual_time(speed: float, real_s: float, tmp_path: Path) -> None:
    async def test() -> None:
        clock = FakeClock()
        async with short(tmp_path, clock, speed=speed, limits=Limits(ping_every_s=0)) as standin:
            async with connect(standin, "/ws") as socket:
                await clock.advance(real_s - 1)
                assert (await ask(socket, method="LIST_SUBSCRIPTIONS", id=1))["result"] == []
                await clock.advance(1.01)
                assert await rest_of(socket) == []
                assert socket.close_code == 1001

    run(test())


def test_messages_can_be_many_where_their_limit_is_off() -> None:
    async def test() -> None:
        async with market(limits=Limits(messages_per_s=0, ping_every_s=0)) as standin, connect(standin) as socket:
            for n in range(50):
                await ask(socket, method="LIST_SUBSCRIPTIONS", id=n)
            assert (await get(standin, "/_standin/state")).json["clients"][0]["messages"] == 50

    run(test())


def test_a_url_names_as_many_streams_as_a_connection_may_have() -> None:
    async def test() -> None:
        async with market(limits=Limits(streams=3)) as standin:
            async with connect(standin, "/stream?streams=a@b/c@d/e@f") as socket:
                assert len((await ask(socket, method="LIST_SUBSCRIPTIONS", id=1))["result"]) == 3
            async with connect(standin, "/stream?streams=a@b/c@d/e@f/g@h") as socket:
                assert await rest_of(socket) == []
                assert socket.close_code == 1008

    run(test())


@pytest.mark.parametrize(("length", "refused"), [(8000, False), (8001, True)])
def test_a_url_of_more_than_8000_characters_is_refused(length: int, refused: bool) -> None:
    async def test() -> None:
        async with market() as standin:
            path = "/stream?streams="
            path += "a@" + "b" * (length - len(path) - 2)
            if refused:
                with pytest.raises(websockets.InvalidStatus) as caught:
                    await connect(standin, path)
                assert caught.value.response.status_code == 414
            else:
                async with connect(standin, path) as socket:
                    assert len((await ask(socket, method="LIST_SUBSCRIPTIONS", id=1))["result"]) == 1
            rest = "/api/v3/ping?x="
            assert (await status_of(standin, rest + "y" * (length - len(rest))))[0] == (414 if refused else 400)
        async with market(limits=Limits(url_length=0)) as standin, connect(standin, "/ws/a@" + "b" * 20_000):
            pass

    run(test())


def test_300_attempts_are_let_in_the_next_is_refused_going_on_is_banned_and_other_addresses_are_not() -> None:
    async def test() -> None:
        clock = FakeClock()
        async with market(clock, host="0.0.0.0", limits=Limits(ping_every_s=0)) as standin:
            assert [(await handshake(standin))[0] for _ in range(300)] == [101] * 300
            status, headers = await handshake(standin)
            assert (status, headers["retry-after"]) == (429, "300")
            assert headers["content-type"].startswith("text/html")
            assert [(await handshake(standin))[0] for _ in range(11)] == [429] * 10 + [418]
            assert (await handshake(standin, "127.0.0.2"))[0] == 101
            assert (await status_of(standin, "/api/v3/ping"))[0] == 200  # a host of its own at the exchange
            said = json.loads((await get(standin, "/_standin/state")).body)["connections"]
            assert said["127.0.0.1"]["attempts"] == 300
            assert said["127.0.0.2"] == {"attempts": 1, "refused": 0, "banned_until_ms": 0}
            await clock.advance(301)
            assert (await handshake(standin))[0] == 101

    run(test())


def test_raw_requests_above_their_limit_are_refused_and_exchange_info_tells_the_limit() -> None:
    async def test() -> None:
        async with market(limits=Limits(raw_requests=3, weight_per_minute=0)) as standin:
            told = (await get(standin, "/api/v3/exchangeInfo")).json["rateLimits"]
            assert [(row["rateLimitType"], row["interval"], row["intervalNum"], row["limit"]) for row in told] == [
                ("ORDERS", "SECOND", 10, 100),
                ("RAW_REQUESTS", "MINUTE", 5, 3),
            ]
            assert [(await get(standin, "/api/v3/ping")).status for _ in range(3)] == [200, 200, 429]
            refused = await get(standin, "/api/v3/ping")
            assert refused.json["msg"].startswith("Too many requests; current limit is 3 requests per 5 MINUTE.")

    run(test())


def test_weight_belongs_to_the_address_that_is_connected_to_and_to_the_virtual_minute(tmp_path: Path) -> None:
    async def test() -> None:
        clock = FakeClock()
        limits = Limits(weight_per_minute=20, ping_every_s=0)
        async with short(tmp_path, clock, speed=30, host="0.0.0.0", limits=limits) as standin:
            assert (await status_of(standin, "/api/v3/exchangeInfo"))[0] == 200
            assert (await status_of(standin, "/api/v3/ping"))[0] == 429
            assert (await status_of(standin, "/api/v3/exchangeInfo", "127.0.0.2"))[0] == 200
            await clock.advance(1.9)
            assert (await status_of(standin, "/api/v3/ping"))[0] == 429
            await clock.advance(0.2)
            assert (await status_of(standin, "/api/v3/ping"))[0] == 200

    run(test())


@pytest.mark.parametrize(("unsent", "cut"), [(20_000, True), (10**9, False), (0, False)])
def test_who_does_not_read_is_cut_when_too_much_waits_for_him(unsent: int, cut: bool) -> None:
    async def test() -> None:
        limits = Limits(unsent_bytes=unsent, ping_every_s=0)
        async with market(speed=1e6, clock=SystemClock(), limits=limits) as standin:
            port = int(standin.http_url.rpartition(":")[2])
            names = "/".join(f"btcusdt@{kind}" for kind in ("depth@100ms", "bookTicker", "trade", "depth20@100ms"))
            socket = await RawSocket.connect("127.0.0.1", port, f"/ws/{names}", receive_buffer=4096)
            await standin.until(lambda s: s.clients == 1)
            socket.stop_reading()
            waiting = 0
            while standin.clients and waiting < 100_000:
                await standin.advance(5000)
                clients = (await get(standin, "/_standin/state")).json["clients"]
                waiting = clients[0]["unsent_bytes"] if clients else 0
            assert (standin.clients == 0) is cut
            socket.abort()

    run(test())
