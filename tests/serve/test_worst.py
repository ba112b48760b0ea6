"""The largest answers there can be: they fit, they say what they lack, and what is left is what the schema promises."""

from typing import Any

import msgspec
import pytest
from bench.answers import Fixed
from bench.largest import largest
from jsonschema import Draft202012Validator
from mcp import Client
from tests.fakes import run
from tests.serve.market import House, Market

from leadline.serve.bounded import LEFT_OUT, MCP_BYTES_MAX, MCP_BYTES_MIN, encoded
from leadline.serve.grpc_provider import RESULT_BYTES_MAX
from leadline.serve.listing import Offer
from leadline.serve.mcp_server import mcp_server
from leadline.serve.resources import resource_of
from leadline.serve.schemas import output_schema
from leadline.serve.tools import TOOLS, Tool, tool_of

each = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


def at(answer: dict[str, Any], place: str) -> Any:
    for name in place.split("."):
        answer = answer[name]
    return answer


def rows_of(value: Any) -> list[Any]:
    return value.splitlines(keepends=True) if isinstance(value, str) else value


@pytest.mark.parametrize("rows", [20, 700])
@pytest.mark.parametrize("bytes_max", [MCP_BYTES_MIN, MCP_BYTES_MAX])
@each
def test_the_largest_answer_fits_and_says_what_it_lacks(tool: Tool, bytes_max: int, rows: int):
    value = largest(tool, rows)
    whole = msgspec.json.decode(msgspec.json.encode(value))
    plain, data = encoded(tool, value, bytes_max)
    told = msgspec.json.decode(data)
    assert len(data) <= bytes_max
    assert told == msgspec.json.decode(msgspec.json.encode(plain))
    Draft202012Validator(output_schema(tool.result)).validate(told)
    envelope = told["envelope"]
    if len(msgspec.json.encode(value)) <= bytes_max:
        assert told == whole
        return
    assert envelope["truncated"] and envelope["next"] and envelope["omitted"]
    for place, omitted in envelope["omitted"].items():
        before, after = rows_of(at(whole, place)), rows_of(at(told, place))
        if place == tool.text:
            assert after.pop() == LEFT_OUT
        assert len(after) + omitted == len(before)
        left = iter(before)
        assert all(row in left for row in after), "in their order"
    changed = {place for place in _places(whole, tool.text) if at(whole, place) != at(told, place)}
    assert changed == set(envelope["omitted"])
    assert {name: one for name, one in told.items() if not isinstance(one, list | dict)}.keys() == {
        name for name, one in whole.items() if not isinstance(one, list | dict)
    }


def _places(answer: dict[str, Any], text: str | None, above: str = "") -> list[str]:
    found = []
    for name, value in answer.items():
        if isinstance(value, list) or name == text:
            found.append(above + name)
        elif isinstance(value, dict) and name != "envelope":
            found += _places(value, None, f"{above}{name}.")
    return found


@each
def test_what_cannot_be_cut_takes_less_than_the_least_bound(tool: Tool):
    """Without a row in any list; what a cut says of itself comes to it."""
    assert len(msgspec.json.encode(largest(tool, 0))) < MCP_BYTES_MIN - 500


@each
def test_a_cut_takes_away_no_more_than_it_must(tool: Tool):
    """One row more, of the list with the largest rows, and a tenth of the bound would not have fitted."""
    plain, data = encoded(tool, largest(tool, 1_000), MCP_BYTES_MAX)
    if plain["envelope"]["truncated"]:
        rows = [row for place in plain["envelope"]["omitted"] for row in rows_of(at(plain, place))[:1]]
        assert len(data) + max(len(msgspec.json.encode(row)) for row in rows) > 0.9 * MCP_BYTES_MAX


@pytest.mark.parametrize("name", ["get_orderbook", "get_recent_trades", "list_symbols", "orderbook_health"])
def test_what_is_said_to_be_whole_by_http_and_grpc_is(name: str):
    """5,000 levels a side, 1,000 trades, every symbol of the exchange."""
    tool = tool_of(name)
    plain, _ = encoded(tool, largest(tool, 5_000 if name == "get_orderbook" else 1_500), RESULT_BYTES_MAX)
    assert not plain["envelope"]["truncated"]


