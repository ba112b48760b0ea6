"""Rows as DataFrames of both packages: names, types and numbers, against the rows and the units in docs/records.md."""

import datetime
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest
from msgspec import structs
from tests.client.test_history import LAST, T, asks
from tests.serve.market import BTC
from tests.store import samples
from tests.test_docs import names, rows, section

from leadline.client import Coverage, Gap, MissingPackage, Seconds, Snapshots, Trades
from leadline.core.records import BookState

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "records.md"
UNITS = {names(row[0])[0]: row[1] for row in rows(section(RECORDS.read_text("utf-8"), "SecondRecord").partition("\n### ")[0])}
LEFT_OUT = {"level_events", "minute"}
BANDS = ("1bps", "2bps", "5bps", "10bps", "25bps", "50bps")
SIZES = ("10k", "25k", "50k", "100k", "500k", "1m")
WORDS = {"px": {"px", "price"}, "px^2": {"price2"}, "qty": {"qty", "quantity"}, "quote": {"quote"}, "bps": {"bps"}, "ms": {"ms"}}
WORDS |= {"unix s": {"s"}}


def seconds() -> Seconds:
    found: Seconds = asks(lambda client: client.seconds(BTC, T, LAST))
    return found


def moment(second: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(second, datetime.UTC)


# Snapshots and trades --------------------------------------------------------------------


def test_snapshots_are_a_row_each_with_twenty_levels_a_side():
    found: Snapshots = asks(lambda client: client.snapshots(BTC, T, LAST))
    frame, exact = found.to_pandas(), found.to_polars(exact=True)
    assert list(frame.columns) == exact.columns
    assert list(frame.columns[:7]) == [
        *("time_utc", "timestamp_s", "update_id"),
        *("bid_1_price", "bid_1_quantity", "bid_2_price", "bid_2_quantity"),
    ]
    assert (len(frame.columns), frame.columns[-1], len(frame)) == (83, "ask_20_quantity", 8)
    assert (frame["bid_1_price"][0], frame["ask_2_quantity"][0]) == (61837.64, 0.002)
    assert (exact["bid_1_price"][0], exact["ask_2_quantity"][0]) == (Decimal("61837.64"), Decimal("0.002"))
    assert frame["time_utc"][0].to_pydatetime() == exact["time_utc"][0] == moment(T)
    assert (str(frame["time_utc"].dtype), frame["update_id"].dtype) == ("datetime64[ns, UTC]", "Int64")
    assert (exact.schema["time_utc"], exact.schema["bid_1_price"]) == (polars.Datetime("ns", "UTC"), polars.Decimal(38, 8))


def test_levels_that_are_not_there_are_null():
    found: Snapshots = asks(lambda client: client.snapshots(BTC, T, T + 1))
    thin = structs.replace(found, rows=(structs.replace(found.rows[0], bids=found.rows[0].bids[:1], asks=()),))
    assert thin.to_polars()["bid_2_price"].to_list() == thin.to_polars(exact=True)["ask_1_quantity"].to_list() == [None]
    assert thin.to_pandas()["bid_1_price"][0] == 61837.64
    assert math.isnan(thin.to_pandas()["bid_2_price"][0])


def test_trades_are_a_row_each():
    found: Trades = asks(lambda client: client.trades(BTC, T, LAST))
    frame, exact = found.to_polars(), found.to_pandas(exact=True)
    assert frame.columns == list(exact.columns)
    assert frame.columns == [
        *("time_utc", "agg_id", "price", "quantity", "aggressor", "first_id", "last_id", "trade_time_ns"),
    ]
    assert frame.row(0) == (moment(T), 1, 61837.64, 0.001, "sell", 10, 11, T * 10**9)
    assert (exact["price"][0], exact["aggressor"].dtype) == (Decimal("61837.64"), "string")
    assert frame["agg_id"].to_list() == [row.agg_id for row in found.rows]


def test_gaps_are_a_row_each():
    found = Coverage(symbol=BTC, origin="a", from_s=T, to_s=LAST, covered_s=9, gaps=(Gap(T + 4, T + 5, "gap"),))
    assert found.to_polars().rows() == [(moment(T + 4), T + 4, T + 5, "gap")]
    assert found.to_pandas()["cause"].to_list() == ["gap"]


# Seconds ---------------------------------------------------------------------------------


def columns_of(field: str, unit: str) -> list[str]:
    """By docs/client.md: the field, its part, its unit unless the name has it."""
    kind = unit.partition(",")[0].partition(" (")[0]
    own = WORDS.get(kind, set())
    word = {"px": "price", "px^2": "price2", "qty": "quantity", "unix s": "s"}.get(kind, kind)
    end = "" if not own or own & set(field.split("_")) else f"_{word}"
    if not (count := unit.partition(", ")[2]):
        return [f"{field}{end}"]
    ranks = tuple(str(rank) for rank in range(1, 11))
    parts = ranks if count == "10" else BANDS if field.startswith("depth") else SIZES
    return [f"{field}_{part}{end}" for part in parts]


def whole(value: Any, unit: str) -> Any:
    """In whole units, exactly."""
    if value is None or isinstance(value, str):
        return value
    power = 8 if unit.startswith(("px", "qty")) and unit != "px^2" else 16 if unit.startswith(("quote", "px^2")) else 0
    return Decimal(value) / 10**power if power and isinstance(value, int) else value / 10**power if power else value


def test_a_second_is_a_row_with_a_column_for_each_number_of_it():
    found = seconds()
    frame, exact = found.to_polars(), found.to_polars(exact=True)
    wanted = [(name, unit) for name, unit in UNITS.items() if name not in LEFT_OUT]
    assert frame.columns == ["time_utc", *(column for name, unit in wanted for column in columns_of(name, unit))]
    assert {"t_s", "bid_added_quantity", "depth_bid_10bps_quote", "cost_sell_1m_bps", "ofi_diff_10_quantity", "px_last"} <= set(
        frame.columns
    )
    for place, t in enumerate(found.t):
        changed = {"state": BookState.SYNCING, "reason": "gap", "update_id": None} if t == T + 4 else {}
        record = samples.record(t, **changed)
        for name, unit in wanted:
            value = getattr(record, name)
            parts = value if isinstance(value, list) else [value]
            for column, part in zip(columns_of(name, unit), parts, strict=True):
                assert exact[column][place] == whole(part, unit), column
                told = whole(part, unit)
                assert frame[column][place] == (float(told) if isinstance(told, Decimal) else told), column


def test_both_packages_have_the_same_columns_and_numbers():
    found = seconds()
    ours, theirs = found.to_polars(), found.to_pandas()
    assert ours.columns == list(theirs.columns)
    for name in ours.columns[1:]:
        one = [None if pandas.isna(value) else value for value in theirs[name]]
        assert one == ours[name].to_list(), name


@pytest.mark.parametrize("exact", [False, True])
def test_types_are_the_same_with_and_without_rows(exact: bool):
    found = seconds()
    nothing = structs.replace(found, t=(), columns=dict.fromkeys(found.columns, ()))
    assert nothing.to_polars(exact=exact).schema == found.to_polars(exact=exact).schema
    assert list(nothing.to_pandas(exact=exact).dtypes) == list(found.to_pandas(exact=exact).dtypes)
    assert len(nothing.to_pandas()) == 0


def test_counts_are_integers_ratios_are_floats_and_names_are_text():
    found = seconds()
    ours, theirs = found.to_polars().schema, found.to_pandas().dtypes
    for name, kind, kind_too in (
        ("n_diff", polars.Int64, "Int64"),
        ("event_ms", polars.Int64, "Int64"),
        ("cost_buy_10k_bps", polars.Float64, "float64"),
        ("state", polars.String, "string"),
    ):
        assert (ours[name], theirs[name]) == (kind, kind_too)


def test_a_scan_without_t_has_it_all_the_same():
    found: Seconds = asks(lambda client: client.seconds(BTC, T, LAST, fields=["n_diff"]))
    assert found.to_polars().columns == ["time_utc", "t_s", "n_diff"]
    assert found.to_pandas()["t_s"].to_list() == list(found.t)


# Without the packages --------------------------------------------------------------------


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_that_is_missing_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch):
    found = Coverage(symbol=BTC, origin="a", from_s=T, to_s=LAST, covered_s=10)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage) as missing:
        getattr(found, f"to_{package}")()
    assert (missing.value.package, missing.value.extra, missing.value.exit_code) == (package, package, 2)
    assert str(missing.value) == f"{package} is not installed: pip install 'leadline[{package}]'"


def test_one_package_does_not_load_the_other():
    code = (
        "import sys\nfrom leadline.client import Coverage\n"
        "Coverage(symbol='B', origin='a', from_s=1, to_s=2, covered_s=1).to_polars()\nprint('pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "False\n"
