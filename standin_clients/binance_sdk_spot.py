"""binance-sdk-spot, the exchange's own: streams and depth; it keeps no book, so follow.py does from what it parsed."""

import asyncio

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot import Spot
from binance_sdk_spot.websocket_streams.models import AggTradeResponse, BookTickerResponse, DiffBookDepthResponse

from standin_clients.follow import FollowedBook, Gap
from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("binance-sdk-spot", ("book", "ticker", "trade"))
LIMIT = 5000


class Depth:
    def __init__(self, client: Spot, symbol: str) -> None:
        self._client = client
        self._symbol = symbol
        self._book = FollowedBook()
        self._first = asyncio.Event()

    def event(self, m: DiffBookDepthResponse) -> None:
        try:
            if self._book.event(m.U, m.u, m.b, m.a):
                LINES.book(self._symbol, m.u, *self._book.sides())
        except Gap as gap:
            LINES.error(f"{self._symbol}: {gap}")
        self._first.set()

    async def keep(self) -> None:
        """A snapshot whenever the book has none."""
        await self._first.wait()
        while True:
            if self._book.update_id is None:
                answer = await asyncio.to_thread(self._client.rest_api.depth, symbol=self._symbol, limit=LIMIT)
                d = answer.data()
                LINES.snapshot(self._symbol, d.bids, d.asks, LIMIT)
                self._book.snapshot(d.last_update_id, d.bids, d.asks)
            await asyncio.sleep(0.2)


def on_trade(m: AggTradeResponse) -> None:
    LINES.trade("agg", m.s, m.a, m.p, m.q, m.T, m.m, first=m.f, last=m.l)


def on_ticker(m: BookTickerResponse) -> None:
    LINES.ticker(m.s, m.u, (m.b, m.B), (m.a, m.A))


async def follow(client: Spot) -> None:
    connection = await client.websocket_streams.create_connection()
    depths = {symbol: Depth(client, symbol) for symbol in ARGS.symbols}
    keeping = [asyncio.create_task(depth.keep(), name=symbol) for symbol, depth in depths.items()]
    for symbol, depth in depths.items():  # each call waits 0.5 s by itself
        (await connection.diff_book_depth(symbol=symbol.lower(), update_speed="100ms")).on("message", depth.event)
        (await connection.agg_trade(symbol=symbol.lower())).on("message", on_trade)
        (await connection.book_ticker(symbol=symbol.lower())).on("message", on_ticker)
    await asyncio.gather(*keeping)


async def main() -> None:
    LINES.listen("ConnectorLogger")
    client = Spot(
        config_rest_api=ConfigurationRestAPI(base_path=ARGS.rest),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=ARGS.ws),
    )
    try:
        async with asyncio.timeout(ARGS.seconds):
            await follow(client)
    except TimeoutError:
        leave()


asyncio.run(main())
