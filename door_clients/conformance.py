"""The protocol's own conformance suite: what each revision requires of a server, run at that revision.

Many of its scenarios call tools, prompts or resources of a server that is made for it. rules/conformance.toml says which, what
else is missing, and why. What fails and does not stand there, fails in another way, or stands there and passes, is a failure.
"""

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.programs import ran

RULES = Path(__file__).resolve().parent / "rules" / "conformance.toml"
REVISIONS = ("2025-11-25", "2026-07-28")
END_S = 120


class Expected(NamedTuple):
    """Failures with one reason. of: SCENARIO, or SCENARIO:CHECK; says: what the suite says of each."""

    why: str
    says: re.Pattern[str]
    of: frozenset[str]


def check(node: Path, folder: Path, doors: Doors) -> Checks:
    checks, program = Checks(), folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    found = []
    for revision in REVISIONS:
        results = folder / revision
        shutil.rmtree(results, ignore_errors=True)
        command = [node, program, "server", "--url", f"http://{doors.http}/mcp", "--requirements", revision, "-o", results]
        ended = ran(command, cwd=folder, end_s=END_S)
        (folder / f"{revision}.log").write_text(ended.said + ended.complained)
        found += list(scenarios(results))
        checks.true(f"it ran {revision}", "=== SUMMARY ===" in ended.said, ended.complained)
    judge(found, expected(RULES.read_text(encoding="utf-8")), checks)
    return checks


def scenarios(results: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and checks of each."""
    for path in sorted(results.glob("server-*/checks.json")):
        yield re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name), json.loads(path.read_text())


def expected(text: str) -> list[Expected]:
    rows = tomllib.loads(text)["expected"]
    return [Expected(row["why"], re.compile(row["says"]), frozenset(row["of"])) for row in rows]


def judge(found: list[tuple[str, list[dict[str, Any]]]], rows: list[Expected], checks: Checks) -> None:
    unused = {name for row in rows for name in row.of}
    for scenario, made in found:
        for one in made:
            said = _trouble(one)
            if said is None:
                checks.made += one["status"] == "SUCCESS"
                continue
            names = {scenario, f"{scenario}:{one['id']}"}
            row = next((row for row in rows if names & row.of and row.says.search(said)), None)
            checks.true(f"{scenario}:{one['id']}", row is not None, said)
            unused -= names if row else set()
    checks.equal("what rules/conformance.toml expects to fail, and passes", sorted(unused), [])


def _trouble(one: dict[str, Any]) -> str | None:
    """What it says, where it did not pass: a recommendation that is not followed counts too, and a check that was left out."""
    if one["status"] in {"SUCCESS", "INFO"}:
        return None
    return str(one.get("errorMessage") or one.get("details", {}).get("message") or one["description"])
