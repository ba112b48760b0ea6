"""A stand-in of our own, as long as it is needed, and the lines that a process writes."""

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
START_S = 60  # a stand-in with a warm market


class Address(NamedTuple):
    """Of a stand-in; `tls` and `cert` empty where it has none."""

    rest: str
    tls: str = ""
    cert: str = ""

    @property
    def ws(self) -> str:
        """Base of the streams."""
        return self.rest.replace("http://", "ws://", 1)


@contextlib.contextmanager
def standin(symbols: Sequence[str]) -> Iterator[Address]:
    """A stand-in of our own. It ends with its standard input, so it cannot outlive this process."""
    options = ["--symbols", ",".join(symbols), "--port", "0", "--tls-port", "0", "--attached"]
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
    raise SystemExit("the stand-in did not start")
