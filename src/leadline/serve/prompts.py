"""Ready questions for assistants: which tools to ask, in which order, and what must not be made of their answers."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct

from leadline.core.errors import InvalidRequest, UnknownName
from leadline.serve.requests import Interval, check_symbol

INTERVALS: tuple[str, ...] = get_args(Interval)
HONESTY = (
    "Rules: use only numbers that the tools gave, with their units; say their age (envelope.age_ms) and, if envelope.state is "
    "not LIVE or coverage.ratio is below 1, say so first. "
    "A null has its reason in `reasons`: repeat the reason, put no number in its place. "
    "Where envelope.origin begins with `synthetic:` or `replay:`, say that this is no real market of now. "
    "Order flow explains a move, it does not forecast one. An anomaly is a measurement, never proof of intent. "
    "Give no advice to buy or sell."
)


class Argument(Struct, frozen=True):
    """One argument. default None: it is required. values: what it may be; empty: any symbol."""

    name: str
    help: str
    default: str | None = None
    values: tuple[str, ...] = ()


class Prompt(Struct, frozen=True):
    """One ready question; text with {name} for each argument."""

    name: str
    help: str
    arguments: tuple[Argument, ...]
    text: str


SYMBOL = Argument("symbol", "Symbol, e.g. BTCUSDT.")
PROMPTS = (
    Prompt(
        "trading-analysis",
        "A careful look at one symbol: price, book, flow, volume, anomalies, quality of the data.",
        (SYMBOL, Argument("timeframe", "Candles to look at.", "1d", INTERVALS)),
        "Analyse {symbol} on the {timeframe} timeframe.\n"
        "1. orderbook_health of {symbol}: can the book be trusted now?\n"
        "2. get_ticker and get_klines (interval {timeframe}, limit 30), if you are offered them: where the price comes from.\n"
        "3. orderbook_l1, and estimate_market_impact for 100000: spread, depth, what a trade would cost.\n"
        "4. get_order_flow and detect_market_anomalies over 300 s: who pressed, what stands out against its own day.\n"
        "5. get_volume_profile over 24 h: where volume traded.\n"
        "6. get_microstructure_health: how this minute compares.\n"
        "Then write at most 300 words: what is known, what is not known and why, which two numbers matter most.\n" + HONESTY,
    ),
    Prompt(
        "market-health",
        "Whether one symbol can be traded at its ordinary cost now, and whether our own data can be trusted.",
        (SYMBOL,),
        "How healthy is the market of {symbol} now?\n"
        "1. orderbook_health of {symbol}, and get_incidents of {symbol} (limit 10): the quality of our own data first.\n"
        "2. get_microstructure_health: the score, and the part that is lowest.\n"
        "3. get_liquidity_vacuums over 24 h: where little rests and little traded.\n"
        "4. estimate_market_impact for 100000: what it costs now, against its own history.\n"
        "Then write at most 150 words, data quality first.\n" + HONESTY,
    ),
)


def prompt_of(name: str) -> Prompt:
    """By its name. Raises UnknownName."""
    for prompt in PROMPTS:
        if prompt.name == name:
            return prompt
    raise UnknownName("prompt", name[:80], difflib.get_close_matches(name[:80], [prompt.name for prompt in PROMPTS], n=2))


def filled(name: str, arguments: Mapping[str, Any]) -> str:
    """The question as a user would put it. Raises UnknownName, InvalidRequest."""
    prompt = prompt_of(name)
    if unknown := sorted(set(arguments) - {argument.name for argument in prompt.arguments}):
        raise InvalidRequest(unknown[0][:80], "unknown argument", ", ".join(argument.name for argument in prompt.arguments))
    return prompt.text.format(**{argument.name: _value(argument, arguments.get(argument.name)) for argument in prompt.arguments})


def schema(arguments: Sequence[Argument]) -> dict[str, Any]:
    """JSON Schema of what a prompt takes."""
    fields: dict[str, Any] = {}
    for argument in arguments:
        fields[argument.name] = {"type": "string", "description": argument.help}
        if argument.values:
            fields[argument.name] |= {"enum": list(argument.values), "default": argument.default}
    required = [argument.name for argument in arguments if argument.default is None]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _value(argument: Argument, given: Any) -> str:
    if given is None:
        if argument.default is None:
            raise InvalidRequest(argument.name, "missing", "required")
        return argument.default
    if not isinstance(given, str):
        raise InvalidRequest(argument.name, f"{type(given).__name__}", "text")
    if argument.values:
        if given not in argument.values:
            raise InvalidRequest(argument.name, repr(given[:20]), ", ".join(argument.values))
        return given
    check_symbol(given)
    value = given.strip().upper()
    if any(mark in value for mark in "*{}"):  # it becomes part of a text, and perhaps of an address
        raise InvalidRequest(argument.name, repr(given[:40]), "a symbol, e.g. BTCUSDT")
    return value
