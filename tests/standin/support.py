"""What the tests of the stand-in share: captures, a second reader of them, a reference book, clients of other libraries.

Nothing here uses the stand-in's own decoding or book: a common bug would be invisible.
"""

import asyncio
import gzip
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets

from leadline.standin.replay import Recording
from leadline.standin.server import StandIn

CAPTURES = Path(os.environ.get("LEADLINE_CAPTURES") or Path(__file__).parents[2] / "../shared/captures").resolve()
SAFETY_NET_S = 30

BTC, ETH = "spot/btcusdt_20240808.gz", "spot/ethusdt_20240808.gz"


def captured(*names: str) -> list[Path]:
    """The paths of captures; skips the test where they are not."""
    paths = [CAPTURES / name for name in names]
    for path in paths:
        if not path.exists():
            pytest.skip(f"no capture {path.name}: set LEADLINE_CAPTURES to the folder of the recordings")
    return paths


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SAFETY_NET_S):
            await test

    asyncio.run(bounded())


def hft_lines(path: Path) -> list[tuple[int, bytes]]:
    """(local ns, JSON) of each line, by nothing but the first space."""
    with gzip.open(path) as file:
        return [(int(stamp), body.rstrip(b"\n")) for stamp, _, body in (line.partition(b" ") for line in file)]


class ReferenceBook:
    """A book as docs/exchange.md says, in Decimals."""

    def __init__(self, snapshot: dict) -> None:
        self.id = snapshot["lastUpdateId"]
        self.bids = {Decimal(p): Decimal(q) for p, q in snapshot["bids"]}
        self.asks = {Decimal(p): Decimal(q) for p, q in snapshot["asks"]}
        self.low, self.high = min(self.bids), max(self.asks)

    def update(self, event: dict) -> None:
        if event["u"] <= self.id:
            return
        assert event["U"] <= self.id + 1, f"gap: {event['U']} after {self.id}"
        for side, levels in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in levels:
                if Decimal(quantity) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(quantity)
        self.id = event["u"]
        assert max(self.bids) < min(self.asks), f"crossed at {self.id}"

    def best(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]

    def within(self, low: Decimal, high: Decimal) -> tuple[dict, dict]:
        return {p: q for p, q in self.bids.items() if p >= low}, {p: q for p, q in self.asks.items() if p <= high}


def decimals(side: dict[str, str]) -> dict[Decimal, Decimal]:
    return {Decimal(p): Decimal(q) for p, q in side.items()}


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _fetch(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=SAFETY_NET_S) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


async def get(standin: StandIn, path: str, **query: object) -> Answer:
    url = f"{standin.http_url}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
    return await asyncio.to_thread(_fetch, urllib.request.Request(url))


async def post(standin: StandIn, verb: str, **body: object) -> Answer:
    data = json.dumps(body).encode()
    return await asyncio.to_thread(
        _fetch, urllib.request.Request(f"{standin.http_url}/_standin/{verb}", data=data, method="POST")
    )


def connect(standin: StandIn, path: str = "/stream", **options: Any) -> websockets.connect:
    return websockets.connect(standin.ws_url + path, max_queue=None, ping_interval=None, **options)


async def ask(socket: Any, **message: object) -> Any:
    """Send a control message and read up to its reply."""
    await socket.send(json.dumps(message, ensure_ascii=False))
    while True:
        reply = json.loads(await socket.recv())
        if "stream" not in reply and "e" not in reply:
            return reply


async def rest_of(socket: Any) -> list[bytes]:
    """Every message until the connection ends."""
    messages = []
    try:
        while True:
            messages.append(await socket.recv(decode=False))
    except websockets.ConnectionClosed:
        return messages


def depth(symbol: str, first: int, last: int, bids: list, asks: list) -> bytes:
    data = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}
    return _combined(f"{symbol.lower()}@depth@100ms", data)


def trade(symbol: str, number: int, price: str, quantity: str, at_ms: int, *, sold: bool) -> bytes:
    data = {"e": "trade", "E": at_ms, "s": symbol, "t": number, "p": price, "q": quantity, "T": at_ms, "m": sold, "M": True}
    return _combined(f"{symbol.lower()}@trade", data)


def _combined(stream: str, data: dict) -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"), ensure_ascii=False).encode()


def snapshot(update_id: int, bids: list, asks: list) -> bytes:
    return json.dumps({"lastUpdateId": update_id, "bids": bids, "asks": asks}, separators=(",", ":")).encode()


def write(path: Path, *bodies: bytes, start_ns: int = 1_700_000_000_000_000_000, step_ns: int = 50_000_000) -> Path:
    """A recording: one line every 50 ms."""
    path.write_bytes(b"".join(b"%d %b\n" % (start_ns + n * step_ns, body) for n, body in enumerate(bodies)))
    return path


SMALL_BODY = snapshot(102, [["10.00", "1.0"], ["9.00", "2.0"]], [["11.00", "1.0"], ["12.00", "5.0"]])


def small(folder: Path, symbol: str = "AAAUSDT") -> Path:
    """Six frames and a snapshot inside the second one: ids 100, 101..104, 105, 106..109, 110..111, 112."""
    return write(
        folder / f"{symbol.lower()}.txt",
        depth(symbol, 100, 100, [["8.00", "1.0"]], []),
        depth(symbol, 101, 104, [["10.00", "3.0"], ["9.00", "0.0"]], [["11.00", "1.5"]]),
        SMALL_BODY,
        depth(symbol, 105, 105, [], [["11.50", "4.0"]]),
        depth(symbol, 106, 109, [["10.50", "1.0"], ["10.00", "0.0"]], [["11.00", "0.0"], ["11.50", "2.0"]]),
        depth(symbol, 110, 111, [["10.50", "0.0"], ["10.25", "6.0"]], []),
        depth(symbol, 112, 112, [], [["11.25", "7.0"]]),
    )


def played_to_end(recording: Recording) -> list:
    """Every frame of the recording, gates passed."""
    frames = []
    while recording.next_ns() is not None:
        frames += recording.advance(1 << 62)
        if recording.gate():
            recording.pass_gate()
    return frames
