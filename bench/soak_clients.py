"""Clients of every door in a process of their own: `python -m bench.soak_clients GRPC_PORT HTTP_PORT SEED`.

For each line `CALLS STREAMS` on stdin: so many calls, of which some are given up at any moment of their life, and so many
streams, of which some are never read; then every connection is closed, some in the middle, and a JSON object says what came.
HTTP comes from many loopback addresses, as a client has 50 requests a second.
"""

import abc
import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import grpc
import psutil

from leadline.serve.proto import market_data_pb2 as book
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.serve.proto.provider_pb2_grpc import ProviderStub

SYMBOLS = ("BTCUSDT", "ETHUSDT")
AT_ONCE = 24
GIVEN_UP = 0.25  # of the calls
UNREAD = 0.1  # of the streams
HOLD_S = 1.5  # an unread stream is left open so long
ADDRESSES = 30
MCP_OLD, MCP_NEW = "2025-06-18", "2026-07-28"
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 2**16))
TOOLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("orderbook_l1", {}),
    ("orderbook_l2", {"levels": 100}),
    ("get_orderbook", {"limit": 1000}),
    ("orderbook_health", {}),
    ("get_order_flow", {}),
    ("get_volume_profile", {}),
    ("detect_market_anomalies", {}),
    ("get_microstructure_health", {}),
    ("get_liquidity_vacuums", {}),
    ("estimate_market_impact", {}),
    ("generate_market_report", {}),
    ("get_coverage", {}),
    ("get_incidents", {}),
    ("get_ticker", {}),
    ("orderbook_l2", {"levels": -1}),
    ("no_such_tool", {}),
)
Ask = Callable[[str, dict[str, Any]], Awaitable[str]]


