"""One formatter for everything that is told: text on a terminal, one JSON object a line otherwise; stderr.

The sentence is the `message`; symbol, second, cause and so on are fields beside it. Level names are DEBUG, INFO, WARN, ERROR.
"""

import logging
import sys
import time
from typing import Any

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def setup(level: str, form: str) -> None:
    """Send every log record of the process to stderr. form: auto, text or json."""
    logging.addLevelName(logging.WARNING, "WARN")
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.getLevelName(level))
    for noisy in ("aiohttp", "asyncio", "mcp", "sse_starlette"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record carries beside its sentence."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.123Z INFO  sentence key=value ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on its own lines."""
        line = f"{_stamp(record.created)} {record.levelname:<5} {record.getMessage()}"
        if extra := fields(record):
            line += " " + " ".join(f"{key}={value}" for key, value in extra.items())
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One object a line: ts, level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, a traceback inside it."""
        said = {
            "ts": _stamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return _encode(said).decode()


def _stamp(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1000):03d}Z"
