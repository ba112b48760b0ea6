"""What the stand-in can serve, and what that costs it.

Making: the market alone, frames included, in this process. Serving: `leadline standin` as a process of its own, read by clients
here that decode nothing; CPU is the stand-in's, by the operating system. Baseline of a message served: one made and not sent.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import aiohttp
import psutil

from bench.rows import Row, ceiling
from leadline.standin.market import SyntheticMarket

SECOND_NS = 10**9
START_MS = 1_767_225_600_000
KINDS = ("depth@100ms", "bookTicker", "trade", "aggTrade")
PARAMS_A_MESSAGE = 200
STREAMS_A_CONNECTION = 800  # of 1,024


def run(quick: bool) -> list[Row]:
    """--quick: seconds instead of a minute, and fewer symbols."""
    seconds, many = (2, 30) if quick else (30, 400)
    made_us, speed = _made(60 if quick else 600)
    rows = [
        Row("making: one symbol, times real time", speed, "x", bar="> 20 x", met=speed > 20),
        ceiling("making: 20 symbols as busy as BTCUSDT, share of a core", 100 * 20 / speed, "%", 50.0),
    ]
    with _standin("BTCUSDT,ETHUSDT", "--speed", "0") as process:
        count, size, cpu_s, wall_s = asyncio.run(_read(process, seconds))
        rows += [
            Row("serving as fast as it goes, 2 symbols: messages a second", count / wall_s, "1/s"),
            Row("the same: bytes a second", size / wall_s / 1e6, "MB/s"),
            Row("the same: its CPU a message", 1e6 * cpu_s / count, "us", "made, not sent", made_us),
        ]
    with _standin(str(many)) as process:
        count, size, cpu_s, wall_s = asyncio.run(_read(process, seconds))
        rows += [
            Row(f"serving {many} symbols at real pace: messages a second", count / wall_s, "1/s"),
            ceiling("the same: its share of a core", 100 * cpu_s / wall_s, "%", 100.0),
        ]
    return rows


def _made(seconds: int) -> tuple[float, float]:
    """(CPU of a frame in us, times real time) of BTCUSDT."""
    market = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
    market.advance(market.start_ns + 10 * SECOND_NS)
    began, count = time.process_time(), 0
    for second in range(11, 11 + seconds):
        count += len(market.advance(market.start_ns + second * SECOND_NS))
    cpu_s = time.process_time() - began
    return 1e6 * cpu_s / count, seconds / cpu_s


@contextmanager
def _standin(symbols: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "leadline", "standin", "--symbols", symbols, "--seed", "7", "--attached", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


async def _read(process: "subprocess.Popen[str]", seconds: int) -> tuple[int, int, float, float]:
    """(messages, their bytes, CPU seconds of the stand-in, wall seconds), all streams of all its symbols, once they flow."""
    assert process.stdout is not None
    url = process.stdout.readline().split()[3]
    server = psutil.Process(process.pid)
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        async with session.get(f"{url}/_standin/state") as answer:
            symbols = (await answer.json())["symbols"]
        streams = [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in KINDS]
        sockets = []
        for start in range(0, len(streams), STREAMS_A_CONNECTION):
            socket = await stack.enter_async_context(session.ws_connect(f"{url.replace('http', 'ws', 1)}/ws", max_msg_size=0))
            await _subscribe(socket, streams[start : start + STREAMS_A_CONNECTION])
            sockets.append(socket)
        await asyncio.gather(*(_count(socket, loop.time() + 1.0) for socket in sockets))
        began, cpu_s = loop.time(), _cpu_s(server)
        counts = await asyncio.gather(*(_count(socket, began + seconds) for socket in sockets))
        wall_s = loop.time() - began
        return sum(count for count, _ in counts), sum(size for _, size in counts), _cpu_s(server) - cpu_s, wall_s


async def _subscribe(socket: aiohttp.ClientWebSocketResponse, streams: list[str]) -> None:
    """Within the exchange's five messages a second."""
    for number, start in enumerate(range(0, len(streams), PARAMS_A_MESSAGE), 1):
        params = streams[start : start + PARAMS_A_MESSAGE]
        await socket.send_json({"method": "SUBSCRIBE", "params": params, "id": number})
        await asyncio.sleep(0.25)


async def _count(socket: aiohttp.ClientWebSocketResponse, until: float) -> tuple[int, int]:
    loop, count, size = asyncio.get_running_loop(), 0, 0
    while loop.time() < until:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"the stand-in ended the connection: {message}")
        count, size = count + 1, size + len(message.data)
    return count, size


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
