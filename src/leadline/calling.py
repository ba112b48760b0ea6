"""`leadline tools` and `leadline call`: the capability table from the command line, over a running service or a store."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leadline.clock import SystemClock
from leadline.core.errors import InvalidRequest, UnknownName, Unreachable
from leadline.serve.dispatch import Dispatcher
from leadline.serve.errors import Failed, Failure
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS, tool_of
from leadline.service.queries import Desk

ROWS_SHOWN = 30
TIMEOUT_S = 60


def listing(form: str) -> None:
    """Every tool: name, what it takes, what it says."""
    if form == "json":
        print(json.dumps([{"name": t.name, "help": t.help, "input_schema": input_schema(t.request)} for t in TOOLS]))  # noqa: T201 (its output)
        return
    table = Table("tool", "takes", "says", box=None, pad_edge=False)
    for tool in TOOLS:
        table.add_row(tool.name, ", ".join(_takes(tool.name)), escape(tool.help))
    Console(highlight=False).print(table)


def _takes(name: str) -> list[str]:
    schema = input_schema(tool_of(name).request)
    required = schema.get("required", [])
    return [f"{field}{'*' if field in required else ''}" for field in schema["properties"]]


def tools_like(begun: str) -> list[str]:
    """For a shell: names of tools that begin so."""
    return [tool.name for tool in TOOLS if tool.name.startswith(begun)]


def words_like(name: str, begun: str) -> list[str]:
    """For a shell: words `key=` that this tool takes and that begin so, behind `=` the values where they can be listed."""
    try:
        schema = input_schema(tool_of(name).request)
    except UnknownName:
        return []
    words: list[str] = []
    for field, found in schema["properties"].items():
        listed: list[Any] = next((one["enum"] for one in found.get("anyOf", [found]) if "enum" in one), [])
        words += [f"{field}={value}" for value in listed] or [f"{field}="]
    return [word for word in words if word.startswith(begun)]


def arguments(words: list[str]) -> dict[str, Any]:
    """`key=value` words; a value that is a JSON object or list is taken as such. Raises InvalidRequest."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidRequest(word, "not key=value", "key=value")
        if key in found:
            raise InvalidRequest(key, "given twice", "once")
        found[key] = value
        if value[:1] in {"{", "["}:
            try:
                found[key] = json.loads(value)
            except ValueError as error:
                raise InvalidRequest(key, f"not JSON: {error}", "JSON, or text that begins with neither { nor [") from error
            except RecursionError as error:
                raise InvalidRequest(key, "nested too deeply", "JSON") from error
    return found


def over_store(path: Path, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Ask a store, as it is now. Raises Failed, LeadlineError."""
    from leadline import app as house

    with house.open_reader(path) as history:
        clock = SystemClock()
        dispatcher = Dispatcher(clock)
        dispatcher.desk = Desk(history, now_ns=clock.wall_ns)
        outcome = asyncio.run(dispatcher.call(name, given, transport="cli", lax=True))
    if outcome.failure is not None:
        raise Failed(outcome.failure, outcome.door)
    answer: dict[str, Any] = msgspec.to_builtins(outcome.value)
    return answer


def over_service(url: str, name: str, given: dict[str, Any], token: str = "") -> dict[str, Any]:
    """Ask a running service by HTTP, with its token if it wants one. Raises Failed, Unreachable."""
    from leadline.serve.requests import request_of

    request = request_of(tool_of(name).request, given, lax=True)
    body = msgspec.json.encode(request)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        asked = urllib.request.Request(  # noqa: S310 (the user names the address)
            f"{url.rstrip('/')}/api/tools/{tool_of(name).name}", body, headers
        )
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as response:  # noqa: S310 (as above)
            answer: dict[str, Any] = msgspec.json.decode(response.read())
            return answer
    except urllib.error.HTTPError as error:
        try:
            raise Failed(msgspec.json.decode(error.read(), type=Failure)) from error
        except msgspec.DecodeError:
            raise Unreachable(url, f"HTTP {error.code}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unreachable(url, f"{error}; is `leadline serve` running?") from error


def show(answer: dict[str, Any], form: str) -> None:
    """JSON as it came, or for people: the sentence, then what it is made of."""
    if form == "json":
        print(json.dumps(answer, ensure_ascii=False))  # noqa: T201 (its output)
        return
    console = Console(highlight=False, soft_wrap=True)
    if "markdown" in answer:
        console.print(answer["markdown"], markup=False)
        return
    console.print(answer.get("reading", ""), style="bold", markup=False)
    for name, value in answer.items():
        if name not in {"reading", "envelope", "reasons"}:
            _field(console, name, value, answer.get("reasons", {}))
    envelope = answer.get("envelope", {})
    for warning in envelope.get("warnings", ()):
        console.print(f"note: {warning}", markup=False)
    told = ("origin", "source", "state", "age_ms", "definition")
    console.print("  ".join(f"{name} {envelope[name]}" for name in told if envelope.get(name) is not None), markup=False)


def _field(console: Console, name: str, value: Any, reasons: dict[str, str]) -> None:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        plain = [column for column, cell in value[0].items() if not isinstance(cell, dict | list)]
        table = Table(*plain, title=f"{name} ({len(value)})", box=None, pad_edge=False, title_justify="left")
        for row in value[:ROWS_SHOWN]:
            table.add_row(*("" if row[column] is None else str(row[column]) for column in plain))
        console.print(table)
        if len(value) > ROWS_SHOWN:
            console.print(f"... and {len(value) - ROWS_SHOWN} more (--format json has all)", markup=False)
    elif value is None:
        console.print(f"{name}: none ({reasons.get(name, 'nothing to tell')})", markup=False)
    else:
        console.print(f"{name}: {value}", markup=False)
