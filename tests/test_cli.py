"""The command line as its users meet it: output, errors, exit codes. In this process where that will do, else as a child."""

import csv
import io
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from msgspec import structs
from tests.captures import captures
from tests.store import samples

from leadline import cli
from leadline.core.records import BookState, Flag
from leadline.store.history import History
from leadline.store.rocks import RocksEngine

T = 1_723_161_240  # 2024-08-08 23:54:00 UTC
BTC = "BTCUSDT"
COMMANDS = [
    *("serve", "demo", "replay", "standin", "export", "book", "tools", "call", "coverage", "doctor", "config", "version"),
    *("mcp", "store", "plot", "watch"),
]


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings of the machine, a folder without leadline.toml, a wide terminal, and the root logger given back."""
    for name in [name for name in os.environ if name.startswith(("LEADLINE_", "BINANCE_")) and name != "LEADLINE_CAPTURES"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "160")
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["leadline", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        out, err = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0 if code is None else 1, out, err)

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTCUSDT T..T+9 without T+4 (not LIVE) and T+6 (an incident tells); BTCUSDC T..T+1; one trade a second."""
    folder = tmp_path_factory.mktemp("cli") / "data"
    engine = RocksEngine(folder)
    history = History(engine, str(folder))
    history.open_for("test", T)
    rows = [samples.row(T + i, trades=(samples.block(T + i, i + 1),)) for i in range(10) if i not in {4, 6}]
    lost = samples.record(T + 4, state=BookState.SYNCING, reason="gap", update_id=None, flags=int(Flag.GAP))
    rows.append(structs.replace(samples.row(T + 4), record=lost, snapshot=None, skipped="book not live (gap)"))
    rows += [samples.row(T + i, "BTCUSDC") for i in range(2)]
    missed = structs.replace(samples.incident(T + 6, symbol="*", end_ms=(T + 6) * 1000), kind="missed_seconds", cause="stalled")
    history.write(rows, [missed, samples.incident(T + 4, end_ms=(T + 4) * 1000 + 500)])
    engine.close()
    return folder


def child(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leadline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# Help and refusals ------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), ["store", "stats"], ["store", "repair"]], ids=" ".join)
def test_every_command_explains_itself(said, command: list[str]):
    answer = said(*command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: ") and f"leadline {' '.join(command)} " in answer.out


def test_the_help_names_every_command_and_the_exit_codes(said):
    answer = said("--help")
    assert answer.code == 0
    words = answer.out.split()
    assert [name for name in COMMANDS if name not in words] == []
    assert "Exit codes: 0 done, 1 our bug, 2 a wrong request, 3 unknown symbol," in answer.out


def test_every_command_that_exists_is_tried_here():
    assert sorted(typer.main.get_group(cli.app).commands) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["export", "--what", "snap", "--symbol", BTC], "--what: 'snap' (allowed: snapshots, seconds, trades, incidents)"),
        (["export", "--what", "trades", "--symbol", BTC, "--format", "xml"], "--format: 'xml' (allowed: csv, jsonl)"),
        (["export", "--what", "trades", "--symbol", BTC, "--from", "noon"], "--from: not a time: 'noon'"),
        (["export", "--what", "trades", "--symbol", BTC, "--to", "2024-13-01"], "--to: not a time: '2024-13-01'"),
        (["export", "--what", "trades", "--symbol", BTC, "--from", "nan"], "--from: not a time: 'nan'"),
        (["export", "--what", "trades", "--symbol", BTC, "--to", "inf"], "--to: not a time: 'inf'"),
        (["export", "--what", "trades", "--symbol", BTC, "--to", f"{T}000"], f"--to: not a time: '{T}000'"),
        (["coverage", "--format", "csv"], "--format: 'csv' (allowed: table, json)"),
        (["coverage", "--from", "soon"], "--from: not a time: 'soon'"),
        (["book", BTC, "--format", "csv"], "--format: 'csv' (allowed: table, json)"),
        (["book", BTC, "--levels", "21"], "--levels"),
        (["watch", BTC, "--format", "csv"], "--format: 'csv' (allowed: table, json)"),
        (["watch", BTC, "--url", "http://localhost:3001"], "--url: 'http://localhost:3001' (allowed: HOST:PORT of the gRPC door"),
        (["export", "--symbol", BTC], "--what"),
        (["expert"], "No such command 'expert'"),
        (["config", "--symbols", "BTC:USDT"], "symbols: 'BTC:USDT' cannot be a symbol"),
        (["serve", "--log-level", "LOUD"], "log.level"),
        (["serve", "--rest-url", "ftp://x"], "exchange.rest_url"),
    ],
)
def test_a_wrong_request_is_one_exit_code_and_a_line_with_the_field(said, data: Path, words: list[str], names: str):
    if words[0] in {"export", "coverage", "book"}:
        words = [*words, "--data", str(data)]
    answer = said(*words)
    assert (answer.code, answer.out) == (2, "")
    assert names in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize("words", [["export", "--what", "snapshots", "--symbol", "BTCUSD"], ["book", "btcusd"]])
