"""The service with its doors: starting, LIVE, closed before the recording ends; and what the scrape tells of a running one."""

import asyncio
import socket
import time
from typing import Any

import aiohttp
import grpc
from prometheus_client.parser import text_string_to_metric_families
from tests.end_to_end.hurried import LoopClock, hurried
from tests.end_to_end.judging import disturbed
from tests.end_to_end.running import SAFETY_S, settings_for, stored, until

from leadline import __version__, serving
from leadline.serve.dispatch import Dispatcher
from leadline.serve.metrics import Scrape
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.provider_pb2_grpc import ProviderStub
from leadline.service.fanout import Hub
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def scrape_of(clock: LoopClock, dispatcher: Dispatcher, watched: Any) -> bytes:
    """As the door gives it; nobody reads a stream."""
    return Scrape(dispatcher, Hub(clock, instance="first-run"), lambda: watched, lambda: clock.wall_ns() / 1e9).text()


def scraped(text: bytes) -> tuple[dict[tuple[str, ...], float], dict[str, str]]:
    """(name, label values by the names of labels...) -> number; family -> type. As the official parser reads it."""
    families = list(text_string_to_metric_families(text.decode()))
    numbers: dict[tuple[str, ...], float] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, *(sample.labels[label] for label in sorted(sample.labels)))
            assert key not in numbers, key
            numbers[key] = sample.value
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert sample.name.startswith("leadline_"), sample.name
    assert all(family.documentation for family in families)
    return numbers, {family.name: family.type for family in families}


def test_the_scrape_tells_the_numbers_of_the_running_service(tmp_path):
    async def story() -> None:
        async with disturbed(tmp_path / "store", SYMBOLS) as world:
            await world.passed(20)
            world.strike("diff.drop", symbol="BTCUSDT", count=1)
            feed = world.feeds["BTCUSDT"]
            await world.until(lambda: feed.sync.book is None)
            await world.until(lambda: world.steady)
            await world.passed(5)
            service = world.service
            dispatcher = Dispatcher(world.clock)
            dispatcher.desk = service.desk
            await dispatcher.call("orderbook_health", {}, transport="http")
            await dispatcher.call("nonsense", {}, transport="grpc")
            watched = serving._Watched(service)
            numbers, kinds = scraped(scrape_of(world.clock, dispatcher, watched))

            assert numbers["leadline_build_info", __version__] == 1
            assert numbers["leadline_tool_calls_total", "ok", "orderbook_health", "http"] == 1
            assert numbers["leadline_tool_calls_total", "UnknownName", "other", "grpc"] == 1
            assert numbers["leadline_gaps_total", "BTCUSDT"] == feed.gaps == 1
            assert numbers["leadline_gaps_total", "ETHUSDT"] == 0
            for symbol, one in world.feeds.items():
                view = one.view(1)
                assert view is not None
                assert numbers["leadline_book_live", symbol] == 1
                assert numbers["leadline_book_epoch", symbol] == one.sync.epoch
                assert numbers["leadline_depth_events_total", symbol] == one.sync.events_applied > 0
                assert numbers["leadline_trades_total", symbol] == one.fills > 0
                assert numbers["leadline_snapshots_taken_total", symbol] == one.snapshots_taken > 20
                assert numbers["leadline_resyncs_total", symbol] == one.resyncs
                assert numbers["leadline_audit_mismatches_total", symbol] == 0
                assert numbers["leadline_book_age_seconds", symbol] < 5
            assert numbers["leadline_book_epoch", "BTCUSDT"] == numbers["leadline_book_epoch", "ETHUSDT"] + 1
            recorder = service.recorder
            assert numbers["leadline_snapshots_stored_total",] == recorder.stored
            assert numbers["leadline_store_newest_second",] == recorder.last_stored_second
            assert numbers["leadline_store_write_errors_total",] == numbers["leadline_queue_dropped_total",] == 0
            assert numbers["leadline_store_bytes",] == service.store_bytes() > 0
            assert numbers["leadline_rest_weight_used",] == service.budget.used > 0
            assert numbers["leadline_rest_weight_limit",] == service.budget.limit_per_minute
            up = [value for key, value in numbers.items() if key[0] == "leadline_ws_open"]
            assert up == [1.0] * len(service.stream.status)
            assert kinds["leadline_book_live"] == "gauge"

    hurried(story())


