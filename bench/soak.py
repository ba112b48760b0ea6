"""What many calls and streams leave behind in a service: nothing, and how that is known.

A service records two symbols of the stand-in in this process, with every door open; another process (soak_clients.py) asks it by
all of them, gives up calls at any moment, cancels streams and leaves some unread. Afterwards there must be the same tasks as
before, the same objects of each kind that belongs to a door, no reader, no call under way, no connection; and the second
half of the calls must not have taken more memory than what recording takes.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from msgspec import Struct
from msgspec.structs import astuple

from bench.rows import Row
from bench.service import exchange, service
from leadline import serving
from leadline.config import load
from leadline.serve.doors import Doors
from leadline.serve.mcp_cues import Cues

SETTLE_S = 20.0  # a connection that was cut off is noticed by then
STARTED_S = 60.0
GROWTH_MB = 8.0  # of the second half, beyond recording; a leaked answer of 20 kB a call would be 100
OURS = ("grpc", "mcp", "starlette", "sse_starlette", "uvicorn", "anyio", "asyncio", "leadline.serve")
OTHERS = ("asyncio.events", "asyncio.selector_events", "asyncio.trsock")  # recording has timers and sockets of its own
KEPT = Counter({"grpc._cython.cygrpc.RPCState": 20})  # whoever waits for calls of a method holds the last one
FLOWING = (types.CoroutineType, types.AsyncGeneratorType, types.GeneratorType, types.FrameType)


class State(Struct, frozen=True):
    """What there is at a moment without calls."""

    tasks: Counter[str]
    objects: Counter[str]
    readers: int
    under_way: int
    listeners: int
    connections: int


class Soaked(Struct, frozen=True):
    """left: what there was more of at the end than before, by what it is; empty: nothing. rss: bytes after each phase,
    and those of the service that nobody asks.

    told: what the clients say came of their calls. errors: what the service logged as such.
    """

    left: dict[str, Counter[str]]
    rss: list[tuple[int, int]]
    seconds: list[float]
    told: Counter[str]
    errors: list[str]


def run(quick: bool) -> list[Row]:
    """--quick: a hundredth of it."""
    calls, streams = (100, 20) if quick else (10_000, 1_000)
    found = asyncio.run(soak(calls, streams))
    ways: Counter[str] = Counter()
    for told, count in found.told.items():
        ways["unread" if "unread" in told else "given up" if "given up" in told or "cancelled" in told else "answered"] += count
    total = float(sum(ways.values()))
    asked_mb, quiet_mb = (max(0.01, (found.rss[2][n] - found.rss[1][n]) / 2**20) for n in (0, 1))
    left, errors = (f": {str(one)[:200]}" if one else "" for one in (found.left, found.errors))
    rows = [
        Row(
            f"calls and streams, {ways['given up']:,} given up, {ways['unread']} not read{left}",
            total,
            "calls",
            bar="no task, object, reader or connection left",
            met=not left,
        ),
        Row(f"the same{errors}", total, "calls", bar="no error logged", met=not errors),
        Row("the same a second, beside their clients", total / sum(found.seconds[1:]), "1/s"),
    ]
    if quick:
        return rows
    figure, bar = "resident set: more after the second half than before it", f"< {GROWTH_MB:g} MB beyond recording"
    return [*rows, Row(figure, asked_mb, "MB", "nobody asks", quiet_mb, bar, asked_mb - quiet_mb < GROWTH_MB)]


async def soak(calls: int, streams: int, *, seed: int = 7) -> Soaked:
    """Half of it as a warm-up, which fills what has a bound (the last 600 changes of each view that is read), then the whole."""
    with (
        tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder,
        exchange("BTCUSDT,ETHUSDT") as (url, names),
        service(url, names) as quiet,
        _errors() as errors,
    ):
        async with _service(url, names, Path(folder)) as doors, _clients(doors, seed) as ask:
            told, rss, seconds = Counter[str](), [], []
            before: State | None = None
            for part_calls, part_streams in 3 * [(calls // 2, streams // 2)]:
                begun = time.monotonic()
                found = await ask(part_calls, part_streams)
                seconds.append(time.monotonic() - begun)
                if before is None:
                    before = await _settled(doors)
                else:
                    told += found
                    after = await _settled(doors, before)
                rss.append((_rss(), int(psutil.Process(quiet.pid).memory_info().rss)))
            left = _more(before, after)
    return Soaked(left, rss, seconds, told, errors)


# What there is ---------------------------------------------------------------------------


async def _settled(doors: Doors, before: State | None = None) -> State:
    """As soon as there is no more than before, or what there is after SETTLE_S. Without: the least of three looks."""
    give_up = time.monotonic() + SETTLE_S
    await asyncio.sleep(0.5)
    state = _state(doors)
    if before is None:
        for _ in range(2):
            await asyncio.sleep(0.5)
            state = _least(state, _state(doors))
        return state
    while _more(before, state) and time.monotonic() < give_up:
        await asyncio.sleep(0.5)
        state = _state(doors)
    return state


def _least(one: State, other: State) -> State:
    return State(*(a & b if isinstance(a, Counter) else min(a, b) for a, b in zip(astuple(one), astuple(other), strict=True)))


def _state(doors: Doors) -> State:
    gc.collect()
    objects: Counter[str] = Counter()
    listeners = 0
    for one in gc.get_objects():
        kind = type(one)
        if isinstance(one, FLOWING):
            if isinstance(one, types.CoroutineType | types.AsyncGeneratorType):
                objects[one.__qualname__] += 1
            continue
        module = getattr(kind, "__module__", None)
        if isinstance(module, str) and module.startswith(OURS) and not module.startswith(OTHERS):
            objects[f"{module}.{kind.__qualname__}"] += 1
        if kind is Cues:
            listeners += one.listeners
    own = asyncio.current_task()
    tasks = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks() if task is not own)  # type: ignore[union-attr]
    under_way = sum(doors.dispatcher.under_way.values())
    ports = {doors.grpc_port, doors.http_port}
    connections = sum(one.laddr.port in ports and bool(one.raddr) for one in psutil.Process().net_connections("tcp"))
    return State(tasks, objects, doors.hub.readers, under_way, listeners, connections)


def _more(before: State, after: State) -> dict[str, Counter[str]]:
    numbers = ("readers", "under_way", "listeners", "connections")
    found = {
        "tasks": after.tasks - before.tasks,
        "objects": after.objects - before.objects - KEPT,
        "numbers": Counter({name: max(0, getattr(after, name) - getattr(before, name)) for name in numbers}) + Counter(),
    }
    return {what: more for what, more in found.items() if more}


def _rss() -> int:
    """Without what only waits to be given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


