"""What Leadline does about every fault that the stand-in can do: docs/faults.md, row by row.

Each case runs the service against the stand-in over real sockets, in the virtual time of `hurried.py`. While it lasts the judge
compares every book that is called LIVE, at every id, with what the market was; afterwards the store is asked: incidents, seconds,
trades. `pytest -rP` shows how long each took until all books were LIVE again.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from tests.end_to_end.hurried import hurried
from tests.end_to_end.judging import Stored, World, disturbed, stored_of, untrue_trades

from leadline.core.records import BookState, Flag, TradeState
from leadline.standin.faults import ALL_FAULTS

LIVELY = ("ETHUSDT", "1INCHUSDT")  # the first is the one that is struck
CALM = ("PEPEUSDT", "1INCHUSDT")  # for what takes minutes
SEED_HIGHER = ("PEPEUSDT", "ETHUSDT")  # the other's update ids are far above the struck one's

Fields = dict[str, Any]
BACKFILLED = frozenset({TradeState.COMPLETE, TradeState.BACKFILLED})
MISSING = frozenset({TradeState.COMPLETE, TradeState.MISSING})


class Case(Struct, kw_only=True):
    """One fault, and what is to be seen of the answer.

    then: a second one, switched with the first, that brings the service to the place where the first strikes. lost: how the epoch
    of the struck symbol ended, as kinds of incidents; everywhere: the other's did too, by disconnection; more: further incidents
    of the struck symbol. within_ms: virtual time from the fault until every book was LIVE again; 0: none was ever lost.
    unheard: it strikes a stream to which Leadline does not subscribe.
    """

    fault: str
    fields: Fields
    then: tuple[str, Fields] | None = None
    name: str = ""
    lost: frozenset[str] = frozenset()
    more: frozenset[str] = frozenset()
    everywhere: frozenset[str] = frozenset()
    within_ms: int = 0
    lasts_s: float = 2.5
    symbols: tuple[str, ...] = LIVELY
    states: frozenset[TradeState] = frozenset({TradeState.COMPLETE})
    options: Fields = {}
    unheard: bool = False
    during: Callable[[World, str], Any] | None = None  # asked when the fault was switched
    after: Callable[[World, Stored], None] | None = None


def unnoticed(fault: str, name: str = "", **how: Any) -> Case:
    """No book is lost, and no incident is written."""
    return _case(fault, name, how)


def lost(fault: str, kind: str, within_ms: int, name: str = "", **how: Any) -> Case:
    """The epoch of that symbol ends; the other notices nothing."""
    return _case(fault, name, how, lost=frozenset({kind}), within_ms=within_ms)


def replaced(fault: str, within_ms: int, name: str = "", *, kind: str = "disconnected", **how: Any) -> Case:
    """The connection ends and is replaced: the books of all its symbols are lost."""
    other = frozenset({"disconnected"})
    return _case(fault, name, how, lost=frozenset({kind}), everywhere=other, within_ms=within_ms)


def snapshot(fault: str, within_ms: int, name: str = "", **how: Any) -> Case:
    """A book is lost, and what is asked for in its place does not come as it should."""
    return lost(fault, "gap", within_ms, name, **{"then": ("diff.drop", {"symbol": "struck"}), **how})


def cut(fault: str, within_ms: int, name: str = "", **how: Any) -> Case:
    """The connection is closed, and the next one does not come about as it should."""
    return replaced(fault, within_ms, name, **{"then": ("socket.close", {}), **how})


def _case(fault: str, name: str, how: Fields, **seen: Any) -> Case:
    of_case = {key: how.pop(key) for key in tuple(how) if key in Case.__struct_fields__}
    return Case(fault=fault, name=name, fields=how, **{**seen, **of_case})


# What is seen beside ---------------------------------------------------------------


def reconnected(world: World, held: Stored) -> None:
    (status,) = world.service.stream.status
    assert (status.handovers, status.reconnects) == (0, 1)


def handed_over(world: World, held: Stored) -> None:
    (status,) = world.service.stream.status
    assert (status.handovers, status.reconnects, status.attempts) == (1, 0, 2)


def kept_connected(world: World, held: Stored) -> None:
    (status,) = world.service.stream.status
    assert (status.handovers, status.reconnects, status.attempts) == (0, 0, 1)


def counted_as_unknown(world: World, held: Stored) -> None:
    kept_connected(world, held)
    assert world.service.stream.decoder.unknown["somethingNew"] == 5


def no_fill_is_missing(world: World, held: Stored) -> None:
    assert not any(incident.kind == "trades_missing" for incident in held.incidents)
    assert all(one.last_id + 1 == two.first_id for one, two in zip(held.trades, held.trades[1:], strict=False))


def three_trades_are_named(world: World, held: Stored) -> None:
    (missing,) = (incident for incident in held.incidents if incident.kind == "trades_missing")
    ids = re.fullmatch(r"aggregate ids (\d+)\.\.(\d+)", missing.detail)
    assert ids is not None and int(ids[2]) - int(ids[1]) == 2
    assert missing.cause == "not in the answer, 5 attempts"


def no_second_is_lost_or_doubtful(world: World, held: Stored) -> None:
    assert not any(Flag(record.flags) & (Flag.CLOCK | Flag.GAP | Flag.AUDIT) for record in held.seconds)


def nothing_is_asked_for(seconds: float) -> Callable[[World, str], Any]:
    """REST stays silent for that long, while the streams go on."""

    async def during(world: World, struck: str) -> None:
        await world.until(lambda: world.service.budget.window.stopped_until_ns > world.clock.wall_ns())
        world.strike("scene.frozen", symbol=struck, **{"for": seconds - 2})  # nothing to watch: the other goes on
        other = next(feed for symbol, feed in world.feeds.items() if symbol != struck)
        before, applied = await world.requests(), other.sync.events_applied
        await world.passed(seconds - 1)
        assert await world.requests() == before + 1
        assert other.sync.events_applied > applied

    return during


async def price_walks_out_of_a_book_of_few_levels(world: World, struck: str) -> None:
    """Nothing beyond the edge is called known; then a second snapshot takes the book's place, in the same epoch."""
    feed = world.feeds[struck]
    await world.until(lambda: feed.sync.epoch == 2 and feed.sync.book is not None)
    edge = feed.sync.book.known_ask
    assert edge is not None
    world.strike("scene.walk", symbol=struck, bp=5, side="ask", **{"for": 2})
    await world.until(lambda: feed.sync.book.best_ask[0] > edge)
    assert feed.sync.book.known_ask == edge
    assert all(depth is None for depth in feed.sync.book.asks.depth_e16())
    await world.until(lambda: feed.sync.book.known_ask is None)


