"""A real `leadline serve` on a stand-in, both on free ports of loopback, and how the judges themselves ask it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from standin_clients.running import forward, standin

SYMBOLS = ("BTCUSDT", "ETHUSDT")
START_S = 60  # an import on a busy machine, and two books
READY_S = 60
STOP_S = 30
ANSWER_S = 30


class Doors(NamedTuple):
    """http, grpc, exchange: addresses, HOST:PORT. log: what the service writes."""

    http: str
    grpc: str
    exchange: str
    log: Path

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer, by HTTP and without anybody's client."""
        return _asked(f"http://{self.http}{path}", body, headers or {})

    def tool(self, name: str, **arguments: Any) -> Any:
        """The answer of a tool."""
        status, answer = self.ask(f"/api/tools/{name}", arguments)
        assert status == 200, f"{name} {arguments}: {status} {answer}"
        return answer

    def truth(self, symbol: str, update_id: int) -> Any:
        """The exchange's book at that id, as the stand-in made it."""
        status, answer = _asked(f"http://{self.exchange}/_standin/truth/book?symbol={symbol}&update_id={update_id}", None, {})
        assert status == 200, f"no truth of {symbol} at {update_id}: {status} {answer}"
        return answer

    def for_children(self) -> dict[str, str]:
        """What a `leadline mcp` that a client starts has to be told, since clients do not hand on their own environment."""
        ours = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
        return {"LEADLINE_HTTP_BIND": self.http, **ours}

    def complaints(self) -> list[str]:
        """Lines of level ERROR in the log: no client may bring them about."""
        return [line for line in self.log.read_text().splitlines() if '"level":"ERROR"' in line or "Traceback" in line]


@contextlib.contextmanager
def doors(log: Path) -> Iterator[Doors]:
    """Open and ready. What was started is stopped by its process id, the service with the signal that an operator sends."""
    with standin(SYMBOLS) as address, tempfile.TemporaryDirectory(prefix="doors-") as folder:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        exchange = address.rest.removeprefix("http://").rstrip("/")
        command = [sys.executable, "-m", "leadline", "serve", "--symbols", ",".join(SYMBOLS), "--data", f"{folder}/data"]
        command += ["--rest-url", address.rest, "--ws-url", address.ws]
        # Its working folder is empty and its environment has no setting: nobody's leadline.toml and no token is read.
        settings = {"GRPC_BIND": "127.0.0.1:0", "HTTP_BIND": "127.0.0.1:0", "LOG_FORMAT": "json", "LOG_SNAPSHOT_LINES": "none"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEADLINE_", "PERSISTENT_"))}
        environment |= {f"LEADLINE_{name}": value for name, value in settings.items()}
        with log.open("w") as told:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                assert process.stdout
                threading.Thread(target=forward, args=(_noted(process.stdout, told), lines), daemon=True).start()
                http, grpc = _opened(lines)
                found = Doors(http, grpc, exchange, log)
                _wait_ready(found)
                yield found
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if process.returncode:
            raise SystemExit(f"door_clients: the service ended with status {process.returncode}; see {log}")


def _noted(stream: Any, told: Any) -> Iterator[str]:
    """Each line as it comes, and into the log."""
    for line in stream:
        if not told.closed:
            told.write(line)
            told.flush()
        yield line


def _opened(lines: "queue.SimpleQueue[str | None]") -> tuple[str, str]:
    """HTTP and gRPC addresses, from the line that says so."""
    until = time.monotonic() + START_S
    with contextlib.suppress(queue.Empty):
        while (text := lines.get(timeout=max(0.01, until - time.monotonic()))) is not None:
            if '"doors_open"' in text:
                said = json.loads(text)
                return f"127.0.0.1:{said['http']}", f"127.0.0.1:{said['grpc']}"
    raise SystemExit("door_clients: the service did not open its doors")


def _wait_ready(found: Doors) -> None:
    until = time.monotonic() + READY_S
    while (answer := found.ask("/readyz"))[0] != 200:
        if time.monotonic() > until:
            raise SystemExit(f"door_clients: not ready after {READY_S} s: {answer}")
        time.sleep(0.2)  # nobody is told by HTTP when a service becomes ready


def _asked(url: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return answer.status, _parsed(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _parsed(error.read())


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