# Who takes part --------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _service(url: str, names: Any, folder: Path) -> AsyncIterator[Doors]:
    flags = {
        "symbols": list(names),
        "store.path": str(folder / "store"),
        "exchange.rest_url": url,
        "exchange.ws_url": url.replace("http", "ws", 1),
        "grpc.bind": "127.0.0.1:0",
        "http.bind": "127.0.0.1:0",
    }
    stop, opened = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.serve(load(flags, environ={}).settings, stop, opened=opened.set_result))
        doors = await opened
        async with asyncio.timeout(STARTED_S):
            while not doors.ready:  # noqa: ASYNC110 (that the books are there sets no event of ours)
                await asyncio.sleep(0.1)
        try:
            yield doors
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def _clients(doors: Doors, seed: int) -> AsyncIterator[Any]:
    """They end with their standard input."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.soak_clients", str(doors.grpc_port), str(doors.http_port), str(seed), stdin=pipe, stdout=pipe
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None

    async def ask(calls: int, streams: int) -> Counter[str]:
        stdin.write(f"{calls} {streams}\n".encode())
        line = await stdout.readline()
        if not line:
            raise ChildProcessError(f"the clients ended with {await process.wait()}")
        return Counter(json.loads(line))

    try:
        yield ask
    finally:
        stdin.close()
        await process.wait()


@contextlib.contextmanager
def _errors() -> Any:
    """Every record of level ERROR or with a traceback, and what asyncio says of tasks that nobody asked."""
    found: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR or record.exc_info:
                found.append(f"{record.name}: {record.getMessage()[:200]} {record.exc_info and record.exc_info[1]!r}")

    handler = Noting()
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)