async def a_second_loss_waits_for_the_next_minute(world: World, struck: str) -> None:
    """Another program on the address has used up this one's weight, as far as we are told."""
    feed = world.feeds[struck]
    await world.until(lambda: feed.sync.epoch == 2 and feed.sync.bridged)
    before = await world.requests()
    world.strike("diff.drop", symbol=struck)
    await world.until(lambda: feed.sync.book is None)
    await world.passed((MINUTE_NS - world.clock.wall_ns() % MINUTE_NS) / 1e9 - 1)
    assert await world.requests() == before + 1


def told(cause: str) -> Callable[[World, Stored], None]:
    """From the first look at exchangeInfo after it until the first after its end."""

    def after(world: World, held: Stored) -> None:
        (halt,) = (incident for incident in held.incidents if incident.kind == "not_trading")
        assert halt.cause == cause
        assert halt.end_ms is not None and halt.end_ms > halt.start_ms
        inside = [record for record in held.seconds if halt.start_ms < record.t * 1000 < halt.end_ms - 1000]
        assert inside
        assert {(record.state, record.reason) for record in inside} == {(BookState.LIVE, "not_trading")}
        kept_connected(world, held)

    return after


def no_mid_while_a_side_was_empty(world: World, held: Stored) -> None:
    live = [record for record in held.seconds if record.state is BookState.LIVE]
    mids = [record.mid2_close for record in live if record.mid2_close is not None]
    assert len(mids) < len(live)
    assert min(mids) > max(mids) * 0.99