class Clients:
    def __init__(self, grpc_port: int, http_port: int, seed: int) -> None:
        self._rng = random.Random(seed)
        self._target = f"127.0.0.1:{grpc_port}"
        self._port = http_port
        self._base = f"http://127.0.0.1:{http_port}"
        self.told: Counter[str] = Counter()
        self._channels: list[Any] = []
        self._sessions: list[aiohttp.ClientSession] = []
        self._sse: list[Sse] = []
        self._stdio: Stdio | None = None
        self._doors: list[tuple[str, Ask]] = [
            ("http", self._http),
            ("grpc", self._invoke),
            ("typed", self._typed),
            ("mcp", self._mcp_old),
            ("mcp", self._mcp_new),
            ("sse", self._of_sse),
            ("stdio", self._of_stdio),
            ("resource", self._resource),
        ]
        self._streams: list[tuple[str, Callable[[bool], Awaitable[None]]]] = [
            ("StreamBook", self._books),
            ("StreamTrades", self._trades),
            ("Stream", self._topic),
            ("listen", self._listen),
            ("sse", self._short_sse),
        ]

    async def phase(self, calls: int, streams: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(self._target, options=SMALL_WINDOW)) for _ in range(4)
            ]
            self._sessions = [await stack.enter_async_context(_session(n)) for n in range(ADDRESSES)]
            self._sse = [await stack.enter_async_context(Sse.open(self._session(), self._base)) for _ in range(4)]
            self._stdio = await stack.enter_async_context(Stdio.open("--url", self._base))
            gate = asyncio.Semaphore(AT_ONCE)
            kinds = [self._call] * calls + [self._stream] * streams
            self._rng.shuffle(kinds)
            await asyncio.gather(*(self._through(gate, kind) for kind in kinds), self._unread_answers(streams // 20))

    async def _through(self, gate: asyncio.Semaphore, kind: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await kind()

    # Calls

    async def _call(self) -> None:
        door, ask = self._rng.choice(self._doors)
        name, arguments = self._rng.choice(TOOLS)
        if name not in {"orderbook_health", "get_incidents"}:
            arguments = {**arguments, "symbol": self._rng.choice(SYMBOLS)}
        await self._perhaps_given_up(door, ask(name, arguments))

    async def _perhaps_given_up(self, door: str, asked: Awaitable[str]) -> None:
        given_up_s = self._rng.choice((0.0, 0.0005, 0.002, 0.01, 0.05)) if self._rng.random() < GIVEN_UP else 60.0
        try:
            async with asyncio.timeout(given_up_s):
                outcome = await asked
        except TimeoutError:
            outcome = "given up" if given_up_s < 60 else "NO ANSWER"
        except (aiohttp.ClientError, OSError) as error:
            outcome = type(error).__name__
        self.told[f"{door}: {outcome}"] += 1

    async def _http(self, name: str, arguments: dict[str, Any]) -> str:
        async with self._session().post(f"{self._base}/api/tools/{name}", json=arguments) as answer:
            told = await answer.json()
            return told.get("error", "ok")

    async def _invoke(self, name: str, arguments: dict[str, Any]) -> str:
        payload = pb.Json(value=json.dumps(arguments).encode())
        stub = ProviderStub(self._rng.choice(self._channels))
        return await _status(stub.Invoke(pb.InvokeRequest(tool_name=name, payload=payload)))

    async def _typed(self, _: str, arguments: dict[str, Any]) -> str:
        stub, symbol = MarketDataStub(self._rng.choice(self._channels)), arguments.get("symbol", SYMBOLS[0])
        now = int(time.time())
        asked = book.RangeRequest(symbol=symbol, from_s=now - 60, to_s=now)
        if self._rng.random() < 0.2:

            async def scanned() -> None:
                async for _ in stub.ScanSeconds(asked):
                    pass

            return await _status(scanned())
        return await _status(
            self._rng.choice(
                (
                    lambda: stub.GetBook(book.BookRequest(symbol=symbol, depth=1000)),
                    lambda: stub.GetSnapshots(asked),
                    lambda: stub.GetTrades(asked),
                    lambda: stub.GetCoverage(asked),
                )
            )()
        )

    async def _resource(self, _: str, arguments: dict[str, Any]) -> str:
        uri = f"market://{arguments.get('symbol', SYMBOLS[0])}/{self._rng.choice(('book', 'metrics', 'report', 'coverage'))}"
        if self._rng.random() < 0.5:
            stub = ProviderStub(self._rng.choice(self._channels))
            return await _status(stub.ReadResource(pb.ResourceRequest(uri=uri)))
        return await self._mcp(MCP_OLD, "resources/read", {"uri": uri})

    async def _mcp_old(self, name: str, arguments: dict[str, Any]) -> str:
        return await self._mcp(MCP_OLD, "tools/call", _called(name, arguments))

    async def _mcp_new(self, name: str, arguments: dict[str, Any]) -> str:
        return await self._mcp(MCP_NEW, "tools/call", _called(name, arguments))

    async def _mcp(self, revision: str, method: str, params: dict[str, Any]) -> str:
        asked = self._session().post(
            f"{self._base}/mcp", json=message(revision, method, params), headers=headers(revision, method, params)
        )
        async with asked as answer:
            body = await answer.text()
            if answer.content_type == "text/event-stream":
                body = next(line for line in reversed(body.splitlines()) if line.startswith("data: {"))[6:]
            return _outcome(json.loads(body))

    async def _of_sse(self, name: str, arguments: dict[str, Any]) -> str:
        return await self._rng.choice(self._sse).ask("tools/call", _called(name, arguments))

    async def _of_stdio(self, name: str, arguments: dict[str, Any]) -> str:
        assert self._stdio is not None
        return await self._stdio.ask("tools/call", _called(name, arguments))

    # Streams

    async def _stream(self) -> None:
        kind, read = self._rng.choice(self._streams)
        unread = self._rng.random() < UNREAD
        try:
            async with asyncio.timeout(HOLD_S if unread else self._rng.choice((0.0, 0.001, 0.01, 0.3))):
                await read(unread)
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass
        self.told[f"stream {kind}: {'unread' if unread else 'cancelled'}"] += 1

    async def _books(self, unread: bool) -> None:
        asked = book.StreamBookRequest(symbols=SYMBOLS, depth=self._rng.choice((5, 20, 100, 1000)), policy=self._rng.randrange(3))
        await self._read(MarketDataStub(self._rng.choice(self._channels)).StreamBook(asked), unread)

    async def _trades(self, unread: bool) -> None:
        asked = book.StreamTradesRequest(symbols=SYMBOLS, policy=self._rng.randrange(3))
        await self._read(MarketDataStub(self._rng.choice(self._channels)).StreamTrades(asked), unread)

    async def _topic(self, unread: bool) -> None:
        topic = self._rng.choice(("book.BTCUSDT", "seconds.ETHUSDT", "trades.BTCUSDT", "incidents"))
        await self._read(ProviderStub(self._rng.choice(self._channels)).Stream(pb.StreamRequest(topic=topic)), unread)

    async def _read(self, call: Any, unread: bool) -> None:
        try:
            if unread:
                await asyncio.sleep(HOLD_S)
            for _ in range(self._rng.randrange(6)):
                await call.read()
        finally:
            call.cancel()

    async def _listen(self, unread: bool) -> None:
        wanted = [f"market://{symbol}/{name}" for symbol in SYMBOLS for name in ("book", "metrics")]
        params = {"notifications": {"resourceSubscriptions": wanted}}
        body, named = message(MCP_NEW, "subscriptions/listen", params), headers(MCP_NEW, "subscriptions/listen", params)
        async with self._session().post(f"{self._base}/mcp", json=body, headers=named) as answer:
            if unread:
                await asyncio.sleep(HOLD_S)
            async for _ in answer.content:
                pass

    async def _short_sse(self, unread: bool) -> None:
        """Dropped with questions under way."""
        async with Sse.open(self._session(), self._base, read=not unread) as one:
            asked = [
                asyncio.ensure_future(one.ask("tools/call", _called("orderbook_l2", {"symbol": "BTCUSDT"}))) for _ in range(4)
            ]
            try:
                await asyncio.gather(*asked)
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _unread_answers(self, count: int) -> None:
        """Plain sockets with the smallest window: more is asked for than they take, nothing is read, then they are cut off."""
        loop = asyncio.get_running_loop()
        sockets = []
        for n in range(count):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setblocking(False)
            raw.bind((f"127.0.1.{n % ADDRESSES + 1}", 0))
            await loop.sock_connect(raw, ("127.0.0.1", self._port))
            await loop.sock_sendall(raw, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
            sockets.append(raw)
            self.told["answers unread"] += 1
        await asyncio.sleep(HOLD_S)
        for raw in sockets:
            raw.close()

    def _session(self) -> aiohttp.ClientSession:
        return self._rng.choice(self._sessions)


# MCP ---------------------------------------------------------------------------------


class Asker(abc.ABC):
    """Numbers questions, and hands their answers out. A question that is given up is cancelled as the protocol says."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @abc.abstractmethod
    async def send(self, what: dict[str, Any]) -> None:
        """One message, the way that the transport has."""

    async def ask(self, method: str, params: dict[str, Any]) -> str:
        self._number += 1
        number = self._number
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            return _outcome(await self._waiting[number])
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, aiohttp.ClientError, RuntimeError):
                await self.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
            raise
        finally:
            self._waiting.pop(number, None)

    async def hello(self) -> None:
        await self.ask(
            "initialize", {"protocolVersion": MCP_OLD, "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}
        )
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def hear(self, line: bytes) -> None:
        told = json.loads(line)
        waiting = self._waiting.get(told.get("id"))
        if waiting is not None and not waiting.done():
            waiting.set_result(told)


class Sse(Asker):
    def __init__(self, session: aiohttp.ClientSession, base: str, stream: aiohttp.ClientResponse) -> None:
        super().__init__()
        self._session, self._base, self._stream = session, base, stream
        self.path = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, session: aiohttp.ClientSession, base: str, *, read: bool = True) -> AsyncIterator["Sse"]:
        """read: otherwise nothing more is, once they have greeted each other."""
        async with session.get(f"{base}/sse", timeout=aiohttp.ClientTimeout(total=None)) as stream:
            one = cls(session, base, stream)
            while not one.path:
                line = await stream.content.readline()
                if not line:
                    raise ConnectionError("the stream ended")
                if line.startswith(b"data: "):
                    one.path = line[6:].strip().decode()
            reading = asyncio.ensure_future(one._listen())
            try:
                await one.hello()
                if not read:
                    reading.cancel()
                yield one
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def send(self, what: dict[str, Any]) -> None:
        async with self._session.post(f"{self._base}{self.path}", json=what) as answer:
            await answer.read()
            if answer.status == 404:
                raise ConnectionError("the stream has ended")

    async def _listen(self) -> None:
        async for line in self._stream.content:
            if line.startswith(b"data: {"):
                self.hear(line[6:])


class Stdio(Asker):
    """An assistant with `leadline mcp` as its child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *words: str) -> AsyncIterator["Stdio"]:
        """words: of `leadline mcp`."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "leadline", "mcp", *words, stdin=pipe, stdout=pipe, limit=2**20
        )
        one = cls(process)
        assert process.stdin is not None
        reading = asyncio.ensure_future(one._listen())
        try:
            await one.hello()
            yield one
        finally:
            process.stdin.close()
            if await process.wait():
                raise ChildProcessError(f"leadline mcp ended with {process.returncode}")
            await reading

    @property
    def rss(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    async def send(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._process.stdin.drain()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.hear(line)


def message(revision: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """One request that stands alone."""
    if revision == MCP_NEW:
        named = {"protocolVersion": revision, "clientInfo": {"name": "soak", "version": "1"}, "clientCapabilities": {}}
        params = {**params, "_meta": {f"io.modelcontextprotocol/{name}": value for name, value in named.items()}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def headers(revision: str, method: str, params: dict[str, Any]) -> dict[str, str]:
    found = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": revision}
    if revision == MCP_NEW:
        found |= {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
    return found


def _called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def _outcome(told: dict[str, Any]) -> str:
    """The class of what came."""
    if "error" in told:
        return (told["error"].get("data") or {}).get("error", str(told["error"]))
    if told["result"].get("isError"):
        return told["result"]["_meta"]["leadline/failure"]["error"]
    return "ok"


async def _status(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        said = dict(error.trailing_metadata() or {}).get("leadline-error-bin")
        return json.loads(said)["error"] if said else error.code().name
    return "ok"


def _session(n: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{n + 2}", 0), limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))


async def main(grpc_port: int, http_port: int, seed: int) -> None:
    clients = Clients(grpc_port, http_port, seed)
    while line := await asyncio.to_thread(sys.stdin.readline):
        calls, streams = map(int, line.split())
        clients.told.clear()
        await clients.phase(calls, streams)
        print(json.dumps(clients.told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
