"""Same seed, same bytes: an hour of frames, made in one piece, in another process in small steps, and taken from a socket.

The digest is SHA-256 over time, stream and payload of every frame of BTCUSDT and ETHUSDT. Speeds 50 and 1 go through the real
server and a real WebSocket: what the client received is digested (without the times, which are not sent). A row is `met` when its
digest is that of the frames made in one piece.
"""

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator

import aiohttp
import msgspec

from bench.rows import Row
from leadline.standin.limits import Limits
from leadline.standin.market import DEFAULT_SYMBOLS, SyntheticMarket
from leadline.standin.server import StandIn
from leadline.standin.source import Frame

SECOND_NS = 10**9
START_MS = 1_767_225_600_000
SEED = 7
KINDS = ("depth@100ms", "bookTicker", "trade", "aggTrade")
STREAMS = [f"{symbol.lower()}@{kind}" for symbol in DEFAULT_SYMBOLS for kind in KINDS]


def run(quick: bool) -> list[Row]:
    """An hour free-running and at speed 50, its first minute at speed 1; --quick: seconds."""
    hour, minute = (6, 2) if quick else (3600, 60)
    market = SyntheticMarket(SEED, start_ms=START_MS)
    began = time.perf_counter()
    whole = digest(_frames(market, hour, step_ns=SECOND_NS))
    took_s = time.perf_counter() - began
    command = [sys.executable, "-c", f"from bench import determinism as d; print(d.in_small_steps({hour}))"]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    rows = [
        Row("free-running: times real time, both symbols in one process", hour / took_s, "x"),
        _same("another process, steps of 37 ms", hour, whole == other),
    ]
    for speed, seconds in ((50.0, hour), (1.0, minute)):
        expected = list(_payloads(SyntheticMarket(SEED, start_ms=START_MS), seconds))
        received = asyncio.run(_served(speed, len(expected), seconds))
        rows.append(_same(f"through a socket at speed {speed:g}", seconds, received == _digest_of(expected)))
    return rows


def _same(figure: str, seconds: int, same: bool) -> Row:
    return Row(f"{figure}: seconds compared", float(seconds), "s", bar="equal digests", met=same)


def in_small_steps(seconds: int) -> str:
    """The digest, in steps that are no round number of anything."""
    return digest(_frames(SyntheticMarket(SEED, start_ms=START_MS), seconds, step_ns=37_000_000))


def digest(frames: Iterator[Frame]) -> str:
    """Over all that a frame is."""
    state = hashlib.sha256()
    for frame in frames:
        state.update(b"%d %b %b\n" % (frame.at_ns, frame.stream.encode(), frame.payload))
    return state.hexdigest()


def _frames(market: SyntheticMarket, seconds: int, *, step_ns: int) -> Iterator[Frame]:
    end_ns = market.start_ns + seconds * SECOND_NS
    until_ns = market.start_ns
    while until_ns < end_ns:
        until_ns = min(until_ns + step_ns, end_ns)
        yield from market.advance(until_ns)


def _payloads(market: SyntheticMarket, seconds: int) -> Iterator[tuple[str, bytes]]:
    return ((frame.stream, frame.payload) for frame in _frames(market, seconds, step_ns=SECOND_NS))


def _digest_of(messages: list[tuple[str, bytes]]) -> str:
    state = hashlib.sha256()
    for stream, payload in messages:
        state.update(b"%b %b\n" % (stream.encode(), payload))
    return state.hexdigest()


class _Wrapped(msgspec.Struct):
    stream: str
    data: msgspec.Raw


async def _served(speed: float, count: int, seconds: int) -> str:
    """The digest of the first `count` messages that a client gets. Playback begins when it has subscribed."""
    decode = msgspec.json.Decoder(_Wrapped).decode
    state = hashlib.sha256()
    source = SyntheticMarket(SEED, start_ms=START_MS)
    async with asyncio.timeout(120 + 3 * seconds / speed), StandIn(source, speed=speed, paused=True, limits=Limits()) as standin:
        url = f"{standin.ws_url}/stream?streams={'/'.join(STREAMS)}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            await standin.until(lambda s: s.clients == 1)
            standin.resume()
            for _ in range(count):
                message = decode(await socket.receive_str())
                state.update(b"%b %b\n" % (message.stream.encode(), bytes(message.data)))
    return state.hexdigest()
