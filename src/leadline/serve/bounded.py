"""Answers that fit: compact JSON of at most so many bytes; what was cut is said, and how to get the rest.

The longest list of an answer is shortened from its less important end, again and again until it fits; all other numbers stay.
"""

from typing import Any

import msgspec

from leadline.serve.tools import Tool

MCP_BYTES_MAX = 20_000
HTTP_BYTES_MAX = 4 * 2**20

NARROWER = {
    "get_volume_profile": "ask for fewer hours or a larger tick_size",
    "orderbook_l2": "ask for fewer levels, or a price_step",
    "get_history": "go on with the cursor in `next`",
    "get_incidents": "ask for a symbol, a window or a smaller limit",
    "list_symbols": "ask orderbook_health of one symbol",
    "orderbook_health": "ask for one symbol",
    "get_klines": "ask for a smaller limit",
    "get_recent_trades": "ask for a smaller limit",
    "get_orderbook": "ask for a smaller limit",
    "detect_market_anomalies": "ask for a shorter window",
    "get_exchange_info": "ask for one symbol",
}


def encoded(tool: Tool, value: Any, bytes_max: int) -> tuple[dict[str, Any], bytes]:
    """The answer as plain values and as compact JSON, cut to bytes_max."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    data = msgspec.json.encode(plain)
    if len(data) <= bytes_max:
        return plain, data
    omitted: dict[str, int] = {}
    while len(data) > bytes_max:
        name = _longest(plain)
        if name is None:
            break
        rows = plain[name]
        keep = min(len(rows) - 1, int(len(rows) * max(0.1, 0.95 * bytes_max / len(data))))
        omitted[name] = omitted.get(name, 0) + len(rows) - keep
        plain[name] = _kept(tool, name, rows, keep)
        if tool.name == "get_history" and plain["rows"]:
            plain["next"] = plain["rows"][-1]["t"] + plain["step_s"]
            plain["reading"] = _history_reading(plain)
        plain["envelope"] |= {"truncated": True, "omitted": omitted, "next": NARROWER.get(tool.name, "ask for less")}
        data = msgspec.json.encode(plain)
    return plain, data


def _history_reading(plain: dict[str, Any]) -> str:
    """Of the rows that are left, in the words of get_history."""
    n, first_s, next_s = len(plain["rows"]), plain["rows"][0]["t"], plain["next"]
    return f"{plain['symbol']}: {n} {plain['kind']} of {first_s} to {next_s}, go on at {next_s}."


def _longest(plain: dict[str, Any]) -> str | None:
    """Name of the list that takes most bytes; None: there is no list to cut."""
    sizes = {name: len(msgspec.json.encode(value)) for name, value in plain.items() if isinstance(value, list) and value}
    return max(sizes, key=lambda name: sizes[name], default=None)


def _kept(tool: Tool, name: str, rows: list[Any], keep: int) -> list[Any]:
    """The rows that say most: of a profile those with most volume, of candles and trades the newest, else the first; in order."""
    if tool.name in {"get_klines", "get_recent_trades"}:
        return rows[len(rows) - keep :]
    if tool.name != "get_volume_profile" or name != "histogram":
        return rows[:keep]
    by_volume = sorted(range(len(rows)), key=lambda place: -float(rows[place]["volume"]))[:keep]
    return [rows[place] for place in sorted(by_volume)]
