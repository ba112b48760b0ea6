"""What exchangeInfo says while we run: symbols that stop trading, grids that change, answers that do not come. The REST client
is the real one, against a server on loopback."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs
from tests.exchange.servers import FakeRestServer, json_answer
from tests.fakes import settle
from tests.service.test_live import BTC, ETH, House, answers, told

from leadline.core.errors import StoreFull
from leadline.core.records import BookState, SymbolRules
from leadline.exchange.binance.limits import Priority, WeightBudget
from leadline.exchange.binance.rest import BinanceRest
from leadline.service.listing import INTERVAL_S, NOT_LISTED, Listing, renewed

E8 = 10**8
RULES = SymbolRules(BTC, "TRADING", "BTC", "USDT", E8 // 100, E8 // 10**5, since_s=7)


class Exchange:
    """Answers exchangeInfo as the test says: statuses by symbol (None: not listed), one grid for all."""

    def __init__(self) -> None:
        self.status: dict[str, str | None] = {BTC: "TRADING", ETH: "TRADING"}
        self.tick, self.weight_limit, self.broken = "0.01000000", 6000, False

    def __call__(self, request: web.Request) -> web.Response:
        if self.broken:
            return json_answer('{"code":-1000,"msg":"unknown"}', 500)
        wanted = json.loads(request.query.get("symbols", "null"))
        listed = {symbol: status for symbol, status in self.status.items() if status is not None}
        if wanted is not None and not set(wanted) <= listed.keys():
            return json_answer('{"code":-1121,"msg":"Invalid symbol."}', 400)
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.weight_limit}
        rows = [self._row(symbol, status) for symbol, status in listed.items() if wanted is None or symbol in wanted]
        return json_answer(json.dumps({"serverTime": 1_723_161_300_000, "rateLimits": [limit], "symbols": rows}))

    def _row(self, symbol: str, status: str) -> dict[str, Any]:
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": self.tick},
            {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
        ]
        return {"symbol": symbol, "status": status, "baseAsset": symbol[:3], "quoteAsset": "USDT", "filters": filters}


class Asked:
    """The port of the service over the real REST client; `answered` counts what came back, good or bad."""

    def __init__(self, rest: BinanceRest) -> None:
        self._rest = rest
        self.answered = 0

    async def rules(self, symbols: Any) -> dict[str, SymbolRules]:
        try:
            return await self._rest.rules(symbols, Priority.LISTING)
        finally:
            self.answered += 1


class Desk:
    """A house whose listing asks a server."""

    def __init__(self, house: House, listing: Listing, asked: Asked, server: FakeRestServer, rest: BinanceRest) -> None:
        self.house, self.listing, self.asked, self.server, self.rest = house, listing, asked, server, rest
        self.refuses = False

    async def keep(self, rules: SymbolRules) -> None:
        if self.refuses:
            raise StoreFull("the test's store", "no space left on device")
        self.house.history.set_rules(rules)

    async def turn(self) -> None:
        """A minute passes, second by second, and the answer has come."""
        before = self.asked.answered
        for _ in range(round(INTERVAL_S)):
            await self.house.clock.advance(1)
        async with asyncio.timeout(10):
            while self.asked.answered == before:  # noqa: ASYNC110 - a socket tells nobody
                await asyncio.sleep(0)
        await settle()


@asynccontextmanager
async def desk(exchange: Exchange, *symbols: str, **options: Any) -> AsyncIterator[Desk]:
    house = House(*(symbols or (BTC,)), **options)
    async with (
        FakeRestServer.running(exchange) as server,
        BinanceRest(server.url, WeightBudget(6000, house.clock), house.clock) as rest,
    ):
        asked = Asked(rest)
        known = {symbol: structs.replace(RULES, symbol=symbol, base_asset=symbol[:3]) for symbol in house.symbols}
        made = Desk(house, None, asked, server, rest)  # type: ignore[arg-type]
        made.listing = Listing(known, market=asked, clock=house.clock, trading=house.live.trading, keep=made.keep)  # type: ignore[arg-type]
        async with house.running():
            await house.go_live()
            task = asyncio.ensure_future(made.listing.run())
            await settle()
            try:
                yield made
            finally:
                task.cancel()


def check(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


def incidents(house: House, symbol: str = BTC) -> list[tuple[str, str, int, int | None]]:
    rows = [i for i in house.history.incidents(symbol).rows if i.kind == "not_trading"]
    return [(i.kind, i.cause, i.start_ms // 1000 - house.start_s, i.end_ms and i.end_ms // 1000 - house.start_s) for i in rows]


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY", "A_WORD_OF_TOMORROW"])
def test_a_symbol_that_does_not_trade_keeps_its_live_book_and_says_why_it_is_still(status: str) -> None:
    """Known from 60 s to 420 s. Meanwhile REST is ahead of the stream, which otherwise shows a silent one."""

    async def story() -> None:
        exchange = Exchange()
        async with desk(exchange, anchor_s=86_400.0) as made:
            house, feed = made.house, made.house.live.feeds[BTC]
            exchange.status[BTC] = status
            await made.turn()
            house.market.depth_answer = answers(40)
            for _ in range(5):
                await made.turn()
            view = feed.view(1)
            assert view is not None
            assert (view.state, view.reason, feed.sync.epoch, house.renewed) == (BookState.LIVE, "not_trading", 1, [])
            exchange.status[BTC] = "TRADING"
            await made.turn()
            await house.send(house.update(13, 13))
            await house.clock.advance(1)
            assert (feed.view(1).reason, feed.sync.epoch, feed.gaps) == (None, 1, 0)  # type: ignore[union-attr]
        assert incidents(house) == [("not_trading", status, 60, 420)]
        reasons = {second - house.start_s: record.reason for second, record in house.records().items()}
        assert {reasons[second] for second in range(1, 60)} | {reasons[421]} == {None}
        assert {reasons[second] for second in range(61, 420)} == {"not_trading"}
        assert house.causes(1, 421) == {}, "no second without a book"

    check(story)


def test_a_symbol_that_is_not_listed_any_more_does_not_trade_and_costs_the_others_nothing() -> None:
    async def story() -> None:
        exchange = Exchange()
        async with desk(exchange, BTC, ETH) as made:
            exchange.status[ETH] = None
            await made.turn()
            assert [query for _, query in made.server.requests] == [{"symbols": f'["{BTC}","{ETH}"]'}, {}]
            await made.house.clock.advance(1)
            reasons = [made.house.live.feeds[symbol].view(1).reason for symbol in (BTC, ETH)]  # type: ignore[union-attr]
            assert reasons == [None, "not_trading"]
        assert incidents(made.house, ETH)[0][1] == NOT_LISTED

    check(story)


def test_a_new_grid_is_kept_with_its_moment_and_told_and_the_same_grid_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="leadline")

    async def story() -> None:
        exchange = Exchange()
        async with desk(exchange) as made:
            await made.turn()
            assert (made.house.history.rules(BTC), told(caplog, "rules_changed")) == (None, [])
            exchange.tick, made.refuses = "0.10000000", True
            await made.turn()
            assert told(caplog, "rules_not_kept")[0]["cause"] == "store the test's store: no space left on device"
            made.refuses = False
            await made.turn()
            expected = structs.replace(RULES, tick_e8=E8 // 10, since_s=1_723_161_300)
            assert made.house.history.rules(BTC) == expected
            (line,) = told(caplog, "rules_changed")
            assert (line["symbol"], line["tick"], line["step"]) == (BTC, "0.1", "0.00001")
            await made.turn()
            assert len(told(caplog, "rules_changed")) == 1

    check(story)


def test_a_lowered_weight_limit_is_obeyed_from_then_on() -> None:
    async def story() -> None:
        exchange = Exchange()
        async with desk(exchange) as made:
            exchange.weight_limit = 1200
            await made.turn()
            assert made.rest.budget.limit_per_minute == 1200

    check(story)


def test_a_question_that_fails_is_told_and_asked_again_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        exchange = Exchange()
        async with desk(exchange) as made:
            exchange.broken = True
            await made.turn()
            assert made.house.live.feeds[BTC].view(1).reason is None  # type: ignore[union-attr]
            (line,) = told(caplog, "listing_failed")
            assert (line["levelno"], line["cause"]) == (logging.WARNING, "the exchange answered 500 -1000: unknown")
            exchange.broken, exchange.status[BTC] = False, "HALT"
            await made.turn()
            assert made.house.live.feeds[BTC].view(1).reason == "not_trading"  # type: ignore[union-attr]
            assert made.house.history.rules(BTC) == structs.replace(RULES, status="HALT")
            assert told(caplog, "rules_changed") == [], "the grid is the same"

    check(story)


def test_rules_hold_since_their_grid_was_first_seen() -> None:
    later = structs.replace(RULES, status="HALT", since_s=99)
    assert renewed(RULES, later) == structs.replace(RULES, status="HALT")
    assert renewed(None, later) == later
    assert renewed(structs.replace(RULES, inferred=True), later) == later
    assert renewed(RULES, structs.replace(later, step_e8=1)).since_s == 99