def test_an_unknown_symbol_is_told_with_those_that_are_near(said, data: Path, words: list[str]):
    answer = said(*words, "--data", data)
    assert (answer.code, answer.out) == (3, "")
    assert "symbol: 'BTCUSD' is not known in this store; near matches: BTCUSD" in answer.err
    assert "BTCUSDT" in answer.err and "BTCUSDC" in answer.err


@pytest.mark.parametrize(
    "words", [["export", "--what", "snapshots", "--symbol", "*"], ["book", "*"], ["coverage", "--symbol", "*"]]
)
def test_the_whole_service_has_incidents_and_is_no_symbol(said, data: Path, words: list[str]):
    assert said(*words, "--data", data).code == 3


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [("missing", 2, "--data: no store at"), ("file", 2, "--data: no store at"), ("empty", 6, "there is no store here")],
)
@pytest.mark.parametrize(
    "words",
    [["export", "--what", "trades", "--symbol", BTC], ["book", BTC], ["coverage"], ["store", "stats"]],
    ids=lambda words: words[0],
)
def test_a_place_without_a_store_is_said(said, tmp_path: Path, words: list[str], kind: str, code: int, says: str):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind == "empty":
        place.mkdir()
    answer = said(*words, "--data", place)
    assert (answer.code, answer.out) == (code, "")
    assert says in answer.err and str(place) in answer.err
    assert kind != "empty" or list(place.iterdir()) == []


def test_version_is_the_packages(said):
    from leadline import __version__

    assert said("version") == (0, __version__ + "\n", "")


# Export -------------------------------------------------------------------------------------


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_export_writes_a_table_of_each_kind(said, data: Path):
    first = {"snapshots": ("timestamp", T), "seconds": ("t", T), "trades": ("a", 1), "incidents": ("second", T + 4)}
    counts = {}
    for what, (column, value) in first.items():
        answer = said("export", "--what", what, "--symbol", "btcusdt", "--data", data)
        assert (answer.code, answer.err) == (0, "")
        found = rows(answer.out)
        assert found[0][column] == str(value)
        counts[what] = len(found)
    assert counts == {"snapshots": 8, "seconds": 9, "trades": 8, "incidents": 1}
    assert rows(said("export", "--what", "incidents", "--symbol", "*", "--data", data).out)[0]["kind"] == "missed_seconds"


def test_export_writes_json_lines(said, data: Path):
    answer = said("export", "--what", "trades", "--symbol", BTC, "--data", data, "--format", "jsonl")
    assert [json.loads(line)["a"] for line in answer.out.splitlines()] == [1, 2, 3, 4, 6, 8, 9, 10]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (str(T + 2), str(T + 8)),
        (f"{T + 1}.5", f"{T + 7}.001"),
        ("2024-08-08T23:54:02", "2024-08-08T23:54:08"),
        ("2024-08-08 23:54:02Z", "2024-08-08T23:54:08+00:00"),
        ("2024-08-09T01:54:02+02:00", "2024-08-08T18:54:08-05:00"),
        ("2024-08-08T23:54:01.5", "20240808T235408Z"),
    ],
)
def test_a_window_is_given_in_unix_seconds_or_iso_8601_and_without_a_zone_it_is_utc(said, data: Path, start: str, end: str):
    answer = said("export", "--what", "snapshots", "--symbol", BTC, "--data", data, "--from", start, "--to", end)
    assert [int(row["timestamp"]) - T for row in rows(answer.out)] == [2, 3, 5, 7]


