"""Regimes and scenes: what each puts into the market can be seen in its frames, is labelled, and is gone afterwards."""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.standin.support import ReferenceBook, decimals

from leadline.standin.market import SyntheticMarket
from leadline.standin.scenes import ACTIONS, REGIMES, Action
from leadline.standin.source import UnknownAction

START_MS = 1_767_225_600_000
SECOND_NS = 10**9
SYMBOL = "BTCUSDT"


class Watched:
    """A market, a client's book of it, and what it said since it was last asked."""

    def __init__(self, seed: int = 7, symbol: str = SYMBOL, warm_s: int = 5) -> None:
        self.symbol = symbol
        self.market = SyntheticMarket(seed, (symbol,), start_ms=START_MS)
        self.market.advance(self.market.start_ns + warm_s * SECOND_NS)
        self.restart()

    def restart(self) -> None:
        answer = self.market.depth(self.symbol, 5000)
        assert answer is not None
        self.book = ReferenceBook(json.loads(answer.body))

    def run(self, seconds: float) -> dict[str, list[dict[str, Any]]]:
        until_ns = self.market.server_time_ms() * 1_000_000 + int(seconds * SECOND_NS)
        said: dict[str, list[dict[str, Any]]] = {"depth@100ms": [], "bookTicker": [], "trade": [], "aggTrade": []}
        for frame in self.market.advance(until_ns):
            message = json.loads(frame.payload)
            said[frame.stream.partition("@")[2]].append(message)
            if frame.stream.endswith("@depth@100ms"):
                self.book.update(message)
        return said

    def act(self, name: str, **fields: Any) -> None:
        self.market.act(self.symbol, Action(name=name, **fields))

    def assert_true(self) -> None:
        true = self.market.book(self.symbol, self.book.id)
        assert true is not None
        assert (decimals(true.bids), decimals(true.asks)) == (self.book.bids, self.book.asks)


def mids(tickers: list[dict[str, Any]]) -> list[float]:
    return [(float(t["b"]) + float(t["a"])) / 2 for t in tickers if Decimal(t["b"]) and Decimal(t["a"])]


@pytest.mark.parametrize(
    "name", [name for name in ACTIONS if not name.startswith(("scene.empty", "diff.id", "symbol.new", "symbol.delisted"))]
)
def test_whatever_is_done_the_diffs_stay_whole_and_the_book_true_and_the_label_ends(name: str) -> None:
    watched = Watched()
    watched.act(name, for_s=2.0, times=10)
    for _ in range(20):
        watched.run(0.5)
        watched.assert_true()
    (label,) = watched.market.labels
    assert (label.name, label.start_ms, label.symbol) == (name, START_MS + 5000, SYMBOL)
    watched.act("regime.normal")
    watched.run(130)  # a crash comes back over two minutes
    assert label.end_ms is not None
    assert label.start_ms <= label.end_ms <= START_MS + 140_000


def test_what_lasts_ends_with_the_next_of_its_kind_and_not_before() -> None:
    """A regime and a state without an end; a timed one that is overtaken does not end its successor."""
    watched = Watched()
    watched.act("regime.busy", for_s=2)
    watched.act("regime.quiet")
    watched.act("symbol.halt", for_s=1)
    watched.act("symbol.break")
    watched.run(5)
    busy, quiet, halt, broken = watched.market.labels
    assert (busy.end_ms, halt.end_ms) == (busy.start_ms, halt.start_ms)
    assert (quiet.end_ms, broken.end_ms) == (None, None)
    assert watched.market.exchange_info()[0]["status"] == "BREAK"
    watched.act("regime.normal")
    watched.act("symbol.trading")
    assert (quiet.end_ms, broken.end_ms) == (START_MS + 10_000, START_MS + 10_000)


def test_two_bands_without_levels_end_each_by_itself() -> None:
    watched = Watched()
    watched.act("scene.vacuum", side="bid", bp=10, for_s=2)
    watched.act("scene.vacuum", side="ask", bp=20, for_s=8)
    watched.run(7)
    label = watched.market.labels[1]
    low, high = Decimal(label.low or 0), Decimal(label.high or 0)
    assert not [price for price in watched.book.asks if low <= price <= high]