def test_a_book_that_is_lost_is_not_live_in_the_scrape(tmp_path):
    async def story() -> None:
        async with disturbed(tmp_path / "store", SYMBOLS) as world:
            world.strike("rest.status", status=503, **{"for": 30})
            world.strike("diff.drop", symbol="BTCUSDT", count=1)
            await world.until(lambda: world.feeds["BTCUSDT"].sync.book is None)
            watched = serving._Watched(world.service)
            numbers, _ = scraped(scrape_of(world.clock, Dispatcher(world.clock), watched))
            assert (numbers["leadline_book_live", "BTCUSDT"], numbers["leadline_book_live", "ETHUSDT"]) == (0, 1)

    hurried(story())


def test_while_the_service_starts_the_scrape_tells_of_the_doors_alone():
    async def story() -> None:
        dispatcher = Dispatcher(LoopClock())
        await dispatcher.call("list_symbols", {}, transport="http")
        numbers, _ = scraped(scrape_of(LoopClock(), dispatcher, None))
        assert numbers["leadline_tool_calls_total", "BookNotLive", "list_symbols", "http"] == 1
        assert {key[0] for key in numbers} == {
            "leadline_build_info",
            "leadline_stream_subscribers",
            "leadline_tool_calls_total",
            "leadline_tool_seconds_total",
        }

    hurried(story())


# The whole ------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_doors_open_before_the_exchange_is_there_and_close_before_the_recording_ends(tmp_path, caplog):
    caplog.set_level("INFO")
    exchange_port = _free_port()

    async def story() -> None:
        stop = asyncio.Event()
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        started: list[Any] = []
        addresses = f"http://127.0.0.1:{exchange_port}", f"ws://127.0.0.1:{exchange_port}"
        doors_at = {"grpc.bind": "127.0.0.1:0", "http.bind": "127.0.0.1:0"}
        settings = settings_for(addresses, tmp_path / "store", ["BTCUSDT"], **doors_at)
        async with asyncio.timeout(SAFETY_S), asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as web:
            running = tasks.create_task(serving.serve(settings, stop, opened=opened.set_result, started=started.append))
            doors = await opened
            http, rpc = f"http://127.0.0.1:{doors.http_port}", f"127.0.0.1:{doors.grpc_port}"

            async def ask(path: str, body: Any = None) -> tuple[int, Any]:
                async with web.request("GET" if body is None else "POST", http + path, json=body) as answer:
                    return answer.status, await answer.json()

            question = {"symbol": "BTCUSDT"}
            assert await ask("/healthz") == (200, {"status": "ok", "version": __version__})
            assert await ask("/readyz") == (503, {"ready": False, "reason": "starting", "symbols": {}})
            status, told = await ask("/api/tools/orderbook_l1", question)
            assert (status, told["error"], told["fields"]["reason"]) == (503, "BookNotLive", "starting")
            await until(lambda: "exchange_unreachable" in caplog.messages)
            assert started == [] and (await ask("/readyz"))[0] == 503

            market = SyntheticMarket(5, ["BTCUSDT"], start_ms=int(time.time() * 1000))
            async with StandIn(market, port=exchange_port):
                await until(lambda: started and doors.ready)
                status, told = await ask("/api/tools/orderbook_l1", question)
                assert (status, told["envelope"]["state"], told["envelope"]["source"]) == (200, "LIVE", "live")
                assert (await ask("/readyz?live_only=1"))[0] == 200
                async with grpc.aio.insecure_channel(rpc) as channel:
                    payload = pb.Json(value=b'{"symbol":"BTCUSDT"}')
                    said = await ProviderStub(channel).Invoke(pb.InvokeRequest(tool_name="orderbook_l1", payload=payload))
                    assert b'"LIVE"' in said.result.value
                await until(lambda: started[0].recorder.stored > 0)
                stop.set()
                await running
            for port in (doors.http_port, doors.grpc_port):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    raise AssertionError("the door is open")
                except OSError:
                    pass

    asyncio.run(story())
    assert caplog.messages.index("doors_open") < caplog.messages.index("exchange_unreachable")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    with stored(tmp_path / "store") as history:
        assert history.meta("clean_shutdown", bool) is True
        assert history.last_second("BTCUSDT") is not None