def test_a_store_that_a_writer_holds_is_read_beside_it_and_written_by_no_second(data: Path, tmp_path: Path):
    folder = tmp_path / "held"
    engine = RocksEngine(folder)
    try:
        history = History(engine, str(folder))
        history.open_for("test", T)
        history.write([samples.row(T)])
        before = sorted(path.name for path in folder.iterdir())
        answer = child("export", "--what", "snapshots", "--symbol", BTC, "--data", folder)
        assert (answer.returncode, answer.stderr, len(rows(answer.stdout))) == (0, "", 1)
        assert [name for name in sorted(p.name for p in folder.iterdir()) if name not in before] == []
        recording = tmp_path / "rec.txt"
        recording.write_text(f'{T}000000000 {{"stream":"x@depth","data":{{"E":{T}000,"s":"X","U":1,"u":1,"b":[],"a":[]}}}}\n')
        refused = child("replay", recording, "--data", folder)
        assert (refused.returncode, refused.stdout) == (6, "")
        assert "already in use by another process" in refused.stderr
    finally:
        engine.close()


@pytest.mark.parametrize("lines", [1, 3000], ids=["smaller than a buffer", "larger"])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(data: Path, tmp_path: Path, lines: int):
    folder = data
    if lines > 1:
        folder = tmp_path / "long"
        engine = RocksEngine(folder)
        History(engine, "").write([samples.row(T + i) for i in range(lines)])
        engine.close()
    what = "trades" if lines == 1 else "snapshots"
    command = [sys.executable, "-m", "leadline", "export", "--what", what, "--symbol", BTC, "--data", str(folder)]
    reader, writer = os.pipe()
    if lines == 1:
        os.close(reader)  # nobody reads at all
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, env=buffered) as process:
        os.close(writer)
        if lines > 1:
            assert os.read(reader, 10) == b"timestamp,"
            os.close(reader)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


# Book and coverage -----------------------------------------------------------------------------


def test_book_as_json_is_the_latest_stored_snapshot_with_its_age_and_source(said, data: Path):
    answer = said("book", "btcusdt", "--data", data, "--levels", 2)
    assert (answer.code, answer.err) == (0, "")
    book = json.loads(answer.out)
    assert (book["symbol"], book["second"], book["update_id"], book["source"], book["origin"]) == (BTC, T + 9, 7, "store", "test")
    assert book["bids"] == [["61837.64", "0.001"], ["61837.63", "0.002"]]
    assert book["asks"] == [["61837.65", "0.001"], ["61837.66", "0.002"]]
    assert (book["epoch"], book["flags"], book["known_bid"], book["known_ask"]) == (3, 68, "60000.00000001", None)
    assert book["age_s"] > 86_400


def test_book_as_a_table_has_both_sides_and_says_how_old_it_is(said, data: Path):
    answer = said("book", BTC, "--data", data, "--levels", 1, "--format", "table")
    lines = answer.out.splitlines()
    assert lines[0].startswith("BTCUSDT at 2024-08-08 23:54:09, ") and " d old, update id 7, from the store (test)" in lines[0]
    assert lines[1].split() == ["bid", "quantity", "bid", "ask", "ask", "quantity"]
    assert [line.split() for line in lines[2:]] == [["0.001", "61837.64", "61837.65", "0.001"]]
    assert "\x1b" not in answer.out


def test_a_symbol_without_a_snapshot_has_no_book_yet(said, tmp_path: Path):
    folder = tmp_path / "data"
    engine = RocksEngine(folder)
    History(engine, "").write([structs.replace(samples.row(T), snapshot=None, skipped="empty orderbook")])
    engine.close()
    answer = said("book", BTC, "--data", folder)
    assert (answer.code, answer.out) == (4, "")
    assert "no live book of BTCUSDT: no snapshot is stored" in answer.err


def test_coverage_as_json_has_every_gap_with_its_cause(said, data: Path):
    answer = said("coverage", "--data", data)
    assert (answer.code, answer.err) == (0, "")
    btcusdc, btcusdt = json.loads(answer.out)
    assert btcusdt == {
        "symbol": BTC,
        "from_s": T,
        "to_s": T + 10,
        "expected_s": 10,
        "live_s": 8,
        "missing_s": 2,
        "ratio": 0.8,
        "gaps": [[T + 4, T + 5, "gap"], [T + 6, T + 7, "missed_seconds (stalled)"]],
    }
    assert (btcusdc["symbol"], btcusdc["to_s"], btcusdc["live_s"]) == ("BTCUSDC", T + 10, 2)
    none, missed = "nothing is stored since", "missed_seconds (stalled)"
    assert [gap[2] for gap in btcusdc["gaps"]] == [none, missed, none]


