"""Programs of other people: run to their end, or read as long as they write."""

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

END_S = 60
KILL_S = 10


class Ended(NamedTuple):
    """status: exit status; said, complained: standard output and error."""

    status: int
    said: str
    complained: str

    @property
    def json(self) -> Any:
        """What it said; None where that is no JSON."""
        try:
            return json.loads(self.said)
        except ValueError:
            return None


def ran(
    command: Sequence[object], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, end_s: float = END_S
) -> Ended:
    """To its end, END_S at most; then its status is -1."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=end_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(-1, "", f"did not end within {end_s:.0f} s")
    return Ended(done.returncode, done.stdout, done.stderr)


def documents(command: Sequence[object], count: int, *, end_s: float = END_S) -> list[Any]:
    """The first JSON documents that a program writes, one after the other; then it is ended."""
    found: list[Any] = []
    with contextlib.closing(_documents([str(word) for word in command], end_s)) as written:
        for document in written:
            found.append(document)
            if len(found) == count:
                break
    return found


def _documents(command: list[str], end_s: float) -> Generator[Any, None, None]:
    process = subprocess.Popen(
        command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stream = process.stdout
    assert stream

    def forward() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=forward, daemon=True).start()
    until, text, decoder = time.monotonic() + end_s, "", json.JSONDecoder()
    try:
        with contextlib.suppress(queue.Empty):
            while (line := lines.get(timeout=max(0.01, until - time.monotonic()))) is not None:
                text = (text + line).lstrip()
                with contextlib.suppress(ValueError):  # it is not complete yet
                    document, end = decoder.raw_decode(text)
                    text = text[end:]
                    yield document
    finally:
        process.terminate()
        try:
            process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without what would lead another Python to our packages, or a client to a proxy: all of them stay on loopback."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and "proxy" not in name.lower()}
    return {**kept, "NO_COLOR": "1", **(more or {})}
