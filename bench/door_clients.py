"""Questions to every door, one at a time and in turn: `python -m bench.door_clients GRPC_PORT HTTP_PORT SECONDS FLOW SYMBOL...`.

So many seconds of rounds. A round asks each question once at each door, in an order and at a moment of chance; FLOW 0: without
order flow. Prints one JSON object: door and question -> ms of each answer, and what was refused.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import grpc

from bench.soak_clients import MCP_OLD, Stdio, headers, message
from leadline.serve.proto import market_data_pb2 as book
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.serve.proto.provider_pb2_grpc import ProviderStub

L1, L2, FLOW = "orderbook_l1", "orderbook_l2", "get_order_flow"
DEPTHS = {L1: 5, L2: 20}
PAUSE_S = 0.1  # at most between two rounds: each address stays under its 50 requests a second
Ask = Callable[[str, str], Awaitable[str]]


async def main(grpc_port: int, http_port: int, seconds: float, flow: bool, symbols: Sequence[str]) -> None:
    rng = random.Random(7)
    took: defaultdict[str, list[float]] = defaultdict(list)
    refused: Counter[str] = Counter()
    base = f"http://127.0.0.1:{http_port}"
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
        _session("127.0.0.2") as http,
        _session("127.0.0.3") as mcp,
        Stdio.open("--url", base) as stdio,
    ):
        doors = {
            "gRPC Provider": _provider(channel),
            "gRPC typed": _typed(channel),
            "HTTP": _http(http, base),
            "MCP HTTP": _mcp(mcp, base),
            "MCP stdio": lambda name, symbol: stdio.ask("tools/call", _call(name, symbol)),
        }
        asked = [(door, name) for door in doors for name in (L1, L2, FLOW) if name in DEPTHS or (flow and door != "gRPC typed")]
        done, ends = -5, time.monotonic() + seconds  # the first rounds open connections
        while done < 1 or time.monotonic() < ends:
            done += 1
            rng.shuffle(asked)
            for door, name in asked:
                symbol = rng.choice(symbols)
                begun = time.perf_counter()
                outcome = await doors[door](name, symbol)
                took_ms = 1e3 * (time.perf_counter() - begun)
                if outcome != "ok":
                    refused[f"{door}, {name}: {outcome}"] += 1
                elif done > 0:
                    took[f"{door}, {name}"].append(took_ms)
            begun = time.perf_counter()
            async with http.get(f"{base}/healthz") as answer:
                await answer.read()
            took["HTTP, nothing"].append(1e3 * (time.perf_counter() - begun))
            await asyncio.sleep(rng.random() * PAUSE_S)
    print(json.dumps({"took": took, "refused": refused}))


def _session(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))


def _provider(channel: Any) -> Ask:
    invoke = ProviderStub(channel).Invoke

    async def ask(name: str, symbol: str) -> str:
        request = pb.InvokeRequest(tool_name=name, payload=pb.Json(value=json.dumps({"symbol": symbol}).encode()))
        return await _code(invoke(request))

    return ask


def _typed(channel: Any) -> Ask:
    get_book = MarketDataStub(channel).GetBook
    return lambda name, symbol: _code(get_book(book.BookRequest(symbol=symbol, depth=DEPTHS[name])))


async def _code(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.details())
    return "ok"


def _http(session: aiohttp.ClientSession, base: str) -> Ask:
    async def ask(name: str, symbol: str) -> str:
        async with session.post(f"{base}/api/tools/{name}", json={"symbol": symbol}) as answer:
            body = await answer.read()
        return "ok" if answer.status == 200 else body.decode()

    return ask


def _mcp(session: aiohttp.ClientSession, base: str) -> Ask:
    async def ask(name: str, symbol: str) -> str:
        params = _call(name, symbol)
        body, named = message(MCP_OLD, "tools/call", params), headers(MCP_OLD, "tools/call", params)
        async with session.post(f"{base}/mcp", json=body, headers=named) as answer:
            text = await answer.text()
        with contextlib.suppress(ValueError):
            told = json.loads(next(line[6:] for line in text.splitlines() if line.startswith("data: {")))
            return "ok" if not told["result"].get("isError") else told["result"]["content"][0]["text"]
        return text[:200]

    return ask


def _call(name: str, symbol: str) -> dict[str, Any]:
    return {"name": name, "arguments": {"symbol": symbol}}


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "1", sys.argv[5:]))