def test_two_sides_of_a_book_are_cut_alike():
    plain, _ = encoded(tool_of("get_orderbook"), largest(tool_of("get_orderbook"), 5_000), MCP_BYTES_MAX)
    assert abs(len(plain["bids"]) - len(plain["asks"])) <= 1
    assert plain["envelope"]["omitted"] == {side: 5_000 - len(plain[side]) for side in ("bids", "asks")}


# Asked of a service ----------------------------------------------------------------------


def asked(house: House, name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole answer and what is left of it, which is what the schema promises."""
    outcome = run(house.dispatcher.call(name, arguments, transport="test"))
    assert outcome.failure is None, outcome.failure
    plain, data = encoded(tool_of(name), outcome.value, MCP_BYTES_MAX)
    assert len(data) <= MCP_BYTES_MAX
    told = msgspec.json.decode(data)
    Draft202012Validator(output_schema(tool_of(name).result)).validate(told)
    return msgspec.to_builtins(outcome.value), plain


def test_a_book_of_thousands_of_levels():
    """Long names and sizes; the deepest that can be asked of the ladder fits, the deepest of all does not."""
    symbol = "1000000LONGESTNAMEOFTHEMARKETUSD"
    market = Market(symbol, levels=5_000)
    for side in (market.bids, market.asks):
        side |= {price: size * 12_345_678_901 + 7 for price, size in side.items()}
    market._note()
    house = House(market)
    house.go_live(symbol)
    for name, more in (
        ("orderbook_l1", {}),
        ("orderbook_l2", {"levels": 100}),
        ("orderbook_l2", {"levels": 100, "price_step": "0.5"}),
        ("estimate_market_impact", {"notional": "9e10"}),
        ("orderbook_health", {"symbol": symbol}),
        ("generate_market_report", {"options": {"orderbook_levels": 100, "volume_window_hours": 168}}),
    ):
        whole, left = asked(house, name, **{"symbol": symbol, **more})
        assert left == whole or name == "generate_market_report"
    whole, left = asked(house, "get_orderbook", symbol=symbol, limit=1_000)
    assert left["envelope"]["omitted"] == {side: len(whole[side]) - len(left[side]) for side in ("bids", "asks")}
    assert all(left[side] == whole[side][: len(left[side])] and len(left[side]) > 100 for side in ("bids", "asks"))


def test_four_hundred_symbols_of_which_one_is_not_well():
    """The ill one is told, wherever it stands."""
    names = [f"A{n:03d}LONGNAMEUSDT" for n in range(400)]
    house = House(*(Market(name, levels=2) for name in names))
    for name in names:
        house.go_live(name)
    house.gap(names[-1])
    whole, left = asked(house, "orderbook_health")
    shown = [row["symbol"] for row in left["symbols"]]
    assert len(whole["symbols"]) == 400 and shown[-1] == names[-1] and shown[:-1] == names[: len(shown) - 1]
    assert left["envelope"]["omitted"] == {"symbols": 400 - len(shown)}
    assert left["reading"] == whole["reading"] and left["orderbook_symbols_active"] == 399
    whole, left = asked(house, "list_symbols")
    assert left["symbols"] == whole["symbols"][: len(left["symbols"])] and len(left["symbols"]) > 50


# At the door -----------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_max", [MCP_BYTES_MIN, MCP_BYTES_MAX])
@each
def test_mcp_sends_no_more_and_the_same_twice(tool: Tool, bytes_max: int):
    """Through the library's own client, which holds the structured content against the listed schema."""

    async def check() -> None:
        async with Client(mcp_server(Fixed(largest(tool, 700)), Offer(("all",), bytes_max))) as client:
            await client.list_tools()
            result = await client.call_tool(tool.name, {"symbol": "BTCUSDT"})
        assert not result.is_error
        [content] = result.content
        assert len(content.text.encode()) <= bytes_max
        if tool.text:
            assert result.structured_content is None and content.text.endswith(LEFT_OUT)
        else:
            assert msgspec.json.decode(content.text) == result.structured_content

    run(check())


@pytest.mark.parametrize("name", ["book", "metrics", "report", "coverage", "incidents"])
def test_a_resource_has_the_same_bound(name: str):
    async def check() -> None:
        uri = f"market://BTCUSDT/{name}"
        tool = resource_of(uri)[0].tool
        assert tool is not None
        async with Client(mcp_server(Fixed(largest(tool_of(tool), 700)), Offer())) as client:
            [content] = (await client.read_resource(uri)).contents
        assert len(content.text.encode()) <= MCP_BYTES_MAX

    run(check())