def test_coverage_of_a_window_is_half_open(said, data: Path):
    answer = said("coverage", "--data", data, "--symbol", BTC, "--from", T + 5, "--to", "2024-08-08T23:54:08")
    (found,) = json.loads(answer.out)
    assert (found["from_s"], found["to_s"], found["live_s"], len(found["gaps"])) == (T + 5, T + 8, 2, 1)


def test_coverage_as_a_table_names_times_lengths_and_causes(said, data: Path):
    lines = said("coverage", "--data", data, "--symbol", BTC, "--format", "table").out.splitlines()
    assert lines == [
        "BTCUSDT 2024-08-08 23:54:00 .. 2024-08-08 23:54:10: 8 of 10 s with a live book (80.000 %), 2 s missing in 2 gaps",
        "  2024-08-08 23:54:04 .. 2024-08-08 23:54:05       1 s  gap",
        "  2024-08-08 23:54:06 .. 2024-08-08 23:54:07       1 s  missed_seconds (stalled)",
    ]


def test_stats_tell_origin_symbols_and_span(said, data: Path):
    found = json.loads(said("store", "stats", "--data", data).out)
    assert (found["origin"], found["symbols"], found["oldest_second"], found["newest_second"]) == (
        "test",
        ["BTCUSDC", BTC],
        T,
        T + 9,
    )
    assert found["bytes"] > 0


# Config and doctor -------------------------------------------------------------------------------


def test_config_prints_each_value_and_where_it_came_from(said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.toml"
    path.write_text("[exchange]\ntickers = false\n")
    monkeypatch.setenv("LEADLINE_LOG_FORMAT", "json")
    monkeypatch.setenv("PERSISTENT_SYMBOLS", "btcusdt,币安人生usdt")
    monkeypatch.setenv("BINANCE_API_KEY", "s3cret")
    answer = said("config", "--config", path, "--data", "/somewhere")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert "symbols = BTCUSDT,币安人生USDT  (PERSISTENT_SYMBOLS)" in lines
    assert "store.path = /somewhere  (flag)" in lines
    assert f"exchange.tickers = false  ({path})" in lines
    assert "log.format = json  (LEADLINE_LOG_FORMAT)" in lines
    assert "log.level = INFO  (default)" in lines
    assert "s3cret" not in answer.out + answer.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def findings(out: str) -> dict[str, tuple[str, str, str]]:
    """Check -> (level, what, remedy)."""
    found: dict[str, tuple[str, str, str]] = {}
    check = ""
    for line in out.splitlines():
        if line.startswith("      -> "):
            level, what, _ = found[check]
            found[check] = (level, what, line.removeprefix("      -> "))
        else:
            level, rest = line[:5].strip(), line[6:]
            check, what = rest.split(": ", 1)
            found[check] = (level, what, "")
    return found


def test_the_doctor_tells_an_exchange_that_does_not_answer_and_what_to_do(said, data: Path):
    answer = said("doctor", "--data", data, "--rest-url", f"http://127.0.0.1:{closed_port()}")
    assert (answer.code, answer.err) == (1, "")
    found = findings(answer.out)
    level, what, remedy = found["exchange"]
    assert (level, remedy) == ("FAIL", "check the network and exchange.rest_url") and "Connection refused" in what
    level, what, remedy = found["store"]
    assert (level, what, remedy) == ("ok", f"2 symbols, newest second {T + 9}, in use or not closed in order", "")
    assert found["disk"][0] in {"ok", "WARN"} and found["limits"][0] in {"ok", "WARN"}


@pytest.mark.parametrize(
    ("kind", "check", "level", "says", "remedy"),
    [
        ("missing", "store", "ok", "none yet", ""),
        ("empty", "store", "ok", "none yet", ""),
        ("file", "disk", "FAIL", "is not a folder", "give --data a folder"),
        ("damaged", "store", "FAIL", "damaged", "stop the service and run `leadline store repair --data DIR`"),
    ],
)
def test_the_doctor_tells_what_is_wrong_with_the_place(
    said, tmp_path: Path, kind: str, check: str, level: str, says: str, remedy: str
):
    place = tmp_path / "place"
    if kind == "empty":
        place.mkdir()
    elif kind == "file":
        place.write_text("x")
    elif kind == "damaged":
        engine = RocksEngine(place)
        History(engine, "").write([samples.row(T)])
        engine.close()
        (manifest,) = place.glob("MANIFEST-*")
        manifest.write_bytes(manifest.read_bytes()[:100])
    found = findings(said("doctor", "--data", place, "--rest-url", f"http://127.0.0.1:{closed_port()}").out)
    assert (found[check][0], found[check][2]) == (level, remedy) and says in found[check][1]
    assert [name for name, (bad, _, _) in found.items() if bad == "FAIL"] == [*([check] if level == "FAIL" else []), "exchange"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"doors": ("ok", "grpc at 127.0.0.1:50053, http at 127.0.0.1:3001", "")}),
        ({"GRPC_BIND": "", "HTTP_BIND": "[::1]:1"}, {"doors": ("ok", "grpc closed, http at [::1]:1", "")}),
        (
            {"HTTP_BIND": "0.0.0.0:3001"},
            {
                "doors": (
                    "WARN",
                    "http at 0.0.0.0:3001: whoever reaches this machine may ask",
                    "set auth.token or auth.issuer, or bind to 127.0.0.1",
                )
            },
        ),
        (
            {"HTTP_BIND": "0.0.0.0:1", "AUTH_TOKEN": "x"},
            {"doors": ("ok", "grpc at 127.0.0.1:50053, http at 0.0.0.0:1", "")},
        ),
        (
            {"HTTP_PUBLIC_URL": "https://Books.example/x"},
            {
                "hosts": (
                    "FAIL",
                    "http.public_url is https://Books.example/x, and requests to books.example are refused (421)",
                    "add books.example to http.allowed_hosts",
                )
            },
        ),
        ({"HTTP_PUBLIC_URL": "https://books.example", "HTTP_ALLOWED_HOSTS": "Books.example"}, {}),
        ({"HTTP_PUBLIC_URL": "http://localhost:3001"}, {}),
    ],
)
def test_the_doctor_tells_who_may_come_in(
    said, data: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: dict[str, tuple[str, str, str]]
):
    for name, value in given.items():
        monkeypatch.setenv(f"LEADLINE_{name}", value)
    found = findings(said("doctor", "--data", data, "--rest-url", f"http://127.0.0.1:{closed_port()}").out)
    assert {name: found[name] for name in told} == told
    assert ("hosts" in found) == ("hosts" in told)


