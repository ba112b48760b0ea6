"""Who gives up, goes away or does not read leaves nothing behind: a small sample of bench/soak.py, and its finds one by one."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from bench.soak_clients import Sse
from tests.fakes import run
from tests.serve.web import Web, web

from leadline.serve import doors, mcp_http
from leadline.serve.grpc_door import answering

ROOT = Path(__file__).resolve().parents[2]
LADDER = {"name": "orderbook_l2", "arguments": {"symbol": "BTCUSDT", "levels": 20}}


SOAK = """
import asyncio, msgspec
from bench.soak import soak
print(msgspec.json.encode(asyncio.run(soak(160, 60))).decode())
"""


def test_nothing_is_left_of_calls_and_streams_that_are_given_up_at_any_moment():
    """In a process of its own, as a service is: gRPC's one queue tells this loop what was meant for those of earlier tests."""
    process = subprocess.run([sys.executable, "-c", SOAK], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    assert (found["left"], found["errors"]) == ({}, [])
    ways = Counter(told.rpartition(": ")[2] for told in found["told"])
    assert ways["ok"] > 4 and "InternalError" not in ways and "NO ANSWER" not in ways, found["told"]
    assert ways["given up"] > 4 and ways["cancelled"] == 5, found["told"]


# Finds -----------------------------------------------------------------------------------


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


def tasks() -> Counter[str]:
    return Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]


@asynccontextmanager
async def sse(client: Web, *, read: bool = True) -> AsyncIterator[Sse]:
    async with aiohttp.ClientSession() as session:
        async with Sse.open(session, client.url, read=read) as stream:
            yield stream


async def until(reached: Any) -> None:
    while not reached():  # noqa: ASYNC110 (what others do on their sockets sets no event of ours)
        await asyncio.sleep(0.02)


def test_a_client_of_sse_that_asks_and_does_not_read_is_ended(caplog: pytest.LogCaptureFixture):
    """What its socket takes is a few MB; behind it UNREAD_MAX answers may wait, then its stream and all of them are gone."""

    async def check() -> None:
        async with web() as client:
            async with sse(client):
                pass
            before = tasks()
            async with sse(client, read=False) as stream:
                for number in range(2_000):
                    await stream.send({"jsonrpc": "2.0", "id": number + 10, "method": "tools/list"})
                    if "mcp_unread" in caplog.messages:
                        break
            await until(lambda: not tasks() - before)

    run(check())
    assert [record.waiting for record in caplog.records if record.msg == "mcp_unread"] == [mcp_http.UNREAD_MAX]
    assert errors(caplog) == []


def test_a_question_on_its_way_when_the_stream_ends_is_no_error(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with web() as client:
            for _ in range(20):
                async with sse(client) as stream:
                    sent = [asyncio.ensure_future(stream.ask("tools/call", LADDER)) for _ in range(10)]
                    await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
                for one in sent:
                    one.cancel()
                await asyncio.gather(*sent, return_exceptions=True)

    run(check())
    assert errors(caplog) == []


def test_a_service_that_stops_ends_its_streams_without_a_word_of_errors(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with aiohttp.ClientSession() as session:
            async with web() as client:
                stream = await session.get(f"{client.url}/sse")
                assert (await stream.content.readline()).startswith(b"event: endpoint")
            await stream.content.read()

    run(check())
    assert errors(caplog) == []


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="not Linux")
def test_a_client_that_takes_nothing_of_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(doors, "UNREAD_S", 1)

    async def check() -> None:
        async with web() as client:
            await client.ask("GET", "/healthz")
            before = tasks()
            with socket.socket() as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.connect(("127.0.0.1", client.doors.http_port))
                raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60)
                await until(lambda: tasks() - before)
                await until(lambda: not tasks() - before)

    run(check())
    assert errors(caplog) == []


def test_a_message_to_a_caller_who_has_just_gone_is_no_error(caplog: pytest.LogCaptureFixture):
    """The library refuses to send before it has heard that the caller is gone; a moment later it ends the call by itself."""

    async def check() -> None:
        failed = asyncio.Event()

        async def stream(_: bytes, context: Any) -> None:
            async with answering(context, "Stream"):
                await context.write(b"1")
                failed.set()
                raise grpc.aio.InternalError('Failed "execute_batch"')

        server = grpc.aio.server()
        handler = grpc.unary_stream_rpc_method_handler(stream)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", {"Stream": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            before = tasks()
            call = channel.unary_stream("/test.Test/Stream")(b"")
            assert await call.read() == b"1"
            await failed.wait()
            call.cancel()
            await until(lambda: not tasks() - before)
        await server.stop(None)

    run(check())
    assert errors(caplog) == []
