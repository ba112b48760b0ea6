"""`python -m standin_clients [--only NAME] [--seconds 30] [--url http://127.0.0.1:PORT]`; see README.md.

Exit status 0: every client that could be installed connected, synchronised, showed enough, and never differed from the truth.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from standin_clients.compare import Line, Tally, Truth, trade_differences

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".venv-clients"
CLIENTS = ("python_binance", "unicorn", "ccxt", "cryptofeed", "binance_sdk_spot", "binance_connector")
TLS_ONLY = ("cryptofeed",)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
HEAD = ("client", "version", "connected", "synchronised", "books", "resyncs", "tickers", "trades", "differences", "verdict")

INSTALL_S = 600  # cryptofeed is compiled
START_S = 60  # a stand-in with a warm market
GRACE_S = 30  # a client that has not ended so long after its time is killed
JUDGE_S = 120  # for the lines that are still unjudged then
LAG_S = 10  # aggTrades lag the stream, 2 s at most
PAGE = 1000


class NotInstalled(Exception):
    """A client cannot be had here; the text says why."""


class Address(NamedTuple):
    """Of a stand-in; `tls` and `cert` empty where it has none."""

    rest: str
    tls: str = ""
    cert: str = ""

    @property
    def ws(self) -> str:
        """Base of the streams."""
        return self.rest.replace("http://", "ws://", 1)


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
            install(name)
        except NotInstalled as error:
            absent[name] = f"NOT INSTALLED: {error}"
    tallies: dict[str, Tally] = {}
    with contextlib.nullcontext(Address(given.url, given.tls, given.cert)) if given.url else standin() as address:
        for name in names:
            if name not in absent and name in TLS_ONLY and not address.tls:
                absent[name] = "NOT RUN: no TLS address"
            if name not in absent:
                tallies[name] = judge(name, address, given.seconds)
    return report(names, absent, tallies)


# Environments ----------------------------------------------------------------


def python_of(name: str) -> Path:
    return CACHE / name / "bin" / "python"


def install(name: str) -> None:
    """An environment as its requirement files say; made anew when they, the place or the Python change. Raises NotInstalled."""
    files = [path for end in ("-build.txt", ".txt") if (path := HERE / "requirements" / (name + end)).exists()]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in files) + f"{CACHE} {sys.version}".encode()).hexdigest()[:16]
    stamp = CACHE / name / f".installed-{key}"
    if stamp.exists():
        return
    print(f"{name}: installing", flush=True)
    CACHE.mkdir(exist_ok=True)
    shutil.rmtree(CACHE / name, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(CACHE / name)])
    for path in files:  # what builds a client is pinned too, so it needs no isolation, which would fetch without hashes
        pip = [str(python_of(name)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        run([*pip, "--no-build-isolation", "--require-hashes", "-r", str(path)])
    stamp.touch()


def run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"took more than {INSTALL_S} s") from error
    if "DO NOT MATCH THE HASHES" in done.stderr:  # not a client that cannot be had, but one that nobody should run
        raise SystemExit(f"standin_clients: {done.stderr}")
    if done.returncode:
        told = [text for text in done.stderr.splitlines() if text.strip().lower().startswith("error")]
        raise NotInstalled((told or done.stderr.splitlines() or [f"status {done.returncode}"])[-1].strip())


# The stand-in ----------------------------------------------------------------


@contextlib.contextmanager
def standin() -> Iterator[Address]:
    """A stand-in of our own. It ends with its standard input, so it cannot outlive this process."""
    options = ["--symbols", ",".join(SYMBOLS), "--port", "0", "--tls-port", "0", "--attached"]
    command = [sys.executable, "-m", "leadline", "standin", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=forward, args=(process.stdout, lines), daemon=True).start()
        yield started(lines)
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def forward(stream: Iterable[str], lines: "queue.SimpleQueue[str | None]") -> None:
    """Each line as it comes, then None."""
    for text in stream:
        lines.put(text)
    lines.put(None)


def started(lines: "queue.SimpleQueue[str | None]") -> Address:
    """From the start line: `standin listening on http://HOST:PORT origin=.. [tls=https://.. cert=..]`."""
    until = time.monotonic() + START_S
    with contextlib.suppress(queue.Empty):
        while text := lines.get(timeout=max(0.01, until - time.monotonic())):
            words = text.split()
            if rest := next((word for word in words if word.startswith("http://")), None):
                fields = dict(word.split("=", 1) for word in words if "=" in word)
                return Address(rest, fields.get("tls", ""), fields.get("cert", ""))
    raise SystemExit("standin_clients: the stand-in did not start")


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
    command = [str(python_of(name)), "-m", f"standin_clients.{name}", *(f"--{key}={value}" for key, value in options.items())]
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