def test_a_symbol_in_halt_makes_no_trade_whatever_is_played() -> None:
    watched = Watched()
    watched.act("scene.takers", for_s=10, count=100)
    watched.run(1)
    watched.act("symbol.halt", for_s=3)
    watched.run(0.2)
    assert not any(watched.run(2.5).values())
    assert watched.run(3)["trade"]
    watched.act("symbol.halt")
    with pytest.raises(UnknownAction, match="does not trade"):
        watched.act("scene.wall")


def test_a_burst_is_one_frame_of_thousands_of_entries() -> None:
    watched = Watched()
    watched.act("diff.burst", levels=1000)
    frames = watched.run(0.3)["depth@100ms"]
    assert max(len(frame["b"]) + len(frame["a"]) for frame in frames) > 1900
    watched.assert_true()


def test_a_wall_at_the_end_of_prices_stands_at_the_first_tick_and_none_outgrows_the_exchanges_cap() -> None:
    watched = Watched()
    watched.act("regime.crash", for_s=5)
    watched.run(5)
    watched.act("scene.wall", side="bid", bp=9999, times=10_000)
    watched.run(1)
    assert min(watched.book.bids) >= Decimal("0.01")
    watched.act("scene.wall", side="ask", bp=1, times=10**12)
    watched.run(1)
    assert max(watched.book.asks.values()) <= Decimal("92233720368.54775807")
    watched.assert_true()


def test_a_regime_changes_how_much_happens() -> None:
    changes = {}
    for name in ("quiet", "normal", "busy"):
        watched = Watched()
        watched.act(f"regime.{name}")
        changes[name] = sum(update["u"] - update["U"] + 1 for update in watched.run(200)["depth@100ms"])
    assert changes["quiet"] * 3 < changes["normal"]
    assert changes["normal"] * 2.5 < changes["busy"]


@pytest.mark.parametrize(("name", "sign"), [("crash", -1), ("melt_up", 1)])
def test_a_crash_goes_one_way_fast_and_comes_back_over_minutes(name: str, sign: int) -> None:
    watched = Watched()
    before = float(watched.book.best()[0])
    watched.act(f"regime.{name}", for_s=10)
    watched.run(10)
    there = float(watched.book.best()[0])
    assert sign * (there / before - 1) > 0.004
    watched.run(120)
    back = float(watched.book.best()[0])
    assert abs(back / before - 1) < abs(there / before - 1)
    watched.assert_true()


def test_a_wall_stands_for_its_time_and_is_pulled() -> None:
    watched = Watched()
    watched.act("scene.wall", side="ask", bp=30, times=500, for_s=4)
    watched.run(1)
    (label,) = watched.market.labels
    price = Decimal(label.low or 0)
    assert watched.book.asks[price] > 900  # 500 usual best levels of 2 BTC
    watched.run(5)
    assert watched.book.asks.get(price, Decimal(0)) < 20
    assert label.end_ms == label.start_ms + 4000


def test_an_iceberg_refills_one_price_after_each_trade_there() -> None:
    """A fill of nearly the whole level, then the level is back at its size within 5 ms: seen in the tickers."""
    watched = Watched()
    watched.act("scene.iceberg", side="bid", count=10)
    said = watched.run(6)
    (label,) = watched.market.labels
    refills = int(label.detail.split()[0])
    assert refills >= 8
    sold = [t for t in said["aggTrade"] if t["p"] == label.low and t["m"]]
    assert len(sold) >= refills - 2  # others add to the level too
    at_price = [Decimal(t["B"]) for t in said["bookTicker"] if t["b"] == label.low]
    assert sum(b > 2 * a for a, b in itertools.pairwise(at_price)) >= refills - 2  # others add to the level too


