"""One formatter, two forms, one sentence."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from leadline import logs

FORMS: dict[str, type[logging.Formatter]] = {"text": logs.TextFormatter, "json": logs.JsonFormatter}


@pytest.fixture(autouse=True)
def _own_root() -> Iterator[None]:
    """logs.setup takes the whole process; give it back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, form: str, level: str = "INFO", stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.setup(level, form)
    return stream


def record(message: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "leadline.recorder", "levelno": level, "msg": message, **extra})
    made.levelname = logging.getLevelName(level)
    made.created = 1_723_161_240.9999
    return made


def test_text_is_one_line_of_time_level_sentence_and_fields():
    line = logs.TextFormatter().format(record("Stored snapshot for %s at %d", args=("BTCUSDT", 7), symbol="BTCUSDT", second=7))
    assert line == "2024-08-08T23:54:00.999Z INFO  Stored snapshot for BTCUSDT at 7 symbol=BTCUSDT second=7"


def test_json_is_one_object_of_time_level_logger_sentence_and_fields():
    line = logs.JsonFormatter().format(record("Stored snapshot for %s at %d", args=("BTCUSDT", 7), symbol="BTCUSDT", second=7))
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2024-08-08T23:54:00.999Z",
        "level": "INFO",
        "logger": "leadline.recorder",
        "message": "Stored snapshot for BTCUSDT at 7",
        "symbol": "BTCUSDT",
        "second": 7,
    }


@pytest.mark.parametrize("form", FORMS)
def test_level_names_are_those_of_the_contract(form: str, monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, form, "DEBUG")
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("leadline.test"), name)("x")
    lines = stream.getvalue().splitlines()
    names = [json.loads(line)["level"] if form == "json" else line.split()[1] for line in lines]
    assert names == ["DEBUG", "INFO", "WARN", "ERROR"]


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARN", 2), ("ERROR", 1)])
def test_what_is_below_the_level_is_not_told(level: str, count: int, monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, "text", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("leadline.test"), name)("x")
    assert len(stream.getvalue().splitlines()) == count


@pytest.mark.parametrize(("stream", "form"), [(Terminal, "text"), (io.StringIO, "json")])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(stream: type[io.StringIO], form: str, monkeypatch: pytest.MonkeyPatch):
    out = said(monkeypatch, "auto", stream=stream())
    logging.getLogger("leadline.test").info("x")
    assert out.getvalue().startswith("{") == (form == "json")


def test_json_keeps_an_exception_and_a_line_break_inside_its_line(monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, "json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("leadline.test").exception("feed_crashed", extra={"recent": ["a\nb"], "who": ValueError("odd")})
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told["exception"].startswith("Traceback") and "two\nlines" in told["exception"]
    assert (told["recent"], told["who"]) == (["a\nb"], "odd")


def test_text_tells_an_exception_behind_its_line(monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, "text")
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("leadline.test").exception("feed_crashed")
    first, second, *_, last = stream.getvalue().splitlines()
    assert (first.split(" ", 2)[2], second, last) == ("feed_crashed", "Traceback (most recent call last):", "ValueError: odd")


@pytest.mark.parametrize("form", FORMS)
def test_names_that_are_not_ascii_stay_readable(form: str):
    line = FORMS[form]().format(record("Stored snapshot for %s at %d", args=("币安人生USDT", 7)))
    assert "Stored snapshot for 币安人生USDT at 7" in line


def test_a_second_setup_does_not_double_the_lines(monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, "text")
    said(monkeypatch, "text", stream=stream)
    logging.getLogger("leadline.test").info("once")
    assert len(stream.getvalue().splitlines()) == 1


def test_chatty_libraries_are_heard_from_warnings_up(monkeypatch: pytest.MonkeyPatch):
    stream = said(monkeypatch, "text", "DEBUG")
    logging.getLogger("asyncio").info("x")
    logging.getLogger("asyncio").warning("y")
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["y"]
