"""Questions of a running service: what it answers is what the market was, and where it cannot know it says so.

The market's own ledger and list of trades share no code with ours. Time is virtual (hurried.py).
"""

from decimal import Decimal

import pytest
from tests.end_to_end.hurried import hurried
from tests.end_to_end.judging import disturbed

from leadline.core.errors import BookNotLive
from leadline.service import queries
from leadline.service.steps import Steps, run_between

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def asked(world, steps: Steps):
    """As the service would: other tasks run at each pause."""
    return await run_between(steps, lambda: world.clock.sleep_until(world.clock.monotonic()))


async def recorded(world, seconds):
    await world.clock.sleep_until(world.clock.monotonic() + seconds)


def test_a_minute_after_the_start_every_question_has_an_answer_that_is_the_markets(tmp_path):
    async def story():
        async with disturbed(tmp_path / "store", SYMBOLS) as world:
            await recorded(world, 70)
            desk, symbol = world.service.desk, "BTCUSDT"
            ladder = await asked(world, queries.orderbook_l2(desk, symbol, levels=50))
            true = world.source.book(symbol, ladder.envelope.update_id)
            for ours, theirs, sign in ((ladder.bids, true.bids, -1), (ladder.asks, true.asks, 1)):
                best = sorted(((Decimal(p), Decimal(q)) for p, q in theirs.items()), key=lambda row: sign * row[0])[:50]
                assert [(Decimal(p), Decimal(q)) for p, q in ours] == best
            assert (ladder.envelope.source, ladder.envelope.state) == ("live", "LIVE")

            top = await asked(world, queries.orderbook_l1(desk, symbol))
            assert top.walls is None and top.reasons["walls"] == "baseline_short"
            assert all(band.bid_quote is not None and band.ask_quote is not None for band in top.depth)

            flow = await asked(world, queries.get_order_flow(desk, symbol))
            end_s = int(flow.envelope.coverage.to_ms) // 1000
            rows = [
                trade
                for trade in world.source.tape(symbol).aggregates(from_id=None, start_ms=None, end_ms=None, limit=1000)
                if (end_s - 60) * 1000 <= trade.T < end_s * 1000
            ]
            assert len(rows) < 1000, "the list reaches back to the start of the window"
            assert Decimal(flow.delta) == sum((-1 if trade.m else 1) * Decimal(trade.q) for trade in rows)
            assert flow.baseline.state == "short" and flow.flow_direction is None

            found = await asked(world, queries.detect_market_anomalies(desk, symbol))
            told = {detector.anomaly_type: (detector.status, detector.reason) for detector in found.detectors}
            assert told.pop("IcebergOrder")[0] in {"found", "not_found"}
            assert set(told.values()) == {("not_evaluated", "baseline_short")}

            health = await asked(world, queries.get_microstructure_health(desk, symbol))
            assert (health.basis, health.health_level != "UNKNOWN") == ("absolute", True)
            profile = await asked(world, queries.get_volume_profile(desk, symbol, duration_hours=1))
            assert profile.trade_state.missing_s == 0
            assert sum(Decimal(row.volume) for row in profile.histogram) == Decimal(profile.total_volume)
            vacuums = await asked(world, queries.get_liquidity_vacuums(desk, symbol, duration_hours=1))
            assert (vacuums.resting.status, vacuums.resting.samples) == ("baseline_short", 30)
            status = await asked(world, queries.orderbook_health(desk))
            assert (status.status, status.orderbook_symbols_active, status.websocket_connected) == ("ok", 2, True)
            cost = await asked(world, queries.estimate_market_impact(desk, symbol, notional="50000"))
            assert cost.buy.cost_bps is not None and cost.round_trip_bps == cost.buy.cost_bps + cost.sell.cost_bps

    hurried(story())


def test_a_book_that_was_lost_is_served_as_the_last_good_one_and_then_not_at_all(tmp_path):
    async def story():
        async with disturbed(tmp_path / "store", SYMBOLS) as world:
            await recorded(world, 65)
            desk = world.service.desk
            before = await asked(world, queries.get_microstructure_health(desk, "BTCUSDT"))
            assert before.overall_score is not None
            world.strike("rest.status", status=503, **{"for": 30})
            world.strike("diff.drop", symbol="BTCUSDT", count=1)
            feed = world.feeds["BTCUSDT"]
            while feed.sync.book is not None:
                await recorded(world, 0.05)
            stale = await asked(world, queries.orderbook_l2(desk, "BTCUSDT", max_age_ms=60_000))
            assert (stale.envelope.state, stale.envelope.reason) == ("STALE", "gap")
            await recorded(world, 7)
            with pytest.raises(BookNotLive):
                await asked(world, queries.orderbook_l2(desk, "BTCUSDT"))
            health = await asked(world, queries.get_microstructure_health(desk, "BTCUSDT"))
            assert (health.overall_score, health.health_level) == (None, "UNKNOWN")
            status = await asked(world, queries.orderbook_health(desk))
            assert status.status == "degraded" and "BTCUSDT" in status.reason
            other = await asked(world, queries.orderbook_l2(desk, "ETHUSDT"))
            assert other.envelope.state == "LIVE"

    hurried(story())
