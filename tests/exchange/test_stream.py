import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.exchange.fake_clock import FakeClock
from tests.exchange.servers import FakeStreamServer, Peer, soon
from tests.exchange.test_wire import AGG_TRADE, DEPTH, QUOTE, TRADE

from leadline.clock import Clock, SystemClock
from leadline.core.records import BestQuote, DepthUpdate, Disconnected, MarketEvent, Subscribed, Trade
from leadline.exchange.binance import stream
from leadline.exchange.binance.handover import SETTLE_S
from leadline.exchange.binance.stream import BinanceStream

KINDS = ("depth@100ms", "aggTrade", "bookTicker")


class Heard:
    """What the stream told, in order."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[MarketEvent] = asyncio.Queue()

    def __call__(self, event: MarketEvent) -> None:
        self._events.put_nowait(event)

    async def next(self) -> Any:
        return await soon(self._events.get())

    def nothing_more(self) -> bool:
        return self._events.empty()


@asynccontextmanager
async def streaming(
    *symbols: str, clock: Clock | None = None, url: str = "", **options: Any
) -> AsyncIterator[tuple[FakeStreamServer, Heard, BinanceStream]]:
    heard = Heard()
    async with FakeStreamServer.running() as server:
        binance = BinanceStream(
            url or server.url,
            symbols or ("BTCUSDT",),
            clock=clock or SystemClock(),
            rng=random.Random(1),
            on_event=heard,
            **{"backoff_base_s": 0.001, **options},
        )
        task = asyncio.ensure_future(binance.run())
        try:
            yield server, heard, binance
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], bool]) -> None:
    async def look() -> None:
        while not condition():  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0)

    await soon(look())


# Subscribing ---------------------------------------------------------------------------------


def test_one_short_url_one_batch_and_subscribed_only_after_the_answer() -> None:
    async def check() -> None:
        async with streaming("BTCUSDT", "币安人生USDT") as (server, heard, _):
            peer = await server.connection()
            assert peer.path == "/stream"
            message = await peer.receive()
            assert message["method"] == "SUBSCRIBE"
            assert type(message["id"]) is int
            assert message["params"] == [f"{symbol}@{kind}" for symbol in ("btcusdt", "币安人生usdt") for kind in KINDS]
            await peer.send(DEPTH.decode())
            assert isinstance(await heard.next(), DepthUpdate), "data may come before the answer"
            await peer.send({"result": None, "id": message["id"]})
            event = await heard.next()
            assert isinstance(event, Subscribed)
            assert event.symbols == ("BTCUSDT", "币安人生USDT")

    asyncio.run(check())


def test_without_tickers_nobody_asks_for_them() -> None:
    async def check() -> None:
        async with streaming(tickers=False) as (server, _, _):
            assert await (await server.connection()).accept_subscription() == ["btcusdt@depth@100ms", "btcusdt@aggTrade"]

    asyncio.run(check())


def test_symbols_are_spread_over_few_connections_and_none_is_parted() -> None:
    async def check() -> None:
        symbols = [f"S{number}USDT" for number in range(7)]
        async with streaming(*symbols, max_streams=10) as (server, _, binance):
            shares = [await (await server.connection()).accept_subscription() for _ in range(3)]
            assert sorted(len(share) // 3 for share in shares) == [2, 2, 3]
            asked = [name.partition("@") for share in shares for name in share]
            assert sorted(symbol.upper() for symbol, _, _ in asked) == sorted(symbols * 3)
            for share in shares:
                assert len({name.partition("@")[0] for name in share}) * 3 == len(share)
            assert [status.symbols for status in binance.status] == [tuple(symbols[:2]), tuple(symbols[2:4]), tuple(symbols[4:])]

    asyncio.run(check())


def test_many_symbols_are_subscribed_in_batches_a_quarter_of_a_second_apart_each_with_its_own_answer() -> None:
    async def check() -> None:
        clock, symbols = FakeClock(), tuple(f"S{number}USDT" for number in range(300))
        async with streaming(*symbols, clock=clock) as (server, heard, _):
            peer = await server.connection()
            moments, acknowledged = [], []
            for _ in range(5):  # 300 x 3 streams, at most 200 a message
                params = await peer.accept_subscription()
                assert len(params) <= stream.PARAMS_PER_MESSAGE
                moments.append(clock.monotonic())
                acknowledged += (await heard.next()).symbols
                await clock.advance(0.25)
            assert moments == [0.0, 0.25, 0.5, 0.75, 1.0]
            assert tuple(acknowledged) == symbols

    asyncio.run(check())


@pytest.mark.parametrize(
    "reply", [{"code": 2, "msg": "Invalid request"}, {"error": {"code": 2, "msg": "Invalid request: invalid stream"}}]
)
def test_a_refused_subscription_ends_the_connection_bare_or_wrapped(reply: dict[str, Any]) -> None:
    async def check() -> None:
        async with streaming() as (server, heard, _):
            peer = await server.connection()
            await peer.send({**reply, "id": (await peer.receive())["id"]})
            event = await heard.next()
            assert isinstance(event, Disconnected)
            assert "2 Invalid request" in event.reason
            await (await server.connection()).accept_subscription()
            assert isinstance(await heard.next(), Subscribed)

    asyncio.run(check())


# Reading --------------------------------------------------------------------------------------


def test_events_come_in_order_raw_trades_and_foreign_symbols_do_not_come() -> None:
    async def check() -> None:
        async with streaming() as (server, heard, binance):
            peer = await server.connection()
            await peer.accept_subscription()
            await heard.next()
            for frame in (DEPTH, TRADE, DEPTH.replace(b"BTC", b"ETH").replace(b"btc", b"eth"), QUOTE, AGG_TRADE):
                await peer.send(frame.decode())
            assert [type(await heard.next()).__name__ for _ in range(3)] == ["DepthUpdate", "BestQuote", "Trade"]
            (status,) = binance.status
            assert (status.state, status.foreign, status.frames) == ("open", 1, 6)

    asyncio.run(check())


def test_a_ping_is_answered_with_its_own_payload_through_the_gate() -> None:
    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock) as (server, heard, _):
            peer = await server.connection()
            await peer.accept_subscription()
            await heard.next()
            pongs = [await peer.socket.ping(payload) for payload in (b"1723161255208", b"", b"\x00\xff")]
            await until(lambda: len(clock._sleepers) >= 2)
            assert not any(pong.done() for pong in pongs), "the SUBSCRIBE was just sent"
            for pong in pongs:
                await clock.advance(0.25)
                await soon(pong)  # is done when a pong with this payload came

    asyncio.run(check())


# Losing connections ----------------------------------------------------------------------------


async def close_1008(peer: Peer) -> None:
    await peer.socket.close(1008, "Too many requests")


async def close_1001(peer: Peer) -> None:
    await peer.socket.close(1001)


async def cut(peer: Peer) -> None:
    peer.socket.transport.abort()


async def broken_frame(peer: Peer) -> None:
    await peer.send(DEPTH[:-20].decode())


async def binary_frame(peer: Peer) -> None:
    await peer.send(b"\x00\x01")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (close_1008, "closed by the exchange: 1008 Too many requests"),
        (close_1001, "closed by the exchange: 1001"),
        (cut, "1006"),
        (broken_frame, "malformed message, json"),
        (binary_frame, "binary"),
    ],
)
def test_a_lost_connection_is_told_once_and_subscribed_anew(fault: Callable[[Peer], Any], says: str) -> None:
    async def check() -> None:
        async with streaming("BTCUSDT", "ETHUSDT") as (server, heard, binance):
            peer = await server.connection()
            await peer.accept_subscription()
            assert isinstance(await heard.next(), Subscribed)
            await fault(peer)
            event = await heard.next()
            assert isinstance(event, Disconnected)
            assert says in event.reason
            assert event.symbols == ("BTCUSDT", "ETHUSDT")
            successor = await server.connection()
            await successor.accept_subscription()
            assert isinstance(await heard.next(), Subscribed)
            await successor.send(AGG_TRADE.decode())
            assert isinstance(await heard.next(), Trade)
            assert heard.nothing_more()
            (status,) = binance.status
            assert (status.reconnects, status.state, status.last_end) == (1, "open", event.reason)

    asyncio.run(check())


def test_nothing_read_for_65_s_is_dead_but_a_ping_is_life() -> None:
    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock) as (server, heard, _):
            peer = await server.connection()
            await peer.accept_subscription()
            await heard.next()
            await clock.advance(64)
            await soon(await peer.socket.ping(b"alive"))
            await clock.advance(64.9)
            assert heard.nothing_more()
            await clock.advance(0.1)
            event = await heard.next()
            assert isinstance(event, Disconnected)
            assert "65 s" in event.reason
            await clock.advance(1)
            await server.connection()

    asyncio.run(check())


def test_a_subscription_that_nobody_answers_is_not_waited_for_for_ever() -> None:
    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock) as (server, heard, _):
            peer = await server.connection()
            await peer.receive()
            await clock.advance(stream.ACK_S)
            assert "no answer to SUBSCRIBE" in (await heard.next()).reason

    asyncio.run(check())


def test_what_a_lost_connection_left_unanswered_does_not_count_against_the_next() -> None:
    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock) as (server, heard, _):
            first = await server.connection()
            await first.receive()
            await close_1001(first)
            await heard.next()
            await clock.advance(1)
            second = await server.connection()
            await second.accept_subscription()
            await heard.next()
            await clock.advance(stream.ACK_S)
            await soon(await second.socket.ping(b"still there"))
            assert heard.nothing_more()

    asyncio.run(check())


def test_a_refused_connection_is_tried_again_later_and_later_and_seen_in_the_status() -> None:
    async def check() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound, not listening
            url = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
            async with streaming(url=url) as (_, heard, binance):
                await until(lambda: binance.status[0].attempts >= 4)
                (status,) = binance.status
                assert status.connected_since_ns is None
                assert "refused" in status.last_end.lower()
                assert heard.nothing_more(), "what never was is not lost"

    asyncio.run(check())


@pytest.mark.parametrize("url", ["nonsense", "ws://", "wss:///x"])
def test_a_wrong_url_is_no_crash(url: str) -> None:
    async def check() -> None:
        async with streaming(url=url) as (_, _, binance):
            await until(lambda: binance.status[0].attempts >= 2)
            assert binance.status[0].last_end

    asyncio.run(check())


def test_what_the_caller_raises_comes_out_of_run_and_ends_it() -> None:
    class Ours(Exception):
        pass

    def broken(event: MarketEvent) -> None:
        raise Ours

    async def check() -> None:
        async with FakeStreamServer.running() as server:
            binance = BinanceStream(server.url, ["BTCUSDT"], clock=SystemClock(), rng=random.Random(1), on_event=broken)
            task = asyncio.ensure_future(binance.run())
            await (await server.connection()).accept_subscription()
            with pytest.raises(BaseExceptionGroup) as caught:
                await soon(task)
            assert caught.group_contains(Ours)

    asyncio.run(check())


def test_cancelling_closes_the_connection_properly_and_says_nothing() -> None:
    async def check() -> None:
        async with streaming() as (server, heard, _):
            peer = await server.connection()
            await peer.accept_subscription()
            await heard.next()
        await soon(peer.socket.wait_closed())
        assert heard.nothing_more()

    asyncio.run(check())


def test_subscribe_messages_are_plain_json() -> None:
    text = stream.wire.subscribe(["BTCUSDT"], ["depth@100ms", "aggTrade"], 1)
    assert json.loads(text) == {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "btcusdt@aggTrade"], "id": 1}


def test_a_connection_that_is_given_up_is_replaced_and_the_others_stay() -> None:
    async def check() -> None:
        async with streaming("BTCUSDT", "ETHUSDT", max_streams=3) as (server, heard, binance):
            peers = [await server.connection(), await server.connection()]
            for peer in peers:
                await peer.accept_subscription()
                assert isinstance(await heard.next(), Subscribed)
            binance.renew("ETHUSDT", "ETHUSDT is silent")
            event = await heard.next()
            assert (event.symbols, event.reason) == (("ETHUSDT",), "ETHUSDT is silent")
            successor = await server.connection()
            await successor.accept_subscription()
            assert (await heard.next()).symbols == ("ETHUSDT",)
            assert [status.reconnects for status in binance.status] == [0, 1]

    asyncio.run(check())


# Make before break ------------------------------------------------------------------------------

SHUTDOWNS = (
    '{"e":"serverShutdown","E":1770123456789}',
    '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    '{"event":{"e":"serverShutdown","E":1770123456789}}',
)


def depth(first: int, last: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": 1_700_000_000_000 + last, "s": symbol, "U": first, "u": last, "b": [["1.0", "2.0"]], "a": []}
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


def trade(number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {"e": "aggTrade", "E": 1, "s": symbol, "a": number, "p": "1.0", "q": "1", "f": number, "l": number, "T": 1, "m": True}
    return {"stream": f"{symbol.lower()}@aggTrade", "data": data}


def ticker(number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {"u": number, "s": symbol, "b": "1.0", "B": "1", "a": "2.0", "A": "1"}
    return {"stream": f"{symbol.lower()}@bookTicker", "data": data}


async def send(peer: Peer, *messages: dict[str, Any] | str) -> None:
    """All of them, and a ping that is answered when they were read."""
    for message in messages:
        await peer.send(message)
    await soon(await peer.socket.ping())


async def carried(server: FakeStreamServer, heard: Heard) -> Peer:
    """A connection whose streams stand, and which has brought one event of each for BTCUSDT, up to id 10."""
    peer = await server.connection()
    await peer.accept_subscription()
    assert isinstance(await heard.next(), Subscribed)
    await send(peer, depth(1, 10), trade(10), ticker(10))
    assert [ids(await heard.next()) for _ in range(3)] == [(1, 10), 10, 10]
    return peer


def ids(event: MarketEvent) -> Any:
    match event:
        case DepthUpdate():
            return event.first_id, event.last_id
        case Trade():
            return event.agg_id
        case BestQuote():
            return event.update_id
        case _:
            return event


@pytest.mark.parametrize("announcement", SHUTDOWNS, ids=["raw", "combined", "websocket api"])
def test_a_server_that_announces_its_end_is_left_for_a_successor_and_the_sequence_goes_on(announcement: str) -> None:
    async def check() -> None:
        async with streaming() as (server, heard, binance):
            old = await carried(server, heard)
            await send(old, announcement, depth(11, 12))
            new = await server.connection()
            assert await new.accept_subscription() == [f"btcusdt@{kind}" for kind in KINDS]
            await send(new, depth(12, 14), trade(11), ticker(14), ticker(15))
            for message in (depth(13, 14), trade(11), ticker(14)):  # the ticker is the last that changes over
                await old.send(message)
            await soon(old.socket.wait_closed())
            await send(new, depth(15, 15), trade(12), ticker(16))
            told = [ids(await heard.next()) for _ in range(8)]
            assert told == [(11, 12), (12, 14), 11, 14, 15, (15, 15), 12, 16]
            assert heard.nothing_more()
            (status,) = binance.status
            assert (status.state, status.successor, status.handovers, status.reconnects) == ("open", None, 1, 0)
            assert status.last_end == f"{stream.SHUTDOWN}: a successor took over"

    asyncio.run(check())


def test_a_connection_that_grows_old_hands_over_before_it_is_cut() -> None:
    """A life of 60 s, less at most 5 % of it: 57 s at least."""

    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock, life_s=60.0) as (server, heard, binance):
            old = await server.connection()
            await old.accept_subscription()
            await heard.next()
            await clock.advance(56)
            await soon(await old.socket.ping())
            assert (binance.status[0].attempts, binance.status[0].successor) == (1, None)
            await clock.advance(4)
            new = await server.connection()
            await new.accept_subscription()
            await new.send(depth(1, 2))
            await until(lambda: binance.status[0].frames == 3)  # two answers and the update
            await clock.advance(stream.LOOK_S + SETTLE_S)
            await soon(old.socket.wait_closed())
            assert isinstance(await heard.next(), DepthUpdate)
            assert heard.nothing_more()
            assert (binance.status[0].handovers, binance.status[0].last_end) == (1, f"{stream.OLD}: a successor took over")

    asyncio.run(check())


def test_an_announcement_that_is_followed_by_the_cut_at_once_is_a_quick_reconnect() -> None:
    async def check() -> None:
        async with streaming(backoff_base_s=1000.0, backoff_max_s=1000.0) as (server, heard, binance):
            old = await carried(server, heard)
            await old.send(SHUTDOWNS[0])
            await cut(old)
            event = await heard.next()
            assert isinstance(event, Disconnected) and "1006" in event.reason
            new = await server.connection()  # without the pause of a lost connection
            await new.accept_subscription()
            assert isinstance(await heard.next(), Subscribed)
            await send(new, depth(20, 21))
            assert ids(await heard.next()) == (20, 21)
            assert (binance.status[0].handovers, binance.status[0].reconnects) == (0, 1)

    asyncio.run(check())


def test_an_old_connection_that_is_cut_early_costs_only_the_symbols_that_had_not_changed_over() -> None:
    async def check() -> None:
        async with streaming("BTCUSDT", "ETHUSDT", tickers=False) as (server, heard, binance):
            old = await server.connection()
            await old.accept_subscription()
            await heard.next()
            await send(old, depth(1, 10), depth(1, 10, "ETHUSDT"), SHUTDOWNS[0])
            new = await server.connection()
            await new.accept_subscription()
            await send(new, depth(9, 11), depth(13, 13, "ETHUSDT"))
            assert [ids(await heard.next()) for _ in range(3)] == [(1, 10), (1, 10), (9, 11)]
            await cut(old)
            lost, again, held = [await heard.next() for _ in range(3)]
            assert isinstance(lost, Disconnected) and lost.symbols == ("ETHUSDT",)
            assert isinstance(again, Subscribed) and again.symbols == ("ETHUSDT",)
            assert (held.symbol, ids(held)) == ("ETHUSDT", (13, 13))
            await send(new, depth(12, 12), depth(14, 14, "ETHUSDT"))
            assert [ids(await heard.next()) for _ in range(2)] == [(12, 12), (14, 14)]
            assert heard.nothing_more()
            (status,) = binance.status
            assert (status.state, status.handovers, status.reconnects) == ("open", 1, 1)

    asyncio.run(check())


def test_a_successor_that_ends_early_gives_back_what_it_carried_and_another_is_opened() -> None:
    async def check() -> None:
        async with streaming("BTCUSDT", "ETHUSDT", tickers=False) as (server, heard, binance):
            old = await server.connection()
            await old.accept_subscription()
            await heard.next()
            await send(old, depth(1, 10), depth(1, 10, "ETHUSDT"), SHUTDOWNS[0])
            new = await server.connection()
            await new.accept_subscription()
            await send(new, depth(9, 11))
            for _ in range(3):
                await heard.next()
            await close_1001(new)
            lost, again = await heard.next(), await heard.next()
            assert isinstance(lost, Disconnected) and lost.symbols == ("BTCUSDT",)
            assert isinstance(again, Subscribed) and again.symbols == ("BTCUSDT",)
            await send(old, depth(12, 12), depth(11, 11, "ETHUSDT"))
            assert [ids(await heard.next()) for _ in range(2)] == [(12, 12), (11, 11)]
            another = await server.connection()
            await another.accept_subscription()
            await send(another, depth(12, 13), depth(11, 12, "ETHUSDT"))
            assert [ids(await heard.next()) for _ in range(2)] == [(12, 13), (11, 12)]
            assert heard.nothing_more()
            assert binance.status[0].attempts == 3

    asyncio.run(check())


def test_a_successor_that_cannot_be_opened_is_tried_again_while_the_old_one_serves() -> None:
    async def check() -> None:
        async with streaming() as (server, heard, binance):
            old = await carried(server, heard)
            server.refuses = True
            await send(old, SHUTDOWNS[0])
            await until(lambda: binance.status[0].attempts >= 4)
            await send(old, depth(11, 11))
            assert ids(await heard.next()) == (11, 11)
            (status,) = binance.status
            assert (status.state, status.reconnects, status.successor in {"waiting", "connecting"}) == ("open", 0, True)
            assert "503" in status.last_end
            server.refuses = False
            new = await server.connection()
            await new.accept_subscription()
            await send(new, depth(11, 12), trade(11), ticker(10))
            await soon(old.socket.wait_closed())
            assert [ids(await heard.next()) for _ in range(2)] == [(11, 12), 11]

    asyncio.run(check())


def test_servers_that_announce_their_end_again_and_again_are_not_followed_in_a_circle() -> None:
    async def check() -> None:
        clock = FakeClock()
        async with streaming(clock=clock, backoff_base_s=1000.0, backoff_max_s=1000.0) as (server, heard, binance):
            first = await server.connection()
            await first.accept_subscription()
            await heard.next()
            await first.send(SHUTDOWNS[0])
            second = await server.connection()  # no time has passed
            await second.send(SHUTDOWNS[0])
            await second.accept_subscription()
            await until(lambda: binance.status[0].successor == "open")
            await until(lambda: len(clock._sleepers) >= 3)
            await clock.advance(6)
            await until(lambda: binance.status[0].handovers == 1)
            await soon(first.socket.wait_closed())
            assert (binance.status[0].attempts, binance.status[0].successor) == (2, "waiting")
            assert heard.nothing_more()

    asyncio.run(check())


def test_never_more_than_two_connections_are_open_for_the_same_symbols() -> None:
    """Each announces its end before it takes over: the next is wanted in the moment in which the one before begins to close."""

    async def check() -> None:
        async with streaming(tickers=False) as (server, _, _):
            carrier = await server.connection()
            await carrier.accept_subscription()
            await send(carrier, depth(1, 1), trade(1), SHUTDOWNS[0])
            for number in range(2, 8):
                successor = await server.connection()
                await successor.accept_subscription()
                for message in (SHUTDOWNS[0], depth(number, number), trade(number)):
                    await successor.send(message)
                await soon(carrier.socket.wait_closed())
                assert server.open_max == 2
                carrier = successor

    asyncio.run(check())


def test_a_silent_stream_is_replaced_without_waiting_for_a_successor_even_during_a_handover() -> None:
    async def check() -> None:
        async with streaming() as (server, heard, binance):
            old = await carried(server, heard)
            await send(old, SHUTDOWNS[0])
            new = await server.connection()
            await until(lambda: binance.status[0].successor == "open")
            binance.renew("BTCUSDT", "BTCUSDT is silent")
            event = await heard.next()
            assert (type(event), event.reason) == (Disconnected, "BTCUSDT is silent")
            await new.accept_subscription()
            assert isinstance(await heard.next(), Subscribed)

    asyncio.run(check())
