"""`python -m bench [NAMES...] [--quick] [--markdown]`."""

import argparse
import importlib
import os
import platform
import sys
import time

from bench.rows import table

NAMES = (
    "frame_to_book",
    "codec",
    "batch_write",
    "windows",
    "memory",
    "recorder",
    "replay_speed",
    "calibration",
    "determinism",
    "standin_load",
    "analytics",
    "answers",
    "doors",
    "soak",
)


def main() -> None:
    if sys.argv[1:2] == ["injection"]:  # has settings of its own, and takes hours
        sys.exit(importlib.import_module("bench.injection.__main__").main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the promises. See bench/README.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="little data and few rounds: shows that it runs, not how fast")
    parser.add_argument("--markdown", action="store_true", help="GitHub tables")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    mark = "**" if given.markdown else ""
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, {time.strftime('%Y-%m-%d', time.gmtime())}"
        + ", quick: no figures to quote" * given.quick
    )
    for name in given.names or NAMES:
        begun = time.monotonic()
        rows = importlib.import_module(f"bench.{name}").run(given.quick)
        print(f"\n{mark}{name}{mark} ({time.monotonic() - begun:.0f} s)\n\n{table(rows, markdown=given.markdown)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