def test_stuffing_is_many_changes_and_few_trades() -> None:
    watched = Watched()
    watched.act("scene.stuffing", for_s=3)
    said = watched.run(3.1)
    changes = int(watched.market.labels[0].detail.split()[0])
    assert sum(u["u"] - u["U"] + 1 for u in said["depth@100ms"]) > changes > 1500
    assert len(said["aggTrade"]) < 100


def test_absorption_is_much_volume_at_a_price_that_stays() -> None:
    watched = Watched()
    watched.act("scene.absorption", side="ask", for_s=8)
    said = watched.run(8)
    (label,) = watched.market.labels
    bought = sum(Decimal(t["q"]) for t in said["aggTrade"] if not t["m"] and t["p"] == label.low)
    assert bought > 10
    assert {t["a"] for t in said["bookTicker"]} == {label.low}


def test_a_vacuum_is_a_band_without_levels_until_it_ends() -> None:
    watched = Watched()
    watched.act("scene.vacuum", side="bid", bp=20, for_s=10)
    (label,) = watched.market.labels
    for _ in range(9):
        watched.run(1)
        low, high = Decimal(label.low or 0), Decimal(label.high or 0)
        assert not [price for price in watched.book.bids if low <= price <= high]
    watched.run(30)
    assert [price for price in watched.book.bids if low <= price <= high]


def test_a_series_of_takers_moves_the_price() -> None:
    watched = Watched()
    before = watched.book.best()[0]
    watched.act("scene.takers", side="bid", count=30, times=100, for_s=3)
    said = watched.run(3)
    assert sum(Decimal(t["q"]) for t in said["trade"] if t["m"]) > 30
    assert watched.book.best()[0] < before


def test_a_lone_tick_opens_the_spread_and_closes_it_and_nothing_else_happens() -> None:
    """Distances of bid and ask in ticks: 1, then 2, then 1 again."""
    watched = Watched()
    watched.act("scene.lone_tick", side="ask", for_s=0.3)
    said = watched.run(0.3)
    spreads = [round(100 * (float(t["a"]) - float(t["b"]))) for t in said["bookTicker"]]
    assert spreads == [2, 1]
    assert not said["trade"]


def test_a_frozen_book_says_nothing_and_goes_on_where_it_was() -> None:
    watched = Watched()
    watched.run(0.2)  # the slot under way ends
    watched.act("scene.frozen", for_s=30)
    first = watched.run(29)
    assert len(first["depth@100ms"]) <= 1
    assert not first["bookTicker"]
    assert watched.run(10)["depth@100ms"]
    watched.assert_true()


def test_an_empty_side_is_empty_and_comes_back() -> None:
    watched = Watched()
    watched.act("scene.empty_side", side="bid", for_s=3)
    quotes = [
        json.loads(f.payload) for f in watched.market.advance(watched.market.start_ns + 7 * SECOND_NS) if "@book" in f.stream
    ]
    assert (quotes[-1]["b"], quotes[-1]["B"]) == ("0.00000000", "0.00000000")
    answer = watched.market.depth(SYMBOL, 100)
    assert answer is not None
    assert json.loads(answer.body)["bids"] == []
    watched.market.advance(watched.market.start_ns + 20 * SECOND_NS)
    watched.restart()
    assert len(watched.book.bids) > 500
    watched.run(1)
    watched.assert_true()


def test_a_walk_leaves_the_window_of_a_snapshot_and_comes_back() -> None:
    watched = Watched()
    answer = watched.market.depth(SYMBOL, 100)
    assert answer is not None
    lowest = float(json.loads(answer.body)["bids"][-1][0])
    start = float(watched.book.best()[0])
    watched.act("scene.walk", side="bid", bp=40, for_s=5)
    low = min(min(mids(watched.run(1)["bookTicker"]), default=start) for _ in range(60))
    assert low < lowest
    assert low < start * (1 - 0.0038)
    assert watched.market.labels[0].end_ms is not None
    assert abs(float(watched.book.best()[0]) / start - 1) < 0.002


