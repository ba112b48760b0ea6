"""What can be asked and what the answers mean, as Markdown: made from the table of tools and the sentences of the structs.

docs/*.md hold the same text; assistants read it a page at a time, since a list of tools has no room for every sentence.
"""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import Struct, structs

from leadline.core.errors import UnknownName
from leadline.serve.errors import BUG, TABLE, Door
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS, Tool, tool_of
from leadline.service.queries.envelope import Envelope
from leadline.service.queries.sentences import about, sentences, structs_of

PAGES = ("tools", "envelope", "errors", *(tool.name for tool in TOOLS))


def page(name: str) -> str:
    """One page. Raises UnknownName."""
    if name == "tools":
        return "# Tools\n\n" + "\n".join(f"- `{tool.name}`: {tool.help}" for tool in TOOLS) + "\n"
    if name == "envelope":
        return "# The envelope of every answer\n\n" + "\n".join(_fields(Envelope, level=2))
    if name == "errors":
        return "# Errors\n\n" + failures()
    if name not in PAGES:
        raise UnknownName("page", name[:80], PAGES[:3])
    tool = tool_of(name)
    lines = [f"# {tool.name}", "", *takes(tool), f"## Answer: {tool.result.__name__}", ""]
    for kind in structs_of(tool.result):
        if kind is tool.result or kind not in structs_of(Envelope):
            lines += _fields(kind, level=0 if kind is tool.result else 3)
    return "\n".join(lines)


def takes(tool: Tool) -> list[str]:
    """What the tool says, and a table of what it takes."""
    schema = input_schema(tool.request)
    lines = [tool.help, "", f"Set `{tool.toolset}`. Answers `{tool.result.__name__}`.", ""]
    if schema["properties"]:
        lines += ["| field | takes | default | meaning |", "|---|---|---|---|"]
        for name, field in schema["properties"].items():
            default = "required" if name in schema.get("required", ()) else word(field.get("default", ""))
            lines.append(f"| `{name}` | {_values(field)} | {default} | {_said(field)} |")
        lines.append("")
    return lines


def answer(kind: type[Struct], title: str) -> list[str]:
    """A struct of an answer under this title: what it is, and a table of its fields."""
    lines = [title, "", about(kind), "", "| field | type | meaning |", "|---|---|---|"]
    return [*lines, *(f"| `{name}` | {_type(kind, name)} | {said} |" for name, said in sentences(kind).items()), ""]


def failures() -> str:
    """What can go wrong, and how each door tells it."""
    lines = ["| class | gRPC | HTTP | command line | fields |", "|---|---|---|---|---|"]
    rows: list[tuple[type[Exception], Door]] = [*TABLE.items(), (Exception, BUG)]
    for kind, door in rows:
        name = "InternalError" if kind is Exception else kind.__name__
        fields = ", ".join(f"`{field}`" for field in door.fields)
        lines.append(f"| `{name}` | {door.grpc} | {door.http} | {getattr(kind, 'exit_code', 1)} | {fields} |")
    return "\n".join(lines) + "\n"


def word(value: Any) -> str:
    """A default, as it is written by hand."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value == "" else str(value)


def _fields(kind: type[Struct], level: int) -> list[str]:
    return answer(kind, f"{'#' * level} {kind.__name__}")[0 if level else 2 :]


def _type(kind: Any, name: str) -> str:
    """As people read it: text, number, integer, truth, list of, object."""
    hint = next(field.type for field in structs.fields(kind) if field.name == name)
    return _words(hint).replace("|", "\\|")


def _words(hint: Any) -> str:
    plain: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "truth", type(None): "null", Any: "any"}
    if hint in plain:
        return plain[hint]
    inner = get_args(hint)
    if get_origin(hint) in {Union, UnionType}:
        return " or ".join(_words(one) for one in inner)
    if get_origin(hint) is list:
        return f"list of {_words(inner[0])}"
    if get_origin(hint) is tuple:
        return "[" + ", ".join(_words(one) for one in inner) + "]"
    if get_origin(hint) is dict:
        return f"object of {_words(inner[1])}"
    return f"`{hint.__name__}`"


def _values(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_values(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    low = field.get("minimum", field.get("exclusiveMinimum"))
    bounds = "" if low is None and "maximum" not in field else f" {low} to {field.get('maximum', 'any')}"
    kinds = {"string": "text", "integer": "integer", "number": "number", "null": "null", "array": "list", None: "object"}
    return kinds[field.get("type")] + bounds


def _said(field: dict[str, Any]) -> str:
    inner = (one.get("description", "") for one in field.get("anyOf", ()))
    return str(field.get("description") or next(filter(None, inner), ""))