# The table -----------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
MINUTE_NS = 60 * 10**9
S = "struck"  # in a field `symbol`: the symbol that is struck
KEPT: Fields = {"after": kept_connected}
NAMED: Fields = {"after": three_trades_are_named, "states": MISSING, "more": frozenset({"trades_missing"})}
HALTED: Fields = {"more": frozenset({"not_trading"}), "symbols": CALM, "symbol": S}
CASES = (
    # Depth frames
    lost("diff.drop", "gap", 800, symbol=S),
    unnoticed("diff.duplicate", symbol=S, count=20, **KEPT),
    lost("diff.reorder", "gap", 800, symbol=S),
    unnoticed("diff.delay", symbol=S, count=10, events=5, **KEPT),
    replaced("diff.malformed", 4_000, symbol=S, after=reconnected, states=BACKFILLED),
    replaced("diff.truncated", 4_000, symbol=S, after=reconnected, states=BACKFILLED),
    lost("diff.crossed", "crossed", 600, symbol=S),
    unnoticed("diff.unknown_event", symbol=S, count=5, after=counted_as_unknown),
    unnoticed("diff.extra_keys", symbol=S, count=5, **KEPT),
    unnoticed("diff.empty", symbol=S, count=5, **KEPT),
    unnoticed("diff.split", symbol=S, count=20, **KEPT),
    unnoticed("diff.burst", symbol=S, levels=1000, **KEPT),
    lost("diff.id_restart", "id_restart", 600, symbol=S),
    # Trades
    unnoticed("trades.drop", symbol=S, count=7, states=BACKFILLED, after=no_fill_is_missing),
    unnoticed("trades.duplicate", symbol=S, count=7, after=no_fill_is_missing),
    unnoticed("trades.reorder", symbol=S, count=3, states=BACKFILLED, after=no_fill_is_missing),
    unnoticed("trades.delay", symbol=S, count=10, events=5, after=no_fill_is_missing),
    replaced("trades.malformed", 4_000, symbol=S, states=BACKFILLED, after=no_fill_is_missing),
    replaced("trades.truncated", 4_000, symbol=S, states=BACKFILLED, after=no_fill_is_missing),
    unnoticed("trades.hole", symbol=S, count=3, lasts_s=20, **NAMED),
    unnoticed("trades.off_book", symbol=S, count=3, unheard=True, after=no_fill_is_missing),
    unnoticed(
        "trades.lag", symbol=S, delay_s=5, then=("trades.drop", {"symbol": S, "count": 3}), states=BACKFILLED, lasts_s=15,
        after=no_fill_is_missing,
    ),
    unnoticed(
        "trades.lag", "for long", symbol=S, delay_s=60, count=None, then=("trades.drop", {"symbol": S, "count": 3}), lasts_s=20,
        **NAMED,
    ),
    unnoticed(
        "trades.short_page", symbol=S, rows=1, count=3, then=("trades.drop", {"symbol": S, "count": 5}), states=BACKFILLED,
        lasts_s=10, after=no_fill_is_missing,
    ),
    # Tickers
    unnoticed("ticker.drop", symbol=S, count=5, **KEPT),
    unnoticed("ticker.duplicate", symbol=S, count=5, **KEPT),
    unnoticed("ticker.reorder", symbol=S, count=3, **KEPT),
    unnoticed("ticker.delay", symbol=S, count=20, events=10, **KEPT),
    replaced("ticker.malformed", 4_000, symbol=S, states=BACKFILLED),
    replaced("ticker.truncated", 4_000, symbol=S, states=BACKFILLED),
    # Times
    unnoticed("time.back", symbol=S, count=5, stream="@depth@100ms", after=no_second_is_lost_or_doubtful),
    unnoticed("time.skew", symbol=S, count=20, ms=3_600_000, after=no_second_is_lost_or_doubtful),
    unnoticed("time.micros", symbol=S, count=50, after=no_second_is_lost_or_doubtful),
    # Snapshots
    snapshot("snapshot.stale", 2_000, symbol=S, events=30),
    snapshot("snapshot.ahead", 4_000, symbol=S, events=20),
    snapshot("snapshot.border", 800, symbol=S),
    snapshot("snapshot.inside", 800, symbol=S),
    snapshot("snapshot.shallow", 800, symbol=S, levels=20, during=price_walks_out_of_a_book_of_few_levels),
    snapshot("snapshot.delay", 10_000, symbol=S, delay_s=9),
    snapshot("snapshot.hold", 12_500, "for ever", symbol=S),
    snapshot("snapshot.wrong_symbol", 2_000, "of lower ids", symbol=S),
    snapshot("snapshot.wrong_symbol", 13_000, "of higher ids", symbol=S, symbols=SEED_HIGHER),
    # REST
    snapshot("rest.status", 2_000, "500", path="depth", status=500),
    snapshot("rest.status", 2_000, "no JSON", path="depth", status=502, body="<html>no</html>", content_type="text/html"),
    snapshot("rest.status", 2_000, "200 and no JSON", path="depth", status=200, body="<html>no</html>", content_type="text/html"),
    snapshot("rest.status", 2_000, "404", path="depth", status=404),
    snapshot("rest.status", 2_000, "451", path="depth", status=451),
    snapshot("rest.status", 40_000, "429", path="depth", status=429, retry_after_s=7, during=nothing_is_asked_for(7)),
    snapshot(
        "rest.status", 150_000, "418", path="depth", status=418, retry_after_s=120, during=nothing_is_asked_for(120), symbols=CALM
    ),
    snapshot("rest.status", 340_000, "403", path="depth", status=403, during=nothing_is_asked_for(300), symbols=CALM),
    snapshot("rest.timeout", 12_500, path="depth"),
    snapshot("rest.header", 800, "missing", count=5),
    snapshot("rest.header", 62_000, "jumps", value=5990, during=a_second_loss_waits_for_the_next_minute, symbols=CALM),
    snapshot("limits.weight", 90_000, value=600, symbols=CALM),
    # Subscribing
    cut("stream.late_ack", 4_000, delay_s=4, lasts_s=8, states=BACKFILLED),
    cut("stream.late_ack", 36_000, "too late", delay_s=40, lasts_s=40, states=BACKFILLED, symbols=CALM),
    cut("stream.error", 6_000, lasts_s=8, states=BACKFILLED),
    cut("stream.wrong_route", 80_000, lasts_s=62, states=BACKFILLED, symbols=CALM),
    replaced(
        "stream.silent", 25_000, "depth", kind="silent", symbol=S, stream="@depth@100ms", lasts_s=22, states=BACKFILLED,
        **{"for": 20},
    ),
    replaced(
        "stream.silent", 75_000, "trades", symbol=S, stream="@aggTrade", lasts_s=72, states=BACKFILLED, symbols=CALM,
        **{"for": 70},
    ),
    # Connections
    replaced("socket.close", 4_000, "1001", states=BACKFILLED, after=reconnected),
    replaced("socket.close", 4_000, "1008", code=1008, reason="Too many requests", states=BACKFILLED, after=reconnected),
    replaced("socket.close", 4_000, "1011", code=1011, states=BACKFILLED, after=reconnected),
    replaced("socket.reset", 4_000, states=BACKFILLED, after=reconnected),
    replaced("socket.end_of_life", 4_000, states=BACKFILLED, after=reconnected),
    replaced("socket.stall", 80_000, states=BACKFILLED, after=reconnected, lasts_s=62, symbols=CALM),
    replaced("socket.half_open", 80_000, states=BACKFILLED, after=reconnected, lasts_s=62, symbols=CALM),
    unnoticed("socket.no_pings", lasts_s=70, symbols=CALM, **KEPT),
    unnoticed("socket.drip", lasts_s=25, symbols=CALM, **{"for": 20}, **KEPT),
    unnoticed("socket.server_shutdown", "no cut follows", after=handed_over, lasts_s=15),
    unnoticed("socket.server_shutdown", "10 s before the cut", lead_s=10, shape="raw", after=handed_over, lasts_s=15),
    unnoticed("socket.server_shutdown", "600 s before the cut", lead_s=600, shape="api", after=handed_over, lasts_s=15),
    replaced("socket.server_shutdown", 4_000, "with the cut", lead_s=0, states=BACKFILLED),
    cut("socket.refuse", 12_000, count=2, lasts_s=10, states=BACKFILLED),
    cut("socket.refuse", 70_000, "429", status=429, lasts_s=10, states=BACKFILLED, symbols=CALM),
    cut("socket.tls_error", 6_000, lasts_s=8, states=BACKFILLED, options={"tls": True, "wall_ns": time.time_ns()}),
    # The market
    unnoticed("regime.normal", symbol=S),
    unnoticed("regime.quiet", symbol=S),
    unnoticed("regime.busy", symbol=S, **{"for": 3}),
    unnoticed("regime.crash", symbol=S, lasts_s=3, **{"for": 1}),
    unnoticed("regime.melt_up", symbol=S, lasts_s=3, **{"for": 1}),
    *(
        unnoticed(f"scene.{name}", symbol=S, **{"for": 3})
        for name in ("wall", "iceberg", "stuffing", "absorption", "vacuum", "takers")
    ),
    unnoticed("scene.lone_tick", symbol=S),
    unnoticed("scene.frozen", symbol=S, lasts_s=72, symbols=CALM, **{"for": 70}),
    unnoticed("scene.empty_side", symbol=S, after=no_mid_while_a_side_was_empty, lasts_s=6, **{"for": 3}),
    unnoticed("scene.walk", symbol=S, bp=2, lasts_s=8, **{"for": 1}),
    # Symbols
    unnoticed("symbol.halt", lasts_s=130, after=told("HALT"), **{"for": 65}, **HALTED),
    unnoticed("symbol.break", lasts_s=60, after=told("BREAK"), **HALTED),
    unnoticed("symbol.cancel_only", lasts_s=60, after=told("CANCEL_ONLY"), **HALTED),
    unnoticed("symbol.trading", symbol=S, **KEPT),
    unnoticed("symbol.delisted", lasts_s=60, after=told("not listed"), **HALTED),
    unnoticed("symbol.new", symbol="NEWUSDT", lasts_s=56, symbols=CALM, **KEPT),
    unnoticed("symbol.tick_size", symbol=S, times=10, lasts_s=56, symbols=CALM, **KEPT),
    unnoticed("symbol.step_size", symbol=S, times=10, lasts_s=56, symbols=CALM, **KEPT),
)  # fmt: skip