def test_the_doctor_tells_a_disk_that_is_too_full(said, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADLINE_STORE_MIN_FREE_MB", str(2**40))
    found = findings(said("doctor", "--data", data, "--rest-url", f"http://127.0.0.1:{closed_port()}").out)
    assert (found["disk"][0], found["disk"][2]) == ("FAIL", "free some space, or lower store.min_free_mb")
    monkeypatch.setenv("LEADLINE_STORE_MIN_FREE_MB", "0")
    monkeypatch.setenv("LEADLINE_RETENTION_MAX_BYTES", "1000000t")
    assert findings(said("doctor", "--data", data, "--rest-url", f"http://127.0.0.1:{closed_port()}").out)["disk"][0] == "WARN"


def test_the_doctor_tells_a_log_that_lost_what_was_written(said, tmp_path: Path):
    place = tmp_path / "place"
    engine = RocksEngine(place)
    History(engine, "").write([samples.row(T)])
    engine.close()
    (place / "last_second").write_text(f"{T + 100}\n")
    found = findings(said("doctor", "--data", place, "--rest-url", f"http://127.0.0.1:{closed_port()}").out)
    level, what, remedy = found["store"]
    assert level == "FAIL" and "later ones were written" in what and remedy


# Replay --------------------------------------------------------------------------------------------


def parts(name: str) -> list[Path]:
    return [captures() / "multi" / f"{name}.{part}.gz" for part in ("ws", "http")]


def test_a_replay_is_summed_up_as_an_independent_program_counted(said, tmp_path: Path):
    out = tmp_path / "summary.json"
    answer = said("replay", *parts("binance_20211012_4pairs"), "--data", tmp_path / "data", "--summary", out)
    assert (answer.code, answer.out) == (0, "")
    found = json.loads(out.read_text())["symbols"]
    expected = json.loads((captures() / "expected" / "multi_binance_20211012.json").read_text())
    assert list(found) == sorted(expected)
    for symbol, counted in expected.items():
        assert set(found[symbol]) == {
            "snapshot_update_id", "events_dropped", "events_applied", "first_applied", "gaps",
            "final_update_id", "final_levels", "final_bid", "final_ask", "seconds", "trades",
        }  # fmt: skip
        assert found[symbol]["snapshot_update_id"] == counted["snapshot_lastUpdateId"]
        assert found[symbol]["events_dropped"] == counted["events_dropped"]
        assert found[symbol]["events_applied"] == counted["events_applied"]
        assert found[symbol]["first_applied"] == counted["bracket"]
        assert found[symbol]["gaps"] == counted["gaps"]
        assert (found[symbol]["final_update_id"], found[symbol]["final_levels"]) == (counted["final_u"], counted["final_levels"])
        for side in ("final_bid", "final_ask"):
            assert [float(text) for text in found[symbol][side]] == [float(text) for text in counted[side]]
            assert not any("." in text and text.endswith("0") for text in found[symbol][side])
    lines = answer.err.splitlines()
    assert [line.split(":")[0] for line in lines] == sorted(expected)


def test_a_second_replay_of_another_recording_is_refused_and_changes_nothing(said, tmp_path: Path):
    folder = tmp_path / "data"
    assert said("replay", *parts("binance_20211012_4pairs"), "--data", folder).code == 0
    before = json.loads(said("store", "stats", "--data", folder).out)
    answer = said("replay", *parts("binanceus_20211012_4pairs"), "--data", folder)
    assert (answer.code, answer.out) == (6, "")
    assert "holds data of replay:binance_20211012_4pairs, not of replay:binanceus_20211012_4pairs" in answer.err
    after = json.loads(said("store", "stats", "--data", folder).out)
    assert (after["symbols"], after["newest_second"]) == (before["symbols"], before["newest_second"])


def test_a_recording_cut_short_is_stored_up_to_the_cut_and_then_told(said, tmp_path: Path):
    whole = (captures() / "multi" / "binance_20210404_btc_eth_dot.raw.gz").read_bytes()
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    folder = tmp_path / "data"
    answer = said("replay", cut, "--data", folder)
    assert (answer.code, answer.out) == (2, "")
    assert f"leadline: FILE: {cut}, line " in answer.err and "the file ends in the middle" in answer.err
    assert "what came before the damage is stored" in answer.err
    stored = json.loads(said("coverage", "--data", folder).out)
    assert [found["symbol"] for found in stored] == ["BTCUSDT", "DOTUSDT", "ETHUSDT"]
    assert all(found["live_s"] > 10 for found in stored)


@pytest.mark.parametrize("content", [b"", b"no capture\n"])
def test_what_is_no_recording_is_refused_before_a_store_is_made(said, tmp_path: Path, content: bytes):
    path = tmp_path / "rec"
    path.write_bytes(content)
    answer = said("replay", path, "--data", tmp_path / "data")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"leadline: FILE: {path}, line 1: not a capture")
    assert not (tmp_path / "data").exists()


