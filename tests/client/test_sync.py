"""The client that waits: the same answers, streams that can be left, and an end that nobody hangs in."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.client.doors import neighbour
from tests.client.wire import wire_to
from tests.fakes import FakeClock, run
from tests.serve.market import BTC, House, until

from leadline.client import Client, News
from leadline.core.errors import InvalidRequest, UnknownSymbol, Unreachable


def live() -> House:
    house = House()
    house.go_live()
    return house


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "leadline.client"]


def test_books_and_failures_are_those_of_the_asynchronous_one():
    house = live()
    with neighbour(house) as beside, Client(f"127.0.0.1:{beside.port}") as client:
        found = client.book(BTC, 5)
        assert (found.bids, found.asks) == house.markets[BTC].best(5, found.update_id)
        assert client.call("orderbook_l1", symbol=BTC)["symbol"] == BTC
        assert "binance.orderbook_l1" in {tool.name for tool in client.tools()}
        with pytest.raises(UnknownSymbol) as refused:
            client.book("BTCUSD")
        assert (refused.value.symbol, refused.value.near) == ("BTCUSD", (BTC,))
        with pytest.raises(InvalidRequest):
            next(client.stream_book(BTC, 7))


def test_a_stream_follows_the_market_and_leaving_it_frees_the_service():
    house = live()
    with neighbour(house) as beside, Client(f"127.0.0.1:{beside.port}") as client:
        with client.stream_book(BTC, 5) as stream:
            for item in stream:
                assert (item.bids, item.asks) == house.markets[BTC].best(5, item.update_id)
                if item.seq > 20:
                    break
                beside.do(house.stir)
            assert beside.do(lambda: house.hub.readers) == 1
        beside.do(lambda: until(lambda: house.hub.readers == 0))
        with pytest.raises(StopIteration):
            next(stream)


def test_trades_come_to_a_for_loop():
    house = live()
    with neighbour(house) as beside, Client(f"127.0.0.1:{beside.port}") as client:
        ids: list[int] = []
        for item in client.stream_trades(BTC):
            ids += [trade.agg_id for trade in item.trades]
            if len(ids) == 5:
                break
            beside.do(house.trade)
        assert ids == [1, 2, 3, 4, 5]


def test_a_closed_client_has_no_thread_and_answers_nothing():
    with neighbour(live()) as beside:
        with Client(f"127.0.0.1:{beside.port}") as client:
            assert threads() == ["leadline.client"]
            stream = client.stream_book(BTC)
            assert next(stream).is_live
        assert threads() == []
        assert stream._source.ag_frame is None  # nothing is left for the collector to end on a loop that is no more
        client.close()
        stream.close()
        assert list(stream) == []
        for question in (lambda: client.book(BTC), lambda: client.stream_book(BTC)):
            with pytest.raises(RuntimeError, match="the client is not open"):
                question()
        with client:  # it can be opened again
            assert client.book(BTC).is_live
        assert threads() == []


def test_whoever_waits_in_another_thread_is_let_go_when_the_client_is_closed():
    """A stream that waits for a message, one that waits for its next attempt on a clock that stands still, and a call."""
    house = live()

    async def check(beside: Any) -> None:
        loop = asyncio.get_running_loop()
        async with wire_to(beside.port) as wire:
            with ThreadPoolExecutor(4) as others:

                def there(work: Any, *given: Any) -> Any:
                    return loop.run_in_executor(others, work, *given)

                cut_off = await there(Client(f"127.0.0.1:{wire.port}", clock=FakeClock()).__enter__)
                client = await there(Client(f"127.0.0.1:{beside.port}", clock=FakeClock()).__enter__)
                lost, idle = cut_off.stream_trades(BTC), client.stream_book(BTC)
                assert (await there(next, lost)).state == "LIVE"
                wire.cut()
                assert (await there(next, lost)).news is News.CONNECTION
                assert (await there(next, idle)).is_live
                wire.hold()
                pausing, waiting, asked = there(list, lost), there(list, idle), there(cut_off.book, BTC)
                await until(lambda: beside.do(lambda: house.hub.readers) == 1 and wire.connections == 2)
                await there(cut_off.close)
                await there(client.close)
                assert await pausing == await waiting == []
                with pytest.raises(Unreachable, match="the client was closed"):
                    await asked
        assert threads() == []

    with neighbour(house) as beside:
        run(check(beside))


def test_nobody_there_is_raised_and_the_thread_ends():
    with pytest.raises(Unreachable):
        with Client("127.0.0.1:1") as client:
            client.book(BTC)
    assert threads() == []
