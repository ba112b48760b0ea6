"""`leadline mcp` as assistants run it: a child process on pipes, over a running service, over none, with feeds of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from tests.end_to_end.running import SAFETY_S, stored
from tests.fakes import FakeClock, run
from tests.serve.web import NOW_NS
from tests.service import desks

from leadline.serve.doors import Binds, Doors
from leadline.serve.guard import Rules
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

COMMAND = [sys.executable, "-m", "leadline", "mcp"]
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("LEADLINE_")}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def child(*words: object, **environ: str) -> Client:
    command, *arguments = [*COMMAND, *map(str, words)]
    return Client(StdioServerParameters(command=command, args=arguments, env=ENVIRON | environ))


@asynccontextmanager
async def service(port: int = 0, rules: Rules | None = None) -> AsyncIterator[str]:
    """Doors over the recordings; their address."""
    doors = Doors(FakeClock(NOW_NS))
    doors.dispatcher.desk = desks.desk()
    async with doors.open(Binds("", f"127.0.0.1:{port}", rules or Rules())):
        yield f"http://127.0.0.1:{doors.http_port}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_with_no_service_each_call_says_how_to_start_one_and_one_that_starts_later_is_asked():
    async def story() -> None:
        port = free_port()
        async with child("--url", f"http://127.0.0.1:{port}") as assistant:
            assert len((await assistant.list_tools()).tools) == 12
            said = await assistant.call_tool("list_symbols", {})
            assert said.is_error is True
            [block] = said.content
            assert block.text == f"http://127.0.0.1:{port} is unreachable: nothing answers there; start `leadline serve`"
            async with service(port):
                said = await assistant.call_tool("list_symbols", {})
                assert (said.is_error, len(said.structured_content["symbols"])) == (False, 2)
            said = await assistant.call_tool("list_symbols", {})
            assert said.is_error is True

    run(story())


def test_the_services_token_is_taken_from_the_settings():
    async def story() -> None:
        async with service(rules=Rules(token="secret")) as url:
            async with child("--url", url, LEADLINE_AUTH_TOKEN="secret") as assistant:
                assert (await assistant.call_tool("list_symbols", {})).is_error is False
            async with child("--url", url) as assistant:
                said = await assistant.call_tool("list_symbols", {})
                assert (said.is_error, said.content[0].text) == (True, "token missing or wrong")

    run(story())


def test_standard_output_belongs_to_the_protocol_and_the_process_ends_with_its_input():
    """Also with logs at their loudest and with lines that are no messages."""
    asked = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    lines = [json.dumps(one) for one in asked] + ["not a message", ""]
    command = [*COMMAND, "--url", f"http://127.0.0.1:{free_port()}", "--log-level", "DEBUG"]
    process = subprocess.Popen(
        command, env=ENVIRON, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write("\n".join(lines))
        process.stdin.flush()
        answers = [
            json.loads(process.stdout.readline()) for _ in range(2)
        ]  # before the end of input, which cancels what is asked
        rest, said = process.communicate(timeout=SAFETY_S)
    assert process.returncode == 0, said
    assert [answer.get("id") for answer in answers] == [1, 2]
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert "Traceback" not in said


@pytest.mark.parametrize("end", ["input", signal.SIGTERM, signal.SIGINT])
def test_alone_it_answers_at_once_records_and_ends_in_order(end: Any, tmp_path):
    """Its first answers say that it is starting; then the book is live, as the exchange has it."""

    async def story() -> None:
        async with StandIn(SyntheticMarket(7, ["BTCUSDT"], start_ms=time.time_ns() // 10**6)) as exchange:
            words = ["--standalone", "--symbols", "BTCUSDT", "--data", tmp_path / "store"]
            words += ["--rest-url", exchange.http_url, "--ws-url", exchange.ws_url]
            process = await asyncio.create_subprocess_exec(
                *COMMAND, *map(str, words), env=ENVIRON, stdin=-1, stdout=-1, stderr=-1, limit=2**20
            )
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None

            async def ask(number: int, method: str, params: dict[str, Any]) -> Any:
                asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                answer = json.loads(await process.stdout.readline())
                assert answer["id"] == number
                return answer["result"]

            await ask(1, "initialize", HELLO["params"])
            number, states = 1, list[str]()
            while "LIVE" not in states:
                number += 1
                said = await ask(number, "tools/call", {"name": "orderbook_l1", "arguments": {"symbol": "BTCUSDT"}})
                states.append("not yet" if said["isError"] else said["structuredContent"]["envelope"]["state"])
                if said["isError"]:
                    assert said["content"][0]["text"].startswith("no live book of BTCUSDT: ")
            assert said["structuredContent"]["envelope"]["origin"] == "synthetic:7"
            assert states[0] == "not yet"
            if end == "input":
                process.stdin.close()
            else:
                process.send_signal(end)
            said = (await process.stderr.read()).decode()
            assert (await process.wait(), said.count("Traceback")) == (0, 0), said
        with stored(tmp_path / "store") as history:
            assert history.meta("clean_shutdown", bool) is True
            assert history.symbols() == ["BTCUSDT"]

    run(story())
