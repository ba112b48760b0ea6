"""`python -m standin_clients [--only NAME] [--seconds 30] [--url http://127.0.0.1:PORT]`; see README.md.

Exit status 0: every client that could be installed connected, synchronised, showed enough, and never differed from the truth.
"""

import argparse
import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from standin_clients.compare import Line, Tally, Truth, trade_differences
from standin_clients.environments import Environments, NotInstalled
from standin_clients.running import Address, forward, standin

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".venv-clients"
ENVIRONMENTS = Environments(HERE / "requirements", CACHE)
CLIENTS = ("python_binance", "unicorn", "ccxt", "cryptofeed", "binance_sdk_spot", "binance_connector")
TLS_ONLY = ("cryptofeed",)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
HEAD = ("client", "version", "connected", "synchronised", "books", "resyncs", "tickers", "trades", "differences", "verdict")

GRACE_S = 30  # a client that has not ended so long after its time is killed
JUDGE_S = 120  # for the lines that are still unjudged then
LAG_S = 10  # aggTrades lag the stream, 2 s at most
PAGE = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m standin_clients", description="Third-party clients against the stand-in.")
    parser.add_argument("--only", choices=CLIENTS, action="append", metavar="NAME", help=f"of {', '.join(CLIENTS)}; repeatable")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each client; unicorn needs about 15 to begin")
    parser.add_argument("--url", help="a stand-in that runs already, with both symbols; otherwise one is started")
    parser.add_argument("--tls", default="", help="its TLS address, with --url")
    parser.add_argument("--cert", default="", help="its certificate, with --url")
    given = parser.parse_args()
    names = given.only or CLIENTS
    absent: dict[str, str] = {}
    for name in names:
        try:
            ENVIRONMENTS.install(name)
        except NotInstalled as error:
            absent[name] = f"NOT INSTALLED: {error}"
    tallies: dict[str, Tally] = {}
    with contextlib.nullcontext(Address(given.url, given.tls, given.cert)) if given.url else standin(SYMBOLS) as address:
        for name in names:
            if name not in absent and name in TLS_ONLY and not address.tls:
                absent[name] = "NOT RUN: no TLS address"
            if name not in absent:
                tallies[name] = judge(name, address, given.seconds)
    return report(names, absent, tallies)


# The stand-in ----------------------------------------------------------------


class Exchange:
    """Questions to the stand-in, over one connection."""

    def __init__(self, rest: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(rest).netloc, timeout=30)

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON; None for 404."""
        self._connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise SystemExit(f"standin_clients: {path} {query} was answered with {answer.status} {body[:200]!r}")
        return json.loads(body)

    def truth(self, line: Line) -> Truth | None:
        """The book at the id of a book or ticker line; None for other lines too."""
        symbol = line.get("book") or line.get("ticker")
        return self.get("/_standin/truth/book", symbol=symbol, update_id=line["id"]) if symbol else None

    def last_agg_id(self, symbol: str) -> int:
        rows = self.get("/api/v3/aggTrades", symbol=symbol, limit=1)
        return rows[-1]["a"] if rows else 0

    def aggs(self, symbol: str, from_id: int, kind: str, last_id: int) -> list[dict[str, Any]]:
        """Aggregates from `from_id` until one with `last_id` (an `agg` id, or a `trade` in it) is there, LAG_S at most."""
        until = time.monotonic() + LAG_S
        rows: list[dict[str, Any]] = []
        while not rows or rows[-1]["a" if kind == "agg" else "l"] < last_id:
            page = self.get("/api/v3/aggTrades", symbol=symbol, fromId=rows[-1]["a"] + 1 if rows else from_id, limit=PAGE)
            rows += page
            if len(page) < PAGE:
                if time.monotonic() > until:
                    break
                time.sleep(0.5)  # an exchange over REST tells nobody when its next aggregate is there
        known = rows and self.get("/_standin/truth/trades", symbol=symbol, from_id=rows[0]["a"], to_id=rows[-1]["a"])
        return known or rows  # the truth, where the stand-in tells it


# One client ------------------------------------------------------------------


def judge(name: str, address: Address, seconds: float) -> Tally:
    """Run a client's script, and compare what it shows while it runs."""
    print(f"{name}: running for {seconds:.0f} s", flush=True)
    exchange, tally = Exchange(address.rest), Tally(SYMBOLS, seconds)
    from_ids = {symbol: exchange.last_agg_id(symbol) for symbol in SYMBOLS}
    log = CACHE / f"{name}.log"
    for line in shown(name, address, seconds, log):
        tally.take(line, exchange.truth(line))
    for (kind, symbol), lines in tally.trades.items():
        rows = exchange.aggs(symbol, from_ids[symbol], kind, lines[-1]["id"])
        for sentence in trade_differences(lines, rows):
            tally.add(f"{symbol} {kind}s:", sentence)
    return tally


