"""python-binance: DepthCacheManager, trade and book ticker sockets; addresses by subclass, as its own class attributes."""

import asyncio
from decimal import Decimal
from typing import Any

from binance import AsyncClient, BinanceSocketManager, DepthCacheManager

from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("python-binance", ("book", "ticker", "trade"))
LIMIT = 5000  # of the snapshot: the manager's own 500 levels are soon left behind
QUEUE = 20_000  # messages; the default of 100 overflows at one large taker order, and the manager then never reads again


class Client(AsyncClient):
    API_URL = f"{ARGS.rest}/api"

    async def get_order_book(self, **params: Any) -> dict[str, Any]:
        book = await super().get_order_book(**params)
        LINES.snapshot(params["symbol"], book["bids"], book["asks"], params["limit"])
        return book


class Sockets(BinanceSocketManager):
    STREAM_URL = f"{ARGS.ws}/"


class Depth(DepthCacheManager):
    """Says when its book is at its id.

    It is not always: at a gap it fetches a snapshot, and then still applies the event that it held, which is older, and takes
    that event's id. It is right again with the first event that ends behind the snapshot, because events are applied whole.
    """

    snapshot_id = 0

    async def _init_cache(self) -> None:
        await super()._init_cache()
        self.snapshot_id = self._last_update_id

    @property
    def book_id(self) -> int | None:
        return self._last_update_id if self._last_update_id and self._last_update_id >= self.snapshot_id else None


async def books(client: Client, sockets: Sockets, symbol: str) -> None:
    async with Depth(client, symbol=symbol, bm=sockets, limit=LIMIT, conv_type=Decimal, ws_interval=100) as manager:
        while True:
            cache = await manager.recv()
            if isinstance(cache, dict):
                raise RuntimeError(f"{symbol} depth: {cache}")
            if manager.book_id:
                LINES.book(symbol, manager.book_id, cache.get_bids(), cache.get_asks())


async def trades(sockets: Sockets, symbol: str) -> None:
    async with sockets.trade_socket(symbol) as stream:
        while True:
            m = await stream.recv()
            if m.get("e") == "error":
                raise RuntimeError(f"{symbol} trade: {m}")
            LINES.trade("trade", symbol, m["t"], m["p"], m["q"], m["T"], m["m"])


async def tickers(sockets: Sockets) -> None:
    async with sockets.multiplex_socket([f"{symbol.lower()}@bookTicker" for symbol in ARGS.symbols]) as stream:
        while True:
            m = (await stream.recv())["data"]
            LINES.ticker(m["s"], m["u"], (m["b"], m["B"]), (m["a"], m["A"]))


async def main() -> None:
    LINES.listen("binance")
    client = await Client.create()
    sockets = Sockets(client, max_queue_size=QUEUE)
    jobs = [books(client, sockets, symbol) for symbol in ARGS.symbols]
    jobs += [trades(sockets, symbol) for symbol in ARGS.symbols]
    try:
        async with asyncio.timeout(ARGS.seconds):
            await asyncio.gather(*jobs, tickers(sockets))
    except TimeoutError:
        leave()


asyncio.run(main())
