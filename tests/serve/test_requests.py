"""Bad input of every kind to every tool: one error shape, the field named, what is allowed said, nothing logged as an error."""

import logging
from typing import Any, get_args

import msgspec
import pytest
from tests.fakes import run
from tests.serve.questions import BTC, QUESTIONS
from tests.serve.web import web

from leadline.core.errors import InvalidRequest
from leadline.serve import requests
from leadline.serve.requests import request_of
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS
from leadline.service.queries.report import SECTIONS

SHAPE = {"error", "message", "retryable", "fields"}
VALID = QUESTIONS | {
    "get_ticker": {"symbol": BTC},
    "get_orderbook": {"symbol": BTC},
    "get_recent_trades": {"symbol": BTC},
    "get_klines": {"symbol": BTC, "interval": "1m"},
    "get_exchange_info": {},
    "get_avg_price": {"symbol": BTC},
}
STRANGE = [
    "' OR 1=1 --",
    "../../etc/passwd",
    "{{7*7}}",
    "$(reboot)",
    "<script>alert(1)</script>",
    "BTC\x00USDT",
    "BTC\r\nX-Evil: 1",
    "btc:usdt",
    "*",
    "",
    " ",
    "ＢＴＣＵＳＤＴ",
    "市場",
    "\u202eTDSU",
    "😀",
    "İ",
    "`",
    "%s%n",
]


