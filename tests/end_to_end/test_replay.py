"""The main job on real input: recordings through the whole path into RocksDB and out again, equal to an independent result."""

import csv
import gzip
import io
import json
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal

import pytest
from tests.captures import captures
from tests.end_to_end.running import stored

SPOT = {"BTCUSDT": "btcusdt_20240808", "ETHUSDT": "ethusdt_20240808"}
MULTI = {
    "binance_20210404": ["binance_20210404_btc_eth_dot.raw.gz"],
    "binance_20211012": ["binance_20211012_4pairs.ws.gz", "binance_20211012_4pairs.http.gz"],
    "binanceus_20211012": ["binanceus_20211012_4pairs.ws.gz", "binanceus_20211012_4pairs.http.gz"],
}


def leadline(*args: object) -> str:
    done = subprocess.run([sys.executable, "-m", "leadline", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected_rows(name: str) -> list[dict[str, str]]:
    with gzip.open(captures() / "expected" / name, "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Each spot recording replayed by the command line into a folder of its own."""
    folders = {}
    for symbol, name in SPOT.items():
        folders[symbol] = tmp_path_factory.mktemp(symbol) / "store"
        leadline("replay", captures() / "spot" / f"{name}.gz", "--data", folders[symbol])
    return folders


@pytest.mark.parametrize("symbol", SPOT)
def test_every_exported_snapshot_row_equals_the_independent_book(symbol, replayed):
    text = leadline("export", "--what", "snapshots", "--symbol", symbol, "--data", replayed[symbol])
    ours = {int(row["timestamp"]): row for row in csv.DictReader(io.StringIO(text))}
    expected = expected_rows(f"spot_{SPOT[symbol]}_top20_1s.csv.gz")
    assert len(expected) == len(ours) == 346
    for row in expected:
        mine = ours[int(row["t_ms"]) // 1000]
        assert mine["update_id"] == row["last_u"]
        assert row["bbo_equals_bookticker"] == "1"
        for column in (f"{side}{level}_{part}" for side in "ba" for level in range(20) for part in "pq"):
            assert Decimal(mine[column]) == Decimal(row[column]), (row["t_ms"], column)
            assert "." not in mine[column] or not mine[column].endswith("0")


@pytest.mark.parametrize("symbol", SPOT)
def test_the_exported_trades_add_up_to_the_independent_sums_of_each_second(symbol, replayed):
    text = leadline("export", "--what", "trades", "--symbol", symbol, "--data", replayed[symbol])
    sums = defaultdict(lambda: [0, Decimal(0), Decimal(0), Decimal(0), None, None])
    for a, row in enumerate(csv.DictReader(io.StringIO(text)), 1):
        assert int(row["a"]) == a
        second = sums[int(row["T"]) // 1000]
        price, quantity = Decimal(row["p"]), Decimal(row["q"])
        second[0] += int(row["l"]) - int(row["f"]) + 1
        second[2 if row["m"] == "true" else 1] += quantity
        second[3] += price * quantity
        second[4] = min(second[4] or int(row["f"]), int(row["f"]))
        second[5] = max(second[5] or 0, int(row["l"]))
    expected = expected_rows(f"spot_{SPOT[symbol]}_trades_1s.csv.gz")
    assert sorted(sums) == [int(row["t_ms"]) // 1000 for row in expected]
    for row in expected:
        wanted = [Decimal(row[k]) for k in ("n", "taker_buy_qty", "taker_sell_qty", "quote_qty", "first_id", "last_id")]
        assert sums[int(row["t_ms"]) // 1000] == wanted


@pytest.mark.parametrize("symbol", SPOT)
def test_the_stored_best_prices_equal_the_last_ticker_that_is_not_above_the_book(symbol, replayed):
    tickers = []
    with gzip.open(captures() / "spot" / f"{SPOT[symbol]}.gz", "rb") as file:
        for line in file:
            if b"@bookTicker" in line[:60]:
                data = json.loads(line.split(b" ", 1)[1])["data"]
                tickers.append((data["u"], tuple(Decimal(data[k]) for k in "bBaA")))
    text = leadline("export", "--what", "snapshots", "--symbol", symbol, "--data", replayed[symbol])
    checked = 0
    for row in csv.DictReader(io.StringIO(text)):
        last = [quote for update_id, quote in tickers if update_id <= int(row["update_id"])][-1]
        assert tuple(Decimal(row[k]) for k in ("b0_p", "b0_q", "a0_p", "a0_q")) == last
        assert Decimal(row["b0_p"]) < Decimal(row["a0_p"])
        checked += 1
    assert checked == 346


@pytest.mark.parametrize("name", MULTI)
def test_every_book_of_a_recording_of_many_symbols_ends_as_the_independent_one(name, tmp_path):
    files = [captures() / "multi" / file for file in MULTI[name]]
    leadline("replay", *files, "--data", tmp_path / "store", "--summary", tmp_path / "summary.json")
    ours = json.loads((tmp_path / "summary.json").read_text())["symbols"]
    expected = json.loads((captures() / "expected" / f"multi_{name}.json").read_text())
    assert sorted(ours) == sorted(expected)
    for symbol, wanted in expected.items():
        found = ours[symbol]
        assert found["snapshot_update_id"] == wanted["snapshot_lastUpdateId"]
        assert (found["events_dropped"], found["events_applied"]) == (wanted["events_dropped"], wanted["events_applied"])
        assert (found["first_applied"], found["gaps"]) == (wanted["bracket"], 0)
        assert (found["final_update_id"], found["final_levels"]) == (wanted["final_u"], wanted["final_levels"])
        for side in ("final_bid", "final_ask"):
            assert list(map(Decimal, found[side])) == list(map(Decimal, wanted[side]))


def test_the_same_recording_twice_makes_byte_equal_stores(tmp_path):
    files = [captures() / "spot" / f"{name}.gz" for name in SPOT.values()]
    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        leadline("replay", *files, "--data", folder)
        with stored(folder) as history:
            digests.append(history.digest())
            assert history.symbols() == sorted(SPOT)
    assert digests[0] == digests[1]


def test_records_and_the_trade_store_agree_exactly_by_id_range(replayed):
    for symbol, folder in replayed.items():
        with stored(folder) as history:
            trades = [trade for block in history.trades(symbol, 0, 2**33).rows for trade in block.trades]
            for record in history.seconds(symbol, 0, 2**33).rows:
                if record.first_id is None:
                    continue
                inside = [trade for trade in trades if record.first_id <= trade.first_id and trade.last_id <= record.last_id]
                assert sum(t.quantity_e8 for t in inside if not t.buyer_is_maker) == record.buy_qty
                assert sum(t.price_e8 * t.quantity_e8 for t in inside if t.buyer_is_maker) == record.sell_quote
