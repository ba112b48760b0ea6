"""`python -m door_clients [--only NAME]`; see README.md.

Exit status 0: every client that could be installed was told what is true, and the service had nothing to complain of.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from standin_clients.environments import NotInstalled

from door_clients import buf, conformance, grpc_js, grpcurl, inspector, mcp_sdk, schemathesis
from door_clients.checks import Checks
from door_clients.doors import Doors, doors
from door_clients.installs import CACHE, folder_of, install, node, programs_of, version_of

CLIENTS: dict[str, Callable[[Doors], Checks]] = {
    "buf": lambda found: buf.check(programs_of("buf"), found),
    "grpcurl": lambda found: grpcurl.check(programs_of("grpcurl"), found),
    "grpc_js": lambda found: grpc_js.check(node(), folder_of("grpc_js"), found),
    "mcp_sdk": mcp_sdk.check,
    "inspector": lambda found: inspector.check(node(), folder_of("inspector"), found),
    "conformance": lambda found: conformance.check(node(), folder_of("conformance"), found),
    "schemathesis": lambda found: schemathesis.check(programs_of("schemathesis"), found),
}
HEAD = ("client", "version", "checks", "failed", "seconds", "verdict")
LOG = CACHE / "serve.log"
SENTENCES = 10  # of a client, at most


class Result(NamedTuple):
    """What came of one client; absent: why it was not run."""

    checks: Checks | None
    seconds: float = 0.0
    absent: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m door_clients", description="Third-party clients against the doors.")
    parser.add_argument("--only", choices=CLIENTS, action="append", metavar="NAME", help=f"of {', '.join(CLIENTS)}; repeatable")
    names = parser.parse_args().only or list(CLIENTS)
    results: dict[str, Result] = {}
    for name in names:
        try:
            install(name)
        except NotInstalled as error:
            results[name] = Result(None, absent=f"NOT INSTALLED: {error}")
    if len(results) < len(names):
        with doors(LOG) as found:
            for name in names:
                if name not in results:
                    print(f"{name}: running", flush=True)
                    results[name] = judged(CLIENTS[name], found)
    return report(names, results)


def judged(check: Callable[[Doors], Checks], found: Doors) -> Result:
    """One client; what it makes the service complain of is a failure too."""
    before, begun = len(found.complaints()), time.monotonic()
    try:
        checks = check(found)
    except Exception as error:  # what one client says, and nobody thought of, must not end the others
        checks = Checks()
        checks.true("it says what can be read", False, repr(error))
    checks.equal("what the service complains of", found.complaints()[before:], [])
    return Result(checks, time.monotonic() - begun)


def report(names: Sequence[str], results: dict[str, Result]) -> int:
    """Print the table and what was wrong; the exit status."""
    rows: list[tuple[object, ...]] = [HEAD, tuple("-" * len(name) for name in HEAD)]
    for name in names:
        checks, seconds, absent = results[name]
        if checks is None:
            rows.append((name, version_of(name), "", "", "", absent))
        else:
            figures = (checks.made, len(checks.failed), f"{seconds:.0f}")
            rows.append((name, version_of(name), *figures, "FAILED" if checks.failed else "passed"))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEAD))]
    print()
    for row in rows:
        print("| " + " | ".join(str(value).ljust(width) for value, width in zip(row, widths, strict=True)) + " |")
    ran = {name: result.checks for name, result in results.items() if result.checks is not None}
    for name, checks in ran.items():
        for sentence in checks.failed[:SENTENCES]:
            print(f"{name}: {sentence}")
    return 1 if not ran or any(checks.failed for checks in ran.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
