"""What MCP lists of each tool: the same schemas in as few bytes as they take, since every assistant reads them at each start.

Aliases are accepted and not listed. Of an answer the names of its fields are listed; `leadline://docs/{tool}` says what each is.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from msgspec import Struct

from leadline.serve.bounded import MCP_BYTES_MAX
from leadline.serve.requests import ALIASES, Request
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tools import TOOLS, Tool

SHORT = {"symbol": "e.g. BTCUSDT"}
LEFT_OUT = {"anyOf", "title", "minLength", "maxLength", "maxItems", "pattern"}


class Offer(Struct, frozen=True):
    """What assistants are shown. public_url: where addresses of documents begin; empty: no `search` and `fetch`."""

    toolsets: tuple[str, ...] = ("core",)
    bytes_max: int = MCP_BYTES_MAX
    public_url: str = ""


def tools_of(toolsets: Iterable[str]) -> list[Tool]:
    """Those that are listed, in their order; every other one can be called all the same."""
    chosen = set(toolsets)
    return [tool for tool in TOOLS if "all" in chosen or tool.toolset in chosen]


@cache
def short_input(kind: type[Request]) -> dict[str, Any]:
    """Schema of what a tool takes, by the names that are meant to be used."""
    schema = input_schema(kind)
    others = {other for names in ALIASES.get(kind, {}).values() for other in names}
    defs = schema.get("$defs", {})
    fields = {name: _short(name, field, defs) for name, field in schema["properties"].items() if name not in others}
    return {
        "type": "object",
        "properties": fields,
        **({"required": schema["required"]} if schema.get("required") else {}),
        "additionalProperties": False,
    }


def short_output(tool: Tool) -> dict[str, Any] | None:
    """Schema of the answer, one level deep; None where the tool writes for people."""
    if tool.text:
        return None
    fields: dict[str, Any] = {name: {} for name in output_schema(tool.result)["properties"]}
    return {"type": "object", "properties": fields, "required": ["envelope"]}


def _short(name: str, field: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Null is the default where it is allowed, so it need not be listed; lengths and patterns are for us to check."""
    if "$ref" in field:
        field = defs[field["$ref"].rsplit("/", 1)[-1]]
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    if len(options) == 1:
        short = {key: value for key, value in {**field, **options[0]}.items() if key not in LEFT_OUT}
        if "properties" in short:
            inner = {one: _short(one, value, defs) for one, value in short["properties"].items()}
            short = {"type": "object", "properties": inner, "additionalProperties": False}
    else:
        said = next((option["description"] for option in options if "description" in option), None)
        short = {"anyOf": [{"type": option["type"]} for option in options], "default": field.get("default")}
        short |= {"description": said} if said else {}
    if short.get("default", ...) is None or isinstance(short.get("default"), dict):
        del short["default"]
    if "enum" in short:
        short = {"type": "string" if isinstance(short["enum"][0], str) else "integer", **short}
    if name in SHORT:
        short["description"] = SHORT[name]
    return short
