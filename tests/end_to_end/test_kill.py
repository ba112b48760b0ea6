"""kill -9 at any moment: what was told to be stored is stored, no second is torn, and the hole is listed with its cause."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from tests.end_to_end.running import stored

from leadline.core.records import BookState

KILLS = 3
LAST_LINES = 16  # eight seconds of two symbols: the exchange's database lags, what it does not have yet is asked for again
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
STORED = re.compile(r"Stored snapshot for (\w+) at (\d+)")


def leadline(*args: object, **pipes: object) -> subprocess.Popen:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LEADLINE_")}
    return subprocess.Popen([sys.executable, "-m", "leadline", *map(str, args)], text=True, env=environ, **pipes)


@contextmanager
def standin():
    process = leadline("standin", "--symbols", ",".join(SYMBOLS), stdout=subprocess.PIPE)
    try:
        yield process.stdout.readline().split()[3]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def serve(url, data):
    arguments = [
        "serve",
        "--symbols",
        ",".join(SYMBOLS),
        "--data",
        data,
        "--rest-url",
        url,
        "--ws-url",
        url.replace("http", "ws"),
    ]
    return leadline(*arguments, stderr=subprocess.PIPE)


def acknowledged_until_killed(process, lines):
    """Read that many lines about stored snapshots, kill, and return everything that had been told by then."""
    told = set()
    for line in process.stderr:
        if match := STORED.search(line):
            told.add((match[1], int(match[2])))
            lines -= 1
            if not lines:
                process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    return told


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A store whose service was killed a few times at random moments and stopped in order at last; and all that it ever told."""
    data = tmp_path_factory.mktemp("killed") / "store"
    moments = random.Random(5)
    told, checked_after_kill = set(), []
    with standin() as url:
        for _ in range(KILLS):
            told |= acknowledged_until_killed(serve(url, data), moments.randint(3, 9))
            with stored(data) as history:
                checked_after_kill.append(history.newest_second())
        process = serve(url, data)
        lines = 0
        for line in process.stderr:
            lines += STORED.search(line) is not None
            if lines == LAST_LINES:
                break
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # as `timeout` does: to the process, and once more to its group
        told |= {(m[1], int(m[2])) for m in map(STORED.search, [line, *process.stderr]) if m}
        assert process.wait() == 0
        process.stderr.close()
    return data, told, checked_after_kill


def test_no_acknowledged_second_is_lost(killed):
    data, told, _ = killed
    assert len(told) > 2 * KILLS
    with stored(data) as history:
        for symbol, second in told:
            assert history.snapshot(symbol, second) is not None
            assert [r.state for r in history.seconds(symbol, second, second + 1).rows] == [BookState.LIVE]


def test_no_second_is_torn(killed):
    data, _, _ = killed
    with stored(data) as history:
        records = {symbol: {r.t: r for r in history.seconds(symbol, 0, 2**33).rows} for symbol in SYMBOLS}
        assert records["BTCUSDT"].keys() == records["ETHUSDT"].keys()
        for symbol in SYMBOLS:
            snapshots = {s.timestamp: s for s in history.snapshots(symbol, 0, 2**33).rows}
            live = {t: r for t, r in records[symbol].items() if r.state is BookState.LIVE}
            assert snapshots.keys() == live.keys()
            assert all(snapshots[t].update_id == live[t].update_id for t in live)
            trades = [trade for block in history.trades(symbol, 0, 2**33).rows for trade in block.trades]
            ids = [trade.agg_id for trade in trades]
            assert ids == list(range(ids[0], ids[-1] + 1))  # what was missed while it was down has been fetched


def test_coverage_lists_each_hole_with_its_cause(killed):
    data, _, ends = killed
    process = leadline("coverage", "--data", data, "--format", "json", stdout=subprocess.PIPE)
    (answer, _), code = process.communicate(), process.wait()
    assert code == 0
    for report in json.loads(answer):
        causes = {cause for _, _, cause in report["gaps"]}
        assert causes <= {"outage (killed)", "starting", "start (starting)"}  # the last: before the first tick of a slow start
        starts = {start for start, _, cause in report["gaps"] if cause == "outage (killed)"}
        assert starts <= {end + 1 for end in ends}
        assert report["live_s"] + report["missing_s"] == report["expected_s"]


def test_a_stop_in_order_is_told_from_a_kill(killed):
    data, _, _ = killed
    with stored(data) as history:
        assert history.meta("clean_shutdown", bool) is True
