"""Rewrites the generated parts of docs/*.md, between `<!-- generated: NAME -->` and `<!-- end -->`: `python docs/generate.py`."""

import re
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import structs

from leadline import config, export
from leadline.serve.errors import BUG, TABLE
from leadline.serve.metrics import named
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS
from leadline.service.queries.sentences import ANSWERS, about, sentences, structs_of

HERE = Path(__file__).parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """All settings as one table."""
    lines = ["| key | default | environment | meaning |", "|---|---|---|---|"]
    for key, default, meaning in config.reference():
        name = config.ENV_PREFIX + key.replace(".", "_").upper()
        lines.append(f"| `{key}` | `{_word(default)}` | `{name}` | {meaning} |")
    return "\n".join(lines) + "\n"


def columns() -> str:
    """The CSV columns of the exports whose names are not those of a record."""
    lines = []
    for title, names in (("snapshots", export.SNAPSHOT_COLUMNS), ("trades", export.TRADE_COLUMNS)):
        shown = names if len(names) < 20 else [*names[:6], "...", names[41], names[42], "...", names[-1]]
        lines.append(f"- {title}, {len(names)} columns: `{','.join(shown)}`")
    lines.append(f"- seconds, {len(export.second_columns())} columns: `{','.join(export.second_columns()[:8])},...`")
    lines.append(f"- incidents, {len(export.INCIDENT_COLUMNS)} columns: `{','.join(export.INCIDENT_COLUMNS)}`")
    return "\n".join(lines) + "\n"


def answers() -> str:
    """Every answer and what it holds: a table of fields for each struct, once."""
    lines: list[str] = []
    told = set()
    for question, answer in ANSWERS.items():
        for kind in structs_of(answer):
            if kind in told:
                continue
            told.add(kind)
            title = f"### {question}" if kind is answer else f"#### {kind.__name__}"
            lines += [title, "", about(kind), "", "| field | type | meaning |", "|---|---|---|"]
            lines += [f"| `{name}` | {_type(kind, name)} | {said} |" for name, said in sentences(kind).items()]
            lines.append("")
    return "\n".join(lines)


def _type(kind: Any, name: str) -> str:
    """As people read it: text, number, integer, truth, list of, object."""
    hint = next(field.type for field in structs.fields(kind) if field.name == name)
    return _words(hint).replace("|", "\\|")


def _words(hint: Any) -> str:
    plain = {str: "text", int: "integer", float: "number", bool: "truth", type(None): "null", Any: "any"}
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


def tools() -> str:
    """Every tool: what it says, and a table of what it takes."""
    lines: list[str] = []
    for tool in TOOLS:
        schema = input_schema(tool.request)
        lines += [f"### {tool.name}", "", tool.help, "", f"Set `{tool.toolset}`. Answers `{tool.result.__name__}`.", ""]
        if schema["properties"]:
            lines += ["| field | takes | default | meaning |", "|---|---|---|---|"]
            for name, field in schema["properties"].items():
                default = "required" if name in schema.get("required", ()) else _word(field.get("default", ""))
                lines.append(f"| `{name}` | {_takes(field)} | {default} | {_said(field)} |")
            lines.append("")
    return "\n".join(lines)


def _takes(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_takes(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    low = field.get("minimum", field.get("exclusiveMinimum"))
    bounds = "" if low is None and "maximum" not in field else f" {low} to {field.get('maximum', 'any')}"
    kinds = {"string": "text", "integer": "integer", "number": "number", "null": "null", "array": "list", None: "object"}
    return kinds[field.get("type")] + bounds


def _said(field: dict[str, Any]) -> str:
    inner = (one.get("description", "") for one in field.get("anyOf", ()))
    return str(field.get("description") or next(filter(None, inner), ""))


def failures() -> str:
    """What can go wrong, and how each door tells it."""
    lines = ["| class | gRPC | HTTP | command line | fields |", "|---|---|---|---|---|"]
    for kind, door in (*TABLE.items(), (Exception, BUG)):
        name = "InternalError" if kind is Exception else kind.__name__
        fields = ", ".join(f"`{field}`" for field in door.fields)
        lines.append(f"| `{name}` | {door.grpc} | {door.http} | {getattr(kind, 'exit_code', 1)} | {fields} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Every metric that the code names, with its text and labels."""
    lines = ["| metric | labels | what |", "|---|---|---|"]
    for name, labels, text in named():
        lines.append(f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "failures": failures,
    "metrics": metrics,
    "settings": settings,
    "columns": columns,
    "answers": answers,
    "tools": tools,
}


def generated(text: str) -> str:
    """The document with its generated parts made anew. KeyError for a part that nobody makes."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[4]}", text)


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (fresh := generated(text)) != text:
            path.write_text(fresh, encoding="utf-8")