def test_every_fault_has_an_answer():
    assert {case.fault for case in CASES} == set(ALL_FAULTS) - {"clear"}


def test_every_answer_is_documented_and_no_other():
    rows = re.findall(r"(?m)^\| `([^|]+) \|", DOCUMENT.read_text(encoding="utf-8"))
    documented = [name for row in rows for name in re.findall(r"[a-z]+\.[a-z_]+", row)]
    assert sorted(documented) == sorted(set(ALL_FAULTS) - {"clear"})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fault} {case.name}".rstrip())
def test_the_answer_to_a_fault_is_the_one_that_is_documented(case: Case, tmp_path: Path):
    struck, other = case.symbols
    world, took_ms = hurried(_disturb(case, tmp_path / "store"))
    print(f"{case.fault} {case.name}".rstrip(), "LIVE again after", took_ms, "ms")
    assert world.judge.wrong == []
    held = {symbol: stored_of(tmp_path / "store", symbol) for symbol in case.symbols}
    assert held[struck].kinds == {"start"} | case.lost | case.more
    assert held[other].kinds == {"start"} | case.everywhere
    assert bool(took_ms) == bool(case.lost)
    assert took_ms <= case.within_ms
    for symbol in case.symbols:
        assert untrue_trades(world.source, symbol, held[symbol]) == []
        seconds = [record.t for record in held[symbol].seconds]
        assert seconds == list(range(seconds[0], seconds[-1] + 1))
    assert set(held[struck].states.values()) <= case.states
    if case.states - {TradeState.COMPLETE} and not case.everywhere:
        assert set(held[struck].states.values()) == case.states
    if case.after is not None:
        case.after(world, held[struck])


async def _disturb(case: Case, data: Path) -> tuple[World, int]:
    """The fault, its time, and the end of the service; returns how long it took until all books were LIVE again, ms."""
    struck, other = case.symbols
    async with disturbed(data, case.symbols, **case.options) as world:
        at, epochs = world.clock.monotonic(), {symbol: feed.sync.epoch for symbol, feed in world.feeds.items()}
        for fault, fields in ((case.fault, case.fields), *([case.then] if case.then else [])):
            world.strike(fault, **{**fields, **({"symbol": struck} if fields.get("symbol") == S else {})})
        if case.during is not None:
            await case.during(world, struck)
        await world.passed(case.lasts_s)
        await world.until(lambda: world.steady)
        assert case.unheard or case.fault in await world.struck()
        await world.passed(1.5)  # the second that closes an incident
        assert (world.feeds[struck].sync.epoch > epochs[struck]) == bool(case.lost)
        assert (world.feeds[other].sync.epoch > epochs[other]) == bool(case.everywhere)
        found = [moment for moments in world.judge.found.values() for moment in moments if moment > at]
        return world, round(1000 * (max(found) - at)) if found else 0
