"""Answers that fit: compact JSON of at most so many bytes; what was cut is said, and how to get the rest.

The longest lists of an answer are shortened, those of about the same length alike, until it fits; all other numbers stay. Which
rows stay depends on the question: those that say most, in their order. A text is a list of its lines.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from leadline.analytics.anomalies import SEVERITIES
from leadline.serve.tools import Tool

MCP_BYTES_MAX = 20_000
MCP_BYTES_MIN = 8_000  # what cannot be cut takes less, whatever the tool; a test measures it
HTTP_BYTES_MAX = 4 * 2**20
NOTE_BYTES = 250  # about what the envelope says of a cut

NARROWER = {
    "get_volume_profile": "ask for fewer hours or a larger tick_size",
    "orderbook_l2": "ask for fewer levels, or a price_step",
    "get_history": "go on with the cursor in `next`",
    "get_incidents": "ask for a symbol or for a window, from_s to to_s",
    "list_symbols": "ask orderbook_health of one symbol; HTTP and gRPC list all",
    "orderbook_health": "ask for one symbol; HTTP and gRPC list all",
    "get_recent_trades": "older trades than these do not fit here; HTTP and gRPC give them",
    "get_orderbook": "deeper levels than these do not fit here; HTTP and gRPC give them",
    "detect_market_anomalies": "ask for a shorter window",
    "get_liquidity_vacuums": "ask for fewer hours",
    "get_exchange_info": "ask for one symbol",
    "generate_market_report": "ask for some of the sections (options.include_sections), or a tool of its own for each",
}
NOT_COVERED = "rows were left out, and what is missing between the others is not told: ask with a smaller limit"
LEFT_OUT = "*The rest of this page does not fit here: ask for some of its sections.*\n"


def _from_mid(zone: dict[str, Any], answer: dict[str, Any]) -> float:
    return abs(float(zone["price_range_low"]) + float(zone["price_range_high"]) - 2 * float(answer["mid_price"]))


Place = tuple[str, ...]
Rank = Callable[[Any, dict[str, Any]], Any]
STAYS: dict[tuple[str, str], Rank] = {
    ("get_volume_profile", "histogram"): lambda row, _: -float(row["volume"]),
    ("get_liquidity_vacuums", "traded.zones"): _from_mid,
    ("get_liquidity_vacuums", "resting.zones"): _from_mid,
    ("detect_market_anomalies", "anomalies"): lambda one, _: -SEVERITIES.index(one["severity"]),
    ("orderbook_health", "symbols"): lambda row, _: row["state"] == "LIVE",
    ("get_klines", "klines"): lambda candle, _: -candle["openTime"],
    ("get_recent_trades", "trades"): lambda trade, _: -trade["id"],
}
"""(tool, list) -> what its rows are sorted by to see which stay, the smallest first; of all other lists the first rows stay."""


def encoded(tool: Tool, value: Any, bytes_max: int) -> tuple[dict[str, Any], bytes]:
    """The answer as plain values and as compact JSON, cut to bytes_max, which is at least MCP_BYTES_MIN."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    data = msgspec.json.encode(plain)
    kept = {place: len(_rows(held[place[-1]])) for place, held in _lists(plain, tool.text)}
    while len(data) > bytes_max and any(kept.values()):
        sizes = {place: len(msgspec.json.encode(held[place[-1]])) for place, held in _lists(plain, tool.text) if kept[place]}
        large = [place for place, size in sizes.items() if 2 * size >= max(sizes.values())]
        share = 1 - (len(data) - bytes_max + NOTE_BYTES) / sum(sizes[place] for place in large)
        for place in large:
            kept[place] = min(kept[place] - 1, int(kept[place] * max(0.1, share)))
        plain = msgspec.to_builtins(value)
        _cut(tool, plain, kept)
        data = msgspec.json.encode(plain)
    return plain, data


def _lists(plain: dict[str, Any], text: str | None, above: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every list that lies in no other list, and the text: where it is, and the object that holds it. The envelope stays."""
    for name, value in plain.items():
        if isinstance(value, dict) and name != "envelope":
            yield from _lists(value, None, (*above, name))
        elif isinstance(value, list) or name == text:
            yield (*above, name), plain


def _rows(value: list[Any] | str) -> list[Any]:
    return value.splitlines(keepends=True) if isinstance(value, str) else value


def _cut(tool: Tool, plain: dict[str, Any], kept: dict[Place, int]) -> None:
    """Keep so many rows of each list, and say so."""
    omitted: dict[str, int] = {}
    for place, held in list(_lists(plain, tool.text)):
        value, keep = held[place[-1]], kept[place]
        rows = _rows(value)
        if keep < len(rows):
            name = ".".join(place)
            omitted[name] = len(rows) - keep
            rank, order = STAYS.get((tool.name, name)), list(range(len(rows)))
            if rank is not None:
                order.sort(key=[rank(row, plain) for row in rows].__getitem__)
            rest = [rows[at] for at in sorted(order[:keep])]
            held[place[-1]] = "".join([*rest, LEFT_OUT]) if isinstance(value, str) else rest
    envelope = plain["envelope"]
    envelope |= {"truncated": True, "omitted": omitted, "next": NARROWER.get(tool.name, "ask for less")}
    if tool.name == "get_klines" and plain["klines"]:
        envelope["next"] = f"the candles before these: the same with end_time={plain['klines'][0]['openTime'] - 1}"
    if tool.name == "get_history" and plain["rows"]:
        _end_history(plain)


# Stored rows -----------------------------------------------------------------------------


def _end_history(plain: dict[str, Any]) -> None:
    """As if no more rows had been asked for: where to go on, in the words of get_history, and the coverage of what is left."""
    plain["next"] = next_s = plain["rows"][-1]["t"] + plain["step_s"]
    envelope = plain["envelope"]
    covered = envelope["coverage"]
    begin_s = covered["from_ms"] // 1000 + 1
    plain["reading"] = f"{plain['symbol']}: {len(plain['rows'])} {plain['kind']} of {begin_s} to {next_s}, go on at {next_s}."
    gaps = covered["gaps"]
    if covered["gaps_total"] > len(gaps) and next_s < gaps[0][0]:  # how much is missing before the listed gaps is not told
        envelope["coverage"] = None
        envelope["warnings"] = [*envelope["warnings"], NOT_COVERED]
        return
    missing_s = covered["expected_s"] - covered["live_s"] - sum(max(0, to_s - max(from_s, next_s)) for from_s, to_s, _ in gaps)
    expected_s = next_s - begin_s
    covered |= {
        "to_ms": (next_s - 1) * 1000,
        "expected_s": expected_s,
        "live_s": expected_s - missing_s,
        "ratio": (expected_s - missing_s) / expected_s,
        "gaps": [[from_s, min(to_s, next_s), cause] for from_s, to_s, cause in gaps if from_s < next_s],
        "gaps_total": covered["gaps_total"] - sum(from_s >= next_s for from_s, _, _ in gaps),
    }
