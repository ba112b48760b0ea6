"""What answers cost the reader: bytes and tokens of each tool's answer over MCP, usual and largest, and of what is listed.

Usual: the default question about BTCUSDT to a service that has recorded two symbols of the stand-in for a minute. Largest: every
list long, every text and number as long as they come (bench/largest.py). All of them as the MCP server sends them, through its
own client. Tokens: o200k_base by the package bpe-openai, which holds its vocabulary; it is large, and nothing else needs it, so
it is not among the pinned ones: `pip install bpe-openai==0.1.4`. Other models count otherwise; a ratio travels better.
"""

import asyncio
import importlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
from mcp import Client
from msgspec import structs

from bench.largest import largest
from bench.rows import Row
from bench.service import Service, ask, exchange, ready, service
from leadline.serve.bounded import MCP_BYTES_MAX
from leadline.serve.dispatch import Outcome, Progress
from leadline.serve.listing import Offer
from leadline.serve.mcp_server import mcp_server
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS, Tool, tool_of

SYMBOL = "BTCUSDT"
ROWS = 1_000
MINUTE_S = 75  # one whole window of a minute, and what comes before the first record
LIST_BYTES_MAX = 12_000  # what every assistant reads at each start
NO_TOKENIZER = "not run: needs bpe-openai, see bench/answers.py"
Count = Callable[[str], int]


class Fixed:
    """Answers with what it was given."""

    def __init__(self, value: Any) -> None:
        self._value = value

    async def call(self, name: str, arguments: Any, *, transport: str, progress: Progress | None = None) -> Outcome:
        return Outcome(tool_of(name), self._value)


def run(quick: bool) -> list[Row]:
    """--quick: asked as soon as the books are there; what needs a minute of records has no answer yet."""
    with exchange(f"{SYMBOL},ETHUSDT") as (url, names), service(url, names) as found:
        ready(found)
        if not quick:
            time.sleep(MINUTE_S)  # records come at the pace of the clock
        usual = {tool.name: _usual(found, tool) for tool in TOOLS}
    count = _counter()
    rows: list[Row] = []
    for tool in TOOLS:
        value = usual[tool.name]
        small = None if value is None else asyncio.run(_sent(tool, value))
        big = asyncio.run(_sent(tool, largest(tool, ROWS)))
        rows += _rows(tool.name, small, big, count)
    for sets in (("core",), ("all",)):
        listed = asyncio.run(_listed(sets))
        size = len(listed.encode())
        bar, met = (f"< {LIST_BYTES_MAX:,} B", size < LIST_BYTES_MAX) if sets == ("core",) else ("", None)
        rows.append(Row(f"tools/list of {sets[0]}", float(size), "B", bar=bar, met=met))
        rows.append(_tokens(f"tools/list of {sets[0]}", listed, count))
    return rows


def _rows(name: str, small: str | None, big: str, count: Count | None) -> list[Row]:
    """Its usual answer beside its largest one; where there is no usual one yet, the largest."""
    bytes_row = _row(name, small, big, lambda text: len(text.encode()), "B")
    met = len(big.encode()) <= MCP_BYTES_MAX
    tokens_row = Row(name, None, "tokens", not_run=NO_TOKENIZER) if count is None else _row(name, small, big, count, "tokens")
    return [structs.replace(bytes_row, bar=f"<= {MCP_BYTES_MAX:,} B", met=met), tokens_row]


def _row(name: str, small: str | None, big: str, count: Count, unit: str) -> Row:
    if small is None:
        return Row(f"{name}, largest", float(count(big)), unit)
    return Row(name, float(count(small)), unit, "largest", float(count(big)))


def _tokens(figure: str, text: str, count: Count | None) -> Row:
    return Row(figure, None, "tokens", not_run=NO_TOKENIZER) if count is None else Row(figure, float(count(text)), "tokens")


def _usual(found: Service, tool: Tool) -> Any:
    """Nothing where there is no answer yet."""
    arguments: dict[str, Any] = {"symbol": SYMBOL} if "symbol" in input_schema(tool.request).get("required", ()) else {}
    if tool.name == "get_klines":
        arguments["interval"] = "1m"
    if tool.name == "get_history":
        now = int(time.time())
        arguments |= {"from_s": now - 60, "to_s": now}
    status, answer = ask(found, tool.name, arguments)
    return answer if status == 200 else None


async def _sent(tool: Tool, value: Any) -> str:
    """The text of the answer, which is all that its structured content is."""
    async with Client(mcp_server(Fixed(value), Offer(("all",)))) as client:
        result = await client.call_tool(tool.name, {"symbol": SYMBOL})
    [content] = result.content
    assert tool.text or msgspec.json.decode(content.text) == result.structured_content
    return str(content.text)


async def _listed(sets: tuple[str, ...]) -> str:
    async with Client(mcp_server(Fixed(None), Offer(sets))) as client:
        listed = await client.list_tools()
    return msgspec.json.encode([one.model_dump(by_alias=True, exclude_none=True) for one in listed.tools]).decode()


def _counter() -> Count | None:
    try:
        encoding = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ModuleNotFoundError:
        return None
    return lambda text: len(encoding.encode(text))
