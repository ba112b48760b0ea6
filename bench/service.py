"""`leadline serve` as a process of its own, recording the stand-in, which is another one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

READY_S = 120


class Service(Struct):
    """Where it answers. spawned: monotonic time just before the process was made."""

    pid: int
    grpc_port: int
    http_port: int
    spawned: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


@contextlib.contextmanager
def exchange(symbols: str) -> Iterator[tuple[str, Sequence[str]]]:
    """A stand-in of these symbols, or so many: its address, and their names."""
    command = [sys.executable, "-m", "leadline", "standin", "--symbols", symbols, "--attached"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        url = process.stdout.readline().split()[3]
        _, state = get(f"{url}/_standin/state")
        yield url, state["symbols"]
        process.stdin.close()


@contextlib.contextmanager
def service(url: str, names: Sequence[str]) -> Iterator[Service]:
    """It records into a folder of its own until the block ends."""
    grpc_port, http_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        environment = os.environ | {"LEADLINE_LOG_SNAPSHOT_LINES": "summary"}
        command = [sys.executable, "-m", "leadline", "serve", "--symbols", ",".join(names), "--data", f"{folder}/store"]
        command += ["--rest-url", url, "--ws-url", url.replace("http", "ws", 1), "--log-level", "WARN"]
        command += ["--port", str(grpc_port), "--http-port", str(http_port)]
        spawned = time.monotonic()
        with (
            open(Path(folder) / "log", "wb") as log,
            subprocess.Popen(command, stderr=log, cwd=folder, env=environment) as process,
        ):
            try:
                yield Service(process.pid, grpc_port, http_port, spawned)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def ready(found: Service) -> None:
    """Wait until every book is LIVE and stored."""
    give_up = time.monotonic() + READY_S
    told: Any = "nothing"
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            status, told = get(f"{found.url}/readyz")
            if status == 200:
                return
        time.sleep(0.2)  # nobody is told by HTTP when a service becomes ready
    raise TimeoutError(f"not ready: {str(told)[:300]}")


def get(url: str) -> tuple[int, Any]:
    """Status and JSON."""
    return _json(urllib.request.Request(url))


def ask(found: Service, tool: str, arguments: dict[str, Any]) -> tuple[int, Any]:
    """One question by HTTP."""
    body, headers = json.dumps(arguments).encode(), {"Content-Type": "application/json"}
    return _json(urllib.request.Request(f"{found.url}/api/tools/{tool}", body, headers))


def _json(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def free_ports(count: int) -> list[int]:
    """Nobody listens on them now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