def wrongs(name: str) -> list[tuple[str, Any, str]]:
    """(what, arguments, field): each field wrong in each way that its schema knows, worked out from the schema alone."""
    tool = next(tool for tool in TOOLS if tool.name == name)
    schema, valid = input_schema(tool.request), VALID[name]
    aliases = {other: own for own, others in requests.ALIASES.get(tool.request, {}).items() for other in others}
    found: list[tuple[str, Any, str]] = [
        ("unknown", {**valid, "nonsense": 1}, "nonsense"),
        ("unknown, not ASCII", {**valid, "größe": 1}, "größe"),
        ("unknown, huge", {**valid, "x" * 50_000: 1}, "x" * 80),
        ("a list", [valid], "arguments"),
        ("text", "BTCUSDT", "arguments"),
    ]
    found += [(f"{field} missing", {k: v for k, v in valid.items() if k != field}, field) for field in schema.get("required", ())]
    for field, said in schema["properties"].items():
        bad: list[Any] = [[], [1], {"a": 1}]
        kinds = {one.get("type") for one in said.get("anyOf", [said])}
        if "integer" in kinds or "number" in kinds:
            bad += [True, "x"] if "string" not in kinds else [True]
        if "integer" in kinds:
            bad += [1.5, 10**30, -(10**30)] if said.get("maximum") else [1.5]
        if kinds == {"string"}:
            bad += [5, None, False]
        for one in said.get("anyOf", [said]):
            if "minimum" in one:
                bad.append(one["minimum"] - 1)
            if "maximum" in one:
                bad.append(one["maximum"] + 1)
            if "exclusiveMinimum" in one:
                bad += [one["exclusiveMinimum"], -1]
            if "maxLength" in one:
                bad += ["x" * (one["maxLength"] + 1), "x" * 50_000]
            if "minLength" in one:
                bad.append("")
            if "pattern" in one:
                bad += ["١٢", "１２", "1٢", "1_000", "NaN", "-Infinity", "0x10", " 1 ", "½", "²", "1,5"]
            if "enum" in one:
                bad += ["nonsense", "", 7.5, -1]
        if field == "options":
            bad = [[], None, 5, "x"]
        others = {key for key in valid if aliases.get(key, key) == aliases.get(field, field)}
        rest = {key: value for key, value in valid.items() if key not in others}
        found += [(f"{field}={str(value)[:20]}", {**rest, field: value}, aliases.get(field, field)) for value in bad]
    return found


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS])
def test_what_does_not_fit_is_refused_with_its_field_and_what_is_allowed(name: str, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with web() as client:
            for what, arguments, field in wrongs(name):
                status, _, told = await client.tool(name, arguments)
                assert (status, told.keys()) == (400, SHAPE), (what, status, told)
                assert (told["error"], told["retryable"]) == ("InvalidRequest", False), what
                named = told["fields"]["field"]
                assert named == field or named.startswith(f"{field}["), (what, told)
                assert told["fields"]["allowed"], (what, told)
                assert len(msgspec.json.encode(told)) < 1_000, what

    with caplog.at_level(logging.INFO):
        run(check())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("name", [name for name, valid in QUESTIONS.items() if "symbol" in valid])
def test_a_strange_symbol_is_refused_and_never_looked_for(name: str, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with web() as client:
            for symbol in STRANGE:
                status, headers, told = await client.tool(name, {**VALID[name], "symbol": symbol})
                assert status in {400, 404}, (symbol, told)
                assert told.keys() == SHAPE
                assert told["error"] in {"InvalidRequest", "UnknownSymbol"}, (symbol, told)
                assert "X-Evil" not in headers

    with caplog.at_level(logging.INFO):
        run(check())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("orderbook_l2", {"price_step": "0"}, "price_step"),
        ("orderbook_l2", {"price_step": "-1"}, "price_step"),
        ("orderbook_l2", {"price_step": "NaN"}, "price_step"),
        ("orderbook_l2", {"price_step": "0.015"}, "price_step"),
        ("orderbook_l2", {"price_step": "1e400"}, "price_step"),
        ("orderbook_l2", {"price_step": "' OR 1=1"}, "price_step"),
        ("orderbook_l2", {"max_notional": "0"}, "max_notional"),
        ("orderbook_l2", {"max_notional": "Infinity"}, "max_notional"),
        ("orderbook_l2", {"max_notional": -1}, "max_notional"),
        ("orderbook_l2", {"levels": 5, "limit": 6}, "levels"),
        ("estimate_market_impact", {"notional": "0"}, "notional"),
        ("estimate_market_impact", {"notional": "nan"}, "notional"),
        ("estimate_market_impact", {"notional": "-5"}, "notional"),
        ("estimate_market_impact", {"notional": "1e999999"}, "notional"),
        ("estimate_market_impact", {"notional": 1e300}, "notional"),
        ("estimate_market_impact", {"notional": 1e-300}, "notional"),
        ("get_volume_profile", {"tick_size": "0"}, "tick_size"),
        ("get_volume_profile", {"tick_size": "0.015"}, "tick_size"),
        ("get_volume_profile", {"tick_size": "-0.01"}, "tick_size"),
        ("get_volume_profile", {"tick_size": "sNaN"}, "tick_size"),
        ("get_volume_profile", {"tick_size": 1e-9}, "tick_size"),
        ("generate_market_report", {"options": {"include_sections": ["nonsense"]}}, "options.include_sections[0]"),
        ("generate_market_report", {"options": {"include_sections": ["data_health"] * 8}}, "options.include_sections"),
        ("generate_market_report", {"options": {"include_sections": [1]}}, "options.include_sections[0]"),
        ("generate_market_report", {"options": {"orderbook_levels": 101}}, "options.orderbook_levels"),
        ("generate_market_report", {"options": {"volume_window_hours": 0}}, "options.volume_window_hours"),
        ("generate_market_report", {"options": {"nonsense": 0}}, "options.nonsense"),
        ("get_history", {"to_s": 0}, "to_s"),
        ("get_history", {"from_s": 2**62, "to_s": 2**62}, "from_s"),
    ],
)
def test_a_value_of_the_right_type_that_means_nothing_is_refused(
    name: str, change: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
):
    async def check() -> None:
        async with web() as client:
            valid = {k: v for k, v in VALID[name].items() if k not in {"depth_levels"}}
            status, _, told = await client.tool(name, {**valid, **change})
            assert status == 400, told
            assert (told["error"], told["fields"]["field"]) == ("InvalidRequest", field), told

    run(check())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("kind", "change", "field", "allowed"),
    [
        (requests.WindowRequest, {"window_duration_secs": 9}, "window_duration_secs", "10-300"),
        (requests.WindowRequest, {"window_duration_secs": "60"}, "window_duration_secs", "10-300"),
        (requests.HoursRequest, {"duration_hours": 169}, "duration_hours", "1-168"),
        (requests.LadderRequest, {"limit": 101}, "levels", "1-100"),
        (requests.LadderRequest, {"max_bps": 0}, "max_bps", "more than 0, at most 500 or null"),
        (requests.LadderRequest, {"encoding": "x"}, "encoding", "decimal, integer"),
        (requests.DepthRequest, {"limit": 7}, "limit", "5, 10, 20, 50, 100, 500, 1000, 5000"),
        (requests.HistoryRequest, {"from_s": -1, "to_s": 1}, "from_s", "0-9999999999"),
        (requests.SymbolRequest, {"symbol": "x" * 65}, "symbol", "text of 1-64 characters"),
        (requests.SymbolRequest, {"symbol": ""}, "symbol", "text of 1-64 characters"),
        (requests.ImpactRequest, {"notional": "١٠٠"}, "notional", "a decimal number as text or a number"),
        (requests.LadderRequest, {"price_step": "0,1"}, "price_step", "a decimal number as text or null"),
        (requests.SymbolRequest, {"y": 1}, "y", "symbol"),
        (requests.ReportRequest, {"options": {"orderbook_levels": 0}}, "options.orderbook_levels", "1-100"),
        (
            requests.ReportRequest,
            {"options": {"levels": 0}},
            "options.levels",
            "include_sections, volume_window_hours, orderbook_levels",
        ),
        (
            requests.ReportRequest,
            {"options": {"include_sections": [1]}},
            "options.include_sections[0]",
            ", ".join(sorted(SECTIONS)),
        ),
        (requests.Request, {"symbol": None}, "symbol", "no fields"),
    ],
)
def test_what_is_allowed_is_told_in_words(kind: Any, change: dict[str, Any], field: str, allowed: str):
    given = change if kind is requests.Request else {"symbol": BTC, **change}
    with pytest.raises(InvalidRequest) as refused:
        request_of(kind, given)
    assert (refused.value.field, refused.value.allowed) == (field, allowed)


