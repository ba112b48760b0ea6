"""How long an answer takes at each door while a service records, and how long the first one takes after a start.

Stand-in, service and clients are three processes. 20 and 400 symbols of the stand-in's own mix at real pace; the clients ask
one question at a time (door_clients.py), so this is the time of an answer beside the recording, not a load. The typed book of 5
levels stands for L1. Start: from before the process is made to its first answer, which may be that the service starts; medians
of interleaved runs.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil

from bench.rows import Row, percentile
from bench.service import Service, ask, exchange, get, ready, service
from bench.soak_clients import Stdio
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.provider_pb2_grpc import ProviderStub

ASKED_S = 150.0
MINUTE_S = 75  # one whole window of a minute, and what comes before the first record
STARTS = 7
START_S = 1.0
SPEC_MS = 200.0  # L1 and L2 with 20 symbols, whatever the door
GRPC_MS = {20: 5.0, 400: 10.0}  # ours
POLL_S = 0.002


def run(quick: bool) -> list[Row]:
    """--quick: two symbols, a second, no order flow."""
    if quick:
        return [*_answers(2, 1.0, flow=False), *_starts(1)]
    return [*_answers(20, ASKED_S, flow=True), *_answers(400, ASKED_S, flow=True), *_starts(STARTS)]


# Answers ---------------------------------------------------------------------------------


def _answers(symbols: int, seconds: float, *, flow: bool) -> list[Row]:
    with exchange(str(symbols)) as (url, names), service(url, names) as found:
        ready(found)
        if flow:
            time.sleep(MINUTE_S)  # records come at the pace of the clock
        process = psutil.Process(found.pid)
        begun, cpu_s = time.monotonic(), sum(process.cpu_times()[:2])
        command = [sys.executable, "-m", "bench.door_clients", str(found.grpc_port), str(found.http_port), str(seconds)]
        said = subprocess.run([*command, str(int(flow)), *names], stdout=subprocess.PIPE, text=True, check=True)
        share = 100 * (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - begun)
    told = json.loads(said.stdout)
    assert not told["refused"], f"no answers: {told['refused']}"
    rows = [_latency(symbols, name, took) for name, took in sorted(told["took"].items())]
    return [*rows, Row(f"{symbols} symbols: share of a core of the service, answers included", share, "%")]


def _latency(symbols: int, name: str, took_ms: Sequence[float]) -> Row:
    """p99 beside its p50."""
    bar_ms = None
    if "orderbook" in name:
        bar_ms = GRPC_MS.get(symbols) if name.startswith("gRPC") else SPEC_MS if symbols == 20 else None
    p99 = percentile(took_ms, 0.99)
    bar, met = ("", None) if bar_ms is None else (f"< {bar_ms:g} ms", p99 < bar_ms)
    return Row(f"{symbols} symbols: {name}, p99 of {len(took_ms)}", p99, "ms", "p50", percentile(took_ms, 0.5), bar, met)


# Starts ----------------------------------------------------------------------------------


def _starts(rounds: int) -> list[Row]:
    """Each in turn, so that what else the machine does meets all of them."""
    with exchange("BTCUSDT,ETHUSDT") as (url, names), service(url, names) as running:
        ready(running)
        ways: dict[str, Callable[[], Any]] = {
            "python -c pass": lambda: _timed(_process, "-c", "pass"),
            "`leadline serve`": lambda: _served(url, names),
            "`leadline mcp` over a service": lambda: _timed(_assistant, "--url", running.url),
            "`leadline mcp --standalone`": lambda: _standalone(url),
            "`leadline call --url`": lambda: _timed(_process, "-m", "leadline", *_CALL, "--url", running.url),
        }
        took: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, way in ways.items():
                for what, seconds in way().items():
                    took.setdefault(f"{name}{what}", []).append(seconds)
    medians = {name: statistics.median(one) for name, one in took.items()}
    bare = medians.pop("python -c pass")
    bar = f"< {1e3 * START_S:g} ms"
    return [
        Row(f"start to first answer: {name}", 1e3 * seconds, "ms", "python -c pass", 1e3 * bare, bar, seconds < START_S)
        for name, seconds in medians.items()
    ]


_CALL = ("call", "orderbook_l1", "symbol=BTCUSDT", "--format", "json")


def _timed(way: Callable[..., float], *words: str) -> dict[str, float]:
    begun = time.monotonic()
    return {"": way(*words) - begun}


def _process(*words: str) -> float:
    """When it has ended."""
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic()


def _assistant(*words: str) -> float:
    """Greets and asks once; when it has its answer."""

    async def ask_once() -> float:
        async with Stdio.open(*words) as one:
            await one.ask("tools/call", {"name": "orderbook_l1", "arguments": {"symbol": "BTCUSDT"}})
            return time.monotonic()

    return asyncio.run(ask_once())


def _standalone(url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        words = ("--rest-url", url, "--ws-url", url.replace("http", "ws", 1), "--data", str(Path(folder) / "store"))
        return _timed(_assistant, "--standalone", *words)


def _served(url: str, names: Sequence[str]) -> dict[str, float]:
    with service(url, names) as found:
        healthz = _first(found, lambda: get(f"{found.url}/healthz"))
        tool = _first(found, lambda: ask(found, "orderbook_l1", {"symbol": names[0]}))
        rpc = _first(found, lambda: _invoke(found.grpc_port))
    return {", healthz": healthz, ", a tool by HTTP": tool, ", a tool by gRPC": rpc}


def _first(found: Service, once: Callable[[], object]) -> float:
    """Seconds from the start until it is answered, whatever the answer."""
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            once()
            return time.monotonic() - found.spawned
        time.sleep(POLL_S)  # a port that is not open yet tells nobody when it will be


def _invoke(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            ProviderStub(channel).Invoke(pb.InvokeRequest(tool_name="orderbook_health"), timeout=5)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # it starts
                raise ConnectionError(error.code()) from error