def test_a_replay_into_a_file_is_refused(said, tmp_path: Path):
    place = tmp_path / "place"
    place.write_text("x")
    answer = said("replay", *parts("binance_20211012_4pairs"), "--data", place)
    assert (answer.code, answer.out) == (6, "") and "is a file, not a folder" in answer.err
    assert place.read_text() == "x"


def test_a_summary_that_cannot_be_written_is_told(said, tmp_path: Path):
    answer = said(
        "replay", *parts("binance_20211012_4pairs"), "--data", tmp_path / "data", "--summary", tmp_path / "no" / "s.json"
    )
    assert answer.code == 2 and "leadline: --summary: " in answer.err and "No such file" in answer.err


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("leadline call orderbook_", {"orderbook_l1", "orderbook_l2", "orderbook_health"}),
        ("leadline call estimate_market_impact sy", {"symbol="}),
        ("leadline call binance.estimate_market_impact symbol=BTCUSDT side", {"side=both", "side=buy", "side=sell"}),
        ("leadline call nonsense sy", set()),
    ],
)
def test_a_shell_completes_tools_their_arguments_and_listed_values(words: str, completed: set[str]):
    asked = {"_LEADLINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    command = [sys.executable, "-c", "from leadline.cli import app; app(prog_name='leadline')"]
    found = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, timeout=60)
    assert (set(found.stdout.split()), found.stderr) == (completed, "")
