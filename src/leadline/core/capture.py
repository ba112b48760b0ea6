"""The two text formats of recorded traffic, line by line. Pure: it is given lines, it returns what they say.

hft    `LOCAL_TIME JSON`; LOCAL_TIME in ns or us (told apart by size); the JSON is a combined-stream frame, or once the bare
       body of `GET depth?limit=1000`.
cf     `wss://URL <-> TS` opens a connection, `TS: JSON` is a frame, `https://URL -> TS: JSON` a REST answer,
       `configuration: ...` a recorder's note; TS in float seconds.
"""

import re

from msgspec import Struct

HFT_DEPTH_URL = "/api/v3/depth?limit=1000"  # what the publisher asked for; the body names no symbol

_HFT = re.compile(rb"(\d{16,19}) (\{.*\})\s*")
_CF_FRAME = re.compile(rb"(\d{9,11}(?:\.\d+)?): ([\[{].*[\]}])\s*")
_CF_ANSWER = re.compile(rb"(https?://\S+) -> (\d{9,11}(?:\.\d+)?): ([\[{].*[\]}])\s*")
_CF_OPEN = re.compile(rb"(wss?://\S+) <-> (\d{9,11}(?:\.\d+)?)\s*")
_CF_NOTE = re.compile(rb"configuration: .*\s*")


def base_name(file_name: str) -> str:
    """What a recording is called by: its file's name without the endings that tell format and part."""
    for suffix in (".gz", ".raw", ".ws", ".http", ".jsonl", ".txt"):
        file_name = file_name.removesuffix(suffix)
    return file_name


class Frame(Struct, frozen=True, gc=False):
    """One WebSocket message as received."""

    ts_recv_ns: int
    body: bytes


class Answer(Struct, frozen=True, gc=False):
    """One REST answer as received; `url` with its query."""

    ts_recv_ns: int
    url: str
    body: bytes


class Opened(Struct, frozen=True, gc=False):
    """A WebSocket connection was opened; `url` names its streams."""

    ts_recv_ns: int
    url: str


CaptureLine = Frame | Answer | Opened


class NotACaptureLine(ValueError):
    """The line is of neither format."""


def parse(line: bytes) -> CaptureLine | None:
    """What one line says; None for an empty line or a recorder's note. Raises NotACaptureLine."""
    if match := _HFT.fullmatch(line):
        stamp, body = match.groups()
        recv_ns = int(stamp) * (1000 if len(stamp) == 16 else 1)
        if body.startswith(b'{"lastUpdateId"'):
            return Answer(recv_ns, HFT_DEPTH_URL, body)
        return Frame(recv_ns, body)
    if match := _CF_FRAME.fullmatch(line):
        return Frame(_ns(match[1]), match[2])
    if match := _CF_ANSWER.fullmatch(line):
        return Answer(_ns(match[2]), match[1].decode(), match[3])
    if match := _CF_OPEN.fullmatch(line):
        return Opened(_ns(match[2]), match[1].decode())
    if not line.strip() or _CF_NOTE.fullmatch(line):
        return None
    raise NotACaptureLine(f"neither `LOCAL_TIME JSON` nor `TS: JSON`: {line[:60]!r}")


def _ns(seconds: bytes) -> int:
    whole, _, fraction = seconds.partition(b".")
    return int(whole) * 1_000_000_000 + int(fraction.ljust(9, b"0")[:9])
