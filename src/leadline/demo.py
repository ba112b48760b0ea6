"""Try it without internet or account: the stand-in as a child process, the service with its doors, a line that says what is."""

import asyncio
import contextlib
import sys
from pathlib import Path

from leadline import app, serving
from leadline.config import load
from leadline.core.errors import Unreachable
from leadline.core.units import decimal_text
from leadline.serve.doors import Doors
from leadline.service.feed import Feed

STARTED = "standin listening on "
STOP_S = 5.0


async def run(
    stop: asyncio.Event, *, data: Path, symbols: str, seed: int, for_s: float | None, grpc_bind: str, http_bind: str
) -> None:
    """Until `stop` is set or for_s seconds have passed. Raises LeadlineError."""
    standin = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leadline", "standin", "--symbols", symbols, "--seed", str(seed), "--attached",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert standin.stdout is not None
        line = (await standin.stdout.readline()).decode()
        if not line.startswith(STARTED):
            raise Unreachable("the stand-in", "it did not start")
        url = line.removeprefix(STARTED).split()[0]
        flags = {
            "symbols": symbols,
            "store.path": str(data),
            "exchange.rest_url": url,
            "exchange.ws_url": url.replace("http", "ws", 1),
            "grpc.bind": grpc_bind,
            "http.bind": http_bind,
        }
        settings = load(flags, environ={}).settings
        _say(f"A synthetic market at {url} (not real prices); recording {symbols} to {data}. Ctrl-C ends it.\n")
        running: asyncio.Future[app.Service] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            status = tasks.create_task(_status(running, stop, for_s), name="status")
            try:
                await serving.serve(settings, stop, started=running.set_result, opened=_doors)
            finally:
                status.cancel()
        if running.done():
            recorder = running.result().recorder
            _say(f"\nStored {recorder.stored} snapshots in {data}. See them: leadline export --what snapshots --symbol "
                 f"{settings.symbols[0]} --data {data}\n")  # fmt: skip
    finally:
        with contextlib.suppress(ProcessLookupError):
            standin.terminate()
            try:
                await asyncio.wait_for(standin.wait(), STOP_S)
            except TimeoutError:
                standin.kill()
                await standin.wait()


def _doors(doors: Doors) -> None:
    _say(f"Ask it: http://127.0.0.1:{doors.http_port} (assistants: /mcp), gRPC 127.0.0.1:{doors.grpc_port}\n")


async def _status(running: "asyncio.Future[app.Service]", stop: asyncio.Event, for_s: float | None) -> None:
    """A live line, rewritten in place on a terminal, one a line otherwise."""
    service = await running
    loop = asyncio.get_running_loop()
    ends = None if for_s is None else loop.time() + for_s
    while not stop.is_set():
        wait_s = 1.0 if ends is None else min(1.0, max(0.0, ends - loop.time()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        parts = [_feed(feed) for feed in service.live.feeds.values()]
        line = " | ".join([*parts, f"{service.recorder.stored} stored", service.origin])
        _say(f"\r\x1b[2K{line}" if sys.stderr.isatty() else f"{line}\n")
        if ends is not None and loop.time() >= ends:
            stop.set()


def _feed(feed: Feed) -> str:
    view = feed.view(1)
    if view is None:
        return f"{feed.symbol} {feed.reason}"
    bid = decimal_text(view.bids[0][0]) if view.bids else "-"
    ask = decimal_text(view.asks[0][0]) if view.asks else "-"
    return f"{feed.symbol} {bid} / {ask} {view.state} #{view.update_id} {feed.fills} trades"


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
