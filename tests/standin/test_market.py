"""The synthetic market by itself: same bytes, an exact and uncrossed book, rules between its streams, the truth of every id."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest
from tests.standin.support import ReferenceBook, decimals

from leadline.standin import truth
from leadline.standin.market import DEFAULT_SYMBOLS, SyntheticMarket
from leadline.standin.scenes import Action
from leadline.standin.source import Frame
from leadline.standin.specs import KNOWN, NORMAL_SPEED

START_MS = 1_767_225_600_000  # 2026-01-01
SECOND_NS = 10**9
EVENTFUL = [symbol for symbol, spec in KNOWN.items() if spec.status == "TRADING" and spec.speed > 1000]


def made(seed: int, seconds: int = 20, symbols: tuple[str, ...] = DEFAULT_SYMBOLS) -> tuple[SyntheticMarket, list[Frame]]:
    source = SyntheticMarket(seed, symbols, start_ms=START_MS)
    return source, source.advance(source.start_ns + seconds * SECOND_NS)


def digest(frames: list[Frame]) -> str:
    state = hashlib.sha256()
    for frame in frames:
        state.update(b"%d %b %b\n" % (frame.at_ns, frame.stream.encode(), frame.payload))
    return state.hexdigest()


def of(frames: list[Frame], stream: str) -> list[dict]:
    return [json.loads(frame.payload) for frame in frames if frame.stream == stream]


def test_another_process_with_another_hash_seed_makes_the_same_bytes() -> None:
    """Nothing may depend on the order of a set, on an address or on a number that differs between processes."""
    code = (
        "from tests.standin.test_market import digest, made\n"
        "from leadline.standin.specs import KNOWN\n"
        "print(digest(made(3, 5, tuple(KNOWN))[1]))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("0", "1", "4711")
    }
    assert answers == {digest(made(3, 5, tuple(KNOWN))[1])}


def test_the_bytes_do_not_depend_on_how_time_is_cut() -> None:
    source = SyntheticMarket(7, start_ms=START_MS)
    frames = []
    while source.server_time_ms() < START_MS + 20_000:
        frames += source.advance(source.server_time_ms() * 1_000_000 + 7_000_000)
    whole = made(7)[1]
    assert frames[: len(whole)] == whole


def test_a_further_symbol_changes_no_other() -> None:
    both, alone = made(7)[1], made(7, symbols=("ETHUSDT",))[1]
    assert [frame for frame in both if frame.symbol == "ETHUSDT"] == alone


def test_time_never_goes_back_and_a_restart_is_the_same_market() -> None:
    source, frames = made(3, symbols=tuple(KNOWN))
    assert all(a.at_ns <= b.at_ns for a, b in itertools.pairwise(frames))
    source.act("BTCUSDT", Action(name="regime.crash"))
    source.advance(source.start_ns + 21 * SECOND_NS)
    source.restart()
    assert source.advance(source.start_ns + 20 * SECOND_NS) == frames


@pytest.mark.parametrize("symbol", EVENTFUL)
def test_a_snapshot_and_the_diffs_after_it_are_the_truth_at_every_event(symbol: str) -> None:
    """Snapshots are taken between frames, so most lie inside an event; the reference book refuses a gap and a crossing."""
    source = SyntheticMarket(11, (symbol,), start_ms=START_MS)
    source.advance(source.start_ns + SECOND_NS)
    books: list[ReferenceBook] = []
    compared = inside = 0
    for step in range(300):
        if step % 20 == 0:
            answer = source.depth(symbol, 5000)
            assert answer is not None
            books.append(ReferenceBook(json.loads(answer.body)))
        frames = source.advance(source.start_ns + SECOND_NS + (step + 1) * 47_000_000)
        for update in of(frames, f"{symbol.lower()}@depth@100ms"):
            inside += sum(update["U"] <= book.id < update["u"] for book in books)
            true = source.book(symbol, update["u"])
            assert true is not None
            for book in books:
                book.update(update)
                if update["u"] >= book.id:
                    assert (book.bids, book.asks) == (decimals(true.bids), decimals(true.asks))
                    compared += 1
            prices = [Decimal(p) for p, _ in update["b"]], [Decimal(p) for p, _ in update["a"]]
            assert prices == (sorted(set(prices[0]), reverse=True), sorted(set(prices[1])))
    if KNOWN[symbol].speed == NORMAL_SPEED:
        assert compared > 1000
        assert inside >= 5
    assert compared > 100


def test_diffs_close_up_and_span_many_ids_and_come_every_100_ms_give_or_take_one() -> None:
    updates = of(made(7)[1], "btcusdt@depth@100ms")
    for before, update in itertools.pairwise(updates):
        assert update["U"] == before["u"] + 1
        slots = round((update["E"] - before["E"]) / 100)  # one without a change sends nothing
        assert abs(update["E"] - before["E"] - 100 * slots) <= 3
    assert sum(update["u"] - update["U"] for update in updates) / len(updates) > 20


def test_frames_repeat_quantities_and_remove_levels_that_a_client_never_had() -> None:
    """Touched is told, not different. Recorded: 1.1 % and 1.5 % of the entries repeat, 19 % and 13 % of the removals."""
    source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
    answer = source.depth("BTCUSDT", 1000)
    assert answer is not None
    book = ReferenceBook(json.loads(answer.body))
    entries = same = removals = unknown = 0
    for update in of(source.advance(source.start_ns + 120 * SECOND_NS), "btcusdt@depth@100ms"):
        for side, levels in ((book.bids, update["b"]), (book.asks, update["a"])):
            for price, quantity in ((Decimal(p), Decimal(q)) for p, q in levels):
                entries += 1
                same += bool(quantity) and side.get(price) == quantity
                removals += not quantity
                unknown += not quantity and price not in side
        book.update(update)
    assert same > 0
    assert 0.05 < unknown / removals < 0.4


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "PEPEUSDT"])
def test_the_last_ticker_not_above_an_event_is_the_best_of_the_book_after_it(symbol: str) -> None:
    source = SyntheticMarket(5, (symbol,), start_ms=START_MS)
    answer = source.depth(symbol, 5000)
    assert answer is not None
    book = ReferenceBook(json.loads(answer.body))
    ticker: dict = {}
    later: list[dict] = []
    last = checked = 0
    for frame in source.advance(source.start_ns + 30 * SECOND_NS):
        said = json.loads(frame.payload)
        if frame.stream.endswith("@bookTicker"):
            assert list(said) == ["u", "s", "b", "B", "a", "A"]
            assert said["u"] > last
            last = said["u"]
            later.append(said)
        elif frame.stream.endswith("@depth@100ms"):
            book.update(said)
            ticker = next((t for t in reversed(later) if t["u"] <= said["u"]), ticker)
            later = [t for t in later if t["u"] > said["u"]]
            if ticker:
                assert book.best() == tuple(Decimal(ticker[key]) for key in "bBaA")
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_trade_ids_chain_and_aggregates_are_the_sums_of_their_fills(symbol: str) -> None:
    source, frames = made(7, seconds=60)
    fills = of(frames, f"{symbol.lower()}@trade")
    aggregates = of(frames, f"{symbol.lower()}@aggTrade")
    assert [t["t"] for t in fills] == list(range(fills[0]["t"], fills[0]["t"] + len(fills)))
    assert [t["a"] for t in aggregates] == list(range(aggregates[0]["a"], aggregates[0]["a"] + len(aggregates)))
    by_id = {t["t"]: t for t in fills}
    next_id = fills[0]["t"]
    for agg in aggregates:
        assert agg["f"] == next_id
        next_id = agg["l"] + 1
        own = [by_id[n] for n in range(agg["f"], agg["l"] + 1)]
        assert {(t["p"], t["T"], t["m"], t["s"]) for t in own} == {(agg["p"], agg["T"], agg["m"], symbol)}
        assert sum(Decimal(t["q"]) for t in own) == Decimal(agg["q"])
        assert all(Decimal(t["q"]) > 0 for t in own)
    assert {agg["m"] for agg in aggregates} == {True, False}
    assert any(agg["l"] > agg["f"] for agg in aggregates)
    rows = source.tape(symbol).aggregates(from_id=aggregates[5]["a"], start_ms=None, end_ms=None, limit=2)
    assert [row.a for row in rows] == [aggregates[5]["a"], aggregates[6]["a"]]


def test_the_aggressor_trades_at_the_price_of_the_side_that_it_takes() -> None:
    """A buyer (m false) takes the ask of the last ticker before, a seller the bid."""
    best: dict = {}
    checked = 0
    for frame in made(7)[1]:
        said = json.loads(frame.payload)
        if frame.stream == "btcusdt@bookTicker":
            best = said
        elif frame.stream == "btcusdt@aggTrade" and best:
            assert said["p"] == best["b" if said["m"] else "a"]
            checked += 1
    assert checked > 100


def test_signs_of_takers_have_a_memory() -> None:
    """Recorded autocorrelation of the signs at lag 1, 5, 10, 50: 0.41, 0.24, 0.16, 0.05 (BTCUSDT)."""
    takers = of(made(7, 600, ("BTCUSDT",))[1], "btcusdt@aggTrade")
    signs = [1 if trade["m"] else -1 for n, trade in enumerate(takers) if not n or trade["T"] != takers[n - 1]["T"]]

    def correlation(lag: int) -> float:
        return sum(a * b for a, b in zip(signs, signs[lag:], strict=False)) / (len(signs) - lag)

    assert 0.25 < correlation(1) < 0.6
    assert correlation(1) > correlation(5) > correlation(50)
    assert 0.08 < correlation(5) < 0.4


# Truth --------------------------------------------------------------------------


def test_ids_that_are_no_longer_kept_are_worked_out_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done to the market meanwhile is done again."""
    monkeypatch.setattr(truth, "CHUNK_IDS", 500)
    monkeypatch.setattr(truth, "KEPT_CHUNKS", 4)
    source = SyntheticMarket(7, ("BTCUSDT",), start_ms=START_MS)
    answer = source.depth("BTCUSDT", 5000)
    assert answer is not None
    book = ReferenceBook(json.loads(answer.body))
    books: list[tuple[int, dict, dict]] = []
    for second, action in enumerate(["scene.wall", "regime.busy", "scene.iceberg", "symbol.tick_size", "regime.normal"], 1):
        for update in of(source.advance(source.start_ns + second * SECOND_NS), "btcusdt@depth@100ms"):
            book.update(update)
            books.append((book.id, dict(book.bids), dict(book.asks)))
        source.act("BTCUSDT", Action(name=action, times=10, for_s=0.7))
    source.advance(source.start_ns + 20 * SECOND_NS)
    for update_id, bids, asks in books[::7]:
        true = source.book("BTCUSDT", update_id)
        assert true is not None, update_id
        assert (decimals(true.bids), decimals(true.asks)) == (bids, asks)