def test_the_sections_that_may_be_asked_for_are_those_of_the_report():
    assert get_args(requests.Section) == tuple(SECTIONS)


def test_other_names_of_a_field_are_the_field():
    for name in ("levels", "depth_levels", "limit"):
        assert request_of(requests.LadderRequest, {"symbol": BTC, name: 7}).levels == 7
    assert request_of(requests.LadderRequest, {"symbol": BTC, "depth_levels": 7, "limit": 7}).levels == 7
    with pytest.raises(InvalidRequest) as refused:
        request_of(requests.LadderRequest, {"symbol": BTC, "depth_levels": 7, "limit": 8})
    assert refused.value.field == "levels"


def test_only_a_command_line_may_write_numbers_as_text():
    given = {"symbol": BTC, "window_duration_secs": "60"}
    assert request_of(requests.WindowRequest, given, lax=True).window_duration_secs == 60
    for wrong in ("9", "60.5", "x", "", "٦٠", "1_00"):
        with pytest.raises(InvalidRequest) as refused:
            request_of(requests.WindowRequest, {**given, "window_duration_secs": wrong}, lax=True)
        assert (refused.value.field, refused.value.allowed) == ("window_duration_secs", "10-300")
    for wrong in ("nan", "inf", "-inf"):
        with pytest.raises(InvalidRequest):
            request_of(requests.LadderRequest, {"symbol": BTC, "max_bps": wrong}, lax=True)
