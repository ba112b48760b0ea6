"""Rewrites the generated parts of docs/*.md, between `<!-- generated: NAME -->` and `<!-- end -->`: `python docs/generate.py`."""

import re
from collections.abc import Callable
from pathlib import Path

from leadline import config, export
from leadline.serve import reference
from leadline.serve.metrics import named
from leadline.serve.tools import TOOLS
from leadline.service.queries.sentences import ANSWERS, structs_of

HERE = Path(__file__).parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """All settings as one table."""
    lines = ["| key | default | environment | meaning |", "|---|---|---|---|"]
    for key, default, meaning in config.reference():
        name = config.ENV_PREFIX + key.replace(".", "_").upper()
        lines.append(f"| `{key}` | `{reference.word(default)}` | `{name}` | {meaning} |")
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
            if kind not in told:
                told.add(kind)
                lines += reference.answer(kind, f"### {question}" if kind is answer else f"#### {kind.__name__}")
    return "\n".join(lines)


def tools() -> str:
    """Every tool: what it says, and a table of what it takes."""
    return "\n".join(line for tool in TOOLS for line in (f"### {tool.name}", "", *reference.takes(tool)))


def metrics() -> str:
    """Every metric that the code names, with its text and labels."""
    lines = ["| metric | labels | what |", "|---|---|---|"]
    for name, labels, text in named():
        lines.append(f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "failures": reference.failures,
    "metrics": metrics,
    "settings": settings,
    "columns": columns,
    "answers": answers,
    "tools": tools,
}


def generated(text: str) -> str:
    """The document with its generated parts made anew. KeyError for a part that nobody makes."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[4]}", text)


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (fresh := generated(text)) != text:
            path.write_text(fresh, encoding="utf-8")