def test_a_coarse_grid_gathers_no_more_than_the_exchange_can_say() -> None:
    """A coin of 123 ticks puts on a few prices what others spread over hundreds; the exchange's cap is 2^63 - 1 at 1e-8."""
    source = SyntheticMarket(7, ("PEPEUSDT",), start_ms=START_MS)
    for minute in range(1, 31):
        source.advance(source.start_ns + minute * 60 * SECOND_NS)
        answer = source.depth("PEPEUSDT", 5000)
        assert answer is not None
        said = json.loads(answer.body)
        assert max(Decimal(q) for side in ("bids", "asks") for _, q in said[side]) < Decimal("50000000000")


def test_there_is_no_truth_of_ids_that_never_were() -> None:
    source, frames = made(7, 2)
    first, last = of(frames, "btcusdt@depth@100ms")[0]["U"], of(frames, "btcusdt@depth@100ms")[-1]["u"]
    assert source.book("BTCUSDT", first - 2) is None
    assert source.book("BTCUSDT", last + 10**6) is None
    assert source.book("NOSUCH", last) is None


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 4), (3, 9)])
def test_a_diff_over_several_frames_is_their_sum(first: int, last: int) -> None:
    source, frames = made(9, 5)
    updates = of(frames, "ethusdt@depth@100ms")[first : last + 1]
    diff = source.diff("ETHUSDT", updates[0]["U"], updates[-1]["u"])
    assert diff is not None
    assert diff.bids == dict(level for update in updates for level in update["b"])
    assert diff.asks == dict(level for update in updates for level in update["a"])


def test_a_diff_is_its_frame_wherever_the_truth_is_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 7 ids: most frames begin or end at an edge, or lie over several."""
    monkeypatch.setattr(truth, "CHUNK_IDS", 7)
    monkeypatch.setattr(truth, "KEPT_CHUNKS", 10_000)
    source, frames = made(9, 5, ("ETHUSDT",))
    for update in of(frames, "ethusdt@depth@100ms"):
        diff = source.diff("ETHUSDT", update["U"], update["u"])
        assert diff is not None
        assert (diff.bids, diff.asks) == (dict(update["b"]), dict(update["a"]))
