"""The MCP Inspector's command line, with the configurations that README.md tells people to paste."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.mcp_judge import Way, judge
from door_clients.programs import Ended, ran

README = Path(__file__).resolve().parents[1] / "README.md"
LEADLINE = Path(sys.executable).with_name("leadline")
TOOL_IS_ERROR = 5  # its exit status


class Inspector:
    """how: what leads it to the server."""

    def __init__(self, node: Path, folder: Path, how: list[object], checks: Checks) -> None:
        program = folder / "node_modules" / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
        self._command = [node, program, "--cli", *how, "--format", "json", "--quiet"]
        self._folder = folder
        self._checks = checks

    def tools(self) -> list[Any]:
        """--strict: exit status 6 where some host could not read a schema."""
        return list(self._result("tools/list", "--strict")["tools"])

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        ended = self._ran("tools/call", "--tool-name", name, "--tool-args-json", json.dumps(arguments))
        result = ended.json["result"]
        self._checks.equal(f"exit status of {name}", ended.status, TOOL_IS_ERROR if result.get("isError") else 0)
        return result

    def resources(self) -> list[Any]:
        return list(self._result("resources/list")["resources"])

    def read(self, uri: str) -> Any:
        return self._result("resources/read", "--uri", uri)

    def prompts(self) -> list[Any]:
        return list(self._result("prompts/list")["prompts"])

    def prompt(self, name: str, arguments: dict[str, str]) -> Any:
        pairs = [f"{key}={value}" for key, value in arguments.items()]
        return self._result("prompts/get", "--prompt-name", name, "--prompt-args", *pairs)

    def _result(self, method: str, *options: object) -> Any:
        ended = self._ran(method, *options)
        self._checks.true(f"exit status 0 of {method}", ended.status == 0, ended.complained)
        return ended.json["result"]

    def _ran(self, method: str, *options: object) -> Ended:
        home = {"HOME": str(self._folder), "MCP_INSPECTOR_SECRET_STORE": "memory"}
        return ran([*self._command, "--method", method, *options], env=home, cwd=self._folder)


def check(node: Path, folder: Path, doors: Doors) -> Checks:
    """By both configurations, by the newest revision, and by the older transport."""
    checks = Checks()
    program, address = pasted(README.read_text(encoding="utf-8"))
    program["command"] = str(LEADLINE)
    address["url"] = address["url"].replace("127.0.0.1:3001", doors.http)
    settings = [word for name, value in doors.for_children().items() for word in ("-e", f"{name}={value}")]
    for name, server, how in (
        ("stdio", program, settings),
        ("http", address, []),
        ("http, newest revision", address, ["--protocol-era", "modern"]),
        ("sse", {"type": "sse", "url": f"http://{doors.http}/sse"}, []),
    ):
        config = folder / f"{name}.json"
        config.write_text(json.dumps({"mcpServers": {"leadline": server}}))
        client = Inspector(node, folder, ["--config", config, "--server", "leadline", *how], checks)
        judge(Way(name, client), doors, checks)
    return checks


def pasted(readme: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries named leadline: for assistants that start a program, and for those that take an address."""
    section = readme.partition("### From an assistant\n")[2].partition("\n### ")[0]
    program, address = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", section, re.DOTALL))
    return program["mcpServers"]["leadline"], address["servers"]["leadline"]
