"""The seeded market by itself: same bytes, an exact and uncrossed book, the rules between its streams."""

import hashlib
import itertools
import json
from decimal import Decimal

import pytest
from tests.standin.support import ReferenceBook, decimals

from leadline.standin import market
from leadline.standin.market import RandomMarket
from leadline.standin.source import Frame

START_MS = 1_767_225_600_000  # 2026-01-01
SECOND_NS = 10**9

# A change of the model changes these, in its own commit, with a reason.
DIGESTS = {
    1: "7a47d2212f4ae3e1801c8f292bfd905cda305b1ed8bd01035279d1744ed03db4",
    7: "0ad0cc2279af606bf787e3a323915e13896e311292ff3ce112e89870062f50c7",
}


def made(seed: int, seconds: int = 20, symbols: tuple[str, ...] = market.DEFAULT_SYMBOLS) -> tuple[RandomMarket, list[Frame]]:
    source = RandomMarket(seed, symbols, start_ms=START_MS)
    return source, source.advance(source.start_ns + seconds * SECOND_NS)


def digest(frames: list[Frame]) -> str:
    state = hashlib.sha256()
    for frame in frames:
        state.update(b"%d %b %b\n" % (frame.at_ns, frame.stream.encode(), frame.payload))
    return state.hexdigest()


def of(frames: list[Frame], stream: str) -> list[dict]:
    return [json.loads(frame.payload) for frame in frames if frame.stream == stream]


@pytest.mark.parametrize("seed", DIGESTS)
def test_a_seed_has_its_bytes(seed: int) -> None:
    assert digest(made(seed)[1]) == DIGESTS[seed]


def test_the_bytes_do_not_depend_on_how_time_is_cut() -> None:
    source = RandomMarket(7, start_ms=START_MS)
    frames = []
    while source.server_time_ms() < START_MS + 20_000:
        frames += source.advance(source.server_time_ms() * 1_000_000 + 7_000_000)
    whole = made(7)[1]
    assert frames[: len(whole)] == whole


def test_a_further_symbol_changes_no_other() -> None:
    both, alone = made(7)[1], made(7, symbols=("ETHUSDT",))[1]
    assert [frame for frame in both if frame.symbol == "ETHUSDT"] == alone


def test_time_never_goes_back_and_a_restart_is_the_same_market() -> None:
    source, frames = made(3)
    assert all(a.at_ns <= b.at_ns for a, b in itertools.pairwise(frames))
    source.restart()
    assert source.advance(source.start_ns + 20 * SECOND_NS) == frames


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "1INCHUSDT", "币安人生USDT"])
def test_a_snapshot_and_the_diffs_after_it_are_the_truth_at_every_event(symbol: str) -> None:
    """Snapshots are taken between frames, so most lie inside an event; the reference book refuses a gap and a crossing."""
    source = RandomMarket(11, (symbol,), start_ms=START_MS)
    source.advance(source.start_ns + SECOND_NS)
    books: list[ReferenceBook] = []
    inside = 0
    for step in range(200):
        answer = source.depth(symbol, 5000)
        assert answer is not None
        taken = ReferenceBook(json.loads(answer.body)) if step % 20 == 0 else None
        if taken:
            assert min(len(taken.bids), len(taken.asks)) >= 600
            mid = (max(taken.bids) + min(taken.asks)) / 2
            assert mid - min(taken.bids) > mid * Decimal("0.006")
            assert max(taken.asks) - mid > mid * Decimal("0.006")
            books.append(taken)
        frames = source.advance(source.start_ns + SECOND_NS + (step + 1) * 47_000_000)
        for update in of(frames, f"{symbol.lower()}@depth@100ms"):
            inside += sum(update["U"] <= book.id < update["u"] for book in books)
            truth = source.book(symbol, update["u"])
            assert truth is not None
            for book in books:
                book.update(update)
                if update["u"] >= book.id:
                    assert (book.bids, book.asks) == (decimals(truth.bids), decimals(truth.asks))
            prices = [Decimal(p) for p, _ in update["b"]], [Decimal(p) for p, _ in update["a"]]
            assert prices == (sorted(set(prices[0]), reverse=True), sorted(set(prices[1])))
    assert len(books) == 10
    assert inside >= 5


def test_diffs_close_up_and_span_many_ids_and_come_every_100_ms_give_or_take_one() -> None:
    updates = of(made(7)[1], "btcusdt@depth@100ms")
    for before, update in itertools.pairwise(updates):
        assert update["U"] == before["u"] + 1
        assert 97 <= update["E"] - before["E"] <= 103
    assert sum(update["u"] - update["U"] for update in updates) / len(updates) > 10


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_last_ticker_not_above_an_event_is_the_best_of_the_book_after_it(symbol: str) -> None:
    source = RandomMarket(5, (symbol,), start_ms=START_MS)
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
    assert checked > 250


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
    assert {agg["m"] for agg in aggregates} == {True, False}
    assert any(agg["l"] > agg["f"] for agg in aggregates)
    rows = source.tape(symbol).aggregates(from_id=aggregates[5]["a"], start_ms=None, end_ms=None, limit=2)
    assert [row.a for row in rows] == [aggregates[5]["a"], aggregates[6]["a"]]


def test_the_truth_of_ids_that_are_not_kept_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "LOG_IDS", 500)
    source, frames = made(7, symbols=("BTCUSDT",))
    updates = of(frames, "btcusdt@depth@100ms")
    assert source.book("BTCUSDT", updates[0]["u"]) is None
    assert source.book("BTCUSDT", updates[-1]["u"] + 10**6) is None
    kept = source.book("BTCUSDT", updates[-2]["u"])
    monkeypatch.setattr(market, "LOG_IDS", 10**6)
    assert kept is not None
    assert kept == made(7, symbols=("BTCUSDT",))[0].book("BTCUSDT", updates[-2]["u"])


def test_a_minute_of_it_never_has_a_thin_side() -> None:
    source = RandomMarket(2, start_ms=START_MS)
    for second in range(1, 61):
        source.advance(source.start_ns + second * SECOND_NS)
        for symbol in source.symbols:
            answer = source.depth(symbol, 5000)
            assert answer is not None
            said = json.loads(answer.body)
            assert min(len(said["bids"]), len(said["asks"])) >= 600