@pytest.mark.parametrize("status", ["halt", "break", "cancel_only"])
def test_a_symbol_that_does_not_trade_is_silent_and_keeps_its_book(status: str) -> None:
    watched = Watched()
    watched.act(f"symbol.{status}")
    watched.run(0.3)
    said = watched.run(20)
    assert not any(said.values())
    assert watched.market.exchange_info()[0]["status"] == status.upper()
    watched.assert_true()
    watched.act("symbol.trading")
    assert watched.run(5)["depth@100ms"]
    assert watched.market.exchange_info()[0]["status"] == "TRADING"


def test_a_tick_that_grows_leaves_old_levels_between_its_lines_and_puts_new_ones_on_them() -> None:
    watched = Watched()
    watched.act("symbol.tick_size", times=10)
    filters = watched.market.exchange_info()[0]["filters"]
    assert filters[0]["tickSize"] == "0.10000000"  # type: ignore[index]
    old = set(watched.book.bids)
    watched.run(30)
    new = set(watched.book.bids) - old
    assert len(new) > 100
    assert all(price % Decimal("0.1") == 0 for price in new)
    assert any(price % Decimal("0.1") for price in watched.book.bids)


def test_quantities_on_a_coarser_step() -> None:
    watched = Watched()
    watched.act("symbol.step_size", times=1000)
    filters = watched.market.exchange_info()[0]["filters"]
    assert filters[1]["stepSize"] == "0.01000000"  # type: ignore[index]


def test_ids_that_restart_begin_lower_and_both_chains_have_their_truth() -> None:
    watched = Watched()
    old_id = watched.book.id
    old = (dict(watched.book.bids), dict(watched.book.asks))
    watched.act("diff.id_restart")
    with pytest.raises(AssertionError):  # the reference book ignores what is below its id, and so never changes again
        updates = watched.run(2)["depth@100ms"]
        assert updates[0]["U"] > old_id
    watched.restart()
    assert watched.book.id < old_id
    watched.run(2)
    watched.assert_true()
    true = watched.market.book(SYMBOL, old_id)
    assert true is not None
    assert (decimals(true.bids), decimals(true.asks)) == old


def test_symbols_come_and_go() -> None:
    market = SyntheticMarket(7, (SYMBOL,), start_ms=START_MS)
    market.advance(market.start_ns + SECOND_NS)
    market.act("SOLUSDT", Action(name="symbol.new"))
    assert market.symbols == (SYMBOL, "SOLUSDT")
    frames = market.advance(market.start_ns + 60 * SECOND_NS)
    assert {frame.symbol for frame in frames} == {SYMBOL, "SOLUSDT"}
    before = market.tape(SYMBOL).last_ids
    last = market.frame_end(SYMBOL)
    market.act(SYMBOL, Action(name="symbol.delisted"))
    assert [info["symbol"] for info in market.exchange_info()] == ["SOLUSDT"]
    assert {frame.symbol for frame in market.advance(market.start_ns + 120 * SECOND_NS)} == {"SOLUSDT"}
    assert market.book(SYMBOL, last) is not None
    market.act(SYMBOL, Action(name="symbol.new"))
    frames = market.advance(market.start_ns + 150 * SECOND_NS)
    again = [json.loads(frame.payload) for frame in frames if frame.stream == "btcusdt@aggTrade"]
    assert again[0]["a"] == before[0] + 1  # the chains go on


@pytest.mark.parametrize(("symbol", "name"), [(SYMBOL, "scene.nonsense"), ("NOSUCH", "scene.wall"), (SYMBOL, "symbol.new")])
def test_what_cannot_be_done_is_refused(symbol: str, name: str) -> None:
    market = SyntheticMarket(7, (SYMBOL,), start_ms=START_MS)
    with pytest.raises(UnknownAction):
        market.act(symbol, Action(name=name))
    assert market.labels == []


def test_regimes_are_those_that_are_documented() -> None:
    assert set(REGIMES) == {"normal", "quiet", "busy", "crash", "melt_up"}
