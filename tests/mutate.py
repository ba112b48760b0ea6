"""Break the product on purpose and see whether the tests notice: `python tests/mutate.py [--only 3,17] [--jobs 2]`.

Copies src, tests and what they read to a temporary folder, applies one fault of `tests/mutations.py` at a time and runs the tests
it names. A fault that survives is a missing test, or no fault. Exit code 1 if any survived, 2 if one no longer fits the source.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.mutations import MUTATIONS, Mutation  # noqa: E402

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
# The smallest example that shows a fault is of no interest here, and costs most of the time.
_FIND_AND_STOP = """\
from hypothesis import Phase, settings

settings.register_profile("mutate", phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutate")
"""
TIMEOUT_S = 300.0  # a fault may make a loop endless, which is noticed too


class Verdict(NamedTuple):
    """What became of one fault. by: the first test that failed, "" if none did."""

    number: int
    mutation: Mutation
    by: str


class Unfit(Exception):
    """The old text does not occur exactly once."""


def copy_of_the_project(folder: Path) -> Path:
    """A tree in which faults may be made."""
    for name in ("src", "tests", "bench", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "conftest.py").write_text(_FIND_AND_STOP)
    return folder


def tried(number: int, mutation: Mutation, tree: Path) -> Verdict:
    """Make one fault in the tree, run its tests, unmake it. Raises Unfit."""
    path = tree / "src" / "leadline" / mutation.file
    whole = path.read_text()
    if whole.count(mutation.old) != 1:
        raise Unfit(f"{number}: occurs {whole.count(mutation.old)} times in {mutation.file}: {mutation.old!r}")
    path.write_text(whole.replace(mutation.old, mutation.new))
    try:
        return Verdict(number, mutation, _first_failure([str(Path("tests") / test) for test in mutation.tests], tree))
    finally:
        path.write_text(whole)


def _first_failure(tests: list[str], tree: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LEADLINE_CAPTURES": os.environ.get("LEADLINE_CAPTURES") or str(ROOT.parent / "shared" / "captures"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-W", "ignore", *tests]
    try:
        run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S:.0f} s"
    if run.returncode == 0:
        return ""
    found = _FAILED.search(run.stdout)
    return found[1].partition("::")[2] or found[1] if found else f"pytest ended with {run.returncode}"


def run(numbers: list[int], jobs: int) -> list[Verdict]:
    """Try these faults, `jobs` at a time, each job in a tree of its own."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as temporary:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(jobs):
            folder = Path(temporary) / str(job)
            folder.mkdir()
            trees.put(copy_of_the_project(folder))

        def one(number: int) -> Verdict:
            tree = trees.get()
            try:
                verdict = tried(number, MUTATIONS[number], tree)
            finally:
                trees.put(tree)
            print(_line(verdict), flush=True)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, numbers))


def _line(verdict: Verdict) -> str:
    old, new = (" ".join(text.split())[:60] for text in (verdict.mutation.old, verdict.mutation.new))
    outcome = f"caught by {verdict.by[:90]}" if verdict.by else "SURVIVED"
    return f"{verdict.number:3} {verdict.mutation.file:26} {old!r} -> {new!r}: {outcome}"


def main() -> int:
    """The table, and how many survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="numbers of the faults to try, with commas; or the start of a file name")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    words = [word for word in arguments.only.split(",") if word]
    numbers = [
        number
        for number, mutation in enumerate(MUTATIONS)
        if not words or str(number) in words or any(mutation.file.startswith(word) for word in words if not word.isdigit())
    ]
    try:
        verdicts = run(numbers, arguments.jobs)
    except Unfit as error:
        print(error, file=sys.stderr)
        return 2
    survived = [verdict for verdict in verdicts if not verdict.by]
    print(f"{len(verdicts) - len(survived)} of {len(verdicts)} caught")
    for verdict in survived:
        print(_line(verdict))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
