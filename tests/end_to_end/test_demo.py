"""The demo as a newcomer runs it: one command, two books, a clean end, nothing left behind."""

import os
import re
import select
import signal
import subprocess
import sys

import pytest
from tests.end_to_end.running import stored

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


def demo(folder, *arguments):
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LEADLINE_")}
    command = [sys.executable, "-m", "leadline", "demo", "--port", "0", "--http-port", "0", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)


def standin_of(process):
    """Process id of the child that serves the market."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        (child,) = children.read().split()
    return int(child)


def is_gone(pid):
    """Wait for the end of a process that is no child of ours, by the descriptor that becomes readable with it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    return bool(ended)


def test_the_demo_records_both_books_by_itself_and_stops_when_told(tmp_path):
    process = demo(tmp_path, "--for", "4")
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "not real prices" in said
    assert re.search(r"Stored \d+ snapshots", said)
    assert re.search(r"Ask it: http://127\.0\.0\.1:[1-9]\d+ \(assistants: /mcp\), gRPC 127\.0\.0\.1:[1-9]\d+", said)
    with stored(tmp_path / "data" / "demo") as history:
        assert history.meta("origin", str) == "synthetic:7"
        assert history.symbols() == ["BTCUSDT", "ETHUSDT"]
        for symbol in history.symbols():
            assert len(history.snapshots(symbol, 0, 2**33).rows) >= 2
            assert history.trades(symbol, 0, 2**33).rows


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_market_does_not_outlive_the_demo(number, tmp_path):
    process = demo(tmp_path)
    for line in process.stderr:
        if "LIVE" in line:
            break
    market = standin_of(process)
    process.send_signal(number)
    process.stderr.read()
    process.stderr.close()
    assert process.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert is_gone(market)