def shown(name: str, address: Address, seconds: float, log: Path) -> Iterator[Line]:
    """The lines of a client's script. It is killed when it does not end, and lines that come after JUDGE_S are not waited for."""
    options = {"rest": address.rest, "ws": address.ws, "tls": address.tls, "symbols": ",".join(SYMBOLS), "seconds": seconds}
    command = [
        str(ENVIRONMENTS.python_of(name)),
        "-m",
        f"standin_clients.{name}",
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    trust = {"SSL_CERT_FILE": address.cert, "REQUESTS_CA_BUNDLE": address.cert} if address.cert else {}
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with log.open("w") as errors:
        pipe, environment = subprocess.PIPE, {**os.environ, **trust}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=errors, text=True)
        assert process.stdout
        killer = threading.Timer(seconds + GRACE_S, process.kill)
        killer.start()
        # Read at once, judged when there is time: a full pipe would make the client a slow reader.
        threading.Thread(target=forward, args=(process.stdout, lines), daemon=True).start()
        until = time.monotonic() + seconds + GRACE_S + JUDGE_S
        try:
            while (text := lines.get(timeout=max(0.01, until - time.monotonic()))) is not None:
                yield parsed(text)
            status = process.wait(GRACE_S)
            if status:
                tail = log.read_text().strip().splitlines()[-1:] or [""]
                yield {"error": f"its script ended with status {status}: {tail[0]}"}
        except queue.Empty:
            yield {"error": f"lines unjudged {JUDGE_S} s after its end"}
        finally:
            killer.cancel()
            process.kill()
            process.wait()


def parsed(text: str) -> Line:
    try:
        line: Line = json.loads(text)
    except ValueError:  # the last line of a client that was killed
        return {"error": f"not a line: {text[:80]!r}"}
    return line


def report(names: Any, absent: dict[str, str], tallies: dict[str, Tally]) -> int:
    """Print the table and what was wrong; the exit status."""
    rows: list[tuple[object, ...]] = [HEAD, tuple("-" * len(name) for name in HEAD)]
    for name in names:
        if name in absent:
            rows.append((name, *("",) * 8, absent[name]))
            continue
        t = tallies[name]
        count = t.count
        state = (t.client or name, t.version, _yes(t.connected), _yes(t.synchronised))
        figures = (count["book"], t.resyncs, count["ticker"], count["trade"] + count["agg"], t.differences)
        rows.append((*state, *figures, "; ".join(t.failures()) or "passed"))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEAD))]
    print()
    for row in rows:
        print("| " + " | ".join(str(value).ljust(width) for value, width in zip(row, widths, strict=True)) + " |")
    for name, t in tallies.items():
        for sentence in (*t.sentences, *t.complaints[:5]):
            print(f"{name}: {sentence}")
    return 1 if not tallies or any(t.failures() for t in tallies.values()) else 0


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


if __name__ == "__main__":
    sys.exit(main())
