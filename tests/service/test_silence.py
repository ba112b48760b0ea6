"""A stream that was acknowledged and delivers nothing: its connection is replaced, and only then."""

import asyncio

import pytest
from tests.service.test_live import BTC, House, answers


@pytest.mark.parametrize(("exchange_is_at", "replaced"), [(12, 0), (40, 1)], ids=["a quiet market", "a silent stream"])
def test_only_a_stream_that_the_exchange_has_left_behind_is_replaced(exchange_is_at, replaced):
    house = House(anchor_s=86_400.0)
    renewed = []
    house.renew = lambda symbol, why: renewed.append((symbol, why))

    async def story():
        async with house.running():
            await house.go_live()
            house.market.depth_answer = answers(exchange_is_at)
            for _ in range(90):
                await house.clock.advance(1)

    asyncio.run(story())
    assert renewed == [(BTC, "BTCUSDT is silent: the exchange is at 40, its stream at 12")] * replaced
