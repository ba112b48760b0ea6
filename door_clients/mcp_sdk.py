"""The official Python SDK's client. The service is made with the same library, so it runs in our own environment."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.mcp_judge import Way, judge

ANSWER_S = 30


class Sdk:
    """connect: a new connection."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect

    def tools(self) -> list[Any]:
        return list(self._asked(lambda client: client.list_tools())["tools"])

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return self._asked(lambda client: client.call_tool(name, arguments))

    def resources(self) -> list[Any]:
        return list(self._asked(lambda client: client.list_resources())["resources"])

    def read(self, uri: str) -> Any:
        return self._asked(lambda client: client.read_resource(uri))

    def prompts(self) -> list[Any]:
        return list(self._asked(lambda client: client.list_prompts())["prompts"])

    def prompt(self, name: str, arguments: dict[str, str]) -> Any:
        return self._asked(lambda client: client.get_prompt(name, arguments))

    def _asked(self, ask: Callable[[Client], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            async with asyncio.timeout(ANSWER_S), self._connect() as client:
                return (await ask(client)).model_dump(mode="json", by_alias=True, exclude_none=True)

        return asyncio.run(asked())


def check(doors: Doors) -> Checks:
    checks = Checks()
    address = f"http://{doors.http}"
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "leadline", "mcp"], env=doors.for_children(), cwd=doors.log.parent
    )
    ways: dict[str, Callable[[], Client]] = {
        "http": lambda: Client(f"{address}/mcp"),
        "http, with a handshake": lambda: Client(f"{address}/mcp", mode="legacy"),
        "stdio": lambda: Client(program),
        "sse": lambda: Client(sse_client(f"{address}/sse"), mode="legacy"),
    }
    for name, connect in ways.items():
        judge(Way(name, Sdk(connect)), doors, checks)
    return checks
