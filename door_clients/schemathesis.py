"""schemathesis: requests made from /openapi.json, valid and not, and whether each answer is one of those that are described."""

import json
from pathlib import Path

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.programs import ran

RULES = Path(__file__).resolve().parent / "rules"
EXAMPLES = 12  # of each question, beside one for each edge of its schema
RATE = "45/s"  # the door lets a client make 100 requests at once, and 50 a second
SEED = 7  # the same requests each time
END_S = 180


def check(bin_folder: Path, doors: Doors) -> Checks:
    checks, report = Checks(), bin_folder.parent / "report.json"
    report.unlink(missing_ok=True)
    command = [
        bin_folder / "schemathesis",
        "--config-file",
        RULES / "schemathesis.toml",
        "run",
        f"http://{doors.http}/openapi.json",
    ]
    command += ["--max-examples", EXAMPLES, "--seed", SEED, "--rate-limit", RATE, "--continue-on-failure", "--no-color"]
    command += ["--generation-database", "none"]  # nothing is remembered of earlier runs
    command += ["--report", "json", "--report-json-path", report]
    hooks = {"SCHEMATHESIS_HOOKS": str(RULES / "schemathesis_hooks.py")}
    ended = ran(command, env=hooks, cwd=bin_folder.parent, end_s=END_S)
    (bin_folder.parent / "said.log").write_text(ended.said + ended.complained)
    if not report.exists():
        checks.true("it ran", False, ended.complained or ended.said)
        return checks
    told = json.loads(report.read_text())
    checks.made += told["test_cases"]["generated"]
    checks.failed += [f"{one['title']}: {', '.join(one['operations'])}" for one in told["failures"]]
    checks.true("no schema that it cannot read", not told["errors"], told["errors"])
    checks.equal("status", (ended.status, told["stop_reason"]), (0, "completed"))
    asked = {f"{method.upper()} {path}" for path, said in doors.ask("/openapi.json")[1]["paths"].items() for method in said}
    checks.equal("what was asked", set(told["valid_rates"]), asked - {"GET /openapi.json"})
    for name, phases in told["valid_rates"].items():
        checks.true(f"{name} had an answer", any(phase["accepted"] for phase in phases.values()), phases)
    return checks
